//! Opening that always ends with a usable file: what is damaged is set aside and read row by row.
//!
//! Called by `Spool::open`, `Log::open` and by the spool when it meets damage while running.

use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, Row};

use super::{
    ASIDE_FILES_MAX, File, Shape, disk_free_bytes, sync_directory, with_suffix, write_synced,
};
use crate::error::Error;

/// Bytes that opening needs on the disk: journal, its index, a page.
const OPEN_BYTES: u64 = 128 << 10;

/// Errors after which salvage gives up on a table.
const SALVAGE_ERRORS_MAX: u32 = 10_000;

/// A file in use and, where damage was found, what it replaces.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) file: File,
    /// The damaged file and why it was set aside; its rows are to be copied, then [`Opened::done`].
    pub(crate) aside: Option<(PathBuf, String)>,
}

impl Opened {
    /// The damaged file for reading, if SQLite can open it at all.
    pub(crate) fn damaged(&self) -> Option<Connection> {
        let (path, _) = self.aside.as_ref()?;
        let conn = Connection::open(path).ok()?;
        // Reading must not checkpoint into a file whose pages are not trusted.
        // `writable_schema` makes SQLite take a file that was cut short.
        conn.execute_batch(
            "PRAGMA writable_schema=ON; PRAGMA wal_autocheckpoint=0; PRAGMA query_only=ON;
             PRAGMA trusted_schema=OFF;",
        )
        .ok()?;
        Some(conn)
    }

    /// The rows were copied: the next opening need not do it again.
    pub(crate) fn done(&self) -> Result<(), Error> {
        let marker = with_suffix(&self.file.path, ".suspect");
        match fs::remove_file(&marker) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::Directory { doing: "remove", path: marker, source: e })
            }
            _ => sync_directory(&self.file.path),
        }
    }
}

/// Opens `path`, or sets it aside and makes a new file.
///
/// # Errors
/// [`Error::Busy`] where another process has the file, [`Error::DiskFull`]; otherwise only where the disk does not serve.
pub(crate) fn open(path: &Path, shape: &Shape, now_ms: i64) -> Result<Opened, Error> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir).map_err(|source| Error::Directory {
            doing: "make",
            path: dir.to_path_buf(),
            source,
        })?;
    }
    let marker = with_suffix(path, ".suspect");
    let why = match fs::read_to_string(&marker) {
        Ok(name) => {
            let aside = path.with_file_name(name.trim());
            if !name.trim().is_empty() && aside.exists() {
                remove_with_journal(path)?;
                let file = File::at(path, shape)?;
                let why = "an interrupted salvage is repeated".to_owned();
                return Ok(Opened { file, aside: Some((aside, why)) });
            }
            "damage was seen while running".to_owned()
        }
        Err(_) => match File::at(path, shape) {
            Ok(file) => return Ok(Opened { file, aside: None }),
            Err(e) if !is_damage(&e) || is_full(path) => return Err(e),
            Err(e) => told(&e),
        },
    };
    let aside = set_aside(path, now_ms)?;
    let file = File::at(path, shape)?;
    Ok(Opened { file, aside: Some((aside, why)) })
}

/// Whether there is no room for the journal's index: opening a sound file fails then, with errors of many kinds, and
/// there would be no room to copy a damaged one either.
fn is_full(path: &Path) -> bool {
    disk_free_bytes(path).is_some_and(|free| free < OPEN_BYTES)
}

/// Whether the file itself is to blame. A disk without room or a file in use says nothing against it.
fn is_damage(e: &Error) -> bool {
    !matches!(e, Error::Busy { .. } | Error::DiskFull { .. })
}

/// An error with its causes, one line.
pub(crate) fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(e) = cause {
        text.push_str(": ");
        text.push_str(&e.to_string());
        cause = e.source();
    }
    text
}

fn set_aside(path: &Path, now_ms: i64) -> Result<PathBuf, Error> {
    let fail = |doing| {
        let path = path.to_path_buf();
        move |source| Error::Directory { doing, path, source }
    };
    let base = format!(".damaged-{}", stamp(now_ms));
    let aside = (0..)
        .map(|n| with_suffix(path, &if n == 0 { base.clone() } else { format!("{base}-{n}") }))
        .find(|p| !p.exists())
        .expect("some number is free");
    let name = aside.file_name().and_then(|n| n.to_str()).unwrap_or_default().to_owned();
    write_synced(&with_suffix(path, ".suspect"), name.as_bytes()).map_err(fail("mark"))?;
    crate::fail_point!("salvage.marked");
    if path.symlink_metadata().is_ok() {
        fs::rename(path, &aside).map_err(fail("set aside"))?;
    }
    for journal in ["-wal", "-shm"] {
        let from = with_suffix(path, journal);
        if from.symlink_metadata().is_ok() {
            fs::rename(&from, with_suffix(&aside, journal)).map_err(fail("set aside"))?;
        }
    }
    sync_directory(path)?;
    crate::fail_point!("salvage.set_aside");
    prune(path, &aside);
    Ok(aside)
}

