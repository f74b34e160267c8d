//! What is answered while the service still opens what it keeps, which takes minutes after a power cut: the console's files,
//! and for everything else that it is starting and with what it is busy. Nobody waits for a socket that nobody serves.

use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::Router;
use axum::extract::State as Given;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::serve::{self, Connections};
use super::{ApiError, console, request};

/// With what a start is busy; shared with the answers.
pub type Busy = Arc<ArcSwap<&'static str>>;

/// Seconds after which it is worth asking again.
const AGAIN_S: u64 = 2;

/// Answers until `stop`; `tls` as in [`ApiConfig`](super::ApiConfig).
pub async fn serve_starting(listener: TcpListener, busy: Busy, tls: bool, stop: CancellationToken) {
    let routes = Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .fallback(other)
        .with_state(busy)
        .layer(from_fn(request::answer))
        .layer(from_fn_with_state(tls, request::secure));
    serve::serve(listener, routes, Connections::default(), stop).await;
}

/// 200: it lives. Whoever restarted it now would make it begin again.
async fn healthz(Given(busy): Given<Busy>) -> Json<serde_json::Value> {
    Json(json!({ "status": "starting", "busy_with": **busy.load() }))
}

/// 503: it does not do its job yet.
async fn readyz(Given(busy): Given<Busy>) -> Response {
    let body = json!({ "ready": false, "reason": sentence(&busy) });
    (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response()
}

async fn other(Given(busy): Given<Busy>, method: Method, uri: Uri, headers: HeaderMap) -> Response {
    if uri.path() == "/metrics" || uri.path().starts_with("/api/") {
        return ApiError::starting(&sentence(&busy), AGAIN_S).into_response();
    }
    console::serve(method, uri, headers).await
}

fn sentence(busy: &Busy) -> String {
    format!(
        "davy-ingest is starting, busy with {}; nothing is judged yet, gateways keep their data",
        **busy.load()
    )
}
