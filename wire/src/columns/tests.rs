//! Columns: what goes in comes out, bit for bit, and nothing that comes in can break them.

use proptest::prelude::*;

use super::{Builder, Column, PushError, Readings, Table, decode, encode};
use crate::error::DecodeError;
use crate::ids::{GatewayName, ManifestKey};
use crate::limits::BLOCK_BYTES_MAX;
use crate::manifest::{Manifest, Point, Reply};
use crate::quality::{Mark, Quality, Reason};

fn round_trip(readings: &Readings) -> Readings {
    decode(&encode(readings)).unwrap()
}

fn one_column(samples: &[(f64, Mark)]) -> Readings {
    let mut column = Column::default();
    samples.iter().for_each(|&(value, mark)| column.push(value, mark));
    let rows = samples.len();
    let times = (0..rows).map(|i| 1_790_000_000_000 + 1_000 * i64::try_from(i).unwrap()).collect();
    let table = Table { replies: vec![7; rows], times, columns: vec![column] };
    Readings { manifest: ManifestKey([3; 16]), tables: vec![table] }
}

fn good(values: &[f64]) -> Readings {
    one_column(&values.iter().map(|&v| (v, Mark::GOOD)).collect::<Vec<_>>())
}

#[test]
fn values_come_back_bit_for_bit() {
    // Goal: every way to write a column gives the same doubles back.
    // Method: decimals, huge and tiny ones, integers at the edge of 2^53, one value, equal values.
    let edge = 9_007_199_254_740_991.0;
    for values in [
        &[238.7, 238.8, -0.1, 0.0][..],
        &[1e300, -1e-300, f64::MIN_POSITIVE, f64::MAX, f64::from_bits(1)],
        &[edge, -edge, 1.0],
        &[edge / 1e9, 0.1 + 0.2, std::f64::consts::PI],
        &[42.0; 200],
        &[5e-324],
        &[1e15 / 1e3, 123_456_789.123_456],
    ] {
        let readings = good(values);
        assert_eq!(round_trip(&readings), readings, "{values:?}");
    }
}

#[test]
fn sample_without_a_value_costs_no_value_and_is_nan() {
    let bad = Mark::bad(Reason::Timeout);
    let readings =
        one_column(&[(1.5, Mark::GOOD), (9.9, bad), (2.5, Mark::uncertain(Reason::WarmUp))]);
    let back = round_trip(&readings);
    let column = &back.tables[0].columns[0];
    assert_eq!(column.values()[0].to_bits(), 1.5_f64.to_bits());
    assert!(column.values()[1].is_nan());
    assert_eq!(column.mark(1), bad);
    assert_eq!(column.mark(2), Mark::uncertain(Reason::WarmUp));
    let all_bad = one_column(&[(1.0, bad); 100]);
    assert_eq!(round_trip(&all_bad), all_bad);
    assert!(encode(&all_bad).columns.len() < 60);
}

#[test]
fn value_that_is_not_finite_is_never_good() {
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let readings =
            one_column(&[(value, Mark::GOOD), (value, Mark::uncertain(Reason::OverRange))]);
        for row in 0..2 {
            let column = &readings.tables[0].columns[0];
            assert_eq!(column.mark(row), Mark::bad(Reason::NotFinite));
            assert!(column.values()[row].is_nan());
        }
        assert_eq!(round_trip(&readings), readings);
    }
}

#[test]
fn minus_zero_is_zero() {
    let readings = good(&[-0.0, 1.25]);
    assert_eq!(round_trip(&readings).tables[0].columns[0].values()[0].to_bits(), 0);
}

#[test]
fn phases_are_written_as_differences_to_each_other() {
    // Goal: columns that move together cost little. Method: three phases far apart from row to row.
    let row = |i: u32| 2000 + (i * 7919) % 997;
    let columns: Vec<Column> = (0..3)
        .map(|phase| {
            let mut column = Column::default();
            (0..64)
                .for_each(|i| column.push(f64::from(row(i) + (i + phase) % 2) / 10.0, Mark::GOOD));
            column
        })
        .collect();
    let three = Table { replies: (0..64).collect(), times: vec![5; 64], columns };
    let one = Table { columns: three.columns[..1].to_vec(), ..three.clone() };
    let size = |table: &Table| {
        let readings = Readings { manifest: ManifestKey([0; 16]), tables: vec![table.clone()] };
        assert_eq!(round_trip(&readings), readings);
        encode(&readings).columns.len()
    };
    assert!(size(&three) < size(&one) + 50, "{} {}", size(&three), size(&one));
}

