//! The northbound half as one: readings in, blocks at the centre, and an ordered stop.
//!
//! ```text
//! readings ─► feed (task) ─jobs─► spool's thread: sealer, spool ─view─► uplink (task) ══MQTT══►
//!                                        ▲ fetch, acks ◄──────────────────┘
//! ```
//!
//! `main.rs` (and tests) start it with what the buses hand over. It always starts: a broker, a clock or a
//! disk that is missing is a state that the status page shows. Stopping only saves time, never data.

use std::sync::Arc;
use std::time::Duration;

use spool::SpoolOptions;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};
use wire::LogId;

use crate::bus::Southbound;
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::epoch::{NoRandom, Start};
use crate::reading::Reading;
use crate::seal::Identity;
use crate::seal::thread::{self, BATCH_READINGS, Handle, Job, StartError};
use crate::shutdown::vital;
use crate::status::{self, Board};
use crate::uplink::{Seams, Uplink};

/// How often the sealer's time goes on, at most and at least, ms.
const TICK_MS: (u64, u64) = (10, 500);
/// How long a stop waits for the last readings to be stored.
const SEAL_MAX: Duration = Duration::from_secs(5);
/// Bytes of blocks that are held in memory where the disk does not serve.
const MEMORY_BYTES_MAX: u64 = 8 << 20;

