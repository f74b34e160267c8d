//! Every sample counts once, in its own day, whatever the order of arrival, the starts on the way and the site's zone.

use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;
use spool::{Log, LogOptions, NewRecord};
use tempfile::TempDir;
use wire::block::{Body, Clock, ClockState, GapRange, GapRecord};
use wire::columns::Builder;
use wire::manifest::{self, Point, Reply};
use wire::{Block, Boot, Epoch, GatewayName, Manifest, Mark, Reason};

use super::{Completeness, Counts, DAY_MS, DayOfSite};
use crate::log::record::{BlockMeta, Decided, kind};
use crate::log::{Follower, Lineage, Shared};
use crate::registry::Registry;
use crate::registry::seed::Seed;
use crate::state::State;

/// 2026-01-01T00:00 in China.
const MIDNIGHT: i64 = 1_767_225_600_000 - 8 * 3_600_000;
/// Days since 1970-01-01 of that local day.
const DAY: i64 = 20_454;
const GATEWAY: &str = "works-gw";
const SITE: &str = "works";

/// A log, what is counted of it, and the way a receiver uses both.
struct Bench {
    folder: TempDir,
    log: Option<Log>,
    completeness: Completeness,
    registry: Arc<Registry>,
    seq: u64,
    now: i64,
}

impl Bench {
    fn new(registry: Registry) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let bench = Self {
            log: None,
            completeness: Completeness::default(),
            registry: Arc::new(registry),
            seq: 0,
            now: MIDNIGHT,
            folder,
        };
        bench.started()
    }

    /// As a start of the centre does.
    fn started(mut self) -> Self {
        drop(self.log.take());
        let options = LogOptions { free_reserve_bytes: 0, ..LogOptions::default() };
        let (mut log, _) = Log::open(self.folder.path(), &options).unwrap();
        let shared = Arc::new(Shared::new(log.last_position(), Lineage::default(), 0));
        let mut follower = Follower::new(log.reader().unwrap(), shared);
        self.completeness =
            Completeness::open(&mut log, &mut follower, &self.registry, self.now).unwrap();
        self.log = Some(log);
        self
    }

    fn log(&mut self) -> &mut Log {
        self.log.as_mut().unwrap()
    }

    fn tick(&mut self) {
        let log = self.log.as_mut().unwrap();
        let head = log.last_position();
        self.completeness.follow(&self.registry, self.now);
        let mut txn = log.begin();
        self.completeness.keep(&mut txn, head);
        txn.commit().unwrap();
        self.completeness.kept(head);
    }

    /// Logs a block that arrives now and counts it.
    fn take(&mut self, body: Body, clock: Clock, decided: Decided) -> u64 {
        self.seq += 1;
        let block = Block {
            gateway: GatewayName::new(GATEWAY).unwrap(),
            epoch: Epoch(7),
            seq: self.seq,
            link: None,
            clock,
            fact_revision: 0,
            list: None,
            body,
        };
        let bytes = manifest_of().encode();
        let key = manifest::key(&bytes);
        let (seq, now) = (self.seq, self.now);
        let mut txn = self.log().begin();
        txn.put_manifest(GATEWAY, key.0, &bytes);
        txn.append_block(&NewRecord {
            kind: kind::BLOCK,
            gateway: GATEWAY,
            epoch: 7,
            seq,
            received_at: now,
            meta: &BlockMeta { decided, ..BlockMeta::default() }.encode(),
            bytes: &block.encode(),
        })
        .unwrap();
        txn.commit().unwrap();
        let head = self.log().last_position();
        let shared = Arc::new(Shared::new(head, Lineage::default(), 0));
        let mut follower = Follower::new(self.log().reader().unwrap(), shared);
        let batch = follower.next(head - 1, std::time::Duration::ZERO).unwrap();
        self.completeness.let_through(&batch.records[0], &mut follower).unwrap();
        head
    }

    /// Samples of these event times, all of one mark.
    fn samples(&mut self, times: &[i64], mark: Mark) {
        let clock = Clock { state: ClockState::Synced, closed_at: self.now, ..Clock::default() };
        self.take(readings(times, mark), clock, Decided::default());
    }

    fn days(&self) -> Vec<DayOfSite> {
        self.completeness.days(0, i64::MAX, self.now, |_| true)
    }

    fn counts(&self, day: i64) -> Counts {
        let found = self.days().into_iter().find(|row| row.day == day && row.site == SITE);
        found.map(|row| row.counts).unwrap_or_default()
    }
}

