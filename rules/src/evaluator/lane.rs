//! One engine on its way through the blocks of a gateway: the settled one, the fork behind a hole, or a look ahead.
//!
//! Called by the evaluator only. A lane knows event time; it must never see a receive time except to remember
//! that of its newest block.

use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::record::{BlockRecord, SeriesTable};
use super::resume::StandingAlarm;
use super::step::{Ms, Step, Verdict};

/// Facts that may lie ahead of a lane; beyond it the one worth least, and of these the farthest, is dropped.
pub(super) const FACTS_AHEAD_MAX: usize = 4_096;
/// A new epoch whose first time lies more than this before the lane's time opens a time segment, ms (design §3).
const STEP_BACK_MS: Ms = 1_000;

/// A clock that gains more than this on the monotonic clock between two blocks was set forward, ms.
const STEP_FORWARD_MS: Ms = 1_000;

/// Steps back that one hole may hide; a gateway's clock that steps more often is not worth numbering.
const STEPS_MAX: u32 = 64;

/// Whether the engine reads a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bound {
    Unasked,
    Unread,
    To(u32),
}

/// The newest block of a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    /// The lane's time after it, ms of event time.
    pub(super) at: Ms,
    /// Event time of its newest sample, or of its closing where it has none.
    pub(super) sample_at: Ms,
    /// When the centre received it.
    pub(super) received_at: Ms,
}

/// See the module.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(bound = "")]
pub(super) struct Lane<S: Step> {
    pub(super) engine: S,
    /// What is active, with the transition that brought it to its level.
    pub(super) standing: BTreeMap<Condition<S>, S::Transition>,
    pub(super) now: Option<Ms>,
    pub(super) head: Option<Head>,
    /// Facts that lie ahead, by time and then in the order of recording.
    facts: BTreeMap<(Ms, u64), S::Fact>,
    facts_taken: u64,
    place: Option<(u64, u32)>,
    /// Blocks are missing since the last time that was believed.
    missing: bool,
    /// Boot of the newest block, and its closing time minus its monotonic time, ms.
    offset: Option<(u64, Ms)>,
    /// Time segments so far, numbered as the engine numbers them: from 0, one more at each step back.
    segment: u32,
    #[serde(skip)]
    bound: Vec<Bound>,
}

/// What a step's conditions are named by.
pub(super) type Condition<S> = <<S as Step>::Transition as Verdict>::Condition;

impl<S: Step> Lane<S> {
    pub(super) fn new(engine: S) -> Self {
        Self {
            engine,
            standing: BTreeMap::new(),
            now: None,
            head: None,
            facts: BTreeMap::new(),
            facts_taken: 0,
            place: None,
            missing: false,
            offset: None,
            segment: 0,
            bound: Vec::new(),
        }
    }

    /// A lane that has seen nothing, with an engine that holds `standing` as active in time segment `segment`.
    pub(super) fn resumed(
        mut self,
        standing: &[StandingAlarm<S::Transition>],
        segment: u32,
    ) -> Self {
        self.segment = segment;
        for StandingAlarm { transition, .. } in standing {
            self.standing.insert(transition.condition(), transition.clone());
        }
        self
    }

    /// Takes a block whose times are `shift` off. `broken`: blocks before it are missing.
    pub(super) fn take(
        &mut self,
        block: &BlockRecord<S::Quality>,
        shift: Ms,
        broken: bool,
        series: &SeriesTable<S>,
        out: &mut Vec<S::Transition>,
    ) {
        let from = out.len();
        let mut order: Vec<u32> = (0u32..).take(block.rows.len()).collect();
        order.sort_by_key(|row| block.rows[*row as usize].t);
        let closed_at = block.clock.closed_at + shift;
        let first = order.first().map(|row| block.rows[*row as usize].t + shift);
        // A closing time that is not believed begins nothing: time is where it was.
        let believed = (!block.ahead).then_some(closed_at);
        let first = first.or(believed);
        let leapt = self.leaps(block, closed_at);
        // The loss lies before the first time that is believed, however many blocks of wrong times stand between.
        let broken = broken || self.missing;
        self.missing = broken && first.is_none();
        self.enter(block, first, broken || leapt);
        if let Some(first) = first.filter(|_| broken && self.now.is_none()) {
            // An engine that begins in the middle: that nothing was heard before `first` proves nothing.
            self.facts_until(first, out);
            self.engine.hole(first);
        }
        let mut sample_at = None;
        for row in order {
            let row = &block.rows[row as usize];
            let t = self.at_least_now(row.t + shift);
            self.facts_until(t, out);
            if let Some(index) = self.bind(row.series, series) {
                self.engine.sample(index, t, row.value, row.quality, out);
            }
            self.now = Some(t);
            sample_at = Some(t);
        }
        if !block.ahead {
            self.advance(closed_at, out);
        }
        // A block of which no time is believed is no head: it says nothing of the present, and receiving it proves none.
        if let (Some(at), Some(_)) = (self.now, first) {
            let sample_at = sample_at.unwrap_or(at);
            self.head = Some(Head { at, sample_at, received_at: block.received_at });
        }
        self.note(&out[from..]);
    }

