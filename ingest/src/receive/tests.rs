//! The receive rules, one at a time, on a log in memory. `life.rs` plays whole lives of gateways against them.

mod bounds;
mod life;
mod watch;

use wire::block::{Body, Clock, ClockState, GapRange, GapRecord, HeldEpoch, Link, Range};
use wire::columns::Builder;
use wire::frame::{self, Kind};
use wire::manifest::{self, Manifest, Point, Reply};
use wire::message::{Item, Stamp, State, Uplink};
use wire::{Block, Boot, Epoch, GatewayName, Key, Mark, Readings};

use super::directory::KeyRing;
use super::memory::MemoryLog;
use super::{Inbound, Known, Outcome, Receiver, Room};
use crate::ack::{self, Said};
use crate::log::record::{BlockMeta, CentreRecord, GoneSpan, kind};

pub(super) const NOW: i64 = 1_790_000_000_000;
const ROOMY: Room = Room { used: 0, bound: 1 << 40, gateway_quota: 1 << 40, two_intervals: 0 };

fn name(text: &str) -> GatewayName {
    GatewayName::new(text).unwrap()
}

fn key(gateway: &str) -> Key {
    let mut bytes = [0; 32];
    bytes[..gateway.len()].copy_from_slice(gateway.as_bytes());
    Key::new(bytes)
}

/// A centre with a log in memory and the gateways `g1` to `g5` at site `s1`.
struct Centre {
    receiver: Receiver,
    log: MemoryLog,
    ring: KeyRing,
    room: Room,
    counter: u64,
}

impl Centre {
    fn new() -> Self {
        let mut ring = KeyRing::default();
        for n in 1..=5 {
            let gateway = format!("g{n}");
            let known = Known { key: key(&gateway), site: "s1".into(), replaced_by: None };
            ring.insert(name(&gateway), known);
        }
        let receiver = Receiver::new(1, []);
        Self { receiver, log: MemoryLog::default(), ring, room: ROOMY, counter: 0 }
    }

    fn restart(&mut self, log_id: u64) {
        self.receiver = Receiver::new(log_id, self.log.restore());
    }

    /// The epochs of gateway g1 in their order, each with the last seq that counts.
    fn places(&self) -> Vec<(u64, Option<u64>)> {
        let chain = &self.receiver.gateway(&name("g1")).unwrap().kept.chain;
        chain.joined().iter().map(|j| (j.epoch, j.last)).collect()
    }

    fn send(&mut self, gateway: &str, item: Item, at: i64) -> Outcome {
        self.send_in(gateway, 1, item, at)
    }

    fn send_in(&mut self, gateway: &str, boot: u64, item: Item, at: i64) -> Outcome {
        self.counter += 1;
        let stamp =
            Stamp { gateway: name(gateway), boot: Boot(boot), counter: self.counter, mono_ms: 0 };
        let frame = frame::seal(&key(gateway), Kind::Uplink, &Uplink { stamp, item }.encode());
        let gateway = name(gateway);
        let message = Inbound { gateway: &gateway, frame: &frame, at };
        let outcome =
            self.receiver.receive(&mut self.log, &self.ring, &self.room, message).unwrap();
        self.receiver.seal(&mut self.log);
        outcome
    }

    /// Sends a block and takes what follows from it.
    fn block(&mut self, block: &Block, at: i64) -> Outcome {
        let outcome = self.send(block.gateway.as_str(), Item::Block(block.encode()), at);
        self.receiver.committed();
        outcome
    }

    fn notes(&self, of: &str) -> Vec<CentreRecord> {
        let others = self.log.records.iter().filter(|r| r.kind != kind::BLOCK && r.gateway == of);
        others.map(|r| CentreRecord::decode(&stored(r)).unwrap()).collect()
    }

    fn meta(&self, epoch: u64, seq: u64) -> BlockMeta {
        let is = |r: &&super::memory::Appended| {
            r.kind == kind::BLOCK && (r.epoch, r.seq) == (epoch, seq)
        };
        BlockMeta::decode(&self.log.records.iter().find(is).unwrap().meta).unwrap()
    }

    fn want(&self, gateway: &str) -> Option<(u64, u64)> {
        self.receiver.gateway(&name(gateway)).unwrap().kept.chain.want(&self.log, gateway)
    }

    fn ack(&mut self, now: i64) -> Vec<wire::message::Ack> {
        let said = Said { now, slow_down: false, fact_revision: 3 };
        ack::due(&mut self.receiver, &self.log, &said).into_iter().map(|(_, ack)| ack).collect()
    }
}

