//! Backup and restore: the log with the snapshot that belongs to it, and a journal that goes back with both.

use std::path::Path;

use super::bench::{BASE, Bench, run};
use crate::backup::{self, BackupError, Wishes};
use crate::journal::Act;
use crate::log::record::{CentreRecord, GoneSpan};

const REPLACE: Wishes = Wishes { replace: true, with_state: false };

fn lel(second: i64) -> f64 {
    if (30..60).contains(&second) || second >= 100 { 60.0 } else { 3.0 }
}

/// A plant that ran for 90 s, its cursor at the head.
fn running() -> Bench {
    let mut bench = Bench::new();
    bench.chain(7, 0);
    go_on(&mut bench, 0..90);
    bench
}

fn go_on(bench: &mut Bench, seconds: std::ops::Range<i64>) {
    for second in seconds {
        bench.block(7, second, lel(second), second);
        bench.tick(second);
        bench.set_clock(second);
        if second % 45 == 44 {
            run(&mut bench.cursor());
        }
    }
    run(&mut bench.cursor());
}

fn take(bench: &Bench, folder: &Path) -> Result<backup::Manifest, BackupError> {
    let mut said = Vec::new();
    bench.runtime.block_on(backup::take(&bench.paths(), folder, 5, &mut said))
}

fn put_back(bench: &mut Bench, folder: &Path, wishes: Wishes) -> Result<String, BackupError> {
    let mut said = Vec::new();
    let done = bench
        .stand_still(async |paths| backup::restore(&paths, folder, wishes, 9, &mut said).await);
    done.map(|()| String::from_utf8(said).unwrap())
}

// Goal (design §4, §10.7): after a restore the evaluators and the verdict journal stand at the backup; what comes again is
// judged as before, the journal is the one of the log, and nobody is paged twice. Method: a leak after the backup.
#[test]
fn the_journal_goes_back_with_the_log_and_no_page_is_repeated() {
    let mut bench = running();
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("b");
    let (lineage, at_backup) = (bench.lineage(), bench.verdict_lines());
    let manifest = take(&bench, &target).unwrap();
    assert_eq!(manifest.log.last, bench.log.last_position());
    assert_eq!(manifest.evaluators.len(), 2, "{:?}", manifest.evaluators);
    go_on(&mut bench, 90..140);
    let (after, pages) = (bench.verdict_lines(), bench.pages());
    assert!(after.len() > at_backup.len());
    assert_eq!(pages.len(), 2, "{pages:?}");
    let said = put_back(&mut bench, &target, REPLACE).unwrap();
    assert!(said.contains("the state database stays"), "{said}");
    assert_eq!(bench.log.last_position(), manifest.log.last);
    bench.start_after(lineage);
    run(&mut bench.cursor());
    assert_eq!(bench.verdict_lines(), at_backup, "the journal stands where the log stands");
    // The gateway sends again what it holds.
    go_on(&mut bench, 90..140);
    assert_eq!(bench.verdict_lines(), after);
    assert_eq!(bench.replayed(), after);
    assert_eq!(bench.pages(), pages, "nothing was told again");
}

// Goal: what was judged after the newest snapshot of all goes back too. Method: a leak within the interval of two snapshots,
// right after the backup.
#[test]
fn the_journal_goes_back_where_no_snapshot_came_after_the_backup() {
    let mut bench = Bench::new();
    bench.chain(7, 0);
    let shared = bench.shared();
    let mut cursor = bench.cursor_on(std::sync::Arc::clone(&shared));
    for second in 0..60 {
        bench.block(7, second, lel(second), second);
        bench.tick_told(&shared, second);
        bench.set_clock(second.min(25));
        run(&mut cursor);
        if second == 27 {
            bench.back_up();
        }
    }
    drop(cursor);
    assert!(!bench.verdict_lines().is_empty());
    bench.restore();
    run(&mut bench.cursor());
    assert_eq!(bench.verdict_lines(), [""; 0], "the journal stands where the log stands");
}

