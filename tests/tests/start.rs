//! A centre that takes long to start says so at once: to an orchestrator, to whoever asks the API, and to an open page.

use std::time::Duration;

use rusqlite::Connection;
use serde_json::Value;
use tests::harness::davy::{Centre, Store};
use tests::harness::mosquitto::Mosquitto;
use tests::harness::wait::wait_for;

/// Time for a loaded machine.
const LIMIT: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_takes_long_answers_that_it_is_starting() {
    // Goal: nobody waits on a socket that nobody serves, no orchestrator restarts a centre that is busy starting, and none
    // sends people to it. Method: another process holds the state database while the centre starts, and lets it go.
    let folder = tempfile::tempdir().expect("a folder");
    let broker = Mosquitto::start().await.expect("mosquitto");
    let address = format!("127.0.0.1:{}", broker.port);
    let mut centre =
        Centre::prepare(folder.path(), &address, &Store::Embedded, "").expect("a centre");
    let lock = Connection::open(centre.folder.join("data/state.db")).expect("the database");
    lock.execute_batch(
        "PRAGMA locking_mode = EXCLUSIVE; BEGIN IMMEDIATE; SELECT * FROM sqlite_master;",
    )
    .expect("the lock");
    centre.spawn().expect("it starts");
    let health = wait_for("an answer", LIMIT, || async {
        let (code, health) = centre.health("/healthz").await.map_err(|e| format!("{e:#}"))?;
        let busy = health["busy_with"].as_str().unwrap_or_default();
        if busy.contains("state database") { Ok((code, health)) } else { Err(health.to_string()) }
    })
    .await;
    assert_eq!((health.0, &health.1["status"]), (200, &Value::from("starting")), "it lives");
    let (code, ready) = centre.health("/readyz").await.expect("readyz");
    assert_eq!((code, &ready["ready"]), (503, &Value::Bool(false)));
    let reason = ready["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("is starting, busy with the state database"), "{ready}");
    for path in ["/api/v1/system", "/metrics"] {
        let answer = reqwest011::get(centre.url(path)).await.expect("an answer");
        assert_eq!(answer.status(), 503, "{path}");
        assert!(answer.headers().contains_key("retry-after"), "{path}");
        let body: Value = answer.json().await.expect("JSON");
        assert_eq!(body["code"], "starting", "{body}");
        assert!(body["request_id"].as_str().is_some_and(|id| !id.is_empty()), "{body}");
    }

    lock.execute_batch("ROLLBACK").expect("no lock");
    drop(lock);
    centre.up().await;
    centre.sign_in().await.expect("a session");
    centre.get("/system").await.expect("the API serves");
    wait_for("the centre to be ready", LIMIT, || async {
        let (code, ready) = centre.health("/readyz").await.map_err(|e| format!("{e:#}"))?;
        if code == 200 { Ok(()) } else { Err(ready.to_string()) }
    })
    .await;
    centre.stop().await.expect("an orderly end");
}
