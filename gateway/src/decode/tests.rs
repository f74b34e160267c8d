//! Registers to values: every kind and order, exact decimals, marks, and no input that panics.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use wire::{Mark, Quality, Reason};

use super::decimal::{Decimal, Factor};
use super::decode;
use crate::profile::{Effect, Kind, Point, Table, When};

fn point(kind: Kind, address: u16) -> Point {
    Point {
        quantity: Some(Arc::from("p_total")),
        unit: Arc::from("kW"),
        table: Table::Holding,
        address,
        kind,
        low_word_first: false,
        low_byte_first: false,
        factor: Factor::ONE,
        code: None,
        range: None,
        invalid: Vec::new(),
        when: Vec::new(),
        otherwise: None,
        governs: Vec::new(),
        class: Arc::from("fast"),
        period: Duration::from_secs(1),
        group: None,
        no_merge: false,
    }
}

fn check(point: Point, words: &[u16], value: f64, mark: Mark) {
    let found = decode(std::slice::from_ref(&point), &[0], &[0], 0, words)[0];
    assert_eq!(found.mark, mark, "{point:?} of {words:04X?}");
    assert_eq!(found.value.is_nan(), value.is_nan(), "{point:?} of {words:04X?}");
    assert!(value.is_nan() || value.to_bits() == found.value.to_bits(), "{value} is not {found:?}");
}

#[test]
fn every_kind_decodes_in_every_order() {
    let good = |kind, words: &[u16], value| check(point(kind, 0), words, value, Mark::GOOD);
    good(Kind::U16, &[0xFFFF], 65_535.0);
    good(Kind::I16, &[0xFFFF], -1.0);
    good(Kind::U32, &[0x8000, 1], 2_147_483_649.0);
    good(Kind::I32, &[0x8000, 0], -2_147_483_648.0);
    good(Kind::U64, &[0xFFFF; 4], 18_446_744_073_709_551_615.0);
    good(Kind::I64, &[0xFFFF; 4], -1.0);
    good(Kind::F32, &[0x4366, 0x3333], 230.2);
    good(Kind::F32, &[0x8000, 0], 0.0);
    // Half way between two shortest decimals (…81.25): the even one, as everywhere else in the product.
    good(Kind::F32, &[0xCA69, 0xF3E5], -3_833_081.2);
    good(Kind::Bit(3), &[0x0008], 1.0);
    good(Kind::Bit(3), &[0xFFF7], 0.0);
    let low_first = Point { low_word_first: true, ..point(Kind::F32, 0) };
    check(low_first, &[0x3333, 0x4366], 230.2, Mark::GOOD);
    let bytes = Point { low_byte_first: true, ..point(Kind::F32, 0) };
    check(bytes, &[0x6643, 0x3333], 230.2, Mark::GOOD);
    let four = Point { low_word_first: true, ..point(Kind::U64, 0) };
    check(four, &[1, 0, 0, 0], 1.0, Mark::GOOD);
}

#[test]
fn scaling_is_decimal_and_rounded_once() {
    let scaled = |text: &str| Factor::parse(text).expect("a factor");
    for (factor, raw, value) in [
        (scaled("0.1"), 2_301, 230.1),
        (scaled("0.001"), 5, 0.005),
        (scaled("0.0001"), 12_345, 1.2345),
        (scaled("400/5"), 3, 240.0),
        (scaled("1e-3"), 1, 0.001),
        (scaled("10/3"), 9, 30.0),
        (scaled("0.1").times(scaled("400/5")).expect("fits"), 7, 56.0),
    ] {
        check(Point { factor, ..point(Kind::U16, 0) }, &[raw], value, Mark::GOOD);
    }
    assert_eq!(Factor::parse("0"), None);
    assert_eq!(Factor::parse("-1"), None);
    assert_eq!(Factor::parse("400/0"), None);
}

#[test]
fn what_is_no_number_is_never_one() {
    let bad = |reason| (f64::NAN, Mark::bad(reason));
    let (nan, mark) = bad(Reason::NotFinite);
    check(point(Kind::F32, 0), &[0x7FC0, 0], nan, mark);
    check(point(Kind::F32, 0), &[0x7F80, 0], nan, mark);
    let (nan, mark) = bad(Reason::Missing);
    check(point(Kind::U32, 0), &[1], nan, mark);
    check(point(Kind::U16, 7), &[1], nan, mark);
    let sentinel = Point { invalid: vec![0x8000], ..point(Kind::I16, 0) };
    check(sentinel, &[0x8000], f64::NAN, Mark::bad(Reason::Sentinel));
}

