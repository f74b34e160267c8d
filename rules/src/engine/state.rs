//! What the engine remembers: held values, windows, run states, levels, facts in force.
//!
//! This is what a snapshot holds. Every list has the length the plan gives it, so it is bounded by the registry; the
//! facts are bounded by [`FACTS_MAX`].

use crate::fact::Fact;
use crate::plan::{Binding, Level, Plan};
use crate::series::{Ms, Quality};
use crate::test::{Bound, Inputs, Tri};
use serde::{Deserialize, Serialize};

/// Most facts of one gateway's sites kept at a time; `room.rs` says which makes room.
pub(crate) const FACTS_MAX: usize = 4096;
/// "No time".
pub(crate) const NEVER: Ms = Ms::MIN;

/// The engine's memory.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) now: Option<Ms>,
    pub(crate) segment: u32,
    pub(crate) fact_revision: u64,
    /// Silence before this moment proves nothing.
    pub(crate) blind_until: Ms,
    /// Value of each signal, NaN when UNKNOWN.
    pub(crate) value: Vec<f64>,
    pub(crate) bound: Vec<Bound>,
    /// Per series: event time of the last usable sample.
    pub(crate) seen: Vec<Ms>,
    pub(crate) quality: Vec<Quality>,
    pub(crate) windows: Vec<Window>,
    pub(crate) runs: Vec<Run>,
    pub(crate) marks: Vec<Mark>,
    pub(crate) learnt: Vec<Learnt>,
    /// What is usual for each learnt value: NaN while not known, infinite while its machine stands before it is.
    pub(crate) usual: Vec<f64>,
    pub(crate) conds: Vec<Cond>,
    pub(crate) tops: Vec<Top>,
    pub(crate) facts: Vec<Held>,
}

/// A fact the engine met.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Held {
    pub(crate) fact: Fact,
    /// When it takes effect here.
    pub(crate) from: Ms,
    /// When it ends, `Ms::MAX` for open end.
    pub(crate) to: Ms,
    /// Whether it is in force.
    pub(crate) on: bool,
}

/// What stands at an instance.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Top {
    /// Index of the level the alarm has, within the instance.
    pub(crate) level: Option<u8>,
    /// True while the alarm's page is suppressed.
    pub(crate) suppressed: bool,
    /// Since when the condition behind the alarm holds.
    pub(crate) since: Ms,
    /// When this alarm was last raised without a mask, or its mask ended.
    pub(crate) raised: Option<Ms>,
    /// The same of the occurrence before.
    pub(crate) earlier: Option<Ms>,
}

impl Top {
    /// Tells whether an occurrence now would follow another one raised at most `within` before.
    pub(crate) fn is_again(&self, now: Ms, within: Ms) -> bool {
        let before = if self.level.is_some() { self.earlier } else { self.raised };
        before.is_some_and(|t| now.saturating_sub(t) <= within)
    }
}

/// A window of whole minutes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Window {
    /// The minute being filled, in minutes since the epoch.
    pub(crate) minute: Ms,
    /// Ring of (sum, count), one a minute; the last is being filled.
    pub(crate) ring: Vec<(f64, u32)>,
    /// For a window with a condition: since when all that moves its content is known to stand, else [`NEVER`].
    pub(crate) still: Ms,
}

/// Whether a limit was reached, see [`super::mark`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Mark {
    pub(crate) truth: Tri,
    /// Since when `truth` is so.
    pub(crate) since: Ms,
    /// When the limit was last left while the mark was set.
    pub(crate) left: Ms,
    pub(crate) is_set: bool,
}

/// What is learnt of a series, see [`super::learn`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Learnt {
    /// The hour being filled, in hours since the epoch.
    pub(crate) hour: Ms,
    pub(crate) sum: f64,
    pub(crate) count: u32,
    /// Means of the last hours learnt, oldest first.
    pub(crate) hours: Vec<f64>,
}

/// Where a machine's current lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Raw {
    Unknown,
    Low,
    Between,
    High,
}

/// Run state of a machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Run {
    pub(crate) raw: Raw,
    /// Since when `raw` is so.
    pub(crate) last: Ms,
    /// What the current is on its way to prove; `Unknown` for nothing.
    pub(crate) pending: Raw,
    pub(crate) acc: Ms,
    pub(crate) state: Tri,
}

/// One level's state machine.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Cond {
    /// Truth of the test now.
    pub(crate) cur: Tri,
    pub(crate) active: bool,
    /// Since when the delay runs, [`NEVER`] when it does not.
    pub(crate) pend: Ms,
    /// Known time counted up to `last`.
    pub(crate) acc: Ms,
    /// When `cur` became so.
    pub(crate) last: Ms,
}

impl Cond {
    pub(crate) fn new() -> Self {
        Self { cur: Tri::Unknown, active: false, pend: NEVER, acc: 0, last: NEVER }
    }

    /// The truth that moves this level on.
    pub(crate) fn wanted(&self) -> Tri {
        Tri::of(!self.active)
    }

    fn need(&self, level: &Level) -> Ms {
        if self.active { level.off } else { level.on }
    }

