//! The integrity check: reads every byte of the store and says exactly what is damaged and what to do about it.
//!
//! Per file SQLite's own check, then per part: checksums, decoding, number and order of its samples, that summary and
//! minutes are what the samples say, that parts of a series do not overlap. Changes nothing, may run beside the service.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use super::day::{self, DAY_MS, DayError};
use super::file::HeadFile;
use super::ledger::Ledger;
use super::part::{self, HOUR_MS, Summary};
use super::parts::{DayReader, Part};
use super::{HEAD, day_files, schema};
use crate::store::source::{SeriesKey, Step};
use crate::store::{Position, StoreError};

/// Problems listed at most; the rest is counted.
pub const PROBLEMS_MAX: usize = 1_000;

/// One damaged place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Name of the file.
    pub file: String,
    /// The series, where it concerns one.
    pub series: Option<SeriesKey>,
    /// First and last ms affected, UTC.
    pub span: Option<(i64, i64)>,
    /// Samples that cannot be read because of it.
    pub samples_lost: u64,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub mend: &'static str,
}

/// What the check found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CheckReport {
    /// Day files read.
    pub files: usize,
    /// Parts read.
    pub parts: u64,
    /// Samples read from parts.
    pub samples: u64,
    /// Samples of the head, not yet sealed.
    pub head_samples: u64,
    /// Stored up to here.
    pub position: Option<Position>,
    /// What is damaged.
    pub problems: Vec<Problem>,
    /// Problems beyond [`PROBLEMS_MAX`].
    pub more_problems: u64,
    /// What is not wrong but worth knowing.
    pub notes: Vec<String>,
}

const RESTORE: &str = "take the day file of that name from a backup into a folder and merge it: stop the service, then davy-ingest store migrate --from FOLDER";
const HEAD_MEND: &str =
    "restart the service: it sets the file aside and writes its samples again from the log";
const SUMMARY: &str = "nothing is lost, the samples are read in its place; merging the day from a backup writes it anew (davy-ingest store migrate --from FOLDER)";
const NEWER: &str = "run the davy-ingest that wrote it";

/// Checks the store in `dir`; `tell` hears of each day file.
///
/// # Errors
/// When the folder cannot be listed or a file is busy for too long; what is damaged is no error but a problem.
pub fn check(dir: &Path, tell: &mut dyn FnMut(Step)) -> Result<CheckReport, StoreError> {
    let mut report = CheckReport::default();
    let path = dir.join(HEAD);
    match HeadFile::read(&path) {
        Ok(Some((head, position))) => {
            report.head_samples = head.points() as u64;
            report.position = position;
        }
        Ok(None) => report.notes.push("no head file: nothing was ever stored here".to_owned()),
        Err(error) if error.is_damage() => {
            report.add(problem(HEAD, error.to_string(), HEAD_MEND));
        }
        Err(error) => return Err(error.at("read", &path)),
    }
    let mut files = day_files(dir)?;
    files.sort();
    let of = files.len();
    for (done, (day, path)) in files.into_iter().enumerate() {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match check_file(&mut report, &name, day, &path) {
            Ok(()) => {}
            Err(error) if error.is_damage() => {
                report.add(problem(&name, error.to_string(), RESTORE));
            }
            Err(DayError::Newer) => report.add(problem(&name, DayError::Newer.to_string(), NEWER)),
            // Retention took it since it was listed.
            Err(_) if !path.exists() => {}
            Err(error) => return Err(error.at("read day file", &path)),
        }
        report.files += 1;
        tell(Step { day, done: done + 1, of, samples: report.samples });
    }
    aside(dir, &mut report)?;
    Ok(report)
}

fn problem(file: &str, what: String, mend: &'static str) -> Problem {
    Problem { file: file.to_owned(), series: None, span: None, samples_lost: 0, what, mend }
}

impl CheckReport {
    fn add(&mut self, problem: Problem) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(problem);
        } else {
            self.more_problems += 1;
        }
    }

    /// Whether everything is as it was written.
    pub fn is_whole(&self) -> bool {
        self.problems.is_empty()
    }
}

