//! The store as a whole: a copy while it is written, files for other programs, the way to another store and back, wide
//! charts that touch no sample, and its limits.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ingest::store::embedded::{EmbeddedOptions, EmbeddedStore, EmbeddedView, backup, check};
use ingest::store::export::{Format, export, sink};
use ingest::store::history::chart_step;
use ingest::store::influx::{InfluxSource, InfluxStore};
use ingest::store::migrate::Migration;
use ingest::store::source::{Filter, SeriesKey, Source};
use ingest::store::{Aggregates, HistoryAnswer, HistoryQuery, Position, Shape, Store, StoreBatch};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::RowAccessor;

use crate::blocks::*;
use crate::influxd::Influxd;
use crate::suite::{LOG, bits, same_windows};

const MS_PER_DAY: i64 = 24 * HOUR;

fn open(dir: &Path) -> EmbeddedStore {
    EmbeddedStore::open(EmbeddedOptions::new(dir), Arc::new(Kept::default())).unwrap().0
}

fn write(store: &mut dyn Store, position: u64, blocks: Vec<Arc<ingest::log::DecodedBlock>>) {
    store.write(&StoreBatch { up_to: Position { log_id: LOG, position }, blocks }).unwrap();
}

fn ask(store: &dyn Store, from: i64, to: i64, shape: Shape) -> HistoryAnswer {
    let (site, device, quantity) = ("S".to_owned(), "M1".to_owned(), "u_a".to_owned());
    store.reader().query(&HistoryQuery { site, device, quantity, from, to, shape }).unwrap()
}

fn rows_of(store: &dyn Store, from: i64, to: i64) -> Vec<ingest::store::SampleRow> {
    match ask(store, from, to, Shape::Raw { limit: 200_000 }) {
        HistoryAnswer::Samples(samples) => samples.rows,
        HistoryAnswer::Windows(_) => unreachable!(),
    }
}

// Goal: a year on a screen is answered from summaries alone, whatever the screen's width, and exactly.
#[test]
fn a_year_touches_no_sample() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    let (from, to) = (DAY - 365 * MS_PER_DAY, DAY);
    let step = 20 * 60_000;
    let all: Vec<Row> = (0..(to - from) / step)
        .map(|n| (from + n * step + n % 7, vec![(((n * 7_919) % 4_001) as f64 / 10.0, GOOD)]))
        .collect();
    let mut model = Model::default();
    model.write(&all, 0);
    let m1 = device("S", "M1", &["u_a"]);
    write(&mut store, 1, all.chunks(5_000).map(|some| m1.block(1, some)).collect());
    store.seal().unwrap();
    let before = store.reads();
    for pixels in [500, 1_000, 3_000, 10_000] {
        let step_ms = chart_step(to - from, pixels);
        let shape = Shape::Windows { step_ms, aggregates: Aggregates::ALL };
        match ask(&store, from, to, shape) {
            HistoryAnswer::Windows(got) => {
                assert!(got.q.len() as i64 <= pixels + 1);
                same_windows(&got, &model, from, to);
            }
            HistoryAnswer::Samples(_) => unreachable!(),
        }
    }
    let after = store.reads();
    assert_eq!((after.samples - before.samples, after.minutes - before.minutes), (0, 0));
    assert_eq!(after.files - before.files, 4 * 365);
    assert_eq!(after.summaries - before.summaries, 4 * 365 * 24);
}

// A day of a sample a second is answered from minutes.
#[test]
fn a_day_is_answered_from_minutes() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    let all: Vec<Row> =
        (0..36_000).map(|n| (DAY + n * 1_000, vec![(((n * 31) % 977) as f64, GOOD)])).collect();
    let mut model = Model::default();
    model.write(&all, 0);
    let m1 = device("S", "M1", &["u_a"]);
    write(&mut store, 1, all.chunks(5_000).map(|some| m1.block(1, some)).collect());
    store.seal().unwrap();
    let (from, to) = (DAY + 1_234, DAY + 10 * HOUR - 4_321);
    let step_ms = chart_step(to - from, 600);
    let shape = Shape::Windows { step_ms, aggregates: Aggregates::ALL };
    match ask(&store, from, to, shape) {
        HistoryAnswer::Windows(got) => same_windows(&got, &model, from, to),
        HistoryAnswer::Samples(_) => unreachable!(),
    }
    let reads = store.reads();
    assert_eq!((reads.minutes, reads.samples), (10, 0));
}

/// Positions written at most.
const MOST: u64 = 3_000;

