//! Silent devices: probed with one short read, rarely, so that they cost their neighbours nothing.
//!
//! After a probe that cost time t no silent device of the endpoint is asked for 10·t, which bounds their share of the
//! bus to a tenth however many they are; the first question to each at the start is paid for later. A probe waits only three times as long as the neighbours take to answer, then
//! longer at each try, but never so long that a neighbour's poll would miss its tick.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;
use tracing::{info, warn};

use super::device::{Presence, Station};
use super::frame::Reply;
use super::link::LinkError;
use super::task::{Closed, Task, backoff, millis};
use crate::reading::{Mark, Reason};

/// First and longest pause between probes of one device.
const PROBE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// Quiet time after a fruitless probe, as a multiple of what it cost: less than a tenth of the bus.
const QUIET_FACTOR: u32 = 10;

/// Shortest wait for an answer to a probe.
const LIMIT_MIN: Duration = Duration::from_millis(50);

/// Wait for an answer to a probe while no neighbour has shown how long answers take.
const LIMIT_UNKNOWN: Duration = Duration::from_millis(250);

impl Task {
    /// A device that answered has stopped: its polls end, a probe decides whether it was a slip.
    pub(crate) async fn went_silent(
        &mut self,
        station: usize,
        cost: Duration,
        why: &'static str,
    ) -> Result<(), Closed> {
        self.spent(cost);
        let polls: Vec<_> = self.stations[station].polled.iter().map(|p| p.job).collect();
        for job in polls {
            self.schedule.remove(job);
        }
        self.stations[station].search = None;
        self.stations[station].presence = Presence::Down { tries: 0, said: false };
        tracing::debug!(device = %self.stations[station].device.id, why, "poll had no answer");
        let release = self.now();
        let job = self.stations[station].probe_job;
        self.schedule.put(job, millis(PROBE.0), release);
        Ok(())
    }

    /// Time lost on a silent device buys quiet for the others.
    fn spent(&mut self, cost: Duration) {
        self.health().dead(cost);
        if self.is_shared() {
            self.quiet_until = self.quiet_until.max(Instant::now()) + cost * QUIET_FACTOR;
        }
    }

    pub(crate) async fn probe(&mut self, station: usize) -> Result<(), Closed> {
        let Presence::Down { tries, said } = self.stations[station].presence else {
            return self.end_probe(station);
        };
        let job = self.stations[station].probe_job;
        // A device that was never asked is asked at once, or live ones would wait behind silent ones at the start.
        let first = std::mem::take(&mut self.stations[station].unasked);
        if !first && Instant::now() < self.quiet_until {
            let release = self.at(self.quiet_until);
            self.schedule.put(job, millis(PROBE.0), release);
            return Ok(());
        }
        if let Some(until) = self.owes_until(station) {
            let release = self.at(until);
            self.schedule.put(job, millis(PROBE.0), release);
            return Ok(());
        }
        let Some((slot, request)) = self.stations[station].probe() else {
            return self.end_probe(station);
        };
        let limit = self.probe_limit(tries);
        let began = Instant::now();
        let outcome = self.exchange(station, &request, limit).await;
        match outcome {
            Ok(answered) if !is_unit_down(&answered.reply) => {
                if let (Some(slot), Reply::Words(_)) = (slot, &answered.reply) {
                    self.answered(station, slot, answered).await?;
                }
                return self.came_back(station).await;
            }
            Err(LinkError::Lost(_) | LinkError::Unasked(_)) if tries == 0 && !said => {
                // The link broke under the probe: that says nothing of the device yet.
                self.stations[station].presence = Presence::Down { tries: 1, said };
                let release = self.now();
                self.schedule.put(job, millis(PROBE.0), release);
                return Ok(());
            }
            _ => {}
        }
        self.spent(began.elapsed());
        if !said {
            let id = &self.stations[station].device.id;
            let why = self.device_health(station).problem();
            warn!(device = %id, bus = %self.bus.name, why, "device does not answer");
            self.device_health(station).online.store(false, Ordering::Relaxed);
            let readings = self.stations[station].fail_all(Mark::stale(Reason::Timeout));
            self.send(readings).await?;
        }
        let tries = tries.saturating_add(1);
        self.stations[station].presence = Presence::Down { tries, said: true };
        let pause = backoff(PROBE, tries, &self.stations[station].device.id);
        let release = self.now() + millis(pause);
        self.schedule.put(job, millis(PROBE.0), release);
        Ok(())
    }

    async fn came_back(&mut self, station: usize) -> Result<(), Closed> {
        let was = self.stations[station].presence;
        self.stations[station].presence = Presence::Up;
        self.schedule.remove(self.stations[station].probe_job);
        if let Presence::Down { said: true, .. } = was {
            info!(device = %self.stations[station].device.id, "device answers again");
            if self.stations[station].forgive() {
                return self.replan(station).await;
            }
        }
        self.start_polls(station);
        Ok(())
    }

    fn end_probe(&mut self, station: usize) -> Result<(), Closed> {
        self.schedule.remove(self.stations[station].probe_job);
        Ok(())
    }

    /// How long a probe may wait.
    fn probe_limit(&self, tries: u32) -> Duration {
        if !self.is_shared() {
            return self.bus.timeout;
        }
        let slowest = self.up().filter_map(|station| station.learned.high()).max();
        let base = slowest.map_or(LIMIT_UNKNOWN, |high| (high * 3).max(LIMIT_MIN));
        base.saturating_mul(1 << tries.min(10)).min(self.slack()).min(self.bus.timeout)
    }

    /// How long the line may be held up so that no neighbour's poll misses its tick.
    pub(crate) fn slack(&self) -> Duration {
        let periods = self.up().flat_map(|station| station.polled.iter().map(|p| p.request.period));
        periods.min().map_or(self.bus.timeout, |period| (period / 2).max(LIMIT_MIN))
    }

    fn up(&self) -> impl Iterator<Item = &Station> {
        self.stations.iter().filter(|station| station.presence == Presence::Up)
    }
}

fn is_unit_down(reply: &Reply) -> bool {
    matches!(reply, Reply::Exception(exception) if exception.is_unit_down())
}
