//! One day file: the sealed samples of one UTC day in a SQLite file of its own.
//!
//! ```text
//! series(id, site, device, quantity)
//! times(id, refs, body)                     times of one reply and hour, shared by its series
//! part(key = series << 17 | hour << 12 | number, t0, t1, count, numbers, min, max, sum, last, qualities, times,
//!      minutes, vals, marks)                blobs last: a wide query reads none of them
//! applied(name, log_id, position)           'applied': sealed up to here; 'safe': end of the last whole seal before it
//! ```
//!
//! One writer (the sealing store) changes parts, summaries and position in one transaction; readers open connections
//! of their own. Retention deletes the file.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use rusqlite::{CachedStatement, Connection, OpenFlags, OptionalExtension, Transaction, params};

use super::merge::Span;
use super::part::{HOUR_MS, PartError, Summary, decode_times};
use crate::store::{Position, StoreError};

/// One day, ms.
pub(super) const DAY_MS: i64 = 24 * HOUR_MS;
/// Version of the schema, in `user_version`.
const VERSION: i64 = 1;
/// Pages of the write-ahead log before it is copied back: 16 MB.
const CHECKPOINT_PAGES: i64 = 2_000;

const SCHEMA: &str = "
CREATE TABLE series(id INTEGER PRIMARY KEY, site TEXT NOT NULL, device TEXT NOT NULL, quantity TEXT NOT NULL,
    UNIQUE(site, device, quantity)) STRICT;
CREATE TABLE times(id INTEGER PRIMARY KEY, refs INTEGER NOT NULL, body BLOB NOT NULL) STRICT;
CREATE TABLE part(key INTEGER PRIMARY KEY, t0 INTEGER NOT NULL, t1 INTEGER NOT NULL, count INTEGER NOT NULL,
    numbers INTEGER NOT NULL, min REAL, max REAL, sum REAL, last REAL, qualities INTEGER NOT NULL,
    times INTEGER NOT NULL, minutes BLOB NOT NULL, vals BLOB NOT NULL, marks BLOB NOT NULL) STRICT;
CREATE TABLE applied(name TEXT PRIMARY KEY, log_id INTEGER NOT NULL, position INTEGER NOT NULL) STRICT;
";

