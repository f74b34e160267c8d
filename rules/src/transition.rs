//! What the engine says: an alarm was raised, rose or sank in level, or cleared.
//!
//! Made by the engine and by the staleness monitor; kept by journals and alarms under [`Transition::key`], which is
//! derived from nothing but rule, scope, kind, level, time segment and event time.

use crate::evidence::Evidence;
use crate::series::Ms;
use serde::{Deserialize, Serialize};
use std::fmt;

/// 红橙黄蓝. Ordered so that the more severe one is the smaller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// 红, 1.
    Red = 1,
    /// 橙, 2.
    Orange = 2,
    /// 黄, 3.
    Yellow = 3,
    /// 蓝, 4.
    Blue = 4,
}

impl Severity {
    /// Returns 1 (红) to 4 (蓝).
    pub fn number(self) -> u8 {
        self as u8
    }

    /// Returns the severity of a number from 1 to 4.
    pub fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Red),
            2 => Some(Self::Orange),
            3 => Some(Self::Yellow),
            4 => Some(Self::Blue),
            _ => None,
        }
    }
}

/// Where a rule stands: a site and, inside it, the object the alarm is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Scope {
    /// Site id.
    pub site: String,
    /// Device, group, pair (`production>protective`) or protected object; empty for the site itself.
    pub object: String,
}

impl Scope {
    /// Makes a scope of a site and an object.
    pub fn new(site: impl Into<String>, object: impl Into<String>) -> Self {
        Self { site: site.into(), object: object.into() }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.object.is_empty() {
            f.write_str(&self.site)
        } else {
            write!(f, "{}/{}", self.site, self.object)
        }
    }
}

/// What changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TransitionKind {
    /// The alarm became active.
    Raise,
    /// An active alarm became more severe.
    LevelUp,
    /// An active alarm became less severe.
    LevelDown,
    /// What suppressed the page of an active alarm ended while the alarm still holds: it may page now.
    Unsuppress,
    /// The alarm is over.
    Clear,
}

impl TransitionKind {
    /// Returns the name used in keys and in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Raise => "raise",
            Self::LevelUp => "level_up",
            Self::LevelDown => "level_down",
            Self::Unsuppress => "unsuppress",
            Self::Clear => "clear",
        }
    }
}

/// The identity of a transition, stable for ever: the same log gives the same keys after any restart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TransitionKey {
    /// Rule id.
    pub rule: String,
    /// Where.
    pub scope: Scope,
    /// What changed.
    pub kind: TransitionKind,
    /// Level reached (for a clear: the level left).
    pub level: Severity,
    /// Time segment of the gateway.
    pub segment: u32,
    /// Event time.
    pub t: Ms,
}

impl fmt::Display for TransitionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}|{}|{}|{}|{}|{}",
            self.rule,
            self.scope,
            self.kind.name(),
            self.level.number(),
            self.segment,
            self.t
        )
    }
}

/// One change of one alarm.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Transition {
    /// Rule id, such as `R21`.
    pub rule: String,
    /// Where.
    pub scope: Scope,
    /// Level reached (for a clear: the level left).
    pub level: Severity,
    /// The source's own word for the level (一级, HH, …); not a severity.
    pub source_level: Option<String>,
    /// What changed.
    pub kind: TransitionKind,
    /// Event time of the change: the deadline at which a delay expired, not the tick that saw it.
    pub t: Ms,
    /// Since when the condition behind the change holds.
    pub since: Ms,
    /// Time segment of the gateway.
    pub segment: u32,
    /// True where the alarm stays until a person resets it, although the condition is over.
    pub latching: bool,
    /// Why.
    pub evidence: Box<Evidence>,
}

impl Transition {
    /// Returns the identity of this transition.
    pub fn key(&self) -> TransitionKey {
        TransitionKey {
            rule: self.rule.clone(),
            scope: self.scope.clone(),
            kind: self.kind,
            level: self.level,
            segment: self.segment,
            t: self.t,
        }
    }

    /// Tells whether something forbids a page for this change (calibration, work approved by the bureau).
    pub fn is_suppressed(&self) -> bool {
        self.evidence.suppression.is_some()
    }
}
