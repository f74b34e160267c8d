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

mod apply;
pub mod machine;
mod query;
mod sign;

#[cfg(test)]
mod tests;

pub use crate::state::entity::alarming::occurrence::Model as Occurrence;
pub use apply::CHANNEL_DUTY;
pub use query::{HistoryRow, Listing, OccurrenceFilter, PAGE_MAX, VerdictRow};
pub use sign::{AckError, COMMENT_CHARS_MAX, Signer};

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

/// A live transition, for alarms and the duty journal.
#[derive(Debug, Clone, PartialEq)]
pub struct DutyEvent {
    /// What was decided.
    pub transition: Transition,
    /// How it reaches people.
    pub page: Page,
    /// What it corrects, if it is the settled verdict about something that was already decided live: then it changes
    /// no axis, it is only kept beside.
    pub amends: Option<String>,
    /// False for statistical 蓝 events, which are listed and counted but have nothing to sign.
    pub needs_ack: bool,
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
    /// What happened: raise, clear, level_up, level_down, unsuppress, amends, ack, reset.
    pub kind: &'static str,
    /// The occurrence now.
    pub occurrence: Occurrence,
    /// Whether this change asks for attention.
    pub pages: bool,
}

/// Identity of the alarm of a rule and a scope.
#[must_use]
pub fn alarm_id(rule: &str, scope: &rules::Scope) -> String {
    let mut id = sha256_hex(&[scope.site.as_bytes(), rule.as_bytes(), scope.object.as_bytes()]);
    id.truncate(16);
    id
}
