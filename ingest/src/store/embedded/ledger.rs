//! What readers and the writer have met that a person should know, and how much was read: shared by all of them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Damaged files that are remembered; more add only to the number.
const FILES_MAX: usize = 1_000;

/// How much of day files was read since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReadCounts {
    /// Day files opened.
    pub files: u64,
    /// Summaries of parts (an hour of a series, or a piece of it).
    pub summaries: u64,
    /// Parts whose minutes were read.
    pub minutes: u64,
    /// Parts whose samples were read.
    pub samples: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// File name → the first thing found wrong with it.
    damaged: Mutex<BTreeMap<String, String>>,
    pub(super) files: AtomicU64,
    pub(super) summaries: AtomicU64,
    pub(super) minutes: AtomicU64,
    pub(super) samples: AtomicU64,
}

impl Ledger {
    /// Remembers that something of a file cannot be read.
    pub(super) fn damaged(&self, path: &Path, reason: &str) {
        let mut damaged = self.damaged.lock().unwrap_or_else(PoisonError::into_inner);
        let name = name(path);
        if damaged.contains_key(&name) || damaged.len() >= FILES_MAX {
            return;
        }
        tracing::error!(file = %path.display(), reason, "a day file is damaged; the rest of it is read, `davy-ingest store check` says what is lost");
        damaged.insert(name, reason.to_owned());
    }

    /// The file is gone or whole again.
    pub(super) fn forget(&self, path: &Path) {
        self.damaged.lock().unwrap_or_else(PoisonError::into_inner).remove(&name(path));
    }

    /// A sentence about all damage met since the start; `None` if there was none.
    pub(super) fn sentence(&self) -> Option<String> {
        let damaged = self.damaged.lock().unwrap_or_else(PoisonError::into_inner);
        let (file, reason) = damaged.iter().next()?;
        let count = damaged.len();
        Some(format!(
            "{count} file(s) of the history store are damaged, first {file}: {reason}; everything else is read; run `davy-ingest store check`"
        ))
    }

    /// The numbers.
    pub(super) fn reads(&self) -> ReadCounts {
        let of = |number: &AtomicU64| number.load(Ordering::Relaxed);
        ReadCounts {
            files: of(&self.files),
            summaries: of(&self.summaries),
            minutes: of(&self.minutes),
            samples: of(&self.samples),
        }
    }
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}
