//! Counters of buses and devices, for the state message, the status page and the metrics.
//!
//! Bus tasks write, anybody reads; nothing here blocks a poll. Labels are bus names and device ids only.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::config::Config;

/// Everything the southbound half counts.
#[derive(Debug, Clone)]
pub struct Health {
    /// In the order of the configuration.
    pub buses: Arc<[BusHealth]>,
    /// By device index.
    pub devices: Arc<[DeviceHealth]>,
}

/// One bus.
#[derive(Debug)]
pub struct BusHealth {
    /// Its name.
    pub name: Arc<str>,
    /// Whether there is a connection now.
    pub connected: AtomicBool,
    /// Requests sent.
    pub requests: AtomicU64,
    /// Requests that had no answer in time.
    pub timeouts: AtomicU64,
    /// Answers that were Modbus exceptions.
    pub exceptions: AtomicU64,
    /// Answers that answered something else.
    pub broken_answers: AtomicU64,
    /// Answers that came too late, or unasked, and were thrown away.
    pub late_answers: AtomicU64,
    /// Connections made.
    pub connects: AtomicU64,
    /// Poll ticks skipped because the bus was late.
    pub missed: AtomicU64,
    /// Time with a request on the line, in µs; its growth over time is the true utilisation.
    pub busy_us: AtomicU64,
    /// Of this, time spent on devices that did not answer, in µs.
    pub dead_us: AtomicU64,
}

/// One device.
#[derive(Debug)]
pub struct DeviceHealth {
    /// Its id.
    pub id: Arc<str>,
    /// Whether it answers.
    pub online: AtomicBool,
    /// Answers with values.
    pub replies: AtomicU64,
    /// Requests that brought none.
    pub errors: AtomicU64,
    last_reply: Mutex<Option<Instant>>,
    refused: Mutex<String>,
    problem: Mutex<Option<String>>,
}

impl Health {
    /// All at zero.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let bus = |name: &Arc<str>| BusHealth {
            name: Arc::clone(name),
            connected: AtomicBool::new(false),
            requests: AtomicU64::new(0),
            timeouts: AtomicU64::new(0),
            exceptions: AtomicU64::new(0),
            broken_answers: AtomicU64::new(0),
            late_answers: AtomicU64::new(0),
            connects: AtomicU64::new(0),
            missed: AtomicU64::new(0),
            busy_us: AtomicU64::new(0),
            dead_us: AtomicU64::new(0),
        };
        let device = |id: &Arc<str>| DeviceHealth {
            id: Arc::clone(id),
            online: AtomicBool::new(false),
            replies: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            last_reply: Mutex::new(None),
            refused: Mutex::default(),
            problem: Mutex::new(None),
        };
        Self {
            buses: config.buses.iter().map(|b| bus(&b.name)).collect(),
            devices: config.devices().map(|(_, d)| device(&d.id)).collect(),
        }
    }
}

impl BusHealth {
    pub(crate) fn busy(&self, time: Duration) {
        count(&self.busy_us, micros(time));
    }

    pub(crate) fn dead(&self, time: Duration) {
        count(&self.dead_us, micros(time));
    }
}

impl DeviceHealth {
    pub(crate) fn replied(&self, at: Instant) {
        count(&self.replies, 1);
        *self.last_reply.lock().unwrap_or_else(PoisonError::into_inner) = Some(at);
        *self.problem.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Remembers why a request brought no values, in words.
    pub(crate) fn has_problem(&self, words: String) {
        *self.problem.lock().unwrap_or_else(PoisonError::into_inner) = Some(words);
    }

    /// Why the newest request brought no values, in words for a person; `None` after a good answer.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        self.problem.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// When it last answered with values, on the monotonic clock.
    #[must_use]
    pub fn last_reply(&self) -> Option<Instant> {
        *self.last_reply.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn refuses(&self, points: String) {
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = points;
    }

    /// The points that it answers with an exception, with their registers; empty where there are none.
    #[must_use]
    pub fn refused(&self) -> String {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

pub(crate) fn count(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
