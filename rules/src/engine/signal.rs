//! Run states of machines, derived from their currents or their power.
//!
//! Each method takes the engine's memory to a moment and says whether the derived value changed.

use super::state::{NEVER, Raw, Run, View};
use crate::plan::RunPlan;
use crate::series::Ms;
use crate::test::{Inputs, Tri, at_least, below};

/// Time a current must lie above or below before a machine counts as running or stopped (domain.md §2.1), ms.
pub(crate) const RUN_DELAY_MS: Ms = 30_000;
/// Time a known run state is kept while the current lies between the limits, ms.
pub(crate) const BETWEEN_MS_MAX: Ms = 600_000;

/// Says where the currents of a machine lie.
pub(crate) fn raw(plan: &RunPlan, view: &View<'_>) -> Raw {
    let (mut all_low, mut unknown) = (true, false);
    for i in 0..view.count() {
        let (value, bound) = (view.value(i), view.bound(i));
        if at_least(value, bound, plan.high) == Tri::True {
            return Raw::High;
        }
        all_low &= below(value, bound, plan.low) == Tri::True;
        unknown |= value.is_nan();
    }
    match (unknown, all_low) {
        (true, _) => Raw::Unknown,
        (false, true) => Raw::Low,
        (false, false) => Raw::Between,
    }
}

impl Run {
    /// Takes what the currents say from `t` on. Returns the next moment to look again and of which kind.
    pub(crate) fn change(&mut self, t: Ms, new: Raw, plan: &RunPlan) {
        if new == self.raw && self.last != NEVER {
            return;
        }
        let spent = if self.last == NEVER { 0 } else { (t - self.last).max(0) };
        if self.raw == Raw::Unknown && spent > plan.gap {
            self.pending = Raw::Unknown;
            self.state = Tri::Unknown;
        } else if self.raw == self.pending {
            self.acc += spent;
        }
        (self.raw, self.last) = (new, t);
        match new {
            Raw::Unknown => {}
            Raw::Between => self.pending = Raw::Unknown,
            Raw::High | Raw::Low if self.state == Tri::of(new == Raw::High) => {
                self.pending = Raw::Unknown;
            }
            Raw::High | Raw::Low if self.pending != new => (self.pending, self.acc) = (new, 0),
            Raw::High | Raw::Low => {}
        }
    }

    /// When the state will be decided if nothing changes.
    pub(crate) fn decides_at(&self) -> Option<Ms> {
        (matches!(self.raw, Raw::High | Raw::Low) && self.pending == self.raw)
            .then(|| self.last + (RUN_DELAY_MS - self.acc).max(0))
    }

    /// When a state between the limits is given up.
    pub(crate) fn gives_up_at(&self) -> Option<Ms> {
        (self.raw == Raw::Between && self.state != Tri::Unknown).then(|| self.last + BETWEEN_MS_MAX)
    }

    /// Decides the state that was pending.
    pub(crate) fn decide(&mut self) {
        self.state = Tri::of(self.pending == Raw::High);
        self.pending = Raw::Unknown;
        self.acc = 0;
    }

    /// The state as a signal: 1 runs, 0 stands, NaN not known.
    pub(crate) fn signal(&self) -> f64 {
        match (self.raw, self.state) {
            (Raw::Unknown, _) | (_, Tri::Unknown) => f64::NAN,
            (_, Tri::True) => 1.0,
            (_, Tri::False) => 0.0,
        }
    }
}
