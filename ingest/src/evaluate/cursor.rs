//! Follows the log from its own position, applies what follows in one transaction with the position, takes snapshots.
//!
//! Owned by the evaluator's thread, which calls [`Cursor::step`] until it says that nothing is left and then waits for
//! the receiver's word. Where the state database fails, what was decided is kept and applied at the next step; nothing
//! more is read before that, so memory stays bounded.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::apply::Pending;
use super::board::{Board, GatewayBoard};
use super::centre::{Centre, Reached, Said};
use super::engines::Engines;
use super::snapshot::CENTRE;
use crate::alarms::{ActiveAlarm, AlarmChange, EvaluationBatch, Trial};
use crate::chain_of;
use crate::clock::Clock;
use crate::log::{Batch, FollowError, Follower, Progress};
use crate::selfwatch::is_synthetic;
use crate::state::{Position, Snapshot, State, StateError};

mod orphans;
mod present;
mod restore;

/// Time between two snapshots of a gateway's evaluator, ms.
pub const SNAPSHOT_INTERVAL_MS: i64 = 30_000;
/// Time between two showings of the rule states, ms.
const SHOW_INTERVAL_MS: i64 = 1_000;
/// Rules whose states are shown anew each time, at least one gateway's: a million of them take seconds, and a page must
/// not wait for that. The gateways take turns.
const SHOW_RULES_MAX: usize = 50_000;
/// Most snapshots that one step takes, so that a page does not wait for them.
const SNAPSHOTS_PER_STEP: usize = 16;
/// Longest wait for a record, so that a stop is noticed.
const WAIT: Duration = Duration::from_millis(500);
/// Positions of waiting blocks that are told to the receiver, each ms that passes: behind a thousand holes millions wait,
/// and an alarm must not wait until they are counted at every step.
const HELD_PER_MS: i64 = 100;
/// Pause after a failure; alarms wait for it, so it is short.
const PAUSE: Duration = Duration::from_millis(500);

/// Hears what the evaluator did, after it is durable. Must not wait.
pub trait Listener: Send {
    /// Alarms changed.
    fn changed(&mut self, changes: &[AlarmChange]);
    /// An evaluator said something that is neither a verdict nor for duty staff: a block of unknown time, a late one,
    /// a hole given up, the place of a fact.
    fn noted(&mut self, said: &Said);
    /// A bound was reached: what lies beyond it is judged by no rule.
    fn reached(&mut self, _bound: &Reached) {}
    /// The test alarm was turned at event time `t`; nothing is durable yet.
    fn test_judged(&mut self, _t: i64) {}
    /// That turn has come through: the alarm tables took it, and the transaction it lay in is durable.
    fn test_alarmed(&mut self, _t: i64) {}
}

/// Why a step did not succeed; the next step goes on where this one stopped.
#[derive(Debug, thiserror::Error)]
pub enum CursorError {
    /// The log could not be read.
    #[error("the evaluator could not read the log")]
    Log(#[source] FollowError),
    /// The state database could not be read or written.
    #[error("the evaluator could not use the state database")]
    State(#[source] StateError),
}

impl CursorError {
    /// Whether the log is damaged: only opening it again helps.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Log(error) if error.is_damage())
    }
}

/// Where snapshots of one evaluator lie.
#[derive(Debug, Default)]
struct Taken {
    /// Monotonic, ms.
    due_at: i64,
    /// The durable ones, oldest first, at most two.
    durable: VecDeque<Durable>,
    /// What the one that is being written still waits for.
    waiting: Vec<u64>,
}

/// A durable snapshot.
#[derive(Debug, Default)]
struct Durable {
    position: u64,
    /// Positions of blocks that wait in it: a start that goes on from it reads them again.
    waiting: Vec<u64>,
}

/// See the module.
pub struct Cursor<E: Engines> {
    state: State,
    runtime: Handle,
    log: Follower,
    clock: Arc<dyn Clock>,
    board: Arc<Board>,
    progress: Arc<Progress>,
    listener: Box<dyn Listener>,
    centre: Centre<E>,
    position: u64,
    applied: u64,
    pending: BTreeMap<String, Pending>,
    taken: BTreeMap<String, Taken>,
    unapplied: Vec<EvaluationBatch>,
    trial: Trial,
    shown_at: i64,
    /// Alarms that are active on the desk and that no evaluator holds.
    orphans: Vec<ActiveAlarm>,
    /// The gateway that was shown last.
    shown: String,
    /// Gateways whose alarms are held against the list once they are in the present.
    unsaid: present::Unsaid,
    /// When the receiver is told next what the log must keep, monotonic ms.
    hold_at: i64,
}

impl<E: Engines> fmt::Debug for Cursor<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cursor").field("position", &self.position).finish_non_exhaustive()
    }
}

