//! Gateways and notices as pages see them, and who is told when they change.

use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use wire::block::{Block, Body, Clock, ClockState};
use wire::columns::Builder;
use wire::manifest::{Manifest, Point, Reply};
use wire::message::{Stamp, State};
use wire::{Boot, Epoch, GatewayName, ManifestKey, Mark};

use super::{GATEWAY_SILENT_MS, Live};
use crate::log::DecodedBlock;

fn state(online: bool) -> State {
    let gateway = GatewayName::new("gw-1").unwrap();
    State {
        stamp: Stamp { gateway, boot: Boot(1), counter: 1, mono_ms: 0 },
        epoch: Epoch(7),
        online,
        at: 0,
        version: "0".to_owned(),
        clock: ClockState::Synced,
        backlog_blocks: 3,
        backlog_bytes: 0,
        polled: 0,
        stored: 0,
        declared_lost: 0,
        devices: Vec::new(),
        on_battery: false,
        centre_difference_ms: None,
        first_counter: 0,
    }
}

// A gateway is online while something of it comes, and offline five minutes later, without anybody saying so.
#[test]
fn gateway_that_says_nothing_is_offline() {
    let live = Live::new(None);
    assert_eq!(live.gateway("gw-1", 0).online, None, "never heard of");
    live.state(&state(true), 1_000, false);
    assert_eq!(live.gateway("gw-1", 1_000 + GATEWAY_SILENT_MS).online, Some(true));
    assert_eq!(live.gateway("gw-1", 1_001 + GATEWAY_SILENT_MS).online, Some(false));
    live.state(&state(false), 2_000, false);
    assert_eq!(live.gateway("gw-1", 2_000).online, Some(false), "its last will");
}

// What the broker remembers is no sign of life: a gateway may have died long before this centre started.
#[test]
fn retained_state_is_no_sign_of_life() {
    let live = Live::new(None);
    live.state(&state(true), 1_000, true);
    let known = live.gateway("gw-1", 1_000);
    assert_eq!((known.online, known.last_seen, known.backlog_blocks), (None, None, Some(3)));
    live.state(&state(true), 2_000, false);
    live.state(&state(true), 9_000, true);
    assert_eq!(live.gateway("gw-1", 9_000).last_seen, Some(2_000));
    live.state(&state(false), 10_000, true);
    assert_eq!(live.gateway("gw-1", 10_000).online, Some(false), "a last will is true for ever");
}

// Pages are told once when a notice goes up and once when it comes down, not at each look.
#[test]
fn pages_hear_when_notices_change() {
    let hub = std::sync::Arc::new(crate::api::Hub::new(0));
    let live = Live::new(Some(std::sync::Arc::clone(&hub)));
    let stand = |stands| live.standing("broker_down", stands, 1, || "text".to_owned());
    let mut told = Vec::new();
    for stands in [false, true, true, true, false, false] {
        let before = hub.revision();
        stand(stands);
        told.push(hub.revision() - before);
    }
    assert_eq!(told, [0, 1, 0, 0, 1, 0]);
}

/// A block of one gateway with a row a reply, at these times.
fn block(epoch: u64, segment: u32, rows: &[(u32, i64, f64)]) -> Arc<DecodedBlock> {
    let point = |q: &str| Point { quantity: q.to_owned(), unit: String::new() };
    let reply = |i: u32| Reply {
        device: format!("m{i}"),
        period_ms: 1_000,
        points: vec![point("u_a"), point("i_a")],
        profile: "p".to_owned(),
        profile_version: "1".to_owned(),
    };
    let gateway = GatewayName::new("gw-1").unwrap();
    let replies = (0..4).map(reply).collect();
    let manifest =
        Manifest { gateway: gateway.clone(), site: "S".to_owned(), replies, replaces: None };
    let mut builder = Builder::new(&manifest, ManifestKey([7; 16]));
    for (reply, t, value) in rows {
        builder.push(*reply, *t, &[(*value, Mark::GOOD), (-value, Mark::GOOD)]).unwrap();
    }
    let clock = Clock { state: ClockState::Synced, segment, ..Clock::default() };
    let body = Body::Readings(wire::Readings::default());
    let (epoch, fact_revision) = (Epoch(epoch), 0);
    let link = None;
    let header = Block {
        gateway: gateway.clone(),
        epoch,
        seq: 1,
        link,
        clock,
        fact_revision,
        list: None,
        body,
    };
    Arc::new(DecodedBlock {
        position: 1,
        gateway,
        site: "S".to_owned(),
        manifest: Arc::new(manifest),
        block: header,
        readings: Arc::new(builder.take()),
        received_at: 5,
        masked_rows: Vec::new(),
        is_ahead: false,
    })
}

