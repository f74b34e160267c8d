//! Judges a transition again from nothing but its evidence.
//!
//! Used by the API's `why` and by audits: the same test, on the values the evidence keeps, must say the same.

use crate::evidence::{Evidence, Input, Measure};
use crate::series::Quality;
use crate::test::{Bound, Inputs, Test, Tri};
use crate::transition::TransitionKind;
use serde::{Deserialize, Serialize};

/// What judging again found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Truth of the test on the evidence's values.
    pub truth: Tri,
    /// True when the time the condition was known to hold reaches the delay.
    pub delay_met: bool,
    /// True when test and delay lead to the transition that the evidence belongs to.
    pub agrees: bool,
}

struct Kept<'a>(&'a [Input]);

impl Inputs for Kept<'_> {
    fn count(&self) -> usize {
        self.0.len()
    }
    fn value(&self, i: usize) -> f64 {
        self.0[i].value.unwrap_or(f64::NAN) / self.0[i].rating
    }
    fn bound(&self, i: usize) -> Bound {
        match (self.0[i].measure, self.0[i].quality) {
            (Measure::Value, Quality::Uncertain { over: true, under: false }) => Bound::Over,
            (Measure::Value, Quality::Uncertain { over: false, under: true }) => Bound::Under,
            _ => Bound::Exact,
        }
    }
    fn member(&self, i: usize) -> u8 {
        self.0[i].member
    }
}

/// Judges the evidence again.
pub fn re_evaluate(evidence: &Evidence) -> Verdict {
    if let Test::Neighbours { need, .. } = evidence.test {
        let cleared = evidence.kind == TransitionKind::Clear;
        let found = evidence.intermediates.iter().find(|i| i.name == "neighbours");
        let met = found.and_then(|i| i.value).is_some_and(|n| n >= f64::from(need));
        let truth = Tri::of(!cleared);
        return Verdict { truth, delay_met: met || cleared, agrees: met || cleared };
    }
    if let Test::Silent { limit_ms } = evidence.test {
        let met = evidence.observed_ms >= limit_ms;
        let cleared = evidence.kind == TransitionKind::Clear;
        let truth = Tri::of(!cleared);
        return Verdict { truth, delay_met: met || cleared, agrees: met || cleared };
    }
    let active = !matches!(evidence.kind, TransitionKind::Raise | TransitionKind::LevelUp);
    let truth = evidence.test.judge(active, &Kept(&evidence.inputs));
    let (wanted, need) = match evidence.kind {
        TransitionKind::Raise | TransitionKind::LevelUp => (truth == Tri::True, evidence.on_ms),
        TransitionKind::Clear | TransitionKind::LevelDown => (truth == Tri::False, evidence.off_ms),
        // The alarm stands whatever is known now; only what masked its page is over.
        TransitionKind::Unsuppress => (true, 0),
    };
    let delay_met = evidence.observed_ms >= need;
    // An alarm whose place is gone was closed by the registry, not by a test.
    let agrees = evidence.note.is_some() || (wanted && delay_met);
    Verdict { truth, delay_met, agrees }
}
