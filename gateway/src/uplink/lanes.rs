//! Which block is sent next, and when one is sent again.
//!
//! Pure: no async, no clock, no disk, so that a simulator can drive it. It is told what the spool holds
//! ([`View`]), what acks say, and the monotonic time; it answers with keys. Order of lanes (design §4):
//! live (younger than 10 s), then what the centre wants next, then backfill from newest to oldest, which
//! gets at least every fifth sending, and, where the spool would soon evict it, rescue from the oldest.
//! Lanes say only in what order blocks travel; nothing is freed here but on an app-ack.

use std::collections::{BTreeMap, BTreeSet};

use spool::{Intervals, Key, KeySet};
use wire::message::{EpochAck, Want};

/// A block younger than this is live, ms.
pub const LIVE_MS: u64 = 10_000;
/// Blocks that may wait for their app-ack; live ones may use all of it, others [`BACKFILL_MAX`].
pub const AWAITED_MAX: usize = 1_024;
/// Part of [`AWAITED_MAX`] for blocks that are not live.
pub const BACKFILL_MAX: usize = 768;
/// What of [`BACKFILL_MAX`] is used at first, and again after a lost connection: after an outage of the broker a thousand
/// gateways come back in the same second, and what each of them sends before the first ack lies before their alarms.
pub const BACKFILL_BEGIN: usize = 16;
/// It is never less than this, however often the centre asks to slow down.
pub const BACKFILL_MIN: usize = 4;
/// An ack that takes so long, ms, and [`LATE_TIMES`] as long as the quickest of this connection, says that too much lies in
/// the queue: the second that the centre may hold an ack back, and half of one.
const LATE_MS: u64 = 1_500;
/// See [`LATE_MS`]: a satellite's own delay is no queue.
const LATE_TIMES: u64 = 2;
/// Blocks sent at once for one `want`, as far as the room for backfill goes.
pub const WANT_BLOCKS: usize = 64;
/// Backfill gets at least one sending in this many: 20 % of the link.
const BACKFILL_EVERY: u32 = 5;
/// A block is not sent again before this, ms.
pub const RESEND_MIN_MS: u64 = 2_000;
/// The back-off ends here, ms.
pub const RESEND_MAX_MS: u64 = 60_000;
/// Longest delay of backfill that an ack can ask for, ms.
const SLOW_DOWN_MAX_MS: u64 = 60_000;

/// What the spool holds and is not acked, as its thread sees it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct View {
    /// Unacked seqs of each epoch, in the order of epochs.
    pub backlog: Vec<(u64, Vec<(u64, u64)>)>,
    /// Blocks of the current epoch younger than [`LIVE_MS`] with their birth (monotonic ms), oldest first.
    pub live: Vec<(Key, u64)>,
    /// The spool is so full that its oldest unacked blocks will be evicted.
    pub rescue: bool,
}

/// In which lane a block travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Lane {
    /// Younger than 10 s.
    Live,
    /// Named by the centre as next in order.
    Want,
    /// From newest to oldest.
    Backfill,
    /// From the oldest, before it is evicted.
    Rescue,
}

#[derive(Debug, Clone, Copy)]
struct Sent {
    at: u64,
    due: u64,
    tries: u32,
    /// Not in the live lane.
    is_old: bool,
}

/// The decision core of the uplink.
#[derive(Debug)]
pub struct Lanes {
    view: View,
    sent: BTreeMap<Key, Sent>,
    keys: KeySet,
    due: BTreeSet<(u64, Key)>,
    wanted: Vec<Key>,
    smoothed_ms: Option<f64>,
    without_backfill: u32,
    rescue_next: bool,
    backfill_from: u64,
    /// Blocks that are not live and may wait for their app-ack. Grows by a quarter a round trip while it is used, halves
    /// where acks come late or ask to slow down: at the centre there is one queue for the blocks of all gateways, and
    /// nobody else can keep it short.
    room: usize,
    /// `room` stays until then, monotonic ms: what is heard before was sent under the room of before.
    room_until: u64,
    /// Quickest ack of this connection, ms.
    least_ms: Option<u64>,
    /// Blocks of `sent` that were not live: what `room` bounds.
    old: usize,
}