/// What people are told of what was sent since the last look.
fn codes(centre: &mut Centre) -> Vec<&'static str> {
    centre.receiver.committed().notices.iter().map(|n| n.code).collect()
}

fn stored(r: &super::memory::Appended) -> spool::Record {
    spool::Record {
        position: r.position,
        kind: r.kind,
        gateway: r.gateway.clone(),
        epoch: r.epoch,
        seq: r.seq,
        received_at: r.received_at,
        meta: r.meta.clone(),
        bytes: r.bytes.clone(),
        block: r.kind == kind::BLOCK,
    }
}

fn clock(at: i64) -> Clock {
    Clock { state: ClockState::Synced, closed_at: at, boot: Boot(1), ..Clock::default() }
}

/// An empty block, closed just now.
fn block(epoch: u64, seq: u64) -> Block {
    Block {
        gateway: name("g1"),
        epoch: Epoch(epoch),
        seq,
        link: None,
        clock: clock(NOW),
        fact_revision: 0,
        list: None,
        body: Body::Readings(Readings::default()),
    }
}

fn after(block: Block, epoch: u64, last: u64) -> Block {
    Block { link: Some(Link { epoch: Epoch(epoch), last, gateway: None }), ..block }
}

/// An epoch of a list: itself, its predecessor with its last seq, the ranges held.
type Listed<'a> = (u64, Option<(u64, u64)>, &'a [(u64, u64)]);

fn listing(block: Block, held: &[Listed<'_>]) -> Block {
    let entry = |(epoch, link, ranges): &Listed<'_>| HeldEpoch {
        epoch: Epoch(*epoch),
        link: link.map(|(epoch, last)| Link { epoch: Epoch(epoch), last, gateway: None }),
        last: ranges.last().map_or(0, |r| r.1),
        held: ranges.iter().map(|&(from, to)| Range { from, to }).collect(),
    };
    Block { list: Some(held.iter().map(entry).collect()), ..block }
}

fn plan() -> Manifest {
    let point = |q: &str| Point { quantity: q.into(), unit: String::new() };
    let reply = Reply {
        device: "m1".into(),
        period_ms: 1_000,
        points: vec![point("u_a"), point("i_a")],
        profile: "p".into(),
        profile_version: "1".into(),
    };
    Manifest { gateway: name("g1"), site: "s1".into(), replies: vec![reply], replaces: None }
}

/// A block with a row at each time.
fn rows(epoch: u64, seq: u64, times: &[i64]) -> Block {
    let mut builder = Builder::new(&plan(), manifest::key(&plan().encode()));
    for &time in times {
        builder.push(0, time, &[(1.0, Mark::GOOD), (2.0, Mark::GOOD)]).unwrap();
    }
    Block { body: Body::Readings(builder.take()), ..block(epoch, seq) }
}

#[test]
fn only_what_is_authentic_and_of_its_topic_is_looked_at() {
    let mut centre = Centre::new();
    let body = |gateway: &str, item| {
        let stamp = Stamp { gateway: name(gateway), boot: Boot(1), counter: 1, mono_ms: 0 };
        Uplink { stamp, item }.encode()
    };
    let item = || Item::Block(block(1, 1).encode());
    let mut receive = |topic: &str, frame: &[u8]| {
        let gateway = name(topic);
        let message = Inbound { gateway: &gateway, frame, at: NOW };
        centre.receiver.receive(&mut centre.log, &centre.ring, &ROOMY, message).unwrap()
    };
    let good = frame::seal(&key("g1"), Kind::Uplink, &body("g1", item()));
    assert_eq!(receive("g2", &good), Outcome::Dropped("mac"));
    assert_eq!(receive("g9", &good), Outcome::Dropped("unknown_gateway"));
    assert_eq!(receive("g1", &good[1..]), Outcome::Dropped("mac"));
    let other_kind = frame::seal(&key("g1"), Kind::Ack, &body("g1", item()));
    assert_eq!(receive("g1", &other_kind), Outcome::Dropped("frame_kind"));
    // A gateway with a right key of its own speaks for another one.
    let other_name = frame::seal(&key("g2"), Kind::Uplink, &body("g1", item()));
    assert_eq!(receive("g2", &other_name), Outcome::Dropped("topic_mismatch"));
    let other_block = frame::seal(&key("g2"), Kind::Uplink, &body("g2", item()));
    assert_eq!(receive("g2", &other_block), Outcome::Dropped("gateway_mismatch"));
    assert_eq!(receive("g1", &good), Outcome::Logged);
    assert_eq!(centre.log.records.iter().filter(|r| r.kind == kind::BLOCK).count(), 1);
    // Each drop is said, about the gateway whose name it bore unless nobody has that name.
    let told = centre.receiver.committed().notices;
    let told: Vec<_> =
        told.iter().map(|n| (n.code, n.gateway.as_ref().map(|g| g.as_str()))).collect();
    let expected = [
        ("mac", Some("g2")),
        ("unknown_gateway", None),
        ("mac", Some("g1")),
        ("frame_kind", Some("g1")),
        ("topic_mismatch", Some("g2")),
        ("gateway_mismatch", Some("g2")),
    ];
    assert_eq!(told, expected);
}

