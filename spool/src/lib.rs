//! The durable queue of blocks: [`Spool`] at the gateway, [`Log`] at the centre, one SQLite layer under both.
//!
//! `davy-gateway` and `davy-ingest` call it. It knows blocks only as bytes under a key
//! (epoch, seq), has no clock (callers pass times) and starts no thread: each file has one writer,
//! owned by `&mut`, and a thread of the caller's choice owns that. What a call reports as done is on
//! disk. It must never lose a block silently: what is evicted, damaged or unreadable is counted and
//! handed back to be declared.

/// Passes a fail point: nothing at all without the feature `failpoints`.
#[cfg(not(feature = "failpoints"))]
#[macro_export]
macro_rules! fail_point {
    ($name:literal) => {};
    ($name:literal, $error:expr) => {};
}

mod codec;
mod error;
#[cfg(feature = "failpoints")]
pub mod fail;
mod file;
mod intervals;
mod log;
mod queue;

pub use error::{Class, Error};
pub use file::ASIDE_FILES_MAX;
pub use intervals::{BadIntervals, INTERVALS_MAX, Intervals, TooMany};
pub use log::{
    Committed, Contents, Entry, EpochSets, Evicted, Log, LogOpenReport, LogOptions, LogReader,
    NewRecord, Pair, Place, Record, Txn, Usage, VALUE_BYTES_MAX, sha16,
};
pub use queue::{
    AckOutcome, EPOCHS_MAX, EpochAck, Fetched, GapRange, HeldEpoch, Key, KeySet, LOSSES_MAX, Link,
    Loss, NewBlock, OpenReport, Order, Spool, SpoolOptions, Stats, StoredBlock,
};
