//! What every request gets: an id, a span, an error body in one shape, headers that keep browsers safe.

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State as Shared};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tracing::Instrument;

use super::error::ApiError;
use crate::secret::Secret;

/// Only our own files, no inline script, never in a frame.
const POLICY: &str = "default-src 'self'; object-src 'none'; base-uri 'none'; frame-ancestors 'none'; \
                      form-action 'self'";
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest plain text of a framework refusal that is taken over, bytes.
const REFUSAL_BYTES_MAX: usize = 4_096;

/// Gives the request an id and turns every refusal, ours or the framework's, into one shape.
pub(super) async fn answer(request: Request, next: Next) -> Response {
    let id = Secret::random(8).map_or_else(|_| "unknown".to_owned(), |id| id.reveal().to_owned());
    let is_api = request.uri().path().starts_with("/api/");
    let span = tracing::info_span!("http", request_id = %id, method = %request.method(),
        path = request.uri().path());
    async move {
        let mut response = next.run(request).await;
        let error = match response.extensions_mut().remove::<ApiError>() {
            Some(error) => Some(error),
            None if is_api => framework_refusal(&mut response).await,
            None => None,
        };
        if let Some(error) = error {
            response = written(error, &id, response.headers());
        }
        if is_api {
            response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        }
        if let Ok(value) = HeaderValue::from_str(&id) {
            response.headers_mut().insert(REQUEST_ID, value);
        }
        response
    }
    .instrument(span)
    .await
}

fn written(mut error: ApiError, id: &str, headers: &HeaderMap) -> Response {
    id.clone_into(&mut error.body.request_id);
    if let Some(cause) = &error.cause {
        tracing::error!(code = %error.body.code, cause, "request failed");
    } else {
        tracing::debug!(code = %error.body.code, "request refused");
    }
    let mut response = (error.status, axum::Json(*error.body)).into_response();
    for (name, value) in headers {
        response.headers_mut().entry(name).or_insert_with(|| value.clone());
    }
    response
}

/// A refusal the framework made (no route, body too large, not JSON, panic) as one of ours.
async fn framework_refusal(response: &mut Response) -> Option<ApiError> {
    let status = response.status();
    let is_json = response.headers().get(CONTENT_TYPE).is_some_and(|t| t == "application/json");
    if !(status.is_client_error() || status.is_server_error()) || is_json {
        return None;
    }
    let body = std::mem::replace(response.body_mut(), Body::empty());
    response.headers_mut().remove(axum::http::header::CONTENT_LENGTH);
    response.headers_mut().remove(CONTENT_TYPE);
    let text = to_bytes(body, REFUSAL_BYTES_MAX).await.unwrap_or_default();
    let text = String::from_utf8_lossy(&text).into_owned();
    Some(match status {
        StatusCode::NOT_FOUND => ApiError::not_found(),
        StatusCode::METHOD_NOT_ALLOWED => {
            ApiError::new(status, "method_not_allowed", "this address takes another method")
        }
        StatusCode::PAYLOAD_TOO_LARGE => {
            ApiError::new(status, "too_large", "the request is too large")
        }
        status if status.is_client_error() => ApiError::invalid(text),
        status => {
            let mut error = ApiError::new(status, "internal", "the service failed");
            error.cause = Some(text);
            error
        }
    })
}

/// Headers of every answer.
pub(super) async fn secure(Shared(tls): Shared<bool>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    let mut set = |name: &'static str, value: &'static str| {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    };
    set("content-security-policy", POLICY);
    set("x-content-type-options", "nosniff");
    set("x-frame-options", "DENY");
    set("referrer-policy", "no-referrer");
    set("cross-origin-opener-policy", "same-origin");
    set("cross-origin-resource-policy", "same-origin");
    if tls {
        set("strict-transport-security", "max-age=31536000");
    }
    response
}