#[test]
fn block_is_logged_once_and_another_under_its_key_is_set_aside() {
    let mut centre = Centre::new();
    assert_eq!(centre.block(&block(1, 1), NOW), Outcome::Logged);
    assert_eq!(centre.block(&block(1, 1), NOW), Outcome::Duplicate);
    let other = Block { fact_revision: 9, ..block(1, 1) };
    assert_eq!(centre.send("g1", Item::Block(other.encode()), NOW), Outcome::Rejected("key_reuse"));
    let effects = centre.receiver.committed();
    assert_eq!(effects.quarantined[0].code, "key_reuse");
    assert_eq!(effects.quarantined[0].bytes, other.encode());
    assert_eq!(effects.notices[0].code, "key_reuse");
    assert_eq!(centre.log.records.iter().filter(|r| r.kind == kind::BLOCK).count(), 1);
}

#[test]
fn block_without_its_manifest_is_asked_for_and_comes_again() {
    let mut centre = Centre::new();
    let block = rows(1, 1, &[NOW]);
    assert_eq!(centre.block(&block, NOW), Outcome::Refused("need_manifest"));
    let ack = centre.ack(NOW).remove(0);
    assert_eq!(ack.need_manifest, [manifest::key(&plan().encode())]);
    assert!(ack.epochs.iter().all(|e| !e.covers(1)));
    assert_eq!(centre.send("g1", Item::Manifest(plan().encode()), NOW), Outcome::Manifest);
    assert!(centre.receiver.needs(&name("g1")).is_empty());
    assert_eq!(centre.block(&block, NOW), Outcome::Logged);
    // After a restart the manifest is read from the log.
    centre.restart(2);
    assert_eq!(centre.block(&rows(1, 2, &[NOW + 1]), NOW), Outcome::Logged);
}

#[test]
fn manifest_of_another_site_is_refused_with_a_notice() {
    let mut centre = Centre::new();
    let foreign = Manifest { site: "s2".into(), ..plan() };
    let outcome = centre.send("g1", Item::Manifest(foreign.encode()), NOW);
    assert_eq!(outcome, Outcome::Dropped("manifest_site"));
    assert_eq!(centre.receiver.committed().notices[0].code, "manifest_site");
}

#[test]
fn rows_ahead_of_the_centre_are_masked_and_set_aside_once() {
    let mut centre = Centre::new();
    centre.send("g1", Item::Manifest(plan().encode()), NOW);
    let block = rows(1, 1, &[NOW, NOW + 61_000, NOW + 60_000]);
    assert_eq!(centre.send("g1", Item::Block(block.encode()), NOW), Outcome::Logged);
    let effects = centre.receiver.committed();
    assert_eq!(effects.quarantined[0].rows, [1]);
    assert_eq!(effects.quarantined[0].code, "future");
    let meta = centre.meta(1, 1);
    assert!(meta.is_ahead);
    assert_eq!(meta.masked_rows, [1]);
}

#[test]
fn centre_distrusts_its_own_clock_when_most_gateways_are_ahead() {
    let mut centre = Centre::new();
    let ahead = |gateway: &str, seq| {
        let block = block(1, seq);
        Block { gateway: name(gateway), clock: clock(NOW + 3_600_000), ..block }
    };
    for gateway in ["g1", "g2"] {
        centre.block(&ahead(gateway, 1), NOW);
        assert!(!centre.receiver.distrusts_own_clock(NOW));
    }
    centre.block(&ahead("g3", 1), NOW);
    assert!(centre.receiver.distrusts_own_clock(NOW));
    centre.block(&ahead("g1", 2), NOW);
    assert!(!centre.meta(1, 2).is_ahead, "nothing is set aside while the own clock is in doubt");
    // Two of four are not more than half, and words grow old.
    for gateway in ["g4", "g5"] {
        centre.block(&Block { gateway: name(gateway), ..block(1, 1) }, NOW);
    }
    assert!(centre.receiver.distrusts_own_clock(NOW), "three of five");
    centre.block(&Block { gateway: name("g3"), ..block(1, 2) }, NOW);
    assert!(!centre.receiver.distrusts_own_clock(NOW));
    assert!(!centre.receiver.distrusts_own_clock(NOW + 3_600_000));
}

