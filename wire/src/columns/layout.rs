//! Tables to bytes and back, with the compression around them. The layout is drawn in `columns.rs`.
//! Called by `block.rs`. Decoding keeps its buffers per thread, so that a block costs one allocation per column.

use std::cell::RefCell;

use super::ints::{self, Packings, Plan};
use super::read::{Reader, put_varint};
use super::{Column, Readings, Table, floats, index};
use crate::decimal;
use crate::error::{DecodeError, between};
use crate::ids::ManifestKey;
use crate::limits::{POINTS_MAX, RAW_BYTES_MAX, ROWS_MAX, TABLES_MAX};
use crate::proto;
use crate::quality::Quality;

/// Forms of a column: up to 9 the decimals of its integers, from 16 the decimals of the differences to the column before.
const FORM_ACROSS: u8 = 16;
const FORM_DOUBLES: u8 = 32;
/// Beyond this level the columns of a block hardly shrink.
const ZSTD_LEVEL: i32 = 6;

// ---- encode ---------------------------------------------------------------------------------------------------------

/// The protobuf form of readings; tables without rows are left out.
pub(crate) fn encode(readings: &Readings) -> proto::Readings {
    let tables: Vec<&Table> = readings.tables.iter().filter(|t| !t.times.is_empty()).collect();
    let (raw_bytes, (columns, compression)) = [Packings::Any, Packings::Varint]
        .into_iter()
        .map(|packings| {
            let raw = encode_tables(&tables, packings);
            (raw.len(), compress(raw))
        })
        .min_by_key(|(_, (columns, _))| columns.len())
        .expect("two candidates");
    proto::Readings {
        manifest_key: readings.manifest.0.to_vec(),
        rows: index(readings.row_count()),
        samples: index(readings.sample_count()),
        columns,
        compression: compression.into(),
        raw_bytes: index(raw_bytes),
    }
}

fn compress(raw: Vec<u8>) -> (Vec<u8>, proto::Compression) {
    let squeezed = zstd::bulk::Compressor::new(ZSTD_LEVEL).and_then(|mut compressor| {
        compressor.include_contentsize(false)?;
        compressor.compress(&raw)
    });
    match squeezed {
        Ok(bytes) if bytes.len() < raw.len() => (bytes, proto::Compression::Zstd),
        _ => (raw, proto::Compression::None),
    }
}

pub(super) fn encode_tables(tables: &[&Table], packings: Packings) -> Vec<u8> {
    let mut out = Vec::new();
    put_varint(tables.len() as u64, &mut out);
    for table in tables {
        encode_table(table, packings, &mut out);
    }
    out
}

fn encode_table(table: &Table, packings: Packings, out: &mut Vec<u8>) {
    let rows = table.times.len();
    assert!(
        table.replies.len() == rows && table.columns.iter().all(|c| c.len() == rows),
        "every column of a table is as long as its times"
    );
    ints::put_count(rows, out);
    ints::put_count(table.columns.len(), out);
    let replies: Vec<i64> = table.replies.iter().map(|&r| i64::from(r)).collect();
    Plan::new(&replies, packings).write(out);
    Plan::new(&table.times, packings).write(out);
    encode_marks(table, out);
    let mut before = None;
    for column in &table.columns {
        before = encode_column(column, before, packings, out);
    }
}

fn encode_marks(table: &Table, out: &mut Vec<u8>) {
    if table.columns.iter().all(|c| c.marks.all_good()) {
        out.push(0);
        return;
    }
    out.push(1);
    let mut before = None;
    for column in &table.columns {
        column.marks.encode(before, out);
        before = Some(&column.marks);
    }
}

/// Integers of a column without an absent value, at so many decimals: what the next column may refer to.
type Integers = (u8, Vec<i64>);

fn encode_column(
    column: &Column,
    before: Option<Integers>,
    packings: Packings,
    out: &mut Vec<u8>,
) -> Option<Integers> {
    let present: Vec<f64> = column.values.iter().copied().filter(|v| !v.is_nan()).collect();
    if present.is_empty() {
        return None;
    }
    let mut mantissas = Vec::new();
    let Some(decimals) = decimal::to_integers(&present, &mut mantissas) else {
        out.push(FORM_DOUBLES);
        floats::encode(&present, out);
        return None;
    };
    let whole = present.len() == column.len();
    let alone = Plan::new(&mantissas, packings);
    if let Some((n, here, there)) =
        before.filter(|_| whole).and_then(|b| common_scale((decimals, &mantissas), &b))
    {
        let across: Vec<i64> = here.iter().zip(&there).map(|(h, t)| h - t).collect();
        let across = Plan::new(&across, packings);
        if across.bytes < alone.bytes {
            out.push(FORM_ACROSS + n);
            across.write(out);
            return Some((n, here));
        }
    }
    out.push(decimals);
    alone.write(out);
    whole.then_some((decimals, mantissas))
}

