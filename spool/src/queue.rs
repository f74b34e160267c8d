//! The gateway's spool: sealed blocks on disk from before they are sent until the centre's log has them.
//!
//! `davy-gateway` owns one [`Spool`] in its one SQLite thread (`&mut`: writer and reader are the same
//! connection, the file is locked for others). What is held, acked and rejected is kept as interval
//! sets, so that newest-first over millions of blocks needs no index in memory; the sets are written
//! in the transaction that changes the rows. Acks are written with the next transaction or
//! [`Spool::flush`]: losing one costs a duplicate, never data.
//!
//! It must never report a block as stored that is not on the disk, never hand out one that fails its
//! checksum, and never lose one without counting it and keeping its range in [`Spool::losses`] until a
//! gap record declares it.
//!
//! ```text
//! head     id (epoch's number << 40 | seq), epoch, born, samples, t0, t1, manifest, size, crc
//! body     id, gap (what a gap record declares), bytes        crc runs over head and body
//! manifest no, key, bytes, crc                                kept while a block refers to it
//! state    counters | losses | log id | one row for each epoch: link, last, held, acked, rejected
//! ```

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::file::{self, File, Shape};
use crate::intervals::Intervals;

mod ack;
mod append;
mod back;
mod block;
mod counters;
mod epoch;
mod evict;
mod losses;
mod manifest;
mod mark;
mod open;
mod read;
mod rows;
mod salvage;

pub use ack::{AckOutcome, EpochAck};
pub use block::{Fetched, GapRange, Key, KeySet, Link, Loss, NewBlock, StoredBlock};
pub use epoch::HeldEpoch;
pub use losses::LOSSES_MAX;
pub use read::Order;

use counters::Counters;
use epoch::EpochState;
use losses::Losses;
use mark::MarkFile;

/// Most epochs that the spool holds blocks of; the oldest beyond are evicted whole.
pub const EPOCHS_MAX: usize = 1024;

const SHAPE: Shape = Shape {
    application_id: 0x4461_7653, // "DavS"
    version: 1,
    schema: rows::SCHEMA,
    exclusive: true,
    cache_kib: 2 << 10,
    check_bytes_max: 64 << 20,
};

/// How a spool is opened.
#[derive(Debug, Clone)]
pub struct SpoolOptions {
    /// Bytes that the file may use. Default 1 GiB.
    pub bytes_max: u64,
    /// Bytes that must stay free on the file system. Default 64 MiB.
    pub free_reserve_bytes: u64,
    /// Bytes of blocks held in memory where the disk does not serve. Default 8 MiB.
    pub memory_bytes_max: u64,
    /// Wall time, ms since the Unix epoch: dates the file set aside, nothing else.
    pub now_ms: i64,
}

impl Default for SpoolOptions {
    fn default() -> Self {
        Self {
            bytes_max: 1 << 30,
            free_reserve_bytes: 64 << 20,
            memory_bytes_max: 8 << 20,
            now_ms: 0,
        }
    }
}

/// What opening found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OpenReport {
    /// Why blocks are in memory only, where the disk does not serve: an alarm, not a failure.
    pub memory: Option<String>,
    /// The damaged file and the reason, where one was set aside.
    pub set_aside: Option<(PathBuf, String)>,
    /// Blocks copied from it.
    pub salvaged_blocks: u64,
    /// Unacked blocks that could not be read; they wait in [`Spool::losses`].
    pub lost_blocks: u64,
    /// Samples in these.
    pub lost_samples: u64,
    /// True where the account could not be read: it starts again from what was salvaged.
    pub lost_counters: bool,
}

/// The spool's account and size.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// Why blocks are in memory only; `None` where they are on disk.
    pub memory: Option<String>,
    /// Bytes of the file in use.
    pub bytes: u64,
    /// The bound on these.
    pub bytes_max: u64,
    /// Blocks held, acked or not.
    pub blocks: u64,
    /// Blocks held that are not acked.
    pub unacked_blocks: u64,
    /// Bytes of these.
    pub unacked_bytes: u64,
    /// When the oldest of these was sealed, ms UTC.
    pub oldest_unacked_born_ms: Option<i64>,
    /// Samples that ever entered.
    pub polled: u64,
    /// Samples that the centre's log has.
    pub stored: u64,
    /// Samples that are in the centre's quarantine.
    pub quarantined: u64,
    /// Samples declared lost or waiting to be.
    pub declared: u64,
    /// Samples on disk that the centre does not have.
    pub backlog: u64,
    /// Bytes of blocks ever written.
    pub written_bytes: u64,
    /// Blocks that failed their checksum.
    pub damaged_blocks: u64,
    /// Blocks evicted before they were acked.
    pub evicted_blocks: u64,
    /// Ranges that wait for a gap record.
    pub losses: usize,
}

impl Stats {
    /// Hours until the first unacked block would be evicted, at `bytes_per_second` of new blocks.
    pub fn hours_of_autonomy(&self, bytes_per_second: f64) -> f64 {
        let free = self.bytes_max.saturating_sub(self.unacked_bytes);
        #[expect(clippy::cast_precision_loss, reason = "a display value")]
        let free = free as f64;
        free / bytes_per_second / 3600.0
    }

