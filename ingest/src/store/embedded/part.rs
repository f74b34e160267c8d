//! One part of a day file: up to [`PART_POINTS_MAX`] samples of one series within one hour, compressed, with what wide
//! queries need instead of the samples.
//!
//! ```text
//! times   pco of u32: ms since the hour's start, strictly increasing; shared by the series of a reply
//! values  pco of f64: the numbers only, in order; empty if there is none
//! marks   (quality << 8 | reason u16, run length)* as varints; empty if every sample is plainly good
//! minutes count u8, (minute u8, quality bits u8, numbers varint)*, pco of f64: least… greatest… last… sum…
//! ```
//!
//! Parts of a series never overlap, so an hour is the merge of its parts' summaries. A part is never changed: a late
//! sample makes a new one out of all samples concerned.

use pco::ChunkConfig;
use pco::standalone::{simple_compress, simple_decompress};

use super::segment::{self, MarkCode};
use crate::store::history::badness;

/// Most samples in a part.
pub(super) const PART_POINTS_MAX: usize = 8_192;
/// A part with fewer samples is joined with its neighbour when new samples come next to it.
pub(super) const PART_POINTS_SMALL: usize = 1_024;
/// A part has its minutes only if that spares at least this many samples for each.
const MINUTE_POINTS_MIN: usize = 16;
/// Effort of the compressor (0 to 12): above it bytes hardly shrink.
const LEVEL: usize = 4;
/// One hour, ms.
pub(super) const HOUR_MS: i64 = 3_600_000;
/// One minute, ms.
pub(super) const MINUTE_MS: i64 = 60_000;

/// Samples of one series, sorted by time.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Column {
    /// NaN without a number.
    pub(super) values: Vec<f64>,
    /// One code per sample, or nothing at all while every sample is plainly good.
    pub(super) marks: Vec<MarkCode>,
}

/// What a run of samples comes to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Summary {
    /// How many samples have a number.
    pub(super) numbers: u32,
    pub(super) min: f64,
    pub(super) max: f64,
    pub(super) sum: f64,
    /// The newest number.
    pub(super) last: f64,
    /// Bit `badness` is set if a sample of that quality is there.
    pub(super) qualities: u8,
}

/// Summary of one minute.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Minute {
    /// 0 to 59.
    pub(super) minute: u8,
    pub(super) summary: Summary,
}