/// Both columns at the greater number of decimals, if the integers stay exact.
fn common_scale(here: (u8, &[i64]), there: &Integers) -> Option<(u8, Vec<i64>, Vec<i64>)> {
    let n = here.0.max(there.0);
    let lift = |decimals: u8, mantissas: &[i64]| -> Option<Vec<i64>> {
        mantissas.iter().map(|&m| decimal::rescale(m, n - decimals)).collect()
    };
    Some((n, lift(here.0, here.1)?, lift(there.0, &there.1)?))
}

// ---- decode ---------------------------------------------------------------------------------------------------------

/// What decoding reuses from block to block.
#[derive(Default)]
struct Buffers {
    zstd: Option<zstd::bulk::Decompressor<'static>>,
    raw: Vec<u8>,
    ints: Vec<i64>,
    before: Vec<i64>,
    present: Vec<f64>,
}

thread_local! {
    static BUFFERS: RefCell<Buffers> = RefCell::default();
}

/// The readings of their protobuf form.
pub(crate) fn decode(readings: &proto::Readings) -> Result<Readings, DecodeError> {
    let manifest = <[u8; 16]>::try_from(readings.manifest_key.as_slice())
        .map_err(|_| DecodeError::Inconsistent { what: "a manifest key has 16 bytes" })?;
    between("rows", readings.rows.into(), 0, ROWS_MAX as u64)?;
    between("samples", readings.samples.into(), 0, POINTS_MAX as u64)?;
    between("raw_bytes", readings.raw_bytes.into(), 1, RAW_BYTES_MAX as u64)?;
    let decoded = BUFFERS.with_borrow_mut(|buffers| {
        let mut raw = std::mem::take(&mut buffers.raw);
        let tables =
            decompress(readings, buffers, &mut raw).and_then(|bytes| decode_tables(bytes, buffers));
        buffers.raw = raw;
        tables
    })?;
    let decoded = Readings { manifest: ManifestKey(manifest), tables: decoded };
    let counted = (decoded.row_count(), decoded.sample_count());
    if counted != (readings.rows as usize, readings.samples as usize) {
        return Err(DecodeError::Inconsistent {
            what: "the columns hold other rows or samples than stated",
        });
    }
    Ok(decoded)
}

fn decompress<'a>(
    readings: &'a proto::Readings,
    buffers: &mut Buffers,
    raw: &'a mut Vec<u8>,
) -> Result<&'a [u8], DecodeError> {
    let size = readings.raw_bytes as usize;
    let bytes = match readings.compression() {
        proto::Compression::None if readings.compression == 0 => readings.columns.as_slice(),
        proto::Compression::Zstd => {
            let zstd = match &mut buffers.zstd {
                Some(zstd) => zstd,
                empty => empty
                    .insert(zstd::bulk::Decompressor::new().map_err(|_| DecodeError::Compression)?),
            };
            raw.clear();
            raw.reserve(size);
            zstd.decompress_to_buffer(&readings.columns, raw)
                .map_err(|_| DecodeError::Compression)?;
            raw.as_slice()
        }
        proto::Compression::None => {
            return Err(DecodeError::Unknown {
                what: "compression",
                value: readings.compression.into(),
            });
        }
    };
    if bytes.len() == size { Ok(bytes) } else { Err(DecodeError::Compression) }
}

fn decode_tables(bytes: &[u8], buffers: &mut Buffers) -> Result<Vec<Table>, DecodeError> {
    let mut r = Reader::new(bytes);
    let count = r.count("more tables than allowed", TABLES_MAX)?;
    let mut tables = Vec::with_capacity(count);
    let (mut rows_left, mut points_left) = (ROWS_MAX, POINTS_MAX);
    for _ in 0..count {
        let rows = r.count("more rows than allowed", rows_left)?;
        let columns = r.count("more samples than allowed", points_left / rows.max(1))?;
        if rows == 0 || columns == 0 {
            return Err(r.wrong("a table without rows or columns"));
        }
        rows_left -= rows;
        points_left -= rows * columns;
        tables.push(decode_table(&mut r, rows, columns, buffers)?);
    }
    r.finish()?;
    Ok(tables)
}