impl Default for Lanes {
    fn default() -> Self {
        Self {
            view: View::default(),
            sent: BTreeMap::new(),
            keys: KeySet::default(),
            due: BTreeSet::new(),
            wanted: Vec::new(),
            smoothed_ms: None,
            without_backfill: 0,
            rescue_next: false,
            backfill_from: 0,
            room: BACKFILL_BEGIN,
            room_until: 0,
            least_ms: None,
            old: 0,
        }
    }
}

impl Lanes {
    /// An idle core.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes what the spool holds now. What it does not hold unacked any more is no longer awaited.
    pub fn view(&mut self, view: View) {
        self.view = view;
        let gone: Vec<Key> = self.sent.keys().copied().filter(|k| !self.is_unacked(*k)).collect();
        gone.into_iter().for_each(|k| self.forget(k));
        self.wanted.retain(|k| self.view.holds(*k));
    }

    /// Takes an ack that counts: the time to it is measured, and what it names is not sent again while
    /// the spool's thread notes it (the next [`View`] shows that). Returns how many it answered.
    pub fn acked(&mut self, now: u64, epochs: &[EpochAck], slow_down_ms: u32) -> usize {
        let (mut count, under_way, mut took) = (0, self.old, None);
        for e in epochs {
            let mine = Key { epoch: e.epoch.0, seq: 0 }..=Key { epoch: e.epoch.0, seq: u64::MAX };
            let named: Vec<(Key, Sent)> = self
                .sent
                .range(mine)
                .filter(|(k, _)| e.covers(k.seq))
                .map(|(k, s)| (*k, *s))
                .collect();
            for (key, sent) in named {
                // What was sent twice does not tell which sending was answered.
                if sent.tries == 1 {
                    let ms = now.saturating_sub(sent.at);
                    self.measure(ms);
                    took = Some(took.map_or(ms, |least: u64| least.min(ms)));
                }
                self.due.remove(&(sent.due, key));
                // As if sent twice: an ack that repeats this one measures nothing.
                let answered = Sent { due: now + RESEND_MIN_MS, tries: sent.tries.max(2), ..sent };
                self.due.insert((answered.due, key));
                self.sent.insert(key, answered);
                count += 1;
            }
        }
        let delay = u64::from(slow_down_ms).min(SLOW_DOWN_MAX_MS);
        self.backfill_from = if delay == 0 { now } else { self.backfill_from.max(now + delay) };
        if delay > 0 {
            self.room = (self.room / 2).max(BACKFILL_MIN);
        } else if let Some(took) = took {
            self.pace(now, took, under_way);
        }
        count
    }

    /// An ack took `took` ms to the youngest block it names, of `under_way` that were not live.
    fn pace(&mut self, now: u64, took: u64, under_way: usize) {
        let least = self.least_ms.map_or(took, |least| least.min(took));
        self.least_ms = Some(least);
        if now < self.room_until {
            return;
        }
        if took > LATE_MS.max(least * LATE_TIMES) {
            self.room = (self.room / 2).max(BACKFILL_MIN);
        } else if under_way >= self.room / 2 {
            self.room = (self.room + self.room / 4).min(BACKFILL_MAX);
        } else {
            return;
        }
        self.room_until = now + took;
    }

    /// The centre names the block that is next in order: it and those after it travel without back-off,
    /// but not again while the last sending may still be answered.
    pub fn wanted(&mut self, now: u64, want: Want) {
        let patience = self
            .smoothed_ms
            .map_or(RESEND_MIN_MS / 2, |s| whole(s * 2.0))
            .clamp(250, RESEND_MIN_MS);
        let from = Key { epoch: want.epoch.0, seq: want.from };
        self.wanted = self
            .view
            .oldest_from(from, WANT_BLOCKS.min(self.room))
            .into_iter()
            .filter(|k| self.sent.get(k).is_none_or(|s| now.saturating_sub(s.at) >= patience))
            .collect();
        self.wanted.reverse();
    }

