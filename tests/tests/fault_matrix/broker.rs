//! The broker killed, wiped and frozen, and the link to it cut.

use tests::faults::fault::Fault;

use super::{EMBEDDED, keeps_every_promise};

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn a_broker_killed_wiped_or_frozen_and_a_cut_link_cost_nothing() {
    let rounds = vec![
        vec![
            Fault::Broker { wiped: false, away_ms: 800 },
            Fault::Broker { wiped: true, away_ms: 800 },
            Fault::BrokerFrozen(1_500),
            Fault::Link(1_500),
        ],
        // Nothing is started anew before the account: what was acked and not logged would not come again.
        vec![Fault::LogFails(1_500)],
        vec![Fault::KillCentre, Fault::KillGateway],
    ];
    keeps_every_promise(201, EMBEDDED, rounds).await;
}
