//! A process that appends is killed a few hundred times: every block it reported as stored is there afterwards.
//!
//! The test runs itself as the child; the child prints a line for each commit, and dies on SIGKILL
//! after a number of lines that differs from round to round.

#![expect(clippy::unwrap_used, reason = "a failed step is a failed test")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use spool::{
    EpochAck, Fetched, Intervals, Key, KeySet, Log, LogOptions, NewBlock, NewRecord, Spool,
    SpoolOptions,
};

const ROUNDS: u64 = 200;
const DIR: &str = "DAVY_SPOOL_KILL_DIR";
const WHAT: &str = "DAVY_SPOOL_KILL_WHAT";

fn body(epoch: u64, seq: u64) -> Vec<u8> {
    let size = 50 + (epoch.wrapping_mul(31) + seq.wrapping_mul(977)) % 9000;
    vec![u8::try_from(seq % 251).unwrap(); usize::try_from(size).unwrap()]
}

/// What the child does until it is killed; without the variables a test that passes.
#[test]
fn child() {
    let (Ok(dir), Ok(what)) = (std::env::var(DIR), std::env::var(WHAT)) else { return };
    let mut out = std::io::stdout().lock();
    let (what, epoch) = what.split_once(' ').unwrap();
    let epoch: u64 = epoch.parse().unwrap();
    if what == "log" {
        child_log(Path::new(&dir), epoch, |seq| writeln!(out, "stored {seq}").unwrap());
    } else {
        child_spool(Path::new(&dir), epoch, |seq| writeln!(out, "stored {seq}").unwrap());
    }
}

fn child_spool(dir: &Path, epoch: u64, mut stored: impl FnMut(u64)) {
    let (mut spool, report) = Spool::open(dir, &SpoolOptions::default()).unwrap();
    assert_eq!(report, spool::OpenReport::default());
    spool.begin_epoch(epoch).unwrap();
    for seq in 1.. {
        let bytes = body(epoch, seq);
        let key = Key { epoch, seq };
        let block = NewBlock {
            key,
            bytes: &bytes,
            born_ms: 1,
            samples: 3,
            t0: 1,
            t1: 2,
            manifest: None,
            gap: &[],
        };
        spool.append(&[block], &KeySet::new()).unwrap();
        stored(seq);
        if seq % 7 == 0 {
            let acked = Intervals::of(seq - 3, seq - 3);
            spool.ack(&[EpochAck { epoch, acked: &acked, rejected: &[] }]).unwrap();
        }
    }
}

fn child_log(dir: &Path, epoch: u64, mut stored: impl FnMut(u64)) {
    let (mut log, report) = Log::open(dir, &LogOptions::default()).unwrap();
    assert_eq!(report, spool::LogOpenReport::default());
    for seq in 1.. {
        let bytes = body(epoch, seq);
        let mut txn = log.begin();
        let record = NewRecord {
            kind: 1,
            gateway: "gw",
            epoch,
            seq,
            received_at: 5,
            meta: b"",
            bytes: &bytes,
        };
        txn.append_block(&record).unwrap();
        txn.put(b"last", Some(&seq.to_le_bytes()));
        txn.commit().unwrap();
        stored(seq);
    }
}

/// Runs the child until `lines` commits were reported, kills it, returns the last one reported.
fn run(dir: &Path, what: &str, lines: u64) -> u64 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["child", "--exact", "--nocapture", "--test-threads=1"])
        .env(DIR, dir)
        .env(WHAT, what)
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut last = 0;
    let mut line = String::new();
    while last < lines {
        line.clear();
        assert!(out.read_line(&mut line).unwrap() > 0, "the child ended by itself");
        last = number(&line).unwrap_or(last);
    }
    child.kill().unwrap();
    // What was still in the pipe was reported as well.
    loop {
        line.clear();
        if out.read_line(&mut line).unwrap() == 0 || !line.ends_with('\n') {
            break;
        }
        last = number(&line).unwrap_or(last);
    }
    child.wait().unwrap();
    last
}

fn number(line: &str) -> Option<u64> {
    line.trim().rsplit_once("stored ").and_then(|(_, n)| n.parse().ok())
}

#[test]
fn killed_spool_holds_every_block_it_reported() {
    let dir = tempfile::tempdir().unwrap();
    let mut reported = Vec::new();
    for round in 1..=ROUNDS {
        let lines = 1 + (round * 7) % 13;
        reported.push((round, run(dir.path(), &format!("spool {round}"), lines)));
    }
    let (mut spool, report) = Spool::open(dir.path(), &SpoolOptions::default()).unwrap();
    assert_eq!(report, spool::OpenReport::default());
    for (epoch, last) in reported {
        for seq in 1..=last {
            let Fetched::Block(block) = spool.get(Key { epoch, seq }).unwrap() else {
                panic!("{epoch}/{seq} was reported as stored and is not there");
            };
            assert_eq!(block.bytes, body(epoch, seq));
        }
    }
    assert!(spool.stats().unwrap().is_balanced());
}

#[test]
fn killed_log_holds_every_block_it_reported() {
    let dir = tempfile::tempdir().unwrap();
    let mut reported = Vec::new();
    for round in 1..=ROUNDS / 2 {
        let lines = 1 + (round * 5) % 17;
        reported.push((round, run(dir.path(), &format!("log {round}"), lines)));
    }
    let (log, report) = Log::open(dir.path(), &LogOptions::default()).unwrap();
    assert_eq!(report, spool::LogOpenReport::default());
    let reader = log.reader().unwrap();
    for (epoch, last) in reported {
        let logged = &log.epoch("gw", epoch).unwrap().logged;
        assert!(logged.covers(1, last));
        for seq in 1..=logged.max() {
            let Some(spool::Entry::Record(r)) = reader.block("gw", epoch, seq).unwrap() else {
                panic!("{epoch}/{seq} was reported as stored and is not there");
            };
            assert_eq!(r.bytes, body(epoch, seq));
        }
    }
}
