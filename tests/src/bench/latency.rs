//! How long an alarm takes from the detector's reply to the browser: event time of the sample that crossed the limit to
//! the SSE event, over the whole way and for a rule without on-delay. Beside it the same for newest values, which wait
//! for the next flush to the streams on purpose.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::edge::{Chain, Fleet};
use super::report::Report;
use crate::harness::modbus::{Answer, Request, Units};
use crate::meters::{MIDAS_LEL, Registers};

/// Before the measurement.
const WARM_UP: Duration = Duration::from_secs(5);
/// Measured time.
const MEASURED: Duration = Duration::from_secs(25);
/// Detectors, each read once a second and past its limit at every other read: ten alarms a second.
const UNITS: usize = 20;
/// The rule raises and clears at once.
pub(super) const OVERRIDES: &str = "[[site.override]]\nrule = \"R21\"\nparameter = \"on_1\"\nvalue = 0\n\n\
                         [[site.override]]\nrule = \"R21\"\nparameter = \"off\"\nvalue = 0\n\n";

/// Detectors that show 30 %LEL and 2 %LEL in turn.
#[derive(Debug)]
struct Detectors(Mutex<Vec<Registers>>, Vec<AtomicU32>);

impl Detectors {
    fn new(units: usize) -> Detectors {
        let registers = (0..units).map(|_| Registers::of(&MIDAS_LEL)).collect();
        // Half of them begin past the limit, so that alarms come evenly.
        let reads = (0..units).map(|i| AtomicU32::new(u32::from(i % 2 == 0))).collect();
        Detectors(Mutex::new(registers), reads)
    }
}

impl Units for Detectors {
    fn answer(&self, request: Request) -> Answer {
        let index = usize::from(request.unit).wrapping_sub(1);
        let mut units = self.0.lock().expect("nobody panics with it");
        let (Some(registers), Some(reads)) = (units.get_mut(index), self.1.get(index)) else {
            return Answer::Silence;
        };
        let past = reads.fetch_add(1, Ordering::Relaxed) % 2 == 0;
        match registers.set(&MIDAS_LEL, "gas_lel", if past { "30" } else { "2" }) {
            Ok(()) => registers.answer(request),
            Err(_) => Answer::Exception(4),
        }
    }
}

/// Measures the live stream.
///
/// # Errors
/// When a part fails or too few events come.
pub async fn run(report: &mut Report) -> Result<()> {
    let buses = vec![Arc::new(Detectors::new(UNITS)) as _];
    let (model, role, registry) = (&MIDAS_LEL, "gas_detector", OVERRIDES);
    let chain = Chain::start(Fleet { model, role, registry, buses, units: UNITS }).await?;
    tokio::time::sleep(WARM_UP).await;
    let mut stream = chain.centre.stream().await?;
    let (begun, mut events) = (Instant::now(), Events::default());
    let (mut alarms, mut values) = (Vec::new(), Vec::new());
    while begun.elapsed() < MEASURED {
        let chunk =
            tokio::time::timeout(MEASURED, stream.chunk()).await??.context("the stream ended")?;
        let now = jiff::Timestamp::now().as_millisecond();
        for (name, data) in events.take(&chunk) {
            // The first event may hold the state of before.
            if begun.elapsed() < Duration::from_secs(2) {
                continue;
            }
            match name.as_str() {
                "alarm" if data["active"] == true => {
                    alarms.extend(data["raised_at"].as_i64().map(|t| now - t));
                }
                "value" => {
                    let all = data["values"].as_array().cloned().unwrap_or_default();
                    values.extend(all.iter().filter_map(|v| Some(now - v["t"].as_i64()?)));
                }
                _ => {}
            }
        }
    }
    for (name, ages) in [("", &mut alarms), ("values_", &mut values)] {
        ages.sort_unstable();
        ensure!(ages.len() >= 100, "only {} events came over the stream ({name})", ages.len());
        let at = |percent: usize| ages[(ages.len() - 1) * percent / 100] as f64;
        report.set(&format!("latency_ms.{name}p50"), at(50));
        report.set(&format!("latency_ms.{name}p99"), at(99));
        report.set(&format!("latency_ms.{name}events"), ages.len() as f64);
    }
    Ok(())
}

/// Events of a stream, put together from its chunks.
#[derive(Debug, Default)]
pub(super) struct Events(String);

impl Events {
    /// Takes a chunk and gives name and data of the events that it completes.
    pub(super) fn take(&mut self, chunk: &[u8]) -> Vec<(String, Value)> {
        self.0.push_str(&String::from_utf8_lossy(chunk));
        let mut events = Vec::new();
        while let Some(end) = self.0.find("\n\n") {
            let event: String = self.0.drain(..end + 2).collect();
            events.extend(read(&event));
        }
        events
    }
}

fn read(event: &str) -> Option<(String, Value)> {
    let name = event.lines().find_map(|l| l.strip_prefix("event:"))?.trim();
    let data: String = event.lines().filter_map(|l| l.strip_prefix("data:")).collect();
    Some((name.to_owned(), serde_json::from_str(data.trim()).ok()?))
}
