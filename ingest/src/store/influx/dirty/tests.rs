//! Marks under late batches, restarts and damage.

use std::sync::Arc;

use super::*;
use crate::log::DecodedBlock;
use crate::store::Position;
use wire::columns::Builder;
use wire::manifest::{Point, Reply};
use wire::{Block, GatewayName, Manifest, ManifestKey, Mark};

/// 2023-11-15 00:00 UTC.
const DAY: i64 = 1_700_006_400_000;
const H: i64 = HOUR_MS;

fn batch(site: &str, times: &[i64]) -> StoreBatch {
    let gateway = GatewayName::new("g").unwrap();
    let point = Point { quantity: "u_a".into(), unit: String::new() };
    let reply = Reply {
        device: "M".into(),
        period_ms: 1_000,
        points: vec![point],
        profile: "p".into(),
        profile_version: "1".into(),
    };
    let manifest = Manifest {
        gateway: gateway.clone(),
        site: site.into(),
        replies: vec![reply],
        replaces: None,
    };
    let mut builder = Builder::new(&manifest, ManifestKey([1; 16]));
    for time in times {
        builder.push(0, *time, &[(1.0, Mark::GOOD)]).unwrap();
    }
    let block = DecodedBlock {
        position: 1,
        gateway: gateway.clone(),
        site: site.into(),
        manifest: Arc::new(manifest),
        block: Block {
            gateway,
            epoch: wire::Epoch(1),
            seq: 1,
            link: None,
            clock: Default::default(),
            fact_revision: 0,
            list: None,
            body: wire::block::Body::Readings(Default::default()),
        },
        readings: Arc::new(builder.take()),
        received_at: DAY + 20 * H,
        masked_rows: Vec::new(),
        is_ahead: false,
    };
    StoreBatch { up_to: Position { log_id: 1, position: 1 }, blocks: vec![Arc::new(block)] }
}

fn open(folder: &Path) -> Dirty {
    let dirty = Dirty::open(&folder.join("marks"), "here").unwrap();
    dirty.make_ready();
    dirty
}

fn condensed(dirty: &Dirty, site: &str) -> Vec<(i64, i64, bool)> {
    let spans = dirty.spans(site, DAY, DAY + 24 * H);
    spans.iter().map(|s| ((s.from - DAY) / H, (s.to - DAY) / H, s.is_condensed)).collect()
}

/// Condenses whatever is to be.
fn work(dirty: &Dirty) -> usize {
    let mut jobs = 0;
    while dirty.take(DAY + 1_000 * H, Duration::ZERO).is_some() {
        dirty.finish(true, Duration::ZERO).unwrap();
        jobs += 1;
    }
    jobs
}

/// Everything is condensed up to a day.
fn settled(folder: &Path) -> Dirty {
    let dirty = open(folder);
    assert_eq!(condensed(&dirty, "S"), [(0, 24, false)], "nothing is whole at first");
    dirty.lies_within(DAY, DAY + 30 * H).unwrap();
    assert!(work(&dirty) > 1);
    dirty
}

#[test]
fn a_late_batch_marks_its_hours_of_its_site_until_they_are_rebuilt() {
    let folder = tempfile::tempdir().unwrap();
    let dirty = settled(folder.path());
    assert_eq!(condensed(&dirty, "S"), [(0, 24, true)]);
    dirty.mark(&batch("S", &[DAY + 5 * H, DAY + 6 * H - 1, DAY + 9 * H]), Bounds::default());
    let want = [(0, 5, true), (5, 6, false), (6, 9, true), (9, 10, false), (10, 24, true)];
    assert_eq!(condensed(&dirty, "S"), want);
    assert_eq!(condensed(&dirty, "T"), [(0, 24, true)]);
    // On its way: nobody may take it.
    assert_eq!(work(&dirty), 0);
    dirty.landed().unwrap();
    assert_eq!(condensed(&open(folder.path()), "S"), want, "durable before the position moves");
    assert_eq!(work(&dirty), 1, "what lies near is done at once");
    assert_eq!(condensed(&open(folder.path()), "S"), [(0, 24, true)]);
}

