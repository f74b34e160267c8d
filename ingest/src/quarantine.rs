//! What cannot be taken and must not be lost: blocks and samples set aside with the reason, listed, given back.
//!
//! A file of its own (`quarantine.db`), bounded per gateway. The receiver makes an entry durable before the log acks the
//! block as rejected; the store's refusals come here too. Nothing here is ever deleted by age: a person decides.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, OptionalExtension, params};
use serde::Serialize;
use spool::LogReader;
use wire::GatewayName;

use crate::receive::Quarantined;
use crate::store::{Refusal, RefusalSink};

#[cfg(test)]
mod tests;

/// Bytes that one gateway may have in quarantine by default.
pub const GATEWAY_BYTES_MAX: u64 = 64 << 20;
/// Entries that one gateway may have in quarantine: a page can still list them.
pub const GATEWAY_ENTRIES_MAX: u64 = 100_000;
/// What an entry costs beside its bytes.
const ENTRY_OVERHEAD: u64 = 256;
/// Entries given at once at most.
pub const LIST_MAX: u32 = 1_000;

const SCHEMA: &str = "
    PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA busy_timeout = 5000;
    CREATE TABLE IF NOT EXISTS entry(
        id INTEGER PRIMARY KEY AUTOINCREMENT, gateway TEXT NOT NULL, epoch INTEGER NOT NULL, seq INTEGER NOT NULL,
        code TEXT NOT NULL, detail TEXT NOT NULL, rows BLOB NOT NULL, sha BLOB NOT NULL, bytes BLOB NOT NULL,
        samples INTEGER NOT NULL, at INTEGER NOT NULL, state TEXT NOT NULL DEFAULT 'open',
        UNIQUE(gateway, epoch, seq, code, sha));
    CREATE INDEX IF NOT EXISTS entry_open ON entry(state, id);";

/// Why the quarantine cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the quarantine failed while {doing}")]
pub struct QuarantineError {
    doing: &'static str,
    #[source]
    source: rusqlite::Error,
}

/// One entry, without its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Its number.
    pub id: i64,
    /// The gateway; empty where the store did not know it.
    pub gateway: String,
    /// Epoch of the block, 16 hexadecimal digits; empty where unknown.
    pub epoch: String,
    /// Its seq; 0 where unknown.
    pub seq: u64,
    /// Stable word.
    pub code: String,
    /// More, for a person.
    pub detail: String,
    /// Rows that are set aside; empty = all.
    pub rows: Vec<u32>,
    /// Bytes of the block.
    pub bytes: u64,
    /// Samples concerned, where known.
    pub samples: u64,
    /// When it came, ms UTC.
    pub at: i64,
    /// `open`, `replayed` or `discarded`.
    pub state: String,
}

/// The quarantine; shared by the receiver, the store writer and the API.
#[derive(Debug)]
pub struct Quarantine {
    inner: Mutex<Inner>,
    gateway_bytes_max: u64,
}

#[derive(Debug)]
struct Inner {
    conn: Connection,
    usage: HashMap<String, (u64, u64)>,
}

fn during<T>(doing: &'static str, result: rusqlite::Result<T>) -> Result<T, QuarantineError> {
    result.map_err(|source| QuarantineError { doing, source })
}

