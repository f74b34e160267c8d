//! Virtual time, and the clocks that the two programs see of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::Instant;

/// True wall time at the beginning of a run, ms UTC.
pub(crate) const BASE: i64 = 1_790_000_000_000;

/// True time since the beginning of the run, ms.
#[derive(Debug, Clone, Default)]
pub(crate) struct Time(Arc<AtomicI64>);

impl Time {
    pub(crate) fn now(&self) -> i64 {
        self.0.load(Relaxed)
    }

    pub(crate) fn wall(&self) -> i64 {
        BASE + self.now()
    }

    pub(crate) fn pass(&self, ms: i64) {
        self.0.fetch_add(ms, Relaxed);
    }
}

/// The clocks of a gateway's box.
#[derive(Debug)]
pub(crate) struct EdgeClock {
    time: Time,
    anchor: Instant,
    started: AtomicI64,
    /// How long before the whole second the program does its work, ms: no two starts do it at the same instant, as nobody's
    /// do, and readings of two starts whose clocks are off share no time by chance.
    early: AtomicI64,
    /// How far the wall clock is off, ms.
    off: AtomicI64,
    /// The wall clock was set since the box has power.
    set: AtomicBool,
    /// A time daemon vouches for it.
    synced: AtomicBool,
}

impl EdgeClock {
    pub(crate) fn new(time: Time) -> Self {
        Self {
            time,
            // Only differences to it are used.
            anchor: Instant::now(),
            started: AtomicI64::new(0),
            early: AtomicI64::new(0),
            off: AtomicI64::new(0),
            set: AtomicBool::new(true),
            synced: AtomicBool::new(true),
        }
    }

    /// The program starts: monotonic time begins.
    pub(crate) fn start(&self, is_set: bool, early: i64) {
        self.early.store(early, Relaxed);
        self.started.store(self.now(), Relaxed);
        self.set.store(is_set, Relaxed);
        self.synced.store(is_set, Relaxed);
        self.off.store(0, Relaxed);
    }

    pub(crate) fn step(&self, off: i64, is_synced: bool) {
        self.off.store(off, Relaxed);
        self.set.store(true, Relaxed);
        self.synced.store(is_synced, Relaxed);
    }

    pub(crate) fn off(&self) -> i64 {
        self.off.load(Relaxed)
    }

    pub(crate) fn is_set(&self) -> bool {
        self.set.load(Relaxed)
    }

    fn now(&self) -> i64 {
        self.time.now() - self.early.load(Relaxed)
    }

    fn mono(&self) -> i64 {
        self.now() - self.started.load(Relaxed)
    }

    /// The instant that is now.
    pub(crate) fn instant(&self) -> Instant {
        self.anchor + Duration::from_millis(self.mono().unsigned_abs())
    }
}

impl gateway::clock::Clock for EdgeClock {
    fn system_ms(&self) -> i64 {
        if self.is_set() { BASE + self.now() + self.off() } else { self.mono() }
    }

    fn mono_ms(&self) -> u64 {
        self.mono().unsigned_abs()
    }

    fn mono_of(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.anchor).as_millis()).unwrap_or(0)
    }

    fn is_synced(&self) -> bool {
        self.synced.load(Relaxed)
    }
}

/// The centre's clock.
#[derive(Debug)]
pub(crate) struct CentreClock {
    time: Time,
}

impl CentreClock {
    pub(crate) fn new(time: Time) -> Self {
        Self { time }
    }
}

impl ingest::clock::Clock for CentreClock {
    fn now_ms(&self) -> i64 {
        // Within a second it does its work now earlier, now later: what gateways measure of its time is never twice the same.
        self.time.wall() + self.time.now() / 1_000 * 61 % 397
    }

    fn mono_ms(&self) -> i64 {
        self.time.now() + 1
    }
}
