//! The broker inside the demo, which is none of the brokers of a plant, carries everything all the same.

use std::time::Duration;

use tests::demo::broker;
use tests::harness::davy::Store;
use tests::harness::process::free_port;
use tests::harness::wait::wait_for;
use tests::harness::works::{Works, house};
use tokio::net::TcpStream;

#[tokio::test(flavor = "multi_thread")]
async fn readings_acks_and_the_test_alarm_pass_through_the_demos_broker() {
    // Goal: `make demo` shows a centre that is ready and a plant that flows. Method: the demo's own broker between a real
    // centre and a real gateway that reads a meter.
    let port = free_port().expect("a port");
    broker::start(([127, 0, 0, 1], port).into()).expect("the broker");
    wait_for("the broker", Duration::from_secs(30), || async {
        TcpStream::connect(("127.0.0.1", port)).await.map(drop).map_err(|e| e.to_string())
    })
    .await;
    let works = Works::prepare_on((), port, &Store::Embedded, vec![house(40)]).await;
    let mut works = works.expect("a works");
    works.start_all().await.expect("it starts");
    works.until_ready().await;
    works.everything_is_stored_once().await;
    works.until_gateway("an empty spool", |of| of("davy_gateway_backlog_blocks") == 0.0).await;
}
