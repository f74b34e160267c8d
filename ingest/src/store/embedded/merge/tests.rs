//! Merging by plan against the obvious way.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn span(key: i64, t0: i64, t1: i64, count: usize) -> Span {
    Span { key, t0, t1, count, times: key, is_sound: true }
}

#[test]
fn overlapping_parts_and_small_neighbours_are_absorbed() {
    let spans =
        [span(1, 0, 9, 2000), span(2, 10, 19, 100), span(3, 20, 29, 2000), span(4, 40, 49, 5)];
    assert_eq!(absorbed(&spans, 5, 7), 0..2);
    assert_eq!(absorbed(&spans, 30, 35), 3..4);
    assert_eq!(absorbed(&spans, 50, 60), 3..4);
    assert_eq!(absorbed(&spans, 25, 45), 1..4);
    assert_eq!(absorbed(&[span(1, 0, 9, 2000)], 10, 12), 1..1);
    assert_eq!(absorbed(&[span(1, 20, 29, 2000)], 10, 12), 0..0);
    assert_eq!(absorbed(&[], 10, 12), 0..0);
}

#[test]
fn pieces_cover_everything_and_none_is_too_large() {
    for count in [1, 8_192, 8_193, 100_000] {
        let all: Vec<_> = pieces(count).collect();
        assert_eq!(all.first().unwrap().start, 0);
        assert_eq!(all.last().unwrap().end, count);
        assert!(all.windows(2).all(|w| w[0].end == w[1].start));
        assert!(all.iter().all(|p| p.len() <= PART_POINTS_MAX && !p.is_empty()));
    }
}

fn series() -> impl Strategy<Value = BTreeMap<i64, (f64, u16)>> {
    proptest::collection::btree_map(
        0_i64..60,
        (0_f64..9.0, prop_oneof![Just(0_u16), Just(0x102)]),
        0..40,
    )
}

proptest! {
    #[test]
    fn new_samples_stand_over_old_ones(old in series(), new in series()) {
        let column = |s: &BTreeMap<i64, (f64, u16)>| Column {
            values: s.values().map(|(v, _)| *v).collect(),
            marks: s.values().map(|(_, m)| *m).collect(),
        };
        let times = |s: &BTreeMap<i64, (f64, u16)>| s.keys().copied().collect::<Vec<_>>();
        let plan = Plan::new(&times(&old), &times(&new));
        let got = plan.apply(&column(&old), &column(&new));
        let mut want = old.clone();
        want.extend(new.iter().map(|(t, v)| (*t, *v)));
        prop_assert_eq!(plan.times, times(&want));
        prop_assert_eq!(got, column(&want));
    }
}
