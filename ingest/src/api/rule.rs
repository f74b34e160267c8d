//! Whether each rule can run at each site, and what is pending: a rule that cannot run is never counted as quiet.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State as Shared};
use rules::{RuleState, Standing, Text};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::Caller;
use super::{Api, ApiError, ErrorBody};

pub(super) fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new().routes(routes!(states))
}

/// Which site.
#[derive(Debug, Deserialize, IntoParams)]
struct StatesQuery {
    /// Site id; default: all the caller may see.
    site: Option<String>,
}

/// All rules at all scopes.
#[derive(Debug, Serialize, ToSchema)]
struct States {
    /// Rules that run or are learning, among those that apply; none where none applies.
    evaluable_share: Option<f64>,
    rows: Vec<StateRow>,
}

/// One rule at one scope.
#[derive(Debug, Serialize, ToSchema)]
struct StateRow {
    site: String,
    rule: String,
    name_zh: Option<String>,
    name_en: Option<String>,
    scope: String,
    /// evaluating, learning, not_applicable, cannot.
    state: &'static str,
    /// With `cannot`: points, ratings, facts that are missing.
    missing: Vec<String>,
    missing_en: Vec<String>,
    /// With `not_applicable`.
    why: Option<String>,
    why_en: Option<String>,
    /// With `learning`: ms UTC.
    until: Option<i64>,
    /// It runs, but an input is UNKNOWN now: it can neither raise nor clear.
    unknown: bool,
    /// Level of its active alarm.
    active: Option<u8>,
    pending: Option<PendingView>,
    /// Parameters that are not the catalogue's default, as people call them.
    overridden: Vec<String>,
    overridden_en: Vec<String>,
}

/// A delay that is running.
#[derive(Debug, Serialize, ToSchema)]
struct PendingView {
    since: i64,
    for_ms: i64,
    of_ms: i64,
    /// It leads to a clear.
    clearing: bool,
    /// Level it leads to.
    level: u8,
}

/// State of every rule.
#[utoipa::path(get, path = "/rules/state", tag = "rules", params(StatesQuery), responses(
    (status = 200, body = States), (status = 404, body = ErrorBody)))]
async fn states(
    Shared(api): Shared<Arc<Api>>,
    caller: Caller,
    Query(query): Query<StatesQuery>,
) -> Result<Json<States>, ApiError> {
    let registry = api.parts.registrar.current();
    let sites: Vec<String> = match query.site {
        Some(site) => vec![caller.site(&registry, &site)?.site.id.clone()],
        None => registry.sites_in(&caller.scope).map(|entry| entry.site.id.clone()).collect(),
    };
    let mut rows = Vec::new();
    for site in &sites {
        let states = api.parts.sources.rule_states(site);
        rows.extend(states.into_iter().map(|state| row(&api, state)));
    }
    Ok(Json(States { evaluable_share: evaluable_share(&rows), rows }))
}

fn evaluable_share(rows: &[StateRow]) -> Option<f64> {
    let applicable = rows.iter().filter(|row| row.state != "not_applicable").count();
    let cannot = rows.iter().filter(|row| row.state == "cannot").count();
    // Counts of rules are far below 2^53.
    (applicable > 0).then(|| (applicable - cannot) as f64 / applicable as f64)
}

fn row(api: &Api, state: RuleState) -> StateRow {
    let rule = api.parts.rules.rule(&state.rule);
    let name = rule.map(|rule| rule.name.clone());
    let label = |name: &String| {
        let spec = rule.and_then(|rule| rule.param(name));
        spec.map_or_else(|| Text::same(name), |spec| spec.label.clone())
    };
    let labels = state.overridden.iter().map(label).map(|text| (text.zh, text.en));
    let (overridden, overridden_en) = labels.unzip();
    let mut row = StateRow {
        site: state.scope.site,
        name_zh: name.as_ref().map(|name| name.zh.clone()),
        name_en: name.map(|name| name.en),
        rule: state.rule,
        scope: state.scope.object,
        state: "evaluating",
        missing: Vec::new(),
        missing_en: Vec::new(),
        why: None,
        why_en: None,
        until: None,
        unknown: state.unknown,
        active: state.active.map(rules::Severity::number),
        pending: state.pending.map(PendingView::from),
        overridden,
        overridden_en,
    };
    match state.standing {
        Standing::Evaluating => {}
        Standing::Learning { until } => {
            row.state = "learning";
            row.until = Some(until);
        }
        Standing::NotApplicable { why } => {
            row.state = "not_applicable";
            (row.why, row.why_en) = (Some(why.zh), Some(why.en));
        }
        Standing::Cannot { missing } => {
            row.state = "cannot";
            (row.missing, row.missing_en) =
                missing.into_iter().map(|text| (text.zh, text.en)).unzip();
        }
    }
    row
}

impl From<rules::Pending> for PendingView {
    fn from(pending: rules::Pending) -> Self {
        Self {
            since: pending.since,
            for_ms: pending.for_ms,
            of_ms: pending.of_ms,
            clearing: pending.clearing,
            level: pending.level.number(),
        }
    }
}
