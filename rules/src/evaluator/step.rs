//! What the evaluator asks of a rule engine, and of the transitions that the engine makes.
//!
//! [`Step`] is implemented by `rules::Engine` and by the small engine of the evaluator's own tests. The evaluator owns
//! the order of records; an engine owns the meaning of samples. An engine must never look at a clock, at the order of
//! arrival or at anything that is not passed in here: the verdict journal is compared byte for byte.

use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::fact::Worth;

/// Event time, milliseconds since the Unix epoch, UTC.
pub type Ms = i64;

/// Which way a transition moves its condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Turn {
    /// The condition was not active and now is.
    Raise,
    /// The condition was active and became worse, or what kept it from paging ended.
    Rise,
    /// The condition was active and became milder.
    Lower,
    /// The condition was active and no longer is.
    Clear,
}

impl Turn {
    /// Whether the condition is active after this turn.
    #[must_use]
    pub fn stands(self) -> bool {
        self != Turn::Clear
    }

    /// Whether duty staff may be paged for this turn.
    #[must_use]
    pub fn pages(self) -> bool {
        matches!(self, Turn::Raise | Turn::Rise)
    }
}

/// A transition of a rule, as the evaluator needs to see it.
///
/// Equality of [`Verdict::key`] means "the same transition": it must hold nothing that depends on arrival, on the
/// centre or on the position in a log.
pub trait Verdict: Clone + Debug + PartialEq + Serialize + DeserializeOwned {
    /// Names what is active or not: rule and scope.
    type Condition: Clone + Debug + Ord + Serialize + DeserializeOwned;
    /// Names the transition: rule, scope, kind, level, time segment, event time.
    type Key: Clone + Debug + Ord + Serialize + DeserializeOwned;

    /// Rule and scope.
    fn condition(&self) -> Self::Condition;
    /// The stable name of the transition.
    fn key(&self) -> Self::Key;
    /// Which way it moves.
    fn turn(&self) -> Turn;
    /// 1 红, 2 橙, 3 黄, 4 蓝: the level after the transition, or the one that was left where it clears.
    fn severity(&self) -> u8;
    /// Event time, ms: the deadline where a delay ran out, else the time of the sample or fact.
    fn time(&self) -> Ms;
    /// Number of the time segment: times compare only within one, and later segments have greater numbers.
    fn segment(&self) -> u32;
    /// Whether it says only that a device gives no data. A look ahead of the newest block does not tell it: that a gateway
    /// is not heard is judged by the centre, and says nothing about its devices.
    fn is_silence(&self) -> bool;
    /// Whether approved work or a calibration keeps it from paging.
    fn is_suppressed(&self) -> bool;
}

/// A rule engine over the series of one gateway.
///
/// Times passed in never go back, except through [`Step::segment`]. The engine is cloned when a hole opens and is
/// serialised into snapshots; a clone and a restored snapshot must behave exactly as the original would.
pub trait Step: Clone + Debug + Serialize + DeserializeOwned {
    /// What the engine reports.
    type Transition: Verdict;
    /// What a person or an office recorded, or a change of the site's model.
    type Fact: Clone + Debug + Serialize + DeserializeOwned;
    /// Names a series: site, device, quantity.
    type Series: Clone + Debug + Ord + Serialize + DeserializeOwned;
    /// Trust in a sample.
    type Quality: Copy + Debug + PartialEq + Serialize + DeserializeOwned;

    /// What is lost where a fact finds no room.
    fn worth(fact: &Self::Fact) -> Worth;

    /// The engine's number of a series, or `None` where no rule reads it. May change only in [`Step::fact`].
    fn series_index(&self, series: &Self::Series) -> Option<u32>;

    /// Takes a sample. The engine first advances itself to `t` (deadlines strictly before `t` fire first).
    fn sample(
        &mut self,
        series: u32,
        t: Ms,
        value: f64,
        quality: Self::Quality,
        out: &mut Vec<Self::Transition>,
    );

    /// Lets a fact take effect at exactly `at`. The evaluator keeps facts that lie ahead, advances the engine to `at`
    /// first, and never passes an `at` before the engine's time.
    fn fact(&mut self, fact: &Self::Fact, at: Ms, out: &mut Vec<Self::Transition>);

    /// Moves time on to `closing`, exclusive: a deadline at exactly `closing` does not fire yet.
    fn advance(&mut self, closing: Ms, out: &mut Vec<Self::Transition>);

    /// The gateway's clock stepped back: heads, held values and pending delays restart at `t`; what is active stays.
    fn segment(&mut self, t: Ms);

    /// What lay between the engine's time and `resumes` is not here (declared lost, or still on its way): that a
    /// series has no sample in that span proves nothing. Counters of silence start again at `resumes`; held values
    /// and pending delays keep the usual rule of `max_gap`.
    fn hole(&mut self, resumes: Ms);

    /// The earliest event time at which time alone could make a transition; `None` = nothing is running. An engine
    /// that cannot tell cheaply returns `Some(Ms::MIN)`, which costs a look ahead at every tick.
    fn due(&self) -> Option<Ms>;
}
