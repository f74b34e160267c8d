//! The settled and the live evaluator of one gateway, as a pure function of the centre's log records (design §7).
//!
//! Called by the centre with every record of the log that concerns the gateway, in log order. It has no clock and
//! does no I/O; the one way back to a block that waits too long to be held is [`Reread`].
//!
//! ```text
//!             in log order                in the one order: chain, seq
//! record ──► [order: waiting blocks] ──► settled lane ──► verdict journal
//!                    │ hole?                  │ no hole: the settled lane is the live one
//!                    └──────► fork ───────────┴──────────► duty: told, amends
//!                             tick ──► look ahead ───────┘
//! ```
//!
//! The verdict journal depends on the blocks, their order and the places of facts, never on times of arrival.
//! The duty journal is the same for the same log, whatever the restarts.

mod duty;
mod lane;
mod order;
pub mod output;
pub mod record;
pub mod resume;
mod spans;
pub mod step;
mod unseen;

use serde::{Deserialize, Serialize};

use duty::{By, Duty, Moment};
use lane::Lane;
use order::{Arrived, Next, Order};

pub use duty::{PAGE_HORIZON_MS, SAID_MAX, SPOKEN_MAX, page_late};
pub use order::{
    EPOCHS_KNOWN_MAX, EPOCHS_PASSED_MAX, Limits, UNJOINED_BLOCKS_MAX, WAITING_BLOCKS_MAX,
    WAITING_BYTES_MAX,
};
pub use output::{DutyEvent, Output, Page, Reason};
pub use record::{
    BlockClock, BlockKey, BlockRecord, FactRecord, Record, Reread, RereadError, Row, SERIES_MAX,
    SeriesTable, Span,
};
pub use resume::{Past, PastBlock, StandingAlarm};
pub use step::{Ms, Step, Turn, Verdict};
pub use unseen::UNSEEN_MAX;

/// How far the look ahead stays behind the gateway's present, ms: blocks that are on their way get this long.
pub const LIVE_GRACE_MS: Ms = 2_000;

/// Rows that the settled lane judges at one record of its own gateway at most; what is left it judges at the next ones.
/// A gateway that brings a day behind a hole must not let the alarms of all others wait until it is judged.
pub const SETTLE_ROWS_MAX: usize = 16_384;
/// The same for a tick, which every gateway takes in the same moment.
pub const SETTLE_TICK_ROWS_MAX: usize = 1_024;
/// What a block counts for at least, rows.
const SETTLE_BLOCK_ROWS: usize = 16;
/// A block that was closed so long before it arrived is none of the present, ms: a gateway closes one at least each 10 s.
const BACK_MS: Ms = 20_000;

/// Why the settled lane stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    /// The next block is not there, or cannot be read now.
    Hole,
    /// It has judged as much as one record may cost.
    Enough,
}

/// How far the evaluator is, for the status page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// The block that the settled lane needs next.
    pub next: Option<BlockKey>,
    /// Event time of the settled lane, ms.
    pub settled_at: Option<Ms>,
    /// Event time of the live lane, ms.
    pub live_at: Option<Ms>,
    /// Blocks that wait behind a hole.
    pub waiting: usize,
    /// Whether the live lane has gone on behind a hole.
    pub is_forked: bool,
}

/// The evaluator of one gateway. Clone and serialisable: a snapshot holds all of it but the bodies of waiting blocks.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(bound = "")]
pub struct Evaluator<S: Step> {
    position: u64,
    series: SeriesTable<S>,
    order: Order<S::Quality>,
    settled: Lane<S>,
    /// The live lane where it has gone on behind a hole.
    fork: Option<Lane<S>>,
    /// The newest block that the live lane took, or would have taken if its clock had been set.
    live_key: Option<BlockKey>,
    /// The settled lane has passed over missing blocks since its last one.
    broken: bool,
    started_at: Ms,
    /// The centre's time of the newest record that has one.
    now: Ms,
    duty: Duty<S::Transition>,
    /// The live lane ahead of its last block, as ticks moved it.
    #[serde(skip)]
    ahead: Option<Lane<S>>,
    /// What the look ahead has said since the last block.
    looked: Vec<<S::Transition as Verdict>::Key>,
}

impl<S: Step> Evaluator<S> {
    /// Begins before the first record, with an engine that has seen nothing.
    #[must_use]
    pub fn new(engine: S, limits: Limits) -> Self {
        Self {
            position: 0,
            series: SeriesTable::default(),
            order: Order::new(limits),
            settled: Lane::new(engine),
            fork: None,
            live_key: None,
            broken: false,
            started_at: Ms::MIN,
            now: Ms::MIN,
            duty: Duty::default(),
            ahead: None,
            looked: Vec::new(),
        }
    }

