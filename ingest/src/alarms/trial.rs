//! The test alarm of the centre's watch over itself: written as any alarm is, and taken back in the same transaction.
//!
//! Raise and clear go through the alarm machine, the duty journal and the outbox, inside a savepoint that is rolled back:
//! that everything can be written is proven, and nothing of it stays, however long the centre runs.

use rules::evaluator::{DutyEvent as Said, Output, Page};
use rules::{Transition, TransitionKind};
use sea_orm::{DatabaseTransaction, TransactionTrait};

use super::apply::apply_event;
use super::{DutyEvent, needs_ack};
use crate::state::{During, StateError};

/// The newest turn of the test alarm, and the raise before it.
#[derive(Debug, Default)]
pub struct Trial {
    raise: Option<DutyEvent>,
    clear: Option<DutyEvent>,
    /// Event time of a turn that has not been tried.
    due: Option<i64>,
}

impl Trial {
    /// Takes what the evaluator of the centre's own samples says; gives the event time of a turn that people would hear
    /// of. A raise that would not page is none.
    pub fn take(&mut self, output: Output<Transition>) -> Option<i64> {
        let Output::Duty(Said::Turn { transition, page, .. }) = &output else { return None };
        let (t, kind) = (transition.t, transition.kind);
        let is_heard = kind == TransitionKind::Clear || *page == Page::Page;
        let needs_ack = needs_ack(transition.level);
        let Output::Duty(event) = output else { return None };
        let event = DutyEvent::from_evaluator(event, needs_ack);
        match kind {
            TransitionKind::Clear => self.clear = Some(event),
            _ => (self.raise, self.clear) = (Some(event), None),
        }
        self.due = is_heard.then_some(t);
        self.due
    }

    /// Whether a turn waits to be tried.
    #[must_use]
    pub fn is_due(&self) -> bool {
        self.due.is_some()
    }

    /// The transaction of a trial is durable; `true` where the tables took it. Gives the event time of the turn.
    pub fn done(&mut self, tried: bool) -> Option<i64> {
        self.due.take().filter(|_| tried)
    }
}

/// Tries what is due; `false` where the alarm machine did not do what it must.
pub(super) async fn attempt(tx: &DatabaseTransaction, trial: &Trial) -> Result<bool, StateError> {
    let Some(raise) = trial.raise.as_ref().filter(|_| trial.is_due()) else { return Ok(false) };
    let inner = tx.begin().await.during("beginning the test alarm")?;
    let raised = apply_event(&inner, raise).await?.pop();
    let mut works = raised.is_some_and(|c| c.kind == "raise" && c.occurrence.active && c.pages);
    if let Some(clear) = &trial.clear {
        let cleared = apply_event(&inner, clear).await?.pop();
        works &= cleared.is_some_and(|change| change.kind == "clear" && !change.occurrence.active);
    }
    inner.rollback().await.during("taking the test alarm back")?;
    Ok(works)
}
