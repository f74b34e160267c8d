//! Whether a rule can run at a scope, and what is on its way.
//!
//! Made by the engine for the rules page and the daily report. A rule that cannot run is never counted as quiet.

use crate::series::Ms;
use crate::text::Text;
use crate::transition::{Scope, Severity};
use serde::{Deserialize, Serialize};

/// State of one rule at one scope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It runs.
    Evaluating,
    /// It waits for a learnt value.
    Learning {
        /// When the learning ends.
        until: Ms,
    },
    /// It has no business here.
    NotApplicable {
        /// Why.
        why: Text,
    },
    /// It should run and cannot.
    Cannot {
        /// What is missing: point, rating, fact.
        missing: Vec<Text>,
    },
}

/// A delay that is running.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// Level it leads to (or leaves).
    pub level: Severity,
    /// True when it leads to a clear.
    pub clearing: bool,
    /// Since when the condition holds.
    pub since: Ms,
    /// How long it was known to hold, ms: "true for 18 …".
    pub for_ms: Ms,
    /// How long it must hold, ms: "… of 30 min".
    pub of_ms: Ms,
}

/// One line of the rules page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleState {
    /// Rule id.
    pub rule: String,
    /// Where.
    pub scope: Scope,
    /// Whether it can run.
    pub standing: Standing,
    /// What it lacks or was refused while it runs: a level without its limit, a delay shorter than two polls.
    pub lacking: Vec<Text>,
    /// True when it runs but an input is UNKNOWN now, so that it can neither raise nor clear.
    pub unknown: bool,
    /// Level of its active alarm.
    pub active: Option<Severity>,
    /// The delay that is running, if any.
    pub pending: Option<Pending>,
    /// Parameters that are not the catalogue's default.
    pub overridden: Vec<String>,
}
