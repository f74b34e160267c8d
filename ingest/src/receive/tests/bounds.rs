//! The bounds of a chain, and lists of blocks that are refused.

use super::*;

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
    for seq in 2..40 {
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
