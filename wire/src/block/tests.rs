//! Blocks: everything in them comes back; what breaks a bound is refused.

use proptest::prelude::*;
use prost::Message as _;

use super::{Block, Body, Clock, ClockState, GapRange, GapRecord, HeldEpoch, Link, Range};
use crate::columns::Readings;
use crate::error::DecodeError;
use crate::ids::{Boot, Epoch, GatewayName};
use crate::limits::{BLOCK_BYTES_MAX, LIST_MAX};
use crate::proto;

fn block(body: Body) -> Block {
    let link = Link { epoch: Epoch(4), last: 99, gateway: Some(GatewayName::new("old").unwrap()) };
    let held = vec![Range { from: 1, to: 3 }, Range { from: 7, to: 7 }];
    Block {
        gateway: GatewayName::new("gw-1").unwrap(),
        epoch: Epoch(u64::MAX),
        seq: 12,
        link: Some(link.clone()),
        clock: Clock {
            state: ClockState::Holdover,
            closed_at: -5,
            mono_ms: 77,
            boot: Boot(8),
            segment: 2,
            boot_offset: Some(0),
            error_ms: 40,
        },
        fact_revision: 3,
        list: Some(vec![HeldEpoch { epoch: Epoch(4), link: Some(link), last: 99, held }]),
        body,
    }
}

fn gap() -> GapRecord {
    let range = GapRange { epoch: Epoch(4), from: 5, to: 9, t0: 1, t1: 2, samples: 30, link: None };
    GapRecord { ranges: vec![range], reason: "evicted".into() }
}

#[test]
fn block_comes_back_whole() {
    for body in [Body::Gap(gap()), Body::Readings(Readings::default())] {
        let whole = block(body);
        assert_eq!(Block::decode(&whole.encode()), Ok(whole.clone()));
        let bare = Block { link: None, list: None, clock: Clock::default(), ..whole.clone() };
        assert_eq!(Block::decode(&bare.encode()), Ok(bare));
        let empty_list = Block { list: Some(Vec::new()), ..whole };
        assert_eq!(Block::decode(&empty_list.encode()), Ok(empty_list));
    }
}

#[test]
fn block_without_rows_is_a_block() {
    let empty = block(Body::Readings(Readings::default()));
    let back = Block::decode(&empty.encode()).unwrap();
    assert_eq!(back.readings().unwrap().row_count(), 0);
}

/// Changes the protobuf form of a good block and expects a refusal.
fn check_refused(change: impl FnOnce(&mut proto::Block)) -> DecodeError {
    let mut bytes = proto::Block::decode(&block(Body::Gap(gap())).encode()[..]).unwrap();
    change(&mut bytes);
    Block::decode(&bytes.encode_to_vec()).expect_err("the change must be refused")
}

#[test]
fn block_that_breaks_a_bound_is_refused() {
    check_refused(|b| b.seq = 0);
    check_refused(|b| b.gateway = "a/b".into());
    check_refused(|b| b.clock = None);
    check_refused(|b| b.clock.as_mut().unwrap().state = 7);
    check_refused(|b| b.body = None);
    check_refused(|b| b.has_list = false);
    check_refused(|b| b.list = vec![proto::Epoch::default(); LIST_MAX + 1]);
    check_refused(|b| b.list[0].held.swap(0, 1));
    check_refused(|b| b.list[0].held[0].to = 0);
    check_refused(|b| b.list[0].held[0].from = 0);
    check_refused(|b| b.link.as_mut().unwrap().gateway = "x.y".into());
    let broken = proto::Block {
        clock: None,
        ..proto::Block::decode(&block(Body::Gap(gap())).encode()[..]).unwrap()
    };
    let key = Block::key_of(&broken.encode_to_vec()).unwrap();
    assert_eq!((key.0.as_str(), key.1, key.2), ("gw-1", Epoch(u64::MAX), 12));
    let Err(error) = Block::decode(&vec![0; BLOCK_BYTES_MAX + 1]) else { panic!("too large") };
    assert_eq!(error.code(), "bounds");
    assert!(Block::check_size(&vec![0; BLOCK_BYTES_MAX + 1]).is_err());
}

proptest! {
    #[test]
    fn any_bytes_are_a_block_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(Block::decode(&bytes).map(|b| b.encode().len()).is_ok_and(|n| n > 0) || Block::decode(&bytes).is_err());
    }

    #[test]
    fn flipped_or_cut_block_never_panics(at in any::<prop::sample::Index>(), with in 1_u8..) {
        let mut bytes = block(Body::Gap(gap())).encode();
        let at = at.index(bytes.len());
        bytes[at] ^= with;
        if let Ok(read) = Block::decode(&bytes) {
            prop_assert_eq!(Block::decode(&read.encode()), Ok(read));
        }
        drop(Block::decode(&bytes[..at]));
    }
}
