//! A gateway: its box with disk and clock, and the program on it while it runs, driven through its real cores.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use gateway::bus::health::Health;
use gateway::config::Broker as BrokerAddress;
use gateway::epoch::Start;
use gateway::reading::{Reading, Replies, Reply, ReplyPoint, Value};
use gateway::seal::Identity;
use gateway::seal::thread::{JOB_QUEUE, Job};
use gateway::seal::work::{Next, Work};
use gateway::uplink::carry::Carry;
use gateway::uplink::{Publish, Seams, Uplink};
use spool::{Fetched, Intervals, Key as BlockKey, SpoolOptions};
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;
use wire::block::Body;
use wire::frame::{self, Kind};
use wire::message::{Item, Uplink as Message};
use wire::topic::Topic;
use wire::{Block, Boot, Epoch, GatewayName, Key, LogId, Mark};

use crate::broker::Broker;
use crate::clock::EdgeClock;
use crate::dice::Dice;
use crate::disk::Disk;
use crate::plant::{DEVICES, Plant};
use crate::report::Findings;

/// The site that all gateways stand on.
pub(crate) const SITE: &str = "s1";
/// A block closes after this, ms.
const FLUSH_MS: u64 = 1_000;
/// How long before the whole second a program does its work at most, ms.
const EARLY_MS: i64 = 200;
/// Rounds of asking and answering in one step.
const ROUNDS: usize = 4;

/// A block that lay on the disk, as it was sealed.
#[derive(Debug, Clone)]
pub(crate) struct Made {
    /// Counter readings in it: each reading of the plant has its own.
    pub(crate) ids: Vec<u64>,
    /// What it declares.
    pub(crate) gaps: Vec<(u64, u64, u64)>,
    /// SHA-256 of its bytes.
    pub(crate) sha: [u8; 16],
    /// True time when it was seen on the disk, ms.
    pub(crate) at: i64,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Edge {
    pub(crate) name: GatewayName,
    pub(crate) number: usize,
    pub(crate) key: Key,
    pub(crate) disk: Disk,
    pub(crate) clock: Arc<EdgeClock>,
    pub(crate) spool_max: u64,
    pub(crate) rate: usize,
    pub(crate) running: Option<Running>,
    /// True time when it starts again, ms.
    pub(crate) back_at: i64,
    /// Until when its clock is ahead, after a jump; 0 = it is not.
    pub(crate) jump_until: i64,
    pub(crate) starts_unset: bool,
    pub(crate) cut_until: i64,
    pub(crate) dead: BTreeSet<&'static str>,
    /// Every block that ever lay on a disk of this gateway.
    pub(crate) made: BTreeMap<(u64, u64), Made>,
    /// Blocks that lay on the disk at the last look.
    pub(crate) held: BTreeMap<u64, Intervals>,
    /// Blocks that went with a disk that was taken away.
    pub(crate) lost: BTreeSet<(u64, u64)>,
    /// Highest seq sent of each epoch.
    pub(crate) sent: BTreeMap<u64, u64>,
    /// Readings handed to the program, with their true times.
    pub(crate) given: BTreeMap<u64, i64>,
    /// The newest reading at each kill: it and those just before may be gone.
    pub(crate) kills: Vec<u64>,
    /// Blocks that went from the disk since the last look, to be held against what the centre has.
    pub(crate) freed: Vec<(u64, u64)>,
    next_id: u64,
}

/// The running program.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) work: Work,
    pub(crate) uplink: Uplink,
    carry: Option<Carry>,
    jobs: mpsc::Sender<Job>,
    queue: mpsc::Receiver<Job>,
    wires: VecDeque<Publish>,
    packet: u16,
}

fn replies(number: usize) -> Replies {
    let replies = Replies::default();
    let point =
        |quantity: &str, unit: &str| ReplyPoint { quantity: quantity.into(), unit: unit.into() };
    let reply = |device: u32, id: &str, points| Reply {
        device,
        device_id: id.into(),
        period_ms: 1_000,
        points,
        profile: "sim".into(),
        profile_version: "1".into(),
    };
    let gas = vec![point("gas_lel", "%LEL")];
    let meter = vec![point("ep_imp", "kWh"), point("p_total", "kW")];
    for reply in [reply(0, DEVICES[0], gas), reply(1, DEVICES[1], meter)] {
        let id = device_id(&reply.device_id, number).into();
        replies.add(Reply { device_id: id, ..reply }).expect("two replies fit");
    }
    replies
}

