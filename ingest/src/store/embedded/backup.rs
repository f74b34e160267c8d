//! A copy of the store while it is written.
//!
//! The head is copied first and the day files after it: what a seal moves in between is in both and merges. When a seal
//! came in between, head and changed files are copied again, so that the copy is usually of one instant. The copy lies in
//! `DIR.partial` until it is whole and synced, then it is renamed: half a backup never looks like one.
//!
//! Together with the durable log: copy the **log first**, then the store. The log evicts only what the store has, so
//! whatever the copied log lacks is in the store copied after it; what the store has beyond the copied log is written
//! again and changes nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};

use super::file::HeadError;
use super::{HEAD, day, day_files, file_error, schema};
use crate::store::source::Step;
use crate::store::{Position, StoreError};

/// How often a copy is taken again because a seal came in between; what is left then is sound too, only not of one instant.
const ROUNDS_MAX: u32 = 4;

/// What was copied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BackupReport {
    /// Day files.
    pub files: usize,
    /// Bytes of the copy.
    pub bytes: u64,
    /// Everything up to here is in the copy; `None` = the store never took anything.
    pub position: Option<Position>,
}

/// Copies the store in `dir` to the new folder `to`; `tell` hears of each day file. The store may be in use.
///
/// # Errors
/// When `to` exists, a file cannot be read, or the disk is full; `to` does not exist then.
pub fn backup(
    dir: &Path,
    to: &Path,
    tell: &mut dyn FnMut(Step),
) -> Result<BackupReport, StoreError> {
    if to.exists() {
        let reason = "exists already: name a folder that does not".to_owned();
        return Err(file_error("back up to", to, reason));
    }
    if !dir.is_dir() {
        return Err(file_error("back up", dir, "there is no embedded store here".to_owned()));
    }
    let partial = PathBuf::from(format!("{}.partial", to.display()));
    let io = |e: std::io::Error| file_error("write", &partial, e.to_string());
    if partial.exists() {
        std::fs::remove_dir_all(&partial).map_err(io)?;
    }
    std::fs::create_dir_all(&partial).map_err(io)?;
    let copied = copy_all(dir, &partial, tell);
    if copied.is_err() {
        // The first error is the one to tell; an unfinished folder left behind is named so.
        std::fs::remove_dir_all(&partial).ok();
    }
    let report = copied?;
    sync(&partial).map_err(io)?;
    std::fs::rename(&partial, to).map_err(io)?;
    sync_folder(to.parent().unwrap_or(Path::new("."))).map_err(io)?;
    Ok(report)
}

fn copy_all(dir: &Path, to: &Path, tell: &mut dyn FnMut(Step)) -> Result<BackupReport, StoreError> {
    let mut copied: BTreeMap<i64, Option<Position>> = BTreeMap::new();
    let mut report = BackupReport::default();
    for _ in 0..ROUNDS_MAX {
        let sealed = copy_head(dir, to, &mut report)?;
        let mut files = day_files(dir)?;
        files.sort();
        let of = files.len();
        for (done, (day, path)) in files.into_iter().enumerate() {
            let applied = applied(&path)?;
            if copied.get(&day).is_none_or(|known| *known != applied || applied.is_none()) {
                let name = path.file_name().unwrap_or_default();
                // Retention may take the file in between: then it is no part of the store any more.
                match copy(&path, &to.join(name)) {
                    Err(_) if !path.exists() => continue,
                    copied => copied.map_err(|e| at("copy", &path, &e))?,
                }
                copied.insert(day, applied);
            }
            tell(Step { day, done: done + 1, of, samples: 0 });
        }
        if sealed == sealed_now(dir)? {
            break;
        }
    }
    report.files = copied.len();
    report.bytes = size(to).map_err(|e| file_error("read", to, e.to_string()))?;
    Ok(report)
}

/// Copies the head; returns up to where it was sealed.
fn copy_head(
    dir: &Path,
    to: &Path,
    report: &mut BackupReport,
) -> Result<Option<Position>, StoreError> {
    let (from, to) = (dir.join(HEAD), to.join(HEAD));
    if !from.exists() {
        return Ok(None);
    }
    copy(&from, &to).map_err(|e| at("copy", &from, &e))?;
    let found = super::file::positions(&to).map_err(|e: HeadError| e.at("read", &to))?;
    report.position = found[0];
    Ok(found[1])
}

fn sealed_now(dir: &Path) -> Result<Option<Position>, StoreError> {
    let path = dir.join(HEAD);
    if !path.exists() {
        return Ok(None);
    }
    let found = super::file::positions(&path).map_err(|e| e.at("read", &path))?;
    Ok(found[1])
}

fn applied(path: &Path) -> Result<Option<Position>, StoreError> {
    let read = || -> Result<Option<Position>, day::DayError> {
        match schema::open_reader(path)? {
            Some((db, _)) => Ok(day::position(&db, "applied")?),
            None => Ok(None),
        }
    };
    match read() {
        Ok(position) => Ok(position),
        // Copied as it is: what is whole in it can still be read from the copy.
        Err(error) if error.is_damage() => Ok(None),
        Err(error) => Err(error.at("read day file", path)),
    }
}

/// Copies one database as of one instant, page by page, whatever its pages hold.
fn copy(from: &Path, to: &Path) -> Result<(), rusqlite::Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let source = Connection::open_with_flags(from, flags)?;
    source.busy_timeout(std::time::Duration::from_secs(30))?;
    let mut target = Connection::open(to)?;
    match Backup::new(&source, &mut target)?.step(-1)? {
        StepResult::Done => Ok(()),
        // Somebody held a lock for longer than the time-out.
        _ => Err(rusqlite::Error::SqliteFailure(
            rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY),
            Some("another process holds the file; try again".to_owned()),
        )),
    }
}

fn at(action: &'static str, path: &Path, error: &rusqlite::Error) -> StoreError {
    file_error(action, path, error.to_string())
}

fn size(dir: &Path) -> std::io::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir)? {
        bytes += entry?.metadata()?.len();
    }
    Ok(bytes)
}

fn sync(dir: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        std::fs::File::open(entry?.path())?.sync_all()?;
    }
    sync_folder(dir)
}

fn sync_folder(dir: &Path) -> std::io::Result<()> {
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    std::fs::File::open(dir)?.sync_all()
}
