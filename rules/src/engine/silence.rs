//! Silence: of a device that nobody hears, and of protective inputs that nobody knows.
//!
//! Silence is the only thing that a missing record could feign: where records are missing its counters start again.

use super::Engine;
use super::state::NEVER;
use super::timer::Class;
use crate::plan::Sort;
use crate::series::Ms;
use crate::test::Tri;
use crate::transition::Transition;

impl Engine {
    /// Says that what lies between the engine's time and `resumes` is not here: silence before `resumes` proves
    /// nothing, and its counters start again there.
    pub fn hole(&mut self, resumes: Ms) {
        let now = match self.state.now {
            Some(now) if resumes > now => now,
            _ => {
                let now = self.begin(resumes);
                self.listen_again(now);
                return self.see_again(now, &mut Vec::new());
            }
        };
        self.state.blind_until = self.state.blind_until.max(resumes);
        self.listen_again(resumes);
        self.timers.arm(Class::Blind, 0, self.state.blind_until);
        self.judge_silence(now, &mut Vec::new());
    }

    /// A device was heard: its silence counts from here, and an alarm about it is over.
    pub(super) fn hear(&mut self, l: u32, now: Ms, out: &mut Vec<Transition>) {
        let due = now + self.plan.levels[l as usize].on;
        let cond = &mut self.state.conds[l as usize];
        if cond.active {
            (cond.cur, cond.pend, cond.acc, cond.last) = (Tri::False, now, 0, now);
            self.fire(l, now, out);
        }
        let cond = &mut self.state.conds[l as usize];
        (cond.cur, cond.pend, cond.acc, cond.last) = (Tri::True, now, 0, now);
        self.timers.arm(Class::Level, l, due);
    }

    /// Starts to wait for a device, where that did not start yet.
    pub(super) fn listen(&mut self, i: u32, now: Ms) {
        let l = self.plan.spans[i as usize].level_from;
        let cond = &mut self.state.conds[l as usize];
        if cond.active {
            (cond.cur, cond.last) = (Tri::True, now);
        } else if cond.pend == NEVER {
            let from = now.max(self.plan.insts[i as usize].expected_since);
            (cond.cur, cond.pend, cond.acc, cond.last) = (Tri::True, from, 0, from);
            let due = from + self.plan.levels[l as usize].on;
            self.timers.arm(Class::Level, l, due);
        }
    }

    /// Counts the silence of every device from `from` on.
    fn listen_again(&mut self, from: Ms) {
        for (i, span) in self.plan.spans.iter().enumerate() {
            let cond = &mut self.state.conds[span.level_from as usize];
            if span.sort == Sort::Heard && !cond.active && cond.pend != NEVER {
                let from = from.max(self.plan.insts[i].expected_since).max(cond.pend);
                (cond.pend, cond.last) = (from, from);
            }
        }
    }

    fn judge_silence(&mut self, now: Ms, out: &mut Vec<Transition>) {
        for i in 0..crate::compile::count(self.plan.insts.len()) {
            if self.plan.spans[i as usize].sort == Sort::Unknown {
                self.judge(i, now, out);
            }
        }
    }

    /// Counts silence from now on.
    pub(super) fn see_again(&mut self, now: Ms, out: &mut Vec<Transition>) {
        for span in &self.plan.spans {
            if span.sort == Sort::Unknown {
                for l in span.level_from as usize..span.level_to as usize {
                    if !self.state.conds[l].active {
                        self.state.conds[l].restart(now);
                    }
                }
            }
        }
        self.judge_silence(now, out);
    }
}
