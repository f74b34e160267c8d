//! The quarantine keeps what it is given, once, says when it is full, and takes decisions once.

use std::sync::Arc;

use spool::{Log, LogOptions, NewRecord};
use wire::GatewayName;

use super::desk::Outcome;
use super::{
    By, Desk, Entry, EntryState, Filter, GATEWAY_ENTRIES_MAX, Logged, Quarantine, RefusedBlocks,
};
use crate::account::Role;
use crate::receive::Quarantined;
use crate::store::{Refusal, RefusalSink as _};

const BY: By<'_> = By { who: "li", at: 77, reason: "checked on site" };

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

fn all(quarantine: &Quarantine) -> Vec<Entry> {
    quarantine.list(&Filter::default(), 1_000).unwrap()
}

fn is_full(quarantine: &Quarantine) -> bool {
    quarantine.full().contains("g1".parse::<GatewayName>().as_ref().unwrap())
}

#[test]
fn entry_is_kept_once_and_given_back() {
    let dir = tempfile::tempdir().unwrap();
    let quarantine = Quarantine::open(dir.path(), 1 << 20).unwrap();
    quarantine.put(&[block(1, b"a"), block(2, b"b")]).unwrap();
    quarantine.put(&[block(1, b"a"), block(1, b"other")]).unwrap();
    drop(quarantine);
    let quarantine = Quarantine::open(dir.path(), 1 << 20).unwrap();
    let entries = all(&quarantine);
    assert_eq!(entries.len(), 3);
    assert_eq!(quarantine.open_entries(), 3);
    assert_eq!((entries[2].seq, entries[2].epoch.as_str()), (1, "ffffffffffffffff"));
    assert_eq!(entries[2].rows, [3, 70_000]);
    let oldest = entries[2].id;
    assert_eq!(quarantine.get(oldest).unwrap().unwrap().1, b"a");
    assert_eq!(quarantine.discard(&[oldest, 99], BY).unwrap(), [oldest]);
    assert!(quarantine.discard(&[oldest], BY).unwrap().is_empty());
    assert!(quarantine.request(&[oldest], None, BY).unwrap().is_empty(), "what is gone is gone");
    let (closed, bytes) = quarantine.get(oldest).unwrap().unwrap();
    assert_eq!((closed.state, bytes.len()), (EntryState::Discarded, 0));
    let done = closed.done.unwrap();
    assert_eq!(
        (done.by.as_str(), done.what.as_str(), done.reason.as_str()),
        ("li", "discard", BY.reason)
    );
    assert_eq!(quarantine.open_entries(), 2);
}

#[test]
fn list_takes_every_filter() {
    let dir = tempfile::tempdir().unwrap();
    let quarantine = Quarantine::open(dir.path(), 1 << 20).unwrap();
    let other = Quarantined {
        gateway: GatewayName::new("g2").unwrap(),
        code: "key_reuse",
        at: 9,
        ..block(3, b"c")
    };
    quarantine.put(&[block(1, b"a"), block(2, b"b"), other]).unwrap();
    quarantine.discard(&[1], BY).unwrap();
    let none = Filter::default;
    let seqs = |filter: Filter| -> Vec<u64> {
        quarantine.list(&filter, 10).unwrap().iter().map(|e| e.seq).collect()
    };
    assert_eq!(seqs(none()), [3, 2, 1]);
    assert_eq!(seqs(Filter { gateway: Some("g1".into()), ..none() }), [2, 1]);
    assert_eq!(seqs(Filter { code: Some("key_reuse".into()), ..none() }), [3]);
    assert_eq!(seqs(Filter { state: Some(EntryState::Open), ..none() }), [3, 2]);
    assert_eq!(seqs(Filter { from: Some(9), ..none() }), [3]);
    assert_eq!(seqs(Filter { to: Some(9), ..none() }), [2, 1]);
    assert_eq!(seqs(Filter { before: Some(2), ..none() }), [1]);
}

#[test]
fn gateway_beyond_its_bytes_is_full_until_somebody_makes_room() {
    let dir = tempfile::tempdir().unwrap();
    let quarantine = Quarantine::open(dir.path(), 1_000).unwrap();
    assert!(quarantine.full().is_empty());
    quarantine.put(&[block(1, &[7; 900])]).unwrap();
    assert!(is_full(&quarantine));
    // By a command, in another process: another connection to the same file.
    let command = Quarantine::open(dir.path(), 1_000).unwrap();
    command.discard(&[1], BY).unwrap();
    assert!(quarantine.full().is_empty(), "the service sees what the command did");
}

