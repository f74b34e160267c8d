//! Decimals: shortest, correctly rounded, and the smallest scale that is exact.

use proptest::prelude::*;

use super::{divide_into, rescale, scale_pow10, shortest_f32, to_integers};

#[test]
fn float32_reads_as_its_shortest_decimal() {
    for (single, double) in [
        (0.1_f32, 0.1_f64),
        (238.7, 238.7),
        (-0.0, -0.0),
        (16_777_216.0, 16_777_216.0),
        (1e-45, 1e-45),
        (f32::MAX, 3.402_823_5e38),
        (f32::INFINITY, f64::INFINITY),
    ] {
        assert_eq!(shortest_f32(single).to_bits(), double.to_bits(), "{single}");
    }
    assert!(shortest_f32(f32::NAN).is_nan());
}

#[test]
fn scaling_is_the_correctly_rounded_quotient() {
    for (mantissa, decimals, text) in [
        (2387, 1, "238.7"),
        (i64::MAX, 4, "922337203685477.5807"),
        (i64::MIN, 19, "-0.9223372036854775808"),
        (1, 30, "1e-30"),
        (1, 255, "1e-255"),
        (123_456_789_012_345_678, 7, "12345678901.2345678"),
    ] {
        let expected: f64 = text.parse().unwrap();
        assert_eq!(scale_pow10(mantissa, decimals).to_bits(), expected.to_bits(), "{text}");
    }
}

fn check_integers(values: &[f64], expected: Option<(u8, &[i64])>) {
    let mut out = Vec::new();
    let decimals = to_integers(values, &mut out);
    assert_eq!(decimals, expected.map(|e| e.0), "{values:?}");
    if let Some((_, mantissas)) = expected {
        assert_eq!(out, mantissas);
    }
}

#[test]
fn smallest_scale_that_is_exact_is_found() {
    check_integers(&[1.0, 2.0], Some((0, &[1, 2])));
    check_integers(&[1.0, 2.25, -3.5], Some((2, &[100, 225, -350])));
    check_integers(&[1e-9], Some((9, &[1])));
    check_integers(&[9_007_199_254_740_989.0], Some((0, &[9_007_199_254_740_989])));
    check_integers(&[1e-10], None);
    check_integers(&[1e17], None);
    check_integers(&[-0.0], None);
    check_integers(&[f64::NAN], None);
    // Exact alone, too large together.
    check_integers(&[9_007_199_254_740_000.0, 0.001], None);
    assert_eq!(rescale(5, 3), Some(5_000));
    assert_eq!(rescale(1 << 52, 1), None);
    assert_eq!(rescale(i64::MIN, 0), None);
}

proptest! {
    #[test]
    fn every_scaled_register_is_found_again(m in -(1_i64 << 52)..(1 << 52), n in 0_u8..=9) {
        let value = scale_pow10(m, n);
        let mut out = Vec::new();
        let decimals = to_integers(&[value], &mut out);
        prop_assert!(decimals.is_some_and(|d| d <= n), "{} {} {:?}", m, n, decimals);
        let mut back = Vec::new();
        divide_into(&out, decimals.unwrap(), &mut back);
        prop_assert_eq!(back[0].to_bits(), value.to_bits());
    }

    #[test]
    fn shortest_decimal_reads_back_as_the_float32(single in any::<f32>()) {
        prop_assume!(!single.is_nan());
        #[expect(clippy::cast_possible_truncation, reason = "back to the register")]
        let back = shortest_f32(single) as f32;
        prop_assert_eq!(back.to_bits(), single.to_bits());
    }
}
