//! The thread's end where there is no place for blocks.

use std::time::Duration;

use super::*;
use crate::clock::SystemClock;
use crate::epoch::Start;

#[tokio::test]
async fn blocks_that_fit_nowhere_end_the_thread() {
    // Method: a folder that cannot be made, and memory for nothing; the first (empty) block finds no place.
    let options = SpoolOptions { memory_bytes_max: 1, ..SpoolOptions::default() };
    let id = Identity {
        gateway: wire::GatewayName::new("gw").expect("a name"),
        site: "site".to_owned(),
        replaces: None,
        start: Start { epoch: wire::Epoch(1), boot: wire::Boot(2) },
        flush_ms: 10,
    };
    let failed = CancellationToken::new();
    let parts = Parts {
        replies: Replies::default(),
        clock: Arc::new(SystemClock::new()),
        failed: failed.clone(),
    };
    let dir = std::path::Path::new("/dev/null/spool");
    let handle = start(dir, &options, id, parts).expect("it always starts");
    assert!(handle.report.memory.is_some());
    handle.jobs.send(Job::Tick(1)).await.expect("it runs");
    let ended = tokio::time::timeout(Duration::from_secs(20), failed.cancelled()).await;
    assert!(ended.is_ok(), "it goes on without storing anything");
    assert!(handle.join().is_ok(), "no panic");
}
