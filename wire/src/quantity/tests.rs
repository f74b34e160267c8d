//! The vocabulary: no name twice, suffixes only where allowed.

use std::collections::HashSet;

use super::{Family, QUANTITIES, lookup};

#[test]
fn every_entry_is_named_once_and_in_both_languages() {
    let mut seen = HashSet::new();
    for q in QUANTITIES {
        assert!(seen.insert(q.name), "{} twice", q.name);
        assert!(!q.zh.is_empty() && !q.en.is_empty(), "{}", q.name);
        assert!(q.name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'));
        // A one-off name must not read as a suffixed member of another family.
        let found = lookup(if q.name == "t" || q.name == "di" { "" } else { q.name });
        assert!(found.is_none_or(|f| f == q), "{}", q.name);
    }
}

#[test]
fn names_are_found_with_their_suffix() {
    for (name, found) in [
        ("u_a", Some(("u_a", "V", Family::Electric))),
        ("t_oil", Some(("t", "°C", Family::Process))),
        ("gas_ppm_co", Some(("gas_ppm", "ppm", Family::Gas))),
        ("gas_lel", Some(("gas_lel", "%LEL", Family::Gas))),
        ("level_pct_2", Some(("level_pct", "%", Family::Process))),
        ("di_airlock", Some(("di", "", Family::State))),
        ("t", None),
        ("di", None),
        ("di_", None),
        ("di_A", None),
        ("u_a_1", None),
        ("voltage", None),
        ("", None),
    ] {
        assert_eq!(lookup(name).map(|q| (q.name, q.unit, q.family)), found, "{name}");
    }
    assert!(lookup(&format!("t_{}", "x".repeat(100))).is_none());
}
