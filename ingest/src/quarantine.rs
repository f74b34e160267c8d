//! What cannot be taken and must not be lost: blocks and samples set aside with the reason, listed, given back.
//!
//! A file of its own (`quarantine.db`), bounded per gateway. The receiver makes an entry durable before the log acks the
//! block as rejected; the store's refusals come here too. Nothing open is ever deleted by age: a person decides
//! ([`act`]), and the receiver carries it out. Commands may open the file beside the service.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wire::GatewayName;

use crate::receive::Quarantined;

pub mod act;
pub mod content;
pub mod desk;
pub mod plan;
pub mod reason;
mod refused;
mod rows;

pub use act::{By, Logged};
pub use desk::Desk;
pub use refused::RefusedBlocks;

use rows::{ENTRY, Row};

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

/// Why the quarantine cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the quarantine failed while {doing}")]
pub struct QuarantineError {
    doing: &'static str,
    #[source]
    source: rusqlite::Error,
}

/// How far an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EntryState {
    /// Waits for somebody's decision.
    Open,
    /// Somebody asked for it to be given back; the receiver does it.
    Requested,
    /// It is in the log; the store has not taken it yet.
    Logged,
    /// The store has it.
    Replayed,
    /// Somebody threw it away.
    Discarded,
}

impl EntryState {
    /// The word used in the file, in the API and on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Requested => "requested",
            Self::Logged => "logged",
            Self::Replayed => "replayed",
            Self::Discarded => "discarded",
        }
    }

    /// Of the file's word; anything else is closed.
    fn of(word: &str) -> Self {
        match word {
            "open" => Self::Open,
            "requested" => Self::Requested,
            "logged" => Self::Logged,
            "replayed" => Self::Replayed,
            _ => Self::Discarded,
        }
    }
}

/// What somebody decided about an entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Done {
    /// Centre time, ms UTC.
    pub at: i64,
    /// Account name.
    pub by: String,
    /// `replay` or `discard`.
    pub what: String,
    /// Why.
    pub reason: String,
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
    /// How far it is.
    pub state: EntryState,
    /// What is added to its times when it is given back, ms.
    pub shift_ms: Option<i64>,
    /// Where its replay lies in the log.
    pub position: Option<u64>,
    /// What somebody last decided about it.
    pub done: Option<Done>,
}

impl Entry {
    /// How the audit journal names it.
    fn named(&self) -> String {
        format!("{} {} {}/{} {}", self.id, self.gateway, self.epoch, self.seq, self.code)
    }
}

/// Which entries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Of one gateway.
    pub gateway: Option<String>,
    /// Under one code.
    pub code: Option<String>,
    /// In one state.
    pub state: Option<EntryState>,
    /// That came at or after, ms UTC.
    pub from: Option<i64>,
    /// That came before, ms UTC.
    pub to: Option<i64>,
    /// With a smaller number.
    pub before: Option<i64>,
}

/// The quarantine; shared by the receiver, the store writer and the API.
#[derive(Debug)]
pub struct Quarantine {
    inner: Mutex<Inner>,
    /// A second connection: people who look never keep the receiver waiting.
    reader: Mutex<Connection>,
    gateway_bytes_max: u64,
    asked: AtomicBool,
}

#[derive(Debug)]
struct Inner {
    conn: Connection,
    usage: HashMap<String, (u64, u64)>,
    version: i64,
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
        let path = dir.join("quarantine.db");
        let mut conn = during("opening its file", Connection::open(&path))?;
        during("making its tables", rows::prepare(&mut conn))?;
        let usage = during("counting its entries", rows::usage(&conn))?;
        let version = during("looking for changes", rows::version(&conn))?;
        let reader = during("opening its file", Connection::open(&path))?;
        let set = reader.execute_batch("PRAGMA query_only = ON; PRAGMA busy_timeout = 5000;");
        during("opening its file", set)?;
        Ok(Self {
            inner: Mutex::new(Inner { conn, usage, version }),
            reader: Mutex::new(reader),
            gateway_bytes_max,
            asked: AtomicBool::new(true),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reader(&self) -> MutexGuard<'_, Connection> {
        self.reader.lock().unwrap_or_else(PoisonError::into_inner)
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
            let new = during("adding an entry", rows::insert(&tx, &Row::of(block)))?;
            if new {
                added.push((block.gateway.to_string(), block.bytes.len() as u64 + ENTRY_OVERHEAD));
            }
        }
        spool::fail_point!("quarantine.put");
        during("committing", tx.commit())?;
        for (gateway, bytes) in added {
            inner.count(&gateway, bytes);
        }
        Ok(())
    }

