//! What the counters of a gateway's messages say: a broker that drops, two gateways that send under one name; and how far
//! gateways' own clocks are from the centre's.
//!
//! ```text
//! connection      ┌ state, first = 41 ───────────────────────────────┐ ┌ state, first = 60 …
//! counters        41   42   43    -    -   46   47   48  …  55  (56 57 58 59)   60
//!                                 └ taken by the broker      └ lost with the connection: nobody's fault
//!                                   and never delivered
//! ```
//!
//! A connection carries messages in the order of their counters, and a broker that has the later one had the earlier one.
//! Of this start of the centre only, kept whether or not a transaction succeeds: the message did arrive. Nothing here
//! decides about a block.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use wire::GatewayName;
use wire::message::{Stamp, State};

use super::{Notice, Receiver};

/// A message that is missing for so long was not overtaken, it was dropped, ms.
const MISSING_MS: i64 = 10_000;
/// Missing messages remembered per gateway; beyond it a burst is counted in part, which tells enough.
const MISSING_MAX: usize = 4_096;
/// Drops are told for so long, ms.
const TOLD_MS: i64 = 3_600_000;
/// Boots of a gateway that are remembered.
const BOOTS_MAX: usize = 8;
/// Times that an older boot must come back within [`RETURNS_MS`]: what a broker held back at a restart comes back once or
/// twice, two gateways that run take turns all the time.
const RETURNS_MIN: usize = 12;
/// See [`RETURNS_MIN`], ms.
const RETURNS_MS: i64 = 10 * 60_000;
/// How long a gateway's word about its own clock counts, ms.
const CLOCK_WORD_MS: i64 = 10 * 60_000;
/// A clock this far from the centre's is told, ms.
const DIFFERS_MS: i64 = 60_000;

/// What arrived of one gateway.
#[derive(Debug, Default)]
pub(super) struct Delivered {
    boot: u64,
    /// The highest counter of `boot`.
    highest: u64,
    /// Counters below it that did not arrive, and since when.
    missing: BTreeMap<u64, i64>,
    /// Counters that were given up as dropped; one that arrives after all was only slow.
    dropped: BTreeSet<u64>,
    /// Dropped messages of boots before, and those beyond [`MISSING_MAX`].
    dropped_before: u64,
    dropped_at: i64,
    /// Boots that sent, the newest first heard last.
    boots: VecDeque<u64>,
    /// When an older boot came back, ms UTC.
    returns: VecDeque<i64>,
    told_at: Option<i64>,
    /// Its own clock minus the centre's as it measured it, ms, and when it said so.
    difference: Option<(i64, i64)>,
}

impl Delivered {
    fn heard(&mut self, stamp: &Stamp, at: i64) {
        let boot = stamp.boot.0;
        if boot != self.boot {
            if self.boots.contains(&boot) {
                self.returns.push_back(at);
            } else {
                self.boots.push_back(boot);
            }
            if self.boots.len() > BOOTS_MAX {
                self.boots.pop_front();
            }
            (self.boot, self.highest) = (boot, stamp.counter);
            self.missing.clear();
            self.dropped_before += self.dropped.len() as u64;
            self.dropped.clear();
            return;
        }
        if stamp.counter <= self.highest {
            if self.missing.remove(&stamp.counter).is_none() {
                self.dropped.remove(&stamp.counter);
            }
            return;
        }
        let room = MISSING_MAX.saturating_sub(self.missing.len());
        self.missing.extend((self.highest + 1..stamp.counter).take(room).map(|c| (c, at)));
        self.highest = stamp.counter;
    }

    /// The connection that sends now began with the counter `first`.
    fn connection(&mut self, first: u64, at: i64) {
        let of_this = self.missing.split_off(&first);
        // What is left was lost with the connection before, or lies too far back to tell.
        self.missing = of_this;
        let is_dropped = |since: &i64| at.saturating_sub(*since) >= MISSING_MS || *since > at;
        let given_up: Vec<u64> =
            self.missing.iter().filter(|(_, since)| is_dropped(since)).map(|(c, _)| *c).collect();
        if given_up.is_empty() {
            return;
        }
        if at.saturating_sub(self.dropped_at) > TOLD_MS {
            self.dropped.clear();
            self.dropped_before = 0;
        }
        self.dropped_at = at;
        for counter in given_up {
            self.missing.remove(&counter);
            if self.dropped.len() < MISSING_MAX {
                self.dropped.insert(counter);
            } else {
                self.dropped_before += 1;
            }
        }
    }

