//! What the durable log hands to its two cursors, the store writer and the evaluator.
//!
//! ```text
//! receiver thread ──► spool::Log (SQLite) ──► Follower of each cursor, from its own (log_id, position)
//!        └──────────► Tail (memory, bounded) ──┘   older records are read and decoded again
//! ```
//!
//! The receiver is the one writer. A follower never waits for another and nobody waits for a follower.
//! A block is decoded once and shared; nobody downstream changes it.

pub mod decode;
pub mod follow;
pub mod lineage;
pub mod progress;
pub mod record;
pub mod replayed;
pub mod tail;
pub mod writer;

pub use follow::{Batch, FollowError, Follower, Found, Shared};
pub use lineage::Lineage;
pub use progress::Progress;
pub use tail::Tail;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use wire::{Block, GatewayName, Manifest, Readings};

/// One block record of the log, decoded.
#[derive(Debug, Clone)]
pub struct DecodedBlock {
    /// Its place in the log; positions grow for ever.
    pub position: u64,
    /// The gateway that sealed it.
    pub gateway: GatewayName,
    /// Enterprise code of the site, from the manifest.
    pub site: String,
    /// What the rows mean.
    pub manifest: Arc<Manifest>,
    /// The block's header; the rows are in `readings`, so `block.body` holds none.
    pub block: Block,
    /// The rows; no table at all for a gap record or an empty block.
    pub readings: Arc<Readings>,
    /// The centre's time when it arrived, ms UTC.
    pub received_at: i64,
    /// Rows ahead of the centre's clock, decided at receive, ascending, numbered through all tables in order: they are in quarantine
    /// and neither stored nor evaluated.
    pub masked_rows: Vec<u32>,
    /// A row or the closing time was ahead of the centre's clock: the closing time is not believed.
    pub is_ahead: bool,
}

/// A record of the log, decoded.
#[derive(Debug, Clone)]
pub struct LogRecord {
    /// Its place in the log.
    pub position: u64,
    /// The centre's time when it was logged, ms UTC.
    pub received_at: i64,
    /// The gateway that it belongs to; empty for those of the centre as a whole.
    pub gateway: String,
    /// What it says.
    pub body: RecordBody,
}

/// What a record of the log says.
#[derive(Debug, Clone)]
pub enum RecordBody {
    /// A block was logged.
    Block {
        /// The block.
        block: Arc<DecodedBlock>,
        /// What was decided about it at receive, beside what `block` says.
        decided: record::Decided,
    },
    /// A block, or rows of one, that a person gave back from quarantine: history, for the store alone.
    Replay(Arc<DecodedBlock>),
    /// Anything else.
    Centre(record::CentreRecord),
    /// The record cannot be read; the receiver takes it out of the log, and a gateway that still holds it sends again.
    Damaged,
}

impl LogRecord {
    /// The block, if it is one.
    #[must_use]
    pub fn block(&self) -> Option<&Arc<DecodedBlock>> {
        match &self.body {
            RecordBody::Block { block, .. } => Some(block),
            _ => None,
        }
    }

    /// Samples that it carries.
    #[must_use]
    pub fn sample_count(&self) -> usize {
        match &self.body {
            RecordBody::Block { block, .. } | RecordBody::Replay(block) => {
                block.readings.sample_count()
            }
            RecordBody::Centre(_) | RecordBody::Damaged => 0,
        }
    }
}

impl DecodedBlock {
    /// Whether its times are readings of a clock that was never set.
    #[must_use]
    pub fn is_unset(&self) -> bool {
        self.block.clock.state == wire::block::ClockState::Unset
    }

    /// The block with its event times moved by the offset of its boot (wall − mono, ms), for the store. The evaluator
    /// does this itself.
    #[must_use]
    pub fn timed_by(&self, boot_offset: i64) -> Self {
        let clock = &self.block.clock;
        let mono = i64::try_from(clock.mono_ms).unwrap_or(i64::MAX);
        let shift = boot_offset.saturating_add(mono).saturating_sub(clock.closed_at);
        let mut readings = Readings::clone(&self.readings);
        for time in readings.tables.iter_mut().flat_map(|t| &mut t.times) {
            *time = time.saturating_add(shift);
        }
        Self { readings: Arc::new(readings), ..self.clone() }
    }
}