    /// The centre has a new log: nothing is awaited, everything unacked is sent afresh.
    pub fn new_log(&mut self) {
        self.sent.clear();
        self.old = 0;
        self.due.clear();
        self.wanted.clear();
        self.keys = KeySet::new();
    }

    /// The connection is gone: what was sent and not acked is sent again when its time comes, but what
    /// was sent last may never have left, so it is due at once.
    pub fn disconnected(&mut self, now: u64) {
        let recent: Vec<Key> = self
            .sent
            .iter()
            .filter(|(_, s)| now.saturating_sub(s.at) < RESEND_MIN_MS && s.tries == 1)
            .map(|(k, _)| *k)
            .collect();
        recent.into_iter().for_each(|k| self.forget(k));
        (self.room, self.room_until, self.least_ms) = (BACKFILL_BEGIN, 0, None);
    }

    /// The next block to send at `now`, booked as sent; `None` where nothing is due.
    pub fn next(&mut self, now: u64) -> Option<(Key, Lane)> {
        let backfill_waits = now < self.backfill_from;
        let fair = !backfill_waits && self.without_backfill + 1 >= BACKFILL_EVERY;
        let mut found = None;
        if fair {
            found = self.backfill(now);
        }
        let found = found
            .or_else(|| self.live(now).map(|k| (k, Lane::Live)))
            .or_else(|| self.pop_wanted().map(|k| (k, Lane::Want)))
            .or_else(|| if backfill_waits { None } else { self.backfill(now) })?;
        self.without_backfill = match found.1 {
            Lane::Live => self.without_backfill.saturating_add(1),
            Lane::Want | Lane::Backfill | Lane::Rescue => 0,
        };
        self.book(found.0, now, found.1 != Lane::Live);
        Some(found)
    }

    /// The earliest time at which [`Lanes::next`] may have something that it has not now.
    #[must_use]
    pub fn wake_at(&self, now: u64) -> Option<u64> {
        let due = self.due.first().map(|(at, _)| *at);
        let slow = (self.backfill_from > now).then_some(self.backfill_from);
        due.into_iter().chain(slow).min().map(|at| at.max(now + 1))
    }

    /// Blocks sent and not acked: evicted last but one.
    #[must_use]
    pub fn in_flight(&self) -> &KeySet {
        &self.keys
    }

    /// How many these are.
    #[must_use]
    pub fn awaited(&self) -> usize {
        self.sent.len()
    }

    /// Smoothed time from a block's sending to its app-ack, ms.
    #[must_use]
    pub fn smoothed_ack_ms(&self) -> Option<f64> {
        self.smoothed_ms
    }

    /// A booked block could not be sent after all, for want of room: as if it never was.
    pub fn unsent(&mut self, key: Key) {
        self.forget(key);
    }

    fn is_unacked(&self, key: Key) -> bool {
        self.view.holds(key)
    }

    fn live(&self, now: u64) -> Option<Key> {
        let young = |born: u64| now.saturating_sub(born) < LIVE_MS;
        self.view
            .live
            .iter()
            .filter(|(_, born)| young(*born))
            .map(|(k, _)| *k)
            .find(|k| self.is_due(*k, now))
    }

    fn is_due(&self, key: Key, now: u64) -> bool {
        self.sent.get(&key).map_or_else(|| self.is_unacked(key), |s| s.due <= now)
    }

    fn pop_wanted(&mut self) -> Option<Key> {
        self.wanted.pop()
    }

    /// A resend that is due, else the newest unsent, or the oldest in turn with it under rescue.
    fn backfill(&mut self, now: u64) -> Option<(Key, Lane)> {
        if let Some((at, key)) = self.due.first().copied()
            && at <= now
        {
            return Some((key, Lane::Backfill));
        }
        if self.old >= self.room || self.sent.len() >= BACKFILL_MAX {
            return None;
        }
        if self.view.rescue {
            self.rescue_next = !self.rescue_next;
            if self.rescue_next {
                return self.view.end(&self.keys, false).map(|k| (k, Lane::Rescue));
            }
        }
        self.view.end(&self.keys, true).map(|k| (k, Lane::Backfill))
    }

