//! The one order of a gateway's epochs: what follows what, which holes can never be filled, which block is next.
//!
//! Pure: called by the receiver inside its transaction, driven as well by the simulator. An evaluator follows only the
//! chain records that come out of here, never what a gateway says. Nothing here decides whether a block is logged.
//!
//! ```text
//! links      what each epoch says it follows          from every block, list entry and gap range
//! current    the epoch that the gateway is in now     from a block made in the boot that sends it
//! list       what the gateway's disk holds now        the newest list of the current epoch; others may be weeks old
//! joined     the chain: epochs in order, each with the last seq that counts once it has a successor
//! ```
//!
//! The current epoch is joined after every other one whose place is known: joining a dead one behind it would end the
//! part of the live one that is evaluated.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use spool::Intervals;
use wire::block::{HeldEpoch, Link};

use crate::log::record::{CentreRecord, GoneSpan};
use crate::receive::port::LogPort;

mod place;

/// Epochs of a chain that are remembered; older ones are forgotten from the front, those that the gateway still lists
/// never: their blocks may come again, and must be known then.
pub const JOINED_MAX: usize = 1_024;
/// An order with so many epochs stands at a hole while its gateway starts again and again: the hole is given up.
pub const JOINED_WAITING_MAX: usize = 2 * JOINED_MAX + wire::limits::LIST_MAX;
/// Links of epochs that are not joined yet.
pub const LINKS_MAX: usize = 2_048;

/// The chain of one gateway.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Chain {
    joined: Vec<Joined>,
    follows: BTreeMap<u64, Follows>,
    current: Option<u64>,
    list: Option<List>,
    conflicts: u64,
}

/// An epoch of the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Joined {
    /// The epoch.
    pub epoch: u64,
    /// The last seq that counts; `None` for the tail.
    pub last: Option<u64>,
    /// Every block up to `last` is logged and none beyond; its interval sets are forgotten.
    pub complete: bool,
}

/// What an epoch says it follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Follows {
    epoch: Option<u64>,
    last: u64,
}

/// A list of a gateway: who sealed it, and what the gateway held then.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct List {
    epoch: u64,
    seq: u64,
    held: Vec<Held>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Held {
    epoch: u64,
    last: u64,
    ranges: Vec<(u64, u64)>,
}

impl List {
    fn entry(&self, epoch: u64) -> Option<&Held> {
        self.held.iter().find(|h| h.epoch == epoch)
    }
}

impl Chain {
    /// The epochs in order.
    #[must_use]
    pub fn joined(&self) -> &[Joined] {
        &self.joined
    }

    /// The newest epoch of the chain.
    #[must_use]
    pub fn tail(&self) -> Option<u64> {
        self.joined.last().map(|j| j.epoch)
    }

    /// The chain's entry of an epoch.
    #[must_use]
    pub fn find(&self, epoch: u64) -> Option<&Joined> {
        self.joined.iter().rev().find(|j| j.epoch == epoch)
    }

    /// The epochs behind one in the chain.
    #[must_use]
    pub fn behind(&self, epoch: u64) -> Vec<u64> {
        let after = self.joined.iter().skip_while(|j| j.epoch != epoch).skip(1);
        after.map(|j| j.epoch).collect()
    }

    /// Whether an epoch was let go: it is in no chain, and nothing says any more where it would belong.
    #[must_use]
    pub fn is_let_go(&self, epoch: u64) -> bool {
        self.find(epoch).is_none() && !self.follows.contains_key(&epoch)
    }

    /// Whether the epoch that the gateway is in waits for its place although it names the one at the tail as the one before
    /// it: then it is younger, and no old message that came late.
    #[must_use]
    pub fn is_overtaken(&self) -> bool {
        let Some(tail) = self.tail() else { return false };
        self.current.is_some_and(|e| {
            self.find(e).is_none() && self.follows.get(&e).is_some_and(|f| f.epoch == Some(tail))
        })
    }

    /// Whether an epoch has a successor: its states and wills are void.
    #[must_use]
    pub fn has_successor(&self, epoch: u64) -> bool {
        self.find(epoch).is_some_and(|j| j.last.is_some())
    }

    /// Joins that contradicted what the epoch said it follows.
    #[must_use]
    pub fn conflicts(&self) -> u64 {
        self.conflicts
    }

    /// Epochs in the newest list.
    pub fn listed(&self) -> impl Iterator<Item = u64> {
        self.list.iter().flat_map(|l| l.held.iter().map(|h| h.epoch))
    }

