//! Names of series and quality of samples, as the engine sees them.
//!
//! The gateway and the centre convert their own samples to these (one function on each side).
//! A failed read is never a number: [`Quality::Bad`] and [`Quality::Stale`] carry no value.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Unix time in milliseconds, UTC.
pub type Ms = i64;

/// Names a series: one quantity of one device of one site, whatever gateway reads it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SeriesKey {
    /// Site id.
    pub site: String,
    /// Device id, unique in its site.
    pub device: String,
    /// Name from the fixed vocabulary, such as `p_total`.
    pub quantity: String,
}

impl SeriesKey {
    /// Makes a key of its three parts.
    pub fn new(
        site: impl Into<String>,
        device: impl Into<String>,
        quantity: impl Into<String>,
    ) -> Self {
        Self { site: site.into(), device: device.into(), quantity: quantity.into() }
    }
}

impl fmt::Display for SeriesKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.site, self.device, self.quantity)
    }
}

/// How far a sample may be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Quality {
    /// Believed.
    Good,
    /// Doubtful. With `over` (`under`) the value is the upper (lower) end of the instrument's range and the
    /// true value lies at or beyond it: that satisfies an upper (lower) limit. Without either, or with both,
    /// the engine takes the sample as no answer.
    Uncertain {
        /// The instrument was above its range.
        over: bool,
        /// The instrument was below its range.
        under: bool,
    },
    /// A failed read: no number.
    Bad,
    /// An old value repeated by the device: no number.
    Stale,
    /// Filled in by somebody: charts may show it, no rule believes it.
    Substituted,
}

impl Quality {
    /// Tells whether a rule may use the sample's value.
    pub fn is_usable(self) -> bool {
        matches!(
            self,
            Self::Good
                | Self::Uncertain { over: true, under: false }
                | Self::Uncertain { over: false, under: true }
        )
    }
}

/// One sample as evidence keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Event time.
    pub t: Ms,
    /// Value in the series' unit.
    pub value: f64,
    /// How far it may be believed.
    pub quality: Quality,
}
