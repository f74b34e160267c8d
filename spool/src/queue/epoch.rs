//! What the spool knows of one epoch, kept in memory and as one row.

use super::block::{Link, read_link, read_numbers, write_link};
use crate::codec::{Reader, Writer};
use crate::intervals::{INTERVALS_MAX, Intervals};

/// Bits of a row id that hold the seq; the epoch's number in this file lies above.
const SEQ_BITS: u32 = 40;
/// Largest seq of an epoch: at ten blocks a second 3,000 years.
pub(super) const SEQ_MAX: u64 = (1 << SEQ_BITS) - 1;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct EpochState {
    /// Place in the order of epochs of this file.
    pub(super) no: u32,
    pub(super) epoch: u64,
    pub(super) link: Option<Link>,
    /// Highest seq ever stored, 0 where none was.
    pub(super) last: u64,
    /// Seqs on the disk.
    pub(super) held: Intervals,
    /// Held seqs that are acked under the present log id.
    pub(super) acked: Intervals,
    /// Acked seqs that went to quarantine at the centre.
    pub(super) rejected: Intervals,
    /// Held seqs that are gap records.
    pub(super) gaps: Intervals,
    /// Differs from the row on the disk.
    pub(super) dirty: bool,
}

impl EpochState {
    pub(super) fn id(&self, seq: u64) -> i64 {
        id(self.no, seq)
    }

    /// Held and not acked, ascending.
    pub(super) fn unacked(&self) -> Vec<(u64, u64)> {
        self.held.without(&self.acked)
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut out = Writer::default();
        [u64::from(self.no), self.epoch, self.last].into_iter().for_each(|n| out.number(n));
        write_link(&mut out, self.link);
        for set in [&self.held, &self.acked, &self.rejected, &self.gaps] {
            out.bytes(&set.to_bytes());
        }
        out.into_bytes()
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut input = Reader::new(bytes);
        let [no, epoch, last] = read_numbers(&mut input)?;
        let link = read_link(&mut input)?;
        let mut set = || Intervals::from_bytes(input.bytes()?).ok();
        let (held, acked, rejected, gaps) = (set()?, set()?, set()?, set()?);
        let no = u32::try_from(no).ok()?;
        let state = Self { no, epoch, link, last, held, acked, rejected, gaps, dirty: false };
        input.is_empty().then_some(state)
    }
}

/// Row id of a block: epochs in their order, blocks in theirs.
pub(super) fn id(no: u32, seq: u64) -> i64 {
    assert!(seq <= SEQ_MAX, "seq is below 2^40");
    (i64::from(no) << SEQ_BITS) | seq.cast_signed()
}

/// The epoch's number and the seq of a row id.
pub(super) fn split(id: i64) -> (u32, u64) {
    (u32::try_from(id >> SEQ_BITS).unwrap_or(0), id.cast_unsigned() & SEQ_MAX)
}

/// One epoch of the list that blocks carry: what the gateway still holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldEpoch {
    /// The epoch.
    pub epoch: u64,
    /// What it follows.
    pub link: Option<Link>,
    /// Highest seq ever stored.
    pub last: u64,
    /// What is on the disk; filled holes where the list must be shortened, never a hole too many.
    pub held: Intervals,
}

/// Shortens the held sets of a list to `ranges_max` ranges in all.
pub(super) fn shorten(list: &mut [HeldEpoch], ranges_max: usize) {
    let mut limit = INTERVALS_MAX;
    while list.iter().map(|e| e.held.len().min(limit)).sum::<usize>() > ranges_max && limit > 1 {
        limit /= 2;
    }
    for epoch in list {
        if epoch.held.len() > limit {
            epoch.held = epoch.held.coarsened(limit);
        }
    }
}
