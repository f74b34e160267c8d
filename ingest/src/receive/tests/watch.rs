//! What people are told: a broker that drops, two gateways under one name, clocks, replacements.

use super::*;
use crate::receive::gateway::{TAIL_GONE_MS, TAIL_QUIET_MS};

fn state(boot: u64, counter: u64, first_counter: u64) -> State {
    State {
        stamp: Stamp { gateway: name("g1"), boot: Boot(boot), counter, mono_ms: 0 },
        epoch: Epoch(1),
        online: true,
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
        first_counter,
    }
}

// Goal: what a broker took and never delivered is told; what a cut connection lost is not, nor what was overtaken.
#[test]
fn a_broker_that_drops_is_told_and_a_cut_is_not() {
    let mut centre = Centre::new();
    let send = |centre: &mut Centre, counters: std::ops::Range<u64>, at: i64| {
        for counter in counters {
            centre.counter = counter - 1;
            centre.block(&block(1, counter), at);
        }
    };
    centre.receiver.heard_state(&state(1, 1, 1), NOW);
    send(&mut centre, 2..10, NOW);
    send(&mut centre, 12..20, NOW);
    send(&mut centre, 11..12, NOW + 2_000);
    centre.receiver.heard_state(&state(1, 20, 1), NOW + 5_000);
    assert_eq!(centre.receiver.dropped_by_broker(NOW + 5_000), 0, "it may have been overtaken");
    centre.receiver.heard_state(&state(1, 21, 1), NOW + 30_000);
    assert_eq!(centre.receiver.dropped_by_broker(NOW + 30_000), 1, "number 10 never came");
    send(&mut centre, 10..11, NOW + 31_000);
    assert_eq!(centre.receiver.dropped_by_broker(NOW + 31_000), 0, "it was only slow");
    centre.counter = 22;
    send(&mut centre, 23..24, NOW + 31_000);
    centre.receiver.heard_state(&state(1, 24, 1), NOW + 39_000);
    centre.receiver.heard_state(&state(1, 25, 1), NOW + 42_000);
    assert_eq!(centre.receiver.dropped_by_broker(NOW + 42_000), 1, "number 22 never came");
    // The connection is cut with 26 to 30 on their way; the next one begins with 31.
    send(&mut centre, 32..40, NOW + 50_000);
    centre.receiver.heard_state(&state(1, 31, 31), NOW + 51_000);
    centre.receiver.heard_state(&state(1, 40, 31), NOW + 80_000);
    let dropped = |centre: &Centre| centre.receiver.dropped_by_broker(NOW + 130_000);
    assert_eq!(dropped(&centre), 1);
    // A last will and a gateway of an earlier version say nothing about it.
    send(&mut centre, 45..46, NOW + 80_000);
    centre.receiver.heard_state(&State { online: false, ..state(1, 0, 0) }, NOW + 100_000);
    centre.receiver.heard_state(&state(1, 46, 0), NOW + 100_000);
    assert_eq!(dropped(&centre), 1);
    // A transaction that failed is no drop: its messages did arrive.
    centre.counter = 46;
    centre.send("g1", Item::Block(block(1, 47).encode()), NOW + 101_000);
    centre.receiver.rolled_back();
    send(&mut centre, 48..50, NOW + 102_000);
    centre.receiver.heard_state(&state(1, 50, 47), NOW + 130_000);
    assert_eq!(dropped(&centre), 1);
    assert_eq!(centre.receiver.dropped_by_broker(NOW + 2 * 3_600_000), 0, "told for an hour");
}

// Goal: two gateways under one name are told while they take turns; a restart is not, nor what a broker held back then.
#[test]
fn two_gateways_under_one_name_are_told() {
    let mut centre = Centre::new();
    let told = |centre: &mut Centre, boot: u64, seq: u64, at: i64| -> usize {
        let clock = Clock { boot: Boot(boot), ..clock(at) };
        let block = Block { clock, ..block(boot, seq) };
        centre.send_in("g1", boot, Item::Block(block.encode()), at);
        let notices = centre.receiver.committed().notices;
        notices.iter().filter(|n| n.code == "two_gateways").count()
    };
    let mut count = 0;
    for boot in 1..5 {
        // Each start, and once or twice a message of the one before.
        count += told(&mut centre, boot, 1, NOW);
        count += told(&mut centre, boot.max(2) - 1, 2, NOW);
        count += told(&mut centre, boot, 3, NOW);
    }
    assert_eq!(count, 0);
    let mut centre = Centre::new();
    for seq in 1..20 {
        count += told(&mut centre, 7, seq, NOW + 1_000);
        count += told(&mut centre, 8, seq, NOW + 1_000);
    }
    assert_eq!(count, 1, "once, not with every block");
}

