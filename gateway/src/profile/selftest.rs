//! Runs the decode tests inside a profile: the maker's example registers must give the maker's example values.
//!
//! A Rust test runs them for every embedded profile, `davy-gateway check` for those that a site uses.

use super::resolve::{Wiring, resolve};
use super::{DecodeTest, Expect, Profile};
use crate::decode::decode;
use crate::reading::Value;

/// A test that did not hold.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// Profile id.
    pub profile: String,
    /// Name of the test.
    pub test: String,
    /// Its line in the profile.
    pub line: usize,
    /// What was expected and what came.
    pub difference: String,
}

/// Runs all of them; an empty list is a pass.
#[must_use]
pub fn run(profile: &Profile) -> Vec<Failure> {
    profile.tests.iter().flat_map(|test| one(profile, test)).collect()
}

fn one(profile: &Profile, test: &DecodeTest) -> Vec<Failure> {
    let fail = |difference: String| Failure {
        profile: profile.id.to_string(),
        test: test.name.clone(),
        line: test.line,
        difference,
    };
    let wiring = Wiring { ct: test.ct, pt: test.pt, periods: &profile.classes };
    let points = match resolve(&profile.points, &wiring) {
        Ok(points) => points,
        Err(index) => {
            return vec![fail(format!("point {index} has too many digits with CT and PT"))];
        }
    };
    let end = usize::from(test.address) + test.words.len();
    let inside = |index: &usize| {
        let point = &points[*index];
        point.table == test.table
            && point.address >= test.address
            && usize::from(point.address) + usize::from(point.kind.words()) <= end
    };
    let all: Vec<usize> = (0..points.len()).filter(inside).collect();
    let columns: Vec<usize> =
        all.iter().copied().filter(|index| points[*index].quantity.is_some()).collect();
    let values = decode(&points, &columns, &all, test.address, &test.words);
    let mut failures = Vec::new();
    for expect in &test.expect {
        let name = |index: &&usize| points[**index].quantity.as_deref() == Some(&*expect.quantity);
        let place = columns.iter().position(|index| name(&index));
        match place.map(|place| values[place]) {
            None => failures.push(fail(format!("{} is not among the words", expect.quantity))),
            Some(found) if !holds(expect, found) => failures.push(fail(format!(
                "{}: expected {:?} {:?}, got {} {:?}",
                expect.quantity, expect.value, expect.mark, found.value, found.mark
            ))),
            Some(_) => {}
        }
    }
    failures
}

fn holds(expect: &Expect, found: Value) -> bool {
    let value = match expect.value {
        Some(value) => value.to_bits() == found.value.to_bits(),
        None => found.value.is_nan(),
    };
    value && expect.mark == found.mark
}
