//! What a bus task knows of one device: its plan, what it learnt, what it has already said about failures.
//!
//! No I/O here: the task asks for requests and tells the outcome.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::owed::Owed;
use crate::config::Device;
use crate::decode::decode;
use crate::plan::bisect::{Bisect, Finding};
use crate::plan::cost::{Cost, Learned};
use crate::plan::{self, Limits, Part, Request, Whole};
use crate::profile::Point;
use crate::reading::{Mark, Reading, Replies, RepliesFull, Reply, ReplyPoint, Value};
use crate::schedule::JobId;
use tokio::time::Instant;

/// Unreadable ranges remembered of one device; beyond them its points are read as they are.
const BARRED_MAX: usize = 256;

/// Polls after which the plan is made again with the learnt cost, and then each so many.
const REPLAN_AFTER: u64 = 100;
const REPLAN_EACH: u64 = 20_000;

/// A device on its bus.
#[derive(Debug)]
pub(crate) struct Station {
    pub(crate) device: Device,
    pub(crate) learned: Learned,
    pub(crate) presence: Presence,
    pub(crate) polled: Vec<Polled>,
    pub(crate) search: Option<Search>,
    pub(crate) probe_job: JobId,
    pub(crate) lost_in_a_row: u32,
    /// The answer to an earlier request that may still come, on a serial line.
    pub(crate) owed: Option<Owed>,
    /// Whether it was never asked anything since the start.
    pub(crate) unasked: bool,
    /// A plan was refused because the manifest is full: the device is asked what it always was.
    pub(crate) keeps_plan: bool,
    limits: Limits,
    refused: BTreeSet<usize>,
    /// The refused points that were said to be bad.
    told: BTreeSet<usize>,
    polls: u64,
}

/// Whether a device answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presence {
    /// It answers and is polled.
    Up,
    /// It does not (or was never asked): probed, `tries` times so far.
    Down {
        /// Probes without an answer.
        tries: u32,
        /// Whether its readings were marked stale.
        said: bool,
    },
}

/// A request of the plan in force.
#[derive(Debug)]
pub(crate) struct Polled {
    pub(crate) request: Request,
    pub(crate) parts: Vec<PolledPart>,
    pub(crate) job: JobId,
}

/// A part with the reply number of its readings.
#[derive(Debug)]
pub(crate) struct PolledPart {
    part: Part,
    reply: u32,
    due: Option<Instant>,
    /// The failure that the last reading told of.
    said: Option<Mark>,
}

/// A search for unreadable registers in progress.
#[derive(Debug)]
pub(crate) struct Search {
    pub(crate) bisect: Bisect,
    pub(crate) request: Request,
    wholes: Vec<Whole>,
}

impl Station {
    pub(crate) fn new(device: Device, guess: Cost, probe_job: JobId) -> Self {
        let limits = Limits::of(device.max_regs, &device.forbid);
        Self {
            learned: Learned::new(guess),
            presence: Presence::Down { tries: 0, said: false },
            polled: Vec::new(),
            search: None,
            probe_job,
            lost_in_a_row: 0,
            owed: None,
            unasked: true,
            keeps_plan: false,
            limits,
            refused: BTreeSet::new(),
            told: BTreeSet::new(),
            polls: 0,
            device,
        }
    }

    /// Makes the plan; parts that mean the same keep what they have said. Returns a reading that voids the points
    /// the device refuses, to be sent once.
    pub(crate) fn plan(&mut self, replies: &Replies) -> Result<Option<Reading>, RepliesFull> {
        let points = &self.device.points;
        let refused = &self.refused;
        let cost = self.learned.cost();
        let plan = plan::plan(points, &self.limits, cost, &|index| refused.contains(&index));
        let mut polled = Vec::with_capacity(plan.requests.len());
        for request in plan.requests {
            let mut parts = Vec::with_capacity(request.parts.len());
            for part in &request.parts {
                // A part that only governs others (status words) says nothing by itself.
                let reply = match part.columns.as_slice() {
                    [] => u32::MAX,
                    columns => replies.add(reply(&self.device, part.period, columns))?,
                };
                let old = self.polled.iter().flat_map(|old| &old.parts);
                let same = old.into_iter().find(|old| old.reply == reply);
                parts.push(PolledPart {
                    part: part.clone(),
                    reply,
                    due: same.and_then(|old| old.due),
                    said: same.and_then(|old| old.said),
                });
            }
            polled.push(Polled { request, parts, job: JobId::MAX });
        }
        self.polled = polled;
        self.voided(replies)
    }