// Goal: a gateway whose clock is ahead is named, once, and cannot fill the quarantine without end.
#[test]
fn a_clock_that_is_ahead_is_told_and_a_full_quarantine_does_not_ack() {
    let mut centre = Centre::new();
    centre.send("g1", Item::Manifest(plan().encode()), NOW);
    let ahead = |seq| Item::Block(rows(1, seq, &[NOW + 61_000]).encode());
    assert_eq!(centre.send("g1", ahead(1), NOW), Outcome::Logged);
    assert_eq!(codes(&mut centre), ["clock_ahead"]);
    assert_eq!(centre.send("g1", ahead(2), NOW), Outcome::Logged);
    assert!(codes(&mut centre).is_empty(), "not with every block");
    centre.receiver.set_quarantine_full([name("g1")].into());
    assert_eq!(centre.send("g1", ahead(3), NOW), Outcome::Refused("quarantine_full"));
    assert_eq!(codes(&mut centre), ["quarantine_full"]);
    let fine = Item::Block(rows(1, 4, &[NOW]).encode());
    assert_eq!(centre.send("g1", fine, NOW), Outcome::Logged);
    assert!(!centre.receiver.doubts_own_clock(NOW));
    let far = Block { clock: clock(NOW + 3_600_000), ..block(1, 5) };
    assert_eq!(centre.send("g1", Item::Block(far.encode()), NOW), Outcome::Logged);
    assert!(centre.receiver.doubts_own_clock(NOW), "one gateway is too few to decide");
}

// Goal: a clock that is behind mutes every page, so it is told; backfill and what a broker had kept are no such clock.
#[test]
fn a_clock_that_is_behind_is_told_once_it_is_steady() {
    let mut centre = Centre::new();
    let mut told = Vec::new();
    let mut send = |centre: &mut Centre, seq: u64, closed_at: i64, at: i64| {
        let block = Block { clock: clock(closed_at), ..block(1, seq) };
        centre.send("g1", Item::Block(block.encode()), at);
        told.extend(centre.receiver.committed().notices.into_iter().map(|n| n.code));
        told.clone()
    };
    // Ten minutes of a broker's queue within three seconds, then the present.
    for seq in 1..=60_u64 {
        let back = i64::try_from(60 - seq).unwrap() * 10_000;
        send(&mut centre, seq, NOW - back, NOW + i64::try_from(seq).unwrap() * 50);
    }
    assert!(send(&mut centre, 61, NOW + 40_000, NOW + 40_000).is_empty());
    for seq in 62..=102_u64 {
        let at = NOW + i64::try_from(seq).unwrap() * 1_000;
        send(&mut centre, seq, at - 90_000, at);
    }
    let at = NOW + 110_000;
    assert_eq!(send(&mut centre, 103, at - 90_000, at), ["clock_behind"]);
    assert!(!centre.receiver.runs_ahead(at));
}

fn unset(epoch: u64, seq: u64, mono_ms: u64) -> Block {
    let clock = Clock {
        state: ClockState::Unset,
        closed_at: 5,
        mono_ms,
        boot: Boot(7),
        ..Clock::default()
    };
    Block { clock, ..block(epoch, seq) }
}

#[test]
fn blocks_of_an_unset_clock_are_released_by_the_record_that_knows_the_offset() {
    let mut centre = Centre::new();
    centre.block(&unset(1, 1, 100), NOW);
    centre.block(&unset(1, 2, 200), NOW);
    centre.restart(2);
    let known = Clock { boot: Boot(7), boot_offset: Some(NOW), mono_ms: 300, ..clock(NOW + 300) };
    centre.block(&Block { clock: known, ..block(1, 3) }, NOW);
    let released = centre.meta(1, 3).decided.releases;
    let of = |seq| {
        centre.log.records.iter().find(|r| r.kind == kind::BLOCK && r.seq == seq).unwrap().position
    };
    assert_eq!(released, [of(1), of(2)]);
    // A late one of the same boot is timed at once.
    centre.block(&unset(1, 4, 250), NOW);
    assert_eq!(centre.meta(1, 4).decided.offset, Some(NOW));
    assert!(centre.receiver.lost_in_time(&centre.log).is_empty());
}

