//! Alarms: the list of the duty desk, one alarm whole, why, signing.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State as Shared};
use rules::{Lang, Transition};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::Caller;
use super::{Api, ApiError, ErrorBody};
use crate::account::Role;
use crate::alarms::{AckError, AlarmChange, Listing, Occurrence, OccurrenceFilter, Signer};
use crate::state::StateError;

mod detail;
mod view;

use detail::{AlarmDetail, EARLIER_MAX, Past, detail};
use view::transition_of;
pub(super) use view::{Alarm, view};

/// Longest idempotency key, bytes.
const IDEMPOTENCY_KEY_BYTES_MAX: usize = 128;

pub(super) fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(show))
        .routes(routes!(why))
        .routes(routes!(ack))
        .routes(routes!(reset))
}

/// Which alarms.
#[derive(Debug, Default, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Which {
    /// The condition holds, or a latch does.
    #[default]
    Active,
    /// Not signed.
    Unacked,
    /// Everything, newest first.
    All,
}

/// What to list.
#[derive(Debug, Deserialize, IntoParams)]
struct ListQuery {
    /// `active` (default), `unacked` or `all`.
    #[serde(default)]
    state: Which,
    /// With `all`: at most so many.
    limit: Option<u64>,
    /// With `all`: raised before this event time, ms UTC.
    before: Option<i64>,
    /// With `before`: also those raised at that very time whose id is smaller. The last row's time and id give the next page.
    before_id: Option<String>,
}

/// Alarms with the stream's number at which they were read.
#[derive(Debug, Serialize, ToSchema)]
struct Alarms {
    revision: u64,
    alarms: Vec<Alarm>,
}

/// Why an alarm came, in one sentence each.
#[derive(Debug, Serialize, ToSchema)]
struct Why {
    zh: String,
    en: String,
    /// Judging the evidence again gave the same result.
    re_evaluated: bool,
}

/// A signature.
#[derive(Debug, Deserialize, ToSchema)]
struct Ack {
    /// Version of the alarm that was shown.
    version: i64,
    /// As typed.
    comment: Option<String>,
    /// Same for every repetition of one click.
    idempotency_key: String,
}

/// Lists alarms; active ones are never cut by time.
#[utoipa::path(get, path = "/alarms", tag = "alarms", params(ListQuery), responses(
    (status = 200, body = Alarms), (status = 401, body = ErrorBody)))]
async fn list(
    Shared(api): Shared<Arc<Api>>,
    caller: Caller,
    Query(query): Query<ListQuery>,
) -> Result<Json<Alarms>, ApiError> {
    // Read first: an event that comes while the list is read is then sent again rather than missed.
    let revision = api.parts.hub.revision();
    let listing = match query.state {
        Which::Active => Listing::Active,
        Which::Unacked => Listing::Unacked,
        Which::All => Listing::All,
    };
    let site = caller.site_filter();
    let (before, before_id) = (query.before, query.before_id);
    let filter = OccurrenceFilter { listing, site, before, before_id, limit: query.limit };
    let found = api.state().occurrences(&filter).await?;
    let registry = api.parts.registrar.current();
    let rules = &api.parts.rules;
    let alarms = found.iter().map(|occurrence| view(occurrence, &registry, rules)).collect();
    Ok(Json(Alarms { revision, alarms }))
}

/// One alarm with its evidence and history.
#[utoipa::path(get, path = "/alarms/{id}", tag = "alarms", responses(
    (status = 200, body = AlarmDetail), (status = 404, body = ErrorBody)))]
async fn show(
    Shared(api): Shared<Arc<Api>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<AlarmDetail>, ApiError> {
    let found = seen(&api, &caller, &id).await?;
    let history = api.state().occurrence_history(&id).await?;
    let names =
        api.state().display_names(history.iter().filter_map(|row| row.by.as_deref())).await?;
    let earlier = api.state().earlier_occurrences(&found, EARLIER_MAX).await?;
    let registry = api.parts.registrar.current();
    let past = Past { history, earlier, names };
    Ok(Json(detail(&found, past, &registry, &api.parts.rules)))
}

/// Why the alarm came; judged again from its evidence.
#[utoipa::path(get, path = "/alarms/{id}/why", tag = "alarms", responses(
    (status = 200, body = Why), (status = 404, body = ErrorBody)))]
