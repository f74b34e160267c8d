//! A centre that the test owns: it logs blocks in memory and answers as it is told.

use std::collections::{BTreeMap, BTreeSet};

use gateway::config;
use gateway::uplink::mqtt::{Connection, Event};
use tokio_util::task::TaskTracker;
use wire::block::{Block, Range};
use wire::frame::{self, Kind};
use wire::message::{Ack, EpochAck, Item, Rejected, Stamp, State, Uplink};
use wire::topic::{Topic, TopicKind};
use wire::{Boot, Epoch, GatewayName, Key, LogId, ManifestKey};

use super::broker::Broker;
use super::site::KEY;

/// How the centre answers a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Logged,
    Silent,
    WrongKey,
    OtherBoot,
    FutureEcho,
    NoEcho,
    NeedManifest,
    Rejected,
}

pub(crate) struct Centre {
    connection: Connection,
    gateway: GatewayName,
    log_id: u64,
    echo: Option<Stamp>,
    blocks: BTreeMap<(u64, u64), Vec<u8>>,
    known: BTreeSet<ManifestKey>,
    pub(crate) received: usize,
    pub(crate) manifests: usize,
    pub(crate) key_reuse: usize,
    pub(crate) list_seen: bool,
}

async fn connect(broker: &Broker, id: &str, topics: &[String]) -> Connection {
    let settings = config::Broker {
        host: "127.0.0.1".to_owned(),
        port: broker.port,
        tls: false,
        user: None,
        password: None,
        ca_file: None,
    };
    let mut connection = Connection::open(&settings, id, None, &TaskTracker::new()).unwrap();
    while connection.event().await.unwrap() != Event::Up {}
    for topic in topics {
        connection.subscribe(topic).unwrap();
        while connection.event().await.unwrap() != Event::Subscribed {}
    }
    connection
}

impl Centre {
    pub(crate) async fn connect(broker: &Broker, gateway: &str) -> Self {
        let gateway = GatewayName::new(gateway).unwrap();
        let up = Topic::new(gateway.clone(), TopicKind::Up).to_string();
        Self {
            connection: connect(broker, "centre", &[up]).await,
            gateway,
            log_id: 1,
            echo: None,
            blocks: BTreeMap::new(),
            known: BTreeSet::new(),
            received: 0,
            manifests: 0,
            key_reuse: 0,
            list_seen: false,
        }
    }

    pub(crate) async fn reconnect(&mut self, broker: &Broker) {
        let up = Topic::new(self.gateway.clone(), TopicKind::Up).to_string();
        self.connection = connect(broker, "centre", &[up]).await;
    }

    /// Another log, empty, and another start of the centre.
    pub(crate) fn lose_everything(&mut self) {
        self.blocks.clear();
        self.log_id += 1;
        self.echo = None;
        self.list_seen = false;
    }

    /// Takes messages and answers them until `done`.
    pub(crate) async fn until(&mut self, done: impl Fn(&Self) -> bool, answer: Answer) {
        while !done(self) {
            self.step(answer).await;
        }
    }

    /// Takes messages and answers them while `other` goes on.
    pub(crate) async fn beside(&mut self, other: impl Future<Output = ()>, answer: Answer) {
        tokio::pin!(other);
        // An ack now: what was received under another answer is answered as well.
        self.answer(answer);
        loop {
            tokio::select! {
                () = &mut other => return,
                () = self.step(answer) => {}
            }
        }
    }

    async fn step(&mut self, answer: Answer) {
        let event = self.connection.event().await.unwrap();
        let Event::Message { payload, .. } = event else { return };
        let body = frame::open(&Key::new(KEY), Kind::Uplink, &payload).unwrap();
        let message = Uplink::decode(body).unwrap();
        let newer = |e: &Stamp| e.boot != message.stamp.boot || e.counter < message.stamp.counter;
        if self.echo.as_ref().is_none_or(newer) {
            self.echo = Some(message.stamp);
        }
        match message.item {
            Item::Manifest(bytes) => {
                self.manifests += 1;
                self.known.insert(wire::manifest::key(&bytes));
            }
            Item::Block(bytes) => {
                self.received += 1;
                let block = Block::decode(&bytes).unwrap();
                self.list_seen |= block.list.is_some();
                let key = (block.epoch.0, block.seq);
                let before = self.blocks.insert(key, bytes.clone());
                self.key_reuse += usize::from(before.is_some_and(|b| b != bytes));
                self.answer(answer);
            }
        }
    }