proptest! {
    // Taking a commit as a whole must show the same as taking its blocks one by one, whatever their order.
    #[test]
    fn commit_as_a_whole_shows_what_its_blocks_one_by_one_show(
        blocks in vec((0_u64..2, 0_u32..2, vec((0_u32..4, 0_i64..6, 0.0..1.0), 1..9)), 1..12),
    ) {
        let blocks: Vec<_> = blocks.iter().map(|(e, s, rows)| block(*e, *s, rows)).collect();
        let (whole, single) = (Live::new(None), Live::new(None));
        whole.blocks(blocks.iter());
        blocks.iter().for_each(|block| single.blocks(std::iter::once(block)));
        prop_assert_eq!(whole.values("S"), single.values("S"));
    }
}

#[test]
fn later_row_of_a_block_is_the_newest_and_a_masked_one_is_not() {
    let live = Live::new(None);
    let mut ahead = DecodedBlock::clone(&block(1, 0, &[(0, 10, 1.0), (0, 20, 2.0), (0, 90, 3.0)]));
    ahead.masked_rows = vec![2];
    live.blocks([Arc::new(ahead)].iter());
    live.blocks([block(1, 0, &[(0, 15, 9.0)])].iter());
    let shown: Vec<_> = live.values("S").iter().map(|v| (v.t, v.value)).collect();
    assert_eq!(shown, [(Some(20), Some(-2.0)), (Some(20), Some(2.0))]);
}

// Goal: a site that sends ever new series is told, once, and takes no place of another site's.
#[test]
fn series_of_one_site_are_bounded_and_told() {
    use super::SITE_SERIES_MAX;
    let live = Live::new(None);
    let reply = |device: String| Reply {
        device,
        period_ms: 1_000,
        points: vec![Point { quantity: "u_a".to_owned(), unit: String::new() }],
        profile: "p".to_owned(),
        profile_version: "1".to_owned(),
    };
    let take = |site: &str, replies: std::ops::Range<usize>| {
        let manifest = Manifest {
            gateway: GatewayName::new("gw-1").unwrap(),
            site: site.to_owned(),
            replies: replies.map(|n| reply(format!("d{n}"))).collect(),
            replaces: None,
        };
        let key = wire::manifest::key(&manifest.encode());
        let last = u32::try_from(manifest.replies.len() - 1).unwrap();
        let mut builder = Builder::new(&manifest, key);
        builder.push(last, 1_000, &[(1.0, Mark::GOOD)]).unwrap();
        let readings = Arc::new(builder.take());
        let decoded = DecodedBlock::clone(&block(1, 0, &[]));
        let decoded = DecodedBlock { manifest: Arc::new(manifest), readings, ..decoded };
        live.blocks(std::iter::once(&Arc::new(decoded)));
    };
    take("a", 0..SITE_SERIES_MAX);
    assert!(live.notices().is_empty());
    take("a", SITE_SERIES_MAX - 1..SITE_SERIES_MAX + 1);
    take("a", SITE_SERIES_MAX..SITE_SERIES_MAX + 2);
    let notices = live.notices();
    assert_eq!(notices.len(), 1, "{notices:?}");
    assert!(notices[0].en.starts_with("a: more series") && notices[0].zh.contains("上限"));
    take("b", 0..2);
    assert_eq!(live.values("a").len(), 1, "only that which came first");
    assert_eq!(live.values("b").len(), 1);
}
