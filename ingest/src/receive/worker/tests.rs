//! The receiver's thread by hand: a clock that is set, a hole that crowds the log, a damaged record.

use std::sync::Mutex;
use std::sync::atomic::AtomicI64;

use spool::LogOptions;
use tempfile::TempDir;
use wire::block::{Body, Clock as BlockClock, ClockState};
use wire::message::{Item, Stamp, Uplink};
use wire::{Block, Boot, Epoch, GatewayName, Key, Readings};

use super::*;

mod replay;
use crate::log::record::kind;
use crate::log::{Follower, Found, Lineage};
use crate::receive::Known;

const NOW: i64 = 1_790_000_000_000;

#[derive(Debug, Default)]
struct Clocks {
    wall: AtomicI64,
    mono: AtomicI64,
}

impl Clock for Clocks {
    fn now_ms(&self) -> i64 {
        self.wall.load(Ordering::Relaxed)
    }
    fn mono_ms(&self) -> i64 {
        self.mono.load(Ordering::Relaxed)
    }
}

#[derive(Debug, Default)]
struct NoAcks(Mutex<usize>);

impl Acker for NoAcks {
    fn ack(&self, tickets: &[Ticket]) {
        *self.0.lock().unwrap() += tickets.len();
    }
}

struct Rig {
    worker: Worker,
    clocks: Arc<Clocks>,
    counter: u64,
    folder: TempDir,
    _outbox: tokio::sync::mpsc::Receiver<Outgoing>,
}

fn name() -> GatewayName {
    GatewayName::new("g1").unwrap()
}

fn key() -> Key {
    Key::new([7; 32])
}

impl Rig {
    fn new(gateway_quota: u64) -> Self {
        let clocks = Arc::new(Clocks { wall: NOW.into(), mono: 0.into() });
        Self::on(tempfile::tempdir().unwrap(), clocks, gateway_quota, 0)
    }

    /// On what lies in `folder`, as a start of the service finds it.
    fn on(folder: TempDir, clocks: Arc<Clocks>, gateway_quota: u64, counter: u64) -> Self {
        let options = LogOptions { free_reserve_bytes: 0, ..LogOptions::default() };
        let (log, _) = Log::open(folder.path(), &options).unwrap();
        let (outbox, rest) = tokio::sync::mpsc::channel(64);
        let works = Works {
            shared: Arc::new(Shared::new(log.last_position(), Lineage::default(), 0)),
            log,
            progress: Arc::default(),
            quarantine: Arc::new(Quarantine::open(folder.path(), 1 << 20).unwrap()),
            live: Arc::new(Live::new(None)),
            registrar: Arc::default(),
            clock: Arc::clone(&clocks) as Arc<dyn Clock>,
            metrics: Arc::default(),
            failing: Arc::default(),
            acker: Arc::new(NoAcks::default()),
            outbox,
            gateway_quota,
            hole_max_ms: 30 * 86_400_000,
        };
        let mut worker = Worker::new(works, Receiver::new(1, []));
        let known = Known { key: key(), site: "s1".into(), replaced_by: None };
        worker.ring.insert(name(), known);
        Self { worker, clocks, counter, folder, _outbox: rest }
    }

    fn pass(&self, ms: i64) {
        self.clocks.wall.fetch_add(ms, Ordering::Relaxed);
        self.clocks.mono.fetch_add(ms, Ordering::Relaxed);
    }

    /// An empty block of epoch 1, closed just now.
    fn send(&mut self, seq: u64) {
        let clock = BlockClock {
            state: ClockState::Synced,
            closed_at: self.clocks.now_ms(),
            boot: Boot(1),
            ..BlockClock::default()
        };
        self.send_with(seq, clock);
    }

    fn send_with(&mut self, seq: u64, clock: BlockClock) {
        let block = Block {
            gateway: name(),
            epoch: Epoch(1),
            seq,
            link: None,
            clock,
            fact_revision: 0,
            list: None,
            body: Body::Readings(Readings::default()),
        };
        self.deliver(Item::Block(block.encode()));
    }

