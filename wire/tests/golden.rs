//! Payloads of earlier versions still decode to what they meant.
//! Files in `testdata/` may be added, never edited: blocks written by old gateways lie on disks for weeks.
//! `DAVY_GOLDEN=write cargo test -p wire --test golden` writes those that are missing.

#![expect(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use std::path::{Path, PathBuf};

use wire::block::{Body, Clock, ClockState, GapRange, GapRecord, HeldEpoch, Link, Range};
use wire::columns::Builder;
use wire::frame::{self, Kind};
use wire::manifest::{self, Manifest, Point, Reply};
use wire::message::{Ack, Command, EpochAck, Item, Order, Rejected, Stamp, State, Uplink, Want};
use wire::{Block, Boot, Epoch, GatewayName, Key, LogId, ManifestKey, Mark, Reason};

fn key() -> Key {
    Key::new(*b"golden key, of no gateway at all")
}

fn gateway() -> GatewayName {
    GatewayName::new("golden-1").unwrap()
}

fn stamp() -> Stamp {
    Stamp { gateway: gateway(), boot: Boot(0xb007), counter: 42, mono_ms: 1_000 }
}

fn plan() -> Manifest {
    let reply = |device: &str, points: &[(&str, &str)]| Reply {
        device: device.into(),
        period_ms: 1_000,
        points: points
            .iter()
            .map(|(q, u)| Point { quantity: (*q).into(), unit: (*u).into() })
            .collect(),
        profile: "golden".into(),
        profile_version: "1".into(),
    };
    Manifest {
        gateway: gateway(),
        site: "91533421MA6K0000XX".into(),
        replies: vec![
            reply("m1", &[("u_a", "V"), ("u_b", "V"), ("i_a", "A")]),
            reply("m2", &[("u_a", "V"), ("u_b", "V"), ("i_a", "A")]),
            reply("gas-7", &[("gas_lel", "%LEL")]),
        ],
        replaces: None,
    }
}

fn readings() -> Body {
    let mut builder = Builder::new(&plan(), manifest::key(&plan().encode()));
    let g = |v: f64| (v, Mark::GOOD);
    for i in 0..40_i32 {
        let (at, step) = (1_790_000_000_000 + 1_000 * i64::from(i), f64::from(i));
        let third =
            if i == 7 { (0.0, Mark::bad(Reason::Timeout)) } else { g((1_234.0 + step) / 1_000.0) };
        builder
            .push(0, at, &[g((2_387.0 + step) / 10.0), g((2_388.0 + step) / 10.0), third])
            .unwrap();
        builder.push(1, at + 3, &[g(230.0), g(231.5), g(std::f64::consts::PI * step)]).unwrap();
        builder.push(2, at + 5, &[(25.0, Mark::uncertain(Reason::OverRange))]).unwrap();
    }
    Body::Readings(builder.take())
}

fn block(body: Body) -> Block {
    let link = Link { epoch: Epoch(7), last: 900, gateway: None };
    let held = vec![Range { from: 800, to: 850 }, Range { from: 890, to: 900 }];
    Block {
        gateway: gateway(),
        epoch: Epoch(8),
        seq: 17,
        link: Some(link.clone()),
        clock: Clock {
            state: ClockState::Synced,
            closed_at: 1_790_000_041_000,
            mono_ms: 41_000,
            boot: Boot(0xb007),
            segment: 1,
            boot_offset: Some(1_790_000_000_000),
            error_ms: 12,
        },
        fact_revision: 5,
        list: Some(vec![HeldEpoch { epoch: Epoch(7), link: None, last: 900, held }]),
        body,
    }
}

fn gap() -> Body {
    let range =
        GapRange { epoch: Epoch(7), from: 851, to: 889, t0: 1, t1: 2, samples: 12_345, link: None };
    Body::Gap(GapRecord { ranges: vec![range], reason: "evicted".into() })
}

