//! Condensed minutes and hours of a real InfluxDB 2: the answers are the samples', whatever comes late, and a year's view
//! reads no sample.

use std::sync::Arc;
use std::time::Duration;

use ingest::store::influx::{InfluxOptions, InfluxStore};
use ingest::store::{
    Aggregates, HistoryAnswer, HistoryQuery, HistoryReader, Position, RefusalSink, Shape, Store,
    StoreBatch, StoreError,
};

use crate::blocks::*;
use crate::influxd::Influxd;
use crate::suite::{CHECKS, LOG, Subject, same_windows};

fn open(options: InfluxOptions) -> InfluxStore {
    InfluxStore::open(options, Arc::new(Kept::default()) as _).unwrap()
}

/// Condenses after every write.
#[derive(Debug)]
struct Condensing(InfluxStore);

impl Store for Condensing {
    fn write(&mut self, batch: &StoreBatch) -> Result<(), StoreError> {
        self.0.write(batch)?;
        self.0.condense()
    }
    fn position(&self) -> Result<Option<Position>, StoreError> {
        self.0.position()
    }
    fn reset_position(&mut self, position: Position) -> Result<(), StoreError> {
        self.0.reset_position(position)
    }
    fn reader(&self) -> Arc<dyn HistoryReader> {
        self.0.reader()
    }
    fn retain(&mut self, now_ms: i64) -> Result<(), StoreError> {
        self.0.retain(now_ms)
    }
}

#[test]
fn condensed_data_answer_like_samples() {
    let influxd = Influxd::start();
    let mut failed = Vec::new();
    // Many devices are no matter of condensing, and condensing them takes its time.
    let checks = CHECKS.iter().filter(|(name, _)| !name.starts_with("fifty_thousand"));
    for (name, check) in checks {
        println!("{name}, condensed");
        let refused = Arc::new(Kept::default());
        let sink: Arc<dyn RefusalSink> = Arc::clone(&refused) as _;
        let store = InfluxStore::open(influxd.options(name), sink).unwrap();
        let mut subject = Subject { store: Box::new(Condensing(store)), refused };
        let run = std::panic::AssertUnwindSafe(|| check(&mut subject));
        if std::panic::catch_unwind(run).is_err() {
            failed.push(name);
        }
    }
    assert!(failed.is_empty(), "failed: {failed:?}");
}

fn batch(position: u64, rows: &[Row]) -> StoreBatch {
    let blocks = vec![device("S", "M1", &["u_a", "i_a"]).block(position, rows)];
    StoreBatch { up_to: Position { log_id: LOG, position }, blocks }
}

/// A row each `step`, some of them bad.
fn rows(from: i64, step: i64, count: i64) -> Vec<Row> {
    let row = |n: i64| {
        let mark = if n % 37 == 5 { BAD } else { GOOD };
        (from + n * step, vec![((n * 7_919 % 4_001) as f64 / 100.0, mark), (1.0, GOOD)])
    };
    (0..count).map(row).collect()
}

fn ask(store: &dyn Store, from: i64, to: i64, step_ms: i64) -> ingest::store::Windows {
    let (site, device, quantity) = ("S".to_owned(), "M1".to_owned(), "u_a".to_owned());
    let shape = Shape::Windows { step_ms, aggregates: Aggregates::ALL };
    let query = HistoryQuery { site, device, quantity, from, to, shape };
    match store.reader().query(&query).unwrap() {
        HistoryAnswer::Windows(windows) => windows,
        HistoryAnswer::Samples(_) => panic!("asked for windows"),
    }
}

