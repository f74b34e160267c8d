//! How long a reading takes from the meter's reply to the browser: event time to SSE event, over the whole way.

use std::time::Duration;

use tokio::time::Instant;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::edge::Chain;
use super::report::Report;

/// Before the measurement.
const WARM_UP: Duration = Duration::from_secs(5);
/// Measured time.
const MEASURED: Duration = Duration::from_secs(20);
/// Meters, each read once a second.
const UNITS: usize = 20;

/// Measures the live stream.
///
/// # Errors
/// When a part fails or too few values come.
pub async fn run(report: &mut Report) -> Result<()> {
    let chain = Chain::start(1, UNITS).await?;
    tokio::time::sleep(WARM_UP).await;
    let mut stream = chain.centre.stream().await?;
    let (begun, mut text, mut late) = (Instant::now(), String::new(), Vec::new());
    while begun.elapsed() < MEASURED {
        let chunk =
            tokio::time::timeout(MEASURED, stream.chunk()).await??.context("the stream ended")?;
        let now = jiff::Timestamp::now().as_millisecond();
        text.push_str(&String::from_utf8_lossy(&chunk));
        while let Some(end) = text.find("\n\n") {
            let event: String = text.drain(..end + 2).collect();
            // The first event may hold the state of before.
            if begun.elapsed() > Duration::from_secs(2) {
                late.extend(ages(&event, now));
            }
        }
    }
    late.sort_unstable();
    ensure!(late.len() > 200, "only {} values came over the stream", late.len());
    let at = |percent: usize| late[(late.len() - 1) * percent / 100] as f64;
    report.set("latency_ms.p50", at(50));
    report.set("latency_ms.p99", at(99));
    Ok(())
}

/// Ages of the values of an event, ms.
fn ages(event: &str, now: i64) -> Vec<i64> {
    if !event
        .lines()
        .any(|l| l.trim_start_matches("event:").trim() == "value" && l.starts_with("event"))
    {
        return Vec::new();
    }
    let data: String = event.lines().filter_map(|l| l.strip_prefix("data:")).collect();
    let Ok(data) = serde_json::from_str::<Value>(data.trim()) else { return Vec::new() };
    let values = data["values"].as_array().cloned().unwrap_or_default();
    values.iter().filter_map(|v| Some(now - v["t"].as_i64()?)).collect()
}