    /// Notes what an epoch follows; the first word stands, and nothing is noted of one that is joined. A predecessor of
    /// another gateway is none of this chain.
    pub fn note_link(&mut self, gateway: &str, epoch: u64, link: Option<&Link>) {
        if self.find(epoch).is_some() {
            return;
        }
        if self.follows.len() >= LINKS_MAX && !self.follows.contains_key(&epoch) {
            self.follows.pop_first();
        }
        let own = link.filter(|l| l.gateway.as_ref().is_none_or(|g| g.as_str() == gateway));
        self.follows
            .entry(epoch)
            .or_insert(Follows { epoch: own.map(|l| l.epoch.0), last: own.map_or(0, |l| l.last) });
    }

    /// Forgets the epochs that could only be joined against what they say, and that the gateway's disk does not hold:
    /// the epoch at the tail, which the gateway is in, was heard after them. They are of a copied disk that runs elsewhere,
    /// or old messages that somebody sent again; joined at its next start they would end it too early. `true` where there
    /// were any.
    pub fn drop_rivals(&mut self, port: &impl LogPort, gateway: &str) -> bool {
        if self.current.is_none() || self.current != self.tail() || self.current_list().is_none() {
            return false;
        }
        let rivals = self.rivals(port, gateway);
        self.follows.retain(|epoch, _| !rivals.contains(epoch));
        !rivals.is_empty()
    }

    /// Notes that the gateway is in this epoch now: a block of it was made in the boot that sends it. `true` where it was in
    /// another one before and neither has its place: either may be an old message that came late.
    pub fn note_current(&mut self, epoch: u64) -> bool {
        if self.has_successor(epoch) {
            return false;
        }
        let before = self.current.replace(epoch).filter(|before| *before != epoch);
        before.is_some_and(|before| self.find(before).is_none() && self.find(epoch).is_none())
    }

    /// Reads the list in block `(epoch, seq)`; from refused blocks as well. Links count from any list, what is held only
    /// from the newest one of the current epoch.
    pub fn read_list(&mut self, gateway: &str, (epoch, seq): (u64, u64), list: &[HeldEpoch]) {
        for held in list {
            self.note_link(gateway, held.epoch.0, held.link.as_ref());
        }
        let newer = self.list.as_ref().is_none_or(|l| l.epoch != epoch || seq > l.seq);
        if newer && self.current == Some(epoch) {
            let held = list.iter().map(|h| Held {
                epoch: h.epoch.0,
                last: h.last,
                ranges: h.held.iter().map(|r| (r.from, r.to)).collect(),
            });
            self.list = Some(List { epoch, seq, held: held.collect() });
        }
    }

    /// The list of the epoch that the gateway is in now.
    fn current_list(&self) -> Option<&List> {
        self.list.as_ref().filter(|l| Some(l.epoch) == self.current)
    }

    /// The block that is next in order: after the settled position, or the first of the epoch that follows.
    pub fn next(&self, port: &impl LogPort, gateway: &str) -> Option<(u64, u64)> {
        self.joined.iter().filter(|j| !j.complete).find_map(|j| {
            let next = port.epoch(gateway, j.epoch).map_or(0, |s| s.covered.upto()) + 1;
            j.last.is_none_or(|last| next <= last).then_some((j.epoch, next))
        })
    }

    /// Whether block `(epoch, seq)` may be the next one although its epoch is not in the chain yet: the first of the
    /// epoch that follows the tail.
    pub fn may_be_next(
        &self,
        port: &impl LogPort,
        gateway: &str,
        (epoch, seq): (u64, u64),
    ) -> bool {
        let Some(follows) = self.follows.get(&epoch) else { return false };
        self.find(epoch).is_none()
            && seq == port.epoch(gateway, epoch).map_or(0, |s| s.covered.upto()) + 1
            && (self.joined.is_empty() || follows.epoch == self.tail())
    }

    /// The next block in order, if there is reason to think that it exists and is missing.
    pub fn want(&self, port: &impl LogPort, gateway: &str) -> Option<(u64, u64)> {
        let (epoch, next) = self.next(port, gateway)?;
        let beyond = port.epoch(gateway, epoch).is_some_and(|s| s.covered.max() > next);
        let listed =
            self.list.as_ref().and_then(|l| l.entry(epoch)).is_some_and(|h| h.last >= next);
        (beyond || listed || self.has_successor(epoch)).then_some((epoch, next))
    }

