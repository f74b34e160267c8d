//! The tables of a day file, its versions, and how a file is opened, upgraded and copied out of damage.
//!
//! ```text
//! series(id, site, device, quantity)
//! times(id, refs, crc, body)                times of one reply and hour, shared by its series
//! part(key = series << 17 | hour << 12 | number, t0, t1, count, numbers, min, max, sum, last, qualities, times,
//!      crc_row, crc_minutes, crc_body, minutes, vals, marks)
//!                                           blobs last: a wide query reads none of them
//! damaged(id, key, t0, t1, count, reason, body, vals, marks)
//!                                           parts that could not be read when new samples came: kept as they were
//! applied(name, log_id, position)           'applied': sealed up to here; 'safe': end of the last whole seal before it
//! ```
//!
//! Version 1 had neither checksums nor `damaged`. Readers take both; the writer upgrades a file before it changes it.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior, params};

use super::day::DayError;
use super::part;

/// Version of the schema that is written, in `user_version`.
pub(super) const VERSION: i64 = 2;
/// The version without checksums.
const VERSION_1: i64 = 1;
/// Pages of the write-ahead log before it is copied back: 16 MB.
const CHECKPOINT_PAGES: i64 = 2_000;
/// How long a statement waits for another connection's lock.
const BUSY: Duration = Duration::from_secs(5);

const SCHEMA: &str = "
CREATE TABLE series(id INTEGER PRIMARY KEY, site TEXT NOT NULL, device TEXT NOT NULL, quantity TEXT NOT NULL,
    UNIQUE(site, device, quantity)) STRICT;
CREATE TABLE applied(name TEXT PRIMARY KEY, log_id INTEGER NOT NULL, position INTEGER NOT NULL) STRICT;
";
const SCHEMA_2: &str = "
CREATE TABLE times(id INTEGER PRIMARY KEY, refs INTEGER NOT NULL, crc INTEGER NOT NULL, body BLOB NOT NULL) STRICT;
CREATE TABLE part(key INTEGER PRIMARY KEY, t0 INTEGER NOT NULL, t1 INTEGER NOT NULL, count INTEGER NOT NULL,
    numbers INTEGER NOT NULL, min REAL, max REAL, sum REAL, last REAL, qualities INTEGER NOT NULL,
    times INTEGER NOT NULL, crc_row INTEGER NOT NULL, crc_minutes INTEGER NOT NULL, crc_body INTEGER NOT NULL,
    minutes BLOB NOT NULL, vals BLOB NOT NULL, marks BLOB NOT NULL) STRICT;
CREATE TABLE damaged(id INTEGER PRIMARY KEY, key INTEGER NOT NULL, t0 INTEGER NOT NULL, t1 INTEGER NOT NULL,
    count INTEGER NOT NULL, reason TEXT NOT NULL, body BLOB, vals BLOB, marks BLOB) STRICT;
";

/// Opens a day file for the one writer: made if it is new, upgraded if it is old.
pub(super) fn open_writer(path: &Path) -> Result<Connection, DayError> {
    let mut db = Connection::open(path)?;
    db.busy_timeout(BUSY)?;
    db.pragma_update(None, "page_size", 8_192)?;
    db.pragma_update(None, "journal_mode", "WAL")?;
    db.pragma_update(None, "synchronous", "FULL")?;
    db.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    db.pragma_update(None, "journal_size_limit", 0)?;
    db.set_prepared_statement_cache_capacity(32);
    match version(&db)? {
        VERSION => {}
        0 => db.execute_batch(&format!(
            "BEGIN IMMEDIATE; {SCHEMA} {SCHEMA_2} PRAGMA user_version = {VERSION}; COMMIT;"
        ))?,
        VERSION_1 => upgrade(&mut db)?,
        _ => return Err(DayError::Newer),
    }
    Ok(db)
}

/// Opens a day file for a reader, beside its writer or in another process; `None` if there is none, or none of its
/// tables yet. The number says which version it has.
pub(super) fn open_reader(path: &Path) -> Result<Option<(Connection, i64)>, DayError> {
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
    db.busy_timeout(BUSY)?;
    db.pragma_update(None, "query_only", true)?;
    match version(&db)? {
        0 => Ok(None),
        known @ (VERSION_1 | VERSION) => Ok(Some((db, known))),
        _ => Err(DayError::Newer),
    }
}

fn version(db: &Connection) -> rusqlite::Result<i64> {
    db.query_row("PRAGMA user_version", [], |row| row.get(0))
}