/// What a cursor works with.
pub struct Works {
    /// Where effects and snapshots go.
    pub state: State,
    /// Runs the state database's futures; the cursor's thread is not one of its workers.
    pub runtime: Handle,
    /// The log.
    pub log: Follower,
    /// For the times of snapshots only.
    pub clock: Arc<dyn Clock>,
    /// What others see.
    pub board: Arc<Board>,
    /// What the log may evict.
    pub progress: Arc<Progress>,
    /// Who hears of changes.
    pub listener: Box<dyn Listener>,
}

impl fmt::Debug for Works {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Works").finish_non_exhaustive()
    }
}

impl<E: Engines> Cursor<E> {
    /// Loads the newest snapshots that belong to this log and goes on from the oldest of them; an evaluator without a
    /// usable one is rebuilt, see the module `restore`.
    ///
    /// # Errors
    /// When log or state database cannot be read.
    pub fn start(works: Works, centre: Centre<E>) -> Result<Self, CursorError> {
        let Works { state, runtime, log, clock, board, progress, listener } = works;
        let mut cursor = Self {
            state,
            runtime,
            log,
            clock,
            board,
            progress,
            listener,
            centre,
            position: 0,
            applied: 0,
            pending: BTreeMap::new(),
            taken: BTreeMap::new(),
            unapplied: Vec::new(),
            trial: Trial::default(),
            shown_at: i64::MIN,
            orphans: Vec::new(),
            shown: String::new(),
            unsaid: present::Unsaid::All,
            hold_at: i64::MIN,
        };
        let begun = cursor.clock.mono_ms();
        cursor.restore()?;
        cursor.find_orphans()?;
        tracing::info!(
            gateways = cursor.centre.gateways.len(),
            position = cursor.position,
            ms = cursor.clock.mono_ms() - begun,
            "the evaluators go on from their snapshots"
        );
        Ok(cursor)
    }

    /// Follows the log until `stop`, then takes a last snapshot of everything.
    ///
    /// # Errors
    /// When the log is damaged: opening it again salvages what can be read.
    pub fn run(mut self, stop: &CancellationToken) -> Result<(), CursorError> {
        let mut is_failing = false;
        while !stop.is_cancelled() {
            match self.step(WAIT) {
                Ok(_) if is_failing => {
                    is_failing = false;
                    self.progress.set_evaluator_failing(false);
                    tracing::info!("the evaluator goes on");
                }
                Ok(_) => {}
                Err(error) if error.is_damage() => return Err(error),
                Err(error) => {
                    if !is_failing {
                        tracing::error!(error = %chain_of(&error), "no alarm is raised until this is mended");
                    }
                    is_failing = true;
                    self.progress.set_evaluator_failing(true);
                    crate::shutdown::wait(stop, PAUSE);
                }
            }
        }
        if let Err(error) = self.finish() {
            tracing::warn!(error = %chain_of(&error), "no last snapshot, the next start takes longer");
        }
        Ok(())
    }

    /// Takes and applies some records, waiting up to `wait` for the first; `true` where there were any.
    ///
    /// # Errors
    /// [`CursorError`]; what was decided is not lost, the next step applies it.
    pub fn step(&mut self, wait: Duration) -> Result<bool, CursorError> {
        self.apply()?;
        let batch = self.log.next(self.position, wait).map_err(CursorError::Log)?;
        let is_more = batch.up_to > self.position;
        spool::fail_point!("evaluator.read");
        self.take(batch);
        spool::fail_point!("evaluator.taken");
        self.keep_orphans()?;
        self.say_what_stands()?;
        self.collect();
        self.apply()?;
        self.progress.judged(self.position);
        self.show();
        // A waiting block that lies on a damaged page is never read by going on.
        if let Some(error) = self.log.take_damage() {
            return Err(CursorError::Log(error));
        }
        Ok(is_more)
    }