fn decode_table(
    r: &mut Reader<'_>,
    rows: usize,
    columns: usize,
    b: &mut Buffers,
) -> Result<Table, DecodeError> {
    ints::decode(r, rows, &mut b.ints)?;
    let replies: Result<Vec<u32>, _> = b.ints.iter().map(|&i| u32::try_from(i)).collect();
    let replies = replies.map_err(|_| r.wrong("a reply index that is none"))?;
    let mut times = Vec::with_capacity(rows);
    ints::decode(r, rows, &mut times)?;
    let mut table = Table { replies, times, columns: Vec::with_capacity(columns) };
    decode_marks(r, rows, columns, &mut table.columns)?;
    let mut before = None;
    for column in &mut table.columns {
        before = decode_column(r, rows, before, column, b)?;
        if before.is_some() {
            std::mem::swap(&mut b.ints, &mut b.before);
        }
    }
    Ok(table)
}

fn decode_marks(
    r: &mut Reader<'_>,
    rows: usize,
    columns: usize,
    out: &mut Vec<Column>,
) -> Result<(), DecodeError> {
    match r.u8()? {
        0 => out.resize_with(columns, Column::default),
        1 => {
            for _ in 0..columns {
                let marks = super::Marks::decode(r, rows, out.last().map(|c: &Column| &c.marks))?;
                out.push(Column { values: Vec::new(), marks });
            }
        }
        _ => return Err(r.wrong("an unknown form of marks")),
    }
    Ok(())
}

/// Reads the values of a column; `before` is the number of decimals of the integers in `b.before`, if they are a whole
/// column's. Answers the same for the integers it leaves in `b.ints`.
fn decode_column(
    r: &mut Reader<'_>,
    rows: usize,
    before: Option<u8>,
    column: &mut Column,
    b: &mut Buffers,
) -> Result<Option<u8>, DecodeError> {
    let present = column.marks.present(rows);
    if present == 0 {
        column.values = vec![f64::NAN; rows];
        return Ok(None);
    }
    let form = r.u8()?;
    let mut values = Vec::with_capacity(rows);
    let whole = if form == FORM_DOUBLES {
        floats::decode(r, present, &mut values)?;
        None
    } else {
        let decimals = decode_integers(r, form, present, before.filter(|_| present == rows), b)?;
        decimal::divide_into(&b.ints, decimals, &mut values);
        (present == rows).then_some(decimals)
    };
    column.values = if present == rows { values } else { scatter(&values, column, rows, b) };
    Ok(whole)
}

fn decode_integers(
    r: &mut Reader<'_>,
    form: u8,
    present: usize,
    before: Option<u8>,
    b: &mut Buffers,
) -> Result<u8, DecodeError> {
    let (decimals, across) = match form {
        0..=decimal::DECIMALS_MAX => (form, false),
        _ => (form.wrapping_sub(FORM_ACROSS), true),
    };
    if decimals > decimal::DECIMALS_MAX {
        return Err(r.wrong("an unknown form of column"));
    }
    ints::decode(r, present, &mut b.ints)?;
    if across {
        let lift = before.and_then(|n| decimals.checked_sub(n));
        let Some(lift) = lift else {
            return Err(r.wrong("differences to a column that has no integers"));
        };
        let power = 10_i64.pow(u32::from(lift));
        for (here, there) in b.ints.iter_mut().zip(&b.before) {
            *here = here.wrapping_add(there.wrapping_mul(power));
        }
    }
    if decimal::all_exact(&b.ints) {
        Ok(decimals)
    } else {
        Err(r.wrong("an integer of 2^53 or more"))
    }
}

/// Puts the values that are there into their rows.
fn scatter(values: &[f64], column: &Column, rows: usize, b: &mut Buffers) -> Vec<f64> {
    b.present.clear();
    let mut values = values.iter().copied();
    b.present.extend((0..rows).map(|row| match column.mark(row).quality {
        Quality::Bad | Quality::Stale => f64::NAN,
        _ => values.next().unwrap_or(f64::NAN),
    }));
    b.present.clone()
}