    fn deliver(&mut self, item: Item) {
        self.counter += 1;
        let stamp = Stamp { gateway: name(), boot: Boot(1), counter: self.counter, mono_ms: 0 };
        let uplink = Uplink { stamp, item };
        let payload = frame::seal(&key(), Kind::Uplink, &uplink.encode()).into();
        let topic = Topic::new(name(), TopicKind::Up);
        let ticket = Ticket { session: 1, packet: 1 };
        let mut group = Group::default();
        group.add(ToWorker::Message(Delivery { topic, payload, retained: false, ticket }));
        self.worker.commit(group).unwrap();
    }

    fn usage(&self) -> u64 {
        self.worker.works.log.usage("g1").bytes
    }

    fn positions(&self) -> Vec<u64> {
        let reader = self.worker.works.log.reader().unwrap();
        reader.read_from(0, 1 << 20, &[]).unwrap().iter().map(spool::Entry::position).collect()
    }

    fn position_of(&self, seq: u64) -> u64 {
        let blocks = self.worker.works.log.reader().unwrap().blocks("g1").unwrap();
        blocks.iter().find(|b| b.seq == seq).unwrap().position
    }

    fn records(&self, of: u8) -> Vec<CentreRecord> {
        let reader = self.worker.works.log.reader().unwrap();
        let entries = reader.read_from(0, 1 << 20, &[of]).unwrap();
        let record = |entry| match entry {
            spool::Entry::Record(record) => CentreRecord::decode(&record).unwrap(),
            spool::Entry::Damaged { position } => panic!("damaged at {position}"),
        };
        entries.into_iter().map(record).collect()
    }
}

// Goal: a step of the clock is in the log before anything else of its new time; a clock that only runs is not.
#[test]
fn a_step_of_the_clock_is_logged() {
    let mut rig = Rig::new(1 << 30);
    rig.worker.commit(Group::default()).unwrap();
    rig.pass(60_000);
    rig.worker.commit(Group::default()).unwrap();
    assert!(rig.records(kind::STEP).is_empty());
    rig.clocks.wall.fetch_sub(7_200_000, Ordering::Relaxed);
    rig.worker.commit(Group::default()).unwrap();
    rig.pass(1_000);
    rig.worker.commit(Group::default()).unwrap();
    assert_eq!(rig.records(kind::STEP), [CentreRecord::Step { by: -7_200_000 }]);
}

// Goal: a hole is given up for what waits behind it, after it was asked for, and not for what is settled before it.
#[test]
fn a_hole_is_given_up_only_for_what_waits_behind_it() {
    let mut rig = Rig::new(0);
    rig.send(1);
    let size = rig.usage();
    rig.worker.works.gateway_quota = size * 3 / 2;
    rig.send(3);
    for _ in 0..15 {
        rig.pass(6_000);
        rig.worker.keep_house().unwrap();
    }
    assert!(rig.usage() > rig.worker.works.gateway_quota);
    assert!(rig.records(kind::GONE).is_empty(), "one block behind the hole is within the quota");
    rig.send(4);
    rig.pass(6_000);
    rig.worker.keep_house().unwrap();
    assert_eq!(rig.records(kind::GONE).len(), 1);
    rig.send(6);
    rig.send(7);
    rig.pass(6_000);
    rig.worker.keep_house().unwrap();
    assert_eq!(rig.records(kind::GONE).len(), 1, "a fresh hole is asked for first");
}

