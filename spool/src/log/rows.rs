//! Reading and checking the rows of the log's tables; the checksums over them.
//!
//! Used by the writer, the readers and the salvage, each with its own connection.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::{EpochSets, NewRecord, Record, Usage};
use crate::error::Error;
use crate::file::{File, with_suffix};
use crate::intervals::Intervals;

/// Key of the row that remembers the next position; callers' keys never begin with a zero byte.
pub(super) const NEXT: &[u8] = b"\0next";

pub(super) struct State {
    pub(super) gateways: HashMap<String, u32>,
    pub(super) sets: HashMap<u32, BTreeMap<u64, EpochSets>>,
    pub(super) usage: HashMap<u32, Usage>,
    pub(super) next: u64,
}

pub(super) fn load(file: &File) -> Result<State, Error> {
    let run = || {
        let conn = &file.conn;
        let gateways = gateways(conn)?;
        let names: HashMap<u32, String> = gateways.iter().map(|(n, i)| (*i, n.clone())).collect();
        let mut sets: HashMap<u32, BTreeMap<u64, EpochSets>> = HashMap::new();
        let mut statement = conn.prepare(SETS)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let (no, epoch, found) = set_row(row, &names)?;
            sets.entry(no).or_default().insert(epoch, found);
        }
        let mut usage = HashMap::new();
        let mut statement =
            conn.prepare("SELECT gateway, count(*), sum(size) FROM block GROUP BY gateway")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let (blocks, bytes): (i64, i64) = (row.get(1)?, row.get(2)?);
            let held = Usage { blocks: blocks.cast_unsigned(), bytes: bytes.cast_unsigned() };
            usage.insert(row.get(0)?, held);
        }
        let top: i64 =
            conn.query_row("SELECT coalesce(max(position), 0) FROM record", [], |r| r.get(0))?;
        let next = next(conn)?.unwrap_or(1).max(top.cast_unsigned() + 1);
        Ok(State { gateways, sets, usage, next })
    };
    run().map_err(file.fail("load"))
}

pub(super) fn gateways(conn: &Connection) -> rusqlite::Result<HashMap<String, u32>> {
    let mut statement = conn.prepare("SELECT name, no FROM gateway")?;
    statement.query_map([], |r| Ok((r.get(0)?, r.get(1)?)))?.collect()
}

pub(super) fn next(conn: &Connection) -> rusqlite::Result<Option<u64>> {
    let Some(value) = get(conn, NEXT)? else { return Ok(None) };
    let bytes = value.try_into().map_err(|_| broken("next position"))?;
    Ok(Some(u64::from_le_bytes(bytes)))
}

/// Columns of an interval set, in the order that [`set_row`] reads.
pub(super) const SETS: &str =
    "SELECT gateway, epoch, logged, covered, held, crc FROM sets ORDER BY gateway, epoch";

pub(super) fn set_row(
    row: &Row<'_>,
    names: &HashMap<u32, String>,
) -> rusqlite::Result<(u32, u64, EpochSets)> {
    let no: u32 = row.get(0)?;
    let epoch = row.get::<_, i64>(1)?.cast_unsigned();
    let blob = |at| Ok::<_, rusqlite::Error>(row.get_ref(at)?.as_blob()?);
    let (logged, covered, held) = (blob(2)?, blob(3)?, blob(4)?);
    let name = names.get(&no).ok_or_else(|| broken("gateway"))?;
    if sets_crc(name, epoch, [logged, covered, held]) != row.get::<_, u32>(5)? {
        return Err(broken("interval set"));
    }
    let read = |b| Intervals::from_bytes(b).map_err(|_| broken("interval set"));
    let sets = EpochSets { logged: read(logged)?, covered: read(covered)?, held: read(held)? };
    Ok((no, epoch, sets))
}

pub(super) fn get(conn: &Connection, key: &[u8]) -> rusqlite::Result<Option<Vec<u8>>> {
    let mut statement = conn.prepare_cached("SELECT value, crc FROM kv WHERE key = ?1")?;
    let found = statement.query_row([key], |r| Ok((r.get(0)?, r.get(1)?))).optional()?;
    let Some((value, crc)) = found else { return Ok(None) };
    check_value(key, value, crc).map(Some)
}

