//! The event stream: heartbeat, resuming, scope, ends.

use std::time::Duration;

use ingest::account::Role;
use reqwest011::Response;
use reqwest011::header::{AUTHORIZATION, COOKIE, HeaderName};
use serde_json::{Value as Json, json};
use tokio::time::timeout;

use crate::rig::{NOW, Rig, api_key, live_value};

/// Longest wait for an event that must come.
const PATIENCE: Duration = Duration::from_secs(20);

/// One open stream, event by event.
struct Listening {
    response: Response,
    /// Bytes, because a chunk may end inside a character.
    bytes: Vec<u8>,
}

#[derive(Debug)]
struct Heard {
    id: Option<u64>,
    name: String,
    data: Json,
}

impl Listening {
    async fn open(rig: &Rig, cookie: &str, last: Option<u64>) -> Self {
        Self::open_with(rig, (COOKIE, cookie.to_owned()), last).await
    }

    async fn open_with(rig: &Rig, proof: (HeaderName, String), last: Option<u64>) -> Self {
        let mut request = rig.client.get(format!("{}/api/v1/stream", rig.base));
        request = request.header(proof.0, proof.1);
        if let Some(last) = last {
            request = request.header("last-event-id", last.to_string());
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["x-accel-buffering"], "no", "a proxy passes it on at once");
        Self { response, bytes: Vec::new() }
    }

    /// The next event; none when the stream has ended.
    async fn next(&mut self) -> Option<Heard> {
        loop {
            if let Some(end) = self.bytes.windows(2).position(|two| two == b"\n\n") {
                let event = String::from_utf8(self.bytes.drain(..end + 2).collect()).unwrap();
                let field = |name: &str| {
                    event.lines().find_map(|line| line.strip_prefix(name)).map(str::trim)
                };
                let heard = Heard {
                    id: field("id:").map(|id| id.parse().unwrap()),
                    name: field("event:").unwrap_or_default().to_owned(),
                    data: serde_json::from_str(field("data:").unwrap_or("null")).unwrap(),
                };
                return Some(heard);
            }
            let chunk = timeout(PATIENCE, self.response.chunk()).await.expect("an event in time");
            let Ok(Some(chunk)) = chunk else { return None };
            self.bytes.extend_from_slice(&chunk);
        }
    }

    /// The next event of that name; heartbeats go on for ever, so the wait as a whole has an end.
    async fn until(&mut self, name: &str) -> Heard {
        let found = async {
            loop {
                let heard = self.next().await.unwrap_or_else(|| panic!("ended before {name}"));
                if heard.name == name {
                    return heard;
                }
            }
        };
        timeout(PATIENCE, found).await.unwrap_or_else(|_| panic!("{name} never came"))
    }
}

// The stream beats, tells of a raise and a signature with growing numbers, and gathers values.
#[tokio::test]
async fn stream_beats_and_tells_what_happens() {
    let rig = Rig::start().await;
    let cookie = rig.sign_in("duty").await;
    let mut stream = Listening::open(&rig, &cookie, None).await;
    let beat = stream.until("hb").await;
    assert_eq!(beat.data["server_time"], NOW);
    let raised = rig.raise("a", NOW).await.occurrence;
    let told = stream.until("alarm").await;
    assert_eq!((&told.data["id"], &told.data["acked"]), (&json!(raised.id), &json!(false)));
    let click = json!({ "version": 1, "idempotency_key": "k" });
    rig.post(&cookie, &format!("/api/v1/alarms/{}/ack", raised.id), click).await;
    let signed = stream.until("alarm").await;
    assert_eq!(signed.data["acked"], true);
    assert!(signed.id > told.id);
    rig.hub.values([live_value("a", 1.0), live_value("a", 2.0), live_value("b", 3.0)]);
    let values = stream.until("value").await;
    let numbers: Vec<_> =
        values.data["values"].as_array().unwrap().iter().map(|v| &v["value"]).collect();
    assert_eq!(numbers, [&json!(2.0), &json!(3.0)]);
}

// After a broken line the stream goes on after the last number seen; a number that is not known is a reset.
#[tokio::test]
async fn stream_resumes_where_it_stopped_or_resets() {
    let rig = Rig::start().await;
    let cookie = rig.sign_in("duty").await;
    let before = rig.hub.revision();
    let first = rig.raise("a", NOW).await.occurrence;
    let second = rig.raise("b", NOW).await.occurrence;
    let mut stream = Listening::open(&rig, &cookie, Some(before)).await;
    assert_eq!(stream.until("alarm").await.data["id"], first.id);
    let seen = stream.until("alarm").await;
    assert_eq!(seen.data["id"], second.id);
    drop(stream);
    let third = rig.raise("a", NOW + 1).await;
    assert_eq!(third.kind, "raise");
    let mut stream = Listening::open(&rig, &cookie, seen.id).await;
    assert_eq!(stream.next().await.unwrap().name, "alarm", "only what was missed");
    for unknown in [1, u64::MAX] {
        let mut stream = Listening::open(&rig, &cookie, Some(unknown)).await;
        assert_eq!(stream.next().await.unwrap().name, "reset");
    }
}