    /// Counts the time up to `t` and takes the new truth.
    pub(crate) fn change(&mut self, t: Ms, new: Tri, level: &Level) {
        let spent = t.saturating_sub(self.last).max(0);
        if self.last != NEVER && self.pend != NEVER {
            if self.cur == self.wanted() {
                self.acc += spent;
            } else if self.cur == Tri::Unknown && !self.active && spent > level.reset {
                self.pend = NEVER;
            }
        }
        self.cur = new;
        self.last = t;
        if new == self.wanted() {
            if self.pend == NEVER {
                self.pend = t;
                self.acc = 0;
            }
        } else if new != Tri::Unknown {
            self.pend = NEVER;
        }
        if self.pend == NEVER {
            self.acc = 0;
        }
    }

    /// When the delay expires if nothing changes.
    pub(crate) fn deadline(&self, level: &Level) -> Option<Ms> {
        (self.pend != NEVER && self.cur == self.wanted())
            .then(|| self.last + (self.need(level) - self.acc).max(0))
    }

    /// Turns the level over at its deadline; the caller judges the test again at once.
    pub(crate) fn fire(&mut self, t: Ms) {
        self.active = !self.active;
        self.restart(t);
    }

    /// Forgets the delay; the truth is unknown until judged again.
    pub(crate) fn restart(&mut self, t: Ms) {
        (self.cur, self.pend, self.acc, self.last) = (Tri::Unknown, NEVER, 0, t);
    }

    /// Returns (since, known time, time needed) of a running delay at `now`.
    pub(crate) fn pending(&self, now: Ms, level: &Level) -> Option<(Ms, Ms, Ms)> {
        let running = now.saturating_sub(self.last).max(0);
        let counts = self.cur == self.wanted();
        let lapsed = !counts && !self.active && running > level.reset;
        if self.pend == NEVER || lapsed {
            return None;
        }
        Some((self.pend, self.acc + if counts { running } else { 0 }, self.need(level)))
    }
}

impl Run {
    pub(crate) fn new() -> Self {
        Self { raw: Raw::Unknown, last: NEVER, pending: Raw::Unknown, acc: 0, state: Tri::Unknown }
    }
}

impl Window {
    pub(crate) fn new(minutes: u16) -> Self {
        // One more than the window is long: the last is being filled.
        Self { minute: NEVER, ring: vec![(0.0, 0); usize::from(minutes) + 1], still: NEVER }
    }
}

impl Mark {
    pub(crate) fn new() -> Self {
        Self { truth: Tri::Unknown, since: NEVER, left: NEVER, is_set: false }
    }
}

impl Learnt {
    pub(crate) fn new() -> Self {
        Self { hour: NEVER, sum: 0.0, count: 0, hours: vec![] }
    }
}

impl State {
    /// Makes an empty memory for a plan.
    pub(crate) fn new(plan: &Plan) -> Self {
        Self {
            blind_until: NEVER,
            value: vec![f64::NAN; plan.signal_count()],
            bound: vec![Bound::Exact; plan.signal_count()],
            seen: vec![NEVER; plan.series.len()],
            quality: vec![Quality::Bad; plan.series.len()],
            windows: plan.windows.iter().map(|w| Window::new(w.minutes)).collect(),
            runs: plan.runs.iter().map(|_| Run::new()).collect(),
            marks: plan.marks.iter().map(|_| Mark::new()).collect(),
            learnt: plan.learns.iter().map(|_| Learnt::new()).collect(),
            usual: vec![f64::NAN; plan.learns.len()],
            conds: vec![Cond::new(); plan.levels.len()],
            tops: vec![Top::default(); plan.insts.len()],
            ..Self::default()
        }
    }

    /// The inputs of `bindings` as they stand.
    pub(crate) fn view<'a>(&'a self, bindings: &'a [Binding]) -> View<'a> {
        View { bindings, value: &self.value, bound: &self.bound, usual: &self.usual }
    }

    /// Tells whether this memory has the plan's shape.
    pub(crate) fn fits(&self, plan: &Plan) -> bool {
        let rings = plan.windows.iter().map(|w| usize::from(w.minutes) + 1);
        self.value.len() == plan.signal_count()
            && self.bound.len() == self.value.len()
            && self.seen.len() == plan.series.len()
            && self.quality.len() == plan.series.len()
            && self.windows.iter().map(|w| w.ring.len()).eq(rings)
            && self.runs.len() == plan.runs.len()
            && self.marks.len() == plan.marks.len()
            && self.learnt.len() == plan.learns.len()
            && self.learnt.iter().all(|l| l.hours.len() <= super::learn::HOURS)
            && self.usual.len() == plan.learns.len()
            && self.conds.len() == plan.levels.len()
            && self.tops.len() == plan.insts.len()
            && self.tops.iter().zip(&plan.spans).all(|(top, span)| {
                top.level.is_none_or(|l| u32::from(l) < span.level_to - span.level_from)
            })
    }
}

/// Inputs of an instance as they stand.
#[derive(Debug)]
pub(crate) struct View<'a> {
    pub(crate) bindings: &'a [Binding],
    pub(crate) value: &'a [f64],
    pub(crate) bound: &'a [Bound],
    pub(crate) usual: &'a [f64],
}

impl Inputs for View<'_> {
    fn count(&self) -> usize {
        self.bindings.len()
    }
    fn value(&self, i: usize) -> f64 {
        let b = &self.bindings[i];
        let divisor = b.learnt.map_or(b.rating, |l| self.usual[l as usize]);
        (self.value[b.signal as usize] + b.offset) / divisor
    }
    fn bound(&self, i: usize) -> Bound {
        self.bound[self.bindings[i].signal as usize]
    }
    fn member(&self, i: usize) -> u8 {
        self.bindings[i].member
    }
}
