//! What is known of facts: revisions as ranges, planned work forgotten when it has ended.

use std::collections::BTreeSet;

use rules::fact::RegState;
use rules::{Fact, FactBody};

use super::{ENDED_KEPT_MS, FACTS_MAX, Known, Revisions};

fn fact(revision: u64, valid_to: Option<i64>, body: FactBody) -> Fact {
    Fact {
        id: format!("f{revision}"),
        revision,
        site: "a".to_owned(),
        valid_from: 0,
        valid_to,
        recorded_at: i64::try_from(revision).expect("small"),
        withdrawn: false,
        body,
    }
}

fn work(revision: u64) -> Fact {
    let body = FactBody::Work {
        work: "检修".to_owned(),
        devices: Vec::new(),
        declared_kw: None,
        approved_by: None,
    };
    fact(revision, Some(10), body)
}

fn order(revision: u64) -> Fact {
    let document = "7号".to_owned();
    let state = RegState::Suspended;
    fact(revision, Some(10), FactBody::RegState { state, document, base_kw: None })
}

// Invariant 5: however many facts a life brings, what ended long ago goes, an order stays, and no revision is taken twice.
#[test]
fn facts_are_bounded_and_never_taken_twice() {
    let mut known = Known::default();
    assert!(known.take(1, &order(1)));
    for revision in 2..=FACTS_MAX as u64 {
        assert!(known.take(revision, &work(revision)));
    }
    let mut last = work(FACTS_MAX as u64 + 1);
    last.recorded_at = ENDED_KEPT_MS + 11;
    assert!(known.take(last.revision, &last));
    assert!(known.facts.len() <= FACTS_MAX / 2 + 2, "{}", known.facts.len());
    assert!(!known.take(last.revision + 1, &work(2)), "known though forgotten");
    let here = BTreeSet::from(["a".to_owned()]);
    let open = known.facts_of(&here, u64::MAX);
    assert_eq!(open.iter().map(|fact| fact.revision).collect::<Vec<_>>(), [1]);
}

#[test]
fn revisions_join_to_ranges() {
    let mut met = Revisions::default();
    for revision in [5, 1, 3, 2, 9] {
        assert!(met.insert(revision));
    }
    for revision in [5, 1, 3, 2, 9] {
        assert!(!met.insert(revision));
    }
    assert!(met.insert(4));
    assert_eq!(met.0, [(1, 5), (9, 9)]);
}
