//! Connections that send nothing, too slowly, or take nothing.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::rig::{Options, Rig, until};

/// Longest wait for an end that must come.
const PATIENCE: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(200);

async fn connect(rig: &Rig) -> TcpStream {
    TcpStream::connect(rig.base.trim_start_matches("http://")).await.unwrap()
}

/// Everything until the service closes the connection.
async fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    // A reset is an end too.
    let read = timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("closed in time");
    drop(read);
    String::from_utf8_lossy(&bytes).into_owned()
}

// Two connections are all there are; whoever sends no whole header loses theirs, and the next comes in.
#[tokio::test]
async fn slow_headers_do_not_hold_connections() {
    let mut options = Options::default();
    (options.config.connections.max, options.config.connections.header) = (2, SHORT);
    let rig = Rig::with(options).await;
    let (mut silent, mut slow) = (connect(&rig).await, connect(&rig).await);
    slow.write_all(b"GET /api/v1/session HTTP/1.1\r\nhost: ").await.unwrap();
    let answer = timeout(PATIENCE, rig.get("", "/api/v1/session")).await.expect("an answer");
    assert_eq!(answer.status, 401);
    rest(&mut silent).await;
    rest(&mut slow).await;
}

// Every place is held by somebody who sends nothing and may do so for an hour: whoever asks gets an answer all the same.
#[tokio::test]
async fn half_open_connections_make_room_for_whoever_asks() {
    let mut options = Options::default();
    let hour = Duration::from_secs(3_600);
    (options.config.connections.max, options.config.connections.header) = (2, hour);
    let rig = Rig::with(options).await;
    let (mut first, mut second) = (connect(&rig).await, connect(&rig).await);
    for stream in [&mut first, &mut second] {
        stream.write_all(b"GET /api/v1/session HTTP/1.1\r\nhost: ").await.unwrap();
    }
    let answer = timeout(PATIENCE, rig.get("", "/api/v1/session")).await.expect("an answer");
    assert_eq!(answer.status, 401);
    rest(&mut first).await;
}

// A body that does not come in time is refused.
#[tokio::test]
async fn slow_bodies_are_refused() {
    let mut options = Options::default();
    options.config.connections.body = SHORT;
    let rig = Rig::with(options).await;
    let mut slow = connect(&rig).await;
    let head = "POST /api/v1/session HTTP/1.1\r\nhost: x\r\norigin: http://x\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: 100\r\n\r\n{";
    slow.write_all(head.as_bytes()).await.unwrap();
    let answer = rest(&mut slow).await;
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("too_slow"), "{answer}");
}

// A stream whose peer takes nothing gives its place back.
#[tokio::test]
async fn stalled_streams_end() {
    let mut options = Options::default();
    options.config.connections.stalled = SHORT;
    let rig = Rig::with(options).await;
    let cookie = rig.sign_in("duty").await;
    let mut deaf = connect(&rig).await;
    let head = format!("GET /api/v1/stream HTTP/1.1\r\nhost: x\r\ncookie: {cookie}\r\n\r\n");
    deaf.write_all(head.as_bytes()).await.unwrap();
    until("the stream is open", || rig.hub.is_heard()).await;
    let large = json!({ "text": "x".repeat(200_000) });
    until("the stream has ended", || {
        rig.hub.gateway("a", &large);
        !rig.hub.is_heard()
    })
    .await;
    drop(deaf);
}
