//! The newest of everything in memory: values per series, gateways, notices. What the API shows without asking a store.
//!
//! The receiver writes after each commit, the API reads; neither waits for the other longer than a lookup. A manifest is
//! looked up once and then each sample of a newest row is one write into an array. Bounded by [`SERIES_MAX`]. A value never loses its
//! age: stale is what the reader makes of it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wire::block::ClockState;
use wire::message::State;
use wire::{Manifest, ManifestKey, Mark, Quality, quantity};

use crate::api::Hub;
use crate::api::source::{GatewayLive, LiveQuality, LiveValue, Notice};
use crate::log::DecodedBlock;

mod notices;

use notices::Notices;

/// Series whose newest value is kept.
pub const SERIES_MAX: usize = 1_000_000;
/// Series of one site whose newest value is kept: one that sends ever new names takes no other site's place.
pub const SITE_SERIES_MAX: usize = wire::limits::SERIES_MAX;
/// A gateway that was not heard for so long is offline, ms: it closes a block at least each 10 s.
pub const GATEWAY_SILENT_MS: i64 = 300_000;
/// Manifests whose series are looked up already.
const PLANS_MAX: usize = 4_096;
/// Stands for a series beyond [`SERIES_MAX`] or [`SITE_SERIES_MAX`].
const NO_SLOT: u32 = u32::MAX;

/// Said of a site whose series are too many.
const UNSHOWN: &str = "more series were sent than are shown live (131,072 a site, 1,000,000 in all): the newest values of \
    the further ones are missing on the console, their history is kept; a gateway sends ever new device names: mend its \
    configuration, then restart davy-ingest";

/// Newest values, gateways and notices.
#[derive(Debug)]
pub struct Live {
    inner: Mutex<Inner>,
    hub: Option<Arc<Hub>>,
}

#[derive(Debug, Default)]
struct Inner {
    slots: Vec<Slot>,
    index: HashMap<Arc<Name>, u32>,
    by_site: HashMap<String, Vec<u32>>,
    plans: HashMap<ManifestKey, Plan>,
    dirty: Vec<u32>,
    gateways: HashMap<String, GatewayLive>,
    notices: Notices,
    /// The notices have changed and open pages do not know it yet.
    is_news: bool,
}

/// The series of a manifest's replies, and the newest row of each that is not taken yet.
#[derive(Debug)]
struct Plan {
    /// Reply → slots of its points.
    slots: Vec<Vec<u32>>,
    /// Reply → its newest row of this commit.
    newest: Vec<Option<RowAt>>,
    /// Replies that have one.
    waiting: Vec<u32>,
}

/// Where a row lies.
#[derive(Debug, Clone, Copy)]
struct RowAt {
    /// Place among the blocks of the round.
    block: usize,
    table: usize,
    row: usize,
    epoch: u64,
    segment: u32,
    t: i64,
}

/// The blocks of one commit whose rows are not all taken yet.
#[derive(Debug, Default)]
struct Round<'a> {
    blocks: Vec<&'a Arc<DecodedBlock>>,
    plans: Vec<ManifestKey>,
}

/// A series by its names.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Name {
    site: String,
    device: String,
    quantity: String,
}

#[derive(Debug)]
struct Slot {
    name: Arc<Name>,
    newest: Option<Newest>,
    dirty: bool,
}

/// The newest sample of a series.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Newest {
    value: f64,
    mark: Mark,
    /// Time segment within the epoch, and the event time: what "newest" means.
    epoch: u64,
    segment: u32,
    t: i64,
    received_at: i64,
    period_ms: u32,
}

impl Newest {
    /// A later time segment of an epoch, or another epoch that arrived later, or a later event time.
    fn is_after(&self, other: &Self) -> bool {
        match self.epoch == other.epoch {
            true => (self.segment, self.t) >= (other.segment, other.t),
            false => self.t >= other.t,
        }
    }
}

impl Live {
    /// With a hub that streams to browsers, or without.
    #[must_use]
    pub fn new(hub: Option<Arc<Hub>>) -> Self {
        Self { inner: Mutex::default(), hub }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the newest samples of blocks that were logged, in their order. What a later block of the same commit
    /// overtakes is not written: the rows are compared first, then the samples of the newest are taken.
    pub fn blocks<'a>(&self, blocks: impl Iterator<Item = &'a Arc<DecodedBlock>>) {
        let mut inner = self.lock();
        let mut round = Round::default();
        for block in blocks {
            inner.seen(block);
            // Times of a clock that was never set say nothing about what is newest.
            if !block.is_unset() && !block.readings.tables.is_empty() {
                inner.compare(block, &mut round);
            }
        }
        inner.take_rest(&mut round);
        let is_news = std::mem::take(&mut inner.is_news);
        drop(inner);
        self.tell(is_news);
    }