/// Why a day file could not be read or written.
#[derive(Debug, thiserror::Error)]
pub(super) enum DayError {
    #[error("{0}")]
    Sql(#[from] rusqlite::Error),
    #[error("{0}")]
    Part(#[from] PartError),
    #[error("{0}")]
    Shape(&'static str),
}

impl DayError {
    /// As the store reports it.
    pub(super) fn at(self, action: &'static str, path: &Path) -> StoreError {
        let path = path.display().to_string();
        StoreError::File { action, path, reason: self.to_string() }
    }
}

/// Number of the UTC day that holds `t` ms.
pub(super) fn day_of(t: i64) -> i64 {
    t.div_euclid(DAY_MS)
}

/// Where a day's file is: `2026-11-23.day`.
pub(super) fn path_of(dir: &Path, day: i64) -> PathBuf {
    let epoch = jiff::civil::date(1970, 1, 1);
    let date =
        i32::try_from(day).ok().and_then(|d| epoch.checked_add(jiff::Span::new().days(d)).ok());
    dir.join(date.map_or_else(|| format!("{day}.day"), |date| format!("{date}.day")))
}

/// The day of a file name, the reverse of [`path_of`]; `None` for any other file.
pub(super) fn day_of_name(name: &str) -> Option<i64> {
    let date: jiff::civil::Date = name.strip_suffix(".day")?.parse().ok()?;
    let days = jiff::civil::date(1970, 1, 1).until(date).ok()?.get_days();
    Some(i64::from(days))
}

/// First key of a series and hour; its 4,096 keys follow.
pub(super) fn key(series: i64, hour: i64) -> i64 {
    series << 17 | hour << 12
}

/// Most parts of a series in one hour.
pub(super) const PARTS_PER_HOUR: i64 = 1 << 12;

/// Opens a day file for the one writer, made if it is new.
pub(super) fn open_writer(path: &Path) -> Result<Connection, DayError> {
    let db = Connection::open(path)?;
    db.pragma_update(None, "page_size", 8_192)?;
    db.pragma_update(None, "journal_mode", "WAL")?;
    db.pragma_update(None, "synchronous", "FULL")?;
    db.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    db.pragma_update(None, "journal_size_limit", 0)?;
    db.set_prepared_statement_cache_capacity(32);
    let version: i64 = db.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    match version {
        VERSION => {}
        0 => {
            let batch =
                format!("BEGIN IMMEDIATE; {SCHEMA} PRAGMA user_version = {VERSION}; COMMIT;");
            db.execute_batch(&batch)?;
        }
        _ => return Err(DayError::Shape("made by a newer version of davy-ingest")),
    }
    Ok(db)
}

/// Opens a day file for a reader; `None` if there is none.
pub(super) fn open_reader(path: &Path) -> Result<Option<Connection>, DayError> {
    if !path.exists() {
        return Ok(None);
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = match Connection::open_with_flags(path, flags) {
        Ok(db) => db,
        // Retention took it between the two calls.
        Err(_) if !path.exists() => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    db.pragma_update(None, "query_only", true)?;
    db.busy_timeout(std::time::Duration::from_secs(5))?;
    let version: i64 = db.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    Ok((version == VERSION).then_some(db))
}

/// The id of a series in this file.
pub(super) fn series_id(
    db: &Connection,
    site: &str,
    device: &str,
    quantity: &str,
) -> rusqlite::Result<Option<i64>> {
    db.prepare_cached("SELECT id FROM series WHERE site = ?1 AND device = ?2 AND quantity = ?3")?
        .query_row([site, device, quantity], |row| row.get(0))
        .optional()
}

/// A position that a day file keeps.
pub(super) fn position(db: &Connection, name: &str) -> rusqlite::Result<Option<Position>> {
    let mut statement = db.prepare("SELECT log_id, position FROM applied WHERE name = ?1")?;
    let read = |row: &rusqlite::Row<'_>| {
        let (log_id, position): (i64, i64) = (row.get(0)?, row.get(1)?);
        Ok(Position { log_id: log_id.cast_unsigned(), position: position.cast_unsigned() })
    };
    statement.query_row([name], read).optional()
}

/// Sets a position.
pub(super) fn set_position(db: &Connection, name: &str, at: Position) -> rusqlite::Result<()> {
    let sql = "INSERT INTO applied VALUES (?1, ?2, ?3)
        ON CONFLICT(name) DO UPDATE SET log_id = excluded.log_id, position = excluded.position";
    let at = params![name, at.log_id.cast_signed(), at.position.cast_signed()];
    db.prepare_cached(sql)?.execute(at).map(|_| ())
}

/// Statements of one sealing transaction.
pub(super) struct DayWriter<'db> {
    tx: &'db Transaction<'db>,
    spans: CachedStatement<'db>,
    load: CachedStatement<'db>,
    delete: CachedStatement<'db>,
    insert: CachedStatement<'db>,
    insert_times: CachedStatement<'db>,
    /// How the number of parts that use some times has changed.
    refs: HashMap<i64, i64>,
}

impl std::fmt::Debug for DayWriter<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DayWriter").field("refs", &self.refs.len()).finish_non_exhaustive()
    }
}

/// A part to be written.
#[derive(Debug)]
pub(super) struct NewPart<'a> {
    pub(super) key: i64,
    pub(super) t0: i64,
    pub(super) t1: i64,
    pub(super) count: usize,
    pub(super) summary: Summary,
    pub(super) times: i64,
    pub(super) minutes: &'a [u8],
    pub(super) values: &'a [u8],
    pub(super) marks: &'a [u8],
}

