//! How far each cursor is, seen from the receiver: what the log may evict.
//!
//! The cursors store, the receiver reads, nobody waits.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Positions up to which each reader of the log no longer needs it.
#[derive(Debug, Default)]
pub struct Progress {
    store: AtomicU64,
    evaluator: AtomicU64,
    judged: AtomicU64,
    evaluator_failing: AtomicBool,
    snapshot: AtomicU64,
    lost: AtomicU64,
    keep: Mutex<Arc<Vec<u64>>>,
}

impl Progress {
    /// The store has everything up to here, durably.
    pub fn stored(&self, position: u64) {
        self.store.store(position, Ordering::Release);
    }

    /// The store writer did not find so many blocks that were to be stored.
    pub fn lose(&self, blocks: u64) {
        self.lost.fetch_add(blocks, Ordering::Relaxed);
    }

    /// Blocks that the store writer did not find, since the start.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// The evaluator has judged everything up to here, and what it decided is durable and told.
    pub fn judged(&self, position: u64) {
        self.judged.store(position, Ordering::Release);
    }

    /// The evaluator has taken everything up to here, durably. In quiet times this stands still from snapshot to snapshot.
    pub fn evaluated(&self, position: u64) {
        self.evaluator.store(position, Ordering::Release);
    }

    /// The evaluator's newest step succeeded or did not.
    pub fn set_evaluator_failing(&self, failing: bool) {
        self.evaluator_failing.store(failing, Ordering::Release);
    }

    /// Whether the evaluator's newest step failed: no alarm is raised then.
    #[must_use]
    pub fn is_evaluator_failing(&self) -> bool {
        self.evaluator_failing.load(Ordering::Acquire)
    }

    /// The second-newest durable snapshot of the evaluator stands here; the log before it may go.
    pub fn snapshot(&self, position: u64) {
        self.snapshot.store(position, Ordering::Release);
    }

    /// Positions of blocks that wait for their turn in the evaluator: they stay, however old.
    pub fn keep(&self, mut positions: Vec<u64>) {
        positions.sort_unstable();
        positions.dedup();
        *self.keep.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(positions);
    }

    /// Everything up to here may go, except what [`Progress::kept`] names.
    #[must_use]
    pub fn evictable(&self) -> u64 {
        let snapshot = self.snapshot.load(Ordering::Acquire);
        self.store_position().min(self.evaluator_position()).min(snapshot)
    }

    /// What must stay, ascending.
    #[must_use]
    pub fn kept(&self) -> Arc<Vec<u64>> {
        Arc::clone(&self.keep.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// How far the store is.
    #[must_use]
    pub fn store_position(&self) -> u64 {
        self.store.load(Ordering::Acquire)
    }

    /// How far the evaluator has judged: what says whether it keeps up.
    #[must_use]
    pub fn judged_position(&self) -> u64 {
        self.judged.load(Ordering::Acquire)
    }

    /// How far the evaluator is, durably.
    #[must_use]
    pub fn evaluator_position(&self) -> u64 {
        self.evaluator.load(Ordering::Acquire)
    }
}
