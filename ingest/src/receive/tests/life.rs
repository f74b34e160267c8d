//! Whole lives of a gateway against the receive rules: power cuts, restored disk images, evictions, a link that loses,
//! doubles and turns round, a centre that restarts and whose commits fail. After each life the account must be right.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use wire::block::{Body, Clock, GapRange, GapRecord, HeldEpoch, Link, Range};
use wire::message::{Ack, Item};
use wire::{Block, Boot, Epoch};

use super::{Centre, NOW, clock, name};
use crate::log::record::kind;
use crate::receive::Outcome;

/// One thing that happens.
#[derive(Debug, Clone)]
enum Step {
    /// The gateway seals a block; with its list or without.
    Seal {
        list: bool,
    },
    /// Power cut: the gateway starts again.
    Restart,
    /// The disk is put back to how it was at the last `Copy`.
    Copy,
    Restore,
    /// The spool is full: the oldest unacked block is declared lost.
    Evict,
    /// Blocks arrive, these of the held ones, in this order.
    Arrive(Vec<prop::sample::Index>),
    /// The group's commit fails.
    Fail(Vec<prop::sample::Index>),
    /// The centre starts again.
    CentreRestart,
    /// An ack gets through.
    Ack,
}

fn step() -> impl Strategy<Value = Step> {
    let some = || prop::collection::vec(any::<prop::sample::Index>(), 1..6);
    prop_oneof![
        8 => any::<bool>().prop_map(|list| Step::Seal { list }),
        2 => Just(Step::Restart),
        1 => Just(Step::Copy),
        1 => Just(Step::Restore),
        1 => Just(Step::Evict),
        8 => some().prop_map(Step::Arrive),
        1 => some().prop_map(Step::Fail),
        1 => Just(Step::CentreRestart),
        4 => Just(Step::Ack),
    ]
}

type Key = (u64, u64);

/// The gateway's disk.
#[derive(Debug, Clone, Default)]
struct Disk {
    blocks: BTreeMap<u64, BTreeMap<u64, Block>>,
    /// Epochs with their link and last stored seq, oldest first.
    epochs: Vec<(u64, Option<Link>, u64)>,
}

struct Life {
    centre: Centre,
    disk: Disk,
    copy: Disk,
    epoch: u64,
    next_epoch: u64,
    seq: u64,
    at: i64,
    log_id: u64,
    sealed: BTreeSet<Key>,
    /// Declared lost, or lost with a disk that was put back.
    lost: BTreeSet<Key>,
}

impl Life {
    fn new() -> Self {
        let mut life = Self {
            centre: Centre::new(),
            disk: Disk::default(),
            copy: Disk::default(),
            epoch: 0,
            next_epoch: 100,
            seq: 0,
            at: NOW,
            log_id: 1,
            sealed: BTreeSet::new(),
            lost: BTreeSet::new(),
        };
        life.restart();
        life
    }

    /// A new epoch names the last one that has a stored block.
    fn restart(&mut self) {
        self.next_epoch += 7;
        (self.epoch, self.seq) = (self.next_epoch, 0);
        let stored = self.disk.epochs.iter().rev().find(|e| e.2 > 0);
        let link = stored.map(|e| Link { epoch: Epoch(e.0), last: e.2, gateway: None });
        self.disk.epochs.retain(|e| e.2 > 0);
        self.disk.epochs.push((self.epoch, link, 0));
    }

    fn list(&self) -> Vec<HeldEpoch> {
        let entry = |(epoch, link, last): &(u64, Option<Link>, u64)| {
            let mut held: Vec<Range> = Vec::new();
            for &seq in self.disk.blocks.get(epoch).into_iter().flat_map(|b| b.keys()) {
                match held.last_mut() {
                    Some(range) if range.to + 1 == seq => range.to = seq,
                    _ => held.push(Range { from: seq, to: seq }),
                }
            }
            HeldEpoch { epoch: Epoch(*epoch), link: link.clone(), last: *last, held }
        };
        let held = |e: &&(u64, Option<Link>, u64)| {
            e.0 == self.epoch || self.disk.blocks.get(&e.0).is_some_and(|b| !b.is_empty())
        };
        self.disk.epochs.iter().filter(held).map(entry).collect()
    }

    fn seal(&mut self, list: bool, body: Body) {
        self.seq += 1;
        if let Some(last) = self.disk.epochs.last_mut() {
            last.2 = self.seq;
        }
        let link = self.disk.epochs.last().and_then(|e| e.1.clone());
        let mut block = Block {
            gateway: name("g1"),
            epoch: Epoch(self.epoch),
            seq: self.seq,
            link,
            clock: Clock { boot: Boot(self.epoch), ..clock(self.at) },
            fact_revision: 0,
            list: None,
            body,
        };
        let blocks = self.disk.blocks.entry(self.epoch).or_default();
        blocks.insert(self.seq, block.clone());
        if list || self.seq == 1 {
            block.list = Some(self.list());
            let blocks = self.disk.blocks.entry(self.epoch).or_default();
            blocks.insert(self.seq, block);
        }
        self.sealed.insert((self.epoch, self.seq));
    }

    fn held(&self) -> Vec<Key> {
        self.disk.blocks.iter().flat_map(|(e, b)| b.keys().map(|s| (*e, *s))).collect()
    }

