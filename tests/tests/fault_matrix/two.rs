//! Two centres where there may be one: on the same data, and on the same partition with data of its own.

use tests::faults::fault::Fault;

use super::{EMBEDDED, keeps_every_promise};

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn a_second_centre_is_refused_the_data_and_takes_none_away() {
    let rounds = vec![vec![Fault::SecondProcess, Fault::SecondCentre(2_000)]];
    keeps_every_promise(701, EMBEDDED, rounds).await;
}
