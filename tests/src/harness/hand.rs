//! A gateway made by hand: what it sends is whatever a test likes, signed with a real key.

use anyhow::{Context, Result};
use wire::block::{Body, Clock, ClockState, HeldEpoch, Range};
use wire::columns::Builder;
use wire::frame::{self, Kind};
use wire::manifest::{self, Manifest, Point, Reply};
use wire::message::{Item, Stamp, Uplink};
use wire::topic::{Topic, TopicKind};
use wire::{Block, Boot, Epoch, GatewayName, Key, Mark, Reason};

/// A provisioned gateway of which only the key is real.
#[derive(Debug)]
pub struct Hand {
    name: GatewayName,
    site: String,
    key: Key,
    epoch: Epoch,
    seq: u64,
    counter: u64,
}

impl Hand {
    /// With the key that the centre printed, in hex.
    ///
    /// # Errors
    /// When name or key are none.
    pub fn new(name: &str, site: &str, key: &str) -> Result<Hand> {
        let name = GatewayName::new(name)?;
        let key = Key::from_hex(key).ok().context("a key of 64 hex digits")?;
        let mut epoch = [0; 8];
        getrandom::fill(&mut epoch).ok().context("random bytes")?;
        let epoch = Epoch(u64::from_le_bytes(epoch));
        Ok(Hand { name, site: site.to_owned(), key, epoch, seq: 0, counter: 0 })
    }

    /// Where it publishes.
    #[must_use]
    pub fn topic(&self) -> String {
        Topic::new(self.name.clone(), TopicKind::Up).to_string()
    }

    /// A manifest of these devices, each with one reply of these quantities.
    #[must_use]
    pub fn manifest(&self, devices: impl Iterator<Item = String>, points: &[Point]) -> Manifest {
        let reply = |device| Reply {
            device,
            period_ms: 1_000,
            points: points.to_vec(),
            profile: "hand".to_owned(),
            profile_version: "1".to_owned(),
        };
        Manifest {
            gateway: self.name.clone(),
            site: self.site.clone(),
            replies: devices.map(reply).collect(),
            replaces: None,
        }
    }

    /// The manifest, ready to be published.
    pub fn sealed_manifest(&mut self, manifest: &Manifest) -> Vec<u8> {
        self.sealed(Item::Manifest(manifest.encode()))
    }

    /// The next block, ready to be published: rows of reply number, event time and values; one that is not a number is a
    /// bad sample.
    ///
    /// # Errors
    /// When the rows do not fit.
    pub fn next(&mut self, manifest: &Manifest, rows: &[(u32, i64, Vec<f64>)]) -> Result<Vec<u8>> {
        self.seq += 1;
        self.again(manifest, rows)
    }

    /// A block under the key of the newest one.
    ///
    /// # Errors
    /// When the rows do not fit.
    pub fn again(&mut self, manifest: &Manifest, rows: &[(u32, i64, Vec<f64>)]) -> Result<Vec<u8>> {
        let mut builder = Builder::new(manifest, manifest::key(&manifest.encode()));
        for (reply, time, values) in rows {
            let mark =
                |value: &f64| if value.is_nan() { Mark::bad(Reason::Other) } else { Mark::GOOD };
            let samples: Vec<_> = values.iter().map(|value| (*value, mark(value))).collect();
            builder.push(*reply, *time, &samples)?;
        }
        // It lets go of nothing: a test may send any block again.
        let held = vec![Range { from: 1, to: self.seq }];
        let list = HeldEpoch { epoch: self.epoch, link: None, last: self.seq, held };
        let block = Block {
            gateway: self.name.clone(),
            epoch: self.epoch,
            seq: self.seq,
            link: None,
            clock: Clock {
                state: ClockState::Synced,
                closed_at: now_ms(),
                mono_ms: self.counter,
                boot: Boot(self.epoch.0),
                segment: 0,
                boot_offset: Some(0),
                error_ms: 0,
            },
            fact_revision: 0,
            list: Some(vec![list]),
            body: Body::Readings(builder.take()),
        };
        Ok(self.sealed(Item::Block(block.encode())))
    }

    fn sealed(&mut self, item: Item) -> Vec<u8> {
        self.counter += 1;
        let stamp = Stamp {
            gateway: self.name.clone(),
            boot: Boot(self.epoch.0),
            counter: self.counter,
            mono_ms: self.counter,
        };
        frame::seal(&self.key, Kind::Uplink, &Uplink { stamp, item }.encode())
    }
}

/// Now, ms UTC.
#[must_use]
pub fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}
