//! InfluxDB 1 and VictoriaMetrics as the store: the suite, what differs, and what their own limits do.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ingest::store::sink::{LineStore, SinkFound, SinkKind, SinkOptions};
use ingest::store::{
    Class, HistoryAnswer, HistoryQuery, HistoryReader, Position, Shape, Store, StoreBatch,
    StoreError,
};

use crate::blocks::*;
use crate::server::{Kind, Server, free_port};
use crate::suite::{CHECKS, LOG, Subject, one};

const INFLUX1: Kind =
    Kind { name: "influxd1", variable: "INFLUXD1", ready: "/ping", arguments: influx1 };
const VICTORIA: Kind = Kind {
    name: "victoria-metrics",
    variable: "VICTORIA_METRICS",
    ready: "/health",
    arguments: victoria,
};
const FORGETFUL: Kind = Kind { arguments: forgetful, ..VICTORIA };
/// Tag values that the test's InfluxDB 1 takes of one tag; its default is 100,000.
const TAG_VALUES: usize = 60_000;

fn influx1(folder: &Path, port: u16) -> Vec<String> {
    let at = |name: &str| folder.join(name).display().to_string();
    let text = format!(
        "reporting-disabled = true\nbind-address = \"127.0.0.1:{}\"\n[meta]\ndir = {:?}\n[data]\ndir = {:?}\nwal-dir = {:?}\n\
         max-values-per-tag = {TAG_VALUES}\n[http]\nbind-address = \"127.0.0.1:{port}\"\n[monitor]\nstore-enabled = false\n",
        free_port(),
        at("meta"),
        at("data"),
        at("wal")
    );
    let file = folder.join("influxdb.conf");
    std::fs::write(&file, text).unwrap();
    vec!["-config".to_owned(), file.display().to_string()]
}

fn victoria(folder: &Path, port: u16) -> Vec<String> {
    let mut arguments = forgetful(folder, port);
    arguments.push("-dedup.minScrapeInterval=1ms".to_owned());
    arguments
}

/// As it comes but for its retention: without deduplication.
fn forgetful(folder: &Path, port: u16) -> Vec<String> {
    let folder = folder.join("data").display().to_string();
    let fixed = ["-retentionPeriod=100y".to_owned(), "-search.disableCache".to_owned()];
    let listen = format!("-httpListenAddr=127.0.0.1:{port}");
    fixed.into_iter().chain([format!("-storageDataPath={folder}"), listen]).collect()
}

fn options(server: &Server, kind: SinkKind, database: &str) -> SinkOptions {
    let cursor = server.folder.path().join(format!("{database}.cursor"));
    let options = SinkOptions::new(kind, &server.url(), database, cursor);
    // Whatever was taken counts at the next look: the suite asks for the position at once.
    SinkOptions { create_database: true, hold: Duration::ZERO, ..options }
}

fn open(options: SinkOptions) -> LineStore {
    LineStore::open(options, Arc::new(Kept::default()) as _).unwrap()
}

#[test]
fn a_real_influxdb_1_answers_like_every_store() {
    let server = Server::start(INFLUX1);
    run(CHECKS.iter(), |name, refused| {
        Box::new(LineStore::open(options(&server, SinkKind::Influx1, name), refused).unwrap())
    });
}

/// Checks that VictoriaMetrics cannot pass, each with the reason.
const NOT_FOR_VICTORIA: &[(&str, &str)] = &[
    ("numbers_come_back_to_the_bit", "it keeps decimals of about 15 digits"),
    ("the_last_write_stands", "of two values of one time the larger stands"),
    ("late_samples_mend_what_was_condensed", "the same: it writes one time twice"),
    ("a_new_manifest_continues_the_series", "the same: it writes other values to known times"),
];

/// Makes what was written visible. Each check has a server of its own: there is one database.
#[derive(Debug)]
struct Flushed {
    store: LineStore,
    server: Arc<Server>,
}

