//! What goes into the gateway's spool and comes out of it: blocks, gap ranges, sets of keys.

use std::collections::BTreeMap;

use crate::codec::{Reader, Writer};
use crate::intervals::{Intervals, TooMany};

/// A block's key within its gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Random number of one start of the gateway.
    pub epoch: u64,
    /// Counts from 1 within the epoch, without gaps.
    pub seq: u64,
}

/// The epoch that another follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Link {
    /// The predecessor.
    pub epoch: u64,
    /// The last seq that was stored of it.
    pub last: u64,
}

/// Why blocks were lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Loss {
    /// The spool was full.
    Evicted = 1,
    /// A block failed its checksum.
    Damaged = 2,
    /// The disk does not give the block back, or it is not among what could be salvaged of a damaged file.
    Unreadable = 3,
}

impl Loss {
    /// The reason as a gap record states it.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Evicted => "spool_full",
            Self::Damaged => "block_damaged",
            Self::Unreadable => "spool_damaged",
        }
    }

    fn from_number(n: u64) -> Option<Self> {
        [Self::Evicted, Self::Damaged, Self::Unreadable].into_iter().find(|l| *l as u64 == n)
    }
}

/// Blocks of one epoch that are lost, to be declared in a gap record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct GapRange {
    /// Epoch of the lost blocks.
    pub epoch: u64,
    /// First lost seq.
    pub from: u64,
    /// Last lost seq, inclusive.
    pub to: u64,
    /// Earliest event time lost, ms UTC; `i64::MAX` where unknown.
    pub t0: i64,
    /// Latest event time lost, ms UTC; `i64::MIN` where unknown.
    pub t1: i64,
    /// Samples lost.
    pub samples: u64,
    /// What the epoch follows.
    pub link: Option<Link>,
    /// Why they were lost.
    pub loss: Loss,
}

impl GapRange {
    pub(super) fn write(ranges: &[Self]) -> Vec<u8> {
        let mut out = Writer::default();
        out.number(ranges.len() as u64);
        for r in ranges {
            [r.epoch, r.from, r.to, r.samples, r.loss as u64]
                .into_iter()
                .for_each(|n| out.number(n));
            out.signed(r.t0);
            out.signed(r.t1);
            write_link(&mut out, r.link);
        }
        out.into_bytes()
    }

    pub(super) fn read(bytes: &[u8]) -> Option<Vec<Self>> {
        let mut input = Reader::new(bytes);
        let count = input.number()?;
        let mut ranges = Vec::new();
        for _ in 0..count {
            let [epoch, from, to, samples, loss] = read_numbers(&mut input)?;
            let (t0, t1) = (input.signed()?, input.signed()?);
            let (link, loss) = (read_link(&mut input)?, Loss::from_number(loss)?);
            ranges.push(Self { epoch, from, to, t0, t1, samples, link, loss });
        }
        input.is_empty().then_some(ranges)
    }
}

pub(super) fn write_link(out: &mut Writer, link: Option<Link>) {
    // An epoch is followed only where it has a stored block, so `last` 0 means none.
    out.number(link.map_or(0, |l| l.last));
    out.number(link.map_or(0, |l| l.epoch));
}

pub(super) fn read_link(input: &mut Reader<'_>) -> Option<Option<Link>> {
    let (last, epoch) = (input.number()?, input.number()?);
    Some((last > 0).then_some(Link { epoch, last }))
}

pub(super) fn read_numbers<const N: usize>(input: &mut Reader<'_>) -> Option<[u64; N]> {
    let mut out = [0; N];
    for n in &mut out {
        *n = input.number()?;
    }
    Some(out)
}

/// A sealed block to be stored.
#[derive(Debug, Clone, Copy)]
pub struct NewBlock<'a> {
    /// Epoch must be the current one, seq the next.
    pub key: Key,
    /// The block as it will be sent.
    pub bytes: &'a [u8],
    /// When it was sealed, wall time, ms UTC.
    pub born_ms: i64,
    /// Samples in it; 0 for a gap record and an empty block.
    pub samples: u32,
    /// Earliest event time in it; `i64::MAX` where it holds no row.
    pub t0: i64,
    /// Latest event time in it; `i64::MIN` where it holds no row.
    pub t1: i64,
    /// The manifest that it refers to; it must have been put before.
    pub manifest: Option<[u8; 16]>,
    /// For a gap record what it declares, else empty.
    pub gap: &'a [GapRange],
}

/// A block read back, its checksum right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredBlock {
    /// Its key.
    pub key: Key,
    /// The bytes as they were sealed.
    pub bytes: Vec<u8>,
    /// When it was sealed, wall time, ms UTC.
    pub born_ms: i64,
    /// Samples in it.
    pub samples: u32,
    /// Earliest event time.
    pub t0: i64,
    /// Latest event time.
    pub t1: i64,
    /// The manifest that it refers to.
    pub manifest: Option<[u8; 16]>,
    /// What it declares, if it is a gap record.
    pub gap: Vec<GapRange>,
}

/// What reading a block gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fetched {
    /// The block.
    Block(StoredBlock),
    /// It is not in the spool (any more).
    Gone,
    /// It failed its checksum, was taken out and waits to be declared: never send it.
    Damaged,
}

/// A set of block keys, such as those in flight.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeySet {
    epochs: BTreeMap<u64, Intervals>,
}

impl KeySet {
    /// The empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a key.
    ///
    /// # Errors
    /// [`TooMany`] where the epoch's set is full; it is unchanged.
    pub fn insert(&mut self, key: Key) -> Result<(), TooMany> {
        self.epochs.entry(key.epoch).or_default().insert(key.seq, key.seq)
    }

    /// Takes a key out; one that does not fit out (see [`TooMany`]) stays in.
    pub fn remove(&mut self, key: Key) {
        if let Some(set) = self.epochs.get_mut(&key.epoch)
            && set.remove(key.seq, key.seq).is_ok()
            && set.is_empty()
        {
            self.epochs.remove(&key.epoch);
        }
    }

    /// True where the key is in the set.
    pub fn contains(&self, key: Key) -> bool {
        self.epochs.get(&key.epoch).is_some_and(|s| s.contains(key.seq))
    }

    /// The seqs of an epoch that are in the set.
    pub fn epoch(&self, epoch: u64) -> Option<&Intervals> {
        self.epochs.get(&epoch)
    }

    /// True where no key is in it.
    pub fn is_empty(&self) -> bool {
        self.epochs.is_empty()
    }
}