// Goal: a store that lags still finds what a record released: its row outlives restarts until the store has that record.
#[test]
fn released_blocks_stay_until_the_store_has_the_record_that_released_them() {
    let mut centre = Centre::new();
    centre.block(&unset(1, 1, 100), NOW);
    let known = Clock { boot: Boot(7), boot_offset: Some(NOW), mono_ms: 300, ..clock(NOW + 300) };
    centre.block(&Block { clock: known, ..block(1, 2) }, NOW);
    centre.restart(2);
    let released = |centre: &Centre| {
        let state = centre.receiver.gateway(&name("g1")).unwrap();
        (state.held.len(), state.released.values().map(|h| h.released_by).collect::<Vec<_>>())
    };
    let by = centre.log.records.last().unwrap().position;
    assert_eq!(released(&centre), (0, vec![by]));
    centre.receiver.forget_released(&mut centre.log, by - 1, 10);
    assert_eq!(released(&centre).1, [by], "the store is not there yet");
    centre.receiver.forget_released(&mut centre.log, by, 10);
    centre.restart(3);
    assert_eq!(released(&centre), (0, vec![]));
}

// Goal: where the record that released blocks was damaged before the store took it, the next one of their boot does.
#[test]
fn blocks_are_held_again_when_the_record_that_released_them_is_lost() {
    let mut centre = Centre::new();
    centre.block(&unset(1, 1, 100), NOW);
    let known = |seq| {
        let clock = Clock { boot: Boot(7), boot_offset: Some(NOW), mono_ms: 300, ..clock(NOW) };
        Block { clock, ..block(1, seq) }
    };
    centre.block(&known(2), NOW);
    let releasing = centre.log.records.last().unwrap().position;
    centre.receiver.hold_again(&mut centre.log, &[releasing].into());
    centre.restart(2);
    centre.block(&known(3), NOW);
    assert_eq!(centre.meta(1, 3).decided.releases, [1]);
}

// Goal: blocks of an epoch that is let go, because the one it contradicts goes on, are not held for ever. Method: a disk
// that says it is new, with a clock that was never set, between two blocks of the epoch that the gateway is in.
#[test]
fn blocks_of_an_epoch_that_was_let_go_are_given_up() {
    let mut centre = Centre::new();
    let own = |seq: u64, at: i64| {
        listing(
            Block { clock: Clock { boot: Boot(1), ..clock(at) }, ..block(1, seq) },
            &[(1, None, &[(1, seq)])],
        )
    };
    let send = |centre: &mut Centre, boot: u64, block: Block, at: i64| {
        let outcome = centre.send_in("g1", boot, Item::Block(block.encode()), at);
        centre.receiver.committed();
        outcome
    };
    send(&mut centre, 1, own(1, NOW), NOW);
    assert_eq!(send(&mut centre, 7, unset(5, 1, 100), NOW + 1_000), Outcome::Logged);
    let held = centre.log.records.last().unwrap().position;
    assert!(centre.receiver.lost_in_time(&centre.log).is_empty(), "it may still be joined");
    send(&mut centre, 1, own(2, NOW + 2_000), NOW + 2_000);
    assert_eq!(centre.receiver.lost_in_time(&centre.log), [(name("g1"), vec![held])]);
}

#[test]
fn blocks_whose_offset_can_never_come_are_given_up() {
    let mut centre = Centre::new();
    centre.block(&unset(1, 1, 100), NOW);
    centre.block(&after(block(2, 1), 1, 2), NOW);
    assert!(centre.receiver.lost_in_time(&centre.log).is_empty(), "block 2 may bring it");
    let gap = GapRange { epoch: Epoch(1), from: 2, to: 2, t0: 0, t1: 0, samples: 1, link: None };
    let gap = Body::Gap(GapRecord { ranges: vec![gap], reason: "evicted".into() });
    centre.block(&Block { body: gap, ..after(block(2, 2), 1, 2) }, NOW);
    let lost = centre.receiver.lost_in_time(&centre.log);
    assert_eq!(lost, [(name("g1"), vec![1])]);
    centre.receiver.give_up_held(&mut centre.log, &lost[0].0, &lost[0].1, []);
    centre.restart(3);
    assert!(centre.receiver.lost_in_time(&centre.log).is_empty());
}