// Goal: the bound in entries is reached with small ones; beyond it nothing is taken, others are not touched.
#[test]
fn gateway_beyond_its_entries_is_full() {
    let dir = tempfile::tempdir().unwrap();
    let quarantine = Arc::new(Quarantine::open(dir.path(), u64::MAX).unwrap());
    let blocks: Vec<_> = (1..=GATEWAY_ENTRIES_MAX).map(|seq| block(seq, b"x")).collect();
    quarantine.put(&blocks[1..]).unwrap();
    assert!(!is_full(&quarantine));
    quarantine.put(&blocks[..1]).unwrap();
    assert!(is_full(&quarantine));
    assert_eq!(quarantine.full().len(), 1, "its own share alone");
    let refusal = Refusal {
        code: "too_old",
        gateway: Some("g1".into()),
        position: None,
        what: "s1/m1/u_a at 5".into(),
        reason: "older than the retention".into(),
        samples: 2,
    };
    quarantine.refused(refusal.clone());
    assert_eq!(quarantine.open_entries(), GATEWAY_ENTRIES_MAX);
    quarantine.refused(Refusal { gateway: Some("g2".into()), ..refusal });
    assert_eq!(quarantine.open_entries(), GATEWAY_ENTRIES_MAX + 1);
}

// Goal: a file of the version before acts is taken over with its entries.
#[test]
fn file_of_an_older_version_is_taken_over() {
    let dir = tempfile::tempdir().unwrap();
    let file = rusqlite::Connection::open(dir.path().join("quarantine.db")).unwrap();
    file.execute_batch(
        "CREATE TABLE entry(
            id INTEGER PRIMARY KEY AUTOINCREMENT, gateway TEXT NOT NULL, epoch INTEGER NOT NULL, seq INTEGER NOT NULL,
            code TEXT NOT NULL, detail TEXT NOT NULL, rows BLOB NOT NULL, sha BLOB NOT NULL, bytes BLOB NOT NULL,
            samples INTEGER NOT NULL, at INTEGER NOT NULL, state TEXT NOT NULL DEFAULT 'open',
            UNIQUE(gateway, epoch, seq, code, sha));
         CREATE INDEX entry_open ON entry(state, id);
         INSERT INTO entry(gateway, epoch, seq, code, detail, rows, sha, bytes, samples, at)
            VALUES('g1', 1, 2, 'future', 'ahead', x'', x'00', x'0102', 0, 5);",
    )
    .unwrap();
    drop(file);
    let quarantine = Quarantine::open(dir.path(), 1 << 20).unwrap();
    assert_eq!(all(&quarantine)[0].seq, 2);
    assert_eq!(quarantine.request(&[1], None, BY).unwrap(), [1]);
}

fn record(log: &mut Log) -> u64 {
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
    position
}

// Goal: what the store refuses can be given back: the block's bytes are kept, not only words about it.
#[test]
fn refusal_of_the_store_keeps_the_block() {
    let dir = tempfile::tempdir().unwrap();
    let options = LogOptions { free_reserve_bytes: 0, ..LogOptions::default() };
    let (mut log, _) = Log::open(dir.path(), &options).unwrap();
    let position = record(&mut log);
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
    let entries = all(&quarantine);
    assert_eq!(entries.len(), 1);
    assert_eq!((entries[0].seq, entries[0].at, entries[0].samples), (3, 11, 2));
    assert_eq!(quarantine.get(entries[0].id).unwrap().unwrap().1, b"the block");
    // Evicted meanwhile: at least the words.
    sink.refused(refusal(99));
    assert_eq!(all(&quarantine).len(), 2);
}

// Goal: every step of a replay happens once, and what the log says stands.
#[test]
fn a_replay_goes_its_way_once() {
    let dir = tempfile::tempdir().unwrap();
    let quarantine = Quarantine::open(dir.path(), 1 << 20).unwrap();
    quarantine.put(&[block(1, b"a"), block(2, b"b")]).unwrap();
    assert_eq!(quarantine.request(&[1, 1], Some(-5), BY).unwrap(), [1]);
    assert!(quarantine.request(&[1], Some(7), BY).unwrap().is_empty(), "asked already");
    assert!(quarantine.discard(&[1], BY).unwrap().is_empty(), "no longer open");
    let asked = quarantine.requested(10).unwrap();
    assert_eq!((asked.len(), asked[0].0.id, asked[0].0.shift_ms), (1, 1, Some(-5)));
    assert_eq!(asked[0].1, b"a");
    let replay = Logged { entry: 1, sha: spool::sha16(b"a"), position: 40 };
    quarantine.logged(&[replay]).unwrap();
    assert!(quarantine.stored(39).unwrap().is_empty());
    assert_eq!(quarantine.stored(40).unwrap(), [1]);
    let (entry, bytes) = quarantine.get(1).unwrap().unwrap();
    assert_eq!((entry.state, bytes.len(), quarantine.open_entries()), (EntryState::Replayed, 0, 1));
    assert_eq!(quarantine.reconcile(&[replay]).unwrap(), [replay], "the log may forget it");
    assert_eq!(quarantine.get(1).unwrap().unwrap().0.state, EntryState::Replayed);
}

