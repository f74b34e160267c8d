//! Facts: orders, approvals, planned work, calibrations. Officers record them; a plant files its own planned work, which
//! is shown and never suppresses.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State as Shared};
use axum::http::StatusCode;
use rules::fact::RegState;
use rules::{Fact, FactBody};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::Caller;
use super::{Api, ApiError, ErrorBody};
use crate::account::Role;
use crate::registry::{NewFact, SiteEntry, fact::kind_of};

mod bounds;

/// Longest text of a fact, characters.
const TEXT_CHARS_MAX: usize = 200;

pub(super) fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new().routes(routes!(list, record))
}

/// Which facts.
#[derive(Debug, Deserialize, IntoParams)]
struct FactsQuery {
    /// Site id; default: all the caller may see.
    site: Option<String>,
}

/// Newest revision of each fact.
#[derive(Debug, Serialize, ToSchema)]
struct Facts {
    facts: Vec<FactView>,
}

/// A fact.
#[derive(Debug, Serialize, ToSchema)]
struct FactView {
    id: String,
    revision: u64,
    site: String,
    /// reg_state, approval, work, calibration.
    kind: &'static str,
    valid_from: i64,
    valid_to: Option<i64>,
    recorded_at: i64,
    withdrawn: bool,
    /// With `reg_state`.
    state: Option<String>,
    document: Option<String>,
    base_kw: Option<f64>,
    /// With `work`.
    work: Option<String>,
    devices: Vec<String>,
    declared_kw: Option<f64>,
    approved_by: Option<String>,
}

/// What a fact to be recorded says.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Kind {
    /// Order or other change of the regulatory state.
    RegState,
    /// Approval to resume production.
    Approval,
    /// Planned work.
    Work,
    /// Calibration of detectors: masks their pages, at most 2 h.
    Calibration,
}

/// A fact to be recorded; with the id of a known one it is its next revision.
#[derive(Debug, Deserialize, ToSchema)]
struct FactForm {
    id: Option<String>,
    site: String,
    kind: Kind,
    /// Ms UTC, at most 90 days ahead.
    valid_from: i64,
    /// Ms UTC, exclusive. `work` needs one, at most 30 days after `valid_from`.
    valid_to: Option<i64>,
    /// Takes the fact back.
    #[serde(default)]
    withdrawn: bool,
    /// With `reg_state`: normal, rectification, suspended, construction_halted, maintenance,
    /// awaiting_acceptance, long_stopped, closed.
    #[schema(value_type = Option<String>)]
    state: Option<RegState>,
    /// With `reg_state` and `approval`: document number 文号.
    document: Option<String>,
    /// With `reg_state`: security load declared, kW.
    base_kw: Option<f64>,
    /// With `work`: what is done.
    work: Option<String>,
    /// With `work` and `calibration`.
    #[serde(default)]
    devices: Vec<String>,
    /// With `work`: power declared, kW.
    declared_kw: Option<f64>,
    /// With `work`: the bureau approves it; only then it may suppress.
    #[serde(default)]
    approved: bool,
}

/// Lists facts, newest revision of each, oldest first.
#[utoipa::path(get, path = "/facts", tag = "facts", params(FactsQuery), responses(
    (status = 200, body = Facts), (status = 404, body = ErrorBody)))]
async fn list(
    Shared(api): Shared<Arc<Api>>,
    caller: Caller,
    Query(query): Query<FactsQuery>,
) -> Result<Json<Facts>, ApiError> {
    let registry = api.parts.registrar.current();
    if let Some(site) = &query.site {
        caller.site(&registry, site)?;
    }
    let wanted = |site: &str| query.site.as_deref().is_none_or(|asked| asked == site);
    let seen = registry.facts().iter();
    let seen = seen.filter(|fact| caller.scope.allows(&fact.site) && wanted(&fact.site));
    Ok(Json(Facts { facts: seen.map(|fact| FactView::from(fact.as_ref())).collect() }))
}

/// Records a fact.
#[utoipa::path(post, path = "/facts", tag = "facts", request_body = FactForm, responses(
    (status = 201, body = FactView), (status = 400, body = ErrorBody),
    (status = 403, body = ErrorBody), (status = 404, body = ErrorBody),
    (status = 409, body = ErrorBody), (status = 429, body = ErrorBody)))]
async fn record(
    Shared(api): Shared<Arc<Api>>,
    caller: Caller,
    Json(form): Json<FactForm>,
) -> Result<(StatusCode, Json<FactView>), ApiError> {
    may_record(&caller, &form)?;
    let now = api.now();
    bounds::check(&form, now)?;
    let registry = api.parts.registrar.current();
    let entry = caller.site(&registry, &form.site)?;
    check_revision(&caller, &registry, &form)?;
    bounds::check_room(&form, &registry, now)?;
    api.changes.check(&caller, now)?;
    let body = body(&caller, entry, &form)?;
    let new = NewFact {
        id: form.id,
        site: form.site,
        valid_from: form.valid_from,
        valid_to: form.valid_to,
        withdrawn: form.withdrawn,
        body,
    };
    let fact = api.state().record_fact(new, &caller.name, now).await?;
    api.parts.registrar.replace(api.state().load_registry().await?);
    api.parts.facts_recorded.notify_one();
    Ok((StatusCode::CREATED, Json(FactView::from(&fact))))
}