// Goal: the copy and the original are both stored, and only the order of the chain is evaluated: the one that was there
// first, as long as it goes on. When it has been silent for a while the copy is joined, and it ends.
#[test]
fn of_two_interleaving_epochs_one_is_evaluated() {
    let mut centre = Centre::new();
    let of = |epoch: u64, boot: u64, seq: u64| Block {
        clock: Clock { boot: Boot(boot), ..clock(NOW) },
        ..after(block(epoch, seq), 10, 1)
    };
    centre.block(&block(10, 1), NOW);
    let send = |centre: &mut Centre, block: Block, boot| {
        centre.send_in("g1", boot, Item::Block(block.encode()), NOW);
        centre.receiver.committed().notices.iter().map(|n| n.code).collect::<Vec<_>>()
    };
    send(&mut centre, of(20, 2, 1), 2);
    let listed: &[Listed<'_>] = &[(30, Some((10, 1)), &[(1, 1)])];
    send(&mut centre, listing(of(30, 3, 1), listed), 3);
    let mut told = Vec::new();
    for seq in 2..5 {
        let listed: &[Listed<'_>] = &[(20, Some((10, 1)), &[(1, seq)])];
        told.extend(send(&mut centre, listing(of(20, 2, seq), listed), 2));
        told.extend(send(&mut centre, of(30, 3, seq), 3));
    }
    assert_eq!(told, ["chain_conflict"], "once");
    assert_eq!(centre.places(), [(10, Some(1)), (20, None)]);
    let blocks = centre.log.records.iter().filter(|r| r.kind == kind::BLOCK).count();
    assert_eq!(blocks, 9, "all are stored");
    let at = NOW + TAIL_QUIET_MS;
    let last = listing(of(30, 3, 5), &[(30, Some((10, 1)), &[(1, 5)])]);
    centre.send_in("g1", 3, Item::Block(last.encode()), at);
    centre.receiver.committed();
    assert_eq!(centre.places(), [(10, Some(1)), (20, Some(4)), (30, None)]);
    assert_eq!(centre.want("g1"), None, "nothing waits for the other branch");
    // The original is judged no more, and goes on: that is said loudly.
    let mut told = Vec::new();
    for second in 1..60 {
        let at = at + second * 1_000;
        let block = of(20, 2, 4 + second.unsigned_abs());
        let block = Block { clock: Clock { closed_at: at, ..block.clock }, ..block };
        centre.send_in("g1", 2, Item::Block(block.encode()), at);
        told.extend(centre.receiver.committed().notices.into_iter().map(|n| n.code));
    }
    assert_eq!(told, ["muted"]);
}

// Goal: a gateway that was killed while its full disk kept blocks from being noted comes back with a start that contradicts
// what the centre holds, and its readings are judged seconds later, not after 20 s, even if it falls silent at once. One
// whose connection alone ended is back by then, and is ended by nobody.
#[test]
fn a_start_after_a_last_will_is_soon_judged() {
    for is_back in [false, true] {
        let mut centre = Centre::new();
        for seq in 1..=5 {
            let here = Block { clock: Clock { boot: Boot(1), ..clock(NOW) }, ..block(1, seq) };
            centre.send_in("g1", 1, Item::Block(here.encode()), NOW);
        }
        centre.receiver.heard_state(&State { online: false, ..state(1, 0, 0) }, NOW + 100);
        let at = NOW + 900;
        let new = Block { clock: Clock { boot: Boot(2), ..clock(at) }, ..after(block(2, 1), 1, 3) };
        let listed: &[Listed<'_>] = &[(1, None, &[]), (2, Some((1, 3)), &[(1, 1)])];
        centre.send_in("g1", 2, Item::Block(listing(new, listed).encode()), at);
        if is_back {
            centre.receiver.heard_state(&state(1, 90, 90), NOW + 2_000);
        }
        let joined = |centre: &mut Centre, at: i64| {
            centre.receiver.settle_quiet(&mut centre.log, at).unwrap();
            centre.places()
        };
        let gone_at = NOW + 100 + TAIL_GONE_MS;
        assert_eq!(joined(&mut centre, gone_at - 1), [(1, None)], "it may come back");
        let both = vec![(1, Some(5)), (2, None)];
        let one = vec![(1, None)];
        assert_eq!(joined(&mut centre, gone_at), if is_back { one } else { both.clone() });
        assert_eq!(joined(&mut centre, NOW + 2_000 + TAIL_QUIET_MS), both);
    }
}

// Goal: an old message that comes late while the link is cut ends nobody: the epoch at the tail goes on when the link is back.
#[test]
fn a_late_message_behind_a_cut_ends_no_epoch() {
    let mut centre = Centre::new();
    let of = |epoch: u64, seq: u64, link: Option<(u64, u64)>| {
        let block = Block { clock: Clock { boot: Boot(epoch), ..clock(NOW) }, ..block(epoch, seq) };
        let block =
            if let Some((before, last)) = link { after(block, before, last) } else { block };
        listing(block, &[(epoch, link, &[(1, seq)])])
    };
    let send = |centre: &mut Centre, block: &Block, at: i64| {
        centre.send_in("g1", block.epoch.0, Item::Block(block.encode()), at);
    };
    // The disk was put back from an image between the second and the third start.
    send(&mut centre, &of(1, 1, None), NOW);
    send(&mut centre, &of(3, 1, Some((1, 1))), NOW);
    let gone = State { online: false, epoch: Epoch(3), ..state(3, 0, 0) };
    centre.receiver.heard_state(&gone, NOW + 1_000);
    send(&mut centre, &of(2, 1, Some((1, 1))), NOW + 8_000);
    for second in 8..60 {
        centre.receiver.settle_quiet(&mut centre.log, NOW + second * 1_000).unwrap();
    }
    let tail = |centre: &Centre| centre.receiver.gateway(&name("g1")).unwrap().kept.chain.tail();
    assert_eq!(tail(&centre), Some(3));
    send(&mut centre, &of(3, 2, Some((1, 1))), NOW + 60_000);
    assert_eq!(tail(&centre), Some(3));
}

// Goal: a message of an earlier start that comes late does not pass for the start that the gateway is in, so that the live one
// is ended by it and judged no more. Method: neither has its place yet; the centre was down when they began.
#[test]
fn a_late_message_of_an_earlier_start_ends_no_later_one() {
    for restarts in [false, true] {
        let mut centre = Centre::new();
        let of = |epoch: u64, seq: u64, link: Option<(u64, u64)>| {
            let here = Clock { boot: Boot(epoch), ..clock(NOW) };
            let block = Block { clock: here, ..block(epoch, seq) };
            let block =
                if let Some((before, last)) = link { after(block, before, last) } else { block };
            listing(block, &[(epoch, link, &[(1, seq)])])
        };
        let send = |centre: &mut Centre, block: &Block, at: i64| {
            centre.send_in("g1", block.epoch.0, Item::Block(block.encode()), at);
        };
        for seq in 1..=3 {
            send(&mut centre, &of(1, seq, None), NOW);
        }
        // The disk was put back from an image, and then there is an empty one.
        send(&mut centre, &of(2, 1, Some((1, 1))), NOW + 1_000);
        for second in 5..=20_i64 {
            let seq = second.unsigned_abs() - 4;
            send(&mut centre, &of(3, seq, None), NOW + second * 1_000 - 500);
        }
        if restarts {
            centre.restart(5);
        }
        send(&mut centre, &of(2, 2, Some((1, 1))), NOW + 20_500);
        for second in 21..60_i64 {
            let seq = second.unsigned_abs() - 4;
            send(&mut centre, &of(3, seq, None), NOW + second * 1_000);
        }
        let order = [(1, Some(3)), (2, Some(2)), (3, None)];
        assert_eq!(centre.places(), order, "the centre was started anew: {restarts}");
    }
}

// Goal: gateways without NTP follow a wrong centre without a word of their blocks; their own clocks tell.
#[test]
fn own_clocks_of_gateways_are_held_against_the_centres() {
    let mut centre = Centre::new();
    let say = |centre: &mut Centre, gateway: &str, by: Option<i64>| {
        let mut state = state(1, 5, 1);
        (state.stamp.gateway, state.centre_difference_ms) = (name(gateway), by);
        centre.receiver.heard_state(&state, NOW);
    };
    say(&mut centre, "g1", None);
    say(&mut centre, "g2", Some(900));
    assert_eq!(centre.receiver.clocks_differ(NOW), None);
    say(&mut centre, "g3", Some(7_200_000));
    let differ = centre.receiver.clocks_differ(NOW).unwrap();
    assert_eq!((differ.measured, differ.ahead, differ.behind), (2, 1, 0));
    say(&mut centre, "g4", Some(-90_000));
    assert_eq!(centre.receiver.clocks_differ(NOW), None, "one here and one there: their batteries");
    say(&mut centre, "g4", Some(7_190_000));
    let text = centre.receiver.clocks_differ(NOW).unwrap().text();
    assert!(text.contains("2 of 3") && text.contains("ahead of"), "{text}");
    assert_eq!(centre.receiver.clocks_differ(NOW + 700_000), None, "words grow old");
}

// Goal (design §4): a replacement gateway names the one it replaces. Method: by its manifest; one of another site names
// nobody; what still comes from the old one is told, also after a restart.
#[test]
fn a_replacement_names_the_one_it_replaces() {
    let mut centre = Centre::new();
    let of = |gateway: &str, seq| Block { gateway: name(gateway), ..block(1, seq) };
    let naming = |gateway: &str, site: &str| {
        let plan = Manifest { gateway: name(gateway), site: site.into(), ..plan() };
        Manifest { replaces: Some(name("g1")), ..plan }
    };
    let far = Known { key: key("g4"), site: "s4".into(), replaced_by: None };
    centre.ring.insert(name("g4"), far);
    centre.send("g4", Item::Manifest(naming("g4", "s4").encode()), NOW);
    centre.block(&of("g4", 1), NOW);
    centre.block(&of("g1", 1), NOW);
    let meta = |centre: &Centre, seq| {
        let is_it = |r: &&crate::receive::memory::Appended| {
            r.kind == kind::BLOCK && r.gateway == "g1" && r.seq == seq
        };
        BlockMeta::decode(&centre.log.records.iter().rev().find(is_it).unwrap().meta).unwrap()
    };
    assert!(!meta(&centre, 1).decided.is_superseded, "a gateway of another site has no say");
    centre.send("g2", Item::Manifest(naming("g2", "s1").encode()), NOW);
    centre.block(&of("g1", 2), NOW);
    assert!(!meta(&centre, 2).decided.is_superseded, "the new one has not been heard");
    let key = manifest::key(&naming("g2", "s1").encode());
    let mut rows = Builder::new(&naming("g2", "s1"), key);
    rows.push(0, NOW, &[(1.0, Mark::GOOD), (2.0, Mark::GOOD)]).unwrap();
    let first = Block { body: Body::Readings(rows.take()), ..of("g2", 1) };
    centre.block(&first, NOW);
    centre.send("g1", Item::Block(of("g1", 3).encode()), NOW);
    let told: Vec<_> = centre.receiver.committed().notices.iter().map(|n| n.code).collect();
    assert_eq!(told, ["replaced_sends"]);
    assert!(meta(&centre, 3).decided.is_superseded);
    centre.restart(2);
    let mut rows = Builder::new(&naming("g2", "s1"), key);
    rows.push(0, NOW + 1, &[(1.0, Mark::GOOD), (2.0, Mark::GOOD)]).unwrap();
    centre.block(&Block { body: Body::Readings(rows.take()), ..of("g2", 2) }, NOW);
    centre.block(&of("g1", 4), NOW);
    assert!(meta(&centre, 4).decided.is_superseded);
}
