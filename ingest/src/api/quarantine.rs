//! What was set aside: list, detail, bytes; replay and discard by a signed-in person of the right role.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State as Shared};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::Caller;
use super::{Api, ApiError, ErrorBody};
use crate::account::Role;
use crate::quarantine::act::ENTRIES_PER_ACT_MAX;
use crate::quarantine::content::Content;
use crate::quarantine::desk::{Can, DeskError, Outcome, Shown};
use crate::quarantine::reason::{Reason, Text, reason};
use crate::quarantine::{By, Desk, Done, Entry, EntryState, Filter};
use crate::registry::Registry;

/// Rows answered where the caller names no limit.
const ROWS_DEFAULT: u32 = 100;
/// Longest reason, characters.
const REASON_CHARS_MAX: usize = 500;
/// Who may look.
const READERS: [Role; 4] = [Role::Administrator, Role::Duty, Role::Officer, Role::Auditor];

pub(super) fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(show))
        .routes(routes!(bytes))
        .routes(routes!(replay))
        .routes(routes!(discard))
}

/// Which entries.
#[derive(Debug, Deserialize, IntoParams)]
struct ListQuery {
    /// Of one gateway.
    gateway: Option<String>,
    /// Under one code.
    code: Option<String>,
    /// In one state; default: all.
    state: Option<EntryState>,
    /// That came at or after, ms UTC.
    from: Option<i64>,
    /// That came before, ms UTC.
    to: Option<i64>,
    /// With a smaller number: the next page.
    before: Option<i64>,
    /// At most 1,000; default 100.
    limit: Option<u32>,
}

/// What was set aside, newest first.
#[derive(Debug, Serialize, ToSchema)]
struct QuarantineView {
    rows: Vec<QuarantineRow>,
}

/// One thing set aside.
#[derive(Debug, Serialize, ToSchema)]
struct QuarantineRow {
    /// Names it for replay and discard.
    id: i64,
    /// From which gateway; empty where the store did not know it.
    gateway: String,
    /// Its site, where known.
    site: Option<String>,
    /// Epoch of the block, 16 hexadecimal digits; empty where unknown.
    epoch: String,
    /// Its seq; 0 where unknown.
    seq: u64,
    /// Stable word: `future`, `key_reuse`, `time_unknown`, `too_old` …
    code: String,
    /// What the code means.
    what: Text,
    /// The particular case, as whoever set it aside said.
    reason: String,
    /// Centre time, ms UTC.
    at: i64,
    /// Samples or rows concerned, where known without reading it.
    samples: u64,
    /// Bytes kept.
    bytes: u64,
    /// How far it is.
    state: EntryState,
    /// What is added to its times when it is given back, ms.
    shift_ms: Option<i64>,
    /// What somebody last decided about it.
    done: Option<Done>,
}

/// All about one thing set aside.
#[derive(Debug, Serialize, ToSchema)]
struct QuarantineDetail {
    row: QuarantineRow,
    /// What its code means and what to do.
    explained: Reason,
    /// What lies in it; none where it is closed.
    content: Option<Content>,
    /// What can be done with it.
    can: Can,
}

/// What to give back.
#[derive(Debug, Deserialize, ToSchema)]
struct ReplayForm {
    /// Entries, 1 to 1,000.
    ids: Vec<i64>,
    /// Added to every event time, ms; without it the times stand.
    shift_ms: Option<i64>,
    /// Why; goes into the audit journal.
    reason: String,
}

/// What to throw away.
#[derive(Debug, Deserialize, ToSchema)]
struct DiscardForm {
    /// Entries, 1 to 1,000.
    ids: Vec<i64>,
    /// Why; goes into the audit journal.
    reason: String,
}

/// What became of each.
#[derive(Debug, Serialize, ToSchema)]
struct Outcomes {
    outcomes: Vec<Outcome>,
}

/// What was set aside and why, newest first.
#[utoipa::path(get, path = "/quarantine", tag = "quarantine", params(ListQuery), responses(
    (status = 200, body = QuarantineView), (status = 403, body = ErrorBody)))]
async fn list(
    Shared(api): Shared<Arc<Api>>,
    caller: Caller,
    Query(query): Query<ListQuery>,
) -> Result<Json<QuarantineView>, ApiError> {
    caller.need(&READERS)?;
    let most = query.limit.unwrap_or(ROWS_DEFAULT);
    let filter = Filter {
        gateway: query.gateway,
        code: query.code,
        state: query.state,
        from: query.from,
        to: query.to,
        before: query.before,
    };
    let entries = blocking(&api, move |desk| desk.list(&filter, most)).await?;
    let registry = api.parts.registrar.current();
    Ok(Json(QuarantineView { rows: entries.into_iter().map(|e| row(e, &registry)).collect() }))
}

/// All about one thing set aside: what it is, what lies in it, what to do.
#[utoipa::path(get, path = "/quarantine/{id}", tag = "quarantine", params(("id" = i64, Path)), responses(
    (status = 200, body = QuarantineDetail), (status = 403, body = ErrorBody),
    (status = 404, body = ErrorBody)))]
async fn show(
    Shared(api): Shared<Arc<Api>>,
    caller: Caller,
    Path(id): Path<i64>,
) -> Result<Json<QuarantineDetail>, ApiError> {
    caller.need(&READERS)?;
    let now = api.now();
    let shown = blocking(&api, move |desk| desk.show(id, now)).await?;
    let Shown { entry, reason, content, can } = shown.ok_or_else(ApiError::not_found)?;
    let row = row(entry, &api.parts.registrar.current());
    Ok(Json(QuarantineDetail { row, explained: reason, content, can }))
}

