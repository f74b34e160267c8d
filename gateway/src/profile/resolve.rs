//! Joins a profile's points with the wiring of a site: CT, PT and periods become part of each point.
//!
//! All conversions are exact decimals; a value is rounded once, when it is decoded. Called at load and by the profiles'
//! own tests.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::{Point, PointSpec, Side};
use crate::decode::decimal::Factor;

/// Exact conversions between units: (from, to, mantissa, power of ten).
const CONVERSIONS: &[(&str, &str, i128, i32)] = &[
    ("W", "kW", 1, -3),
    ("MW", "kW", 1, 3),
    ("var", "kvar", 1, -3),
    ("Mvar", "kvar", 1, 3),
    ("VA", "kVA", 1, -3),
    ("MVA", "kVA", 1, 3),
    ("Wh", "kWh", 1, -3),
    ("MWh", "kWh", 1, 3),
    ("varh", "kvarh", 1, -3),
    ("Mvarh", "kvarh", 1, 3),
    ("mV", "V", 1, -3),
    ("kV", "V", 1, 3),
    ("mA", "A", 1, -3),
    ("A", "mA", 1, 3),
    ("mHz", "Hz", 1, -3),
    ("%", "1", 1, -2),
    ("ppb", "ppm", 1, -3),
    ("µg/m³", "mg/m³", 1, -3),
    ("Pa", "MPa", 1, -6),
    ("kPa", "MPa", 1, -3),
    ("bar", "MPa", 1, -1),
    ("mbar", "MPa", 1, -4),
    ("hPa", "Pa", 1, 2),
    ("kPa", "Pa", 1, 3),
    ("mbar", "Pa", 1, 2),
    ("mm", "m", 1, -3),
    ("cm", "m", 1, -2),
    ("L/h", "m³/h", 1, -3),
    ("L/min", "m³/h", 6, -2),
    ("L/s", "m³/h", 36, -1),
    ("m³/min", "m³/h", 6, 1),
    ("min", "s", 6, 1),
    ("ms", "s", 1, -3),
];

/// The exact factor from one unit to another; `None` where there is none.
#[must_use]
pub fn conversion(from: &str, to: &str) -> Option<Factor> {
    if from == to || (to == "1" && from.is_empty()) {
        return Some(Factor::ONE);
    }
    CONVERSIONS
        .iter()
        .find(|(a, b, _, _)| *a == from && *b == to)
        .map(|(_, _, mantissa, power)| Factor::decimal(*mantissa, *power))
}

/// Whether a value in this unit depends on a transformer between the plant and the meter.
#[must_use]
pub fn is_transformed(unit: &str) -> bool {
    matches!(unit, "V" | "A" | "kW" | "kvar" | "kVA" | "kWh" | "kvarh")
}

/// Whether any of the points needs the site's CT and PT.
#[must_use]
pub fn needs_ratios(points: &[PointSpec]) -> bool {
    points.iter().any(|point| point.side == Side::Secondary && is_transformed(&point.unit))
}

/// What a site says about a device's wiring and pace.
#[derive(Debug, Clone)]
pub struct Wiring<'a> {
    /// CT ratio.
    pub ct: Factor,
    /// PT ratio.
    pub pt: Factor,
    /// Poll class → period, the profile's with the site's changes.
    pub periods: &'a BTreeMap<Arc<str>, Duration>,
}

/// The points of a device; `None` for a point whose factor has more digits than fit (named by index).
///
/// # Errors
/// The index of the first such point.
pub fn resolve(specs: &[PointSpec], wiring: &Wiring<'_>) -> Result<Vec<Point>, usize> {
    specs.iter().enumerate().map(|(i, spec)| one(spec, specs, wiring).ok_or(i)).collect()
}

fn one(spec: &PointSpec, specs: &[PointSpec], wiring: &Wiring<'_>) -> Option<Point> {
    let ratio = match (spec.side, &*spec.unit) {
        (Side::Secondary, "V") => wiring.pt,
        (Side::Secondary, "A") => wiring.ct,
        (Side::Secondary, unit) if is_transformed(unit) => wiring.ct.times(wiring.pt)?,
        _ => Factor::ONE,
    };
    // The range is in the meter's unit at its terminals: it gets conversion and ratio, not the scale.
    let own = spec.factor.over(spec.scale)?.times(ratio)?;
    let governs = spec.governs.iter().filter_map(|governed| {
        specs.iter().position(|other| other.quantity.as_ref() == Some(governed))
    });
    Some(Point {
        quantity: spec.quantity.clone(),
        unit: Arc::clone(&spec.unit),
        table: spec.table,
        address: spec.address,
        kind: spec.kind,
        low_word_first: spec.low_word_first,
        low_byte_first: spec.low_byte_first,
        factor: spec.factor.times(ratio)?,
        code: spec.code,
        range: spec.valid.map(|(low, high)| (own.apply(low), own.apply(high))),
        invalid: spec.invalid.clone(),
        when: spec.when.clone(),
        otherwise: spec.otherwise,
        governs: governs.collect(),
        class: Arc::clone(&spec.class),
        period: *wiring.periods.get(&spec.class)?,
        group: spec.group.clone(),
        no_merge: spec.no_merge,
    })
}