/// Tells the writer to end.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

// Method: one thread writes, seals now and then and never stops; copies are taken meanwhile. Each copy must be whole and
// hold everything up to its position.
#[test]
fn a_copy_taken_while_writing_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let copies = tempfile::tempdir().unwrap();
    let dir = folder.path().join("store");
    let options = EmbeddedOptions { seal_points: 2_000, ..EmbeddedOptions::new(&dir) };
    let mut store = EmbeddedStore::open(options, Arc::new(Kept::default())).unwrap().0;
    // Position p brings 50 samples, from the first ms of its second on.
    let step = |store: &mut EmbeddedStore, p: u64| {
        let rows: Vec<Row> =
            (0..50).map(|n| (DAY + p as i64 * 1_000 + n, vec![(p as f64, GOOD)])).collect();
        write(store, p, vec![device("S", "M1", &["u_a"]).block(p, &rows)]);
    };
    step(&mut store, 1);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Also when a check fails: the scope waits for the writer.
        let stop = Stop(&over);
        let writer = scope.spawn(|| {
            let mut p = 2;
            while !over.load(Ordering::SeqCst) && p < MOST {
                step(&mut store, p);
                p += 1;
            }
        });
        for n in 0..5 {
            let to = copies.path().join(format!("{n}"));
            let report = backup(&dir, &to, &mut |_| {}).unwrap();
            let position = report.position.unwrap().position;
            let found = check(&to, &mut |_| {}).unwrap();
            assert_eq!((found.problems, found.position), (vec![], report.position));
            let copy = open(&to);
            let rows = rows_of(&copy, DAY, DAY + 1_000 * (position as i64 + 1));
            assert_eq!(rows.len() as u64, position * 50);
            assert!(rows.iter().all(|r| r.value == Some(((r.t - DAY) / 1_000) as f64)));
        }
        drop(stop);
        writer.join().unwrap();
    });
    let error = backup(&dir, &copies.path().join("0"), &mut |_| {}).unwrap_err().to_string();
    assert!(error.contains("exists already"), "{error}");
    let names = std::fs::read_dir(copies.path()).unwrap().count();
    assert_eq!(names, 5, "nothing partial stays");
}

/// A store with what is hard to carry: two devices, odd names, all qualities, two days, samples in head and day files.
fn mixed(dir: &Path) -> (EmbeddedStore, BTreeMap<SeriesKey, Model>) {
    let mut store = open(dir);
    let mut models: BTreeMap<SeriesKey, Model> = BTreeMap::new();
    let marks = [GOOD, UNCERTAIN, BAD, STALE, SUBSTITUTED];
    let devices =
        [device("S", "电表, 1#", &["u_a", "di_1"]), device("S", "M1", &["u_a", "gas_lel"])];
    for (position, part) in [(1_u64, 0_i64), (2, 1)] {
        let mut blocks = Vec::new();
        for device in &devices {
            let rows: Vec<Row> = (0..300)
                .map(|n| {
                    let t = DAY - 30 * 60_000 + (part * 300 + n) * 10_000;
                    let mark = marks[(n % 5) as usize];
                    (t, vec![(n as f64 / 10.0, mark), (f64::from(n % 2 == 0), GOOD)])
                })
                .collect();
            for (column, quantity) in device.quantities.iter().enumerate() {
                let key = [device.site, device.name, *quantity].map(str::to_owned);
                models.entry(key).or_default().write(&rows, column);
            }
            blocks.push(device.block(position, &rows));
        }
        write(&mut store, position, blocks);
        if position == 1 {
            store.seal().unwrap();
        }
    }
    (store, models)
}

/// What a source holds, as models.
fn all_of(source: &mut dyn Source) -> BTreeMap<SeriesKey, Model> {
    let mut found: BTreeMap<SeriesKey, Model> = BTreeMap::new();
    for day in source.days().unwrap() {
        for of in source.devices(day, &mut |_, d| panic!("{d:?}")).unwrap() {
            for hour in Filter::default().hours(day) {
                let read = source.read(&of, hour.start, hour.end, &mut |_, d| panic!("{d:?}"));
                for (quantity, samples) in of.quantities.iter().zip(read.unwrap()) {
                    let key = [of.site.clone(), of.device.clone(), quantity.clone()];
                    let samples = samples.iter().map(|s| (s.t, (s.value, s.mark.quality)));
                    found.entry(key).or_default().0.extend(samples);
                }
            }
        }
    }
    found
}

