//! Carries recorded facts into the durable log, where the evaluator meets them, and notices a changed registry.
//!
//! The state database holds a fact first; this task logs every one that the present start has not logged yet, in the
//! order of their revisions. A kill between the two logs it again: the evaluator knows it by its revision.

use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;

use super::open::Parts;
use crate::chain_of;
use crate::log::Lineage;
use crate::receive::worker::ToWorker;
use crate::registry::Registrar;
use crate::state::{Position, State, StateError};

/// How often the database is asked whether another process changed it.
const LOOK: Duration = Duration::from_secs(2);
/// Pause while the receiver's inbox is full.
const PAUSE: Duration = Duration::from_millis(50);

/// What the task needs.
#[derive(Debug)]
pub(super) struct Facts {
    state: State,
    registrar: Arc<Registrar>,
    recorded: Arc<Notify>,
    lineage: Lineage,
}

impl Parts {
    pub(super) fn facts(&self) -> Facts {
        Facts {
            state: self.state.clone(),
            registrar: Arc::clone(&self.registrar),
            recorded: Arc::clone(&self.facts_recorded),
            lineage: self.shared.lineage.clone(),
        }
    }
}

/// Runs until `stop`.
pub(super) async fn follow(facts: Facts, inbox: SyncSender<ToWorker>, stop: CancellationToken) {
    let mut is_failing = false;
    while !stop.is_cancelled() {
        match facts.log_all(&inbox, &stop).await {
            Ok(()) => is_failing = false,
            Err(error) => {
                if !std::mem::replace(&mut is_failing, true) {
                    tracing::error!(error = %chain_of(&error), "facts and registry cannot be followed, trying again");
                }
            }
        }
        tokio::select! {
            () = facts.recorded.notified() => {}
            () = tokio::time::sleep(LOOK) => {}
            () = stop.cancelled() => {}
        }
    }
}

impl Facts {
    async fn log_all(
        &self,
        inbox: &SyncSender<ToWorker>,
        stop: &CancellationToken,
    ) -> Result<(), StateError> {
        self.registrar.refresh(&self.state).await?;
        let log_id = self.lineage.log_id();
        for fact in self.state.facts_to_log(log_id).await? {
            let revision = fact.revision;
            let Some(position) = log_one(fact, inbox, stop).await else { return Ok(()) };
            self.state.mark_fact_logged(revision, Position { log_id, position }).await?;
        }
        Ok(())
    }
}

/// Hands one fact to the receiver and waits until it is durable; `None` at a stop, or where the commit failed: the next
/// round tries again.
async fn log_one(
    fact: rules::Fact,
    inbox: &SyncSender<ToWorker>,
    stop: &CancellationToken,
) -> Option<u64> {
    let (told, logged) = oneshot::channel();
    let mut message = ToWorker::Fact(Box::new(fact), told);
    loop {
        match inbox.try_send(message) {
            Ok(()) => break,
            Err(TrySendError::Full(back)) if !stop.is_cancelled() => message = back,
            Err(_) => return None,
        }
        tokio::time::sleep(PAUSE).await;
    }
    logged.await.ok()
}
