//! The store's position in a small file beside the log: `log_id position crc32`, replaced whole, synced.
//!
//! It may lag behind what the database holds, never run ahead of it. A damaged file counts as none: everything the log
//! still has is sent again, which changes nothing.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::store::{Position, StoreError};

/// The open cursor.
#[derive(Debug)]
pub(in crate::store) struct Cursor {
    path: PathBuf,
    position: Option<Position>,
}

impl Cursor {
    /// Reads the file; none yet is fine.
    ///
    /// # Errors
    /// When the file exists and cannot be read.
    pub(in crate::store) fn open(path: &Path) -> Result<Self, StoreError> {
        let position = match std::fs::read_to_string(path) {
            Ok(text) => {
                let position = parse(&text);
                if position.is_none() {
                    tracing::warn!(path = %path.display(), "cursor is damaged, everything in the log is sent again");
                }
                position
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
            Err(e) if e.kind() == std::io::ErrorKind::InvalidData => None,
            Err(e) => return Err(failed("read cursor", path, &e)),
        };
        Ok(Self { path: path.to_owned(), position })
    }

    /// The position; `None` before the first.
    pub(in crate::store) fn position(&self) -> Option<Position> {
        self.position
    }

    /// Makes a position durable.
    ///
    /// # Errors
    /// When the file cannot be written; the position is the old one then.
    pub(in crate::store) fn set(&mut self, position: Position) -> Result<(), StoreError> {
        if self.position == Some(position) {
            return Ok(());
        }
        self.write(position).map_err(|e| failed("write cursor", &self.path, &e))?;
        self.position = Some(position);
        Ok(())
    }

    fn write(&self, position: Position) -> std::io::Result<()> {
        let new = write_beside(&self.path, text(position).as_bytes())?;
        spool::fail_point!("influx.position.written");
        std::fs::rename(&new, &self.path)?;
        spool::fail_point!("influx.position.renamed");
        sync_folder(&self.path)
    }
}

/// Replaces a file whole, durably.
pub(in crate::store) fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    std::fs::rename(write_beside(path, bytes)?, path)?;
    sync_folder(path)
}

/// Writes what is to take a file's place beside it, durably.
fn write_beside(path: &Path, bytes: &[u8]) -> std::io::Result<PathBuf> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    let mut file = File::create(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    Ok(new)
}

/// Makes a rename in a file's folder durable.
fn sync_folder(path: &Path) -> std::io::Result<()> {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
        _ => Ok(()),
    }
}

fn text(at: Position) -> String {
    let body = format!("{} {}", at.log_id, at.position);
    format!("{body} {}\n", crc32fast::hash(body.as_bytes()))
}

fn parse(text: &str) -> Option<Position> {
    let (body, crc) = text.trim_end().rsplit_once(' ')?;
    if crc.parse() != Ok(crc32fast::hash(body.as_bytes())) {
        return None;
    }
    let (log_id, position) = body.split_once(' ')?;
    Some(Position { log_id: log_id.parse().ok()?, position: position.parse().ok()? })
}

pub(in crate::store) fn failed(
    action: &'static str,
    path: &Path,
    error: &std::io::Error,
) -> StoreError {
    StoreError::File { action, path: path.display().to_string(), reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_survives_and_damage_reads_as_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.cursor");
        let mut cursor = Cursor::open(&path).unwrap();
        assert_eq!(cursor.position(), None);
        let at = Position { log_id: u64::MAX, position: 42 };
        cursor.set(at).unwrap();
        assert_eq!(Cursor::open(&path).unwrap().position(), Some(at));
        for damage in ["", "1 2", "1 3 12345", "\u{0}\u{0}"] {
            std::fs::write(&path, damage).unwrap();
            assert_eq!(Cursor::open(&path).unwrap().position(), None, "{damage:?}");
        }
        std::fs::write(&path, [0xff, 0xfe]).unwrap();
        assert_eq!(Cursor::open(&path).unwrap().position(), None);
    }
}
