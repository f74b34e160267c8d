//! Answers history queries from the head and the day files, reading as little as the question needs.
//!
//! Hours come from the summaries of parts, minutes from their minutes, anything finer from the samples; where the head
//! holds samples that fall into a part, that part is merged with them first. The head is copied before a day file is
//! opened, so a seal in between shows samples twice (and merges them), never not at all.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use wire::Quality;

use super::day::{self, DAY_MS, DayError};
use super::head::{Head, Point};
use super::ledger::Ledger;
use super::part::{HOUR_MS, MINUTE_MS, Sum, Summary};
use super::parts::{DayReader, Part};
use super::segment;
use crate::store::history::{self, Damage, Grid, SAMPLES_MAX, note};
use crate::store::{
    Aggregates, HistoryAnswer, HistoryQuery, HistoryReader, SampleRow, Samples, Shape, StoreError,
    Windows,
};

/// Reads beside the writer.
#[derive(Debug)]
pub(super) struct EmbeddedReader {
    dir: PathBuf,
    head: Arc<RwLock<Head>>,
    ledger: Arc<Ledger>,
}

/// What one day's samples are handed to: time, value or NaN, mark.
type Take<'a> = &'a mut dyn FnMut(i64, f64, u16);

impl EmbeddedReader {
    pub(super) fn new(dir: PathBuf, head: Arc<RwLock<Head>>, ledger: Arc<Ledger>) -> Self {
        Self { dir, head, ledger }
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
        let mut out = Samples::default();
        for day in day::day_of(query.from)..=day::day_of(query.to - 1) {
            let (from, to) = (query.from.max(day * DAY_MS), query.to.min((day + 1) * DAY_MS));
            let head = within(&head, from, to);
            let rows = &mut out.rows;
            self.in_day(query, day, from..to, &mut out.damaged, |file, parts, damage| {
                let mut next = from;
                for part in parts {
                    let (t0, t1) = (part.row.t0, part.row.t1);
                    within(head, next, t0).iter().for_each(|p| rows.push(of_point(p)));
                    let inside = within(head, t0.max(from), t1.saturating_add(1).min(to));
                    samples(file, part, inside, damage, &mut |t, value, mark| {
                        if t >= from && t < to {
                            rows.push(row_of(t, value, mark));
                        }
                    })?;
                    next = next.max(t1.saturating_add(1));
                    if rows.len() > limit {
                        return Ok(());
                    }
                }
                within(head, next, to).iter().for_each(|p| rows.push(of_point(p)));
                Ok(())
            })?;
            if out.rows.len() > limit {
                break;
            }
        }
        out.truncated = out.rows.len() > limit;
        out.rows.truncate(limit);
        Ok(out)
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
        let mut damaged = Vec::new();
        for day in day::day_of(grid.start)..=day::day_of(grid.end - 1) {
            let (from, to) = (grid.start.max(day * DAY_MS), grid.end.min((day + 1) * DAY_MS));
            let head = within(&head, from, to);
            self.in_day(query, day, from..to, &mut damaged, |file, parts, damage| {
                fill(file, parts, head, &grid, from..to, &mut windows, damage)
            })?;
        }
        let mut out = finish(&grid, &windows, aggregates);
        out.damaged = damaged;
        Ok(out)
    }

