//! The store writer by hand: which blocks pass and when, and where it goes on in a log that is not the one it knew.

use std::sync::Mutex;

use spool::{Log, LogOptions, NewRecord};
use tempfile::TempDir;
use wire::block::{Body, Clock as BlockClock, ClockState};
use wire::columns::Builder;
use wire::manifest::{self, Manifest};
use wire::{Block, Boot, Epoch, GatewayName, Mark};

use super::*;
use crate::log::record::{BlockMeta, kind};
use crate::log::{Lineage, Shared};
use crate::store::{HistoryAnswer, HistoryQuery, HistoryReader, Position, StoreBatch};

/// Seq and event times of each block, in the order in which they came.
type Blocks = Vec<(u64, Vec<i64>)>;

/// Keeps what it is given.
#[derive(Debug, Clone, Default)]
struct Shelf(Arc<Mutex<(Option<Position>, Blocks)>>);

impl Shelf {
    fn at(position: Option<Position>) -> Self {
        Self(Arc::new(Mutex::new((position, Vec::new()))))
    }

    fn position(&self) -> Option<Position> {
        self.0.lock().unwrap().0
    }

    fn blocks(&self) -> Blocks {
        self.0.lock().unwrap().1.clone()
    }
}

impl Store for Shelf {
    fn write(&mut self, batch: &StoreBatch) -> Result<(), StoreError> {
        let times = |b: &DecodedBlock| -> Vec<i64> {
            b.readings.tables.iter().flat_map(|t| t.times.clone()).collect()
        };
        let blocks = batch.blocks.iter().map(|b| (b.block.seq, times(b)));
        let mut shelf = self.0.lock().unwrap();
        shelf.1.extend(blocks);
        shelf.0 = Some(batch.up_to);
        Ok(())
    }
    fn position(&self) -> Result<Option<Position>, StoreError> {
        Ok(Shelf::position(self))
    }
    fn reset_position(&mut self, position: Position) -> Result<(), StoreError> {
        self.0.lock().unwrap().0 = Some(position);
        Ok(())
    }
    fn reader(&self) -> Arc<dyn HistoryReader> {
        Arc::new(Blind)
    }
    fn retain(&mut self, _: i64) -> Result<(), StoreError> {
        Ok(())
    }
}

#[derive(Debug)]
struct Blind;

impl HistoryReader for Blind {
    fn query(&self, _: &HistoryQuery) -> Result<HistoryAnswer, StoreError> {
        Err(StoreError::Query { reason: "no history here".to_owned() })
    }
}

#[derive(Debug)]
struct Noon;

impl Clock for Noon {
    fn now_ms(&self) -> i64 {
        1_790_000_000_000
    }
}

struct Rig {
    log: Log,
    lineage: Lineage,
    _folder: TempDir,
}

impl Rig {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = LogOptions { free_reserve_bytes: 0, ..LogOptions::default() };
        let (log, _) = Log::open(folder.path(), &options).unwrap();
        Self { log, lineage: Lineage::default(), _folder: folder }
    }

    /// Logs block `seq` of epoch 1 with a reading 5 ms before it closed; gives its position.
    fn block(&mut self, seq: u64, clock: BlockClock, decided: Decided) -> u64 {
        let reply = manifest::Reply {
            device: "m1".to_owned(),
            period_ms: 1_000,
            points: vec![manifest::Point { quantity: "u_a".to_owned(), unit: "V".to_owned() }],
            profile: "test".to_owned(),
            profile_version: "1".to_owned(),
        };
        let gateway = GatewayName::new("g1").unwrap();
        let manifest = Manifest {
            gateway: gateway.clone(),
            site: "s1".to_owned(),
            replies: vec![reply],
            replaces: None,
        };
        let bytes = manifest.encode();
        let key = manifest::key(&bytes);
        let mut builder = Builder::new(&manifest, key);
        builder.push(0, clock.closed_at - 5, &[(230.0, Mark::GOOD)]).unwrap();
        let block = Block {
            gateway,
            epoch: Epoch(1),
            seq,
            link: None,
            clock,
            fact_revision: 0,
            list: None,
            body: Body::Readings(builder.take()),
        };
        let mut txn = self.log.begin();
        txn.put_manifest("g1", key.0, &bytes);
        let meta = BlockMeta { decided, ..BlockMeta::default() }.encode();
        let (bytes, epoch) = (block.encode(), 1);
        let record = NewRecord {
            kind: kind::BLOCK,
            gateway: "g1",
            epoch,
            seq,
            received_at: 1,
            meta: &meta,
            bytes: &bytes,
        };
        let position = txn.append_block(&record).unwrap();
        txn.commit().unwrap();
        position
    }

    fn writer(&self, shelf: &Shelf) -> Writer {
        let shared = Arc::new(Shared::new(self.log.last_position(), self.lineage.clone(), 0));
        let told = Told {
            progress: Arc::default(),
            stats: Arc::default(),
            live: Arc::new(Live::new(None)),
            clock: Arc::new(Noon),
        };
        let follower = Follower::new(self.log.reader().unwrap(), shared);
        Writer::new(follower, Box::new(shelf.clone()), told).unwrap()
    }

    /// Writes everything that is there.
    fn write(&self, shelf: &Shelf) {
        let mut writer = self.writer(shelf);
        let batch = writer.follower.next(writer.at, Duration::ZERO).unwrap();
        writer.write(&batch).unwrap();
    }
}

