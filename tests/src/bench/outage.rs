//! A store that is away for minutes while everything goes on: memory, alarms, and how fast the store catches up.
//!
//! Live meters and, beside them, gas detectors that pass their limit and come back each second; influxd is killed in the
//! middle and started again. Every alarm's way is timed from the detector's event time to the browser's event.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::time::Instant;

use super::contender::{self, Davy, Target};
use super::load::{GATEWAY, QUANTITIES, SITE, Shape, meter};
use super::report::Report;
use super::source::Source;
use super::{cpu, latency};

/// Everything runs for so long before the database goes away, and after the store has caught up.
const CALM: Duration = Duration::from_secs(15);
/// How long it is away.
const OUTAGE: Duration = Duration::from_secs(300);
/// Longest wait for the store to catch up.
const LIMIT: Duration = Duration::from_secs(600);
/// Between two blocks of the meters: 100 readings of 20 quantities each, 200,000 points/s. That is the full rate of this
/// machine where the store must still be able to catch up: two cores, which readings, broker, centre and rules share with
/// influxd, store 0.8 to 1 million points/s (`throughput.q20.influxdb`), and while it catches up at three times the live
/// rate the live readings come too.
const STEP: Duration = Duration::from_millis(10);
const METERS: usize = 500;
const PER_BLOCK: usize = 100;
/// Detectors: half of them pass the limit each second.
pub(super) const DETECTORS: usize = 20;
/// Gateway of the detectors.
const GAS: &str = "bench-gas";
/// Between two looks at memory and positions.
const LOOK: Duration = Duration::from_millis(500);
/// Looks that are shown.
const SHOWN: usize = 12;

/// What was seen at one look.
#[derive(Debug, Clone, Copy)]
struct Look {
    at: f64,
    rss_mb: f64,
    logged: f64,
    stored: f64,
}

/// Moments of the story, seconds since its begin.
#[derive(Debug, Clone, Copy)]
struct Story {
    away: f64,
    back: f64,
    caught_up: f64,
}

