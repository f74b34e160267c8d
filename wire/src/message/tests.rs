//! Messages come back whole; broken ones are refused.

use proptest::prelude::*;
use prost::Message as _;

use super::{
    Ack, AlarmAck, Command, DeviceHealth, EpochAck, Item, Order, Rejected, RuleSet, Stamp, State,
    Uplink, Want,
};
use crate::block::{ClockState, Range};
use crate::ids::{Boot, Epoch, GatewayName, LogId, ManifestKey};
use crate::manifest::{self, Manifest, Point, Reply};
use crate::proto;

fn gateway() -> GatewayName {
    GatewayName::new("gw-1").unwrap()
}

fn stamp() -> Stamp {
    Stamp { gateway: gateway(), boot: Boot(1), counter: 2, mono_ms: 3 }
}

fn ack() -> Ack {
    let epoch = EpochAck {
        epoch: Epoch(5),
        upto: 10,
        ranges: vec![Range { from: 12, to: 14 }],
        rejected: vec![Rejected { seq: 9, code: "columns".into() }],
        complete: false,
    };
    Ack {
        gateway: gateway(),
        log_id: LogId(6),
        echo: Some(stamp()),
        centre_time: 7,
        slow_down_ms: 8,
        epochs: vec![
            epoch,
            EpochAck { epoch: Epoch(1), upto: 4, ranges: vec![], rejected: vec![], complete: true },
        ],
        need_manifest: vec![ManifestKey([1; 16])],
        want: Some(Want { epoch: Epoch(5), from: 11 }),
        fact_revision: 9,
    }
}

fn state() -> State {
    let device = DeviceHealth { device: "m1".into(), online: true, last_reply: 1, errors: 2 };
    State {
        stamp: stamp(),
        epoch: Epoch(5),
        online: true,
        at: 4,
        version: "0.1.0".into(),
        clock: ClockState::Synced,
        backlog_blocks: 1,
        backlog_bytes: 2,
        polled: 3,
        stored: 4,
        declared_lost: 5,
        devices: vec![device],
        on_battery: true,
        centre_difference_ms: Some(-5),
        first_counter: 41,
    }
}

fn command(order: Order) -> Command {
    Command {
        gateway: gateway(),
        log_id: LogId(6),
        id: "c1".into(),
        issued_at: 1,
        expires_at: 2,
        order,
    }
}

#[test]
fn messages_come_back_whole() {
    for item in [Item::Block(vec![1, 2]), Item::Manifest(vec![])] {
        let uplink = Uplink { stamp: stamp(), item };
        assert_eq!(Uplink::decode(&uplink.encode()), Ok(uplink));
    }
    assert_eq!(Ack::decode(&ack().encode()), Ok(ack()));
    assert_eq!(State::decode(&state().encode()), Ok(state()));
    let rules =
        RuleSet { version: "7".into(), fact_revision: 3, catalogue: vec![1], facts: vec![2] };
    let signed = AlarmAck {
        rule: "R1".into(),
        scope: "s".into(),
        by: "p".into(),
        at: 1,
        comment: "已核实".into(),
    };
    for order in [Order::Ping, Order::RuleSet(rules), Order::AlarmAck(signed)] {
        let command = command(order);
        assert_eq!(Command::decode(&command.encode()), Ok(command));
    }
}

#[test]
fn ack_covers_what_it_names() {
    let epoch = &ack().epochs[0];
    for (seq, covered) in [(1, true), (10, true), (11, false), (12, true), (14, true), (15, false)]
    {
        assert_eq!(epoch.covers(seq), covered, "{seq}");
    }
    assert!(ack().epochs[1].covers(1_000));
}

#[test]
fn ack_that_contradicts_itself_is_refused() {
    let broken = |change: &dyn Fn(&mut proto::Ack)| {
        let mut bytes = proto::Ack::decode(&ack().encode()[..]).unwrap();
        change(&mut bytes);
        assert!(Ack::decode(&bytes.encode_to_vec()).is_err());
    };
    broken(&|a| a.epochs[0].ranges[0].from = 10);
    broken(&|a| a.need_manifest[0].push(0));
    broken(&|a| a.gateway = String::new());
    broken(&|a| a.echo.as_mut().unwrap().gateway = "a b".into());
}

fn plan() -> Manifest {
    let point = |q: &str| Point { quantity: q.into(), unit: "V".into() };
    let reply = Reply {
        device: "m1".into(),
        period_ms: 1_000,
        points: vec![point("u_a"), point("u_b")],
        profile: "sdm630".into(),
        profile_version: "1".into(),
    };
    Manifest {
        gateway: gateway(),
        site: "91530000MA6XXXXX0X".into(),
        replies: vec![reply],
        replaces: Some(GatewayName::new("gw-0").unwrap()),
    }
}

#[test]
fn manifest_comes_back_and_is_named_by_its_bytes() {
    let bytes = plan().encode();
    assert_eq!(Manifest::decode(&bytes), Ok(plan()));
    let mut other = plan();
    other.replies[0].points[1].quantity = "u_c".into();
    assert_ne!(manifest::key(&bytes), manifest::key(&other.encode()));
    assert_eq!(manifest::key(b"").to_string(), "e3b0c44298fc1c149afbf4c8996fb924");
    let mut empty = plan();
    empty.replies[0].points.clear();
    assert!(Manifest::decode(&empty.encode()).is_err());
    assert!(Manifest::decode(&Manifest { site: String::new(), ..plan() }.encode()).is_err());
}

proptest! {
    #[test]
    fn any_bytes_are_a_message_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        drop((Uplink::decode(&bytes), Ack::decode(&bytes), State::decode(&bytes), Command::decode(&bytes)));
        drop(Manifest::decode(&bytes));
    }

    #[test]
    fn flipped_or_cut_message_never_panics(at in any::<prop::sample::Index>(), with in 1_u8.., which in 0..3) {
        let mut bytes = [ack().encode(), state().encode(), plan().encode()][usize::try_from(which).unwrap()].clone();
        let at = at.index(bytes.len());
        bytes[at] ^= with;
        for bytes in [&bytes[..], &bytes[..at]] {
            drop((Ack::decode(bytes), State::decode(bytes), Manifest::decode(bytes), Command::decode(bytes)));
        }
    }
}
