//! The receiver's thread: gathers messages, decides, commits, then acks. The one writer of the durable log.
//!
//! ```text
//! inbox ─► group (≤ 5 ms, ≤ 1 MiB) ─► Receiver in a transaction ─► quarantine ─► commit
//!                       then: tail for the cursors · newest values · PUBACK in order of receipt · acks to gateways
//! ```
//!
//! A group that cannot be committed changes nothing and acks nothing to a gateway; the broker gets its PUBACK all the
//! same, because it is transport and the gateway still has the blocks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver as Inbox, RecvTimeoutError};
use std::time::Duration;

use spool::{Class, Log, Txn};
use tokio::sync::mpsc::Sender;
use tokio_util::sync::CancellationToken;
use wire::frame::{self, Kind};
use wire::topic::{Topic, TopicKind};

use super::admit::{Intake, LIVE_MS};
use super::directory::KeyRing;
use super::{Directory, Effects, Inbound, Outcome, Receiver, Room};
use crate::ack;
use crate::chain_of;
use crate::clock::Clock;
use crate::completeness::Completeness;
use crate::live::Live;
use crate::log::record::CentreRecord;
use crate::log::{DecodedBlock, Follower, Progress, Shared};
use crate::metrics::{Metrics, Word, gauge};
use crate::quarantine::Quarantine;
use crate::registry::{Registrar, Registry};
use crate::selfwatch::{Watched, is_synthetic};

mod counting;
mod group;
mod house;
mod pace;
mod replay;

pub use group::{Delivery, Ticket, ToWorker};

use counting::Counting;
use group::{Group, gather};
use pace::Pace;

#[cfg(test)]
mod tests;

/// How often the receiver looks at the clock when nothing arrives.
const IDLE: Duration = Duration::from_millis(200);
/// Time between two ticks, ms.
const TICK_MS: i64 = 1_000;
/// The clock was set where it differs by more than this from what passed since the last look, ms.
const STEP_MS: i64 = 5_000;

/// Acks deliveries to the broker, in order.
pub trait Acker: Send + Sync + std::fmt::Debug {
    /// Acks them, where their connection still is.
    fn ack(&self, tickets: &[Ticket]);
}

/// A frame for a gateway.
#[derive(Debug)]
pub struct Outgoing {
    /// Its topic.
    pub topic: Topic,
    /// The frame.
    pub frame: Vec<u8>,
}

/// What the receiver works with.
#[derive(Debug)]
pub struct Works {
    /// The durable log.
    pub log: Log,
    /// What the cursors share.
    pub shared: Arc<Shared>,
    /// How far the cursors are.
    pub progress: Arc<Progress>,
    /// Where blocks are set aside.
    pub quarantine: Arc<Quarantine>,
    /// Newest values and gateways.
    pub live: Arc<Live>,
    /// Keys and sites.
    pub registrar: Arc<Registrar>,
    /// The centre's time.
    pub clock: Arc<dyn Clock>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Set while the log does not take records.
    pub failing: Arc<AtomicBool>,
    /// Acks deliveries to the broker.
    pub acker: Arc<dyn Acker>,
    /// Towards the gateways.
    pub outbox: Sender<Outgoing>,
    /// Bytes of one gateway's blocks beyond which its backfill waits.
    pub gateway_quota: u64,
    /// A hole older than this is given up, ms.
    pub hole_max_ms: i64,
}

/// The receiver's thread.
#[derive(Debug)]
pub struct Worker {
    works: Works,
    receiver: Receiver,
    ring: KeyRing,
    watched: Option<Arc<Watched>>,
    counting: Option<Counting>,
    ticked_at: i64,
    housed_at: i64,
    /// Wall time minus monotonic time at the last look, ms.
    offset: i64,
    crowded: bool,
    /// Whether the log takes no block at all, at the last commit.
    full: bool,
    /// Two busy snapshot intervals would not fit into the log's reserve.
    too_small: bool,
    intake: Intake,
    pace: Pace,
    /// Damaged records taken out of the log.
    discarded: usize,
    /// The quarantine says of replays what the log says.
    reconciled: bool,
}

/// Why the receiver ends before it is told to.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The log is damaged or cannot be used at all.
    #[error("the durable log cannot be used")]
    Log(#[from] spool::Error),
    /// Damaged records were taken out of the log.
    #[error(
        "{records} damaged record(s) were taken out of the log: starting anew makes the gateways send them again"
    )]
    Discarded {
        /// How many.
        records: usize,
    },
}

