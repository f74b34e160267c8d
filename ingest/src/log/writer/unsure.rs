//! The store writer beside a database that is not sure of what it took, or that asks for a pause.

use super::*;

use crate::clock::SystemClock;
use crate::log::record::CentreRecord;
use crate::log::{Lineage, Shared, tail};
use crate::store::HistoryReader;

/// Takes everything and is sure of nothing but what it is told.
#[derive(Debug, Default)]
struct Unsure(Option<Position>);

impl Store for Unsure {
    fn write(&mut self, _batch: &StoreBatch) -> Result<(), StoreError> {
        Ok(())
    }
    fn position(&self) -> Result<Option<Position>, StoreError> {
        Ok(self.0)
    }
    fn reset_position(&mut self, position: Position) -> Result<(), StoreError> {
        self.0 = Some(position);
        Ok(())
    }
    fn reader(&self) -> Arc<dyn HistoryReader> {
        unreachable!("nobody asks")
    }
    fn retain(&mut self, _now_ms: i64) -> Result<(), StoreError> {
        Ok(())
    }
}

// A database that answers before it is durable: the log keeps what it is not sure of, and what it lost in a restart is
// read from the log again.
#[test]
fn what_a_restarted_database_lost_is_still_in_the_log_and_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let options = spool::LogOptions { now_ms: 1, ..spool::LogOptions::default() };
    let (mut log, _) = spool::Log::open(folder.path(), &options).unwrap();
    let mut txn = log.begin();
    let tick = CentreRecord::Tick.encode();
    let first = txn.append(&tick.as_new("", 1));
    for _ in 0..9 {
        txn.append(&tick.as_new("", 1));
    }
    txn.commit().unwrap();
    let mut lineage = Lineage::default();
    lineage.start(7, first);
    let head = first + 9;
    let shared = Arc::new(Shared::new(head, lineage, tail::SAMPLES_MAX));
    let follower = Follower::new(log.reader().unwrap(), shared);
    let progress = Arc::new(Progress::default());
    let told = Told {
        progress: Arc::clone(&progress),
        stats: Arc::default(),
        live: Arc::new(Live::new(None)),
        clock: Arc::new(SystemClock),
    };
    let mut writer = Writer::new(follower, Box::new(Unsure::default()), told).unwrap();
    let batch = writer.follower.next(writer.at, WAIT).unwrap();
    writer.write(&batch).unwrap();
    assert_eq!((writer.at, progress.store_position()), (head, 0));
    let sure = Position { log_id: 7, position: first + 3 };
    writer.go_back(Some(sure));
    assert_eq!(writer.at, first + 3);
    writer.store.reset_position(sure).unwrap();
    let batch = writer.follower.next(writer.at, WAIT).unwrap();
    assert_eq!((batch.records.len(), batch.up_to), (6, head));
    writer.write(&batch).unwrap();
    assert_eq!((writer.at, progress.store_position()), (head, first + 3));
    writer.go_back(None);
    assert_eq!(writer.at, 0);
}

// A database that says when it wants to be asked again is not asked before; afterwards the usual pauses go on. One that is
// away is asked each second, however long it is: pauses are long only where a person has to mend something.
#[test]
fn a_pause_that_was_asked_for_is_kept() {
    let mut pause = Pause::default();
    assert_eq!(pause.next(PAUSE_MAX), PAUSE_MIN);
    pause.asked(Duration::from_secs(7));
    assert_eq!(pause.next(PAUSE_MAX), Duration::from_secs(7));
    assert_eq!(pause.next(PAUSE_MAX), PAUSE_MIN * 4);
    for _ in 0..20 {
        pause.next(PAUSE_MAX);
    }
    assert_eq!(pause.next(PAUSE_MAX), PAUSE_MAX);
    let away = StoreError::Unavailable { store: "x", reason: String::new(), pause_ms: 0 };
    let refused = StoreError::Refused { store: "x", reason: String::new(), mend: String::new() };
    assert_eq!(pause.next(WriteError::Store(away).longest_pause()), PAUSE_AWAY_MAX);
    assert_eq!(WriteError::Store(refused).longest_pause(), PAUSE_MAX);
    assert!(pause.reset() && pause.is_first());
}