#[test]
fn epochs_are_joined_where_they_say() {
    let mut centre = Centre::new();
    centre.block(&block(10, 1), NOW);
    centre.block(&after(block(20, 1), 10, 3), NOW);
    assert_eq!(
        centre.notes("g1"),
        [
            CentreRecord::Chain { epoch: 10, after: None, last: 0 },
            CentreRecord::Chain { epoch: 20, after: Some(10), last: 3 },
        ]
    );
    assert_eq!(centre.want("g1"), Some((10, 2)));
    centre.block(&block(10, 3), NOW);
    centre.block(&block(10, 2), NOW);
    assert_eq!(centre.want("g1"), None);
    // Complete: one line, acked and not logged again, also after a restart.
    centre.restart(2);
    assert_eq!(centre.block(&block(10, 2), NOW), Outcome::Duplicate);
    let ack = centre.ack(NOW + 1_000).remove(0);
    assert_eq!(ack.epochs.iter().find(|e| e.epoch == Epoch(10)).unwrap().upto, 3);
}

#[test]
fn restored_disk_image_is_joined_after_what_is_held() {
    // Goal: an epoch that follows one which has a successor already is joined at the tail, with a notice.
    let mut centre = Centre::new();
    centre.block(&block(10, 1), NOW);
    centre.block(&after(block(20, 1), 10, 1), NOW);
    let at = NOW + super::gateway::TAIL_QUIET_MS;
    let again = Block { clock: Clock { boot: Boot(3), ..clock(at) }, ..after(block(30, 1), 10, 1) };
    centre.send_in("g1", 3, Item::Block(again.encode()), at - 1);
    assert!(centre.receiver.committed().notices.is_empty(), "the one at the tail may go on");
    let again = Block { seq: 2, ..again };
    centre.send_in("g1", 3, Item::Block(again.encode()), at);
    assert_eq!(centre.receiver.committed().notices[0].code, "chain_conflict");
    let last = centre.notes("g1").pop().unwrap();
    assert_eq!(last, CentreRecord::Chain { epoch: 30, after: Some(20), last: 1 });
    // The old branch goes on: stored, and the chain does not move.
    assert_eq!(centre.block(&after(block(20, 2), 10, 1), NOW), Outcome::Logged);
    assert_eq!(centre.notes("g1").len(), 3);
}

