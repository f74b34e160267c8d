//! The embedded store: the whole suite with samples in the head, sealed after each write, and reopened after each write;
//! then what only it can get wrong.

use std::path::Path;
use std::sync::Arc;

use ingest::store::embedded::{EmbeddedOptions, EmbeddedStore};
use ingest::store::{
    HistoryAnswer, HistoryQuery, HistoryReader, Position, Shape, Store, StoreBatch, StoreError,
};

use crate::blocks::*;
use crate::suite::{CHECKS, LOG, Subject, one};

/// What happens after each write.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Then {
    Nothing,
    Seal,
    Reopen,
}

/// An embedded store that is sealed or reopened after each write.
#[derive(Debug)]
struct Restless {
    store: Option<EmbeddedStore>,
    options: EmbeddedOptions,
    refused: Arc<Kept>,
    then: Then,
    _folder: tempfile::TempDir,
}

impl Restless {
    fn inner(&self) -> &EmbeddedStore {
        self.store.as_ref().unwrap()
    }
}

impl Store for Restless {
    fn write(&mut self, batch: &StoreBatch) -> Result<(), StoreError> {
        self.store.as_mut().unwrap().write(batch)?;
        match self.then {
            Then::Nothing => {}
            Then::Seal => self.store.as_mut().unwrap().seal()?,
            Then::Reopen => {
                self.store = None;
                self.store = Some(open(&self.options, &self.refused));
            }
        }
        Ok(())
    }
    fn position(&self) -> Result<Option<Position>, StoreError> {
        self.inner().position()
    }
    fn reset_position(&mut self, position: Position) -> Result<(), StoreError> {
        self.store.as_mut().unwrap().reset_position(position)
    }
    fn reader(&self) -> Arc<dyn HistoryReader> {
        self.inner().reader()
    }
    fn retain(&mut self, now_ms: i64) -> Result<(), StoreError> {
        self.store.as_mut().unwrap().retain(now_ms)
    }
}

fn open(options: &EmbeddedOptions, refused: &Arc<Kept>) -> EmbeddedStore {
    EmbeddedStore::open(options.clone(), Arc::clone(refused) as _).unwrap().0
}

fn run(then: Then) {
    for (name, check) in CHECKS {
        println!("{name}, {then:?}");
        let folder = tempfile::tempdir().unwrap();
        let options = EmbeddedOptions::new(folder.path());
        let refused = Arc::new(Kept::default());
        let store = Some(open(&options, &refused));
        let restless =
            Restless { store, options, refused: Arc::clone(&refused), then, _folder: folder };
        check(&mut Subject { store: Box::new(restless), refused });
    }
}

#[test]
fn the_head_answers_like_every_store() {
    run(Then::Nothing);
}

#[test]
fn day_files_answer_like_every_store() {
    run(Then::Seal);
}

#[test]
fn a_reopened_store_answers_like_every_store() {
    run(Then::Reopen);
}

fn batch(position: u64, rows: &[Row]) -> StoreBatch {
    let blocks = vec![device("S", "M1", &["u_a"]).block(position, rows)];
    StoreBatch { up_to: Position { log_id: LOG, position }, blocks }
}

