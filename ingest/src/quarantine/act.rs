//! What people decide about entries, and what becomes of it: asked for, logged, stored; or discarded.
//!
//! ```text
//! open ──► requested ──► logged ──► replayed      the log's transaction stands between the first two, the store between
//!   │          ▲────────────┘                     the last two; a log that lost the record brings it back
//!   └────► discarded
//! ```
//!
//! Each step is conditional on the one before, so that asking twice or a kill at any instant gives a block back once. Who
//! asked is written in the same transaction; the audit journal, another file, takes it from here until it has it.

use rusqlite::{OptionalExtension, params};
use serde::Serialize;

use super::rows::{self, ENTRY};
use super::{Entry, Quarantine, QuarantineError, during};

/// Entries that one act may name.
pub const ENTRIES_PER_ACT_MAX: usize = 1_000;
/// Closed entries that are still listed; older ones go, the audit journal keeps who decided what.
pub const CLOSED_MAX: u64 = 100_000;

/// Who decides, when, why.
#[derive(Debug, Clone, Copy)]
pub struct By<'a> {
    /// Account name.
    pub who: &'a str,
    /// Centre time, ms UTC.
    pub at: i64,
    /// In their words.
    pub reason: &'a str,
}

/// An act that the audit journal does not have yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Act {
    /// Its number.
    #[serde(skip)]
    pub id: i64,
    /// Centre time, ms UTC.
    #[serde(skip)]
    pub at: i64,
    /// Account name.
    #[serde(skip)]
    pub who: String,
    /// `replay` or `discard`.
    #[serde(skip)]
    pub what: String,
    /// Why.
    pub reason: String,
    /// What was added to the times, ms.
    pub shift_ms: Option<i64>,
    /// The entries: number, gateway, epoch, seq, code.
    pub entries: Vec<String>,
}

/// A replay as the log names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Logged {
    /// The entry.
    pub entry: i64,
    /// Digest of its bytes: a number may be another entry's in a file that was made anew.
    pub sha: [u8; 16],
    /// Where its record lies in the log; 0 where that is no longer there although the store has not taken it.
    pub position: u64,
}

impl Quarantine {
    /// Asks for open entries to be given back; gives those that were open. The receiver does it.
    ///
    /// # Errors
    /// When the file cannot be written; nothing is asked then.
    pub fn request(
        &self,
        ids: &[i64],
        shift: Option<i64>,
        by: By<'_>,
    ) -> Result<Vec<i64>, QuarantineError> {
        let done = self.act(ids, "replay", shift, by)?;
        self.asked.store(true, std::sync::atomic::Ordering::Release);
        Ok(done)
    }

    /// Throws open entries away: their bytes go, their rows stay. Gives those that were open.
    ///
    /// # Errors
    /// When the file cannot be written; nothing is discarded then.
    pub fn discard(&self, ids: &[i64], by: By<'_>) -> Result<Vec<i64>, QuarantineError> {
        let done = self.act(ids, "discard", None, by)?;
        self.tidy()?;
        Ok(done)
    }

    fn act(
        &self,
        ids: &[i64],
        what: &str,
        shift: Option<i64>,
        by: By<'_>,
    ) -> Result<Vec<i64>, QuarantineError> {
        let mut inner = self.lock();
        let run = |conn: &mut rusqlite::Connection| {
            let tx = conn.transaction()?;
            tx.execute(
                "INSERT INTO act(at, who, what, reason, shift, entries) VALUES(?1, ?2, ?3, ?4, ?5, '[]')",
                params![by.at, by.who, what, by.reason, shift],
            )?;
            let act = tx.last_insert_rowid();
            let (mut done, mut named) = (Vec::new(), Vec::new());
            for id in ids {
                let sql = match what {
                    "replay" => {
                        "UPDATE entry SET state = 'requested', act = ?2, shift = ?3, position = NULL WHERE id = ?1 AND state = 'open'"
                    }
                    _ => {
                        "UPDATE entry SET state = 'discarded', act = ?2, shift = ?3, bytes = x'' WHERE id = ?1 AND state = 'open'"
                    }
                };
                if tx.prepare_cached(sql)?.execute(params![id, act, shift])? > 0 {
                    done.push(*id);
                    let sql = format!("{ENTRY} WHERE e.id = ?1");
                    let entry = tx.prepare_cached(&sql)?.query_row([id], rows::entry)?;
                    named.push(entry.named());
                }
            }
            if done.is_empty() {
                return Ok(done);
            }
            let named = serde_json::to_string(&named).unwrap_or_default();
            tx.execute("UPDATE act SET entries = ?2 WHERE id = ?1", params![act, named])?;
            tx.commit()?;
            Ok(done)
        };
        let done = during("deciding about entries", run(&mut inner.conn))?;
        inner.usage = during("counting its entries", rows::usage(&inner.conn))?;
        Ok(done)
    }

    /// Whether somebody may have asked for a replay since the last call of [`Quarantine::requested`].
    #[must_use]
    pub fn is_asked(&self) -> bool {
        self.asked.load(std::sync::atomic::Ordering::Acquire)
    }

