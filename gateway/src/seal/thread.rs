//! The spool's thread: the one owner of sealer and spool, fed through one bounded queue of jobs.
//!
//! A thread and not a task, because SQLite blocks. What it does is in `seal/work.rs`; here is only what drives it. The
//! order of jobs is the order of time: readings and ticks come through the same queue, each with the time at which it was
//! put there.

use std::sync::{Arc, Mutex};

use spool::{KeySet, OpenReport, SpoolOptions};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::Identity;
use super::work::{Ends, Next, Work};
use crate::clock::Clock;
use crate::reading::Replies;
use crate::uplink::lanes::View;

pub(crate) use super::work::chain;
pub use super::work::{BATCH_READINGS, Job, Shown};

/// Jobs that may wait; each holds at most [`BATCH_READINGS`] readings.
pub const JOB_QUEUE: usize = 64;

/// The ends of the thread that others hold.
#[derive(Debug)]
pub struct Handle {
    /// Where jobs go.
    pub jobs: mpsc::Sender<Job>,
    /// What there is to send.
    pub view: watch::Receiver<View>,
    /// How it is.
    pub shown: watch::Receiver<Shown>,
    /// The uplink keeps here what is in flight, so that it is evicted last but one.
    pub in_flight: Arc<Mutex<KeySet>>,
    /// The log that the acks in the spool belong to.
    pub log_id: Option<u64>,
    /// What opening the spool found.
    pub report: OpenReport,
    thread: std::thread::JoinHandle<()>,
}

impl Handle {
    /// Waits for the thread; it ends after [`Job::Stop`] or when all senders are gone.
    ///
    /// # Errors
    /// Where the thread panicked.
    pub fn join(self) -> std::thread::Result<()> {
        drop(self.jobs);
        self.thread.join()
    }
}

/// The thread could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Not even a spool in memory could be made, or the epoch was not begun.
    #[error("cannot open the spool in {}", dir.display())]
    Spool {
        /// Its folder.
        dir: std::path::PathBuf,
        /// Why.
        #[source]
        source: Box<spool::Error>,
    },
    /// The system gives no thread.
    #[error("cannot start the spool's thread")]
    Thread(#[source] std::io::Error),
}

/// What the thread shares with the rest of the gateway.
#[derive(Debug)]
pub struct Parts {
    /// What readings may name.
    pub replies: Replies,
    /// The machine's clocks.
    pub clock: Arc<dyn Clock>,
    /// Cancelled where the thread panics, or ends because blocks can be kept nowhere.
    pub failed: CancellationToken,
}

/// Opens the spool, begins the epoch and starts the thread.
///
/// # Errors
/// [`StartError`]; a damaged spool or an unusable disk is none (see [`Handle::report`]).
pub fn start(
    dir: &std::path::Path,
    options: &SpoolOptions,
    id: Identity,
    parts: Parts,
) -> Result<Handle, StartError> {
    let Parts { replies, clock, failed } = parts;
    let fail = |e| StartError::Spool { dir: dir.to_path_buf(), source: Box::new(e) };
    let (work, ends) = Work::open(dir, options, id, replies, clock).map_err(fail)?;
    let (jobs, queue) = mpsc::channel(JOB_QUEUE);
    let thread = std::thread::Builder::new()
        .name("spool".to_owned())
        .spawn(move || {
            let guard = failed.drop_guard();
            if run(work, queue) {
                guard.disarm();
            }
        })
        .map_err(StartError::Thread)?;
    let Ends { view, shown, in_flight, log_id, report } = ends;
    Ok(Handle { jobs, view, shown, in_flight, log_id, report, thread })
}

/// Runs until [`Job::Stop`]; false where it ends because blocks can be kept nowhere.
fn run(mut work: Work, mut queue: mpsc::Receiver<Job>) -> bool {
    while let Some(first) = queue.blocking_recv() {
        match work.round(first, || queue.try_recv().ok()) {
            Next::GoOn => {}
            Next::Stop => break,
            Next::Stuck => return false,
        }
    }
    work.close()
}

#[cfg(test)]
mod tests;