/// One reply each 1 s with one point, and one that reports by itself.
fn manifest_of() -> Manifest {
    let reply = |device: &str, period_ms| Reply {
        device: device.to_owned(),
        period_ms,
        points: vec![Point { quantity: "p_total".to_owned(), unit: "kW".to_owned() }],
        profile: "p".to_owned(),
        profile_version: "1".to_owned(),
    };
    Manifest {
        gateway: GatewayName::new(GATEWAY).unwrap(),
        site: SITE.to_owned(),
        replies: vec![reply("meter", 1_000), reply("door", 0)],
        replaces: None,
    }
}

fn readings(times: &[i64], mark: Mark) -> Body {
    let manifest = manifest_of();
    let mut builder = Builder::new(&manifest, manifest::key(&manifest.encode()));
    times.iter().for_each(|t| builder.push(0, *t, &[(1.0, mark)]).unwrap());
    Body::Readings(builder.take())
}

/// A site with one point of this period on the gateway.
fn registry(period_ms: i64) -> Registry {
    let text = format!(
        "[[site]]\nid = {SITE:?}\nname = \"示例厂\"\nuscc = \"91533401MA6N801A0Q\"\ncounty = \"533401\"\n\
         sectors = [\"危化\"]\nzone = \"Asia/Shanghai\"\n\n[[site.gateway]]\nname = {GATEWAY:?}\n\n\
         [[site.device]]\nid = \"meter\"\nname = \"meter\"\nrole = \"incomer\"\ngateway = {GATEWAY:?}\n\
         points = [{{ quantity = \"p_total\", period_ms = {period_ms} }}]\n"
    );
    let seed = Seed::parse(&text, Path::new(".")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let state = State::open(&folder.path().join("state.db")).await.unwrap();
        state.apply_seed(&seed, MIDNIGHT).await.unwrap();
        state.load_registry().await.unwrap()
    })
}

// Goal: samples count in their own local day, by quality; late ones are said to be late; those that report by themselves
// are expected by nobody.
#[test]
fn samples_count_in_their_own_day_by_quality() {
    let mut bench = Bench::new(registry(1_000));
    bench.now = MIDNIGHT + DAY_MS + 1_000;
    let midnight = MIDNIGHT + DAY_MS;
    bench.samples(&[midnight - 1, midnight, midnight + 1], Mark::GOOD);
    bench.samples(&[midnight + 2], Mark::bad(Reason::Timeout));
    bench.samples(&[MIDNIGHT + 5], Mark::GOOD);
    let (first, second) = (bench.counts(DAY), bench.counts(DAY + 1));
    assert_eq!((first.good, first.bad, first.late), (2, 0, 1));
    assert_eq!((second.good, second.bad, second.late), (2, 1, 0));
    let manifest = manifest_of();
    let mut builder = Builder::new(&manifest, manifest::key(&manifest.encode()));
    builder.push(1, midnight + 3, &[(1.0, Mark::GOOD)]).unwrap();
    let clock = Clock { state: ClockState::Synced, ..Clock::default() };
    bench.take(Body::Readings(builder.take()), clock, Decided::default());
    assert_eq!(bench.counts(DAY + 1).unplanned, 1);
    assert_eq!(bench.counts(DAY + 1).good, 2);
}

// Goal: what a registered point should have given is expected from the first second on, whether anything comes or not, and
// also while the centre is down; half of it is a share of a half.
#[test]
fn what_is_registered_is_expected_whether_it_comes_or_not() {
    let mut bench = Bench::new(registry(1_000));
    bench.now = MIDNIGHT + 100_000;
    bench.tick();
    assert_eq!(bench.counts(DAY).expected, 100.0);
    assert_eq!(bench.counts(DAY).share(), Some(0.0));
    let mut bench = bench.started();
    bench.now = MIDNIGHT + 400_000;
    let mut bench = bench.started();
    assert_eq!(bench.counts(DAY).expected, 400.0, "four hundred seconds, three of them down");
    let times: Vec<i64> = (0..200).map(|s| MIDNIGHT + s * 1_000).collect();
    bench.samples(&times, Mark::GOOD);
    assert_eq!(bench.counts(DAY).share(), Some(0.5));
    bench.now = MIDNIGHT + DAY_MS + 3_600_000;
    let full = bench.counts(DAY).expected;
    assert!((full - 86_400.0).abs() < 1e-6, "a whole day, no more: {full}");
    assert!((bench.counts(DAY + 1).expected - 3_600.0).abs() < 1e-6);
}

