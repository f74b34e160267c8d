//! The work of the spool's thread, one round at a time: takes jobs, seals, stores, shows what there is to send.
//!
//! Owns sealer and spool. It has no thread, no channel of jobs and no clock of its own, so that `seal/thread.rs` and a
//! simulator drive the same. A block is on disk before the [`View`] names it. The order of jobs is the order of time.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use spool::{Fetched, Key, KeySet, NewBlock, OpenReport, Spool, SpoolOptions, Stats};
use tokio::sync::{oneshot, watch};
use tracing::{error, info, warn};
use wire::ManifestKey;
use wire::message::Ack;

use super::unread::Unread;
use super::{Identity, NewManifest, Sealed, Sealer};
use crate::clock::{Change, Clock, ClockState, Keeper};
use crate::reading::{Reading, Replies};
use crate::uplink::lanes::{LIVE_MS, View};

/// Readings handed over in one job.
pub const BATCH_READINGS: usize = 256;
/// Ranges in a list; beyond it the narrowest holes are filled.
const LIST_RANGES_MAX: usize = 2_048;
/// Live blocks named in a view; at ten a second 100.
const LIVE_BLOCKS_MAX: usize = 1_024;
/// Unacked part of the bound above which the oldest are rescued, percent.
const RESCUE_PERCENT: u64 = 85;
/// How often acks and the account are written and shown, ms.
const FLUSH_MS: u64 = 1_000;
/// How often a disk that was given up is tried again, ms.
const RETURN_MS: u64 = 10_000;
/// Jobs taken before what they sealed is stored.
const JOBS_AT_ONCE: usize = 32;

/// What is to be done.
#[derive(Debug)]
pub enum Job {
    /// Readings, in the order of their arrival.
    Readings(Vec<Reading>),
    /// Time goes on: monotonic ms at which the tick was made.
    Tick(u64),
    /// An ack that counts.
    Ack {
        /// The ack.
        ack: Box<Ack>,
        /// Its log id is another one than before.
        new_log: bool,
        /// (sent, received) monotonic ms of its round trip, where the centre's time may be used.
        round_trip: Option<(u64, u64)>,
    },
    /// Read blocks to be sent.
    Fetch(Vec<Key>, oneshot::Sender<Vec<(Key, Fetched)>>),
    /// Read a manifest.
    Manifest(ManifestKey, oneshot::Sender<Option<Vec<u8>>>),
    /// Close and store the block that is being collected, because nothing more comes, and say so.
    Seal(oneshot::Sender<()>),
    /// Seal and store what was collected, then end.
    Stop,
}

/// What is shown of it each second.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Shown {
    /// The spool's account.
    pub spool: Stats,
    /// State of the clock.
    pub clock: ClockState,
    /// Wall time minus monotonic time as blocks show it, ms; `None` while the clock is unset.
    pub wall_offset_ms: Option<i64>,
    /// What the centre's time says that the clock is off by, ms.
    pub centre_difference_ms: Option<i64>,
    /// The manifest of the newest blocks.
    pub manifest: Option<ManifestKey>,
    /// Readings that fitted no reply.
    pub refused: u64,
    /// The manifest is full: some device keeps an older plan, or has none.
    pub replies_full: bool,
    /// Blocks sealed in this epoch.
    pub sealed: u64,
    /// Bytes of blocks written since this start.
    pub written_here: u64,
    /// The newest problem with the disk, until it is gone.
    pub problem: Option<String>,
}

impl Shown {
    /// The wall time as blocks show it, ms; the system's while the clock is unset.
    #[must_use]
    pub fn wall_ms(&self, clock: &dyn Clock) -> i64 {
        let offset = self.wall_offset_ms;
        offset.map_or_else(|| clock.system_ms(), |o| o + clock.mono_ms().cast_signed())
    }
}

/// What comes after a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// The next round.
    GoOn,
    /// The stop that a job asked for.
    Stop,
    /// The end: blocks could be kept nowhere.
    Stuck,
}

