//! Which starts of the centre wrote which part of the log, so that a cursor of another log finds the last place both share.
//!
//! Each start draws a log id and notes the position of its first record. A log that was restored from a backup lacks the
//! records that the lost one got after it: a cursor `(log_id, position)` beyond the end of that id's part goes back to it.

use serde::{Deserialize, Serialize};

use crate::store::Position;

/// Where it lies in the log.
pub const LINEAGE_KEY: &[u8] = b"lineage";
/// Starts remembered; a cursor of an older one begins at the first record again, which is safe and slow.
pub const STARTS_MAX: usize = 4_096;

/// The starts of the centre on this log, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lineage {
    starts: Vec<(u64, u64)>,
}

impl Lineage {
    /// Adds a start whose first record has `position`.
    pub fn start(&mut self, log_id: u64, position: u64) {
        self.starts.push((log_id, position));
        let excess = self.starts.len().saturating_sub(STARTS_MAX);
        self.starts.drain(..excess);
    }

    /// The present start's id; 0 before the first.
    #[must_use]
    pub fn log_id(&self) -> u64 {
        self.starts.last().map_or(0, |s| s.0)
    }

    /// Where a cursor goes on in this log: its own position, or the last one that its log and this one share; 0 where
    /// they share none.
    #[must_use]
    pub fn resolve(&self, at: Position) -> u64 {
        let Some(index) = self.starts.iter().position(|(id, _)| *id == at.log_id) else {
            return 0;
        };
        match self.starts.get(index + 1) {
            Some((_, next)) => at.position.min(next.saturating_sub(1)),
            None => at.position,
        }
    }

    /// Positions of the first records of all starts.
    pub fn positions(&self) -> impl Iterator<Item = u64> {
        self.starts.iter().map(|(_, position)| *position)
    }

    /// A position of the present start.
    #[must_use]
    pub fn here(&self, position: u64) -> Position {
        Position { log_id: self.log_id(), position }
    }

    /// The bytes kept in the log.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_stdvec(self).expect("writing to memory cannot fail")
    }

    /// Reads the bytes kept in the log; damaged ones read as an empty lineage: every cursor begins again.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Self {
        postcard::from_bytes(bytes).unwrap_or_default()
    }
}
