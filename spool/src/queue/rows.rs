//! Rows of the spool's tables: blocks as head and body, the checksum over both, state rows.
//!
//! Heads lie apart from bodies so that sums over ranges (an ack, an eviction) read little.

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::block::{GapRange, Key, NewBlock, StoredBlock};
use super::epoch::{self, EpochState};
use crate::log::Pair;

pub(super) const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS head(id INTEGER PRIMARY KEY, epoch INTEGER NOT NULL,
        born INTEGER NOT NULL, samples INTEGER NOT NULL, t0 INTEGER NOT NULL, t1 INTEGER NOT NULL,
        manifest INTEGER NOT NULL, size INTEGER NOT NULL, crc INTEGER NOT NULL);
    CREATE TABLE IF NOT EXISTS body(id INTEGER PRIMARY KEY, gap BLOB NOT NULL, bytes BLOB NOT NULL);
    CREATE TABLE IF NOT EXISTS manifest(no INTEGER PRIMARY KEY, key BLOB NOT NULL, bytes BLOB NOT NULL,
        crc INTEGER NOT NULL);
    CREATE TABLE IF NOT EXISTS state(key BLOB PRIMARY KEY, value BLOB NOT NULL, crc INTEGER NOT NULL)
        WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS rejected(id INTEGER PRIMARY KEY, code TEXT NOT NULL, at INTEGER NOT NULL);";

pub(super) const COUNTERS: &[u8] = b"counters";
pub(super) const LOSSES: &[u8] = b"losses";

/// Key of an epoch's row.
pub(super) fn epoch_key(no: u32) -> Vec<u8> {
    let mut key = b"epoch".to_vec();
    key.extend_from_slice(&no.to_be_bytes());
    key
}

/// What is summed over blocks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sum {
    pub(super) blocks: u64,
    pub(super) samples: u64,
    pub(super) bytes: u64,
}

pub(super) fn insert(
    conn: &Connection,
    id: i64,
    block: &NewBlock<'_>,
    manifest: u32,
) -> rusqlite::Result<()> {
    let gap = GapRange::write(block.gap);
    let crc = crc(id, block, manifest, &gap);
    let size = i64::try_from(block.bytes.len()).unwrap_or(i64::MAX);
    conn.prepare_cached("INSERT INTO head VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)")?.execute(
        params![
            id,
            block.key.epoch.cast_signed(),
            block.born_ms,
            block.samples,
            block.t0,
            block.t1,
            manifest,
            size,
            crc
        ],
    )?;
    conn.prepare_cached("INSERT INTO body VALUES(?1, ?2, ?3)")?.execute(params![
        id,
        gap,
        block.bytes
    ])?;
    Ok(())
}

/// Columns of a whole block, in the order that [`block_row`] reads; the id first.
pub(super) const BLOCK: &str =
    "SELECT h.id, h.epoch, h.born, h.samples, h.t0, h.t1, h.manifest, h.crc, b.gap, b.bytes
     FROM head h JOIN body b ON b.id = h.id";

/// A block and the number of its manifest; `None` where the checksum does not fit.
pub(super) fn block_row(row: &Row<'_>) -> rusqlite::Result<Option<(StoredBlock, u32)>> {
    let id: i64 = row.get(0)?;
    let gap: Vec<u8> = row.get(8)?;
    let manifest: u32 = row.get(6)?;
    let stored = StoredBlock {
        key: Key { epoch: row.get::<_, i64>(1)?.cast_unsigned(), seq: epoch::split(id).1 },
        bytes: row.get(9)?,
        born_ms: row.get(2)?,
        samples: row.get(3)?,
        t0: row.get(4)?,
        t1: row.get(5)?,
        manifest: None,
        gap: Vec::new(),
    };
    let fits = crc(id, &as_new(&stored), manifest, &gap) == row.get::<_, u32>(7)?;
    let Some(ranges) = GapRange::read(&gap).filter(|_| fits) else { return Ok(None) };
    Ok(Some((StoredBlock { gap: ranges, ..stored }, manifest)))
}

pub(super) fn as_new(block: &StoredBlock) -> NewBlock<'_> {
    NewBlock {
        key: block.key,
        bytes: &block.bytes,
        born_ms: block.born_ms,
        samples: block.samples,
        t0: block.t0,
        t1: block.t1,
        manifest: block.manifest,
        gap: &block.gap,
    }
}

fn crc(id: i64, block: &NewBlock<'_>, manifest: u32, gap: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    for number in [id, block.key.epoch.cast_signed(), block.born_ms, block.t0, block.t1] {
        crc.update(&number.to_le_bytes());
    }
    crc.update(&block.samples.to_le_bytes());
    crc.update(&manifest.to_le_bytes());
    crc.update(&(gap.len() as u64).to_le_bytes());
    crc.update(gap);
    crc.update(block.bytes);
    crc.finalize()
}

pub(super) fn read_block(
    conn: &Connection,
    id: i64,
) -> rusqlite::Result<Option<Option<(StoredBlock, u32)>>> {
    let sql = format!("{BLOCK} WHERE h.id = ?1");
    conn.prepare_cached(&sql)?.query_row([id], block_row).optional().or_else(|e| match e {
        // A value of another type than was written: this row is damaged, not the file.
        rusqlite::Error::InvalidColumnType(..) | rusqlite::Error::IntegralValueOutOfRange(..) => {
            Ok(Some(None))
        }
        e => Err(e),
    })
}

