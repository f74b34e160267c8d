//! The gateway's spool: order, acks, eviction, gap records, memory mode; models and damage in submodules.

use std::path::Path;

use tempfile::TempDir;

use super::*;

mod damage;
mod model;

pub(super) const BOUND: u64 = 256 << 10;

pub(super) fn options() -> SpoolOptions {
    SpoolOptions { bytes_max: BOUND, free_reserve_bytes: 0, memory_bytes_max: 64 << 10, now_ms: 0 }
}

pub(super) fn open(dir: &Path) -> (Spool, OpenReport) {
    Spool::open(dir, &options()).unwrap()
}

pub(super) fn new(epoch: u64, seq: u64, bytes: &[u8], samples: u32) -> NewBlock<'_> {
    let t0 = i64::try_from(seq).unwrap() * 10;
    NewBlock {
        key: Key { epoch, seq },
        bytes,
        born_ms: 1_000 + t0,
        samples,
        t0,
        t1: t0 + 9,
        manifest: None,
        gap: &[],
    }
}

/// Appends `count` blocks of `size` bytes with 10 samples each.
pub(super) fn fill(spool: &mut Spool, epoch: u64, count: u64, size: usize) {
    for _ in 0..count {
        let seq = spool.last_seq() + 1;
        spool.append(&[new(epoch, seq, &vec![7; size], 10)], &KeySet::new()).unwrap();
    }
}

pub(super) fn ack(spool: &mut Spool, epoch: u64, from: u64, to: u64) -> AckOutcome {
    spool.ack(&[EpochAck { epoch, acked: &Intervals::of(from, to), rejected: &[] }]).unwrap()
}

fn keys(epoch: u64, seqs: impl IntoIterator<Item = u64>) -> Vec<Key> {
    seqs.into_iter().map(|seq| Key { epoch, seq }).collect()
}

/// A copy of the directory as a kill at this instant would leave it.
pub(super) fn image(dir: &Path) -> TempDir {
    let copy = TempDir::new().unwrap();
    for entry in std::fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            std::fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
        }
    }
    copy
}

#[test]
fn blocks_are_listed_newest_and_oldest_first_across_epochs_without_acked_and_in_flight() {
    let dir = TempDir::new().unwrap();
    let (mut spool, _) = open(dir.path());
    assert_eq!(spool.begin_epoch(99).unwrap(), None);
    fill(&mut spool, 99, 4, 10);
    assert_eq!(spool.begin_epoch(5).unwrap(), Some(Link { epoch: 99, last: 4 }));
    fill(&mut spool, 5, 3, 10);
    ack(&mut spool, 99, 2, 2);
    let mut flying = KeySet::new();
    flying.insert(Key { epoch: 5, seq: 3 }).unwrap();
    let newest = spool.unacked(Order::NewestFirst, &flying, None, 4);
    assert_eq!(newest, [keys(5, [2, 1]), keys(99, [4, 3])].concat());
    let next = spool.unacked(Order::NewestFirst, &flying, newest.last().copied(), 9);
    assert_eq!(next, keys(99, [1]));
    let oldest = spool.unacked(Order::OldestFirst, &flying, Some(Key { epoch: 99, seq: 1 }), 9);
    assert_eq!(oldest, [keys(99, [3, 4]), keys(5, [1, 2])].concat());
    let list = spool.list(100);
    assert_eq!(list[0].held, Intervals::of(1, 4));
    assert_eq!(list[1].link, Some(Link { epoch: 99, last: 4 }));
}

#[test]
fn epoch_without_a_block_is_never_a_predecessor() {
    let dir = TempDir::new().unwrap();
    let (mut spool, _) = open(dir.path());
    spool.begin_epoch(1).unwrap();
    fill(&mut spool, 1, 2, 10);
    spool.begin_epoch(2).unwrap();
    assert_eq!(spool.begin_epoch(3).unwrap(), Some(Link { epoch: 1, last: 2 }));
    assert!(spool.list(10).iter().all(|e| e.epoch != 2));
    assert!(matches!(spool.begin_epoch(1), Err(Error::OutOfTurn { .. })));
}

