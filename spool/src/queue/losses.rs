//! Lost blocks that no gap record declares yet.
//!
//! They are a row of the same file, written in the transaction that took the blocks out, and leave it
//! in the transaction that stores the gap record. Neighbours are joined, so that weeks of eviction stay
//! a few ranges.

use super::block::{GapRange, Link, Loss};

/// Most ranges that wait; beyond it the nearest of one epoch are joined over what lies between (the
/// centre counts as declared only what it does not hold).
pub const LOSSES_MAX: usize = 1024;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Losses {
    ranges: Vec<GapRange>,
    pub(super) dirty: bool,
}

impl Losses {
    pub(super) fn new(mut ranges: Vec<GapRange>) -> Self {
        ranges.sort_by_key(order);
        Self { ranges, dirty: false }
    }

    pub(super) fn ranges(&self) -> &[GapRange] {
        &self.ranges
    }

    pub(super) fn add(&mut self, lost: GapRange) {
        self.dirty = true;
        let at = self.ranges.partition_point(|r| order(r) < order(&lost));
        self.ranges.insert(at, lost);
        // Only the neighbours of the new one can touch it.
        if at + 1 < self.ranges.len() && touch(&self.ranges[at], &self.ranges[at + 1]) {
            self.join(at);
        }
        if at > 0 && touch(&self.ranges[at - 1], &self.ranges[at]) {
            self.join(at - 1);
        }
        while self.ranges.len() > LOSSES_MAX && self.join_nearest() {}
    }

    /// Takes out what a gap record declares.
    pub(super) fn declared(&mut self, gap: &[GapRange]) {
        for g in gap {
            let Some(at) = self.ranges.iter().position(|r| covers(r, g)) else { continue };
            self.dirty = true;
            let whole = self.ranges.remove(at);
            let mut left = whole.samples.saturating_sub(g.samples);
            if whole.to > g.to {
                let samples = std::mem::take(&mut left);
                self.ranges.insert(at, GapRange { from: g.to + 1, samples, ..whole });
            }
            if whole.from < g.from {
                self.ranges.insert(at, GapRange { to: g.from - 1, samples: left, ..whole });
            }
        }
    }

    fn join(&mut self, at: usize) {
        let next = self.ranges.remove(at + 1);
        let range = &mut self.ranges[at];
        range.to = range.to.max(next.to);
        range.t0 = range.t0.min(next.t0);
        range.t1 = range.t1.max(next.t1);
        range.samples += next.samples;
        range.link = range.link.or(next.link);
    }

    fn join_nearest(&mut self) -> bool {
        let near = (1..self.ranges.len())
            .filter(|at| same(&self.ranges[at - 1], &self.ranges[*at]))
            .min_by_key(|at| self.ranges[*at].from.saturating_sub(self.ranges[at - 1].to));
        let found = near.is_some();
        if let Some(at) = near {
            self.join(at - 1);
        }
        found
    }
}

fn order(r: &GapRange) -> (Loss, u64, u64) {
    (r.loss, r.epoch, r.from)
}

fn same(a: &GapRange, b: &GapRange) -> bool {
    a.epoch == b.epoch && a.loss == b.loss
}

fn touch(a: &GapRange, b: &GapRange) -> bool {
    same(a, b) && b.from <= a.to.saturating_add(1)
}

fn covers(a: &GapRange, b: &GapRange) -> bool {
    same(a, b) && a.from <= b.from && b.to <= a.to
}

/// One lost block that is not a gap record, or the seq of one that is.
pub(super) fn one(
    epoch: u64,
    seq: u64,
    link: Option<Link>,
    loss: Loss,
    (t0, t1, samples): (i64, i64, u64),
) -> GapRange {
    GapRange { epoch, from: seq, to: seq, t0, t1, samples, link, loss }
}