    /// Takes a snapshot of every evaluator, for an orderly stop.
    ///
    /// # Errors
    /// When the state database cannot be written.
    pub fn finish(&mut self) -> Result<(), CursorError> {
        self.apply()?;
        while self.taken.values().any(|taken| taken.due_at < i64::MAX) {
            for taken in self.taken.values_mut().filter(|taken| taken.due_at < i64::MAX) {
                taken.due_at = i64::MIN;
            }
            self.collect_until(i64::MAX);
            self.apply()?;
        }
        Ok(())
    }

    /// Position of the last record that was taken.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The evaluators.
    #[must_use]
    pub fn centre(&self) -> &Centre<E> {
        &self.centre
    }

    fn take(&mut self, batch: Batch) {
        let mut said = Vec::new();
        let now = self.clock.now_ms();
        for record in &batch.records {
            self.centre.take(record, &mut self.log, &mut said);
            for mut said in said.drain(..) {
                self.unsaid.look(&mut said, now);
                if is_synthetic(&said.gateway) {
                    if let Some(t) = self.trial.take(said.output) {
                        self.listener.test_judged(t);
                    }
                    continue;
                }
                let pending = self.pending.entry(said.gateway.clone()).or_default();
                if let Some(note) = pending.take(said) {
                    self.listener.noted(&note);
                }
            }
        }
        for bound in self.centre.reached() {
            self.listener.reached(&bound);
        }
        self.position = batch.up_to;
    }

    fn collect(&mut self) {
        let now = self.clock.mono_ms();
        self.collect_until(now);
    }

    /// Makes batches of what is pending and of the snapshots that are due at `now`.
    fn collect_until(&mut self, now: i64) {
        let mut pending = std::mem::take(&mut self.pending);
        let mut snapshots = self.snapshots_due(now);
        let names: Vec<String> = pending.keys().chain(snapshots.keys()).cloned().collect();
        let recorded_at = self.clock.now_ms();
        let at = self.here();
        for name in names {
            let (said, snapshot) = (pending.remove(&name), snapshots.remove(&name));
            if said.is_none() && snapshot.is_none() {
                continue;
            }
            let said = said.unwrap_or_default();
            self.unapplied.push(said.into_batch(name, at, recorded_at, snapshot));
        }
        let is_behind = self.unapplied.iter().all(|batch| batch.evaluator != CENTRE);
        let has_any = !self.unapplied.is_empty() || self.trial.is_due();
        if has_any && is_behind {
            let own = Pending::default().into_batch(CENTRE.to_owned(), at, recorded_at, None);
            self.unapplied.push(own);
        }
    }

    /// Serializes the evaluators whose time has come: a gateway met for the first time at once, with what was known.
    fn snapshots_due(&mut self, now: i64) -> BTreeMap<String, Snapshot> {
        let log_id = self.here().log_id;
        let mut due = BTreeMap::new();
        if self.position == 0 {
            return due;
        }
        let is_new = self.centre.gateways.keys().any(|name| !self.taken.contains_key(name));
        let names = std::iter::once(CENTRE.to_owned()).chain(self.centre.gateways.keys().cloned());
        for name in names.collect::<Vec<_>>() {
            let taken = self
                .taken
                .entry(name.clone())
                .or_insert(Taken { due_at: i64::MIN, ..Taken::default() });
            let is_due = taken.due_at <= now || is_new && name == CENTRE;
            if !is_due || due.len() >= SNAPSHOTS_PER_STEP && taken.due_at > i64::MIN {
                continue;
            }
            let snapshot = match name.as_str() {
                CENTRE => Some(self.centre.snapshot_own(log_id)),
                gateway => self.centre.snapshot(gateway, log_id),
            };
            taken.due_at = now.saturating_add(SNAPSHOT_INTERVAL_MS);
            taken.waiting = self.centre.needed_by(&name);
            due.extend(snapshot.map(|snapshot| (name, snapshot)));
        }
        due
    }

