//! What can go wrong with a spool or a log, by what the caller can do about it.

use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

/// A failed operation. Nothing of a failed transaction is kept.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configured bound would be passed and nothing more may be evicted.
    #[error("{} is full: {used} of {bound} bytes used, {need} more needed; raise the bound or free the backlog", path.display())]
    Full {
        /// The file.
        path: PathBuf,
        /// Bytes in use.
        used: u64,
        /// Bytes asked for.
        need: u64,
        /// The configured bound.
        bound: u64,
    },
    /// The file system has no room, or less than the configured reserve.
    #[error("no room on the disk of {}; free space there", path.display())]
    DiskFull {
        /// The file.
        path: PathBuf,
        /// SQLite's words, absent where the reserve was the reason.
        #[source]
        source: Option<rusqlite::Error>,
    },
    /// The file is damaged; opening it again sets it aside and salvages what can be read.
    #[error("{} is damaged", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// SQLite's words.
        #[source]
        source: rusqlite::Error,
    },
    /// Another process has the file open.
    #[error("{} is in use by another process; stop it first", path.display())]
    Busy {
        /// The file.
        path: PathBuf,
        /// SQLite's words.
        #[source]
        source: rusqlite::Error,
    },
    /// The disk or the file cannot be written or read.
    #[error("cannot {doing} {}", path.display())]
    Disk {
        /// What was being done.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// SQLite's words.
        #[source]
        source: rusqlite::Error,
    },
    /// The directory cannot be made, read or synced.
    #[error("cannot {doing} {}", path.display())]
    Directory {
        /// What was being done.
        doing: &'static str,
        /// The directory.
        path: PathBuf,
        /// The system's words.
        #[source]
        source: std::io::Error,
    },
    /// A block out of turn: the caller's fault, retrying does not help.
    #[error("block {epoch:016x}/{seq} is out of turn, expected seq {expected}")]
    OutOfTurn {
        /// Epoch of the block.
        epoch: u64,
        /// Its sequence number.
        seq: u64,
        /// What would have been taken.
        expected: u64,
    },
    /// The file holds something this version does not understand.
    #[error("{} was written by another version (schema {found}, this program knows {known})", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// What it says.
        found: u32,
        /// What this program writes.
        known: u32,
    },
    /// An interval set would need too many intervals; nothing was changed.
    #[error("too many holes in epoch {epoch:016x}")]
    TooMany {
        /// The epoch.
        epoch: u64,
    },
}

/// What the caller can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Try again later: full, or in use.
    Retry,
    /// Open the file again; it will be set aside and salvaged.
    Reopen,
    /// The request itself is wrong.
    Reject,
    /// The disk does not serve; go on without it and say so.
    Fatal,
}

impl Error {
    /// Sorts the error by what the caller can do.
    pub fn class(&self) -> Class {
        match self {
            Self::Full { .. } | Self::DiskFull { .. } | Self::Busy { .. } => Class::Retry,
            Self::Damaged { .. } => Class::Reopen,
            Self::OutOfTurn { .. } | Self::TooMany { .. } => Class::Reject,
            Self::Disk { .. } | Self::Directory { .. } | Self::Version { .. } => Class::Fatal,
        }
    }

    pub(crate) fn sqlite(doing: &'static str, path: &Path, source: rusqlite::Error) -> Self {
        let path = path.to_path_buf();
        match source.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::DiskFull { path, source: Some(source) },
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                Self::Damaged { path, source }
            }
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                Self::Busy { path, source }
            }
            // A column of another type than was written: bytes changed under us.
            None => Self::Damaged { path, source },
            Some(_) => Self::Disk { doing, path, source },
        }
    }
}