fn synced(closed_at: i64) -> BlockClock {
    BlockClock { state: ClockState::Synced, closed_at, boot: Boot(7), ..BlockClock::default() }
}

fn unset(mono: i64) -> BlockClock {
    BlockClock {
        state: ClockState::Unset,
        closed_at: mono,
        mono_ms: mono.unsigned_abs(),
        boot: Boot(7),
        ..BlockClock::default()
    }
}

// Goal (design §4): blocks of a clock that was never set are stored once their boot's offset is known, then timed once, at
// and as part of the record that released them. Method: two held blocks, the one that knows, a late one.
#[test]
fn held_blocks_are_stored_by_the_record_that_releases_them() {
    let (mut rig, shelf) = (Rig::new(), Shelf::default());
    rig.lineage.start(9, 1);
    let held = [
        rig.block(1, unset(100), Decided::default()),
        rig.block(2, unset(200), Decided::default()),
    ];
    rig.write(&shelf);
    assert!(shelf.blocks().is_empty(), "they have no time yet");
    assert_eq!(shelf.position(), Some(Position { log_id: 9, position: held[1] }));
    let offset = 1_790_000_000_000;
    let knows = BlockClock { boot_offset: Some(offset), mono_ms: 300, ..synced(offset + 300) };
    rig.block(3, knows, Decided { releases: held.to_vec(), ..Decided::default() });
    rig.block(4, unset(250), Decided { offset: Some(offset), ..Decided::default() });
    rig.write(&shelf);
    let at = |mono: i64| vec![offset + mono - 5];
    assert_eq!(shelf.blocks(), [(1, at(100)), (2, at(200)), (3, at(300)), (4, at(250))]);
}

// Goal (design §4): blocks of a gateway that was replaced are stored, only not evaluated.
#[test]
fn blocks_of_a_replaced_gateway_are_stored() {
    let (mut rig, shelf) = (Rig::new(), Shelf::default());
    rig.block(1, synced(1_000), Decided { is_superseded: true, ..Decided::default() });
    rig.write(&shelf);
    assert_eq!(shelf.blocks(), [(1, vec![995])]);
}

// Goal (design §4): a position belongs to a log. On another one the store goes back to the last position that both share,
// to the first record where they share none, and never forward.
#[test]
fn the_store_goes_back_to_what_both_logs_share() {
    let mut rig = Rig::new();
    for seq in 1..=6 {
        rig.block(seq, synced(1_000), Decided::default());
    }
    rig.lineage.start(100, 1);
    rig.lineage.start(200, 4);
    let at = |log_id, position| Some(Position { log_id, position });
    for (knew, goes_on) in [
        (None, 0),
        (at(200, 6), 6),
        (at(100, 2), 2),
        // The first start went on beyond the backup that this log was made of.
        (at(100, 50), 3),
        (at(300, 5), 0),
    ] {
        let shelf = Shelf::at(knew);
        let writer = rig.writer(&shelf);
        assert_eq!(writer.at, goes_on, "{knew:?}");
        assert_eq!(writer.told.progress.store_position(), goes_on);
        if knew.is_some_and(|knew| knew.position > goes_on) {
            assert_eq!(shelf.position(), at(200, goes_on), "and it is made durable");
        }
    }
}