// Goal: after a kill or a restored log the entries say what the log says.
#[test]
fn entries_follow_the_log_after_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let quarantine = Quarantine::open(dir.path(), 1 << 20).unwrap();
    quarantine.put(&[block(1, b"a"), block(2, b"b"), block(3, b"c")]).unwrap();
    quarantine.request(&[1, 2, 3], None, BY).unwrap();
    let replay =
        |entry, bytes: &[u8], position| Logged { entry, sha: spool::sha16(bytes), position };
    // 1 was logged just before the kill; 2 is noted as logged and the log lost it; 3 is another block in the log's row.
    quarantine.logged(&[replay(2, b"b", 41)]).unwrap();
    let foreign = replay(3, b"z", 42);
    assert_eq!(quarantine.reconcile(&[replay(1, b"a", 40), foreign]).unwrap(), [foreign]);
    let states: Vec<_> = all(&quarantine).iter().rev().map(|e| (e.state, e.position)).collect();
    let requested = (EntryState::Requested, None);
    assert_eq!(states, [(EntryState::Logged, Some(40)), requested, requested]);
    // A record that was damaged before the store had it is given back once more.
    let lost = replay(1, b"a", 0);
    assert_eq!(quarantine.reconcile(&[lost]).unwrap(), [lost]);
    assert_eq!(quarantine.get(1).unwrap().unwrap().0.state, EntryState::Requested);
}

fn refused(outcomes: &[Outcome]) -> Vec<(i64, Option<&str>)> {
    outcomes.iter().map(|o| (o.id, o.refused.as_deref())).collect()
}

// Goal: who may do what, entry by entry; what cannot be read is never given back and says so.
#[test]
fn the_desk_refuses_entry_by_entry() {
    let dir = tempfile::tempdir().unwrap();
    let quarantine = Arc::new(Quarantine::open(dir.path(), 1 << 20).unwrap());
    let malformed = Quarantined { code: "protobuf", rows: Vec::new(), ..block(1, b"\xff\xff") };
    let reused = Quarantined { code: "key_reuse", ..block(2, b"b") };
    quarantine.put(&[malformed, reused]).unwrap();
    let desk = Desk::new(Arc::clone(&quarantine), None);
    let outcomes = desk.replay(&[1, 2, 3, 1], None, Role::Administrator, BY).unwrap();
    let wanted = [(1, Some("unreadable")), (2, Some("role")), (3, Some("not_found"))];
    assert_eq!(refused(&outcomes), wanted);
    let text = outcomes[0].text.clone().unwrap();
    assert!(text.zh.contains("永远不能补录") && text.en.contains("never be replayed"), "{text:?}");
    let shown = desk.show(1, 9).unwrap().unwrap();
    assert_eq!(shown.can.refused_code.as_deref(), Some("unreadable"));
    assert_eq!(shown.content.unwrap().kind, "unreadable");
    let duty = desk.discard(&[1], Role::Duty, BY).unwrap();
    assert_eq!(refused(&duty), [(1, Some("role"))]);
    let outcomes = desk.discard(&[1], Role::Administrator, BY).unwrap();
    assert_eq!((outcomes[0].state, &outcomes[0].refused), (Some(EntryState::Discarded), &None));
    let again = desk.discard(&[1], Role::Officer, BY).unwrap();
    assert_eq!(refused(&again), [(1, Some("not_open"))]);
    assert_eq!(desk.bytes(1).unwrap(), None);
}

// Goal: the audit journal gets every act, also one whose program was killed before it could say so.
#[tokio::test]
async fn every_act_reaches_the_audit_journal() {
    let dir = tempfile::tempdir().unwrap();
    let state = crate::state::State::open(&dir.path().join("state.db")).await.unwrap();
    let quarantine = Arc::new(Quarantine::open(dir.path(), 1 << 20).unwrap());
    quarantine.put(&[block(1, b"a"), block(2, b"b")]).unwrap();
    quarantine.discard(&[1], BY).unwrap();
    quarantine.request(&[2], Some(-60_000), BY).unwrap();
    drop(quarantine);
    let quarantine = Arc::new(Quarantine::open(dir.path(), 1 << 20).unwrap());
    let desk = Desk::new(quarantine, None);
    desk.audit(&state).await.unwrap();
    desk.audit(&state).await.unwrap();
    let rows = state.audit_rows(None, 10).await.unwrap();
    let acts: Vec<_> = rows.iter().map(|r| (r.action.as_str(), r.actor.as_str(), r.at)).collect();
    assert_eq!(acts, [("quarantine.replay", "li", 77), ("quarantine.discard", "li", 77)]);
    assert!(
        rows[0].detail.contains("-60000") && rows[0].detail.contains("2 g1 "),
        "{}",
        rows[0].detail
    );
    assert!(rows[1].detail.contains(BY.reason), "{}", rows[1].detail);
}
