//! Searches against devices that lack a register, have a hole, or take shorter requests.

use super::{Bisect, Finding, Span};
use crate::profile::Table;

/// Runs a search against a device that refuses a read which touches a missing register or is too long.
fn search(addresses: &[u16], missing: &[u16], longest: u16) -> (Vec<Finding>, usize) {
    let items = addresses.iter().map(|a| Span { start: *a, count: 1 }).collect();
    let mut search = Bisect::new(Table::Holding, items);
    let mut reads = 0;
    while let Some(span) = search.next() {
        let touched = |m: &u16| *m >= span.start && *m < span.start + span.count;
        search.answer(span.count <= longest && !missing.iter().any(touched));
        reads += 1;
        assert!(reads < 1_000, "the search ends");
    }
    (search.into_findings(), reads)
}

#[test]
fn a_missing_point_is_found() {
    let (found, reads) = search(&[0, 1, 2, 3, 4, 5, 6, 7], &[5], 125);
    assert_eq!(found, [Finding::Refused(5)]);
    assert!(reads <= 6, "{reads} reads");
}

#[test]
fn a_hole_between_points_is_found() {
    let (found, _) = search(&[0, 1, 2, 10, 11], &[6], 125);
    assert_eq!(found, [Finding::Hole(Table::Holding, 3, 9)]);
}

#[test]
fn a_shorter_limit_is_found() {
    let addresses: Vec<u16> = (0..40).collect();
    let (found, _) = search(&addresses, &[], 30);
    assert_eq!(found, [Finding::Shorter(20)]);
}

#[test]
fn a_device_without_any_of_them_ends_the_search() {
    let (found, reads) = search(&[0, 1, 2, 3], &[0, 1, 2, 3], 125);
    assert_eq!(found.len(), 4);
    assert!(reads <= 6, "{reads} reads");
}
