//! How much of what was expected of each site came, by day: which site is half blind.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State as Shared};
use jiff::ToSpan as _;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::Caller;
use super::{Api, ApiError, ErrorBody};
use crate::account::Role;
use crate::completeness::{Counts, DAYS_KEPT, DayOfSite};

/// Days answered where the caller names none.
const DAYS_DEFAULT: i64 = 7;
/// Rows answered at once.
const ROWS_MAX: usize = 10_000;
/// One day, ms.
const DAY_MS: i64 = 86_400_000;

pub(super) fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new().routes(routes!(completeness))
}

/// Which days and sites.
#[derive(Debug, Deserialize, IntoParams)]
struct DaysQuery {
    /// First day, `YYYY-MM-DD` in the site's own time; without it the seven days up to `to`.
    from: Option<String>,
    /// Last day; without it today.
    to: Option<String>,
    /// One site.
    site: Option<String>,
}

/// One site on one day.
#[derive(Debug, Serialize, ToSchema)]
struct DayView {
    site: String,
    name: String,
    name_en: String,
    /// `YYYY-MM-DD` in the site's own time.
    day: String,
    #[serde(flatten)]
    counts: Counts,
    /// Good and uncertain samples as a share of the expected ones, 0 to 1; none where nothing was expected.
    share: Option<f64>,
}

/// The newest day first, sites by id.
#[derive(Debug, Serialize, ToSchema)]
struct CompletenessView {
    days: Vec<DayView>,
    /// There are more than are answered: ask for fewer days, or for one site.
    truncated: bool,
}

/// What came of each site, by day. Late data counts in the day of its samples. A plant sees its own site.
#[utoipa::path(get, path = "/completeness", tag = "sites", params(DaysQuery), responses(
    (status = 200, body = CompletenessView), (status = 400, body = ErrorBody),
    (status = 403, body = ErrorBody), (status = 404, body = ErrorBody)))]
async fn completeness(
    Shared(api): Shared<Arc<Api>>,
    caller: Caller,
    Query(query): Query<DaysQuery>,
) -> Result<Json<CompletenessView>, ApiError> {
    caller.need(&[Role::Administrator, Role::Duty, Role::Officer, Role::Auditor, Role::Plant])?;
    let registry = api.parts.registrar.current();
    if let Some(site) = &query.site {
        caller.site(&registry, site)?;
    }
    // The day that has begun anywhere: a site's own today is this or the one before.
    let newest = api.now().div_euclid(DAY_MS) + 1;
    let to = query.to.as_deref().map_or(Ok(newest), |text| day_of("to", text))?;
    let first = query.from.as_deref().map_or(Ok(to - DAYS_DEFAULT), |text| day_of("from", text))?;
    let from = first.max(newest - DAYS_KEPT);
    if first > to {
        return Err(ApiError::invalid("from must not be after to"));
    }
    let wanted = |site: &str| {
        caller.scope.allows(site) && query.site.as_ref().is_none_or(|wanted| wanted == site)
    };
    let mut rows = api.parts.sources.completeness(from, to, &wanted);
    let truncated = rows.len() > ROWS_MAX;
    rows.truncate(ROWS_MAX);
    let view = |row: DayOfSite| {
        let name = registry.site(&row.site).map(|entry| entry.site.name.clone());
        let name = name.unwrap_or_default();
        let (day, share) = (text_of(row.day), row.counts.share());
        DayView { site: row.site, name: name.zh, name_en: name.en, day, counts: row.counts, share }
    };
    Ok(Json(CompletenessView { days: rows.into_iter().map(view).collect(), truncated }))
}

const EPOCH: Date = Date::constant(1970, 1, 1);

/// Days since 1970-01-01.
fn day_of(name: &str, text: &str) -> Result<i64, ApiError> {
    let date: Date = text
        .parse()
        .map_err(|_| ApiError::invalid(format!("{name} must be a day, e.g. 2026-11-26")))?;
    let since = EPOCH.until(date).map_err(|_| ApiError::invalid("no such day"))?;
    Ok(i64::from(since.get_days()))
}

fn text_of(day: i64) -> String {
    EPOCH.checked_add(day.days()).map_or_else(|_| String::new(), |date| date.to_string())
}