/// Measures an outage of `OUTAGE / scale`.
///
/// # Errors
/// When a part fails, or the store does not catch up.
pub async fn run(report: &mut Report, scale: usize) -> Result<()> {
    let outage = OUTAGE / u32::try_from(scale)?;
    let mut davy = Davy::start(&registry(), Target::Influx).await?;
    let gas_key = davy.add_gateway(GAS)?;
    let mut influx = davy.influx.take().context("influxd")?;
    let zero = now_ms() - 60_000;
    let devices: Vec<String> = (0..METERS).map(meter).collect();
    let quantities: Vec<&str> = QUANTITIES.iter().map(|(q, _, _)| *q).collect();
    let key = davy.key.clone();
    let mut meters = Source::new(GATEWAY, SITE, &devices, &quantities, key, zero)?;
    let mut gas = Source::new(GAS, SITE, &detectors(), &["gas_lel"], gas_key, zero)?;
    let port = davy.broker.port;
    for (name, frame) in [(GATEWAY, meters.manifest()), (GAS, gas.manifest())] {
        // A gateway that was added to a running centre is known some seconds later.
        contender::until(LOOK, || contender::known(&davy, name, &frame)).await?;
    }
    let is_over = AtomicBool::new(false);
    let goes_on = |n: usize| (!is_over.load(Ordering::Relaxed)).then_some(n);
    let metered = (0..).map_while(goes_on).map(|n| meters.block(rows(n), now_ms()));
    let detected = (0..).map_while(goes_on).map(|n| detection(&mut gas, n));
    let step = |n: usize| STEP * u32::try_from(n).unwrap_or(u32::MAX);
    let second = |n: usize| Duration::from_secs(n as u64);
    let (meter_topic, gas_topic) = (contender::topic(GATEWAY), contender::topic(GAS));
    let begun = Instant::now();
    let looks = std::sync::Mutex::new(Vec::new());
    let watch = async {
        while !is_over.load(Ordering::Relaxed) {
            let look = look(&davy, begun).await?;
            looks.lock().expect("nobody panics with it").push(look);
            tokio::time::sleep(LOOK).await;
        }
        anyhow::Ok(())
    };
    let newest = || looks.lock().expect("nobody panics with it").last().copied();
    let direct = async {
        tokio::time::sleep(CALM).await;
        let away = begun.elapsed().as_secs_f64();
        influx.kill();
        tokio::time::sleep(outage).await;
        influx.resume().await?;
        let back = begun.elapsed().as_secs_f64();
        let behind = Instant::now();
        loop {
            tokio::time::sleep(LOOK / 2).await;
            // Within what comes in a second.
            if newest().is_some_and(|l| l.at > back && l.logged - l.stored < 200_000.0) {
                break;
            }
            ensure!(
                behind.elapsed() < LIMIT,
                "not caught up in {LIMIT:?}: {:?}; {}",
                newest(),
                davy.words()
            );
        }
        let caught_up = begun.elapsed().as_secs_f64();
        tokio::time::sleep(CALM).await;
        is_over.store(true, Ordering::Relaxed);
        anyhow::Ok(Story { away, back, caught_up })
    };
    let (mut stream, mut alarms) = (davy.centre.stream().await?, Vec::new());
    let hear = async {
        let mut events = latency::Events::default();
        while !is_over.load(Ordering::Relaxed) {
            let chunk = tokio::time::timeout(Duration::from_secs(30), stream.chunk()).await??;
            let (at, now) = (begun.elapsed().as_secs_f64(), now_ms());
            for (name, data) in events.take(&chunk.context("the stream ended")?) {
                let raised = (name == "alarm" && data["active"] == true)
                    .then(|| data["raised_at"].as_i64())
                    .flatten();
                // The first events may tell of before.
                alarms.extend(raised.filter(|_| at > 3.0).map(|t| (at, now - t)));
            }
        }
        anyhow::Ok(())
    };
    let (story, (), (), (), ()) = tokio::try_join!(
        direct,
        watch,
        hear,
        contender::publish(port, &meter_topic, metered, step, |_| {}),
        contender::publish(port, &gas_topic, detected, second, |_| {}),
    )?;
    let looks = looks.into_inner().expect("nobody panics with it");
    tell(report, story, &looks, &alarms)
}

fn tell(report: &mut Report, story: Story, looks: &[Look], alarms: &[(f64, i64)]) -> Result<()> {
    let Story { away, back, caught_up } = story;
    let within = |from: f64, to: f64| looks.iter().filter(move |l| from <= l.at && l.at < to);
    let peak = |from: f64, to: f64| within(from, to).map(|l| l.rss_mb).fold(0.0, f64::max);
    let first = within(away + 5.0, back).next().context("a look during the outage")?;
    let start = within(back, caught_up).next().context("a look after the outage")?;
    let moved = within(back, f64::MAX).find(|l| l.stored > start.stored).copied();
    let moved = moved.context("the store never went on")?;
    let end = within(caught_up, f64::MAX).next().context("a look after all was caught up")?;
    let live = (start.logged - first.logged) / (start.at - first.at);
    let took = (end.stored - start.stored) / (end.at - moved.at).max(0.1);
    report.set("outage.seconds", back - away);
    report.set("outage.live_points_per_s", live);
    report.set("outage.rss_before_mb", peak(0.0, away));
    // What the log's tail and one batch hold at most is there within the first fifth: from then on it must not grow.
    let fifth = (back - away) / 5.0;
    report.set("outage.rss_early_mb", peak(away, away + fifth));
    report.set("outage.rss_late_mb", peak(back - fifth, back));
    report.set("outage.rss_during_mb", peak(away, back));
    report.set("outage.rss_catching_up_mb", peak(back, caught_up));
    report.set("outage.seconds_until_the_store_went_on", moved.at - back);
    report.set("outage.seconds_until_caught_up", caught_up - back);
    report.set("outage.catch_up_over_live", took / live);
    for (name, from, to) in
        [("before", 0.0, away), ("during", away, back), ("catching_up", back, caught_up)]
    {
        let mut ages: Vec<i64> =
            alarms.iter().filter(|(at, _)| from <= *at && *at < to).map(|a| a.1).collect();
        ages.sort_unstable();
        ensure!(!ages.is_empty(), "no alarm {name} the outage");
        report.set(&format!("outage.alarms_{name}"), ages.len() as f64);
        let p99 = ages[(ages.len() - 1) * 99 / 100];
        report.set(&format!("outage.alarm_p99_ms_{name}"), p99 as f64);
    }
    for look in looks.iter().step_by(looks.len().div_ceil(SHOWN)) {
        let at = format!("outage.curve.{:04.0}s", look.at);
        report.set(&format!("{at}.rss_mb"), look.rss_mb);
        report.set(&format!("{at}.behind_points"), look.logged - look.stored);
    }
    Ok(())
}

