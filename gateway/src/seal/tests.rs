//! Event times, closing of blocks, lists, manifests, gap records.

use proptest::prelude::*;
use tokio::time::Instant;
use wire::Boot;

use super::*;
use crate::clock::SET_FLOOR_MS;
use crate::reading::{Reading, ReplyPoint, Value};

const WALL: i64 = SET_FLOOR_MS + 10_000_000;

fn identity() -> Identity {
    Identity {
        gateway: GatewayName::new("gw-1").unwrap(),
        site: "site".to_owned(),
        replaces: None,
        start: Start { epoch: Epoch(8), boot: Boot(9) },
        flush_ms: 100,
    }
}

fn keeper(system_ms: i64, mono: u64) -> Keeper {
    let mut keeper = Keeper::new();
    keeper.observe(system_ms, mono, true);
    keeper
}

fn replies(count: u32) -> Vec<Arc<reading::Reply>> {
    let reply = |device: u32| reading::Reply {
        device,
        device_id: format!("m{device}").into(),
        period_ms: 1_000,
        points: vec![ReplyPoint { quantity: "p".into(), unit: "kW".into() }; 2],
        profile: "p".into(),
        profile_version: "1".into(),
    };
    (0..count).map(|d| Arc::new(reply(d))).collect()
}

fn reading(device: u32) -> Reading {
    let value = Value { value: 1.5, mark: Mark::default() };
    Reading { device, reply: device, arrived: Instant::now(), values: vec![value; 2] }
}

fn no_list() -> Vec<spool::HeldEpoch> {
    Vec::new()
}

/// A sealer with three devices whose first block (the list) is sealed already.
fn sealer() -> Sealer {
    let (mut sealer, _) = Sealer::new(identity(), None, keeper(WALL, 0));
    sealer.replies(&replies(3), &no_list, &mut Vec::new()).unwrap();
    let mut out = Vec::new();
    sealer.tick(0, &no_list, &mut out);
    assert_eq!(out.len(), 1);
    sealer
}

fn decoded(sealed: &Sealed) -> Block {
    Block::decode(&sealed.bytes).unwrap()
}

fn times(sealed: &Sealed) -> Vec<i64> {
    let block = decoded(sealed);
    let readings = block.readings().unwrap();
    readings.tables.iter().flat_map(|t| t.times.iter().copied()).collect()
}

#[test]
fn block_closes_after_its_flush_time_and_an_empty_one_after_ten_seconds() {
    let mut s = sealer();
    let mut out = Vec::new();
    s.push(&reading(0), 1_000, false, &no_list, &mut out);
    s.tick(1_099, &no_list, &mut out);
    assert_eq!(out, []);
    s.tick(1_100, &no_list, &mut out);
    assert_eq!((out.len(), out[0].seq, out[0].samples, out[0].t0), (1, 2, 2, WALL + 1_000));
    let block = decoded(&out[0]);
    assert_eq!((block.clock.closed_at, block.clock.mono_ms), (WALL + 1_100, 1_100));
    assert_eq!(block.readings().unwrap().manifest, s.manifest());
    assert_eq!(block.list, None);
    out.clear();
    s.tick(11_099, &no_list, &mut out);
    assert_eq!(out, []);
    s.tick(11_100, &no_list, &mut out);
    assert_eq!((out.len(), out[0].samples, out[0].t0), (1, 0, i64::MAX));
    assert!(decoded(&out[0]).list.is_some(), "each 10 s");
}

#[test]
fn fast_reading_and_a_large_block_close_at_once() {
    let mut s = sealer();
    let mut out = Vec::new();
    s.push(&reading(0), 1_000, true, &no_list, &mut out);
    assert_eq!(out.len(), 1);
    for n in 0..4_000 {
        s.push(&reading(n % 3), 1_001, false, &no_list, &mut out);
    }
    assert!(out.len() >= 2);
    assert!(out.iter().all(|b| b.bytes.len() <= wire::limits::BLOCK_BYTES_TARGET));
}

#[test]
fn event_times_rise_strictly_per_device_and_never_fall_before_a_closing_time() {
    let mut s = sealer();
    let mut out = Vec::new();
    s.push(&reading(0), 500, false, &no_list, &mut out);
    s.push(&reading(0), 500, false, &no_list, &mut out);
    s.push(&reading(1), 500, false, &no_list, &mut out);
    s.tick(900, &no_list, &mut out);
    assert_eq!(times(&out[0]), [WALL + 500, WALL + 501, WALL + 500]);
    // A reply that arrived before the block closed but was handed over after it.
    s.push(&reading(2), 600, true, &no_list, &mut out);
    assert_eq!(times(&out[1]), [WALL + 900]);
}