async fn why(
    Shared(api): Shared<Arc<Api>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Why>, ApiError> {
    let found = seen(&api, &caller, &id).await?;
    let transition = transition_of(&found).map_err(|source| StateError::Row {
        table: "occurrence",
        id: found.id.clone(),
        source,
    })?;
    let evidence = &transition.evidence;
    let (zh, en) = (rules::why(evidence, Lang::Zh), rules::why(evidence, Lang::En));
    Ok(Json(Why { zh, en, re_evaluated: rules::re_evaluate(evidence).agrees }))
}

/// Signs an alarm (签收).
#[utoipa::path(post, path = "/alarms/{id}/ack", tag = "alarms", request_body = Ack, responses(
    (status = 200, body = Alarm), (status = 403, body = ErrorBody),
    (status = 404, body = ErrorBody), (status = 409, body = ErrorBody)))]
async fn ack(
    Shared(api): Shared<Arc<Api>>,
    caller: Caller,
    Path(id): Path<String>,
    Json(ack): Json<Ack>,
) -> Result<Json<Alarm>, ApiError> {
    let signer = signer(&api, &caller, &ack)?;
    seen(&api, &caller, &id).await?;
    let done = api.state().ack_occurrence(&id, &signer).await;
    acted(&api, "ack", done)
}

/// Releases the latch of an alarm whose condition has gone (复位).
#[utoipa::path(post, path = "/alarms/{id}/reset", tag = "alarms", request_body = Ack, responses(
    (status = 200, body = Alarm), (status = 403, body = ErrorBody),
    (status = 404, body = ErrorBody), (status = 409, body = ErrorBody)))]
async fn reset(
    Shared(api): Shared<Arc<Api>>,
    caller: Caller,
    Path(id): Path<String>,
    Json(ack): Json<Ack>,
) -> Result<Json<Alarm>, ApiError> {
    let signer = signer(&api, &caller, &ack)?;
    seen(&api, &caller, &id).await?;
    let done = api.state().reset_occurrence(&id, &signer).await;
    acted(&api, "reset", done)
}

/// The bureau's people sign; who configures the system does not, and a program does not.
fn signer<'a>(api: &Api, caller: &'a Caller, ack: &'a Ack) -> Result<Signer<'a>, ApiError> {
    caller.need(&[Role::Duty, Role::Officer])?;
    if caller.user.is_none() {
        return Err(ApiError::forbidden());
    }
    if !(1..=IDEMPOTENCY_KEY_BYTES_MAX).contains(&ack.idempotency_key.len()) {
        let message = format!("idempotency_key has 1 to {IDEMPOTENCY_KEY_BYTES_MAX} bytes");
        return Err(ApiError::invalid(message));
    }
    Ok(Signer {
        user: &caller.name,
        display: &caller.display,
        version: ack.version,
        comment: ack.comment.as_deref(),
        idempotency_key: &ack.idempotency_key,
        at: api.now(),
    })
}

/// An alarm the caller may see; any other is not there.
async fn seen(api: &Api, caller: &Caller, id: &str) -> Result<Occurrence, ApiError> {
    let found = api.state().occurrence(id).await?;
    found.filter(|found| caller.scope.allows(&found.site)).ok_or_else(ApiError::not_found)
}

fn acted(
    api: &Api,
    kind: &'static str,
    done: Result<Occurrence, AckError>,
) -> Result<Json<Alarm>, ApiError> {
    let registry = api.parts.registrar.current();
    let card = |occurrence: &Occurrence| view(occurrence, &registry, &api.parts.rules);
    match done {
        Ok(occurrence) => {
            let alarm = card(&occurrence);
            api.announce(&[AlarmChange { kind, occurrence, pages: false }]);
            Ok(Json(alarm))
        }
        Err(AckError::NotFound) => Err(ApiError::not_found()),
        Err(AckError::Conflict(now)) => {
            let message = "the alarm has changed since it was shown";
            Err(ApiError::conflict(message).with_alarm(card(&now)))
        }
        Err(AckError::State(error)) => Err(error.into()),
    }
}

/// What an occurrence's body holds.
type Parsed = Result<Transition, serde_json::Error>;
