//! The compiled form of catalogue × registry for one gateway: flat arrays the engine walks.
//!
//! Made by [`crate::compile`], read by [`crate::engine`]; never changes while in use and is never stored: a snapshot
//! keeps catalogue and sites, from which the same plan comes again.

use crate::evidence::{Measure, Parameter};
use crate::series::{Ms, SeriesKey};
use crate::standing::Standing;
use crate::test::Test;
use crate::text::Text;
use crate::transition::{Scope, Severity};
use std::collections::BTreeMap;

/// Everything the engine needs beside its state.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) series: Vec<SeriesPlan>,
    pub(crate) index: BTreeMap<SeriesKey, u32>,
    pub(crate) windows: Vec<WindowPlan>,
    pub(crate) runs: Vec<RunPlan>,
    pub(crate) marks: Vec<MarkPlan>,
    pub(crate) learns: Vec<LearnPlan>,
    pub(crate) bindings: Vec<Binding>,
    pub(crate) spans: Vec<Span>,
    pub(crate) insts: Vec<Inst>,
    pub(crate) levels: Vec<Level>,
    /// CSR: `deps[dep_from[s]..dep_from[s + 1]]` are the dependants of signal `s`.
    pub(crate) dep_from: Vec<u32>,
    pub(crate) deps: Vec<Dep>,
    pub(crate) lines: Vec<Line>,
}

#[derive(Debug)]
pub(crate) struct SeriesPlan {
    pub(crate) key: SeriesKey,
    /// How long a value is held, ms.
    pub(crate) gap: Ms,
    pub(crate) device_name: Text,
}

#[derive(Debug)]
pub(crate) struct WindowPlan {
    pub(crate) series: u32,
    pub(crate) minutes: u16,
    /// Samples a full window has.
    pub(crate) expect: u32,
    pub(crate) how: How,
    /// What must be known to stand while the window is filled; empty for no condition.
    pub(crate) gate: std::ops::Range<usize>,
}

/// What a window makes of its minutes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum How {
    Mean,
    /// Change per hour.
    Slope,
    /// Oldest known minute less the newest.
    Fall,
}

/// What is usual for a series while its machine runs.
#[derive(Debug)]
pub(crate) struct LearnPlan {
    pub(crate) series: u32,
    /// Samples a full hour has.
    pub(crate) expect: u32,
    /// Run states, of which one must be known to run.
    pub(crate) gate: std::ops::Range<usize>,
}

/// A mark: set when a limit was reached for `on`, kept for `keep` after.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct MarkPlan {
    pub(crate) series: u32,
    pub(crate) limit: f64,
    pub(crate) clear: f64,
    pub(crate) on: Ms,
    pub(crate) keep: Ms,
}

#[derive(Debug)]
pub(crate) struct RunPlan {
    /// Series the state comes from: phase currents, or total power.
    pub(crate) inputs: std::ops::Range<usize>,
    /// Longest gap over which a known state is kept, ms.
    pub(crate) gap: Ms,
    /// At or above: running.
    pub(crate) high: f64,
    /// Below: stopped.
    pub(crate) low: f64,
}

/// One input of an instance or of a run state.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Binding {
    pub(crate) signal: u32,
    pub(crate) member: u8,
    /// Divisor.
    pub(crate) rating: f64,
    /// Added before the division (only for run states from power).
    pub(crate) offset: f64,
    /// Learnt value that is the divisor, in place of `rating`.
    pub(crate) learnt: Option<u32>,
    pub(crate) measure: Measure,
}

/// The part of an instance that is walked for each sample.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    pub(crate) input_from: u32,
    pub(crate) input_to: u32,
    pub(crate) level_from: u32,
    pub(crate) level_to: u32,
    pub(crate) sort: Sort,
}

/// How an instance is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sort {
    /// By its test on its inputs.
    Test,
    /// By its test, which looks for silence: it counts from the end of a hole.
    Unknown,
    /// By the time since the last usable sample of any input.
    Heard,
}

/// The part of an instance that is read at a transition.
#[derive(Debug)]
pub(crate) struct Inst {
    /// Index of the rule in the catalogue.
    pub(crate) rule: usize,
    pub(crate) scope: Scope,
    pub(crate) site: usize,
    pub(crate) object_name: Text,
    /// Devices the rule stands at, for work masks.
    pub(crate) devices: Vec<String>,
    pub(crate) params: Vec<Parameter>,
    pub(crate) unit: String,
    /// Silence before this moment is expected.
    pub(crate) expected_since: Ms,
}

#[derive(Debug)]
pub(crate) struct Level {
    pub(crate) inst: u32,
    pub(crate) test: Test,
    pub(crate) on: Ms,
    pub(crate) off: Ms,
    /// A gap longer than this resets the on-delay, ms.
    pub(crate) reset: Ms,
    pub(crate) severity: Severity,
    pub(crate) source_level: Option<String>,
    pub(crate) latching: bool,
    /// Needs an earlier occurrence raised at most so long before, ms.
    pub(crate) again: Option<Ms>,
}

/// Who looks at a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Dep {
    Window(u32),
    Learn(u32),
    Run(u32),
    Gate(u32),
    Mark(u32),
    Heard(u32),
    Inst(u32),
}

/// One line of the rules page.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) rule: String,
    pub(crate) scope: Scope,
    pub(crate) standing: Standing,
    pub(crate) lacking: Vec<Text>,
    pub(crate) overridden: Vec<String>,
    pub(crate) inst: Option<u32>,
}

impl Plan {
    pub(crate) fn window_signal(&self, window: usize) -> usize {
        self.series.len() + window
    }

    pub(crate) fn run_signal(&self, run: usize) -> usize {
        self.series.len() + self.windows.len() + run
    }

    pub(crate) fn memory_signal(&self, run: usize) -> usize {
        self.run_signal(run) + self.runs.len()
    }

    pub(crate) fn mark_signal(&self, mark: usize) -> usize {
        self.series.len() + self.windows.len() + 2 * self.runs.len() + mark
    }

    pub(crate) fn signal_count(&self) -> usize {
        self.mark_signal(self.marks.len())
    }

    /// The series a signal comes from (the first of several).
    pub(crate) fn source_series(&self, signal: usize) -> usize {
        if signal < self.series.len() {
            return signal;
        }
        let derived = signal - self.series.len();
        if derived < self.windows.len() {
            return self.windows[derived].series as usize;
        }
        if signal >= self.mark_signal(0) {
            return self.marks[signal - self.mark_signal(0)].series as usize;
        }
        let run = (derived - self.windows.len()) % self.runs.len();
        self.bindings[self.runs[run].inputs.start].signal as usize
    }

    pub(crate) fn dependants(&self, signal: usize) -> std::ops::Range<usize> {
        self.dep_from[signal] as usize..self.dep_from[signal + 1] as usize
    }
}
