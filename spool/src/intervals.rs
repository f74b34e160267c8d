//! A bounded set of sequence numbers, kept as sorted, disjoint, inclusive intervals.
//!
//! Both sides of the link use it: the gateway for what it holds and what was acked, the centre for
//! what it logged and what is covered. It must never grow past [`INTERVALS_MAX`] and never forget a
//! number to stay small: an insert that would need one interval more is refused whole.

use std::fmt;

use crate::codec::{Reader, Writer};

/// Most intervals that one set may hold (design §4: 4,096 per epoch).
pub const INTERVALS_MAX: usize = 4096;

/// A set of u64 as sorted, disjoint, non-touching inclusive ranges.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Intervals {
    ranges: Vec<(u64, u64)>,
}

/// The change would need more than [`INTERVALS_MAX`] intervals; the set is as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("interval set is full ({INTERVALS_MAX} intervals)")]
pub struct TooMany;

/// The bytes are not an interval set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("bytes are not an interval set")]
pub struct BadIntervals;

impl Intervals {
    /// The empty set.
    pub const fn new() -> Self {
        Self { ranges: Vec::new() }
    }

    /// The set of `from..=to`; empty where `from > to`.
    pub fn of(from: u64, to: u64) -> Self {
        Self { ranges: if from <= to { vec![(from, to)] } else { Vec::new() } }
    }

    /// Adds `from..=to`, joining what it touches. `from > to` adds nothing.
    ///
    /// # Errors
    /// [`TooMany`] where one interval more would be needed than allowed; the set is unchanged.
    pub fn insert(&mut self, from: u64, to: u64) -> Result<(), TooMany> {
        if from > to {
            return Ok(());
        }
        // Everything in lo..hi overlaps or touches the new range and is swallowed by it.
        let lo = self.ranges.partition_point(|r| r.1 < from && from - r.1 > 1);
        let hi = self.ranges.partition_point(|r| r.0 <= to || r.0 - to == 1);
        if lo == hi {
            if self.ranges.len() >= INTERVALS_MAX {
                return Err(TooMany);
            }
            self.ranges.insert(lo, (from, to));
            return Ok(());
        }
        let joined = (from.min(self.ranges[lo].0), to.max(self.ranges[hi - 1].1));
        self.ranges[lo] = joined;
        self.ranges.drain(lo + 1..hi);
        Ok(())
    }

    /// Removes `from..=to`, splitting an interval where it lies inside one.
    ///
    /// # Errors
    /// [`TooMany`] where the split would need one interval more than allowed; the set is unchanged.
    pub fn remove(&mut self, from: u64, to: u64) -> Result<(), TooMany> {
        if from > to {
            return Ok(());
        }
        let lo = self.ranges.partition_point(|r| r.1 < from);
        let hi = self.ranges.partition_point(|r| r.0 <= to);
        if lo >= hi {
            return Ok(());
        }
        let left = (self.ranges[lo].0 < from).then(|| (self.ranges[lo].0, from - 1));
        let right = (self.ranges[hi - 1].1 > to).then(|| (to + 1, self.ranges[hi - 1].1));
        let rest = left.into_iter().chain(right);
        let count = rest.clone().count();
        if self.ranges.len() - (hi - lo) + count > INTERVALS_MAX {
            return Err(TooMany);
        }
        self.ranges.splice(lo..hi, rest);
        Ok(())
    }

    /// Adds all of `other`.
    ///
    /// # Errors
    /// [`TooMany`] where the union does not fit; the set is unchanged.
    pub fn union(&mut self, other: &Self) -> Result<(), TooMany> {
        if other.ranges.len() == 1 {
            return self.insert(other.ranges[0].0, other.ranges[0].1);
        }
        let mut all = Vec::with_capacity(self.ranges.len() + other.ranges.len());
        all.extend_from_slice(&self.ranges);
        all.extend_from_slice(&other.ranges);
        all.sort_unstable();
        let mut out: Vec<(u64, u64)> = Vec::with_capacity(all.len());
        for (from, to) in all {
            match out.last_mut() {
                Some(last) if from <= last.1 || from - last.1 == 1 => last.1 = last.1.max(to),
                _ => out.push((from, to)),
            }
        }
        if out.len() > INTERVALS_MAX {
            return Err(TooMany);
        }
        self.ranges = out;
        Ok(())
    }

    /// The numbers of `self` that are not in `other`, as ranges in ascending order.
    ///
    /// May yield more ranges than a set may hold; a caller that keeps them must bound them.
    pub fn without(&self, other: &Self) -> Vec<(u64, u64)> {
        let mut out = Vec::new();
        let mut at = 0;
        for &(from, to) in &self.ranges {
            let mut next = Some(from);
            while at < other.ranges.len() && other.ranges[at].1 < from {
                at += 1;
            }
            let mut inside = at;
            while let (Some(start), Some(&(cut, end))) = (next, other.ranges.get(inside)) {
                if cut > to {
                    break;
                }
                if cut > start {
                    out.push((start, cut - 1));
                }
                next = end.checked_add(1).filter(|n| *n <= to);
                inside += 1;
            }
            if let Some(start) = next {
                out.push((start, to));
            }
        }
        out
    }