impl Worker {
    /// A worker over what the log kept.
    #[must_use]
    pub fn new(works: Works, receiver: Receiver) -> Self {
        let ring = ring_of(&works.registrar.current(), None);
        let offset = offset(&*works.clock);
        Self {
            works,
            receiver,
            ring,
            watched: None,
            counting: None,
            ticked_at: 0,
            housed_at: 0,
            offset,
            crowded: false,
            full: false,
            too_small: false,
            intake: Intake::default(),
            pace: Pace::default(),
            discarded: 0,
            reconciled: false,
        }
    }

    /// Takes the centre's own gateway too, and notes how far its samples come.
    #[must_use]
    pub fn watched(mut self, watched: Option<Arc<Watched>>) -> Self {
        self.ring = ring_of(&self.works.registrar.current(), watched.as_deref());
        self.watched = watched;
        self
    }

    /// Counts what comes of each site; `follower` reads blocks of late clocks again.
    #[must_use]
    pub fn counting(mut self, completeness: Arc<Completeness>, follower: Follower) -> Self {
        self.counting = Some(Counting { completeness, follower });
        self
    }

    /// Runs until `stop` or until nobody can send any more. What is in the inbox then is committed first.
    ///
    /// # Errors
    /// When the log is damaged: opening it again salvages what can be read, and gateways send what is lost again.
    pub fn run(
        mut self,
        inbox: &Inbox<ToWorker>,
        stop: &CancellationToken,
    ) -> Result<(), WorkerError> {
        loop {
            let stopping = stop.is_cancelled();
            let group = match inbox.recv_timeout(if stopping { Duration::ZERO } else { IDLE }) {
                Ok(first) => gather(first, inbox),
                Err(RecvTimeoutError::Timeout) if !stopping => Group::default(),
                Err(_) => return Ok(()),
            };
            self.round(group)?;
        }
    }

    /// One round without waiting, for a simulator: what [`Worker::run`] does with what is in the inbox.
    ///
    /// # Errors
    /// As [`Worker::run`].
    pub fn take(&mut self, items: impl IntoIterator<Item = ToWorker>) -> Result<(), WorkerError> {
        let mut group = Group::default();
        items.into_iter().for_each(|item| group.add(item));
        self.round(group)
    }

    /// The receive rules with what they remember, for whoever checks them.
    #[must_use]
    pub fn receiver(&self) -> &Receiver {
        &self.receiver
    }

    /// The durable log, for whoever checks it.
    #[must_use]
    pub fn log(&self) -> &Log {
        &self.works.log
    }

    /// Keeps so many bytes free on the log's disk from now on: beyond what is free it is a full disk.
    pub fn keep_free(&mut self, bytes: u64) {
        self.works.log.keep_free(bytes);
    }

    fn round(&mut self, group: Group) -> Result<(), WorkerError> {
        self.follow_registry();
        self.commit(group)?;
        self.replay()?;
        self.keep_house()?;
        if self.discarded > 0 {
            // A gateway lets go of what this start has acked; only another start's id makes it send that again.
            return Err(WorkerError::Discarded { records: self.discarded });
        }
        self.send_acks();
        Ok(())
    }

    fn follow_registry(&mut self) {
        let registry = self.works.registrar.current();
        if let Some(counting) = &self.counting {
            counting.completeness.follow(&registry, self.works.clock.now_ms());
        }
        if registry.revision != self.ring.revision {
            self.ring = ring_of(&registry, self.watched.as_deref());
            // It may be known now; if it is not, its next message says so again.
            let now = self.works.clock.now_ms();
            self.works.live.standing("unknown_gateway", false, now, String::new);
        }
    }

    /// Decides about a group, makes it durable, then tells everybody.
    fn commit(&mut self, group: Group) -> Result<(), spool::Error> {
        let now = self.works.clock.now_ms();
        let tick = now - self.ticked_at >= TICK_MS || now < self.ticked_at;
        let offset = offset(&*self.works.clock);
        let by = offset.saturating_sub(self.offset);
        let step = (by.abs() > STEP_MS).then_some(by);
        if group.messages.is_empty() && group.facts.is_empty() && !tick && step.is_none() {
            self.works.acker.ack(&group.tickets);
            return Ok(());
        }
        self.receiver.set_quarantine_full(self.works.quarantine.full());
        match self.transact(&group, tick, step, now) {
            Ok(logged) => {
                if let Some(by) = step {
                    tracing::warn!(by_ms = by, "the centre's clock was set");
                }
                self.offset = offset;
                self.ticked_at = if tick { now } else { self.ticked_at };
                self.works.metrics.commits.inc();
                if let Some(counting) = self.counting.as_ref().filter(|_| tick) {
                    counting.completeness.kept(self.works.shared.tail.head());
                }
                let effects = self.receiver.committed();
                self.tell(effects, now);
                for ((_, told), position) in group.facts.into_iter().zip(logged) {
                    if told.send(position).is_err() {
                        tracing::debug!(position, "nobody waits for a fact that was logged");
                    }
                }
                if self.works.failing.swap(false, Ordering::Relaxed) {
                    tracing::info!("the log takes records again");
                }
            }
            Err(failed) => self.failed(failed)?,
        }
        spool::fail_point!("puback.group");
        self.works.acker.ack(&group.tickets);
        spool::fail_point!("puback.after");
        Ok(())
    }

