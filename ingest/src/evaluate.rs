//! The evaluator cursor: from the durable log to alarms.
//!
//! ```text
//! spool::Log ──► Cursor ──► Centre: one rules::Evaluator per gateway ──► State::apply_evaluations
//!                  │ position, snapshots                                   alarms, journals, outbox, positions
//!                  └─ Board: rule states and progress; Progress: what the log must keep   in one transaction
//! ```
//!
//! `davy-ingest run` gives it its own thread. It waits for nobody: a store that is down, a console or a notification
//! never delay it. All it decides follows from the log's records; time reaches it as records too.

pub mod announce;
pub mod apply;
pub mod board;
pub mod centre;
mod convert;
pub mod cursor;
pub mod engines;
mod known;
mod own_test;
mod past;
mod readers;
pub mod replay;
pub mod snapshot;

#[cfg(test)]
mod tests;

pub use announce::Announcer;
pub use board::Board;
pub use centre::{Centre, GATEWAYS_MAX, Reached, Said};
pub use cursor::{Cursor, CursorError, Listener, SNAPSHOT_INTERVAL_MS, Works};
pub use engines::{CatalogueEngines, EngineStep, Engines};
pub use replay::{
    Beginnings, Delivery, Replayed, follower_of, verdict_journal_behind, verdict_journal_of,
};
pub use snapshot::CENTRE;