/// Files that were set aside earlier.
fn aside(dir: &Path, report: &mut CheckReport) -> Result<(), StoreError> {
    let io = |e: std::io::Error| super::file_error("list", dir, e.to_string());
    for entry in std::fs::read_dir(dir).map_err(io)? {
        let name = entry.map_err(io)?.file_name().to_string_lossy().into_owned();
        if name.contains(".damaged-") && !name.ends_with("-wal") && !name.ends_with("-shm") {
            report.notes.push(format!(
                "{name} was set aside because it was damaged; remove it once nobody wants to look into it"
            ));
        }
    }
    Ok(())
}

fn check_file(report: &mut CheckReport, name: &str, day: i64, path: &Path) -> Result<(), DayError> {
    let Some(file) = DayReader::open(path, day, Arc::new(Ledger::default()))? else {
        return Ok(());
    };
    if file.version() < schema::VERSION {
        report.notes.push(format!(
            "{name} has the format of an older version, without checksums: davy-ingest store migrate brings it up to date"
        ));
    }
    let mut statement = file.db().prepare("PRAGMA quick_check(20)")?;
    let found = statement.query_map([], |row| row.get::<_, String>(0))?;
    for line in found {
        let line = line?;
        if line != "ok" {
            report.add(problem(name, format!("structure of the file: {line}"), RESTORE));
        }
    }
    let mut refs: HashMap<i64, i64> = HashMap::new();
    for (_, series) in file.series()? {
        check_series(report, name, day, &file, &series, &mut refs)?;
    }
    check_rest(report, name, &file, &refs)
}

fn check_series(
    report: &mut CheckReport,
    name: &str,
    day: i64,
    file: &DayReader,
    series: &SeriesKey,
    refs: &mut HashMap<i64, i64>,
) -> Result<(), DayError> {
    let names = [series[0].as_str(), series[1].as_str(), series[2].as_str()];
    let (from, to) = (day * DAY_MS, (day + 1) * DAY_MS);
    let add = |report: &mut CheckReport, span, samples_lost, what, mend| {
        let (file, series) = (name.to_owned(), Some(series.clone()));
        report.add(Problem { file, series, span: Some(span), samples_lost, what, mend });
    };
    let mut damaged = Vec::new();
    let parts = file.parts(names, from, to, &mut |damage| damaged.push(damage))?;
    for damage in damaged {
        let mend = if damage.from == damage.to { SUMMARY } else { RESTORE };
        add(report, (damage.from, damage.to), damage.samples, damage.reason, mend);
    }
    let mut last = i64::MIN;
    for part in &parts {
        report.parts += 1;
        *refs.entry(part.row.times).or_default() += 1;
        let span = (part.row.t0, part.row.t1);
        if part.row.t0 <= last {
            add(report, span, 0, "parts overlap".to_owned(), RESTORE);
        }
        last = part.row.t1;
        let (times, column) = match file.samples(&part.row) {
            Ok(read) => read,
            Err(error) if error.is_damage() => {
                add(report, span, part.row.count as u64, error.to_string(), RESTORE);
                continue;
            }
            Err(error) => return Err(error),
        };
        report.samples += times.len() as u64;
        for what in disagreements(file, part, &times, &column, day)? {
            add(report, span, 0, what, SUMMARY);
        }
    }
    Ok(())
}