    /// The numbers that are in both sets, as ranges in ascending order.
    pub fn common(&self, other: &Self) -> Vec<(u64, u64)> {
        let (mut a, mut b, mut out) = (0, 0, Vec::new());
        while let (Some(&x), Some(&y)) = (self.ranges.get(a), other.ranges.get(b)) {
            let (from, to) = (x.0.max(y.0), x.1.min(y.1));
            if from <= to {
                out.push((from, to));
            }
            if x.1 < y.1 { a += 1 } else { b += 1 }
        }
        out
    }

    /// True where `n` is in the set.
    pub fn contains(&self, n: u64) -> bool {
        self.covers(n, n)
    }

    /// True where all of `from..=to` is in the set.
    pub fn covers(&self, from: u64, to: u64) -> bool {
        let at = self.ranges.partition_point(|r| r.1 < from);
        self.ranges.get(at).is_some_and(|r| r.0 <= from && to <= r.1)
    }

    /// The end of the interval that starts at 1, else 0: everything up to here is in the set.
    pub fn upto(&self) -> u64 {
        self.ranges.first().map_or(0, |r| if r.0 <= 1 { r.1 } else { 0 })
    }

    /// The smallest number of the set.
    pub fn min(&self) -> Option<u64> {
        self.ranges.first().map(|r| r.0)
    }

    /// The greatest number of the set, 0 where it is empty.
    pub fn max(&self) -> u64 {
        self.ranges.last().map_or(0, |r| r.1)
    }

    /// The intervals in ascending order, both ends inclusive.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (u64, u64)> + ExactSizeIterator + '_ {
        self.ranges.iter().copied()
    }

    /// The ranges of `1..=upto` that are not in the set.
    pub fn holes(&self, upto: u64) -> Vec<(u64, u64)> {
        Self::of(1, upto).without(self)
    }

    /// How many intervals there are, at most [`INTERVALS_MAX`].
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    /// True for the empty set.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// How many numbers the set holds (saturating).
    pub fn count(&self) -> u64 {
        self.ranges.iter().fold(0, |n, r| n.saturating_add((r.1 - r.0).saturating_add(1)))
    }

    /// Takes everything out.
    pub fn clear(&mut self) {
        self.ranges.clear();
    }

    /// A superset with at most `most` intervals: the narrowest holes are filled first.
    pub fn coarsened(&self, most: usize) -> Self {
        let mut ranges = self.ranges.clone();
        let excess = ranges.len().saturating_sub(most.max(1));
        if excess > 0 {
            let mut gaps: Vec<u64> = ranges.windows(2).map(|w| w[1].0 - w[0].1).collect();
            gaps.sort_unstable();
            let (limit, mut left) = (gaps[excess - 1], excess);
            let mut out: Vec<(u64, u64)> = Vec::with_capacity(most);
            for (from, to) in ranges.drain(..) {
                match out.last_mut() {
                    Some(last) if left > 0 && from - last.1 <= limit => {
                        last.1 = to;
                        left -= 1;
                    }
                    _ => out.push((from, to)),
                }
            }
            ranges = out;
        }
        Self { ranges }
    }

    /// Compact byte form: count, then for each interval the distance from the last end and the
    /// length, all LEB128.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.number(self.ranges.len() as u64);
        let mut last = 0;
        for &(from, to) in &self.ranges {
            out.number(from - last);
            out.number(to - from);
            last = to;
        }
        out.into_bytes()
    }

    /// Reads the byte form.
    ///
    /// # Errors
    /// [`BadIntervals`] where the bytes are cut, unsorted, touching or more than allowed.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BadIntervals> {
        let mut input = Reader::new(bytes);
        let set = Self::read(&mut input).ok_or(BadIntervals)?;
        if input.is_empty() { Ok(set) } else { Err(BadIntervals) }
    }

    fn read(input: &mut Reader<'_>) -> Option<Self> {
        let count = usize::try_from(input.number()?).ok().filter(|n| *n <= INTERVALS_MAX)?;
        let mut ranges = Vec::with_capacity(count);
        let mut last = 0u64;
        for index in 0..count {
            let from = last.checked_add(input.number()?)?;
            if index > 0 && from - last < 2 {
                return None;
            }
            let to = from.checked_add(input.number()?)?;
            ranges.push((from, to));
            last = to;
        }
        Some(Self { ranges })
    }
}

impl fmt::Debug for Intervals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (index, (from, to)) in self.ranges.iter().enumerate() {
            let comma = if index == 0 { "" } else { " " };
            if from == to { write!(f, "{comma}{from}")? } else { write!(f, "{comma}{from}-{to}")? }
        }
        f.write_str("}")
    }
}

impl FromIterator<(u64, u64)> for Intervals {
    /// Collects ranges; those that do not fit any more are left out, so use it for bounded input.
    fn from_iter<T: IntoIterator<Item = (u64, u64)>>(ranges: T) -> Self {
        let mut set = Self::new();
        for (from, to) in ranges {
            if set.insert(from, to).is_err() {
                break;
            }
        }
        set
    }
}

#[cfg(test)]
mod tests;
