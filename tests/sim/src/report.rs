//! What a run found: broken promises by the name of the check, and what happened on the way.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::fault::Fault;

/// Collected while a run goes on.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) now: i64,
    pub(crate) broken: BTreeMap<String, (i64, String)>,
    pub(crate) counts: BTreeMap<&'static str, u64>,
    /// Pages of this step.
    pub(crate) pages: Vec<(i64, ingest::alarms::AlarmChange)>,
    pub(crate) trace: u64,
    /// What happened, line by line, where somebody listens.
    pub(crate) story: Option<Vec<String>>,
}

/// Counts that are no news.
const QUIET: [&str; 4] = ["blocks logged", "acks", "pages", "alarm changes"];

#[expect(clippy::cast_precision_loss, reason = "a display value")]
fn seconds(ms: i64) -> f64 {
    ms as f64 / 1_000.0
}

impl Findings {
    /// A promise: the first time it is broken is kept.
    pub(crate) fn expect(&mut self, holds: bool, what: &str, detail: impl FnOnce() -> String) {
        if !holds && !self.broken.contains_key(what) {
            self.broken.insert(what.to_owned(), (self.now, detail()));
        }
    }

    /// Tells what happens, where somebody listens.
    pub(crate) fn tell(&mut self, what: impl FnOnce() -> String) {
        if let Some(story) = &mut self.story {
            let line = format!("{:>9.3} s  {}", seconds(self.now), what());
            story.push(line);
        }
    }

    /// Counts something that happened.
    pub(crate) fn count(&mut self, what: &'static str, n: u64) {
        if n > 0 && self.story.is_some() && !QUIET.contains(&what) {
            self.tell(|| format!("{what} {n}"));
        }
        *self.counts.entry(what).or_default() += n;
    }

    /// Mixes a number into the run's fingerprint.
    pub(crate) fn mix(&mut self, n: u64) {
        self.trace = (self.trace ^ n).wrapping_mul(0x0100_0000_01b3).rotate_left(23);
    }
}

/// The result of one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// Kinds of faults that it had.
    pub faults: Vec<Fault>,
    /// Promise, true time since the beginning in ms, detail; empty where all were kept.
    pub broken: Vec<(String, i64, String)>,
    /// What happened.
    pub counts: BTreeMap<&'static str, u64>,
    /// Fingerprint of everything that was logged: the same for the same seed.
    pub trace: u64,
    /// What happened, line by line; empty where nobody listened.
    pub story: Vec<String>,
}

impl Outcome {
    /// Whether every promise was kept.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.broken.is_empty()
    }

    /// What a person needs to run it again.
    #[must_use]
    pub fn told(&self) -> String {
        let faults: Vec<_> = self.faults.iter().map(|f| f.word()).collect();
        let mut text = format!("SEED={} faults={}", self.seed, faults.join(","));
        for (what, at, detail) in &self.broken {
            write!(text, "\n  at {} s: {what}: {detail}", at / 1_000).expect("writing to a text");
        }
        text
    }
}
