//! Reads `[[site]]` and what stands in it.

use std::collections::BTreeMap;
use std::path::Path;

use rules::site::{Group, Pair, Point};
use rules::{Catalogue, Text};

use super::reader::{At, Table};
use super::{SeedGateway, SeedSite, fact, overridden};
use crate::registry::{Capacity, Contact, Device, GridAccount, Place, Rating, SECTORS, Site};
use crate::registry::{county, is_id, uscc};
use crate::secret::Secret;
use crate::selfwatch::{PREFIX, is_synthetic};

/// Units that ratings must have; other ratings take the unit written.
const RATING_UNITS: [(&str, &str); 8] = [
    ("I_N", "A"),
    ("U_N", "V"),
    ("S_N", "kVA"),
    ("P_ref", "kW"),
    ("P_base", "kW"),
    ("P_idle", "kW"),
    ("P_run", "kW"),
    ("dp_ref", "Pa"),
];
/// Shortest and longest period a point may have, ms.
const PERIOD_MS: std::ops::RangeInclusive<i64> = 50..=86_400_000;

/// Devices of one site: as many as one gateway may read.
const DEVICES_MAX: usize = wire::limits::DEVICES_MAX;
/// Expected series of one site: as many as the rules take of one gateway. The whole model of a site is one record.
const SERIES_MAX: usize = rules::evaluator::SERIES_MAX;

/// Reads one site; `None` when it lacks what identifies it (then problems say so).
pub(super) fn read(table: Table<'_>, folder: &Path, catalogue: &Catalogue) -> Option<SeedSite> {
    let id = need_own_id(&table, "id", "site");
    let name = need_name(&table, "name");
    let uscc = table.need_text("uscc");
    if let Some(Err(error)) = uscc.as_ref().map(|code| uscc::check(&code.value)) {
        table.problem_at(uscc.as_ref()?, error.to_string());
    }
    let county = county(&table);
    let mut devices = BTreeMap::new();
    for entry in table.tables("device") {
        let place = At { value: (), span: entry.span.clone(), path: entry.path.clone() };
        let Some(device) = device(entry) else { continue };
        if let Some(twin) = devices.insert(device.id.clone(), device) {
            table.problem_at(&place, format!("device {:?} occurs more than once", twin.id));
        }
    }
    let gateways = table.tables("gateway").into_iter();
    let gateways: Vec<_> = gateways.filter_map(|entry| gateway(entry, folder)).collect();
    let names: Vec<String> = devices.keys().cloned().collect();
    let pairs: Vec<_> = table.tables("pair").into_iter().filter_map(|t| pair(t, &names)).collect();
    let groups: Vec<_> =
        table.tables("group").into_iter().filter_map(|t| group(t, &names)).collect();
    let objects = objects(&devices, &pairs, &groups);
    let overrides = table.tables("override").into_iter();
    let overrides = overrides.filter_map(|t| overridden::read(t, catalogue, &objects)).collect();
    let site = Site {
        id: id.unwrap_or_default(),
        name,
        uscc: uscc.map(|at| at.value).unwrap_or_default(),
        county,
        sectors: sectors(&table),
        zone: zone(&table),
        position: table.table("position").and_then(position),
        contract_kw: table.number("contract_kw").map(|at| at.value),
        feeder: table.text("feeder").map(|at| at.value),
        capacities: table.tables("capacity").into_iter().filter_map(capacity).collect(),
        contacts: table.tables("contact").into_iter().filter_map(contact).collect(),
        accounts: table.tables("account").into_iter().filter_map(account).collect(),
        ratings: ratings(&table),
        pairs,
        groups,
        overrides,
    };
    let facts = table.tables("fact").into_iter().filter_map(|t| fact::read(t, &names)).collect();
    check_gateways(&table, &devices, &gateways);
    check_size(&table, &devices);
    table.finish();
    Some(SeedSite { site, devices, gateways, facts })
}

/// What a rule of the site may stand at, as its alarms name it.
fn objects(devices: &BTreeMap<String, Device>, pairs: &[Pair], groups: &[Group]) -> Vec<String> {
    let protected = devices.values().filter_map(|device| device.protects.clone());
    let pairs = pairs.iter().map(Pair::object);
    let groups = groups.iter().map(|group| group.id.clone());
    devices.keys().cloned().chain(protected).chain(pairs).chain(groups).collect()
}

fn check_size(table: &Table<'_>, devices: &BTreeMap<String, Device>) {
    let series: usize = devices.values().map(|device| device.points.len()).sum();
    for (count, most, what) in
        [(devices.len(), DEVICES_MAX, "devices"), (series, SERIES_MAX, "points")]
    {
        if count > most {
            table.problem(format!(
                "{count} {what} are too many for one site, which has at most {most}: register the plant as several sites, e.g. one a workshop"
            ));
        }
    }
}