    /// Calls `read` with what a day has of the query's series: no file and no parts where there is none. What cannot be
    /// read is noted and the answer goes on without it.
    fn in_day(
        &self,
        query: &HistoryQuery,
        day: i64,
        range: Range<i64>,
        out: &mut Vec<Damage>,
        mut read: impl FnMut(
            Option<&DayReader>,
            &[Part],
            &mut dyn FnMut(Damage),
        ) -> Result<(), DayError>,
    ) -> Result<(), StoreError> {
        let path = day::path_of(&self.dir, day);
        let at = |error: DayError| error.at("read day file", &path);
        let mut damage = |damage: Damage| {
            self.ledger.damaged(&path, &damage.reason);
            note(out, damage);
        };
        let all = |error: &DayError| Damage {
            from: range.start,
            to: range.end,
            samples: 0,
            reason: error.to_string(),
        };
        let of = [query.site.as_str(), query.device.as_str(), query.quantity.as_str()];
        let opened = DayReader::open(&path, day, Arc::clone(&self.ledger));
        let found = opened.and_then(|file| {
            let Some(file) = file else { return Ok((None, Vec::new())) };
            let parts = file.parts(of, range.start, range.end, &mut damage)?;
            Ok((Some(file), parts))
        });
        let (file, parts) = match found {
            Ok(found) => found,
            Err(error) if error.is_damage() => {
                damage(all(&error));
                (None, Vec::new())
            }
            Err(error) => return Err(at(error)),
        };
        read(file.as_ref(), &parts, &mut damage).map_err(at)
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

    fn damage(&self) -> Option<String> {
        self.ledger.sentence()
    }
}

/// Hands over the samples of a part, the head's samples in its span merged in. Where the part cannot be read, the head's
/// samples alone, and what is missing is noted.
pub(super) fn samples(
    file: Option<&DayReader>,
    part: &Part,
    head: &[Point],
    damage: &mut dyn FnMut(Damage),
    take: Take<'_>,
) -> Result<(), DayError> {
    let Some(file) = file else { return Ok(()) };
    match file.merged(&part.row, head) {
        Ok((times, column)) => {
            let each = times.iter().enumerate();
            each.for_each(|(i, &t)| take(t, column.values[i], column.mark(i)));
            Ok(())
        }
        Err(error) if error.is_damage() => {
            damage(Damage {
                from: part.row.t0,
                to: part.row.t1.saturating_add(1),
                samples: part.row.count as u64,
                reason: error.to_string(),
            });
            head.iter().for_each(|p| take(p.t, p.value, p.mark));
            Ok(())
        }
        Err(error) => Err(error),
    }
}

fn fill(
    file: Option<&DayReader>,
    parts: &[Part],
    head: &[Point],
    grid: &Grid,
    range: Range<i64>,
    windows: &mut [Window],
    damage: &mut dyn FnMut(Damage),
) -> Result<(), DayError> {
    let mut next = range.start;
    for part in parts {
        let row = &part.row;
        add_points(within(head, next, row.t0), grid, windows);
        let inside = within(head, row.t0.max(range.start), row.t1.saturating_add(1).min(range.end));
        let ends = (grid.index_checked(row.t0), grid.index_checked(row.t1));
        let is_plain = inside.is_empty() && part.is_sound;
        if let (true, (Some(first), Some(last))) = (is_plain, ends)
            && first == last
        {
            windows[first].add(&row.summary);
        } else if !(is_plain && add_minutes(file, part, grid, windows, damage)?) {
            samples(file, part, inside, damage, &mut |t, value, mark| {
                if range.contains(&t) {
                    windows[grid.index(t)].sample(value, mark);
                }
            })?;
        }
        next = next.max(row.t1.saturating_add(1));
    }
    add_points(within(head, next.max(range.start), range.end), grid, windows);
    Ok(())
}

/// Adds a part by its minutes; `false` if it has none, they cannot be read or the grid cuts minutes.
fn add_minutes(
    file: Option<&DayReader>,
    part: &Part,
    grid: &Grid,
    windows: &mut [Window],
    damage: &mut dyn FnMut(Damage),
) -> Result<bool, DayError> {
    let Some(file) = file.filter(|_| grid.step_ms % MINUTE_MS == 0) else { return Ok(false) };
    let minutes = match file.minutes(&part.row) {
        Ok(Some(minutes)) => minutes,
        Ok(None) => return Ok(false),
        Err(error) if error.is_damage() => {
            // Nothing is missing from the answer: the samples say the same.
            let (from, to) = (part.row.t0, part.row.t0);
            damage(Damage { from, to, samples: 0, reason: error.to_string() });
            return Ok(false);
        }
        Err(error) => return Err(error),
    };
    let hour = part.row.t0.div_euclid(HOUR_MS) * HOUR_MS;
    for m in minutes {
        let start = hour + i64::from(m.minute) * MINUTE_MS;
        if let Some(window) = grid.index_checked(start) {
            windows[window].add(&m.summary);
        }
    }
    Ok(true)
}

/// The part of sorted samples with `from <= t < to`.
pub(super) fn within(points: &[Point], from: i64, to: i64) -> &[Point] {
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
        damaged: Vec::new(),
    }
}

fn add_points(points: &[Point], grid: &Grid, windows: &mut [Window]) {
    for p in points {
        windows[grid.index(p.t)].sample(p.value, p.mark);
    }
}

fn of_point(point: &Point) -> SampleRow {
    row_of(point.t, point.value, point.mark)
}

fn row_of(t: i64, value: f64, code: u16) -> SampleRow {
    let quality = segment::mark(code).quality;
    SampleRow { t, value: (!value.is_nan()).then_some(value), quality }
}