/// Id of a device of a gateway: unique in the site.
pub(crate) fn device_id(device: &str, number: usize) -> String {
    format!("{device}-{}", number + 1)
}

impl Edge {
    pub(crate) fn new(
        root: &Path,
        number: usize,
        clock: Arc<EdgeClock>,
        spool_max: u64,
    ) -> Result<Self> {
        let name = GatewayName::new(format!("gw-{}", number + 1))?;
        Ok(Self {
            disk: Disk::new(root, name.as_str())?,
            key: key_of(number),
            name,
            number,
            clock,
            spool_max,
            rate: 12,
            running: None,
            back_at: 0,
            jump_until: 0,
            starts_unset: false,
            cut_until: 0,
            dead: BTreeSet::new(),
            made: BTreeMap::new(),
            held: BTreeMap::new(),
            lost: BTreeSet::new(),
            sent: BTreeMap::new(),
            given: BTreeMap::new(),
            kills: Vec::new(),
            freed: Vec::new(),
            next_id: 1 + 1_000_000 * number as u64,
        })
    }

    /// Starts the program.
    pub(crate) fn start(
        &mut self,
        dice: &mut Dice,
        now: i64,
        findings: &mut Findings,
    ) -> Result<()> {
        self.clock.start(!self.starts_unset, dice.between(0, EARLY_MS));
        self.starts_unset = false;
        let start = Start { epoch: Epoch(dice.id()), boot: Boot(dice.id()) };
        let options = SpoolOptions {
            bytes_max: self.spool_max,
            free_reserve_bytes: 0,
            now_ms: gateway::clock::Clock::system_ms(&*self.clock),
            ..SpoolOptions::default()
        };
        let (name, epoch) = (self.name.clone(), start.epoch.0);
        let is_set = self.clock.is_set();
        findings.tell(|| format!("{name} starts, epoch {epoch:016x}, clock set {is_set}"));
        let id = Identity {
            gateway: self.name.clone(),
            site: SITE.to_owned(),
            replaces: None,
            start,
            flush_ms: FLUSH_MS,
        };
        let clock = Arc::clone(&self.clock) as Arc<dyn gateway::clock::Clock>;
        let (work, ends) =
            Work::open(&self.disk.dir(), &options, id, replies(self.number), Arc::clone(&clock))
                .context("the spool does not open")?;
        findings.expect(ends.report.memory.is_none(), "1: the spool does not use its disk", || {
            format!("{:?}", ends.report)
        });
        findings.expect(ends.report.lost_blocks == 0, "1: the spool lost blocks in a kill", || {
            format!("{:?}", ends.report)
        });
        let (jobs, queue) = mpsc::channel(JOB_QUEUE);
        let broker = BrokerAddress {
            host: "sim".to_owned(),
            port: 1883,
            tls: false,
            user: None,
            password: None,
            ca_file: None,
        };
        let (uplink, _progress) = Uplink::new(Seams {
            broker,
            gateway: self.name.clone(),
            key: self.key.clone(),
            start,
            jobs: jobs.clone(),
            view: ends.view,
            shown: ends.shown,
            in_flight: ends.in_flight,
            log_id: ends.log_id.map(LogId),
            health: Health { buses: Arc::from([]), devices: Arc::from([]) },
            clock,
            tracker: TaskTracker::new(),
        });
        let wires = VecDeque::new();
        self.running = Some(Running { work, uplink, carry: None, jobs, queue, wires, packet: 0 });
        self.look(now, findings);
        // Design §4: a block is on disk before it is sent; so a kill cannot have taken back what was sent.
        if let Some(running) = &mut self.running {
            for epoch in running.work.spool().list(usize::MAX) {
                let sent = self.sent.get(&epoch.epoch).copied().unwrap_or(0);
                findings.expect(
                    sent <= epoch.last,
                    "2: a block was sent before it was on the disk",
                    || format!("{:016x}: sent {sent}, on the disk {}", epoch.epoch, epoch.last),
                );
            }
        }
        Ok(())
    }

