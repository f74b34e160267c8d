//! One process to a data folder: a lock that the system lets go of with the process, however that ends.
//!
//! The log has readers beside its writer and InfluxDB has no lock at all: without this a second service on the same folder
//! would write its start into the log, and the first could append nothing more.

use std::fs::{File, TryLockError};
use std::path::Path;

use super::RunError;

/// Name of the locked file in the data folder; it stays there, empty.
const NAME: &str = "lock";

/// The data folder is this process's for as long as this lives.
#[derive(Debug)]
pub(super) struct Hold {
    _file: File,
}

impl Hold {
    /// Takes the folder.
    ///
    /// # Errors
    /// [`RunError::InUse`] where another process has it, [`RunError::Folder`] where no file can be made in it.
    pub(super) fn take(root: &Path) -> Result<Hold, RunError> {
        let fail = |source| RunError::Folder { path: root.to_owned(), source };
        let file = File::options().create(true).append(true).open(root.join(NAME)).map_err(fail)?;
        match file.try_lock() {
            Ok(()) => Ok(Hold { _file: file }),
            Err(TryLockError::WouldBlock) => Err(RunError::InUse { path: root.to_owned() }),
            Err(TryLockError::Error(source)) => Err(fail(source)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_taken_once_and_free_again_afterwards() {
        let folder = tempfile::tempdir().unwrap();
        let first = Hold::take(folder.path()).unwrap();
        let second = Hold::take(folder.path()).unwrap_err();
        assert!(second.to_string().contains("in use by another davy-ingest"), "{second}");
        drop(first);
        Hold::take(folder.path()).unwrap();
    }
}