// Goal: with the state database gone as well the backup brings its own, and the centre goes on from there.
#[test]
fn a_lost_state_database_comes_back_with_the_log() {
    let mut bench = running();
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("b");
    let (lineage, at_backup) = (bench.lineage(), bench.verdict_lines());
    take(&bench, &target).unwrap();
    go_on(&mut bench, 90..140);
    let after = bench.verdict_lines();
    let wishes = Wishes { replace: true, with_state: true };
    let said = put_back(&mut bench, &target, wishes).unwrap();
    assert!(said.contains("the state database is the backup's"), "{said}");
    let aside = bench.paths().root.join("state.db.before-restore-9");
    assert!(aside.exists(), "nothing is deleted");
    assert_eq!(bench.verdict_lines(), at_backup);
    bench.start_after(lineage);
    go_on(&mut bench, 90..140);
    assert_eq!(bench.verdict_lines(), after);
    assert_eq!(bench.replayed(), after);
}

// Goal: a backup never touches what is there, a restore neither without being told; what is damaged or of another centre is
// refused before anything is changed.
#[test]
fn what_is_there_is_not_touched_and_what_is_damaged_is_refused() {
    let mut bench = running();
    let act = Act { at: 1, actor: "cli", action: "test", subject: "" };
    bench.runtime.block_on(bench.state.audit(act, &())).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("b");
    take(&bench, &target).unwrap();
    assert!(matches!(take(&bench, &target), Err(BackupError::Exists { .. })));
    let head = bench.log.last_position();
    let refused = put_back(&mut bench, &target, Wishes::default()).unwrap_err();
    assert!(matches!(refused, BackupError::InTheWay { .. }), "{refused}");
    assert!(refused.to_string().contains("--replace"));
    let refused = put_back(&mut bench, folder.path(), REPLACE).unwrap_err();
    assert!(matches!(refused, BackupError::NoBackup { .. }), "{refused}");
    let mut other = running();
    let refused = put_back(&mut other, &target, REPLACE).unwrap_err();
    assert!(matches!(refused, BackupError::OtherState), "{refused}");
    let log = target.join("log.db");
    let mut bytes = std::fs::read(&log).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&log, &bytes).unwrap();
    let refused = put_back(&mut bench, &target, REPLACE).unwrap_err();
    assert!(matches!(refused, BackupError::Damaged { .. }), "{refused}");
    assert_eq!(bench.log.last_position(), head, "nothing was changed");
    run(&mut bench.cursor());
}

// Goal: a backup is whole whatever is written meanwhile. Method: a log that grows while it is copied.
#[test]
fn a_backup_is_whole_while_the_log_grows() {
    let mut bench = running();
    let folder = tempfile::tempdir().unwrap();
    for round in 0..5_i64 {
        let target = folder.path().join(round.to_string());
        let paths = bench.paths();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let before = bench.log.last_position();
        let manifest = std::thread::scope(|scope| {
            let to = &target;
            let taking = scope.spawn(move || {
                runtime.block_on(backup::take(&paths, to, 5, &mut Vec::new())).unwrap()
            });
            let mut second = 90 + round * 10_000;
            while !taking.is_finished() {
                bench.block(7, second, 3.0, second);
                second += 1;
            }
            taking.join().unwrap()
        });
        assert!(manifest.log.last >= before && manifest.log.last <= bench.log.last_position());
        assert_eq!((manifest.log.first, manifest.log.damaged), (1, 0));
        assert_eq!(manifest.log.records, manifest.log.last, "no record between is missing");
    }
}