fn manifest() -> Manifest {
    let reply = |device: &str, quantities: &[&str]| Reply {
        device: device.into(),
        period_ms: 1_000,
        points: quantities
            .iter()
            .map(|q| Point { quantity: (*q).into(), unit: String::new() })
            .collect(),
        profile: "p".into(),
        profile_version: "1".into(),
    };
    Manifest {
        gateway: GatewayName::new("gw-1").unwrap(),
        site: "site".into(),
        replies: vec![
            reply("a", &["u_a", "i_a"]),
            reply("b", &["freq"]),
            reply("c", &["u_a", "i_a"]),
        ],
        replaces: None,
    }
}

#[test]
fn replies_with_the_same_quantities_share_a_table() {
    let mut builder = Builder::new(&manifest(), ManifestKey([1; 16]));
    let g = |v: f64| (v, Mark::GOOD);
    builder.push(0, 10, &[g(1.0), g(2.0)]).unwrap();
    builder.push(1, 11, &[g(50.0)]).unwrap();
    builder.push(2, 12, &[g(3.0), g(4.0)]).unwrap();
    assert_eq!(builder.push(9, 0, &[]), Err(PushError::Reply { reply: 9 }));
    assert_eq!(builder.push(1, 0, &[]), Err(PushError::Points { reply: 1, points: 1, samples: 0 }));
    assert_eq!((builder.rows(), builder.samples()), (3, 5));
    let readings = builder.take();
    assert!(builder.is_empty());
    assert_eq!(readings.tables.len(), 2);
    assert_eq!(readings.tables[0].replies, [0, 2]);
    assert_eq!(readings.tables[0].columns[1].values(), [2.0, 4.0]);
    assert_eq!(readings.time_span(), Some((10, 12)));
    assert_eq!(round_trip(&readings), readings);
    readings.check(&manifest()).unwrap();
    let mut other = manifest();
    other.replies[2].points.pop();
    assert!(readings.check(&other).is_err());
}

#[test]
fn full_builder_of_the_worst_values_still_fits_in_a_frame() {
    let mut builder = Builder::new(&manifest(), ManifestKey([1; 16]));
    let mut bits = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        bits = bits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        bits
    };
    while !builder.is_full() {
        let reply = u32::from(next() & 1 == 0);
        let value = || 1.0;
        let mark = if next() & 4 == 0 { Mark::GOOD } else { Mark::uncertain(Reason::WarmUp) };
        let value = value() + f64::from_bits(next() >> 12 | 0x3ff0 << 48);
        let time = (next() >> 1).cast_signed();
        builder
            .push(reply, time, &[(value, mark), (value * 1.1, mark)][..2 - reply as usize])
            .unwrap();
    }
    let readings = builder.take();
    let encoded = prost::Message::encode_to_vec(&encode(&readings));
    assert!(encoded.len() < BLOCK_BYTES_MAX - 1024, "{}", encoded.len());
    assert_eq!(round_trip(&readings), readings);
}

fn value() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => (-100_000_i64..100_000, 0_u8..6).prop_map(|(m, n)| crate::scale_pow10(m, n)),
        1 => any::<f32>().prop_map(crate::shortest_f32),
        1 => any::<f64>(),
    ]
}

fn mark() -> impl Strategy<Value = Mark> {
    prop_oneof![
        6 => Just(Mark::GOOD),
        1 => (0_u8..5, 0_u8..21).prop_map(|(q, r)| Mark {
            quality: Quality::from_code(q).unwrap(),
            reason: Reason::from_code(r),
        }),
    ]
}

