//! Moves the head's samples into day files: sorts, merges with what is there, compresses, one transaction per day.
//!
//! Called by the embedded store alone. A crash between two days, or before the head is emptied, costs nothing: the
//! same samples are merged again and change nothing.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use super::day::{self, DayError, DayWriter, NewPart};
use super::head::{Head, Strip};
use super::ledger::Ledger;
use super::merge::{self, Plan, Span};
use super::part::{self, Column, HOUR_MS, Summary};
use super::{mend, schema};
use crate::store::{Position, StoreError};

/// Rows of one strip in one hour, sorted, one per time.
#[derive(Debug)]
struct Slice<'a> {
    strip: &'a Strip,
    /// Start of the hour, ms.
    hour_start: i64,
    rows: Vec<u32>,
}

/// Seals everything in `head` into the day files of `dir`. `applied` is what the head reaches up to, `safe` the end of the
/// last whole seal. A part or a file that cannot be read is set aside: it must not stop new samples.
///
/// # Errors
/// When a file cannot be written; days sealed so far stay sealed.
pub(super) fn seal(
    head: &Head,
    dir: &Path,
    applied: Position,
    safe: Option<Position>,
    ledger: &Ledger,
) -> Result<(), StoreError> {
    for (day, slices) in slices(head) {
        let path = day::path_of(dir, day);
        let seal = || -> Result<(), DayError> {
            let mut db = schema::open_writer(&path)?;
            seal_day(&mut db, &slices, applied, safe, &|reason| ledger.damaged(&path, reason))
        };
        let sealed = match seal() {
            Err(DayError::Sql(error)) if schema::is_corrupt(&error) => {
                ledger.damaged(&path, &error.to_string());
                mend::replace(&path).and_then(|()| seal())
            }
            sealed => sealed,
        };
        sealed.map_err(|e| e.at("write day file", &path))?;
    }
    Ok(())
}

/// The head by day, then strip, then hour.
fn slices(head: &Head) -> BTreeMap<i64, Vec<Slice<'_>>> {
    let mut days: BTreeMap<i64, Vec<Slice<'_>>> = BTreeMap::new();
    for strip in head.strips() {
        let rows = strip.sorted_rows();
        let hour = |row: &u32| strip.times[*row as usize].div_euclid(HOUR_MS);
        for rows in rows.chunk_by(|a, b| hour(a) == hour(b)) {
            let hour_start = hour(&rows[0]) * HOUR_MS;
            let slice = Slice { strip, hour_start, rows: rows.to_vec() };
            days.entry(day::day_of(hour_start)).or_default().push(slice);
        }
    }
    days
}

fn seal_day(
    db: &mut rusqlite::Connection,
    slices: &[Slice<'_>],
    applied: Position,
    safe: Option<Position>,
    damaged: &dyn Fn(&str),
) -> Result<(), DayError> {
    let tx = db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let mut writer = DayWriter::new(&tx)?;
    let mut ids = Vec::new();
    let mut known: Option<&Strip> = None;
    for slice in slices {
        if !known.is_some_and(|strip| std::ptr::eq(strip, slice.strip)) {
            (known, ids) = (Some(slice.strip), series_ids(&writer, slice.strip)?);
        }
        Sealer::new(&tx, slice).seal(&mut writer, &ids, damaged)?;
    }
    spool::fail_point!("embedded.seal.parts");
    writer.finish()?;
    spool::fail_point!("embedded.seal.rollups");
    day::set_position(&tx, "applied", applied)?;
    if let Some(safe) = safe {
        day::set_position(&tx, "safe", safe)?;
    }
    tx.commit()?;
    spool::fail_point!("embedded.seal.day");
    Ok(())
}

fn series_ids(writer: &DayWriter<'_>, strip: &Strip) -> Result<Vec<i64>, DayError> {
    let ids = strip.quantities.iter().map(|q| writer.series(&strip.site, &strip.device, q));
    Ok(ids.collect::<rusqlite::Result<_>>()?)
}

/// Samples of a slice joined with one set of older parts: the same for all columns with that set.
#[derive(Debug)]
struct Joined {
    /// The ids of the older times, in order, and how many samples each has.
    old: Vec<(i64, usize)>,
    plan: Plan,
    /// Where the times of each piece are kept.
    pieces: Vec<(std::ops::Range<usize>, i64)>,
}

/// Seals one slice.
#[derive(Debug)]
struct Sealer<'a> {
    db: &'a rusqlite::Connection,
    slice: &'a Slice<'a>,
    /// The slice's times.
    times: Vec<i64>,
    joined: Vec<Arc<Joined>>,
    /// Older times that were read.
    old: HashMap<i64, Arc<Vec<i64>>>,
    spans: Vec<Span>,
}

