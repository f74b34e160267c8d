//! From publish to queryable, at a steady rate that leaves everybody room: Davy with each of its stores, and Telegraf.
//!
//! Messages go out one each [`STEP`]; whenever the prober is free it takes the one that goes out next and asks the
//! database for its last reading until it is there.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::sync::watch;
use tokio::time::Instant;

use super::contender::{self, Davy, Target, Telegraf, influx_holds, tail};
use super::load::{GATEWAY, Load, Shape};
use super::raw::LARGE;
use super::report::Report;
use super::throughput::load_end;

/// Who is asked.
pub const CONTENDERS: [&str; 3] = ["influxdb", "embedded", "telegraf"];
/// Between two messages; 100 readings of 20 quantities each: 200,000 points/s.
const STEP: Duration = Duration::from_millis(10);
/// Readings of a message.
const PER_MESSAGE: usize = 100;
/// Messages: 20 s of them.
const MESSAGES: usize = 2_000;
/// Between two questions about one message.
const ASK: Duration = Duration::from_millis(5);
/// Longest wait for one reading.
const LIMIT: Duration = Duration::from_secs(20);
/// Telegraf keeps a line at most so long here, ms: at the second of the throughput it would be measured by that alone.
const FLUSH_MS: u32 = 50;
/// Fewest answers that a 99th percentile is made of.
const ANSWERS_MIN: usize = 100;

/// Measures one contender.
///
/// # Errors
/// When it cannot be started, or too few readings arrive.
pub async fn run(report: &mut Report, contender: &str) -> Result<()> {
    let readings = MESSAGES * PER_MESSAGE;
    let shape = Shape { meters: 500, quantities: 20, readings, per_message: PER_MESSAGE };
    let load = Load::new(shape, load_end(), 5)?;
    let mut ages = match contender {
        "influxdb" => davy(&load, Target::Influx).await?,
        "embedded" => davy(&load, Target::Embedded).await?,
        "telegraf" => telegraf(&load).await?,
        other => bail!("no contender {other}"),
    };
    ages.sort_unstable();
    ensure!(ages.len() >= ANSWERS_MIN, "only {} readings were asked for", ages.len());
    let at = |percent: usize| ages[(ages.len() - 1) * percent / 100].as_secs_f64() * 1_000.0;
    report.set(&format!("queryable_ms.{contender}.p50"), at(50));
    report.set(&format!("queryable_ms.{contender}.p99"), at(99));
    report.set(&format!("queryable_ms.{contender}.answers"), ages.len() as f64);
    Ok(())
}

async fn davy(load: &Load, target: Target) -> Result<Vec<Duration>> {
    let davy = Davy::start(&contender::registry(load.shape), target).await?;
    let (port, topic) = (davy.broker.port, contender::topic(GATEWAY));
    let mut frames = load.frames(&davy.key)?;
    let blocks = frames.split_off(1);
    contender::publish_at_once(port, &topic, frames).await?;
    let probed = probe(port, &topic, blocks, |reading| davy.holds(load, reading)).await;
    probed.with_context(|| davy.words())
}

async fn telegraf(load: &Load) -> Result<Vec<Duration>> {
    let telegraf = Telegraf::start(load.shape, LARGE, FLUSH_MS).await?;
    let (port, topic, influx) = (telegraf.broker.port, contender::LINES_TOPIC, &telegraf.influx);
    let holds = |reading| influx_holds(influx, load, reading);
    let probed = probe(port, topic, load.lines(), holds).await;
    probed.with_context(|| tail(&telegraf.process.output()))
}

/// Publishes messages at their steps and says how long the last readings of some took to be there.
async fn probe<F: Future<Output = Result<bool>>>(
    port: u16,
    topic: &str,
    messages: Vec<Vec<u8>>,
    holds: impl Fn(usize) -> F,
) -> Result<Vec<Duration>> {
    let (sent, mut seen) = watch::channel((0, Instant::now()));
    let due = |index: usize| STEP * u32::try_from(index).unwrap_or(u32::MAX);
    // Goes with the publishing: its end is the prober's.
    let tell = move |index| {
        sent.send_replace((index, Instant::now()));
    };
    let publish = contender::publish(port, topic, messages.into_iter().map(Ok), due, tell);
    let ask = async {
        let mut ages = Vec::new();
        // An error says that the last message is out and its sender gone.
        while seen.changed().await.is_ok() {
            let (message, at) = *seen.borrow_and_update();
            let last = (message + 1) * PER_MESSAGE - 1;
            while !holds(last).await? {
                ensure!(at.elapsed() < LIMIT, "message {message} did not arrive in {LIMIT:?}");
                tokio::time::sleep(ASK).await;
            }
            ages.push(at.elapsed());
        }
        Ok(ages)
    };
    let ((), ages) = tokio::try_join!(publish, ask)?;
    Ok(ages)
}
