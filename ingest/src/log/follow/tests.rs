//! What a cursor is given at once is bounded in memory, from the log and from the tail.

use std::sync::Arc;
use std::time::Duration;

use spool::{Log, LogOptions, NewRecord};
use wire::block::{Body, Clock};
use wire::columns::Builder;
use wire::manifest::{Point, Reply};
use wire::{Block, Epoch, GatewayName, Manifest, Mark};

use super::super::record::{BlockMeta, kind};
use super::{BATCH_SAMPLES_MAX, Follower, Shared};
use crate::log::Lineage;

/// Points of the one device.
const POINTS: usize = 250;
/// Rows of a block: with equal values a block of 5,000 samples is some hundred bytes.
const ROWS: i64 = 20;
/// Blocks: more samples than two batches may hold.
const BLOCKS: u64 = 900;

fn manifest() -> Manifest {
    let point = |i: usize| Point { quantity: format!("x_{i}"), unit: String::new() };
    let reply = Reply {
        device: "m".to_owned(),
        period_ms: 1_000,
        points: (0..POINTS).map(point).collect(),
        profile: "p".to_owned(),
        profile_version: "1".to_owned(),
    };
    let gateway = GatewayName::new("gw-1").unwrap();
    Manifest { gateway, site: "S".to_owned(), replies: vec![reply], replaces: None }
}

/// A log with a manifest and the blocks of a plant where nothing changes.
fn quiet_plant(folder: &std::path::Path) -> Log {
    let (mut log, _) = Log::open(folder, &LogOptions::default()).unwrap();
    let manifest = manifest();
    let key = wire::manifest::key(&manifest.encode());
    let mut builder = Builder::new(&manifest, key);
    let mut txn = log.begin();
    txn.put_manifest("gw-1", key.0, &manifest.encode());
    let meta = BlockMeta::default().encode();
    for seq in 1..=BLOCKS {
        for row in 0..ROWS {
            builder.push(0, row, &[(1.0, Mark::GOOD); POINTS]).unwrap();
        }
        let bytes = Block {
            gateway: manifest.gateway.clone(),
            epoch: Epoch(1),
            seq,
            link: None,
            clock: Clock::default(),
            fact_revision: 0,
            list: None,
            body: Body::Readings(builder.take()),
        }
        .encode();
        assert!(bytes.len() < 5_000, "{}", bytes.len());
        let (gateway, meta) = ("gw-1", meta.as_slice());
        let (kind, epoch, received_at) = (kind::BLOCK, 1, 0);
        let bytes = &bytes;
        let record = NewRecord { kind, gateway, epoch, seq, received_at, meta, bytes };
        txn.append_block(&record).unwrap();
    }
    txn.commit().unwrap();
    log
}

/// Follows to the end; the samples of each batch. Every position comes once, in order.
fn follow(follower: &mut Follower) -> Vec<usize> {
    let (mut at, mut batches) = (0, Vec::new());
    loop {
        let batch = follower.next(at, Duration::ZERO).unwrap();
        if batch.up_to == at {
            return batches;
        }
        let positions: Vec<u64> = batch.records.iter().map(|r| r.position).collect();
        assert_eq!(positions, (at + 1..=batch.up_to).collect::<Vec<_>>());
        batches.push(batch.records.iter().map(|r| r.sample_count()).sum());
        at = batch.up_to;
    }
}

#[test]
fn batch_of_blocks_that_compress_well_is_bounded_by_its_samples() {
    let folder = tempfile::tempdir().unwrap();
    let log = quiet_plant(folder.path());
    let block = POINTS * usize::try_from(ROWS).unwrap();
    let all = block * usize::try_from(BLOCKS).unwrap();
    let lineage = Lineage::default;
    let shared = Arc::new(Shared::new(BLOCKS, lineage(), 0));
    let mut behind = Follower::new(log.reader().unwrap(), shared);
    // One that keeps up finds the same in the tail.
    let shared = Arc::new(Shared::new(0, lineage(), usize::MAX));
    shared.tail.push(behind.next(0, Duration::ZERO).unwrap().records);
    let mut after = shared.tail.head();
    while after < BLOCKS {
        let batch = behind.next(after, Duration::ZERO).unwrap();
        after = batch.up_to;
        shared.tail.push(batch.records);
    }
    let mut near = Follower::new(log.reader().unwrap(), shared);
    for follower in [&mut behind, &mut near] {
        let batches = follow(follower);
        assert_eq!(batches.iter().sum::<usize>(), all);
        assert!(batches.len() >= 3, "{batches:?}");
        assert!(batches.iter().all(|n| *n < BATCH_SAMPLES_MAX + block), "{batches:?}");
    }
}
