//! An evaluator that goes on without a snapshot, behind what is settled and no longer in the log (design §4).
//!
//! Made by the centre at a start, after an upgrade or with a snapshot that cannot be used. It knows the chain, what was
//! settled and what stood; delays that were running begin again.

use super::duty::Duty;
use super::order::Order;
use super::record::{FactRecord, Span};
use super::step::Step;
use super::{Evaluator, Limits};

/// How far a gateway's blocks were settled.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Past {
    /// The last log record that was taken.
    pub position: u64,
    /// The centre's time of the start that goes on from here, ms.
    pub at: i64,
    /// Epochs that are settled whole, oldest first.
    pub passed: Vec<u64>,
    /// The epochs from the settled one on, in order, each with the last seq that counts once it has a successor.
    pub chain: Vec<(u64, Option<u64>)>,
    /// The seq of the first of them that is to be settled next.
    pub next: u64,
    /// Blocks behind that place which were declared lost, or whose records are gone.
    pub gone: Vec<Span>,
    /// Blocks behind that place which were taken and lie in the log.
    pub waiting: Vec<PastBlock>,
    /// Time segment of its newest verdict.
    pub segment: u32,
    /// Offsets of the gateway's boots, oldest first: boot, wall minus monotonic time, ms.
    pub offsets: Vec<(u64, i64)>,
}

/// A block that waits for its turn in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PastBlock {
    /// Its epoch.
    pub epoch: u64,
    /// Its seq.
    pub seq: u64,
    /// Where its record lies.
    pub position: u64,
    /// Its boot, where its clock was unset and it brought no offset.
    pub unset: Option<u64>,
}

/// An alarm that is active at a start.
#[derive(Debug, Clone, PartialEq)]
pub struct StandingAlarm<T> {
    /// What brought it to its present level.
    pub transition: T,
    /// Whether duty staff were paged for it.
    pub is_paged: bool,
}

impl<S: Step> Evaluator<S> {
    /// Goes on behind `past` with an engine that holds `standing` as active already, and with what was recorded until
    /// then. None of it is told again.
    #[must_use]
    pub fn resumed(
        engine: S,
        limits: Limits,
        past: &Past,
        standing: Vec<StandingAlarm<S::Transition>>,
        facts: Vec<FactRecord<S::Fact>>,
    ) -> Self {
        let mut evaluator = Self::new(engine, limits);
        evaluator.position = past.position;
        (evaluator.now, evaluator.started_at) = (past.at, past.at);
        evaluator.order = Order::resumed(limits, past);
        // What the engine would know of the time before is missing: silence there proves nothing.
        evaluator.broken = true;
        evaluator.settled = evaluator.settled.resumed(&standing, past.segment);
        evaluator.duty = Duty::resumed(standing);
        for FactRecord { fact, at, .. } in facts {
            evaluator.settled.fact(fact, at, &mut Vec::new());
        }
        evaluator
    }
}
