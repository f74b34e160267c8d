//! Goal: whatever the order of writes, duplicates, late samples, seals, kills and reopenings, the embedded store holds
//! what a plain map holds. Method: random operations against the store and the map, compared to the bit after each.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ingest::store::embedded::{EmbeddedOptions, EmbeddedStore, check};
use ingest::store::history::Grid;
use ingest::store::{Aggregates, HistoryAnswer, HistoryQuery, Position, Shape, Store, StoreBatch};
use proptest::prelude::*;

use crate::blocks::*;
use crate::suite::{LOG, bits, same_windows};

const MS_PER_DAY: i64 = 24 * HOUR;

#[derive(Debug, Clone)]
enum Op {
    /// Rows in any order: minute within the three days, ms, value, mark.
    Write(Vec<(u16, u16, i16, u8)>),
    Seal,
    Reopen,
    /// What a kill leaves: the files as they are on disk.
    Kill,
    /// A kill between the last day file's commit and the head's.
    KillInSeal,
}

fn op() -> impl Strategy<Value = Op> {
    // Few distinct minutes and ms, so that duplicates and neighbours are common.
    let row = (0_u16..180, 0_u16..4, -50_i16..50, 0_u8..8);
    prop_oneof![
        6 => prop::collection::vec(row, 1..60).prop_map(Op::Write),
        2 => Just(Op::Seal),
        1 => Just(Op::Reopen),
        1 => Just(Op::Kill),
        1 => Just(Op::KillInSeal),
    ]
}

/// The store under test and what it must hold.
struct Rig {
    folder: tempfile::TempDir,
    store: Option<EmbeddedStore>,
    models: [Model; 2],
    position: u64,
}

fn open(dir: &Path) -> EmbeddedStore {
    EmbeddedStore::open(EmbeddedOptions::new(dir), Arc::new(Kept::default())).unwrap().0
}

fn copy(from: &Path, to: &Path, wanted: impl Fn(&str) -> bool) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if wanted(&name) {
            std::fs::copy(entry.path(), to.join(name)).unwrap();
        }
    }
}

