//! The sealer: readings become rows with an event time, rows become blocks with a key.
//!
//! Driven by the spool's work (`seal/work.rs`) and by simulators; it has no clock, no disk and no
//! channel of its own: every time comes from the caller, every block goes back to it. Here, and only
//! here, an event time is made, once: the reply's arrival on the wall clock, made strictly increasing
//! per device within a time segment, and never before the closing time of the block before (the closing
//! time promises the evaluators that nothing older follows).
//!
//! A block closes after `flush`, near 64 KiB, when the fast lane asks, when the manifest changes, and
//! before the clock changes. An empty one closes when nothing else did for [`EMPTY_MS`].

use std::collections::HashMap;
use std::sync::Arc;

use wire::block::{Block, Body, GapRange, GapRecord, HeldEpoch, Link};
use wire::columns::{Builder, PushError};
use wire::manifest::{Manifest, Point, Reply};
use wire::{Epoch, GatewayName, ManifestKey, Mark};

use crate::clock::{Change, Keeper};
use crate::epoch::Start;
use crate::reading;

pub mod thread;
mod unread;
pub mod work;

/// A gateway that has nothing to say says so this often: the settled evaluators' time goes on.
pub const EMPTY_MS: u64 = 10_000;
/// How often a block carries the list of what is held.
pub const LIST_MS: u64 = 10_000;
/// Bytes that a row and a sample come to, about, when encoded: decides when 64 KiB are near.
const ROW_BYTES: usize = 12;
const SAMPLE_BYTES: usize = 8;

/// What the sealer is for.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Name of the gateway.
    pub gateway: GatewayName,
    /// The site it stands on.
    pub site: String,
    /// The gateway that it replaces.
    pub replaces: Option<GatewayName>,
    /// Epoch and boot.
    pub start: Start,
    /// A block closes after this, ms.
    pub flush_ms: u64,
}

/// A block ready for the spool.
#[derive(Debug, Clone, PartialEq)]
pub struct Sealed {
    /// Its seq in the epoch.
    pub seq: u64,
    /// The bytes that are stored and sent.
    pub bytes: Vec<u8>,
    /// Wall time at closing, ms.
    pub born_ms: i64,
    /// Monotonic time at closing, ms.
    pub born_mono: u64,
    /// Samples in it.
    pub samples: u32,
    /// Earliest event time; `i64::MAX` without a row.
    pub t0: i64,
    /// Latest event time; `i64::MIN` without a row.
    pub t1: i64,
    /// The manifest that it refers to; `None` for a gap record.
    pub manifest: Option<ManifestKey>,
    /// What it declares.
    pub gap: Vec<spool::GapRange>,
}

/// A manifest that must be in the spool before the blocks that follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewManifest {
    /// Its key.
    pub key: ManifestKey,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// Counts of what the sealer could not take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Refused {
    /// Readings whose reply or number of values the manifest does not know.
    pub readings: u64,
}

/// Makes blocks of readings.
#[derive(Debug)]
pub struct Sealer {
    id: Identity,
    link: Option<Link>,
    seq: u64,
    manifest: ManifestKey,
    replies: usize,
    builder: Builder,
    keeper: Keeper,
    last: HashMap<u32, i64>,
    opened_mono: u64,
    span: (i64, i64),
    closed_at: i64,
    closed_mono: u64,
    latest_mono: u64,
    listed_mono: Option<u64>,
    refused: Refused,
    row: Vec<(f64, Mark)>,
}

impl Sealer {
    /// A sealer for a new epoch, whose predecessor is `link`. The manifest is to be stored first.
    #[must_use]
    pub fn new(id: Identity, link: Option<Link>, keeper: Keeper) -> (Self, NewManifest) {
        let (manifest, new) = manifest(&id, &[]);
        let builder = Builder::new(&manifest, new.key);
        let closed_at = keeper.wall(0);
        let sealer = Self {
            id,
            link,
            seq: 0,
            manifest: new.key,
            replies: 0,
            builder,
            keeper,
            last: HashMap::new(),
            opened_mono: 0,
            span: (i64::MAX, i64::MIN),
            closed_at,
            closed_mono: 0,
            latest_mono: 0,
            listed_mono: None,
            refused: Refused::default(),
            row: Vec::new(),
        };
        (sealer, new)
    }

    /// The seq of the newest sealed block, 0 before the first.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// The key of the current manifest.
    #[must_use]
    pub fn manifest(&self) -> ManifestKey {
        self.manifest
    }

    /// The clock as the next block will show it.
    #[must_use]
    pub fn keeper(&self) -> &Keeper {
        &self.keeper
    }

    /// What could not be taken so far.
    #[must_use]
    pub fn refused(&self) -> Refused {
        self.refused
    }

    /// The next block carries the list, whatever the time: the centre has a new log.
    pub fn list_soon(&mut self) {
        self.listed_mono = None;
    }

