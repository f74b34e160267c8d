//! When the next sample goes out, and what a missing answer says: pure, counted in looks.
//!
//! Looks instead of a clock: a machine that slept or a clock that was set must not look like a part that stands still.

use super::Seen;

/// Looks in a second.
pub const LOOKS_PER_S: u32 = 4;
/// Looks between the beginnings of two rounds.
pub const ROUND_LOOKS: u32 = 10 * LOOKS_PER_S;
/// Looks after which a sample that has not come through is sent again.
pub const RESEND_LOOKS: u32 = 2 * LOOKS_PER_S;
/// Looks after which a sample that has not come through is a failure: what a live alarm may take at worst.
pub const LATE_LOOKS: u32 = 10 * LOOKS_PER_S;

/// A part of the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// It was published and did not come back.
    Broker,
    /// It came back and was not logged.
    Log,
    /// It was logged and not judged.
    Evaluator,
    /// It was judged, and the alarm was not written or not told.
    Alarm,
}

impl Stage {
    /// All of them, in the order of the way.
    pub const ALL: [Self; 4] = [Self::Broker, Self::Log, Self::Evaluator, Self::Alarm];

    /// Stable word, for metrics and `/readyz`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Broker => "broker",
            Self::Log => "log",
            Self::Evaluator => "evaluator",
            Self::Alarm => "alarm",
        }
    }

    /// Code of the notice that says that it stands still.
    #[must_use]
    pub fn notice(self) -> &'static str {
        match self {
            Self::Broker => "self_watch_broker",
            Self::Log => "self_watch_log",
            Self::Evaluator => "self_watch_evaluator",
            Self::Alarm => "self_watch_alarm",
        }
    }

    /// What is wrong and where to look, for whoever mends it.
    #[must_use]
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Broker => {
                "the test alarm does not come through: the broker does not bring the centre's own sample back; check the broker, and that its access list lets the centre publish on davy/v1/#"
            }
            Self::Log => {
                "the test alarm does not come through: the receiver does not log; check the disk of state_dir"
            }
            Self::Evaluator => {
                "the test alarm does not come through: the evaluator stands still; check the load of this machine and the state database"
            }
            Self::Alarm => {
                "the test alarm does not come through: alarms are judged but cannot be written; check the state database and its disk"
            }
        }
    }
}

/// What a look asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Do {
    /// Nothing.
    Wait,
    /// A new sample that raises.
    Raise,
    /// A new sample that clears.
    Clear,
    /// The newest sample once more.
    Again,
}

/// What became of the rounds so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Round {
    /// Rounds that came through.
    pub passed: u64,
    /// Samples that were late.
    pub failed: u64,
}

/// The sample that is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// Seq of its block.
    pub seq: u64,
    /// Its event time, ms UTC.
    pub t: i64,
    /// Frames that had come back before it went out.
    pub returned: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leg {
    Rest,
    Raise,
    Clear,
}

/// See the module.
#[derive(Debug)]
pub struct Probe {
    leg: Leg,
    sent: Option<Sent>,
    /// Looks since the newest sample went out first.
    waited: u32,
    /// Looks since the round began.
    age: u32,
    /// Where it stands still; stays until a whole round has come through.
    stuck: Option<Stage>,
    has_passed: bool,
    round: Round,
}

impl Default for Probe {
    fn default() -> Self {
        Self {
            leg: Leg::Rest,
            sent: None,
            waited: 0,
            age: ROUND_LOOKS,
            stuck: None,
            has_passed: false,
            round: Round::default(),
        }
    }
}

impl Probe {
    /// Looks at the marks and says what to send. After [`Do::Raise`] and [`Do::Clear`] comes [`Probe::sent`].
    pub fn look(&mut self, seen: &Seen) -> Do {
        self.age = self.age.saturating_add(1);
        match (self.leg, self.sent) {
            (Leg::Rest, _) if self.age >= ROUND_LOOKS => {
                (self.leg, self.age) = (Leg::Raise, 0);
                Do::Raise
            }
            (Leg::Rest, _) => Do::Wait,
            (leg, Some(sent)) if seen.alarmed == sent.t => self.came_through(leg),
            (leg, sent) => {
                self.waited = self.waited.saturating_add(1);
                let Some(sent) = sent else {
                    return if leg == Leg::Raise { Do::Raise } else { Do::Clear };
                };
                if self.waited >= LATE_LOOKS {
                    self.round.failed += u64::from(self.waited == LATE_LOOKS);
                    self.stuck = Some(stands(&sent, seen));
                }
                if self.waited.is_multiple_of(RESEND_LOOKS) { Do::Again } else { Do::Wait }
            }
        }
    }

    /// The sample that [`Probe::look`] asked for has gone out.
    pub fn sent(&mut self, sent: Sent) {
        (self.sent, self.waited) = (Some(sent), 0);
    }

    fn came_through(&mut self, leg: Leg) -> Do {
        self.sent = None;
        self.waited = 0;
        if leg == Leg::Raise {
            self.leg = Leg::Clear;
            return Do::Clear;
        }
        self.leg = Leg::Rest;
        self.stuck = None;
        self.has_passed = true;
        self.round.passed += 1;
        Do::Wait
    }

    /// Where it stands still.
    #[must_use]
    pub fn stuck(&self) -> Option<Stage> {
        self.stuck
    }

    /// Whether a round has come through and nothing stands still since.
    #[must_use]
    pub fn is_well(&self) -> bool {
        self.has_passed && self.stuck.is_none()
    }

    /// What became of the rounds so far.
    #[must_use]
    pub fn rounds(&self) -> Round {
        self.round
    }
}

/// The first part that a sample has not passed.
fn stands(sent: &Sent, seen: &Seen) -> Stage {
    if seen.logged >= sent.seq {
        if seen.judged == sent.t { Stage::Alarm } else { Stage::Evaluator }
    } else if seen.returned > sent.returned {
        Stage::Log
    } else {
        Stage::Broker
    }
}
