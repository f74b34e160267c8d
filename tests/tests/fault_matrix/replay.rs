//! Every frame twice, old frames again in any order, yesterday shuffled and twice, blocks from the future and wrong ones.

use tests::faults::fault::Fault;

use super::{EMBEDDED, INFLUX, keeps_every_promise};

fn rounds() -> Vec<Vec<Fault>> {
    vec![
        vec![Fault::Twice(1_500), Fault::Yesterday(40), Fault::Again],
        vec![Fault::Nonsense, Fault::KillCentre, Fault::Again, Fault::Yesterday(12)],
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn what_comes_twice_late_or_in_any_order_changes_nothing_in_the_embedded_store() {
    keeps_every_promise(501, EMBEDDED, rounds()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn what_comes_twice_late_or_in_any_order_changes_nothing_in_influxdb() {
    keeps_every_promise(502, INFLUX, rounds()).await;
}
