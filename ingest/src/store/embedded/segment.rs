//! Bytes of one hand-over in the head file: the rows as they came, before they are sorted into series.
//!
//! ```text
//! segment := crc32 of the rest u32, table*                 all numbers little-endian
//! table   := rows u32, columns u32, strips u32 × rows, times i64 × rows, column*
//! column  := values f64 × rows, marked u8, (quality << 8 | reason) u16 × rows if marked = 1
//! ```
//!
//! Written and read by the head alone, at every hand-over and at a start; it must never be read without its checksum.

use wire::columns::{Column, Marks, Table};
use wire::{Mark, Quality, Reason};

/// A mark as one number: quality in the high byte, reason in the low one. 0 = good, nothing to say.
pub(super) type MarkCode = u16;

/// The code of a mark.
pub(super) fn code(mark: Mark) -> MarkCode {
    u16::from(mark.quality as u8) << 8 | u16::from(mark.reason as u8)
}

/// The mark of a code; an unknown quality reads as bad.
pub(super) fn mark(code: MarkCode) -> Mark {
    let [reason, quality] = code.to_le_bytes();
    Mark {
        quality: Quality::from_code(quality).unwrap_or(Quality::Bad),
        reason: Reason::from_code(reason),
    }
}

/// Starts a segment.
pub(super) fn begin(out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(&[0; 4]);
}

/// Ends a segment: fills in the checksum. A segment without a table stays 4 bytes long.
pub(super) fn finish(out: &mut [u8]) {
    let crc = crc32fast::hash(&out[4..]);
    out[..4].copy_from_slice(&crc.to_le_bytes());
}

/// Whether a segment holds no table.
pub(super) fn is_empty(segment: &[u8]) -> bool {
    segment.len() <= 4
}

/// Appends the rows of a table. `strips` names a strip for each row that is kept; `kept` lists these rows, `None` = all.
pub(super) fn push_table(table: &Table, strips: &[u32], kept: Option<&[u32]>, out: &mut Vec<u8>) {
    put_u32(strips.len(), out);
    put_u32(table.columns.len(), out);
    copy(strips, u32::to_le_bytes, out);
    match kept {
        None => {
            copy(&table.times, i64::to_le_bytes, out);
            for column in &table.columns {
                push_column(column, out);
            }
        }
        Some(rows) => {
            for &row in rows {
                out.extend_from_slice(&table.times[row as usize].to_le_bytes());
            }
            for column in &table.columns {
                push_rows(column, rows, out);
            }
        }
    }
}

fn push_column(column: &Column, out: &mut Vec<u8>) {
    copy(column.values(), f64::to_le_bytes, out);
    match column.marks() {
        Marks::Each(marks) if !column.marks().all_good() => {
            out.push(1);
            for mark in marks {
                out.extend_from_slice(&code(*mark).to_le_bytes());
            }
        }
        _ => out.push(0),
    }
}

fn push_rows(column: &Column, rows: &[u32], out: &mut Vec<u8>) {
    for &row in rows {
        out.extend_from_slice(&column.values()[row as usize].to_le_bytes());
    }
    out.push(1);
    for &row in rows {
        out.extend_from_slice(&code(column.mark(row as usize)).to_le_bytes());
    }
}

/// Copies numbers as little-endian bytes in one go.
fn copy<T: Copy, const N: usize>(from: &[T], bytes: impl Fn(T) -> [u8; N], out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + from.len() * N, 0);
    for (to, item) in out[start..].chunks_exact_mut(N).zip(from) {
        to.copy_from_slice(&bytes(*item));
    }
}

fn put_u32(n: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(&u32::try_from(n).unwrap_or(u32::MAX).to_le_bytes());
}

/// One table of a segment, still as bytes.
#[derive(Debug)]
pub(super) struct Rows<'a> {
    /// Number of rows.
    pub(super) rows: usize,
    strips: &'a [u8],
    times: &'a [u8],
    columns: Vec<(&'a [u8], Option<&'a [u8]>)>,
}

impl Rows<'_> {
    /// Strip id of a row.
    pub(super) fn strip(&self, row: usize) -> u32 {
        u32::from_le_bytes(at(self.strips, row))
    }

    /// Event time of a row, ms.
    pub(super) fn time(&self, row: usize) -> i64 {
        i64::from_le_bytes(at(self.times, row))
    }

    /// Number of columns.
    pub(super) fn width(&self) -> usize {
        self.columns.len()
    }

    /// Appends the values of a row, column by column.
    pub(super) fn values(&self, row: usize, out: &mut Vec<f64>) {
        out.extend(self.columns.iter().map(|(values, _)| f64::from_le_bytes(at(values, row))));
    }

    /// Whether any column carries marks.
    pub(super) fn marked(&self) -> bool {
        self.columns.iter().any(|(_, marks)| marks.is_some())
    }

    /// The marks of a row that are not plainly good, with their columns.
    pub(super) fn marks(&self, row: usize) -> impl Iterator<Item = (usize, MarkCode)> {
        let marks = self.columns.iter().enumerate();
        marks.filter_map(move |(i, (_, marks))| {
            let code = u16::from_le_bytes(at((*marks)?, row));
            (code != 0).then_some((i, code))
        })
    }
}

fn at<const N: usize>(bytes: &[u8], index: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[index * N..(index + 1) * N]);
    out
}

/// Reads the tables of a segment; `None` if a byte of it is not as it was written.
pub(super) fn read(bytes: &[u8]) -> Option<Vec<Rows<'_>>> {
    let (crc, mut rest) = bytes.split_first_chunk::<4>()?;
    if crc32fast::hash(rest) != u32::from_le_bytes(*crc) {
        return None;
    }
    let mut tables = Vec::new();
    while !rest.is_empty() {
        let rows = take_u32(&mut rest)?;
        let width = take_u32(&mut rest)?;
        let strips = take(&mut rest, rows.checked_mul(4)?)?;
        let times = take(&mut rest, rows.checked_mul(8)?)?;
        let mut columns = Vec::new();
        for _ in 0..width {
            let values = take(&mut rest, rows.checked_mul(8)?)?;
            let marked = take(&mut rest, 1)?[0] == 1;
            let marks = if marked { Some(take(&mut rest, rows * 2)?) } else { None };
            columns.push((values, marks));
        }
        tables.push(Rows { rows, strips, times, columns });
    }
    Some(tables)
}

fn take<'a>(rest: &mut &'a [u8], n: usize) -> Option<&'a [u8]> {
    let (head, tail) = rest.split_at_checked(n)?;
    *rest = tail;
    Some(head)
}

fn take_u32(rest: &mut &[u8]) -> Option<usize> {
    let (head, tail) = rest.split_first_chunk::<4>()?;
    *rest = tail;
    usize::try_from(u32::from_le_bytes(*head)).ok()
}