/// What others hold of it.
#[derive(Debug)]
pub struct Ends {
    /// What there is to send.
    pub view: watch::Receiver<View>,
    /// How it is.
    pub shown: watch::Receiver<Shown>,
    /// The uplink keeps here what is in flight, so that it is evicted last but one.
    pub in_flight: Arc<Mutex<KeySet>>,
    /// The log that the acks in the spool belong to.
    pub log_id: Option<u64>,
    /// What opening the spool found.
    pub report: OpenReport,
}

/// See the module.
#[derive(Debug)]
pub struct Work {
    spool: Spool,
    sealer: Sealer,
    replies: Replies,
    clock: Arc<dyn Clock>,
    in_flight: Arc<Mutex<KeySet>>,
    view: watch::Sender<View>,
    shown: watch::Sender<Shown>,
    live: VecDeque<(Key, u64)>,
    sealed: Vec<Sealed>,
    unread: Unread,
    flushed_mono: u64,
    /// When a disk that was given up was last tried.
    tried_mono: u64,
    problem: Option<String>,
    written_before: u64,
    synced: bool,
    /// Blocks could be kept nowhere.
    stuck: bool,
}

impl Work {
    /// Opens the spool, begins the epoch and makes the sealer. Nothing is sealed yet.
    ///
    /// # Errors
    /// Where not even a spool in memory could be made, or the epoch was not begun; a damaged spool or an unusable disk is
    /// none (see [`Ends::report`]).
    pub fn open(
        dir: &Path,
        options: &SpoolOptions,
        id: Identity,
        replies: Replies,
        clock: Arc<dyn Clock>,
    ) -> Result<(Self, Ends), spool::Error> {
        let (mut spool, report) = Spool::open(dir, options)?;
        let link = spool.begin_epoch(id.start.epoch.0)?.map(super::link);
        let mut keeper = Keeper::new();
        let synced = clock.is_synced();
        keeper.observe(clock.system_ms(), clock.mono_ms(), synced);
        let (sealer, manifest) = Sealer::new(id, link, keeper);
        spool.put_manifest(manifest.key.0, &manifest.bytes)?;
        let (view, view_out) = watch::channel(View::default());
        let (shown, shown_out) = watch::channel(Shown::default());
        let in_flight = Arc::new(Mutex::new(KeySet::new()));
        let log_id = spool.log_id();
        let written_before = spool.stats()?.written_bytes;
        let mut work = Self {
            spool,
            sealer,
            replies,
            clock,
            in_flight: Arc::clone(&in_flight),
            view,
            shown,
            live: VecDeque::new(),
            sealed: Vec::new(),
            unread: Unread::default(),
            flushed_mono: 0,
            tried_mono: 0,
            problem: None,
            written_before,
            synced,
            stuck: false,
        };
        work.show();
        Ok((work, Ends { view: view_out, shown: shown_out, in_flight, log_id, report }))
    }

    /// Takes a job and what `more` has, stores what they sealed, then shows the uplink what there is to send.
    pub fn round(&mut self, first: Job, mut more: impl FnMut() -> Option<Job>) -> Next {
        let mut going = self.take(first);
        let mut taken = 1;
        while going
            && taken < JOBS_AT_ONCE
            && let Some(job) = more()
        {
            going = self.take(job);
            taken += 1;
        }
        self.store();
        self.publish();
        match (self.stuck, going) {
            (true, _) => Next::Stuck,
            (false, true) => Next::GoOn,
            (false, false) => Next::Stop,
        }
    }

    /// Seals and stores what was collected, for an orderly stop; false where blocks could be kept nowhere.
    pub fn close(mut self) -> bool {
        let spool = &self.spool;
        self.sealer.close_rows(&|| spool.list(LIST_RANGES_MAX), &mut self.sealed);
        spool::fail_point!("gateway.stop");
        self.store();
        self.flush();
        info!(sealed = self.sealer.seq(), "spool closed");
        !self.stuck
    }

