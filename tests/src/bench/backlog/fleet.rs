//! Gateways that come back after a day without a link and send what their spools hold: the real decision core of the uplink
//! ([`gateway::uplink::lanes`]) decides what goes out next, and nothing is let go of but on the centre's authentic ack.
//!
//! What differs from real ones: blocks are made when they are sent instead of read from a disk, and some hundred gateways
//! share a pair of connections to the broker.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use gateway::uplink::lanes::{Lanes, View};
use rumqttc::{AsyncClient, ClientError, Event, Incoming, MqttOptions, QoS};
use spool::{Intervals, Key as BlockKey};
use tokio::sync::mpsc;
use tokio::time::Instant;
use wire::Key;
use wire::block::{HeldEpoch, Range};
use wire::frame::{self, Kind};
use wire::message::Ack;
use wire::topic::{Topic, TopicKind};

use super::{EPISODE_BLOCKS, EPISODES, NORMAL, PAST, PERIOD_MS, now_ms};
use crate::bench::source::{EPOCH, Row, Source};

/// Acks that wait to be taken; beyond it the connection is read no further.
const HEARD_MAX: usize = 4_096;
/// Publishes of one connection that the broker has not confirmed.
const UNCONFIRMED_MAX: u16 = 2_000;
/// Blocks that one gateway sends before it is the next one's turn: what a real one reads from its spool at once.
const TURN: usize = 16;
/// Longest pause where nobody may send, so that what falls due by time is seen.
const PAUSE: Duration = Duration::from_millis(10);
/// Between two pings.
const KEEP_ALIVE: Duration = Duration::from_secs(60);
/// Quantities of the meter.
const METER: [&str; 3] = ["p_total", "u_a", "i_a"];

/// What the fleet shares with who watches it.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// Blocks of the backlog that the centre has acked.
    pub(super) acked: AtomicUsize,
    /// Messages handed to the broker, repetitions too.
    pub(super) sent: AtomicUsize,
    /// Acks that asked to send backfill later.
    pub(super) slowed: AtomicUsize,
    /// It is over.
    pub(super) stop: AtomicBool,
}

/// One gateway that was away.
#[derive(Debug)]
pub(super) struct Gateway {
    index: usize,
    name: String,
    source: Source,
    lanes: Lanes,
    acked: Intervals,
    acked_backlog: u64,
    /// Blocks of its time away.
    backlog: u64,
    /// Event time of the last of these, ms.
    away_until: i64,
    /// Live blocks that are not acked: their bytes and when they were made (lanes' time).
    live: BTreeMap<u64, (Vec<u8>, u64)>,
    last: u64,
    due: u64,
    topic: String,
    owes_manifest: bool,
}

/// Name of a gateway, which is its site's too.
pub(super) fn name(index: usize) -> String {
    format!("away-{index:04}")
}

/// Its detector, and what that reads.
pub(super) const DETECTOR: &str = "gas";
/// Its meter.
pub(super) const METER_ID: &str = "meter";

impl Gateway {
    /// A gateway whose backlog of `backlog` blocks ends at `away_until`.
    ///
    /// # Errors
    /// For a key that is none.
    pub(super) fn new(index: usize, key: Key, backlog: u64, away_until: i64) -> Result<Gateway> {
        let name = name(index);
        let devices: [(String, &[&str]); 2] =
            [(METER_ID.to_owned(), &METER), (DETECTOR.to_owned(), &["gas_lel"])];
        let zero = away_until - i64::try_from(backlog + 6)? * PERIOD_MS;
        let period = u32::try_from(PERIOD_MS)?;
        let source = Source::of(&name, &name, period, devices.into_iter(), key, zero)?;
        let topic = Topic::new(wire::GatewayName::new(name.clone())?, TopicKind::Up).to_string();
        let mut gateway = Gateway {
            index,
            name,
            source,
            lanes: Lanes::new(),
            acked: Intervals::new(),
            acked_backlog: 0,
            backlog,
            away_until,
            live: BTreeMap::new(),
            last: backlog,
            // Spread over their period, as gateways are.
            due: (index as u64 * 37) % PERIOD_MS.unsigned_abs(),
            topic,
            owes_manifest: true,
        };
        gateway.show();
        Ok(gateway)
    }

