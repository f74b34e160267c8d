//! What real meters cost on the wire: the recordings in `DAVY_DATA` as blocks of 50 meters and of one meter.
//! Prints bytes per sample, frame and MAC included; fails where the goal of 3 bytes is missed.
//! Without the recordings it says so and passes: `columns/tests.rs` carries the format.

#![expect(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use std::path::{Path, PathBuf};

use wire::block::{Body, Clock, ClockState, Link};
use wire::columns::Builder;
use wire::frame::{self, Kind};
use wire::manifest::{self, Manifest, Point, Reply};
use wire::message::{Item, Stamp, Uplink};
use wire::{Block, Boot, Epoch, GatewayName, Key, Mark, Readings};

const START: i64 = 1_790_000_000_000;

struct Recording {
    name: &'static str,
    quantities: &'static [&'static str],
    rows: Vec<Vec<f64>>,
}

fn data() -> PathBuf {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    std::env::var_os("DAVY_DATA").map_or(default, PathBuf::from)
}

/// Reads columns from `first` on of a gzipped csv; rows with a missing number are left out.
fn read(
    file: &str,
    name: &'static str,
    first: usize,
    quantities: &'static [&'static str],
) -> Option<Recording> {
    let file = std::fs::File::open(data().join(file)).ok()?;
    let mut reader = csv::Reader::from_reader(flate2::read::GzDecoder::new(file));
    let row = |record: csv::StringRecord| -> Option<Vec<f64>> {
        (first..first + quantities.len()).map(|i| record.get(i)?.parse().ok()).collect()
    };
    let rows = reader.records().filter_map(|record| row(record.ok()?)).collect();
    Some(Recording { name, quantities, rows })
}

fn recordings() -> Vec<Recording> {
    const HOUSEHOLD: &[&str] =
        &["p_total", "q_total", "u_a", "i_a", "ep_imp_1", "ep_imp_2", "ep_imp_3"];
    const TRANSFORMER: &[&str] =
        &["u_a", "u_b", "u_c", "i_a", "i_b", "i_c", "u_ab", "u_bc", "u_ca", "i_n"];
    let household = "household_power/household_power_2007-02.csv.gz";
    let transformer = "transformer/CurrentVoltage_to_2019-08-10.csv.gz";
    [
        read(household, "household, 7 quantities", 3, HOUSEHOLD),
        read(transformer, "transformer, 10 quantities", 1, TRANSFORMER),
        read(transformer, "transformer, 6 quantities", 1, &TRANSFORMER[..6]),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn plan(meters: usize, quantities: &[&str]) -> Manifest {
    let reply = |meter: usize| Reply {
        device: format!("meter-{meter}"),
        period_ms: 1_000,
        points: quantities
            .iter()
            .map(|q| Point { quantity: (*q).into(), unit: String::new() })
            .collect(),
        profile: "real".into(),
        profile_version: "1".into(),
    };
    Manifest {
        gateway: GatewayName::new("dq-mine-03").unwrap(),
        site: "91533421MA6K0000XX".into(),
        replies: (0..meters).map(reply).collect(),
        replaces: None,
    }
}

fn frame_bytes(plan: &Manifest, readings: Readings) -> usize {
    let block = Block {
        gateway: plan.gateway.clone(),
        epoch: Epoch(0x1122_3344_5566_7788),
        seq: 123_456,
        link: Some(Link { epoch: Epoch(0x99aa_bbcc_ddee_ff00), last: 987_654, gateway: None }),
        clock: Clock {
            state: ClockState::Synced,
            closed_at: START,
            mono_ms: 86_400_000,
            boot: Boot(0x1234_5678_9abc_def0),
            segment: 0,
            boot_offset: Some(START - 86_400_000),
            error_ms: 5,
        },
        fact_revision: 7,
        list: None,
        body: Body::Readings(readings),
    };
    let bytes = block.encode();
    assert_eq!(Block::decode(&bytes).unwrap(), block);
    let stamp = Stamp {
        gateway: plan.gateway.clone(),
        boot: block.clock.boot,
        counter: 99_999,
        mono_ms: 86_400_000,
    };
    let body = Uplink { stamp, item: Item::Block(bytes) }.encode();
    frame::seal(&Key::new([7; 32]), Kind::Uplink, &body).len()
}

/// Event times of a polled bus: a little later each, by an uneven amount.
fn jitter(i: usize) -> i64 {
    i64::try_from((i * 7919) % 13).unwrap()
}

/// `meters` meters at different places of the recording, one reply each.
fn many_meters(recording: &Recording, meters: usize) -> f64 {
    let plan = plan(meters, recording.quantities);
    let mut builder = Builder::new(&plan, manifest::key(&plan.encode()));
    for meter in 0..meters {
        let row = &recording.rows[meter * recording.rows.len() / meters];
        let samples: Vec<_> = row.iter().map(|&v| (v, Mark::GOOD)).collect();
        let at = START + 20 * i64::try_from(meter).unwrap() + jitter(meter);
        builder.push(u32::try_from(meter).unwrap(), at, &samples).unwrap();
    }
    ratio(&plan, builder.take())
}

/// `rows` rows of one meter.
fn one_meter(recording: &Recording, rows: usize) -> f64 {
    let plan = plan(1, recording.quantities);
    let mut builder = Builder::new(&plan, manifest::key(&plan.encode()));
    for (i, row) in recording.rows[1_000..].iter().take(rows).enumerate() {
        let samples: Vec<_> = row.iter().map(|&v| (v, Mark::GOOD)).collect();
        builder.push(0, START + 1_000 * i64::try_from(i).unwrap() + jitter(i), &samples).unwrap();
    }
    ratio(&plan, builder.take())
}

fn ratio(plan: &Manifest, readings: Readings) -> f64 {
    let samples = f64::from(u32::try_from(readings.sample_count()).unwrap());
    f64::from(u32::try_from(frame_bytes(plan, readings)).unwrap()) / samples
}

#[test]
fn fifty_meters_cost_at_most_three_bytes_a_sample() {
    let recordings = recordings();
    if recordings.is_empty() {
        println!("no recordings in {}: nothing measured", data().display());
    }
    for recording in recordings {
        let fifty = many_meters(&recording, 50);
        let (one, five_hundred) = (one_meter(&recording, 1), one_meter(&recording, 500));
        println!(
            "{:28} bytes/sample: 50 meters × 1 row {fifty:.2}, 1 meter × 1 row {one:.1}, 1 meter × 500 rows {five_hundred:.2}",
            recording.name
        );
        assert!(fifty <= 3.0, "{}: {fifty:.2} bytes a sample", recording.name);
    }
}