fn check_gateways(table: &Table<'_>, devices: &BTreeMap<String, Device>, gateways: &[SeedGateway]) {
    for gateway in gateways.iter().filter(|gateway| is_synthetic(&gateway.name)) {
        let name = &gateway.name;
        table.problem(format!(
            "gateway {name:?}: names that begin with {PREFIX} are the centre's own"
        ));
    }
    for device in devices.values() {
        let Some(name) = &device.gateway else { continue };
        if !gateways.iter().any(|gateway| gateway.name == *name) {
            let id = &device.id;
            table.problem(format!(
                "device {id:?} is read by {name:?}, which is no gateway of this site"
            ));
        }
    }
}

/// A text that may be an id.
fn need_id(table: &Table<'_>, key: &'static str) -> Option<String> {
    need_id_at(table, key).map(|at| at.value)
}

/// An id that nothing else of its kind has in the whole file.
pub(super) fn need_own_id(
    table: &Table<'_>,
    key: &'static str,
    kind: &'static str,
) -> Option<String> {
    let at = need_id_at(table, key)?;
    table.once(kind, &at);
    Some(at.value)
}

fn need_id_at(table: &Table<'_>, key: &'static str) -> Option<At<String>> {
    let at = table.need_text(key)?;
    if !is_id(&at.value) {
        table.problem_at(&at, "must be 1 to 64 letters, digits, '_' or '-'");
        return None;
    }
    Some(at)
}

/// `name = "…"` or `name_zh` with `name_en`; English may be left out.
fn need_name(table: &Table<'_>, key: &'static str) -> Text {
    let en = table.text("name_en").map(|at| at.value);
    let zh = table.need_text(key).map(|at| at.value).unwrap_or_default();
    Text { en: en.unwrap_or_else(|| zh.clone()), zh }
}

fn county(table: &Table<'_>) -> String {
    let Some(at) = table.need_text("county") else { return String::new() };
    match county::in_force(&at.value) {
        Ok(code) => code.to_owned(),
        Err(message) => {
            table.problem_at(&at, message);
            String::new()
        }
    }
}

fn sectors(table: &Table<'_>) -> Vec<String> {
    let tags = table.texts("sectors");
    if tags.is_empty() {
        table.problem(format!("sectors is missing: one or more of {}", SECTORS.join(", ")));
    }
    for tag in &tags {
        if !SECTORS.contains(&tag.value.as_str()) {
            table.problem_at(tag, format!("{:?} is none of {}", tag.value, SECTORS.join(", ")));
        }
    }
    tags.into_iter().map(|tag| tag.value).collect()
}

fn zone(table: &Table<'_>) -> String {
    let Some(at) = table.need_text("zone") else { return String::new() };
    if jiff::tz::TimeZone::get(&at.value).is_err() {
        table.problem_at(&at, "is no IANA time zone, e.g. \"Asia/Shanghai\"");
    }
    at.value
}

fn position(table: Table<'_>) -> Option<Place> {
    let (lat, lon) = (table.need_number("lat"), table.need_number("lon"));
    let place = Place { lat: lat?.value, lon: lon?.value };
    if !(-90.0..=90.0).contains(&place.lat) || !(-180.0..=180.0).contains(&place.lon) {
        table.problem("lat is -90 to 90 degrees north, lon -180 to 180 degrees east");
    }
    table.finish();
    Some(place)
}

fn capacity(table: Table<'_>) -> Option<Capacity> {
    let (what, value) = (table.need_text("what"), table.need_number("value"));
    let unit = table.need_text("unit");
    table.finish();
    Some(Capacity { what: what?.value, value: value?.value, unit: unit?.value })
}

fn contact(table: Table<'_>) -> Option<Contact> {
    let (name, role) = (table.need_text("name"), table.need_text("role"));
    let phone = table.need_text("phone");
    table.finish();
    Some(Contact { name: name?.value, role: role?.value, phone: phone?.value })
}

fn account(table: Table<'_>) -> Option<GridAccount> {
    let (number, from, to) = (table.need_text("number"), table.need_text("from"), table.text("to"));
    for day in from.iter().chain(to.iter()) {
        if day.value.parse::<jiff::civil::Date>().is_err() {
            table.problem_at(day, "must be a day, e.g. \"2026-01-31\"");
        }
    }
    table.finish();
    Some(GridAccount { number: number?.value, from: from?.value, to: to.map(|at| at.value) })
}

/// `ratings = { I_N = "630 A" }`: a number and its unit.
fn ratings(table: &Table<'_>) -> BTreeMap<String, Rating> {
    let mut ratings = BTreeMap::new();
    for (name, at) in table.free_texts("ratings") {
        match rating(&name, &at.value) {
            Ok(rating) => {
                ratings.insert(name, rating);
            }
            Err(message) => table.problem_at(&at, message),
        }
    }
    ratings
}

