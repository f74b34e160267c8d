//! What the answer to a poll leads to: readings, a search for unreadable registers, or a device that is silent.
//!
//! Each request has its own result: a failed one voids its own points and no others.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tracing::{info, warn};

use super::device::Presence;
use super::frame::{Exception, Reply};
use super::health::count;
use super::link::{Answered, LinkError, cause};
use super::task::{Closed, Job, Task, millis};
use crate::reading::{Mark, Reason};

/// Refused points are tried again after this time: firmware is updated, meters are exchanged.
const FORGIVE_AFTER: Duration = Duration::from_secs(3_600);

/// Answers seen before a device's timeout follows its own round trips.
const TRUST_ROUND_TRIPS: u32 = 20;

/// Shortest timeout of a device that is known to answer.
const LIMIT_MIN: Duration = Duration::from_millis(200);

/// Connections lost on one device in a row after which it counts as the cause.
const LOST_MAX: u32 = 2;

impl Task {
    pub(crate) async fn poll(&mut self, station: usize, slot: usize) -> Result<(), Closed> {
        let Some(polled) = self.stations[station].polled.get(slot) else { return Ok(()) };
        if self.owes_until(station).is_some() {
            return Ok(());
        }
        let request = polled.request.clone();
        let limit = self.poll_limit(station);
        match self.exchange(station, &request, limit).await {
            Ok(answered) => self.answered(station, slot, answered).await,
            Err(error) => self.failed(station, slot, limit, error).await,
        }
    }

    /// A shared endpoint does not wait the full timeout for a device whose answers are known to come sooner.
    fn poll_limit(&self, station: usize) -> Duration {
        let learned = &self.stations[station].learned;
        match learned.high() {
            Some(high) if self.is_shared() && learned.seen() >= TRUST_ROUND_TRIPS => {
                (high * 8).max(LIMIT_MIN).min(self.bus.timeout)
            }
            _ => self.bus.timeout,
        }
    }

    pub(crate) async fn answered(
        &mut self,
        station: usize,
        slot: usize,
        answered: Answered,
    ) -> Result<(), Closed> {
        self.stations[station].lost_in_a_row = 0;
        match answered.reply {
            Reply::Words(_) if answered.is_sign => {
                self.device_health(station).replied(answered.arrived);
                self.device_health(station).online.store(true, Ordering::Relaxed);
                Ok(())
            }
            Reply::Words(words) => {
                self.device_health(station).replied(answered.arrived);
                self.device_health(station).online.store(true, Ordering::Relaxed);
                let readings = self.stations[station].deliver(slot, &words, answered.arrived);
                self.send(readings).await?;
                if self.stations[station].outgrown() {
                    self.replan(station).await?;
                }
                Ok(())
            }
            Reply::Exception(exception) => self.refused(station, slot, exception, answered).await,
            Reply::Identity(_) => Ok(()),
        }
    }

    async fn refused(
        &mut self,
        station: usize,
        slot: usize,
        exception: Exception,
        answered: Answered,
    ) -> Result<(), Closed> {
        count(&self.device_health(station).errors, 1);
        if exception.is_unit_down() {
            return self.went_silent(station, answered.round_trip, exception.meaning().1).await;
        }
        let id = std::sync::Arc::clone(&self.stations[station].device.id);
        match exception {
            // What the device refuses cannot be learnt any more: no plan without it would be taken.
            exception if exception.0 <= 3 && self.stations[station].keeps_plan => {
                self.say_exception(station, slot, exception).await
            }
            Exception(1) => {
                warn!(device = %id, "device does not know the function of a table it is asked for");
                self.stations[station].refuse(slot);
                self.forgive_later(station);
                self.replan(station).await
            }
            exception if exception.is_refusal() => {
                if self.stations[station].search.is_some() {
                    return Ok(());
                }
                if self.stations[station].suspect(slot).is_some() {
                    let job = self.stations[station].polled[slot].job;
                    self.schedule.remove(job);
                    let job = self.new_job(Job::Search { station });
                    let now = self.now();
                    self.schedule.put(job, 1_000, now);
                    return Ok(());
                }
                let points = self.stations[station].refused();
                warn!(device = %id, code = exception.0, points, "device refuses points; check their registers");
                self.forgive_later(station);
                self.replan(station).await
            }
            _ => self.say_exception(station, slot, exception).await,
        }
    }

