//! The moments at which something happens without a sample, in their total order.
//!
//! One heap entry a timer at most, armed lazily: a timer that moved later is put back when it comes up. It is never
//! part of a snapshot: it follows from the state.

use crate::series::Ms;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// What happens, in the order in which it happens within one millisecond. Samples stand between
/// [`Class::Learn`] and [`Class::Hold`]: a sample exactly at a deadline is applied first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Class {
    /// A fact begins or ends.
    Fact = 0,
    /// A hole in the data ends.
    Blind = 1,
    /// A window closes a minute, which a sample of the next one must not enter.
    Window = 2,
    /// An hour of learning closes, in the same way.
    Learn = 3,
    /// Samples. Not a timer.
    Sample = 4,
    /// A held value becomes UNKNOWN.
    Hold = 5,
    /// A run state between the limits is given up.
    Between = 6,
    /// A run state is decided.
    Run = 7,
    /// A mark is set or taken away.
    Mark = 8,
    /// A level's delay expires.
    Level = 9,
}

const CLASSES: usize = 10;

/// A timer that came up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Due {
    pub(crate) t: Ms,
    pub(crate) class: Class,
    pub(crate) index: u32,
}

/// All timers of an engine.
#[derive(Debug, Clone, Default)]
pub(crate) struct Timers {
    heap: BinaryHeap<Reverse<Due>>,
    /// Earliest heap entry of each timer, `Ms::MAX` for none.
    armed: [Vec<Ms>; CLASSES],
}

impl Timers {
    /// Makes timers, none armed. `sizes` says how many there are of each class.
    pub(crate) fn new(sizes: &[(Class, usize)]) -> Self {
        let mut timers = Self::default();
        for (class, size) in sizes {
            timers.armed[*class as usize] = vec![Ms::MAX; *size];
        }
        timers
    }

    /// Makes sure that the timer comes up at `t` or before.
    pub(crate) fn arm(&mut self, class: Class, index: u32, t: Ms) {
        let armed = &mut self.armed[class as usize][index as usize];
        if t < *armed {
            *armed = t;
            self.heap.push(Reverse(Due { t, class, index }));
        }
    }

    /// Takes the next timer before (`t`, `class`), if there is one.
    pub(crate) fn next_before(&mut self, t: Ms, class: Class) -> Option<Due> {
        loop {
            let Reverse(due) = *self.heap.peek()?;
            if (due.t, due.class) >= (t, class) {
                return None;
            }
            self.heap.pop();
            let armed = &mut self.armed[due.class as usize][due.index as usize];
            if *armed == due.t {
                *armed = Ms::MAX;
                return Some(due);
            }
        }
    }

    /// Returns the earliest moment at which anything could happen.
    pub(crate) fn earliest(&self) -> Option<Ms> {
        self.heap.peek().map(|Reverse(due)| due.t)
    }
}
