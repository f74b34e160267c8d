//! Earliest deadline first: which poll of a bus is next, without drift and without a queue.
//!
//! A job is released at `phase + k·period` and due one period later. Of the released jobs the one with the earliest
//! deadline runs; a tick that passed while it waited is counted as missed and skipped, never made up. Phases spread
//! the devices over their period. Pure: times are milliseconds of any monotonic clock the bus task chooses.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

/// Name of a job on its bus.
pub type JobId = u32;

/// Times a job may have and be re-timed: one entry a job, so at most this many on a bus.
pub const JOBS_MAX: usize = 65_536;

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Run this job.
    Run(JobId),
    /// Nothing is due before this time (ms).
    Wait(u64),
    /// There is no job.
    Idle,
}

#[derive(Debug, Clone, Copy)]
struct Job {
    period: u64,
    release: u64,
    /// Entries of the heaps made before this generation are void.
    generation: u32,
    /// Taken out by `next`, not yet done; a job that was put again meanwhile is not.
    out: bool,
}

/// The jobs of one bus.
#[derive(Debug, Default)]
pub struct Schedule {
    jobs: BTreeMap<JobId, Job>,
    waiting: BinaryHeap<Reverse<(u64, JobId, u32)>>,
    ready: BinaryHeap<Reverse<(u64, JobId, u32)>>,
    missed: u64,
}

impl Schedule {
    /// Adds a job, or gives it a new period; its first release is `release`. Periods below 1 ms count as 1 ms.
    /// Beyond [`JOBS_MAX`] the job is not taken and `false` returned.
    pub fn put(&mut self, id: JobId, period: u64, release: u64) -> bool {
        let generation = self.jobs.get(&id).map_or(0, |job| job.generation.wrapping_add(1));
        if self.jobs.len() >= JOBS_MAX && !self.jobs.contains_key(&id) {
            return false;
        }
        self.jobs.insert(id, Job { period: period.max(1), release, generation, out: false });
        self.waiting.push(Reverse((release, id, generation)));
        true
    }

    /// Forgets a job.
    pub fn remove(&mut self, id: JobId) {
        self.jobs.remove(&id);
    }

    /// The job to run at `now`. It is taken out until [`Self::done`].
    pub fn next(&mut self, now: u64) -> Next {
        while let Some(Reverse((release, id, generation))) = self.waiting.peek().copied() {
            if release > now {
                break;
            }
            self.waiting.pop();
            if let Some(job) = self.current(id, generation) {
                self.ready.push(Reverse((release + job.period, id, generation)));
            }
        }
        while let Some(Reverse((_, id, generation))) = self.ready.pop() {
            if let Some(job) = self.jobs.get_mut(&id).filter(|job| job.generation == generation) {
                job.out = true;
                return Next::Run(id);
            }
        }
        loop {
            match self.waiting.peek().copied() {
                None => return Next::Idle,
                Some(Reverse((release, id, generation))) => {
                    if self.current(id, generation).is_some() {
                        return Next::Wait(release);
                    }
                    self.waiting.pop();
                }
            }
        }
    }

    /// Ends the run of a job: its next release is one period after the last, ticks already past are missed.
    /// Returns how many were. A job that was put again (or removed) while it ran keeps that time.
    pub fn done(&mut self, id: JobId, now: u64) -> u64 {
        let Some(job) = self.jobs.get_mut(&id).filter(|job| job.out) else { return 0 };
        job.out = false;
        job.release += job.period;
        let late = now.saturating_sub(job.release);
        // A release that has come but whose deadline has not is still on time.
        let missed = late / job.period;
        job.release += missed * job.period;
        self.missed += missed;
        self.waiting.push(Reverse((job.release, id, job.generation)));
        missed
    }

    /// Ticks skipped since the start.
    #[must_use]
    pub const fn missed(&self) -> u64 {
        self.missed
    }

    fn current(&self, id: JobId, generation: u32) -> Option<Job> {
        self.jobs.get(&id).copied().filter(|job| job.generation == generation)
    }
}

/// Where in its period a device's polls begin: the same at each start, spread over devices.
#[must_use]
pub fn phase(device: &str, period: u64) -> u64 {
    // FNV-1a, 64 bits: stable for ever, unlike the standard hasher.
    let hash = device.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    (hash ^ hash >> 29) % period.max(1)
}

#[cfg(test)]
mod tests;
