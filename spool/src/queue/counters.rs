//! The spool's account: what was polled and where it is now.
//!
//! Changed only in the transaction that moves the samples, so that after any kill
//! `polled = stored + quarantined + declared + backlog`.

use std::collections::BTreeMap;

use super::block::read_numbers;
use super::epoch::EpochState;
use super::rows::Head;
use crate::codec::{Reader, Writer};

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Counters {
    /// Samples that ever entered.
    pub(super) polled: u64,
    /// Samples of acked blocks that left the disk.
    pub(super) freed_acked: u64,
    /// Samples of rejected blocks that left the disk.
    pub(super) freed_rejected: u64,
    /// Samples declared lost or about to be.
    pub(super) declared: u64,
    /// Samples on the disk.
    pub(super) held: u64,
    /// Of these, acked (not rejected).
    pub(super) held_acked: u64,
    /// Of these, rejected.
    pub(super) held_rejected: u64,
    /// Bytes of blocks on the disk.
    pub(super) held_bytes: u64,
    /// Of these, acked or rejected.
    pub(super) acked_bytes: u64,
    /// Bytes of blocks ever written.
    pub(super) written_bytes: u64,
    /// Blocks that failed their checksum.
    pub(super) damaged_blocks: u64,
    /// Blocks evicted before they were acked.
    pub(super) evicted_blocks: u64,
    /// Blocks on the disk that refer to each manifest, by its number.
    pub(super) manifests: BTreeMap<u32, u64>,
}

impl Counters {
    fn numbers(&self) -> [u64; 12] {
        [
            self.polled,
            self.freed_acked,
            self.freed_rejected,
            self.declared,
            self.held,
            self.held_acked,
            self.held_rejected,
            self.held_bytes,
            self.acked_bytes,
            self.written_bytes,
            self.damaged_blocks,
            self.evicted_blocks,
        ]
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut out = Writer::default();
        self.numbers().into_iter().for_each(|n| out.number(n));
        out.number(self.manifests.len() as u64);
        for (no, count) in &self.manifests {
            out.number(u64::from(*no));
            out.number(*count);
        }
        out.into_bytes()
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut input = Reader::new(bytes);
        let n: [u64; 12] = read_numbers(&mut input)?;
        let mut manifests = BTreeMap::new();
        for _ in 0..input.number()? {
            manifests.insert(u32::try_from(input.number()?).ok()?, input.number()?);
        }
        input.is_empty().then_some(Self {
            polled: n[0],
            freed_acked: n[1],
            freed_rejected: n[2],
            declared: n[3],
            held: n[4],
            held_acked: n[5],
            held_rejected: n[6],
            held_bytes: n[7],
            acked_bytes: n[8],
            written_bytes: n[9],
            damaged_blocks: n[10],
            evicted_blocks: n[11],
            manifests,
        })
    }

    /// Counts a block on the disk where the epoch's sets put it.
    pub(super) fn count(&mut self, e: &EpochState, seq: u64, head: &Head) {
        self.held += head.samples;
        self.held_bytes += head.size;
        if e.rejected.contains(seq) {
            self.held_rejected += head.samples;
        } else if e.acked.contains(seq) {
            self.held_acked += head.samples;
        }
        if e.acked.contains(seq) {
            self.acked_bytes += head.size;
        }
        if head.manifest > 0 {
            *self.manifests.entry(head.manifest).or_default() += 1;
        }
    }

    /// Takes a block off the account of what is on the disk; `true` where it was not acked.
    pub(super) fn uncount(&mut self, e: &EpochState, seq: u64, head: &Head) -> bool {
        self.held -= head.samples;
        self.held_bytes -= head.size;
        let acked = e.acked.contains(seq);
        if e.rejected.contains(seq) {
            self.held_rejected -= head.samples;
            self.freed_rejected += head.samples;
        } else if acked {
            self.held_acked -= head.samples;
            self.freed_acked += head.samples;
        } else {
            self.declared += head.samples;
            self.evicted_blocks += 1;
        }
        if acked {
            self.acked_bytes -= head.size;
        }
        if let Some(count) = self.manifests.get_mut(&head.manifest) {
            *count -= 1;
            if *count == 0 {
                self.manifests.remove(&head.manifest);
            }
        }
        !acked
    }

    /// Samples on the disk that are neither acked nor rejected.
    pub(super) fn backlog(&self) -> u64 {
        self.held - self.held_acked - self.held_rejected
    }

    /// True where every sample is in exactly one place.
    pub(super) fn balance(&self) -> bool {
        let stored = self.freed_acked + self.held_acked;
        let quarantined = self.freed_rejected + self.held_rejected;
        self.polled == stored + quarantined + self.declared + self.backlog()
    }
}
