//! InfluxDB alone: lines encoded before the clock runs, posted straight to it. What it takes depends on how the lines are
//! cut and ordered, so that is measured too: a contender must be held against the database at its best.

use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::time::Instant;

use super::contender::{LOOK, influx_holds, until};
use super::cpu;
use super::load::Load;
use super::report::Report;
use super::throughput::Figures;
use crate::harness::influx::{BUCKET, Influx, ORG, TOKEN};

/// How lines go to the database.
#[derive(Debug, Clone, Copy)]
pub struct Way {
    /// Lines in a request.
    pub lines: usize,
    /// Whether bodies are compressed (level 1).
    pub gzip: bool,
    /// Whether the lines of a request stand together by series, each in the order of time.
    pub grouped: bool,
    /// Requests on their way at once.
    pub in_flight: usize,
}

/// What InfluxData advises: 5,000 lines a request, compressed, as they come.
pub const ADVISED: Way = Way { lines: 5_000, gzip: true, grouped: false, in_flight: 2 };

/// What Davy sends on one machine: as many lines as wait, up to 20,000, not compressed.
pub const LARGE: Way = Way { lines: 20_000, gzip: false, ..ADVISED };

const WAYS: [(&str, Way); 8] = [
    ("advised", ADVISED),
    ("plain", Way { gzip: false, ..ADVISED }),
    ("grouped", Way { gzip: false, grouped: true, ..ADVISED }),
    ("lines_10k", Way { gzip: false, grouped: true, lines: 10_000, ..ADVISED }),
    ("lines_20k", Way { gzip: false, grouped: true, lines: 20_000, ..ADVISED }),
    ("lines_20k_gzip", Way { gzip: true, grouped: true, lines: 20_000, ..ADVISED }),
    ("lines_20k_as_they_come", LARGE),
    ("lines_50k", Way { gzip: false, grouped: true, lines: 50_000, ..ADVISED }),
];

/// Measures the database with the same lines in every way.
///
/// # Errors
/// When it cannot be started or refuses.
pub async fn ways(report: &mut Report, name: &str, load: &Load) -> Result<()> {
    for (way, how) in WAYS {
        let figures = run(load, how).await?;
        let points = load.shape.points() as f64;
        let at = |figure: &str| format!("influxd.{name}.{way}.{figure}");
        report.set(&at("points_per_s"), points / figures.wall.as_secs_f64());
        let database = figures.database.unwrap_or_default();
        report.set(&at("database_cpu_s_per_million"), database / points * 1e6);
    }
    Ok(())
}

/// Posts all lines of a load and waits until the last is there.
///
/// # Errors
/// When the database cannot be started or refuses.
pub(super) async fn run(load: &Load, way: Way) -> Result<Figures> {
    let influx = Influx::start().await?;
    let bodies = bodies(load, way)?;
    let client = reqwest011::Client::builder().tcp_nodelay(true).build()?;
    let url = format!("{}/api/v2/write?org={ORG}&bucket={BUCKET}&precision=ms", influx.url());
    let database = influx.id().context("influxd")?;
    let (before, own_before) = (cpu::seconds(database)?, cpu::seconds(std::process::id())?);
    let begun = Instant::now();
    let posts = bodies.into_iter().map(|body| {
        let mut post = client.post(&url).header("Authorization", format!("Token {TOKEN}"));
        if way.gzip {
            post = post.header("Content-Encoding", "gzip");
        }
        let post = post.body(body);
        async move { anyhow::Ok(post.send().await?.status().as_u16()) }
    });
    let mut answers = futures_util::stream::iter(posts).buffer_unordered(way.in_flight);
    while let Some(status) = answers.next().await {
        let status = status?;
        anyhow::ensure!(status == 204, "influxd answered {status}");
    }
    until(LOOK, || influx_holds(&influx, load, load.shape.readings - 1)).await?;
    let wall: Duration = begun.elapsed();
    let cpu = cpu::seconds(std::process::id())? - own_before;
    let memory = Some(cpu::memory_mb(database)?);
    let database = Some(cpu::seconds(database)? - before);
    Ok(Figures { wall, cpu, database, database_memory: memory, ..Figures::default() })
}

fn bodies(load: &Load, way: Way) -> Result<Vec<Bytes>> {
    let all: Vec<u8> = load.lines().concat();
    let lines: Vec<&[u8]> = all.split_inclusive(|b| *b == b'\n').collect();
    let body = |some: &[&[u8]]| {
        let mut some = some.to_vec();
        if way.grouped {
            // Stable: within a series the lines stay in the order of time.
            some.sort_by_key(|line| line.split(|b| *b == b' ').next().unwrap_or_default());
        }
        let body = some.concat();
        Ok(Bytes::from(if way.gzip { gzip(&body)? } else { body }))
    };
    lines.chunks(way.lines).map(body).collect()
}

fn gzip(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(1));
    std::io::Write::write_all(&mut encoder, bytes)?;
    Ok(encoder.finish()?)
}
