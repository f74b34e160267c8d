//! Whether a device answers, and how much of what is expected of a site arrives. Pure: from the registry and the newest
//! samples. The console draws single values by the same measure.

use std::collections::HashMap;

use crate::api::source::{LiveQuality, LiveValue};
use crate::registry::{Device, SiteEntry};

/// A sample is news for so long at least, ms.
const FRESH_MIN_MS: i64 = 30_000;
/// A sample is news for so many of its periods.
const FRESH_PERIODS: i64 = 3;

/// The newest samples of one site by device and quantity.
pub(super) struct Newest<'a>(HashMap<&'a str, Vec<&'a LiveValue>>);

impl<'a> Newest<'a> {
    pub(super) fn of(values: &'a [LiveValue]) -> Self {
        let mut by_device: HashMap<&str, Vec<&LiveValue>> = HashMap::new();
        for value in values {
            by_device.entry(&value.device).or_default().push(value);
        }
        Self(by_device)
    }

    fn device(&self, id: &str) -> &[&'a LiveValue] {
        self.0.get(id).map(Vec::as_slice).unwrap_or_default()
    }

    /// A device answers while any of its series gives usable samples in time. None: nothing is known of it, or it speaks
    /// only when something changes and need not have spoken.
    pub(super) fn online(&self, device: &Device, now: i64) -> Option<bool> {
        let own = self.device(&device.id);
        if own.iter().any(|value| is_fresh(value, now)) {
            return Some(true);
        }
        own.iter().any(|value| value.period_ms > 0).then_some(false)
    }

    /// How many series the registry expects at a rhythm, and the share of them that keeps it; what was never heard counts
    /// as much as what fell silent. None where nothing is expected.
    pub(super) fn completeness(&self, entry: &SiteEntry, now: i64) -> (usize, Option<f64>) {
        let (mut expected, mut fresh) = (0_u32, 0_u32);
        for device in entry.devices.values() {
            let own = self.device(&device.id);
            for point in device.points.iter().filter(|point| point.period_ms > 0) {
                let came = own.iter().find(|value| value.quantity == point.quantity);
                expected += 1;
                fresh += u32::from(came.is_some_and(|value| is_fresh(value, now)));
            }
        }
        let share = (expected > 0).then(|| f64::from(fresh) / f64::from(expected));
        (expected as usize, share)
    }
}

/// Usable, and of the present: neither its time nor its arrival is older than a few periods. What a gateway brings late
/// after an outage arrives now and is not news.
fn is_fresh(value: &LiveValue, now: i64) -> bool {
    use LiveQuality::{Good, Substituted, Uncertain};
    let usable = value.value.is_some() && matches!(value.quality, Good | Uncertain | Substituted);
    let limit = (FRESH_PERIODS * value.period_ms).max(FRESH_MIN_MS);
    let in_time = |at: Option<i64>| at.is_some_and(|at| now - at <= limit);
    usable && in_time(value.t) && in_time(value.received_at)
}
