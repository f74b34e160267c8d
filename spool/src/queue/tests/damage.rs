//! Damaged, missing and foreign files, unusable disks: the spool always starts, and says what it lost.

use std::fs;
use std::path::PathBuf;

use proptest::prelude::*;

use super::*;

const BLOCKS: u64 = 60;

/// A closed spool with [`BLOCKS`] blocks of epoch 1 (10 samples each), of which 1..=20 are acked.
fn filled() -> (TempDir, PathBuf) {
    let dir = TempDir::new().unwrap();
    let (mut spool, _) = open(dir.path());
    spool.begin_epoch(1).unwrap();
    spool.put_manifest([1; 16], b"manifest").unwrap();
    for seq in 1..=BLOCKS {
        let body = vec![u8::try_from(seq).unwrap(); 2000];
        let block = NewBlock { manifest: Some([1; 16]), ..new(1, seq, &body, 10) };
        spool.append(&[block], &KeySet::new()).unwrap();
    }
    ack(&mut spool, 1, 1, 20);
    spool.flush().unwrap();
    drop(spool);
    let path = dir.path().join("spool.db");
    (dir, path)
}

/// Opens after damage; every block is its true self, or declared, or was acked.
fn check(dir: &TempDir) -> (OpenReport, u64) {
    let (mut spool, report) = open(dir.path());
    assert_eq!(report.memory, None);
    let mut read = 0;
    for seq in 1..=BLOCKS {
        match spool.get(Key { epoch: 1, seq }).unwrap() {
            Fetched::Block(b) => {
                assert_eq!(b.bytes, vec![u8::try_from(seq).unwrap(); 2000]);
                read += 1;
            }
            Fetched::Damaged => {}
            Fetched::Gone => {
                let named = spool.losses().iter().any(|g| g.from <= seq && seq <= g.to);
                // Without the state rows nobody can know that there was such a block.
                assert!(
                    named || seq <= 20 || report.lost_counters || report.set_aside.is_some(),
                    "{seq}"
                );
            }
        }
    }
    let stats = spool.stats().unwrap();
    assert!(stats.is_balanced(), "{stats:?}");
    spool.begin_epoch(2).unwrap();
    fill(&mut spool, 2, 3, 100);
    assert!(spool.stats().unwrap().is_balanced());
    (report, read)
}

#[test]
fn truncated_file_keeps_what_lies_before_the_cut_and_declares_the_rest() {
    let (dir, path) = filled();
    let size = fs::metadata(&path).unwrap().len();
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(size / 2).unwrap();
    let (report, read) = check(&dir);
    assert!(report.set_aside.is_some() && read > 10 && read < BLOCKS, "{report:?} {read}");
    assert_eq!(report.salvaged_blocks, read);
    if !report.lost_counters {
        assert_eq!(report.lost_samples, report.lost_blocks * 10);
    }
}

#[test]
fn zeroed_page_costs_only_its_own_blocks() {
    let (dir, path) = filled();
    let mut bytes = fs::read(&path).unwrap();
    bytes[20 * 4096..21 * 4096].fill(0);
    fs::write(&path, bytes).unwrap();
    let (report, read) = check(&dir);
    assert!((BLOCKS - 3..BLOCKS).contains(&read), "{report:?} {read}");
}

#[test]
fn journal_that_is_lost_or_garbled_costs_only_the_newest_blocks() {
    let dir = TempDir::new().unwrap();
    let (mut spool, _) = open(dir.path());
    spool.begin_epoch(1).unwrap();
    fill(&mut spool, 1, 20, 2000);
    for spoil in [0usize, 1, 2] {
        let copy = image(dir.path());
        let wal = copy.path().join("spool.db-wal");
        let mut bytes = fs::read(&wal).unwrap();
        let half = bytes.len() / 2;
        match spoil {
            0 => bytes.truncate(half),
            1 => bytes[half..].fill(0),
            _ => bytes.clear(),
        }
        fs::write(&wal, bytes).unwrap();
        let (mut again, report) = open(copy.path());
        assert_eq!(report.memory, None);
        assert!(again.stats().unwrap().is_balanced());
        for key in again.unacked(Order::OldestFirst, &KeySet::new(), None, 99) {
            assert!(matches!(again.get(key).unwrap(), Fetched::Block(_)));
        }
    }
}