    async fn say_exception(
        &mut self,
        station: usize,
        slot: usize,
        exception: Exception,
    ) -> Result<(), Closed> {
        let readings = self.stations[station].fail(slot, Mark::bad(Reason::DeviceException));
        if !readings.is_empty() {
            let (id, meaning) = (&self.stations[station].device.id, exception.meaning().1);
            warn!(device = %id, code = exception.0, meaning, "device answers with an exception");
        }
        self.send(readings).await
    }

    async fn failed(
        &mut self,
        station: usize,
        slot: usize,
        limit: Duration,
        error: LinkError,
    ) -> Result<(), Closed> {
        count(&self.device_health(station).errors, 1);
        match error {
            LinkError::Timeout(_) => self.went_silent(station, limit, "no answer").await,
            LinkError::Frame(_) => {
                let mark = Mark::bad(Reason::Protocol);
                let readings = self.stations[station].fail(slot, mark);
                if !readings.is_empty() {
                    let (id, cause) = (&self.stations[station].device.id, cause(&error));
                    warn!(device = %id, cause, "answer makes no sense, connection discarded");
                }
                self.send(readings).await
            }
            LinkError::Lost(_) | LinkError::Unasked(_) => {
                let lost = &mut self.stations[station].lost_in_a_row;
                *lost += 1;
                if *lost < LOST_MAX {
                    return Ok(());
                }
                *lost = 0;
                self.went_silent(station, limit, "connection is cut when it is asked").await
            }
        }
    }

    /// One step of a search. Anything but an answer or a refusal ends it; the next refusal begins another.
    pub(crate) async fn search(&mut self, station: usize) -> Result<(), Closed> {
        let running = self.stations[station].search.as_ref();
        let step = running.and_then(|s| s.bisect.next().map(|span| (span, s.request.clone())));
        let Some((span, mut request)) = step else { return self.end_search(station).await };
        if let Some(until) = self.owes_until(station) {
            self.search_again(station, self.at(until));
            return Ok(());
        }
        (request.start, request.count) = (span.start, span.count);
        let limit = self.poll_limit(station);
        let read = match self.exchange(station, &request, limit).await {
            Ok(Answered { is_sign: true, .. }) => {
                self.search_again(station, self.now());
                return Ok(());
            }
            Ok(Answered { reply: Reply::Words(_), .. }) => true,
            Ok(Answered { reply: Reply::Exception(exception), .. }) if exception.is_refusal() => {
                false
            }
            Ok(_) => {
                self.stations[station].search = None;
                return self.end_search(station).await;
            }
            Err(error) => {
                self.stations[station].search = None;
                self.end_search(station).await?;
                return self.failed(station, usize::MAX, limit, error).await;
            }
        };
        if let Some(search) = &mut self.stations[station].search {
            search.bisect.answer(read);
        }
        let more =
            self.stations[station].search.as_ref().is_some_and(|s| s.bisect.next().is_some());
        if more {
            // The next step comes as soon as nothing more urgent waits.
            self.search_again(station, self.now());
            return Ok(());
        }
        self.end_search(station).await
    }

    fn search_again(&mut self, station: usize, at: u64) {
        let jobs = self.jobs.iter().find(|(_, job)| **job == Job::Search { station });
        if let Some(id) = jobs.map(|(id, _)| *id) {
            self.schedule.put(id, 1_000, at);
        }
    }

    async fn end_search(&mut self, station: usize) -> Result<(), Closed> {
        let mine = |job: &Job| *job == Job::Search { station };
        let jobs: Vec<_> =
            self.jobs.iter().filter(|(_, job)| mine(job)).map(|(id, _)| *id).collect();
        for job in jobs {
            self.drop_job(job);
        }
        let findings = self.stations[station].conclude();
        if !findings.is_empty() {
            let id = &self.stations[station].device.id;
            info!(device = %id, findings = findings.join("; "), "learnt what the device cannot read");
            self.forgive_later(station);
        }
        if self.stations[station].presence == Presence::Up {
            self.replan(station).await?;
        }
        Ok(())
    }

    fn forgive_later(&mut self, station: usize) {
        if self.jobs.values().any(|job| *job == Job::Forgive { station }) {
            return;
        }
        let job = self.new_job(Job::Forgive { station });
        let release = self.now() + millis(FORGIVE_AFTER);
        self.schedule.put(job, millis(FORGIVE_AFTER), release);
    }

    pub(crate) async fn forgive(&mut self, station: usize) -> Result<(), Closed> {
        if self.stations[station].forgive() {
            self.replan(station).await?;
        }
        Ok(())
    }
}
