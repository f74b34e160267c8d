//! What was decided when a person gave a block back from quarantine, and the block that follows from it.
//!
//! The receiver logs it ([`kind::REPLAY`](super::record::kind::REPLAY)) with the bytes as they came; the store writer alone
//! takes it. Nothing here is believed of a gateway: a person of the bureau has decided it, by name.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use wire::Readings;

use super::DecodedBlock;
use super::record::{RecordError, from_bytes, to_bytes};

/// What was decided. Lies in the record's meta.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayMeta {
    /// Number of the quarantine's entry.
    pub entry: i64,
    /// Rows that are given back, ascending, numbered through all tables in order; empty = all.
    pub rows: Vec<u32>,
    /// What is added to every event time, ms.
    pub shift_ms: i64,
}

impl ReplayMeta {
    /// As it lies in the log.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        to_bytes(self)
    }

    /// Reads it back.
    ///
    /// # Errors
    /// When the bytes are not what [`ReplayMeta::encode`] writes.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        from_bytes("a replay's meta", bytes)
    }

    /// The block with only the rows that are given back, at the times that were decided.
    #[must_use]
    pub fn apply(&self, block: DecodedBlock) -> DecodedBlock {
        let masked_rows = self.masked(block.readings.row_count());
        let mut readings = Readings::clone(&block.readings);
        for time in readings.tables.iter_mut().flat_map(|t| &mut t.times) {
            *time = time.saturating_add(self.shift_ms);
        }
        DecodedBlock { readings: Arc::new(readings), masked_rows, is_ahead: false, ..block }
    }

    /// The rows that are not given back.
    fn masked(&self, rows: usize) -> Vec<u32> {
        if self.rows.is_empty() {
            return Vec::new();
        }
        let rows = u32::try_from(rows).unwrap_or(u32::MAX);
        (0..rows).filter(|row| self.rows.binary_search(row).is_err()).collect()
    }
}