    /// Closes the holes that are older than the newest list and outside its ranges.
    ///
    /// # Errors
    /// When the log cannot take the change.
    pub fn close_gone(
        &self,
        port: &mut impl LogPort,
        gateway: &str,
    ) -> Result<Option<CentreRecord>, spool::Error> {
        let Some(list) = self.current_list() else { return Ok(None) };
        let Some(end) = self.joined.iter().position(|j| j.epoch == list.epoch) else {
            return Ok(None);
        };
        let mut spans = Vec::new();
        for joined in self.joined[..=end].iter().filter(|j| !j.complete) {
            let older =
                if joined.epoch == list.epoch { list.seq.saturating_sub(1) } else { u64::MAX };
            let top = joined.last.unwrap_or(u64::MAX).min(older);
            let sets = port.epoch(gateway, joined.epoch);
            let mut here = sets.map(|s| s.covered.clone()).unwrap_or_default();
            let held = list.entry(joined.epoch).map_or(&[][..], |h| &h.ranges[..]);
            // Too many holes to tell: nothing is closed, which is safe.
            if held.iter().any(|(from, to)| here.insert(*from, *to).is_err()) || top == u64::MAX {
                continue;
            }
            let holes = here.holes(top).into_iter();
            spans.extend(holes.map(|(from, to)| GoneSpan { epoch: joined.epoch, from, to }));
        }
        cover(port, gateway, spans)
    }

    /// Closes the hole at the next position, up to the first block that is there: it blocks the log or is too old.
    ///
    /// # Errors
    /// When the log cannot take the change.
    pub fn give_up_hole(
        &self,
        port: &mut impl LogPort,
        gateway: &str,
    ) -> Result<Option<CentreRecord>, spool::Error> {
        let Some((epoch, from)) = self.want(port, gateway) else { return Ok(None) };
        let sets = port.epoch(gateway, epoch);
        let follower = sets.and_then(|s| s.covered.iter().find(|(a, _)| *a > from).map(|(a, _)| a));
        let last = self.find(epoch).and_then(|j| j.last);
        match follower.map(|f| f - 1).or(last) {
            Some(to) => cover(port, gateway, vec![GoneSpan { epoch, from, to }]),
            None => Ok(None),
        }
    }

    /// Shrinks epochs that are complete to one line, and forgets the oldest lines beyond [`JOINED_MAX`].
    pub fn shrink(&mut self, port: &mut impl LogPort, gateway: &str) {
        for joined in self.joined.iter_mut().filter(|j| !j.complete) {
            let Some(last) = joined.last else { continue };
            let full = port.epoch(gateway, joined.epoch).map_or(last == 0, |s| {
                s.logged.upto() >= last && s.logged.max() <= last && s.covered.max() <= last
            });
            if full {
                joined.complete = true;
                port.forget_epoch(gateway, joined.epoch);
            }
        }
        let mut at = 0;
        while self.joined.len() > JOINED_MAX && at < self.joined.len() {
            let Joined { epoch, last, complete } = self.joined[at];
            let Some(last) = last else { return };
            let closed = port.epoch(gateway, epoch).map_or(last == 0, |s| s.covered.upto() >= last);
            if !complete && !closed {
                return;
            }
            if self.listed().any(|listed| listed == epoch) {
                at += 1;
                continue;
            }
            self.joined.remove(at);
            port.forget_epoch(gateway, epoch);
        }
    }

    /// Whether the hole at the next position keeps too many epochs waiting.
    #[must_use]
    pub fn is_long(&self) -> bool {
        self.joined.len() > JOINED_WAITING_MAX
    }

    /// The first block behind the hole at the next position, where there is one: since it arrived the hole is known.
    pub fn follower(&self, port: &impl LogPort, gateway: &str) -> Option<(u64, u64)> {
        let (epoch, from) = self.want(port, gateway)?;
        let waiting = self.joined.iter().skip_while(|j| j.epoch != epoch);
        let mut after = from;
        for joined in waiting {
            let covered = port.epoch(gateway, joined.epoch).map(|s| &s.covered);
            let next = covered.and_then(|c| c.iter().find(|(_, to)| *to > after));
            if let Some((first, _)) = next {
                return Some((joined.epoch, first.max(after + 1)));
            }
            after = 0;
        }
        None
    }
}

/// Puts closed holes into the covered sets.
fn cover(
    port: &mut impl LogPort,
    gateway: &str,
    mut spans: Vec<GoneSpan>,
) -> Result<Option<CentreRecord>, spool::Error> {
    let mut closed = Vec::with_capacity(spans.len());
    for span in spans.drain(..) {
        match port.add_covered(gateway, span.epoch, span.from, span.to) {
            Ok(()) => closed.push(span),
            Err(spool::Error::TooMany { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok((!closed.is_empty()).then_some(CentreRecord::Gone(closed)))
}

/// The highest seq that is logged or covered.
fn top(sets: Option<&spool::EpochSets>) -> u64 {
    let most = |set: &Intervals| set.max();
    sets.map_or(0, |s| most(&s.covered).max(most(&s.logged)))
}
