//! Replays through the receiver's thread: logged once whatever is asked twice or killed in between, for the store alone.

use wire::Mark;
use wire::columns::Builder;
use wire::manifest::{self, Manifest, Point, Reply};

use super::*;
use crate::log::{DecodedBlock, RecordBody};
use crate::quarantine::{By, EntryState, Filter};

const BY: By<'_> = By { who: "li", at: NOW, reason: "the centre's clock was slow" };

fn plan() -> Manifest {
    let points = vec![Point { quantity: "u_a".into(), unit: "V".into() }];
    let reply = Reply {
        device: "m1".into(),
        period_ms: 1_000,
        points,
        profile: "p".into(),
        profile_version: "1".into(),
    };
    Manifest { gateway: name(), site: "s1".into(), replies: vec![reply], replaces: None }
}

/// Rows at these times, in a block of a clock in this state.
fn rows(seq: u64, state: ClockState, times: &[i64]) -> Block {
    let manifest = plan();
    let mut builder = Builder::new(&manifest, manifest::key(&manifest.encode()));
    for (time, value) in times.iter().zip(220_i32..) {
        builder.push(0, *time, &[(f64::from(value), Mark::GOOD)]).unwrap();
    }
    let closed_at = *times.last().unwrap();
    Block {
        gateway: name(),
        epoch: Epoch(1),
        seq,
        link: None,
        clock: BlockClock { state, closed_at, boot: Boot(1), ..BlockClock::default() },
        fact_revision: 0,
        list: None,
        body: Body::Readings(builder.take()),
    }
}

impl Rig {
    fn with_manifest() -> Self {
        let mut rig = Self::new(1 << 30);
        rig.deliver(Item::Manifest(plan().encode()));
        rig
    }

    fn quarantine(&self) -> &Quarantine {
        &self.worker.works.quarantine
    }

    fn state(&self, id: i64) -> EntryState {
        self.quarantine().get(id).unwrap().unwrap().0.state
    }

    /// The replays in the log, as a follower reads them.
    fn replays(&self) -> Vec<Arc<DecodedBlock>> {
        let works = &self.worker.works;
        let mut follower = Follower::new(works.log.reader().unwrap(), Arc::clone(&works.shared));
        let (mut found, mut after) = (Vec::new(), 0);
        loop {
            let batch = follower.next(after, Duration::ZERO).unwrap();
            if batch.up_to == after {
                return found;
            }
            after = batch.up_to;
            found.extend(batch.records.iter().filter_map(|r| match &r.body {
                RecordBody::Replay(block) => Some(Arc::clone(block)),
                _ => None,
            }));
        }
    }

    /// A new process on the same files.
    fn restarted(self) -> Self {
        let Self { worker, clocks, counter, folder, .. } = self;
        drop(worker);
        Self::on(folder, clocks, 1 << 30, counter)
    }
}

/// Event times of the rows that the store takes.
fn times(block: &DecodedBlock) -> Vec<i64> {
    let times = block.readings.tables.iter().flat_map(|t| &t.times);
    let kept = (0_u32..).zip(times).filter(|(row, _)| !block.masked_rows.contains(row));
    kept.map(|(_, time)| *time).collect()
}