fn rating(name: &str, text: &str) -> Result<Rating, String> {
    let (number, unit) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
    let value = number.parse::<f64>().ok().filter(|value| value.is_finite());
    let value =
        value.ok_or_else(|| format!("{text:?} is not a number with a unit, e.g. \"630 A\""))?;
    let unit = unit.trim().to_owned();
    let wanted = RATING_UNITS.iter().find(|(known, _)| *known == name).map(|(_, unit)| *unit);
    match wanted {
        Some(wanted) if wanted != unit => {
            Err(format!("{name} is given in {wanted}, not in {unit:?}"))
        }
        Some(_) if value <= 0.0 => Err(format!("{name} must be above 0")),
        _ => Ok(Rating { value, unit }),
    }
}

fn gateway(table: Table<'_>, folder: &Path) -> Option<SeedGateway> {
    let name = need_own_id(&table, "name", "gateway");
    let replaces = table.text("replaces").map(|at| at.value);
    let key_file = table.text("key_file");
    let key = key_file.and_then(|at| match read_key(&folder.join(&at.value)) {
        Ok(key) => Some(key),
        Err(message) => {
            table.problem_at(&at, message);
            None
        }
    });
    table.finish();
    Some(SeedGateway { name: name?, key, replaces })
}

/// A key file holds 64 hex digits; the message never shows what it holds.
fn read_key(path: &Path) -> Result<Secret, String> {
    let text = std::fs::read_to_string(path);
    let text = text.map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    let key = text.trim();
    if key.len() != 64 || !key.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(format!("{} does not hold a key of 64 hex digits", path.display()));
    }
    Ok(Secret::new(key.to_ascii_lowercase()))
}

fn device(table: Table<'_>) -> Option<Device> {
    let id = need_id(&table, "id");
    let name = table.text("name").map(|at| at.value);
    let name_en = table.text("name_en").map(|at| at.value);
    let role = role(&table);
    let zh = name.or_else(|| id.clone()).unwrap_or_default();
    let device = Device {
        id: id.unwrap_or_default(),
        name: Text { en: name_en.unwrap_or_else(|| zh.clone()), zh },
        role: role.unwrap_or_default(),
        gateway: table.text("gateway").map(|at| at.value),
        tags: table.texts("tags").into_iter().map(|at| at.value).collect(),
        ratings: ratings(&table),
        points: points(&table),
        protects: table.text("protects").map(|at| at.value),
        expected_since: 0,
    };
    table.finish();
    (!device.id.is_empty()).then_some(device)
}

fn role(table: &Table<'_>) -> Option<String> {
    let at = table.need_text("role")?;
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if at.value.is_empty() || !at.value.chars().all(fits) {
        table.problem_at(
            &at,
            "must be a word of lower-case letters, digits and '_', e.g. \"dust_fan\"",
        );
        return None;
    }
    Some(at.value)
}

fn points(table: &Table<'_>) -> Vec<Point> {
    let mut points: Vec<Point> = Vec::new();
    for entry in table.tables("points") {
        let (quantity, period) = (entry.need_text("quantity"), entry.whole("period_ms"));
        if period.is_none() {
            entry.problem("period_ms is missing: how often the value is expected, in ms");
        }
        if let Some(unknown) =
            quantity.as_ref().filter(|at| wire::quantity::lookup(&at.value).is_none())
        {
            let message = format!(
                "{:?} is no quantity of the vocabulary, e.g. p_total, i_a, gas_lel",
                unknown.value
            );
            entry.problem_at(unknown, message);
        }
        if let (Some(quantity), Some(period)) = (quantity, period) {
            if !PERIOD_MS.contains(&period.value) {
                entry.problem_at(&period, "must be 50 ms to 86,400,000 ms (a day)");
            }
            if points.iter().any(|known| known.quantity == quantity.value) {
                entry.problem_at(&quantity, format!("{:?} occurs more than once", quantity.value));
            }
            points.push(Point { quantity: quantity.value, period_ms: period.value });
        }
        entry.finish();
    }
    points
}

fn pair(table: Table<'_>, devices: &[String]) -> Option<Pair> {
    let kind = table.need_text("kind");
    let production = known_device(&table, table.need_text("production"), devices);
    let protective = known_device(&table, table.need_text("protective"), devices);
    table.finish();
    Some(Pair { kind: kind?.value, production: production?, protective: protective? })
}

/// A device that stands in this site.
pub(super) fn known_device(
    table: &Table<'_>,
    at: Option<At<String>>,
    devices: &[String],
) -> Option<String> {
    let at = at?;
    if !devices.contains(&at.value) {
        table.problem_at(&at, format!("{:?} is no device of this site", at.value));
        return None;
    }
    Some(at.value)
}

fn group(table: Table<'_>, devices: &[String]) -> Option<Group> {
    let (kind, id) = (table.need_text("kind"), need_id(&table, "id"));
    let name = need_name(&table, "name");
    let members = table.texts("devices").into_iter();
    let members = members.filter_map(|at| known_device(&table, Some(at), devices)).collect();
    table.finish();
    Some(Group { kind: kind?.value, id: id?, name, devices: members })
}
