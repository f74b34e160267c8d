//! The parts of a series in one day file, as readers see them: a snapshot of the file, every byte held against its
//! checksum before it is believed.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use rusqlite::Connection;

use super::day::{self, DAY_MS, DayError};
use super::head::Point;
use super::ledger::Ledger;
use super::merge::Plan;
use super::part::{self, Column, HOUR_MS, Minute, PartError};
use super::schema::{self, PartRow};
use crate::store::Damage;

/// A part without its blobs, and whether its summary is as it was written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    pub(super) row: PartRow,
    pub(super) is_sound: bool,
}

/// An open day file: one snapshot for all that is read from it.
#[derive(Debug)]
pub(super) struct DayReader {
    db: Connection,
    version: i64,
    ledger: Arc<Ledger>,
    /// Number of the UTC day.
    day: i64,
}

impl DayReader {
    /// Opens a file; `None` if there is none.
    pub(super) fn open(
        path: &Path,
        day: i64,
        ledger: Arc<Ledger>,
    ) -> Result<Option<Self>, DayError> {
        let Some((db, version)) = schema::open_reader(path)? else { return Ok(None) };
        ledger.files.fetch_add(1, Relaxed);
        db.execute_batch("BEGIN")?;
        Ok(Some(Self { db, version, ledger, day }))
    }

    /// The connection, for what is not a part.
    pub(super) fn db(&self) -> &Connection {
        &self.db
    }

    /// The schema's version.
    pub(super) fn version(&self) -> i64 {
        self.version
    }

    /// Every series that the file names: id, site, device, quantity.
    pub(super) fn series(&self) -> Result<Vec<(i64, [String; 3])>, DayError> {
        let sql = "SELECT id, site, device, quantity FROM series";
        let mut statement = self.db.prepare(sql)?;
        let rows = statement
            .query_map([], |row| Ok((row.get(0)?, [row.get(1)?, row.get(2)?, row.get(3)?])))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// The parts of a series that touch `[from, to)`, sorted by time; what cannot be read goes to `damage`.
    pub(super) fn parts(
        &self,
        [site, device, quantity]: [&str; 3],
        from: i64,
        to: i64,
        damage: &mut dyn FnMut(Damage),
    ) -> Result<Vec<Part>, DayError> {
        let Some(series) = day::series_id(&self.db, site, device, quantity)? else {
            return Ok(Vec::new());
        };
        let hour = |t: i64| t.rem_euclid(DAY_MS) / HOUR_MS;
        let keys = [day::key(series, hour(from)), day::key(series, hour(to - 1))];
        let mut parts = Vec::new();
        match self.collect(&mut parts, [keys[0], keys[1] + day::PARTS_PER_HOUR]) {
            // The file breaks off: what comes after the break is missing.
            Err(error) if error.is_damage() => {
                damage(Damage { from, to, samples: 0, reason: error.to_string() });
            }
            collected => collected?,
        }
        for part in parts.iter_mut().filter(|part| !part.is_sound) {
            self.recover(part, damage)?;
        }
        parts.retain(|part| part.row.count > 0 && part.row.t1 >= from && part.row.t0 < to);
        parts.sort_by_key(|p| p.row.t0);
        self.ledger.summaries.fetch_add(parts.len() as u64, Relaxed);
        Ok(parts)
    }

    fn collect(&self, out: &mut Vec<Part>, keys: [i64; 2]) -> Result<(), DayError> {
        let sql = format!(
            "SELECT key, t0, t1, count, numbers, min, max, sum, last, qualities, times, {} FROM part
             WHERE key >= ?1 AND key < ?2",
            schema::crc(self.version, "crc_row")
        );
        let mut statement = self.db.prepare_cached(&sql)?;
        let mut rows = statement.query(keys)?;
        while let Some(row) = rows.next()? {
            let crc: Option<u32> = row.get(11)?;
            let row = PartRow::read(row)?;
            let is_sound = crc.is_none_or(|crc| crc == row.crc());
            out.push(Part { row, is_sound });
        }
        Ok(())
    }

    /// A summary that is not believed is replaced by what the samples say; without samples the part counts as empty.
    fn recover(&self, part: &mut Part, damage: &mut dyn FnMut(Damage)) -> Result<(), DayError> {
        let start = self.hour_start(&part.row);
        let times = day::load_times(&self.db, self.version, part.row.times, start, None);
        match times {
            Ok(times) => {
                (part.row.t0, part.row.t1) = (times[0], times[times.len() - 1]);
                part.row.count = times.len();
                let reason = PartError::Checksum("summary").to_string();
                damage(Damage { from: start, to: start, samples: 0, reason });
                Ok(())
            }
            Err(error) if error.is_damage() => {
                part.row.count = 0;
                let to = start + HOUR_MS;
                damage(Damage { from: start, to, samples: 0, reason: error.to_string() });
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Start of a part's hour, ms: from its key, which no damage of its span changes.
    fn hour_start(&self, row: &PartRow) -> i64 {
        self.day * DAY_MS + (row.key >> 12 & 31) * HOUR_MS
    }

    /// The minutes of a part; `None` if it has none.
    pub(super) fn minutes(&self, row: &PartRow) -> Result<Option<Vec<Minute>>, DayError> {
        count(&self.ledger.minutes);
        let crc = schema::crc(self.version, "crc_minutes");
        let sql = format!("SELECT minutes, {crc} FROM part WHERE key = ?1");
        let (bytes, crc): (Vec<u8>, Option<u32>) = self
            .db
            .prepare_cached(&sql)?
            .query_row([row.key], |row| Ok((row.get(0)?, row.get(1)?)))?;
        if crc.is_some_and(|crc| crc != part::crc(&[&bytes])) {
            return Err(PartError::Checksum("minutes").into());
        }
        Ok(part::decode_minutes(&bytes)?)
    }

    /// The samples of a part.
    pub(super) fn samples(&self, row: &PartRow) -> Result<(Vec<i64>, Column), DayError> {
        count(&self.ledger.samples);
        let crc = schema::crc(self.version, "crc_body");
        let sql = format!("SELECT vals, marks, {crc} FROM part WHERE key = ?1");
        let (values, marks, crc): (Vec<u8>, Vec<u8>, Option<u32>) =
            self.db
                .prepare_cached(&sql)?
                .query_row([row.key], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        if crc.is_some_and(|crc| crc != part::crc(&[&values, &marks])) {
            return Err(PartError::Checksum("values").into());
        }
        let (start, count) = (self.hour_start(row), Some(row.count));
        let times = day::load_times(&self.db, self.version, row.times, start, count)?;
        let column = part::decode_column(&values, &marks, row.count)?;
        Ok((times, column))
    }

    /// The samples of a part, the head's samples in its span merged in.
    pub(super) fn merged(
        &self,
        row: &PartRow,
        head: &[Point],
    ) -> Result<(Vec<i64>, Column), DayError> {
        let (times, column) = self.samples(row)?;
        if head.is_empty() {
            return Ok((times, column));
        }
        let new: Vec<i64> = head.iter().map(|p| p.t).collect();
        let new_column = Column {
            values: head.iter().map(|p| p.value).collect(),
            marks: head.iter().map(|p| p.mark).collect(),
        };
        let plan = Plan::new(&times, &new);
        let merged = plan.apply(&column, &new_column);
        Ok((plan.times, merged))
    }
}

fn count(number: &AtomicU64) {
    number.fetch_add(1, Relaxed);
}