#[test]
fn unknown_predecessor_is_waited_for_until_a_list_lacks_it() {
    let mut centre = Centre::new();
    centre.block(&after(block(20, 5), 10, 9), NOW);
    assert!(centre.notes("g1").is_empty(), "10 may still come");
    let listed: &[Listed<'_>] = &[(10, None, &[(4, 9)]), (20, Some((10, 9)), &[(1, 6)])];
    centre.block(&listing(after(block(20, 6), 10, 9), listed), NOW);
    assert_eq!(centre.notes("g1")[0], CentreRecord::Chain { epoch: 10, after: None, last: 0 });
    // What nobody holds any more of epoch 10 is closed: blocks 1 to 3.
    let gone = vec![GoneSpan { epoch: 10, from: 1, to: 3 }];
    assert_eq!(centre.notes("g1")[2], CentreRecord::Gone(gone));
    assert_eq!(centre.want("g1"), Some((10, 4)));

    let mut other = Centre::new();
    let listed: &[Listed<'_>] = &[(20, Some((10, 9)), &[(5, 6)])];
    other.block(&listing(after(block(20, 6), 10, 9), listed), NOW);
    assert_eq!(other.notes("g1")[0], CentreRecord::Chain { epoch: 20, after: None, last: 0 });
    assert_eq!(other.want("g1"), Some((20, 5)));
}

#[test]
fn declared_loss_covers_only_what_is_not_held_and_a_late_block_is_taken() {
    let mut centre = Centre::new();
    centre.block(&block(1, 1), NOW);
    let range = GapRange { epoch: Epoch(1), from: 1, to: 3, t0: 0, t1: 0, samples: 9, link: None };
    let gap = Body::Gap(GapRecord { ranges: vec![range], reason: "evicted".into() });
    centre.block(&Block { body: gap, ..block(1, 4) }, NOW);
    assert_eq!(centre.want("g1"), None);
    let ack = centre.ack(NOW).remove(0);
    assert_eq!((ack.epochs[0].upto, ack.epochs[0].ranges[0]), (1, Range { from: 4, to: 4 }));
    assert_eq!(centre.block(&block(1, 2), NOW), Outcome::Logged);
}

#[test]
fn crowded_log_takes_live_blocks_and_the_next_in_order() {
    let mut centre = Centre::new();
    let old = |seq| Block { clock: clock(NOW - 60_000), ..block(1, seq) };
    centre.room = Room { used: 85, bound: 100, gateway_quota: 1 << 30, two_intervals: 0 };
    assert_eq!(centre.block(&old(1), NOW), Outcome::Logged, "next in order");
    assert_eq!(centre.block(&old(3), NOW), Outcome::Refused("log_full"));
    assert_eq!(centre.block(&block(1, 4), NOW), Outcome::Logged, "live");
    assert_eq!(centre.want("g1"), Some((1, 2)));
    centre.room.used = 90;
    assert_eq!(centre.block(&block(1, 5), NOW), Outcome::Refused("log_full"));
    assert_eq!(centre.block(&old(2), NOW), Outcome::Logged);
    assert_eq!(centre.block(&old(3), NOW), Outcome::Logged);
    // The first of the epoch that follows is next in order as well.
    assert_eq!(
        centre.block(&after(Block { clock: clock(NOW - 60_000), ..block(2, 1) }, 1, 4), NOW),
        Outcome::Logged
    );
    // Nothing but gap records in the last part: what the centre itself logs must still fit.
    centre.room.used = 96;
    let second = after(Block { clock: clock(NOW - 60_000), ..block(2, 2) }, 1, 4);
    assert_eq!(centre.block(&second, NOW), Outcome::Refused("log_full"));
    let range = GapRange { epoch: Epoch(2), from: 2, to: 2, t0: 0, t1: 0, samples: 1, link: None };
    let gap = Body::Gap(GapRecord { ranges: vec![range], reason: "evicted".into() });
    assert_eq!(
        centre.block(&Block { body: gap, ..after(block(2, 5), 1, 4) }, NOW),
        Outcome::Logged
    );
    assert_eq!(centre.want("g1"), Some((2, 3)), "it closed the hole");
    centre.room = Room { used: 0, bound: 1 << 30, gateway_quota: 10, two_intervals: 0 };
    assert_eq!(
        centre.block(&Block { clock: clock(NOW - 60_000), ..after(block(2, 9), 1, 4) }, NOW),
        Outcome::Refused("log_full"),
        "its share is used up"
    );
}

#[test]
fn hole_that_is_given_up_ends_before_the_next_block() {
    let mut centre = Centre::new();
    for seq in [1, 4, 6] {
        centre.block(&block(1, seq), NOW);
    }
    centre.receiver.give_up_hole(&mut centre.log, &name("g1"), NOW).unwrap();
    assert_eq!(centre.want("g1"), Some((1, 5)));
    let gone = vec![GoneSpan { epoch: 1, from: 2, to: 3 }];
    assert_eq!(centre.notes("g1").pop(), Some(CentreRecord::Gone(gone)));
}

#[test]
fn too_many_holes_refuse_the_block_and_nothing_is_forgotten() {
    let mut centre = Centre::new();
    let most = 2 * spool::INTERVALS_MAX as u64;
    for seq in (1..=most).step_by(2) {
        assert_eq!(centre.block(&block(1, seq), NOW), Outcome::Logged);
    }
    let beyond = Item::Block(block(1, most + 1).encode());
    assert_eq!(centre.send("g1", beyond, NOW), Outcome::Refused("intervals"));
    assert_eq!(codes(&mut centre), ["intervals_full"]);
    assert_eq!(centre.block(&block(1, 2), NOW), Outcome::Logged);
    assert_eq!(centre.block(&block(1, most + 1), NOW), Outcome::Logged);
    let ack = centre.ack(NOW).remove(0);
    let encoded = ack.encode();
    assert!(encoded.len() < wire::limits::FRAME_BYTES_MAX, "{}", encoded.len());
    assert_eq!(wire::message::Ack::decode(&encoded), Ok(ack));
}

#[test]
fn block_that_does_not_decode_is_rejected_by_its_key_unless_the_quarantine_is_full() {
    let mut centre = Centre::new();
    let mut bytes = block(1, 2).encode();
    // An unknown field of protobuf is nothing; an unknown clock state is.
    bytes.extend([0x2a, 0x02, 0x08, 0x63]);
    centre.receiver.set_quarantine_full([name("g1")].into());
    let outcome = centre.send("g1", Item::Block(bytes.clone()), NOW);
    assert_eq!(outcome, Outcome::Refused("quarantine_full"));
    assert!(centre.ack(NOW)[0].epochs.iter().all(|e| !e.covers(2)));
    centre.receiver.set_quarantine_full([].into());
    centre.block(&block(1, 1), NOW);
    assert_eq!(
        centre.send("g1", Item::Block(bytes.clone()), NOW),
        Outcome::Rejected("unknown_value")
    );
    assert_eq!(centre.receiver.committed().quarantined[0].bytes, bytes);
    assert_eq!(centre.send("g1", Item::Block(bytes), NOW), Outcome::Duplicate);
    let ack = centre.ack(NOW + 1_000).remove(0);
    assert_eq!((ack.epochs[0].upto, ack.epochs[0].rejected[0].seq), (2, 2));
}

#[test]
fn acks_echo_the_highest_stamp_and_are_repeated() {
    let mut centre = Centre::new();
    centre.block(&block(1, 1), NOW);
    let ack = centre.ack(NOW).remove(0);
    assert_eq!((ack.log_id.0, ack.fact_revision, ack.centre_time), (1, 3, NOW));
    assert_eq!(ack.echo.map(|s| s.counter), Some(1));
    centre.block(&block(1, 2), NOW + 10);
    assert!(centre.ack(NOW + 999).is_empty(), "once a second while something changes");
    assert_eq!(centre.ack(NOW + 1_000)[0].epochs[0].upto, 2);
    assert!(centre.ack(NOW + 5_999).is_empty());
    assert_eq!(centre.ack(NOW + 6_000).len(), 1, "a lost ack heals");
    assert!(centre.ack(NOW + 70_000).is_empty(), "a gateway that is away needs none");
}

#[test]
fn rolled_back_transaction_leaves_nothing_behind() {
    let mut centre = Centre::new();
    centre.block(&block(1, 1), NOW);
    let before = centre.receiver.gateway(&name("g1")).unwrap().kept.clone();
    let log = centre.log.clone();
    centre.send("g1", Item::Block(after(block(2, 1), 1, 1).encode()), NOW);
    centre.send("g2", Item::Manifest(Manifest { gateway: name("g2"), ..plan() }.encode()), NOW);
    centre.receiver.rolled_back();
    centre.log = log;
    assert_eq!(centre.receiver.gateway(&name("g1")).unwrap().kept, before);
    assert!(centre.receiver.gateway(&name("g2")).is_none());
    assert!(centre.receiver.committed().records.is_empty());
    assert_eq!(centre.block(&after(block(2, 1), 1, 1), NOW), Outcome::Logged);
}

#[test]
fn state_is_logged_when_it_changes_and_a_late_will_is_ignored() {
    let mut centre = Centre::new();
    let state = |epoch, online| State {
        stamp: Stamp { gateway: name("g1"), boot: Boot(1), counter: 1, mono_ms: 0 },
        epoch: Epoch(epoch),
        online,
        at: NOW,
        version: String::new(),
        clock: ClockState::Synced,
        backlog_blocks: 0,
        backlog_bytes: 0,
        polled: 0,
        stored: 0,
        declared_lost: 0,
        devices: Vec::new(),
        on_battery: false,
        centre_difference_ms: None,
        first_counter: 0,
    };
    let send = |centre: &mut Centre, state: &State| {
        let frame = frame::seal(&key("g1"), Kind::State, &state.encode());
        let gateway = name("g1");
        let message = Inbound { gateway: &gateway, frame: &frame, at: NOW };
        centre.receiver.receive_state(&mut centre.log, &centre.ring, message).map(|s| s.is_some())
    };
    assert_eq!(send(&mut centre, &state(1, true)), Ok(true));
    assert_eq!(send(&mut centre, &state(1, true)), Ok(true));
    assert_eq!(centre.notes("g1").len(), 1);
    centre.block(&block(1, 1), NOW);
    centre.block(&after(block(2, 1), 1, 1), NOW);
    assert_eq!(send(&mut centre, &state(1, false)), Ok(false), "epoch 1 has a successor");
    assert_eq!(send(&mut centre, &state(2, true)), Ok(true));
    assert_eq!(centre.notes("g1").len(), 4);
}

#[test]
fn replaced_gateway_is_stored_and_no_longer_evaluated() {
    let mut centre = Centre::new();
    let replaced = Known { key: key("g1"), site: "s1".into(), replaced_by: Some(name("g2")) };
    centre.ring.insert(name("g1"), replaced);
    centre.block(&block(1, 1), NOW);
    assert!(!centre.meta(1, 1).decided.is_superseded, "the new one has not been heard");
    centre.block(&Block { gateway: name("g2"), ..block(9, 1) }, NOW);
    centre.block(&block(1, 2), NOW);
    assert!(centre.meta(1, 2).decided.is_superseded);
}
