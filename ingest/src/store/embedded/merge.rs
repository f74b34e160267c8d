//! How new samples join the parts of one series and hour that exist already. Pure; used when the head is sealed.
//!
//! The order of the merged samples depends on times alone, so the columns of a reply share one plan.

use std::ops::Range;

use super::part::{Column, PART_POINTS_MAX, PART_POINTS_SMALL};

/// A part that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    /// Its key in the day file.
    pub(super) key: i64,
    /// Its first and last time, ms.
    pub(super) t0: i64,
    pub(super) t1: i64,
    /// Its samples.
    pub(super) count: usize,
    /// Where its times are.
    pub(super) times: i64,
    /// The row is as it was written.
    pub(super) is_sound: bool,
}

/// Which of the existing parts (sorted by time) the new samples `first..=last` are to be joined with: those they overlap,
/// and a small neighbour on either side, so that parts grow to a useful size.
pub(super) fn absorbed(spans: &[Span], first: i64, last: i64) -> Range<usize> {
    let mut from = spans.partition_point(|s| s.t1 < first);
    let mut to = spans.partition_point(|s| s.t0 <= last).max(from);
    if from > 0 && spans[from - 1].count < PART_POINTS_SMALL {
        from -= 1;
    }
    if to < spans.len() && spans[to].count < PART_POINTS_SMALL {
        to += 1;
    }
    from..to
}

/// Where each sample of the result comes from: index into the old samples followed by the new ones. Of equal times the
/// new sample stands.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Plan {
    source: Vec<u32>,
    /// Times of the result.
    pub(super) times: Vec<i64>,
}

impl Plan {
    /// Merges two strictly increasing lists of times.
    pub(super) fn new(old: &[i64], new: &[i64]) -> Self {
        let total = old.len() + new.len();
        let mut plan = Self { source: Vec::with_capacity(total), times: Vec::with_capacity(total) };
        let (mut o, mut n) = (0, 0);
        while o < old.len() || n < new.len() {
            let take_old = n == new.len() || (o < old.len() && old[o] < new[n]);
            let (index, time) = if take_old {
                o += 1;
                (o - 1, old[o - 1])
            } else {
                if o < old.len() && old[o] == new[n] {
                    o += 1;
                }
                n += 1;
                (old.len() + n - 1, new[n - 1])
            };
            plan.source.push(u32::try_from(index).unwrap_or(u32::MAX));
            plan.times.push(time);
        }
        plan
    }

    /// The merged column.
    pub(super) fn apply(&self, old: &Column, new: &Column) -> Column {
        let split = old.values.len();
        let values = self.source.iter().map(|i| match *i as usize {
            i if i < split => old.values[i],
            i => new.values[i - split],
        });
        let values = values.collect();
        if old.marks.is_empty() && new.marks.is_empty() {
            return Column { values, marks: Vec::new() };
        }
        let marks = self.source.iter().map(|i| match *i as usize {
            i if i < split => old.mark(i),
            i => new.mark(i - split),
        });
        Column { values, marks: marks.collect() }
    }
}

/// Cuts `count` samples into pieces of equal size, none larger than a part may be.
pub(super) fn pieces(count: usize) -> impl Iterator<Item = Range<usize>> {
    let pieces = count.div_ceil(PART_POINTS_MAX).max(1);
    (0..pieces).map(move |i| count * i / pieces..count * (i + 1) / pieces)
}

#[cfg(test)]
mod tests;
