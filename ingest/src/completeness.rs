//! How much of what was expected of each site has come, by its local day: counted once a block, whenever it comes.
//!
//! ```text
//! receiver ─ logged block ─► count (its samples' own days) ─► rows (site, day) ─► the log's key/value rows, a second later
//! registry, manifests ─► rate (samples a second) ─► expected, while time passes; also while the centre was down
//! ```
//!
//! Exact over kills: each row says up to which log position its counts go, and a start counts again what the log has
//! beyond it. A block that comes late, is backfilled or is released with a late clock counts in the day of its samples.
//! Bounded by [`DAYS_KEPT`] and [`ROWS_MAX`]; the oldest day goes first.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wire::Manifest;

use crate::log::DecodedBlock;
use crate::registry::Registry;

mod count;
mod expect;
mod keep;

/// Days kept, today included.
pub const DAYS_KEPT: i64 = 400;
/// Rows (a site on a day) kept: 1,000 sites for the whole time, or 5,000 for 80 days.
pub const ROWS_MAX: usize = 400_000;
/// A sample that arrives so long after its event time pages nobody and counts as late, ms.
pub const LATE_MS: i64 = rules::evaluator::PAGE_HORIZON_MS;
/// One day, ms.
const DAY_MS: i64 = 86_400_000;
/// Offset of a site that is not registered, ms: China's.
const OFFSET_MS: i64 = 8 * 3_600_000;

/// What came of a site on a day.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Counts {
    /// Samples that series with a rhythm should have given, up to now on the present day.
    pub expected: f64,
    /// Good samples of such series.
    pub good: u64,
    /// Uncertain or substituted ones.
    pub uncertain: u64,
    /// Failed reads and stale ones: they came, and say nothing.
    pub bad: u64,
    /// Of all these, those that arrived more than 15 min after their event time.
    pub late: u64,
    /// Samples that a gateway declared lost.
    pub declared: u64,
    /// Samples of series that report by themselves; never expected.
    pub unplanned: u64,
}

impl Counts {
    /// Share of the expected samples that came and say something, 0 to 1; none where nothing was expected.
    #[must_use]
    pub fn share(&self) -> Option<f64> {
        #[expect(clippy::cast_precision_loss, reason = "a share of at most 2^53 samples")]
        let usable = (self.good + self.uncertain) as f64;
        (self.expected >= 1.0).then(|| (usable / self.expected).min(1.0))
    }
}

/// One site on one day, as shown.
#[derive(Debug, Clone, PartialEq)]
pub struct DayOfSite {
    /// Site id.
    pub site: String,
    /// Days since 1970-01-01 in the site's own time.
    pub day: i64,
    /// What came.
    pub counts: Counts,
}

/// A row in memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
struct Row {
    counts: Counts,
    /// Everything in the log up to here is counted, as far as this row is concerned.
    position: u64,
    /// Up to when `counts.expected` goes, ms UTC; 0 where the row expects nothing.
    upto: i64,
    /// Samples a millisecond that were expected then.
    rate: f64,
    /// Position of the first block that the kept row lacks; none where it lacks nothing.
    #[serde(skip)]
    dirty: Option<u64>,
}

impl Row {
    /// What is kept lacks the block at `position`; [`u64::MAX`] where it lacks none but is behind all the same.
    fn lacks(&mut self, position: u64) {
        self.dirty = Some(self.dirty.map_or(position, |first| first.min(position)));
    }
}

/// What is expected of a site.
#[derive(Debug, Clone, Copy)]
struct Site {
    offset_ms: i64,
    /// Samples a millisecond.
    rate: f64,
    /// Up to when they are in the rows, ms UTC.
    upto: i64,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Completeness(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// Day → site → row.
    days: BTreeMap<i64, HashMap<String, Row>>,
    rows: usize,
    sites: HashMap<String, Site>,
    registry: Arc<Registry>,
    is_following: bool,
    /// Newest manifest of each gateway.
    manifests: HashMap<String, Arc<Manifest>>,
    /// Sites whose rate may have changed.
    changed: Vec<String>,
    /// When all sites were last settled, ms UTC.
    settled_at: i64,
    /// Kept rows that are no longer wanted.
    gone: Vec<(i64, String)>,
    /// Rows that the transaction under way keeps.
    keeping: Vec<(i64, String)>,
}

impl Completeness {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a block that is in the log; `as_of` is the position of the record that let it through, which is its own
    /// but for a block of a late clock.
    pub fn count(&self, block: &DecodedBlock, as_of: u64) {
        self.lock().count(block, as_of);
    }

    /// Takes the registry as it is now; `now` in ms UTC.
    pub fn follow(&self, registry: &Arc<Registry>, now: i64) {
        self.lock().follow(registry, now);
    }

    /// Sites that `wanted` takes, on the days from `from` to `to`, the newest day first.
    #[must_use]
    pub fn days(
        &self,
        from: i64,
        to: i64,
        now: i64,
        wanted: impl Fn(&str) -> bool,
    ) -> Vec<DayOfSite> {
        let mut inner = self.lock();
        inner.settle_all(now);
        let days = inner.days.range(from..=to).rev();
        let rows = days.flat_map(|(day, sites)| {
            let mut sites: Vec<_> = sites.iter().filter(|(site, _)| wanted(site)).collect();
            sites.sort_by_key(|(site, _)| *site);
            sites.into_iter().map(|(site, row)| DayOfSite {
                site: site.clone(),
                day: *day,
                counts: row.counts,
            })
        });
        rows.collect()
    }

    /// Sites that got less than `share` of what is expected of their present day.
    #[must_use]
    pub fn below(&self, share: f64, now: i64) -> usize {
        let mut inner = self.lock();
        inner.settle_all(now);
        let short = |(name, site): &(&String, &Site)| {
            let today = inner.days.get(&day_of(now, site.offset_ms));
            let row = today.and_then(|sites| sites.get(*name));
            row.and_then(|row| row.counts.share()).is_some_and(|has| has < share)
        };
        inner.sites.iter().filter(short).count()
    }
}

impl Inner {
    /// The row of a site on a day, made where it is missing; none where the day is out of bounds.
    fn row(&mut self, site: &str, day: i64, today: i64) -> Option<&mut Row> {
        if day <= today - DAYS_KEPT || day > today + 1 {
            return None;
        }
        if !self.days.get(&day).is_some_and(|sites| sites.contains_key(site)) {
            self.make_room(today);
            self.days.entry(day).or_default().insert(site.to_owned(), Row::default());
            self.rows += 1;
        }
        self.days.get_mut(&day)?.get_mut(site)
    }

    /// Lets the oldest days go that are too old or too many.
    fn make_room(&mut self, today: i64) {
        while let Some((day, sites)) = self.days.first_key_value() {
            if *day > today - DAYS_KEPT && (self.rows < ROWS_MAX || self.days.len() == 1) {
                return;
            }
            let (day, count) = (*day, sites.len());
            let sites = self.days.remove(&day).unwrap_or_default();
            self.gone.extend(sites.into_keys().map(|site| (day, site)));
            self.rows -= count;
        }
    }
}

/// The local day of a time.
fn day_of(t: i64, offset_ms: i64) -> i64 {
    t.saturating_add(offset_ms).div_euclid(DAY_MS)
}

#[cfg(test)]
mod tests;
