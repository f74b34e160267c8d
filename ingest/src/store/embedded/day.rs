//! One day file: the sealed samples of one UTC day in a SQLite file of its own (tables: schema.rs).
//!
//! One writer (the sealing store) changes parts, summaries and position in one transaction; readers open connections
//! of their own. Everything read is held against its checksum. Retention deletes the file.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use rusqlite::{CachedStatement, Connection, OptionalExtension, Transaction, params};

use super::merge::Span;
use super::part::{self, Column, HOUR_MS, PartError, Summary};
use super::schema::{self, PartRow};
use crate::store::{Position, StoreError};

/// One day, ms.
pub(super) const DAY_MS: i64 = 24 * HOUR_MS;
/// Why a day file could not be read or written.
#[derive(Debug, thiserror::Error)]
pub(super) enum DayError {
    #[error("{0}")]
    Sql(#[from] rusqlite::Error),
    #[error("{0}")]
    Part(#[from] PartError),
    #[error("{0}")]
    File(#[from] std::io::Error),
    #[error("{0}")]
    Shape(&'static str),
    #[error("made by a newer version of davy-ingest; run that version")]
    Newer,
}

impl DayError {
    /// Whether bytes are not as they were written: then the rest of the file and of the store is still good.
    pub(super) fn is_damage(&self) -> bool {
        match self {
            Self::Part(_) | Self::Shape(_) => true,
            Self::Sql(error) => schema::is_damage(error),
            Self::Newer | Self::File(_) => false,
        }
    }

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
    set_aside: CachedStatement<'db>,
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
        let spans =
            "SELECT key, t0, t1, count, numbers, min, max, sum, last, qualities, times, crc_row
            FROM part WHERE key >= ?1 AND key < ?2";
        let set_aside = "INSERT INTO damaged(key, t0, t1, count, reason, body, vals, marks)
            SELECT key, t0, t1, count, ?2, (SELECT body FROM times WHERE id = part.times), vals, marks
            FROM part WHERE key = ?1";
        Ok(Self {
            tx,
            spans: tx.prepare_cached(spans)?,
            load: tx.prepare_cached("SELECT vals, marks, crc_body FROM part WHERE key = ?1")?,
            delete: tx.prepare_cached("DELETE FROM part WHERE key = ?1")?,
            insert: tx.prepare_cached(schema::INSERT_PART)?,
            set_aside: tx.prepare_cached(set_aside)?,
            insert_times: tx
                .prepare_cached("INSERT INTO times(refs, crc, body) VALUES (0, ?1, ?2)")?,
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
            let crc: u32 = row.get(11)?;
            let row = PartRow::read(row)?;
            let PartRow { key, t0, t1, count, times, .. } = row;
            out.push(Span { key, t0, t1, count, times, is_sound: crc == row.crc() });
        }
        out.sort_by_key(|s| s.t0);
        Ok(())
    }

    /// Values and marks of a part.
    pub(super) fn load(&mut self, span: &Span) -> Result<Column, DayError> {
        let (values, marks, crc) = self.load.query_row([span.key], |row| {
            Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, Vec<u8>>(1)?, row.get::<_, u32>(2)?))
        })?;
        if part::crc(&[&values, &marks]) != crc {
            return Err(PartError::Checksum("values").into());
        }
        Ok(part::decode_column(&values, &marks, span.count)?)
    }

    /// Moves a part that cannot be read out of the way of new samples; its bytes stay in the file.
    pub(super) fn set_aside(&mut self, span: &Span, reason: &str) -> rusqlite::Result<()> {
        self.set_aside.execute(params![span.key, reason])?;
        self.delete(span)
    }

    /// Deletes a part.
    pub(super) fn delete(&mut self, span: &Span) -> rusqlite::Result<()> {
        *self.refs.entry(span.times).or_default() -= 1;
        self.delete.execute([span.key]).map(|_| ())
    }

    /// Writes a part.
    pub(super) fn insert(&mut self, part: &NewPart<'_>) -> rusqlite::Result<()> {
        *self.refs.entry(part.times).or_default() += 1;
        let row = PartRow {
            key: part.key,
            t0: part.t0,
            t1: part.t1,
            count: part.count,
            summary: part.summary,
            times: part.times,
        };
        let body = part::crc(&[part.values, part.marks]);
        let crcs = (row.crc(), part::crc(&[part.minutes]), body);
        row.insert(&mut self.insert, crcs, (part.minutes, part.values, part.marks))
    }

    /// Keeps times; returns their id.
    pub(super) fn insert_times(&mut self, body: &[u8]) -> rusqlite::Result<i64> {
        let id = self.insert_times.insert(params![part::crc(&[body]), body])?;
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

/// Times by their id, held against their checksum; `hour_start` in ms, `count` what the part says
/// (`None`: it is not believed).
pub(super) fn load_times(
    db: &Connection,
    version: i64,
    id: i64,
    hour_start: i64,
    count: Option<usize>,
) -> Result<Vec<i64>, DayError> {
    let sql = format!("SELECT body, {} FROM times WHERE id = ?1", schema::crc(version, "crc"));
    let found: Option<(Vec<u8>, Option<u32>)> = db
        .prepare_cached(&sql)?
        .query_row([id], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let (body, crc) = found.ok_or(DayError::Shape("a part names times that the file lacks"))?;
    if crc.is_some_and(|crc| crc != part::crc(&[&body])) {
        return Err(PartError::Checksum("times").into());
    }
    let times = part::decode_times(&body, hour_start)?;
    if times.is_empty() || count.is_some_and(|count| times.len() != count) {
        return Err(DayError::Shape("a part and its times differ"));
    }
    if !times.is_sorted_by(|a, b| a < b) {
        return Err(DayError::Shape("times are out of order"));
    }
    Ok(times)
}