    fn transact(
        &mut self,
        group: &Group,
        tick: bool,
        step: Option<i64>,
        now: i64,
    ) -> Result<Vec<u64>, Failed> {
        let works = &mut self.works;
        let (used, bound) = works.log.size().map_err(Failed::Log)?;
        let two_intervals = self.intake.two_intervals();
        let room = Room { used, bound, gateway_quota: works.gateway_quota, two_intervals };
        (self.crowded, self.too_small) = (room.is_crowded(), room.is_too_small());
        self.full = room.is_full();
        works.metrics.log_bytes.set(gauge(used));
        works.metrics.log_bytes_max.set(gauge(bound));
        let mut txn = works.log.begin();
        if let Some(by) = step {
            self.receiver.clock_stepped(&mut txn, by, now);
        }
        for message in &group.messages {
            spool::fail_point!("receive.message");
            let inbound =
                Inbound { gateway: &message.topic.gateway, frame: &message.payload, at: now };
            match message.topic.kind {
                TopicKind::Up => {
                    let outcome = self.receiver.receive(&mut txn, &self.ring, &room, inbound);
                    let outcome = outcome.map_err(Failed::Log)?;
                    // What an earlier start left at the broker is of another key: nothing to tell anybody.
                    if !is_synthetic(message.topic.gateway.as_str()) {
                        count(&works.metrics, outcome);
                    }
                }
                TopicKind::State => {
                    match self.receiver.receive_state(&mut txn, &self.ring, inbound) {
                        Ok(Some(state)) => {
                            // What the broker kept says nothing of now, and its counter is an old one.
                            if !message.retained {
                                self.receiver.heard_state(&state, now);
                            }
                            works.live.state(&state, now, message.retained);
                        }
                        Ok(None) => {}
                        Err(code) => works.metrics.dropped(code),
                    }
                }
                TopicKind::Ack | TopicKind::Cmd => works.metrics.dropped("topic"),
            }
        }
        let mut logged = Vec::with_capacity(group.facts.len());
        for (fact, _) in &group.facts {
            logged.push(self.receiver.log_centre(&mut txn, CentreRecord::Fact(fact.clone()), now));
        }
        if tick {
            if let Some(counting) = &self.counting {
                counting.completeness.keep(&mut txn, works.shared.tail.head());
            }
            self.receiver.settle_quiet(&mut txn, now).map_err(Failed::Log)?;
            self.receiver.log_centre(&mut txn, CentreRecord::Tick, now);
        }
        let bytes = txn.bytes();
        finish(&mut self.receiver, &works.quarantine, txn)?;
        self.intake.add(bytes, works.clock.mono_ms());
        Ok(logged)
    }

    /// After a commit: the cursors, the newest values, people.
    fn tell(&mut self, effects: Effects, now: i64) {
        if let Some(counting) = &mut self.counting {
            effects.records.iter().for_each(|record| counting.count(record));
        }
        let works = &self.works;
        let blocks = || effects.records.iter().filter_map(|r| r.block());
        let of_centre = |block: &&Arc<DecodedBlock>| is_synthetic(block.gateway.as_str());
        blocks().filter(of_centre).for_each(|block| self.mark(block));
        let of_plants = || blocks().filter(|block| !of_centre(block));
        let samples: usize = of_plants().map(|block| block.readings.sample_count()).sum();
        works.metrics.samples.inc_by(samples as u64);
        for block in of_plants().filter(|block| !block.is_unset()) {
            let age = now.saturating_sub(block.block.clock.closed_at);
            if age <= LIVE_MS {
                self.pace.live(age);
            }
        }
        works.live.blocks(of_plants());
        spool::fail_point!("tail.before");
        works.shared.tail.push(effects.records);
        spool::fail_point!("tail.after");
        for set_aside in &effects.quarantined {
            works.metrics.quarantined.get_or_create(&Word { code: set_aside.code }).inc();
        }
        let is_own = |gateway: &Option<_>| {
            gateway.as_ref().is_some_and(|g: &wire::GatewayName| is_synthetic(g.as_str()))
        };
        for notice in effects.notices.into_iter().filter(|notice| !is_own(&notice.gateway)) {
            let gateway = notice.gateway.as_ref().map(ToString::to_string).unwrap_or_default();
            // Once: whoever can publish at the broker must not be able to fill the disk with log lines.
            if works.live.notice(notice.code, &gateway, &notice.text, now) {
                tracing::error!(code = notice.code, gateway, text = %notice.text, "notice");
            }
        }
        works.metrics.log_position.set(gauge(works.shared.tail.head()));
    }