    /// Takes the record at `position` of the log. Positions only grow; one that was taken already changes nothing.
    pub fn record(
        &mut self,
        position: u64,
        record: Record<S>,
        reread: &mut dyn Reread<S>,
        out: &mut Vec<Output<S::Transition>>,
    ) {
        if position <= self.position {
            return;
        }
        self.position = position;
        match record {
            Record::Block(block) => self.block(position, block, reread, out),
            Record::Chain { epoch, last } => {
                self.order.join(epoch, last);
                self.settle_without_block(reread, out);
            }
            Record::Gone(spans) => {
                self.order.declare(&spans);
                self.settle_without_block(reread, out);
            }
            Record::Facts(facts) => {
                for FactRecord { fact, at, revision } in facts {
                    self.fact(fact, at, revision, out);
                }
            }
            Record::Start { at } => {
                self.started_at = at;
                self.now = at;
                // A clock that was set back meanwhile: nothing was received after now.
                self.each_lane(|lane| lane.move_heard(|heard| heard.min(at)));
            }
            Record::Stepped { at, by } => {
                self.started_at = self.started_at.saturating_add(by);
                self.now = at;
                self.each_lane(|lane| lane.move_heard(|heard| heard.saturating_add(by)));
            }
            Record::Tick { at } => self.tick(at, reread, out),
        }
    }

    /// The numbers of this gateway's series, to make records with.
    pub fn series(&mut self) -> &mut SeriesTable<S> {
        &mut self.series
    }

    /// The engine of the live lane: what the rules page shows.
    #[must_use]
    pub fn live(&self) -> &S {
        &self.fork.as_ref().unwrap_or(&self.settled).engine
    }

    /// The engine of each lane, so that what is the same in all evaluators can be shared.
    pub fn engines_mut(&mut self) -> impl Iterator<Item = &mut S> {
        [&mut self.settled].into_iter().chain(&mut self.fork).map(|lane| &mut lane.engine)
    }

    /// The newest block that the live lane has met.
    #[must_use]
    pub fn head(&self) -> Option<BlockKey> {
        self.live_key
    }

    /// The alarms as duty staff are to see them, each with whether they are to have been paged for it.
    pub fn told(&self) -> impl Iterator<Item = (&S::Transition, bool)> {
        self.duty.told()
    }

    /// Event time of the newest sample of the live lane, where that is young enough at `now` to page for.
    #[must_use]
    pub fn present(&self, now: Ms) -> Option<Ms> {
        let moment = self.moment(self.live_lane(), now);
        moment.sample_at.filter(|_| moment.is_current())
    }

    /// Position of the last record that was taken.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// How far it is.
    #[must_use]
    pub fn progress(&self) -> Progress {
        Progress {
            next: self.order.place(),
            settled_at: self.settled.now,
            live_at: self.live_lane().now,
            waiting: self.order.waiting_count(),
            is_forked: self.fork.is_some(),
        }
    }

    /// Whether an epoch is, or was, in its chain.
    #[must_use]
    pub fn knows(&self, epoch: u64) -> bool {
        self.order.knows(epoch)
    }

