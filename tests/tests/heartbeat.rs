//! The heartbeat to an outside watcher: it is sent while the test alarm comes through and at no other time, and a watcher
//! that is not reached is told and stops nothing.

use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tempfile::TempDir;
use tests::harness::davy::{Centre, Store};
use tests::harness::held::Held;
use tests::harness::mosquitto::Mosquitto;
use tests::harness::wait::wait_for;
use tests::harness::works::edit;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;

/// A round each 10 s, a late sample after 10 s, and time for a loaded machine.
const LIMIT: Duration = Duration::from_secs(90);
/// The part of the watcher's address that nobody else may know.
const SECRET: &str = "5f2b9c31d0";
/// Least of `[watch] every_s`.
const EVERY_S: u32 = 10;

/// An outside watcher: keeps the heads of the requests that it got and answers what it is told to.
struct Watcher {
    port: u16,
    heard: Arc<Mutex<Vec<String>>>,
    answer: Arc<AtomicU16>,
}

impl Watcher {
    async fn start() -> Watcher {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (heard, answer) = (Arc::<Mutex<Vec<String>>>::default(), Arc::new(AtomicU16::new(200)));
        let (list, code) = (Arc::clone(&heard), Arc::clone(&answer));
        TaskTracker::new().spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    match stream.read_u8().await {
                        Ok(byte) => head.push(byte),
                        Err(_) => break,
                    }
                }
                let head = String::from_utf8_lossy(&head).into_owned();
                list.lock().unwrap_or_else(PoisonError::into_inner).push(head);
                let code = code.load(Ordering::Relaxed);
                let answer = format!("HTTP/1.1 {code} said\r\ncontent-length: 0\r\n\r\n");
                // Whoever does not wait for the answer has its reasons.
                stream.write_all(answer.as_bytes()).await.ok();
            }
        });
        Watcher { port, heard, answer }
    }

    fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn hears(&self, more: usize) {
        let before = self.heard().len();
        wait_for("heartbeats", LIMIT, || async {
            let heard = self.heard().len();
            if heard >= before + more { Ok(()) } else { Err(format!("{heard}, before {before}")) }
        })
        .await;
    }
}

/// Waits until `/readyz` says this of the heartbeat.
async fn heartbeat_is(centre: &Centre, state: &str, words: &str) {
    wait_for(&format!("the heartbeat to be {state}"), LIMIT, || async {
        let (_, ready) = centre.health("/readyz").await.map_err(|e| format!("{e:#}"))?;
        let part = &ready["parts"]["heartbeat"];
        let reason = part["reason"].as_str().unwrap_or_default();
        let is_so = part["state"] == state && reason.contains(words);
        if is_so { Ok(()) } else { Err(ready.to_string()) }
    })
    .await;
}

async fn metric(centre: &Centre, name: &str) -> f64 {
    let metrics = centre.metrics().await.expect("metrics");
    metrics.get(&format!("davy_ingest_{name}")).copied().unwrap_or(f64::NAN)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_outside_watcher_hears_the_centre_only_while_alarms_come_through() {
    // Goal: silence at the watcher means that alarms may not come, and nothing else does. Method: a real listener; the
    // evaluator's thread is held, so that everything lives but alarms; then a watcher that refuses.
    let folder = TempDir::new().expect("a folder");
    let (broker, watcher) = (Mosquitto::start().await.expect("mosquitto"), Watcher::start().await);
    let address = format!("127.0.0.1:{}", broker.port);
    let mut centre =
        Centre::prepare(folder.path(), &address, &Store::Embedded, "").expect("a centre");
    let url = format!("http://127.0.0.1:{}/ping/{SECRET}", watcher.port);
    let watch = format!("[watch]\nheartbeat_url = {url:?}\nevery_s = {EVERY_S}\n\n[store]");
    edit(&centre.folder.join("ingest.toml"), "[store]", &watch).expect("edited");
    centre.start().await.expect("the centre");
    centre.sign_in().await.expect("a session");

    watcher.hears(2).await;
    assert!(metric(&centre, "self_watch_rounds_total").await >= 1.0, "none before a whole round");
    heartbeat_is(&centre, "well", "").await;
    for head in watcher.heard() {
        let is_so = head.starts_with(&format!("GET /ping/{SECRET} HTTP/1.1\r\n"))
            && head.contains(&format!("host: 127.0.0.1:{}\r\n", watcher.port))
            && head.contains("user-agent: davy-ingest/");
        assert!(is_so, "{head}");
    }

    let held = Held::thread(centre.id().expect("it runs"), "davy-evaluate").expect("its thread");
    heartbeat_is(&centre, "impaired", "held back").await;
    let before = watcher.heard().len();
    // The log gets a tick each second and goes on: two periods pass.
    let head = metric(&centre, "log_position").await;
    wait_for("two periods", LIMIT, || async {
        let now = metric(&centre, "log_position").await;
        let is_over = now >= head + f64::from(2 * EVERY_S + 5);
        if is_over { Ok(()) } else { Err(format!("{now}, from {head}")) }
    })
    .await;
    assert_eq!(watcher.heard().len(), before, "the process lives and alarms do not come: silence");
    drop(held);
    watcher.hears(1).await;
    heartbeat_is(&centre, "well", "").await;

    watcher.answer.store(503, Ordering::Relaxed);
    heartbeat_is(&centre, "impaired", "answers 503").await;
    let notices = centre.notices().await.expect("notices");
    let told = notices.get("heartbeat_failed").expect("it is told");
    assert!(told.contains("outside watcher is not reached") && !told.contains(SECRET), "{told}");
    assert_eq!(centre.health("/readyz").await.expect("readyz").0, 200, "alarms come all the same");
    watcher.answer.store(200, Ordering::Relaxed);
    heartbeat_is(&centre, "well", "").await;
    assert!(!centre.notices().await.expect("notices").contains_key("heartbeat_failed"));
    assert!(!centre.output().contains(SECRET), "the address is a secret");
}