    /// The points that the device refuses, in words.
    pub(crate) fn refused(&self) -> String {
        let refused: Vec<usize> = self.refused.iter().copied().collect();
        names(&self.device.points, &refused)
    }

    fn voided(&mut self, replies: &Replies) -> Result<Option<Reading>, RepliesFull> {
        if self.told == self.refused {
            return Ok(None);
        }
        self.told = self.refused.clone();
        let points = &self.device.points;
        let columns: Vec<usize> =
            self.refused.iter().copied().filter(|i| points[*i].quantity.is_some()).collect();
        if columns.is_empty() {
            return Ok(None);
        }
        let period = points[columns[0]].period;
        let reply = replies.add(reply(&self.device, period, &columns))?;
        let mark = Mark::bad(crate::reading::Reason::DeviceException);
        Ok(Some(void(self.device.index, reply, columns.len(), mark)))
    }

    /// The shortest read that shows whether the device is there: a planned one with its slot, so that an answer is a
    /// reading like any other, or one point while nothing is planned.
    pub(crate) fn probe(&self) -> Option<(Option<usize>, Request)> {
        let planned = self.polled.iter().enumerate().min_by_key(|(_, polled)| polled.request.count);
        if let Some((slot, polled)) = planned {
            return Some((Some(slot), polled.request.clone()));
        }
        let points = &self.device.points;
        let readable = (0..points.len()).find(|index| !self.refused.contains(index));
        let point = points.get(readable.unwrap_or(0))?;
        let request = Request {
            table: point.table,
            start: point.address,
            count: point.kind.words(),
            period: point.period,
            parts: Vec::new(),
        };
        Some((None, request))
    }

    /// Decodes an answer into the readings that are due.
    pub(crate) fn deliver(&mut self, slot: usize, words: &[u16], arrived: Instant) -> Vec<Reading> {
        let Some(polled) = self.polled.get_mut(slot) else { return Vec::new() };
        self.polls += 1;
        let (start, fastest) = (polled.request.start, polled.request.period);
        let mut readings = Vec::new();
        for part in &mut polled.parts {
            // The fastest part is taken at each poll; half a period of slack keeps jitter from skipping a slow one.
            let due = part.due.is_none_or(|due| arrived + fastest / 2 >= due);
            if part.part.period > fastest && !due {
                continue;
            }
            if part.part.columns.is_empty() {
                continue;
            }
            part.due = Some(arrived + part.part.period);
            part.said = None;
            let (columns, all) = (&part.part.columns, &part.part.all);
            let values = decode(&self.device.points, columns, all, start, words);
            readings.push(Reading {
                device: self.device.index,
                reply: part.reply,
                arrived,
                values,
            });
        }
        readings
    }

    /// Says once that a request brings no values.
    pub(crate) fn fail(&mut self, slot: usize, mark: Mark) -> Vec<Reading> {
        let index = self.device.index;
        let parts = self.polled.get_mut(slot).map(|polled| polled.parts.iter_mut());
        parts.into_iter().flatten().filter_map(|part| part.say(index, mark)).collect()
    }

    /// Says once that nothing comes from the device any more.
    pub(crate) fn fail_all(&mut self, mark: Mark) -> Vec<Reading> {
        let index = self.device.index;
        let parts = self.polled.iter_mut().flat_map(|polled| polled.parts.iter_mut());
        parts.filter_map(|part| part.say(index, mark)).collect()
    }

    /// Begins a search after a refusal; `None` where a single thing was asked, which is then refused for good.
    pub(crate) fn suspect(&mut self, slot: usize) -> Option<&Search> {
        let polled = self.polled.get(slot)?;
        let all: Vec<usize> = polled.request.parts.iter().flat_map(|p| p.all.clone()).collect();
        let wholes = plan::wholes(&self.device.points, &all);
        if wholes.len() < 2 {
            self.refused.extend(all);
            return None;
        }
        let spans = wholes.iter().map(|whole| whole.span).collect();
        let bisect = Bisect::new(polled.request.table, spans);
        self.search = Some(Search { bisect, request: polled.request.clone(), wholes });
        self.search.as_ref()
    }

