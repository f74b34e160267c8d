//! Which event times a store takes. A wrong clock must not make ten thousand day files or shards.
//!
//! Judged against the block's receive time, which is part of the log: the verdict is the same at every replay.

/// Earliest event time any store takes: 2000-01-01, ms UTC.
pub const EARLIEST_MS: i64 = 946_684_800_000;
/// Farthest an event time may lie after its receive time: a day, ms. (What is more than 60 s ahead is masked at
/// receive; this is for the case in which the centre distrusts its own clock.)
pub const AHEAD_MAX_MS: i64 = 86_400_000;
/// How far back data is taken where nothing else is configured: ten years, ms.
pub const PAST_MAX_MS: i64 = 3_653 * 86_400_000;

/// The event times that are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Farthest before the receive time, ms; the retention where there is one.
    pub past_ms: i64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { past_ms: PAST_MAX_MS }
    }
}

impl Bounds {
    /// Earliest and latest event time taken for a block received at `received_at`, both inclusive.
    pub fn span(&self, received_at: i64) -> (i64, i64) {
        let earliest = received_at.saturating_sub(self.past_ms).max(EARLIEST_MS);
        (earliest, received_at.saturating_add(AHEAD_MAX_MS))
    }
}

/// What to do with the rows of one block.
#[derive(Debug)]
pub struct RowFilter<'a> {
    earliest: i64,
    latest: i64,
    masked: &'a [u32],
    /// Number of the next row over all tables.
    row: usize,
    /// Next entry of `masked`.
    next_masked: usize,
}

/// Verdict on one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowVerdict {
    /// Store it.
    Keep,
    /// It is in quarantine already.
    Masked,
    /// Older than the store's bound.
    TooOld,
    /// Absurdly far ahead.
    TooFarAhead,
}

impl<'a> RowFilter<'a> {
    /// A filter that starts at the first row of a block.
    pub fn new(bounds: Bounds, received_at: i64, masked: &'a [u32]) -> Self {
        let (earliest, latest) = bounds.span(received_at);
        Self { earliest, latest, masked, row: 0, next_masked: 0 }
    }

    /// Whether all rows of a table with these times are kept; if so they count as seen.
    pub fn keeps_all(&mut self, times: &[i64]) -> bool {
        let masked = self.masked.get(self.next_masked);
        let end = self.row + times.len();
        if masked.is_some_and(|m| (*m as usize) < end) {
            return false;
        }
        if times.iter().any(|t| *t < self.earliest || *t > self.latest) {
            return false;
        }
        self.row = end;
        true
    }

    /// The verdict on the next row.
    pub fn next(&mut self, time: i64) -> RowVerdict {
        let row = self.row;
        self.row += 1;
        if self.masked.get(self.next_masked).is_some_and(|m| *m as usize == row) {
            self.next_masked += 1;
            return RowVerdict::Masked;
        }
        if time < self.earliest {
            return RowVerdict::TooOld;
        }
        if time > self.latest {
            return RowVerdict::TooFarAhead;
        }
        RowVerdict::Keep
    }
}
