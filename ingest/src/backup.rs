//! `davy-ingest backup` and `restore`: the durable log with the snapshot that belongs to it (design §4).
//!
//! ```text
//! BACKUP/state.db        registry, facts, alarms, journals, accounts; the evaluators' snapshots       copied first
//! BACKUP/log.db          the log: nothing that a snapshot in state.db needs has left it                copied second
//! BACKUP/quarantine.db   what was set aside
//! BACKUP/manifest.json   what it is, where each evaluator stood, size and SHA-256 of each file
//! ```
//!
//! A backup is made beside the running service and never stops it; a restore needs the service to stand still. Positions
//! belong to a log: after a restore the store goes back to the last position that both logs share ([`crate::log::Lineage`]),
//! the evaluators and the verdict journal to the backup's snapshots, and the gateways, which hear another `log_id`, fill
//! the log again with what they still hold. What people did stays: the state database is put back only where it is gone or
//! where one asks for it. The history store is not part of it: it is filled again from the log, and has a backup of its own.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

mod copy;
mod restore;
mod take;

pub use restore::{Wishes, restore};
pub use take::take;

use crate::state::StateError;
use crate::store::Position;

/// Version of the folder's layout.
pub const FORMAT: u32 = 1;
/// Name of the file that names the others; written last.
pub const MANIFEST: &str = "manifest.json";
/// The log's name in a backup.
const LOG: &str = "log.db";
/// The state database's name in a backup.
const STATE: &str = "state.db";
/// The quarantine's name in a backup and in the state folder.
const QUARANTINE: &str = "quarantine.db";
/// Stands in the state folder while a restore is under way: nothing may run on what is half put back.
pub(crate) const UNFINISHED: &str = "restore.unfinished";

/// What a backup is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: u32,
    /// When it was made, ms UTC.
    pub made_at: i64,
    /// Version of the program that made it.
    pub program: String,
    /// The log.
    pub log: LogPart,
    /// Where each evaluator's snapshot stands.
    pub evaluators: Vec<Stand>,
    /// The files beside this one.
    pub files: Vec<Part>,
}

/// What the log of a backup holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogPart {
    /// First position.
    pub first: u64,
    /// Last position.
    pub last: u64,
    /// Records.
    pub records: u64,
    /// Of these, records that were damaged already when they were copied.
    pub damaged: u64,
}

/// Where an evaluator's snapshot stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stand {
    /// The evaluator: a gateway's name, or that of the centre itself.
    pub evaluator: String,
    /// Its place in the log.
    pub at: Position,
}

/// A file of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Its name.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// Of its bytes, in hex.
    pub sha256: String,
}

/// Why there is no backup, or why it was not put back. Its text is for the person at the terminal.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The folder is there already.
    #[error("{} is there already and is not touched; name a folder that does not exist", path.display())]
    Exists {
        /// The folder.
        path: PathBuf,
    },
    /// A file or folder cannot be used.
    #[error("could not {doing} {}", path.display())]
    File {
        /// What was being done.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A database cannot be copied.
    #[error("could not {doing} {}", path.display())]
    Copy {
        /// What was being done.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        source: rusqlite::Error,
    },
    /// The log's copy cannot be read.
    #[error("the copy of the durable log cannot be read")]
    Log(#[source] spool::Error),
    /// The state database.
    #[error("the state database cannot be used")]
    State(#[source] StateError),
    /// A copy is damaged.
    #[error("{} is damaged: {why}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The log left the snapshots behind while both were copied.
    #[error(
        "the log moved on faster than it could be copied, {tries} times; back up to a faster disk, or stop the service for it"
    )]
    Overtaken {
        /// How often it was tried.
        tries: u32,
    },
    /// There is nothing to back up.
    #[error("{} does not exist: has davy-ingest run here, and is this its configuration?", path.display())]
    Nothing {
        /// The file.
        path: PathBuf,
    },
    /// The folder is no backup.
    #[error("{} is no backup of davy-ingest: {why}", path.display())]
    NoBackup {
        /// The folder.
        path: PathBuf,
        /// What is missing.
        why: String,
    },
    /// A log would be replaced.
    #[error(
        "{} holds a log: with --replace it is set aside (never deleted) and the backup's takes its place", path.display()
    )]
    InTheWay {
        /// The folder of the log.
        path: PathBuf,
    },
    /// The state database has nothing to do with the backup.
    #[error(
        "the state database is not the one that this backup was taken from, or went another way since; with --with-state it is set aside and the backup's takes its place"
    )]
    OtherState,
    /// Nothing could be printed.
    #[error("could not print")]
    Print(#[source] std::io::Error),
}
