//! The InfluxDB store: the whole suite against a real InfluxDB 2, its own answers, and a fake for those it will not give.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ingest::secret::Secret;
use ingest::store::influx::{InfluxOptions, InfluxStore, Token};
use ingest::store::push::Limits;
use ingest::store::{
    Class, HistoryAnswer, HistoryQuery, Position, Shape, Store, StoreBatch, StoreError,
};

use crate::blocks::*;
use crate::fake::{Act, Fake};
use crate::influxd::{Influxd, TOKEN};
use crate::suite::{CHECKS, LOG, Subject, one};

/// Most hand-overs of one batch before a test gives up.
const TRIES: usize = 20;

#[test]
fn a_real_influxdb_answers_like_every_store() {
    let influxd = Influxd::start();
    let mut failed = Vec::new();
    for (name, check) in CHECKS {
        println!("{name}");
        let refused = Arc::new(Kept::default());
        let store = InfluxStore::open(influxd.options(name), Arc::clone(&refused) as _).unwrap();
        let mut subject = Subject { store: Box::new(store), refused };
        let run = std::panic::AssertUnwindSafe(|| check(&mut subject));
        if std::panic::catch_unwind(run).is_err() {
            failed.push(name);
        }
    }
    assert!(failed.is_empty(), "failed: {failed:?}");
}

#[test]
fn what_is_wrong_with_the_configuration_is_said_with_how_to_mend_it() {
    let influxd = Influxd::start();
    let check = |options: InfluxOptions| {
        let refused = Arc::new(Kept::default());
        let opened = InfluxStore::open(options, refused as _);
        opened.and_then(|mut store| store.check()).unwrap_err()
    };
    let good = influxd.options("wanted");
    let says = |error: StoreError, words: &str| {
        assert_eq!(error.class(), Class::Hold, "{error}");
        assert!(error.to_string().contains(words), "{error}");
        assert!(!error.to_string().contains("token-of-one-test"), "{error}");
    };
    let token = Token::from(Secret::new("wrong".to_owned()));
    says(check(InfluxOptions { token, ..good.clone() }), "influx auth create");
    says(check(InfluxOptions { org: "nobody".to_owned(), ..good.clone() }), "\"nobody\"");
    says(check(InfluxOptions { create_bucket: false, ..good.clone() }), "influx bucket create");
    says(check(InfluxOptions { url: "https://h:8086".to_owned(), ..good.clone() }), "TLS");
    says(check(InfluxOptions { url: "http://h:8086/prefix".to_owned(), ..good.clone() }), "path");
    says(check(InfluxOptions { url: "h:8086".to_owned(), ..good.clone() }), "http://host:8086");
    let url = "http://davy:token-of-one-test@h:8086".to_owned();
    says(check(InfluxOptions { url, ..good.clone() }), "holds a password");
    let opened = InfluxStore::open(
        InfluxOptions { retention_days: Some(3), ..good.clone() },
        Arc::new(Kept::default()) as _,
    );
    opened.unwrap().check().unwrap();
    says(check(InfluxOptions { retention_days: Some(30), ..good.clone() }), "keeps 259200 s");
    // It serves, but plants may send what it would drop.
    let late = InfluxOptions { late_days: 30, ..good };
    let found = InfluxStore::open(late, Arc::new(Kept::default()) as _).unwrap().check().unwrap();
    assert!(found.warnings.iter().any(|w| w.contains("hole_max_days")), "{found:?}");
}

