//! Why a transition came: everything needed to explain it to a duty officer and to judge it again.
//!
//! Filled by the engine at the transition, kept as JSON in the journal, read by the API and by [`mod@crate::why`].
//! Never holds arrival times, log positions or people's actions: edge and centre must agree on it.

use crate::series::{Ms, Quality, SeriesKey};
use crate::text::Text;
use crate::transition::{Scope, Severity, TransitionKind};
use serde::{Deserialize, Serialize};

pub use crate::text::Lang;

/// Where a parameter's value came from, weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The catalogue's default.
    Template,
    /// Set for a sector tag.
    Sector,
    /// Set for the site.
    Site,
    /// Set for the device, group, pair or object.
    Asset,
}

/// One resolved parameter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Parameter {
    /// Name in the catalogue.
    pub name: String,
    /// Value used, in `unit`.
    pub value: f64,
    /// Unit.
    pub unit: String,
    /// Where it came from.
    pub origin: Origin,
    /// True when it is not the catalogue's default.
    pub overridden: bool,
}

/// One input as it stood at the transition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Input {
    /// Which series.
    pub series: SeriesKey,
    /// The device's name.
    pub device_name: Text,
    /// What the value is: the quantity itself, a mean over a window, a run state.
    pub measure: Measure,
    /// Unit of `value`.
    pub unit: String,
    /// The value the rule used, `None` where it was UNKNOWN.
    pub value: Option<f64>,
    /// Quality of the last usable sample.
    pub quality: Quality,
    /// Event time of the last usable sample, `None` if there was none in this time segment.
    pub t: Option<Ms>,
    /// Which member (fan 1, fan 2, …) or side of the rule the input belongs to.
    pub member: u8,
    /// The rating the value was divided by before it was compared; 1 where there is none.
    pub rating: f64,
}

/// What an input's value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// The last usable sample, held.
    Value,
    /// A mean over the minutes before.
    Mean {
        /// Length of the window in whole minutes.
        minutes: u16,
    },
    /// 1 running, 0 stopped, now.
    Run,
    /// 1 running, 0 stopped, when it was last known.
    LastRun,
    /// Change per hour over the minutes before.
    Slope {
        /// Length of the window in whole minutes.
        minutes: u16,
    },
    /// How far the value fell while nothing moved it.
    Fall {
        /// Longest time looked at, whole minutes.
        minutes: u16,
    },
    /// 1 where a limit was reached now or a short time ago, else 0.
    Mark,
}

/// A value computed on the way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Intermediate {
    /// Name, such as `act`, `p_site`.
    pub name: String,
    /// Value, `None` where UNKNOWN.
    pub value: Option<f64>,
    /// Unit.
    pub unit: String,
}

/// A fact that mattered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FactNote {
    /// The fact's id.
    pub id: String,
    /// Its revision.
    pub revision: u64,
    /// What it is, in words (停产整顿令 文号 …).
    pub what: Text,
    /// From when it is valid.
    pub valid_from: Ms,
    /// Until when, `None` for open end.
    pub valid_to: Option<Ms>,
}

/// Why a raise does not page.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Suppression {
    /// `calibration` or `approved_work`.
    pub by: String,
    /// The fact behind it.
    pub fact: FactNote,
    /// When it ends at the latest, `None` for open end.
    pub until: Option<Ms>,
}

/// Everything behind one transition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// Engine that judged.
    pub engine_version: u32,
    /// Rule id.
    pub rule: String,
    /// Version of the rule in the catalogue.
    pub rule_version: u32,
    /// The rule's name.
    pub rule_name: Text,
    /// Where.
    pub scope: Scope,
    /// Name of the site.
    pub site_name: Text,
    /// Name of the object the alarm is about.
    pub object_name: Text,
    /// Site's fixed offset from UTC in minutes, for the times in sentences.
    pub utc_offset_min: i32,
    /// What changed.
    pub kind: TransitionKind,
    /// Level reached (for a clear: the level left).
    pub level: Severity,
    /// The source's own word for the level.
    pub source_level: Option<String>,
    /// The test that decided, with its numbers.
    pub test: crate::test::Test,
    /// Parameters as resolved for this scope.
    pub parameters: Vec<Parameter>,
    /// Newest fact revision the engine had met.
    pub fact_revision: u64,
    /// Facts in force that the rule looks at or that a person should see on the alarm.
    pub facts: Vec<FactNote>,
    /// Inputs at the transition.
    pub inputs: Vec<Input>,
    /// Values computed on the way.
    pub intermediates: Vec<Intermediate>,
    /// The value that was compared, in `unit`; `None` where there is no single one.
    pub value: Option<f64>,
    /// Limit that raises.
    pub limit: Option<f64>,
    /// Limit that clears.
    pub clear_limit: Option<f64>,
    /// Unit of value and limits.
    pub unit: String,
    /// Delay before raising at this level, ms.
    pub on_ms: Ms,
    /// Delay before clearing this level, ms.
    pub off_ms: Ms,
    /// Time the condition was known to hold, ms: gaps are not counted.
    pub observed_ms: Ms,
    /// Since when the condition holds.
    pub since: Ms,
    /// First moment of the samples behind this (event time).
    pub samples_from: Ms,
    /// Last moment of the samples behind this: the transition.
    pub samples_to: Ms,
    /// Why it does not page, if so.
    pub suppression: Option<Suppression>,
    /// Set where no test decided: the rule left this place.
    pub note: Option<Text>,
}
