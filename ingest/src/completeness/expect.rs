//! What is expected: the registry's points, each at the period of the manifest where a gateway polls it at another, and
//! what manifests have beyond the registry. It grows while time passes, from one rate to the next.

use std::collections::HashMap;
use std::sync::Arc;

use rules::SiteModel;

use super::{DAY_MS, DAYS_KEPT, Inner, OFFSET_MS, Site, day_of};
use crate::registry::Registry;

/// Time between two settlings of sites that send nothing, ms.
const SETTLE_MS: i64 = 60_000;
/// Milliseconds of an offset in minutes.
const MINUTE_MS: i64 = 60_000;

impl Inner {
    pub(super) fn follow(&mut self, registry: &Arc<Registry>, now: i64) {
        if registry.revision != self.registry.revision || !self.is_following {
            self.is_following = true;
            self.registry = Arc::clone(registry);
            self.settle_all(now);
            self.sites.retain(|site, _| registry.site(site).is_some());
            for model in registry.models() {
                let offset_ms = offset_of(&model);
                let rate = self.rate(&model);
                let site = self.sites.entry(model.site);
                let site = site.or_insert(Site { offset_ms, rate, upto: now });
                (site.offset_ms, site.rate) = (offset_ms, rate);
            }
        }
        if !self.changed.is_empty() {
            self.changed.sort_unstable();
            self.changed.dedup();
            for name in std::mem::take(&mut self.changed) {
                let Some(model) = self.registry.model(&name) else { continue };
                self.settle(&name, now);
                let rate = self.rate(&model);
                if let Some(site) = self.sites.get_mut(&name) {
                    site.rate = rate;
                }
            }
        }
        if now - self.settled_at >= SETTLE_MS || now < self.settled_at {
            self.settle_all(now);
        }
    }

    /// Samples a millisecond.
    fn rate(&self, model: &SiteModel) -> f64 {
        let mut periods: HashMap<(&str, &str), i64> = HashMap::new();
        for device in &model.devices {
            for point in &device.points {
                periods.insert((device.id.as_str(), point.quantity.as_str()), point.period_ms);
            }
        }
        let gateways = self.registry.gateways().filter(|gateway| gateway.site == model.site);
        for manifest in gateways.filter_map(|gateway| self.manifests.get(&gateway.name)) {
            for reply in &manifest.replies {
                for point in &reply.points {
                    let key = (reply.device.as_str(), point.quantity.as_str());
                    periods.insert(key, i64::from(reply.period_ms));
                }
            }
        }
        // In a fixed order, so that the same points give the same sum.
        let mut periods: Vec<i64> = periods.into_values().filter(|period| *period > 0).collect();
        periods.sort_unstable();
        #[expect(clippy::cast_precision_loss, reason = "periods are far below 2^53 ms")]
        let rate = periods.into_iter().map(|period| 1.0 / period as f64).sum();
        rate
    }

    pub(super) fn settle_all(&mut self, now: i64) {
        self.settled_at = now;
        let names: Vec<String> = self.sites.keys().cloned().collect();
        names.iter().for_each(|name| self.settle(name, now));
    }

    /// Adds what was expected of a site since it was last settled. A clock that went back adds nothing until it has
    /// caught up.
    fn settle(&mut self, name: &str, now: i64) {
        let Some(site) = self.sites.get_mut(name) else { return };
        let from = site.upto.max(now.saturating_sub(DAYS_KEPT * DAY_MS));
        if now <= from {
            return;
        }
        site.upto = now;
        let Site { offset_ms, rate, .. } = *site;
        let today = day_of(now, offset_ms);
        for day in day_of(from, offset_ms)..=today {
            let begin = from.max(day * DAY_MS - offset_ms);
            let end = now.min((day + 1) * DAY_MS - offset_ms);
            #[expect(clippy::cast_precision_loss, reason = "at most a day")]
            let expected = rate * (end - begin).max(0) as f64;
            if let Some(row) = self.row(name, day, today) {
                row.counts.expected += expected;
                (row.upto, row.rate) = (end, rate);
                // No block is missing in it, but what is kept is behind.
                row.lacks(u64::MAX);
            }
        }
    }

    /// Goes on where the kept rows ended: what was expected while the centre was down is expected at the last rate.
    pub(super) fn resume(&mut self, registry: &Registry) {
        let rows = self.days.values().flatten();
        for (name, row) in rows.filter(|(_, row)| row.upto > 0) {
            let site = self.sites.entry(name.clone()).or_insert_with(|| {
                let offset_ms = registry.model(name).map_or(OFFSET_MS, |model| offset_of(&model));
                Site { offset_ms, rate: row.rate, upto: row.upto }
            });
            if row.upto >= site.upto {
                (site.rate, site.upto) = (row.rate, row.upto);
            }
        }
    }
}

fn offset_of(model: &SiteModel) -> i64 {
    i64::from(model.utc_offset_min) * MINUTE_MS
}