impl<'db> DayWriter<'db> {
    /// Prepares the statements.
    pub(super) fn new(tx: &'db Transaction<'db>) -> rusqlite::Result<Self> {
        let spans = "SELECT key, t0, t1, count, times FROM part WHERE key >= ?1 AND key < ?2";
        let insert =
            "INSERT INTO part VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)";
        Ok(Self {
            tx,
            spans: tx.prepare_cached(spans)?,
            load: tx.prepare_cached("SELECT vals, marks FROM part WHERE key = ?1")?,
            delete: tx.prepare_cached("DELETE FROM part WHERE key = ?1")?,
            insert: tx.prepare_cached(insert)?,
            insert_times: tx.prepare_cached("INSERT INTO times(refs, body) VALUES (0, ?1)")?,
            refs: HashMap::new(),
        })
    }

    /// The id of a series, new if the file does not know it.
    pub(super) fn series(&self, site: &str, device: &str, quantity: &str) -> rusqlite::Result<i64> {
        if let Some(id) = series_id(self.tx, site, device, quantity)? {
            return Ok(id);
        }
        let sql = "INSERT INTO series(site, device, quantity) VALUES (?1, ?2, ?3)";
        self.tx.prepare_cached(sql)?.insert([site, device, quantity])
    }

    /// The parts of a series and hour, sorted by time.
    pub(super) fn spans(
        &mut self,
        series: i64,
        hour: i64,
        out: &mut Vec<Span>,
    ) -> rusqlite::Result<()> {
        out.clear();
        let from = key(series, hour);
        let mut rows = self.spans.query([from, from + PARTS_PER_HOUR])?;
        while let Some(row) = rows.next()? {
            out.push(Span {
                key: row.get(0)?,
                t0: row.get(1)?,
                t1: row.get(2)?,
                count: row.get::<_, u32>(3)? as usize,
                times: row.get(4)?,
            });
        }
        out.sort_by_key(|s| s.t0);
        Ok(())
    }

    /// Values and marks of a part, as stored.
    pub(super) fn load(&mut self, key: i64) -> rusqlite::Result<(Vec<u8>, Vec<u8>)> {
        self.load.query_row([key], |row| Ok((row.get(0)?, row.get(1)?)))
    }

    /// Deletes a part.
    pub(super) fn delete(&mut self, span: &Span) -> rusqlite::Result<()> {
        *self.refs.entry(span.times).or_default() -= 1;
        self.delete.execute([span.key]).map(|_| ())
    }

    /// Writes a part.
    pub(super) fn insert(&mut self, part: &NewPart<'_>) -> rusqlite::Result<()> {
        *self.refs.entry(part.times).or_default() += 1;
        let s = &part.summary;
        let number = |x: f64| (s.numbers > 0).then_some(x);
        self.insert.execute(params![
            part.key,
            part.t0,
            part.t1,
            u32::try_from(part.count).unwrap_or(u32::MAX),
            s.numbers,
            number(s.min),
            number(s.max),
            number(s.sum),
            number(s.last),
            s.qualities,
            part.times,
            part.minutes,
            part.values,
            part.marks,
        ])?;
        Ok(())
    }

    /// Keeps times; returns their id.
    pub(super) fn insert_times(&mut self, body: &[u8]) -> rusqlite::Result<i64> {
        let id = self.insert_times.insert([body])?;
        self.refs.entry(id).or_default();
        Ok(id)
    }

    /// Settles how often times are used and drops those that no part uses.
    pub(super) fn finish(self) -> rusqlite::Result<()> {
        let sql = "UPDATE times SET refs = refs + ?2 WHERE id = ?1";
        let mut update = self.tx.prepare_cached(sql)?;
        let mut drop = self.tx.prepare_cached("DELETE FROM times WHERE id = ?1 AND refs <= 0")?;
        for (id, change) in self.refs {
            update.execute([id, change])?;
            if change <= 0 {
                drop.execute([id])?;
            }
        }
        Ok(())
    }
}

/// Times by their id; `hour_start` in ms.
pub(super) fn load_times(db: &Connection, id: i64, hour_start: i64) -> Result<Vec<i64>, DayError> {
    let mut statement = db.prepare_cached("SELECT body FROM times WHERE id = ?1")?;
    let body: Option<Vec<u8>> = statement.query_row([id], |row| row.get(0)).optional()?;
    let body = body.ok_or(DayError::Shape("a part names times that the file lacks"))?;
    Ok(decode_times(&body, hour_start)?)
}
