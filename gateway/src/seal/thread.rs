//! The spool's thread: the one owner of sealer and spool, fed through one bounded queue of jobs.
//!
//! A thread and not a task, because SQLite blocks. It collects what waits in the queue, seals, stores in
//! one transaction, and only then tells the uplink (through a [`View`]) that there is something to send:
//! a block is on disk before it is sent. The order of jobs is the order of time: readings and ticks come
//! through the same queue, each with the time at which it was put there.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use spool::{Fetched, Key, KeySet, NewBlock, OpenReport, Spool, SpoolOptions, Stats};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};
use wire::ManifestKey;
use wire::message::Ack;

use super::unread::Unread;
use super::{Identity, NewManifest, Sealed, Sealer};
use crate::clock::{Change, Clock, ClockState, Keeper};
use crate::reading::{Reading, Replies};
use crate::uplink::lanes::{LIVE_MS, View};

/// Jobs that may wait; each holds at most [`BATCH_READINGS`] readings.
pub const JOB_QUEUE: usize = 64;
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
/// Jobs taken before what they sealed is stored.
const JOBS_AT_ONCE: usize = 32;

/// What the thread is asked to do.
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

/// What the thread shows of itself each second.
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

/// The ends of the thread that others hold.
#[derive(Debug)]
pub struct Handle {
    /// Where jobs go.
    pub jobs: mpsc::Sender<Job>,
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
    thread: std::thread::JoinHandle<()>,
}

impl Handle {
    /// Waits for the thread; it ends after [`Job::Stop`] or when all senders are gone.
    ///
    /// # Errors
    /// Where the thread panicked.
    pub fn join(self) -> std::thread::Result<()> {
        drop(self.jobs);
        self.thread.join()
    }
}

/// The thread could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Not even a spool in memory could be made, or the epoch was not begun.
    #[error("cannot open the spool in {}", dir.display())]
    Spool {
        /// Its folder.
        dir: std::path::PathBuf,
        /// Why.
        #[source]
        source: Box<spool::Error>,
    },
    /// The system gives no thread.
    #[error("cannot start the spool's thread")]
    Thread(#[source] std::io::Error),
}

/// What the thread shares with the rest of the gateway.
#[derive(Debug)]
pub struct Parts {
    /// What readings may name.
    pub replies: Replies,
    /// The machine's clocks.
    pub clock: Arc<dyn Clock>,
    /// Cancelled where the thread panics, or ends because blocks can be kept nowhere.
    pub failed: CancellationToken,
}

/// Opens the spool, begins the epoch and starts the thread.
///
/// # Errors
/// [`StartError`]; a damaged spool or an unusable disk is none (see [`Handle::report`]).
pub fn start(
    dir: &std::path::Path,
    options: &SpoolOptions,
    id: Identity,
    parts: Parts,
) -> Result<Handle, StartError> {
    let Parts { replies, clock, failed } = parts;
    let fail = |e| StartError::Spool { dir: dir.to_path_buf(), source: Box::new(e) };
    let (mut spool, report) = Spool::open(dir, options).map_err(fail)?;
    let link = spool.begin_epoch(id.start.epoch.0).map_err(fail)?.map(super::link);
    let mut keeper = Keeper::new();
    let clock_synced = clock.is_synced();
    keeper.observe(clock.system_ms(), clock.mono_ms(), clock_synced);
    let (sealer, manifest) = Sealer::new(id, link, keeper);
    spool.put_manifest(manifest.key.0, &manifest.bytes).map_err(fail)?;
    let (jobs, queue) = mpsc::channel(JOB_QUEUE);
    let (view, view_out) = watch::channel(View::default());
    let (shown, shown_out) = watch::channel(Shown::default());
    let in_flight = Arc::new(Mutex::new(KeySet::new()));
    let log_id = spool.log_id();
    let written_before = spool.stats().map_err(fail)?.written_bytes;
    let mut work = Work {
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
        problem: None,
        written_before,
        synced: clock_synced,
        stuck: false,
    };
    let thread = std::thread::Builder::new()
        .name("spool".to_owned())
        .spawn(move || {
            let guard = failed.drop_guard();
            if work.run(queue) {
                guard.disarm();
            }
        })
        .map_err(StartError::Thread)?;
    Ok(Handle { jobs, view: view_out, shown: shown_out, in_flight, log_id, report, thread })
}

struct Work {
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
    problem: Option<String>,
    written_before: u64,
    synced: bool,
    /// Blocks could be kept nowhere.
    stuck: bool,
}

impl Work {
    /// Runs until [`Job::Stop`]; false where it ends because blocks can be kept nowhere.
    fn run(&mut self, mut queue: mpsc::Receiver<Job>) -> bool {
        self.show();
        let mut going = true;
        while going {
            let Some(first) = queue.blocking_recv() else { break };
            let mut next = Some(first);
            let mut taken = 0;
            while let Some(job) = next {
                going &= self.take(job);
                taken += 1;
                next = if going && taken < JOBS_AT_ONCE { queue.try_recv().ok() } else { None };
            }
            self.store();
            self.publish();
            if self.stuck {
                return false;
            }
        }
        let spool = &self.spool;
        self.sealer.close_rows(&|| spool.list(LIST_RANGES_MAX), &mut self.sealed);
        spool::fail_point!("gateway.stop");
        self.store();
        self.flush();
        info!(sealed = self.sealer.seq(), "spool closed");
        !self.stuck
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

    /// A disk that takes nothing more is given up for this run: seqs must go on without a hole.
    fn go_to_memory(&mut self, e: &spool::Error) {
        if self.spool.memory().is_none() {
            let why = chain(e);
            error!(error = %why, "the disk takes no blocks, holding them in memory");
            if let Err(e) = self.spool.fall_back(&why) {
                error!(error = %chain(&e), "no spool in memory either");
            }
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

#[cfg(test)]
mod tests;