// Goal: a gateway that polls at another period than the registry says is expected at its own; a clock that goes back
// expects nothing twice.
#[test]
fn the_period_of_the_manifest_counts_and_time_counts_once() {
    let mut bench = Bench::new(registry(60_000));
    bench.samples(&[MIDNIGHT], Mark::GOOD);
    bench.tick();
    bench.now = MIDNIGHT + 60_000;
    bench.tick();
    let expected = bench.counts(DAY).expected;
    assert!((expected - 60.0).abs() < 1e-9, "one a second: {expected}");
    bench.now = MIDNIGHT + 30_000;
    bench.tick();
    bench.now = MIDNIGHT + 61_000;
    let expected = bench.counts(DAY).expected;
    assert!((expected - 61.0).abs() < 1e-9, "{expected}");
}

// Goal: blocks of a clock that was set late count once their time is known, in their own day, also over a start.
#[test]
fn blocks_of_a_late_clock_count_when_they_are_released() {
    let mut bench = Bench::new(registry(1_000));
    bench.now = MIDNIGHT + 20_000;
    let unset = Clock {
        state: ClockState::Unset,
        closed_at: 5_000,
        mono_ms: 5_000,
        boot: Boot(3),
        ..Clock::default()
    };
    let held = bench.take(readings(&[1_000, 2_000], Mark::GOOD), unset, Decided::default());
    assert_eq!(bench.counts(DAY).good, 0);
    let offset = Some(MIDNIGHT);
    let synced = Clock {
        state: ClockState::Synced,
        closed_at: MIDNIGHT + 10_000,
        mono_ms: 10_000,
        boot: Boot(3),
        boot_offset: offset,
        ..Clock::default()
    };
    let releases = Decided { releases: vec![held], ..Decided::default() };
    bench.take(readings(&[MIDNIGHT + 9_000], Mark::GOOD), synced, releases);
    assert_eq!(bench.counts(DAY).good, 3);
    assert_eq!(bench.started().counts(DAY).good, 3);
}

// Goal: declared loss lies in the days it was of, none of it lost; whatever times a gateway says.
#[test]
fn declared_loss_is_spread_over_its_days() {
    let mut bench = Bench::new(registry(1_000));
    bench.now = MIDNIGHT + 2 * DAY_MS;
    let range =
        |t0, t1, samples| GapRange { epoch: Epoch(1), from: 1, to: 2, t0, t1, samples, link: None };
    let ranges = vec![range(MIDNIGHT, MIDNIGHT + 2 * DAY_MS - 1, 101), range(1, i64::MAX, 7)];
    let gap = Body::Gap(GapRecord { ranges, reason: "evicted".to_owned() });
    bench.take(gap, Clock { state: ClockState::Synced, ..Clock::default() }, Decided::default());
    let declared: u64 = bench.days().iter().map(|row| row.counts.declared).sum();
    assert_eq!(declared, 108);
    assert!(bench.counts(DAY).declared >= 50);
}

// Goal: a sample of no possible day makes no row, and more rows than may be kept let the oldest day go.
#[test]
fn rows_are_bounded() {
    let mut bench = Bench::new(registry(1_000));
    bench.now = MIDNIGHT;
    bench.samples(&[0, MIDNIGHT - 500 * DAY_MS, MIDNIGHT + 3 * DAY_MS], Mark::GOOD);
    assert_eq!(bench.days(), []);
    let mut inner = bench.completeness.lock();
    for day in 0..500 {
        inner.row(SITE, DAY + day, DAY + day).unwrap();
    }
    assert_eq!(i64::try_from(inner.days.len()).unwrap(), super::DAYS_KEPT);
    assert_eq!(inner.rows, inner.days.len());
    inner.rows = super::ROWS_MAX;
    inner.row("another", DAY + 499, DAY + 499).unwrap();
    let oldest = *inner.days.first_key_value().unwrap().0;
    assert_eq!(oldest, DAY + 500 - super::DAYS_KEPT + 1, "one day made room");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    // Goal: whatever is kept when, however often the centre is killed between, each sample counts exactly once.
    #[test]
    fn every_sample_counts_once_over_any_kills(steps in proptest::collection::vec((0_u8..4, 0_i64..3), 1..40)) {
        let mut bench = Bench::new(registry(1_000));
        bench.now = MIDNIGHT + 3 * DAY_MS;
        let mut wanted = [0_u64; 3];
        for (step, day) in steps {
            match step {
                0 => bench.tick(),
                1 => bench = bench.started(),
                _ => {
                    let t = MIDNIGHT + day * DAY_MS;
                    bench.samples(&[t + 1, t + 2], Mark::GOOD);
                    wanted[usize::try_from(day).unwrap()] += 2;
                }
            }
        }
        let bench = bench.started();
        for (day, wanted) in (0..).zip(wanted) {
            prop_assert_eq!(bench.counts(DAY + day).good, wanted);
        }
    }
}