    /// Hands the values that changed since the last call to the hub; called some times a second. Without a browser that
    /// listens nothing is made of them.
    pub fn flush(&self) {
        let mut inner = self.lock();
        let dirty = std::mem::take(&mut inner.dirty);
        let heard = self.hub.as_ref().filter(|hub| hub.is_heard());
        let mut changed = Vec::new();
        for slot in dirty {
            let slot = &mut inner.slots[slot as usize];
            slot.dirty = false;
            if let (Some(_), Some(newest)) = (heard, &slot.newest) {
                changed.push(shown(&slot.name, newest));
            }
        }
        drop(inner);
        if let Some(hub) = heard {
            hub.values(changed);
        }
    }

    /// Takes what a gateway says of itself. A `retained` state is the broker's memory of what it said last: it may have
    /// died since, so it is no sign of life.
    pub fn state(&self, state: &State, now: i64, retained: bool) {
        let mut inner = self.lock();
        let gateway = inner.gateways.entry(state.stamp.gateway.to_string()).or_default();
        if !state.online || !retained {
            gateway.online = Some(state.online);
        }
        gateway.epoch = Some(state.epoch.to_string());
        gateway.backlog_blocks = Some(state.backlog_blocks);
        gateway.clock = Some(clock_word(state.clock).to_owned());
        gateway.declared_lost = Some(state.declared_lost);
        gateway.polled = Some(state.polled);
        gateway.stored = Some(state.stored);
        if state.online && !retained {
            gateway.last_seen = gateway.last_seen.max(Some(now));
        }
    }

    /// Puts a notice up: it stays until the next start. Says whether it was not up before.
    pub fn notice(&self, code: &str, about: &str, text: &str, now: i64) -> bool {
        let is_new = self.lock().notices.put(code, about, text, now);
        self.tell(is_new);
        is_new
    }

    /// Puts a notice up while something stands, and takes it down when it no longer does.
    pub fn standing(&self, code: &str, stands: bool, now: i64, text: impl FnOnce() -> String) {
        let changed = match stands {
            true => self.lock().notices.put(code, "", &text(), now),
            false => self.lock().notices.take_down(code),
        };
        self.tell(changed);
    }

    /// Open pages ask anew when the notices have changed. They are the service's own, so no site's.
    fn tell(&self, changed: bool) {
        if let Some(hub) = self.hub.as_ref().filter(|_| changed) {
            hub.gateway("", &serde_json::json!({}));
        }
    }

    /// Newest samples of a site's series, by device and quantity.
    #[must_use]
    pub fn values(&self, site: &str) -> Vec<LiveValue> {
        let inner = self.lock();
        let slots = inner.by_site.get(site).into_iter().flatten();
        let slots = slots.map(|slot| &inner.slots[*slot as usize]);
        let seen = slots.filter_map(|s| s.newest.as_ref().map(|n| (&s.name, n)));
        let mut seen: Vec<_> = seen.collect();
        seen.sort_by_key(|(name, _)| Arc::clone(name));
        seen.into_iter().map(|(name, newest)| shown(name, newest)).collect()
    }

    /// What is known of a gateway: one that said nothing for [`GATEWAY_SILENT_MS`] is offline, whatever it said last.
    #[must_use]
    pub fn gateway(&self, name: &str, now: i64) -> GatewayLive {
        let mut found = self.lock().gateways.get(name).cloned().unwrap_or_default();
        if found.last_seen.is_some_and(|seen| now - seen > GATEWAY_SILENT_MS) {
            found.online = Some(false);
        }
        found
    }

    /// Blocks that gateways said wait on their disks, over all of them.
    #[must_use]
    pub fn backlog_blocks(&self) -> u64 {
        let inner = self.lock();
        inner.gateways.values().filter_map(|gateway| gateway.backlog_blocks).sum()
    }

    /// What people should know now, the worst first.
    #[must_use]
    pub fn notices(&self) -> Vec<Notice> {
        self.lock().notices.all()
    }
}

impl Inner {
    fn seen(&mut self, block: &DecodedBlock) {
        let name = block.gateway.as_str();
        if !self.gateways.contains_key(name) {
            self.gateways.insert(name.to_owned(), GatewayLive::default());
        }
        let Some(gateway) = self.gateways.get_mut(name) else { return };
        gateway.online = Some(true);
        gateway.last_seen = gateway.last_seen.max(Some(block.received_at));
        gateway.clock = Some(clock_word(block.block.clock.state).to_owned());
    }

    /// Makes the plan of a manifest where there is none yet.
    fn plan(&mut self, key: ManifestKey, manifest: &Manifest, now: i64) {
        if self.plans.contains_key(&key) {
            return;
        }
        let replies = manifest.replies.iter().map(|reply| {
            let slots = reply.points.iter().map(|point| {
                self.slot(Name {
                    site: manifest.site.clone(),
                    device: reply.device.clone(),
                    quantity: point.quantity.clone(),
                })
            });
            slots.collect()
        });
        let slots: Vec<Vec<u32>> = replies.collect();
        if slots.iter().flatten().any(|slot| *slot == NO_SLOT) {
            self.is_news |= self.notices.put("series_unshown", &manifest.site, UNSHOWN, now);
        }
        let newest = vec![None; slots.len()];
        self.plans.insert(key, Plan { slots, newest, waiting: Vec::new() });
    }

