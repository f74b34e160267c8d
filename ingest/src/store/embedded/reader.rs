//! Answers history queries from the head and the day files, reading as little as the question needs.
//!
//! Hours come from the summaries of parts, minutes from their minutes, anything finer from the samples; where the head
//! holds samples that fall into a part, that part is merged with them first. The head is copied before a day file is
//! opened, so a seal in between shows samples twice (and merges them), never not at all.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use rusqlite::Connection;
use wire::Quality;

use super::day::{self, DAY_MS, DayError};
use super::head::{Head, Point};
use super::merge::Plan;
use super::part::{self, Column, HOUR_MS, MINUTE_MS, Sum, Summary};
use super::segment;
use crate::store::history::{self, Grid, SAMPLES_MAX};
use crate::store::{
    Aggregates, HistoryAnswer, HistoryQuery, HistoryReader, SampleRow, Samples, Shape, StoreError,
    Windows,
};

/// Reads beside the writer.
#[derive(Debug)]
pub(super) struct EmbeddedReader {
    dir: PathBuf,
    head: Arc<RwLock<Head>>,
}

impl EmbeddedReader {
    pub(super) fn new(dir: PathBuf, head: Arc<RwLock<Head>>) -> Self {
        Self { dir, head }
    }

    /// Samples of the query's series in the head.
    fn head(&self, query: &HistoryQuery, from: i64, to: i64) -> Vec<Point> {
        let head = self.head.read().unwrap_or_else(PoisonError::into_inner);
        head.points_of(&query.site, &query.device, &query.quantity, from, to)
    }

    fn raw(&self, query: &HistoryQuery, limit: usize) -> Result<Samples, StoreError> {
        history::check_range(query.from, query.to)?;
        let limit = limit.clamp(1, SAMPLES_MAX);
        let head = self.head(query, query.from, query.to);
        let mut rows: Vec<SampleRow> = Vec::new();
        for day in day::day_of(query.from)..=day::day_of(query.to - 1) {
            let (from, to) = (query.from.max(day * DAY_MS), query.to.min((day + 1) * DAY_MS));
            let head = within(&head, from, to);
            let path = day::path_of(&self.dir, day);
            let parts = Parts::open(&path, query, from, to);
            let merged =
                parts.and_then(|mut parts| parts.raw(head, from, to, limit + 1, &mut rows));
            merged.map_err(|e| e.at("read day file", &path))?;
            if rows.len() > limit {
                break;
            }
        }
        let truncated = rows.len() > limit;
        rows.truncate(limit);
        Ok(Samples { rows, truncated })
    }

    fn windows(
        &self,
        query: &HistoryQuery,
        step_ms: i64,
        aggregates: Aggregates,
    ) -> Result<Windows, StoreError> {
        let grid = Grid::new(query.from, query.to, step_ms)?;
        let head = self.head(query, grid.start, grid.end);
        let mut windows = vec![Window::default(); grid.len];
        for day in day::day_of(grid.start)..=day::day_of(grid.end - 1) {
            let (from, to) = (grid.start.max(day * DAY_MS), grid.end.min((day + 1) * DAY_MS));
            let head = within(&head, from, to);
            let path = day::path_of(&self.dir, day);
            let parts = Parts::open(&path, query, from, to);
            let filled =
                parts.and_then(|mut parts| parts.fill(head, &grid, from..to, &mut windows));
            filled.map_err(|e| e.at("read day file", &path))?;
        }
        Ok(finish(&grid, &windows, aggregates))
    }
}

impl HistoryReader for EmbeddedReader {
    fn query(&self, query: &HistoryQuery) -> Result<HistoryAnswer, StoreError> {
        match query.shape {
            Shape::Raw { limit } => self.raw(query, limit).map(HistoryAnswer::Samples),
            Shape::Windows { step_ms, aggregates } => {
                self.windows(query, step_ms, aggregates).map(HistoryAnswer::Windows)
            }
        }
    }
}

/// The part of sorted samples with `from <= t < to`.
fn within(points: &[Point], from: i64, to: i64) -> &[Point] {
    let start = points.partition_point(|p| p.t < from);
    &points[start..points.partition_point(|p| p.t < to).max(start)]
}