impl Rig {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Some(open(folder.path()));
        Self { folder, store, models: Default::default(), position: 0 }
    }

    fn dir(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    fn store(&mut self) -> &mut EmbeddedStore {
        self.store.as_mut().unwrap()
    }

    fn write(&mut self, rows: &[(u16, u16, i16, u8)]) {
        let marks = [GOOD, GOOD, GOOD, GOOD, UNCERTAIN, BAD, STALE, SUBSTITUTED];
        let row = |(minute, ms, value, mark): &(u16, u16, i16, u8)| {
            let t = DAY - 2 * MS_PER_DAY + i64::from(*minute) * 24 * 60_000 + i64::from(*ms) * 7;
            let sample = (f64::from(*value) / 10.0, marks[usize::from(*mark)]);
            (t, vec![sample, (f64::from(*value), GOOD)])
        };
        let rows: Vec<Row> = rows.iter().map(row).collect();
        self.position += 1;
        let position = self.position;
        for (column, model) in self.models.iter_mut().enumerate() {
            model.write(&rows, column);
        }
        let blocks = vec![device("S", "M1", &["u_a", "di_1"]).block(position, &rows)];
        let up_to = Position { log_id: LOG, position };
        self.store().write(&StoreBatch { up_to, blocks }).unwrap();
    }

    fn run(&mut self, op: &Op) {
        let dir = self.dir();
        match op {
            Op::Write(rows) => self.write(rows),
            Op::Seal => self.store().seal().unwrap(),
            Op::Reopen => {
                self.store = None;
                self.store = Some(open(&dir));
            }
            Op::Kill => {
                let killed = tempfile::tempdir().unwrap();
                copy(&dir, killed.path(), |name| !name.ends_with("-shm"));
                self.store = None;
                self.folder = killed;
                self.store = Some(open(&self.dir()));
            }
            Op::KillInSeal => {
                self.store = None;
                let kept = tempfile::tempdir().unwrap();
                copy(&dir, kept.path(), |name| name.starts_with("head."));
                self.store = Some(open(&dir));
                self.store().seal().unwrap();
                self.store = None;
                copy(kept.path(), &dir, |_| true);
                self.store = Some(open(&dir));
            }
        }
    }

    fn ask(&mut self, quantity: &str, shape: Shape) -> HistoryAnswer {
        let (site, device) = ("S".to_owned(), "M1".to_owned());
        let (from, to) = (DAY - 2 * MS_PER_DAY, DAY + MS_PER_DAY);
        let query = HistoryQuery { site, device, quantity: quantity.to_owned(), from, to, shape };
        self.store().reader().query(&query).unwrap()
    }

    fn compare(&mut self) {
        let position = self.position;
        if position > 0 {
            let at = Some(Position { log_id: LOG, position });
            assert_eq!(self.store().position().unwrap(), at);
        }
        for (index, quantity) in ["u_a", "di_1"].into_iter().enumerate() {
            let model = self.models[index].clone();
            let (from, to) = (DAY - 2 * MS_PER_DAY, DAY + MS_PER_DAY);
            match self.ask(quantity, Shape::Raw { limit: 100_000 }) {
                HistoryAnswer::Samples(got) => {
                    assert_eq!(bits(&got.rows), bits(&model.rows(from, to)));
                    assert_eq!(got.damaged, []);
                }
                HistoryAnswer::Windows(_) => panic!("asked for samples"),
            }
            for step_ms in [60_000, 1_440_000, HOUR, 9 * HOUR, 100_001] {
                let shape = Shape::Windows { step_ms, aggregates: Aggregates::ALL };
                match self.ask(quantity, shape) {
                    HistoryAnswer::Windows(got) => same_windows(&got, &model, from, to),
                    HistoryAnswer::Samples(_) => panic!("asked for windows"),
                }
            }
        }
    }

    /// Seals, checks every byte, then keeps two days and compares again.
    fn end(&mut self) {
        self.store().seal().unwrap();
        let report = check(&self.dir(), &mut |_| {}).unwrap();
        assert_eq!(report.problems, []);
        let samples: usize = self.models.iter().map(|m| m.0.len()).sum();
        assert_eq!((report.samples, report.head_samples), (samples as u64, 0));
        let dir = self.dir();
        self.store = None;
        let options = EmbeddedOptions { retention_days: Some(1), ..EmbeddedOptions::new(dir) };
        let (mut store, _) = EmbeddedStore::open(options, Arc::new(Kept::default())).unwrap();
        store.retain(DAY + MS_PER_DAY).unwrap();
        self.store = Some(store);
        let newest = self.models[0].0.keys().next_back().copied();
        if let Some(newest) = newest {
            let kept = (newest.div_euclid(MS_PER_DAY) - 1) * MS_PER_DAY;
            for model in &mut self.models {
                model.0 = model.0.split_off(&kept);
            }
        }
        self.compare();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn a_store_holds_what_a_map_holds(ops in prop::collection::vec(op(), 1..14)) {
        let mut rig = Rig::new();
        for op in &ops {
            rig.run(op);
            rig.compare();
        }
        rig.end();
    }

    // A window's width never makes more windows than asked for, and wide ones are whole minutes and hours.
    #[test]
    fn a_chart_has_at_most_its_pixels(span in 1_i64..4_000_000_000_000, pixels in 1_i64..10_000) {
        let step = ingest::store::history::chart_step(span, pixels);
        prop_assert!((span - 1) / step < pixels);
        prop_assert!(step < 30_000 + 1 || step % 60_000 == 0);
        prop_assert!(step < HOUR / 2 + 60_000 || step % HOUR == 0);
        prop_assert!(Grid::new(0, span, step).is_ok() || span / step > 10_000);
    }
}
