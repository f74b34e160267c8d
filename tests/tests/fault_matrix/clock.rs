//! Clocks set by an hour, forwards and back, at the centre and at the gateway.

use tests::faults::fault::Fault;
use tests::faults::world::Needs;

use super::{EMBEDDED, keeps_every_promise};

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn clocks_set_by_an_hour_lose_and_double_nothing() {
    let set = |centre, by_s| vec![Fault::Clock { centre, by_s, for_ms: 2_500 }];
    let rounds = vec![set(false, 3_600), set(false, -3_600), set(true, 3_600), set(true, -3_600)];
    keeps_every_promise(601, Needs { clocks: true, ..EMBEDDED }, rounds).await;
}