fn assert_same(got: &BTreeMap<SeriesKey, Model>, want: &BTreeMap<SeriesKey, Model>) {
    assert_eq!(got.keys().collect::<Vec<_>>(), want.keys().collect::<Vec<_>>());
    for (key, model) in want {
        let all = |m: &Model| bits(&m.rows(i64::MIN, i64::MAX));
        assert_eq!(all(&got[key]), all(model), "{key:?}");
    }
}

// Beside the running store, as another process would: it has the folder locked.
#[test]
fn a_csv_file_has_every_sample() {
    let folder = tempfile::tempdir().unwrap();
    let (_store, models) = mixed(folder.path());
    let mut text = Vec::new();
    let mut view = EmbeddedView::open(folder.path()).unwrap();
    let out = sink(Format::Csv, Box::new(&mut text)).unwrap();
    let mut days = Vec::new();
    let report = export(
        &mut view,
        &Filter::default(),
        out,
        &mut |step| days.push((step.done, step.of)),
        &mut |_, damage| panic!("{damage:?}"),
    );
    let samples: usize = models.values().map(|m| m.0.len()).sum();
    assert_eq!(report.unwrap().samples, samples as u64);
    assert_eq!(days, [(1, 2), (2, 2)]);
    let mut got: BTreeMap<SeriesKey, Model> = BTreeMap::new();
    let mut reader = csv::Reader::from_reader(&text[..]);
    for row in reader.records() {
        let row = row.unwrap();
        let t: i64 = row[4].parse().unwrap();
        let iso: jiff::Timestamp = row[5].parse().unwrap();
        assert_eq!(iso.as_millisecond(), t);
        let value = row[6].parse().unwrap_or(f64::NAN);
        let qualities = [GOOD, UNCERTAIN, BAD, STALE, SUBSTITUTED].map(|m| m.quality);
        let quality = qualities.into_iter().find(|q| q.as_str() == &row[7]).unwrap();
        let key = [row[0].to_owned(), row[1].to_owned(), row[2].to_owned()];
        got.entry(key).or_default().0.insert(t, (value, quality));
    }
    assert_same(&got, &models);
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains("\"电表, 1#\",u_a,V,"), "{}", &text[..200]);
    assert!(text.contains("Z,,bad,timeout"));
}

#[test]
fn a_parquet_file_has_what_was_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let (_store, models) = mixed(folder.path());
    let path = folder.path().join("out.parquet");
    let mut view = EmbeddedView::open(folder.path()).unwrap();
    let filter = Filter {
        devices: vec!["M1".to_owned()],
        quantities: vec!["u_a".to_owned()],
        from: Some(DAY - 60_000),
        to: Some(DAY + 60_000),
        ..Filter::default()
    };
    let out = sink(Format::Parquet, Box::new(std::fs::File::create(&path).unwrap())).unwrap();
    let report = export(&mut view, &filter, out, &mut |_| {}, &mut |_, d| panic!("{d:?}")).unwrap();
    let key = ["S", "M1", "u_a"].map(str::to_owned);
    let want = models[&key].rows(DAY - 60_000, DAY + 60_000);
    assert_eq!((report.samples, want.len()), (12, 12));
    let file = SerializedFileReader::new(std::fs::File::open(&path).unwrap()).unwrap();
    assert_eq!(file.metadata().file_metadata().num_rows(), 12);
    for (row, want) in file.get_row_iter(None).unwrap().zip(&want) {
        let row = row.unwrap();
        let names = [0, 1, 2, 3].map(|i| row.get_string(i).unwrap().as_str());
        assert_eq!(names, ["S", "M1", "u_a", "V"]);
        assert_eq!(row.get_timestamp_millis(4).unwrap(), want.t);
        assert_eq!(row.get_double(5).ok(), want.value);
        assert_eq!(row.get_string(6).unwrap(), want.quality.as_str());
    }
}