#[test]
fn backward_step_closes_the_block_and_event_time_follows_the_clock() {
    let mut s = sealer();
    let mut out = Vec::new();
    s.push(&reading(0), 1_000, false, &no_list, &mut out);
    let mut next = s.keeper().clone();
    let change = next.observe(WALL - 60_000, 1_010, true);
    s.clock(next, change, &no_list, &mut out);
    s.push(&reading(0), 1_020, true, &no_list, &mut out);
    assert_eq!(out.len(), 2);
    assert_eq!((decoded(&out[0]).clock.segment, times(&out[0])[0]), (0, WALL + 1_000));
    let after = decoded(&out[1]);
    assert_eq!((after.clock.segment, times(&out[1])[0]), (1, WALL - 60_000 + 10));
    assert!(after.clock.closed_at < WALL);
}

#[test]
fn unset_blocks_count_from_the_boot_and_later_ones_bring_the_offset() {
    let (mut s, _) = Sealer::new(identity(), None, Keeper::new());
    let mut out = Vec::new();
    s.replies(&replies(1), &no_list, &mut out);
    s.push(&reading(0), 700, false, &no_list, &mut out);
    let mut next = s.keeper().clone();
    next.offer(WALL, 1_000, 1_000);
    let change = next.observe(0, 1_000, false);
    s.clock(next, change, &no_list, &mut out);
    s.push(&reading(0), 1_100, true, &no_list, &mut out);
    let (before, after) = (decoded(&out[0]).clock, decoded(&out[1]).clock);
    assert_eq!((before.state, before.boot_offset), (wire::block::ClockState::Unset, None));
    assert_eq!(times(&out[0]), [700]);
    assert_eq!(after.boot_offset, Some(WALL - 1_000));
    assert_eq!(times(&out[1]), [WALL + 100]);
}

// Goal: no two readings of a device have one time, across the setting of the clock as well. Method: the first measurement of
// the centre's time is too high, the next one takes that back.
#[test]
fn readings_of_before_the_clock_was_set_keep_their_times_for_themselves() {
    let (mut s, _) = Sealer::new(identity(), None, Keeper::new());
    let mut out = Vec::new();
    s.replies(&replies(1), &no_list, &mut out);
    s.push(&reading(0), 1_000, false, &no_list, &mut out);
    s.push(&reading(0), 2_000, true, &no_list, &mut out);
    let offer = |s: &mut Sealer, centre_ms, sent, mono, out: &mut Vec<Sealed>| {
        let mut next = s.keeper().clone();
        next.offer(centre_ms, sent, mono);
        let change = next.observe(0, mono, false);
        s.clock(next, change, &no_list, out);
    };
    offer(&mut s, WALL, 0, 2_000, &mut out);
    offer(&mut s, WALL, 2_000, 2_000, &mut out);
    s.push(&reading(0), 3_000, true, &no_list, &mut out);
    let offset = decoded(out.last().unwrap()).clock.boot_offset.unwrap();
    let is_unset = |sealed: &Sealed| decoded(sealed).clock.state == wire::block::ClockState::Unset;
    let by = |sealed: &Sealed| if is_unset(sealed) { offset } else { 0 };
    let seen: Vec<_> =
        out.iter().flat_map(|b| times(b).into_iter().map(move |t| t + by(b))).collect();
    assert_eq!(seen, [WALL, WALL + 1_000, WALL + 1_001]);
}

#[test]
fn replies_are_refused_before_the_manifest_outgrows_a_frame() {
    // Goal: the count of bytes is exact and the greatest manifest fits. Method: replies of many shapes until full.
    let named = reading::Replies::default();
    let mut counted = 0;
    for n in 0u32.. {
        let points = (0..=n % 150).map(|p| ReplyPoint {
            quantity: format!("quantity_{p}").into(),
            unit: if p % 3 == 0 { "".into() } else { "kvarh".into() },
        });
        let reply = reading::Reply {
            device: n,
            device_id: format!("device-{n}").into(),
            period_ms: if n % 5 == 0 { 0 } else { 1 << (n % 30) },
            points: points.collect(),
            profile: "p".repeat((n % 200) as usize).into(),
            profile_version: "1".into(),
        };
        let bytes = reply.manifest_bytes();
        match named.add(reply) {
            Ok(_) => counted += bytes,
            Err(reading::RepliesFull) => break,
        }
    }
    assert!(named.is_full() && counted <= reading::MANIFEST_BYTES_MAX);
    let (_, empty) = manifest(&identity(), &[]);
    let (_, whole) = manifest(&identity(), &named.all());
    assert_eq!(whole.bytes.len(), empty.bytes.len() + counted);
    assert!(Manifest::decode(&whole.bytes).is_ok());
}

