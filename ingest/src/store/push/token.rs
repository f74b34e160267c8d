//! A token or password that lies in a file and may be exchanged while the service runs.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use crate::secret::Secret;

/// What tells that a file is another one than before.
type Stamp = (Option<SystemTime>, u64);

/// Clones share what was read.
#[derive(Debug, Clone)]
pub struct Token {
    path: Option<PathBuf>,
    seen: Arc<Mutex<(Stamp, Secret)>>,
}

impl Token {
    /// Reads the file; its text without white space around it is the token.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn from_file(path: &Path) -> std::io::Result<Self> {
        let seen = Arc::new(Mutex::new(read(path)?));
        Ok(Self { path: Some(path.to_owned()), seen })
    }

    /// The token, read anew where the file has changed. A file that cannot be read now leaves the one that was known.
    #[must_use]
    pub fn current(&self) -> Secret {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(path) = &self.path
            && stamp(path).is_some_and(|now| now != seen.0)
        {
            reload(path, &mut seen);
        }
        seen.1.clone()
    }

    /// The token read anew whatever the file's time says: after it was refused.
    #[must_use]
    pub fn reread(&self) -> Secret {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(path) = &self.path {
            reload(path, &mut seen);
        }
        seen.1.clone()
    }
}

impl From<Secret> for Token {
    /// A token that never changes.
    fn from(secret: Secret) -> Self {
        Self { path: None, seen: Arc::new(Mutex::new(((None, 0), secret))) }
    }
}

fn reload(path: &Path, seen: &mut (Stamp, Secret)) {
    match read(path) {
        Ok(read) => {
            if read.1 != seen.1 {
                tracing::info!(path = %path.display(), "the store's token was exchanged");
            }
            *seen = read;
        }
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "the store's token cannot be read again, the one known is used");
        }
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let data = std::fs::metadata(path).ok()?;
    Some((data.modified().ok(), data.len()))
}

fn read(path: &Path) -> std::io::Result<(Stamp, Secret)> {
    // The stamp first: a change in between is seen the next time.
    let stamp = stamp(path).unwrap_or_default();
    let text = std::fs::read_to_string(path)?;
    Ok((stamp, Secret::new(text.trim().to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_file_is_read_again_and_a_lost_one_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        assert!(Token::from_file(&path).is_err());
        std::fs::write(&path, "one\n").unwrap();
        let token = Token::from_file(&path).unwrap();
        assert_eq!(token.current().reveal(), "one");
        std::fs::write(&path, " second ").unwrap();
        assert_eq!(token.current().reveal(), "second");
        std::fs::remove_file(&path).unwrap();
        assert_eq!((token.current().reveal(), token.reread().reveal()), ("second", "second"));
        assert!(!format!("{token:?}").contains("second"));
    }
}