/// Sums over the blocks with `from..=to` of an epoch.
pub(super) fn sum(conn: &Connection, no: u32, from: u64, to: u64) -> rusqlite::Result<Sum> {
    conn.prepare_cached(
        "SELECT count(*), coalesce(sum(samples), 0), coalesce(sum(size), 0) FROM head
         WHERE id BETWEEN ?1 AND ?2",
    )?
    .query_row([epoch::id(no, from), epoch::id(no, to)], |r| {
        let [blocks, samples, bytes] = [r.get::<_, i64>(0)?, r.get(1)?, r.get(2)?];
        Ok(Sum {
            blocks: blocks.cast_unsigned(),
            samples: samples.cast_unsigned(),
            bytes: bytes.cast_unsigned(),
        })
    })
}

/// The head of a block, for eviction.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head {
    pub(super) id: i64,
    pub(super) samples: u64,
    pub(super) t0: i64,
    pub(super) t1: i64,
    pub(super) manifest: u32,
    pub(super) size: u64,
}

/// Heads of `from..=to` of an epoch in order, until their bytes reach `bytes` or `most` were read.
pub(super) fn heads(
    conn: &Connection,
    (no, from, to): (u32, u64, u64),
    bytes: u64,
    most: usize,
) -> rusqlite::Result<Vec<Head>> {
    let mut statement = conn.prepare_cached(
        "SELECT id, samples, t0, t1, manifest, size FROM head WHERE id BETWEEN ?1 AND ?2 ORDER BY id",
    )?;
    let mut rows = statement.query([epoch::id(no, from), epoch::id(no, to)])?;
    let (mut out, mut sum) = (Vec::new(), 0);
    while sum < bytes && out.len() < most {
        let Some(row) = rows.next()? else { break };
        let head = Head {
            id: row.get(0)?,
            samples: row.get::<_, i64>(1)?.cast_unsigned(),
            t0: row.get(2)?,
            t1: row.get(3)?,
            manifest: row.get(4)?,
            size: row.get::<_, i64>(5)?.cast_unsigned(),
        };
        sum += head.size;
        out.push(head);
    }
    Ok(out)
}

pub(super) fn delete(conn: &Connection, id: i64) -> rusqlite::Result<()> {
    conn.prepare_cached("DELETE FROM head WHERE id = ?1")?.execute([id])?;
    conn.prepare_cached("DELETE FROM body WHERE id = ?1")?.execute([id])?;
    Ok(())
}

pub(super) fn put_state(conn: &Connection, key: &[u8], value: &[u8]) -> rusqlite::Result<()> {
    conn.prepare_cached("INSERT OR REPLACE INTO state VALUES(?1, ?2, ?3)")?.execute(params![
        key,
        value,
        state_crc(key, value)
    ])?;
    Ok(())
}

pub(super) fn put_epoch(conn: &Connection, epoch: &EpochState) -> rusqlite::Result<()> {
    put_state(conn, &epoch_key(epoch.no), &epoch.to_bytes())
}

/// Deletes the rows of all epochs: what is known now is written anew.
pub(super) fn forget_epochs(conn: &Connection) -> rusqlite::Result<()> {
    conn.execute("DELETE FROM state WHERE substr(key, 1, 5) = CAST('epoch' AS BLOB)", [])?;
    Ok(())
}

/// All state rows whose checksum fits; the second value is true where one did not or was unreadable.
pub(super) fn states(conn: &Connection) -> rusqlite::Result<(Vec<Pair>, bool)> {
    let mut statement = conn.prepare("SELECT key, value, crc FROM state ORDER BY key")?;
    let mut rows = statement.query([])?;
    let (mut out, mut lost) = (Vec::new(), false);
    loop {
        let row = match rows.next() {
            Ok(Some(row)) => row,
            Ok(None) => return Ok((out, lost)),
            Err(_) => return Ok((out, true)),
        };
        let read = || {
            let (key, value): (Vec<u8>, Vec<u8>) = (row.get(0)?, row.get(1)?);
            Ok::<_, rusqlite::Error>((key, value, row.get::<_, u32>(2)?))
        };
        match read() {
            Ok((key, value, crc)) if state_crc(&key, &value) == crc => out.push((key, value)),
            _ => lost = true,
        }
    }
}

pub(super) fn state_crc(key: &[u8], value: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&(key.len() as u64).to_le_bytes());
    crc.update(key);
    crc.update(value);
    crc.finalize()
}

pub(super) fn born(conn: &Connection, id: i64) -> rusqlite::Result<Option<i64>> {
    conn.prepare_cached("SELECT born FROM head WHERE id = ?1")?
        .query_row([id], |r| r.get(0))
        .optional()
}

/// Every head in the file.
pub(super) fn each_head(conn: &Connection, mut take: impl FnMut(&Head)) -> rusqlite::Result<()> {
    let mut statement =
        conn.prepare("SELECT id, samples, t0, t1, manifest, size FROM head ORDER BY id")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        take(&Head {
            id: row.get(0)?,
            samples: row.get::<_, i64>(1)?.cast_unsigned(),
            t0: row.get(2)?,
            t1: row.get(3)?,
            manifest: row.get(4)?,
            size: row.get::<_, i64>(5)?.cast_unsigned(),
        });
    }
    Ok(())
}