impl Quarantine {
    /// Opens or makes `quarantine.db` in `dir`.
    ///
    /// # Errors
    /// When the file cannot be used.
    pub fn open(dir: &Path, gateway_bytes_max: u64) -> Result<Self, QuarantineError> {
        let conn = during("opening its file", Connection::open(dir.join("quarantine.db")))?;
        during("making its tables", conn.execute_batch(SCHEMA))?;
        let usage = during("counting its entries", usage(&conn))?;
        Ok(Self { inner: Mutex::new(Inner { conn, usage }), gateway_bytes_max })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets blocks aside, durably when this returns. The same one again changes nothing.
    ///
    /// # Errors
    /// When the file cannot be written; nothing of it is kept.
    pub fn put(&self, blocks: &[Quarantined]) -> Result<(), QuarantineError> {
        let mut inner = self.lock();
        let tx = during("beginning", inner.conn.transaction())?;
        let mut added = Vec::new();
        for block in blocks {
            let new = during("adding an entry", insert(&tx, &Row::of(block)))?;
            if new {
                added.push((block.gateway.to_string(), block.bytes.len() as u64 + ENTRY_OVERHEAD));
            }
        }
        spool::fail_point!("quarantine.put");
        during("committing", tx.commit())?;
        for (gateway, bytes) in added {
            let usage = inner.usage.entry(gateway).or_default();
            *usage = (usage.0 + 1, usage.1 + bytes);
        }
        Ok(())
    }

    /// Gateways whose share is used up: what would go here of them is not acked.
    #[must_use]
    pub fn full(&self) -> HashSet<GatewayName> {
        let inner = self.lock();
        let full = inner.usage.iter().filter(|(_, (entries, bytes))| {
            *entries >= GATEWAY_ENTRIES_MAX || *bytes >= self.gateway_bytes_max
        });
        full.filter_map(|(name, _)| GatewayName::new(name.clone()).ok()).collect()
    }

    /// Entries before `before` (0 = from the newest), newest first, of one gateway or of all.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn list(
        &self,
        gateway: Option<&str>,
        before: i64,
        most: u32,
    ) -> Result<Vec<Entry>, QuarantineError> {
        let inner = self.lock();
        let run = || {
            let mut statement = inner.conn.prepare_cached(
                "SELECT id, gateway, epoch, seq, code, detail, rows, length(bytes), samples, at, state FROM entry
                 WHERE (?1 = 0 OR id < ?1) AND (?2 IS NULL OR gateway = ?2) ORDER BY id DESC LIMIT ?3",
            )?;
            let rows = statement.query_map(params![before, gateway, most.min(LIST_MAX)], entry)?;
            rows.collect()
        };
        during("listing", run())
    }

    /// The bytes of an entry.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn bytes(&self, id: i64) -> Result<Option<Vec<u8>>, QuarantineError> {
        let inner = self.lock();
        let found =
            inner.conn.query_row("SELECT bytes FROM entry WHERE id = ?1", [id], |r| r.get(0));
        during("reading an entry", found.optional())
    }

    /// Ends an entry: a person replayed or discarded it. Its bytes go, its row stays. `false` where it was not open.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn close(&self, id: i64, state: &str) -> Result<bool, QuarantineError> {
        let mut inner = self.lock();
        let run = || {
            inner.conn.execute(
                "UPDATE entry SET state = ?2, bytes = x'' WHERE id = ?1 AND state = 'open'",
                params![id, state],
            )
        };
        let changed = during("closing an entry", run())? > 0;
        inner.usage = during("counting its entries", usage(&inner.conn))?;
        Ok(changed)
    }

    /// Entries that are open.
    #[must_use]
    pub fn open_entries(&self) -> u64 {
        self.lock().usage.values().map(|u| u.0).sum()
    }
}

impl Quarantine {
    /// Sets aside what the store refused, with the block it lay in where that is still in the log.
    fn set_aside(&self, refusal: &Refusal, block: Option<&spool::Record>) {
        let row = Row {
            gateway: refusal.gateway.as_deref().unwrap_or(""),
            epoch: block.map_or(refusal.position.unwrap_or(0), |block| block.epoch),
            seq: block.map_or(0, |block| block.seq),
            code: refusal.code,
            detail: format!("{}: {}", refusal.what, refusal.reason),
            rows: &[],
            bytes: block.map_or(refusal.what.as_bytes(), |block| &block.bytes),
            samples: refusal.samples,
            at: block.map_or(0, |block| block.received_at),
        };
        let mut inner = self.lock();
        let (entries, bytes) = inner.usage.get(row.gateway).copied().unwrap_or_default();
        if entries >= GATEWAY_ENTRIES_MAX || bytes >= self.gateway_bytes_max {
            tracing::error!(gateway = row.gateway, code = row.code, what = %refusal.what,
                "the store refused a sample and the quarantine is full");
            return;
        }
        match insert(&inner.conn, &row) {
            Ok(true) => {
                let size = row.bytes.len() as u64 + ENTRY_OVERHEAD;
                let usage = inner.usage.entry(row.gateway.to_owned()).or_default();
                *usage = (usage.0 + 1, usage.1 + size);
            }
            Ok(false) => {}
            Err(error) => tracing::error!(error = %crate::chain_of(&error), code = row.code,
                what = %refusal.what, "a sample that the store refused could not be set aside"),
        }
    }
}