#[test]
fn looking_creates_nothing_and_creating_makes_the_condensed_buckets_too() {
    let influxd = Influxd::start();
    let options = influxd.options("new");
    let check = |options: InfluxOptions| {
        InfluxStore::open(options, Arc::new(Kept::default()) as _).unwrap().check()
    };
    let look = InfluxOptions { only_look: true, ..options.clone() };
    let want = ["new", "new_1m", "new_1h"];
    assert_eq!(check(look.clone()).unwrap().created, want);
    assert_eq!(check(look.clone()).unwrap().created, want, "the first look created something");
    assert_eq!(check(options.clone()).unwrap().created, want);
    assert_eq!(check(look).unwrap().created, Vec::<String>::new());
    // Without the right to create them history still works, with a word about it.
    influxd.request("POST", "/api/v2/buckets", &bucket_of(&influxd, "bare"));
    let bare = InfluxOptions { create_bucket: false, ..influxd.options("bare") };
    let found = check(bare).unwrap();
    assert!(!found.has_rollups);
    assert!(found.warnings[0].contains("influx bucket create"), "{found:?}");
}

/// What asks for a bucket by the API itself.
fn bucket_of(influxd: &Influxd, name: &str) -> String {
    let orgs = influxd.request("GET", "/api/v2/orgs", "");
    let id = orgs.split("\"id\": \"").nth(1).unwrap().split('"').next().unwrap();
    format!("{{\"name\":\"{name}\",\"orgID\":\"{id}\",\"retentionRules\":[]}}")
}

#[test]
fn a_database_that_is_away_is_no_refusal_and_an_exchanged_token_is_taken_without_a_restart() {
    let mut influxd = Influxd::start();
    let file = influxd.0.folder.path().join("token");
    std::fs::write(&file, TOKEN).unwrap();
    let token = Token::from_file(&file).unwrap();
    let options = InfluxOptions { token, ..influxd.options("exchange") };
    influxd.0.stop();
    let mut store = InfluxStore::open(options, Arc::new(Kept::default()) as _).unwrap();
    assert_eq!(store.check().unwrap_err().class(), Class::Retry);
    assert_eq!(store.write(&batch(1, 0, 10)).unwrap_err().class(), Class::Retry);
    influxd.0.restart();
    store.write(&batch(1, 0, 10)).unwrap();
    std::fs::write(&file, "revoked").unwrap();
    let error = store.write(&batch(2, 10, 10)).unwrap_err();
    assert_eq!(error.class(), Class::Hold, "{error}");
    std::fs::write(&file, format!("{TOKEN}\n")).unwrap();
    store.write(&batch(2, 10, 10)).unwrap();
    assert_eq!(count(&store), 20);
}

#[test]
fn a_frozen_influxdb_gets_the_same_bytes_again() {
    let influxd = Influxd::start();
    let limits = Limits { timeout: Duration::from_millis(500), ..Limits::default() };
    let options = InfluxOptions { limits, rollups: false, ..influxd.options("frozen") };
    let mut store = InfluxStore::open(options, Arc::new(Kept::default()) as _).unwrap();
    store.write(&batch(1, 0, 10)).unwrap();
    signal(influxd.0.id(), "-STOP");
    for _ in 0..3 {
        assert_eq!(store.write(&batch(2, 10, 10)).unwrap_err().class(), Class::Retry);
    }
    signal(influxd.0.id(), "-CONT");
    let taken = (0..TRIES).any(|_| store.write(&batch(2, 10, 10)).is_ok());
    assert!(taken && count(&store) == 20);
}

fn signal(process: u32, signal: &str) {
    let sent = std::process::Command::new("kill").args([signal, &process.to_string()]).status();
    assert!(sent.unwrap().success());
}

#[test]
fn a_huge_batch_goes_in_pieces() {
    let influxd = Influxd::start();
    let options = InfluxOptions { rollups: false, ..influxd.options("huge") };
    let mut store = InfluxStore::open(options, Arc::new(Kept::default()) as _).unwrap();
    let rows = |position: u64| -> Vec<Row> {
        let from = DAY + position as i64 * 1_000;
        (0..1_000).map(|n| one(from + n, n as f64)).collect()
    };
    let m = device("S", "M1", &["u_a"]);
    let blocks = (0..300).map(|position| m.block(position + 1, &rows(position))).collect();
    store.write(&StoreBatch { up_to: Position { log_id: LOG, position: 300 }, blocks }).unwrap();
    assert_eq!(store.counts().samples, 300_000);
    assert!(store.counts().requests >= 15);
    let query = HistoryQuery {
        site: "S".to_owned(),
        device: "M1".to_owned(),
        quantity: "u_a".to_owned(),
        from: DAY,
        to: DAY + 24 * HOUR,
        shape: Shape::Raw { limit: usize::MAX },
    };
    // An answer has a bound that says so.
    let HistoryAnswer::Samples(samples) = store.reader().query(&query).unwrap() else { panic!() };
    assert_eq!((samples.rows.len(), samples.truncated), (200_000, true));
}

