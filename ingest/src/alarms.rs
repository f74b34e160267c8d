//! Alarms: what the evaluator decided, as something a person signs.
//!
//! One alarm per (site, rule, scope); each raise is a new **occurrence** with its own two axes, active and signed
//! (ISA-18.2, [`machine`]). The evaluator calls [`State::apply_evaluation`](crate::state::State::apply_evaluation), the
//! API calls [`ack`](crate::state::State::ack_occurrence) and the queries. Nothing here ever signs by itself, and an
//! `amends` record neither pages nor takes a signature back.

use rules::Transition;
use serde::{Deserialize, Serialize};

use crate::secret::sha256_hex;
use crate::state::{Position, Snapshot};

mod amend;
mod apply;
pub mod machine;
mod query;
mod sign;
mod standing;
mod trial;

#[cfg(test)]
mod tests;

pub use crate::state::entity::alarming::occurrence::Model as Occurrence;
pub use apply::CHANNEL_DUTY;
pub use query::{HistoryRow, Listing, OccurrenceFilter, PAGE_MAX, VerdictRow};
pub use sign::{AckError, COMMENT_CHARS_MAX, Signer};
pub use standing::ActiveAlarm;
pub use trial::Trial;

/// How a transition reaches people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Page {
    /// With sound, and through the notifier.
    Paged,
    /// With sound, marked 已恢复: a short peak that a lost block had hidden.
    Recovered,
    /// Listed only.
    Silent,
    /// 补报未签收: listed, unsigned, without sound.
    LateUnsigned,
}

impl Page {
    /// The word used in the database and in the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Paged => "paged",
            Self::Recovered => "recovered",
            Self::Silent => "silent",
            Self::LateUnsigned => "late_unsigned",
        }
    }

    /// Whether it goes to the notifier.
    #[must_use]
    pub fn pages(self) -> bool {
        matches!(self, Self::Paged | Self::Recovered)
    }
}

/// A settled transition of one gateway, for the verdict journal.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// Whose blocks it was judged on.
    pub gateway: String,
    /// What was decided.
    pub transition: Transition,
}

/// What the live evaluator says, for alarms and the duty journal.
#[derive(Debug, Clone, PartialEq)]
pub enum DutyEvent {
    /// The alarm moves.
    Turn {
        /// What was decided.
        transition: Box<Transition>,
        /// How it reaches people.
        page: Page,
        /// Event time of the newest sample behind it, ms UTC: the notifier checks its age again.
        sample_at: i64,
        /// Centre time at which it was decided, ms UTC.
        decided_at: i64,
        /// False for 蓝, which is listed and counted but has nothing to sign: see [`needs_ack`].
        needs_ack: bool,
    },
    /// Everything in the log has been judged, and the evaluator holds this alarm: where the list does not, or nobody was
    /// paged although somebody was to be, the alarm moves. Where both agree nothing happens, however often it is said.
    Stands {
        /// What brought it to its level.
        transition: Box<Transition>,
        /// How it reaches people.
        page: Page,
        /// Event time of the newest sample of its gateway, ms UTC.
        sample_at: i64,
        /// Centre time, ms UTC.
        decided_at: i64,
        /// As in [`DutyEvent::Turn`].
        needs_ack: bool,
    },
    /// An occurrence that came and went unseen before the one that is active now: listed in its history, moves nothing.
    Past {
        /// Its raise, or the rise to its worst level.
        raise: Box<Transition>,
        /// Its end.
        clear: Box<Transition>,
        /// Late where it was red or orange, else silent; kept as a remark.
        page: Page,
        /// Centre time, ms UTC.
        decided_at: i64,
    },
    /// What people were told turned out otherwise. Kept beside it: never pages, never takes a signature back.
    Amend {
        /// What they were told.
        was: Box<Transition>,
        /// What the settled evaluator found; none: it never happened.
        is: Option<Box<Transition>>,
        /// How the alarm stands now: active with this transition, or not active.
        standing: Option<Box<Transition>>,
        /// Centre time, ms UTC.
        decided_at: i64,
    },
}

impl DutyEvent {
    /// Takes over what the rules crate's evaluator says.
    #[must_use]
    pub fn from_evaluator(event: rules::evaluator::DutyEvent<Transition>, needs_ack: bool) -> Self {
        use rules::evaluator::DutyEvent as Said;
        match event {
            Said::Turn { transition, page, sample_at, decided_at } => {
                let (transition, page) = (Box::new(transition), Page::from(page));
                Self::Turn { transition, page, sample_at, decided_at, needs_ack }
            }
            Said::Past { raise, clear, page, decided_at } => Self::Past {
                raise: Box::new(raise),
                clear: Box::new(clear),
                page: Page::from(page),
                decided_at,
            },
            Said::Amend { was, is, standing, decided_at } => Self::Amend {
                was: Box::new(was),
                is: is.map(Box::new),
                standing: standing.map(Box::new),
                decided_at,
            },
        }
    }
}

impl From<rules::evaluator::Page> for Page {
    fn from(page: rules::evaluator::Page) -> Self {
        match page {
            rules::evaluator::Page::Page => Self::Paged,
            rules::evaluator::Page::Recovered => Self::Recovered,
            rules::evaluator::Page::LateUnsigned => Self::LateUnsigned,
            rules::evaluator::Page::Silent(_) => Self::Silent,
        }
    }
}

/// Everything one step of an evaluator has to make durable, in one transaction.
#[derive(Debug, Clone)]
pub struct EvaluationBatch {
    /// Name of the evaluator: its gateway, or `centre`.
    pub evaluator: String,
    /// Log position after this step.
    pub position: Position,
    /// Centre time, ms UTC.
    pub recorded_at: i64,
    /// For the verdict journal, in order.
    pub verdicts: Vec<Verdict>,
    /// For alarms and the duty journal, in order.
    pub duty: Vec<DutyEvent>,
    /// The evaluator after this step, when one is due.
    pub snapshot: Option<Snapshot>,
}

/// An occurrence as it is after a change; goes to the live hub and the notifier.
#[derive(Debug, Clone, PartialEq)]
pub struct AlarmChange {
    /// What happened: raise, clear, level_up, level_down, unsuppress, amends, past, ack, reset.
    pub kind: &'static str,
    /// The occurrence now.
    pub occurrence: Occurrence,
    /// Whether this change asks for attention.
    pub pages: bool,
}

/// State of an occurrence with what lies over it: out of service before suppressed before shelved before A to F.
#[must_use]
pub fn isa_state(occurrence: &Occurrence, now_ms: i64) -> machine::IsaState {
    use machine::IsaState;
    if occurrence.out_of_service.is_some() {
        IsaState::I
    } else if occurrence.suppressed_by.is_some() && occurrence.active {
        IsaState::H
    } else if occurrence.shelved_until.is_some_and(|until| until > now_ms) {
        IsaState::G
    } else {
        apply::axes_of(occurrence).state()
    }
}

/// Whether a person signs an alarm of this level: 蓝 is listed and counted, nobody signs it (design §8). An occurrence
/// that was ever worse has to be signed whatever its level is now.
#[must_use]
pub fn needs_ack(level: rules::Severity) -> bool {
    level != rules::Severity::Blue
}

/// Identity of the alarm of a rule and a scope.
#[must_use]
pub fn alarm_id(rule: &str, scope: &rules::Scope) -> String {
    let mut id = sha256_hex(&[scope.site.as_bytes(), rule.as_bytes(), scope.object.as_bytes()]);
    id.truncate(16);
    id
}
