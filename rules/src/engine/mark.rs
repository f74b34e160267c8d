//! Marks: a limit was reached for a delay, now or a short time ago.
//!
//! A mark is how detectors of one cell meet although their peaks do not: it is kept for a while after the value left
//! the limit. Silence does not set it and does not take it away before its time.

use super::Engine;
use super::state::{Mark, NEVER};
use super::timer::Class;
use crate::plan::MarkPlan;
use crate::series::Ms;
use crate::test::{Tri, at_least};
use crate::transition::Transition;

impl Mark {
    /// Takes what the limit says from `t` on.
    fn change(&mut self, t: Ms, truth: Tri) {
        if self.truth == Tri::True {
            self.left = t;
        }
        (self.truth, self.since) = (truth, t);
    }

    /// When it turns over if nothing changes.
    pub(super) fn due(&self, plan: &MarkPlan) -> Option<Ms> {
        match (self.truth, self.is_set) {
            (Tri::True, false) => Some(self.since + plan.on),
            (Tri::False | Tri::Unknown, true) if self.left != NEVER => Some(self.left + plan.keep),
            _ => None,
        }
    }

    /// The mark as a signal: 1 set, 0 not, NaN not known.
    fn signal(&self) -> f64 {
        match (self.is_set, self.truth) {
            (true, _) => 1.0,
            (false, Tri::Unknown) => f64::NAN,
            (false, _) => 0.0,
        }
    }
}

impl Engine {
    pub(super) fn judge_mark(&mut self, m: u32, now: Ms, out: &mut Vec<Transition>) {
        let plan = self.plan.marks[m as usize];
        let (value, bound) =
            (self.state.value[plan.series as usize], self.state.bound[plan.series as usize]);
        let mark = &mut self.state.marks[m as usize];
        let limit = if mark.is_set { plan.clear } else { plan.limit };
        let truth = at_least(value, bound, limit);
        if truth == mark.truth {
            return;
        }
        mark.change(now, truth);
        if let Some(at) = mark.due(&plan) {
            self.timers.arm(Class::Mark, m, at);
        }
        self.publish_mark(m, now, out);
    }

    /// A mark's delay is over: it is set, or taken away.
    pub(super) fn turn_mark(&mut self, m: u32, now: Ms, out: &mut Vec<Transition>) {
        let plan = self.plan.marks[m as usize];
        match self.state.marks[m as usize].due(&plan) {
            Some(at) if at > now => self.timers.arm(Class::Mark, m, at),
            Some(_) => {
                let mark = &mut self.state.marks[m as usize];
                mark.is_set = !mark.is_set;
                mark.left = NEVER;
                self.publish_mark(m, now, out);
            }
            None => {}
        }
    }

    fn publish_mark(&mut self, m: u32, now: Ms, out: &mut Vec<Transition>) {
        let value = self.state.marks[m as usize].signal();
        let signal = self.plan.mark_signal(m as usize);
        if self.state.value[signal].to_bits() != value.to_bits() {
            self.set(signal, value, now, out);
        }
    }
}
