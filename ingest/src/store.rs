//! Where readings are kept: the seam between the log and whatever holds history.
//!
//! The store writer (`store::writer`) reads the durable log from its own position and hands batches to a
//! [`Store`]; the API asks a [`HistoryReader`]. Two stores exist: `embedded` (the default: SQLite and pco, one
//! file a UTC day) and `influx` (InfluxDB 2); `sink` serves who runs InfluxDB 1 or VictoriaMetrics. All are idempotent: for one series and time the last write stands,
//! so a batch may be handed over again after a crash. A store never re-times a sample, never writes a number for
//! a sample that is bad or stale, and never decides what pages.

use std::fmt::Debug;
use std::sync::Arc;

use crate::log::DecodedBlock;

pub mod bounds;
mod cursor;
pub mod embedded;
pub mod export;
pub mod history;
pub mod influx;
pub mod line;
pub mod migrate;
pub mod names;
pub mod push;
pub mod sink;
pub mod source;

pub use history::{
    Aggregates, Damage, HistoryAnswer, HistoryQuery, SampleRow, Samples, Shape, Windows,
};

/// A place in the durable log. Positions of different logs cannot be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Position {
    /// Which log (design §4: drawn anew for each log).
    pub log_id: u64,
    /// The record's position in it; 0 = before the first record.
    pub position: u64,
}

/// What the store writer hands over at once: consecutive blocks of the log.
#[derive(Debug, Clone)]
pub struct StoreBatch {
    /// Every block record at or before this position is stored once `write` has returned `Ok`.
    pub up_to: Position,
    /// In log order. May be empty: then only the position moves.
    pub blocks: Vec<Arc<DecodedBlock>>,
}

/// A durable home for readings.
///
/// Every call blocks; the owner calls it from a thread of its own, never from an async task.
pub trait Store: Send + Debug {
    /// Stores the batch durably and then moves the store's own position to `batch.up_to`. A database that answers before
    /// it is durable may move its position later, and answer [`StoreError::Lost`] where it lost what it had taken.
    ///
    /// Handing over the same batch again changes nothing. Samples that can never be stored go to the
    /// [`RefusalSink`] given at construction and do not fail the batch.
    ///
    /// # Errors
    /// [`StoreError::class`] says what the caller does: try the same batch again later, or hold and tell a person.
    fn write(&mut self, batch: &StoreBatch) -> Result<(), StoreError>;

    /// The position up to which everything is stored durably; `None` for a store that never took a batch.
    ///
    /// # Errors
    /// When the store's own record of it cannot be read.
    fn position(&self) -> Result<Option<Position>, StoreError>;

    /// Sets the position without storing anything: used when the log is not the one the store knew.
    ///
    /// # Errors
    /// When the new position cannot be made durable.
    fn reset_position(&mut self, position: Position) -> Result<(), StoreError>;

    /// A reader that any number of threads may use beside the writer.
    fn reader(&self) -> Arc<dyn HistoryReader>;

    /// Drops what is older than the store's retention, seen from `now_ms` (UTC, ms since the epoch) or from the newest
    /// data where that is older. A store does it by itself as time goes on; calling it is for a person who cannot wait.
    ///
    /// # Errors
    /// When a file cannot be removed or the database refuses.
    fn retain(&mut self, now_ms: i64) -> Result<(), StoreError>;

    /// Samples dropped by the database's own retention since the start; counted, never sent again.
    fn dropped(&self) -> u64 {
        0
    }
}

/// Answers questions about history. Calls block: use `spawn_blocking`.
pub trait HistoryReader: Send + Sync + Debug {
    /// Answers one query; both stores give the same answer (see `history`).
    ///
    /// # Errors
    /// [`StoreError::Query`] for a question that is out of bounds, otherwise the store's own failure.
    fn query(&self, query: &HistoryQuery) -> Result<HistoryAnswer, StoreError>;

    /// What answers have lacked since the start because it cannot be read, in a sentence; `None` = nothing.
    fn damage(&self) -> Option<String> {
        None
    }
}

/// Takes what a store can never hold, so that it is set aside with its reason instead of lost or retried for ever.
pub trait RefusalSink: Send + Sync + Debug {
    /// Called once per refused item and hand-over; the same item may be refused again after a crash.
    fn refused(&self, refusal: Refusal);
}

/// One thing that the store will never take.
#[derive(Debug, Clone, PartialEq)]
pub struct Refusal {
    /// Stable code: `too_old`, `too_far_ahead`, `bad_name`, `unparsable`, `type_conflict`, `poison`, `too_large`,
    /// `too_many_series`.
    pub code: &'static str,
    /// Name of the gateway where the block is known.
    pub gateway: Option<String>,
    /// Position in the log where the block is known.
    pub position: Option<u64>,
    /// What a person needs to find the sample: series and time, or the line as it was sent.
    pub what: String,
    /// Why, in the store's words.
    pub reason: String,
    /// How many samples are concerned.
    pub samples: u64,
}

/// A sink that only counts and logs: for tools and tests that have no quarantine.
#[derive(Debug, Default)]
pub struct LogRefusals;

impl RefusalSink for LogRefusals {
    fn refused(&self, refusal: Refusal) {
        tracing::warn!(code = refusal.code, what = %refusal.what, reason = %refusal.reason,
            samples = refusal.samples, "store refused samples");
    }
}

/// What the caller of a store does about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Hand the same batch over again after a pause: nothing is wrong with it.
    Retry,
    /// Hold the batch and raise a notice: a person has to mend the configuration or the disk.
    Hold,
    /// The question or the call is wrong; asking again gives the same answer.
    Reject,
}

/// Why a store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database is busy, restarting or unreachable.
    #[error("{store} does not take data now: {reason}")]
    Unavailable {
        /// Which store.
        store: &'static str,
        /// What it answered.
        reason: String,
        /// A pause the database asked for, ms; 0 where it said nothing.
        pause_ms: u64,
    },
    /// The database refuses us: token, organisation, bucket, retention.
    #[error("{store} refuses: {reason}; {mend}")]
    Refused {
        /// Which store.
        store: &'static str,
        /// What it answered.
        reason: String,
        /// What to do about it.
        mend: String,
    },
    /// The database was restarted and may have lost what it had taken: hand over again what follows the position.
    #[error("{store} was restarted: what it took last is sent again")]
    Lost {
        /// Which store.
        store: &'static str,
        /// What it surely has; `None` = nothing.
        position: Option<Position>,
    },
    /// A file of the embedded store, or a cursor file, failed.
    #[error("{action} {path}: {reason}")]
    File {
        /// What we were doing.
        action: &'static str,
        /// Which file.
        path: String,
        /// What the system or SQLite said.
        reason: String,
    },
    /// The query is outside its bounds or not understood.
    #[error("query refused: {reason}")]
    Query {
        /// What to ask instead.
        reason: String,
    },
}

impl StoreError {
    /// What the caller does about it.
    pub fn class(&self) -> Class {
        match self {
            Self::Unavailable { .. } | Self::Lost { .. } => Class::Retry,
            Self::Refused { .. } | Self::File { .. } => Class::Hold,
            Self::Query { .. } => Class::Reject,
        }
    }
}
