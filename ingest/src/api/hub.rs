//! From the running parts to the open streams: numbered events, a bounded memory of the newest for resuming, a bounded
//! queue per stream. Publishing never waits; a stream that cannot follow is told to fetch everything again.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use serde::Serialize;
use tokio::sync::broadcast;

use super::source::LiveValue;

/// Events kept for resuming.
const EVENTS_KEPT_MAX: usize = 4_096;
/// Bytes of events kept for resuming.
const BYTES_KEPT_MAX: usize = 16 * 1024 * 1024;
/// Events that may wait for one stream.
const QUEUE_MAX: usize = 256;
/// Values waiting for the next flush, one per series; beyond it newer series wait for the flush after.
const VALUES_WAITING_MAX: usize = 100_000;

/// One event.
#[derive(Debug, PartialEq)]
pub(crate) struct Event {
    /// Number; larger is newer, also after a restart of the service.
    pub(crate) id: u64,
    pub(crate) body: Body,
}

/// What an event says, already as JSON, per site where a site matters.
#[derive(Debug, PartialEq)]
pub(crate) enum Body {
    /// One alarm.
    Alarm { site: String, json: String },
    /// One gateway.
    Gateway { site: String, json: String },
    /// Newest values: site and the elements of an array without its brackets.
    Values(Vec<(String, String)>),
}

impl Body {
    fn bytes(&self) -> usize {
        match self {
            Self::Alarm { site, json } | Self::Gateway { site, json } => site.len() + json.len(),
            Self::Values(sites) => sites.iter().map(|(site, json)| site.len() + json.len()).sum(),
        }
    }
}

/// What a stream gets when it begins.
#[derive(Debug)]
pub(crate) enum Resume {
    /// Everything after the number asked for.
    From(Vec<Arc<Event>>),
    /// That number is not known any more: fetch everything again.
    Reset,
}

type SeriesName = (String, String, String);

#[derive(Debug)]
struct Ring {
    last: u64,
    events: VecDeque<Arc<Event>>,
    bytes: usize,
    waiting: BTreeMap<SeriesName, LiveValue>,
}

/// Takes events in, hands them to streams.
#[derive(Debug)]
pub struct Hub {
    ring: Mutex<Ring>,
    sender: broadcast::Sender<Arc<Event>>,
}

impl Hub {
    /// Begins numbering at the present time, so that numbers of an earlier start are never taken for newer ones.
    /// (Milliseconds × 1024 stays below 2^53, which is what a browser counts to.)
    #[must_use]
    pub fn new(now_ms: i64) -> Self {
        let first = u64::try_from(now_ms).unwrap_or(0) * 1_024;
        let ring =
            Ring { last: first, events: VecDeque::new(), bytes: 0, waiting: BTreeMap::new() };
        let (sender, _) = broadcast::channel(QUEUE_MAX);
        Self { ring: Mutex::new(ring), sender }
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().expect("nobody panics while holding this lock")
    }

    /// Number of the newest event.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.ring().last
    }

    /// Whether a stream listens.
    #[must_use]
    pub fn is_heard(&self) -> bool {
        self.sender.receiver_count() > 0
    }

    /// Tells of an alarm.
    pub(crate) fn alarm<T: Serialize>(&self, site: &str, alarm: &T) {
        self.publish(Body::Alarm { site: site.to_owned(), json: json(alarm) });
    }

    /// Tells that the state of a gateway of a site has changed; of the service itself where the site is empty.
    pub fn gateway<T: Serialize>(&self, site: &str, gateway: &T) {
        self.publish(Body::Gateway { site: site.to_owned(), json: json(gateway) });
    }

    /// Takes newest values; they go out together at the next flush, the newest of each series only.
    pub fn values(&self, values: impl IntoIterator<Item = LiveValue>) {
        let mut ring = self.ring();
        for value in values {
            let name = (value.site.clone(), value.device.clone(), value.quantity.clone());
            if ring.waiting.len() < VALUES_WAITING_MAX || ring.waiting.contains_key(&name) {
                ring.waiting.insert(name, value);
            }
        }
    }

    /// Sends what [`Hub::values`] has gathered.
    pub(crate) fn flush_values(&self) {
        let waiting = std::mem::take(&mut self.ring().waiting);
        let mut sites: Vec<(String, String)> = Vec::new();
        for ((site, ..), value) in waiting {
            match sites.last_mut() {
                Some((last, elements)) if *last == site => {
                    elements.push(',');
                    elements.push_str(&json(&value));
                }
                _ => sites.push((site, json(&value))),
            }
        }
        if !sites.is_empty() {
            self.publish(Body::Values(sites));
        }
    }

    fn publish(&self, body: Body) {
        let mut ring = self.ring();
        ring.last += 1;
        let event = Arc::new(Event { id: ring.last, body });
        ring.bytes += event.body.bytes();
        ring.events.push_back(Arc::clone(&event));
        while ring.events.len() > EVENTS_KEPT_MAX || ring.bytes > BYTES_KEPT_MAX {
            let Some(oldest) = ring.events.pop_front() else { break };
            ring.bytes -= oldest.body.bytes();
        }
        // Under the lock, so that a stream that subscribes sees each event once. Without streams nobody is told.
        drop(self.sender.send(event));
    }

    /// Everything after `last` (none: from now on), and what comes.
    pub(crate) fn subscribe(&self, last: Option<u64>) -> (Resume, broadcast::Receiver<Arc<Event>>) {
        let ring = self.ring();
        let receiver = self.sender.subscribe();
        let Some(last) = last else { return (Resume::From(Vec::new()), receiver) };
        let oldest_kept = ring.last - ring.events.len() as u64;
        if last < oldest_kept || last > ring.last {
            return (Resume::Reset, receiver);
        }
        let missed = ring.events.iter().filter(|event| event.id > last).map(Arc::clone).collect();
        (Resume::From(missed), receiver)
    }
}

fn json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("our own types have string keys")
}

#[cfg(test)]
mod tests;
