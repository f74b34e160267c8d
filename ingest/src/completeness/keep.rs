//! Rows in the log's key/value table: kept with the second's tick, a bounded number at a time; read back at a start,
//! which counts what the log has beyond them.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use spool::Log;

use super::{Completeness, Row};
use crate::log::{FollowError, Follower, LogRecord, RecordBody};
use crate::receive::port::LogPort;
use crate::registry::Registry;
use crate::selfwatch::is_synthetic;

/// What keys of rows begin with; then the day, then the site.
const PREFIX: &str = "complete/";
/// Key of the position from which on a start counts again.
const FROM_KEY: &[u8] = b"complete.from";
/// Rows kept at once: a commit must not wait for all sites of a prefecture.
const ROWS_PER_KEEP: usize = 512;

/// Version of what is kept.
#[derive(Serialize, Deserialize)]
struct From {
    position: u64,
}

impl Completeness {
    /// Puts rows that changed into the transaction; `head` is the log's last position before it.
    pub fn keep(&self, port: &mut impl LogPort, head: u64) {
        let mut inner = self.lock();
        let mut dirty: Vec<(u64, i64, &String)> = Vec::new();
        for (day, sites) in &inner.days {
            dirty.extend(sites.iter().filter_map(|(site, row)| Some((row.dirty?, *day, site))));
        }
        dirty.sort_unstable();
        // What is left for the next time decides from where a start has to count again.
        let next = dirty.get(ROWS_PER_KEEP).map_or(head, |(first, ..)| (first - 1).min(head));
        let keeping =
            dirty.iter().take(ROWS_PER_KEEP).map(|(_, day, site)| (*day, (*site).clone()));
        let keeping: Vec<_> = keeping.collect();
        for (day, site) in &keeping {
            let Some(row) = inner.days.get(day).and_then(|sites| sites.get(site)) else { continue };
            let row = Row { position: head, ..*row };
            let bytes = postcard::to_allocvec(&row).expect("a row always serializes");
            port.put(key(*day, site).as_bytes(), Some(&bytes));
        }
        for (day, site) in &inner.gone {
            port.put(key(*day, site).as_bytes(), None);
        }
        if !keeping.is_empty() || !inner.gone.is_empty() {
            port.put(FROM_KEY, Some(&from_bytes(next)));
        }
        inner.keeping = keeping;
    }

    /// The transaction of [`Completeness::keep`] is durable; called before its own blocks are counted.
    pub fn kept(&self, head: u64) {
        let mut inner = self.lock();
        for (day, site) in std::mem::take(&mut inner.keeping) {
            let row = inner.days.get_mut(&day).and_then(|sites| sites.get_mut(&site));
            if let Some(row) = row {
                (row.position, row.dirty) = (head, None);
            }
        }
        inner.gone.clear();
    }

    /// What a log keeps, and what it has beyond it, of the sites of `registry`; `now` in ms UTC. `follower` is one of that
    /// log, of its own.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn open(
        log: &mut Log,
        follower: &mut Follower,
        registry: &Arc<Registry>,
        now: i64,
    ) -> Result<Self, FollowError> {
        let completeness = Self::default();
        let kept = log.scan(PREFIX.as_bytes()).map_err(FollowError::Log)?;
        let from = log.get(FROM_KEY).map_err(FollowError::Log)?;
        let from: Option<From> = from.and_then(|bytes| postcard::from_bytes(&bytes).ok());
        {
            let mut inner = completeness.lock();
            for (key, value) in kept {
                let Some((day, site)) = place(&key) else { continue };
                let Ok(row) = postcard::from_bytes::<Row>(&value) else { continue };
                inner.days.entry(day).or_default().insert(site, row);
                inner.rows += 1;
            }
            inner.resume(registry);
            inner.follow(registry, now);
        }
        let Some(from) = from else {
            // A log that was never counted is counted from here on.
            let from = from_bytes(log.last_position());
            let mut txn = log.begin();
            txn.put(FROM_KEY, Some(&from));
            txn.commit().map_err(FollowError::Log)?;
            return Ok(completeness);
        };
        let mut after = from.position;
        loop {
            let batch = follower.next(after, Duration::ZERO)?;
            if batch.up_to == after {
                return Ok(completeness);
            }
            after = batch.up_to;
            for record in &batch.records {
                completeness.let_through(record, follower)?;
            }
        }
    }

    /// Counts what a record of the log lets through: its own block, and those whose clock is known by it.
    ///
    /// # Errors
    /// When released blocks cannot be read; the block itself is counted.
    pub fn let_through(
        &self,
        record: &LogRecord,
        follower: &mut Follower,
    ) -> Result<(), FollowError> {
        let RecordBody::Block { block, decided } = &record.body else { return Ok(()) };
        if is_synthetic(&record.gateway) {
            return Ok(());
        }
        let position = record.position;
        match decided.offset {
            _ if !block.is_unset() => self.count(block, position),
            Some(offset) => self.count(&block.timed_by(offset), position),
            None => {}
        }
        let offset = block.block.clock.boot_offset.or(decided.offset);
        if let (false, Some(offset)) = (decided.releases.is_empty(), offset) {
            for held in follower.blocks_at(&decided.releases)? {
                self.count(&held.timed_by(offset), position);
            }
        }
        Ok(())
    }
}

fn from_bytes(position: u64) -> Vec<u8> {
    postcard::to_allocvec(&From { position }).expect("a number always serializes")
}

fn key(day: i64, site: &str) -> String {
    format!("{PREFIX}{day:06}/{site}")
}

fn place(key: &[u8]) -> Option<(i64, String)> {
    let key = std::str::from_utf8(key).ok()?.strip_prefix(PREFIX)?;
    let (day, site) = key.split_once('/')?;
    Some((day.parse().ok()?, site.to_owned()))
}
