//! The newest records of the log in memory, decoded once, for the cursors that keep up.
//!
//! The receiver pushes after each commit; followers wait here for more. Bounded by samples and by records: a follower that
//! falls behind reads the log instead. Nobody ever waits for a follower.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::LogRecord;

/// Samples kept at most by default: 8 bytes each, 32 MiB.
pub const SAMPLES_MAX: usize = 4 << 20;
/// Records kept at most.
pub const RECORDS_MAX: usize = 65_536;

/// The newest records.
#[derive(Debug)]
pub struct Tail {
    inner: Mutex<Inner>,
    more: Condvar,
    samples_max: usize,
}

#[derive(Debug, Default)]
struct Inner {
    records: VecDeque<(Arc<LogRecord>, usize)>,
    samples: usize,
    head: u64,
    closed: bool,
}

impl Tail {
    /// An empty tail of a log whose last position is `head`.
    #[must_use]
    pub fn new(head: u64, samples_max: usize) -> Self {
        let inner = Inner { head, ..Inner::default() };
        Self { inner: Mutex::new(inner), more: Condvar::new(), samples_max }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds committed records, in order.
    pub fn push(&self, records: impl IntoIterator<Item = Arc<LogRecord>>) {
        let mut inner = self.lock();
        for record in records {
            // A jump of positions (a salvage) would hide records from a follower: begin anew behind it.
            if record.position != inner.head + 1 {
                inner.records.clear();
                inner.samples = 0;
            }
            let samples = record.sample_count();
            inner.head = record.position;
            inner.samples += samples;
            inner.records.push_back((record, samples));
        }
        while inner.samples > self.samples_max || inner.records.len() > RECORDS_MAX {
            let Some((_, samples)) = inner.records.pop_front() else { break };
            inner.samples -= samples;
        }
        drop(inner);
        self.more.notify_all();
    }

    /// The last committed position.
    #[must_use]
    pub fn head(&self) -> u64 {
        self.lock().head
    }

    /// Waits until there is a record beyond `after`, or `timeout` has passed, or the tail is closed; gives the head.
    #[must_use]
    pub fn wait_beyond(&self, after: u64, timeout: Duration) -> u64 {
        let inner = self.lock();
        let waiting = |inner: &mut Inner| inner.head <= after && !inner.closed;
        let waited = self.more.wait_timeout_while(inner, timeout, waiting);
        waited.unwrap_or_else(PoisonError::into_inner).0.head
    }

    /// The records after `after`, at most so many, none after so many samples, if all of them are here.
    #[must_use]
    pub fn after(&self, after: u64, most: (usize, usize)) -> Option<Vec<Arc<LogRecord>>> {
        let inner = self.lock();
        let first = inner.records.front()?.0.position;
        let skip = usize::try_from((after + 1).checked_sub(first)?).ok()?;
        let mut given = 0;
        let records = inner.records.iter().skip(skip).take(most.0);
        let records = records.take_while(|(_, samples)| {
            let has_room = given < most.1;
            given += samples;
            has_room
        });
        Some(records.map(|(record, _)| Arc::clone(record)).collect())
    }

    /// Wakes every follower for the last time: the centre stops.
    pub fn close(&self) {
        self.lock().closed = true;
        self.more.notify_all();
    }

    /// Whether the centre stops.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.lock().closed
    }
}