#[test]
fn garbage_a_directory_or_nothing_in_place_of_the_file_does_not_stop_the_start() {
    let spoil: [fn(&PathBuf); 5] = [
        |p| fs::write(p, vec![0; 100_000]).unwrap(),
        |p| fs::write(p, b"a letter to the operator, longer than nothing").unwrap(),
        |p| fs::write(p, b"").unwrap(),
        |p| {
            fs::remove_file(p).unwrap();
            fs::create_dir(p).unwrap();
        },
        |p| fs::remove_file(p).unwrap(),
    ];
    for (index, spoil) in spoil.into_iter().enumerate() {
        let (dir, path) = filled();
        spoil(&path);
        let (mut spool, report) = open(dir.path());
        assert_eq!(report.memory, None);
        assert_eq!(report.set_aside.is_some(), ![2, 4].contains(&index), "{index} {report:?}");
        spool.begin_epoch(9).unwrap();
        fill(&mut spool, 9, 3, 10);
        assert!(spool.stats().unwrap().is_balanced());
    }
}

#[test]
fn directory_that_cannot_be_made_or_written_means_memory_and_an_alarm() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, b"").unwrap();
    for bad in [file.join("spool"), PathBuf::from("/proc/davy-spool"), PathBuf::from("/proc")] {
        let (mut spool, report) = open(&bad);
        assert!(report.memory.is_some(), "{}", bad.display());
        spool.begin_epoch(1).unwrap();
        fill(&mut spool, 1, 100, 4000);
        let stats = spool.stats().unwrap();
        assert!(stats.is_balanced() && stats.memory.is_some() && stats.declared > 0);
    }
}

#[test]
fn damage_met_while_running_is_salvaged_and_the_epoch_goes_on() {
    let (dir, path) = filled();
    let (mut spool, _) = open(dir.path());
    spool.begin_epoch(2).unwrap();
    fill(&mut spool, 2, 5, 2000);
    // The pages of the tables' roots and beyond are overwritten under the running program.
    drop(spool.file.conn.execute_batch("PRAGMA wal_checkpoint(TRUNCATE); PRAGMA cache_size=0;"));
    let mut bytes = fs::read(&path).unwrap();
    for page in 8..14 {
        bytes[page * 4096..(page + 1) * 4096].fill(0xa5);
    }
    fs::write(&path, bytes).unwrap();
    drop(spool.file.conn.execute_batch("PRAGMA shrink_memory"));
    for seq in 1..=BLOCKS {
        spool.get(Key { epoch: 1, seq }).unwrap();
    }
    fill(&mut spool, 2, 5, 2000);
    assert_eq!(spool.last_seq(), 10);
    assert!(spool.stats().unwrap().is_balanced());
    assert!(spool.stats().unwrap().memory.is_none());
}

#[test]
fn files_set_aside_are_bounded() {
    let dir = TempDir::new().unwrap();
    for n in 0..10 {
        fs::write(dir.path().join("spool.db"), b"not a database at all, and longer").unwrap();
        let late = SpoolOptions { now_ms: n * 1000, ..options() };
        let (spool, report) = Spool::open(dir.path(), &late).unwrap();
        assert!(report.set_aside.is_some());
        drop(spool);
    }
    let aside = fs::read_dir(dir.path())
        .unwrap()
        .filter(|e| e.as_ref().unwrap().file_name().to_string_lossy().contains("damaged-"));
    assert_eq!(aside.count(), crate::ASIDE_FILES_MAX);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn any_damage_leaves_true_blocks_and_a_balanced_account(
        hits in prop::collection::vec((0usize..400_000, any::<u8>(), 1usize..6000), 1..5)
    ) {
        let (dir, path) = filled();
        let mut bytes = fs::read(&path).unwrap();
        for (at, value, width) in hits {
            let from = at % bytes.len();
            let to = (from + width).min(bytes.len());
            bytes[from..to].fill(value);
        }
        fs::write(&path, bytes).unwrap();
        check(&dir);
    }
}

