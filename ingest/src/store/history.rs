//! Questions about history and their answers, the same for every store.
//!
//! What makes two stores answer alike is fixed here: windows are aligned to whole multiples of the step since the
//! epoch, the asked range is widened to whole windows, a sample at a window's start belongs to it and one at its
//! end to the next. Bad and stale samples never enter a number; they show in `q`. A window without any sample is
//! a gap: every column is `None`. `min`, `max`, `last` and raw values are equal to the bit in both stores; `mean`
//! may differ by rounding (1e-12 relative), because the databases add in different orders.

use wire::Quality;

use super::{StoreError, names};

/// Most windows one answer may hold.
pub const WINDOWS_MAX: usize = 20_000;
/// Most raw samples one answer may hold.
pub const SAMPLES_MAX: usize = 200_000;
/// Earliest and latest time a query may name, ms: years 1970 to 2200.
pub const TIME_MAX_MS: i64 = 7_258_118_400_000;

/// One question about one series.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryQuery {
    /// Enterprise code of the site.
    pub site: String,
    /// Device, unique in its site.
    pub device: String,
    /// Canonical quantity.
    pub quantity: String,
    /// First ms asked for, UTC, inclusive.
    pub from: i64,
    /// End, UTC, exclusive.
    pub to: i64,
    /// Samples or windows.
    pub shape: Shape,
}

/// How the answer is to be condensed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Every sample, oldest first, at most `limit` (and never more than [`SAMPLES_MAX`]).
    Raw {
        /// Most samples wanted.
        limit: usize,
    },
    /// One value per window of `step_ms`.
    Windows {
        /// Width of a window, ms, at least 1.
        step_ms: i64,
        /// Which numbers are wanted; the others come back empty.
        aggregates: Aggregates,
    },
}

/// Which numbers of a window are wanted: each costs the database a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Aggregates {
    /// Smallest number.
    pub min: bool,
    /// Largest number.
    pub max: bool,
    /// Arithmetic mean of the numbers.
    pub mean: bool,
    /// Number of the newest sample that has one.
    pub last: bool,
}

impl Aggregates {
    /// All four.
    pub const ALL: Self = Self { min: true, max: true, mean: true, last: true };
}

/// What came back.
#[derive(Debug, Clone, PartialEq)]
pub enum HistoryAnswer {
    /// To [`Shape::Raw`].
    Samples(Samples),
    /// To [`Shape::Windows`].
    Windows(Windows),
}

/// One stored sample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SampleRow {
    /// Event time, ms UTC.
    pub t: i64,
    /// The number; `None` where the sample is bad or stale.
    pub value: Option<f64>,
    /// Its quality.
    pub quality: Quality,
}

impl SampleRow {
    /// Of the number and the mark that a database has at one time.
    pub(super) fn of_fields(t: i64, value: Option<f64>, mark: Option<Quality>) -> Self {
        let quality = match (value, mark) {
            (Some(_), None) => Quality::Good,
            // A number wins over a bad mark of the same time, with a doubt: see the page of the InfluxDB store.
            (Some(_), Some(q)) if !q.has_value() => Quality::Uncertain,
            (_, Some(q)) => q,
            (None, None) => Quality::Bad,
        };
        Self { t, value, quality }
    }
}

/// Raw samples, oldest first.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Samples {
    /// The samples.
    pub rows: Vec<SampleRow>,
    /// The limit cut the answer; ask again from the last row's time + 1.
    pub truncated: bool,
    /// What the answer lacks because it cannot be read.
    pub damaged: Vec<Damage>,
}

/// Most damaged places named in one answer; more are joined to the last.
pub const DAMAGED_MAX: usize = 100;

/// A place of a store that cannot be read; everything around it is in the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// First ms that is affected, UTC.
    pub from: i64,
    /// End, exclusive. The same as `from`: a summary was damaged, and the samples answered in its place.
    pub to: i64,
    /// How many samples are missing, 0 where that is not known.
    pub samples: u64,
    /// What is wrong, for the administrator.
    pub reason: String,
}

/// Adds a damaged place to an answer, unless nothing of the answer is missing.
pub fn note(damaged: &mut Vec<Damage>, more: Damage) {
    if more.from >= more.to {
        return;
    }
    let is_full = damaged.len() >= DAMAGED_MAX;
    match damaged.last_mut() {
        Some(last) if is_full || (last.to == more.from && last.reason == more.reason) => {
            last.to = last.to.max(more.to);
            last.samples += more.samples;
        }
        _ => damaged.push(more),
    }
}

/// Windows side by side: index `i` covers `start + i × step_ms` up to, not including, the next.
#[derive(Debug, Clone, PartialEq)]
pub struct Windows {
    /// Start of the first window, ms UTC, a multiple of `step_ms`.
    pub start: i64,
    /// Width of a window, ms.
    pub step_ms: i64,
    /// Smallest number, empty if not asked for.
    pub min: Vec<Option<f64>>,
    /// Largest number, empty if not asked for.
    pub max: Vec<Option<f64>>,
    /// Mean of the numbers, empty if not asked for.
    pub mean: Vec<Option<f64>>,
    /// Newest number, empty if not asked for.
    pub last: Vec<Option<f64>>,
    /// Worst quality of any sample in the window (bad, stale, uncertain, substituted, good); `None` = no sample.
    pub q: Vec<Option<Quality>>,
    /// What the windows lack because it cannot be read.
    pub damaged: Vec<Damage>,
}

