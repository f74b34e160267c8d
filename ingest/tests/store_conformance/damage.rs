//! Goal: what is damaged is named, costs only itself, and never stops a query or a seal.
//! Method: seal known samples, break bytes in the day file, ask, check, write more.

use std::path::Path;
use std::sync::Arc;

use ingest::store::embedded::{EmbeddedOptions, EmbeddedStore, EmbeddedView, check, upgrade};
use ingest::store::history::Grid;
use ingest::store::{
    Aggregates, HistoryAnswer, HistoryQuery, Position, Samples, Shape, Store, StoreBatch, Windows,
};

use crate::blocks::*;
use crate::suite::{LOG, bits, same_windows};

const FILE: &str = "2023-11-15.day";

fn open(dir: &Path) -> EmbeddedStore {
    EmbeddedStore::open(EmbeddedOptions::new(dir), Arc::new(Kept::default())).unwrap().0
}

/// Three hours of a sample a second of one quantity in each of two devices.
fn filled(dir: &Path) -> (EmbeddedStore, Model) {
    let mut store = open(dir);
    let rows: Vec<Row> = (0..10_800)
        .map(|n| (DAY + n * 1_000, vec![(((n * 7_919) % 997) as f64 / 10.0, GOOD)]))
        .collect();
    let mut model = Model::default();
    model.write(&rows, 0);
    for (i, some) in rows.chunks(1_800).enumerate() {
        let position = i as u64 + 1;
        let blocks = ["M1", "M2"].map(|name| device("S", name, &["u_a"]).block(position, some));
        write(&mut store, position, blocks.to_vec());
    }
    store.seal().unwrap();
    (store, model)
}

fn write(store: &mut EmbeddedStore, position: u64, blocks: Vec<Arc<ingest::log::DecodedBlock>>) {
    store.write(&StoreBatch { up_to: Position { log_id: LOG, position }, blocks }).unwrap();
}

fn ask(store: &EmbeddedStore, name: &str, from: i64, to: i64, shape: Shape) -> HistoryAnswer {
    let (site, device, quantity) = ("S".to_owned(), name.to_owned(), "u_a".to_owned());
    store.reader().query(&HistoryQuery { site, device, quantity, from, to, shape }).unwrap()
}

fn raw(store: &EmbeddedStore, name: &str) -> Samples {
    match ask(store, name, DAY, DAY + 24 * HOUR, Shape::Raw { limit: 100_000 }) {
        HistoryAnswer::Samples(samples) => samples,
        HistoryAnswer::Windows(_) => unreachable!(),
    }
}

fn windows(store: &EmbeddedStore, name: &str, step_ms: i64) -> Windows {
    let shape = Shape::Windows { step_ms, aggregates: Aggregates::ALL };
    match ask(store, name, DAY, DAY + 3 * HOUR, shape) {
        HistoryAnswer::Windows(windows) => windows,
        HistoryAnswer::Samples(_) => unreachable!(),
    }
}

/// Runs SQL on the day file behind the store's back; returns the rows changed.
fn tamper(dir: &Path, sql: &str) -> usize {
    rusqlite::Connection::open(dir.join(FILE)).unwrap().execute(sql, []).unwrap()
}

/// The part of M1's second hour.
const SECOND_HOUR: &str = "key = (SELECT (id << 17) | (1 << 12) FROM series WHERE device = 'M1')";

#[test]
fn a_damaged_part_costs_itself_and_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let (store, model) = filled(folder.path());
    let flip = format!("UPDATE part SET vals = zeroblob(length(vals)) WHERE {SECOND_HOUR}");
    assert_eq!(tamper(folder.path(), &flip), 1);
    let got = raw(&store, "M1");
    let mut rest = model.rows(DAY, DAY + HOUR);
    rest.extend(model.rows(DAY + 2 * HOUR, DAY + 3 * HOUR));
    assert_eq!(bits(&got.rows), bits(&rest));
    let damage = &got.damaged[..];
    assert_eq!(damage.len(), 1);
    assert_eq!((damage[0].from, damage[0].samples), (DAY + HOUR, 3_600));
    assert_eq!(damage[0].to, DAY + 2 * HOUR - 999);
    assert!(damage[0].reason.contains("checksum"), "{}", damage[0].reason);
    // Its neighbours, its summary and its minutes are as good as ever.
    assert_eq!(raw(&store, "M2").damaged, []);
    for step in [60_000, HOUR, 3 * HOUR] {
        let got = windows(&store, "M1", step);
        assert_eq!(got.damaged, []);
        same_windows(&got, &model, DAY, DAY + 3 * HOUR);
    }
    let said = store.reader().damage().unwrap();
    assert!(said.contains(FILE) && said.contains("store check"), "{said}");
    let report = check(folder.path(), &mut |_| {}).unwrap();
    assert_eq!(report.problems.len(), 1, "{:?}", report.problems);
    let problem = &report.problems[0];
    let series = ["S", "M1", "u_a"].map(str::to_owned);
    assert_eq!((problem.file.as_str(), problem.series.as_ref()), (FILE, Some(&series)));
    assert_eq!((problem.samples_lost, problem.span.unwrap().0), (3_600, DAY + HOUR));
    assert!(problem.mend.contains("backup"), "{}", problem.mend);
}