#[test]
fn what_is_touched_while_it_is_condensed_stays_marked() {
    let folder = tempfile::tempdir().unwrap();
    let dirty = settled(folder.path());
    dirty.mark(&batch("S", &[DAY + 5 * H]), Bounds::default());
    dirty.landed().unwrap();
    let job = dirty.take(DAY + 1_000 * H, Duration::ZERO).unwrap();
    assert_eq!(job, Job { site: Some("S".into()), range: (DAY + 5 * H, DAY + 6 * H) });
    dirty.mark(&batch("S", &[DAY + 5 * H + 1]), Bounds::default());
    dirty.landed().unwrap();
    dirty.finish(true, Duration::ZERO).unwrap();
    assert_eq!(condensed(&dirty, "S"), [(0, 5, true), (5, 6, false), (6, 24, true)]);
    // A failure leaves the mark.
    dirty.take(DAY + 1_000 * H, Duration::ZERO).unwrap();
    dirty.finish(false, Duration::ZERO).unwrap();
    assert_eq!(work(&dirty), 1);
}

#[test]
fn an_hour_that_goes_on_and_a_site_that_still_sends_late_wait() {
    let folder = tempfile::tempdir().unwrap();
    let dirty = settled(folder.path());
    dirty.mark(&batch("S", &[DAY + 5 * H]), Bounds::default());
    dirty.landed().unwrap();
    assert_eq!(dirty.take(DAY + 6 * H - 1, Duration::ZERO), None);
    assert_eq!(dirty.take(DAY + 6 * H, Duration::from_secs(3_600)), None);
    assert!(dirty.take(DAY + 6 * H, Duration::ZERO).is_some());
}

#[test]
fn damage_another_bucket_and_absurd_times_mark_too_much_never_too_little() {
    let folder = tempfile::tempdir().unwrap();
    let dirty = settled(folder.path());
    dirty.mark(&batch("S", &[i64::MIN, 0, i64::MAX]), Bounds::default());
    dirty.landed().unwrap();
    assert_eq!(condensed(&dirty, "S"), [(0, 24, true)]);
    let path = folder.path().join("marks");
    let other = Dirty::open(&path, "elsewhere").unwrap();
    other.make_ready();
    assert_eq!(condensed(&other, "S"), [(0, 24, false)]);
    let text = std::fs::read_to_string(&path).unwrap();
    for damaged in [&text[1..], &text[..text.len() - 2], ""] {
        std::fs::write(&path, damaged).unwrap();
        assert_eq!(condensed(&open(folder.path()), "S"), [(0, 24, false)]);
    }
    dirty.forget();
    assert_eq!(condensed(&dirty, "S"), [(0, 24, false)]);
    // While nobody marks, nothing that is condensed can be trusted.
    let dirty = settled(folder.path());
    dirty.give_up().unwrap();
    dirty.give_up().unwrap();
    assert_eq!(condensed(&open(folder.path()), "S"), [(0, 24, false)]);
}

#[test]
fn scattered_late_samples_stay_within_the_bounds() {
    let folder = tempfile::tempdir().unwrap();
    let dirty = settled(folder.path());
    let times: Vec<i64> = (0..2_000).map(|i| DAY - i * 2 * H).collect();
    dirty.mark(&batch("S", &times), Bounds::default());
    dirty.landed().unwrap();
    assert_eq!(dirty.lock().sites["S"].len(), SPANS_MAX);
    let spans = dirty.spans("S", DAY - 5_000 * H, DAY + 24 * H);
    assert!(spans.len() <= QUERY_SPANS_MAX, "{}", spans.len());
    for pair in spans.windows(2) {
        assert_eq!(pair[0].to, pair[1].from);
        assert_ne!(pair[0].is_condensed, pair[1].is_condensed);
    }
    // Every hour that was touched is in a span that is read as samples.
    let raw = |t: i64| spans.iter().any(|s| !s.is_condensed && (s.from..s.to).contains(&t));
    assert!(times.iter().all(|t| raw(*t)));
}

#[test]
fn a_range_that_cuts_hours_reads_the_cut_ones_as_samples() {
    let folder = tempfile::tempdir().unwrap();
    let dirty = settled(folder.path());
    let spans = dirty.spans("S", DAY + 60_000, DAY + 3 * H + 60_000);
    let got: Vec<_> = spans.iter().map(|s| (s.from - DAY, s.to - DAY, s.is_condensed)).collect();
    assert_eq!(got, [(60_000, H, false), (H, 3 * H, true), (3 * H, 3 * H + 60_000, false)]);
    let short = dirty.spans("S", DAY + 60_000, DAY + 120_000);
    assert_eq!(short, [Span { from: DAY + 60_000, to: DAY + 120_000, is_condensed: false }]);
}