/// One window under way.
#[derive(Debug, Clone, Copy)]
struct Window {
    numbers: u64,
    min: f64,
    max: f64,
    sum: Sum,
    last: f64,
    qualities: u8,
}

impl Default for Window {
    fn default() -> Self {
        let Summary { min, max, last, .. } = Summary::EMPTY;
        Self { numbers: 0, min, max, sum: Sum::default(), last, qualities: 0 }
    }
}

impl Window {
    /// Adds a run of samples, all later than those before.
    fn add(&mut self, run: &Summary) {
        self.qualities |= run.qualities;
        if run.numbers == 0 {
            return;
        }
        self.numbers += u64::from(run.numbers);
        self.min = if run.min < self.min { run.min } else { self.min };
        self.max = if run.max > self.max { run.max } else { self.max };
        self.sum.add(run.sum);
        self.last = run.last;
    }

    fn sample(&mut self, value: f64, code: u16) {
        self.add(&Summary::of(std::iter::once((value, code))));
    }

    fn worst(&self) -> Option<Quality> {
        let worst = 7_u32.checked_sub(self.qualities.leading_zeros())?;
        let all = [Quality::Good, Quality::Substituted, Quality::Uncertain, Quality::Stale];
        Some(all.get(worst as usize).copied().unwrap_or(Quality::Bad))
    }
}

fn finish(grid: &Grid, windows: &[Window], wanted: Aggregates) -> Windows {
    let column = |wanted: bool, of: fn(&Window) -> f64| -> Vec<Option<f64>> {
        let windows = windows.iter().filter(|_| wanted);
        windows.map(|w| (w.numbers > 0).then(|| of(w))).collect()
    };
    Windows {
        start: grid.start,
        step_ms: grid.step_ms,
        min: column(wanted.min, |w| w.min),
        max: column(wanted.max, |w| w.max),
        mean: column(wanted.mean, |w| w.sum.value() / w.numbers as f64),
        last: column(wanted.last, |w| w.last),
        q: windows.iter().map(Window::worst).collect(),
    }
}

/// The parts of one series in one day file that a query touches.
#[derive(Debug)]
struct Parts {
    db: Option<Connection>,
    /// Sorted by time.
    parts: Vec<PartRow>,
}

/// A part without its blobs.
#[derive(Debug)]
struct PartRow {
    key: i64,
    t0: i64,
    t1: i64,
    count: usize,
    summary: Summary,
    times: i64,
}

impl Parts {
    fn open(
        path: &std::path::Path,
        query: &HistoryQuery,
        from: i64,
        to: i64,
    ) -> Result<Self, DayError> {
        let none = Self { db: None, parts: Vec::new() };
        let Some(db) = day::open_reader(path)? else { return Ok(none) };
        // One snapshot for all that is read from this file.
        db.execute_batch("BEGIN")?;
        let series = day::series_id(&db, &query.site, &query.device, &query.quantity)?;
        let Some(series) = series else { return Ok(none) };
        let mut parts = Vec::new();
        {
            let mut statement = db.prepare(
                "SELECT key, t0, t1, count, numbers, min, max, sum, last, qualities, times FROM part
                 WHERE key >= ?1 AND key < ?2 AND t1 >= ?3 AND t0 < ?4",
            )?;
            let hour = |t: i64| t.rem_euclid(DAY_MS) / HOUR_MS;
            let end = day::key(series, hour(to - 1)) + day::PARTS_PER_HOUR;
            let mut rows = statement.query([day::key(series, hour(from)), end, from, to])?;
            while let Some(row) = rows.next()? {
                parts.push(part_row(row)?);
            }
        }
        parts.sort_by_key(|p| p.t0);
        Ok(Self { db: Some(db), parts })
    }

    fn raw(
        &mut self,
        head: &[Point],
        from: i64,
        to: i64,
        limit: usize,
        out: &mut Vec<SampleRow>,
    ) -> Result<(), DayError> {
        let mut next = from;
        for part in &self.parts {
            within(head, next, part.t0).iter().for_each(|p| out.push(row_of(p.t, p.value, p.mark)));
            let (times, column) = self.samples(part, within(head, part.t0, part.t1 + 1))?;
            for (i, &t) in times.iter().enumerate() {
                if t >= from && t < to {
                    out.push(row_of(t, column.values[i], column.mark(i)));
                }
            }
            next = next.max(part.t1 + 1);
            if out.len() >= limit {
                return Ok(());
            }
        }
        within(head, next, to).iter().for_each(|p| out.push(row_of(p.t, p.value, p.mark)));
        Ok(())
    }

