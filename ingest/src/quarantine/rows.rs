//! The rows of `quarantine.db`, and how the file of an older version becomes one of this.

use std::collections::HashMap;

use rusqlite::{Connection, TransactionBehavior, params};

use super::{Done, ENTRY_OVERHEAD, Entry, EntryState};
use crate::receive::Quarantined;

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS entry(
        id INTEGER PRIMARY KEY AUTOINCREMENT, gateway TEXT NOT NULL, epoch INTEGER NOT NULL, seq INTEGER NOT NULL,
        code TEXT NOT NULL, detail TEXT NOT NULL, rows BLOB NOT NULL, sha BLOB NOT NULL, bytes BLOB NOT NULL,
        samples INTEGER NOT NULL, at INTEGER NOT NULL, state TEXT NOT NULL DEFAULT 'open',
        UNIQUE(gateway, epoch, seq, code, sha));
    CREATE INDEX IF NOT EXISTS entry_open ON entry(state, id);
    CREATE INDEX IF NOT EXISTS entry_gateway ON entry(gateway, id);";

/// What came with acts of people: what is asked of an entry, where its replay lies in the log, who asked.
const ACTS: &str = "
    ALTER TABLE entry ADD COLUMN act INTEGER;
    ALTER TABLE entry ADD COLUMN shift INTEGER;
    ALTER TABLE entry ADD COLUMN position INTEGER;
    CREATE TABLE act(id INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, who TEXT NOT NULL, what TEXT NOT NULL,
        reason TEXT NOT NULL, shift INTEGER, entries TEXT NOT NULL, audited INTEGER NOT NULL DEFAULT 0);
    CREATE INDEX act_audited ON act(audited, id);";

/// What [`entry`] reads, with the act of whoever decided last.
pub(super) const ENTRY: &str = "SELECT e.id, e.gateway, e.epoch, e.seq, e.code, e.detail, e.rows, length(e.bytes), e.samples,
    e.at, e.state, e.shift, e.position, a.at, a.who, a.what, a.reason FROM entry e LEFT JOIN act a ON a.id = e.act";

/// States whose bytes are kept.
pub(super) const HELD: &str = "('open', 'requested', 'logged')";

/// Makes the tables, or brings them to this version. Two programs may do it at once.
pub(super) fn prepare(conn: &mut Connection) -> rusqlite::Result<()> {
    conn.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA busy_timeout = 5000;",
    )?;
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    tx.execute_batch(SCHEMA)?;
    let has_acts = "SELECT count(*) FROM pragma_table_info('entry') WHERE name = 'act'";
    if tx.query_row(has_acts, [], |r| r.get::<_, i64>(0))? == 0 {
        tx.execute_batch(ACTS)?;
    }
    tx.commit()
}

/// What is inserted.
pub(super) struct Row<'a> {
    pub(super) gateway: &'a str,
    pub(super) epoch: u64,
    pub(super) seq: u64,
    pub(super) code: &'a str,
    pub(super) detail: String,
    pub(super) rows: &'a [u32],
    pub(super) bytes: &'a [u8],
    pub(super) samples: u64,
    pub(super) at: i64,
}

impl<'a> Row<'a> {
    pub(super) fn of(block: &'a Quarantined) -> Self {
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

pub(super) fn insert(conn: &Connection, row: &Row<'_>) -> rusqlite::Result<bool> {
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

/// Entries and bytes that each gateway has.
pub(super) fn usage(conn: &Connection) -> rusqlite::Result<HashMap<String, (u64, u64)>> {
    let mut statement = conn.prepare_cached(&format!(
        "SELECT gateway, count(*), coalesce(sum(length(bytes)), 0) FROM entry WHERE state IN {HELD} GROUP BY gateway"
    ))?;
    let rows = statement.query_map([], |r| {
        let (entries, bytes) =
            (r.get::<_, i64>(1)?.cast_unsigned(), r.get::<_, i64>(2)?.cast_unsigned());
        Ok((r.get(0)?, (entries, bytes + entries * ENTRY_OVERHEAD)))
    })?;
    rows.collect()
}

/// Grows when another connection has changed the file.
pub(super) fn version(conn: &Connection) -> rusqlite::Result<i64> {
    conn.prepare_cached("PRAGMA data_version")?.query_row([], |r| r.get(0))
}

/// Reads a row of [`ENTRY`].
pub(super) fn entry(row: &rusqlite::Row<'_>) -> rusqlite::Result<Entry> {
    let epoch = row.get::<_, i64>(2)?.cast_unsigned();
    let seq = row.get::<_, i64>(3)?.cast_unsigned();
    let rows: Vec<u8> = row.get(6)?;
    let rows = rows.chunks_exact(4).filter_map(|r| Some(u32::from_le_bytes(r.try_into().ok()?)));
    let state: String = row.get(10)?;
    let done = match row.get::<_, Option<i64>>(13)? {
        Some(at) => Some(Done { at, by: row.get(14)?, what: row.get(15)?, reason: row.get(16)? }),
        None => None,
    };
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
        state: EntryState::of(&state),
        shift_ms: row.get(11)?,
        position: row.get::<_, Option<i64>>(12)?.map(i64::cast_unsigned),
        done,
    })
}
