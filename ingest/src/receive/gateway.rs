//! What the receiver remembers of one gateway: what survives a restart, and what is of this start only.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};
use wire::ManifestKey;
use wire::message::Stamp;

use crate::chain::Chain;

/// Rejected blocks that acks name; older ones were named often enough.
pub const REJECTED_MAX: usize = wire::limits::REJECTED_MAX;
/// Boots whose offset is remembered.
pub const BOOTS_MAX: usize = 64;
/// Blocks of an unset clock that may wait for their offset, per gateway.
pub const HELD_MAX: usize = 65_536;

/// What is kept in the log, in the same transaction as what it belongs to.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    /// The order of its epochs.
    pub chain: Chain,
    /// Offsets of its boots (wall − mono, ms), oldest first.
    pub boots: VecDeque<(u64, i64)>,
    /// Blocks in quarantine, newest last.
    pub rejected: VecDeque<RejectedBlock>,
    /// The hole at the next position, and since when it is there, ms UTC.
    pub hole: Option<Hole>,
    /// What it last said of itself.
    pub presence: Option<Presence>,
}

/// A block that went to quarantine whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RejectedBlock {
    /// Its epoch.
    pub epoch: u64,
    /// Its seq.
    pub seq: u64,
    /// Why.
    pub code: String,
}

/// A missing block that others wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hole {
    /// Its epoch.
    pub epoch: u64,
    /// Its seq.
    pub seq: u64,
    /// Since when it is next in order and missing, ms UTC.
    pub since: i64,
}

/// Whether a gateway is there, as it said itself or as its last will said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Presence {
    /// The start of the gateway that said so.
    pub epoch: u64,
    /// Whether it is there.
    pub online: bool,
    /// Its mains is gone.
    pub on_battery: bool,
}

/// A block of an unset clock that waits in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeldBlock {
    /// Its boot.
    pub boot: u64,
    /// Its epoch.
    pub epoch: u64,
    /// Its place in the log.
    pub position: u64,
    /// Place of the record that brought its boot's offset and released it to the store; 0 while it is held.
    pub released_by: u64,
}

/// One gateway.
#[derive(Debug, Clone, Default)]
pub struct GatewayState {
    /// What survives a restart.
    pub kept: Kept,
    /// Blocks of an unset clock that wait; kept as one row of the log each.
    pub held: BTreeMap<u64, HeldBlock>,
    /// Blocks that were held and that a record released: they stay until the store has taken that record.
    pub released: BTreeMap<u64, HeldBlock>,
    /// The highest stamp of the boot that arrived last.
    pub last: Option<Stamp>,
    /// Manifests that it is to send.
    pub need: BTreeSet<ManifestKey>,
    /// What its newest block of a synced clock said: ahead of the centre or not, and when.
    pub clock: Option<(bool, i64)>,
    /// Since when its newest blocks are closed long before they arrive, although they were sent at once.
    pub behind: Option<Behind>,
    /// Since when, and until when, its live blocks lie behind the end of their epoch, ms UTC.
    pub muted: Option<(i64, i64)>,
    /// The epoch at the tail of its chain, where this start of the centre has heard it.
    pub tail: Option<Tail>,
    /// Which of two epochs without a place the gateway is in is not certain.
    pub doubt: Option<Doubt>,
    /// When people were last told of its clock and of its full quarantine, ms UTC.
    pub told: Told,
    /// What is due to be acked.
    pub ack: AckDue,
}

/// An epoch that was not heard for so long may be ended by one that does not follow it as it says, ms: a gateway closes a
/// block at least each 10 s, and this is twice that.
pub(super) const TAIL_QUIET_MS: i64 = 20_000;
/// The same for one that names it as the epoch before, where its last will or its farewell came, ms: a gateway whose
/// connection alone ended is back by then and says so.
pub(super) const TAIL_GONE_MS: i64 = 5_000;

/// A [`Doubt`] lasts at most so long, ms.
const DOUBT_MAX_MS: i64 = 3 * TAIL_QUIET_MS;

/// What was heard of the epoch at the tail of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tail {
    /// The epoch.
    pub epoch: u64,
    /// The boot that it lives in, once a block that it sent itself has told.
    pub boot: Option<u64>,
    /// Receive time of its newest message, ms UTC.
    pub heard_at: i64,
    /// When its last will or its farewell arrived, with nothing of it after that, ms UTC.
    pub gone_at: Option<i64>,
}

impl Tail {
    /// Whether nothing was heard of it for [`TAIL_QUIET_MS`]. Where the clock was set back nobody knows for how long.
    #[must_use]
    pub fn is_silent(self, now: i64) -> bool {
        !is_within(self.heard_at, TAIL_QUIET_MS, now)
    }

    /// Whether it said that it goes, or its last will did, [`TAIL_GONE_MS`] ago, and nothing was heard of it since.
    #[must_use]
    pub fn is_gone(self, now: i64) -> bool {
        self.gone_at.is_some_and(|at| !is_within(at, TAIL_GONE_MS, now))
    }
}

/// Messages of two epochs came by turns before either had its place. One of them may be dead, and a message of it came late:
/// joined in the wrong order it would end the one that goes on. Of two that go on, a copied disk, the order means nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Doubt {
    /// When the first such turn came, ms UTC.
    since: i64,
    /// When the last one came, ms UTC.
    at: i64,
}

impl Doubt {
    /// One more turn at `now`.
    #[must_use]
    pub fn again(before: Option<Self>, now: i64) -> Self {
        let since = before.filter(|doubt| is_within(doubt.at, TAIL_QUIET_MS, now));
        Self { since: since.map_or(now, |doubt| doubt.since), at: now }
    }