/// Why the northbound half could not start.
#[derive(Debug, thiserror::Error)]
pub enum NorthError {
    /// No random numbers.
    #[error("cannot draw the epoch")]
    Random(#[source] NoRandom),
    /// No thread or not even a spool in memory.
    #[error("cannot start the spool")]
    Spool(#[source] StartError),
}

/// The running northbound half.
#[derive(Debug)]
pub struct North {
    /// What the status page is made of.
    pub board: Board,
    failed: CancellationToken,
    handle: Handle,
    tasks: TaskTracker,
    feeding: TaskTracker,
    sealed: oneshot::Receiver<()>,
    stop_uplink: CancellationToken,
    stop_status: CancellationToken,
}

/// Starts the northbound half. It runs until the readings end, then waits for [`North::finish`].
///
/// # Errors
/// [`NorthError`]; what lies on the disk or does not answer is never one.
pub fn start(config: &Config, south: Southbound) -> Result<North, NorthError> {
    start_with(config, south, Arc::new(SystemClock::new()))
}

/// As [`start`], with another clock.
///
/// # Errors
/// As [`start`].
pub fn start_with(
    config: &Config,
    south: Southbound,
    clock: Arc<dyn Clock>,
) -> Result<North, NorthError> {
    let gateway = &config.gateway;
    let start = Start::draw().map_err(NorthError::Random)?;
    let flush_ms = u64::try_from(gateway.flush.as_millis()).unwrap_or(u64::MAX).max(1);
    let id = Identity {
        gateway: gateway.name.clone(),
        site: gateway.site.clone(),
        replaces: gateway.replaces.clone(),
        start,
        flush_ms,
    };
    let options = SpoolOptions {
        bytes_max: gateway.spool_bytes_max,
        free_reserve_bytes: gateway.free_reserve_bytes,
        memory_bytes_max: MEMORY_BYTES_MAX,
        now_ms: clock.system_ms(),
    };
    let failed = south.failed;
    let parts =
        thread::Parts { replies: south.replies, clock: Arc::clone(&clock), failed: failed.clone() };
    let handle =
        thread::start(&gateway.spool_dir, &options, id, parts).map_err(NorthError::Spool)?;
    tell(&handle, start);
    let (uplink, progress) = Uplink::new(Seams {
        broker: config.broker.clone(),
        gateway: gateway.name.clone(),
        key: gateway.key.clone(),
        start,
        jobs: handle.jobs.clone(),
        view: handle.view.clone(),
        shown: handle.shown.clone(),
        in_flight: Arc::clone(&handle.in_flight),
        log_id: handle.log_id.map(LogId),
        health: south.health.clone(),
        clock: Arc::clone(&clock),
        tracker: TaskTracker::new(),
    });
    let board = Board {
        gateway: gateway.name.clone(),
        site: gateway.site.as_str().into(),
        start,
        shown: handle.shown.clone(),
        progress,
        health: south.health,
        report: Arc::new(handle.report.clone()),
        clock: Arc::clone(&clock),
    };
    let tasks = TaskTracker::new();
    let (stop_uplink, stop_status) = (CancellationToken::new(), CancellationToken::new());
    let feeding = TaskTracker::new();
    let (tell_sealed, sealed) = oneshot::channel();
    let feeder = feed(south.readings, handle.jobs.clone(), clock, flush_ms, tell_sealed);
    feeding.spawn(vital(failed.clone(), feeder));
    let sending = uplink.run(stop_uplink.clone(), gateway.shutdown_grace);
    tasks.spawn(vital(failed.clone(), sending));
    if let Some(page) = &config.status {
        let serving = status::serve(page.listen, board.clone(), stop_status.clone());
        tasks.spawn(vital(failed.clone(), serving));
    }
    Ok(North { board, failed, handle, tasks, feeding, sealed, stop_uplink, stop_status })
}

impl North {
    /// Cancelled where a task or the spool's thread broke: nothing is carried any more, or soon will not be.
    #[must_use]
    pub fn failed(&self) -> &CancellationToken {
        &self.failed
    }

    /// Stops in order: the readings must have ended (the buses are stopped); what was collected is
    /// sealed, the uplink drains for its grace, the spool closes. What is left is on disk.
    pub async fn finish(self, grace: Duration) {
        let Self { board, failed: _, handle, tasks, feeding, sealed, stop_uplink, stop_status } =
            self;
        if tokio::time::timeout(SEAL_MAX, sealed).await.is_err() {
            warn!("the readings did not end or the disk is slow, stopping all the same");
        }
        stop_uplink.cancel();
        stop_status.cancel();
        tasks.close();
        // The uplink's own grace, its goodbye, and a second for what waits behind the disk.
        if tokio::time::timeout(grace + Duration::from_secs(5), tasks.wait()).await.is_err() {
            warn!("some tasks did not stop in time");
        }
        if handle.jobs.send(Job::Stop).await.is_err() {
            error!("the spool's thread was gone before the stop");
        }
        let joined = tokio::task::spawn_blocking(move || handle.join()).await;
        if !matches!(joined, Ok(Ok(()))) {
            error!("the spool's thread broke");
        }
        feeding.close();
        feeding.wait().await;
        let left = board.shown.borrow().spool.backlog;
        info!(backlog_samples = left, "stopped");
    }
}

fn tell(handle: &Handle, start: Start) {
    let report = &handle.report;
    if let Some(why) = &report.memory {
        error!(reason = %why, "the disk does not serve, blocks are held in memory");
    }
    if let Some((path, why)) = &report.set_aside {
        error!(
            file = %path.display(), reason = %why, salvaged = report.salvaged_blocks,
            lost = report.lost_blocks, "a damaged spool was set aside"
        );
    }
    info!(epoch = %start.epoch, boot = %start.boot, "epoch begun");
}

/// Hands readings and time to the spool's thread, in one order.
async fn feed(
    mut readings: mpsc::Receiver<Reading>,
    jobs: mpsc::Sender<Job>,
    clock: Arc<dyn Clock>,
    flush_ms: u64,
    tell_sealed: oneshot::Sender<()>,
) {
    let mut tick = interval(Duration::from_millis((flush_ms / 2).clamp(TICK_MS.0, TICK_MS.1)));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut batch = Vec::with_capacity(BATCH_READINGS);
    loop {
        tokio::select! {
            biased;
            count = readings.recv_many(&mut batch, BATCH_READINGS) => {
                if count == 0 {
                    break;
                }
                // A full queue holds back the buses: polls are missed and counted, nothing is lost.
                if jobs.send(Job::Readings(std::mem::take(&mut batch))).await.is_err() {
                    return;
                }
            }
            _ = tick.tick() => {
                // A tick that does not fit is not missed: the jobs in the queue carry time as well.
                if let Err(mpsc::error::TrySendError::Closed(_)) = jobs.try_send(Job::Tick(clock.mono_ms())) {
                    return;
                }
            }
        }
    }
    if jobs.send(Job::Seal(tell_sealed)).await.is_err() {
        return;
    }
    // Time goes on while the uplink drains: acks are written, the account is shown.
    while jobs.send(Job::Tick(clock.mono_ms())).await.is_ok() {
        tick.tick().await;
    }
}