// Goal: rows ahead of time come back alone, as they are, once the centre's clock is right; asking twice changes nothing.
#[test]
fn rows_ahead_of_time_come_back_as_they_are() {
    let mut rig = Rig::with_manifest();
    let ahead = NOW + 3_600_000;
    rig.deliver(Item::Block(rows(1, ClockState::Synced, &[NOW, ahead, ahead + 1]).encode()));
    let entry = rig.quarantine().list(&Filter::default(), 10).unwrap().remove(0);
    assert_eq!((entry.code.as_str(), &entry.rows[..]), ("future", &[1, 2][..]));
    rig.quarantine().request(&[entry.id], None, BY).unwrap();
    rig.worker.replay().unwrap();
    assert_eq!(rig.state(entry.id), EntryState::Open, "the clock is still behind");
    let (open, _) = rig.quarantine().get(entry.id).unwrap().unwrap();
    assert!(open.detail.contains("set the clock right first"), "{}", open.detail);
    rig.pass(3_600_000);
    for _ in 0..3 {
        rig.quarantine().request(&[entry.id], None, BY).unwrap();
        rig.worker.replay().unwrap();
    }
    let replays = rig.replays();
    assert_eq!(replays.len(), 1);
    assert_eq!(times(&replays[0]), [ahead, ahead + 1]);
    assert_eq!((replays[0].received_at, replays[0].site.as_str()), (ahead, "s1"));
    assert_eq!(rig.state(entry.id), EntryState::Logged);
    assert!(rig.worker.works.live.values("s1").iter().all(|v| v.t == Some(NOW)), "it is history");
    rig.worker.works.progress.stored(replays[0].position);
    rig.pass(6_000);
    rig.worker.keep_house().unwrap();
    assert_eq!(rig.state(entry.id), EntryState::Replayed);
    assert!(rig.worker.works.log.scan(b"replay/").unwrap().is_empty(), "nothing is kept of it");
}

// Goal: a fast gateway's rows and a block of a clock that was never set come back at the times that a person gave.
#[test]
fn wrong_times_are_mended_by_whoever_gives_them_back() {
    let mut rig = Rig::with_manifest();
    let ahead = NOW + 3_600_000;
    rig.deliver(Item::Block(rows(1, ClockState::Synced, &[ahead]).encode()));
    let unset = rows(2, ClockState::Unset, &[5_000, 6_000]).encode();
    let aside = crate::receive::Quarantined {
        gateway: name(),
        epoch: 1,
        seq: 2,
        code: "time_unknown",
        detail: String::new(),
        rows: Vec::new(),
        bytes: unset,
        at: NOW,
    };
    rig.quarantine().put(&[aside]).unwrap();
    rig.quarantine().request(&[1], Some(-3_600_000), BY).unwrap();
    rig.quarantine().request(&[2], None, BY).unwrap();
    rig.worker.replay().unwrap();
    assert_eq!(rig.state(2), EntryState::Open, "readings of no clock mean nothing");
    rig.quarantine().request(&[2], Some(NOW - 60_000), BY).unwrap();
    rig.worker.replay().unwrap();
    let times: Vec<_> = rig.replays().iter().map(|b| times(b)).collect();
    assert_eq!(times, [vec![NOW], vec![NOW - 55_000, NOW - 54_000]]);
}

// Goal: a block under a key that is used already is taken as itself: the first one and the dedupe sets stand.
#[test]
fn a_reused_key_comes_back_under_an_identity_of_its_own() {
    let mut rig = Rig::with_manifest();
    rig.deliver(Item::Block(rows(1, ClockState::Synced, &[NOW]).encode()));
    rig.deliver(Item::Block(rows(1, ClockState::Synced, &[NOW - 5_000]).encode()));
    let before = rig.worker.works.log.epoch("g1", 1).cloned();
    let first = rig.worker.works.log.block_sha("g1", 1, 1).unwrap();
    rig.quarantine().request(&[1], None, BY).unwrap();
    rig.worker.replay().unwrap();
    assert_eq!(times(&rig.replays()[0]), [NOW - 5_000]);
    assert_eq!(rig.worker.works.log.epoch("g1", 1).cloned(), before);
    assert_eq!(rig.worker.works.log.block_sha("g1", 1, 1).unwrap(), first);
    rig.deliver(Item::Block(rows(1, ClockState::Synced, &[NOW - 5_000]).encode()));
    assert_eq!(rig.quarantine().list(&Filter::default(), 10).unwrap().len(), 1, "known already");
}