    /// Event time of the readings of a block of the backlog, ms.
    pub(super) fn time(&self, seq: u64) -> i64 {
        let before = i64::try_from(self.backlog.saturating_sub(seq)).unwrap_or(0);
        self.away_until - before * PERIOD_MS
    }

    /// The alarms of its time away: from which block to which, the second the first without it.
    pub(super) fn episodes(&self) -> impl Iterator<Item = (u64, u64)> + use<> {
        let (index, backlog) = (self.index as u64, self.backlog);
        // Over all but the last quarter of the day: none may be so young that it pages with reason.
        let step = backlog * 3 / 4 / EPISODES;
        (0..EPISODES).map(move |n| {
            let begin = step / 8 + n * step + index * 7 % (step / 2).max(1);
            (begin, begin + EPISODE_BLOCKS)
        })
    }

    fn block(&self, seq: u64) -> Result<Vec<u8>> {
        if let Some((bytes, _)) = self.live.get(&seq) {
            return Ok(bytes.clone());
        }
        let past = self.episodes().any(|(begin, end)| (begin..end).contains(&seq));
        let list = (seq == 1).then(Vec::new);
        self.made(seq, self.time(seq), past, list)
    }

    fn made(&self, seq: u64, t: i64, past: bool, list: Option<Vec<HeldEpoch>>) -> Result<Vec<u8>> {
        // Values that move a little, the same whenever the block is made.
        let wave = |n: u64| ((seq * 31 + self.index as u64 * 17) % n) as f64;
        let meter = [118.0 + wave(41) / 10.0, 231.0 + wave(13) / 10.0, 171.0 + wave(29) / 10.0];
        let gas = [if past { PAST } else { NORMAL }];
        let rows: [Row<'_>; 2] = [(0, t, &meter), (1, t, &gas)];
        self.source.block_at(seq, rows.into_iter(), t + 1, list)
    }

    /// Makes a live block where one is due: every tenth gateway has an alarm at every other.
    fn live(&mut self, now: u64) -> Result<()> {
        if now < self.due {
            return Ok(());
        }
        self.due += PERIOD_MS.unsigned_abs();
        self.last += 1;
        let past = self.index.is_multiple_of(10) && self.last.is_multiple_of(2);
        let held = Intervals::of(1, self.last).without(&self.acked);
        ensure!(held.len() <= wire::limits::INTERVALS_MAX, "{} ranges in a list", held.len());
        let held = held.into_iter().map(|(from, to)| Range { from, to }).collect();
        let entry = HeldEpoch { epoch: EPOCH, link: None, last: self.last, held };
        let bytes = self.made(self.last, now_ms(), past, Some(vec![entry]))?;
        self.live.insert(self.last, (bytes, now));
        self.show();
        Ok(())
    }

    /// Tells the lanes what is held.
    fn show(&mut self) {
        let held = Intervals::of(1, self.last).without(&self.acked);
        let key = |seq| BlockKey { epoch: EPOCH.0, seq };
        let live = self.live.iter().map(|(seq, (_, born))| (key(*seq), *born)).collect();
        self.lanes.view(View { backlog: vec![(EPOCH.0, held)], live, rescue: false });
    }

    fn heard(&mut self, ack: &Ack, now: u64, shared: &Shared) -> Result<()> {
        for epoch in ack.epochs.iter().filter(|e| e.epoch == EPOCH) {
            if epoch.upto > 0 {
                self.acked.insert(1, epoch.upto)?;
            }
            for range in &epoch.ranges {
                self.acked.insert(range.from, range.to)?;
            }
        }
        self.lanes.acked(now, &ack.epochs, ack.slow_down_ms);
        self.live.retain(|seq, _| !self.acked.contains(*seq));
        let missing: u64 = Intervals::of(1, self.backlog)
            .without(&self.acked)
            .iter()
            .map(|(a, b)| b - a + 1)
            .sum();
        let done = self.backlog - missing;
        let more = usize::try_from(done - self.acked_backlog)?;
        shared.acked.fetch_add(more, Ordering::Relaxed);
        self.acked_backlog = done;
        self.show();
        if let Some(want) = ack.want {
            self.lanes.wanted(now, want);
        }
        self.owes_manifest |= !ack.need_manifest.is_empty();
        shared.slowed.fetch_add(usize::from(ack.slow_down_ms > 0), Ordering::Relaxed);
        Ok(())
    }
}

/// Drives some gateways over connections of their own until `shared.stop`.
///
/// # Errors
/// When the broker goes away or an ack is not the centre's.
pub(super) async fn drive(
    number: usize,
    port: u16,
    mut gateways: Vec<Gateway>,
    shared: Arc<Shared>,
) -> Result<()> {
    let shared = &*shared;
    let options = |what: &str| {
        let mut options = MqttOptions::new(format!("bench-{what}-{number}"), "127.0.0.1", port);
        options.set_max_packet_size(1 << 20, 1 << 20).set_inflight(UNCONFIRMED_MAX);
        // A busy machine is no reason to give a connection up.
        options.set_keep_alive(KEEP_ALIVE);
        options
    };
    let (client, mut sending) = AsyncClient::new(options("send"), usize::from(UNCONFIRMED_MAX));
    let (hearer, mut hearing) = AsyncClient::new(options("hear"), gateways.len() + 8);
    let (acks, mut heard) = mpsc::channel(HEARD_MAX);
    let mut by_topic = HashMap::new();
    for (at, gateway) in gateways.iter().enumerate() {
        let name = wire::GatewayName::new(gateway.name.clone())?;
        let topic = Topic::new(name, TopicKind::Ack).to_string();
        hearer.subscribe(topic.clone(), QoS::AtLeastOnce).await?;
        by_topic.insert(topic, at);
    }
    // Each polls for itself: a poll that is cut off may lose what it had read.
    let send = async {
        while !shared.stop.load(Ordering::Relaxed) {
            sending.poll().await.context("the broker went away")?;
        }
        anyhow::Ok(())
    };
    let hear = async {
        while !shared.stop.load(Ordering::Relaxed) {
            if let Event::Incoming(Incoming::Publish(publish)) = hearing.poll().await? {
                // Who takes them is there as long as this is.
                drop(acks.send(publish).await);
            }
        }
        anyhow::Ok(())
    };
    let begun = Instant::now();
    let now = || u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    let decide = async {
        while !shared.stop.load(Ordering::Relaxed) {
            while let Ok(publish) = heard.try_recv() {
                let at = *by_topic.get(&publish.topic).context("an ack of nobody")?;
                let gateway = &mut gateways[at];
                let body = frame::open(gateway.source.key(), Kind::Ack, &publish.payload)?;
                gateway.heard(&Ack::decode(body)?, now(), shared)?;
            }
            let mut is_idle = true;
            for gateway in &mut gateways {
                gateway.live(now())?;
                is_idle &= !turn(gateway, &client, now(), shared)?;
            }
            if is_idle {
                tokio::time::sleep(PAUSE).await;
            } else {
                tokio::task::yield_now().await;
            }
        }
        anyhow::Ok(())
    };
    tokio::try_join!(send, hear, decide)?;
    Ok(())
}

/// Sends what is due of one gateway; whether there was anything that could go out.
fn turn(gateway: &mut Gateway, client: &AsyncClient, now: u64, shared: &Shared) -> Result<bool> {
    let publish = |topic: &str, frame: Vec<u8>| match client.try_publish(
        topic,
        QoS::AtLeastOnce,
        false,
        frame,
    ) {
        Ok(()) => {
            shared.sent.fetch_add(1, Ordering::Relaxed);
            Ok(true)
        }
        Err(ClientError::TryRequest(_)) => Ok(false),
        Err(error) => bail!(error),
    };
    if gateway.owes_manifest {
        let frame = gateway.source.manifest();
        gateway.owes_manifest = !publish(&gateway.topic, frame)?;
    }
    let mut any = false;
    for _ in 0..TURN {
        let Some((key, _)) = gateway.lanes.next(now) else { break };
        let block = gateway.block(key.seq)?;
        let frame = gateway.source.send(block, now_ms());
        if !publish(&gateway.topic, frame)? {
            gateway.lanes.unsent(key);
            return Ok(false);
        }
        any = true;
    }
    Ok(any)
}
