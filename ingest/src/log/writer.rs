//! The store writer: the cursor that carries the log into the store.
//!
//! A thread of its own, started by `crate::run`. A store that is down stops neither acks nor alarms: this thread alone
//! waits for it, by the class of the error, and the log keeps what it has not taken.
//! Blocks of an unset clock pass when their boot's offset is known: see [`Decided`].

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::record::Decided;
use super::{Batch, DecodedBlock, FollowError, Follower, Progress, RecordBody};
use crate::chain_of;
use crate::clock::Clock;
use crate::live::Live;
use crate::selfwatch::is_synthetic;
use crate::store::{Class, Position, Store, StoreBatch, StoreError};

/// Longest wait for a record, so that a stop is noticed.
const WAIT: Duration = Duration::from_millis(500);
/// First pause after a failure; doubled up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_millis(200);
/// Longest pause while a database is away: what it costs one that starts is a request, what it costs us is the time by
/// which everybody sees history later.
const PAUSE_AWAY_MAX: Duration = Duration::from_secs(1);
/// Longest pause where a person has to mend something.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// What the metrics and the API read of the store writer.
#[derive(Debug, Default)]
pub struct WriterStats {
    /// Blocks handed to the store.
    pub blocks: AtomicU64,
    /// Samples handed to the store.
    pub samples: AtomicU64,
    /// Failed tries.
    pub failures: AtomicU64,
    /// 0 while all is well, 1 while retrying, 2 while a person has to mend something.
    pub trouble: AtomicU64,
    /// Samples that the database's own retention dropped.
    pub dropped: AtomicU64,
}

/// Where the store writer says how it stands.
#[derive(Debug)]
pub struct Told {
    /// How far it is.
    pub progress: Arc<Progress>,
    /// Numbers.
    pub stats: Arc<WriterStats>,
    /// Notices.
    pub live: Arc<Live>,
    /// When a notice went up.
    pub clock: Arc<dyn Clock>,
}

/// The store writer.
#[derive(Debug)]
pub struct Writer {
    follower: Follower,
    store: Box<dyn Store>,
    told: Told,
    at: u64,
    /// What the store did not take: it gets the same again, for it may have taken a part, and a store that is away for
    /// long must not make its batches grow.
    held: Option<Batch>,
}

impl Writer {
    /// A writer that goes on where the store is, or at the last position that the store's log and this one share.
    ///
    /// # Errors
    /// When the store cannot say where it is; nothing may be written then.
    pub fn new(
        follower: Follower,
        mut store: Box<dyn Store>,
        told: Told,
    ) -> Result<Self, StoreError> {
        let lineage = &follower.shared().lineage;
        let at = match store.position()? {
            None => 0,
            Some(position) => {
                let at = lineage.resolve(position);
                if at < position.position {
                    tracing::warn!(
                        log_id = position.log_id,
                        was = position.position,
                        at,
                        "the store knew another log, going back to what both share"
                    );
                    store.reset_position(lineage.here(at))?;
                }
                at
            }
        };
        warn_of_gap(&follower, at);
        told.progress.stored(at);
        Ok(Self { follower, store, told, at, held: None })
    }

    /// Runs until `stop`; returns the store.
    ///
    /// # Errors
    /// When the log is damaged: opening it again salvages what can be read.
    pub fn run(mut self, stop: &CancellationToken) -> Result<Box<dyn Store>, FollowError> {
        let mut pause = Pause::default();
        while !stop.is_cancelled() {
            match self.step(WAIT) {
                Ok(false) => {}
                Ok(true) => {
                    if pause.reset() {
                        self.told.stats.trouble.store(0, Ordering::Relaxed);
                        self.refuses(None);
                        tracing::info!("the store takes data again");
                    }
                }
                Err(WriteError::Log(error) | WriteError::Follow(error)) if error.is_damage() => {
                    return Err(error);
                }
                Err(WriteError::Store(StoreError::Lost { position, .. })) => self.go_back(position),
                Err(WriteError::Follow(error)) => {
                    tracing::error!(error = %chain_of(&error), "store writer cannot read the log");
                    pause.wait(stop, PAUSE_MAX);
                }
                Err(error) => {
                    self.trouble(&error, &pause);
                    pause.asked(error.pause());
                    pause.wait(stop, error.longest_pause());
                }
            }
        }
        Ok(self.store)
    }

    /// Carries the next records into the store, waiting up to `wait` for the first; `true` where there were any.
    ///
    /// # Errors
    /// [`WriteError`]; the next step hands over the same records.
    pub fn step(&mut self, wait: Duration) -> Result<bool, WriteError> {
        let batch = match self.held.take() {
            Some(batch) => batch,
            None => self.follower.next(self.at, wait).map_err(WriteError::Follow)?,
        };
        if batch.up_to <= self.at {
            return Ok(false);
        }
        let written = self.write(&batch);
        if written.is_err() {
            self.held = Some(batch);
        }
        written.map(|()| true)
    }

