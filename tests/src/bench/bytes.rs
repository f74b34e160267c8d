//! Bytes a sample costs between gateway and centre, on real recordings, beside the usual ways to send them.
//!
//! Davy's bytes are whole frames: header, stamp, block, columns and MAC. JSON is one object a reading, as gateways send
//! it; line protocol is gzipped at level 6 a message.

use std::io::Write;

use anyhow::{Context, Result};
use flate2::Compression;
use flate2::write::GzEncoder;
use wire::block::{Body, Clock, ClockState};
use wire::columns::Builder;
use wire::frame::{self, Kind};
use wire::manifest::{Point, Reply};
use wire::message::{Item, Stamp, Uplink};
use wire::{Block, Boot, Epoch, GatewayName, Key, Manifest, Mark};

use super::report::Report;
use crate::recordings::{HOUSEHOLD, Source, TRANSFORMER};

/// Messages measured of each shape, fewer where the recording is short.
const MESSAGES_MAX: usize = 20;
/// Seconds since the epoch at which the readings begin, ms.
const START: i64 = 1_780_000_000_000;

/// A way of batching.
struct Batch {
    name: &'static str,
    meters: usize,
    rows: usize,
    /// Between two rows of a meter, ms.
    step: i64,
}

const BATCHES: [Batch; 3] = [
    Batch { name: "fifty_meters", meters: 50, rows: 1, step: 1_000 },
    Batch { name: "one_row", meters: 1, rows: 1, step: 1_000 },
    Batch { name: "five_hundred_rows", meters: 1, rows: 500, step: 60_000 },
];

/// Measures both recordings in all three shapes.
///
/// # Errors
/// When a recording is absent.
pub fn run(report: &mut Report) -> Result<()> {
    for (name, source) in [("household", &HOUSEHOLD), ("transformer", &TRANSFORMER)] {
        for batch in &BATCHES {
            let sizes =
                measure(source, batch).with_context(|| format!("{name}, {}", batch.name))?;
            for (way, bytes) in
                [("davy", sizes.davy), ("json", sizes.json), ("line_gzip", sizes.line)]
            {
                report.set(&format!("wire.shapes.{name}.{}.{way}", batch.name), bytes);
            }
            if batch.name == "fifty_meters" {
                report.set(&format!("wire.bytes_per_sample.{name}"), sizes.davy);
            }
        }
    }
    Ok(())
}

/// Bytes a sample, by way.
#[derive(Debug, Default)]
struct Sizes {
    davy: f64,
    json: f64,
    line: f64,
}

fn measure(source: &Source, batch: &Batch) -> Result<Sizes> {
    let per_message = batch.meters * batch.rows;
    let recording = source.read(0, usize::MAX)?;
    // Each meter plays another stretch of the recording: neighbours in a block must not be neighbours in time.
    let stretch = recording.rows.len() / batch.meters;
    let messages = MESSAGES_MAX.min(stretch / batch.rows);
    anyhow::ensure!(messages > 0, "the recording is too short");
    let row_of = |message: usize, i: usize| {
        let (meter, step) = (i % batch.meters, i / batch.meters);
        &recording.rows[meter * stretch + message * batch.rows + step]
    };
    let manifest = manifest(&recording.columns, batch.meters)?;
    let key = wire::manifest::key(&manifest.encode());
    let (mut sizes, mut samples) = (Sizes::default(), 0_usize);
    for message in 0..messages {
        let rows: Vec<Vec<f64>> = (0..per_message)
            .map(|i| {
                row_of(message, i).iter().map(|v| Ok(v.parse::<f64>()?)).collect::<Result<_>>()
            })
            .collect::<Result<_>>()?;
        let mut builder = Builder::new(&manifest, key);
        let (mut json, mut line) = (0, String::new());
        for (i, row) in rows.iter().enumerate() {
            let (meter, step) = (i % batch.meters, i / batch.meters);
            // Replies come when they come: a jitter of some ms that repeats nowhere.
            let jitter = (i * 7_919 + message * 104_729) % 13;
            let step = i64::try_from(message * batch.rows + step)? * batch.step;
            let time = START + step + i64::try_from(meter * 20 + jitter)?;
            let marked: Vec<_> = row.iter().map(|v| (*v, Mark::GOOD)).collect();
            builder.push(u32::try_from(meter)?, time, &marked)?;
            json += json_reading(&recording.columns, meter, time, row).len();
            line.push_str(&line_reading(&recording.columns, meter, time, row));
        }
        samples += per_message * recording.columns.len();
        sizes.davy += sealed(&manifest, builder, message)? as f64;
        sizes.json += json as f64;
        sizes.line += gzip(line.as_bytes())? as f64;
    }
    let per = |bytes: f64| bytes / samples as f64;
    Ok(Sizes { davy: per(sizes.davy), json: per(sizes.json), line: per(sizes.line) })
}

fn manifest(columns: &[&str], meters: usize) -> Result<Manifest> {
    let reply = |i: usize| Reply {
        device: format!("meter-{i:02}"),
        period_ms: 1_000,
        points: columns
            .iter()
            .map(|q| Point { quantity: (*q).to_owned(), unit: String::new() })
            .collect(),
        profile: "recording".to_owned(),
        profile_version: "1".to_owned(),
    };
    let gateway = GatewayName::new("gw-1")?;
    Ok(Manifest {
        gateway,
        site: "site-1".to_owned(),
        replies: (0..meters).map(reply).collect(),
        replaces: None,
    })
}

/// Size of the frame that carries these rows.
fn sealed(manifest: &Manifest, mut builder: Builder, message: usize) -> Result<usize> {
    let readings = builder.take();
    let (_, closed_at) = readings.time_span().context("a row")?;
    let block = Block {
        gateway: manifest.gateway.clone(),
        epoch: Epoch(0x1234_5678_9abc_def0),
        seq: message as u64 + 100_000,
        link: None,
        clock: Clock {
            state: ClockState::Synced,
            closed_at,
            mono_ms: u64::try_from(closed_at - START)? + 86_400_000,
            boot: Boot(0x0fed_cba9_8765_4321),
            segment: 0,
            boot_offset: Some(START - 86_400_000),
            error_ms: 4,
        },
        fact_revision: 12,
        list: None,
        body: Body::Readings(readings),
    };
    let stamp = Stamp {
        gateway: manifest.gateway.clone(),
        boot: Boot(0x0fed_cba9_8765_4321),
        counter: message as u64 + 100_000,
        mono_ms: 86_400_000,
    };
    let key = Key::from_hex(&"5a".repeat(32))?;
    let uplink = Uplink { stamp, item: Item::Block(block.encode()) };
    Ok(frame::seal(&key, Kind::Uplink, &uplink.encode()).len())
}

fn json_reading(columns: &[&str], meter: usize, time: i64, row: &[f64]) -> String {
    let values: serde_json::Map<String, serde_json::Value> =
        columns.iter().zip(row).map(|(q, v)| ((*q).to_owned(), (*v).into())).collect();
    serde_json::json!({ "site": "site-1", "device": format!("meter-{meter:02}"), "t": time, "values": values })
        .to_string()
}

fn line_reading(columns: &[&str], meter: usize, time: i64, row: &[f64]) -> String {
    let fields: Vec<String> = columns.iter().zip(row).map(|(q, v)| format!("{q}={v:?}")).collect();
    format!("electric,device=meter-{meter:02},site=site-1 {} {time}\n", fields.join(","))
}

fn gzip(bytes: &[u8]) -> Result<usize> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?.len())
}
