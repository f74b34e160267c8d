//! The quarantine keeps what it is given, once, and says when it is full.

use std::sync::Arc;

use spool::{Log, LogOptions, NewRecord};
use wire::GatewayName;

use super::{Quarantine, RefusedBlocks};
use crate::receive::Quarantined;
use crate::store::{Refusal, RefusalSink as _};

fn block(seq: u64, bytes: &[u8]) -> Quarantined {
    Quarantined {
        gateway: GatewayName::new("g1").unwrap(),
        epoch: u64::MAX,
        seq,
        code: "future",
        detail: "ahead".into(),
        rows: vec![3, 70_000],
        bytes: bytes.to_vec(),
        at: 5,
    }
}

#[test]
fn entry_is_kept_once_and_given_back() {
    let dir = tempfile::tempdir().unwrap();
    let quarantine = Quarantine::open(dir.path(), 1 << 20).unwrap();
    quarantine.put(&[block(1, b"a"), block(2, b"b")]).unwrap();
    quarantine.put(&[block(1, b"a"), block(1, b"other")]).unwrap();
    drop(quarantine);
    let quarantine = Quarantine::open(dir.path(), 1 << 20).unwrap();
    let entries = quarantine.list(Some("g1"), 0, 10).unwrap();
    assert_eq!(entries.len(), 3);
    assert_eq!(quarantine.open_entries(), 3);
    assert_eq!((entries[2].seq, entries[2].epoch.as_str()), (1, "ffffffffffffffff"));
    assert_eq!(entries[2].rows, [3, 70_000]);
    assert_eq!(quarantine.bytes(entries[2].id).unwrap().unwrap(), b"a");
    assert!(quarantine.close(entries[2].id, "discarded").unwrap());
    assert!(!quarantine.close(entries[2].id, "discarded").unwrap());
    assert_eq!(quarantine.open_entries(), 2);
    assert_eq!(quarantine.list(None, entries[1].id, 10).unwrap().len(), 1);
}

#[test]
fn gateway_beyond_its_share_is_full() {
    let dir = tempfile::tempdir().unwrap();
    let quarantine = Quarantine::open(dir.path(), 1_000).unwrap();
    assert!(quarantine.full().is_empty());
    quarantine.put(&[block(1, &[7; 900])]).unwrap();
    assert!(quarantine.full().contains("g1".parse::<GatewayName>().as_ref().unwrap()));
}

// Goal: what the store refuses can be given back: the block's bytes are kept, not only words about it.
#[test]
fn refusal_of_the_store_keeps_the_block() {
    let dir = tempfile::tempdir().unwrap();
    let options = LogOptions { free_reserve_bytes: 0, ..LogOptions::default() };
    let (mut log, _) = Log::open(dir.path(), &options).unwrap();
    let mut txn = log.begin();
    let record = NewRecord {
        kind: 1,
        gateway: "g1",
        epoch: 7,
        seq: 3,
        received_at: 11,
        meta: &[],
        bytes: b"the block",
    };
    let position = txn.append_block(&record).unwrap();
    txn.commit().unwrap();
    let quarantine = Arc::new(Quarantine::open(dir.path(), 1_000).unwrap());
    let sink = RefusedBlocks::new(Arc::clone(&quarantine), log.reader().unwrap());
    let refusal = |position| Refusal {
        code: "too_old",
        gateway: Some("g1".into()),
        position: Some(position),
        what: "block 7/3".into(),
        reason: "older than the retention".into(),
        samples: 2,
    };
    sink.refused(refusal(position));
    sink.refused(refusal(position));
    let entries = quarantine.list(None, 0, 10).unwrap();
    assert_eq!(entries.len(), 1);
    assert_eq!((entries[0].seq, entries[0].at, entries[0].samples), (3, 11, 2));
    assert_eq!(quarantine.bytes(entries[0].id).unwrap().unwrap(), b"the block");
    // Evicted meanwhile: at least the words.
    sink.refused(refusal(99));
    assert_eq!(quarantine.list(None, 0, 10).unwrap().len(), 2);
}

#[test]
fn refusal_of_the_store_is_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    let quarantine = Quarantine::open(dir.path(), 1 << 20).unwrap();
    let refusal = Refusal {
        code: "too_old",
        gateway: Some("g1".into()),
        position: Some(9),
        what: "s1/m1/u_a at 5".into(),
        reason: "older than the retention".into(),
        samples: 2,
    };
    quarantine.refused(refusal.clone());
    quarantine.refused(refusal);
    let entries = quarantine.list(None, 0, 10).unwrap();
    assert_eq!(entries.len(), 1);
    assert_eq!((entries[0].code.as_str(), entries[0].samples), ("too_old", 2));
}
