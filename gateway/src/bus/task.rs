//! One task owns one endpoint: one connection, one request in flight, earliest deadline first.
//!
//! A timeout discards the connection and the next request makes a new one at once; a refused connection is retried
//! with backoff. Nothing here can write: requests are made of [`super::frame::Request`] only.
//! `poll.rs` has what an answer leads to, `probe.rs` how a silent device is kept from costing its neighbours.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use super::device::{Presence, Station};
use super::frame::{Reply, Request as Ask};
use super::health::{BusHealth, Health, count};
use super::link::{Answered, Connect, Link, LinkError, cause, words};
use crate::config::Bus;
use crate::plan::Request;
use crate::plan::cost::Cost;
use crate::reading::{Mark, Reading, Reason, Replies, RepliesFull};
use crate::schedule::{JobId, Next, Schedule};

/// First and longest pause before a refused connection is tried again.
const RECONNECT: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// What a job of the schedule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Job {
    /// Polls request `slot` of a station.
    Poll { station: usize, slot: usize },
    /// Asks a silent station for a sign of life.
    Probe { station: usize },
    /// Takes the next step of a search for unreadable registers.
    Search { station: usize },
    /// Tries refused points again.
    Forgive { station: usize },
}

/// What a bus task is given.
#[derive(Debug, Clone)]
pub(crate) struct Seams {
    pub(crate) connector: Arc<dyn Connect>,
    pub(crate) readings: mpsc::Sender<Reading>,
    pub(crate) replies: Replies,
    pub(crate) health: Health,
}

/// The sealer is gone: there is nobody to read for.
#[derive(Debug)]
pub(crate) struct Closed;

/// The state of one bus.
pub(crate) struct Task {
    pub(crate) bus: Bus,
    pub(crate) index: usize,
    pub(crate) seams: Seams,
    pub(crate) stations: Vec<Station>,
    pub(crate) schedule: Schedule,
    pub(crate) jobs: BTreeMap<JobId, Job>,
    /// No silent device is asked before this time.
    pub(crate) quiet_until: Instant,
    link: Option<Link>,
    next_job: JobId,
    connect_failures: u32,
    start: Instant,
    free_at: Instant,
}

impl Task {
    pub(crate) fn new(index: usize, mut bus: Bus, seams: Seams) -> Self {
        let now = Instant::now();
        let devices = std::mem::take(&mut bus.devices);
        let baud = bus.line_baud;
        let mut task = Self {
            bus,
            index,
            seams,
            stations: Vec::with_capacity(devices.len()),
            schedule: Schedule::default(),
            jobs: BTreeMap::new(),
            quiet_until: now,
            link: None,
            next_job: 0,
            connect_failures: 0,
            start: now,
            free_at: now,
        };
        for (station, device) in devices.into_iter().enumerate() {
            let job = task.new_job(Job::Probe { station });
            let first = crate::schedule::phase(&device.id, 1_000);
            task.schedule.put(job, 1_000, first);
            let guess = Cost::guess(device.turnaround, baud);
            task.stations.push(Station::new(device, guess, job));
        }
        task
    }

    /// Runs until the sealer is gone. Dropping the future closes the connection and loses nothing that was read.
    pub(crate) async fn run(mut self) -> Closed {
        for station in 0..self.stations.len() {
            if let Err(closed) = self.replan(station).await {
                return closed;
            }
        }
        loop {
            if let Err(closed) = self.step().await {
                return closed;
            }
        }
    }

    async fn step(&mut self) -> Result<(), Closed> {
        if self.link.is_none() {
            self.connect().await?;
            return Ok(());
        }
        match self.schedule.next(self.now()) {
            Next::Idle => std::future::pending().await,
            Next::Wait(until) => sleep_until(self.start + Duration::from_millis(until)).await,
            Next::Run(id) => {
                let job = self.jobs.get(&id).copied();
                match job {
                    Some(Job::Poll { station, slot }) => self.poll(station, slot).await?,
                    Some(Job::Probe { station }) => self.probe(station).await?,
                    Some(Job::Search { station }) => self.search(station).await?,
                    Some(Job::Forgive { station }) => self.forgive(station).await?,
                    None => {}
                }
                let now = self.now();
                let missed = self.schedule.done(id, now);
                count(&self.health().missed, missed);
            }
        }
        Ok(())
    }

    /// Supervised connecting: at once after a link that was discarded, with backoff after a refusal.
    async fn connect(&mut self) -> Result<(), Closed> {
        let limit = self.bus.timeout;
        match Link::open(&*self.seams.connector, &self.bus.address, self.bus.framing, limit).await {
            Ok(link) => {
                self.link = Some(link);
                if self.connect_failures > 0 {
                    info!(bus = %self.bus.name, attempts = self.connect_failures, "connected again");
                }
                self.connect_failures = 0;
                count(&self.health().connects, 1);
                self.health().connected.store(true, Ordering::Relaxed);
                Ok(())
            }
            Err(error) => {
                self.connect_failures = self.connect_failures.saturating_add(1);
                if self.connect_failures == 1 {
                    let cause = cause(&error);
                    warn!(bus = %self.bus.name, address = %self.bus.address, error = %error, cause, "cannot connect");
                }
                self.endpoint_down(&words(&error)).await?;
                let pause = backoff(RECONNECT, self.connect_failures, &self.bus.name);
                tokio::time::sleep(pause).await;
                Ok(())
            }
        }
    }

    /// Nothing of this bus can be read: says so, once, for every device.
    async fn endpoint_down(&mut self, why: &str) -> Result<(), Closed> {
        let mark = Mark::stale(Reason::LinkDown);
        for station in 0..self.stations.len() {
            let health = self.device_health(station);
            health.online.store(false, Ordering::Relaxed);
            health.has_problem(why.to_owned());
            let readings = self.stations[station].fail_all(mark);
            self.send(readings).await?;
        }
        Ok(())
    }