#[test]
fn block_out_of_turn_is_refused() {
    let dir = TempDir::new().unwrap();
    let (mut spool, _) = open(dir.path());
    let none = KeySet::new();
    assert!(spool.append(&[new(1, 1, b"x", 1)], &none).is_err());
    spool.begin_epoch(1).unwrap();
    assert!(matches!(
        spool.append(&[new(1, 2, b"x", 1)], &none),
        Err(Error::OutOfTurn { expected: 1, .. })
    ));
    spool.append(&[new(1, 1, b"x", 1), new(1, 2, b"y", 1)], &none).unwrap();
    assert!(spool.append(&[new(1, 2, b"x", 1)], &none).is_err());
    assert_eq!(spool.stats().unwrap().polled, 2);
}

#[test]
fn acks_free_in_the_account_and_a_new_log_takes_them_back() {
    let dir = TempDir::new().unwrap();
    let (mut spool, _) = open(dir.path());
    spool.begin_epoch(1).unwrap();
    fill(&mut spool, 1, 10, 100);
    spool.new_log(77).unwrap();
    assert_eq!(ack(&mut spool, 1, 1, 6), AckOutcome { blocks: 6, samples: 60, rejected: 0 });
    assert_eq!(ack(&mut spool, 1, 1, 6), AckOutcome::default());
    let reject = [(2, "decode".to_owned())];
    let acked = Intervals::of(1, 6);
    let out = spool.ack(&[EpochAck { epoch: 1, acked: &acked, rejected: &reject }]).unwrap();
    assert_eq!(out.rejected, 1);
    assert_eq!(spool.rejected(9).unwrap()[0].1, "decode");
    let s = spool.stats().unwrap();
    assert_eq!((s.stored, s.quarantined, s.backlog, s.unacked_blocks), (50, 10, 40, 4));
    assert_eq!((s.unacked_bytes, s.oldest_unacked_born_ms), (400, Some(1_070)));
    spool.flush().unwrap();
    drop(spool);
    let (mut spool, _) = open(dir.path());
    assert_eq!(spool.log_id(), Some(77));
    spool.new_log(77).unwrap();
    assert_eq!(spool.stats().unwrap().stored, 50, "acks are on the disk after a flush");
    spool.new_log(78).unwrap();
    let s = spool.stats().unwrap();
    assert_eq!((s.stored, s.quarantined, s.backlog), (0, 0, 100));
    assert_eq!(spool.unacked(Order::OldestFirst, &KeySet::new(), None, 99).len(), 10);
}

#[test]
fn full_spool_evicts_acked_then_oldest_unacked_then_flying_and_gap_records_last() {
    let dir = TempDir::new().unwrap();
    let (mut spool, _) = open(dir.path());
    spool.begin_epoch(1).unwrap();
    fill(&mut spool, 1, 20, 8000);
    ack(&mut spool, 1, 11, 14);
    let mut flying = KeySet::new();
    flying.insert(Key { epoch: 1, seq: 1 }).unwrap();
    let body = vec![7; 8000];
    // Until the acked ones are gone nothing is lost.
    while spool.losses().is_empty() {
        let held = spool.list(99)[0].held.clone();
        let seq = spool.last_seq() + 1;
        spool.append(&[new(1, seq, &body, 10)], &flying).unwrap();
        assert!(spool.losses().is_empty() || held.common(&Intervals::of(11, 14)).is_empty());
    }
    let lost = spool.losses()[0];
    assert_eq!((lost.epoch, lost.from, lost.loss), (1, 2, Loss::Evicted), "1 is in flight");
    assert_eq!((lost.t0, lost.samples), (20, 10 * (lost.to - 1)));
    // The gap record takes the range off the list; when it is evicted itself it passes it on.
    let gap = spool.losses().to_vec();
    let seq = spool.last_seq() + 1;
    spool.append(&[NewBlock { samples: 0, gap: &gap, ..new(1, seq, b"gap", 0) }], &flying).unwrap();
    assert!(spool.losses().is_empty());
    drop(spool);
    let (mut spool, _) = open(dir.path());
    let small = vec![1; 30_000];
    spool.begin_epoch(2).unwrap();
    for _ in 0..40 {
        let next = spool.last_seq() + 1;
        spool.append(&[new(2, next, &small, 1)], &flying).unwrap();
    }
    let held: Vec<_> = spool.list(99).into_iter().filter(|e| e.epoch == 1).collect();
    let expected: Intervals = [(1, 1), (seq, seq)].into_iter().collect();
    assert_eq!(
        held[0].held, expected,
        "only what is in flight and the gap record are left of epoch 1"
    );
    for _ in 0..9 {
        let next = spool.last_seq() + 1;
        spool.append(&[new(2, next, &small, 1)], &KeySet::new()).unwrap();
    }
    let held: Vec<_> = spool.list(99).into_iter().filter(|e| e.epoch == 1).collect();
    assert_eq!(held[0].held, Intervals::of(seq, seq), "only the gap record is left of epoch 1");
    assert!(spool.stats().unwrap().is_balanced());
    assert!(spool.stats().unwrap().bytes <= BOUND);
}

