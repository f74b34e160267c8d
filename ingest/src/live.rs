//! The newest of everything in memory: values per series, gateways, notices. What the API shows without asking a store.
//!
//! The receiver writes after each commit, the API reads; neither waits for the other longer than a lookup. A manifest is
//! looked up once and then each sample is one write into an array. Bounded by [`SERIES_MAX`]. A value never loses its
//! age: stale is what the reader makes of it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wire::block::ClockState;
use wire::columns::Table;
use wire::message::State;
use wire::{Manifest, ManifestKey, Mark, Quality, quantity};

use crate::api::Hub;
use crate::api::source::{GatewayLive, LiveQuality, LiveValue, Notice};
use crate::log::DecodedBlock;

/// Series whose newest value is kept.
pub const SERIES_MAX: usize = 1_000_000;
/// Notices kept.
pub const NOTICES_MAX: usize = 1_000;
/// Manifests whose series are looked up already.
const PLANS_MAX: usize = 4_096;
/// Stands for a series beyond [`SERIES_MAX`].
const NO_SLOT: u32 = u32::MAX;

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
    plans: HashMap<ManifestKey, Arc<Vec<Vec<u32>>>>,
    dirty: Vec<u32>,
    gateways: HashMap<String, GatewayLive>,
    notices: BTreeMap<(String, String), Notice>,
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

    /// Takes the newest samples of a block that was logged.
    pub fn block(&self, block: &DecodedBlock) {
        let mut inner = self.lock();
        inner.seen(block);
        // Times of a clock that was never set say nothing about what is newest.
        if block.is_unset() || block.readings.tables.is_empty() {
            return;
        }
        let plan = inner.plan(block.readings.manifest, &block.manifest);
        let mut first_row = 0_u32;
        for table in &block.readings.tables {
            for row in newest_rows(table, first_row, &block.masked_rows) {
                let Some(slots) = plan.get(table.replies[row] as usize) else { continue };
                let period_ms = block.manifest.replies[table.replies[row] as usize].period_ms;
                inner.take_row(block, (table, row), slots, period_ms);
            }
            first_row += u32::try_from(table.times.len()).unwrap_or(0);
        }
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

    /// Takes what a gateway says of itself.
    pub fn state(&self, state: &State, now: i64) {
        let mut inner = self.lock();
        let gateway = inner.gateways.entry(state.stamp.gateway.to_string()).or_default();
        gateway.online = Some(state.online);
        gateway.epoch = Some(state.epoch.to_string());
        gateway.backlog_blocks = Some(state.backlog_blocks);
        gateway.clock = Some(clock_word(state.clock).to_owned());
        gateway.declared_lost = Some(state.declared_lost);
        gateway.polled = Some(state.polled);
        if state.online {
            gateway.last_seen = gateway.last_seen.max(Some(now));
        }
    }

    /// Puts a notice up: it stays until the next start. Says whether it was not up before.
    pub fn notice(&self, code: &str, about: &str, text: &str, now: i64) -> bool {
        let mut inner = self.lock();
        let key = (code.to_owned(), about.to_owned());
        let since = inner.notices.get(&key).map_or(now, |n| n.since);
        if inner.notices.len() >= NOTICES_MAX && !inner.notices.contains_key(&key) {
            let oldest = inner.notices.iter().min_by_key(|(_, n)| n.since).map(|(k, _)| k.clone());
            oldest.map(|k| inner.notices.remove(&k));
        }
        let text = if about.is_empty() { text.to_owned() } else { format!("{about}: {text}") };
        let zh = match zh_of(code) {
            Some(zh) if zh.ends_with('：') => format!("{zh}{text}"),
            Some(zh) if about.is_empty() => zh.to_owned(),
            Some(zh) => format!("{zh}（{about}）"),
            None => text.clone(),
        };
        let notice = Notice { code: code.to_owned(), zh, en: text, since };
        inner.notices.insert(key, notice).is_none()
    }

    /// Puts a notice up while something stands, and takes it down when it no longer does.
    pub fn standing(&self, code: &str, stands: bool, now: i64, text: impl FnOnce() -> String) {
        if stands {
            self.notice(code, "", &text(), now);
        } else {
            self.lock().notices.remove(&(code.to_owned(), String::new()));
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

    /// Share of a site's periodic series whose newest sample arrived within three periods (at least 30 s); `None` where
    /// nothing is periodic.
    #[must_use]
    pub fn completeness(&self, site: &str, now: i64) -> Option<f64> {
        let inner = self.lock();
        let slots = inner.by_site.get(site)?.iter().map(|slot| &inner.slots[*slot as usize]);
        let (mut all, mut fresh) = (0_u32, 0_u32);
        for newest in slots.filter_map(|s| s.newest.as_ref()).filter(|n| n.period_ms > 0) {
            all += 1;
            let limit = (3 * i64::from(newest.period_ms)).max(30_000);
            let is_fresh = now - newest.received_at <= limit && newest.mark.quality.has_value();
            fresh += u32::from(is_fresh);
        }
        (all > 0).then(|| f64::from(fresh) / f64::from(all))
    }

    /// What is known of a gateway.
    #[must_use]
    pub fn gateway(&self, name: &str) -> GatewayLive {
        self.lock().gateways.get(name).cloned().unwrap_or_default()
    }

    /// What people should know now, newest first.
    #[must_use]
    pub fn notices(&self) -> Vec<Notice> {
        let mut notices: Vec<Notice> = self.lock().notices.values().cloned().collect();
        notices.sort_by_key(|n| std::cmp::Reverse(n.since));
        notices
    }
}

impl Inner {
    fn seen(&mut self, block: &DecodedBlock) {
        let name = block.gateway.as_str();
        if !self.gateways.contains_key(name) {
            self.gateways.insert(name.to_owned(), GatewayLive::default());
        }
        let Some(gateway) = self.gateways.get_mut(name) else { return };
        gateway.last_seen = gateway.last_seen.max(Some(block.received_at));
        gateway.clock = Some(clock_word(block.block.clock.state).to_owned());
        let stored = block.readings.sample_count() as u64;
        gateway.stored = Some(gateway.stored.unwrap_or(0) + stored);
    }

    /// Reply → slots of its points.
    fn plan(&mut self, key: ManifestKey, manifest: &Manifest) -> Arc<Vec<Vec<u32>>> {
        if let Some(plan) = self.plans.get(&key) {
            return Arc::clone(plan);
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
        let plan: Arc<Vec<Vec<u32>>> = Arc::new(replies.collect());
        if self.plans.len() >= PLANS_MAX {
            self.plans.clear();
        }
        self.plans.insert(key, Arc::clone(&plan));
        plan
    }

    fn slot(&mut self, name: Name) -> u32 {
        if let Some(slot) = self.index.get(&name) {
            return *slot;
        }
        if self.slots.len() >= SERIES_MAX {
            return NO_SLOT;
        }
        let slot = u32::try_from(self.slots.len()).unwrap_or(NO_SLOT);
        let name = Arc::new(name);
        self.by_site.entry(name.site.clone()).or_default().push(slot);
        self.index.insert(Arc::clone(&name), slot);
        self.slots.push(Slot { name, newest: None, dirty: false });
        slot
    }

    fn take_row(
        &mut self,
        block: &DecodedBlock,
        at: (&Table, usize),
        slots: &[u32],
        period_ms: u32,
    ) {
        let (table, row) = at;
        for (column, number) in table.columns.iter().zip(slots) {
            let newest = Newest {
                value: column.values()[row],
                mark: column.mark(row),
                epoch: block.block.epoch.0,
                segment: block.block.clock.segment,
                t: table.times[row],
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

/// The last row of each reply in a table, those ahead of time left out.
fn newest_rows(table: &Table, first_row: u32, masked: &[u32]) -> Vec<usize> {
    let mut seen = HashSet::new();
    let rows = (0..table.times.len()).rev();
    let rows = rows.filter(|row| {
        let number = first_row + u32::try_from(*row).unwrap_or(0);
        masked.binary_search(&number).is_err() && seen.insert(table.replies[*row])
    });
    rows.collect()
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

/// A notice in Chinese; where the words end with a colon, what they cannot know follows.
fn zh_of(code: &str) -> Option<&'static str> {
    Some(match code {
        "key_reuse" => "同一编号收到两个不同的数据块，可能是磁盘镜像被复制或数据被伪造",
        "chain_conflict" => "网关数据的先后次序与其声明不符，可能更换或恢复过磁盘",
        "manifest_site" => "网关清单中的企业与注册信息不一致",
        "clock_distrusted" => "多数网关认为中心时钟偏慢，请检查本机对时",
        "log_crowded" => "中心日志已用八成以上，网关补传暂缓",
        "unknown_gateway" => "收到未登记网关的消息，请在中心登记该网关，或改正其配置中的名称：",
        "mac" => {
            "以该网关名义发来的消息签名不符，请核对其配置中的密钥（--rekey 可重新发放）；密钥无误则是有人伪造，请检查消息服务器的权限"
        }
        "frame_length" => {
            "以该网关名义发来的消息长度不对，有别的程序在其主题上发布，请检查消息服务器的权限"
        }
        "topic_mismatch" | "gateway_mismatch" => {
            "消息用该网关的密钥签名，却自称另一网关，可能是配置被复制或密钥被盗，请为每个网关重新发放密钥"
        }
        "frame_version" | "frame_kind" | "malformed" | "manifest_malformed" => {
            "该网关的消息无法解读，请与中心使用同一版本的程序"
        }
        "store_refuses" => "历史库拒绝写入，数据留在中心日志中，报警不受影响，请按提示处理：",
        "log_failing" => "中心日志无法写入，暂不确认任何数据，请检查磁盘",
        _ => return None,
    })
}