/// Deletes the oldest files set aside beyond [`ASIDE_FILES_MAX`].
fn prune(path: &Path, newest: &Path) {
    let prefix = with_suffix(path, ".damaged-");
    let Some(dir) = path.parent() else { return };
    let Ok(entries) = fs::read_dir(dir) else { return };
    let mut found: Vec<PathBuf> = entries
        .filter_map(|e| Some(e.ok()?.path()))
        .filter(|p| {
            p.as_os_str().as_encoded_bytes().starts_with(prefix.as_os_str().as_encoded_bytes())
        })
        .filter(|p| !["-wal", "-shm"].iter().any(|s| p.to_string_lossy().ends_with(s)))
        .filter(|p| p != newest)
        .collect();
    found.sort();
    let excess = found.len().saturating_sub(ASIDE_FILES_MAX - 1);
    for old in &found[..excess] {
        // A file that cannot be deleted costs room, not data.
        drop(remove_with_journal(old));
    }
}

fn remove_with_journal(path: &Path) -> Result<(), Error> {
    for suffix in ["", "-wal", "-shm"] {
        let at = with_suffix(path, suffix);
        let gone = if at.is_dir() { fs::remove_dir_all(&at) } else { fs::remove_file(&at) };
        match gone {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::Directory { doing: "remove", path: at, source: e });
            }
            _ => {}
        }
    }
    Ok(())
}

/// `20261123T225100Z` of milliseconds since the Unix epoch.
fn stamp(now_ms: i64) -> String {
    let seconds = now_ms.div_euclid(1000);
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Civil date from days, after Howard Hinnant.
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute) = (second / 3600, second / 60 % 60);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{:02}Z", second % 60)
}

/// Reads the rows of a damaged table by ascending id, stepping over what cannot be read.
///
/// `sql` selects rows with an id above `?1` in ascending order, the id in column 0. `take` is called
/// for each row that could be read. Returns how many times something had to be stepped over.
pub(crate) fn salvage_rows(
    conn: &Connection,
    sql: &str,
    mut take: impl FnMut(&Row<'_>) -> Result<(), Error>,
) -> Result<u32, Error> {
    // `skip` doubles the distance jumped over after each failure without a row in between.
    let (mut last, mut skip, mut errors) = (-1i64, 0u32, 0u32);
    while errors < SALVAGE_ERRORS_MAX && skip < 63 {
        let after = if skip == 0 { last } else { last.saturating_add(1 << (skip - 1)) };
        let Ok(mut statement) = conn.prepare(sql) else { return Ok(errors + 1) };
        let Ok(mut rows) = statement.query([after]) else { return Ok(errors + 1) };
        loop {
            match rows.next().and_then(|row| row.map(|r| Ok((r.get::<_, i64>(0)?, r))).transpose())
            {
                Ok(None) => return Ok(errors),
                Ok(Some((id, row))) => {
                    (last, skip) = (id, 0);
                    take(row)?;
                }
                Err(_) => break,
            }
        }
        errors += 1;
        skip += 1;
    }
    Ok(errors)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamp_is_a_civil_date() {
        assert_eq!(stamp(0), "19700101T000000Z");
        assert_eq!(stamp(1_795_474_260_000), "20261123T225100Z");
        assert_eq!(stamp(951_782_400_000), "20000229T000000Z");
    }

    #[test]
    fn a_full_disk_is_no_damage_and_leaves_no_word_of_it() {
        let dir = tempfile::TempDir::new().expect("a folder");
        let path = dir.path().join("spool.db");
        assert!(!is_damage(&Error::DiskFull { path: path.clone(), source: None }));
        let source = rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(26), None);
        assert!(is_damage(&Error::Damaged { path, source }));
        // Every write fails for want of room; the file itself can be made.
        let marker = dir.path().join("spool.db.suspect");
        std::os::unix::fs::symlink("/dev/full", &marker).expect("a link");
        assert!(write_synced(&marker, b"name").is_err());
        assert!(!marker.exists(), "an empty marker would mean damage at the next start");
    }
}