#[test]
fn new_samples_pass_a_damaged_part() {
    let folder = tempfile::tempdir().unwrap();
    let (mut store, model) = filled(folder.path());
    let flip = format!("UPDATE part SET vals = zeroblob(length(vals)) WHERE {SECOND_HOUR}");
    tamper(folder.path(), &flip);
    let late: Vec<Row> = (0..10).map(|n| (DAY + HOUR + n * 1_000, vec![(5.0, GOOD)])).collect();
    write(&mut store, 7, vec![device("S", "M1", &["u_a"]).block(7, &late)]);
    store.seal().unwrap();
    let got = raw(&store, "M1");
    assert_eq!(got.rows.len(), 7_200 + 10);
    assert_eq!(bits(&got.rows[..3_600]), bits(&model.rows(DAY, DAY + HOUR)));
    let report = check(folder.path(), &mut |_| {}).unwrap();
    assert_eq!(report.problems.len(), 1);
    assert!(report.problems[0].what.contains("set aside"), "{}", report.problems[0].what);
    assert_eq!(report.problems[0].samples_lost, 3_600);
}

// A wrong extreme in a summary would be a false alarm or a false calm on every wide chart.
#[test]
fn a_damaged_summary_is_not_believed() {
    let folder = tempfile::tempdir().unwrap();
    let (store, model) = filled(folder.path());
    for change in ["max = max + 1000", "t1 = t1 + 3600000", "numbers = 3", "min = NULL"] {
        let dir = tempfile::tempdir().unwrap();
        for name in ["head.sqlite", FILE] {
            std::fs::copy(folder.path().join(name), dir.path().join(name)).unwrap();
        }
        assert_eq!(tamper(dir.path(), &format!("UPDATE part SET {change} WHERE {SECOND_HOUR}")), 1);
        let store = open(dir.path());
        for step in [60_000, HOUR, 3 * HOUR, 7_777] {
            let got = windows(&store, "M1", step);
            same_windows(&got, &model, DAY, DAY + 3 * HOUR);
            assert_eq!(got.damaged, [], "nothing is missing");
        }
        assert_eq!(bits(&raw(&store, "M1").rows), bits(&model.rows(DAY, DAY + 3 * HOUR)));
        assert!(store.reader().damage().is_some(), "{change}");
        assert_eq!(check(dir.path(), &mut |_| {}).unwrap().problems.len(), 1, "{change}");
    }
    drop(store);
}

#[test]
fn damaged_minutes_and_times_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let (store, model) = filled(folder.path());
    let flip = format!("UPDATE part SET minutes = zeroblob(length(minutes)) WHERE {SECOND_HOUR}");
    tamper(folder.path(), &flip);
    same_windows(&windows(&store, "M1", 60_000), &model, DAY, DAY + 3 * HOUR);
    assert!(store.reader().damage().unwrap().contains("minutes"));
    let times = format!(
        "UPDATE times SET body = zeroblob(length(body)) WHERE id = (SELECT times FROM part WHERE {SECOND_HOUR})"
    );
    assert_eq!(tamper(folder.path(), &times), 1);
    assert_eq!(raw(&store, "M1").rows.len(), 7_200);
    let report = check(folder.path(), &mut |_| {}).unwrap();
    assert!(report.problems.iter().any(|p| p.what.contains("times")), "{:?}", report.problems);
}