impl Store for Flushed {
    fn write(&mut self, batch: &StoreBatch) -> Result<(), StoreError> {
        self.store.write(batch)?;
        let flushed = self.server.request("GET", "/internal/force_flush", &[], "").unwrap();
        assert!(flushed.starts_with("HTTP/1.1 200"), "{flushed}");
        // An empty batch: by now what was written counts.
        self.store.write(&StoreBatch { up_to: batch.up_to, blocks: Vec::new() })
    }
    fn position(&self) -> Result<Option<Position>, StoreError> {
        self.store.position()
    }
    fn reset_position(&mut self, position: Position) -> Result<(), StoreError> {
        self.store.reset_position(position)
    }
    fn reader(&self) -> Arc<dyn HistoryReader> {
        self.store.reader()
    }
    fn retain(&mut self, now_ms: i64) -> Result<(), StoreError> {
        self.store.retain(now_ms)
    }
}

#[test]
fn a_real_victoriametrics_answers_like_every_store_but_for_what_is_known() {
    let mut failed = Vec::new();
    let excepted = |name: &str| NOT_FOR_VICTORIA.iter().any(|(n, _)| *n == name);
    for (name, check) in CHECKS.iter().filter(|(name, _)| !excepted(name)) {
        println!("{name}");
        let server = Arc::new(Server::start(VICTORIA));
        let refused = Arc::new(Kept::default());
        let options = options(&server, SinkKind::Victoria, "v");
        let store = LineStore::open(options, Arc::clone(&refused) as _).unwrap();
        let mut subject = Subject { store: Box::new(Flushed { store, server }), refused };
        let run = std::panic::AssertUnwindSafe(|| check(&mut subject));
        if std::panic::catch_unwind(run).is_err() {
            failed.push(name);
        }
    }
    assert!(failed.is_empty(), "failed: {failed:?}");
}

fn run<'a>(
    checks: impl Iterator<Item = &'a crate::suite::Check>,
    open: impl Fn(&str, Arc<dyn ingest::store::RefusalSink>) -> Box<dyn Store>,
) {
    let mut failed = Vec::new();
    for (name, check) in checks {
        println!("{name}");
        let refused = Arc::new(Kept::default());
        let mut subject = Subject { store: open(name, Arc::clone(&refused) as _), refused };
        let run = std::panic::AssertUnwindSafe(|| check(&mut subject));
        if std::panic::catch_unwind(run).is_err() {
            failed.push(name);
        }
    }
    assert!(failed.is_empty(), "failed: {failed:?}");
}

fn batch(position: u64, from: i64, count: i64) -> StoreBatch {
    let rows: Vec<Row> = (from..from + count).map(|n| one(DAY + n * 1_000, n as f64)).collect();
    let blocks = vec![device("S", "M1", &["u_a"]).block(position, &rows)];
    StoreBatch { up_to: Position { log_id: LOG, position }, blocks }
}

fn count(store: &dyn Store) -> usize {
    let (site, device, quantity) = ("S".to_owned(), "M1".to_owned(), "u_a".to_owned());
    let shape = Shape::Raw { limit: 100_000 };
    let query = HistoryQuery { site, device, quantity, from: DAY, to: DAY + 24 * HOUR, shape };
    match store.reader().query(&query).unwrap() {
        HistoryAnswer::Samples(samples) => samples.rows.len(),
        HistoryAnswer::Windows(_) => unreachable!(),
    }
}

#[test]
fn a_killed_influxdb_1_loses_nothing() {
    let mut server = Server::start(INFLUX1);
    let mut store = open(options(&server, SinkKind::Influx1, "kill"));
    store.write(&batch(1, 0, 100)).unwrap();
    server.stop();
    assert_eq!(store.write(&batch(2, 100, 100)).unwrap_err().class(), Class::Retry);
    assert_eq!(store.position().unwrap().unwrap().position, 1);
    server.restart();
    store.write(&batch(2, 100, 100)).unwrap();
    assert_eq!(count(&store), 200);
}

