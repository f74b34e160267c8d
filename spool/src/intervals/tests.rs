//! The interval set against a plain set of numbers.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn numbers(set: &Intervals) -> BTreeSet<u64> {
    set.iter().flat_map(|(a, b)| a..=b).collect()
}

fn expand(ranges: &[(u64, u64)]) -> BTreeSet<u64> {
    ranges.iter().flat_map(|&(a, b)| a..=b).collect()
}

fn is_canonical(set: &Intervals) -> bool {
    let all: Vec<_> = set.iter().collect();
    all.iter().all(|r| r.0 <= r.1) && all.windows(2).all(|w| w[1].0 > w[0].1 + 1)
}

fn made(ops: &[(bool, u64, u64)]) -> (Intervals, BTreeSet<u64>) {
    let (mut set, mut model) = (Intervals::new(), BTreeSet::new());
    for &(add, from, width) in ops {
        let to = from + width;
        if add {
            set.insert(from, to).unwrap();
            model.extend(from..=to);
        } else {
            set.remove(from, to).unwrap();
            model.retain(|n| *n < from || *n > to);
        }
        assert!(is_canonical(&set), "{set:?}");
    }
    (set, model)
}

fn ops() -> impl Strategy<Value = Vec<(bool, u64, u64)>> {
    prop::collection::vec((prop::bool::weighted(0.7), 0u64..60, 0u64..9), 0..40)
}

proptest! {
    #[test]
    fn agrees_with_a_plain_set(a in ops(), b in ops()) {
        let ((x, mx), (y, my)) = (made(&a), made(&b));
        prop_assert_eq!(numbers(&x), mx.clone());
        prop_assert_eq!(expand(&x.without(&y)), mx.difference(&my).copied().collect());
        prop_assert_eq!(expand(&x.common(&y)), mx.intersection(&my).copied().collect());
        let mut joined = x.clone();
        joined.union(&y).unwrap();
        prop_assert!(is_canonical(&joined));
        prop_assert_eq!(numbers(&joined), mx.union(&my).copied().collect());
        prop_assert_eq!(x.count(), mx.len() as u64);
        prop_assert_eq!(x.max(), mx.last().copied().unwrap_or(0));
        prop_assert_eq!(expand(&x.holes(50)), (1..=50).filter(|n| !mx.contains(n)).collect());
        let upto = (1..).take_while(|n| mx.contains(n)).last().unwrap_or(0);
        prop_assert_eq!(x.upto(), upto);
        for n in 0..70 {
            prop_assert_eq!(x.contains(n), mx.contains(&n));
        }
        prop_assert_eq!(Intervals::from_bytes(&x.to_bytes()), Ok(x.clone()));
        let coarse = x.coarsened(3);
        prop_assert!(coarse.len() <= 3 && is_canonical(&coarse) && mx.is_subset(&numbers(&coarse)));
    }

    #[test]
    fn any_bytes_decode_or_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        if let Ok(set) = Intervals::from_bytes(&bytes) {
            prop_assert!(is_canonical(&set));
        }
    }
}

#[test]
fn full_set_refuses_one_more_interval_and_takes_a_joining_one() {
    let mut set: Intervals = (0..INTERVALS_MAX as u64).map(|n| (n * 3 + 1, n * 3 + 1)).collect();
    assert_eq!(set.len(), INTERVALS_MAX);
    let before = set.clone();
    assert_eq!(set.insert(1_000_000, 1_000_000), Err(TooMany));
    assert_eq!(set, before);
    set.insert(2, 3).unwrap();
    assert_eq!(set.len(), INTERVALS_MAX - 1);
    set.insert(1_000_000, 1_000_005).unwrap();
    assert_eq!(set.remove(1_000_002, 1_000_002), Err(TooMany));
    assert_eq!(set.union(&Intervals::of(2_000_000, 2_000_000)), Err(TooMany));
}

#[test]
fn ends_of_the_number_range_hold() {
    let mut set = Intervals::of(u64::MAX - 1, u64::MAX);
    set.insert(0, 0).unwrap();
    assert!(set.contains(u64::MAX) && set.contains(0) && !set.contains(1));
    assert_eq!(Intervals::from_bytes(&set.to_bytes()), Ok(set.clone()));
    assert_eq!(
        set.without(&Intervals::of(u64::MAX, u64::MAX)),
        [(0, 0), (u64::MAX - 1, u64::MAX - 1)]
    );
    set.remove(u64::MAX, u64::MAX).unwrap();
    assert_eq!(set.max(), u64::MAX - 1);
}
