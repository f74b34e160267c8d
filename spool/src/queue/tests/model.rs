//! Random actions and kills: every block is on disk, acked, or declared, and the account balances.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Action {
    Append { sizes: Vec<usize>, samples: u32 },
    Declare,
    Ack { epoch: usize, from: u64, width: u64, reject: Option<u64> },
    NewLog,
    Epoch,
    Crash,
    Close,
    Flush,
    Fly { epoch: usize, seq: u64 },
    Damage { nth: usize },
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        12 => (prop::collection::vec(0usize..14_000, 1..4), 0u32..20)
            .prop_map(|(sizes, samples)| Action::Append { sizes, samples }),
        4 => Just(Action::Declare),
        4 => (0usize..4, 1u64..30, 0u64..12, prop::option::of(1u64..30)).prop_map(
            |(epoch, from, width, reject)| Action::Ack { epoch, from, width, reject }),
        1 => Just(Action::NewLog),
        1 => Just(Action::Epoch),
        1 => Just(Action::Crash),
        1 => Just(Action::Close),
        1 => Just(Action::Flush),
        1 => (0usize..4, 1u64..30).prop_map(|(epoch, seq)| Action::Fly { epoch, seq }),
        1 => (0usize..100).prop_map(|nth| Action::Damage { nth }),
    ]
}

struct World {
    dir: TempDir,
    spool: Spool,
    epochs: Vec<u64>,
    /// Everything that was ever stored: bytes, samples, what it declares.
    truth: BTreeMap<Key, (Vec<u8>, u32, Vec<GapRange>)>,
    /// Everything that was ever acked.
    acked: BTreeSet<Key>,
    flying: KeySet,
    log_id: u64,
}