#[test]
fn a_killed_influxdb_loses_nothing_that_was_handed_over() {
    let mut influxd = Influxd::start();
    let mut store =
        InfluxStore::open(influxd.options("kill"), Arc::new(Kept::default()) as _).unwrap();
    store.write(&batch(1, 0, 100)).unwrap();
    influxd.0.stop();
    let error = store.write(&batch(2, 100, 100)).unwrap_err();
    assert_eq!(error.class(), Class::Retry, "{error}");
    assert_eq!(store.position().unwrap().unwrap().position, 1);
    influxd.0.restart();
    store.write(&batch(2, 100, 100)).unwrap();
    assert_eq!(count(&store), 200);
}

#[test]
fn a_type_conflict_costs_only_the_conflicting_field() {
    let influxd = Influxd::start();
    let refused = Arc::new(Kept::default());
    let options = influxd.options("conflict");
    let mut store = InfluxStore::open(options, Arc::clone(&refused) as _).unwrap();
    store.check().unwrap();
    influxd.write_line("conflict", &format!("electric,device=M1,site=S i_a=\"text\" {DAY}"));
    let rows: Vec<Row> =
        (0..40).map(|n| (DAY + n * 1_000, vec![(1.0, GOOD), (2.0, GOOD)])).collect();
    let blocks = vec![device("S", "M1", &["u_a", "i_a"]).block(1, &rows)];
    let up_to = Position { log_id: LOG, position: 1 };
    store.write(&StoreBatch { up_to, blocks }).unwrap();
    assert_eq!(count(&store), 40);
    let refused = refused.0.lock().unwrap();
    assert_eq!(refused.len(), 40);
    assert_eq!(
        (refused[0].code, refused[0].samples, refused[0].position),
        ("type_conflict", 1, Some(1))
    );
    assert!(
        refused[0].what.starts_with("electric,device=M1,site=S i_a=2.0 "),
        "{}",
        refused[0].what
    );
}

