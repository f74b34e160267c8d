//! From the broker to where it can be queried: Davy into each of its stores, Telegraf into InfluxDB, and InfluxDB alone.
//!
//! Every contender gets the same readings in messages of the same number, over a mosquitto of its own where it reads
//! from one. CPU is the contender's process alone; the database's is a figure of its own.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::time::Instant;

use super::contender::{self, Davy, LOOK, Target, Telegraf, influx_holds, tail, until};
use super::cpu;
use super::load::{GATEWAY, Load, Shape};
use super::raw::{self, Way};
use super::report::Report;
use crate::harness::davy::Centre;

/// Between two looks where looking costs the database as much as many lines: a query.
const LOOK_QUERY: Duration = Duration::from_millis(100);
/// The same for the centre's own count: its page of metrics is made for each look, and counts as its own CPU.
const LOOK_METRICS: Duration = Duration::from_millis(100);
/// Longest time that Telegraf keeps a line, ms.
const FLUSH_MS: u32 = 1_000;

/// What is measured of a contender.
#[derive(Debug, Clone, Default)]
pub(super) struct Figures {
    pub(super) wall: Duration,
    /// The contender's own CPU seconds.
    pub(super) cpu: f64,
    /// The same by stage of the pipeline, where the contender is ours.
    pub(super) stages: BTreeMap<String, f64>,
    /// The contender's resident memory at the end and at its highest, MB.
    pub(super) memory: Option<(f64, f64)>,
    /// The database's CPU seconds, where there is one.
    pub(super) database: Option<f64>,
    /// The database's memory, likewise.
    pub(super) database_memory: Option<(f64, f64)>,
}