fn ack() -> Ack {
    let epoch = EpochAck {
        epoch: Epoch(8),
        upto: 15,
        ranges: vec![Range { from: 17, to: 19 }],
        rejected: vec![Rejected { seq: 3, code: "columns".into() }],
        complete: false,
    };
    Ack {
        gateway: gateway(),
        log_id: LogId(0x106),
        echo: Some(stamp()),
        centre_time: 1_790_000_042_000,
        slow_down_ms: 250,
        epochs: vec![epoch],
        need_manifest: vec![ManifestKey([0xab; 16])],
        want: Some(Want { epoch: Epoch(8), from: 16 }),
        fact_revision: 6,
    }
}

fn state() -> State {
    State {
        stamp: stamp(),
        epoch: Epoch(8),
        online: true,
        at: 1_790_000_041_000,
        version: "0.1.0".into(),
        clock: ClockState::Synced,
        backlog_blocks: 3,
        backlog_bytes: 4_096,
        polled: 100,
        stored: 100,
        declared_lost: 0,
        devices: Vec::new(),
        on_battery: false,
        centre_difference_ms: None,
        first_counter: 0,
    }
}

fn command() -> Command {
    Command {
        gateway: gateway(),
        log_id: LogId(0x106),
        id: "order-1".into(),
        issued_at: 1,
        expires_at: 2,
        order: Order::Ping,
    }
}

/// The bytes in `testdata/`; written first where they are missing and the environment asks for it.
fn golden(name: &str, fresh: &[u8]) -> Vec<u8> {
    let file: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(name);
    if !file.exists() && std::env::var_os("DAVY_GOLDEN").is_some_and(|v| v == "write") {
        std::fs::write(&file, fresh).unwrap();
    }
    std::fs::read(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()))
}

fn uplink(item: Item) -> Vec<u8> {
    frame::seal(&key(), Kind::Uplink, &Uplink { stamp: stamp(), item }.encode())
}

fn read_uplink(frame: &[u8]) -> Item {
    let uplink = Uplink::decode(frame::open(&key(), Kind::Uplink, frame).unwrap()).unwrap();
    assert_eq!(uplink.stamp, stamp());
    uplink.item
}

#[test]
fn blocks_of_version_1_still_decode() {
    for (name, body) in [("v1_readings.frame", readings()), ("v1_gap.frame", gap())] {
        let expected = block(body);
        let Item::Block(bytes) =
            read_uplink(&golden(name, &uplink(Item::Block(expected.encode()))))
        else {
            panic!("{name} holds a block");
        };
        assert_eq!(Block::decode(&bytes), Ok(expected), "{name}");
    }
}

#[test]
fn manifest_of_version_1_still_decodes() {
    let fresh = uplink(Item::Manifest(plan().encode()));
    let Item::Manifest(bytes) = read_uplink(&golden("v1_manifest.frame", &fresh)) else {
        panic!("the file holds a manifest");
    };
    assert_eq!(Manifest::decode(&bytes), Ok(plan()));
    assert_eq!(manifest::key(&bytes).to_string(), "719f9feecab677e5e93ccefadbd7c5e1");
}

#[test]
fn ack_state_and_command_of_version_1_still_decode() {
    let ack_frame = golden("v1_ack.frame", &frame::seal(&key(), Kind::Ack, &ack().encode()));
    assert_eq!(Ack::decode(frame::open(&key(), Kind::Ack, &ack_frame).unwrap()), Ok(ack()));
    let state_frame =
        golden("v1_state.frame", &frame::seal(&key(), Kind::State, &state().encode()));
    assert_eq!(State::decode(frame::open(&key(), Kind::State, &state_frame).unwrap()), Ok(state()));
    let order =
        golden("v1_command.frame", &frame::seal(&key(), Kind::Command, &command().encode()));
    assert_eq!(Command::decode(frame::open(&key(), Kind::Command, &order).unwrap()), Ok(command()));
}