    fn count(&self) -> u64 {
        self.dropped_before + self.dropped.len() as u64
    }

    /// Whether two gateways take turns, once in a while.
    fn are_two(&mut self, at: i64) -> bool {
        let is_old = |t: &i64| at.saturating_sub(*t) > RETURNS_MS || *t > at;
        while self.returns.front().is_some_and(is_old) || self.returns.len() > RETURNS_MIN {
            self.returns.pop_front();
        }
        let is_due = self.told_at.is_none_or(|told| at.saturating_sub(told) >= RETURNS_MS);
        let are_two = self.returns.len() >= RETURNS_MIN && is_due;
        if are_two {
            self.told_at = Some(at);
        }
        are_two
    }
}

/// Gateways' own clocks against the centre's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Differ {
    /// Gateways that measured it lately.
    pub measured: usize,
    /// Of these, those whose own clock is more than a minute ahead of the centre's.
    pub ahead: usize,
    /// Of these, those whose own clock is more than a minute behind.
    pub behind: usize,
}

impl Differ {
    /// What to say, and whose clock to look at first.
    #[must_use]
    pub fn text(&self) -> String {
        let Self { measured, ahead, behind } = *self;
        let (many, word) = if ahead >= behind { (ahead, "ahead of") } else { (behind, "behind") };
        let first = if many > 1 { "on this machine first" } else { "on both" };
        format!(
            "the own clocks of {many} of {measured} gateway(s) that measured it are more than 60 s {word} this centre's; those without NTP follow the centre's time all the same: check NTP {first}"
        )
    }
}

impl Receiver {
    /// Notes that an authentic message arrived.
    pub(super) fn delivered(&mut self, gateway: &GatewayName, stamp: &Stamp, at: i64) {
        // A last will was written before it was needed.
        if stamp.counter == 0 {
            return;
        }
        let delivered = self.delivered.entry(gateway.clone()).or_default();
        delivered.heard(stamp, at);
        if delivered.are_two(at) {
            self.effects.notices.push(Notice {
                code: "two_gateways",
                gateway: Some(gateway.clone()),
                text: "two gateways send under this name and key at the same time: only one of them is evaluated; stop the copy, then `davy-ingest gateway add NAME --site SITE --rekey` and give the key to the right one".to_owned(),
            });
        }
    }

    /// Notes what a gateway says of itself now: never with a state that the broker had kept.
    pub fn heard_state(&mut self, state: &State, at: i64) {
        let gateway = &state.stamp.gateway;
        self.delivered(gateway, &state.stamp, at);
        self.hear_presence(state, at);
        if !state.online || state.stamp.counter == 0 {
            return;
        }
        let delivered = self.delivered.entry(gateway.clone()).or_default();
        if state.first_counter > 0 && delivered.boot == state.stamp.boot.0 {
            delivered.connection(state.first_counter, at);
        }
        if let Some(difference) = state.centre_difference_ms {
            delivered.difference = Some((difference, at));
        }
    }

    /// Messages that the broker took within the last hour and never delivered; the gateways send them again.
    #[must_use]
    pub fn dropped_by_broker(&self, now: i64) -> u64 {
        let fresh = |d: &&Delivered| now.saturating_sub(d.dropped_at) <= TOLD_MS;
        self.delivered.values().filter(fresh).map(Delivered::count).sum()
    }

    /// Whether the own clocks of at least half of the gateways that measured it are far from the centre's, on one side:
    /// those that take the centre's time follow a wrong one without a word.
    #[must_use]
    pub fn clocks_differ(&self, now: i64) -> Option<Differ> {
        let words = self.delivered.values().filter_map(|d| d.difference);
        let fresh: Vec<i64> =
            words.filter(|(_, at)| now - at <= CLOCK_WORD_MS).map(|(by, _)| by).collect();
        let ahead = fresh.iter().filter(|by| **by > DIFFERS_MS).count();
        let behind = fresh.iter().filter(|by| **by < -DIFFERS_MS).count();
        let most = ahead.max(behind);
        (most > 0 && most * 2 >= fresh.len()).then_some(Differ {
            measured: fresh.len(),
            ahead,
            behind,
        })
    }
}