/// A checksum's column, or what stands for it in a file that has none.
pub(super) fn crc(version: i64, column: &'static str) -> &'static str {
    if version >= VERSION { column } else { "NULL" }
}

/// From version 1 to the present one, in one transaction; what a kill leaves is the old file.
fn upgrade(db: &mut Connection) -> Result<(), DayError> {
    let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let rename = "ALTER TABLE times RENAME TO old_times; ALTER TABLE part RENAME TO old_part;";
    tx.execute_batch(&format!("{rename} {SCHEMA_2}"))?;
    copy_times(&tx, "SELECT id, refs, body FROM old_times ORDER BY id")?;
    copy_parts(&tx, &format!("SELECT {PART} FROM old_part ORDER BY key"))?;
    let finish =
        format!("DROP TABLE old_times; DROP TABLE old_part; PRAGMA user_version = {VERSION};");
    tx.execute_batch(&finish)?;
    tx.commit()?;
    Ok(())
}

/// Columns of a part that every version has.
pub(super) const PART: &str =
    "key, t0, t1, count, numbers, min, max, sum, last, qualities, times, minutes, vals, marks";

fn copy_times(db: &Connection, select: &str) -> Result<(), DayError> {
    let mut insert = db.prepare("INSERT OR IGNORE INTO times VALUES (?1, ?2, ?3, ?4)")?;
    let mut select = db.prepare(select)?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let (id, refs, body): (i64, i64, Vec<u8>) = (row.get(0)?, row.get(1)?, row.get(2)?);
        insert.execute(params![id, refs, part::crc(&[&body]), body])?;
    }
    Ok(())
}

fn copy_parts(db: &Connection, select: &str) -> Result<(), DayError> {
    let mut insert = db.prepare(INSERT_PART)?;
    let mut select = db.prepare(select)?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let (minutes, vals, marks): (Vec<u8>, Vec<u8>, Vec<u8>) =
            (row.get(11)?, row.get(12)?, row.get(13)?);
        let head = PartRow::read(row)?;
        let crcs = (head.crc(), part::crc(&[&minutes]), part::crc(&[&vals, &marks]));
        head.insert(&mut insert, crcs, (&minutes, &vals, &marks))?;
    }
    Ok(())
}

/// Inserts a part: see [`PartRow::insert`].
pub(super) const INSERT_PART: &str =
    "INSERT INTO part(key, t0, t1, count, numbers, min, max, sum, last, qualities, times,
    crc_row, crc_minutes, crc_body, minutes, vals, marks)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)";

/// A part without its blobs.
#[derive(Debug, Clone, Copy)]
pub(super) struct PartRow {
    pub(super) key: i64,
    pub(super) t0: i64,
    pub(super) t1: i64,
    pub(super) count: usize,
    pub(super) summary: part::Summary,
    pub(super) times: i64,
}

impl PartRow {
    /// From the first eleven of [`PART`].
    pub(super) fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        let number = |i: usize| row.get::<_, Option<f64>>(i);
        let empty = part::Summary::EMPTY;
        let summary = part::Summary {
            numbers: row.get(4)?,
            min: number(5)?.unwrap_or(empty.min),
            max: number(6)?.unwrap_or(empty.max),
            sum: number(7)?.unwrap_or_default(),
            last: number(8)?.unwrap_or(empty.last),
            qualities: row.get(9)?,
        };
        Ok(Self {
            key: row.get(0)?,
            t0: row.get(1)?,
            t1: row.get(2)?,
            count: row.get::<_, u32>(3)? as usize,
            summary,
            times: row.get(10)?,
        })
    }

    /// Checksum of everything but the blobs.
    pub(super) fn crc(&self) -> u32 {
        let s = &self.summary;
        let number = |x: f64| if s.numbers > 0 { (x + 0.0).to_bits() } else { 0 };
        let words = [
            self.key.cast_unsigned(),
            self.t0.cast_unsigned(),
            self.t1.cast_unsigned(),
            self.count as u64,
            u64::from(s.numbers),
            number(s.min),
            number(s.max),
            number(s.sum),
            number(s.last),
            u64::from(s.qualities),
            self.times.cast_unsigned(),
        ];
        let mut crc = crc32fast::Hasher::new();
        words.iter().for_each(|word| crc.update(&word.to_le_bytes()));
        crc.finalize()
    }

    /// Writes the part: checksums of row, minutes and body; minutes, values and marks.
    pub(super) fn insert(
        &self,
        insert: &mut rusqlite::Statement<'_>,
        crcs: (u32, u32, u32),
        blobs: (&[u8], &[u8], &[u8]),
    ) -> rusqlite::Result<()> {
        let s = &self.summary;
        let number = |x: f64| (s.numbers > 0).then_some(x);
        insert.execute(params![
            self.key,
            self.t0,
            self.t1,
            u32::try_from(self.count).unwrap_or(u32::MAX),
            s.numbers,
            number(s.min),
            number(s.max),
            number(s.sum),
            number(s.last),
            s.qualities,
            self.times,
            crcs.0,
            crcs.1,
            crcs.2,
            blobs.0,
            blobs.1,
            blobs.2,
        ])?;
        Ok(())
    }
}

/// Whether an error of SQLite says that the file's structure is broken.
pub(super) fn is_corrupt(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error_code();
    matches!(code, Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

/// Whether an error of SQLite says that the file's bytes are not what was written, or cannot be read at all.
pub(super) fn is_damage(error: &rusqlite::Error) -> bool {
    match error {
        rusqlite::Error::FromSqlConversionFailure(..)
        | rusqlite::Error::IntegralValueOutOfRange(..)
        | rusqlite::Error::InvalidColumnType(..)
        | rusqlite::Error::Utf8Error(..) => true,
        other => matches!(
            other.sqlite_error_code(),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::SystemIoFailure)
        ),
    }
}
