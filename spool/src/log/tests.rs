//! The log against a model in memory, under drops, damage and full disks.

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

mod damage;
mod model;

pub(super) fn open(dir: &TempDir) -> (Log, LogOpenReport) {
    Log::open(dir.path(), &LogOptions { free_reserve_bytes: 0, ..LogOptions::default() }).unwrap()
}

pub(super) fn block<'a>(gateway: &'a str, epoch: u64, seq: u64, bytes: &'a [u8]) -> NewRecord<'a> {
    NewRecord {
        kind: 1,
        gateway,
        epoch,
        seq,
        received_at: 1_000 + i64::try_from(seq).unwrap(),
        meta: b"m",
        bytes,
    }
}

pub(super) fn records(reader: &LogReader) -> Vec<Record> {
    let mut out = Vec::new();
    let mut after = 0;
    loop {
        let got = reader.read_from(after, 4096, &[]).unwrap();
        let Some(last) = got.last() else { return out };
        after = last.position();
        for entry in got {
            match entry {
                Entry::Record(r) => out.push(r),
                Entry::Damaged { position } => panic!("damaged at {position}"),
            }
        }
    }
}

#[test]
fn commit_is_seen_by_a_reader_and_survives_reopening() {
    let dir = TempDir::new().unwrap();
    let (mut log, report) = open(&dir);
    assert_eq!(report, LogOpenReport::default());
    let reader = log.reader().unwrap();
    let mut txn = log.begin();
    assert_eq!(txn.append_block(&block("gw-1", 7, 1, b"one")).unwrap(), 1);
    assert_eq!(txn.append(&NewRecord { gateway: "", ..block("", 0, 0, b"tick") }), 2);
    txn.put(b"chain/1", Some(b"x"));
    txn.put_manifest("gw-1", [9; 16], b"manifest");
    assert!(txn.epoch("gw-1", 7).unwrap().logged.contains(1));
    assert_eq!(txn.block_sha("gw-1", 7, 1).unwrap(), Some(sha16(b"one")));
    assert_eq!(reader.last_position().unwrap(), 0);
    assert_eq!(txn.commit().unwrap(), Committed { first: Some(1), last: 2 });
    assert_eq!(records(&reader).len(), 2);
    assert!(
        matches!(reader.block("gw-1", 7, 1).unwrap(), Some(Entry::Record(r)) if r.bytes == b"one")
    );
    assert_eq!(reader.read_from(0, 1 << 20, &[2]).unwrap(), []);
    drop((reader, log));
    let (log, report) = open(&dir);
    assert_eq!(report, LogOpenReport::default());
    assert_eq!(log.epoch("gw-1", 7).unwrap().logged, Intervals::of(1, 1));
    assert_eq!(log.get(b"chain/1").unwrap().as_deref(), Some(b"x".as_slice()));
    assert_eq!(log.scan(b"chain/").unwrap().len(), 1);
    assert_eq!(log.manifest("gw-1", &[9; 16]).unwrap().as_deref(), Some(b"manifest".as_slice()));
    assert_eq!(log.usage("gw-1"), Usage { blocks: 1, bytes: 3 });
    assert_eq!(log.reader().unwrap().at(&[2, 1, 5]).unwrap().len(), 2);
}

#[test]
fn positions_grow_on_after_everything_was_evicted() {
    let dir = TempDir::new().unwrap();
    let (mut log, _) = open(&dir);
    for seq in 1..=600 {
        let mut txn = log.begin();
        txn.append_block(&block("gw", 1, seq, b"bytes")).unwrap();
        txn.commit().unwrap();
    }
    let first = log.evict(600, &[17]).unwrap();
    assert!(first.more && first.records == 512);
    let second = log.evict(600, &[17]).unwrap();
    assert_eq!((second.more, second.records), (false, 87));
    assert_eq!(log.usage("gw"), Usage { blocks: 1, bytes: 5 });
    assert_eq!(log.evict(600, &[]).unwrap().records, 1);
    drop(log);
    let (mut log, _) = open(&dir);
    let mut txn = log.begin();
    assert_eq!(txn.append(&block("gw", 1, 601, b"")), 601);
    txn.commit().unwrap();
    assert_eq!(log.epoch("gw", 1).unwrap().logged, Intervals::of(1, 600));
}