    /// The spool itself, for whoever checks what it holds: a simulator, a test.
    pub fn spool(&mut self) -> &mut Spool {
        &mut self.spool
    }

    /// False where it was the last one.
    fn take(&mut self, job: Job) -> bool {
        match job {
            Job::Readings(readings) => {
                self.look_at_clock();
                self.follow_replies();
                let spool = &self.spool;
                let list = || spool.list(LIST_RANGES_MAX);
                for reading in &readings {
                    let arrived = self.clock.mono_of(reading.arrived);
                    self.sealer.push(reading, arrived, false, &list, &mut self.sealed);
                }
            }
            Job::Tick(now) => {
                self.look_at_clock();
                let spool = &self.spool;
                self.sealer.tick(now, &|| spool.list(LIST_RANGES_MAX), &mut self.sealed);
                if now.saturating_sub(self.flushed_mono) >= FLUSH_MS {
                    self.flushed_mono = now;
                    self.synced = self.clock.is_synced();
                    self.flush();
                    self.go_back_to_disk(now);
                    self.show();
                }
            }
            Job::Ack { ack, new_log, round_trip } => {
                if let Some((sent, received)) = round_trip {
                    self.take_time(ack.centre_time, sent, received);
                }
                self.take_ack(&ack, new_log);
            }
            Job::Fetch(keys, answer) => {
                // Blocks sealed in this round are stored before anything is read for sending.
                self.store();
                let found = keys.into_iter().map(|k| (k, self.fetch(k))).collect();
                // Whoever asked and went away has no use for the answer.
                let _asked = answer.send(found);
            }
            Job::Manifest(key, answer) => {
                let found = self.spool.manifest(&key.0).unwrap_or_default();
                let _asked = answer.send(found);
            }
            Job::Seal(answer) => {
                let spool = &self.spool;
                self.sealer.close_rows(&|| spool.list(LIST_RANGES_MAX), &mut self.sealed);
                self.store();
                self.publish();
                let _asked = answer.send(());
            }
            Job::Stop => return false,
        }
        true
    }

    fn look_at_clock(&mut self) {
        let mut next = self.sealer.keeper().clone();
        let change = next.observe(self.clock.system_ms(), self.clock.mono_ms(), self.synced);
        self.set_clock(next, change);
    }

    fn take_time(&mut self, centre_ms: i64, sent: u64, received: u64) {
        let mut next = self.sealer.keeper().clone();
        next.offer(centre_ms, sent, received);
        let change = next.observe(self.clock.system_ms(), self.clock.mono_ms(), self.synced);
        self.set_clock(next, change);
    }

    fn set_clock(&mut self, next: Keeper, change: Change) {
        if change == Change::Back || change == Change::Set {
            info!(state = ?next.state(), segment = next.segment(), ?change, "clock changed");
        }
        let moved = next.wall(0) - self.sealer.keeper().wall(0);
        if next.follows_centre() && !self.sealer.keeper().follows_centre() {
            warn!(moved_ms = moved, "the system's clock is wrong, the centre's time is used");
        }
        let spool = &self.spool;
        let list = || spool.list(LIST_RANGES_MAX);
        self.sealer.clock(next, change, &list, &mut self.sealed);
    }

    fn follow_replies(&mut self) {
        let spool = &self.spool;
        let list = || spool.list(LIST_RANGES_MAX);
        let known = self.replies.all();
        if let Some(manifest) = self.sealer.replies(&known, &list, &mut self.sealed) {
            // What was sealed so far goes first: its manifest is in the spool already.
            self.store();
            self.put_manifest(&manifest);
        }
    }

    fn put_manifest(&mut self, manifest: &NewManifest) {
        if let Err(e) = self.spool.put_manifest(manifest.key.0, &manifest.bytes) {
            self.trouble(&e);
            self.go_to_memory(&e);
            if let Err(e) = self.spool.put_manifest(manifest.key.0, &manifest.bytes) {
                self.trouble(&e);
            }
        }
    }