fn count(store: &dyn Store) -> usize {
    let (site, device, quantity) = ("S".to_owned(), "M1".to_owned(), "u_a".to_owned());
    let (from, to) = (DAY - 1_000 * HOUR, DAY + 1_000 * HOUR);
    let shape = Shape::Raw { limit: 200_000 };
    let query = HistoryQuery { site, device, quantity, from, to, shape };
    match store.reader().query(&query).unwrap() {
        HistoryAnswer::Samples(samples) => samples.rows.len(),
        HistoryAnswer::Windows(_) => unreachable!(),
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_seal_interrupted_before_the_head_was_emptied_is_repeated_without_harm() {
    // A crash between the day file's commit and the head's: the head file of before the seal comes back.
    let folder = tempfile::tempdir().unwrap();
    let (options, refused) = (EmbeddedOptions::new(folder.path()), Arc::new(Kept::default()));
    let mut store = open(&options, &refused);
    store.write(&batch(1, &[one(DAY, 1.0), one(DAY + 1_000, 2.0)])).unwrap();
    drop(store);
    let head = std::fs::read(folder.path().join("head.sqlite")).unwrap();
    let mut store = open(&options, &refused);
    store.seal().unwrap();
    drop(store);
    std::fs::write(folder.path().join("head.sqlite"), head).unwrap();
    let mut store = open(&options, &refused);
    assert_eq!(count(&store), 2);
    store.seal().unwrap();
    assert_eq!(count(&store), 2);
}

#[test]
fn a_damaged_head_is_set_aside_and_the_position_goes_back() {
    let folder = tempfile::tempdir().unwrap();
    let (options, refused) = (EmbeddedOptions::new(folder.path()), Arc::new(Kept::default()));
    let mut store = open(&options, &refused);
    for position in 1..=3 {
        store.write(&batch(position, &[one(DAY + position as i64, 1.0)])).unwrap();
        store.seal().unwrap();
    }
    store.write(&batch(4, &[one(DAY + 4, 1.0)])).unwrap();
    drop(store);
    std::fs::write(folder.path().join("head.sqlite"), b"this is no database, it is a sentence")
        .unwrap();
    let (mut store, report) = EmbeddedStore::open(options, Arc::clone(&refused) as _).unwrap();
    assert!(report.set_aside.unwrap().ends_with("head.damaged-1.sqlite"));
    // The third seal is not known to have been whole: its file says so of the second.
    assert_eq!(store.position().unwrap(), Some(Position { log_id: LOG, position: 2 }));
    for position in 3..=4 {
        store.write(&batch(position, &[one(DAY + position as i64, 1.0)])).unwrap();
    }
    assert_eq!(count(&store), 4);
}

// Goal: whichever page of the head is damaged, the store opens, says where the damage is looked at, and what the head held is
// taken again from where it says that it stands. Method: each page in turn emptied, and scribbled over.
#[test]
fn no_damaged_page_of_the_head_keeps_the_store_from_opening() {
    let folder = tempfile::tempdir().unwrap();
    let (options, refused) = (EmbeddedOptions::new(folder.path()), Arc::new(Kept::default()));
    let mut store = open(&options, &refused);
    for position in 1..=40 {
        store.write(&batch(position, &[one(DAY + position as i64, 1.0)])).unwrap();
        if position == 10 || position == 20 {
            store.seal().unwrap();
        }
    }
    drop(store);
    let path = folder.path().join("head.sqlite");
    let whole = std::fs::read(&path).unwrap();
    let page = 8_192;
    assert!(whole.len() > 4 * page, "{} bytes", whole.len());
    for at in (0..whole.len()).step_by(page) {
        for is_emptied in [true, false] {
            let copy = tempfile::tempdir().unwrap();
            for name in names(folder.path()) {
                std::fs::copy(folder.path().join(&name), copy.path().join(&name)).unwrap();
            }
            let mut bytes = whole.clone();
            for (i, byte) in bytes[at..at + page].iter_mut().enumerate() {
                match is_emptied {
                    true => *byte = 0,
                    false if i % 97 == 0 => *byte ^= 0x5a,
                    false => {}
                }
            }
            std::fs::write(copy.path().join("head.sqlite"), bytes).unwrap();
            let what = format!("page {}, emptied {is_emptied}", at / page);
            let checked = ingest::store::embedded::check(copy.path(), &mut |_| {});
            let checked = checked.unwrap_or_else(|e| panic!("{what}: {e}"));
            let options = EmbeddedOptions::new(copy.path());
            let opened = EmbeddedStore::open(options, Arc::clone(&refused) as _);
            let (mut store, report) = opened.unwrap_or_else(|e| panic!("{what}: {e}"));
            assert_eq!(report.set_aside.is_some(), !checked.is_whole(), "{what}");
            let from = store.position().unwrap().map_or(0, |p| p.position);
            for position in from + 1..=40 {
                store.write(&batch(position, &[one(DAY + position as i64, 1.0)])).unwrap();
            }
            assert_eq!(count(&store), 40, "{what}, from {from}");
            store.seal().unwrap();
            assert_eq!(count(&store), 40, "{what}, from {from}");
        }
    }
}

#[test]
fn a_second_process_on_the_same_folder_is_told_so() {
    let folder = tempfile::tempdir().unwrap();
    let (options, refused) = (EmbeddedOptions::new(folder.path()), Arc::new(Kept::default()));
    let _first = open(&options, &refused);
    let error = EmbeddedStore::open(options, refused as _).unwrap_err().to_string();
    assert!(error.contains("another davy-ingest"), "{error}");
}

#[test]
fn retention_deletes_whole_days_and_refuses_what_is_older() {
    let folder = tempfile::tempdir().unwrap();
    let refused = Arc::new(Kept::default());
    let options =
        EmbeddedOptions { retention_days: Some(2), ..EmbeddedOptions::new(folder.path()) };
    let mut store = open(&options, &refused);
    let day = 24 * HOUR;
    store.write(&batch(1, &[one(DAY, 1.0), one(DAY - day, 1.0), one(DAY - 9 * day, 1.0)])).unwrap();
    store.seal().unwrap();
    assert_eq!(refused.0.lock().unwrap()[0].code, "too_old");
    assert_eq!(names(folder.path())[..2], ["2023-11-14.day", "2023-11-15.day"]);
    // A clock that jumps ahead deletes nothing: the newest data decide.
    store.retain(DAY + 900 * day).unwrap();
    assert_eq!(count(&store), 2);
    let blocks = vec![device("S", "M1", &["u_a"]).block_received(
        2,
        &[one(DAY + 2 * day, 1.0)],
        DAY + 2 * day,
    )];
    store.write(&StoreBatch { up_to: Position { log_id: LOG, position: 2 }, blocks }).unwrap();
    store.seal().unwrap();
    assert_eq!(names(folder.path())[0], "2023-11-15.day");
    assert_eq!(count(&store), 2);
}

#[test]
fn the_head_seals_itself_and_stays_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let refused = Arc::new(Kept::default());
    let options = EmbeddedOptions { seal_points: 500, ..EmbeddedOptions::new(folder.path()) };
    let mut store = open(&options, &refused);
    for position in 0..50 {
        let rows: Vec<Row> =
            (0..100).map(|i| one(DAY + position * 100_000 + i * 1_000, 1.0)).collect();
        store.write(&batch(position as u64 + 1, &rows)).unwrap();
    }
    assert_eq!(count(&store), 5_000);
    drop(store);
    let (store, report) = EmbeddedStore::open(options, refused as _).unwrap();
    assert!(report.head_samples <= 500, "{}", report.head_samples);
    assert_eq!(count(&store), 5_000);
}

#[test]
fn the_columns_of_a_reply_share_their_times() {
    let folder = tempfile::tempdir().unwrap();
    let (options, refused) = (EmbeddedOptions::new(folder.path()), Arc::new(Kept::default()));
    let mut store = open(&options, &refused);
    let m = device("S", "M1", &["u_a", "u_b", "i_a"]);
    for part in 0..20_i64 {
        let row =
            |i: i64| (DAY + part * 100_000 + i * 1_000, vec![(1.0, GOOD), (2.0, GOOD), (3.0, BAD)]);
        let rows: Vec<Row> = (0..100).map(row).collect();
        let up_to = Position { log_id: LOG, position: part as u64 + 1 };
        store.write(&StoreBatch { up_to, blocks: vec![m.block(up_to.position, &rows)] }).unwrap();
        store.seal().unwrap();
    }
    let db = rusqlite::Connection::open(folder.path().join("2023-11-15.day")).unwrap();
    let count = |sql: &str| db.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(count("SELECT sum(count) FROM part"), 6_000);
    assert_eq!(count("SELECT count(*) FROM part"), 6);
    assert_eq!(count("SELECT count(*) FROM times"), 2);
    assert_eq!(count("SELECT sum(refs) FROM times"), 6);
    assert_eq!(count("SELECT position FROM applied WHERE name = 'applied'"), 20);
}