    fn apply(&mut self) -> Result<(), CursorError> {
        if self.unapplied.is_empty() {
            return Ok(());
        }
        spool::fail_point!("evaluator.apply.before");
        let applied = self.state.apply_with_trial(&self.unapplied, &self.trial);
        let (changes, tried) = self.runtime.block_on(applied).map_err(CursorError::State)?;
        spool::fail_point!("evaluator.apply.after");
        for batch in std::mem::take(&mut self.unapplied) {
            self.applied = self.applied.max(batch.position.position);
            if let Some(snapshot) = batch.snapshot {
                let taken = self.taken.entry(batch.evaluator).or_default();
                let waiting = std::mem::take(&mut taken.waiting);
                taken.durable.push_back(Durable { position: snapshot.at.position, waiting });
                if taken.durable.len() > 2 {
                    taken.durable.pop_front();
                }
            }
        }
        self.progress.evaluated(self.applied);
        let now = self.clock.mono_ms();
        if self.hold_at <= now {
            // Until then it keeps what it was told of last: more than it must.
            self.hold_at = now.saturating_add(self.hold() / HELD_PER_MS);
        }
        if let Some(t) = self.trial.done(tried) {
            self.listener.test_alarmed(t);
        }
        if !changes.is_empty() {
            self.listener.changed(&changes);
        }
        Ok(())
    }

    /// Says what the log must keep: everything since the second-newest snapshots, and blocks that wait in any of them or
    /// still wait now. Gives the number of these that were looked at.
    fn hold(&self) -> i64 {
        let second = |taken: &Taken| match taken.durable.len() {
            2 => taken.durable[0].position,
            _ => 0,
        };
        let after = self.taken.values().map(second).min().unwrap_or(0);
        let durable = self.taken.values().flat_map(|taken| &taken.durable);
        let waiting = durable.flat_map(|durable| durable.waiting.iter().copied());
        let needed = self.centre.needed().chain(waiting);
        // What is kept first: nobody may evict up to `after` by the list of an earlier snapshot.
        let mut looked_at: i64 = 0;
        let needed = needed.inspect(|_| looked_at = looked_at.saturating_add(1));
        self.progress.keep(needed.filter(|position| *position <= after).collect());
        spool::fail_point!("evaluator.hold");
        self.progress.snapshot(after);
        looked_at
    }

    /// A position of the present start of the centre.
    fn here(&self) -> Position {
        let here = self.log.shared().lineage.here(self.position);
        Position { log_id: here.log_id, position: here.position }
    }

    fn show(&mut self) {
        let now = self.clock.mono_ms();
        if now.saturating_sub(self.shown_at) < SHOW_INTERVAL_MS {
            return;
        }
        self.shown_at = now;
        let before = self.board.gateways();
        let mut shown = BTreeMap::new();
        for (name, progress) in self.centre.progress() {
            let rules = before.get(name).map(|board| Arc::clone(&board.rules)).unwrap_or_default();
            shown.insert(name.to_owned(), GatewayBoard { rules, progress });
        }
        let names: Vec<String> = shown.keys().cloned().collect();
        let next = names.partition_point(|name| *name <= self.shown);
        let (behind, ahead) = names.split_at(next);
        let mut count = 0;
        for name in ahead.iter().chain(behind) {
            let rules = self.centre.states(name);
            count += rules.len();
            if let Some(board) = shown.get_mut(name) {
                board.rules = Arc::new(rules);
            }
            self.shown.clone_from(name);
            if count >= SHOW_RULES_MAX {
                break;
            }
        }
        self.board.show(shown);
    }

    fn ask<T, F>(&self, question: impl FnOnce(State) -> F) -> Result<T, CursorError>
    where
        F: Future<Output = Result<T, StateError>>,
    {
        self.runtime.block_on(question(self.state.clone())).map_err(CursorError::State)
    }
}