    /// Stores what was sealed, and declares what that (or damage) cost. What the gap records evict in
    /// their turn waits for the next round.
    fn store(&mut self) {
        if !self.sealed.is_empty() {
            let sealed = std::mem::take(&mut self.sealed);
            self.append(&sealed);
        }
        if self.spool.losses().is_empty() {
            return;
        }
        let spool = &self.spool;
        let losses = spool.losses().to_vec();
        warn!(ranges = losses.len(), "blocks lost, to be declared");
        self.sealer.declare(&losses, &|| spool.list(LIST_RANGES_MAX), &mut self.sealed);
        let records = std::mem::take(&mut self.sealed);
        self.append(&records);
    }

    fn append(&mut self, sealed: &[Sealed]) {
        if self.stuck {
            return;
        }
        let epoch = self.sealer.id.start.epoch.0;
        let new: Vec<NewBlock<'_>> = sealed.iter().map(|s| new_block(epoch, s)).collect();
        let flying = self.in_flight.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut done = self.spool.append(&new, &flying);
        if let Err(e) = &done {
            self.trouble(e);
            self.go_to_memory(e);
            done = self.spool.append(&new, &flying);
        } else if self.spool.memory().is_none() {
            self.problem = None;
        }
        match done {
            Ok(()) => {
                let born = sealed.iter().map(|s| (Key { epoch, seq: s.seq }, s.born_mono));
                self.live.extend(born);
            }
            Err(e) => {
                // Their seqs are used up: nothing that follows could be stored. A new start has a new epoch.
                error!(error = %chain(&e), blocks = sealed.len(), "blocks could not be kept anywhere");
                self.stuck = true;
            }
        }
    }

    /// A disk that takes nothing more is given up until it does again: seqs must go on without a hole.
    fn go_to_memory(&mut self, e: &spool::Error) {
        if self.spool.memory().is_none() {
            let why = chain(e);
            error!(error = %why, "the disk takes no blocks, holding them in memory");
            if let Err(e) = self.spool.fall_back(&why) {
                error!(error = %chain(&e), "no spool in memory either");
            }
        }
    }

    /// Tries once in a while whether a disk that was given up takes blocks again.
    fn go_back_to_disk(&mut self, now: u64) {
        if self.spool.memory().is_none() || now.saturating_sub(self.tried_mono) < RETURN_MS {
            return;
        }
        self.tried_mono = now;
        match self.spool.go_back() {
            Ok(true) => {
                self.problem = None;
                info!("the disk takes blocks again, what was held in memory is on it");
            }
            Ok(false) => {}
            Err(e) => self.trouble(&e),
        }
    }

    fn fetch(&mut self, key: Key) -> Fetched {
        match self.spool.get(key) {
            Ok(found) => {
                self.unread.read(key);
                found
            }
            Err(e) => {
                self.trouble(&e);
                if e.class() == spool::Class::Fatal && self.unread.failed(key) {
                    self.give_up(key, &e);
                }
                Fetched::Gone
            }
        }
    }

    /// Takes a block that cannot be read out of the spool; it is declared with the next round.
    fn give_up(&mut self, key: Key, why: &spool::Error) {
        match self.spool.lose(key) {
            Ok(()) => {
                let epoch = wire::Epoch(key.epoch);
                error!(%epoch, seq = key.seq, error = %chain(why), "a block cannot be read, given up");
            }
            Err(e) => self.trouble(&e),
        }
    }

