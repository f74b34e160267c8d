//! `/healthz` and `/metrics` beside the API, and the beat that hands changed values to the streams.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use axum::Router;
use axum::extract::State as Given;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::open::Parts;
use crate::api::Beside;
use crate::live::Live;
use crate::metrics::gauge;

/// Whoever watches over the service sees whether it lives; numbers of plants and gateways are for staff.
pub(super) fn beside(parts: &Parts) -> Beside {
    Beside {
        open: Router::new().route("/healthz", get(healthz)).with_state(parts.clone()),
        operators: Router::new().route("/metrics", get(metrics)).with_state(parts.clone()),
    }
}

/// 200 while the log takes records; 503 while it does not, with what else is wrong. A broker or store that is away does
/// not make the centre unhealthy: restarting it would not help.
async fn healthz(Given(parts): Given<Parts>) -> Response {
    let failing = parts.failing.load(Relaxed);
    let code = if failing { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    let body = json!({
        "status": if failing { "failing" } else { "ok" },
        "log_takes_records": !failing,
        "broker_connected": parts.metrics.broker_connected.get() == 1,
        "store_trouble": parts.stats.trouble.load(Relaxed),
    });
    (code, Json(body)).into_response()
}

async fn metrics(Given(parts): Given<Parts>) -> Response {
    let (metrics, progress) = (&parts.metrics, &parts.progress);
    metrics.store_position.set(gauge(progress.store_position()));
    metrics.evaluator_position.set(gauge(progress.judged_position()));
    metrics.store_trouble.set(gauge(parts.stats.trouble.load(Relaxed)));
    metrics.store_failures.set(gauge(parts.stats.failures.load(Relaxed)));
    metrics.store_samples.set(gauge(parts.stats.samples.load(Relaxed)));
    metrics.store_dropped.set(gauge(parts.stats.dropped.load(Relaxed)));
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], metrics.page()).into_response()
}

/// Hands changed values to the hub each `every`, until `stop`.
pub(super) async fn flush(live: Arc<Live>, every: Duration, stop: CancellationToken) {
    let mut beat = tokio::time::interval(every);
    loop {
        tokio::select! {
            _ = beat.tick() => live.flush(),
            () = stop.cancelled() => return,
        }
    }
}