impl<'a> Sealer<'a> {
    fn new(db: &'a rusqlite::Connection, slice: &'a Slice<'a>) -> Self {
        let times = slice.rows.iter().map(|row| slice.strip.times[*row as usize]).collect();
        Self { db, slice, times, joined: Vec::new(), old: HashMap::new(), spans: Vec::new() }
    }

    fn seal(
        mut self,
        writer: &mut DayWriter<'_>,
        ids: &[i64],
        damaged: &dyn Fn(&str),
    ) -> Result<(), DayError> {
        let hour = self.slice.hour_start.rem_euclid(day::DAY_MS) / HOUR_MS;
        let (first, last) = (self.times[0], self.times[self.times.len() - 1]);
        let mut marks = self.marks();
        for (column, &series) in ids.iter().enumerate() {
            let mut spans = std::mem::take(&mut self.spans);
            writer.spans(series, hour, &mut spans)?;
            let (range, old) = self.absorb(writer, &mut spans, first..=last, damaged)?;
            let absorbed = &spans[range.clone()];
            let joined = self.join(writer, absorbed)?;
            let new = self.column(column, std::mem::take(&mut marks[column]));
            let merged = if absorbed.is_empty() { new } else { joined.plan.apply(&old, &new) };
            for span in absorbed {
                writer.delete(span)?;
            }
            spans.drain(range);
            write_pieces(writer, day::key(series, hour), &spans, &joined, &merged)?;
            self.spans = spans;
        }
        Ok(())
    }

    /// The parts that the new samples are joined with, and their samples. One that cannot be read is set aside.
    fn absorb(
        &mut self,
        writer: &mut DayWriter<'_>,
        spans: &mut Vec<Span>,
        new: std::ops::RangeInclusive<i64>,
        damaged: &dyn Fn(&str),
    ) -> Result<(std::ops::Range<usize>, Column), DayError> {
        loop {
            let range = merge::absorbed(spans, *new.start(), *new.end());
            let mut all = Column::default();
            let mut broken = None;
            for index in range.clone() {
                match self.read(writer, &spans[index]) {
                    Ok(column) => append(&mut all, &column),
                    Err(error @ (DayError::Part(_) | DayError::Shape(_))) => {
                        broken = Some((index, error.to_string()));
                        break;
                    }
                    Err(error) => return Err(error),
                }
            }
            let Some((index, reason)) = broken else {
                if !all.marks.is_empty() {
                    all.marks.resize(all.values.len(), 0);
                }
                return Ok((range, all));
            };
            damaged(&reason);
            writer.set_aside(&spans.remove(index), &reason)?;
        }
    }

    fn read(&mut self, writer: &mut DayWriter<'_>, span: &Span) -> Result<Column, DayError> {
        if !span.is_sound {
            return Err(part::PartError::Checksum("summary").into());
        }
        if !self.old.contains_key(&span.times) {
            let hour_start = self.slice.hour_start;
            let version = schema::VERSION;
            let count = Some(span.count);
            let times = day::load_times(self.db, version, span.times, hour_start, count)?;
            self.old.insert(span.times, Arc::new(times));
        }
        let times = &self.old[&span.times];
        if times.len() != span.count || times.first() != Some(&span.t0) {
            return Err(DayError::Shape("a part and its times differ"));
        }
        writer.load(span)
    }