/// Waits until the server says that it is a second old: it tells its start in whole seconds, and a restart within one
/// cannot be told from none.
fn older_than_a_second(server: &Server) {
    let is_old = || {
        let page = server.request("GET", "/metrics", &[], "").unwrap();
        let uptime = page.lines().find_map(|line| line.strip_prefix("vm_app_uptime_seconds "));
        uptime.is_some_and(|seconds| seconds.trim() != "0")
    };
    let waited = (0..3_000).any(|_| {
        let is_old = is_old();
        if !is_old {
            std::sync::mpsc::sync_channel::<()>(0).1.recv_timeout(Duration::from_millis(20)).ok();
        }
        is_old
    });
    assert!(waited, "it says no uptime");
}

// VictoriaMetrics says 204 before anything is on disk: what a kill costs there must come again from the log.
#[test]
fn a_killed_victoriametrics_gets_again_what_it_lost() {
    let mut server = Server::start(VICTORIA);
    let hold = Duration::from_secs(3_600);
    let options = SinkOptions { hold, ..options(&server, SinkKind::Victoria, "kill") };
    let mut store = open(SinkOptions { hold: Duration::ZERO, ..options.clone() });
    store.write(&batch(1, 0, 100)).unwrap();
    assert_eq!(store.position().unwrap(), None, "taken is not on disk");
    store.write(&batch(2, 100, 1)).unwrap();
    assert_eq!(store.position().unwrap().unwrap().position, 1);
    older_than_a_second(&server);
    server.restart();
    // The first request may meet the dead server's connection.
    let errors = std::iter::repeat_with(|| store.write(&batch(3, 101, 100)).unwrap_err()).take(5);
    let mut lost = errors.skip_while(|error| !matches!(error, StoreError::Lost { .. }));
    let error = lost.next().unwrap();
    drop(lost);
    let StoreError::Lost { position: Some(position), .. } = error else { panic!("{error}") };
    assert_eq!(position.position, 1);
    // What the writer then does: everything behind that position again.
    store.write(&batch(2, 100, 1)).unwrap();
    store.write(&batch(3, 101, 100)).unwrap();
    // One whose hold has not passed stays where it was.
    let cursor = server.folder.path().join("other.cursor");
    let mut slow = open(SinkOptions { cursor, ..options });
    slow.write(&batch(1, 0, 100)).unwrap();
    slow.write(&batch(2, 100, 1)).unwrap();
    assert_eq!(slow.position().unwrap(), None);
    server.request("GET", "/internal/force_flush", &[], "").unwrap();
    assert_eq!(count(&slow), 201);
}

#[test]
fn of_two_values_victoriametrics_keeps_the_larger_and_the_same_twice_is_one() {
    let server = Server::start(VICTORIA);
    let mut store = open(options(&server, SinkKind::Victoria, "twice"));
    let m = device("S", "M1", &["u_a"]);
    for (position, value) in [(1, 5.0), (2, 5.0), (3, 4.0)] {
        let blocks = vec![m.block(position, &[one(DAY, value)])];
        store.write(&StoreBatch { up_to: Position { log_id: LOG, position }, blocks }).unwrap();
        server.request("GET", "/internal/force_flush", &[], "").unwrap();
    }
    assert_eq!(count(&store), 1);
    let (site, device, quantity) = ("S".to_owned(), "M1".to_owned(), "u_a".to_owned());
    let shape = Shape::Raw { limit: 10 };
    let query = HistoryQuery { site, device, quantity, from: DAY, to: DAY + HOUR, shape };
    let HistoryAnswer::Samples(samples) = store.reader().query(&query).unwrap() else { panic!() };
    assert_eq!(samples.rows[0].value, Some(5.0));
}

fn says(checked: Result<SinkFound, StoreError>, words: &str) {
    let error = checked.unwrap_err();
    assert_eq!(error.class(), Class::Hold, "{error}");
    assert!(error.to_string().contains(words), "{error}");
}