/// Where a part's summary or minutes say something else than its samples.
fn disagreements(
    file: &DayReader,
    part: &Part,
    times: &[i64],
    column: &part::Column,
    day: i64,
) -> Result<Vec<String>, DayError> {
    let mut found = Vec::new();
    let row = &part.row;
    let hour = |t: i64| t.div_euclid(HOUR_MS);
    let (first, last) = (times[0], times[times.len() - 1]);
    if (first, last) != (row.t0, row.t1)
        || hour(first) != hour(last)
        || day::day_of(first) != day
        || hour(first) != day * 24 + (row.key >> 12 & 31)
    {
        found.push(format!(
            "its samples span {first}..{last}, its summary says {}..{}",
            row.t0, row.t1
        ));
    }
    if part.is_sound && !same(&Summary::of(column.samples(0..times.len())), &row.summary) {
        found.push("its summary is not what its samples say".to_owned());
    }
    match file.minutes(row) {
        Ok(Some(minutes)) => {
            let want = part::minutes_of(times, column);
            let equal = minutes.len() == want.len()
                && minutes
                    .iter()
                    .zip(&want)
                    .all(|(a, b)| a.minute == b.minute && same(&a.summary, &b.summary));
            if !equal {
                found.push("its minutes are not what its samples say".to_owned());
            }
        }
        Ok(None) => {}
        Err(error) if error.is_damage() => found.push(error.to_string()),
        Err(error) => return Err(error),
    }
    Ok(found)
}

fn same(a: &Summary, b: &Summary) -> bool {
    let bits = |s: &Summary| [s.min, s.max, s.sum, s.last].map(|x| (x + 0.0).to_bits());
    (a.numbers, a.qualities) == (b.numbers, b.qualities) && (a.numbers == 0 || bits(a) == bits(b))
}

/// Parts of no series, times that nobody or too many use, parts that were set aside.
fn check_rest(
    report: &mut CheckReport,
    name: &str,
    file: &DayReader,
    refs: &HashMap<i64, i64>,
) -> Result<(), DayError> {
    let db = file.db();
    let strays = "SELECT count(*), coalesce(sum(count), 0) FROM part WHERE key >> 17 NOT IN (SELECT id FROM series)";
    let (strays, samples): (i64, i64) =
        db.query_row(strays, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    if strays > 0 {
        let mut lost = problem(name, format!("{strays} parts belong to no series"), RESTORE);
        lost.samples_lost = samples.unsigned_abs();
        report.add(lost);
    }
    let mut statement = db.prepare("SELECT id, refs FROM times")?;
    let mut rows = statement.query([])?;
    let mut odd = 0_u64;
    while let Some(row) = rows.next()? {
        let (id, stored): (i64, i64) = (row.get(0)?, row.get(1)?);
        odd += u64::from(refs.get(&id).copied().unwrap_or(0) != stored);
    }
    if odd > 0 && report.problems.iter().all(|p| p.file != name) {
        report
            .notes
            .push(format!("{name}: {odd} lists of times are counted wrongly; costs space only"));
    }
    if file.version() < schema::VERSION {
        return Ok(());
    }
    let set_aside = "SELECT t0, t1, count, reason FROM damaged LIMIT 1000";
    let mut statement = db.prepare(set_aside)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let reason: String = row.get(3)?;
        let mut lost = problem(name, format!("set aside when new samples came: {reason}"), RESTORE);
        lost.span = Some((row.get(0)?, row.get(1)?));
        lost.samples_lost = u64::from(row.get::<_, u32>(2)?);
        report.add(lost);
    }
    Ok(())
}

/// Brings day files of older versions up to date; returns how many were. The store must not be in use.
///
/// # Errors
/// When a file cannot be rewritten; it is the old one then.
pub fn upgrade(dir: &Path, tell: &mut dyn FnMut(Step)) -> Result<usize, StoreError> {
    let _lock = super::lock(dir)?;
    let mut files = day_files(dir)?;
    files.sort();
    let of = files.len();
    let mut upgraded = 0;
    for (done, (day, path)) in files.into_iter().enumerate() {
        let old = || -> Result<bool, DayError> {
            let found = schema::open_reader(&path)?;
            let is_old = found.is_some_and(|(_, version)| version < schema::VERSION);
            if is_old {
                schema::open_writer(&path)?;
            }
            Ok(is_old)
        };
        upgraded += usize::from(old().map_err(|e| e.at("upgrade day file", &path))?);
        tell(Step { day, done: done + 1, of, samples: 0 });
    }
    Ok(upgraded)
}