#[test]
fn log_refuses_what_passes_its_bound_and_takes_it_after_eviction() {
    let dir = TempDir::new().unwrap();
    let options = LogOptions { bytes_max: 1 << 20, free_reserve_bytes: 0, now_ms: 0 };
    let (mut log, _) = Log::open(dir.path(), &options).unwrap();
    let body = vec![7; 32 << 10];
    let mut seq = 0;
    let error = loop {
        seq += 1;
        let mut txn = log.begin();
        txn.append_block(&block("gw", 1, seq, &body)).unwrap();
        match txn.commit() {
            Ok(_) => {}
            Err(e) => break e,
        }
    };
    assert!(matches!(error, Error::Full { .. }), "{error}");
    assert_eq!(error.class(), crate::Class::Retry);
    assert!(seq > 20 && !log.epoch("gw", 1).unwrap().logged.contains(seq));
    log.evict(10, &[]).unwrap();
    let mut txn = log.begin();
    txn.append_block(&block("gw", 1, seq, &body)).unwrap();
    txn.commit().unwrap();
}

#[test]
fn reserve_of_the_disk_is_kept() {
    let dir = TempDir::new().unwrap();
    let options = LogOptions { free_reserve_bytes: u64::MAX / 4, ..LogOptions::default() };
    let (mut log, _) = Log::open(dir.path(), &options).unwrap();
    let mut txn = log.begin();
    txn.append_block(&block("gw", 1, 1, b"x")).unwrap();
    assert!(matches!(txn.commit(), Err(Error::DiskFull { source: None, .. })));
    assert!(log.epoch("gw", 1).is_none());
    log.keep_free(0);
    let mut txn = log.begin();
    txn.append_block(&block("gw", 1, 1, b"x")).unwrap();
    txn.commit().unwrap();
}

#[test]
fn disk_that_is_full_gives_a_typed_error_and_changes_nothing() {
    let dir = TempDir::new().unwrap();
    let (mut log, _) = open(&dir);
    let mut txn = log.begin();
    txn.append_block(&block("gw", 1, 1, b"x")).unwrap();
    txn.commit().unwrap();
    log.file.conn.execute_batch("PRAGMA max_page_count=1").unwrap();
    let mut txn = log.begin();
    txn.append_block(&block("gw", 1, 2, &vec![1; 100_000])).unwrap();
    assert!(matches!(txn.commit(), Err(Error::DiskFull { source: Some(_), .. })));
    assert_eq!(log.epoch("gw", 1).unwrap().logged, Intervals::of(1, 1));
    assert_eq!((log.last_position(), records(&log.reader().unwrap()).len()), (1, 1));
}

#[test]
fn backup_is_a_log_of_its_own() {
    let (dir, other) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let (mut log, _) = open(&dir);
    let mut txn = log.begin();
    txn.append_block(&block("gw", 1, 1, b"x")).unwrap();
    txn.commit().unwrap();
    log.backup(&other.path().join("log.db")).unwrap();
    let (copy, report) = open(&other);
    assert_eq!(report, LogOpenReport::default());
    assert_eq!(copy.last_position(), 1);
    assert_eq!(records(&copy.reader().unwrap()), records(&log.reader().unwrap()));
}

#[test]
fn epoch_with_too_many_holes_is_refused_whole() {
    let dir = TempDir::new().unwrap();
    let (mut log, _) = open(&dir);
    let mut txn = log.begin();
    for n in 0..crate::INTERVALS_MAX as u64 {
        txn.add_logged("gw", 1, n * 2 + 1, n * 2 + 1).unwrap();
    }
    assert!(matches!(
        txn.append_block(&block("gw", 1, 1_000_000, b"x")),
        Err(Error::TooMany { epoch: 1 })
    ));
    assert_eq!(txn.commit().unwrap(), Committed { first: None, last: 0 });
}

// Goal: a reader that lost its place finds what is left of a gateway, and learns that something is gone.
#[test]
fn a_reader_sees_what_is_left_of_a_gateway() {
    let dir = TempDir::new().unwrap();
    let (mut log, _) = open(&dir);
    let reader = log.reader().unwrap();
    let mut txn = log.begin();
    for seq in 1..=4 {
        txn.append_block(&block("gw-1", 7, seq, b"x")).unwrap();
    }
    txn.append_block(&block("gw-2", 7, 1, b"x")).unwrap();
    txn.put(b"held/gw-1/1", Some(b"1"));
    txn.commit().unwrap();
    assert!(reader.is_whole().unwrap());
    assert!(!log.evict(3, &[2]).unwrap().more);
    assert!(!reader.is_whole().unwrap());
    let left: Vec<_> = reader.blocks("gw-1").unwrap().iter().map(|p| (p.seq, p.position)).collect();
    assert_eq!(left, [(2, 2), (4, 4)]);
    assert_eq!(reader.sets("gw-1", 7).unwrap().unwrap().covered, Intervals::of(1, 4));
    assert_eq!(reader.sets("gw-3", 7).unwrap(), None);
    assert_eq!(log.bytes_behind("gw-1", (7, 2), &[8]).unwrap(), 1);
    assert_eq!(log.bytes_behind("gw-1", (6, 1), &[7]).unwrap(), 2);
    assert_eq!(reader.scan(b"held/gw-1/").unwrap().len(), 1);
}