#[test]
fn what_is_wrong_with_an_influxdb_1_is_said() {
    let server = Server::start(INFLUX1);
    let good = options(&server, SinkKind::Influx1, "wanted");
    says(
        open(SinkOptions { create_database: false, ..good.clone() }).check(),
        "CREATE DATABASE \"wanted\"",
    );
    assert!(open(SinkOptions { only_look: true, ..good.clone() }).check().unwrap().created);
    let short = SinkOptions { retention_days: Some(3), ..good.clone() };
    assert!(open(short).check().unwrap().created);
    says(
        open(SinkOptions { retention_days: Some(30), ..good.clone() }).check(),
        "DURATION 2592000s",
    );
    let found = open(SinkOptions { late_days: 30, ..good.clone() }).check().unwrap();
    assert!(found.warnings[0].contains("hole_max_days"), "{found:?}");
    let v2 = ingest::store::influx::InfluxOptions::new(
        &server.url(),
        "o",
        "b",
        ingest::secret::Secret::new("t".to_owned()).into(),
        server.folder.path().join("v2.cursor"),
    );
    let mut v2 =
        ingest::store::influx::InfluxStore::open(v2, Arc::new(Kept::default()) as _).unwrap();
    let error = v2.check().unwrap_err().to_string();
    assert!(error.contains("kind = \"influxdb1\""), "{error}");
}

#[test]
fn a_sample_older_than_an_influxdb_1_keeps_is_counted_not_retried() {
    let server = Server::start(INFLUX1);
    let made = SinkOptions { retention_days: Some(1), ..options(&server, SinkKind::Influx1, "s") };
    open(made).check().unwrap();
    let mut store = open(options(&server, SinkKind::Influx1, "s"));
    store.write(&batch(1, 0, 30)).unwrap();
    assert_eq!((store.dropped(), store.position().unwrap().unwrap().position), (30, 1));
}

#[test]
fn what_is_wrong_with_a_victoriametrics_is_said() {
    let server = Server::start(FORGETFUL);
    let options = options(&server, SinkKind::Victoria, "v");
    says(open(options.clone()).check(), "-dedup.minScrapeInterval=1ms");
    let kept = Server::start(VICTORIA);
    let options = SinkOptions { url: kept.url(), ..options };
    let long = SinkOptions { retention_days: Some(36_501), ..options.clone() };
    says(open(long).check(), "-retentionPeriod=36501d");
    open(options).check().unwrap();
}

/// A batch of devices, one sample each.
fn wide(devices: std::ops::Range<usize>) -> StoreBatch {
    let position = devices.end as u64;
    let blocks = devices.map(|n| {
        let name: &'static str = Box::leak(format!("M{n}").into_boxed_str());
        device("S", name, &["u_a"]).block(n as u64 + 1, &[one(DAY, n as f64)])
    });
    StoreBatch { up_to: Position { log_id: LOG, position }, blocks: blocks.collect() }
}

#[test]
fn series_beyond_what_an_influxdb_1_takes_are_set_aside_by_name() {
    let server = Server::start(INFLUX1);
    let refused = Arc::new(Kept::default());
    let options = options(&server, SinkKind::Influx1, "many");
    let mut store = LineStore::open(options, Arc::clone(&refused) as _).unwrap();
    // It looks before each request, so the one that reaches the limit still passes whole.
    store.write(&wide(0..TAG_VALUES)).unwrap();
    let known = TAG_VALUES - 10;
    store.write(&wide(known..TAG_VALUES + 5)).unwrap();
    let refused = refused.0.lock().unwrap();
    let codes: Vec<_> = refused.iter().map(|r| (r.code, r.samples)).collect();
    assert_eq!(codes, [("too_many_series", 1); 5]);
    assert!(refused[0].reason.contains("max-values-per-tag"), "{}", refused[0].reason);
}
