//! From what evaluators say to what the state database takes.

use rules::Transition;
use rules::evaluator::{DutyEvent, Output};

use super::centre::Said;
use crate::alarms;
use crate::state::{Position, Snapshot};

/// What one gateway's evaluator said since the last application.
#[derive(Debug, Default)]
pub(super) struct Pending {
    pub(super) verdicts: Vec<alarms::Verdict>,
    pub(super) duty: Vec<alarms::DutyEvent>,
}

impl Pending {
    /// Takes one output; gives back what is neither verdict nor duty.
    pub(super) fn take(&mut self, said: Said) -> Option<Said> {
        match said.output {
            Output::Verdict(transition) => {
                self.verdicts.push(alarms::Verdict { gateway: said.gateway, transition });
                None
            }
            Output::Duty(event) => {
                self.duty.push(duty(event));
                None
            }
            _ => Some(said),
        }
    }

    /// Takes what is said of an alarm that stands.
    pub(super) fn stands(&mut self, event: alarms::DutyEvent) {
        self.duty.push(event);
    }

    /// As the state database takes it.
    pub(super) fn into_batch(
        self,
        evaluator: String,
        position: Position,
        recorded_at: i64,
        snapshot: Option<Snapshot>,
    ) -> alarms::EvaluationBatch {
        let Self { verdicts, duty } = self;
        alarms::EvaluationBatch { evaluator, position, recorded_at, verdicts, duty, snapshot }
    }
}

fn duty(event: DutyEvent<Transition>) -> alarms::DutyEvent {
    let needs_ack = match &event {
        DutyEvent::Turn { transition, .. } => alarms::needs_ack(transition.level),
        DutyEvent::Past { .. } | DutyEvent::Amend { .. } => true,
    };
    alarms::DutyEvent::from_evaluator(event, needs_ack)
}
