//! The broker and the wires to it: QoS 1 at its worst. It drops, doubles, delays, and a crash loses everything.

use std::collections::VecDeque;

use bytes::Bytes;
use ingest::receive::worker::{Delivery, Ticket};
use wire::topic::Topic;

use crate::dice::Dice;

/// Messages kept for a gateway at most; a subscriber that does not keep up loses the oldest.
const DOWN_MAX: usize = 400;

#[derive(Debug, Clone)]
struct Flight {
    due: i64,
    order: u64,
    topic: Topic,
    payload: Bytes,
    retained: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Broker {
    up: Vec<Flight>,
    down: Vec<Flight>,
    unacked: VecDeque<(u16, Flight)>,
    packet: u16,
    /// 0 none, 1 some, 5 much.
    pub(crate) noise: u32,
    pub(crate) dropped: u64,
    pub(crate) doubled: u64,
}

impl Broker {
    fn put(&mut self, is_up: bool, flight: &Flight, now: i64, dice: &mut Dice) {
        let noise = f64::from(self.noise);
        let copies = 1 + usize::from(dice.chance(0.05 * noise));
        self.doubled += (copies - 1) as u64;
        for _ in 0..copies {
            if dice.chance(0.05 * noise) {
                self.dropped += 1;
                continue;
            }
            let delay = if self.noise == 0 {
                0
            } else if dice.chance(0.05 * noise) {
                9_000
            } else {
                dice.pick(&[0, 0, 0, 1_000, 2_000])
            };
            let flight = Flight { due: now + delay, order: dice.id(), ..flight.clone() };
            if is_up { self.up.push(flight) } else { self.down.push(flight) }
        }
        let excess = self.down.len().saturating_sub(DOWN_MAX);
        self.down.drain(..excess);
    }

    /// A gateway published.
    pub(crate) fn publish_up(&mut self, topic: Topic, payload: Vec<u8>, now: i64, dice: &mut Dice) {
        let flight = Flight { due: now, order: 0, topic, payload: payload.into(), retained: false };
        self.put(true, &flight, now, dice);
    }

    /// The centre published.
    pub(crate) fn publish_down(&mut self, topic: Topic, frame: Vec<u8>, now: i64, dice: &mut Dice) {
        let flight = Flight { due: now, order: 0, topic, payload: frame.into(), retained: false };
        self.put(false, &flight, now, dice);
    }

    fn due(
        queue: &mut Vec<Flight>,
        is_noisy: bool,
        mut is_it: impl FnMut(&Flight) -> bool,
    ) -> Vec<Flight> {
        let mut due: Vec<Flight> = queue.extract_if(.., |f| is_it(f)).collect();
        if is_noisy {
            due.sort_by_key(|f| (f.due, f.order));
        }
        due
    }

    /// What the centre gets now.
    pub(crate) fn take_up(&mut self, now: i64) -> Vec<Delivery> {
        let due = Self::due(&mut self.up, self.noise > 0, |f| f.due <= now);
        let mut deliveries = Vec::with_capacity(due.len());
        for flight in due {
            self.packet = self.packet.wrapping_add(1).max(1);
            deliveries.push(Delivery {
                topic: flight.topic.clone(),
                payload: flight.payload.clone(),
                retained: flight.retained,
                ticket: Ticket { session: 1, packet: self.packet },
            });
            self.unacked.push_back((self.packet, flight));
        }
        deliveries
    }

    /// The centre acked these.
    pub(crate) fn acked(&mut self, tickets: &[Ticket]) {
        self.unacked.retain(|(packet, _)| !tickets.iter().any(|t| t.packet == *packet));
    }

    /// The centre's connection broke: what it had not acked comes again, or not.
    pub(crate) fn centre_gone(&mut self, comes_again: bool) {
        let unacked = std::mem::take(&mut self.unacked);
        if comes_again {
            drop(self.up.splice(0..0, unacked.into_iter().map(|(_, flight)| flight)));
        }
    }

    /// What a gateway gets now; nothing is kept for one that is away.
    pub(crate) fn take_down(&mut self, gateway: &str, now: i64) -> Vec<(Topic, Bytes)> {
        let is_it = |f: &Flight| f.due <= now && f.topic.gateway.as_str() == gateway;
        let due = Self::due(&mut self.down, self.noise > 0, is_it);
        due.into_iter().map(|f| (f.topic, f.payload)).collect()
    }

    /// Everything is lost.
    pub(crate) fn crash(&mut self) {
        self.up.clear();
        self.down.clear();
        self.unacked.clear();
    }
}