#[test]
fn a_block_that_the_disk_does_not_give_back_is_lost_and_declared() {
    // Goal: one block costs itself only, also where its row cannot even be deleted. Method: a trigger refuses the
    // deletion of one row, as a bad sector under its pages does.
    let (dir, _) = filled();
    let (mut spool, _) = open(dir.path());
    let (plain, stuck) = (Key { epoch: 1, seq: 30 }, Key { epoch: 1, seq: 40 });
    let id = spool.by_epoch(1).unwrap().id(stuck.seq);
    let refuse = format!(
        "CREATE TRIGGER stuck BEFORE DELETE ON body WHEN old.id = {id} BEGIN SELECT RAISE(ABORT, 'x'); END"
    );
    spool.file.conn.execute_batch(&refuse).unwrap();
    for key in [plain, stuck] {
        spool.lose(key).unwrap();
        assert_eq!(spool.get(key).unwrap(), Fetched::Gone);
        assert!(!spool.is_unacked(key));
    }
    let lost: Vec<_> = spool.losses().iter().map(|g| (g.from, g.to, g.samples, g.loss)).collect();
    assert_eq!(lost, [(30, 30, 10, Loss::Unreadable), (40, 40, 10, Loss::Unreadable)]);
    // An acked one is no loss, one that is not held nothing at all.
    spool.lose(Key { epoch: 1, seq: 5 }).unwrap();
    spool.lose(plain).unwrap();
    spool.lose(Key { epoch: 9, seq: 1 }).unwrap();
    let stats = spool.stats().unwrap();
    assert!(stats.is_balanced(), "{stats:?}");
    assert_eq!((stats.declared, stats.stored, stats.blocks), (20, 200, BLOCKS - 3));
    drop(spool);
    let (mut again, report) = open(dir.path());
    assert_eq!((report.set_aside, again.losses().len()), (None, 2));
    assert_eq!(again.get(stuck).unwrap(), Fetched::Gone);
    again.lose(Key { epoch: 1, seq: 41 }).unwrap();
    let stats = again.stats().unwrap();
    assert!(stats.is_balanced() && stats.declared == 30, "{stats:?}");
}

// Goal: SQLite takes a journal whose end is damaged for a shorter one, and what was committed after it is gone without a
// word: the spool says what is gone. Method: a kill, and the last frames of the journal that lies on the disk are damaged.
#[test]
fn a_torn_journal_is_noticed_and_what_it_cost_is_declared() {
    for marked in [true, false] {
        let dir = TempDir::new().unwrap();
        let (mut spool, _) = open(dir.path());
        spool.begin_epoch(1).unwrap();
        fill(&mut spool, 1, 6, 300);
        spool.flush().unwrap();
        // A kill at this instant; then the disk turns out not to have what it had confirmed.
        let copy = image(dir.path());
        let journal = copy.path().join("spool.db-wal");
        let size = fs::metadata(&journal).unwrap().len();
        let file = fs::OpenOptions::new().write(true).open(&journal).unwrap();
        file.set_len(size - 3 * 4_096).unwrap();
        if !marked {
            fs::remove_file(copy.path().join("spool.mark")).unwrap();
        }
        let (mut spool, report) = open(copy.path());
        let last = spool.state.epochs.values().map(|e| e.held.max()).max().unwrap();
        assert!(last < 6, "the journal was cut: {last}");
        if !marked {
            assert_eq!(report.lost_blocks, 0, "this is what the mark is for");
            continue;
        }
        assert_eq!((report.lost_blocks, report.lost_samples), (6 - last, 10 * (6 - last)));
        let lost = spool.losses()[0];
        assert_eq!((lost.epoch, lost.from, lost.to, lost.loss), (1, last + 1, 6, Loss::Unreadable));
        assert!(spool.stats().unwrap().is_balanced());
        assert_eq!(spool.stats().unwrap().polled, 60);
        assert_eq!(spool.begin_epoch(2).unwrap(), Some(Link { epoch: 1, last: 6 }));
        fill(&mut spool, 2, 2, 100);
        // Not again at the next start: it waits to be declared once.
        drop(spool);
        let (spool, report) = open(copy.path());
        assert_eq!(report.lost_blocks, 0);
        assert_eq!(spool.losses().len(), 1);
    }
}