#[test]
fn a_sample_older_than_the_bucket_keeps_is_counted_not_retried() {
    let influxd = Influxd::start();
    let options = InfluxOptions { retention_days: Some(1), ..influxd.options("short") };
    InfluxStore::open(options.clone(), Arc::new(Kept::default()) as _).unwrap().check().unwrap();
    // The configuration has forgotten the retention, the bucket has not.
    let options = InfluxOptions { retention_days: None, ..options };
    let mut store = InfluxStore::open(options, Arc::new(Kept::default()) as _).unwrap();
    store.write(&batch(1, 0, 30)).unwrap();
    assert_eq!(store.counts().dropped_by_retention, 30);
    assert_eq!(store.position().unwrap().unwrap().position, 1);
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

/// A store on a fake.
struct Faked {
    fake: Fake,
    store: InfluxStore,
    refused: Arc<Kept>,
    _folder: tempfile::TempDir,
}

fn faked(script: impl FnMut(&[String]) -> Act + Send + 'static) -> Faked {
    let fake = Fake::start(Box::new(script));
    let folder = tempfile::tempdir().unwrap();
    let refused = Arc::new(Kept::default());
    let options = fake_options(&fake, folder.path());
    let store = InfluxStore::open(options, Arc::clone(&refused) as _).unwrap();
    Faked { fake, store, refused, _folder: folder }
}

fn fake_options(fake: &Fake, folder: &Path) -> InfluxOptions {
    let token = Token::from(Secret::new("t".to_owned()));
    let options = InfluxOptions::new(&fake.url, "o", "b", token, folder.join("cursor"));
    let limits = Limits { timeout: Duration::from_secs(5), batch_lines: 64, ..Limits::default() };
    InfluxOptions { limits, ..options }
}

impl Faked {
    /// Hands the batch over until it is taken; how often that was.
    fn insist(&mut self, batch: &StoreBatch) -> usize {
        for tries in 1..=TRIES {
            match self.store.write(batch) {
                Ok(()) => return tries,
                Err(error) => assert_eq!(error.class(), Class::Retry, "{error}"),
            }
        }
        panic!("not taken in {TRIES} tries");
    }

    fn refused(&self) -> Vec<(&'static str, String)> {
        let refused = self.refused.0.lock().unwrap();
        refused.iter().map(|r| (r.code, r.what.clone())).collect()
    }
}

fn has(lines: &[String], numbers: &[&str]) -> bool {
    lines.iter().any(|l| numbers.iter().any(|n| l.contains(&format!("u_a={n} "))))
}

fn line(n: i64) -> String {
    format!("electric,device=M1,site=S u_a={n}.0 {}", DAY + n * 1_000)
}

#[test]
fn one_bad_line_among_thousands_is_found_by_halves() {
    let mut f = faked(|lines| match has(lines, &["37.0", "250.0"]) {
        true => Act::Answer(400, "unable to parse"),
        false => Act::Take,
    });
    assert_eq!(f.insist(&batch(1, 0, 300)), 1);
    assert_eq!(f.fake.stored().len(), 298);
    assert_eq!(f.refused(), [("unparsable", line(37)), ("unparsable", line(250))]);
    assert!(f.fake.requests().len() < 5 + 2 * 13, "{:?}", f.fake.requests());
    assert_eq!(f.store.position().unwrap().unwrap().position, 1);
}

#[test]
fn requests_over_a_network_are_compressed_and_say_the_same() {
    let mut plain = faked(|_| Act::Take);
    let mut zipped = faked(|_| Act::Take);
    assert!(!fake_options(&plain.fake, Path::new(".")).gzip, "the fake is on this machine");
    let folder = tempfile::tempdir().unwrap();
    let options = InfluxOptions { gzip: true, ..fake_options(&zipped.fake, folder.path()) };
    zipped.store = InfluxStore::open(options, Arc::new(Kept::default()) as _).unwrap();
    for faked in [&mut plain, &mut zipped] {
        assert_eq!(faked.insist(&batch(1, 0, 300)), 1);
    }
    assert_eq!(plain.fake.stored(), zipped.fake.stored());
    // Two are on their way at once and may arrive in either order.
    let sizes = |faked: &Faked| {
        let mut sizes = faked.fake.requests();
        sizes.sort_unstable();
        sizes
    };
    assert_eq!(sizes(&plain), sizes(&zipped));
    let token = || Token::from(Secret::new("t".to_owned()));
    for (url, is_compressed) in [
        ("http://127.0.0.1:8086", false),
        ("http://[::1]:8086", false),
        ("http://localhost:8086", false),
        ("http://10.0.0.7:8086", true),
        ("http://influx.plant:8086", true),
    ] {
        let options = InfluxOptions::new(url, "o", "b", token(), folder.path().join("c"));
        assert_eq!(options.gzip, is_compressed, "{url}");
    }
}

// A batch far larger than one request: every line once, no request beyond the bound, whatever the blocks' sizes.
#[test]
fn batch_of_many_blocks_is_cut_into_requests_of_whole_blocks() {
    let mut f = faked(|_| Act::Take);
    let mut blocks = Vec::new();
    let mut from = 0;
    for (position, count) in (1..).zip([1, 63, 40, 40, 200, 1, 64, 10]) {
        blocks.extend(batch(position, from, count).blocks);
        from += count;
    }
    let up_to = Position { log_id: LOG, position: 8 };
    f.insist(&StoreBatch { up_to, blocks });
    assert_eq!(f.fake.stored().len(), 419);
    let mut requests = f.fake.requests();
    requests.sort_unstable();
    assert_eq!(requests, [1, 8, 10, 40, 40, 64, 64, 64, 64, 64]);
    assert_eq!(f.store.counts().samples, 419);
}

#[test]
fn nothing_but_bad_lines_stays_within_the_bound_and_ends() {
    let mut f = faked(|_| Act::Answer(400, "unable to parse"));
    let tries = f.insist(&batch(1, 0, 300));
    assert!(tries > 1);
    assert_eq!(f.refused().len(), 300);
}

#[test]
fn a_request_that_is_too_large_is_halved_and_smaller_ones_follow() {
    let mut f = faked(|lines| match lines.len() > 20 {
        true => Act::Answer(413, "too large"),
        false => Act::Take,
    });
    f.insist(&batch(1, 0, 300));
    assert_eq!(f.fake.stored().len(), 300);
    let before = f.fake.requests().len();
    f.insist(&batch(2, 300, 300));
    assert!(f.fake.requests()[before..].iter().all(|n| *n <= 20));
    assert_eq!(f.refused(), []);
}

#[test]
fn an_overloaded_database_is_left_alone_and_gets_each_line_once_it_answers() {
    for status in [429, 503, 502] {
        let mut n = 0;
        let mut f = faked(move |_| {
            n += 1;
            if n % 2 == 1 { Act::Answer(status, "busy") } else { Act::Take }
        });
        let tries = f.insist(&batch(1, 0, 300));
        assert!(tries > 1);
        assert_eq!(f.fake.stored().len(), 300);
        // What was taken is not sent again: five ranges, each refused at most once.
        assert!(f.fake.requests().len() <= 10, "{:?}", f.fake.requests());
    }
}

#[test]
fn a_pause_that_is_asked_for_reaches_the_writer() {
    for status in [429, 503] {
        let mut n = 0;
        let mut f = faked(move |_| {
            n += 1;
            if n == 1 { Act::AskFor(status, 7) } else { Act::Take }
        });
        let error = f.store.write(&batch(1, 0, 30)).unwrap_err();
        let StoreError::Unavailable { pause_ms, .. } = error else { panic!("{error}") };
        assert_eq!(pause_ms, 7_000);
        f.store.write(&batch(1, 0, 30)).unwrap();
        assert_eq!(f.fake.stored().len(), 30);
    }
}

#[test]
fn an_answer_of_a_huge_size_is_refused_with_words() {
    let f = faked(|_| Act::Take);
    let shape = Shape::Raw { limit: 10 };
    let names = || ("huge".to_owned(), "M".to_owned(), "u_a".to_owned());
    let (site, device, quantity) = names();
    let query = HistoryQuery { site, device, quantity, from: DAY, to: DAY + HOUR, shape };
    let error = f.store.reader().query(&query).unwrap_err();
    assert_eq!(error.class(), Class::Reject);
    assert!(error.to_string().contains("ask for a shorter range"), "{error}");
}

#[test]
fn too_many_series_are_set_aside_by_that_name() {
    let mut f = faked(|lines| match has(lines, &["3.0"]) {
        true => Act::Answer(422, "max-values-per-tag limit exceeded (9/9)"),
        false => Act::Take,
    });
    f.insist(&batch(1, 0, 30));
    assert_eq!(f.refused(), [("too_many_series", line(3))]);
    assert_eq!(f.fake.stored().len(), 29);
}

#[test]
fn an_outage_lets_no_memory_grow() {
    // Whatever the length of the outage, one batch is held: the writer hands over the same again.
    let mut f = faked(|_| Act::Answer(503, "down"));
    for _ in 0..200 {
        assert_eq!(f.store.write(&batch(1, 0, 300)).unwrap_err().class(), Class::Retry);
    }
    let before = f.fake.requests().len();
    f.store.write(&batch(1, 0, 300)).unwrap_err();
    assert!(f.fake.requests().len() - before <= 2, "a database that is down is left alone");
    assert_eq!((f.refused(), f.store.position().unwrap()), (Vec::new(), None));
}

#[test]
fn an_answer_lost_after_the_write_leads_to_the_same_bytes_again() {
    let mut n = 0;
    let mut f = faked(move |_| {
        n += 1;
        if n == 2 { Act::TakeAndBreak } else { Act::Take }
    });
    assert_eq!(f.insist(&batch(1, 0, 300)), 2);
    let want: Vec<String> = (0..300).map(line).collect();
    let mut stored = f.fake.stored();
    stored.sort_by_key(|l| l.rsplit_once(' ').unwrap().1.to_owned());
    assert_eq!(stored, want);
    assert_eq!(f.refused(), []);
}

#[test]
fn a_500_that_passes_is_waited_for() {
    let mut n = 0;
    let mut f = faked(move |_| {
        n += 1;
        if n < 3 { Act::Answer(500, "cache full") } else { Act::Take }
    });
    f.insist(&batch(1, 0, 300));
    assert_eq!(f.fake.stored().len(), 300);
    assert_eq!(f.refused(), []);
}

#[test]
fn a_500_that_stays_while_small_writes_succeed_is_poison_and_set_aside() {
    let mut f = faked(|lines| match has(lines, &["100.0"]) {
        true => Act::Answer(500, "internal error"),
        false => Act::Take,
    });
    let tries = f.insist(&batch(1, 0, 300));
    assert!(tries >= 3);
    assert_eq!(f.fake.stored().len(), 299);
    assert_eq!(f.refused(), [("poison", line(100))]);
}

#[test]
fn a_500_for_everything_is_never_poison() {
    let mut f = faked(|_| Act::Answer(500, "no space left on device"));
    for _ in 0..TRIES {
        let error = f.store.write(&batch(1, 0, 300)).unwrap_err();
        assert_eq!(error.class(), Class::Retry, "{error}");
    }
    assert_eq!(f.refused(), []);
    assert_eq!(f.store.position().unwrap(), None);
}

#[test]
fn a_refused_token_holds_the_batch_and_the_cursor() {
    for status in [401, 403, 404] {
        let mut n = 0;
        let mut f = faked(move |_| {
            n += 1;
            if n < 3 { Act::Answer(status, "no") } else { Act::Take }
        });
        let error = f.store.write(&batch(1, 0, 30)).unwrap_err();
        assert_eq!(error.class(), Class::Hold, "{error}");
        assert_eq!(f.store.position().unwrap(), None);
        f.store.write(&batch(1, 0, 30)).unwrap_err();
        f.store.write(&batch(1, 0, 30)).unwrap();
        assert_eq!(f.fake.stored().len(), 30);
        assert_eq!(f.refused(), []);
    }
}

#[test]
fn a_crash_between_the_write_and_the_cursor_sends_the_same_lines_again() {
    let mut f = faked(|_| Act::Take);
    f.insist(&batch(1, 0, 100));
    let folder = tempfile::tempdir().unwrap();
    // A store that knows nothing of it: its cursor was not written.
    let options = fake_options(&f.fake, folder.path());
    let mut second = InfluxStore::open(options.clone(), Arc::new(Kept::default()) as _).unwrap();
    assert_eq!(second.position().unwrap(), None);
    second.write(&batch(1, 0, 100)).unwrap();
    assert_eq!(f.fake.stored().len(), 100);
    drop(second);
    let third = InfluxStore::open(options, Arc::new(Kept::default()) as _).unwrap();
    assert_eq!(third.position().unwrap(), Some(Position { log_id: LOG, position: 1 }));
}