    /// Entries to be given back, oldest first, with their bytes, at most `most`.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn requested(&self, most: u32) -> Result<Vec<(Entry, Vec<u8>)>, QuarantineError> {
        use std::sync::atomic::Ordering::Release;
        // Before it is looked: what is asked for meanwhile is seen at the next look.
        self.asked.store(false, Release);
        let inner = self.lock();
        let run = || {
            let sql = ENTRY.replace(" FROM entry", ", e.bytes FROM entry");
            let sql = format!("{sql} WHERE e.state = 'requested' ORDER BY e.id LIMIT ?1");
            let mut statement = inner.conn.prepare_cached(&sql)?;
            let rows = statement.query_map([most], |r| Ok((rows::entry(r)?, r.get(17)?)))?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        };
        let found = during("looking for replays", run());
        if !found.as_ref().is_ok_and(Vec::is_empty) {
            self.asked.store(true, Release);
        }
        found
    }

    /// The log has the replays of these entries.
    ///
    /// # Errors
    /// When the file cannot be written: [`Quarantine::reconcile`] makes it good.
    pub fn logged(&self, replays: &[Logged]) -> Result<(), QuarantineError> {
        let mut inner = self.lock();
        let run = |conn: &mut rusqlite::Connection| {
            let tx = conn.transaction()?;
            for replay in replays {
                tx.prepare_cached("UPDATE entry SET state = 'logged', position = ?2 WHERE id = ?1 AND state = 'requested'")?
                    .execute(params![replay.entry, replay.position.cast_signed()])?;
            }
            tx.commit()
        };
        during("noting replays", run(&mut inner.conn))
    }

    /// The store has taken everything up to `stored`: bytes of what was given back before it go. Gives those entries.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn stored(&self, stored: u64) -> Result<Vec<i64>, QuarantineError> {
        let mut inner = self.lock();
        let run = |conn: &rusqlite::Connection| {
            let mut statement = conn.prepare_cached(
                "UPDATE entry SET state = 'replayed', bytes = x'' WHERE state = 'logged' AND position <= ?1 RETURNING id",
            )?;
            let ids = statement.query_map([stored.cast_signed()], |r| r.get(0))?;
            ids.collect::<rusqlite::Result<Vec<i64>>>()
        };
        let done = during("closing replays", run(&inner.conn))?;
        if !done.is_empty() {
            inner.usage = during("counting its entries", rows::usage(&inner.conn))?;
            drop(inner);
            self.tidy()?;
        }
        Ok(done)
    }

    /// Opens an entry again that could not be given back, with the words why.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn reopen(&self, id: i64, detail: &str) -> Result<(), QuarantineError> {
        let inner = self.lock();
        let run = || {
            let sql = "UPDATE entry SET state = 'open', detail = ?2, position = NULL WHERE id = ?1 AND state IN ('requested', 'logged')";
            inner.conn.prepare_cached(sql)?.execute(params![id, detail])
        };
        during("opening an entry again", run()).map(drop)
    }

    /// Brings the entries in line with the replays that the log knows, at a start or after a failure. Gives those that the
    /// log may forget.
    ///
    /// # Errors
    /// When the file cannot be used.
    pub fn reconcile(&self, known: &[Logged]) -> Result<Vec<Logged>, QuarantineError> {
        let mut inner = self.lock();
        let run = |conn: &mut rusqlite::Connection| {
            let tx = conn.transaction()?;
            // What the log does not know is asked for again: it was restored from a backup, or lost the record.
            tx.execute(
                "UPDATE entry SET state = 'requested', position = NULL WHERE state = 'logged'",
                [],
            )?;
            let mut forget = Vec::new();
            for replay in known {
                let sql = "UPDATE entry SET state = 'logged', position = ?3 WHERE id = ?1 AND sha = ?2 AND state = 'requested'";
                let is_lost = replay.position == 0;
                let mine = !is_lost
                    && tx.prepare_cached(sql)?.execute(params![
                        replay.entry,
                        replay.sha,
                        replay.position.cast_signed()
                    ])? > 0;
                if !mine {
                    forget.push(*replay);
                }
            }
            tx.commit()?;
            Ok(forget)
        };
        let forget = during("reconciling replays", run(&mut inner.conn))?;
        self.asked.store(true, std::sync::atomic::Ordering::Release);
        Ok(forget)
    }

    /// Acts that the audit journal does not have yet, oldest first.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn unaudited(&self) -> Result<Vec<Act>, QuarantineError> {
        let inner = self.lock();
        let run = || {
            let mut statement = inner.conn.prepare_cached(
                "SELECT id, at, who, what, reason, shift, entries FROM act WHERE audited = 0 ORDER BY id",
            )?;
            let rows = statement.query_map([], |r| {
                let entries: String = r.get(6)?;
                Ok(Act {
                    id: r.get(0)?,
                    at: r.get(1)?,
                    who: r.get(2)?,
                    what: r.get(3)?,
                    reason: r.get(4)?,
                    shift_ms: r.get(5)?,
                    entries: serde_json::from_str(&entries).unwrap_or_default(),
                })
            })?;
            rows.collect()
        };
        during("reading acts", run())
    }

    /// The audit journal has an act.
    ///
    /// # Errors
    /// When the file cannot be written: the act is appended once more then.
    pub fn audited(&self, act: i64) -> Result<(), QuarantineError> {
        let inner = self.lock();
        let done = inner.conn.execute("UPDATE act SET audited = 1 WHERE id = ?1", [act]);
        during("noting an audited act", done).map(drop)
    }

    /// Forgets the oldest closed entries beyond [`CLOSED_MAX`].
    fn tidy(&self) -> Result<(), QuarantineError> {
        let inner = self.lock();
        let run = || {
            let sql = "SELECT id FROM entry WHERE state IN ('replayed', 'discarded') ORDER BY id DESC LIMIT 1 OFFSET ?1";
            let most = i64::try_from(CLOSED_MAX).unwrap_or(i64::MAX);
            let last = inner.conn.query_row(sql, [most], |r| r.get::<_, i64>(0)).optional()?;
            if let Some(last) = last {
                let sql = "DELETE FROM entry WHERE id <= ?1 AND state IN ('replayed', 'discarded')";
                inner.conn.execute(sql, [last])?;
            }
            Ok(())
        };
        during("forgetting closed entries", run())
    }
}
