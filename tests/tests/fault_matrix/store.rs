//! InfluxDB stopped, frozen, slow, and something that answers every status in its place or loses its answers.

use tests::faults::fault::Fault;

use super::{INFLUX, keeps_every_promise};

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn a_database_that_is_away_slow_or_answers_anything_costs_nothing() {
    let answers = |status, retry_after| Fault::InfluxAnswers { status, retry_after, for_ms: 300 };
    let rounds = vec![
        vec![Fault::InfluxAway(800), Fault::InfluxFrozen(1_500), Fault::InfluxSlow(500)],
        vec![
            Fault::InfluxSwallows(800),
            answers(400, None),
            answers(413, None),
            answers(422, None),
        ],
        vec![
            answers(429, None),
            answers(429, Some(1)),
            answers(500, None),
            answers(503, None),
            answers(503, Some(1)),
        ],
    ];
    keeps_every_promise(301, INFLUX, rounds).await;
}