    fn write(&mut self, batch: &Batch) -> Result<(), WriteError> {
        let mut blocks = Vec::with_capacity(batch.records.len());
        for record in &batch.records {
            // What the centre makes to watch itself is nobody's history.
            if is_synthetic(&record.gateway) {
                continue;
            }
            match &record.body {
                RecordBody::Block { block, decided } => self.passed(block, decided, &mut blocks)?,
                // A person has said what its times are.
                RecordBody::Replay(block) => blocks.push(Arc::clone(block)),
                RecordBody::Centre(_) | RecordBody::Damaged => {}
            }
        }
        blocks.retain(|b| !b.readings.tables.is_empty());
        let samples: usize = blocks.iter().map(|b| b.readings.sample_count()).sum();
        let count = blocks.len() as u64;
        let up_to = self.follower.shared().lineage.here(batch.up_to);
        spool::fail_point!("store.before");
        self.store.write(&StoreBatch { up_to, blocks }).map_err(WriteError::Store)?;
        spool::fail_point!("store.after");
        self.told.stats.blocks.fetch_add(count, Ordering::Relaxed);
        self.told.stats.samples.fetch_add(samples as u64, Ordering::Relaxed);
        self.told.stats.dropped.store(self.store.dropped(), Ordering::Relaxed);
        self.at = batch.up_to;
        // What the store has surely: the log may evict only that.
        let surely = self.store.position().map_err(WriteError::Store)?;
        let surely = surely.map_or(0, |position| self.follower.shared().lineage.resolve(position));
        self.told.progress.stored(surely.min(self.at));
        Ok(())
    }

    /// The database was restarted and may have lost what it took last: that is read from the log again.
    fn go_back(&mut self, position: Option<Position>) {
        let at = position.map_or(0, |position| self.follower.shared().lineage.resolve(position));
        tracing::warn!(
            was = self.at,
            at,
            "the database was restarted, what it took last is sent again"
        );
        self.at = at.min(self.at);
        self.held = None;
    }

    /// Adds what a block record lets through: first the held blocks that it releases, then itself unless it is held.
    fn passed(
        &mut self,
        block: &Arc<DecodedBlock>,
        decided: &Decided,
        out: &mut Vec<Arc<DecodedBlock>>,
    ) -> Result<(), WriteError> {
        let offset = block.block.clock.boot_offset.or(decided.offset);
        if let (false, Some(offset)) = (decided.releases.is_empty(), offset) {
            let held = self.follower.blocks_at(&decided.releases).map_err(WriteError::Log)?;
            let absent = decided.releases.len().saturating_sub(held.len());
            if absent > 0 {
                tracing::error!(gateway = %block.gateway, absent, released_by = block.position,
                    "blocks of a clock that was set late are no longer in the log and cannot be stored");
                self.told.progress.lose(absent as u64);
            }
            out.extend(held.iter().map(|b| Arc::new(b.timed_by(offset))));
        }
        match decided.offset {
            _ if !block.is_unset() => out.push(Arc::clone(block)),
            Some(offset) => out.push(Arc::new(block.timed_by(offset))),
            None => {}
        }
        Ok(())
    }

    fn trouble(&self, error: &WriteError, pause: &Pause) {
        self.told.stats.failures.fetch_add(1, Ordering::Relaxed);
        let hold = error.class() == Class::Hold;
        self.told.stats.trouble.store(if hold { 2 } else { 1 }, Ordering::Relaxed);
        self.refuses(hold.then_some(error));
        if !pause.is_first() {
            return;
        }
        if hold {
            tracing::error!(error = %chain_of(error), "the store refuses, mend it; the log keeps the data");
        } else {
            tracing::warn!(error = %chain_of(error), "the store does not take data, trying again");
        }
    }

    /// Puts up what a person has to mend, or takes it down.
    fn refuses(&self, error: Option<&WriteError>) {
        let text = || error.map(|error| chain_of(error)).unwrap_or_default();
        let now = self.told.clock.now_ms();
        self.told.live.standing("store_refuses", error.is_some(), now, text);
    }
}

/// A store from a backup may be older than what the log has evicted: then nothing can bring the difference back.
fn warn_of_gap(follower: &Follower, at: u64) {
    let reader = follower.reader();
    let is_behind = reader.last_position().is_ok_and(|last| last > at);
    if is_behind && reader.at(&[at + 1]).is_ok_and(|entries| entries.is_empty()) {
        tracing::error!(
            at,
            "the log has evicted what follows the store's position: that history is in no store; was the store restored from a backup?"
        );
    }
}

/// Why a batch is not in the store yet.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The next records.
    #[error("the store writer cannot read the log")]
    Follow(#[source] FollowError),
    /// Blocks that the next records release.
    #[error("released blocks cannot be read")]
    Log(#[source] FollowError),
    /// The store's answer.
    #[error("the store did not take the batch")]
    Store(#[source] StoreError),
}

impl WriteError {
    /// The pause that the database asked for.
    fn pause(&self) -> Duration {
        match self {
            Self::Store(StoreError::Unavailable { pause_ms, .. }) => {
                Duration::from_millis(*pause_ms)
            }
            _ => Duration::ZERO,
        }
    }

    fn longest_pause(&self) -> Duration {
        match self {
            Self::Store(StoreError::Unavailable { .. }) => PAUSE_AWAY_MAX,
            _ => PAUSE_MAX,
        }
    }

    fn class(&self) -> Class {
        match self {
            Self::Follow(_) | Self::Log(_) => Class::Retry,
            Self::Store(error) => error.class(),
        }
    }
}

/// Pauses that double from failure to failure.
#[derive(Debug, Default)]
struct Pause {
    last: Option<Duration>,
    /// What the database asked for, once.
    asked: Duration,
}

impl Pause {
    fn is_first(&self) -> bool {
        self.last.is_none()
    }

    /// The failures are over; whether there were any.
    fn reset(&mut self) -> bool {
        self.last.take().is_some()
    }

    /// The next pause is at least this long.
    fn asked(&mut self, pause: Duration) {
        self.asked = pause;
    }

    fn next(&mut self, most: Duration) -> Duration {
        let pause = self.last.map_or(PAUSE_MIN, |p| (p * 2).min(most));
        self.last = Some(pause);
        pause.max(std::mem::take(&mut self.asked))
    }

    /// Waits, or until the stop.
    fn wait(&mut self, stop: &CancellationToken, most: Duration) {
        crate::shutdown::wait(stop, self.next(most));
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod unsure;