fn table() -> impl Strategy<Value = Table> {
    (1_usize..150, 1_usize..6, any::<bool>()).prop_flat_map(|(rows, columns, clean)| {
        let sample =
            if clean { (value(), Just(Mark::GOOD).boxed()) } else { (value(), mark().boxed()) };
        (
            prop::collection::vec(any::<u32>(), rows),
            prop::collection::vec(any::<i64>(), rows),
            prop::collection::vec(prop::collection::vec(sample, rows), columns),
        )
            .prop_map(|(replies, times, columns)| Table {
                replies,
                times,
                columns: columns.into_iter().map(filled).collect(),
            })
    })
}

fn filled(samples: Vec<(f64, Mark)>) -> Column {
    let mut column = Column::default();
    samples.into_iter().for_each(|(value, mark)| column.push(value, mark));
    column
}

proptest! {
    #[test]
    fn any_readings_come_back(tables in prop::collection::vec(table(), 0..4)) {
        let readings = Readings { manifest: ManifestKey([9; 16]), tables };
        prop_assert_eq!(round_trip(&readings), readings);
    }

    #[test]
    fn any_bytes_are_readings_or_an_error(
        columns in prop::collection::vec(any::<u8>(), 0..300),
        rows in 0_u32..200, samples in 0_u32..400,
    ) {
        let raw_bytes = u32::try_from(columns.len()).unwrap();
        let bytes = crate::proto::Readings {
            manifest_key: vec![0; 16], rows, samples, columns, compression: 0, raw_bytes,
        };
        prop_assert!(!matches!(decode(&bytes), Err(DecodeError::Compression)) || raw_bytes == 0);
    }

    #[test]
    fn flipped_byte_never_panics(table in table(), at in any::<prop::sample::Index>(), with in 1_u8..) {
        let mut encoded = encode(&Readings { manifest: ManifestKey([9; 16]), tables: vec![table] });
        let at = at.index(encoded.columns.len());
        encoded.columns[at] ^= with;
        if let Ok(readings) = decode(&encoded) {
            prop_assert_eq!(readings.row_count(), encoded.rows as usize);
        }
    }

    #[test]
    fn truncated_columns_are_refused(table in table(), at in any::<prop::sample::Index>()) {
        let raw = super::layout::encode_tables(&[&table], super::ints::Packings::Any);
        let mut encoded = encode(&Readings { manifest: ManifestKey([9; 16]), tables: vec![table] });
        encoded.compression = 0;
        encoded.columns = raw[..at.index(raw.len())].to_vec();
        encoded.raw_bytes = u32::try_from(encoded.columns.len()).unwrap();
        prop_assert!(decode(&encoded).is_err());
        encoded.columns = [&raw[..], &[0]].concat();
        encoded.raw_bytes = u32::try_from(encoded.columns.len()).unwrap();
        prop_assert!(decode(&encoded).is_err());
    }

    #[test]
    fn any_integers_come_back(values in prop::collection::vec(any::<i64>(), 1..200), small in any::<bool>()) {
        let values: Vec<i64> = values.iter().map(|v| if small { v >> 40 } else { *v }).collect();
        let times = Table { replies: vec![0; values.len()], times: values.clone(), columns: vec![filled(vec![(1.0, Mark::GOOD); values.len()])] };
        let readings = Readings { manifest: ManifestKey([9; 16]), tables: vec![times] };
        prop_assert_eq!(&round_trip(&readings).tables[0].times, &values);
    }
}

#[test]
fn size_that_is_not_the_stated_one_is_refused() {
    let encoded = encode(&good(&[1.0; 500]));
    assert_eq!(encoded.compression, 1);
    for raw_bytes in [encoded.raw_bytes - 1, encoded.raw_bytes + 1, u32::MAX, 0] {
        let lying = crate::proto::Readings { raw_bytes, ..encoded.clone() };
        assert!(decode(&lying).is_err());
    }
    let lying = crate::proto::Readings { rows: 499, ..encoded.clone() };
    assert!(matches!(decode(&lying), Err(DecodeError::Inconsistent { .. })));
    let unknown = crate::proto::Readings { compression: 9, ..encoded };
    assert!(matches!(decode(&unknown), Err(DecodeError::Unknown { .. })));
}