    /// The program is gone.
    pub(crate) fn end(&mut self) {
        if let Some(running) = self.running.take() {
            self.kills.push(self.next_id);
            drop(running);
        }
    }

    /// The disk was taken away: what lay there only is lost, and with it the word of what was lost before.
    pub(crate) fn lost_disk(&mut self) {
        self.lost.extend(self.made.keys());
        self.held.clear();
        self.sent.clear();
        self.freed.clear();
    }

    /// What the devices say now.
    fn readings(&mut self, plant: &Plant, now: i64) -> Vec<Reading> {
        let mut readings = Vec::new();
        let value = |value| Value { value, mark: Mark::GOOD };
        let arrived = self.clock.instant();
        for (device, word) in (0_u32..).zip(DEVICES) {
            if self.dead.contains(word) {
                continue;
            }
            let values = if device == 0 {
                vec![value(plant.gas(now))]
            } else {
                self.next_id += 1;
                self.given.insert(self.next_id, now);
                #[expect(clippy::cast_precision_loss, reason = "counts to some thousands")]
                let count = self.next_id as f64;
                vec![value(count), value(plant.power(now))]
            };
            readings.push(Reading { device, reply: device, arrived, values });
        }
        readings
    }

    /// Lets the plant speak and the program seal and store.
    pub(crate) fn poll(&mut self, plant: &Plant, now: i64, findings: &mut Findings) {
        if self.running.is_none() {
            return;
        }
        let readings = self.readings(plant, now);
        let mono = gateway::clock::Clock::mono_ms(&*self.clock);
        let Some(running) = &mut self.running else { return };
        // As in the program, where ticks come several times a second: a block closes when its time is over, not when the next
        // reading comes.
        for job in [Job::Tick(mono), Job::Readings(readings), Job::Tick(mono)] {
            findings.expect(
                running.jobs.try_send(job).is_ok(),
                "5: the spool's queue is full",
                String::new,
            );
        }
        running.do_jobs(findings);
        self.look(now, findings);
    }

    /// Lets the uplink send and hear.
    pub(crate) fn carry(
        &mut self,
        broker: &mut Broker,
        now: i64,
        dice: &mut Dice,
        findings: &mut Findings,
    ) {
        let is_cut = now < self.cut_until;
        let Some(running) = &mut self.running else { return };
        if is_cut {
            if running.carry.take().is_some() {
                running.wires.clear();
                running.uplink.disconnected();
            }
            return;
        }
        if running.carry.is_none() {
            running.uplink.take_view();
            running.carry = Some(Carry::new(&running.uplink));
            running.uplink.connected();
        }
        let mut left = self.rate;
        for (topic, payload) in broker.take_down(self.name.as_str(), now) {
            let Some(carry) = &mut running.carry else { break };
            carry.heard(&mut running.uplink, &topic.to_string(), &payload);
            running.do_jobs(findings);
        }
        for _ in 0..ROUNDS {
            running.uplink.take_view();
            let Some(carry) = &mut running.carry else { break };
            carry.pump(&mut running.uplink);
            running.do_jobs(findings);
            let Some(carry) = &mut running.carry else { break };
            carry.take_answers(&mut running.uplink);
            let settled = carry.settle(&mut running.uplink);
            while let Some(out) = carry.take_out() {
                running.wires.push_back(out);
            }
            let is_broken = settled.is_err()
                || running.send(&mut left, broker, now, dice, |frame| {
                    sent(&self.key, frame, &mut self.sent)
                });
            if is_broken {
                findings.count("sessions broken", 1);
                running.carry = None;
                running.wires.clear();
                running.uplink.disconnected();
                break;
            }
        }
        self.look(now, findings);
    }