#[test]
fn block_larger_than_the_bound_is_refused_with_the_spool_intact() {
    let dir = TempDir::new().unwrap();
    let (mut spool, _) = open(dir.path());
    spool.begin_epoch(1).unwrap();
    let huge = vec![0; usize::try_from(BOUND).unwrap() + 1];
    assert!(matches!(
        spool.append(&[new(1, 1, &huge, 1)], &KeySet::new()),
        Err(Error::Full { .. })
    ));
    fill(&mut spool, 1, 1, 10);
    assert_eq!(spool.stats().unwrap().polled, 10);
}

#[test]
fn disk_that_is_full_gives_a_typed_error_and_the_block_can_be_stored_later() {
    let dir = TempDir::new().unwrap();
    let (mut spool, _) = open(dir.path());
    spool.begin_epoch(1).unwrap();
    fill(&mut spool, 1, 2, 100);
    spool.file.conn.execute_batch("PRAGMA max_page_count=1").unwrap();
    let body = vec![1; 50_000];
    let block = [new(1, 3, &body, 10)];
    assert!(matches!(
        spool.append(&block, &KeySet::new()),
        Err(Error::DiskFull { source: Some(_), .. })
    ));
    assert_eq!((spool.last_seq(), spool.stats().unwrap().polled), (2, 20));
    spool.file.conn.execute_batch("PRAGMA max_page_count=1000000").unwrap();
    spool.append(&block, &KeySet::new()).unwrap();
    assert!(spool.stats().unwrap().is_balanced());
}

#[test]
fn disk_that_others_filled_makes_the_spool_a_ring_and_keeps_its_backlog() {
    let dir = TempDir::new().unwrap();
    let (mut spool, _) = open(dir.path());
    spool.begin_epoch(1).unwrap();
    fill(&mut spool, 1, 50, 4000);
    let before = spool.stats().unwrap();
    spool.options.free_reserve_bytes = u64::MAX / 4;
    fill(&mut spool, 1, 10, 4000);
    let after = spool.stats().unwrap();
    // The file does not grow any more, and only as much was dropped as was needed.
    assert!(after.bytes <= before.bytes, "{} {}", after.bytes, before.bytes);
    assert!(after.is_balanced() && after.blocks >= 30, "{after:?}");
    assert!(after.declared > 0 && spool.losses()[0].from == 1);
}

