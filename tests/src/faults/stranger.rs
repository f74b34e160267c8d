//! A second gateway of the works, played by the test with its real key: it sends yesterday's blocks in any order, blocks
//! from the future, blocks without their manifest and blocks that contradict it.

use std::time::Duration;

use anyhow::{Context, Result};
use rand::Rng;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use wire::block::{Body, Clock, ClockState, Link};
use wire::columns::Builder;
use wire::frame::{self, Kind};
use wire::manifest::{Point, Reply};
use wire::message::{Ack, Item, Stamp, Uplink};
use wire::topic::{Topic, TopicKind};
use wire::{Block, Boot, Epoch, GatewayName, Key, Manifest, ManifestKey, Mark};

use super::world::SITE;
use crate::harness::peer::Peer;
use crate::harness::wait::wait_for;

/// Its name.
pub const NAME: &str = "works-gw2";
/// Its one device, a tank: what it says is history, so its dips must be journalled and page nobody.
pub const DEVICE: &str = "tank-y";
/// Rows of a block, a second apart.
const ROWS: i64 = 10;
/// Of the blocks of a day, every so manieth holds a dip.
const DIP_EVERY: u64 = 4;

/// The gateway as the test plays it.
#[derive(Debug)]
pub struct Stranger {
    key: Key,
    gateway: GatewayName,
    epoch: u64,
    last: u64,
    linked: Option<(u64, u64)>,
    boot: u64,
    counter: u64,
    /// Samples sent and acked so far.
    pub sent: u64,
    /// Dips in these.
    pub dips: u64,
    /// Event time where its next history begins, ms.
    next: i64,
}