    /// Whether it is too early to say which one goes on.
    #[must_use]
    pub fn is_open(self, now: i64) -> bool {
        is_within(self.at, TAIL_QUIET_MS, now) && is_within(self.since, DOUBT_MAX_MS, now)
    }
}

fn is_within(at: i64, bound: i64, now: i64) -> bool {
    (0..bound).contains(&now.saturating_sub(at))
}

/// A clock that stands behind the centre's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Behind {
    /// The centre's time of the first such block, ms UTC.
    pub since: i64,
    /// How far behind it was then, ms.
    pub lag: i64,
    /// How far behind the newest is, ms.
    pub now: i64,
    /// The centre's time of the newest such block, ms UTC.
    pub at: i64,
}

/// When people were last told, ms UTC; `None` = not since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Told {
    /// Of a clock that is ahead.
    pub ahead: Option<i64>,
    /// Of a clock that is behind.
    pub behind: Option<i64>,
    /// Of a full quarantine.
    pub full: Option<i64>,
    /// Of blocks that come although another gateway has replaced it.
    pub replaced: Option<i64>,
    /// Of live blocks behind the end of their epoch.
    pub muted: Option<i64>,
    /// Of an epoch that would have ended one that goes on.
    pub rival: Option<i64>,
}

/// When and what to ack.
#[derive(Debug, Clone, Default)]
pub struct AckDue {
    /// Epochs whose sets changed or were asked for since the last ack.
    pub epochs: BTreeSet<u64>,
    /// Something arrived since the last ack.
    pub changed: bool,
    /// Something must go out at once.
    pub urgent: bool,
    /// When the last message arrived, ms UTC.
    pub heard_at: i64,
    /// When the last ack was sent, ms UTC.
    pub sent_at: i64,
}

impl Kept {
    /// As it lies in the log.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_stdvec(self).expect("writing to memory cannot fail")
    }

    /// Reads it back.
    ///
    /// # Errors
    /// When another version wrote it.
    pub fn decode(bytes: &[u8]) -> Result<Self, postcard::Error> {
        postcard::from_bytes(bytes)
    }

    /// The offset of a boot, where known.
    #[must_use]
    pub fn offset(&self, boot: u64) -> Option<i64> {
        self.boots.iter().find(|(b, _)| *b == boot).map(|(_, offset)| *offset)
    }
}

impl GatewayState {
    /// Whether the epoch at the tail may be ended by one that contradicts it. Of one that this start of the centre has not
    /// heard nobody knows whether it goes on.
    #[must_use]
    pub fn may_end_tail(&self, now: i64) -> bool {
        if self.doubt.is_some_and(|doubt| doubt.is_open(now)) {
            return false;
        }
        let is_overtaken = self.kept.chain.is_overtaken();
        self.tail.is_none_or(|tail| tail.is_silent(now) || is_overtaken && tail.is_gone(now))
    }

    /// A gateway as the log kept it.
    #[must_use]
    pub fn restored(kept: Kept, held: impl IntoIterator<Item = HeldBlock>) -> Self {
        let all = held.into_iter().map(|h| (h.position, h));
        let (held, released) = all.partition(|(_, h)| h.released_by == 0);
        Self { kept, held, released, ..Self::default() }
    }

    pub(super) fn heard(&mut self, stamp: &Stamp, at: i64) {
        self.ack.heard_at = at;
        self.ack.changed = true;
        let newer =
            self.last.as_ref().is_none_or(|l| l.boot != stamp.boot || stamp.counter > l.counter);
        if newer {
            self.last = Some(stamp.clone());
        }
    }

    pub(super) fn reject(&mut self, epoch: u64, seq: u64, code: &'static str) {
        let rejected = &mut self.kept.rejected;
        if rejected.len() >= REJECTED_MAX {
            rejected.pop_front();
        }
        rejected.push_back(RejectedBlock { epoch, seq, code: code.to_owned() });
    }
}

/// Key of a gateway's [`Kept`] in the log.
#[must_use]
pub fn key_of(gateway: &str) -> Vec<u8> {
    format!("{KEPT_PREFIX}{gateway}").into_bytes()
}

/// What all keys of [`Kept`] begin with.
pub const KEPT_PREFIX: &str = "gateway/";
/// What all keys of held blocks begin with.
pub const HELD_PREFIX: &str = "held/";

/// Key of a held block in the log.
#[must_use]
pub fn held_key(gateway: &str, position: u64) -> Vec<u8> {
    format!("{HELD_PREFIX}{gateway}/{position:016x}").into_bytes()
}

/// Value of a held block in the log.
#[must_use]
pub fn held_value(held: &HeldBlock) -> Vec<u8> {
    let mut value = [held.boot.to_le_bytes(), held.epoch.to_le_bytes()].concat();
    if held.released_by > 0 {
        value.extend(held.released_by.to_le_bytes());
    }
    value
}

/// Reads a held block back: its gateway and itself.
#[must_use]
pub fn held_from(key: &[u8], value: &[u8]) -> Option<(String, HeldBlock)> {
    let key = std::str::from_utf8(key).ok()?.strip_prefix(HELD_PREFIX)?;
    let (gateway, position) = key.rsplit_once('/')?;
    let boot = u64::from_le_bytes(value.get(..8)?.try_into().ok()?);
    let epoch = u64::from_le_bytes(value.get(8..16)?.try_into().ok()?);
    let released_by =
        value.get(16..24).and_then(|v| v.try_into().ok()).map_or(0, u64::from_le_bytes);
    let position = u64::from_str_radix(position, 16).ok()?;
    Some((gateway.to_owned(), HeldBlock { boot, epoch, position, released_by }))
}
