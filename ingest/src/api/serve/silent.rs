//! Connections that have asked nothing yet, the oldest first: they make room where no place is free.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

/// See the module. Bounded by the places for connections.
#[derive(Debug, Default)]
pub(super) struct Silent(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    next: u64,
    waiting: BTreeMap<u64, CancellationToken>,
}

/// A connection in it; leaves when it asks or is dropped.
#[derive(Debug)]
pub(super) struct Place {
    silent: Arc<Silent>,
    number: u64,
    evicted: CancellationToken,
}

impl Silent {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection was taken.
    pub(super) fn enter(self: &Arc<Self>) -> Place {
        let evicted = CancellationToken::new();
        let mut inner = self.lock();
        let number = inner.next;
        inner.next += 1;
        inner.waiting.insert(number, evicted.clone());
        Place { silent: Arc::clone(self), number, evicted }
    }

    /// Ends the connection that has asked nothing for longest, if there is one.
    pub(super) fn evict_oldest(&self) {
        if let Some((_, oldest)) = self.lock().waiting.pop_first() {
            oldest.cancel();
        }
    }
}

impl Place {
    /// It has asked: from now on it keeps its place by the usual limits.
    pub(super) fn has_asked(&self) {
        self.silent.lock().waiting.remove(&self.number);
    }

    /// Waits until somebody else needs the place.
    pub(super) async fn evicted(&self) {
        self.evicted.cancelled().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.has_asked();
    }
}
