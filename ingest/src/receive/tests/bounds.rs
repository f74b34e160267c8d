//! The bounds of a chain, and lists of blocks that are refused.

use super::*;
use crate::receive::gateway::HeldBlock;

// Goal: complete epochs are lines, at most so many; one that the gateway still lists is never forgotten, so that its blocks
// are not logged twice.
#[test]
fn complete_epochs_are_bounded_and_listed_ones_stay() {
    let mut centre = Centre::new();
    let most = crate::chain::JOINED_MAX as u64;
    for epoch in 1..=most + 50 {
        let first = Block { clock: Clock { boot: Boot(epoch), ..clock(NOW) }, ..block(epoch, 1) };
        let first = if epoch > 1 { after(first, epoch - 1, 1) } else { first };
        // The disk still holds the second epoch, acked as it is.
        let held: &[Listed<'_>] =
            &[(2, Some((1, 1)), &[(1, 1)]), (epoch, Some((epoch - 1, 1)), &[(1, 1)])];
        let first = if epoch > 2 { listing(first, held) } else { first };
        centre.send_in("g1", epoch, Item::Block(first.encode()), NOW);
        centre.receiver.committed();
    }
    centre.restart(2);
    let joined = centre.receiver.gateway(&name("g1")).unwrap().kept.chain.joined().to_vec();
    assert_eq!(joined.len() as u64, most);
    let epochs: Vec<u64> = joined.iter().take(3).map(|j| j.epoch).collect();
    assert_eq!(epochs, [2, 52, 53]);
    let again = Block { clock: Clock { boot: Boot(2), ..clock(NOW) }, ..after(block(2, 1), 1, 1) };
    assert_eq!(
        centre.block(&again, NOW),
        Outcome::Duplicate,
        "after another log id it comes again"
    );
}

// Goal: messages of an epoch that the centre has forgotten, sent again by whoever kept them, mute nobody: the epoch that
// the gateway is in goes on, and so does the one after it. Method: more starts than are remembered, then the first
// messages of the first epochs again, with their lists and stamps, between those of the live one.
#[test]
fn messages_of_a_forgotten_epoch_mute_nobody() {
    let mut centre = Centre::new();
    let newest = crate::chain::JOINED_MAX as u64 + 50;
    let block_of = |epoch: u64, seq: u64, at: i64| {
        let this = Block { clock: Clock { boot: Boot(epoch), ..clock(at) }, ..block(epoch, seq) };
        let this = if epoch > 1 { after(this, epoch - 1, 1) } else { this };
        let link = (epoch > 1).then_some((epoch - 1, 1));
        listing(this, &[(epoch, link, &[(1, seq)])])
    };
    let send = |centre: &mut Centre, epoch: u64, seq: u64, at: i64| {
        let frame = block_of(epoch, seq, if epoch < 100 { NOW } else { at });
        let outcome = centre.send_in("g1", epoch, Item::Block(frame.encode()), at);
        centre.receiver.committed();
        outcome
    };
    for epoch in 1..=newest {
        send(&mut centre, epoch, 1, NOW);
    }
    let chain = |centre: &Centre| centre.receiver.gateway(&name("g1")).unwrap().kept.chain.clone();
    assert!(chain(&centre).find(5).is_none(), "forgotten");
    centre.restart(2);
    send(&mut centre, newest, 2, NOW + 75_000);
    for seq in 3..40 {
        let at = NOW + 60_000 + i64::try_from(seq).unwrap() * 10_000;
        send(&mut centre, 5, 1, at - 5_000);
        send(&mut centre, 6, 1, at - 4_000);
        assert_eq!(send(&mut centre, newest, seq, at), Outcome::Logged);
    }
    assert_eq!((chain(&centre).tail(), chain(&centre).conflicts()), (Some(newest), 0));
    let at = NOW + 600_000;
    let next = Block {
        clock: Clock { boot: Boot(newest + 1), ..clock(at) },
        ..after(block(newest + 1, 1), newest, 39)
    };
    centre.send_in("g1", newest + 1, Item::Block(next.encode()), at);
    centre.receiver.committed();
    assert_eq!((chain(&centre).tail(), chain(&centre).conflicts()), (Some(newest + 1), 0));
}

// Goal: an epoch with declared loss is never complete; it is forgotten like one where there are too many.
#[test]
fn epochs_with_declared_loss_are_bounded_too() {
    let mut centre = Centre::new();
    let most = crate::chain::JOINED_MAX as u64;
    for epoch in 1..=most + 20 {
        let link = |block| if epoch > 1 { after(block, epoch - 1, 2) } else { block };
        let range =
            GapRange { epoch: Epoch(epoch), from: 1, to: 1, t0: 0, t1: 0, samples: 1, link: None };
        let gap = Body::Gap(GapRecord { ranges: vec![range], reason: "evicted".into() });
        let clock = Clock { boot: Boot(epoch), ..clock(NOW) };
        let held: &[Listed<'_>] = &[(epoch, (epoch > 1).then_some((epoch - 1, 2)), &[(2, 2)])];
        let block = listing(link(Block { body: gap, clock, ..block(epoch, 2) }), held);
        centre.send_in("g1", epoch, Item::Block(block.encode()), NOW);
        centre.receiver.committed();
    }
    let joined = centre.receiver.gateway(&name("g1")).unwrap().kept.chain.joined().len() as u64;
    assert_eq!(joined, most);
}

// Goal: a gateway that starts again and again behind a hole cannot make its chain grow without end: the hole is given up,
// and the chain falls back to its bound.
#[test]
fn a_chain_behind_a_hole_is_bounded() {
    let mut centre = Centre::new();
    centre.block(&block(1, 1), NOW);
    let most = crate::chain::JOINED_WAITING_MAX as u64;
    for epoch in 2..=most + 1 {
        let clock = Clock { boot: Boot(epoch), ..clock(NOW) };
        let link = if epoch == 2 { (1, 3) } else { (epoch - 1, 1) };
        // The disk says that it still holds what is missing.
        let held: &[Listed<'_>] = &[(1, None, &[(1, 3)]), (epoch, Some(link), &[(1, 1)])];
        let first = listing(after(Block { clock, ..block(epoch, 1) }, link.0, link.1), held);
        centre.send_in("g1", epoch, Item::Block(first.encode()), NOW);
        centre.receiver.committed();
    }
    let chain = |centre: &Centre| centre.receiver.gateway(&name("g1")).unwrap().kept.chain.clone();
    assert_eq!(centre.want("g1"), Some((1, 2)));
    assert!(chain(&centre).is_long(), "{}", chain(&centre).joined().len());
    centre.receiver.give_up_hole(&mut centre.log, &name("g1"), NOW).unwrap();
    assert_eq!(centre.want("g1"), None);
    let left = chain(&centre).joined().len();
    assert!(left <= crate::chain::JOINED_MAX, "{left}");
}

// Goal (design §4): what a list says counts although its block is refused, so that an order cannot stand still because the
// log has no room. Method: a crowded log, and an old block with a list that names what is gone.
#[test]
fn the_list_of_a_refused_block_counts() {
    let mut centre = Centre::new();
    centre.block(&block(1, 1), NOW);
    centre.block(&block(1, 4), NOW);
    assert_eq!(centre.want("g1"), Some((1, 2)));
    centre.room = Room { used: 85, bound: 100, gateway_quota: 1 << 30, two_intervals: 0 };
    let listed: &[Listed<'_>] = &[(1, None, &[(3, 6)])];
    let old = Block { clock: clock(NOW - 60_000), ..block(1, 6) };
    assert_eq!(centre.block(&listing(old, listed), NOW), Outcome::Refused("log_full"));
    assert_eq!(
        centre.notes("g1").pop(),
        Some(CentreRecord::Gone(vec![GoneSpan { epoch: 1, from: 2, to: 2 }]))
    );
    assert_eq!(centre.want("g1"), Some((1, 3)), "named to the gateway, and taken when it comes");
    let next = Block { clock: clock(NOW - 60_000), ..block(1, 3) };
    assert_eq!(centre.block(&next, NOW), Outcome::Logged);
}

// Goal: a gateway whose lists of series change all the time cannot fill the log, which keeps them for ever; it is told, one
// that is known is taken again, and another gateway's are taken. Method: as many lists as are kept, and more.
#[test]
fn manifests_of_one_gateway_are_bounded_and_told() {
    let mut centre = Centre::new();
    let list = |gateway: &str, n: u64| {
        let reply = Reply { device: format!("d{n}"), ..plan().replies.remove(0) };
        let list = Manifest { gateway: name(gateway), replies: vec![reply], ..plan() };
        Item::Manifest(list.encode())
    };
    for n in 1..=super::super::GATEWAY_MANIFESTS_MAX {
        assert_eq!(centre.send("g1", list("g1", n), NOW), Outcome::Manifest, "{n}");
    }
    centre.receiver.committed();
    let refused = Outcome::Refused("manifests_full");
    assert_eq!(centre.send("g1", list("g1", 0), NOW), refused);
    assert_eq!(codes(&mut centre), ["manifests_full"]);
    assert_eq!(centre.send("g1", list("g1", 7), NOW), Outcome::Manifest, "it is known");
    assert_eq!(centre.send("g2", list("g2", 0), NOW), Outcome::Manifest);
    // A log that takes no block takes no list either: ticks and facts must still fit.
    centre.room = Room { used: 98, bound: 100, gateway_quota: 1 << 30, two_intervals: 0 };
    assert_eq!(centre.send("g2", list("g2", 1), NOW), Outcome::Refused("log_full"));
    assert_eq!(centre.send("g2", list("g2", 0), NOW), Outcome::Manifest);
}

// Goal: blocks of a clock that was never set are held in bounded number; what is beyond stays at the gateway and is told.
#[test]
fn held_blocks_are_bounded_and_told() {
    let mut centre = Centre::new();
    let unset = |seq| {
        let clock = Clock { state: ClockState::Unset, boot_offset: None, ..clock(NOW) };
        Item::Block(Block { clock, ..block(1, seq) }.encode())
    };
    let most = super::super::gateway::HELD_MAX as u64;
    assert_eq!(centre.send("g1", unset(1), NOW), Outcome::Logged);
    // As many as may wait, but for the last one.
    let held = &mut centre.receiver.touch(&name("g1")).held;
    let (_, first) = held.first_key_value().map(|(at, block)| (*at, *block)).unwrap();
    for position in 1_000_000..1_000_000 + most - 2 {
        held.insert(position, HeldBlock { position, ..first });
    }
    assert_eq!(centre.send("g1", unset(2), NOW), Outcome::Logged);
    centre.receiver.committed();
    assert_eq!(centre.send("g1", unset(3), NOW), Outcome::Refused("held_full"));
    assert_eq!(codes(&mut centre), ["held_full"]);
}
