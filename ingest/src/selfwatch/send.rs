//! Makes the frames of the centre's own gateway: a manifest, and blocks of one sample, each kept until the next.

use wire::block::{Body, Clock, ClockState, HeldEpoch, Link, Range};
use wire::columns::Builder;
use wire::frame::{self, Kind};
use wire::manifest::{self, Manifest, Point, Reply};
use wire::message::{Item, Stamp, Uplink};
use wire::{Block, Boot, Mark};

use super::{DEVICE, PERIOD_MS, QUANTITY, SITE, Watched};

/// A step back of the wall clock beyond this opens a time segment, ms (design §3).
const STEP_BACK_MS: i64 = 1_000;

/// See the module.
#[derive(Debug)]
pub struct Sender<'a> {
    watched: &'a Watched,
    /// What the epoch of this start follows.
    link: Option<Link>,
    manifest: Manifest,
    block: Vec<u8>,
    seq: u64,
    counter: u64,
    segment: u32,
    t: i64,
}

impl<'a> Sender<'a> {
    /// Of a start whose epoch follows `link`.
    #[must_use]
    pub fn new(watched: &'a Watched, link: Option<Link>) -> Self {
        let point = Point { quantity: QUANTITY.to_owned(), unit: "%LEL".to_owned() };
        let reply = Reply {
            device: DEVICE.to_owned(),
            period_ms: PERIOD_MS,
            points: vec![point],
            profile: "self".to_owned(),
            profile_version: "1".to_owned(),
        };
        let manifest = Manifest {
            gateway: watched.name.clone(),
            site: SITE.to_owned(),
            replies: vec![reply],
            replaces: None,
        };
        Self {
            watched,
            link,
            manifest,
            block: Vec::new(),
            seq: 0,
            counter: 0,
            segment: 0,
            t: i64::MIN,
        }
    }

    /// Seals the next block, of one sample at `now` (ms UTC; `mono` ms since the start); gives its seq and event time.
    pub fn next(&mut self, value: f64, now: i64, mono: i64) -> (u64, i64) {
        if now < self.t.saturating_sub(STEP_BACK_MS) {
            self.segment += 1;
            self.t = now;
        } else {
            self.t = now.max(self.t.saturating_add(1));
        }
        self.seq += 1;
        let key = manifest::key(&self.manifest.encode());
        let mut builder = Builder::new(&self.manifest, key);
        builder.push(0, self.t, &[(value, Mark::GOOD)]).expect("one sample fits in an empty block");
        let epoch = self.watched.epoch;
        let held = vec![Range { from: self.seq, to: self.seq }];
        let list = HeldEpoch { epoch, link: self.link.clone(), last: self.seq, held };
        let block = Block {
            gateway: self.watched.name.clone(),
            epoch,
            seq: self.seq,
            link: self.link.clone(),
            clock: Clock {
                state: ClockState::Synced,
                // Exclusive of the sample: what is judged at the closing time includes it.
                closed_at: self.t.saturating_add(1),
                mono_ms: mono.unsigned_abs(),
                boot: self.boot(),
                segment: self.segment,
                boot_offset: Some(now.saturating_sub(mono)),
                error_ms: 0,
            },
            fact_revision: 0,
            list: Some(vec![list]),
            body: Body::Readings(builder.take()),
        };
        self.block = block.encode();
        (self.seq, self.t)
    }

    /// Frames of the manifest and of the newest block, ready to be published.
    pub fn frames(&mut self, mono: i64) -> [Vec<u8>; 2] {
        let items = [Item::Manifest(self.manifest.encode()), Item::Block(self.block.clone())];
        items.map(|item| {
            self.counter += 1;
            let stamp = Stamp {
                gateway: self.watched.name.clone(),
                boot: self.boot(),
                counter: self.counter,
                mono_ms: mono.unsigned_abs(),
            };
            frame::seal(&self.watched.key, Kind::Uplink, &Uplink { stamp, item }.encode())
        })
    }

    fn boot(&self) -> Boot {
        Boot(self.watched.epoch.0)
    }
}