/// Shapes at 1 and 20 quantities a reading. So many that what a start costs once (series met, memory touched, about 0.1 CPU
/// seconds) is no part of the figure of a program that runs for months, of either side; more would not fit the 256 MB that
/// the broker queues.
#[must_use]
pub fn shapes(scale: usize) -> [(&'static str, Shape); 2] {
    [
        (
            "q1",
            Shape { meters: 1_000, quantities: 1, readings: 2_500_000 / scale, per_message: 500 },
        ),
        ("q20", Shape { meters: 500, quantities: 20, readings: 500_000 / scale, per_message: 100 }),
    ]
}

/// Runs one contender on one shape: `embedded`, `influxdb` and `sink` are Davy by its store, `raw` is InfluxDB alone, and
/// `…_large` sends requests as large as Davy's and as little compressed.
///
/// # Errors
/// When it cannot be started or its last reading does not arrive.
pub async fn run(report: &mut Report, name: &str, shape: Shape, contender: &str) -> Result<()> {
    let load = Load::new(shape, load_end(), 3)?;
    let figures = match contender {
        "embedded" => davy(&load, Target::Embedded).await?,
        "influxdb" => davy(&load, Target::Influx).await?,
        "sink" => davy(&load, Target::Sink).await?,
        "telegraf" => telegraf(&load, raw::ADVISED).await?,
        "telegraf_large" => telegraf(&load, raw::LARGE).await?,
        "raw" => raw::run(&load, raw::ADVISED).await?,
        "raw_large" => raw::run(&load, raw::LARGE).await?,
        other => bail!("no contender {other}"),
    };
    let points = shape.points() as f64;
    let at = |figure: &str| format!("throughput.{name}.{contender}.{figure}");
    report.set(&at("points_per_s"), points / figures.wall.as_secs_f64());
    report.set(&at("cpu_s_per_million"), figures.cpu / points * 1e6);
    for (stage, cpu) in figures.stages {
        report.set(&at(&format!("stages.{stage}")), cpu / points * 1e6);
    }
    if let Some(database) = figures.database {
        report.set(&at("database_cpu_s_per_million"), database / points * 1e6);
    }
    for (whose, memory) in [("", figures.memory), ("database_", figures.database_memory)] {
        if let Some((now, peak)) = memory {
            report.set(&at(&format!("{whose}rss_mb")), now);
            report.set(&at(&format!("{whose}rss_peak_mb")), peak);
        }
    }
    Ok(())
}

async fn davy(load: &Load, target: Target) -> Result<Figures> {
    let davy = Davy::start(&contender::registry(load.shape), target).await?;
    let mut frames = load.frames(&davy.key)?;
    let blocks = frames.split_off(1);
    let (id, centre, port) = (davy.id()?, &davy.centre, davy.broker.port);
    let database = davy.influx.as_ref().and_then(|influx| influx.id());
    let topic = contender::topic(GATEWAY);
    let before = (cpu::by_thread(id)?, database.map(cpu::seconds).transpose()?);
    let begun = Instant::now();
    // The manifest must be logged before the first block: a block that comes too early is not taken, only asked for again.
    contender::publish_at_once(port, &topic, frames).await?;
    contender::publish_at_once(port, &topic, blocks).await?;
    let last = load.shape.readings - 1;
    let arrived = match target {
        Target::Sink => {
            until(LOOK, || async { Ok(davy.sink.lines() >= load.shape.readings as u64) }).await
        }
        Target::Embedded => until(LOOK, || davy.holds(load, last)).await,
        // The centre knows when all was taken: the database is asked once, to be sure.
        Target::Influx => match until(LOOK_METRICS, || stored(centre, load)).await {
            Ok(()) => until(LOOK, || davy.holds(load, last)).await,
            failed => failed,
        },
    };
    arrived.with_context(|| davy.words())?;
    let wall = begun.elapsed();
    // The rules are part of the work: what they have still to do counts too.
    until(LOOK, || evaluated(centre)).await.with_context(|| davy.words())?;
    let mut stages = BTreeMap::new();
    for (thread, used) in cpu::by_thread(id)? {
        stages.insert(stage(&thread), used - before.0.get(&thread).unwrap_or(&0.0));
    }
    let database_memory = database.map(cpu::memory_mb).transpose()?;
    let database = match (database, before.1) {
        (Some(id), Some(before)) => Some(cpu::seconds(id)? - before),
        _ => None,
    };
    let (cpu, memory) = (stages.values().sum(), Some(cpu::memory_mb(id)?));
    Ok(Figures { wall, cpu, stages, memory, database, database_memory })
}

/// Telegraf over the same broker into the same database, tuned to the same batches.
async fn telegraf(load: &Load, way: Way) -> Result<Figures> {
    let telegraf = Telegraf::start(load.shape, way, FLUSH_MS).await?;
    let (process, influx) = (&telegraf.process, &telegraf.influx);
    let messages = load.lines();
    let (id, database) = (process.id(), influx.id().context("influxd")?);
    let before = (cpu::seconds(id)?, cpu::seconds(database)?);
    let begun = Instant::now();
    contender::publish_at_once(telegraf.broker.port, contender::LINES_TOPIC, messages).await?;
    let last = load.shape.readings - 1;
    let arrived = until(LOOK_QUERY, || influx_holds(influx, load, last)).await;
    arrived.with_context(|| tail(&process.output()))?;
    let wall = begun.elapsed();
    let database_memory = Some(cpu::memory_mb(database)?);
    let database = Some(cpu::seconds(database)? - before.1);
    let (cpu, memory) = (cpu::seconds(id)? - before.0, Some(cpu::memory_mb(id)?));
    Ok(Figures { wall, cpu, memory, database, database_memory, ..Figures::default() })
}

/// Whether the store writer has handed over everything that was published.
async fn stored(centre: &Centre, load: &Load) -> Result<bool> {
    let metrics = centre.metrics().await?;
    let stored = metrics.get("davy_ingest_store_samples_total").context("the count of samples")?;
    Ok(*stored >= load.shape.points() as f64)
}

/// Whether the evaluator has taken everything that the log holds.
async fn evaluated(centre: &Centre) -> Result<bool> {
    let system = centre.get("/system").await?;
    Ok(system["log"]["evaluator_lag"].as_u64().is_some_and(|lag| lag <= 2))
}

/// What a thread of the centre does, as a word.
fn stage(thread: &str) -> String {
    thread.strip_prefix("davy-").unwrap_or(thread).replace('.', "-")
}

/// End of a load: just before now, so that the readings are live, ms.
#[must_use]
pub fn load_end() -> i64 {
    jiff::Timestamp::now().as_millisecond() - 5_000
}
