//! Gateways and notices as pages see them, and who is told when they change.

use wire::block::ClockState;
use wire::message::{Stamp, State};
use wire::{Boot, Epoch, GatewayName};

use super::{GATEWAY_SILENT_MS, Live};

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
