//! The southbound half: one task per bus reads its devices and hands readings on.
//!
//! ```text
//! schedule ─► poll ─► link ═══ device          task.rs owns one endpoint
//!    ▲          │ answer                       poll.rs, probe.rs: what an answer, or none, leads to
//!    └── plan ◄─┴─► decode ─► readings         device.rs: plan and memory of one device
//! ```
//!
//! `lib.rs` starts it; it must never write to a device, never hold up a neighbour for a silent device, and never make
//! a number out of a failed read.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::reading::{self, Reading, Replies};
use health::Health;
use link::Connect;
use task::{Seams, Task};

mod device;
pub mod frame;
pub mod health;
pub mod link;
pub mod load;
mod owed;
mod poll;
mod probe;
mod task;

/// What the northbound half takes from the southbound one.
#[derive(Debug)]
pub struct Southbound {
    /// Every reading of every bus.
    pub readings: mpsc::Receiver<Reading>,
    /// What the readings' columns mean; grows when a plan changes.
    pub replies: Replies,
    /// Counters.
    pub health: Health,
    /// Cancelled where a part of the gateway broke; the northbound half uses it as well.
    pub failed: CancellationToken,
}

/// Starts the buses. They stop when the token is cancelled or the receiver is dropped.
#[must_use]
pub fn start(
    config: &Config,
    connector: Arc<dyn Connect>,
    tracker: &TaskTracker,
    stop: &CancellationToken,
) -> Southbound {
    let (sender, readings) = reading::channel();
    let replies = Replies::default();
    let health = Health::new(config);
    let failed = CancellationToken::new();
    for (index, bus) in config.buses.iter().enumerate() {
        let seams = Seams {
            connector: Arc::clone(&connector),
            readings: sender.clone(),
            replies: replies.clone(),
            health: health.clone(),
        };
        let task = Task::new(index, bus.clone(), seams);
        let stop = stop.clone();
        let polling = async move {
            // Either end is a normal one: cancelled, or nobody reads the readings any more.
            stop.run_until_cancelled(Box::pin(task.run())).await;
        };
        tracker.spawn(crate::shutdown::vital(failed.clone(), polling));
    }
    Southbound { readings, replies, health, failed }
}

#[cfg(test)]
mod tests;
