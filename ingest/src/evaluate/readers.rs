//! Threads that read evaluators out of their snapshots at a start: compiling the rules of a gateway takes far longer than
//! fetching its snapshot, so one thread fetches while all cores compile.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Scope;

use rules::evaluator::Evaluator;

use super::engines::EngineStep;
use super::snapshot::evaluator_of;
use crate::state::Snapshot;

/// Snapshots that are in memory at once.
const UNDER_WAY_MAX: usize = 64;

/// A gateway, its snapshot, and the evaluator that it held: none where it cannot be used.
pub(super) type Read<S> = (String, Snapshot, Option<Evaluator<S>>);

/// See the module.
pub(super) struct Readers<S: EngineStep> {
    todo: SyncSender<(String, Snapshot)>,
    done: Receiver<Read<S>>,
    under_way: usize,
}

impl<S: EngineStep> Readers<S> {
    /// Starts a reader on each core for snapshots of `version`.
    pub(super) fn start<'scope>(scope: &'scope Scope<'scope, '_>, version: u32) -> Self
    where
        S: 'scope,
    {
        let (todo, from) = sync_channel(UNDER_WAY_MAX);
        let from: Arc<Mutex<Receiver<(String, Snapshot)>>> = Arc::new(Mutex::new(from));
        let (to, done) = sync_channel(UNDER_WAY_MAX);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        for _ in 0..cores {
            let (from, to): (_, SyncSender<Read<S>>) = (Arc::clone(&from), to.clone());
            scope.spawn(move || {
                loop {
                    let next = from.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok((name, snapshot)) = next else { return };
                    // A snapshot that makes the reader panic cannot be used either.
                    let read = catch_unwind(AssertUnwindSafe(|| evaluator_of(version, &snapshot)));
                    if to.send((name, snapshot, read.unwrap_or_default())).is_err() {
                        return;
                    }
                }
            });
        }
        Self { todo, done, under_way: 0 }
    }

    /// Hands a snapshot over, and gives one that was read where too many are under way.
    pub(super) fn read(&mut self, name: String, snapshot: Snapshot) -> Option<Read<S>> {
        let ready = if self.under_way >= UNDER_WAY_MAX { self.next() } else { None };
        if self.todo.send((name, snapshot)).is_ok() {
            self.under_way += 1;
        }
        ready
    }

    /// Waits for one that was handed over; none where all came back.
    pub(super) fn next(&mut self) -> Option<Read<S>> {
        if self.under_way == 0 {
            return None;
        }
        self.under_way -= 1;
        self.done.recv().ok()
    }
}