// Goal: with the whole database gone, and only the mark left, the epoch is known and declared; one that was forgotten since
// is not. Method: the file is deleted; then starts that store nothing.
#[test]
fn a_lost_file_is_declared_and_a_forgotten_epoch_is_not() {
    let dir = TempDir::new().unwrap();
    let (mut spool, _) = open(dir.path());
    spool.begin_epoch(1).unwrap();
    fill(&mut spool, 1, 4, 100);
    spool.flush().unwrap();
    drop(spool);
    fs::remove_file(dir.path().join("spool.db")).unwrap();
    let (mut spool, report) = open(dir.path());
    assert_eq!((report.lost_blocks, report.lost_samples), (4, 40));
    assert!(spool.stats().unwrap().is_balanced());
    spool.begin_epoch(2).unwrap();
    let gap = spool.losses().to_vec();
    let block = NewBlock { gap: &gap, samples: 0, ..new(2, 1, b"gap", 0) };
    spool.append(&[block], &KeySet::new()).unwrap();
    fill(&mut spool, 2, 3, 100);
    drop(spool);
    for epoch in 3..8 {
        let (mut spool, report) = open(dir.path());
        assert_eq!(report.lost_blocks, 0);
        assert!(spool.losses().is_empty());
        spool.begin_epoch(epoch).unwrap();
        fill(&mut spool, epoch, 1, 100);
        ack(&mut spool, epoch, 1, 1);
    }
}

// Goal: a disk that takes blocks again is used again: what was held in memory is on it, and the account is one.
#[test]
fn blocks_held_in_memory_go_back_to_the_disk() {
    let dir = TempDir::new().unwrap();
    let (mut spool, _) = open(dir.path());
    assert!(!spool.go_back().unwrap(), "they are on it");
    spool.begin_epoch(1).unwrap();
    spool.put_manifest([1; 16], b"manifest").unwrap();
    for seq in 1..=5 {
        let block = NewBlock { manifest: Some([1; 16]), ..new(1, seq, &[7; 300], 10) };
        spool.append(&[block], &KeySet::new()).unwrap();
    }
    spool.fall_back("disk full").unwrap();
    spool.put_manifest([1; 16], b"manifest").unwrap();
    for seq in 6..=9 {
        let block = NewBlock { manifest: Some([1; 16]), ..new(1, seq, &[8; 300], 10) };
        spool.append(&[block], &KeySet::new()).unwrap();
    }
    ack(&mut spool, 1, 2, 7);
    spool.lose(Key { epoch: 1, seq: 1 }).unwrap();
    let before = spool.stats().unwrap();
    assert!(spool.go_back().unwrap());
    let after = spool.stats().unwrap();
    assert_eq!(after.memory, None);
    assert_eq!((after.blocks, after.unacked_blocks, after.polled), (8, 2, 90));
    assert_eq!((after.backlog, after.stored), (before.backlog, before.stored));
    fill(&mut spool, 1, 1, 100);
    let killed = image(dir.path());
    drop(spool);
    for at in [dir.path(), killed.path()] {
        let (mut spool, report) = open(at);
        assert_eq!((report.lost_blocks, report.set_aside), (0, None));
        assert!(spool.stats().unwrap().is_balanced());
        assert_eq!(spool.backlog(), [(1, vec![(8, 10)])]);
        for seq in 2..=10 {
            assert!(
                matches!(spool.get(Key { epoch: 1, seq }).unwrap(), Fetched::Block(_)),
                "{seq}"
            );
        }
        assert_eq!(spool.get(Key { epoch: 1, seq: 1 }).unwrap(), Fetched::Gone);
        assert_eq!(spool.losses().len(), 1);
        assert_eq!(spool.manifest(&[1; 16]).unwrap().as_deref(), Some(&b"manifest"[..]));
    }
}
