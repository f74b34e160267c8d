//! A few worlds of drawn rounds, one of each kind: `make faults` has more of them.

use tests::faults::round::{needs_of, plan};

use super::keeps_every_promise;

/// Rounds of each world.
const ROUNDS: u64 = 2;

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn drawn_rounds_keep_every_promise() {
    for seed in [2, 3] {
        keeps_every_promise(seed, needs_of(seed), plan(seed, ROUNDS)).await;
    }
}

#[test]
fn a_seed_always_means_the_same_faults() {
    assert_eq!(plan(7, 20), plan(7, 20));
    assert_ne!(plan(7, 20), plan(9, 20));
}
