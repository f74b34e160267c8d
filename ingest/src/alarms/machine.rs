//! The state machine of one occurrence, after the table of ISA-18.2 (A–F); pure.
//!
//! Two axes and a latch are kept, the letter is computed. A condition that comes back over a finished occurrence makes a
//! new one: the old keeps what was not signed, its latch passes on. Shelving (G), suppression by design (H) and out of
//! service (I) lie over these states and do not change them, because such an alarm is still evaluated.

use serde::{Deserialize, Serialize};

/// The axes of one occurrence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Axes {
    /// The condition holds.
    pub active: bool,
    /// Signed at its present severity.
    pub acked: bool,
    /// Held although the condition has gone.
    pub latched: bool,
}

/// States of ISA-18.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum IsaState {
    /// Normal 正常.
    A,
    /// Unacknowledged 未确认报警.
    B,
    /// Acknowledged 已确认报警.
    C,
    /// Returned to normal, unacknowledged 恢复未确认.
    D,
    /// Latched, unacknowledged 锁存未确认.
    E,
    /// Latched, acknowledged 锁存已确认.
    F,
    /// Shelved 搁置.
    G,
    /// Suppressed by design 设计抑制.
    H,
    /// Out of service 停用.
    I,
}

/// What can happen to an occurrence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Event {
    /// The condition began to hold, after its on-delay.
    Raise,
    /// The condition ceased to hold, after its off-delay.
    Clear,
    /// It got worse, or the re-alarm timer ran out.
    Worse,
    /// It got better, and still holds.
    Better,
    /// A person signed it.
    Ack,
    /// A person released the latch.
    Reset,
}

/// What an event does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The occurrence goes on with these axes.
    To(Axes),
    /// The occurrence stays with `old`, and a new one begins with `new`.
    NewOccurrence {
        /// Axes of the one that was.
        old: Axes,
        /// Axes of the one that begins.
        new: Axes,
    },
    /// Nothing changes: a repetition.
    Nothing,
    /// Not possible in this state.
    Refused,
}

impl Axes {
    /// A fresh raise.
    pub const RAISED: Self = Self { active: true, acked: false, latched: false };
    /// Nothing to see.
    pub const NORMAL: Self = Self { active: false, acked: true, latched: false };

    /// The letter of ISA-18.2, A to F.
    #[must_use]
    pub fn state(self) -> IsaState {
        match (self.active, self.latched, self.acked) {
            (true, _, false) => IsaState::B,
            (true, _, true) => IsaState::C,
            (false, false, true) => IsaState::A,
            (false, false, false) => IsaState::D,
            (false, true, false) => IsaState::E,
            (false, true, true) => IsaState::F,
        }
    }

    /// What the event does to an occurrence of a rule that latches or not.
    #[must_use]
    pub fn step(self, event: Event, latching: bool) -> Step {
        match event {
            Event::Raise if self.active => Step::Nothing,
            Event::Raise => {
                Step::NewOccurrence { old: Self { latched: false, ..self }, new: Self::RAISED }
            }
            Event::Clear if self.active => {
                Step::To(Self { active: false, latched: latching, ..self })
            }
            Event::Worse if self.active => Step::To(Self { acked: false, ..self }),
            Event::Better if self.active => Step::To(self),
            Event::Clear | Event::Better => Step::Nothing,
            Event::Worse => Step::Refused,
            Event::Ack if self.acked => Step::Refused,
            Event::Ack => Step::To(Self { acked: true, ..self }),
            Event::Reset if self.latched && !self.active => {
                Step::To(Self { latched: false, ..self })
            }
            Event::Reset => Step::Refused,
        }
    }
}
