//! Exact decimal numbers between a register and a float: a value is rounded once, at the end.
//!
//! Used by `decode.rs` and by the profile reader. No float arithmetic happens before the last step and no platform
//! `libm` is called, so the same registers give the same bits on every machine.

/// mantissa × 10^exponent, exact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decimal {
    mantissa: i128,
    exponent: i32,
}

/// A positive factor num / den × 10^exponent, exact: scale, unit conversion, CT and PT in one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Factor {
    num: i128,
    den: i128,
    exponent: i32,
}

/// Largest numerator or denominator of a factor: a 64-bit register times it still fits 127 bits.
const PART_MAX: i128 = 1_000_000_000_000_000_000;

/// Integers up to here are exact as f64.
const EXACT_MAX: u128 = 1 << 53;

/// Powers of ten that are exact as f64.
const POW10: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];

impl Decimal {
    /// A whole number.
    #[must_use]
    pub const fn whole(number: i128) -> Self {
        Self { mantissa: number, exponent: 0 }
    }

    /// The shortest decimal that reads back as this float32, the same as [`wire::shortest_f32`]; `None` where it is
    /// no number.
    #[must_use]
    pub fn shortest_f32(number: f32) -> Option<Self> {
        if !number.is_finite() {
            return None;
        }
        Self::parse(ryu::Buffer::new().format_finite(number))
    }

    /// Reads `-12.5`, `0.001`, `1e-3`; `None` where it is no decimal or has more than 30 digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (body, exponent) = match text.split_once(['e', 'E']) {
            Some((body, exponent)) => (body, exponent.parse::<i32>().ok()?),
            None => (text, 0),
        };
        let (whole, fraction) = body.split_once('.').unwrap_or((body, ""));
        let negative = whole.starts_with('-');
        let whole = whole.strip_prefix(['-', '+']).unwrap_or(whole);
        if whole.is_empty() || whole.len() + fraction.len() > 30 {
            return None;
        }
        let mut mantissa: i128 = 0;
        for digit in whole.chars().chain(fraction.chars()) {
            mantissa = mantissa * 10 + i128::from(digit.to_digit(10)?);
        }
        let exponent = exponent.checked_sub(i32::try_from(fraction.len()).ok()?)?;
        if !(-400..=400).contains(&exponent) {
            return None;
        }
        Some(Self { mantissa: if negative { -mantissa } else { mantissa }, exponent })
    }

    /// The nearest float.
    #[must_use]
    pub fn to_f64(self) -> f64 {
        Factor::ONE.apply(self)
    }
}

impl Factor {
    /// Changes nothing.
    pub const ONE: Self = Self { num: 1, den: 1, exponent: 0 };

    /// Reads a positive decimal (`0.1`) or a ratio of two (`"400/5"`).
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (num, den) = match text.split_once('/') {
            Some((num, den)) => (Decimal::parse(num.trim())?, Decimal::parse(den.trim())?),
            None => (Decimal::parse(text.trim())?, Decimal::whole(1)),
        };
        if num.mantissa <= 0 || den.mantissa <= 0 {
            return None;
        }
        Self { num: num.mantissa, den: den.mantissa, exponent: num.exponent - den.exponent }
            .reduced()
    }

    /// Mantissa and power of ten, e.g. (6, -2) for L/min to m³/h.
    #[must_use]
    pub const fn decimal(mantissa: i128, exponent: i32) -> Self {
        Self { num: mantissa, den: 1, exponent }
    }

    /// Both, one after the other; `None` where the digits no longer fit.
    #[must_use]
    pub fn times(self, other: Self) -> Option<Self> {
        Self {
            num: self.num.checked_mul(other.num)?,
            den: self.den.checked_mul(other.den)?,
            exponent: self.exponent.checked_add(other.exponent)?,
        }
        .reduced()
    }

    /// This factor divided by the other; `None` where the digits no longer fit.
    #[must_use]
    pub fn over(self, other: Self) -> Option<Self> {
        self.times(Self { num: other.den, den: other.num, exponent: -other.exponent })
    }

    /// The value times the factor, rounded once to the nearest float. (A ratio that is no finite decimal, such as
    /// 10/3, is rounded once too as long as both sides stay below 2^53, which registers times CT ratios do.)
    #[must_use]
    pub fn apply(self, value: Decimal) -> f64 {
        let Some(num) = value.mantissa.checked_mul(self.num) else {
            return value.mantissa as f64 * (self.num as f64 / self.den as f64);
        };
        let exponent = value.exponent.saturating_add(self.exponent);
        let small = num.unsigned_abs() <= EXACT_MAX;
        let power = POW10.get(usize::try_from(exponent.unsigned_abs()).unwrap_or(usize::MAX));
        if self.den == 1 {
            return match power {
                Some(power) if small && exponent < 0 => num as f64 / power,
                Some(_) if exponent == 0 => num as f64,
                _ => format!("{num}e{exponent}").parse().unwrap_or(f64::NAN),
            };
        }
        let power = power.copied().unwrap_or(f64::INFINITY);
        if exponent < 0 {
            num as f64 / (self.den as f64 * power)
        } else {
            num as f64 * power / self.den as f64
        }
    }

    /// Lowest terms, with the denominator's 2s and 5s moved into the power of ten.
    fn reduced(self) -> Option<Self> {
        let Self { mut num, mut den, mut exponent } = self;
        while den % 10 == 0 {
            (den, exponent) = (den / 10, exponent - 1);
        }
        while den % 2 == 0 {
            (num, den, exponent) = (num.checked_mul(5)?, den / 2, exponent - 1);
        }
        while den % 5 == 0 {
            (num, den, exponent) = (num.checked_mul(2)?, den / 5, exponent - 1);
        }
        let common = gcd(num, den);
        (num, den) = (num / common, den / common);
        while num % 10 == 0 {
            (num, exponent) = (num / 10, exponent + 1);
        }
        let fits = num <= PART_MAX && den <= PART_MAX && (-60..=60).contains(&exponent);
        fits.then_some(Self { num, den, exponent })
    }
}

fn gcd(a: i128, b: i128) -> i128 {
    if b == 0 { a } else { gcd(b, a % b) }
}
