//! From what is registered to what the rule engine is told: units are dropped here, and only here.

use std::collections::BTreeMap;

use rules::SiteModel;

use super::{Device, Rating, SiteEntry};

/// Offset used where a zone is unknown to this machine: China's.
const CHINA_OFFSET_MIN: i32 = 480;

/// The engine's model of a site.
pub(super) fn site_model(entry: &SiteEntry) -> SiteModel {
    let site = &entry.site;
    SiteModel {
        site: site.id.clone(),
        name: site.name.clone(),
        county: site.county.clone(),
        sector_tags: site.sectors.clone(),
        utc_offset_min: utc_offset_min(&site.zone),
        revision: entry.revision,
        ratings: values(&site.ratings),
        learning: BTreeMap::new(),
        feeder: site.feeder.clone(),
        devices: entry.devices.values().map(device).collect(),
        pairs: site.pairs.clone(),
        groups: site.groups.clone(),
        overrides: site.overrides.clone(),
    }
}

fn device(device: &Device) -> rules::site::Device {
    rules::site::Device {
        id: device.id.clone(),
        name: device.name.clone(),
        role: device.role.clone(),
        gateway: device.gateway.clone().unwrap_or_default(),
        tags: device.tags.clone(),
        ratings: values(&device.ratings),
        points: device.points.clone(),
        protects: device.protects.clone(),
        expected_since: device.expected_since,
    }
}

fn values(ratings: &BTreeMap<String, Rating>) -> BTreeMap<String, f64> {
    ratings.iter().map(|(name, rating)| (name.clone(), rating.value)).collect()
}

/// Standard offset of a zone in minutes. The engine wants one fixed number, so that a sentence reads the same at any
/// time of the year; it is the zone's offset on 1 January 2026, China has no other.
fn utc_offset_min(zone: &str) -> i32 {
    let day = jiff::civil::date(2026, 1, 1).at(0, 0, 0, 0);
    day.in_tz(zone).map_or(CHINA_OFFSET_MIN, |zoned| zoned.offset().seconds() / 60)
}