    /// One exchange with its bookkeeping. On an error the connection is gone.
    pub(crate) async fn exchange(
        &mut self,
        station: usize,
        request: &Request,
        limit: Duration,
    ) -> Result<Answered, LinkError> {
        let Some(mut link) = self.link.take() else {
            return Err(LinkError::Lost(std::io::ErrorKind::NotConnected.into()));
        };
        sleep_until(self.free_at).await;
        let unit = self.stations[station].device.unit;
        let Request { table, start, count: registers, .. } = *request;
        let began = Instant::now();
        let ask = Ask::Read { table, start, count: registers };
        self.name_owing(&mut link);
        let outcome = match link.exchange(unit, ask, limit).await {
            Ok(pair) => self.make_sure(station, limit, pair).await,
            Err(error) => Err(error),
        };
        let ended = Instant::now();
        self.free_at = ended + self.bus.min_gap;
        let health = self.health();
        count(&health.requests, 1);
        health.busy(ended - began);
        match outcome {
            Ok((link, answered)) => {
                self.link = Some(link);
                count(&self.health().late_answers, answered.late.into());
                if let Reply::Exception(exception) = answered.reply {
                    count(&self.health().exceptions, 1);
                    let (zh, en) = exception.meaning();
                    let words = format!("异常码 {0} {zh} exception {0}: {en}", exception.0);
                    self.device_health(station).has_problem(words);
                } else if !answered.is_sign {
                    self.stations[station].learned.observe(registers, answered.round_trip);
                }
                Ok(answered)
            }
            Err(error) => {
                health.connected.store(false, Ordering::Relaxed);
                match error {
                    LinkError::Timeout(_) => count(&health.timeouts, 1),
                    LinkError::Frame(_) => count(&health.broken_answers, 1),
                    LinkError::Unasked(_) => count(&health.late_answers, 1),
                    LinkError::Lost(_) => {}
                }
                self.device_health(station).has_problem(words(&error));
                self.owes(station, &error);
                Err(error)
            }
        }
    }

    /// Makes a station's plan and puts its polls into the schedule.
    pub(crate) async fn replan(&mut self, station: usize) -> Result<(), Closed> {
        let old: Vec<JobId> = self.stations[station].polled.iter().map(|p| p.job).collect();
        let voided = match self.stations[station].plan(&self.seams.replies) {
            Ok(voided) => voided,
            Err(full) => {
                return self.keep_plan(station, full).await;
            }
        };
        self.device_health(station).refuses(self.stations[station].refused());
        for job in old {
            self.drop_job(job);
        }
        for slot in 0..self.stations[station].polled.len() {
            let job = self.new_job(Job::Poll { station, slot });
            self.stations[station].polled[slot].job = job;
        }
        if self.stations[station].presence == Presence::Up {
            self.start_polls(station);
        }
        self.send(voided).await
    }

    /// The manifest has no room for another plan: the old one goes on, and what it cannot read is said to be bad.
    async fn keep_plan(&mut self, station: usize, full: RepliesFull) -> Result<(), Closed> {
        if !std::mem::replace(&mut self.stations[station].keeps_plan, true) {
            warn!(device = %self.stations[station].device.id, error = %full, "the plan stays as it is");
        }
        if self.stations[station].presence == Presence::Up {
            self.start_polls(station);
        }
        Ok(())
    }

    pub(crate) fn start_polls(&mut self, station: usize) {
        let now = self.now();
        let station = &self.stations[station];
        for polled in &station.polled {
            let period = millis(polled.request.period);
            // The first poll comes soon whatever the period; devices that return together spread over a second.
            let spread = crate::schedule::phase(&station.device.id, period.min(1_000));
            self.schedule.put(polled.job, period, now + spread);
        }
    }

    pub(crate) async fn send(
        &mut self,
        readings: impl IntoIterator<Item = Reading>,
    ) -> Result<(), Closed> {
        for reading in readings {
            self.seams.readings.send(reading).await.map_err(|_| Closed)?;
        }
        Ok(())
    }

    pub(crate) fn new_job(&mut self, job: Job) -> JobId {
        let id = self.next_job;
        self.next_job = self.next_job.wrapping_add(1);
        self.jobs.insert(id, job);
        id
    }

    pub(crate) fn drop_job(&mut self, job: JobId) {
        self.jobs.remove(&job);
        self.schedule.remove(job);
    }

    pub(crate) fn now(&self) -> u64 {
        millis(Instant::now().saturating_duration_since(self.start))
    }

    pub(crate) fn at(&self, time: Instant) -> u64 {
        // Rounded up, so that a job put at this time is not released before it.
        millis(time.saturating_duration_since(self.start)) + 1
    }

    pub(crate) fn is_shared(&self) -> bool {
        self.stations.len() > 1
    }

    pub(crate) fn health(&self) -> &BusHealth {
        &self.seams.health.buses[self.index]
    }

    pub(crate) fn device_health(&self, station: usize) -> &super::health::DeviceHealth {
        let index = usize::try_from(self.stations[station].device.index).unwrap_or(usize::MAX);
        &self.seams.health.devices[index]
    }
}

/// Doubles from the first to the longest pause, less up to a fifth by name and attempt, so that buses do not march.
pub(crate) fn backoff(range: (Duration, Duration), attempt: u32, name: &str) -> Duration {
    let doubled = range.0.saturating_mul(1 << attempt.saturating_sub(1).min(16)).min(range.1);
    let fifth = millis(doubled) / 5;
    let jitter = crate::schedule::phase(&format!("{name}#{attempt}"), fifth.max(1));
    doubled - Duration::from_millis(jitter)
}

pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
