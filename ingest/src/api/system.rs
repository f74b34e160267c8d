//! The service itself: its state, the audit journal.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State as Shared};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::Caller;
use super::source::{NoticeLevel, SystemLive};
use super::{Api, ApiError, ErrorBody};
use crate::account::Role;
use crate::journal::{AuditRow, ChainCheck};

/// Rows answered where the caller names no limit.
const ROWS_DEFAULT: usize = 100;
/// Rows answered at once.
const ROWS_MAX: usize = 1_000;

pub(super) fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new().routes(routes!(system)).routes(routes!(audit)).routes(routes!(check_audit))
}

/// State of the service.
#[derive(Debug, Serialize, ToSchema)]
struct SystemView {
    version: String,
    #[serde(flatten)]
    live: SystemLive,
}

/// How many, before which.
#[derive(Debug, Deserialize, IntoParams)]
struct PageQuery {
    limit: Option<usize>,
    /// Audit rows with a smaller number.
    before: Option<i64>,
}

/// Rows of the audit journal, newest first.
#[derive(Debug, Serialize, ToSchema)]
struct AuditView {
    rows: Vec<AuditRow>,
}

/// Whether the audit journal's chain holds.
#[derive(Debug, Serialize, ToSchema)]
struct CheckView {
    whole: bool,
    /// Rows checked, when whole.
    rows: Option<i64>,
    /// Hash of the newest row, when whole: compare it with one noted elsewhere.
    head: Option<String>,
    /// First row that does not follow from the one before.
    broken_at: Option<i64>,
}

/// State of the service; the bureau's and the administrator's.
#[utoipa::path(get, path = "/system", tag = "system", responses(
    (status = 200, body = SystemView), (status = 401, body = ErrorBody)))]
async fn system(Shared(api): Shared<Arc<Api>>, caller: Caller) -> Json<SystemView> {
    let version = api.parts.config.version.clone();
    let mut live = api.parts.sources.system();
    if matches!(caller.role, Role::Plant | Role::Grid) {
        // A plant learns that its alarms do not come; such a notice names nobody. The rest is the bureau's.
        let mut notices = live.notices;
        notices.retain(|notice| {
            caller.role == Role::Plant && notice.level == NoticeLevel::AlarmsStopped
        });
        live = SystemLive { notices, ..SystemLive::default() };
    }
    Json(SystemView { version, live })
}

/// The audit journal; the auditor's.
#[utoipa::path(get, path = "/audit", tag = "system", params(PageQuery), responses(
    (status = 200, body = AuditView), (status = 403, body = ErrorBody)))]
async fn audit(
    Shared(api): Shared<Arc<Api>>,
    caller: Caller,
    Query(query): Query<PageQuery>,
) -> Result<Json<AuditView>, ApiError> {
    caller.need(&[Role::Auditor])?;
    let limit = query.limit.unwrap_or(ROWS_DEFAULT).min(ROWS_MAX) as u64;
    Ok(Json(AuditView { rows: api.state().audit_rows(query.before, limit).await? }))
}

/// Checks the audit journal's hash chain.
#[utoipa::path(get, path = "/audit/check", tag = "system", responses(
    (status = 200, body = CheckView), (status = 403, body = ErrorBody)))]
async fn check_audit(
    Shared(api): Shared<Arc<Api>>,
    caller: Caller,
) -> Result<Json<CheckView>, ApiError> {
    caller.need(&[Role::Auditor])?;
    Ok(Json(match api.state().check_audit_chain().await? {
        ChainCheck::Whole { rows, head } => {
            CheckView { whole: true, rows: Some(rows), head: Some(head), broken_at: None }
        }
        ChainCheck::Broken { seq } => {
            CheckView { whole: false, rows: None, head: None, broken_at: Some(seq) }
        }
    }))
}
