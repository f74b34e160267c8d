//! Doubles that are no short decimals: XOR with the value before, then one plane per byte, which compresses.
//! Rare: a register or a BCD field is always a short decimal.

use super::read::Reader;
use crate::error::DecodeError;

#[expect(clippy::cast_possible_truncation, reason = "the low eight bits are meant")]
pub(super) fn encode(values: &[f64], out: &mut Vec<u8>) {
    for plane in 0..8 {
        let mut before = 0;
        for value in values {
            let bits = value.to_bits();
            out.push(((bits ^ before) >> (8 * plane)) as u8);
            before = bits;
        }
    }
}

/// Reads `count` finite values, adding them to `out`.
pub(super) fn decode(
    r: &mut Reader<'_>,
    count: usize,
    out: &mut Vec<f64>,
) -> Result<(), DecodeError> {
    let bytes = r.take(count * 8)?;
    let mut before = 0_u64;
    for i in 0..count {
        for plane in 0..8 {
            before ^= u64::from(bytes[plane * count + i]) << (8 * plane);
        }
        let value = f64::from_bits(before);
        if !value.is_finite() {
            return Err(r.wrong("a value that is not finite"));
        }
        out.push(value + 0.0);
    }
    Ok(())
}
