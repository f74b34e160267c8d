//! The centre's watch over itself: its own sample raises and clears a test alarm through everything; whichever part stands
//! still is named; nothing of it is left anywhere.

use std::time::Duration;

use rusqlite::Connection;
use tempfile::TempDir;
use tests::harness::davy::{Centre, Store};
use tests::harness::held::Held;
use tests::harness::mosquitto::Mosquitto;
use tests::harness::wait::wait_for;

/// A round each 10 s, a late sample after 10 s, and time for a loaded machine.
const LIMIT: Duration = Duration::from_secs(60);
const STAGES: [&str; 4] = ["broker", "log", "evaluator", "alarm"];

struct World {
    broker: Mosquitto,
    centre: Centre,
    _folder: TempDir,
}

impl World {
    async fn start() -> World {
        let folder = TempDir::new().expect("a folder");
        let broker = Mosquitto::start().await.expect("mosquitto");
        let address = format!("127.0.0.1:{}", broker.port);
        let registry = "[[site]]\nid = \"works\"\nname = \"示例厂\"\nuscc = \"91533401MA6N801A0Q\"\ncounty = \"533401\"\n\
             sectors = [\"危化\"]\nzone = \"Asia/Shanghai\"\n";
        let mut centre =
            Centre::prepare(folder.path(), &address, &Store::Embedded, registry).expect("a centre");
        centre.start().await.expect("the centre");
        centre.sign_in().await.expect("a session");
        World { broker, centre, _folder: folder }
    }

    /// Waits until rounds have come through since now and nothing stands still.
    async fn comes_through(&self) {
        let before = self.metric("davy_ingest_self_watch_rounds_total").await;
        wait_for("the test alarm to come through", LIMIT, || async {
            let metrics = self.centre.metrics().await.map_err(|e| format!("{e:#}"))?;
            let value = |name: &str| metrics.get(name).copied().unwrap_or(f64::NAN);
            let rounds = value("davy_ingest_self_watch_rounds_total");
            let (code, ready) =
                self.centre.health("/readyz").await.map_err(|e| format!("{e:#}"))?;
            let well = value("davy_ingest_self_watch_well") == 1.0;
            if rounds > before && well && code == 200 {
                return Ok(());
            }
            Err(format!("{rounds} rounds, {code} {ready}; {}", self.centre.output()))
        })
        .await;
        let notices = self.centre.notices().await.expect("notices");
        assert!(notices.keys().all(|code| !code.starts_with("self_watch")), "{notices:#?}");
    }

    async fn metric(&self, name: &str) -> f64 {
        let metrics = self.centre.metrics().await.expect("metrics");
        metrics.get(name).copied().unwrap_or(f64::NAN)
    }

    /// Waits until exactly this part is said to stand still, to people, to machines and to the probe of an orchestrator.
    async fn stands_still(&self, stage: &str) {
        wait_for(&format!("{stage} to be named"), LIMIT, || async {
            let metrics = self.centre.metrics().await.map_err(|e| format!("{e:#}"))?;
            let stuck = |stage: &str| {
                metrics.get(&format!("davy_ingest_self_watch_stuck{{code=\"{stage}\"}}"))
                    == Some(&1.0)
            };
            let said: Vec<_> = STAGES.into_iter().filter(|stage| stuck(stage)).collect();
            let notices = self.centre.notices().await.map_err(|e| format!("{e:#}"))?;
            let notice = format!("self_watch_{stage}");
            let (code, ready) =
                self.centre.health("/readyz").await.map_err(|e| format!("{e:#}"))?;
            let synthetic = &ready["parts"]["synthetic"]["state"];
            if said == [stage]
                && notices.contains_key(&notice)
                && code == 503
                && synthetic == "failing"
            {
                return Ok(());
            }
            Err(format!("{said:?} {notices:#?} {code} {ready}"))
        })
        .await;
        let (code, _) = self.centre.health("/healthz").await.expect("healthz");
        assert_eq!(code, 200, "it lives: an orchestrator must not restart it for {stage}");
    }
}

// Goal: each part of broker, log, evaluator and alarm is named when it stands still, and the failure ends by itself when
// the part goes on. Method: the broker is stopped, the threads of receiver and evaluator are held, the state database is
// locked by another process's transaction.
#[tokio::test(flavor = "multi_thread")]
async fn each_part_that_stands_still_is_named_and_recovers() {
    let world = World::start().await;
    world.comes_through().await;
    let process = world.centre.id().expect("it runs");

    world.broker.signal("STOP").expect("a running broker");
    world.stands_still("broker").await;
    world.broker.signal("CONT").expect("a stopped broker");
    world.comes_through().await;

    let held = Held::thread(process, "davy-receive").expect("the receiver's thread");
    world.stands_still("log").await;
    drop(held);
    world.comes_through().await;

    let held = Held::thread(process, "davy-evaluate").expect("the evaluator's thread");
    world.stands_still("evaluator").await;
    drop(held);
    world.comes_through().await;

    let lock = Connection::open(world.centre.folder.join("data/state.db")).expect("the database");
    lock.busy_timeout(Duration::from_secs(30)).expect("a time-out");
    lock.execute_batch("BEGIN IMMEDIATE").expect("the lock");
    world.stands_still("alarm").await;
    lock.execute_batch("ROLLBACK").expect("no lock");
    drop(lock);
    world.comes_through().await;
}

// Goal: rounds leave nothing behind: no alarm, journal row, page, sample, gateway, site or notice; the journal made anew
// from the log is the same; and all of it holds over a kill.
#[tokio::test(flavor = "multi_thread")]
async fn rounds_leave_nothing_behind() {
    let mut world = World::start().await;
    world.comes_through().await;
    world.centre.kill();
    world.centre.start().await.expect("the centre");
    world.centre.sign_in().await.expect("a session");
    world.comes_through().await;
    assert_eq!(world.centre.notices().await.expect("notices"), [].into());
    assert_eq!(world.centre.alarms().await.expect("alarms"), Vec::<serde_json::Value>::new());
    let sites = world.centre.get("/sites").await.expect("sites").to_string();
    assert!(sites.contains("works") && !sites.contains("davy-self"), "{sites}");
    let metrics = world.centre.metrics().await.expect("metrics");
    for name in
        ["samples_logged_total", "gateways_heard", "quarantine_entries", "store_samples_total"]
    {
        assert_eq!(metrics.get(&format!("davy_ingest_{name}")), Some(&0.0), "{name}");
    }
    world.centre.stop().await.expect("an orderly end");
    let state = Connection::open(world.centre.folder.join("data/state.db")).expect("the database");
    for table in ["alarm", "occurrence", "duty", "verdict", "outbox"] {
        let rows: i64 = state
            .query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0))
            .unwrap_or_else(|e| panic!("{table}: {e}"));
        assert_eq!(rows, 0, "{table}");
    }
    let snapshots: i64 = state
        .query_row("SELECT count(*) FROM cursor WHERE name LIKE 'davy-self-%'", [], |row| {
            row.get(0)
        })
        .expect("cursors");
    assert_eq!(snapshots, 0);
    for order in ["print", "replay"] {
        assert_eq!(world.centre.call(&["journal", order]).expect("the journal"), "", "{order}");
    }
}