    /// Takes the clocks' new hands; rows of before are closed with the clock as it was.
    pub fn clock(&mut self, next: Keeper, change: Change, list: List<'_>, out: &mut Vec<Sealed>) {
        if change != Change::None {
            self.close_rows(list, out);
        }
        self.keeper = next;
        match (change, self.keeper.unset_offset()) {
            // What was read before it was set is timed by the boot's offset: the clock may turn out to be a little behind
            // that, and no two readings of a device have one time.
            (Change::Set, Some(offset)) => {
                self.last.values_mut().for_each(|last| *last += offset);
                self.closed_at += offset;
            }
            (Change::Back | Change::Set, _) => {
                self.last.clear();
                self.closed_at = i64::MIN;
            }
            (Change::Other | Change::None, _) => {}
        }
    }

    /// Takes the replies that readings may name from now on, where there are new ones.
    pub fn replies(
        &mut self,
        replies: &[Arc<reading::Reply>],
        list: List<'_>,
        out: &mut Vec<Sealed>,
    ) -> Option<NewManifest> {
        if replies.len() == self.replies {
            return None;
        }
        self.close_rows(list, out);
        let (manifest, new) = manifest(&self.id, replies);
        self.builder = Builder::new(&manifest, new.key);
        self.manifest = new.key;
        self.replies = replies.len();
        Some(new)
    }

    /// Takes one reading that arrived at `arrived_mono`; `fast` closes the block at once.
    pub fn push(
        &mut self,
        reading: &reading::Reading,
        arrived_mono: u64,
        fast: bool,
        list: List<'_>,
        out: &mut Vec<Sealed>,
    ) {
        // Under a flood of readings ticks come late: the readings' own times close blocks as well.
        if arrived_mono.saturating_sub(self.opened_mono) >= self.id.flush_ms {
            self.close_rows(list, out);
        }
        self.latest_mono = self.latest_mono.max(arrived_mono);
        self.row.clear();
        self.row.extend(reading.values.iter().map(|v| (v.value, v.mark)));
        let row = std::mem::take(&mut self.row);
        let time = self.event_time(reading.device, arrived_mono);
        let mut pushed = self.builder.push(reading.reply, time, &row);
        let mut time = time;
        if pushed == Err(PushError::Full) {
            self.close_rows(list, out);
            time = self.event_time(reading.device, arrived_mono);
            pushed = self.builder.push(reading.reply, time, &row);
        }
        self.row = row;
        if pushed.is_err() {
            self.refused.readings += 1;
            return;
        }
        if self.builder.rows() == 1 {
            self.opened_mono = arrived_mono;
        }
        self.last.insert(reading.device, time);
        self.span = (self.span.0.min(time), self.span.1.max(time));
        let bytes = self.builder.rows() * ROW_BYTES + self.builder.samples() * SAMPLE_BYTES;
        if fast || self.builder.is_full() || bytes >= wire::limits::BLOCK_BYTES_TARGET {
            self.close_rows(list, out);
        }
    }

    fn event_time(&self, device: u32, arrived_mono: u64) -> i64 {
        let arrived = self.keeper.wall(arrived_mono).max(self.closed_at);
        self.last.get(&device).map_or(arrived, |last| arrived.max(last + 1))
    }

    /// Closes what is due at `now_mono`.
    pub fn tick(&mut self, now_mono: u64, list: List<'_>, out: &mut Vec<Sealed>) {
        self.latest_mono = self.latest_mono.max(now_mono);
        let due = if self.builder.is_empty() {
            self.seq == 0 || now_mono.saturating_sub(self.closed_mono) >= EMPTY_MS
        } else {
            now_mono.saturating_sub(self.opened_mono) >= self.id.flush_ms
        };
        if due {
            self.close(list, out);
        }
    }

    /// Closes the block that holds rows, if there is one.
    pub fn close_rows(&mut self, list: List<'_>, out: &mut Vec<Sealed>) {
        if !self.builder.is_empty() {
            self.close(list, out);
        }
    }

    /// Declares losses, one gap record for each reason, after what was collected before.
    pub fn declare(&mut self, losses: &[spool::GapRange], list: List<'_>, out: &mut Vec<Sealed>) {
        self.close_rows(list, out);
        for part in losses.chunk_by(|a, b| a.loss == b.loss) {
            let ranges = part.iter().map(gap_range).collect();
            let reason = part[0].loss.reason().to_owned();
            let body = Body::Gap(GapRecord { ranges, reason });
            let sealed = self.finish(body, list, None);
            out.push(Sealed { gap: part.to_vec(), ..sealed });
        }
    }

    fn close(&mut self, list: List<'_>, out: &mut Vec<Sealed>) {
        let samples = u32::try_from(self.builder.samples()).unwrap_or(u32::MAX);
        let readings = self.builder.take();
        let (t0, t1) = std::mem::replace(&mut self.span, (i64::MAX, i64::MIN));
        // Rows made strictly increasing may lie ahead of the clock: the closing time never lies behind.
        self.closed_at = self.closed_at.max(t1);
        let sealed = self.finish(Body::Readings(readings), list, Some(self.manifest));
        out.push(Sealed { samples, t0, t1, ..sealed });
    }