/// Takes nothing while it is told to refuse; notes the blocks of each try.
#[derive(Debug, Clone, Default)]
struct Gate(Arc<Mutex<(bool, Vec<Vec<u64>>)>>);

impl Gate {
    fn refuse(&self, refuses: bool) {
        self.0.lock().unwrap().0 = refuses;
    }

    /// The tries since the last look: the seqs of the blocks that were handed over.
    fn tries(&self) -> Vec<Vec<u64>> {
        std::mem::take(&mut self.0.lock().unwrap().1)
    }
}

impl Store for Gate {
    fn write(&mut self, batch: &StoreBatch) -> Result<(), StoreError> {
        let mut gate = self.0.lock().unwrap();
        gate.1.push(batch.blocks.iter().map(|b| b.block.seq).collect());
        match gate.0 {
            false => Ok(()),
            true => Err(StoreError::Unavailable {
                store: "gate",
                reason: "shut".to_owned(),
                pause_ms: 0,
            }),
        }
    }
    fn position(&self) -> Result<Option<Position>, StoreError> {
        Ok(None)
    }
    fn reset_position(&mut self, _: Position) -> Result<(), StoreError> {
        Ok(())
    }
    fn reader(&self) -> Arc<dyn HistoryReader> {
        Arc::new(Blind)
    }
    fn retain(&mut self, _: i64) -> Result<(), StoreError> {
        Ok(())
    }
}

// Goal: what a store did not take comes again as it was, however much the log has grown meanwhile: it may have taken a part,
// and a store that is away for long gets no growing batches. A writer that is sent back forgets it and reads anew. Method:
// steps against a store that refuses, with blocks logged in between.
#[test]
fn a_batch_that_was_not_taken_comes_again_as_it_was() {
    let (mut rig, gate) = (Rig::new(), Gate::default());
    rig.lineage.start(9, 1);
    for seq in 1..=2 {
        rig.block(seq, synced(1_000), Decided::default());
    }
    // The receiver is ahead of what is read here.
    let head = 100;
    let shared = Arc::new(Shared::new(head, rig.lineage.clone(), 0));
    let told = Told {
        progress: Arc::default(),
        stats: Arc::default(),
        live: Arc::new(Live::new(None)),
        clock: Arc::new(Noon),
    };
    let follower = Follower::new(rig.log.reader().unwrap(), shared);
    let mut writer = Writer::new(follower, Box::new(gate.clone()), told).unwrap();
    let mut log = |seq| rig.block(seq, synced(1_000), Decided::default());

    gate.refuse(true);
    for seq in 3..=5 {
        assert!(matches!(writer.step(Duration::ZERO), Err(WriteError::Store(_))));
        log(seq);
    }
    assert_eq!(gate.tries(), [[1, 2], [1, 2], [1, 2]], "the same each time, and no more");
    assert_eq!(writer.at, 0);
    gate.refuse(false);
    assert!(writer.step(Duration::ZERO).unwrap());
    assert_eq!((gate.tries(), writer.at), (vec![vec![1, 2]], 2));
    assert!(writer.step(Duration::ZERO).unwrap());
    assert_eq!((gate.tries(), writer.at), (vec![vec![3, 4, 5]], 5), "then the rest, once");

    gate.refuse(true);
    log(6);
    assert!(writer.step(Duration::ZERO).is_err());
    log(7);
    writer.go_back(Some(Position { log_id: 9, position: 4 }));
    gate.refuse(false);
    gate.tries();
    assert!(writer.step(Duration::ZERO).unwrap());
    assert_eq!((gate.tries(), writer.at), (vec![vec![5, 6, 7]], 7), "nothing held is left");
}