    fn evict(&mut self) {
        let Some(&(epoch, seq)) = self.held().first() else { return };
        let Some(block) = self.disk.blocks.get_mut(&epoch).and_then(|b| b.remove(&seq)) else {
            return;
        };
        self.lost.insert((epoch, seq));
        let range = GapRange {
            epoch: Epoch(epoch),
            from: seq,
            to: seq,
            t0: 0,
            t1: 0,
            samples: 1,
            link: block.link,
        };
        // An evicted gap record passes its ranges on.
        let mut ranges = vec![range];
        if let Body::Gap(old) = block.body {
            ranges.extend(old.ranges);
        }
        self.seal(false, Body::Gap(GapRecord { ranges, reason: "evicted".into() }));
    }

    fn arrive(&mut self, which: &[prop::sample::Index]) {
        let held = self.held();
        for index in which.iter().filter(|_| !held.is_empty()) {
            let (epoch, seq) = held[index.index(held.len())];
            let bytes = self.disk.blocks[&epoch][&seq].encode();
            let outcome = self.centre.send_in("g1", self.epoch, Item::Block(bytes), self.at);
            assert!(matches!(outcome, Outcome::Logged | Outcome::Duplicate), "{outcome:?}");
        }
    }

    fn ack(&mut self) {
        self.at += 1_000;
        for ack in self.centre.ack(self.at) {
            self.free(&ack);
        }
    }

    /// Frees what is acked: only what is logged may be.
    fn free(&mut self, ack: &Ack) {
        let logged = logged(&self.centre);
        for epoch in &ack.epochs {
            let Some(blocks) = self.disk.blocks.get_mut(&epoch.epoch.0) else { continue };
            blocks.retain(|seq, _| {
                let acked = epoch.covers(*seq);
                assert!(
                    !acked || logged.contains_key(&(epoch.epoch.0, *seq)),
                    "acked and not logged"
                );
                !acked
            });
        }
    }

    fn take(&mut self, step: &Step) {
        self.at += 100;
        match step {
            Step::Seal { list } => self.seal(*list, Body::Readings(wire::Readings::default())),
            Step::Restart => self.restart(),
            Step::Copy => self.copy = self.disk.clone(),
            Step::Restore => {
                let now: BTreeSet<Key> = self.held().into_iter().collect();
                self.disk = self.copy.clone();
                let then: BTreeSet<Key> = self.held().into_iter().collect();
                self.lost.extend(now.difference(&then));
                self.restart();
            }
            Step::Evict => self.evict(),
            Step::Arrive(which) => {
                self.arrive(which);
                self.centre.receiver.committed();
            }
            Step::Fail(which) => {
                let log = self.centre.log.clone();
                self.arrive(which);
                self.centre.receiver.rolled_back();
                self.centre.log = log;
            }
            Step::CentreRestart => {
                self.log_id += 1;
                self.centre.restart(self.log_id);
            }
            Step::Ack => self.ack(),
        }
    }

    /// The link is good and everybody stays up: what is held arrives, lists go out, acks come back.
    fn settle(&mut self) {
        for _ in 0..4 {
            self.at += 40_000;
            self.seal(true, Body::Readings(wire::Readings::default()));
            for (epoch, seq) in self.held() {
                let bytes = self.disk.blocks[&epoch][&seq].encode();
                self.centre.send_in("g1", self.epoch, Item::Block(bytes), self.at);
            }
            self.centre.receiver.committed();
            self.ack();
        }
    }

    fn check(&self) {
        let logged = logged(&self.centre);
        assert!(logged.values().all(|times| *times == 1), "logged twice");
        for key in self.sealed.iter().filter(|k| !self.lost.contains(k)) {
            assert!(logged.contains_key(key), "{key:?} is neither logged nor lost");
        }
        assert!(self.held().is_empty(), "everything was acked: {:?}", self.held());
        assert_eq!(self.centre.want("g1"), None, "order waits for nothing");
        let chain = &self.centre.receiver.gateway(&name("g1")).unwrap().kept.chain;
        let joined: Vec<u64> = chain.joined().iter().map(|j| j.epoch).collect();
        assert_eq!(joined.iter().collect::<BTreeSet<_>>().len(), joined.len(), "an epoch twice");
        // Which epoch ends the chain after several conflicts at once is decided with the whole of design §4.
        assert!(chain.tail().is_some());
        for (epoch, _) in logged.keys() {
            assert!(joined.contains(epoch), "epoch {epoch} was never joined");
        }
    }
}

fn logged(centre: &Centre) -> BTreeMap<Key, usize> {
    let mut logged = BTreeMap::new();
    for record in centre.log.records.iter().filter(|r| r.kind == kind::BLOCK) {
        *logged.entry((record.epoch, record.seq)).or_insert(0) += 1;
    }
    logged
}

proptest! {
    #[test]
    fn every_block_is_logged_once_or_lost_and_order_never_stands_still(
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let mut life = Life::new();
        for step in &steps {
            life.take(step);
        }
        life.settle();
        life.check();
    }

    #[test]
    fn what_is_kept_over_a_restart_is_what_was_known(steps in prop::collection::vec(step(), 1..60)) {
        let mut life = Life::new();
        for step in &steps {
            life.take(step);
        }
        let before = life.centre.receiver.gateway(&name("g1")).map(|g| g.kept.clone());
        life.centre.restart(99);
        let after = life.centre.receiver.gateway(&name("g1")).map(|g| g.kept.clone());
        prop_assert_eq!(before.unwrap_or_default(), after.unwrap_or_default());
    }
}