// Embedded to InfluxDB and back: every sample, quality and name, counted; twice changes nothing; done days are skipped.
#[test]
fn history_moves_to_influxdb_and_back() {
    let influxd = Influxd::start();
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (folder.path().join("one"), folder.path().join("two"));
    let (_store, models) = mixed(&one);
    let samples: usize = models.values().map(|m| m.0.len()).sum();
    let options = influxd.options("history");
    let filter = Filter::default();
    for again in [false, true] {
        let mut target = InfluxStore::open(options.clone(), Arc::new(Kept::default())).unwrap();
        let progress = folder.path().join(format!("there-{again}.days"));
        let mut there = || {
            Migration {
                source: &mut EmbeddedView::open(&one).unwrap(),
                target: &mut target,
                reopen: &mut || Ok(Box::new(InfluxSource::open(options.clone())?) as _),
                progress: &progress,
                filter: &filter,
            }
            .run(&mut |_| {})
            .unwrap()
        };
        let report = there();
        assert_eq!((report.samples, report.days), (samples as u64, 2));
        assert_eq!((report.missing, report.damaged), (vec![], 0));
        let report = there();
        assert_eq!((report.samples, report.days, report.days_before), (0, 0, 2));
    }
    assert_same(&all_of(&mut InfluxSource::open(options.clone()).unwrap()), &models);
    let mut target = open(&two);
    let report = Migration {
        source: &mut InfluxSource::open(options).unwrap(),
        target: &mut target,
        reopen: &mut || Ok(Box::new(EmbeddedView::open(&two)?) as _),
        progress: &folder.path().join("back.days"),
        filter: &filter,
    }
    .run(&mut |_| {})
    .unwrap();
    assert_eq!((report.samples, report.missing), (samples as u64, vec![]));
    assert_same(&all_of(&mut EmbeddedView::open(&two).unwrap()), &models);
    assert_eq!(target.position().unwrap(), Some(Position { log_id: 0, position: 0 }));
}

// A target that drops what it is given is found out.
#[test]
fn a_target_that_lacks_samples_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (folder.path().join("one"), folder.path().join("two"));
    let (_store, models) = mixed(&one);
    let empty = folder.path().join("empty");
    drop(open(&empty));
    let report = Migration {
        source: &mut EmbeddedView::open(&one).unwrap(),
        target: &mut open(&two),
        // Looks where nothing was written.
        reopen: &mut || Ok(Box::new(EmbeddedView::open(&empty)?) as _),
        progress: &folder.path().join("days"),
        filter: &Filter::default(),
    }
    .run(&mut |_| {})
    .unwrap();
    assert_eq!(report.missing.len(), 2 * models.len());
    assert!(!folder.path().join("days").exists(), "nothing counts as done");
}

/// Files of a folder that this process has open.
fn open_files(dir: &Path) -> usize {
    let links = std::fs::read_dir("/proc/self/fd").unwrap();
    let targets = links.filter_map(|link| std::fs::read_link(link.unwrap().path()).ok());
    targets.filter(|target| target.starts_with(dir)).count()
}

// Goal: neither many series nor many days cost open files or a crash.
#[test]
fn fifty_thousand_series_fit() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    let names: Vec<&'static str> =
        (0..50_000).map(|n| &*Box::leak(format!("sensor-{n:05}").into_boxed_str())).collect();
    for (chunk, some) in names.chunks(1_000).enumerate() {
        let position = chunk as u64 + 1;
        let block = |(i, name): (usize, &&'static str)| {
            let row = (DAY + i as i64, vec![((chunk * 1_000 + i) as f64, GOOD)]);
            device("S", name, &["u_a"]).block(position, &[row])
        };
        write(&mut store, position, some.iter().enumerate().map(block).collect());
    }
    store.seal().unwrap();
    for n in [0, 25_123, 49_999] {
        let (site, device, quantity) = ("S".to_owned(), names[n].to_owned(), "u_a".to_owned());
        let shape = Shape::Raw { limit: 10 };
        let query = HistoryQuery { site, device, quantity, from: DAY, to: DAY + HOUR, shape };
        match store.reader().query(&query).unwrap() {
            HistoryAnswer::Samples(got) => assert_eq!(got.rows[0].value, Some(n as f64)),
            HistoryAnswer::Windows(_) => unreachable!(),
        }
    }
    let report = check(folder.path(), &mut |_| {}).unwrap();
    assert_eq!((report.parts, report.problems), (50_000, vec![]));
}

#[test]
fn three_hundred_days_need_no_three_hundred_files_open() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    let rows: Vec<Row> = (0..300).map(|n| (DAY - n * MS_PER_DAY, vec![(n as f64, GOOD)])).collect();
    write(&mut store, 1, vec![device("S", "M1", &["u_a"]).block(1, &rows)]);
    let before = open_files(folder.path());
    store.seal().unwrap();
    assert_eq!(rows_of(&store, DAY - 300 * MS_PER_DAY, DAY + 1).len(), 300);
    assert_eq!(open_files(folder.path()), before);
    assert_eq!(check(folder.path(), &mut |_| {}).unwrap().files, 300);
}
