//! Exact decimals: what a meter, a file or a display says is what the store says.
//! The gateway's decoders use [`shortest_f32`] and [`scale_pow10`]; the columns use [`to_integers`].
//! Multiplication by 0.1 never happens here: a quotient of two exact doubles is correctly rounded, a product is not.

/// Powers of ten that a double holds exactly.
const POW10: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];

/// Integers up to here are exact in a double.
const EXACT: u64 = 1 << 53;

/// Most decimals that [`to_integers`] tries.
pub(crate) const DECIMALS_MAX: u8 = 9;

/// The shortest decimal that reads back as this float32, as a double: 0.1f32 gives 0.1, not 0.10000000149.
///
/// Not-a-number and infinities stay what they are.
#[must_use]
pub fn shortest_f32(value: f32) -> f64 {
    if !value.is_finite() {
        return f64::from(value);
    }
    ryu::Buffer::new().format_finite(value).parse().unwrap_or_else(|_| f64::from(value))
}

/// `mantissa` ÷ 10^`decimals`, correctly rounded.
#[must_use]
pub fn scale_pow10(mantissa: i64, decimals: u8) -> f64 {
    match POW10.get(usize::from(decimals)) {
        #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53, which is checked")]
        Some(power) if mantissa.unsigned_abs() <= EXACT => mantissa as f64 / power,
        _ => format!("{mantissa}e-{decimals}").parse().unwrap_or(f64::NAN),
    }
}

/// The smallest number of decimals, 0 to 9, at which every value is an integer ÷ 10ⁿ, bit for bit; the integers go to `out`.
///
/// `None` where there is none with integers below 2^53, or where a value is not finite or is -0.0.
pub(crate) fn to_integers(values: &[f64], out: &mut Vec<i64>) -> Option<u8> {
    let mut decimals = 0;
    for &value in values {
        while mantissa(value, decimals).is_none() {
            decimals += 1;
            if decimals > DECIMALS_MAX {
                return None;
            }
        }
    }
    out.clear();
    for &value in values {
        out.push(mantissa(value, decimals)?);
    }
    Some(decimals)
}

/// The integer below 2^53 that divided by 10^`decimals` gives exactly `value`.
fn mantissa(value: f64, decimals: u8) -> Option<i64> {
    let power = POW10[usize::from(decimals)];
    let near = (value * power).round_ties_even();
    if near.abs() > EXACT as f64 - 2.0 || !near.is_finite() {
        return None;
    }
    // The product is rounded: above 2^50 the true integer may be a neighbour of what it rounds to.
    let around: &[f64] = if near.abs() > (EXACT >> 3) as f64 { &[0.0, 1.0, -1.0] } else { &[0.0] };
    around
        .iter()
        .map(|step| near + step)
        .find(|m| (m / power).to_bits() == value.to_bits())
        .map(to_i64)
}

#[expect(clippy::cast_possible_truncation, reason = "an integer below 2^53, checked by the caller")]
fn to_i64(exact: f64) -> i64 {
    exact as i64
}

/// The double of integer ÷ 10ⁿ; the hot path of decoding. `decimals` is at most [`DECIMALS_MAX`].
#[expect(clippy::cast_precision_loss, reason = "decoders refuse integers of 2^53 and more")]
pub(crate) fn divide_into(mantissas: &[i64], decimals: u8, out: &mut Vec<f64>) {
    let power = POW10[usize::from(decimals)];
    if decimals == 0 {
        out.extend(mantissas.iter().map(|&m| m as f64));
    } else {
        out.extend(mantissas.iter().map(|&m| m as f64 / power));
    }
}

/// Whether every integer is below 2^53, so that its double is exact.
pub(crate) fn all_exact(mantissas: &[i64]) -> bool {
    let most = mantissas.iter().fold(0, |most, m| most | m.unsigned_abs());
    most < EXACT
}

/// `mantissa` · 10^`by`, if still below 2^53.
pub(crate) fn rescale(mantissa: i64, by: u8) -> Option<i64> {
    mantissa.checked_mul(10_i64.checked_pow(u32::from(by))?).filter(|m| m.unsigned_abs() < EXACT)
}

#[cfg(test)]
mod tests;