/// Officers record everything, duty staff planned work and calibrations, a plant its own planned work unapproved. What an
/// office decides is a person's: no program orders, approves or lets a plant resume.
fn may_record(caller: &Caller, form: &FactForm) -> Result<(), ApiError> {
    let decides = form.approved || matches!(form.kind, Kind::RegState | Kind::Approval);
    if decides && caller.user.is_none() {
        let text = "orders and approvals are recorded by a signed-in person, not by an API key";
        return Err(ApiError::new(StatusCode::FORBIDDEN, "forbidden", text));
    }
    match (caller.role, form.kind) {
        (Role::Officer, _) | (Role::Duty, Kind::Work | Kind::Calibration) => Ok(()),
        (Role::Plant, Kind::Work) if !form.approved => Ok(()),
        _ => Err(ApiError::forbidden()),
    }
}

/// A revision stays at its site and its kind, and a plant does not touch what the bureau has approved.
fn check_revision(
    caller: &Caller,
    registry: &crate::registry::Registry,
    form: &FactForm,
) -> Result<(), ApiError> {
    let Some(id) = &form.id else { return Ok(()) };
    let Some(known) = registry.facts().iter().find(|fact| fact.id == *id) else {
        let message = "no fact has this id; leave it out to record a new one";
        return Err(ApiError::invalid(message));
    };
    if !caller.scope.allows(&known.site) {
        return Err(ApiError::invalid("no fact has this id; leave it out to record a new one"));
    }
    let same_kind = matches!(
        (form.kind, &known.body),
        (Kind::RegState, FactBody::RegState { .. })
            | (Kind::Approval, FactBody::Approval { .. })
            | (Kind::Work, FactBody::Work { .. })
            | (Kind::Calibration, FactBody::Calibration { .. })
    );
    if known.site != form.site || !same_kind {
        return Err(ApiError::invalid("a fact keeps its site and its kind over all revisions"));
    }
    let approved = matches!(&known.body, FactBody::Work { approved_by: Some(_), .. });
    if approved && (caller.role == Role::Plant || caller.user.is_none()) {
        return Err(ApiError::forbidden());
    }
    Ok(())
}

fn body(caller: &Caller, entry: &SiteEntry, form: &FactForm) -> Result<FactBody, ApiError> {
    if let Some(unknown) = form.devices.iter().find(|id| !entry.devices.contains_key(*id)) {
        return Err(ApiError::invalid(format!("{unknown:?} is no device of this site")));
    }
    for number in [form.base_kw, form.declared_kw].into_iter().flatten() {
        if !number.is_finite() || number < 0.0 {
            return Err(ApiError::invalid("a power is a number of kW, not below 0"));
        }
    }
    let mut devices = form.devices.clone();
    devices.sort_unstable();
    devices.dedup();
    match form.kind {
        Kind::RegState => {
            let state = form.state.ok_or_else(|| ApiError::invalid("state is missing"))?;
            let document = text("document", form.document.as_deref())?;
            Ok(FactBody::RegState { state, document, base_kw: form.base_kw })
        }
        Kind::Approval => {
            Ok(FactBody::Approval { document: text("document", form.document.as_deref())? })
        }
        Kind::Work => Ok(FactBody::Work {
            work: text("work", form.work.as_deref())?,
            devices,
            declared_kw: form.declared_kw,
            approved_by: form.approved.then(|| caller.display.clone()),
        }),
        Kind::Calibration if devices.is_empty() => {
            Err(ApiError::invalid("a calibration names its detectors in devices"))
        }
        Kind::Calibration => Ok(FactBody::Calibration { devices }),
    }
}

fn text(name: &str, given: Option<&str>) -> Result<String, ApiError> {
    let given = given.map(str::trim).unwrap_or_default();
    if !(1..=TEXT_CHARS_MAX).contains(&given.chars().count()) {
        return Err(ApiError::invalid(format!("{name} has 1 to {TEXT_CHARS_MAX} characters")));
    }
    Ok(given.to_owned())
}

impl From<&Fact> for FactView {
    fn from(fact: &Fact) -> Self {
        let mut view = Self {
            id: fact.id.clone(),
            revision: fact.revision,
            site: fact.site.clone(),
            kind: kind_of(&fact.body),
            valid_from: fact.valid_from,
            valid_to: fact.valid_to,
            recorded_at: fact.recorded_at,
            withdrawn: fact.withdrawn,
            state: None,
            document: None,
            base_kw: None,
            work: None,
            devices: Vec::new(),
            declared_kw: None,
            approved_by: None,
        };
        match fact.body.clone() {
            FactBody::RegState { state, document, base_kw } => {
                let word = serde_json::to_value(state).ok();
                view.state = word.and_then(|word| word.as_str().map(str::to_owned));
                (view.document, view.base_kw) = (Some(document), base_kw);
            }
            FactBody::Approval { document } => view.document = Some(document),
            FactBody::Work { work, devices, declared_kw, approved_by } => {
                (view.work, view.devices) = (Some(work), devices);
                (view.declared_kw, view.approved_by) = (declared_kw, approved_by);
            }
            FactBody::Calibration { devices } => view.devices = devices,
            FactBody::Site { .. } => {}
        }
        view
    }
}
