//! What stands after how many looks.

use super::{Seen, Watch};

/// A centre at work: the log grows by a tick each look, the evaluator keeps up.
fn well(n: u64) -> Seen {
    Seen { broker_connected: true, head: n, evaluated: n, ..Seen::default() }
}

fn standing(watch: &mut Watch, seen: Seen) -> Vec<&'static str> {
    let said = watch.look(&seen);
    said.into_iter().filter(|(_, stands, _)| *stands).map(|(code, ..)| code).collect()
}

// The look, counted from 1, at which a code first stands when each look sees what `at` gives.
fn first_look(code: &str, at: impl Fn(u64) -> Seen) -> Option<u64> {
    let mut watch = Watch::default();
    (1..=60).find(|n| standing(&mut watch, at(*n)).contains(&code))
}

// A centre at work has nothing to say, however long.
#[test]
fn nothing_stands_while_all_is_well() {
    let mut watch = Watch::default();
    for n in 1..=100 {
        assert_eq!(standing(&mut watch, well(n)), Vec::<&str>::new(), "look {n}");
    }
}

// Each trouble is said after its time, and not before.
#[test]
fn each_trouble_is_said_in_time() {
    let broker = |n| Seen { broker_connected: false, ..well(n) };
    assert_eq!(first_look("broker_down", broker), Some(16));
    let stands_still = |n| Seen { evaluated: 1, ..well(n) };
    assert_eq!(first_look("evaluator_behind", stands_still), Some(12));
    let failing = |n| Seen { evaluator_failing: true, evaluated: 1, ..well(n) };
    assert_eq!(first_look("evaluator_failing", failing), Some(3));
    assert_eq!(first_look("evaluator_behind", failing), None, "said once");
    let stalled = |_| well(7);
    assert_eq!(first_look("log_stalled", stalled), Some(11));
    let failing = |_| Seen { log_failing: true, ..well(7) };
    assert_eq!(first_look("log_stalled", failing), None, "the receiver says it itself");
    let retrying = |n| Seen { store_trouble: 1, ..well(n) };
    assert_eq!(first_look("store_trouble", retrying), Some(16));
    let refuses = |n| Seen { store_trouble: 2, ..well(n) };
    assert_eq!(first_look("store_refuses", refuses), Some(1));
    assert_eq!(first_look("store_trouble", refuses), None);
}

// An evaluator that is a few seconds behind but moves is not stopped; a trouble that ends is taken down at once.
#[test]
fn what_moves_or_has_ended_does_not_stand() {
    let five_behind = |n: u64| Seen { evaluated: n.saturating_sub(5), ..well(n) };
    assert_eq!(first_look("evaluator_behind", five_behind), None);
    let mut watch = Watch::default();
    for n in 1..=30 {
        watch.look(&Seen { broker_connected: false, evaluated: 1, ..well(n) });
    }
    assert_eq!(standing(&mut watch, well(31)), Vec::<&str>::new());
}