#[test]
fn list_names_what_the_spool_holds_and_what_is_on_its_way() {
    let held = || {
        let of = |epoch, to, link| spool::HeldEpoch {
            epoch,
            link,
            last: to,
            held: spool::Intervals::of(2, to),
        };
        vec![of(5, 4, None), of(8, 3, Some(spool::Link { epoch: 5, last: 4 }))]
    };
    let link = link(spool::Link { epoch: 5, last: 4 });
    let (mut s, _) = Sealer::new(identity(), Some(link.clone()), keeper(WALL, 0));
    let mut out = Vec::new();
    for n in 0..6 {
        s.tick(n * EMPTY_MS, &held, &mut out);
    }
    let list = decoded(&out[5]).list.unwrap();
    assert_eq!((list[0].epoch, list[0].last), (Epoch(5), 4));
    assert_eq!((list[1].epoch, list[1].last, list[1].link.as_ref()), (Epoch(8), 6, Some(&link)));
    assert_eq!(list[1].held, [wire::block::Range { from: 2, to: 6 }]);
    assert!(out.iter().all(|b| decoded(b).link.as_ref() == Some(&link)));
    s.list_soon();
    s.push(&reading(0), 50_001, true, &held, &mut out);
    s.tick(50_000 + EMPTY_MS, &held, &mut out);
    assert!(decoded(out.last().unwrap()).list.is_some());
}

#[test]
fn losses_are_declared_one_record_for_each_reason_after_what_was_collected() {
    let mut s = sealer();
    let range = |loss, from| spool::GapRange {
        epoch: 3,
        from,
        to: from + 4,
        t0: i64::MAX,
        t1: i64::MIN,
        samples: 7,
        link: None,
        loss,
    };
    let losses = [range(spool::Loss::Evicted, 1), range(spool::Loss::Damaged, 9)];
    let mut out = Vec::new();
    s.push(&reading(0), 10, false, &no_list, &mut out);
    s.declare(&losses, &no_list, &mut out);
    assert_eq!(out.len(), 3);
    assert_eq!(out[0].samples, 2);
    let Body::Gap(gap) = decoded(&out[1]).body else { panic!() };
    assert_eq!((gap.reason.as_str(), gap.ranges[0].from, gap.ranges[0].t0), ("spool_full", 1, 0));
    assert_eq!((out[2].gap.as_slice(), out[2].manifest), (&losses[1..], None));
}

#[test]
fn new_reply_makes_a_new_manifest_after_closing_the_block() {
    let mut s = sealer();
    let first = s.manifest();
    let mut out = Vec::new();
    s.push(&reading(0), 10, false, &no_list, &mut out);
    assert_eq!(s.replies(&replies(3), &no_list, &mut out), None);
    let new = s.replies(&replies(4), &no_list, &mut out).unwrap();
    assert_eq!((out.len(), out[0].manifest), (1, Some(first)));
    assert_eq!(new.key, wire::manifest::key(&new.bytes));
    s.push(&reading(3), 20, true, &no_list, &mut out);
    assert_eq!(out[1].manifest, Some(new.key));
    s.push(&reading(9), 30, true, &no_list, &mut out);
    assert_eq!((out.len(), s.refused().readings), (2, 1));
}

proptest! {
    /// Whatever arrives and however the clock steps: seqs have no gap, closing times and event times
    /// never fall within a segment, and no row is older than the closing time of the block before.
    #[test]
    fn blocks_are_one_order(
        steps in prop::collection::vec((0u64..300, 0u32..3, -5_000i64..5_000, 0u8..10), 1..120)
    ) {
        let mut s = sealer();
        let (mut mono, mut offset, mut out, mut pushed) = (0, WALL, Vec::new(), 0);
        for (ahead, device, step, what) in steps {
            mono += ahead;
            match what {
                0 => {
                    offset += step;
                    let mut next = s.keeper().clone();
                    let change = next.observe(offset + mono.cast_signed(), mono, true);
                    s.clock(next, change, &no_list, &mut out);
                }
                1 | 2 => s.tick(mono, &no_list, &mut out),
                _ => {
                    s.push(&reading(device), mono.saturating_sub(ahead / 2), what == 3, &no_list, &mut out);
                    pushed += 2;
                }
            }
        }
        s.close_rows(&no_list, &mut out);
        let mut before: Option<wire::block::Clock> = None;
        let mut last = std::collections::HashMap::new();
        let mut samples = 0;
        for (sealed, seq) in out.iter().zip(2..) {
            let block = decoded(sealed);
            prop_assert_eq!(block.seq, seq);
            samples += sealed.samples;
            let clock = block.clock;
            let same = before.filter(|b| b.segment == clock.segment);
            if let Some(b) = same {
                prop_assert!(clock.closed_at >= b.closed_at);
            } else {
                last.clear();
            }
            for table in &block.readings().unwrap().tables {
                for (reply, time) in table.replies.iter().zip(&table.times) {
                    prop_assert!(*time <= clock.closed_at);
                    prop_assert!(same.is_none_or(|b| *time >= b.closed_at));
                    prop_assert!(last.insert(*reply, *time).is_none_or(|l| *time > l));
                }
            }
            before = Some(clock);
        }
        prop_assert_eq!(samples, pushed);
    }
}