    fn answer(&self, answer: Answer) {
        let mut ack = Ack {
            gateway: self.gateway.clone(),
            log_id: LogId(self.log_id),
            echo: self.echo.clone(),
            centre_time: 1_800_000_000_000,
            slow_down_ms: 0,
            epochs: self.acked(answer == Answer::Rejected),
            need_manifest: Vec::new(),
            want: None,
            fact_revision: 0,
        };
        let mut key = Key::new(KEY);
        match answer {
            Answer::Silent => return,
            Answer::Logged | Answer::Rejected => {}
            Answer::WrongKey => key = Key::new([8; 32]),
            Answer::OtherBoot => {
                ack.echo = ack.echo.map(|e| Stamp { boot: Boot(e.boot.0 ^ 1), ..e });
            }
            Answer::FutureEcho => {
                ack.echo = ack.echo.map(|e| Stamp { counter: e.counter + 1_000_000, ..e });
            }
            Answer::NoEcho => ack.echo = None,
            Answer::NeedManifest => {
                ack.epochs.clear();
                ack.need_manifest = self.needed().into_iter().take(4).collect();
            }
        }
        let payload = frame::seal(&key, Kind::Ack, &ack.encode());
        let topic = Topic::new(self.gateway.clone(), TopicKind::Ack).to_string();
        // A full queue is a busy link: an ack names everything that is held, so the next one says the same.
        drop(self.connection.publish(&topic, false, payload));
    }

    fn acked(&self, reject: bool) -> Vec<EpochAck> {
        let mut sets: BTreeMap<u64, spool::Intervals> = BTreeMap::new();
        for (epoch, seq) in self.blocks.keys() {
            sets.entry(*epoch).or_default().insert(*seq, *seq).unwrap();
        }
        let epoch = |(epoch, set): (u64, spool::Intervals)| {
            let upto = set.upto();
            let above = set.iter().filter(|r| r.0 > upto);
            let seqs = set.iter().flat_map(|(a, b)| a..=b).filter(|_| reject);
            EpochAck {
                epoch: Epoch(epoch),
                upto,
                ranges: above.map(|(from, to)| Range { from, to }).collect(),
                rejected: seqs.map(|seq| Rejected { seq, code: "test".to_owned() }).collect(),
                complete: false,
            }
        };
        sets.into_iter().map(epoch).collect()
    }

    fn decoded(&self) -> impl Iterator<Item = Block> + '_ {
        self.blocks.values().map(|b| Block::decode(b).unwrap())
    }

    fn needed(&self) -> BTreeSet<ManifestKey> {
        self.decoded().filter_map(|b| b.readings().map(|r| r.manifest)).collect()
    }

    pub(crate) fn knows_every_manifest(&self) -> bool {
        self.needed().is_subset(&self.known)
    }

    pub(crate) fn samples(&self) -> u64 {
        self.decoded().filter_map(|b| b.readings().map(|r| r.sample_count() as u64)).sum()
    }

    /// Samples that gap records declare lost.
    pub(crate) fn declared(&self) -> u64 {
        let gap = |b: Block| match b.body {
            wire::block::Body::Gap(gap) => gap.ranges.iter().map(|r| r.samples).sum(),
            wire::block::Body::Readings(_) => 0,
        };
        self.decoded().map(gap).sum()
    }

    pub(crate) fn has_no_hole(&self) -> bool {
        self.acked(false).iter().all(|e| e.ranges.is_empty())
    }

    pub(crate) fn epochs(&self) -> usize {
        self.acked(false).len()
    }

    /// Every block but those of the first epoch names the epoch before, at its last seq.
    pub(crate) fn links_name_predecessors(&self) -> bool {
        let last = |epoch| self.blocks.keys().filter(|k| k.0 == epoch).map(|k| k.1).max();
        let right = |b: &Block| b.link.as_ref().is_none_or(|l| last(l.epoch.0) == Some(l.last));
        self.decoded().all(|b| right(&b)) && self.decoded().any(|b| b.link.is_some())
    }

    /// The retained state.
    pub(crate) async fn last_state(&self, broker: &Broker) -> Option<State> {
        let topic = Topic::new(self.gateway.clone(), TopicKind::State).to_string();
        let settings = [topic];
        let mut connection = connect(broker, "watcher", &settings).await;
        loop {
            if let Event::Message { payload, .. } = connection.event().await.unwrap() {
                let body = frame::open(&Key::new(KEY), Kind::State, &payload).unwrap();
                return State::decode(body).ok();
            }
        }
    }
}