    fn book(&mut self, key: Key, now: u64, is_old: bool) {
        let tries = self.sent.get(&key).map_or(1, |s| s.tries.saturating_add(1));
        self.forget(key);
        if self.sent.len() >= AWAITED_MAX {
            // Live goes on whatever happens: the awaited block that would wait longest is sent afresh later.
            if let Some((_, last)) = self.due.last().copied() {
                self.forget(last);
            }
        }
        let due = now + self.patience(tries);
        if self.keys.insert(key).is_ok() {
            self.sent.insert(key, Sent { at: now, due, tries, is_old });
            self.old += usize::from(is_old);
            self.due.insert((due, key));
        }
        self.wanted.retain(|k| *k != key);
    }

    /// How long a block waits for its app-ack after its nth sending: max(2 s, 4 × smoothed), doubling.
    fn patience(&self, tries: u32) -> u64 {
        let base = self.smoothed_ms.map_or(RESEND_MIN_MS, |s| whole(s * 4.0).max(RESEND_MIN_MS));
        let doubled = base.saturating_mul(1 << (tries - 1).min(6));
        doubled.min(RESEND_MAX_MS)
    }

    fn measure(&mut self, ms: u64) {
        #[expect(clippy::cast_precision_loss, reason = "below 2^53 ms")]
        let ms = ms as f64;
        self.smoothed_ms = Some(self.smoothed_ms.map_or(ms, |s| s + (ms - s) / 8.0));
    }

    fn forget(&mut self, key: Key) {
        if let Some(sent) = self.sent.remove(&key) {
            self.due.remove(&(sent.due, key));
            self.old -= usize::from(sent.is_old);
            self.keys.remove(key);
        }
    }
}

fn whole(ms: f64) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped; NaN is 0"
    )]
    let ms = ms.clamp(0.0, 1e9) as u64;
    ms
}

impl View {
    /// True where the block is held and not acked.
    #[must_use]
    pub fn holds(&self, key: Key) -> bool {
        let ranges = self.backlog.iter().find(|(e, _)| *e == key.epoch).map(|(_, r)| r.as_slice());
        ranges.is_some_and(|ranges| {
            let at = ranges.partition_point(|r| r.1 < key.seq);
            ranges.get(at).is_some_and(|r| r.0 <= key.seq)
        })
    }

    /// The newest, or the oldest, block that is not in `skip`.
    fn end(&self, skip: &KeySet, newest: bool) -> Option<Key> {
        let pick = |(epoch, ranges): &(u64, Vec<(u64, u64)>)| {
            let none = Intervals::new();
            let skip = skip.epoch(*epoch).unwrap_or(&none);
            let within = |(from, to): &(u64, u64)| {
                let left = Intervals::of(*from, *to).without(skip);
                if newest { left.last().map(|r| r.1) } else { left.first().map(|r| r.0) }
            };
            let seq = if newest {
                ranges.iter().rev().find_map(within)
            } else {
                ranges.iter().find_map(within)
            };
            seq.map(|seq| Key { epoch: *epoch, seq })
        };
        if newest {
            self.backlog.iter().rev().find_map(pick)
        } else {
            self.backlog.iter().find_map(pick)
        }
    }

    /// The oldest blocks from `from` on, in order; nothing where its epoch is not in the backlog.
    fn oldest_from(&self, from: Key, most: usize) -> Vec<Key> {
        let begin = self.backlog.iter().position(|(e, _)| *e == from.epoch);
        let Some(begin) = begin else { return Vec::new() };
        let seqs = self.backlog[begin..].iter().flat_map(|(epoch, ranges)| {
            let least = if *epoch == from.epoch { from.seq } else { 0 };
            ranges
                .iter()
                .flat_map(move |(a, b)| (*a).max(least)..=*b)
                .map(|seq| Key { epoch: *epoch, seq })
        });
        seqs.take(most).collect()
    }
}

#[cfg(test)]
mod tests;