/// Whole windows that cover a query's range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grid {
    /// Start of the first window, ms.
    pub start: i64,
    /// End of the last window, ms, exclusive.
    pub end: i64,
    /// Width, ms.
    pub step_ms: i64,
    /// How many.
    pub len: usize,
}

impl Grid {
    /// The windows that cover `[from, to)`.
    ///
    /// # Errors
    /// [`StoreError::Query`] when the range or step is out of bounds or needs more than [`WINDOWS_MAX`] windows.
    pub fn new(from: i64, to: i64, step_ms: i64) -> Result<Self, StoreError> {
        check_range(from, to)?;
        if !(1..=TIME_MAX_MS).contains(&step_ms) {
            return Err(refuse(format!("step of {step_ms} ms: give at least 1 ms")));
        }
        let start = from.div_euclid(step_ms) * step_ms;
        let end = (to - 1).div_euclid(step_ms) * step_ms + step_ms;
        let len = usize::try_from((end - start) / step_ms).unwrap_or(usize::MAX);
        if len > WINDOWS_MAX {
            let reason =
                format!("{len} windows asked for, at most {WINDOWS_MAX}: use a longer step");
            return Err(refuse(reason));
        }
        Ok(Self { start, end, step_ms, len })
    }

    /// Index of the window that holds `t`; `t` must lie in the grid.
    pub fn index(&self, t: i64) -> usize {
        debug_assert!(t >= self.start && t < self.end);
        usize::try_from((t - self.start) / self.step_ms).unwrap_or(0)
    }

    /// Index of the window that holds `t`, `None` outside the grid.
    pub fn index_checked(&self, t: i64) -> Option<usize> {
        (t >= self.start && t < self.end).then(|| self.index(t))
    }
}

/// The width of windows for a chart of `windows` pixels over `span_ms`: at most so many windows, and from half a minute
/// on whole minutes, from half an hour on whole hours (UTC). Summaries answer those: a year touches no sample.
pub fn chart_step(span_ms: i64, windows: i64) -> i64 {
    const MINUTE_MS: i64 = 60_000;
    const HOUR_MS: i64 = 60 * MINUTE_MS;
    let exact = (span_ms.max(1) - 1) / windows.max(1) + 1;
    let unit = match exact {
        step if step > HOUR_MS / 2 => HOUR_MS,
        step if step > MINUTE_MS / 2 => MINUTE_MS,
        _ => 1,
    };
    (exact - 1) / unit * unit + unit
}

/// Answers a question to a database: `raw` asks for samples, at most so many, `windows` for windows. A series that no store
/// can hold is not asked for.
///
/// # Errors
/// [`StoreError::Query`] for an absurd range or step; what `raw` and `windows` say.
pub(super) fn answer(
    query: &HistoryQuery,
    raw: impl FnOnce(usize) -> Result<Samples, StoreError>,
    windows: impl FnOnce(&Grid, Aggregates) -> Result<Windows, StoreError>,
) -> Result<HistoryAnswer, StoreError> {
    check_range(query.from, query.to)?;
    let storable = names::check_tag(&query.site)
        .and_then(|()| names::check_tag(&query.device))
        .and_then(|()| names::check_quantity(&query.quantity))
        .is_ok();
    match query.shape {
        Shape::Raw { .. } if !storable => Ok(HistoryAnswer::Samples(Samples::default())),
        Shape::Raw { limit } => raw(limit).map(HistoryAnswer::Samples),
        Shape::Windows { step_ms, aggregates } => {
            let grid = Grid::new(query.from, query.to, step_ms)?;
            let found = match storable {
                true => windows(&grid, aggregates)?,
                false => empty(&grid, aggregates),
            };
            Ok(HistoryAnswer::Windows(found))
        }
    }
}

/// Windows that are all gaps.
pub(super) fn empty(grid: &Grid, wanted: Aggregates) -> Windows {
    let column = |wanted: bool| vec![None; if wanted { grid.len } else { 0 }];
    Windows {
        start: grid.start,
        step_ms: grid.step_ms,
        min: column(wanted.min),
        max: column(wanted.max),
        mean: column(wanted.mean),
        last: column(wanted.last),
        q: vec![None; grid.len],
        damaged: Vec::new(),
    }
}

/// Checks the range of a query.
///
/// # Errors
/// [`StoreError::Query`] when it is empty, reversed or absurd.
pub fn check_range(from: i64, to: i64) -> Result<(), StoreError> {
    if from < 0 || to > TIME_MAX_MS || from >= to {
        let reason = format!("range {from}..{to}: give 0 <= from < to <= {TIME_MAX_MS}");
        return Err(refuse(reason));
    }
    Ok(())
}

/// How bad a quality is when one has to stand for a window: larger is worse.
pub fn badness(quality: Quality) -> u8 {
    match quality {
        Quality::Good => 0,
        Quality::Substituted => 1,
        Quality::Uncertain => 2,
        Quality::Stale => 3,
        Quality::Bad => 4,
    }
}

/// The worse of what is known and one more.
pub fn worse(known: Option<Quality>, more: Quality) -> Option<Quality> {
    match known {
        Some(k) if badness(k) >= badness(more) => Some(k),
        _ => Some(more),
    }
}

fn refuse(reason: String) -> StoreError {
    StoreError::Query { reason }
}