/// Why bytes are no part: a damaged file.
#[derive(Debug, thiserror::Error)]
pub(super) enum PartError {
    #[error("compressed column: {0}")]
    Pco(#[from] pco::errors::PcoError),
    #[error("{0} do not fit together")]
    Shape(&'static str),
    #[error("the checksum of the {0} is wrong")]
    Checksum(&'static str),
}

/// Adds numbers so that the result does not depend on how they were grouped, but for the last bit (Neumaier).
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sum {
    sum: f64,
    lost: f64,
}

impl Sum {
    pub(super) fn add(&mut self, x: f64) {
        let next = self.sum + x;
        self.lost +=
            if self.sum.abs() >= x.abs() { (self.sum - next) + x } else { (x - next) + self.sum };
        self.sum = next;
    }

    pub(super) fn value(self) -> f64 {
        let total = self.sum + self.lost;
        // Numbers near the end of f64's range overflow; infinity is what a plain sum gives too.
        if total.is_nan() { self.sum } else { total }
    }
}

impl Summary {
    /// Of nothing.
    pub(super) const EMPTY: Self = Self {
        numbers: 0,
        min: f64::INFINITY,
        max: f64::NEG_INFINITY,
        sum: 0.0,
        last: f64::NAN,
        qualities: 0,
    };

    /// Of the samples given, oldest first.
    pub(super) fn of(samples: impl Iterator<Item = (f64, MarkCode)>) -> Self {
        let (mut out, mut sum) = (Self::EMPTY, Sum::default());
        for (value, code) in samples {
            out.qualities |= quality_bit(code);
            if !value.is_nan() {
                out.numbers += 1;
                out.min = if value < out.min { value } else { out.min };
                out.max = if value > out.max { value } else { out.max };
                out.last = value;
                sum.add(value);
            }
        }
        out.sum = sum.value();
        out
    }
}

/// The bit of a mark's quality in [`Summary::qualities`].
pub(super) fn quality_bit(code: MarkCode) -> u8 {
    1 << badness(segment::mark(code).quality)
}

impl Column {
    /// The mark code of a sample.
    pub(super) fn mark(&self, index: usize) -> MarkCode {
        self.marks.get(index).copied().unwrap_or(0)
    }

    /// The samples `range` as (value, mark code).
    pub(super) fn samples(
        &self,
        range: std::ops::Range<usize>,
    ) -> impl Iterator<Item = (f64, MarkCode)> {
        range.map(|i| (self.values[i], self.mark(i)))
    }
}

/// Checksum of some columns, one after the other, each with its length.
pub(super) fn crc(blobs: &[&[u8]]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    for blob in blobs {
        crc.update(&(blob.len() as u64).to_le_bytes());
        crc.update(blob);
    }
    crc.finalize()
}

fn config() -> ChunkConfig {
    ChunkConfig::default().with_compression_level(LEVEL)
}

/// Compresses times of one hour, strictly increasing.
pub(super) fn encode_times(times: &[i64], hour_start: i64) -> Result<Vec<u8>, PartError> {
    let offsets = times.iter().map(|t| u32::try_from(t - hour_start).unwrap_or(u32::MAX));
    let offsets: Vec<u32> = offsets.collect();
    Ok(simple_compress(&offsets, &config())?)
}

/// The reverse of [`encode_times`].
pub(super) fn decode_times(bytes: &[u8], hour_start: i64) -> Result<Vec<i64>, PartError> {
    let offsets: Vec<u32> = simple_decompress(bytes)?;
    Ok(offsets.into_iter().map(|o| hour_start + i64::from(o)).collect())
}

/// Compresses the numbers among `values`.
pub(super) fn encode_values(values: &[f64]) -> Result<Vec<u8>, PartError> {
    if !values.iter().any(|v| v.is_nan()) {
        return Ok(simple_compress(values, &config())?);
    }
    let numbers: Vec<f64> = values.iter().copied().filter(|v| !v.is_nan()).collect();
    if numbers.is_empty() {
        return Ok(Vec::new());
    }
    Ok(simple_compress(&numbers, &config())?)
}

/// Compresses marks; nothing for a column that is plainly good.
pub(super) fn encode_marks(marks: &[MarkCode]) -> Vec<u8> {
    let mut out = Vec::new();
    if marks.iter().all(|m| *m == 0) {
        return out;
    }
    for run in marks.chunk_by(|a, b| a == b) {
        put_varint(usize::from(run[0]), &mut out);
        put_varint(run.len(), &mut out);
    }
    out
}

/// Reads back `count` samples.
pub(super) fn decode_column(
    values: &[u8],
    marks: &[u8],
    count: usize,
) -> Result<Column, PartError> {
    let numbers: Vec<f64> = if values.is_empty() { Vec::new() } else { simple_decompress(values)? };
    if marks.is_empty() {
        if numbers.len() != count {
            return Err(PartError::Shape("times and values"));
        }
        return Ok(Column { values: numbers, marks: Vec::new() });
    }
    let marks = decode_marks(marks, count)?;
    let mut numbers = numbers.into_iter();
    let spread = marks.iter().map(|code| match segment::mark(*code).quality.has_value() {
        true => numbers.next().ok_or(PartError::Shape("marks and values")),
        false => Ok(f64::NAN),
    });
    Ok(Column { values: spread.collect::<Result<_, _>>()?, marks })
}

fn decode_marks(mut bytes: &[u8], count: usize) -> Result<Vec<MarkCode>, PartError> {
    let wrong = PartError::Shape("times and marks");
    let mut marks = Vec::with_capacity(count);
    while !bytes.is_empty() {
        let (Some(code), Some(run)) = (varint(&mut bytes), varint(&mut bytes)) else {
            return Err(wrong);
        };
        let code = MarkCode::try_from(code).map_err(|_| PartError::Shape("marks"))?;
        if run > count - marks.len() {
            return Err(wrong);
        }
        marks.resize(marks.len() + run, code);
    }
    if marks.len() == count { Ok(marks) } else { Err(wrong) }
}

/// The minutes of a part, or nothing where they would spare little.
pub(super) fn encode_minutes(times: &[i64], column: &Column) -> Result<Vec<u8>, PartError> {
    let minute = |t: i64| t.div_euclid(MINUTE_MS);
    let (Some(first), Some(last)) = (times.first(), times.last()) else { return Ok(Vec::new()) };
    let spanned = minute(*last) - minute(*first) + 1;
    if i64::try_from(times.len()).unwrap_or(0) < spanned * MINUTE_POINTS_MIN as i64 {
        return Ok(Vec::new());
    }
    write_minutes(&minutes_of(times, column))
}

/// The minutes of samples of one hour.
pub(super) fn minutes_of(times: &[i64], column: &Column) -> Vec<Minute> {
    let hour = times.first().map_or(0, |t| t.div_euclid(HOUR_MS) * HOUR_MS);
    let minute = |i: usize| (times[i] - hour) / MINUTE_MS;
    let mut minutes = Vec::new();
    let mut start = 0;
    for end in 1..=times.len() {
        if end == times.len() || minute(end) != minute(start) {
            let summary = Summary::of(column.samples(start..end));
            minutes.push(Minute { minute: u8::try_from(minute(start)).unwrap_or(59), summary });
            start = end;
        }
    }
    minutes
}

fn write_minutes(minutes: &[Minute]) -> Result<Vec<u8>, PartError> {
    let mut out = vec![u8::try_from(minutes.len()).unwrap_or(u8::MAX)];
    for m in minutes {
        out.extend_from_slice(&[m.minute, m.summary.qualities]);
        put_varint(m.summary.numbers as usize, &mut out);
    }
    let with_numbers = || minutes.iter().map(|m| &m.summary).filter(|s| s.numbers > 0);
    let mut numbers: Vec<f64> = with_numbers().map(|s| s.min).collect();
    numbers.extend(with_numbers().map(|s| s.max));
    numbers.extend(with_numbers().map(|s| s.last));
    numbers.extend(with_numbers().map(|s| s.sum));
    if !numbers.is_empty() {
        out.extend_from_slice(&simple_compress(&numbers, &config())?);
    }
    Ok(out)
}

/// The reverse of [`encode_minutes`]; `None` if the part has none.
pub(super) fn decode_minutes(bytes: &[u8]) -> Result<Option<Vec<Minute>>, PartError> {
    let Some((&count, mut rest)) = bytes.split_first() else { return Ok(None) };
    let wrong = || PartError::Shape("minutes");
    let mut minutes = Vec::with_capacity(usize::from(count));
    for _ in 0..count {
        let (&[minute, qualities], tail) = rest.split_first_chunk::<2>().ok_or_else(wrong)?;
        rest = tail;
        let numbers = varint(&mut rest).ok_or_else(wrong)?;
        let numbers = u32::try_from(numbers).map_err(|_| wrong())?;
        let summary = Summary { numbers, qualities, ..Summary::EMPTY };
        minutes.push(Minute { minute, summary });
    }
    let stored = minutes.iter().filter(|m| m.summary.numbers > 0).count();
    let numbers: Vec<f64> = if stored == 0 { Vec::new() } else { simple_decompress(rest)? };
    if numbers.len() != stored * 4 {
        return Err(wrong());
    }
    let with_numbers = minutes.iter_mut().filter(|m| m.summary.numbers > 0);
    for (i, m) in with_numbers.enumerate() {
        let s = &mut m.summary;
        let column = |c: usize| numbers[c * stored + i];
        (s.min, s.max, s.last, s.sum) = (column(0), column(1), column(2), column(3));
    }
    Ok(Some(minutes))
}

fn put_varint(mut n: usize, out: &mut Vec<u8>) {
    loop {
        let [low, ..] = (n & 0x7f).to_le_bytes();
        n >>= 7;
        if n == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

fn varint(bytes: &mut &[u8]) -> Option<usize> {
    let mut n = 0_usize;
    for shift in (0..35).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        n |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(n);
        }
    }
    None
}

#[cfg(test)]
mod tests;
