//! Condenses hours: minutes from samples, hours from minutes, each into a bucket of its own.
//!
//! The database does the work (Flux `to()`), hour by hour, told by the marks of [`Dirty`]: a sample that comes late marks
//! its hour again, and the hour is rebuilt whole. InfluxDB's own tasks would see the newest hours only.
//! A thread of its own: what is slow here slows neither the writer nor an alarm, and history stays right meanwhile.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use super::dirty::{Dirty, Job};
use super::query::Client;
use super::{INFLUX, InfluxOptions, StoreError, flux, push, unavailable};
use crate::clock::{Clock as _, SystemClock};
use crate::store::bounds::EARLIEST_MS;
use crate::store::history::TIME_MAX_MS;

/// How often the thread looks for work.
const LOOK: Duration = Duration::from_secs(2);
/// Pause after a failure.
const PAUSE: Duration = Duration::from_secs(30);
/// Longest time that one piece of work may take.
const TIMEOUT: Duration = Duration::from_secs(600);

/// The thread that condenses; ends when dropped, after the request under way.
#[derive(Debug)]
pub(super) struct Rollup {
    /// Closed at the end; nothing is ever sent.
    _stop: SyncSender<()>,
}

/// What a run works with.
struct Works<'a> {
    runtime: tokio::runtime::Runtime,
    client: Client,
    org: &'a str,
    dirty: &'a Dirty,
}

impl Rollup {
    pub(super) fn start(options: &InfluxOptions, dirty: Arc<Dirty>) -> Result<Self, StoreError> {
        let (stop, stopped) = sync_channel::<()>(0);
        let options = options.clone();
        let condense = move || {
            let mut pause = LOOK.min(options.quiet);
            while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(pause) {
                pause = match run(&options, &dirty, &|| is_over(&stopped)) {
                    Ok(()) => LOOK,
                    Err(error) => {
                        tracing::warn!(error = %crate::chain_of(&error),
                            "hours cannot be condensed now; history is read from the samples meanwhile");
                        PAUSE
                    }
                };
            }
        };
        std::thread::Builder::new()
            .name("davy-condense".to_owned())
            .spawn(condense)
            .map_err(|e| unavailable(format!("no thread to condense hours: {e}")))?;
        Ok(Self { _stop: stop })
    }
}

fn is_over(stopped: &std::sync::mpsc::Receiver<()>) -> bool {
    matches!(stopped.try_recv(), Err(std::sync::mpsc::TryRecvError::Disconnected))
}

impl<'a> Works<'a> {
    fn new(options: &'a InfluxOptions, dirty: &'a Dirty) -> Result<Self, StoreError> {
        let client = Client::patient(options, TIMEOUT)?;
        Ok(Self { runtime: push::runtime(INFLUX)?, client, org: &options.org, dirty })
    }

    /// Where nothing was ever condensed, finds out where the data begin and end: years of nothing need no work.
    fn begin(&self) -> Result<(), StoreError> {
        if !self.dirty.is_untouched() {
            return Ok(());
        }
        let (mut oldest, mut newest) = (i64::MAX, i64::MIN);
        let text = flux::ends(&self.client.bucket, EARLIEST_MS, TIME_MAX_MS);
        self.client.ask(&self.runtime, &text, |row| {
            (oldest, newest) = (oldest.min(row.time), newest.max(row.time));
        })?;
        self.dirty.lies_within(oldest, newest)
    }

    fn condense(&self, job: &Job) -> Result<(), StoreError> {
        let names = (self.org, self.client.bucket.as_str());
        let site = job.site.as_deref();
        self.client.ask(&self.runtime, &flux::minutes(names, site, job.range), |_| {})?;
        self.client.ask(&self.runtime, &flux::hours(names, site, job.range), |_| {})
    }

    fn one(&self, ended: i64, quiet: Duration) -> Result<bool, StoreError> {
        let Some(job) = self.dirty.take(ended, quiet) else { return Ok(false) };
        let begun = SystemClock.mono_ms();
        let done = self.condense(&job);
        let took = (SystemClock.mono_ms() - begun).unsigned_abs();
        self.dirty.finish(done.is_ok(), Duration::from_millis(took))?;
        done.map(|()| true)
    }
}

/// Condenses what has ended and is quiet.
fn run(
    options: &InfluxOptions,
    dirty: &Dirty,
    is_over: &dyn Fn() -> bool,
) -> Result<(), StoreError> {
    let works = Works::new(options, dirty)?;
    works.begin()?;
    let settle = i64::try_from(options.settle.as_millis()).unwrap_or(i64::MAX);
    while !is_over() && works.one(SystemClock.now_ms() - settle, options.quiet)? {}
    Ok(())
}

/// Condenses everything that is marked, ended or not.
pub(super) fn all(options: &InfluxOptions, dirty: &Dirty) -> Result<(), StoreError> {
    let works = Works::new(options, dirty)?;
    works.begin()?;
    while works.one(i64::MAX, Duration::ZERO)? {}
    Ok(())
}
