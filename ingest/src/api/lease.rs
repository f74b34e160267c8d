//! How long the caller stays signed in: a desk that is signed out in the middle of a shift hears nothing, so it is told
//! before.

use std::sync::Arc;

use axum::Json;
use axum::extract::State as Shared;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::Caller;
use super::{Api, ApiError, ErrorBody};

pub(super) fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new().routes(routes!(end))
}

/// The end of a session.
#[derive(Debug, Serialize, ToSchema)]
struct SessionEnd {
    /// Ms UTC; use does not put it off, signing in again begins a new session. None for an API key.
    ends_at: Option<i64>,
    /// Ms UTC.
    server_time: i64,
}

/// When the caller's session ends in any case. Being asked counts as use, which puts off the end of an idle session.
#[utoipa::path(get, path = "/session/end", tag = "session", responses(
    (status = 200, body = SessionEnd), (status = 401, body = ErrorBody)))]
async fn end(Shared(api): Shared<Arc<Api>>, caller: Caller) -> Result<Json<SessionEnd>, ApiError> {
    let ends_at = match &caller.session {
        Some(token) => api.state().session_ends_at(token, api.parts.config.sessions).await?,
        None => None,
    };
    Ok(Json(SessionEnd { ends_at, server_time: api.now() }))
}