#[test]
fn late_samples_are_seen_before_and_after_their_hour_is_condensed_again() {
    let influxd = Influxd::start();
    let mut store = open(influxd.options("late"));
    let mut model = Model::default();
    let first = rows(DAY, 10_000, 4_000);
    model.write(&first, 0);
    store.write(&batch(1, &first)).unwrap();
    let grids = [(DAY, DAY + 12 * HOUR, 60_000), (DAY, DAY + 12 * HOUR, HOUR)];
    let grids = [grids[0], grids[1], (DAY + 1_000, DAY + 11 * HOUR + 7_000, 3 * HOUR)];
    let same = |store: &InfluxStore, model: &Model| {
        for (from, to, step) in grids {
            same_windows(&ask(store, from, to, step), model, from, to);
        }
    };
    same(&store, &model);
    store.condense().unwrap();
    same(&store, &model);
    // Larger, smaller, another value at a known time, a mark, and a minute that had nothing.
    let late = vec![
        (DAY + 2 * HOUR + 5_000, vec![(900.0, GOOD), (1.0, GOOD)]),
        (DAY + 5 * HOUR + 15_000, vec![(-900.0, UNCERTAIN), (1.0, GOOD)]),
        (DAY + 7 * HOUR, vec![(17.25, GOOD), (1.0, GOOD)]),
        (DAY + 11 * HOUR + 30 * 60_000, vec![(3.5, GOOD), (1.0, GOOD)]),
    ];
    model.write(&late, 0);
    store.write(&batch(2, &late)).unwrap();
    same(&store, &model);
    store.condense().unwrap();
    same(&store, &model);
    // A store that was killed after the write and before the position sends the same again.
    drop(store);
    let mut store = open(influxd.options("late"));
    store.check().unwrap();
    same(&store, &model);
    store.write(&batch(2, &late)).unwrap();
    same(&store, &model);
}

// Method: take the samples away behind the store's back; what still answers read none of them.
#[test]
fn a_year_in_hours_touches_no_sample() {
    let influxd = Influxd::start();
    let mut store = open(influxd.options("year"));
    let mut model = Model::default();
    let from = DAY - 360 * 24 * HOUR;
    let all = rows(from, 2 * HOUR + 7, 4_000);
    model.write(&all, 0);
    store.write(&batch(1, &all)).unwrap();
    store.condense().unwrap();
    let body = r#"{"start":"2000-01-01T00:00:00Z","stop":"2100-01-01T00:00:00Z"}"#;
    let answer = influxd.request("POST", "/api/v2/delete?org=davy&bucket=year", body);
    assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
    let to = from + 365 * 24 * HOUR;
    assert_eq!(ask(&store, from, to, 7 * HOUR + 1).q.iter().flatten().count(), 0, "deleted");
    same_windows(&ask(&store, from, to, 6 * HOUR), &model, from, to);
    same_windows(&ask(&store, from, from + 24 * HOUR, 300_000), &model, from, from + 24 * HOUR);
}

#[test]
fn ended_hours_are_condensed_by_themselves() {
    let influxd = Influxd::start();
    let options = InfluxOptions {
        settle: Duration::ZERO,
        quiet: Duration::from_millis(50),
        ..influxd.options("itself")
    };
    let mut store = open(options);
    store.write(&batch(1, &rows(DAY, 60_000, 300))).unwrap();
    // Waits for the thread, not for luck: the bucket itself says when.
    let path = "/api/v2/query?org=davy";
    let flux = r#"from(bucket: "itself_1h") |> range(start: 2000-01-01T00:00:00Z, stop: 2100-01-01T00:00:00Z)
        |> filter(fn: (r) => r.agg == "count" and r._field == "u_a") |> group() |> count()"#;
    let found = (0..600).any(|_| {
        let token = format!("Authorization: Token {}", crate::influxd::TOKEN);
        let headers = [token.as_str(), "Content-Type: application/vnd.flux"];
        let answer = influxd.0.request("POST", path, &headers, flux).unwrap();
        let is_there = answer.contains(",5\r\n");
        if !is_there {
            std::sync::mpsc::sync_channel::<()>(0).1.recv_timeout(Duration::from_millis(100)).ok();
        }
        is_there
    });
    assert!(found, "no hour was condensed within a minute");
}
