//! Measures decoding: `cargo run --release -p wire --example decode_speed`.
//! Blocks of 50 meters × 20 quantities × 20 rows, values of two to six digits, every 100th sample bad.
//! The aim is 20 million samples a second on one core, so that decoding is never what limits the centre.

#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a measurement prints and reads the clock"
)]

use std::time::Instant;

use wire::block::{Body, Clock};
use wire::columns::Builder;
use wire::frame::{self, Kind};
use wire::manifest::{self, Manifest, Point, Reply};
use wire::{Block, Epoch, GatewayName, Key, Mark, Reason};

const ROUNDS: u32 = 300;

fn main() {
    let gateway = GatewayName::new("speed").expect("a good name");
    let reply = |device: usize| Reply {
        device: format!("m{device}"),
        period_ms: 1_000,
        points: (0..20)
            .map(|q| Point { quantity: format!("t_{q}"), unit: String::new() })
            .collect(),
        profile: String::new(),
        profile_version: String::new(),
    };
    let plan = Manifest {
        gateway: gateway.clone(),
        site: "site".into(),
        replies: (0..50).map(reply).collect(),
        replaces: None,
    };
    let mut builder = Builder::new(&plan, manifest::key(&plan.encode()));
    let mut noise = 1_u64;
    let mut samples = Vec::new();
    for row in 0..1_000_u32 {
        samples.clear();
        for quantity in 0..20_u32 {
            noise = noise
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let value =
                f64::from(quantity * 1_000 + u32::try_from(noise >> 55).unwrap_or(0)) / 100.0;
            let bad = noise >> 40 & 127 == 0 && quantity % 5 == 0;
            samples.push((value, if bad { Mark::bad(Reason::Timeout) } else { Mark::GOOD }));
        }
        if builder.push(row % 50, i64::from(row) * 20, &samples).is_err() {
            break;
        }
    }
    let readings = builder.take();
    let samples = u32::try_from(readings.sample_count()).unwrap_or(0);
    let body = Body::Readings(readings);
    let clock = Clock::default();
    let block = Block {
        gateway,
        epoch: Epoch(1),
        seq: 1,
        link: None,
        clock,
        fact_revision: 0,
        list: None,
        body,
    };
    let started = Instant::now();
    let bytes = block.encode();
    println!(
        "encode: {:.1} M samples/s",
        f64::from(samples) / started.elapsed().as_secs_f64() / 1e6
    );
    println!("{samples} samples in {} bytes", bytes.len());
    let key = Key::new([1; 32]);
    let sealed = frame::seal(&key, Kind::Uplink, &bytes);
    let started = Instant::now();
    for _ in 0..ROUNDS {
        let body = frame::open(&key, Kind::Uplink, &sealed).expect("our own frame");
        assert!(Block::decode(body).is_ok_and(|b| b.seq == 1));
    }
    let rate = f64::from(samples) * f64::from(ROUNDS) / started.elapsed().as_secs_f64() / 1e6;
    println!("check MAC and decode: {rate:.1} M samples/s");
    let started = Instant::now();
    for _ in 0..ROUNDS {
        assert!(Block::decode(&bytes).is_ok_and(|b| b.seq == 1));
    }
    let rate = f64::from(samples) * f64::from(ROUNDS) / started.elapsed().as_secs_f64() / 1e6;
    println!("decode: {rate:.1} M samples/s");
}