pub(super) fn check_value(key: &[u8], value: Vec<u8>, crc: u32) -> rusqlite::Result<Vec<u8>> {
    if pair_crc(key, &value) == crc { Ok(value) } else { Err(broken("value")) }
}

pub(super) fn scan(conn: &Connection, prefix: &[u8]) -> rusqlite::Result<Vec<super::Pair>> {
    let mut statement =
        conn.prepare_cached("SELECT key, value, crc FROM kv WHERE key >= ?1 ORDER BY key")?;
    let mut rows = statement.query([prefix])?;
    let mut out = Vec::new();
    while let Some(row) = rows.next()? {
        let key: Vec<u8> = row.get(0)?;
        if !key.starts_with(prefix) {
            break;
        }
        let value = check_value(&key, row.get(1)?, row.get(2)?)?;
        out.push((key, value));
    }
    Ok(out)
}

pub(super) fn manifest(
    conn: &Connection,
    no: u32,
    key: &[u8; 16],
) -> rusqlite::Result<Option<Vec<u8>>> {
    let mut statement =
        conn.prepare_cached("SELECT bytes, crc FROM manifest WHERE gateway = ?1 AND key = ?2")?;
    let found = statement.query_row(params![no, key], |r| Ok((r.get(0)?, r.get(1)?))).optional()?;
    let Some((bytes, crc)) = found else { return Ok(None) };
    check_value(key, bytes, crc).map(Some)
}

pub(super) fn manifest_count(conn: &Connection, no: u32) -> rusqlite::Result<u64> {
    let mut statement = conn.prepare_cached("SELECT count(*) FROM manifest WHERE gateway = ?1")?;
    statement.query_row(params![no], |r| r.get::<_, i64>(0)).map(i64::unsigned_abs)
}

pub(super) fn sha(
    conn: &Connection,
    no: u32,
    epoch: u64,
    seq: u64,
) -> rusqlite::Result<Option<[u8; 16]>> {
    let mut statement = conn
        .prepare_cached("SELECT sha FROM block WHERE gateway = ?1 AND epoch = ?2 AND seq = ?3")?;
    let key = params![no, epoch.cast_signed(), seq.cast_signed()];
    let found: Option<Vec<u8>> = statement.query_row(key, |r| r.get(0)).optional()?;
    found.map(|b| b.try_into().map_err(|_| broken("digest"))).transpose()
}

/// Whether a record lies at a position.
pub(super) fn is_there(conn: &Connection, position: u64) -> rusqlite::Result<bool> {
    conn.prepare_cached("SELECT 1 FROM record WHERE position = ?1")?
        .exists([position.cast_signed()])
}

/// Receive time of a block's record.
pub(super) fn received_at(
    conn: &Connection,
    no: u32,
    epoch: u64,
    seq: u64,
) -> rusqlite::Result<Option<i64>> {
    let mut statement = conn.prepare_cached(
        "SELECT r.received_at FROM block b JOIN record r ON r.position = b.position
         WHERE b.gateway = ?1 AND b.epoch = ?2 AND b.seq = ?3",
    )?;
    let key = params![no, epoch.cast_signed(), seq.cast_signed()];
    statement.query_row(key, |r| r.get(0)).optional()
}

/// Bytes of the blocks of an epoch whose seq is greater.
pub(super) fn bytes_behind(
    conn: &Connection,
    no: u32,
    epoch: u64,
    seq: u64,
) -> rusqlite::Result<u64> {
    let mut statement = conn.prepare_cached(
        "SELECT coalesce(sum(size), 0) FROM block WHERE gateway = ?1 AND epoch = ?2 AND seq > ?3",
    )?;
    let key = params![no, epoch.cast_signed(), seq.cast_signed()];
    statement.query_row(key, |r| r.get::<_, i64>(0)).map(i64::cast_unsigned)
}

/// Columns of a record, in the order that [`record_row`] reads.
pub(super) const RECORD: &str =
    "SELECT r.position, r.kind, coalesce(g.name, ''), r.epoch, r.seq, r.received_at, r.crc,
     r.meta, r.bytes, r.block FROM record r LEFT JOIN gateway g ON g.no = r.gateway";