// Goal: a kill between the log's commit and the quarantine's note gives nothing back twice; one before it loses nothing.
#[test]
fn a_kill_midway_gives_back_once() {
    let mut rig = Rig::with_manifest();
    let file =
        |rig: &Rig| rusqlite::Connection::open(rig.folder.path().join("quarantine.db")).unwrap();
    rig.deliver(Item::Block(rows(1, ClockState::Synced, &[NOW + 3_600_000]).encode()));
    rig.quarantine().request(&[1], Some(-3_600_000), BY).unwrap();
    let mut rig = rig.restarted();
    rig.worker.replay().unwrap();
    assert_eq!(rig.replays().len(), 1, "asked before the kill, done after it");
    // As if the note had not been written.
    let undone = "UPDATE entry SET state = 'requested', position = NULL WHERE id = 1";
    assert_eq!(file(&rig).execute(undone, []).unwrap(), 1);
    let mut rig = rig.restarted();
    rig.worker.replay().unwrap();
    assert_eq!((rig.replays().len(), rig.state(1)), (1, EntryState::Logged));
    // And as if its closing had been written, and not the log's forgetting.
    rig.worker.works.progress.stored(rig.replays()[0].position);
    rig.quarantine().stored(u64::MAX >> 1).unwrap();
    let mut rig = rig.restarted();
    rig.worker.replay().unwrap();
    assert_eq!((rig.replays().len(), rig.state(1)), (1, EntryState::Replayed));
    assert!(rig.worker.works.log.scan(b"replay/").unwrap().is_empty());
}

// Goal: a log that lost the record before the store had it gets it again.
#[test]
fn a_replay_that_the_log_lost_is_given_back_again() {
    let mut rig = Rig::with_manifest();
    rig.deliver(Item::Block(rows(1, ClockState::Synced, &[NOW + 3_600_000]).encode()));
    rig.quarantine().request(&[1], Some(-3_600_000), BY).unwrap();
    rig.worker.replay().unwrap();
    let at = rig.replays()[0].position;
    let log = rusqlite::Connection::open(rig.folder.path().join("log.db")).unwrap();
    let lost = log.execute("DELETE FROM record WHERE position = ?1", [at.cast_signed()]);
    assert_eq!(lost.unwrap(), 1);
    drop(log);
    let mut rig = rig.restarted();
    rig.worker.replay().unwrap();
    let replays = rig.replays();
    assert_eq!((replays.len(), rig.state(1)), (1, EntryState::Logged));
    assert!(replays[0].position > at);
}

// Goal: what the store refuses of a replay is open again, with its words.
#[test]
fn a_replay_that_the_store_refuses_is_open_again() {
    use crate::store::{Refusal, RefusalSink as _};
    let mut rig = Rig::with_manifest();
    rig.deliver(Item::Block(rows(1, ClockState::Synced, &[NOW + 3_600_000]).encode()));
    rig.quarantine().request(&[1], Some(-3_600_000), BY).unwrap();
    rig.worker.replay().unwrap();
    let reader = rig.worker.works.log.reader().unwrap();
    let sink =
        crate::quarantine::RefusedBlocks::new(Arc::clone(&rig.worker.works.quarantine), reader);
    sink.refused(Refusal {
        code: "type_conflict",
        gateway: Some("g1".into()),
        position: Some(rig.replays()[0].position),
        what: "block".into(),
        reason: "field type conflict".into(),
        samples: 1,
    });
    rig.worker.works.progress.stored(rig.replays()[0].position);
    rig.pass(6_000);
    rig.worker.keep_house().unwrap();
    let (entry, bytes) = rig.quarantine().get(1).unwrap().unwrap();
    assert_eq!((entry.state, bytes.is_empty()), (EntryState::Open, false));
    assert!(entry.detail.contains("field type conflict"), "{}", entry.detail);
    let mut rig = rig.restarted();
    rig.worker.replay().unwrap();
    assert_eq!(rig.state(1), EntryState::Open, "nobody asked again");
    rig.quarantine().request(&[1], Some(-3_600_000), BY).unwrap();
    rig.worker.replay().unwrap();
    assert_eq!((rig.replays().len(), rig.state(1)), (2, EntryState::Logged));
}
