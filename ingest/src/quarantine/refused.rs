//! What the store refuses, set aside with the bytes of its block: words alone cannot be given back.

use std::sync::{Arc, Mutex, PoisonError};

use spool::LogReader;
use wire::Block;
use wire::block::ClockState;

use super::Quarantine;
use super::rows::Row;
use crate::log::record::{BlockMeta, kind};
use crate::log::replayed::ReplayMeta;
use crate::store::bounds::AHEAD_MAX_MS;
use crate::store::{Refusal, RefusalSink};

impl Quarantine {
    /// Sets aside what the store refused, with the block it lay in where that is still in the log.
    fn set_aside(&self, refusal: &Refusal, block: Option<&spool::Record>) {
        let rows = block.map(|block| rows_of(refusal.code, block)).unwrap_or_default();
        self.set_aside_row(&Row {
            gateway: refusal.gateway.as_deref().unwrap_or(""),
            epoch: block.map_or(refusal.position.unwrap_or(0), |block| block.epoch),
            seq: block.map_or(0, |block| block.seq),
            code: refusal.code,
            detail: format!("{}: {}", refusal.what, refusal.reason),
            rows: &rows,
            bytes: block.map_or(refusal.what.as_bytes(), |block| &block.bytes),
            samples: refusal.samples,
            at: block.map_or(0, |block| block.received_at),
        });
    }

    /// The store refused what a person gave back: it is open again, with the store's words.
    fn refused_again(&self, refusal: &Refusal, record: &spool::Record) {
        let Ok(meta) = ReplayMeta::decode(&record.meta) else {
            tracing::error!(position = record.position, "a replay's meta cannot be read");
            return self.set_aside(refusal, Some(record));
        };
        let detail =
            format!("replayed, and refused by the store: {}: {}", refusal.code, refusal.reason);
        if let Err(error) = self.reopen(meta.entry, &detail) {
            tracing::error!(error = %crate::chain_of(&error), entry = meta.entry, what = %refusal.what,
                "a replayed sample that the store refused could not be set aside again");
        }
    }
}

/// Without the log there are only the store's words: for tools and tests.
impl RefusalSink for Quarantine {
    fn refused(&self, refusal: Refusal) {
        self.set_aside(&refusal, None);
    }
}

/// Sets aside what the store refuses, with the bytes of its block.
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
        match refusal.position.and_then(|position| self.block(position)) {
            Some(record) if record.kind == kind::REPLAY => {
                self.quarantine.refused_again(&refusal, &record);
            }
            block => self.quarantine.set_aside(&refusal, block.as_ref()),
        }
    }
}

/// The rows that a refusal is about: never those that are in quarantine already. Empty = all of the block.
fn rows_of(code: &str, record: &spool::Record) -> Vec<u32> {
    let (Ok(block), Ok(meta)) = (Block::decode(&record.bytes), BlockMeta::decode(&record.meta))
    else {
        return Vec::new();
    };
    let Some(readings) = block.readings() else { return Vec::new() };
    let latest = record.received_at.saturating_add(AHEAD_MAX_MS);
    // Times of a clock that was never set are not those that the store saw.
    let by_time = code == "too_far_ahead" && block.clock.state != ClockState::Unset;
    let times = readings.tables.iter().flat_map(|t| &t.times);
    let rows = (0_u32..).zip(times).filter(|(row, time)| {
        meta.masked_rows.binary_search(row).is_err() && (!by_time || **time > latest)
    });
    let rows: Vec<u32> = rows.map(|(row, _)| row).collect();
    if rows.len() == readings.row_count() { Vec::new() } else { rows }
}
