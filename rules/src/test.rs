//! The tests a rule can make of its inputs, with three answers: true, false, unknown.
//!
//! One function judges both the running engine's inputs and those kept in evidence, so a verdict can be judged
//! again from its evidence. Arithmetic is + − × ÷ in a fixed order; a value that is not finite is UNKNOWN.

use serde::{Deserialize, Serialize};

/// Three-valued truth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Tri {
    /// Known not to hold.
    False,
    /// Known to hold.
    True,
    /// Not known: neither raises nor clears.
    Unknown,
}

/// On which side of the value the true value may lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[repr(u8)]
pub enum Bound {
    /// The value is the value.
    Exact = 0,
    /// The value is the range's upper end; the true value lies at or above it.
    Over = 1,
    /// The value is the range's lower end; the true value lies at or below it.
    Under = 2,
}

/// The inputs of a test. Values are already divided by the input's rating; UNKNOWN is NaN.
pub trait Inputs {
    /// Number of inputs.
    fn count(&self) -> usize;
    /// Value of input `i`, NaN when UNKNOWN.
    fn value(&self, i: usize) -> f64;
    /// Side of input `i`.
    fn bound(&self, i: usize) -> Bound;
    /// Side of the rule that input `i` belongs to.
    fn member(&self, i: usize) -> u8;
}

/// A test with its numbers, for one level of one rule at one scope.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Test {
    /// First input ≥ limit; clears below `clear`.
    High {
        /// Raises at or above.
        limit: f64,
        /// Clears below.
        clear: f64,
    },
    /// First input ≥ limit while member 1 (its rate) is ≥ `rise`, or the input is above its range; clears below `clear`
    /// or when it rises more slowly than `rise_clear`.
    HighRising {
        /// Raises at or above.
        limit: f64,
        /// Clears below.
        clear: f64,
        /// Rises at least so fast.
        rise: f64,
        /// Clears when it rises more slowly.
        rise_clear: f64,
    },
    /// First input ≤ limit; clears above `clear`.
    Low {
        /// Raises at or below.
        limit: f64,
        /// Clears above.
        clear: f64,
    },
    /// Every input of member 0 < limit; clears when one is ≥ `clear`.
    AllBelow {
        /// Raises below.
        limit: f64,
        /// Clears at or above.
        clear: f64,
    },
    /// As [`Test::AllBelow`] while every switch of member 1 is 0; clears when one is set, too.
    AllBelowUnset {
        /// Raises below.
        limit: f64,
        /// Clears at or above.
        clear: f64,
    },
    /// Member 0 runs and every input of member 1 is < limit; clears when one is ≥ `clear` or member 0 stops.
    RunsWithout {
        /// Raises below.
        limit: f64,
        /// Clears at or above.
        clear: f64,
    },
    /// As [`Test::RunsWithout`], of machines that run and do too little: magnitudes as shares of what is usual, since a
    /// fan that draws air has a negative pressure.
    RunsWeak {
        /// Raises below.
        limit: f64,
        /// Clears at or above.
        clear: f64,
    },
    /// At least `limit` marks of member 0 stand.
    Votes {
        /// So many.
        limit: f64,
    },
    /// A gateway's last will or last gasp together with those of at least `need` neighbours on its feeder; judged by
    /// [`crate::feeder`] alone.
    Neighbours {
        /// So many neighbours.
        need: u32,
        /// Within so long of each other, ms.
        within_ms: i64,
    },
    /// Under an order, activity (P − base) ÷ (reference − base) ≥ limit; clears below `clear`.
    Activity {
        /// Security load, kW.
        base: f64,
        /// Power in production, kW.
        reference: f64,
        /// Raises at or above.
        limit: f64,
        /// Clears below.
        clear: f64,
        /// Whether an order forbids production now.
        ordered: bool,
    },
    /// Under an order, at least one input runs.
    RunOrdered {
        /// Whether an order forbids production now.
        ordered: bool,
    },
    /// One input < `low` while all others > `high`; clears when none is < `clear`.
    OneLow {
        /// One is below.
        low: f64,
        /// The others are above.
        high: f64,
        /// Clears when all are at or above.
        clear: f64,
    },
    /// Any input outside `low..=high`; clears when all are inside `low_clear..=high_clear`.
    Outside {
        /// Raises below.
        low: f64,
        /// Raises above.
        high: f64,
        /// Clears at or above.
        low_clear: f64,
        /// Clears at or below.
        high_clear: f64,
    },
    /// Any input of member 1 is UNKNOWN while none of member 0 says that the equipment is known to stand.
    InputUnknown,
    /// Every input of member 1 is UNKNOWN while an input of member 0 is 1.
    SilentWhile,
    /// No usable sample (of a gateway: no block) for longer than `limit_ms`; judged by time alone.
    Silent {
        /// Longest silence, ms.
        limit_ms: i64,
    },
}

