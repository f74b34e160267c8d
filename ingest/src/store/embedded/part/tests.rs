//! Parts must come back to the bit, and their summaries must be those of their samples.

use proptest::prelude::*;

use super::*;

const HOUR: i64 = 1_700_002_800_000;

fn samples() -> impl Strategy<Value = Vec<(i64, f64, MarkCode)>> {
    let value = prop_oneof![
        (-1_000_000_i64..1_000_000).prop_map(|n| n as f64 / 100.0),
        proptest::num::f64::NORMAL | proptest::num::f64::SUBNORMAL | proptest::num::f64::ZERO,
    ];
    let mark = prop_oneof![8 => Just(0_u16), 1 => Just(0x0101), 1 => Just(0x020b), 1 => Just(0x0300), 1 => Just(0x0413)];
    proptest::collection::vec((1_i64..3_000, value, mark), 1..400).prop_map(|rows| {
        let mut t = HOUR - 1;
        let timed = rows.into_iter().map(|(step, value, mark)| {
            t += step;
            let number = segment::mark(mark).quality.has_value();
            (t, if number { value } else { f64::NAN }, mark)
        });
        timed.filter(|(t, _, _)| *t < HOUR + HOUR_MS).collect()
    })
}

fn bits(values: &[f64]) -> Vec<u64> {
    values.iter().map(|v| v.to_bits()).collect()
}

proptest! {
    #[test]
    fn samples_come_back_to_the_bit(rows in samples()) {
        let times: Vec<i64> = rows.iter().map(|r| r.0).collect();
        let column = Column {
            values: rows.iter().map(|r| r.1).collect(),
            marks: rows.iter().map(|r| r.2).collect(),
        };
        let bytes = encode_times(&times, HOUR).unwrap();
        prop_assert_eq!(decode_times(&bytes, HOUR).unwrap(), times.clone());
        let values = encode_values(&column.values).unwrap();
        let got = decode_column(&values, &encode_marks(&column.marks), times.len()).unwrap();
        prop_assert_eq!(bits(&got.values), bits(&column.values));
        for i in 0..times.len() {
            prop_assert_eq!(got.mark(i), column.mark(i));
        }
    }

    #[test]
    fn minutes_are_those_of_the_samples(rows in samples()) {
        let times: Vec<i64> = rows.iter().map(|r| r.0).collect();
        let column = Column {
            values: rows.iter().map(|r| r.1).collect(),
            marks: rows.iter().map(|r| r.2).collect(),
        };
        let bytes = encode_minutes(&times, &column).unwrap();
        if let Some(minutes) = decode_minutes(&bytes).unwrap() {
            let total: u32 = minutes.iter().map(|m| m.summary.numbers).sum();
            prop_assert_eq!(total, Summary::of(column.samples(0..times.len())).numbers);
            for m in minutes {
                let from = HOUR + i64::from(m.minute) * MINUTE_MS;
                let inside = |t: &i64| *t >= from && *t < from + MINUTE_MS;
                let of = rows.iter().filter(|r| inside(&r.0)).map(|r| (r.1, r.2));
                let want = Summary::of(of);
                prop_assert_eq!(m.summary.qualities, want.qualities);
                if want.numbers > 0 {
                    let four = |s: Summary| bits(&[s.min, s.max, s.last, s.sum]);
                    prop_assert_eq!(four(m.summary), four(want));
                }
            }
        }
    }

    #[test]
    fn damaged_bytes_are_an_error_never_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        drop(decode_times(&bytes, HOUR));
        drop(decode_column(&bytes, &bytes, 7));
        drop(decode_minutes(&bytes));
    }
}

#[test]
fn a_second_of_readings_an_hour_has_minutes_and_a_quarter_hour_curve_has_none() {
    let column = |n: usize| Column { values: vec![1.5; n], marks: Vec::new() };
    let dense: Vec<i64> = (0..3_600).map(|s| HOUR + s * 1_000).collect();
    let minutes =
        decode_minutes(&encode_minutes(&dense, &column(3_600)).unwrap()).unwrap().unwrap();
    assert_eq!(minutes.len(), 60);
    assert_eq!(minutes[59].summary.sum, 90.0);
    let sparse: Vec<i64> = (0..4).map(|q| HOUR + q * 900_000).collect();
    assert!(encode_minutes(&sparse, &column(4)).unwrap().is_empty());
}
