//! `/healthz`, `/readyz` and `/metrics` beside the API, and the beat that hands changed values to the streams.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use axum::Router;
use axum::extract::State as Given;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use rules::Standing;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::open::Parts;
use crate::api::Beside;
use crate::api::source::NoticeLevel;
use crate::live::Live;
use crate::metrics::{Metrics, Word, gauge, raise_to};

/// Whoever watches over the service sees whether it lives and works; numbers of plants and gateways are for staff.
pub(super) fn beside(parts: &Parts) -> Beside {
    let open = Router::new().route("/healthz", get(healthz)).route("/readyz", get(readyz));
    Beside {
        open: open.with_state(parts.clone()),
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

/// 200 while the centre does its job, 503 while it does not; every part with its reason.
async fn readyz(Given(parts): Given<Parts>) -> Response {
    let answer = super::ready::ready(&parts).await;
    let code = if answer.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(answer)).into_response()
}

async fn metrics(Given(parts): Given<Parts>) -> Response {
    read_state(&parts);
    read_process(&parts.metrics);
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], parts.metrics.page()).into_response()
}

/// What the parts know of themselves, at the moment of the scrape.
fn read_state(parts: &Parts) {
    let (metrics, progress, head) = (&parts.metrics, &parts.progress, parts.shared.tail.head());
    let (store, judged) = (progress.store_position(), progress.judged_position());
    metrics.store_position.set(gauge(store));
    metrics.store_lag.set(gauge(head.saturating_sub(store)));
    metrics.evaluator_position.set(gauge(judged));
    metrics.evaluator_lag.set(gauge(head.saturating_sub(judged)));
    metrics.evaluator_failing.set(i64::from(progress.is_evaluator_failing()));
    metrics.log_failing.set(i64::from(parts.failing.load(Relaxed)));
    metrics.store_trouble.set(gauge(parts.stats.trouble.load(Relaxed)));
    raise_to(&metrics.store_failures, parts.stats.failures.load(Relaxed));
    raise_to(&metrics.store_samples, parts.stats.samples.load(Relaxed));
    raise_to(&metrics.store_dropped, parts.stats.dropped.load(Relaxed));
    metrics.gateway_backlog_blocks.set(gauge(parts.live.backlog_blocks()));
    let registry = parts.registrar.current();
    let keyed = registry.gateways().filter(|gateway| gateway.key.is_some()).count();
    metrics.gateways_registered.set(gauge(keyed as u64));
    metrics.sites_registered.set(gauge(registry.sites().count() as u64));
    let short = parts.completeness.below(INCOMPLETE, parts.clock.now_ms());
    metrics.sites_incomplete.set(gauge(short as u64));
    let mut counts = [0_u64; STANDINGS.len()];
    let boards = parts.board.gateways();
    for state in boards.values().flat_map(|board| board.rules.iter()) {
        counts[place(&state.standing)] += 1;
    }
    for (word, count) in STANDINGS.into_iter().zip(counts) {
        metrics.rules.get_or_create(&Word { code: word }).set(gauge(count));
    }
    let notices = parts.live.notices();
    for (code, level) in
        [("alarms_stopped", NoticeLevel::AlarmsStopped), ("warning", NoticeLevel::Warning)]
    {
        let count = notices.iter().filter(|notice| notice.level == level).count();
        metrics.notices.get_or_create(&Word { code }).set(gauge(count as u64));
    }
}

/// A site that has less than this share of today's expected samples is half blind.
const INCOMPLETE: f64 = 0.9;

/// States of a rule at a place, as metrics name them.
const STANDINGS: [&str; 4] = ["evaluating", "learning", "not_applicable", "cannot"];

fn place(standing: &Standing) -> usize {
    match standing {
        Standing::Evaluating => 0,
        Standing::Learning { .. } => 1,
        Standing::NotApplicable { .. } => 2,
        Standing::Cannot { .. } => 3,
    }
}

/// What the system says of the process; what it does not say stays as it was.
fn read_process(metrics: &Metrics) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = resident.and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<i64>().ok());
    kib.map(|kib| metrics.resident_bytes.set(kib.saturating_mul(1_024)));
    let files = std::fs::read_dir("/proc/self/fd").map(|files| files.count() as u64);
    files.ok().map(|files| metrics.open_files.set(gauge(files)));
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