    fn fill(
        &mut self,
        head: &[Point],
        grid: &Grid,
        range: std::ops::Range<i64>,
        windows: &mut [Window],
    ) -> Result<(), DayError> {
        let mut next = range.start;
        for part in &self.parts {
            add_points(within(head, next, part.t0), grid, windows);
            let inside = within(head, part.t0, part.t1 + 1);
            let ends = (grid.index_checked(part.t0), grid.index_checked(part.t1));
            if let (true, (Some(first), Some(last))) = (inside.is_empty(), ends)
                && first == last
            {
                windows[first].add(&part.summary);
            } else if !(inside.is_empty() && self.add_minutes(part, grid, windows)?) {
                let (times, column) = self.samples(part, inside)?;
                for (i, &t) in times.iter().enumerate() {
                    if range.contains(&t) {
                        windows[grid.index(t)].sample(column.values[i], column.mark(i));
                    }
                }
            }
            next = part.t1 + 1;
        }
        add_points(within(head, next.max(range.start), range.end), grid, windows);
        Ok(())
    }

    /// Adds a part by its minutes; `false` if it has none or the grid cuts minutes.
    fn add_minutes(
        &self,
        part: &PartRow,
        grid: &Grid,
        windows: &mut [Window],
    ) -> Result<bool, DayError> {
        if grid.step_ms % MINUTE_MS != 0 {
            return Ok(false);
        }
        let db = self.db.as_ref().ok_or(DayError::Shape("no file"))?;
        let mut statement = db.prepare_cached("SELECT minutes FROM part WHERE key = ?1")?;
        let bytes: Vec<u8> = statement.query_row([part.key], |row| row.get(0))?;
        let Some(minutes) = part::decode_minutes(&bytes)? else { return Ok(false) };
        let hour = part.t0.div_euclid(HOUR_MS) * HOUR_MS;
        for m in minutes {
            let start = hour + i64::from(m.minute) * MINUTE_MS;
            if let Some(window) = grid.index_checked(start) {
                windows[window].add(&m.summary);
            }
        }
        Ok(true)
    }

    /// The samples of a part, the head's samples in its span merged in.
    fn samples(&self, part: &PartRow, head: &[Point]) -> Result<(Vec<i64>, Column), DayError> {
        let db = self.db.as_ref().ok_or(DayError::Shape("no file"))?;
        let sql = "SELECT vals, marks FROM part WHERE key = ?1";
        let blobs = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
        let (values, marks): (Vec<u8>, Vec<u8>) =
            db.prepare_cached(sql)?.query_row([part.key], blobs)?;
        let hour = part.t0.div_euclid(HOUR_MS) * HOUR_MS;
        let times = day::load_times(db, part.times, hour)?;
        if times.len() != part.count {
            return Err(DayError::Shape("a part and its times differ"));
        }
        let column = part::decode_column(&values, &marks, part.count)?;
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

fn part_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<PartRow> {
    let number = |i: usize| row.get::<_, Option<f64>>(i);
    let summary = Summary {
        numbers: row.get(4)?,
        min: number(5)?.unwrap_or(Summary::EMPTY.min),
        max: number(6)?.unwrap_or(Summary::EMPTY.max),
        sum: number(7)?.unwrap_or_default(),
        last: number(8)?.unwrap_or(f64::NAN),
        qualities: row.get(9)?,
    };
    Ok(PartRow {
        key: row.get(0)?,
        t0: row.get(1)?,
        t1: row.get(2)?,
        count: row.get::<_, u32>(3)? as usize,
        summary,
        times: row.get(10)?,
    })
}

fn add_points(points: &[Point], grid: &Grid, windows: &mut [Window]) {
    for p in points {
        windows[grid.index(p.t)].sample(p.value, p.mark);
    }
}

fn row_of(t: i64, value: f64, code: u16) -> SampleRow {
    let quality = segment::mark(code).quality;
    SampleRow { t, value: (!value.is_nan()).then_some(value), quality }
}
