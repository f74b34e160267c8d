//! A gateway that makes its blocks as they go out, for loads that are too long to be made before and must be of now.

use anyhow::Result;
use wire::block::{Body, Clock, ClockState};
use wire::columns::Builder;
use wire::frame::{self, Kind};
use wire::manifest::{Point, Reply};
use wire::message::{Item, Stamp, Uplink};
use wire::{Block, Boot, Epoch, GatewayName, Key, Manifest, Mark};

/// See the module.
#[derive(Debug)]
pub(super) struct Source {
    manifest: Manifest,
    builder: Builder,
    key: Key,
    epoch: Epoch,
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
        let points = quantities.iter().map(|q| Point {
            quantity: (*q).to_owned(),
            unit: wire::quantity::lookup(q).map(|q| q.unit.to_owned()).unwrap_or_default(),
        });
        let points: Vec<Point> = points.collect();
        let replies = devices.iter().map(|device| Reply {
            device: device.clone(),
            period_ms: 1_000,
            points: points.clone(),
            profile: "bench".to_owned(),
            profile_version: "1".to_owned(),
        });
        let manifest = Manifest {
            gateway: GatewayName::new(gateway)?,
            site: site.to_owned(),
            replies: replies.collect(),
            replaces: None,
        };
        let builder = Builder::new(&manifest, wire::manifest::key(&manifest.encode()));
        let epoch = Epoch(0x5eed_0001);
        Ok(Source { manifest, builder, key, epoch, seq: 0, counter: 0, zero })
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
        let mut samples = Vec::new();
        for (reply, time, values) in rows {
            samples.clear();
            samples.extend(values.iter().map(|v| (*v, Mark::GOOD)));
            self.builder.push(u32::try_from(reply)?, time, &samples)?;
        }
        self.seq += 1;
        let block = Block {
            gateway: self.manifest.gateway.clone(),
            epoch: self.epoch,
            seq: self.seq,
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
            list: (self.seq == 1).then(Vec::new),
            body: Body::Readings(self.builder.take()),
        };
        Ok(self.seal(Item::Block(block.encode()), closed_at))
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
