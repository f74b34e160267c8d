//! A chart over a million samples from the embedded store, beside the cheapest other ways to the same answer: every
//! sample from a plain SQLite table, and every sample decoded by the compressor alone.

use std::sync::Arc;
use tokio::time::Instant;

use anyhow::{Context, Result, ensure};
use ingest::store::embedded::{EmbeddedOptions, EmbeddedStore};
use ingest::store::history::chart_step;
use ingest::store::{
    Aggregates, HistoryAnswer, HistoryQuery, LogRefusals, Position, Shape as Answer, Store,
    StoreBatch,
};
use rusqlite::Connection;

use super::load::{Load, SITE, Shape, meter};
use super::report::Report;

/// Samples of the series that is asked for, one a second.
const SAMPLES: usize = 1_000_000;
/// Width of the chart, windows of a least and a greatest number.
const PIXELS: i64 = 3_000;
/// Queries measured.
const ROUNDS: usize = 50;
/// Decodings measured: they are slow.
const ROUNDS_SLOW: usize = 10;
/// Blocks handed over at once.
const BLOCKS: usize = 100;

/// Measures it.
///
/// # Errors
/// When a store fails or an answer is wrong.
pub fn run(report: &mut Report, scale: usize) -> Result<()> {
    let readings = SAMPLES / scale;
    let shape = Shape { meters: 1, quantities: 1, readings, per_message: 5_000 };
    let load = Load::new(shape, 1_700_020_000_000, 1)?;
    let folder = tempfile::tempdir()?;
    let options = EmbeddedOptions::new(folder.path());
    let (mut store, _) = EmbeddedStore::open(options, Arc::new(LogRefusals))?;
    for some in load.decoded()?.chunks(BLOCKS) {
        let position = some.last().context("a block")?.position;
        let up_to = Position { log_id: 1, position };
        store.write(&StoreBatch { up_to, blocks: some.to_vec() })?;
    }
    store.seal()?;
    let (from, to) = (load.start, load.time(readings - 1) + 1);
    let step_ms = chart_step(to - from, PIXELS);
    report.set("history.chart.windows", ((to - from) / step_ms) as f64);
    let extremes = Aggregates { min: true, max: true, mean: false, last: false };
    let chart = |step_ms| move |store: &EmbeddedStore| ask(store, from, to, step_ms, extremes);
    times(report, "history.chart", ROUNDS, || chart(step_ms)(&store).map(drop))?;
    // The same width without whole minutes: every sample is decoded.
    let odd = (to - from) / PIXELS + 1;
    let odd = if odd % 60_000 == 0 { odd + 1 } else { odd };
    times(report, "history.every_sample", ROUNDS, || chart(odd)(&store).map(drop))?;
    let table = plain(folder.path(), &store, from, to)?;
    times(report, "history.plain_sqlite", ROUNDS_SLOW, || {
        let sql = "SELECT t / ?1, min(value), max(value) FROM sample WHERE series = 1 AND t >= ?2 AND t < ?3 GROUP BY 1";
        let mut statement = table.prepare_cached(sql)?;
        let windows = statement.query_map([step_ms, from, to], |row| row.get::<_, f64>(1))?.count();
        ensure!(windows > 0, "nothing came back");
        Ok(())
    })?;
    // The extremes of the chart are those of the samples.
    let windows = ask(&store, from, to, step_ms, extremes)?;
    let sql = "SELECT t / ?1 * ?1, min(value), max(value) FROM sample GROUP BY 1 ORDER BY 1";
    let mut statement = table.prepare(sql)?;
    let mut rows = statement.query([step_ms])?;
    while let Some(row) = rows.next()? {
        let at = usize::try_from((row.get::<_, i64>(0)? - windows.start) / step_ms)?;
        ensure!(windows.min[at] == row.get(1)? && windows.max[at] == row.get(2)?, "window {at}");
    }
    let ratio = |a: &str, b: &str| Some(report.get(a)? / report.get(b)?);
    let found = [
        ("history.times_faster_than_every_sample", "history.every_sample.p50_ms"),
        ("history.times_faster_than_plain_sqlite", "history.plain_sqlite.p50_ms"),
    ]
    .map(|(name, other)| (name, ratio(other, "history.chart.p50_ms")));
    for (name, value) in found {
        report.set(name, value.context("a figure")?);
    }
    Ok(())
}

fn ask(
    store: &EmbeddedStore,
    from: i64,
    to: i64,
    step_ms: i64,
    aggregates: Aggregates,
) -> Result<ingest::store::Windows> {
    let (site, device, quantity) = (SITE.to_owned(), meter(0), "p_total".to_owned());
    let shape = Answer::Windows { step_ms, aggregates };
    let query = HistoryQuery { site, device, quantity, from, to, shape };
    match store.reader().query(&query)? {
        HistoryAnswer::Windows(windows) => Ok(windows),
        HistoryAnswer::Samples(_) => anyhow::bail!("asked for windows"),
    }
}

/// The same samples in one table, as one would do it without a store.
fn plain(
    folder: &std::path::Path,
    store: &EmbeddedStore,
    from: i64,
    to: i64,
) -> Result<Connection> {
    let mut db = Connection::open(folder.join("plain.sqlite"))?;
    db.execute_batch(
        "CREATE TABLE sample(series INTEGER, t INTEGER, value REAL, PRIMARY KEY(series, t)) WITHOUT ROWID",
    )?;
    let tx = db.transaction()?;
    let mut next = from;
    while next < to {
        let (site, device, quantity) = (SITE.to_owned(), meter(0), "p_total".to_owned());
        let shape = Answer::Raw { limit: 100_000 };
        let query = HistoryQuery { site, device, quantity, from: next, to, shape };
        let HistoryAnswer::Samples(samples) = store.reader().query(&query)? else { break };
        let mut insert = tx.prepare_cached("INSERT INTO sample VALUES (1, ?1, ?2)")?;
        for row in &samples.rows {
            insert.execute((row.t, row.value))?;
        }
        let Some(last) = samples.rows.last() else { break };
        next = last.t + 1;
    }
    tx.commit()?;
    Ok(db)
}

/// p50 and p99 of some rounds after one to warm up, ms.
fn times(
    report: &mut Report,
    name: &str,
    rounds: usize,
    mut once: impl FnMut() -> Result<()>,
) -> Result<()> {
    once()?;
    let mut times = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        let begun = Instant::now();
        once()?;
        times.push(begun.elapsed().as_secs_f64() * 1_000.0);
    }
    times.sort_by(f64::total_cmp);
    report.set(&format!("{name}.p50_ms"), times[rounds / 2]);
    report.set(&format!("{name}.p99_ms"), times[(rounds * 99 / 100).min(rounds - 1)]);
    Ok(())
}