    /// True where every sample is in exactly one place.
    pub fn is_balanced(&self) -> bool {
        self.polled == self.stored + self.quarantined + self.declared + self.backlog
    }
}

/// What is kept in `state` rows.
#[derive(Debug, Clone, Default)]
struct State {
    epochs: BTreeMap<u32, EpochState>,
    counters: Counters,
    losses: Losses,
    log_id: Option<u64>,
    dirty: bool,
}

/// The gateway's durable queue of blocks.
#[derive(Debug)]
pub struct Spool {
    file: File,
    /// How far the current epoch is on the disk; kept apart from the database.
    mark: MarkFile,
    /// The disk's file, after writing to it failed while running: read only from then on.
    archive: Option<File>,
    memory: Option<String>,
    options: SpoolOptions,
    state: State,
    numbers: HashMap<u64, u32>,
    current: Option<u32>,
    /// What the held gap records declare, for when they are evicted themselves.
    gaps: BTreeMap<Key, Vec<GapRange>>,
    manifests: HashMap<[u8; 16], u32>,
    newest_manifest: u32,
    latest_ms: i64,
    recovered: Option<OpenReport>,
}

impl Spool {
    /// What a recovery from damage found since this was last asked; see [`Spool::recover`].
    pub fn take_recovered(&mut self) -> Option<OpenReport> {
        self.recovered.take()
    }

    /// The epoch begun last.
    fn now(&self) -> Option<&EpochState> {
        self.state.epochs.get(&self.current?)
    }

    fn by_epoch(&self, epoch: u64) -> Option<&EpochState> {
        self.state.epochs.get(self.numbers.get(&epoch)?)
    }

    /// Ranges lost and not declared yet; a gap record that names them takes them off the list when
    /// it is stored.
    pub fn losses(&self) -> &[GapRange] {
        self.state.losses.ranges()
    }

    /// The log that the acks held here belong to.
    pub fn log_id(&self) -> Option<u64> {
        self.state.log_id
    }

    /// Why blocks are in memory only; `None` where they are on disk.
    pub fn memory(&self) -> Option<&str> {
        self.memory.as_deref()
    }

    /// Highest seq stored of the current epoch, 0 where none is.
    pub fn last_seq(&self) -> u64 {
        self.now().map_or(0, |e| e.last)
    }

    /// Every epoch that is held or that a gap record names, for the list in blocks; the held sets
    /// are shortened to `ranges_max` ranges in all by filling their narrowest holes. At most
    /// [`EPOCHS_MAX`] epochs.
    pub fn list(&self, ranges_max: usize) -> Vec<HeldEpoch> {
        let epochs = self.state.epochs.values();
        let mut list: Vec<HeldEpoch> = epochs
            .filter(|e| Some(e.no) == self.current || !e.held.is_empty() || self.is_named(e.epoch))
            .map(|e| HeldEpoch { epoch: e.epoch, link: e.link, last: e.last, held: e.held.clone() })
            .collect();
        // Epochs that only a loss names go first where there are too many: those held never are.
        while list.len() > EPOCHS_MAX {
            let idle = list.iter().position(|e| e.held.is_empty()).unwrap_or(0);
            list.remove(idle);
        }
        epoch::shorten(&mut list, ranges_max);
        list
    }

    /// True where a loss or a held gap record names the epoch.
    fn is_named(&self, epoch: u64) -> bool {
        let waiting = self.state.losses.ranges().iter();
        waiting.chain(self.gaps.values().flatten()).any(|r| r.epoch == epoch)
    }

    /// The account, the size, the age of the backlog.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub fn stats(&self) -> Result<Stats, Error> {
        let c = &self.state.counters;
        debug_assert!(c.balance(), "{c:?}");
        let count = |set: fn(&EpochState) -> &Intervals| -> u64 {
            self.state.epochs.values().map(|e| set(e).count()).sum()
        };
        let (blocks, acked) = (count(|e| &e.held), count(|e| &e.acked));
        Ok(Stats {
            memory: self.memory.clone(),
            bytes: self.file.used_bytes()?,
            bytes_max: self.bytes_max(),
            blocks,
            unacked_blocks: blocks - acked,
            unacked_bytes: c.held_bytes - c.acked_bytes,
            oldest_unacked_born_ms: self.oldest_born()?,
            polled: c.polled,
            stored: c.freed_acked + c.held_acked,
            quarantined: c.freed_rejected + c.held_rejected,
            declared: c.declared,
            backlog: c.backlog(),
            written_bytes: c.written_bytes,
            damaged_blocks: c.damaged_blocks,
            evicted_blocks: c.evicted_blocks,
            losses: self.state.losses.ranges().len(),
        })
    }

    fn bytes_max(&self) -> u64 {
        if self.memory.is_some() { self.options.memory_bytes_max } else { self.options.bytes_max }
    }

    fn path(dir: &Path) -> PathBuf {
        dir.join("spool.db")
    }
}

#[cfg(test)]
mod tests;