    /// Notes what lies on the disk now; what went must have been acked, or is declared.
    pub(crate) fn look(&mut self, now: i64, findings: &mut Findings) {
        let Some(running) = &mut self.running else { return };
        let spool = running.work.spool();
        let list = spool.list(usize::MAX);
        let mut held = BTreeMap::new();
        for epoch in list {
            let before = self.held.get(&epoch.epoch).cloned().unwrap_or_default();
            for (from, to) in epoch.held.without(&before) {
                for seq in from..=to {
                    self.lost.remove(&(epoch.epoch, seq));
                    if self.made.contains_key(&(epoch.epoch, seq)) {
                        continue;
                    }
                    if let Ok(Fetched::Block(block)) =
                        spool.get(BlockKey { epoch: epoch.epoch, seq })
                    {
                        self.made.insert((epoch.epoch, seq), made(&block.bytes, now));
                    }
                }
            }
            held.insert(epoch.epoch, epoch.held);
        }
        for (epoch, before) in &self.held {
            let now = held.get(epoch).cloned().unwrap_or_default();
            for (from, to) in before.without(&now) {
                self.freed.extend((from..=to).map(|seq| (*epoch, seq)));
            }
        }
        self.held = held;
        let stats = spool.stats();
        findings.expect(
            stats.as_ref().is_ok_and(spool::Stats::is_balanced),
            "1: polled is not stored + quarantined + declared + backlog",
            || format!("{stats:?}"),
        );
        if let Ok(stats) = stats {
            findings.expect(
                stats.bytes <= stats.bytes_max + (64 << 10),
                "5: the spool is above its bound",
                || format!("{} of {}", stats.bytes, stats.bytes_max),
            );
        }
    }
}

impl Running {
    fn do_jobs(&mut self, findings: &mut Findings) {
        while let Ok(first) = self.queue.try_recv() {
            let queue = &mut self.queue;
            let next = self.work.round(first, || queue.try_recv().ok());
            findings.expect(next == Next::GoOn, "1: blocks could be kept nowhere", || {
                format!("{next:?}")
            });
        }
    }

    /// Moves messages over the wire; true where the connection must be thrown away.
    fn send(
        &mut self,
        left: &mut usize,
        broker: &mut Broker,
        now: i64,
        dice: &mut Dice,
        mut note: impl FnMut(&[u8]),
    ) -> bool {
        while *left > 0 {
            let Some(out) = self.wires.pop_front() else { return false };
            *left -= 1;
            let Some(carry) = &mut self.carry else { return true };
            self.packet = self.packet % 60_000 + 1;
            if carry.written(self.packet).is_err() {
                return true;
            }
            note(&out.payload);
            if let Ok(topic) = out.topic.parse::<Topic>() {
                broker.publish_up(topic, out.payload, now, dice);
            }
            carry.confirmed(&self.uplink, self.packet);
        }
        false
    }

    /// Blocks that the spool holds and the centre has not acked.
    pub(crate) fn backlog(&mut self) -> u64 {
        self.work.spool().stats().map_or(0, |s| s.unacked_blocks)
    }
}

/// The key that a gateway was provisioned with.
pub(crate) fn key_of(number: usize) -> Key {
    let mut bytes = [7; 32];
    bytes[0] = u8::try_from(number).unwrap_or(0);
    Key::new(bytes)
}

fn sent(key: &Key, payload: &[u8], highest: &mut BTreeMap<u64, u64>) {
    let Ok(body) = frame::open(key, Kind::Uplink, payload) else { return };
    if let Ok(Message { item: Item::Block(bytes), .. }) = Message::decode(body)
        && let Ok((_, epoch, seq)) = Block::key_of(&bytes)
    {
        let seqs = highest.entry(epoch.0).or_default();
        *seqs = (*seqs).max(seq);
    }
}

fn made(bytes: &[u8], at: i64) -> Made {
    let mut made = Made { ids: Vec::new(), gaps: Vec::new(), sha: spool::sha16(bytes), at };
    match Block::decode(bytes).map(|b| b.body) {
        Ok(Body::Readings(readings)) => made.ids = ids_in(&readings),
        Ok(Body::Gap(gap)) => {
            made.gaps = gap.ranges.iter().map(|r| (r.epoch.0, r.from, r.to)).collect();
        }
        Err(_) => {}
    }
    made
}

/// The counter readings in a block, whole numbers from `ep_imp`.
pub(crate) fn ids_in(readings: &wire::Readings) -> Vec<u64> {
    let mut ids = Vec::new();
    for table in readings.tables.iter().filter(|t| t.columns.len() == 2) {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "whole and small"
        )]
        ids.extend(table.columns[0].values().iter().map(|v| *v as u64));
    }
    ids
}