// Goal: a gateway sends a damaged block again only to another start of the centre, so this one ends.
#[test]
fn the_receiver_ends_after_a_damaged_record_was_taken_out() {
    let mut rig = Rig::new(1 << 30);
    rig.send(1);
    rig.send(2);
    let file = rusqlite::Connection::open(rig.folder.path().join("log.db")).unwrap();
    let damaged = file.execute("UPDATE record SET bytes = x'00' WHERE seq = 2 AND kind = 1", []);
    assert_eq!(damaged.unwrap(), 1);
    drop(file);
    let works = &rig.worker.works;
    let shared = Arc::clone(&works.shared);
    let mut follower = Follower::new(works.log.reader().unwrap(), shared);
    let second = works.log.reader().unwrap().blocks("g1").unwrap()[1];
    assert!(matches!(follower.block_at(second.position).unwrap(), Found::Damaged));
    let folder = rig.folder;
    let (_inbox, nothing) = std::sync::mpsc::sync_channel(1);
    let ended = rig.worker.run(&nothing, &CancellationToken::new());
    assert!(matches!(ended, Err(WorkerError::Discarded { records: 1 })), "{ended:?}");
    let options = LogOptions { free_reserve_bytes: 0, ..LogOptions::default() };
    let (log, _) = Log::open(folder.path(), &options).unwrap();
    assert_eq!(log.epoch("g1", 1).unwrap().logged.upto(), 1, "it is acked no longer");
}

// Goal: a gateway that was registered after its first message leaves no notice behind. Method: the registry changes.
#[test]
fn a_notice_of_an_unknown_gateway_goes_when_the_registry_changes() {
    let mut rig = Rig::new(1 << 20);
    let up = |rig: &Rig| rig.worker.works.live.notices().len();
    rig.worker.works.live.notice("unknown_gateway", "", "g9 has no key here", NOW);
    rig.worker.ring.revision = rig.worker.works.registrar.current().revision;
    rig.worker.follow_registry();
    assert_eq!(up(&rig), 1, "nothing has changed");
    rig.worker.ring.revision += 1;
    rig.worker.follow_registry();
    assert_eq!(up(&rig), 0);
}

// Goal (design §4): a hole older than `hole_max` is closed as gone, and so are those behind it that are as old; a younger
// one is not.
#[test]
fn holes_older_than_the_bound_are_closed() {
    let mut rig = Rig::new(1 << 30);
    for seq in [1, 3, 5, 6] {
        rig.send(seq);
    }
    rig.worker.keep_house().unwrap();
    let day = 86_400_000;
    for _ in 0..29 {
        rig.pass(day);
        rig.worker.keep_house().unwrap();
    }
    rig.send(9);
    assert!(rig.records(kind::GONE).is_empty());
    rig.pass(day + 10_000);
    rig.worker.keep_house().unwrap();
    let gone = |seq| {
        CentreRecord::Gone(vec![crate::log::record::GoneSpan { epoch: 1, from: seq, to: seq }])
    };
    assert_eq!(rig.records(kind::GONE), [gone(2), gone(4)]);
    rig.pass(6_000);
    rig.worker.keep_house().unwrap();
    rig.pass(20 * day);
    rig.worker.keep_house().unwrap();
    assert_eq!(rig.records(kind::GONE).len(), 2, "7 and 8 are missing for 20 days only");
    rig.pass(11 * day);
    rig.worker.keep_house().unwrap();
    assert_eq!(rig.records(kind::GONE).len(), 3);
}

// Goal (design §4): the log evicts only what is stored, settled, not held for its clock, and older than the second-newest
// snapshot. Method: each of them holds back in turn.
#[test]
fn the_log_evicts_only_what_nobody_needs() {
    for pinned in 0..3 {
        let mut rig = Rig::new(0);
        (1..=6).for_each(|seq| rig.send(seq));
        let (at, head) = (rig.position_of(3), rig.position_of(6));
        let upto = |n| if n == pinned { at } else { head };
        let progress = Arc::clone(&rig.worker.works.progress);
        progress.stored(upto(0));
        progress.evaluated(upto(1));
        progress.snapshot(upto(2));
        rig.pass(6_000);
        rig.worker.keep_house().unwrap();
        assert_eq!(rig.positions().first(), Some(&(at + 1)), "pinned by {pinned}");
    }
    let mut rig = Rig::new(0);
    rig.send(1);
    let unset = BlockClock { state: ClockState::Unset, boot: Boot(1), ..BlockClock::default() };
    rig.send_with(2, unset);
    (3..=6).for_each(|seq| rig.send(seq));
    let progress = Arc::clone(&rig.worker.works.progress);
    let (held, waiting, head) = (rig.position_of(2), rig.position_of(4), rig.position_of(6));
    progress.keep(vec![waiting]);
    progress.stored(head);
    progress.evaluated(head);
    progress.snapshot(head);
    rig.pass(6_000);
    rig.worker.keep_house().unwrap();
    let left: Vec<u64> = rig.positions().into_iter().filter(|p| *p <= head).collect();
    assert_eq!(left, [held, waiting], "one has no time yet, one waits in a snapshot");
    assert_eq!(rig.worker.works.log.epoch("g1", 1).unwrap().logged.upto(), 6, "acked as before");
}

