//! Finds out, once, which registers of a refused request a device does not have.
//!
//! A device that answers exception 2 or 3 to a merged read has a hole in it, lacks a point, or takes shorter requests.
//! [`Bisect`] halves the points of that request, one short read at a time, driven by the device's task between its
//! other polls; the findings go into the planner's [`super::Limits`], so the same question is never asked twice.
//! Pure: no I/O, no clock.

use crate::profile::Table;

/// A finding about a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// The device refuses this point by itself (item index).
    Refused(usize),
    /// Both sides read, the registers (table, first, last) between them do not.
    Hole(Table, u16, u16),
    /// Neighbours read one by one but not together: requests may have at most this many registers.
    Shorter(u16),
}

/// Registers that must be read whole, in ascending order of address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// First register.
    pub start: u16,
    /// Registers.
    pub count: u16,
}

/// A search in progress.
#[derive(Debug, Clone)]
pub struct Bisect {
    table: Table,
    items: Vec<Span>,
    /// Runs of items known to be refused as a whole.
    refused: Vec<(usize, usize)>,
    /// The run being halved, and whether its left half was read.
    halving: Option<(usize, usize, Option<bool>)>,
    findings: Vec<Finding>,
}

impl Bisect {
    /// Begins with the items of the refused request.
    #[must_use]
    pub fn new(table: Table, items: Vec<Span>) -> Self {
        let all = (0, items.len());
        let mut search =
            Self { table, items, refused: vec![all], halving: None, findings: Vec::new() };
        search.advance();
        search
    }

    /// The next read to try; `None` when everything is found.
    #[must_use]
    pub fn next(&self) -> Option<Span> {
        let (low, high, left) = self.halving?;
        let middle = usize::midpoint(low, high);
        let (first, upto) = if left.is_none() { (low, middle) } else { (middle, high) };
        Some(self.span(first, upto))
    }

    /// Takes the answer to [`Self::next`]: whether it was read.
    pub fn answer(&mut self, read: bool) {
        let Some((low, high, left)) = self.halving else { return };
        let Some(left) = left else {
            self.halving = Some((low, high, Some(read)));
            return;
        };
        let middle = usize::midpoint(low, high);
        if left && read {
            self.both_read(low, middle, high);
        }
        if !read {
            self.refused.push((middle, high));
        }
        if !left {
            self.refused.push((low, middle));
        }
        self.halving = None;
        self.advance();
    }

    /// What was found.
    #[must_use]
    pub fn into_findings(self) -> Vec<Finding> {
        self.findings
    }

    fn both_read(&mut self, low: usize, middle: usize, high: usize) {
        let left = self.span(low, middle);
        let right = self.span(middle, high);
        let end = left.start.saturating_add(left.count);
        if right.start > end {
            self.findings.push(Finding::Hole(self.table, end, right.start - 1));
        } else {
            self.findings.push(Finding::Shorter(left.count.max(right.count)));
        }
    }

    fn advance(&mut self) {
        while let Some((low, high)) = self.refused.pop() {
            if high - low > 1 {
                self.halving = Some((low, high, None));
                return;
            }
            if high > low {
                self.findings.push(Finding::Refused(low));
            }
        }
    }

    fn span(&self, first: usize, upto: usize) -> Span {
        let items = self.items.get(first..upto).unwrap_or(&[]);
        let start = items.iter().map(|i| i.start).min().unwrap_or(0);
        let end = items.iter().map(|i| i.start.saturating_add(i.count)).max().unwrap_or(start);
        Span { start, count: end - start }
    }
}

#[cfg(test)]
mod tests;
