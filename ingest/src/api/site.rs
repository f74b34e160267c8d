//! Sites with their devices, and the newest values of one site.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State as Shared};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::Caller;
use super::source::{LiveQuality, LiveValue};
use super::{Api, ApiError, ErrorBody};
use crate::account::Role;
use crate::alarms::{Occurrence, OccurrenceFilter};
use crate::registry::{Device, SiteEntry, county};

mod health;

use health::Newest;

pub(super) fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new().routes(routes!(sites)).routes(routes!(values))
}

/// All sites the caller may see.
#[derive(Debug, Serialize, ToSchema)]
struct Sites {
    sites: Vec<SiteView>,
}

/// A site.
#[derive(Debug, Serialize, ToSchema)]
struct SiteView {
    id: String,
    name: String,
    name_en: String,
    county: String,
    county_name: String,
    county_name_en: String,
    sectors: Vec<String>,
    zone: String,
    contacts: Vec<ContactView>,
    devices: Vec<DeviceView>,
    /// Worst severity of its active alarms, 1 红 … 4 蓝; 0 = none.
    worst: i32,
    /// How many alarms are active.
    active: usize,
    /// Series that are expected at a rhythm.
    expected: usize,
    /// Share of the expected series that keep their rhythm, 0 to 1; what was never heard counts as silent. None where
    /// nothing is expected.
    completeness: Option<f64>,
}

/// Whom to call.
#[derive(Debug, Serialize, ToSchema)]
struct ContactView {
    name: String,
    role: String,
    phone: String,
}

/// A device.
#[derive(Debug, Serialize, ToSchema)]
struct DeviceView {
    id: String,
    name: String,
    name_en: String,
    role: String,
    gateway: Option<String>,
    /// It gives usable samples now. None: nothing is known of it.
    online: Option<bool>,
    points: Vec<PointView>,
}

/// An expected quantity.
#[derive(Debug, Serialize, ToSchema)]
struct PointView {
    quantity: String,
    unit: String,
    name_zh: String,
    name_en: String,
}

/// Whose values.
#[derive(Debug, Deserialize, IntoParams)]
struct ValuesQuery {
    /// Site id.
    site: String,
}

/// Newest values with the stream's number at which they were read.
#[derive(Debug, Serialize, ToSchema)]
struct Values {
    revision: u64,
    values: Vec<LiveValue>,
}

/// Lists sites with their devices and the state of their alarms.
#[utoipa::path(get, path = "/sites", tag = "sites", responses(
    (status = 200, body = Sites), (status = 401, body = ErrorBody)))]
async fn sites(Shared(api): Shared<Arc<Api>>, caller: Caller) -> Result<Json<Sites>, ApiError> {
    let filter = OccurrenceFilter { site: caller.site_filter(), ..OccurrenceFilter::default() };
    let mut active: HashMap<String, Vec<Occurrence>> = HashMap::new();
    for alarm in api.state().occurrences(&filter).await? {
        active.entry(alarm.site.clone()).or_default().push(alarm);
    }
    let registry = api.parts.registrar.current();
    // Telephone numbers are for those who call: bureau staff, and a plant its own.
    let calls = matches!(caller.role, Role::Duty | Role::Officer | Role::Plant);
    let sites = registry.sites_in(&caller.scope).map(|entry| {
        let alarms = active.get(&entry.site.id).map(Vec::as_slice).unwrap_or_default();
        site_view(&api, entry, alarms, calls)
    });
    Ok(Json(Sites { sites: sites.collect() }))
}

fn site_view(api: &Api, entry: &SiteEntry, alarms: &[Occurrence], calls: bool) -> SiteView {
    let site = &entry.site;
    let values = api.parts.sources.values(&site.id);
    let (newest, now) = (Newest::of(&values), api.now());
    let (expected, completeness) = newest.completeness(entry, now);
    let contacts = site.contacts.iter().filter(|_| calls);
    let alarms = alarms.iter().filter(|alarm| alarm.active);
    SiteView {
        id: site.id.clone(),
        name: site.name.zh.clone(),
        name_en: site.name.en.clone(),
        county: site.county.clone(),
        county_name: county::name_zh(&site.county).to_owned(),
        county_name_en: county::name_en(&site.county).to_owned(),
        sectors: site.sectors.clone(),
        zone: site.zone.clone(),
        contacts: contacts
            .map(|contact| ContactView {
                name: contact.name.clone(),
                role: contact.role.clone(),
                phone: contact.phone.clone(),
            })
            .collect(),
        devices: entry
            .devices
            .values()
            .map(|device| device_view(device, newest.online(device, now)))
            .collect(),
        worst: alarms.clone().map(|alarm| alarm.severity).min().unwrap_or(0),
        active: alarms.count(),
        expected,
        completeness,
    }
}

fn device_view(device: &Device, online: Option<bool>) -> DeviceView {
    DeviceView {
        id: device.id.clone(),
        name: device.name.zh.clone(),
        name_en: device.name.en.clone(),
        role: device.role.clone(),
        gateway: device.gateway.clone(),
        online,
        points: device.points.iter().map(|point| point_view(&point.quantity)).collect(),
    }
}

fn point_view(quantity: &str) -> PointView {
    let known = wire::quantity::lookup(quantity);
    PointView {
        quantity: quantity.to_owned(),
        unit: known.map_or("", |info| info.unit).to_owned(),
        name_zh: known.map_or(quantity, |info| info.zh).to_owned(),
        name_en: known.map_or(quantity, |info| info.en).to_owned(),
    }
}

/// Newest value of every expected point of a site, and of what else it sends.
#[utoipa::path(get, path = "/values", tag = "sites", params(ValuesQuery), responses(
    (status = 200, body = Values), (status = 404, body = ErrorBody)))]
async fn values(
    Shared(api): Shared<Arc<Api>>,
    caller: Caller,
    Query(query): Query<ValuesQuery>,
) -> Result<Json<Values>, ApiError> {
    let revision = api.parts.hub.revision();
    let registry = api.parts.registrar.current();
    let entry = caller.site(&registry, &query.site)?;
    let mut values = api.parts.sources.values(&query.site);
    for device in entry.devices.values() {
        for point in &device.points {
            let is_seen = values
                .iter()
                .any(|value| value.device == device.id && value.quantity == point.quantity);
            if !is_seen {
                values.push(never_seen(&query.site, &device.id, point));
            }
        }
    }
    Ok(Json(Values { revision, values }))
}

/// What is expected and never came is as much worth showing as what came.
fn never_seen(site: &str, device: &str, point: &rules::site::Point) -> LiveValue {
    let unit = wire::quantity::lookup(&point.quantity).map_or("", |info| info.unit);
    LiveValue {
        site: site.to_owned(),
        device: device.to_owned(),
        quantity: point.quantity.clone(),
        unit: unit.to_owned(),
        value: None,
        quality: LiveQuality::Unknown,
        reason: None,
        t: None,
        received_at: None,
        period_ms: point.period_ms,
    }
}