#[test]
fn a_broken_file_costs_its_day_and_is_mended_by_the_next_seal() {
    let folder = tempfile::tempdir().unwrap();
    let (mut store, _) = filled(folder.path());
    let next: Vec<Row> =
        (0..60).map(|n| (DAY + 24 * HOUR + n * 1_000, vec![(1.0, GOOD)])).collect();
    write(
        &mut store,
        7,
        vec![device("S", "M1", &["u_a"]).block_received(7, &next, DAY + 30 * HOUR)],
    );
    store.seal().unwrap();
    // Every page but the first is overwritten: the tables are gone.
    let path = folder.path().join(FILE);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[8_192..].fill(0x5a);
    std::fs::write(&path, &bytes).unwrap();
    let shape = Shape::Raw { limit: 100_000 };
    match ask(&store, "M1", DAY, DAY + 48 * HOUR, shape) {
        HistoryAnswer::Samples(got) => {
            assert_eq!(got.rows.len(), 60, "the other day is read");
            assert_eq!((got.damaged[0].from, got.damaged[0].to), (DAY, DAY + 24 * HOUR));
        }
        HistoryAnswer::Windows(_) => unreachable!(),
    }
    let late = vec![(DAY + HOUR, vec![(5.0, GOOD)])];
    write(&mut store, 8, vec![device("S", "M1", &["u_a"]).block(8, &late)]);
    store.seal().unwrap();
    assert_eq!(raw(&store, "M1").rows.len(), 1);
    assert!(folder.path().join(format!("{FILE}.damaged-1")).exists());
    let report = check(folder.path(), &mut |_| {}).unwrap();
    assert_eq!(report.problems, []);
    assert!(report.notes.iter().any(|n| n.contains("damaged-1")), "{:?}", report.notes);
}

/// Takes a day file back to the format without checksums.
fn age(dir: &Path) {
    let db = rusqlite::Connection::open(dir.join(FILE)).unwrap();
    db.execute_batch(
        "BEGIN; ALTER TABLE part RENAME TO new_part; ALTER TABLE times RENAME TO new_times;
         CREATE TABLE times(id INTEGER PRIMARY KEY, refs INTEGER NOT NULL, body BLOB NOT NULL) STRICT;
         CREATE TABLE part(key INTEGER PRIMARY KEY, t0 INTEGER NOT NULL, t1 INTEGER NOT NULL, count INTEGER NOT NULL,
            numbers INTEGER NOT NULL, min REAL, max REAL, sum REAL, last REAL, qualities INTEGER NOT NULL,
            times INTEGER NOT NULL, minutes BLOB NOT NULL, vals BLOB NOT NULL, marks BLOB NOT NULL) STRICT;
         INSERT INTO times SELECT id, refs, body FROM new_times;
         INSERT INTO part SELECT key, t0, t1, count, numbers, min, max, sum, last, qualities, times, minutes, vals,
            marks FROM new_part;
         DROP TABLE new_part; DROP TABLE new_times; DROP TABLE damaged; PRAGMA user_version = 1; COMMIT;",
    )
    .unwrap();
}

#[test]
fn an_old_day_file_is_read_sealed_into_and_upgraded() {
    let folder = tempfile::tempdir().unwrap();
    let (store, mut model) = filled(folder.path());
    drop(store);
    age(folder.path());
    let report = check(folder.path(), &mut |_| {}).unwrap();
    assert!(report.problems.is_empty() && report.notes[0].contains("older version"), "{report:?}");
    let grid = Grid::new(DAY, DAY + 3 * HOUR, 60_000).unwrap();
    assert_eq!(grid.len, 180);
    let store = open(folder.path());
    assert_eq!(bits(&raw(&store, "M1").rows), bits(&model.rows(DAY, DAY + 3 * HOUR)));
    same_windows(&windows(&store, "M1", 60_000), &model, DAY, DAY + 3 * HOUR);
    drop(store);
    assert_eq!(upgrade(folder.path(), &mut |_| {}).unwrap(), 1);
    assert_eq!(upgrade(folder.path(), &mut |_| {}).unwrap(), 0);
    age(folder.path());
    let mut store = open(folder.path());
    let late = vec![(DAY + 500, vec![(5.0, GOOD)])];
    model.write(&late, 0);
    write(&mut store, 7, vec![device("S", "M1", &["u_a"]).block(7, &late)]);
    store.seal().unwrap();
    assert_eq!(bits(&raw(&store, "M1").rows), bits(&model.rows(DAY, DAY + 3 * HOUR)));
    let report = check(folder.path(), &mut |_| {}).unwrap();
    assert_eq!((report.problems, report.notes), (vec![], vec![]));
    drop(EmbeddedView::open(folder.path()).unwrap());
}
