//! A store read from end to end, device by device and hour by hour, for export and migration: `embedded::EmbeddedView`
//! and `influx::InfluxSource` implement it, `export` and `migrate` use it. Nothing here changes a store.

use std::collections::{BTreeMap, BTreeSet};

use wire::Mark;

use super::{Damage, StoreError};

/// One day, ms.
pub const DAY_MS: i64 = 86_400_000;
/// What is read at once, ms: bounds the memory to an hour of one device.
pub const HOUR_MS: i64 = 3_600_000;

/// One device and its quantities on some day.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeviceSeries {
    /// Enterprise code of the site.
    pub site: String,
    /// Device, unique in its site.
    pub device: String,
    /// Canonical quantities, sorted.
    pub quantities: Vec<String>,
}

/// One stored sample with all that a store knows of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// Event time, ms UTC.
    pub t: i64,
    /// The number; NaN where the sample is bad or stale.
    pub value: f64,
    /// Quality and, where the store keeps it, the reason.
    pub mark: Mark,
}

/// Site, device and quantity.
pub type SeriesKey = [String; 3];

/// See the module.
pub trait Source {
    /// Numbers of the UTC days that may hold samples, ascending.
    ///
    /// # Errors
    /// The store's own failure.
    fn days(&mut self) -> Result<Vec<i64>, StoreError>;

    /// Devices with samples on a day, sorted by site and device. A day whose list cannot be read goes to `damage`, with an
    /// empty key.
    ///
    /// # Errors
    /// The store's own failure.
    fn devices(
        &mut self,
        day: i64,
        damage: &mut dyn FnMut(&SeriesKey, Damage),
    ) -> Result<Vec<DeviceSeries>, StoreError>;

    /// The samples of a device's quantities with `from <= t < to`, all of one UTC day, per quantity oldest first and one
    /// per time. What cannot be read goes to `damage`.
    ///
    /// # Errors
    /// The store's own failure.
    fn read(
        &mut self,
        of: &DeviceSeries,
        from: i64,
        to: i64,
        damage: &mut dyn FnMut(&SeriesKey, Damage),
    ) -> Result<Vec<Vec<Sample>>, StoreError>;

    /// How many samples each series has on a day.
    ///
    /// # Errors
    /// The store's own failure.
    fn counts(&mut self, day: i64) -> Result<BTreeMap<SeriesKey, u64>, StoreError>;
}

/// Devices with their quantities, in the order of the map.
pub(super) fn by_device(
    devices: BTreeMap<(String, String), BTreeSet<String>>,
) -> Vec<DeviceSeries> {
    let all = devices.into_iter().map(|((site, device), quantities)| {
        let quantities = quantities.into_iter().collect();
        DeviceSeries { site, device, quantities }
    });
    all.collect()
}

/// Which part of a store is wanted. Empty lists want everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Sites.
    pub sites: Vec<String>,
    /// Devices.
    pub devices: Vec<String>,
    /// Quantities.
    pub quantities: Vec<String>,
    /// First ms, UTC, inclusive.
    pub from: Option<i64>,
    /// End, ms UTC, exclusive.
    pub to: Option<i64>,
}

impl Filter {
    /// What of a device is wanted; `None` if nothing.
    pub fn of(&self, all: &DeviceSeries) -> Option<DeviceSeries> {
        let wants = |list: &[String], name: &String| list.is_empty() || list.contains(name);
        if !wants(&self.sites, &all.site) || !wants(&self.devices, &all.device) {
            return None;
        }
        let quantities = all.quantities.iter().filter(|q| wants(&self.quantities, q));
        let quantities: Vec<String> = quantities.cloned().collect();
        let (site, device) = (all.site.clone(), all.device.clone());
        (!quantities.is_empty()).then_some(DeviceSeries { site, device, quantities })
    }

    /// What of a day is wanted, hour by hour.
    pub fn hours(&self, day: i64) -> impl Iterator<Item = std::ops::Range<i64>> + use<> {
        let from = self.from.unwrap_or(i64::MIN).max(day * DAY_MS);
        let to = self.to.unwrap_or(i64::MAX).min((day + 1) * DAY_MS);
        let hours = (0..24).map(move |hour| day * DAY_MS + hour * HOUR_MS);
        hours.map(move |hour| hour.max(from)..(hour + HOUR_MS).min(to)).filter(|h| !h.is_empty())
    }

    /// Whether a day has anything wanted.
    pub fn has(&self, day: i64) -> bool {
        self.hours(day).next().is_some()
    }
}

/// How far a long piece of work is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Number of the day just done.
    pub day: i64,
    /// Days done and in all.
    pub done: usize,
    /// In all.
    pub of: usize,
    /// Samples so far.
    pub samples: u64,
}

/// A day as people write it: `2026-11-23`.
pub fn date(day: i64) -> String {
    let at = jiff::Timestamp::from_millisecond(day.saturating_mul(DAY_MS));
    at.map_or_else(
        |_| format!("day {day}"),
        |at| at.to_zoned(jiff::tz::TimeZone::UTC).date().to_string(),
    )
}