// Goal: a log that has evicted its beginning is backed up with what its snapshots need, and goes on from them.
#[test]
fn a_log_that_has_evicted_is_backed_up_with_what_it_needs() {
    let mut bench = running();
    for second in 90..95 {
        bench.set_clock(second * 40);
        bench.tick(second);
        run(&mut bench.cursor());
    }
    bench.evict();
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("b");
    let (lineage, at_backup) = (bench.lineage(), bench.verdict_lines());
    let manifest = take(&bench, &target).unwrap();
    assert!(manifest.log.records < manifest.log.last, "{:?}", manifest.log);
    go_on(&mut bench, 90..140);
    let after = bench.verdict_lines();
    assert!(after.len() > at_backup.len());
    put_back(&mut bench, &target, REPLACE).unwrap();
    bench.start_after(lineage);
    run(&mut bench.cursor());
    assert_eq!(bench.verdict_lines(), at_backup);
    go_on(&mut bench, 90..140);
    assert_eq!(bench.verdict_lines(), after);
}

// Goal: an alarm whose readings are in no log any more does not stand for ever: once everything was run through and the
// condition is known not to hold, it is closed; not before, and never while the condition holds. Method: a leak after the
// backup, lost for good; then a hole, then its closure.
#[test]
fn an_alarm_whose_readings_are_gone_ends_with_its_condition() {
    for still_leaks in [true, false] {
        let mut bench = running();
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("b");
        let lineage = bench.lineage();
        take(&bench, &target).unwrap();
        go_on(&mut bench, 90..140);
        let active = |bench: &Bench| -> Vec<String> {
            let found = bench.runtime.block_on(bench.state.active_alarms()).unwrap();
            found.into_iter().map(|alarm| alarm.transition.rule).collect()
        };
        assert_eq!(active(&bench), ["R21"]);
        put_back(&mut bench, &target, REPLACE).unwrap();
        bench.start_after(lineage);
        let mut cursor = bench.cursor();
        run(&mut cursor);
        drop(cursor);
        let lel = if still_leaks { 60.0 } else { 3.0 };
        for second in 200..230 {
            bench.block(7, second, lel, second);
            bench.tick(second);
        }
        bench.set_clock(230);
        run(&mut bench.cursor());
        assert_eq!(active(&bench), ["R21"], "what is missing may still come");
        let gone = vec![GoneSpan { epoch: 7, from: 91, to: 200 }];
        bench.append("gw-1", &CentreRecord::Gone(gone), 230);
        for second in 230..240 {
            bench.block(7, second, lel, second);
            bench.tick(second);
        }
        bench.set_clock(240);
        let mut cursor = bench.cursor();
        run(&mut cursor);
        assert!(!cursor.step(std::time::Duration::ZERO).unwrap());
        let expected: &[&str] = if still_leaks { &["R21"] } else { &[] };
        assert_eq!(active(&bench), expected);
        assert_eq!(
            bench.verdict_lines(),
            bench.replayed(),
            "the verdict journal is the log's alone"
        );
    }
}

// Goal: an alarm that was raised after the newest snapshot, and whose end the log holds although it was not judged before the
// kill, ends as the readings say and not as if its log had been lost. Method: a cursor that is dropped in the leak, the rest
// of the leak and its end logged, the next start minutes later.
#[test]
fn an_end_that_the_log_holds_is_told_as_it_was() {
    let mut bench = Bench::new();
    bench.chain(7, 0);
    let shared = bench.shared();
    let mut cursor = bench.cursor_on(std::sync::Arc::clone(&shared));
    for second in 0..90 {
        bench.block(7, second, lel(second), second);
        bench.tick_told(&shared, second);
        if second < 45 {
            // One snapshot, before the leak.
            bench.set_clock(second.min(25));
            run(&mut cursor);
        }
    }
    drop(cursor);
    bench.set_clock(300);
    run(&mut bench.cursor());
    let told: Vec<_> =
        bench.changes().into_iter().map(|c| (c.kind, c.occurrence.cleared_at)).collect();
    let clears: Vec<_> = told.iter().filter(|(kind, _)| *kind != "raise").collect();
    assert!(matches!(clears[..], [("clear", Some(at))] if *at < BASE + 120_000), "{told:?}");
}
