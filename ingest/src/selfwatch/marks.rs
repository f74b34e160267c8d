//! How far the newest sample of the centre's own has come; each part of the pipeline notes it as the sample passes.
//!
//! Written by the subscriber, the receiver, the evaluator and the announcer, read by the probe; nobody waits.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// See the module. A sample is named by its block's seq up to the log, and by its event time behind it.
#[derive(Debug, Default)]
pub struct Marks {
    returned: AtomicU64,
    logged: AtomicU64,
    judged: AtomicI64,
    alarmed: AtomicI64,
    alarmed_at: AtomicI64,
}

/// One reading of the marks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    /// Frames that the broker has brought back since the start.
    pub returned: u64,
    /// Newest seq that the log has.
    pub logged: u64,
    /// Event time of the newest turn of the test alarm that the evaluator has decided.
    pub judged: i64,
    /// Event time of the newest turn that was written and told.
    pub alarmed: i64,
    /// When that was, on the centre's monotonic clock, ms.
    pub alarmed_at: i64,
}

impl Marks {
    /// The broker brought a frame back.
    pub fn returned(&self) {
        self.returned.fetch_add(1, Ordering::Release);
    }

    /// A block is durable in the log.
    pub fn logged(&self, seq: u64) {
        self.logged.fetch_max(seq, Ordering::Release);
    }

    /// The evaluator has turned the test alarm at event time `t`, and would have paged.
    pub fn judged(&self, t: i64) {
        self.judged.store(t, Ordering::Release);
    }

    /// The turn at event time `t` is durable and told, at monotonic `now`.
    pub fn alarmed(&self, t: i64, now: i64) {
        self.alarmed_at.store(now, Ordering::Release);
        self.alarmed.store(t, Ordering::Release);
    }

    /// Reads them, the last one first: a sample is never seen in a later part before an earlier one.
    #[must_use]
    pub fn seen(&self) -> Seen {
        let alarmed = self.alarmed.load(Ordering::Acquire);
        let alarmed_at = self.alarmed_at.load(Ordering::Acquire);
        let judged = self.judged.load(Ordering::Acquire);
        let logged = self.logged.load(Ordering::Acquire);
        let returned = self.returned.load(Ordering::Acquire);
        Seen { returned, logged, judged, alarmed, alarmed_at }
    }
}
