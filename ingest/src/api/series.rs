//! History of one series, condensed for a chart or raw.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State as Shared};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use wire::Quality;

use super::auth::Caller;
use super::{Api, ApiError, ErrorBody};
use crate::store::history::chart_step;
use crate::store::{Aggregates, Damage, HistoryAnswer, HistoryQuery, Samples, Shape, Windows};

/// Windows where the caller names neither a width nor a step.
const PIXELS_DEFAULT: i64 = 1_000;
/// Widest chart, windows.
const PIXELS_MAX: i64 = 10_000;
/// Raw samples answered at once.
const RAW_MAX: usize = 100_000;

pub(super) fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new().routes(routes!(series))
}

/// Which series, when, how fine.
#[derive(Debug, Deserialize, IntoParams)]
struct SeriesQuery {
    site: String,
    device: String,
    quantity: String,
    /// Ms UTC, inclusive.
    from: i64,
    /// Ms UTC, exclusive.
    to: i64,
    /// Width of the chart: at most so many windows. From half a minute on they are whole minutes, from half an hour on
    /// whole hours (UTC).
    px: Option<i64>,
    /// 1 = every sample.
    raw: Option<u8>,
    /// Width of a window, ms; instead of `px`.
    step: Option<i64>,
    /// Which columns, e.g. `min,max`; default all.
    agg: Option<String>,
}

/// Columns; null is a gap. `q`: 0 good, 1 uncertain, 2 bad, 3 stale, 4 substituted, null = nothing came.
#[derive(Debug, Default, Serialize, ToSchema)]
struct Series {
    unit: String,
    /// 0 with `raw`.
    step_ms: i64,
    t: Vec<i64>,
    min: Vec<Option<f64>>,
    max: Vec<Option<f64>>,
    mean: Vec<Option<f64>>,
    last: Vec<Option<f64>>,
    q: Vec<Option<u8>>,
    /// With `raw`: the numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Vec<Option<f64>>>,
    /// With `raw`: there is more; ask again from the last time + 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    truncated: Option<bool>,
    /// What the answer lacks because the history store is damaged there; absent where nothing is.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    damaged: Vec<DamagedRange>,
}

/// A stretch of the answer that could not be read.
#[derive(Debug, Serialize, ToSchema)]
struct DamagedRange {
    /// Ms UTC, inclusive.
    from: i64,
    /// Ms UTC, exclusive.
    to: i64,
    /// Samples that are missing; 0 = not known.
    samples: u64,
}

fn damaged(damaged: Vec<Damage>) -> Vec<DamagedRange> {
    let range = |Damage { from, to, samples, .. }| DamagedRange { from, to, samples };
    damaged.into_iter().map(range).collect()
}

/// History of one series.
#[utoipa::path(get, path = "/series", tag = "sites", params(SeriesQuery), responses(
    (status = 200, body = Series), (status = 400, body = ErrorBody),
    (status = 404, body = ErrorBody), (status = 429, body = ErrorBody),
    (status = 503, body = ErrorBody)))]
async fn series(
    Shared(api): Shared<Arc<Api>>,
    caller: Caller,
    Query(asked): Query<SeriesQuery>,
) -> Result<Json<Series>, ApiError> {
    caller.site(&api.parts.registrar.current(), &asked.site)?;
    let query = HistoryQuery {
        shape: shape(&asked)?,
        site: asked.site,
        device: asked.device,
        quantity: asked.quantity,
        from: asked.from,
        to: asked.to,
    };
    let unit = wire::quantity::lookup(&query.quantity).map_or("", |info| info.unit).to_owned();
    let answer = ask(&api, &caller.name, query).await?;
    Ok(Json(match answer {
        HistoryAnswer::Samples(samples) => raw(unit, samples),
        HistoryAnswer::Windows(windows) => columns(unit, windows),
    }))
}

/// Reads on a blocking thread, a few at a time: a page full of charts must not take every thread.
async fn ask(api: &Arc<Api>, caller: &str, query: HistoryQuery) -> Result<HistoryAnswer, ApiError> {
    let place = api.queries.place(caller).await?;
    let history = Arc::clone(&api.parts.history);
    let asked = tokio::task::spawn_blocking(move || {
        let answer = history.query(&query);
        drop(place);
        answer
    });
    Ok(asked.await.map_err(|error| ApiError::internal(&error))??)
}

fn shape(asked: &SeriesQuery) -> Result<Shape, ApiError> {
    if asked.raw == Some(1) {
        return Ok(Shape::Raw { limit: RAW_MAX });
    }
    let pixels = asked.px.unwrap_or(PIXELS_DEFAULT);
    if !(1..=PIXELS_MAX).contains(&pixels) {
        return Err(ApiError::invalid(format!("px is 1 to {PIXELS_MAX}")));
    }
    let span = asked.to.saturating_sub(asked.from).max(1);
    let step_ms = asked.step.unwrap_or_else(|| chart_step(span, pixels));
    Ok(Shape::Windows { step_ms, aggregates: aggregates(asked.agg.as_deref())? })
}

fn aggregates(words: Option<&str>) -> Result<Aggregates, ApiError> {
    let Some(words) = words else { return Ok(Aggregates::ALL) };
    let mut wanted = Aggregates { min: false, max: false, mean: false, last: false };
    for word in words.split(',') {
        match word.trim() {
            "min" => wanted.min = true,
            "max" => wanted.max = true,
            "mean" => wanted.mean = true,
            "last" => wanted.last = true,
            other => {
                let message = format!("agg {other:?} is none of min, max, mean, last");
                return Err(ApiError::invalid(message));
            }
        }
    }
    Ok(wanted)
}

fn raw(unit: String, samples: Samples) -> Series {
    Series {
        unit,
        t: samples.rows.iter().map(|row| row.t).collect(),
        q: samples.rows.iter().map(|row| Some(number(row.quality))).collect(),
        value: Some(samples.rows.iter().map(|row| row.value).collect()),
        truncated: Some(samples.truncated),
        damaged: damaged(samples.damaged),
        ..Series::default()
    }
}

fn columns(unit: String, windows: Windows) -> Series {
    let count = i64::try_from(windows.q.len()).unwrap_or(0);
    Series {
        unit,
        step_ms: windows.step_ms,
        t: (0..count).map(|i| windows.start + i * windows.step_ms).collect(),
        min: windows.min,
        max: windows.max,
        mean: windows.mean,
        last: windows.last,
        q: windows.q.into_iter().map(|quality| quality.map(number)).collect(),
        damaged: damaged(windows.damaged),
        ..Series::default()
    }
}

fn number(quality: Quality) -> u8 {
    match quality {
        Quality::Good => 0,
        Quality::Uncertain => 1,
        Quality::Bad => 2,
        Quality::Stale => 3,
        Quality::Substituted => 4,
    }
}