/// The block as it came, to be looked at elsewhere.
#[utoipa::path(get, path = "/quarantine/{id}/bytes", tag = "quarantine", params(("id" = i64, Path)), responses(
    (status = 200, body = Vec<u8>, content_type = "application/octet-stream"),
    (status = 403, body = ErrorBody), (status = 404, body = ErrorBody)))]
async fn bytes(
    Shared(api): Shared<Arc<Api>>,
    caller: Caller,
    Path(id): Path<i64>,
) -> Result<Response, ApiError> {
    caller.need(&[Role::Administrator, Role::Officer, Role::Auditor])?;
    let bytes = blocking(&api, move |desk| desk.bytes(id)).await?;
    let bytes = bytes.ok_or_else(ApiError::not_found)?;
    let name = format!("attachment; filename=\"quarantine-{id}.block\"");
    let name = HeaderValue::from_str(&name).map_err(|error| ApiError::internal(&error))?;
    let kind = HeaderValue::from_static("application/octet-stream");
    Ok(([(CONTENT_TYPE, kind), (CONTENT_DISPOSITION, name)], bytes).into_response())
}

/// Asks for entries to be given back: the receiver logs them within a second, the store takes them, no rule judges them.
#[utoipa::path(post, path = "/quarantine/replay", tag = "quarantine", request_body = ReplayForm, responses(
    (status = 202, body = Outcomes), (status = 400, body = ErrorBody), (status = 403, body = ErrorBody)))]
async fn replay(
    Shared(api): Shared<Arc<Api>>,
    caller: Caller,
    Json(form): Json<ReplayForm>,
) -> Result<(StatusCode, Json<Outcomes>), ApiError> {
    let shift = form.shift_ms;
    act(&api, &caller, (form.ids, form.reason), move |desk, ids, role, by| {
        desk.replay(ids, shift, role, by)
    })
    .await
}

/// Throws entries away: their bytes go, their rows stay.
#[utoipa::path(post, path = "/quarantine/discard", tag = "quarantine", request_body = DiscardForm, responses(
    (status = 202, body = Outcomes), (status = 400, body = ErrorBody), (status = 403, body = ErrorBody)))]
async fn discard(
    Shared(api): Shared<Arc<Api>>,
    caller: Caller,
    Json(form): Json<DiscardForm>,
) -> Result<(StatusCode, Json<Outcomes>), ApiError> {
    act(&api, &caller, (form.ids, form.reason), |desk, ids, role, by| desk.discard(ids, role, by))
        .await
}

async fn act(
    api: &Arc<Api>,
    caller: &Caller,
    (ids, reason): (Vec<i64>, String),
    carry_out: impl FnOnce(&Desk, &[i64], Role, By<'_>) -> Result<Vec<Outcome>, DeskError>
    + Send
    + 'static,
) -> Result<(StatusCode, Json<Outcomes>), ApiError> {
    caller.need(&[Role::Administrator, Role::Officer])?;
    if caller.user.is_none() {
        let text = "what was set aside is decided about by a signed-in person, not by an API key";
        return Err(ApiError::new(StatusCode::FORBIDDEN, "forbidden", text));
    }
    let reason = reason.trim().to_owned();
    if !(1..=REASON_CHARS_MAX).contains(&reason.chars().count()) {
        let text = format!("reason has 1 to {REASON_CHARS_MAX} characters: why is this done?");
        return Err(ApiError::invalid(text));
    }
    if !(1..=ENTRIES_PER_ACT_MAX).contains(&ids.len()) {
        let text = format!("ids names 1 to {ENTRIES_PER_ACT_MAX} entries");
        return Err(ApiError::invalid(text));
    }
    let (who, role, at) = (caller.name.clone(), caller.role, api.now());
    let done = blocking(api, move |desk| {
        carry_out(desk, &ids, role, By { who: &who, at, reason: &reason })
    });
    let outcomes = done.await?;
    api.parts.quarantine.audit(api.state()).await?;
    Ok((StatusCode::ACCEPTED, Json(Outcomes { outcomes })))
}

/// The desk blocks: it reads files.
async fn blocking<T: Send + 'static>(
    api: &Arc<Api>,
    ask: impl FnOnce(&Desk) -> Result<T, DeskError> + Send + 'static,
) -> Result<T, ApiError> {
    let desk = Arc::clone(&api.parts.quarantine);
    match tokio::task::spawn_blocking(move || ask(&desk)).await {
        Ok(answer) => Ok(answer?),
        Err(error) => Err(ApiError::internal(&error)),
    }
}

fn row(entry: Entry, registry: &Registry) -> QuarantineRow {
    QuarantineRow {
        id: entry.id,
        site: registry.gateway(&entry.gateway).map(|g| g.site.clone()),
        gateway: entry.gateway,
        epoch: entry.epoch,
        seq: entry.seq,
        what: reason(&entry.code).what,
        code: entry.code,
        reason: entry.detail,
        at: entry.at,
        samples: entry.samples.max(entry.rows.len() as u64),
        bytes: entry.bytes,
        state: entry.state,
        shift_ms: entry.shift_ms,
        done: entry.done,
    }
}

impl From<DeskError> for ApiError {
    fn from(error: DeskError) -> Self {
        Self::internal(&error)
    }
}
