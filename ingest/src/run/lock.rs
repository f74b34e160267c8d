//! One owner of the state folder: two writers of one log would each give out the same positions.
//!
//! The system lets go of the lock when the process ends, however it ends.

use std::fs::{File, TryLockError};
use std::path::Path;

use super::RunError;

/// Name of the file that is locked.
const NAME: &str = "lock";

/// Held for as long as something works with the log.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "dropping it lets go")] File);

impl Lock {
    /// Takes the state folder.
    ///
    /// # Errors
    /// [`RunError::InUse`] where another process has it.
    pub fn take(root: &Path) -> Result<Self, RunError> {
        let path = root.join(NAME);
        let fail = |source| RunError::Folder { path: root.to_owned(), source };
        let file = File::options().create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(fail)?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(TryLockError::WouldBlock) => Err(RunError::InUse { path: root.to_owned() }),
            Err(TryLockError::Error(source)) => Err(fail(source)),
        }
    }
}