    /// Sets aside what the store refused, unless its gateway's share is used up.
    fn set_aside_row(&self, row: &Row<'_>) {
        let mut inner = self.lock();
        if self.is_full(inner.usage.get(row.gateway).copied().unwrap_or_default()) {
            tracing::error!(gateway = row.gateway, code = row.code, detail = %row.detail,
                "the store refused a sample and the quarantine is full");
            return;
        }
        match rows::insert(&inner.conn, row) {
            Ok(true) => inner.count(row.gateway, row.bytes.len() as u64 + ENTRY_OVERHEAD),
            Ok(false) => {}
            Err(error) => tracing::error!(error = %crate::chain_of(&error), code = row.code,
                detail = %row.detail, "a sample that the store refused could not be set aside"),
        }
    }

    fn is_full(&self, (entries, bytes): (u64, u64)) -> bool {
        entries >= GATEWAY_ENTRIES_MAX || bytes >= self.gateway_bytes_max
    }

    /// Gateways whose share is used up: what would go here of them is not acked. Sees what a command beside the service
    /// has changed.
    #[must_use]
    pub fn full(&self) -> HashSet<GatewayName> {
        let mut inner = self.lock();
        match inner.refresh() {
            Ok(false) => {}
            Ok(true) => self.asked.store(true, std::sync::atomic::Ordering::Release),
            Err(error) => {
                tracing::warn!(error = %crate::chain_of(&error), "the quarantine cannot be counted anew");
            }
        }
        let full = inner.usage.iter().filter(|(_, usage)| self.is_full(**usage));
        full.filter_map(|(name, _)| GatewayName::new(name.clone()).ok()).collect()
    }

    /// Entries, newest first, at most `most`.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn list(&self, filter: &Filter, most: u32) -> Result<Vec<Entry>, QuarantineError> {
        let reader = self.reader();
        let run = || {
            let mut statement = reader.prepare_cached(&format!(
                "{ENTRY} WHERE (?1 IS NULL OR e.gateway = ?1) AND (?2 IS NULL OR e.code = ?2)
                 AND (?3 IS NULL OR e.state = ?3) AND (?4 IS NULL OR e.at >= ?4) AND (?5 IS NULL OR e.at < ?5)
                 AND (?6 IS NULL OR e.id < ?6) ORDER BY e.id DESC LIMIT ?7"
            ))?;
            let state = filter.state.map(EntryState::as_str);
            let (from, to, before) = (filter.from, filter.to, filter.before);
            let most = most.min(LIST_MAX);
            let rows = statement.query_map(
                params![filter.gateway, filter.code, state, from, to, before, most],
                rows::entry,
            )?;
            rows.collect()
        };
        during("listing", run())
    }

    /// An entry with its bytes; empty bytes where it is closed.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn get(&self, id: i64) -> Result<Option<(Entry, Vec<u8>)>, QuarantineError> {
        let reader = self.reader();
        let run = || {
            let sql = ENTRY.replace(" FROM entry", ", e.bytes FROM entry");
            let mut statement = reader.prepare_cached(&format!("{sql} WHERE e.id = ?1"))?;
            statement.query_row([id], |r| Ok((rows::entry(r)?, r.get(17)?))).optional()
        };
        during("reading an entry", run())
    }

    /// Entries whose bytes are kept.
    #[must_use]
    pub fn open_entries(&self) -> u64 {
        self.lock().usage.values().map(|u| u.0).sum()
    }
}

impl Inner {
    fn count(&mut self, gateway: &str, bytes: u64) {
        let usage = self.usage.entry(gateway.to_owned()).or_default();
        *usage = (usage.0 + 1, usage.1 + bytes);
    }

    /// Counts anew where another connection has changed the file; whether it has.
    fn refresh(&mut self) -> rusqlite::Result<bool> {
        let version = rows::version(&self.conn)?;
        if version == self.version {
            return Ok(false);
        }
        self.usage = rows::usage(&self.conn)?;
        self.version = version;
        Ok(true)
    }
}