// Goal: a log that takes no block any more is told as what stops alarms, still takes its own ticks, and the next in order
// is taken again once there is room.
#[test]
fn a_full_log_is_told_and_takes_again() {
    let mut rig = Rig::new(1 << 30);
    rig.send(1);
    let mut txn = rig.worker.works.log.begin();
    txn.put(b"filler", Some(&vec![0; 4 << 20]));
    txn.commit().unwrap();
    let (used, _) = rig.worker.works.log.size().unwrap();
    rig.worker.works.log.bound(used * 100 / 99);
    rig.pass(6_000);
    rig.send(2);
    rig.worker.keep_house().unwrap();
    let notices = rig.worker.works.live.notices();
    let full = notices.iter().find(|notice| notice.code == "log_full").expect("it is told");
    assert_eq!(full.level, crate::api::source::NoticeLevel::AlarmsStopped);
    assert!(full.en.contains("raise [log] bytes_max") && full.zh.contains("已满"), "{full:?}");
    let taken = |rig: &Rig| rig.worker.works.log.epoch("g1", 1).unwrap().logged.upto();
    assert_eq!(taken(&rig), 1, "neither logged nor acked");
    let ticks = rig.records(kind::TICK).len();
    rig.pass(2_000);
    rig.worker.take([]).unwrap();
    assert_eq!(rig.records(kind::TICK).len(), ticks + 1, "the centre's own records go on");
    assert!(!rig.worker.works.failing.load(Ordering::Relaxed));
    rig.worker.works.log.bound(1 << 30);
    rig.send(2);
    rig.pass(6_000);
    rig.worker.keep_house().unwrap();
    assert_eq!(taken(&rig), 2);
    assert!(rig.worker.works.live.notices().iter().all(|notice| notice.code != "log_full"));
}

// Goal: 80 % is told, a log that its intake would overrun is told, and both go when they are over.
#[test]
fn a_crowded_log_is_told() {
    let mut rig = Rig::new(1 << 30);
    let codes = |rig: &Rig| -> Vec<String> {
        rig.worker.works.live.notices().into_iter().map(|n| n.code).collect()
    };
    rig.send(1);
    let mut txn = rig.worker.works.log.begin();
    let filler = spool::NewRecord {
        kind: kind::TICK,
        gateway: "",
        epoch: 0,
        seq: 0,
        received_at: NOW,
        meta: &[],
        bytes: &[0; 4_000],
    };
    for _ in 0..200 {
        txn.append(&filler);
    }
    txn.commit().unwrap();
    let (used, _) = rig.worker.works.log.size().unwrap();
    rig.worker.works.log.bound(used * 100 / 85);
    rig.send(2);
    rig.pass(6_000);
    rig.worker.keep_house().unwrap();
    assert_eq!(codes(&rig), ["log_crowded"]);
    rig.worker.works.log.bound(1 << 30);
    rig.worker.intake.add(1 << 27, rig.clocks.mono_ms());
    rig.send(3);
    rig.pass(6_000);
    rig.worker.keep_house().unwrap();
    assert_eq!(codes(&rig), ["log_small"]);
    rig.worker.works.log.bound(4 << 30);
    rig.send(4);
    rig.pass(6_000);
    rig.worker.keep_house().unwrap();
    assert!(codes(&rig).is_empty());
}