    /// Positions of log records that it still needs.
    pub fn needed(&self) -> impl Iterator<Item = u64> + '_ {
        self.order.positions()
    }

    fn each_lane(&mut self, change: impl Fn(&mut Lane<S>)) {
        let lanes = [Some(&mut self.settled), self.fork.as_mut(), self.ahead.as_mut()];
        lanes.into_iter().flatten().for_each(change);
    }

    fn live_lane(&self) -> &Lane<S> {
        self.fork.as_ref().unwrap_or(&self.settled)
    }

    fn block(
        &mut self,
        position: u64,
        block: Box<BlockRecord<S::Quality>>,
        reread: &mut dyn Reread<S>,
        out: &mut Vec<Output<S::Transition>>,
    ) {
        let key = block.key;
        let now = block.received_at;
        self.now = now;
        let is_back = now - block.clock.closed_at > BACK_MS;
        let is_newest = self.order.is_after(key, self.live_key);
        // The fork may need the block before its turn; a clone is made only behind a hole.
        let copy = (is_newest && !self.order.is_next(key)).then(|| block.clone());
        match self.order.arrive(position, block) {
            Arrived::Waits => {}
            Arrived::Late | Arrived::Passed => out.push(Output::Late { key }),
        }
        let (moved, mut stop) = self.settle(now, SETTLE_ROWS_MAX, reread, out);
        while stop == Stop::Hole
            && let Some((from, next)) = self.order.give_up()
        {
            out.push(Output::GivenUp { from, next });
            (_, stop) = self.settle(now, SETTLE_ROWS_MAX, reread, out);
        }
        let goes_on = self.is_on_unplaced() && (is_back || !self.order.knows(key.epoch));
        if self.order.is_run_through() && !goes_on {
            self.at_head(now, moved, out);
        } else if is_newest && self.order.is_waiting(key) {
            if let Some(copy) = copy {
                self.go_on(&copy, now, out);
            }
        } else {
            self.check_live(now, out);
        }
    }

    /// Whether the live lane follows an epoch that has no place yet. As long as nothing of the present comes of one that has, it
    /// stays there: several places may become known one after the other, some only when an older epoch has been silent for a
    /// while, and what was said meanwhile would be taken back.
    fn is_on_unplaced(&self) -> bool {
        self.fork.is_some() && self.live_key.is_some_and(|key| !self.order.knows(key.epoch))
    }

    fn settle_without_block(
        &mut self,
        reread: &mut dyn Reread<S>,
        out: &mut Vec<Output<S::Transition>>,
    ) {
        let moved = self.settle_on(SETTLE_ROWS_MAX, reread, out);
        self.look_for_head(moved, out);
    }

    fn settle_on(
        &mut self,
        rows: usize,
        reread: &mut dyn Reread<S>,
        out: &mut Vec<Output<S::Transition>>,
    ) -> bool {
        self.settle(self.now, rows, reread, out).0
    }

    fn look_for_head(&mut self, moved: bool, out: &mut Vec<Output<S::Transition>>) {
        if self.order.is_run_through() && !self.is_on_unplaced() {
            self.at_head(self.now, moved, out);
        }
    }

    /// Runs the settled lane as far as the blocks reach, over about `rows` rows; tells whether it moved and why it stopped.
    fn settle(
        &mut self,
        now: Ms,
        rows: usize,
        reread: &mut dyn Reread<S>,
        out: &mut Vec<Output<S::Transition>>,
    ) -> (bool, Stop) {
        let (mut moved, mut left) = (false, rows);
        while left > 0 {
            match self.order.next() {
                Next::Hole => return (moved, Stop::Hole),
                Next::Declared => self.broken = true,
                Next::TimeUnknown { key, position } => {
                    self.broken = true;
                    moved = true;
                    out.push(Output::TimeUnknown { key, position });
                }
                Next::Block { key, position, unset, body } => {
                    let block = match body {
                        Some(block) => block,
                        None => match reread.block(position, &mut self.series) {
                            Ok(block) => block,
                            Err(error) => {
                                let is_lost = matches!(error, RereadError::Lost { .. });
                                out.push(Output::Unreadable { key, error });
                                if is_lost {
                                    self.broken = true;
                                    moved = true;
                                    continue;
                                }
                                self.order.put_back(key, position, unset);
                                return (moved, Stop::Hole);
                            }
                        },
                    };
                    moved = true;
                    left = left.saturating_sub(block.rows.len().max(SETTLE_BLOCK_ROWS));
                    self.settle_block(&block, now, out);
                }
            }
        }
        (moved, Stop::Enough)
    }

    fn settle_block(
        &mut self,
        block: &BlockRecord<S::Quality>,
        now: Ms,
        out: &mut Vec<Output<S::Transition>>,
    ) {
        let Some(shift) = block.shift(self.order.offset(block.clock.boot)) else { return };
        let mut turns = Vec::new();
        self.settled.take(block, shift, self.broken, &self.series, &mut turns);
        self.broken = false;
        let at = self.moment(&self.settled, now);
        for turn in turns {
            out.push(Output::Verdict(turn.clone()));
            if self.fork.is_some() {
                self.duty.behind(turn, at, out);
            } else {
                self.duty.settled(turn, at, out);
            }
        }
        if self.fork.is_none() {
            self.live_key = Some(block.key);
            self.look_from_here();
        }
    }

    /// Nothing waits: the settled lane is at the head and is the live one.
    fn at_head(&mut self, now: Ms, moved: bool, out: &mut Vec<Output<S::Transition>>) {
        let at = self.moment(&self.settled, now);
        if self.fork.take().is_some() {
            self.look_from_here();
            let to = self.settled.reached();
            self.duty.join(&self.settled.standing, to, at, out);
        } else if moved {
            let to = self.settled.reached();
            self.duty.passed(to, &self.settled.standing, at, out);
        }
        if moved {
            self.duty.at_head(at, out);
        }
    }

    /// Behind a hole the live lane goes on with the newest block.
    fn go_on(
        &mut self,
        block: &BlockRecord<S::Quality>,
        now: Ms,
        out: &mut Vec<Output<S::Transition>>,
    ) {
        let before = self.live_key.replace(block.key);
        self.look_from_here();
        let fork = self.fork.get_or_insert_with(|| self.settled.clone());
        let Some(shift) = block.shift(self.order.offset(block.clock.boot)) else { return };
        let follows = before.is_some_and(|before| {
            before.epoch == block.key.epoch && before.seq + 1 == block.key.seq
        });
        let mut turns = Vec::new();
        fork.take(block, shift, !follows, &self.series, &mut turns);
        self.told_by_fork(turns, now, out);
    }

    fn told_by_fork(
        &mut self,
        turns: Vec<S::Transition>,
        now: Ms,
        out: &mut Vec<Output<S::Transition>>,
    ) {
        let Some(fork) = &self.fork else { return };
        let at = self.moment(fork, now);
        for turn in turns {
            self.duty.live(turn, By::Block, at, out);
        }
        let to = fork.reached();
        self.duty.passed(to, &fork.standing, at, out);
        self.duty.at_head(at, out);
    }

    /// A block came that moved only the settled lane behind the hole.
    fn check_live(&mut self, now: Ms, out: &mut Vec<Output<S::Transition>>) {
        let at = self.moment(self.live_lane(), now);
        self.duty.at_head(at, out);
    }

    /// The fork goes first, so that the settled lane finds what it said already.
    fn fact(&mut self, fact: S::Fact, at: Ms, revision: u64, out: &mut Vec<Output<S::Transition>>) {
        out.push(Output::Placed { revision, before: self.order.place() });
        let now = self.now;
        self.ahead = None;
        if let Some(fork) = &mut self.fork {
            let mut turns = Vec::new();
            fork.fact(fact.clone(), at, &mut turns);
            self.told_by_fork(turns, now, out);
        }
        let mut turns = Vec::new();
        let dropped = self.settled.fact(fact, at, &mut turns);
        out.extend(dropped.map(|at| Output::FactDropped { at }));
        let moment = self.moment(&self.settled, now);
        for turn in turns {
            out.push(Output::Verdict(turn.clone()));
            if self.fork.is_some() {
                self.duty.behind(turn, moment, out);
            } else {
                self.duty.settled(turn, moment, out);
            }
        }
        self.check_live(now, out);
    }

    /// Time passed: a delay or a wait for silence may have run out without a sample.
    fn tick(&mut self, now: Ms, reread: &mut dyn Reread<S>, out: &mut Vec<Output<S::Transition>>) {
        self.now = now;
        let moved = self.order.has_next() && self.settle_on(SETTLE_TICK_ROWS_MAX, reread, out);
        if moved || self.fork.is_some() {
            self.look_for_head(true, out);
        }
        let Some(head) = self.live_lane().head else { return };
        let heard_at = head.received_at.max(self.started_at);
        let to = head.at + (now - heard_at) - LIVE_GRACE_MS;
        if to <= head.at {
            return;
        }
        if self.ahead.is_none() && self.live_lane().due().is_none_or(|due| due >= to) {
            return;
        }
        let live = self.fork.as_ref().unwrap_or(&self.settled);
        let ahead = self.ahead.get_or_insert_with(|| live.clone());
        if ahead.due().is_none_or(|due| due >= to) {
            return;
        }
        let mut turns = Vec::new();
        ahead.look(to, &mut turns);
        for turn in turns {
            let at = Moment { now, sample_at: Some(turn.time()) };
            // A look ahead is made anew after a restart or a fact and then finds the same again.
            // And that a gateway is not heard says nothing about its devices.
            if !turn.is_silence() && !self.looked.contains(&turn.key()) {
                self.looked.push(turn.key());
                self.duty.live(turn, By::Tick, at, out);
            }
        }
    }

    fn look_from_here(&mut self) {
        self.ahead = None;
        self.looked.clear();
    }

    fn moment(&self, lane: &Lane<S>, now: Ms) -> Moment {
        Moment { now, sample_at: lane.head.map(|head| head.sample_at) }
    }
}

#[cfg(test)]
mod tests;
