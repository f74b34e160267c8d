//! Damaged, missing and foreign files: the log always opens, and says what it lost.

use std::fs;
use std::path::PathBuf;

use super::*;

const BLOCKS: u64 = 400;

/// A closed log with [`BLOCKS`] blocks of 3 kB, its journal written back.
fn filled() -> (TempDir, PathBuf) {
    let dir = TempDir::new().unwrap();
    let (mut log, _) = open(&dir);
    for part in 0..BLOCKS / 20 {
        let mut txn = log.begin();
        for seq in part * 20 + 1..=part * 20 + 20 {
            let body = vec![u8::try_from(seq % 251).unwrap(); 3000];
            txn.append_block(&block("gw", 1, seq, &body)).unwrap();
        }
        txn.put(b"k", Some(&[u8::try_from(part).unwrap()]));
        txn.commit().unwrap();
    }
    drop(log);
    let path = dir.path().join("log.db");
    (dir, path)
}

/// Opens after damage: every record is a true one, and every block that was lost is unlogged.
fn check(dir: &TempDir) -> (Log, LogOpenReport, u64) {
    let (log, report) = open(dir);
    let held = records(&log.reader().unwrap());
    for r in &held {
        assert_eq!(r.bytes, vec![u8::try_from(r.seq % 251).unwrap(); 3000]);
        assert!(log.epoch("gw", 1).unwrap().logged.contains(r.seq));
    }
    let logged = log.epoch("gw", 1).map_or(0, |s| s.logged.count());
    assert_eq!(logged, held.len() as u64, "a block is acked that is not there");
    let count = held.len() as u64;
    // It goes on from there, at a position that was never used.
    let mut log = log;
    let mut txn = log.begin();
    let at = txn.append(&block("gw", 2, 1, b"new"));
    assert!(at > held.last().map_or(0, |r| r.position));
    txn.commit().unwrap();
    (log, report, count)
}

#[test]
fn truncated_file_keeps_what_lies_before_the_cut() {
    let (dir, path) = filled();
    let size = fs::metadata(&path).unwrap().len();
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(size / 2).unwrap();
    let (_, report, count) = check(&dir);
    assert!(report.set_aside.is_some());
    assert!(count > BLOCKS / 4 && count < BLOCKS, "{count} of {BLOCKS}");
    assert_eq!(report.salvaged_records, count);
}

#[test]
fn zeroed_pages_cost_only_their_own_rows() {
    let (dir, path) = filled();
    let mut bytes = fs::read(&path).unwrap();
    for page in [40, 41, 120] {
        bytes[page * 4096..(page + 1) * 4096].fill(0);
    }
    fs::write(&path, bytes).unwrap();
    let (_, report, count) = check(&dir);
    assert!((BLOCKS - 20..BLOCKS).contains(&count), "{count} of {BLOCKS}");
    assert_eq!(report.lost_blocks, BLOCKS - count);
}

#[test]
fn flipped_bit_in_a_record_is_seen_when_read_and_the_block_asked_for_again() {
    let (dir, path) = filled();
    let mut bytes = fs::read(&path).unwrap();
    // 100 bytes of 0xC8 in a row lie only inside the body of block 200.
    let at = bytes.windows(100).position(|w| w.iter().all(|b| *b == 200)).unwrap();
    bytes[at + 50] ^= 4;
    fs::write(&path, bytes).unwrap();
    let (mut log, report) = open(&dir);
    assert_eq!(report.set_aside, None);
    let reader = log.reader().unwrap();
    let all = reader.read_from(0, usize::MAX, &[]).unwrap();
    let bad: Vec<u64> = all
        .iter()
        .filter_map(|e| if let Entry::Damaged { position } = e { Some(*position) } else { None })
        .collect();
    assert_eq!(bad, [200]);
    let mut txn = log.begin();
    txn.discard(200).unwrap();
    txn.commit().unwrap();
    assert!(!log.epoch("gw", 1).unwrap().logged.contains(200));
    assert_eq!(log.usage("gw").blocks, BLOCKS - 1);
    assert_eq!(records(&reader).len() as u64, BLOCKS - 1);
}

#[test]
fn garbage_a_directory_or_nothing_in_place_of_the_file_does_not_stop_the_start() {
    let spoil: [fn(&PathBuf); 5] = [
        |p| fs::write(p, vec![0; 100_000]).unwrap(),
        |p| fs::write(p, b"this is not a database, it is a letter to the operator").unwrap(),
        |p| fs::write(p, b"").unwrap(),
        |p| {
            fs::remove_file(p).unwrap();
            fs::create_dir(p).unwrap();
        },
        |p| fs::remove_file(p).unwrap(),
    ];
    for spoil in spoil {
        let (dir, path) = filled();
        spoil(&path);
        let (_, _, count) = check(&dir);
        assert_eq!(count, 0);
    }
}

#[test]
fn salvage_that_was_killed_is_done_again() {
    let (dir, path) = filled();
    // The state after a kill between setting aside and copying: marker, set-aside file, empty new one.
    fs::rename(&path, dir.path().join("log.db.damaged-19700101T000000Z")).unwrap();
    fs::write(dir.path().join("log.db.suspect"), "log.db.damaged-19700101T000000Z").unwrap();
    fs::write(&path, b"").unwrap();
    let (_, report, count) = check(&dir);
    assert_eq!((count, report.lost_blocks, report.lost_sets), (BLOCKS, 0, false));
    assert!(!dir.path().join("log.db.suspect").exists());
}

#[test]
fn file_of_another_program_is_set_aside_untouched() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("log.db");
    let conn = rusqlite::Connection::open(&path).unwrap();
    conn.execute_batch("CREATE TABLE letters(x); INSERT INTO letters VALUES(1);").unwrap();
    drop(conn);
    let (_log, report) = open(&dir);
    let (aside, _) = report.set_aside.unwrap();
    let conn = rusqlite::Connection::open(aside).unwrap();
    let n: i64 = conn.query_row("SELECT count(*) FROM letters", [], |r| r.get(0)).unwrap();
    assert_eq!(n, 1);
}

// Goal: a tree that leads to one page by two ways keeps nobody from starting. Method: damage that was found to do that.
#[test]
fn a_record_that_is_met_twice_is_kept_once() {
    let (dir, path) = filled();
    let mut bytes = fs::read(&path).unwrap();
    bytes[114_692..114_692 + 4_093].fill(8);
    fs::write(&path, bytes).unwrap();
    check(&dir);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn any_damage_leaves_true_records_and_honest_sets(
        hits in prop::collection::vec((0usize..1_500_000, any::<u8>(), 1usize..6000), 1..6)
    ) {
        let (dir, path) = filled();
        let mut bytes = fs::read(&path).unwrap();
        for (at, value, width) in hits {
            let from = at % bytes.len();
            let to = (from + width).min(bytes.len());
            bytes[from..to].fill(value);
        }
        fs::write(&path, bytes).unwrap();
        let (mut log, _) = open(&dir);
        // Rows that only fail when read are discarded as ingest would.
        let reader = log.reader();
        if let Ok(all) = reader.unwrap().read_from(0, usize::MAX, &[]) {
            let mut txn = log.begin();
            for entry in &all {
                if let Entry::Damaged { position } = entry {
                    txn.discard(*position).unwrap();
                }
            }
            txn.commit().unwrap();
        }
        drop(log);
        check(&dir);
    }
}
