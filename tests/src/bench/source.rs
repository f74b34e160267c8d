//! A gateway that makes its blocks as they go out, for loads that are too long to be made before and must be of now.

use anyhow::Result;
use wire::block::{Body, Clock, ClockState, HeldEpoch};
use wire::columns::Builder;
use wire::frame::{self, Kind};
use wire::manifest::{Point, Reply};
use wire::message::{Item, Stamp, Uplink};
use wire::{Block, Boot, Epoch, GatewayName, Key, Manifest, Mark};

/// The one epoch of such a gateway.
pub(super) const EPOCH: Epoch = Epoch(0x5eed_0001);

/// See the module.
#[derive(Debug)]
pub(super) struct Source {
    manifest: Manifest,
    manifest_key: wire::ManifestKey,
    key: Key,
    seq: u64,
    counter: u64,
    /// What its monotonic clock counts from, ms.
    zero: i64,
}

/// A row of a block: reply, event time, values.
pub(super) type Row<'a> = (usize, i64, &'a [f64]);

impl Source {
    /// A gateway whose devices all have these quantities; its monotonic clock begins at `zero`.
    ///
    /// # Errors
    /// For a name that is none.
    pub(super) fn new(
        gateway: &str,
        site: &str,
        devices: &[String],
        quantities: &[&str],
        key: Key,
        zero: i64,
    ) -> Result<Source> {
        let devices = devices.iter().map(|device| (device.clone(), quantities));
        Source::of(gateway, site, 1_000, devices, key, zero)
    }

    /// A gateway that reads each of its devices, with quantities of its own, every `period_ms`.
    ///
    /// # Errors
    /// For a name that is none.
    pub(super) fn of<'a>(
        gateway: &str,
        site: &str,
        period_ms: u32,
        devices: impl Iterator<Item = (String, &'a [&'a str])>,
        key: Key,
        zero: i64,
    ) -> Result<Source> {
        let point = |q: &&str| Point {
            quantity: (*q).to_owned(),
            unit: wire::quantity::lookup(q).map(|q| q.unit.to_owned()).unwrap_or_default(),
        };
        let replies = devices.map(|(device, quantities)| Reply {
            device,
            period_ms,
            points: quantities.iter().map(point).collect(),
            profile: "bench".to_owned(),
            profile_version: "1".to_owned(),
        });
        let manifest = Manifest {
            gateway: GatewayName::new(gateway)?,
            site: site.to_owned(),
            replies: replies.collect(),
            replaces: None,
        };
        let manifest_key = wire::manifest::key(&manifest.encode());
        Ok(Source { manifest, manifest_key, key, seq: 0, counter: 0, zero })
    }

    /// The manifest's frame.
    pub(super) fn manifest(&mut self) -> Vec<u8> {
        let item = Item::Manifest(self.manifest.encode());
        self.seal(item, self.zero)
    }

    /// The next block's frame.
    ///
    /// # Errors
    /// When the rows do not fit in one.
    pub(super) fn block<'a>(
        &mut self,
        rows: impl Iterator<Item = Row<'a>>,
        closed_at: i64,
    ) -> Result<Vec<u8>> {
        self.seq += 1;
        let list = (self.seq == 1).then(Vec::new);
        let block = self.block_at(self.seq, rows, closed_at, list)?;
        Ok(self.send(block, closed_at))
    }

    /// The bytes of block `seq` as a spool would hold them; `list` is what the gateway says it still holds.
    ///
    /// # Errors
    /// When the rows do not fit in one.
    pub(super) fn block_at<'a>(
        &self,
        seq: u64,
        rows: impl Iterator<Item = Row<'a>>,
        closed_at: i64,
        list: Option<Vec<HeldEpoch>>,
    ) -> Result<Vec<u8>> {
        let mut builder = Builder::new(&self.manifest, self.manifest_key);
        let mut samples = Vec::new();
        for (reply, time, values) in rows {
            samples.clear();
            samples.extend(values.iter().map(|v| (*v, Mark::GOOD)));
            builder.push(u32::try_from(reply)?, time, &samples)?;
        }
        let block = Block {
            gateway: self.manifest.gateway.clone(),
            epoch: EPOCH,
            seq,
            link: None,
            clock: Clock {
                state: ClockState::Synced,
                closed_at,
                mono_ms: u64::try_from(closed_at - self.zero)?,
                boot: Boot(7),
                segment: 0,
                boot_offset: Some(self.zero),
                error_ms: 5,
            },
            fact_revision: 0,
            list,
            body: Body::Readings(builder.take()),
        };
        Ok(block.encode())
    }

    /// A block's frame, sent `now`.
    pub(super) fn send(&mut self, block: Vec<u8>, now: i64) -> Vec<u8> {
        self.seal(Item::Block(block), now)
    }

    /// Its key.
    pub(super) fn key(&self) -> &Key {
        &self.key
    }

    fn seal(&mut self, item: Item, now: i64) -> Vec<u8> {
        self.counter += 1;
        let stamp = Stamp {
            gateway: self.manifest.gateway.clone(),
            boot: Boot(7),
            counter: self.counter,
            mono_ms: u64::try_from(now - self.zero).unwrap_or(0),
        };
        frame::seal(&self.key, Kind::Uplink, &Uplink { stamp, item }.encode())
    }
}