    /// Whether the clock was set forward before this block: the time that it left out is not here, and that nothing
    /// was heard in it proves nothing.
    fn leaps(&mut self, block: &BlockRecord<S::Quality>, closed_at: Ms) -> bool {
        // A closing time that is not believed tells nothing of the clock.
        if block.ahead {
            return false;
        }
        let (boot, offset) = (block.clock.boot, closed_at.saturating_sub(block.clock.mono_ms));
        let before = self.offset.replace((boot, offset)).filter(|before| before.0 == boot);
        before.is_some_and(|before| offset.saturating_sub(before.1) > STEP_FORWARD_MS)
    }

    /// Opens a time segment or marks a break, as the block's place asks; `first`: the first time of the block that is
    /// believed. Without one the lane stays where it was, and the next block that has one is held against that place:
    /// whether time went back is seen there only.
    fn enter(&mut self, block: &BlockRecord<S::Quality>, first: Option<Ms>, broken: bool) {
        let Some(first) = first else { return };
        let place = (block.key.epoch, block.clock.segment);
        let before = self.place.replace(place);
        let (Some(before), Some(now)) = (before, self.now) else { return };
        let new_epoch = before.0 != place.0;
        // The block counts the steps of its epoch, so that a lane with a hole numbers its segments as one without.
        let steps = if new_epoch {
            u32::from(first < now - STEP_BACK_MS)
        } else {
            place.1.saturating_sub(before.1).min(STEPS_MAX)
        };
        if steps > 0 {
            (0..steps).for_each(|_| self.engine.segment(first));
            self.segment += steps;
            self.now = Some(first);
        } else if new_epoch || broken {
            self.engine.hole(first.max(now));
        }
    }

    /// Moves the lane's time on to `t`, exclusive for deadlines.
    pub(super) fn advance(&mut self, t: Ms, out: &mut Vec<S::Transition>) {
        let t = self.at_least_now(t);
        self.facts_until(t, out);
        self.engine.advance(t, out);
        self.now = Some(t);
    }

    /// As [`Lane::advance`], keeping what stands.
    pub(super) fn look(&mut self, t: Ms, out: &mut Vec<S::Transition>) {
        let from = out.len();
        self.advance(t, out);
        self.note(&out[from..]);
    }

    /// Records a fact that takes effect at `at`, or now where that has passed. Returns when the fact that found no room
    /// would have begun: time never moves for a fact, or whoever files facts could keep delays from running out.
    pub(super) fn fact(
        &mut self,
        fact: S::Fact,
        at: Ms,
        out: &mut Vec<S::Transition>,
    ) -> Option<Ms> {
        let from = out.len();
        self.facts_taken += 1;
        self.facts.insert((at, self.facts_taken), fact);
        if let Some(now) = self.now {
            self.facts_until(now, out);
        }
        let dropped = if self.facts.len() > FACTS_AHEAD_MAX { self.drop_least() } else { None };
        self.note(&out[from..]);
        dropped
    }

    fn drop_least(&mut self) -> Option<Ms> {
        let worth_least =
            |(place, fact): &(&(Ms, u64), &S::Fact)| (S::worth(fact), Reverse(**place));
        let place = *self.facts.iter().min_by_key(worth_least)?.0;
        self.facts.remove(&place);
        Some(place.0)
    }

    /// Moves the time at which the newest block was received: the centre's clock was set.
    pub(super) fn move_heard(&mut self, moved: impl Fn(Ms) -> Ms) {
        if let Some(head) = &mut self.head {
            head.received_at = moved(head.received_at);
        }
    }

    /// Where the lane is in time.
    pub(super) fn reached(&self) -> (u32, Ms) {
        (self.segment, self.now.unwrap_or(Ms::MIN))
    }

    /// The earliest event time at which time alone could make a transition.
    pub(super) fn due(&self) -> Option<Ms> {
        let fact = self.facts.keys().next().map(|(at, _)| *at);
        match (self.engine.due(), fact) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    fn at_least_now(&self, t: Ms) -> Ms {
        self.now.map_or(t, |now| t.max(now))
    }

    /// Applies the facts up to `t`, inclusive: at the same time facts come before samples. What was recorded before the
    /// first block takes effect with it: an engine whose time began with a fact would take what it heard of nobody since
    /// then for silence.
    fn facts_until(&mut self, t: Ms, out: &mut Vec<S::Transition>) {
        while self.facts.keys().next().is_some_and(|(at, _)| *at <= t) {
            self.next_fact(t, out);
        }
    }

    fn next_fact(&mut self, until: Ms, out: &mut Vec<S::Transition>) {
        let Some(((at, _), fact)) = self.facts.pop_first() else { return };
        let at = self.now.map_or(until, |now| at.max(now));
        self.engine.advance(at, out);
        self.engine.fact(&fact, at, out);
        if self.now.is_some() {
            self.now = Some(at);
        }
        self.bound.clear();
    }

    fn bind(&mut self, number: u32, series: &SeriesTable<S>) -> Option<u32> {
        let slot = number as usize;
        if slot >= self.bound.len() {
            self.bound.resize(series.len().max(slot + 1), Bound::Unasked);
        }
        if self.bound[slot] == Bound::Unasked {
            let index = series.name(number).and_then(|name| self.engine.series_index(name));
            self.bound[slot] = index.map_or(Bound::Unread, Bound::To);
        }
        match self.bound[slot] {
            Bound::To(index) => Some(index),
            Bound::Unasked | Bound::Unread => None,
        }
    }

    fn note(&mut self, turns: &[S::Transition]) {
        for turn in turns {
            if turn.turn().stands() {
                self.standing.insert(turn.condition(), turn.clone());
            } else {
                self.standing.remove(&turn.condition());
            }
        }
    }
}
