//! How long one person waits for a chart: a million samples of one series as 3,000 windows of min and max, asked of
//! InfluxDB through the store's own reader; the same range in whole minutes and hours once it is condensed.

use std::sync::Arc;
use tokio::time::Instant;

use anyhow::{Context, Result, ensure};
use ingest::secret::Secret;
use ingest::store::influx::{InfluxOptions, InfluxStore};
use ingest::store::{
    Aggregates, HistoryAnswer, HistoryQuery, LogRefusals, Position, Shape as Answer, Store,
    StoreBatch,
};

use super::load::{Load, SITE, Shape, meter};
use super::report::Report;
use crate::harness::influx::{BUCKET, Influx, ORG, TOKEN};

/// Samples of the series.
const SAMPLES: usize = 1_000_000;
/// Windows asked for.
const WINDOWS: i64 = 3_000;
/// Times that each question is asked.
const ASKED: usize = 100;
/// Blocks handed over at once.
const BLOCKS: usize = 40;
/// Least answers that count as many: a percentile of fewer says nothing.
const ASKED_MIN: usize = 10;

/// Measures history queries of a real InfluxDB.
///
/// # Errors
/// When influxd is not to be had or refuses.
pub async fn run(report: &mut Report, scale: usize) -> Result<()> {
    let influx = Influx::start().await?;
    let folder = tempfile::tempdir()?;
    let token = Secret::new(TOKEN.to_owned()).into();
    let options =
        InfluxOptions::new(&influx.url(), ORG, BUCKET, token, folder.path().join("position"));
    let options = InfluxOptions {
        create_bucket: true,
        // Condensed when the measurement says so.
        settle: std::time::Duration::from_secs(u64::from(u32::MAX)),
        ..options
    };
    let mut figures = Vec::new();
    let measured = tokio::task::block_in_place(|| measure(options, scale, &mut figures));
    for (figure, value) in figures {
        report.set(&format!("history.influxdb.{figure}"), value);
    }
    measured
}

fn measure(options: InfluxOptions, scale: usize, figures: &mut Vec<(String, f64)>) -> Result<()> {
    let shape = Shape { meters: 1, quantities: 1, readings: SAMPLES, per_message: 500 };
    let load = Load::new(shape, 1_700_020_000_000, 1)?;
    let mut store = InfluxStore::open(options, Arc::new(LogRefusals))?;
    for some in load.decoded()?.chunks(BLOCKS) {
        let position = some.last().context("a block")?.position;
        let up_to = Position { log_id: 1, position };
        store.write(&StoreBatch { up_to, blocks: some.to_vec() })?;
    }
    let range = (load.start, load.time(SAMPLES - 1) + 1);
    let step = (range.1 - range.0) / WINDOWS;
    let asked = (ASKED / scale).max(ASKED_MIN);
    // Nothing is condensed yet: every sample is read.
    ask(&store, range, step, asked, "million", figures)?;
    let begun = Instant::now();
    store.condense()?;
    figures.push(("condense_s_per_million".to_owned(), begun.elapsed().as_secs_f64()));
    ask(&store, range, (step / 60_000 + 1) * 60_000, asked, "minutes", figures)?;
    ask(&store, range, 3_600_000, asked, "hours", figures)
}

/// Asks so often; the median and the 99th percentile.
fn ask(
    store: &InfluxStore,
    (from, to): (i64, i64),
    step_ms: i64,
    asked: usize,
    figure: &str,
    figures: &mut Vec<(String, f64)>,
) -> Result<()> {
    let aggregates = Aggregates { min: true, max: true, mean: false, last: false };
    let shape = Answer::Windows { step_ms, aggregates };
    let (site, device, quantity) = (SITE.to_owned(), meter(0), "p_total".to_owned());
    let query = HistoryQuery { site, device, quantity, from, to, shape };
    let mut times = Vec::with_capacity(asked);
    for _ in 0..asked {
        let begun = Instant::now();
        let answer = store.reader().query(&query)?;
        times.push(begun.elapsed().as_secs_f64() * 1_000.0);
        let HistoryAnswer::Windows(windows) = answer else { continue };
        let (filled, all) = (windows.min.iter().flatten().count(), windows.q.len());
        ensure!(filled == all, "{figure}: {filled} of {all} windows");
    }
    times.sort_by(f64::total_cmp);
    let at = |share: usize| times[(times.len() - 1) * share / 100];
    figures.push((format!("{figure}_p50_ms"), at(50)));
    figures.push((format!("{figure}_p99_ms"), at(99)));
    Ok(())
}