    /// Refuses a whole request (the device has no such table).
    pub(crate) fn refuse(&mut self, slot: usize) {
        if let Some(polled) = self.polled.get(slot) {
            self.refused.extend(polled.request.parts.iter().flat_map(|part| part.all.clone()));
        }
    }

    /// Puts what a finished search found into the limits; says it in words for the log.
    pub(crate) fn conclude(&mut self) -> Vec<String> {
        let Some(search) = self.search.take() else { return Vec::new() };
        let mut words = Vec::new();
        for finding in search.bisect.into_findings() {
            match finding {
                Finding::Refused(item) => {
                    let Some(whole) = search.wholes.get(item) else { continue };
                    words.push(format!("refuses {}", names(&self.device.points, &whole.points)));
                    self.refused.extend(&whole.points);
                    let last = whole.span.start.saturating_add(whole.span.count - 1);
                    self.bar(search.request.table, whole.span.start, last);
                }
                Finding::Hole(table, first, last) => {
                    words.push(format!("has no {} {first} to {last}", table.as_str()));
                    self.bar(table, first, last);
                }
                Finding::Shorter(most) => {
                    words.push(format!("takes at most {most} registers a request"));
                    self.limits.max_regs = self.limits.max_regs.min(most);
                }
            }
        }
        words
    }

    /// Remembers that no request may reach over these registers.
    fn bar(&mut self, table: crate::profile::Table, first: u16, last: u16) {
        let bar = (table, first, last);
        if self.limits.barred.len() < BARRED_MAX && !self.limits.barred.contains(&bar) {
            self.limits.barred.push(bar);
        }
    }

    /// Forgets which points were refused: a meter that was starting up refuses what it has.
    pub(crate) fn forgive(&mut self) -> bool {
        let some = !self.refused.is_empty();
        self.refused.clear();
        some
    }

    /// Whether the plan should be made again because the line turned out to cost something else.
    pub(crate) fn outgrown(&mut self) -> bool {
        if self.polls != REPLAN_AFTER
            && (self.polls == 0 || !self.polls.is_multiple_of(REPLAN_EACH))
        {
            return false;
        }
        let cost = self.learned.cost();
        let refused = &self.refused;
        let points = &self.device.points;
        let fresh = plan::plan(points, &self.limits, cost, &|index| refused.contains(&index));
        let load = |requests: &mut dyn Iterator<Item = &Request>| -> u128 {
            requests.map(|r| load_ppb(r, cost)).sum()
        };
        let now = load(&mut self.polled.iter().map(|polled| &polled.request));
        load(&mut fresh.requests.iter()) * 100 < now * 85
    }
}

/// Share of the line that a request takes, in parts per billion.
fn load_ppb(request: &Request, cost: Cost) -> u128 {
    u128::from(cost.of(u32::from(request.count))) * 1_000_000_000 / request.period.as_nanos().max(1)
}

impl PolledPart {
    fn say(&mut self, device: u32, mark: Mark) -> Option<Reading> {
        if self.said == Some(mark) || self.part.columns.is_empty() {
            return None;
        }
        self.said = Some(mark);
        Some(void(device, self.reply, self.part.columns.len(), mark))
    }
}

fn void(device: u32, reply: u32, columns: usize, mark: Mark) -> Reading {
    let values = vec![Value { value: f64::NAN, mark }; columns];
    Reading { device, reply, arrived: Instant::now(), values }
}

pub(crate) fn reply(device: &Device, period: Duration, columns: &[usize]) -> Reply {
    let point = |index: &usize| {
        let point: &Point = &device.points[*index];
        ReplyPoint {
            quantity: point.quantity.clone().unwrap_or_else(|| "".into()),
            unit: Arc::clone(&point.unit),
        }
    };
    Reply {
        device: device.index,
        device_id: Arc::clone(&device.id),
        period_ms: u32::try_from(period.as_millis()).unwrap_or(u32::MAX),
        points: columns.iter().map(point).collect(),
        profile: Arc::clone(&device.profile),
        profile_version: Arc::clone(&device.profile_version),
    }
}

fn names(points: &[Point], members: &[usize]) -> String {
    let name = |index: &usize| {
        let point = &points[*index];
        let place = format!("{} {}", point.table.as_str(), point.address);
        point.quantity.as_ref().map_or(place.clone(), |name| format!("{name} ({place})"))
    };
    members.iter().map(name).collect::<Vec<_>>().join(", ")
}