/// Tells whether a value is at or above a limit.
pub(crate) fn at_least(value: f64, bound: Bound, limit: f64) -> Tri {
    if value.is_nan() {
        return Tri::Unknown;
    }
    match (bound, value >= limit) {
        (Bound::Exact, true) | (Bound::Over, _) => Tri::True,
        (_, false) => Tri::False,
        (Bound::Under, true) => Tri::Unknown,
    }
}

/// Tells whether a value is below a limit.
pub(crate) fn below(value: f64, bound: Bound, limit: f64) -> Tri {
    if value.is_nan() {
        return Tri::Unknown;
    }
    match (bound, value < limit) {
        (Bound::Exact, true) | (Bound::Under, _) => Tri::True,
        (_, false) => Tri::False,
        (Bound::Over, true) => Tri::Unknown,
    }
}

impl Tri {
    /// Makes a truth of a known one.
    pub fn of(known: bool) -> Self {
        if known { Self::True } else { Self::False }
    }

    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::False, _) | (_, Self::False) => Self::False,
            (Self::True, Self::True) => Self::True,
            _ => Self::Unknown,
        }
    }

    fn or(self, other: Self) -> Self {
        self.not().and(other.not()).not()
    }

    fn not(self) -> Self {
        match self {
            Self::False => Self::True,
            Self::True => Self::False,
            Self::Unknown => Self::Unknown,
        }
    }
}

/// Adds the inputs up in their order; NaN if one is UNKNOWN.
pub(crate) fn total(inputs: &impl Inputs) -> (f64, Bound) {
    let mut sum = 0.0;
    let (mut over, mut under) = (false, false);
    for i in 0..inputs.count() {
        sum += inputs.value(i);
        over |= inputs.bound(i) == Bound::Over;
        under |= inputs.bound(i) == Bound::Under;
    }
    match (over, under) {
        (true, true) => (f64::NAN, Bound::Exact),
        (true, false) => (sum, Bound::Over),
        (false, true) => (sum, Bound::Under),
        (false, false) => (sum, Bound::Exact),
    }
}

/// Computes production activity, clipped to 0..=1.5; NaN when not finite.
pub(crate) fn activity(power: f64, base: f64, reference: f64) -> f64 {
    let act = (power - base) / (reference - base);
    if act.is_finite() { act.clamp(0.0, 1.5) } else { f64::NAN }
}

fn every_below(inputs: &impl Inputs, member: u8, limit: f64) -> Tri {
    let mut all = Tri::True;
    for i in 0..inputs.count() {
        if inputs.member(i) == member {
            all = all.and(below(inputs.value(i), inputs.bound(i), limit));
        }
    }
    all
}

/// Inputs without their sign.
struct Magnitude<'a, T>(&'a T);

impl<T: Inputs> Inputs for Magnitude<'_, T> {
    fn count(&self) -> usize {
        self.0.count()
    }
    fn value(&self, i: usize) -> f64 {
        self.0.value(i).abs()
    }
    fn bound(&self, i: usize) -> Bound {
        match (self.0.bound(i), self.0.value(i) < 0.0) {
            (Bound::Over, true) => Bound::Under,
            (Bound::Under, true) => Bound::Over,
            (bound, _) => bound,
        }
    }
    fn member(&self, i: usize) -> u8 {
        self.0.member(i)
    }
}

fn any_runs(inputs: &impl Inputs, member: u8) -> Tri {
    let mut any = Tri::False;
    for i in 0..inputs.count() {
        if inputs.member(i) == member {
            any = any.or(at_least(inputs.value(i), Bound::Exact, 0.5));
        }
    }
    any
}

fn votes(inputs: &impl Inputs, limit: f64) -> Tri {
    let (mut set, mut unknown) = (0u32, 0u32);
    for i in (0..inputs.count()).filter(|&i| inputs.member(i) == 0) {
        match at_least(inputs.value(i), Bound::Exact, 0.5) {
            Tri::True => set += 1,
            Tri::Unknown => unknown += 1,
            Tri::False => {}
        }
    }
    match (f64::from(set) >= limit, f64::from(set + unknown) >= limit) {
        (true, _) => Tri::True,
        (false, true) => Tri::Unknown,
        (false, false) => Tri::False,
    }
}

