//! What was declared lost, as sorted disjoint ranges of one epoch.
//!
//! Used by the order of blocks only.

use serde::{Deserialize, Serialize};

/// Most ranges kept of one epoch. Beyond it the two lowest are joined: what lies between them and is not here is
/// then given up as well, on every replay alike.
pub(super) const SPANS_MAX: usize = 8_192;

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Spans(Vec<(u64, u64)>);

impl Spans {
    pub(super) fn insert(&mut self, from: u64, to: u64) {
        if from > to {
            return;
        }
        let start = self.0.partition_point(|span| span.1.saturating_add(1) < from);
        let end = self.0.partition_point(|span| span.0 <= to.saturating_add(1));
        let merged = self.0[start..end]
            .iter()
            .fold((from, to), |all, span| (all.0.min(span.0), all.1.max(span.1)));
        self.0.splice(start..end, [merged]);
        if self.0.len() > SPANS_MAX {
            let second = self.0.remove(1);
            self.0[0].1 = second.1;
        }
    }

    /// The end of the range that holds `seq`.
    pub(super) fn end_of(&self, seq: u64) -> Option<u64> {
        let index = self.0.partition_point(|span| span.1 < seq);
        self.0.get(index).filter(|span| span.0 <= seq).map(|span| span.1)
    }

    /// Forgets everything below `seq`.
    pub(super) fn forget_below(&mut self, seq: u64) {
        let gone = self.0.partition_point(|span| span.1 < seq);
        self.0.drain(..gone);
    }

    /// How many places of `from..=to` it holds.
    pub(super) fn count(&self, from: u64, to: u64) -> u64 {
        self.0
            .iter()
            .map(|span| (span.0.max(from), span.1.min(to)))
            .filter(|(a, b)| a <= b)
            .fold(0, |sum: u64, (a, b)| sum.saturating_add(b - a + 1))
    }
}
