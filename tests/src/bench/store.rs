//! The stores by themselves: decoded blocks in, durable and queryable out, without broker and log.

use std::sync::Arc;
use tokio::time::Instant;

use anyhow::{Context, Result};
use ingest::log::DecodedBlock;
use ingest::store::embedded::{EmbeddedOptions, EmbeddedStore};
use ingest::store::{
    Aggregates, HistoryAnswer, HistoryQuery, LogRefusals, Position, Shape as Answer, Store,
    StoreBatch,
};

use super::cpu;
use super::load::{Load, SITE, Shape, meter};
use super::report::Report;

/// Blocks handed over at once: what the store writer takes when it is behind.
const BLOCKS: usize = 40;

/// Measures inserting into the embedded store and asking it.
///
/// # Errors
/// When the store fails.
pub fn run(report: &mut Report, scale: usize) -> Result<()> {
    for (name, shape) in [
        ("q1", Shape { meters: 500, quantities: 1, readings: 5_000_000 / scale, per_message: 500 }),
        ("q20", Shape { meters: 100, quantities: 20, readings: 500_000 / scale, per_message: 100 }),
    ] {
        insert(report, name, shape)?;
    }
    Ok(())
}

fn insert(report: &mut Report, name: &str, shape: Shape) -> Result<()> {
    let load = Load::new(shape, 1_700_020_000_000, 1)?;
    let blocks = load.decoded()?;
    let folder = tempfile::tempdir()?;
    let options = EmbeddedOptions::new(folder.path());
    let (mut store, _) = EmbeddedStore::open(options, Arc::new(LogRefusals))?;
    let (cpu_before, begun) = (cpu::seconds(std::process::id())?, Instant::now());
    for some in blocks.chunks(BLOCKS) {
        write(&mut store, some)?;
    }
    store.seal()?;
    let (cpu, wall) = (cpu::seconds(std::process::id())? - cpu_before, begun.elapsed());
    let points = shape.points() as f64;
    let bytes = size(folder.path(), ".day")?;
    let at = |figure: &str| format!("store.embedded.{name}.{figure}");
    report.set(&at("points_per_s"), points / wall.as_secs_f64());
    report.set(&at("points_per_cpu_s"), points / cpu);
    report.set(&at("bytes_per_point"), bytes as f64 / points);
    ask(report, &at, &store, &load)
}

fn write(store: &mut EmbeddedStore, blocks: &[Arc<DecodedBlock>]) -> Result<()> {
    let position = blocks.last().context("a block")?.position;
    let up_to = Position { log_id: 1, position };
    Ok(store.write(&StoreBatch { up_to, blocks: blocks.to_vec() })?)
}

/// One meter's whole time: 100 windows, and the last 10,000 samples raw.
fn ask(
    report: &mut Report,
    at: &dyn Fn(&str) -> String,
    store: &EmbeddedStore,
    load: &Load,
) -> Result<()> {
    let (from, to) = (load.start, load.time(load.shape.readings - 1) + 1);
    for (figure, shape) in [
        ("query_minutes_ms", Answer::Windows { step_ms: 60_000, aggregates: Aggregates::ALL }),
        ("query_hours_ms", Answer::Windows { step_ms: 3_600_000, aggregates: Aggregates::ALL }),
        ("query_raw_ms", Answer::Raw { limit: 10_000 }),
    ] {
        let (site, device, quantity) = (SITE.to_owned(), meter(7), "p_total".to_owned());
        let query = HistoryQuery { site, device, quantity, from, to, shape };
        let begun = Instant::now();
        let answer = store.reader().query(&query)?;
        report.set(&at(figure), begun.elapsed().as_secs_f64() * 1_000.0);
        let some = match answer {
            HistoryAnswer::Samples(samples) => !samples.rows.is_empty(),
            HistoryAnswer::Windows(windows) => windows.last.iter().any(Option::is_some),
        };
        anyhow::ensure!(some, "{figure}: nothing came back");
    }
    Ok(())
}

/// Bytes of the files of a folder whose names end so.
fn size(folder: &std::path::Path, ending: &str) -> Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().ends_with(ending) {
            bytes += entry.metadata()?.len();
        }
    }
    Ok(bytes)
}