/// Tells whether the first input is high and still rising. What is above its range cannot be seen to rise, and did.
fn high_rising(inputs: &impl Inputs, limit: f64, rise: f64) -> Tri {
    let high = at_least(inputs.value(0), inputs.bound(0), limit);
    let is_over = inputs.bound(0) == Bound::Over && !inputs.value(0).is_nan();
    let mut rises = Tri::of(is_over);
    for i in (0..inputs.count()).filter(|&i| inputs.member(i) == 1) {
        rises = rises.or(at_least(inputs.value(i), inputs.bound(i), rise));
    }
    high.and(rises)
}

fn one_low(inputs: &impl Inputs, low: f64, high: f64) -> Tri {
    let (mut lows, mut highs, mut unknown) = (0, 0, 0);
    for i in 0..inputs.count() {
        let (value, bound) = (inputs.value(i), inputs.bound(i));
        match (below(value, bound, low), at_least(value, bound, high)) {
            (Tri::True, _) => lows += 1,
            (_, Tri::True) => highs += 1,
            (Tri::Unknown, _) | (_, Tri::Unknown) => unknown += 1,
            (Tri::False, Tri::False) => return Tri::False,
        }
    }
    match (lows, unknown) {
        (1, 0) => Tri::of(highs > 0),
        (0, 0) | (2.., _) => Tri::False,
        _ => Tri::Unknown,
    }
}

fn any_below(inputs: &impl Inputs, limit: f64) -> Tri {
    let mut any = Tri::False;
    for i in 0..inputs.count() {
        any = any.or(below(inputs.value(i), inputs.bound(i), limit));
    }
    any
}

fn any_outside(inputs: &impl Inputs, low: f64, high: f64) -> Tri {
    let mut any = any_below(inputs, low);
    for i in 0..inputs.count() {
        let (value, bound) = (inputs.value(i), inputs.bound(i));
        let above = if value.is_nan() {
            Tri::Unknown
        } else {
            match (bound, value > high) {
                (Bound::Exact, true) | (Bound::Over, _) => Tri::True,
                (_, false) => Tri::False,
                (Bound::Under, true) => Tri::Unknown,
            }
        };
        any = any.or(above);
    }
    any
}

fn input_unknown(inputs: &impl Inputs) -> Tri {
    let (mut stands, mut guards, mut unknown) = (0, 0, false);
    for i in 0..inputs.count() {
        let value = inputs.value(i);
        if inputs.member(i) == 0 {
            guards += 1;
            stands += i32::from(value < 0.5);
        } else {
            unknown |= value.is_nan();
        }
    }
    Tri::of(unknown && (guards == 0 || stands < guards))
}

fn silent_while(inputs: &impl Inputs) -> Tri {
    let mut silent = true;
    for i in 0..inputs.count() {
        silent &= inputs.member(i) == 0 || inputs.value(i).is_nan();
    }
    Tri::of(silent).and(any_runs(inputs, 0))
}

impl Test {
    /// Judges the inputs. `active` tells whether the level is active, which moves limits by their deadband.
    pub fn judge(&self, active: bool, inputs: &impl Inputs) -> Tri {
        let pick = |limit: f64, clear: f64| if active { clear } else { limit };
        match *self {
            Self::High { limit, clear } => {
                at_least(inputs.value(0), inputs.bound(0), pick(limit, clear))
            }
            Self::Low { limit, clear } => low_or_equal(inputs, pick(limit, clear)),
            Self::HighRising { limit, clear, rise, rise_clear } => {
                high_rising(inputs, pick(limit, clear), pick(rise, rise_clear))
            }
            Self::AllBelow { limit, clear } => every_below(inputs, 0, pick(limit, clear)),
            Self::AllBelowUnset { limit, clear } => {
                every_below(inputs, 0, pick(limit, clear)).and(any_runs(inputs, 1).not())
            }
            Self::Votes { limit } => votes(inputs, limit),
            Self::RunsWeak { limit, clear } => {
                any_runs(inputs, 0).and(every_below(&Magnitude(inputs), 1, pick(limit, clear)))
            }
            Self::RunsWithout { limit, clear } => {
                any_runs(inputs, 0).and(every_below(inputs, 1, pick(limit, clear)))
            }
            Self::Activity { ordered: false, .. } | Self::RunOrdered { ordered: false } => {
                Tri::False
            }
            Self::Activity { base, reference, limit, clear, ordered: true } => {
                let (power, bound) = total(inputs);
                at_least(activity(power, base, reference), bound, pick(limit, clear))
            }
            Self::RunOrdered { ordered: true } => any_runs(inputs, 0),
            Self::OneLow { low, high, clear } => {
                if active {
                    any_below(inputs, clear)
                } else {
                    one_low(inputs, low, high)
                }
            }
            Self::Outside { low, high, low_clear, high_clear } => {
                any_outside(inputs, pick(low, low_clear), pick(high, high_clear))
            }
            Self::InputUnknown => input_unknown(inputs),
            Self::SilentWhile => silent_while(inputs),
            Self::Silent { .. } | Self::Neighbours { .. } => Tri::Unknown,
        }
    }

