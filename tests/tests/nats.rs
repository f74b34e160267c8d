//! nats-server with MQTT and JetStream as the broker: the same promises as over mosquitto, through kills of it, with a user
//! for each gateway that may use its own topics alone.

use std::time::Duration;

use serde_json::json;
use tests::harness::davy::Store;
use tests::harness::nats::{CENTRE, GATEWAY_PASSWORD, Nats};
use tests::harness::wait::wait_for;
use tests::harness::works::{GATEWAY, Played, Works};
use tests::meters;
use tests::replay::Recording;

/// Rows that the meter plays: 200 ms each.
const ROWS: u16 = 200;

fn house() -> Played {
    let row =
        |n: u16| [230.0 + f64::from(n) / 4.0, 5.0 + f64::from(n) / 8.0].map(|v| v.to_string());
    let rows = (0..ROWS).map(|n| row(n).to_vec()).collect();
    let recording = Recording { model: &meters::SDM630, columns: vec!["u_a", "i_a"], rows };
    Played { id: "house-1", role: "other", recording }
}

/// Works whose programs sign in at the broker.
async fn works() -> Works<Nats> {
    let broker = Nats::start(&[GATEWAY]).await.expect("nats-server");
    let port = broker.port;
    let works = Works::prepare_on(broker, port, &Store::Embedded, vec![house()]).await;
    let works = works.expect("a works");
    works.sign_in_at_broker(port, CENTRE, GATEWAY_PASSWORD).expect("edited");
    works
}

async fn online_is(works: &Works<Nats>, wanted: bool) {
    wait_for(&format!("online {wanted}"), Duration::from_secs(30), || async {
        let gateways = works.centre.get("/gateways").await.map_err(|e| format!("{e:#}"))?;
        let is_so = gateways["gateways"][0]["online"] == json!(wanted);
        if is_so { Ok(()) } else { Err(format!("{gateways}\n{}", works.broker.output())) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_doubled_over_nats_that_is_killed() {
    // Goal: NATS serves as the broker. Method: a meter is read while nats-server, the centre and the gateway are killed in
    // turn; in the end every answer of the meter is stored once, the last will was heard, and no session was lost.
    let mut works = works().await;
    works.start_all().await.expect("it starts");
    let stored = "davy_gateway_samples{place=\"stored\"}";
    works.until_gateway("acked samples", |of| of(stored) > 10.0).await;
    online_is(&works, true).await;
    works.until_ready().await;
    for _ in 0..2 {
        works.broker.kill();
        works.until_gateway("a backlog", |of| of("davy_gateway_backlog_blocks") >= 5.0).await;
        works.broker.resume().await.expect("nats-server");
        works.until_gateway("it to be sent", |of| of("davy_gateway_backlog_blocks") <= 2.0).await;
    }
    works.centre.kill();
    works.centre.start().await.expect("the centre");
    works.everything_is_stored_once().await;
    works.until_gateway("an empty spool", |of| of("davy_gateway_backlog_blocks") == 0.0).await;
    works.gateway.kill();
    // Retained, as the last will is: heard by a centre that was not there.
    online_is(&works, false).await;
    let notices = works.centre.notices().await.expect("notices");
    assert!(!notices.keys().any(|code| code.starts_with("broker")), "{notices:?}");
    let metrics = works.centre.metrics().await.expect("metrics");
    assert_eq!(metrics["davy_ingest_broker_qos"], 1.0);
    assert_eq!(metrics["davy_ingest_broker_sessions_lost_total"], 0.0, "{}", works.broker.output());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_broker_check_finds_nothing_wrong_with_nats_as_documented() {
    // Goal: the settings of docs/OPERATIONS.md pass the product's own check. Method: the check against a real server.
    let works = works().await;
    let checked = works.centre.call(&["check", "--broker"]).expect("no problem");
    for word in ["qos", "self", "anonymous", "packet_size", "queue"] {
        assert!(checked.contains(&format!("ok       {word}: ")), "{word} in\n{checked}");
    }
}
