//! Whether the log has room for a block: newest-first must never fill it with blocks that wait for one that is refused.

use super::Room;

/// From this share of the bound only live blocks and the next in order are taken, percent.
pub(super) const CROWDED_PERCENT: u64 = 80;
/// From this share only the next in order, gap records and what the centre itself logs, percent: the rest is the reserve
/// for two snapshot intervals.
pub(super) const RESERVED_PERCENT: u64 = 92;
/// A block younger than this is live, ms.
pub(super) const LIVE_MS: i64 = 10_000;

/// How a block stands in its gateway's order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// The next in order, or a gap record: order waits for it.
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
        self.is_beyond(0, CROWDED_PERCENT)
    }

    fn is_beyond(&self, added: u64, percent: u64) -> bool {
        self.used.saturating_add(added) >= self.bound / 100 * percent
    }

    /// Whether a block is taken, `added` bytes into the transaction, from a gateway with `usage` bytes in the log.
    pub(super) fn takes(&self, turn: Turn, added: u64, usage: u64) -> bool {
        match turn {
            Turn::Next => true,
            Turn::Live => !self.is_beyond(added, RESERVED_PERCENT),
            Turn::Old => !self.is_beyond(added, CROWDED_PERCENT) && usage < self.gateway_quota,
        }
    }
}
