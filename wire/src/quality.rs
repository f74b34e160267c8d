//! How far a sample can be trusted, and why not further. Every sample carries a [`Mark`].
//! A failed read is never a number: bad and stale samples have no value (NaN in memory, no byte on the wire).

/// Quality of a sample. `origin` (live, backfill, feed) is not a quality.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(u8)]
pub enum Quality {
    /// Trusted.
    #[default]
    Good = 0,
    /// A number, but with a doubt (over range, warming up, calibration).
    Uncertain = 1,
    /// The read failed or the device says the value is void; no number.
    Bad = 2,
    /// The device repeats an old value; no number.
    Stale = 3,
    /// A number that somebody or something put in place of a reading.
    Substituted = 4,
}

impl Quality {
    /// Whether a sample of this quality has a number.
    #[must_use]
    pub fn has_value(self) -> bool {
        matches!(self, Self::Good | Self::Uncertain | Self::Substituted)
    }

    /// The quality of a code; `None` if there is none.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        [Self::Good, Self::Uncertain, Self::Bad, Self::Stale, Self::Substituted]
            .get(usize::from(code))
            .copied()
    }

    /// The word used in the API, in files and on pages.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Uncertain => "uncertain",
            Self::Bad => "bad",
            Self::Stale => "stale",
            Self::Substituted => "substituted",
        }
    }
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $text:literal;)*) => {
        /// Why a sample is not plainly good.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
        #[repr(u8)]
        #[non_exhaustive]
        pub enum Reason { $($(#[$doc])* $name = $code,)* }

        impl Reason {
            /// The reason of a code. One that a newer gateway invented reads as [`Reason::Other`].
            #[must_use]
            pub fn from_code(code: u8) -> Self {
                match code { $($code => Self::$name,)* _ => Self::Other }
            }

            /// The word used in the API, in files and on pages.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

reasons! {
    /// Nothing to say.
    #[default]
    None = 0, "";
    /// At or beyond the upper end of the range; the value is the range's end.
    OverRange = 1, "over_range";
    /// At or below the lower end of the range; the value is the range's end.
    UnderRange = 2, "under_range";
    /// The device answered with an exception.
    DeviceException = 3, "device_exception";
    /// The register held the value that means "no reading".
    Sentinel = 4, "sentinel";
    /// Not a number or infinite.
    NotFinite = 5, "not_finite";
    /// The sensor is warming up.
    WarmUp = 6, "warm_up";
    /// The sensor is being calibrated.
    Calibration = 7, "calibration";
    /// The detector is inhibited.
    Inhibited = 8, "inhibited";
    /// The sensor reports a fault of its own.
    SensorFault = 9, "sensor_fault";
    /// Changed faster than it physically can.
    RateOfChange = 10, "rate_of_change";
    /// No answer in time.
    Timeout = 11, "timeout";
    /// The answer was broken (checksum, length, wrong unit).
    Protocol = 12, "protocol";
    /// The link to the bus is down.
    LinkDown = 13, "link_down";
    /// The reply did not hold this point.
    Missing = 14, "missing";
    /// The device marks the value as old.
    DeviceStale = 15, "device_stale";
    /// Outside the limits that the profile calls plausible.
    Implausible = 16, "implausible";
    /// The value could not be decoded (bad BCD, unknown enumeration, wrong JSON type).
    Undecodable = 17, "undecodable";
    /// The time of the sample is in doubt.
    Clock = 18, "clock";
    /// Entered by a person.
    Manual = 19, "manual";
    /// A simulator or a test made it.
    Simulated = 20, "simulated";
    /// A reason that this program does not know.
    Other = 255, "other";
}

/// What a sample carries beside its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Mark {
    /// How far it can be trusted.
    pub quality: Quality,
    /// Why not further.
    pub reason: Reason,
}

impl Mark {
    /// Good, nothing to say.
    pub const GOOD: Self = Self { quality: Quality::Good, reason: Reason::None };

    /// A number with a doubt.
    #[must_use]
    pub const fn uncertain(reason: Reason) -> Self {
        Self { quality: Quality::Uncertain, reason }
    }

    /// No number.
    #[must_use]
    pub const fn bad(reason: Reason) -> Self {
        Self { quality: Quality::Bad, reason }
    }

    /// An old value repeated; no number.
    #[must_use]
    pub const fn stale(reason: Reason) -> Self {
        Self { quality: Quality::Stale, reason }
    }
}