#[test]
fn manifest_lives_while_a_block_refers_to_it() {
    let dir = TempDir::new().unwrap();
    let (mut spool, _) = open(dir.path());
    spool.begin_epoch(1).unwrap();
    spool.put_manifest([1; 16], b"old").unwrap();
    let body = vec![1; 20_000];
    spool
        .append(&[NewBlock { manifest: Some([1; 16]), ..new(1, 1, &body, 1) }], &KeySet::new())
        .unwrap();
    spool.put_manifest([2; 16], b"new").unwrap();
    drop(spool);
    let (mut spool, _) = open(dir.path());
    assert_eq!(spool.manifest(&[1; 16]).unwrap().as_deref(), Some(b"old".as_slice()));
    let Fetched::Block(block) = spool.get(Key { epoch: 1, seq: 1 }).unwrap() else { panic!() };
    assert_eq!(block.manifest, Some([1; 16]));
    ack(&mut spool, 1, 1, 1);
    spool.begin_epoch(2).unwrap();
    for seq in 1..30 {
        let block = NewBlock { manifest: Some([2; 16]), ..new(2, seq, &body, 1) };
        spool.append(&[block], &KeySet::new()).unwrap();
    }
    assert_eq!(spool.manifest(&[1; 16]).unwrap(), None);
    assert!(spool.manifest(&[2; 16]).unwrap().is_some());
}

#[test]
fn disk_that_goes_bad_while_running_is_still_read_and_the_rest_goes_to_memory() {
    let dir = TempDir::new().unwrap();
    let (mut spool, _) = open(dir.path());
    spool.begin_epoch(1).unwrap();
    fill(&mut spool, 1, 5, 100);
    spool.fall_back("disk is read-only").unwrap();
    fill(&mut spool, 1, 5, 100);
    assert_eq!(spool.memory(), Some("disk is read-only"));
    for seq in 1..=10 {
        assert!(matches!(spool.get(Key { epoch: 1, seq }).unwrap(), Fetched::Block(_)));
    }
    assert_eq!(ack(&mut spool, 1, 1, 8).samples, 80);
    assert!(spool.stats().unwrap().is_balanced());
    // What was in memory is lost with the program; what was on the disk is not.
    fill(&mut spool, 1, 60, 4000);
    assert!(spool.stats().unwrap().bytes <= options().memory_bytes_max);
    assert!(!spool.losses().is_empty() && spool.stats().unwrap().is_balanced());
    drop(spool);
    let (spool, report) = open(dir.path());
    assert_eq!((report, spool.stats().unwrap().blocks), (OpenReport::default(), 5));
}

#[test]
fn list_is_shortened_by_filling_holes() {
    let dir = TempDir::new().unwrap();
    let (mut spool, _) = open(dir.path());
    spool.begin_epoch(1).unwrap();
    fill(&mut spool, 1, 1, 10);
    let no = spool.current.unwrap();
    let held: Intervals = (0..2000).map(|n| (n * 3 + 1, n * 3 + 1)).collect();
    spool.state.epochs.get_mut(&no).unwrap().held = held.clone();
    let short = &spool.list(100)[0].held;
    assert!(short.len() <= 100 && held.without(short).is_empty());
}

#[test]
fn epochs_are_bounded() {
    let dir = TempDir::new().unwrap();
    let (mut spool, _) =
        Spool::open(dir.path(), &SpoolOptions { bytes_max: 64 << 20, ..options() }).unwrap();
    for epoch in 1..=EPOCHS_MAX as u64 + 20 {
        spool.begin_epoch(epoch).unwrap();
        fill(&mut spool, epoch, 1, 10);
    }
    let held = spool.list(usize::MAX).iter().filter(|e| !e.held.is_empty()).count();
    assert!(held <= EPOCHS_MAX, "{held}");
    assert!(spool.stats().unwrap().is_balanced() && !spool.losses().is_empty());
}

#[test]
fn a_spool_that_another_process_has_is_refused_and_not_replaced() {
    let dir = TempDir::new().unwrap();
    let (first, _) = Spool::open(dir.path(), &SpoolOptions::default()).unwrap();
    let second = Spool::open(dir.path(), &SpoolOptions::default());
    assert!(matches!(second, Err(Error::Busy { .. })), "{second:?}");
    drop(first);
    assert!(Spool::open(dir.path(), &SpoolOptions::default()).is_ok());
}