    /// Marks per column, in the order of the slice's rows; empty for a column that is plainly good.
    fn marks(&self) -> Vec<Vec<u16>> {
        let mut out = vec![Vec::new(); self.slice.strip.quantities.len()];
        if self.slice.strip.marks.is_empty() {
            return out;
        }
        let all = &self.slice.strip.marks;
        for (i, &row) in self.slice.rows.iter().enumerate() {
            let start = all.partition_point(|(r, _, _)| *r < row);
            for &(_, column, code) in all[start..].iter().take_while(|(r, _, _)| *r == row) {
                let marks = &mut out[usize::from(column)];
                marks.resize(self.slice.rows.len(), 0);
                marks[i] = code;
            }
        }
        out
    }

    fn column(&self, column: usize, marks: Vec<u16>) -> Column {
        let strip = self.slice.strip;
        let width = strip.quantities.len();
        let values = self.slice.rows.iter().map(|row| strip.values[*row as usize * width + column]);
        Column { values: values.collect(), marks }
    }

    /// The plan for joining with these parts, made once for all columns that have the same.
    fn join(
        &mut self,
        writer: &mut DayWriter<'_>,
        absorbed: &[Span],
    ) -> Result<Arc<Joined>, DayError> {
        let same = |j: &&Arc<Joined>| {
            let old = absorbed.iter().map(|s| (s.times, s.count));
            j.old.len() == absorbed.len() && old.eq(j.old.iter().copied())
        };
        if let Some(joined) = self.joined.iter().find(same) {
            return Ok(Arc::clone(joined));
        }
        let hour_start = self.slice.hour_start;
        let mut old: Vec<i64> = Vec::new();
        for span in absorbed {
            old.extend(self.old.get(&span.times).into_iter().flat_map(|times| times.iter()));
        }
        let plan = Plan::new(&old, &self.times);
        let mut pieces = Vec::new();
        for piece in merge::pieces(plan.times.len()) {
            let body = part::encode_times(&plan.times[piece.clone()], hour_start)?;
            pieces.push((piece, writer.insert_times(&body)?));
        }
        let old = absorbed.iter().map(|s| (s.times, s.count)).collect();
        let joined = Arc::new(Joined { old, plan, pieces });
        self.joined.push(Arc::clone(&joined));
        Ok(joined)
    }
}

/// Appends the samples of a part; marks of earlier samples that had none are good.
fn append(all: &mut Column, column: &Column) {
    if !column.marks.is_empty() {
        all.marks.resize(all.values.len(), 0);
        all.marks.extend_from_slice(&column.marks);
    }
    all.values.extend_from_slice(&column.values);
}

fn write_pieces(
    writer: &mut DayWriter<'_>,
    first_key: i64,
    kept: &[Span],
    joined: &Joined,
    column: &Column,
) -> Result<(), DayError> {
    let free = |key: &i64| !kept.iter().any(|s| s.key == *key);
    let mut keys = (first_key..first_key + day::PARTS_PER_HOUR).filter(free);
    for (range, times_id) in &joined.pieces {
        let times = &joined.plan.times[range.clone()];
        let marks = column.marks.get(range.clone()).unwrap_or_default();
        let piece = Column { values: column.values[range.clone()].to_vec(), marks: marks.to_vec() };
        writer.insert(&NewPart {
            key: keys.next().ok_or(DayError::Shape("too many parts in one hour"))?,
            t0: times[0],
            t1: times[times.len() - 1],
            count: times.len(),
            summary: Summary::of(piece.samples(0..times.len())),
            times: *times_id,
            minutes: &part::encode_minutes(times, &piece)?,
            values: &part::encode_values(&piece.values)?,
            marks: &part::encode_marks(&piece.marks),
        })?;
    }
    Ok(())
}