/// Without the log there are only the store's words: for tools and tests.
impl RefusalSink for Quarantine {
    fn refused(&self, refusal: Refusal) {
        self.set_aside(&refusal, None);
    }
}

/// Sets aside what the store refuses, with the bytes of its block: words alone cannot be given back.
#[derive(Debug)]
pub struct RefusedBlocks {
    quarantine: Arc<Quarantine>,
    log: Mutex<LogReader>,
}

impl RefusedBlocks {
    /// Reads blocks from `log`, which must be the one the store's positions belong to.
    #[must_use]
    pub fn new(quarantine: Arc<Quarantine>, log: LogReader) -> Self {
        Self { quarantine, log: Mutex::new(log) }
    }

    fn block(&self, position: u64) -> Option<spool::Record> {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        match log.at(&[position]) {
            Ok(entries) => entries.into_iter().find_map(|entry| match entry {
                spool::Entry::Record(record) => Some(record),
                spool::Entry::Damaged { .. } => None,
            }),
            Err(error) => {
                tracing::error!(position, error = %crate::chain_of(&error), "a refused block cannot be read from the log");
                None
            }
        }
    }
}

impl RefusalSink for RefusedBlocks {
    fn refused(&self, refusal: Refusal) {
        let block = refusal.position.and_then(|position| self.block(position));
        self.quarantine.set_aside(&refusal, block.as_ref());
    }
}

/// What is inserted.
struct Row<'a> {
    gateway: &'a str,
    epoch: u64,
    seq: u64,
    code: &'a str,
    detail: String,
    rows: &'a [u32],
    bytes: &'a [u8],
    samples: u64,
    at: i64,
}

impl<'a> Row<'a> {
    fn of(block: &'a Quarantined) -> Self {
        Self {
            gateway: block.gateway.as_str(),
            epoch: block.epoch,
            seq: block.seq,
            code: block.code,
            detail: block.detail.clone(),
            rows: &block.rows,
            bytes: &block.bytes,
            samples: 0,
            at: block.at,
        }
    }
}

fn insert(conn: &Connection, row: &Row<'_>) -> rusqlite::Result<bool> {
    let rows: Vec<u8> = row.rows.iter().flat_map(|r| r.to_le_bytes()).collect();
    let samples = i64::try_from(row.samples).unwrap_or(i64::MAX);
    let mut statement = conn.prepare_cached(
        "INSERT OR IGNORE INTO entry(gateway, epoch, seq, code, detail, rows, sha, bytes, samples, at)
         VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    )?;
    let sha = spool::sha16(row.bytes);
    let added = statement.execute(params![
        row.gateway,
        row.epoch.cast_signed(),
        row.seq.cast_signed(),
        row.code,
        row.detail,
        rows,
        sha,
        row.bytes,
        samples,
        row.at
    ])?;
    Ok(added > 0)
}

fn usage(conn: &Connection) -> rusqlite::Result<HashMap<String, (u64, u64)>> {
    let mut statement = conn.prepare_cached(
        "SELECT gateway, count(*), coalesce(sum(length(bytes)), 0) FROM entry WHERE state = 'open' GROUP BY gateway",
    )?;
    let rows = statement.query_map([], |r| {
        let (entries, bytes) =
            (r.get::<_, i64>(1)?.cast_unsigned(), r.get::<_, i64>(2)?.cast_unsigned());
        Ok((r.get(0)?, (entries, bytes + entries * ENTRY_OVERHEAD)))
    })?;
    rows.collect()
}

fn entry(row: &rusqlite::Row<'_>) -> rusqlite::Result<Entry> {
    let epoch = row.get::<_, i64>(2)?.cast_unsigned();
    let seq = row.get::<_, i64>(3)?.cast_unsigned();
    let rows: Vec<u8> = row.get(6)?;
    let rows = rows.chunks_exact(4).filter_map(|r| Some(u32::from_le_bytes(r.try_into().ok()?)));
    Ok(Entry {
        id: row.get(0)?,
        gateway: row.get(1)?,
        epoch: if seq == 0 { String::new() } else { format!("{epoch:016x}") },
        seq,
        code: row.get(4)?,
        detail: row.get(5)?,
        rows: rows.collect(),
        bytes: row.get::<_, i64>(7)?.cast_unsigned(),
        samples: row.get::<_, i64>(8)?.cast_unsigned(),
        at: row.get(9)?,
        state: row.get(10)?,
    })
}
