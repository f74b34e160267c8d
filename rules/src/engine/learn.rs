//! What is usual for a series while its machine runs: the median of the last 168 hours in which it did.
//!
//! For a machine that never stops these are the last 7 days. An hour far below what is usual is not learnt, so that a
//! slow decline cannot become the new normal behind an alarm; a lasting change is told by a rating. Memory is bounded
//! by the number of hours; it is part of the snapshot.

use super::Engine;
use super::state::{Learnt, NEVER};
use super::timer::Class;
use crate::series::Ms;
use crate::test::Tri;
use crate::transition::Transition;

/// One hour, ms.
pub(crate) const HOUR_MS: Ms = 3_600_000;
/// Hours that are kept, and that must be known before anything counts as usual.
pub(crate) const HOURS: usize = 168;
/// Hours below this share of what is usual are not learnt.
const LEARN_SHARE_MIN: f64 = 0.7;

impl Learnt {
    /// Takes a sample of the running machine; returns when its hour ends.
    fn add(&mut self, t: Ms, value: f64) -> Ms {
        let hour = t.div_euclid(HOUR_MS);
        if self.hour != hour {
            (self.hour, self.sum, self.count) = (hour, 0.0, 0);
        }
        self.sum += value;
        self.count += 1;
        (hour + 1) * HOUR_MS
    }

    /// When the hour being filled ends.
    pub(super) fn due(&self) -> Option<Ms> {
        (self.count > 0).then(|| (self.hour + 1) * HOUR_MS)
    }

    /// Closes the hour; one of which less than 80 % is known while the machine ran is not learnt.
    fn close(&mut self, expect: u32) {
        let is_whole = u64::from(self.count) * 10 >= u64::from(expect) * 8;
        let mean = self.sum / f64::from(self.count.max(1));
        (self.sum, self.count) = (0.0, 0);
        let usual = self.usual();
        if !is_whole || !mean.is_finite() || mean < usual * LEARN_SHARE_MIN {
            return;
        }
        if self.hours.len() >= HOURS {
            self.hours.remove(0);
        }
        self.hours.push(mean);
    }

    /// The median, NaN while too little is known.
    fn usual(&self) -> f64 {
        if self.hours.len() < HOURS {
            return f64::NAN;
        }
        let mut sorted = self.hours.clone();
        sorted.sort_by(f64::total_cmp);
        let (low, high) = (sorted[(HOURS - 1) / 2], sorted[HOURS / 2]);
        let middle = (low + high) / 2.0;
        if middle > 0.0 { middle } else { f64::NAN }
    }

    /// Hours that are still to be learnt.
    pub(super) fn hours_left(&self) -> usize {
        HOURS - self.hours.len().min(HOURS)
    }
}

impl Engine {
    /// Takes a sample of a series that is learnt.
    pub(super) fn learn(&mut self, l: u32, t: Ms, value: f64) {
        if self.ran(l) == Tri::True {
            let due = self.state.learnt[l as usize].add(t, value.abs());
            self.timers.arm(Class::Learn, l, due);
        }
    }

    /// A machine started or stopped: what stands does nothing, and that is known without knowing what is usual.
    pub(super) fn learn_run(&mut self, l: u32) {
        let learnt = &self.state.learnt[l as usize];
        let usual = learnt.usual();
        let stands = usual.is_nan() && self.ran(l) == Tri::False;
        self.state.usual[l as usize] = if stands { f64::INFINITY } else { usual };
    }

    /// An hour is over.
    pub(super) fn close_hour(&mut self, l: u32, now: Ms, out: &mut Vec<Transition>) {
        let learnt = &mut self.state.learnt[l as usize];
        match learnt.due() {
            Some(at) if at > now => return self.timers.arm(Class::Learn, l, at),
            Some(_) => learnt.close(self.plan.learns[l as usize].expect),
            None => return,
        }
        self.learn_run(l);
        self.judge_all(now, out);
    }

    /// Whether one of the machines behind a learnt value runs.
    fn ran(&self, l: u32) -> Tri {
        let gate = &self.plan.bindings[self.plan.learns[l as usize].gate.clone()];
        let value = |b: &crate::plan::Binding| self.state.value[b.signal as usize];
        if gate.iter().any(|b| value(b) >= 0.5) {
            return Tri::True;
        }
        if gate.iter().any(|b| value(b).is_nan()) { Tri::Unknown } else { Tri::False }
    }

    /// Says when the learning of an instance ends at the earliest, where none of its learnt values is known yet.
    pub(super) fn learning_until(&self, inst: usize, now: Ms) -> Option<Ms> {
        let span = self.plan.spans[inst];
        let inputs = &self.plan.bindings[span.input_from as usize..span.input_to as usize];
        let mut soonest = None;
        for l in inputs.iter().filter_map(|b| b.learnt) {
            let learnt = &self.state.learnt[l as usize];
            if learnt.hours_left() == 0 {
                return None;
            }
            let left = Ms::from(crate::compile::count(learnt.hours_left())) * HOUR_MS;
            let from = if now == NEVER { 0 } else { now };
            soonest = Some(soonest.map_or(from + left, |s: Ms| s.min(from + left)));
        }
        soonest
    }
}