    /// A block of the centre's own is in the log.
    fn mark(&self, block: &DecodedBlock) {
        let own = self.watched.as_ref().filter(|watched| watched.epoch == block.block.epoch);
        if let Some(watched) = own {
            watched.marks.logged(block.block.seq);
        }
    }

    fn failed(&mut self, failed: Failed) -> Result<(), spool::Error> {
        self.receiver.rolled_back();
        self.works.metrics.commit_failures.inc();
        if !self.works.failing.swap(true, Ordering::Relaxed) {
            tracing::error!(error = %chain_of(&failed), "the log does not take records; nothing is acked to gateways until it does");
        }
        match failed {
            Failed::Log(error) if error.class() == Class::Reopen => Err(error),
            _ => Ok(()),
        }
    }

    fn send_acks(&mut self) {
        let works = &mut self.works;
        let head = works.shared.tail.head();
        // One that fails is not helped by waiting.
        let judged = match works.progress.is_evaluator_failing() {
            true => head,
            false => works.progress.judged_position(),
        };
        self.pace.look(works.clock.mono_ms(), head, judged);
        let said = ack::Said {
            now: works.clock.now_ms(),
            slow_down: self.crowded || self.pace.is_behind(),
            fact_revision: works.registrar.current().fact_revision,
        };
        let txn = works.log.begin();
        for (gateway, ack) in ack::due(&mut self.receiver, &txn, &said) {
            // Nobody waits for it at the broker.
            if is_synthetic(gateway.as_str()) {
                continue;
            }
            let Some(known) = self.ring.gateway(&gateway) else { continue };
            let frame = frame::seal(&known.key, Kind::Ack, &ack.encode());
            let topic = Topic::new(gateway, TopicKind::Ack);
            spool::fail_point!("ack.before");
            // A full outbox means that the broker is away: acks are repeated.
            if works.outbox.try_send(Outgoing { topic, frame }).is_ok() {
                works.metrics.acks.inc();
                spool::fail_point!("ack.after");
            }
        }
    }
}

/// The registry's gateways, and the centre's own.
fn ring_of(registry: &Registry, watched: Option<&Watched>) -> KeyRing {
    let mut ring = KeyRing::of(registry);
    if let Some(watched) = watched {
        ring.insert(watched.name.clone(), watched.known());
    }
    ring
}

fn offset(clock: &dyn Clock) -> i64 {
    clock.now_ms().saturating_sub(clock.mono_ms())
}

/// Makes the transaction durable: first what it sets aside, then the log.
fn finish(
    receiver: &mut Receiver,
    quarantine: &Quarantine,
    mut txn: Txn<'_>,
) -> Result<(), Failed> {
    receiver.seal(&mut txn);
    spool::fail_point!("log.sealed");
    if !receiver.quarantined().is_empty() {
        quarantine.put(receiver.quarantined()).map_err(Failed::Quarantine)?;
        spool::fail_point!("quarantine.kept");
    }
    spool::fail_point!("log.commit.before");
    txn.commit().map_err(Failed::Log)?;
    spool::fail_point!("log.commit.after");
    Ok(())
}

fn count(metrics: &Metrics, outcome: Outcome) {
    let code = match outcome {
        Outcome::Logged => "logged",
        Outcome::Duplicate => "duplicate",
        Outcome::Manifest => "manifest",
        Outcome::Rejected(_) => "rejected",
        Outcome::Refused(code) => {
            metrics.refusals.get_or_create(&Word { code }).inc();
            "refused"
        }
        Outcome::Dropped(code) => return metrics.dropped(code),
    };
    metrics.messages.get_or_create(&Word { code }).inc();
}

/// Why a group was not committed.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error("the log cannot be used")]
    Log(#[source] spool::Error),
    #[error("the quarantine cannot be used")]
    Quarantine(#[source] crate::quarantine::QuarantineError),
}