    /// Returns the one value the test compares, if there is one and it is known.
    pub fn value(&self, inputs: &impl Inputs) -> Option<f64> {
        let values = || (0..inputs.count()).map(|i| inputs.value(i));
        let found = match *self {
            Self::High { .. } | Self::HighRising { .. } | Self::Low { .. } => inputs.value(0),
            Self::AllBelow { .. } | Self::AllBelowUnset { .. } => (0..inputs.count())
                .filter(|&i| inputs.member(i) == 0)
                .map(|i| inputs.value(i))
                .fold(f64::NEG_INFINITY, f64::max),
            Self::Votes { .. } => (0..inputs.count())
                .filter(|&i| inputs.member(i) == 0 && inputs.value(i) >= 0.5)
                .fold(0.0, |n, _| n + 1.0),
            Self::RunsWeak { .. } => (0..inputs.count())
                .filter(|&i| inputs.member(i) == 1)
                .map(|i| inputs.value(i).abs())
                .fold(f64::NEG_INFINITY, f64::max),
            Self::RunsWithout { .. } => (0..inputs.count())
                .filter(|&i| inputs.member(i) == 1)
                .map(|i| inputs.value(i))
                .fold(f64::NEG_INFINITY, f64::max),
            Self::Activity { base, reference, .. } => activity(total(inputs).0, base, reference),
            Self::OneLow { .. } => values().fold(f64::INFINITY, f64::min),
            Self::Outside { low, high, .. } => worst(inputs, low, high),
            Self::RunOrdered { .. }
            | Self::InputUnknown
            | Self::SilentWhile
            | Self::Neighbours { .. }
            | Self::Silent { .. } => f64::NAN,
        };
        found.is_finite().then_some(found)
    }

    /// Returns the limit that raises and the one that clears, where a single value is compared.
    pub fn limits(&self) -> (Option<f64>, Option<f64>) {
        match *self {
            Self::High { limit, clear }
            | Self::HighRising { limit, clear, .. }
            | Self::AllBelowUnset { limit, clear }
            | Self::RunsWeak { limit, clear }
            | Self::Low { limit, clear }
            | Self::AllBelow { limit, clear }
            | Self::RunsWithout { limit, clear }
            | Self::Activity { limit, clear, .. } => (Some(limit), Some(clear)),
            Self::OneLow { low, clear, .. } => (Some(low), Some(clear)),
            Self::Votes { limit } => (Some(limit), Some(limit)),
            _ => (None, None),
        }
    }
}

fn low_or_equal(inputs: &impl Inputs, limit: f64) -> Tri {
    let (value, bound) = (inputs.value(0), inputs.bound(0));
    if value.is_nan() {
        return Tri::Unknown;
    }
    match (bound, value <= limit) {
        (Bound::Exact, true) | (Bound::Under, _) => Tri::True,
        (_, false) => Tri::False,
        (Bound::Over, true) => Tri::Unknown,
    }
}

/// Picks the known input farthest from the middle of the band.
fn worst(inputs: &impl Inputs, low: f64, high: f64) -> f64 {
    let middle = (low + high) / 2.0;
    let mut found = f64::NAN;
    for i in 0..inputs.count() {
        let value = inputs.value(i);
        let nearer = (value - middle).abs() <= (found - middle).abs();
        if !value.is_nan() && (found.is_nan() || !nearer) {
            found = value;
        }
    }
    found
}