impl World {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let (spool, _) = open(dir.path());
        let (truth, acked) = (BTreeMap::new(), BTreeSet::new());
        let mut world =
            Self { dir, spool, epochs: vec![], truth, acked, flying: KeySet::new(), log_id: 0 };
        world.begin();
        world
    }

    fn begin(&mut self) {
        let epoch = 1_000 - self.epochs.len() as u64;
        let link = self.spool.begin_epoch(epoch).unwrap();
        let last = |e: &u64| self.truth.keys().filter(|k| k.epoch == *e).map(|k| k.seq).max();
        let expected =
            self.epochs.iter().rev().find_map(|e| Some(Link { epoch: *e, last: last(e)? }));
        assert_eq!(link, expected);
        self.epochs.push(epoch);
    }

    fn append(&mut self, blocks: Vec<(Vec<u8>, u32, Vec<GapRange>)>) {
        let epoch = *self.epochs.last().unwrap();
        let before: BTreeSet<Key> = self.held();
        let first = self.spool.last_seq() + 1;
        let new: Vec<NewBlock<'_>> = blocks
            .iter()
            .zip(first..)
            .map(|((bytes, samples, gap), seq)| NewBlock {
                gap,
                ..new(epoch, seq, bytes, *samples)
            })
            .collect();
        self.spool.append(&new, &self.flying).unwrap();
        for (block, (bytes, samples, gap)) in new.iter().zip(&blocks) {
            self.truth.insert(block.key, (bytes.clone(), *samples, gap.clone()));
        }
        // Nothing unacked was evicted while something acked was there.
        let lost = before.iter().any(|k| !self.acked.contains(k) && !self.held().contains(k));
        let acked_left =
            self.held().into_iter().any(|k| before.contains(&k) && !self.spool.is_unacked(k));
        assert!(!(lost && acked_left), "evicted unacked blocks before acked ones");
    }

    fn held(&self) -> BTreeSet<Key> {
        let list = self.spool.list(usize::MAX);
        let keys = |e: &HeldEpoch| {
            let epoch = e.epoch;
            e.held
                .iter()
                .flat_map(|(a, b)| a..=b)
                .map(move |seq| Key { epoch, seq })
                .collect::<Vec<_>>()
        };
        list.iter().flat_map(keys).collect()
    }

    fn reopen(&mut self, crash: bool) {
        if crash {
            let copy = image(self.dir.path());
            self.spool = open(copy.path()).0;
            self.dir = copy;
        } else {
            self.spool.flush().unwrap();
            let none = TempDir::new().unwrap();
            self.spool = open(none.path()).0;
            self.spool = open(self.dir.path()).0;
        }
        self.flying = KeySet::new();
        self.begin();
    }

    fn apply(&mut self, action: &Action) {
        match action {
            Action::Append { sizes, samples } => {
                let fill = |s: &usize| (vec![u8::try_from(s % 251).unwrap(); *s], *samples, vec![]);
                self.append(sizes.iter().map(fill).collect());
            }
            Action::Declare => {
                let gap = self.spool.losses().to_vec();
                if !gap.is_empty() {
                    self.append(vec![(b"gap".to_vec(), 0, gap)]);
                    let again: Vec<_> = self.spool.losses().to_vec();
                    // Only what this very append evicted may be waiting now.
                    assert!(again.len() <= 4, "{again:?}");
                }
            }
            Action::Ack { epoch, from, width, reject } => {
                let epoch = self.epochs[self.epochs.len().saturating_sub(1 + epoch)];
                let set = Intervals::of(*from, from + width);
                let code: Vec<_> = reject.iter().map(|seq| (*seq, "code".to_owned())).collect();
                self.spool.ack(&[EpochAck { epoch, acked: &set, rejected: &code }]).unwrap();
                for key in (*from..=from + width).map(|seq| Key { epoch, seq }) {
                    assert!(!self.spool.is_unacked(key));
                    if self.held().contains(&key) {
                        self.acked.insert(key);
                    }
                }
            }
            Action::NewLog => {
                self.log_id += 1;
                self.spool.new_log(self.log_id).unwrap();
                assert!(self.held().into_iter().all(|k| self.spool.is_unacked(k)));
            }
            Action::Epoch => self.begin(),
            Action::Crash => self.reopen(true),
            Action::Close => self.reopen(false),
            Action::Flush => self.spool.flush().unwrap(),
            Action::Fly { epoch, seq } => {
                let epoch = self.epochs[self.epochs.len().saturating_sub(1 + epoch)];
                self.flying.insert(Key { epoch, seq: *seq }).unwrap();
            }
            Action::Damage { nth } => {
                let held: Vec<Key> = self.held().into_iter().collect();
                if let Some(key) = held.get(nth % held.len().max(1)) {
                    let id = self.spool.by_epoch(key.epoch).unwrap().id(key.seq);
                    let sql = "UPDATE body SET bytes = bytes || x'00' WHERE id = ?1";
                    self.spool.file.conn.execute(sql, [id]).unwrap();
                    assert_eq!(self.spool.get(*key).unwrap(), Fetched::Damaged);
                    assert_eq!(self.spool.get(*key).unwrap(), Fetched::Gone);
                }
            }
        }
    }

    /// Design §10, 1: a stored sample is acked, in the backlog, or declared: exactly one.
    fn check(&mut self) {
        let stats = self.spool.stats().unwrap();
        assert!(stats.is_balanced(), "{stats:?}");
        assert!(stats.bytes <= BOUND, "{stats:?}");
        assert_eq!(stats.polled, self.truth.values().map(|t| u64::from(t.1)).sum::<u64>());
        let held = self.held();
        let unacked: BTreeSet<Key> =
            held.iter().copied().filter(|k| self.spool.is_unacked(*k)).collect();
        let backlog: u64 = unacked.iter().map(|k| u64::from(self.truth[k].1)).sum();
        assert_eq!(stats.backlog, backlog);
        assert_eq!(stats.unacked_blocks, unacked.len() as u64);
        let listed = self.spool.unacked(Order::OldestFirst, &KeySet::new(), None, usize::MAX);
        assert_eq!(listed.iter().copied().collect::<BTreeSet<_>>(), unacked);
        let mut newest = self.spool.unacked(Order::NewestFirst, &KeySet::new(), None, usize::MAX);
        newest.reverse();
        assert_eq!(newest, listed);
        let declared: Vec<GapRange> = self.spool.losses().to_vec();
        let in_records = |k: &Key| held.contains(k) || self.acked.contains(k);
        let declared: Vec<GapRange> = self
            .truth
            .iter()
            .filter(|(k, _)| in_records(k))
            .flat_map(|(_, t)| t.2.iter().copied())
            .chain(declared)
            .collect();
        for (key, (bytes, samples, _)) in &self.truth {
            if held.contains(key) {
                let Fetched::Block(block) = self.spool.get(*key).unwrap() else {
                    panic!("{key:?}")
                };
                assert_eq!((&block.bytes, block.samples), (bytes, *samples));
                continue;
            }
            let covers =
                |g: &GapRange| g.epoch == key.epoch && g.from <= key.seq && key.seq <= g.to;
            assert!(
                self.acked.contains(key) || declared.iter().any(covers),
                "{key:?} is nowhere; declared {declared:?}"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn spool_keeps_its_account_under_any_actions(actions in prop::collection::vec(action(), 1..90)) {
        let mut world = World::new();
        for action in &actions {
            world.apply(action);
            world.check();
        }
    }
}
