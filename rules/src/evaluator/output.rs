//! What the evaluator says: verdicts for the journal, and what duty staff are told.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use super::record::BlockKey;
use super::record::RereadError;
use super::step::{Ms, Verdict};

/// One thing the evaluator says about one log record.
#[derive(Debug, Clone, PartialEq)]
pub enum Output<T: Verdict> {
    /// An entry of the verdict journal: the settled evaluator's transition.
    Verdict(T),
    /// An entry of the duty journal.
    Duty(DutyEvent<T>),
    /// A fact took effect before this block of the gateway, for ever.
    Placed {
        /// Revision of the fact.
        revision: u64,
        /// The block that follows it; `None` before the first epoch is known.
        before: Option<BlockKey>,
    },
    /// More facts lay ahead than are kept: of those worth least, the farthest was dropped and never takes effect.
    FactDropped {
        /// When it would have begun, ms.
        at: Ms,
    },
    /// A block whose time will never be known: to be quarantined as `time_unknown`.
    TimeUnknown {
        /// The block.
        key: BlockKey,
        /// Its log position.
        position: u64,
    },
    /// A block that arrived after it was declared lost: stored, never evaluated.
    Late {
        /// The block.
        key: BlockKey,
    },
    /// So many blocks waited behind a hole that it was given up and counted as declared.
    GivenUp {
        /// First block of the hole.
        from: BlockKey,
        /// The block that was evaluated next.
        next: BlockKey,
    },
    /// A waiting block could not be read from the log again.
    Unreadable {
        /// The block.
        key: BlockKey,
        /// The cause.
        error: RereadError,
    },
}

/// An entry of the duty journal: what changes the alarm list, and whether anybody is woken.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum DutyEvent<T> {
    /// The alarm moves.
    Turn {
        /// The transition.
        transition: T,
        /// Who is told.
        page: Page,
        /// Event time of the newest sample behind it, ms: its age is checked again when a page is sent.
        sample_at: Ms,
        /// The centre's time at which it was decided, ms.
        decided_at: Ms,
    },
    /// An occurrence that came and went unseen behind a hole, before what duty staff see active now: the alarm stays as
    /// it is.
    Past {
        /// Its raise, or the rise to its worst level.
        raise: T,
        /// Its end.
        clear: T,
        /// Late or silent.
        page: Page,
        /// The centre's time, ms.
        decided_at: Ms,
    },
    /// What duty staff were told turned out otherwise. Keeps both, never pages, never undoes an acknowledgement.
    Amend {
        /// What they were told.
        was: T,
        /// What the settled evaluator found; `None`: it never happened.
        is: Option<T>,
        /// How the alarm stands now: active with this transition, or not active.
        standing: Option<T>,
        /// The centre's time, ms.
        decided_at: Ms,
    },
}

/// Who is told of a transition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Page {
    /// Duty staff are paged.
    Page,
    /// Duty staff are paged although it is over: a short peak behind a lost live block (已恢复).
    Recovered,
    /// Enters the duty list without sound as 补报未签收: 红 or 橙 that came and went unseen.
    LateUnsigned,
    /// Recorded, nobody is told.
    Silent(Reason),
}

/// Why nobody is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The transition clears or lowers.
    Eased,
    /// Its samples are older than the page horizon.
    History,
    /// Approved work or a calibration suppresses it.
    Suppressed,
}

/// Corrections that are made together say how an alarm stands after the last of them, not how it would have stood between two:
/// what stood for no moment must not move the alarm. A turn in between is told on what stands before it.
pub(super) fn skip_between<T: Verdict>(out: &mut [Output<T>]) {
    let mut after: BTreeMap<T::Condition, Option<T>> = BTreeMap::new();
    for output in out.iter_mut().rev() {
        match output {
            Output::Duty(DutyEvent::Turn { transition, .. }) => {
                after.remove(&transition.condition());
            }
            Output::Duty(DutyEvent::Amend { was, standing, .. }) => {
                let last = after.entry(was.condition()).or_insert_with(|| standing.clone());
                standing.clone_from(last);
            }
            _ => {}
        }
    }
}