/// A record, or `None` where its checksum does not fit.
pub(super) fn record_row(row: &Row<'_>) -> rusqlite::Result<Option<Record>> {
    let record = Record {
        position: row.get::<_, i64>(0)?.cast_unsigned(),
        kind: row.get(1)?,
        gateway: row.get(2)?,
        epoch: row.get::<_, i64>(3)?.cast_unsigned(),
        seq: row.get::<_, i64>(4)?.cast_unsigned(),
        received_at: row.get(5)?,
        meta: row.get(7)?,
        bytes: row.get(8)?,
        block: row.get(9)?,
    };
    let fits =
        record_crc(record.position, record.block, &record.as_new()) == row.get::<_, u32>(6)?;
    Ok(fits.then_some(record))
}

/// Checksum over every field of a record, the gateway's name in place of its number.
pub(super) fn record_crc(position: u64, block: bool, record: &NewRecord<'_>) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&position.to_le_bytes());
    crc.update(&[record.kind, block.into()]);
    crc.update(&(record.gateway.len() as u64).to_le_bytes());
    crc.update(record.gateway.as_bytes());
    crc.update(&record.epoch.to_le_bytes());
    crc.update(&record.seq.to_le_bytes());
    crc.update(&record.received_at.to_le_bytes());
    crc.update(&(record.meta.len() as u64).to_le_bytes());
    crc.update(record.meta);
    crc.update(record.bytes);
    crc.finalize()
}

pub(super) fn sets_crc(name: &str, epoch: u64, sets: [&[u8]; 3]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(name.as_bytes());
    crc.update(&epoch.to_le_bytes());
    for set in sets {
        crc.update(&(set.len() as u64).to_le_bytes());
        crc.update(set);
    }
    crc.finalize()
}

pub(super) fn pair_crc(key: &[u8], value: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&(key.len() as u64).to_le_bytes());
    crc.update(key);
    crc.update(value);
    crc.finalize()
}

/// A row that does not fit its checksum; [`Error::sqlite`] makes it [`Error::Damaged`].
pub(super) fn broken(what: &'static str) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(
        0,
        Type::Blob,
        format!("{what} fails its check").into(),
    )
}

/// Marks the file so that the next opening sets it aside.
pub(super) fn suspect(path: &Path) {
    // Where the marker cannot be written the next opening fails on the same damage.
    drop(std::fs::write(with_suffix(path, ".suspect"), b""));
}

/// Key of the block that the index names at a position, also where the record itself is damaged.
pub(super) fn key_at(
    conn: &Connection,
    position: u64,
) -> rusqlite::Result<Option<(u32, u64, u64)>> {
    conn.query_row(
        "SELECT gateway, epoch, seq FROM block WHERE position = ?1",
        [position.cast_signed()],
        |r| {
            Ok((
                r.get(0)?,
                r.get::<_, i64>(1)?.cast_unsigned(),
                r.get::<_, i64>(2)?.cast_unsigned(),
            ))
        },
    )
    .optional()
}

/// A block that left the log.
#[derive(Debug, Clone, Copy)]
pub(super) struct Freed {
    pub(super) gateway: u32,
    pub(super) epoch: u64,
    pub(super) seq: u64,
    pub(super) bytes: u64,
}

/// Deletes a record and its index row; returns what left where it was a block.
pub(super) fn delete(conn: &Connection, position: u64) -> rusqlite::Result<Option<Freed>> {
    let at = position.cast_signed();
    let key = conn
        .prepare_cached("SELECT gateway, epoch, seq FROM record WHERE position = ?1")?
        .query_row([at], |r| Ok((r.get::<_, u32>(0)?, r.get::<_, i64>(1)?, r.get::<_, i64>(2)?)))
        .optional()?;
    conn.prepare_cached("DELETE FROM record WHERE position = ?1")?.execute([at])?;
    let Some((gateway, epoch, seq)) = key else { return Ok(None) };
    let size = conn
        .prepare_cached(
            "DELETE FROM block WHERE gateway = ?1 AND epoch = ?2 AND seq = ?3 AND position = ?4
             RETURNING size",
        )?
        .query_row(params![gateway, epoch, seq, at], |r| r.get::<_, i64>(0))
        .optional()?;
    let (epoch, seq) = (epoch.cast_unsigned(), seq.cast_unsigned());
    Ok(size.map(|s| Freed { gateway, epoch, seq, bytes: s.cast_unsigned() }))
}