    /// Finds the newest rows of a block among those of its commit.
    fn compare<'a>(&mut self, block: &'a Arc<DecodedBlock>, round: &mut Round<'a>) {
        let key = block.readings.manifest;
        if self.plans.len() >= PLANS_MAX && !self.plans.contains_key(&key) {
            self.take_rest(round);
            self.plans.clear();
        }
        self.plan(key, &block.manifest, block.received_at);
        let Some(mut plan) = self.plans.remove(&key) else { return };
        if plan.waiting.is_empty() {
            round.plans.push(key);
        }
        round.blocks.push(block);
        let (epoch, segment) = (block.block.epoch.0, block.block.clock.segment);
        let mut number = 0_u32;
        for (table, rows) in block.readings.tables.iter().enumerate() {
            for (row, (&t, &reply)) in rows.times.iter().zip(&rows.replies).enumerate() {
                let is_masked = !block.masked_rows.is_empty()
                    && block.masked_rows.binary_search(&number).is_ok();
                number += 1;
                let Some(newest) = plan.newest.get_mut(reply as usize).filter(|_| !is_masked)
                else {
                    continue;
                };
                let at = RowAt { block: round.blocks.len() - 1, table, row, epoch, segment, t };
                match newest {
                    None => plan.waiting.push(reply),
                    // Only within a time segment is the later time the newer one for sure.
                    Some(known) if (known.epoch, known.segment) != (epoch, segment) => {
                        self.take_row(round, &plan.slots[reply as usize], reply, *known);
                    }
                    Some(known) if known.t > t => continue,
                    Some(_) => {}
                }
                *newest = Some(at);
            }
        }
        self.plans.insert(key, plan);
    }

    /// Takes the rows that are left of a commit.
    fn take_rest(&mut self, round: &mut Round<'_>) {
        for key in std::mem::take(&mut round.plans) {
            let Some(mut plan) = self.plans.remove(&key) else { continue };
            for reply in plan.waiting.drain(..) {
                let newest = plan.newest.get_mut(reply as usize).and_then(Option::take);
                if let (Some(at), Some(slots)) = (newest, plan.slots.get(reply as usize)) {
                    self.take_row(round, slots, reply, at);
                }
            }
            self.plans.insert(key, plan);
        }
        round.blocks.clear();
    }

    fn slot(&mut self, name: Name) -> u32 {
        if let Some(slot) = self.index.get(&name) {
            return *slot;
        }
        let of_site = self.by_site.get(&name.site).map_or(0, Vec::len);
        if self.slots.len() >= SERIES_MAX || of_site >= SITE_SERIES_MAX {
            return NO_SLOT;
        }
        let slot = u32::try_from(self.slots.len()).unwrap_or(NO_SLOT);
        let name = Arc::new(name);
        self.by_site.entry(name.site.clone()).or_default().push(slot);
        self.index.insert(Arc::clone(&name), slot);
        self.slots.push(Slot { name, newest: None, dirty: false });
        slot
    }

    fn take_row(&mut self, round: &Round<'_>, slots: &[u32], reply: u32, at: RowAt) {
        let Some(block) = round.blocks.get(at.block) else { return };
        let period_ms = block.manifest.replies.get(reply as usize).map_or(0, |r| r.period_ms);
        let table = &block.readings.tables[at.table];
        for (column, number) in table.columns.iter().zip(slots) {
            let newest = Newest {
                value: column.values()[at.row],
                mark: column.mark(at.row),
                epoch: at.epoch,
                segment: at.segment,
                t: at.t,
                received_at: block.received_at,
                period_ms,
            };
            let Some(slot) = self.slots.get_mut(*number as usize) else { continue };
            if slot.newest.as_ref().is_some_and(|known| !newest.is_after(known)) {
                continue;
            }
            slot.newest = Some(newest);
            if !std::mem::replace(&mut slot.dirty, true) {
                self.dirty.push(*number);
            }
        }
    }
}

fn shown(name: &Name, newest: &Newest) -> LiveValue {
    LiveValue {
        site: name.site.clone(),
        device: name.device.clone(),
        quantity: name.quantity.clone(),
        unit: quantity::lookup(&name.quantity).map_or("", |q| q.unit).to_owned(),
        value: newest.value.is_finite().then_some(newest.value),
        quality: match newest.mark.quality {
            Quality::Good => LiveQuality::Good,
            Quality::Uncertain => LiveQuality::Uncertain,
            Quality::Bad => LiveQuality::Bad,
            Quality::Stale => LiveQuality::Stale,
            Quality::Substituted => LiveQuality::Substituted,
        },
        reason: Some(newest.mark.reason.as_str()).filter(|r| !r.is_empty()).map(str::to_owned),
        t: Some(newest.t),
        received_at: Some(newest.received_at),
        period_ms: i64::from(newest.period_ms),
    }
}

fn clock_word(state: ClockState) -> &'static str {
    match state {
        ClockState::Unset => "unset",
        ClockState::Synced => "synced",
        ClockState::Holdover => "holdover",
    }
}

#[cfg(test)]
mod tests;