async fn look(davy: &Davy, begun: Instant) -> Result<Look> {
    let metrics = davy.centre.metrics().await?;
    let of = |name: &str| metrics.get(name).copied().with_context(|| format!("no metric {name}"));
    Ok(Look {
        at: begun.elapsed().as_secs_f64(),
        rss_mb: cpu::memory_mb(davy.id()?)?.0,
        logged: of("davy_ingest_samples_logged_total")?,
        stored: of("davy_ingest_store_samples_total")?,
    })
}

/// Rows of the meters' `n`th block: each meter at every fifth block, with values that move.
fn rows(n: usize) -> impl Iterator<Item = super::source::Row<'static>> {
    static VALUES: std::sync::OnceLock<Vec<f64>> = std::sync::OnceLock::new();
    let width = QUANTITIES.len();
    let values = VALUES.get_or_init(|| {
        let mut random = SmallRng::seed_from_u64(7);
        let value = |i: usize| {
            let (_, start, decimals) = QUANTITIES[i % width];
            let unit = 10f64.powi(decimals);
            ((start * unit).round() + f64::from(random.random_range(-40..=40))) / unit
        };
        (0..width * 1_009).map(value).collect()
    });
    let now = now_ms();
    (0..PER_BLOCK).map(move |i| {
        let reading = n * PER_BLOCK + i;
        let row = reading % 1_009;
        (reading % METERS, now, &values[row * width..(row + 1) * width])
    })
}

/// Even detectors are past the limit in even seconds, odd ones in odd seconds.
pub(super) fn detection(gas: &mut Source, n: usize) -> Result<Vec<u8>> {
    let now = now_ms();
    let row = |i: usize| (i, now, if (i + n).is_multiple_of(2) { &[30.0][..] } else { &[2.0][..] });
    // A block closes after its samples: one that closes with them is judged when the next one comes.
    gas.block((0..DETECTORS).map(row), now + 1)
}

/// Names of the detectors.
pub(super) fn detectors() -> Vec<String> {
    (0..DETECTORS).map(|i| format!("gas-{i:02}")).collect()
}

fn registry() -> String {
    let shape = Shape { meters: METERS, quantities: 20, readings: 0, per_message: PER_BLOCK };
    contender::registry(shape) + &gas_devices(GAS)
}

/// The gateway of the detectors with these, for the registry: part of the site before it.
pub(super) fn gas_devices(gateway: &str) -> String {
    let mut text = format!("[[site.gateway]]\nname = {gateway:?}\n\n");
    for id in detectors() {
        text.push_str(&format!(
            "[[site.device]]\nid = {id:?}\nname = {id:?}\nrole = \"gas_detector\"\ngateway = {gateway:?}\n\
             points = [{{ quantity = \"gas_lel\", period_ms = 1000 }}]\n\n"
        ));
    }
    text + latency::OVERRIDES
}

fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}
