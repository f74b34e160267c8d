//! Registers to values: pure, total, no allocation per value beyond the output.
//!
//! Called by a bus task for each reply and by the profiles' own tests. Whatever the registers hold, the result is a
//! number with a mark or NaN with a reason; no input makes it panic and no doubt is silently dropped:
//! a sentinel, a NaN or a missing word is bad; a value beyond the range is the range's end, uncertain.

use wire::{Mark, Quality, Reason};

use crate::profile::{Code, Effect, Kind, Point};
use crate::reading::Value;
use decimal::Decimal;

pub mod decimal;

/// No number, because of `reason`.
const fn void(reason: Reason) -> Value {
    Value { value: f64::NAN, mark: Mark::bad(reason) }
}

/// Decodes `columns` (indexes into `points`) out of the words of one reply that began at address `start`.
///
/// `all` names every point of the request, status words without a column included; what they govern among the columns
/// gets their mark. For coils and discrete inputs a word is one bit, 0 or 1.
#[must_use]
pub fn decode(
    points: &[Point],
    columns: &[usize],
    all: &[usize],
    start: u16,
    words: &[u16],
) -> Vec<Value> {
    let mut values: Vec<Value> = columns
        .iter()
        .map(|&column| points.get(column).map_or(void(Reason::Missing), |p| value(p, start, words)))
        .collect();
    for status in all.iter().filter_map(|&index| points.get(index)) {
        if status.governs.is_empty() {
            continue;
        }
        let effect = effect(status, start, words);
        for governed in &status.governs {
            let place = columns.iter().position(|column| column == governed);
            if let (Some(place), Some(point)) = (place, points.get(*governed)) {
                values[place] = apply(effect, values[place], point);
            }
        }
    }
    values
}

/// One point's value.
fn value(point: &Point, start: u16, words: &[u16]) -> Value {
    let Some(raw) = raw(point, start, words) else { return void(Reason::Missing) };
    if point.invalid.contains(&raw) {
        return void(Reason::Sentinel);
    }
    if !point.when.is_empty() || point.otherwise.is_some() {
        return Value { value: status_value(point, raw), mark: Mark::GOOD };
    }
    let Some(number) = number(point.kind, raw) else { return void(Reason::NotFinite) };
    let plain = point.factor.apply(number);
    let value = match point.code {
        Some(Code::FourQuadrantPf) => four_quadrant(plain),
        None => plain,
    };
    if !value.is_finite() {
        return void(Reason::NotFinite);
    }
    ranged(point, value)
}

fn ranged(point: &Point, value: f64) -> Value {
    match point.range {
        Some((low, _)) if value < low => {
            Value { value: low, mark: Mark::uncertain(Reason::UnderRange) }
        }
        Some((_, high)) if value > high => {
            Value { value: high, mark: Mark::uncertain(Reason::OverRange) }
        }
        _ => Value { value, mark: Mark::GOOD },
    }
}

/// The bits of the point's words, `None` where the reply does not hold them all.
fn raw(point: &Point, start: u16, words: &[u16]) -> Option<u64> {
    let first = usize::from(point.address.checked_sub(start)?);
    let words = words.get(first..first.checked_add(usize::from(point.kind.words()))?)?;
    let word = |w: &u16| u64::from(if point.low_byte_first { w.swap_bytes() } else { *w });
    let joined = if point.low_word_first {
        words.iter().rev().fold(0, |bits, w| bits << 16 | word(w))
    } else {
        words.iter().fold(0, |bits, w| bits << 16 | word(w))
    };
    match point.kind {
        Kind::Bit(bit) => Some(joined >> bit.min(15) & 1),
        _ => Some(joined),
    }
}

/// The bits as a number; `None` for NaN and infinities.
#[expect(clippy::cast_possible_truncation, reason = "the bits of the kind's own width")]
fn number(kind: Kind, raw: u64) -> Option<Decimal> {
    let whole = match kind {
        Kind::U16 | Kind::U32 | Kind::U64 | Kind::Bit(_) => i128::from(raw),
        Kind::I16 => i128::from(raw as u16 as i16),
        Kind::I32 => i128::from(raw as u32 as i32),
        Kind::I64 => i128::from(raw as i64),
        Kind::F32 => return Decimal::shortest_f32(f32::from_bits(raw as u32)),
    };
    Some(Decimal::whole(whole))
}

/// 4Q_FP_PF: 2 − x above 1 is leading, −2 − x below −1.
fn four_quadrant(x: f64) -> f64 {
    if x > 1.0 {
        2.0 - x
    } else if x < -1.0 {
        -2.0 - x
    } else {
        x
    }
}

fn matching(point: &Point, raw: u64) -> Option<&crate::profile::When> {
    point.when.iter().find(|when| {
        let bits = raw & when.mask;
        if when.any { bits != 0 } else { bits == when.equals & when.mask }
    })
}

#[expect(clippy::cast_precision_loss, reason = "a status word has 16 or 32 bits")]
fn status_value(point: &Point, raw: u64) -> f64 {
    match matching(point, raw) {
        Some(when) => when.value.unwrap_or(raw as f64),
        None => point.otherwise.unwrap_or(raw as f64),
    }
}

/// What a status word says now. One that is missing from the reply voids what it governs.
fn effect(status: &Point, start: u16, words: &[u16]) -> Option<Effect> {
    match raw(status, start, words) {
        Some(raw) => matching(status, raw).and_then(|when| when.effect),
        None => Some(Effect::Void(Mark::bad(Reason::Missing))),
    }
}

fn apply(effect: Option<Effect>, value: Value, point: &Point) -> Value {
    match effect {
        None => value,
        Some(Effect::Void(mark)) => Value { value: f64::NAN, mark },
        Some(Effect::OverRange) => match point.range {
            Some((_, high)) => Value { value: high, mark: Mark::uncertain(Reason::OverRange) },
            None if value.mark.quality == Quality::Bad => value,
            None => Value { mark: Mark::uncertain(Reason::OverRange), ..value },
        },
        // An over-range reading stays one while the sensor warms up: the worse news wins.
        Some(Effect::Doubt(mark)) if value.mark == Mark::GOOD => Value { mark, ..value },
        Some(Effect::Doubt(_)) => value,
    }
}

#[cfg(test)]
mod tests;