// A stream that does not keep up is told to fetch everything again, and goes on.
#[tokio::test]
async fn stream_that_lags_is_reset_and_goes_on() {
    let rig = Rig::start().await;
    let cookie = rig.sign_in("duty").await;
    let mut stream = Listening::open(&rig, &cookie, None).await;
    stream.until("hb").await;
    // On this one thread nobody reads between these.
    for _ in 0..2_000 {
        rig.hub.gateway("a", &json!({}));
    }
    stream.until("reset").await;
    rig.raise("a", NOW).await;
    stream.until("alarm").await;
}

// A plant hears of its own site only.
#[tokio::test]
async fn plant_hears_its_own_site_only() {
    let rig = Rig::start().await;
    let cookie = rig.sign_in("plant-b").await;
    let mut stream = Listening::open(&rig, &cookie, None).await;
    stream.until("hb").await;
    rig.raise("a", NOW).await;
    rig.hub.gateway("a", &json!({}));
    let own = rig.raise("b", NOW).await.occurrence;
    assert_eq!(stream.until("alarm").await.data["id"], own.id);
    rig.hub.values([live_value("a", 1.0), live_value("b", 2.0)]);
    let values = stream.until("value").await.data;
    assert_eq!(values["values"].as_array().unwrap().len(), 1);
}

// A session that ends takes its stream with it; the service's stop ends all streams and the service itself.
#[tokio::test]
async fn streams_end_with_their_session_and_with_the_service() {
    let rig = Rig::start().await;
    let (one, two) = (rig.sign_in("duty").await, rig.sign_in("officer").await);
    let mut first = Listening::open(&rig, &one, None).await;
    let mut second = Listening::open(&rig, &two, None).await;
    first.until("hb").await;
    second.until("hb").await;
    rig.send(&one, reqwest011::Method::DELETE, "/api/v1/session", None).await;
    first.until("signed_out").await;
    assert!(first.next().await.is_none());
    rig.stop.cancel();
    let drained = async { while second.next().await.is_some() {} };
    timeout(PATIENCE, drained).await.expect("the stream ends");
    timeout(PATIENCE, rig.tasks.wait()).await.expect("the service stops");
}

// One account has eight streams and no more; a closed one is free again, and others are not concerned.
#[tokio::test]
async fn streams_of_one_account_are_bounded() {
    let rig = Rig::start().await;
    let cookie = rig.sign_in("plant-a").await;
    let mut open = Vec::new();
    for _ in 0..8 {
        let mut stream = Listening::open(&rig, &cookie, None).await;
        stream.until("hb").await;
        open.push(stream);
    }
    let ninth = rig.get(&cookie, "/api/v1/stream").await;
    assert_eq!((ninth.status, ninth.code()), (429, "too_many".to_owned()));
    let duty = rig.sign_in("duty").await;
    Listening::open(&rig, &duty, None).await.until("hb").await;
    open.pop();
    let again = async {
        loop {
            let request = rig.client.get(format!("{}/api/v1/stream", rig.base));
            let response = request.header(COOKIE, &cookie).send().await.unwrap();
            if response.status() == 200 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, again).await.expect("the place is free again");
}

// A revoked key takes its stream with it.
#[tokio::test]
async fn streams_end_with_their_key() {
    let rig = Rig::start().await;
    let token = api_key(&rig, Role::Duty, None).await;
    let proof = (AUTHORIZATION, format!("Bearer {token}"));
    let mut stream = Listening::open_with(&rig, proof, None).await;
    stream.until("hb").await;
    for key in rig.state.api_keys().await.unwrap() {
        rig.state.revoke_api_key(&key.id, "test", NOW).await.unwrap();
    }
    stream.until("signed_out").await;
    assert!(stream.next().await.is_none());
}

// While the database takes no write, the beats go on and the session stands.
#[tokio::test]
async fn beats_do_not_wait_for_the_database() {
    let rig = Rig::start().await;
    let cookie = rig.sign_in("duty").await;
    let mut stream = Listening::open(&rig, &cookie, None).await;
    stream.until("hb").await;
    let database = rig.database();
    database.execute_batch("BEGIN IMMEDIATE").unwrap();
    rig.clock.pass(120_000);
    let beats = async {
        for _ in 0..5 {
            stream.until("hb").await;
        }
    };
    timeout(Duration::from_secs(3), beats).await.expect("a beat each 100 ms");
    database.execute_batch("ROLLBACK").unwrap();
    stream.until("hb").await;
}