impl Stranger {
    /// One whose history begins at `from` (ms).
    ///
    /// # Errors
    /// When the key is none.
    pub fn new(key: &str, from: i64, random: &mut SmallRng) -> Result<Stranger> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(key, &mut bytes).context("a key in hex")?;
        Ok(Stranger {
            key: Key::new(bytes),
            gateway: GatewayName::new(NAME)?,
            epoch: random.random(),
            last: 0,
            linked: None,
            boot: random.random(),
            counter: 0,
            sent: 0,
            dips: 0,
            next: from,
        })
    }

    fn manifest(&self) -> Manifest {
        let point = Point { quantity: "level_pct".to_owned(), unit: "%".to_owned() };
        let reply = Reply {
            device: DEVICE.to_owned(),
            period_ms: 1_000,
            points: vec![point],
            profile: "generic".to_owned(),
            profile_version: "1".to_owned(),
        };
        let gateway = self.gateway.clone();
        Manifest { gateway, site: SITE.to_owned(), replies: vec![reply], replaces: None }
    }

    fn topic(&self, kind: TopicKind) -> String {
        Topic::new(self.gateway.clone(), kind).to_string()
    }

    fn frame(&mut self, item: Item) -> Vec<u8> {
        self.counter += 1;
        let stamp = Stamp {
            gateway: self.gateway.clone(),
            boot: Boot(self.boot),
            counter: self.counter,
            mono_ms: self.counter,
        };
        frame::seal(&self.key, Kind::Uplink, &Uplink { stamp, item }.encode())
    }

    /// The next block of this epoch with rows from `from` on.
    fn block(&mut self, key: ManifestKey, from: i64, dips: bool) -> Result<Block> {
        let mut builder = Builder::new(&self.manifest(), key);
        for row in 0..ROWS {
            let level = if dips && (3..6).contains(&row) { 2.0 } else { 50.0 };
            builder.push(0, from + row * 1_000, &[(level, Mark::GOOD)])?;
        }
        self.last += 1;
        let closed_at = from + ROWS * 1_000;
        let clock = Clock {
            state: ClockState::Synced,
            closed_at,
            mono_ms: self.last * 1_000,
            boot: Boot(self.boot),
            segment: 0,
            boot_offset: Some(closed_at - i64::try_from(self.last * 1_000)?),
            error_ms: 0,
        };
        let link =
            self.linked.map(|(epoch, last)| Link { epoch: Epoch(epoch), last, gateway: None });
        Ok(Block {
            gateway: self.gateway.clone(),
            epoch: Epoch(self.epoch),
            seq: self.last,
            link,
            clock,
            fact_revision: 0,
            list: (self.last == 1).then(Vec::new),
            body: Body::Readings(builder.take()),
        })
    }

    fn begin_epoch(&mut self, random: &mut SmallRng) {
        if self.last > 0 {
            self.linked = Some((self.epoch, self.last));
        }
        (self.epoch, self.last) = (random.random(), 0);
    }

    /// Sends so many blocks of history in a drawn order, each twice, until every one is acked.
    ///
    /// # Errors
    /// When the broker does not take them.
    ///
    /// # Panics
    /// When the centre does not ack them all in time.
    pub async fn history(&mut self, port: u16, blocks: u64, random: &mut SmallRng) -> Result<()> {
        self.begin_epoch(random);
        let bytes = self.manifest().encode();
        let key = wire::manifest::key(&bytes);
        let mut sealed = Vec::new();
        for number in 1..=blocks {
            let dips = number % DIP_EVERY == 2;
            self.dips += u64::from(dips);
            let block = self.block(key, self.next, dips)?;
            self.next += ROWS * 1_000;
            sealed.push(block.encode());
        }
        self.sent += blocks * ROWS.unsigned_abs();
        let mut order: Vec<usize> = (0..sealed.len()).chain(0..sealed.len()).collect();
        order.shuffle(random);
        let up = self.topic(TopicKind::Up);
        let mut peer = Peer::connect(port, NAME, &self.topic(TopicKind::Ack)).await?;
        // The first block comes before its manifest: it is asked for.
        let first = self.frame(Item::Block(sealed[order[0]].clone()));
        peer.publish(&up, first).await?;
        let manifest = self.frame(Item::Manifest(bytes));
        peer.publish(&up, manifest).await?;
        for index in order {
            let frame = self.frame(Item::Block(sealed[index].clone()));
            peer.publish(&up, frame).await?;
        }
        let (epoch, own) = (self.epoch, self.key.clone());
        wait_for("the stranger's blocks to be acked", Duration::from_secs(30), || {
            let upto = acked(&peer, &own, epoch);
            async move { if upto >= blocks { Ok(()) } else { Err(format!("{upto} of {blocks}")) } }
        })
        .await;
        Ok(())
    }

    /// Sends a block whose manifest the centre cannot know, and nothing that follows it: it is neither logged nor acked.
    ///
    /// # Errors
    /// When the broker does not take it.
    pub async fn unknown(&mut self, port: u16, random: &mut SmallRng) -> Result<()> {
        self.begin_epoch(random);
        let block = self.block(ManifestKey(random.random()), self.next, false)?.encode();
        // Nobody has it: the next epoch follows the one before.
        self.last = 0;
        let mut peer = Peer::connect(port, NAME, &self.topic(TopicKind::Ack)).await?;
        let frame = self.frame(Item::Block(block));
        peer.publish(&self.topic(TopicKind::Up), frame).await
    }

    /// Sends a block that lies ten minutes ahead, and one whose rows name a reply that the manifest lacks.
    ///
    /// # Errors
    /// When the broker does not take them.
    pub async fn nonsense(&mut self, port: u16, now: i64, random: &mut SmallRng) -> Result<()> {
        self.begin_epoch(random);
        let bytes = self.manifest().encode();
        let key = wire::manifest::key(&bytes);
        let ahead = self.block(key, now + 600_000, false)?.encode();
        let mut odd = self.block(key, now, false)?;
        if let Body::Readings(readings) = &mut odd.body {
            // A reply that the manifest does not have.
            readings.tables.iter_mut().flat_map(|t| &mut t.replies).for_each(|reply| *reply = 7);
        }
        let odd = odd.encode();
        let up = self.topic(TopicKind::Up);
        let mut peer = Peer::connect(port, NAME, &self.topic(TopicKind::Ack)).await?;
        for item in [Item::Manifest(bytes), Item::Block(ahead), Item::Block(odd)] {
            let frame = self.frame(item);
            peer.publish(&up, frame).await?;
        }
        Ok(())
    }
}

/// The highest seq up to which acks name everything of an epoch.
fn acked(peer: &Peer, key: &Key, epoch: u64) -> u64 {
    let bodies = peer.heard();
    let acks = bodies
        .iter()
        .filter_map(|(_, payload)| Ack::decode(frame::open(key, Kind::Ack, payload).ok()?).ok());
    let of_epoch = acks.flat_map(|ack| ack.epochs).filter(|e| e.epoch.0 == epoch);
    of_epoch.map(|e| e.upto).max().unwrap_or(0)
}
