//! The position of a database that answers before it has anything on disk.
//!
//! VictoriaMetrics writes what it took every 5 s (`-inmemoryDataFlushInterval`) and loses the rest when it is killed. So a
//! position counts [`HOLD`] after it was taken, and only if the server is still the one that took it: its start time is
//! looked at in between (in whole seconds: one that lived for less than a second could be missed). Where it was
//! restarted, the writer goes back to the last position that counts.

use std::collections::VecDeque;
use std::time::Duration;

use crate::clock::{Clock as _, SystemClock};
use crate::store::cursor::Cursor;
use crate::store::{Position, StoreError};

/// How long what was taken waits until it surely is on the server's disk: six times its flush interval.
pub(super) const HOLD: Duration = Duration::from_secs(30);
/// Longest time between two looks at the server's start.
const LOOK: Duration = Duration::from_secs(5);
/// Most positions that wait; beyond it the newest replaces the one before it, which waits longer.
const WAITING_MAX: usize = 4_096;

/// See the module.
#[derive(Debug)]
pub(super) struct Durable {
    cursor: Cursor,
    /// `None` for a database that syncs before it answers.
    hold: Option<Duration>,
    /// With the ms, of a clock that never goes back, at which each was taken.
    waiting: VecDeque<(i64, Position)>,
    /// The server's process: when it was started and how much it had taken at the last look.
    process: Option<(String, u64)>,
    looked: Option<i64>,
}

impl Durable {
    pub(super) fn new(cursor: Cursor, hold: Option<Duration>) -> Self {
        Self { cursor, hold, waiting: VecDeque::new(), process: None, looked: None }
    }

    /// What is surely on the server's disk.
    pub(super) fn position(&self) -> Option<Position> {
        self.cursor.position()
    }

    /// Whether the server's start is to be looked at before the next write.
    pub(super) fn is_due(&self) -> bool {
        let Some(hold) = self.hold else { return false };
        self.looked.is_none_or(|at| SystemClock.mono_ms() - at >= ms(LOOK.min(hold / 4)))
    }

    /// Whether the server that says so is another process than the one of the last look.
    pub(super) fn is_other(&self, started_at: &str, taken: u64) -> bool {
        self.process.as_ref().is_some_and(|(known, before)| known != started_at || *before > taken)
    }

    /// The server says when it was started and how much it has taken since: less than before is another process too.
    ///
    /// # Errors
    /// [`StoreError::Lost`] where it was restarted since; or of the cursor's file.
    pub(super) fn seen(&mut self, started_at: String, taken: u64) -> Result<(), StoreError> {
        let now = SystemClock.mono_ms();
        self.looked = Some(now);
        let is_same = !self.is_other(&started_at, taken);
        self.process = Some((started_at, taken));
        if !is_same && !self.waiting.is_empty() {
            self.waiting.clear();
            let store = "VictoriaMetrics";
            return Err(StoreError::Lost { store, position: self.cursor.position() });
        }
        let hold = self.hold.unwrap_or_default();
        let mut settled = None;
        while self.waiting.front().is_some_and(|(at, _)| now - at >= ms(hold)) {
            settled = self.waiting.pop_front().map(|(_, position)| position);
        }
        settled.map_or(Ok(()), |position| self.cursor.set(position))
    }

    /// The server took everything up to here.
    pub(super) fn taken(&mut self, position: Position) -> Result<(), StoreError> {
        if self.hold.is_none() {
            return self.cursor.set(position);
        }
        if self.waiting.len() >= WAITING_MAX {
            self.waiting.pop_back();
        }
        self.waiting.push_back((SystemClock.mono_ms(), position));
        Ok(())
    }

    pub(super) fn reset(&mut self, position: Position) -> Result<(), StoreError> {
        self.waiting.clear();
        self.cursor.set(position)
    }
}

fn ms(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(position: u64) -> Position {
        Position { log_id: 1, position }
    }

    fn of(hold: Option<Duration>) -> (Durable, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let cursor = Cursor::open(&folder.path().join("cursor")).unwrap();
        (Durable::new(cursor, hold), folder)
    }

    #[test]
    fn a_position_counts_only_after_the_hold_on_the_same_server() {
        let (mut d, _folder) = of(Some(Duration::ZERO));
        d.seen("1".into(), 0).unwrap();
        d.taken(at(5)).unwrap();
        assert_eq!(d.position(), None, "taken is not on disk");
        d.seen("1".into(), 0).unwrap();
        assert_eq!(d.position(), Some(at(5)));
        let (mut d, _folder) = of(Some(Duration::from_secs(3_600)));
        d.seen("1".into(), 0).unwrap();
        d.taken(at(5)).unwrap();
        d.seen("1".into(), 0).unwrap();
        assert_eq!(d.position(), None);
    }

    #[test]
    fn a_restarted_server_sends_the_writer_back() {
        let (mut d, _folder) = of(Some(Duration::ZERO));
        d.seen("1".into(), 0).unwrap();
        d.taken(at(5)).unwrap();
        d.seen("1".into(), 0).unwrap();
        d.taken(at(9)).unwrap();
        assert!(d.is_other("2", 0) && !d.is_other("1", 0));
        let error = d.seen("2".into(), 0).unwrap_err();
        assert!(
            matches!(error, StoreError::Lost { position: Some(p), .. } if p == at(5)),
            "{error}"
        );
        d.seen("2".into(), 0).unwrap();
        assert_eq!(d.position(), Some(at(5)));
        // Started within the same second.
        d.seen("2".into(), 7).unwrap();
        d.taken(at(9)).unwrap();
        assert!(d.seen("2".into(), 6).is_err());
    }

    #[test]
    fn a_database_that_syncs_moves_at_once() {
        let (mut d, _folder) = of(None);
        assert!(!d.is_due());
        d.taken(at(5)).unwrap();
        assert_eq!(d.position(), Some(at(5)));
    }

    #[test]
    fn what_waits_is_bounded_and_never_counts_too_early() {
        let (mut d, _folder) = of(Some(Duration::from_secs(3_600)));
        for position in 1..10_000 {
            d.taken(at(position)).unwrap();
        }
        assert_eq!(d.waiting.len(), WAITING_MAX);
        assert_eq!(d.waiting.back().unwrap().1, at(9_999));
    }
}