    fn take_ack(&mut self, ack: &Ack, new_log: bool) {
        if new_log {
            info!(log_id = %ack.log_id, "the centre has a new log");
            if let Err(e) = self.spool.new_log(ack.log_id.0) {
                self.trouble(&e);
                return;
            }
            self.sealer.list_soon();
        }
        for e in &ack.epochs {
            let acked = if e.complete {
                spool::Intervals::of(1, u64::MAX)
            } else {
                let ranges = e.ranges.iter().map(|r| (r.from, r.to));
                std::iter::once((1, e.upto)).chain(ranges).collect()
            };
            let rejected: Vec<(u64, String)> =
                e.rejected.iter().map(|r| (r.seq, r.code.clone())).collect();
            let ack = spool::EpochAck { epoch: e.epoch.0, acked: &acked, rejected: &rejected };
            match self.spool.ack(&[ack]) {
                Ok(out) if out.rejected > 0 => {
                    warn!(epoch = %e.epoch, blocks = out.rejected, "blocks rejected by the centre");
                }
                Ok(_) => {}
                Err(e) => self.trouble(&e),
            }
        }
    }

    /// Shows the uplink what there is to send.
    fn publish(&mut self) {
        spool::fail_point!("gateway.stored");
        if let Some(found) = self.spool.take_recovered() {
            error!(
                set_aside = ?found.set_aside, salvaged = found.salvaged_blocks,
                lost = found.lost_blocks, memory = ?found.memory, "the spool was damaged while running"
            );
        }
        let now = self.clock.mono_ms();
        let old = |born: u64| now.saturating_sub(born) >= LIVE_MS;
        while self.live.len() > LIVE_BLOCKS_MAX || self.live.front().is_some_and(|l| old(l.1)) {
            self.live.pop_front();
        }
        let spool = &self.spool;
        let live = self.live.iter().filter(|(k, _)| spool.is_unacked(*k)).copied().collect();
        let rescue = self.shown.borrow().spool.rescue();
        let next = View { backlog: spool.backlog(), live, rescue };
        self.view.send_if_modified(|view| {
            let changed = *view != next;
            if changed {
                *view = next;
            }
            changed
        });
    }

    fn flush(&mut self) {
        if let Err(e) = self.spool.flush() {
            self.trouble(&e);
        }
    }

    fn show(&mut self) {
        let stats = match self.spool.stats() {
            Ok(stats) => stats,
            Err(e) => return self.trouble(&e),
        };
        let keeper = self.sealer.keeper();
        let written_here = stats.written_bytes.saturating_sub(self.written_before);
        self.shown.send_replace(Shown {
            written_here,
            spool: stats,
            clock: keeper.state(),
            wall_offset_ms: (keeper.state() != ClockState::Unset).then(|| keeper.wall(0)),
            centre_difference_ms: keeper.centre_difference_ms(),
            manifest: Some(self.sealer.manifest()),
            refused: self.sealer.refused().readings,
            replies_full: self.replies.is_full(),
            sealed: self.sealer.seq(),
            problem: self.problem.clone(),
        });
    }

    /// Logs the first of a series of problems; the newest is shown until it is gone.
    fn trouble(&mut self, e: &spool::Error) {
        let text = chain(e);
        if self.problem.is_none() {
            warn!(error = %text, "trouble with the spool");
        }
        self.problem = Some(text);
    }
}

/// Whether the oldest blocks are in danger.
trait Rescue {
    fn rescue(&self) -> bool;
}

impl Rescue for Stats {
    fn rescue(&self) -> bool {
        self.unacked_bytes.saturating_mul(100) >= self.bytes_max.saturating_mul(RESCUE_PERCENT)
            && self.bytes_max > 0
    }
}

fn new_block(epoch: u64, s: &Sealed) -> NewBlock<'_> {
    NewBlock {
        key: Key { epoch, seq: s.seq },
        bytes: &s.bytes,
        born_ms: s.born_ms,
        samples: s.samples,
        t0: s.t0,
        t1: s.t1,
        manifest: s.manifest.map(|k| k.0),
        gap: &s.gap,
    }
}

/// An error with its causes, one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(e) = cause {
        text.push_str(": ");
        text.push_str(&e.to_string());
        cause = e.source();
    }
    text
}