#[test]
fn beyond_the_range_is_its_end_with_doubt() {
    let ranged = || Point { range: Some((0.0, 100.0)), ..point(Kind::I16, 0) };
    check(ranged(), &[101], 100.0, Mark::uncertain(Reason::OverRange));
    check(ranged(), &[0xFFFF], 0.0, Mark::uncertain(Reason::UnderRange));
    check(ranged(), &[100], 100.0, Mark::GOOD);
}

/// A gas reading under a status word: 0 warm-up, 1 normal, 4 over range, 3 fault.
fn governed(status: u16, gas: u16) -> (f64, Mark) {
    let rule = |equals, effect| When { mask: u64::MAX, equals, any: false, effect, value: None };
    let word = Point {
        quantity: None,
        governs: vec![1],
        when: vec![
            rule(0, Some(Effect::Doubt(Mark::uncertain(Reason::WarmUp)))),
            rule(3, Some(Effect::Void(Mark::bad(Reason::SensorFault)))),
            rule(4, Some(Effect::OverRange)),
        ],
        ..point(Kind::U16, 0)
    };
    let gas_point =
        Point { range: Some((0.0, 100.0)), invalid: vec![0xFFFF], ..point(Kind::U16, 1) };
    let value = decode(&[word, gas_point], &[1], &[0, 1], 0, &[status, gas])[0];
    (value.value, value.mark)
}

#[test]
fn a_status_word_marks_what_it_governs() {
    assert_eq!(governed(1, 20), (20.0, Mark::GOOD));
    assert_eq!(governed(0, 20), (20.0, Mark::uncertain(Reason::WarmUp)));
    assert_eq!(governed(3, 20).1, Mark::bad(Reason::SensorFault));
    // A detector that is over its range often sends its "no value" mark: it must still reach the limit.
    assert_eq!(governed(4, 0xFFFF), (100.0, Mark::uncertain(Reason::OverRange)));
    // Warm-up does not hide that the range is exceeded.
    assert_eq!(governed(0, 200), (100.0, Mark::uncertain(Reason::OverRange)));
}

fn kinds() -> impl Strategy<Value = Kind> {
    prop_oneof![
        Just(Kind::U16),
        Just(Kind::I16),
        Just(Kind::U32),
        Just(Kind::I32),
        Just(Kind::U64),
        Just(Kind::I64),
        Just(Kind::F32),
        (0..=255_u8).prop_map(Kind::Bit),
    ]
}

proptest! {
    #[test]
    fn nothing_a_device_sends_panics_and_doubt_is_never_lost(
        kind in kinds(),
        address in any::<u16>(),
        start in any::<u16>(),
        words in proptest::collection::vec(any::<u16>(), 0..130),
        orders in any::<(bool, bool, bool)>(),
        (mantissa, exponent) in (1..1_000_000_i128, -9..9_i32),
    ) {
        let point = Point {
            low_word_first: orders.0,
            low_byte_first: orders.1,
            range: orders.2.then_some((-5.0, 5.0)),
            factor: Factor::decimal(mantissa, exponent),
            ..point(kind, address)
        };
        let value = decode(std::slice::from_ref(&point), &[0], &[0, 99], start, &words)[0];
        let number = matches!(value.mark.quality, Quality::Good | Quality::Uncertain);
        prop_assert_eq!(number, value.value.is_finite());
        if orders.2 && number {
            prop_assert!((-5.0..=5.0).contains(&value.value));
        }
    }

    #[test]
    fn a_float_is_its_shortest_decimal(bits in any::<u32>()) {
        let float = f32::from_bits(bits);
        let ours = Decimal::shortest_f32(float).map(Decimal::to_f64);
        if float.is_finite() {
            let expected = wire::shortest_f32(float);
            prop_assert_eq!(ours, Some(if expected == 0.0 { 0.0 } else { expected }));
        } else {
            prop_assert_eq!(ours, None);
        }
    }

    #[test]
    fn a_scaled_integer_equals_its_text(raw in any::<i64>(), places in 0..9_u32) {
        let factor = Factor::decimal(1, -i32::try_from(places).expect("small"));
        let text = format!("{raw}e-{places}");
        let expected: f64 = text.parse().expect("a float");
        prop_assert_eq!(factor.apply(Decimal::whole(i128::from(raw))).to_bits(), (expected + 0.0).to_bits());
    }
}
