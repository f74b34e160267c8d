//! Whether the log has room for a block: newest-first must never fill it with blocks that wait for one that is refused.
//!
//! ```text
//! 0 ──────────────────────── 80 % ─────────── bound − reserve − last ──────── bound − last ─────────────── bound
//!   everything                │ live, next in order │ next in order           │ gap records, facts, ticks, closures
//! ```

use super::Room;
use crate::evaluate::SNAPSHOT_INTERVAL_MS;

/// From this share of the bound only live blocks and the next in order are taken, percent.
pub(super) const CROWDED_PERCENT: u64 = 80;
/// Least and most of the reserve for what is next in order, percent of the bound; with [`LAST_PERCENT`] it stays below
/// what [`CROWDED_PERCENT`] leaves.
const RESERVE_PERCENT: [u64; 2] = [8, 15];
/// The last part of the bound is for gap records and what the centre itself logs, percent: a log filled by blocks must
/// still take the records that let it be emptied.
const LAST_PERCENT: u64 = 2;
/// That part is no less than this where the bound allows, bytes: more than one group of messages.
const LAST_BYTES_MIN: u64 = 2 << 20;
/// It is never more than this share, percent.
const LAST_PERCENT_MAX: u64 = 5;
/// A block younger than this is live, ms.
pub(super) const LIVE_MS: i64 = 10_000;
/// Snapshot intervals that the busiest one is looked for in.
const WINDOWS: usize = 16;

/// How a block stands in its gateway's order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// A gap record: it closes holes.
    Gap,
    /// The next in order: order waits for it.
    Next,
    /// Younger than [`LIVE_MS`].
    Live,
    /// Backfill.
    Old,
}

impl Room {
    /// Whether the log is at 80 % or beyond: an alarm, and gateways are slowed down.
    #[must_use]
    pub fn is_crowded(&self) -> bool {
        self.used >= self.percent(CROWDED_PERCENT)
    }

    /// Whether no block is taken any more, not even the next in order.
    #[must_use]
    pub fn is_full(&self) -> bool {
        !self.takes(Turn::Next, 0, 0)
    }

    /// Whether two of the busiest snapshot intervals would not fit into the reserve: the log is too small for its gateways.
    #[must_use]
    pub fn is_too_small(&self) -> bool {
        self.two_intervals > self.percent(RESERVE_PERCENT[1])
    }

    fn percent(&self, percent: u64) -> u64 {
        self.bound / 100 * percent
    }

    fn last(&self) -> u64 {
        self.percent(LAST_PERCENT).max(LAST_BYTES_MIN.min(self.percent(LAST_PERCENT_MAX)))
    }

    /// What is kept for the next in order: two snapshot intervals, because so long nothing that was taken can be evicted.
    fn reserve(&self) -> u64 {
        let [least, most] = RESERVE_PERCENT.map(|p| self.percent(p));
        self.two_intervals.clamp(least, most)
    }

    /// Whether a new manifest is taken, `added` bytes into the transaction: as long as the blocks that need it are.
    pub(super) fn takes_manifest(&self, added: u64) -> bool {
        self.takes(Turn::Next, added, 0)
    }

    /// Whether a block is taken, `added` bytes into the transaction, from a gateway with `usage` bytes in the log.
    pub(super) fn takes(&self, turn: Turn, added: u64, usage: u64) -> bool {
        let used = self.used.saturating_add(added);
        let for_next = self.bound.saturating_sub(self.last());
        match turn {
            Turn::Gap => true,
            Turn::Next => used < for_next,
            Turn::Live => used < for_next.saturating_sub(self.reserve()),
            Turn::Old => used < self.percent(CROWDED_PERCENT) && usage < self.gateway_quota,
        }
    }
}

/// How much the log takes: what the reserve is sized by.
#[derive(Debug, Default)]
pub struct Intake {
    began_at: i64,
    bytes: u64,
    windows: std::collections::VecDeque<u64>,
}

impl Intake {
    /// Counts the bytes of a commit at `mono_ms`, of any steady clock.
    pub fn add(&mut self, bytes: u64, mono_ms: i64) {
        if mono_ms.saturating_sub(self.began_at) >= SNAPSHOT_INTERVAL_MS {
            self.windows.push_back(self.bytes);
            if self.windows.len() > WINDOWS {
                self.windows.pop_front();
            }
            (self.began_at, self.bytes) = (mono_ms, 0);
        }
        // Pages are never filled whole.
        self.bytes = self.bytes.saturating_add(bytes + bytes / 4);
    }

    /// Bytes of two snapshot intervals as busy as the busiest of late.
    #[must_use]
    pub fn two_intervals(&self) -> u64 {
        let most = self.windows.iter().copied().max().unwrap_or(0);
        most.max(self.bytes).saturating_mul(2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn room(used: u64, bound: u64, two_intervals: u64) -> Room {
        Room { used, bound, gateway_quota: 10, two_intervals }
    }

    // Goal: each kind of block is refused at its own line and at no other. Method: every percent of a log.
    #[test]
    fn each_kind_has_its_line() {
        let bound = 100 << 24;
        for percent in 0..=100 {
            let room = room(bound / 100 * percent, bound, 0);
            assert!(room.takes(Turn::Gap, 0, 0));
            assert_eq!(room.takes(Turn::Next, 0, 0), percent < 98, "next at {percent} %");
            assert_eq!(room.takes(Turn::Live, 0, 100), percent < 90, "live at {percent} %");
            assert_eq!(room.takes(Turn::Old, 0, 9), percent < 80, "old at {percent} %");
            assert!(!room.takes(Turn::Old, 0, 10), "its gateway's share is used up");
            assert_eq!((room.is_crowded(), room.is_full()), (percent >= 80, percent >= 98));
        }
        let room = room(bound / 100 * 79, bound, 0);
        assert!(!room.takes(Turn::Old, bound / 100, 0), "what the transaction adds counts");
    }

    // Goal: the reserve holds two snapshot intervals as busy as the busiest of late, within its bounds, and a log that
    // cannot hold them says so.
    #[test]
    fn the_reserve_follows_what_arrives() {
        let mut intake = Intake::default();
        for second in 0..600_i64 {
            let bytes = if (120..150).contains(&second) { 4 * MIB } else { MIB / 8 };
            intake.add(bytes, second * 1_000);
        }
        let two = intake.two_intervals();
        assert_eq!(two, 2 * 30 * (4 * MIB + MIB), "the busy half minute is remembered");
        let bound = 2_560 * MIB;
        let live = |used| room(used, bound, two).takes(Turn::Live, 0, 0);
        let line = bound - bound / 100 * 2 - two;
        assert!(live(line - 1) && !live(line));
        assert!(!room(0, bound, two).is_too_small());
        assert!(room(0, bound / 2, two).is_too_small());
        for minute in 10..20_i64 {
            (0..60).for_each(|s| intake.add(MIB / 8, (minute * 60 + s) * 1_000));
        }
        assert!(intake.two_intervals() < two, "and forgotten after some minutes");
    }
}