    fn finish(&mut self, body: Body, list: List<'_>, manifest: Option<ManifestKey>) -> Sealed {
        self.seq += 1;
        let mono = self.latest_mono;
        self.closed_at = self.closed_at.max(self.keeper.wall(mono));
        self.closed_mono = mono;
        let listed = self.listed_mono.is_none_or(|at| mono.saturating_sub(at) >= LIST_MS);
        if listed {
            self.listed_mono = Some(mono);
        }
        let mut block = Block {
            gateway: self.id.gateway.clone(),
            epoch: self.id.start.epoch,
            seq: self.seq,
            link: self.link.clone(),
            clock: self.keeper.stamp(self.id.start.boot, self.closed_at, mono),
            fact_revision: 0,
            list: listed.then(|| self.list(list(), wire::limits::INTERVALS_MAX)),
            body,
        };
        let mut bytes = block.encode();
        // Only a list can make a block too large; filling its holes is safe, dropping it is not.
        let mut ranges = wire::limits::INTERVALS_MAX;
        while Block::check_size(&bytes).is_err() && ranges > 1 {
            ranges /= 4;
            block.list = block.list.take().map(|l| coarse(l, ranges));
            bytes = block.encode();
        }
        Sealed {
            seq: self.seq,
            bytes,
            born_ms: self.closed_at,
            born_mono: mono,
            samples: 0,
            t0: i64::MAX,
            t1: i64::MIN,
            manifest,
            gap: Vec::new(),
        }
    }

    /// What the spool holds, with the blocks of this epoch that are on their way to it.
    fn list(&self, held: Vec<spool::HeldEpoch>, ranges: usize) -> Vec<HeldEpoch> {
        let mut list: Vec<HeldEpoch> =
            held.into_iter().map(|e| held_epoch(e, self.id.start.epoch, self.seq)).collect();
        if !list.iter().any(|e| e.epoch == self.id.start.epoch) {
            let held = vec![wire::block::Range { from: self.seq, to: self.seq }];
            let (epoch, link) = (self.id.start.epoch, self.link.clone());
            list.push(HeldEpoch { epoch, link, last: self.seq, held });
        }
        coarse(list, ranges)
    }
}

/// Where the list of held epochs comes from when a block needs it.
pub type List<'a> = &'a dyn Fn() -> Vec<spool::HeldEpoch>;

fn held_epoch(mut e: spool::HeldEpoch, current: Epoch, seq: u64) -> HeldEpoch {
    if e.epoch == current.0 {
        // Where the set is full the newest range is stretched: claiming too much only waits longer.
        if e.held.insert(e.last + 1, seq).is_err() {
            let shorter = e.held.coarsened(spool::INTERVALS_MAX / 2);
            e.held = shorter.iter().chain([(e.last + 1, seq)]).collect();
        }
        e.last = seq;
    }
    let held = e.held.iter().map(|(from, to)| wire::block::Range { from, to }).collect();
    HeldEpoch { epoch: Epoch(e.epoch), link: e.link.map(link), last: e.last, held }
}

/// Shortens each epoch's ranges to `most` by filling the narrowest holes.
fn coarse(list: Vec<HeldEpoch>, most: usize) -> Vec<HeldEpoch> {
    let shorten = |e: HeldEpoch| {
        if e.held.len() <= most {
            return e;
        }
        let set: spool::Intervals = e.held.iter().map(|r| (r.from, r.to)).collect();
        let set = set.coarsened(most);
        let held = set.iter().map(|(from, to)| wire::block::Range { from, to }).collect();
        HeldEpoch { held, ..e }
    };
    list.into_iter().map(shorten).collect()
}

/// A link as blocks carry it.
#[must_use]
pub fn link(link: spool::Link) -> Link {
    Link { epoch: Epoch(link.epoch), last: link.last, gateway: None }
}

fn gap_range(g: &spool::GapRange) -> GapRange {
    GapRange {
        epoch: Epoch(g.epoch),
        from: g.from,
        to: g.to,
        t0: if g.t0 == i64::MAX { 0 } else { g.t0 },
        t1: if g.t1 == i64::MIN { 0 } else { g.t1 },
        samples: g.samples,
        link: g.link.map(link),
    }
}

fn manifest(id: &Identity, replies: &[Arc<reading::Reply>]) -> (Manifest, NewManifest) {
    let point = |p: &reading::ReplyPoint| Point {
        quantity: p.quantity.to_string(),
        unit: p.unit.to_string(),
    };
    let reply = |r: &Arc<reading::Reply>| Reply {
        device: r.device_id.to_string(),
        period_ms: r.period_ms,
        points: r.points.iter().map(point).collect(),
        profile: r.profile.to_string(),
        profile_version: r.profile_version.to_string(),
    };
    let manifest = Manifest {
        gateway: id.gateway.clone(),
        site: id.site.clone(),
        replies: replies.iter().map(reply).collect(),
        replaces: id.replaces.clone(),
    };
    let bytes = manifest.encode();
    (manifest, NewManifest { key: wire::manifest::key(&bytes), bytes })
}

#[cfg(test)]
mod tests;
