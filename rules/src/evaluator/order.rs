//! The one order of a gateway's blocks: the chain of epochs, then seq; which block comes next, and what is in its way.
//!
//! Called by the evaluator with each record. It never looks at samples, and at receive times only to carry them.
//!
//! ```text
//! chain:  [epoch A, last 812] → [epoch B, last 90] → [epoch C, open]
//!            settled up to A:640 ─┐
//!                                 ├ 641 not here: the hole        waiting: A:642 …, C:1 …
//! ```

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::record::{BlockKey, BlockRecord, Span};
use super::spans::Spans;
use super::step::Ms;

mod resume;

/// Most blocks that may wait behind a hole; at one more the hole is given up. About nine hours of a block each 100 ms.
pub const WAITING_BLOCKS_MAX: usize = 1 << 18;
/// Most blocks of epochs that are in no chain yet: lists join an epoch within seconds, what waits longer may wait for ever.
pub const UNJOINED_BLOCKS_MAX: usize = 1 << 14;
/// Most memory that waiting blocks may take as decoded rows; beyond it only their place in the log is kept.
pub const WAITING_BYTES_MAX: usize = 8 << 20;
/// Passed epochs that are remembered, so that a straggler of one is known as such.
pub const EPOCHS_PASSED_MAX: usize = 4_096;
/// Epochs whose predecessor is remembered, and boots whose offset is.
pub const EPOCHS_KNOWN_MAX: usize = 4_096;

/// How many blocks may wait, and in how much memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Blocks, see [`WAITING_BLOCKS_MAX`].
    pub blocks: usize,
    /// Bytes of decoded rows, see [`WAITING_BYTES_MAX`].
    pub bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { blocks: WAITING_BLOCKS_MAX, bytes: WAITING_BYTES_MAX }
    }
}

/// A block that waits for its turn.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(bound = "")]
pub(super) struct Waiting<Q> {
    pub(super) position: u64,
    /// The boot, where the block's clock was unset and it brought no offset.
    unset: Option<u64>,
    #[serde(skip)]
    body: Option<Box<BlockRecord<Q>>>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Place {
    epoch: u64,
    last: Option<u64>,
}

/// What became of a block on arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arrived {
    Waits,
    Late,
    Passed,
}

/// What comes next in the one order.
#[derive(Debug)]
pub(super) enum Next<Q> {
    /// This block; its body where it is still in memory; its boot where its clock was unset.
    Block { key: BlockKey, position: u64, unset: Option<u64>, body: Option<Box<BlockRecord<Q>>> },
    /// This block, whose time will never be known.
    TimeUnknown { key: BlockKey, position: u64 },
    /// These places were declared lost.
    Declared,
    /// Nothing yet.
    Hole,
}

/// See the module.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(bound = "")]
pub(super) struct Order<Q> {
    limits: Limits,
    chain: VecDeque<Place>,
    next: u64,
    passed: VecDeque<u64>,
    declared: BTreeMap<u64, Spans>,
    waiting: BTreeMap<BlockKey, Waiting<Q>>,
    /// How many wait, by epoch.
    counts: BTreeMap<u64, u64>,
    offsets: VecDeque<(u64, Ms)>,
    follows: VecDeque<(u64, u64)>,
    /// Every place of this epoch is filled and none brought an offset.
    ended: Option<u64>,
    #[serde(skip)]
    held_bytes: usize,
}

impl<Q> Order<Q> {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            chain: VecDeque::new(),
            next: 1,
            passed: VecDeque::new(),
            declared: BTreeMap::new(),
            waiting: BTreeMap::new(),
            counts: BTreeMap::new(),
            offsets: VecDeque::new(),
            follows: VecDeque::new(),
            ended: None,
            held_bytes: 0,
        }
    }

    /// Takes a block: what it says of its boot, its epoch and of lost blocks, and the block itself where it counts.
    pub(super) fn arrive(&mut self, position: u64, mut block: Box<BlockRecord<Q>>) -> Arrived {
        let key = block.key;
        if let Some(offset) = block.clock.boot_offset
            && self.offset(block.clock.boot).is_none()
        {
            push_bounded(&mut self.offsets, (block.clock.boot, offset));
        }
        if let Some(before) = block.follows
            && !self.follows.iter().any(|(epoch, _)| *epoch == key.epoch)
        {
            push_bounded(&mut self.follows, (key.epoch, before));
        }
        let late = self.is_declared(key);
        let gaps = std::mem::take(&mut block.gaps);
        self.declare(&gaps);
        if self.is_passed(key) {
            return Arrived::Passed;
        }
        if late {
            return Arrived::Late;
        }
        let unset =
            (block.clock.unset && block.clock.boot_offset.is_none()).then_some(block.clock.boot);
        let bytes = block.bytes();
        let body = (self.held_bytes + bytes <= self.limits.bytes).then_some(block);
        self.held_bytes += body.as_ref().map_or(0, |_| bytes);
        if self.waiting.insert(key, Waiting { position, unset, body }).is_none() {
            *self.counts.entry(key.epoch).or_default() += 1;
        }
        Arrived::Waits
    }

    /// Joins an epoch behind the present tail, which ends at `last`.
    pub(super) fn join(&mut self, epoch: u64, last: u64) {
        if self.knows(epoch) {
            return;
        }
        if let Some(tail) = self.chain.back_mut() {
            tail.last = Some(last);
            let tail = tail.epoch;
            let beyond: Vec<BlockKey> = self
                .waiting
                .range(BlockKey { epoch: tail, seq: last.saturating_add(1) }..)
                .map(|(key, _)| *key)
                .take_while(|key| key.epoch == tail)
                .collect();
            for key in beyond {
                self.remove(key);
            }
        }
        self.chain.push_back(Place { epoch, last: None });
    }

    /// Whether an epoch is, or was, in the chain.
    pub(super) fn knows(&self, epoch: u64) -> bool {
        self.chain.iter().any(|place| place.epoch == epoch) || self.passed.contains(&epoch)
    }

    /// Counts blocks as declared lost.
    pub(super) fn declare(&mut self, spans: &[Span]) {
        for span in spans {
            if !self.passed.contains(&span.epoch) {
                self.declared.entry(span.epoch).or_default().insert(span.from, span.to);
            }
        }
    }

    /// The next block in order, taken out of the waiting ones.
    pub(super) fn next(&mut self) -> Next<Q> {
        self.pass_full_epochs();
        let Some(place) = self.chain.front().copied() else { return Next::Hole };
        let key = BlockKey { epoch: place.epoch, seq: self.next };
        if let Some(waiting) = self.waiting.get(&key) {
            let position = waiting.position;
            if waiting.unset.is_some_and(|boot| self.offset(boot).is_none()) {
                if !self.has_ended(place) {
                    return Next::Hole;
                }
                self.step_over(key);
                return Next::TimeUnknown { key, position };
            }
            let Some(taken) = self.step_over(key) else { return Next::Hole };
            let Waiting { unset, body, .. } = taken;
            return Next::Block { key, position, unset, body };
        }
        let Some(end) = self.declared.get(&place.epoch).and_then(|spans| spans.end_of(self.next))
        else {
            return Next::Hole;
        };
        let end = place.last.map_or(end, |last| end.min(last));
        let until = self.waiting.range(key..).next().map(|(key, _)| *key);
        let until = until
            .filter(|found| found.epoch == key.epoch)
            .map_or(end, |found| end.min(found.seq - 1));
        self.next = until.saturating_add(1);
        self.prune();
        Next::Declared
    }

    /// Puts a block back that could not be read just now.
    pub(super) fn put_back(&mut self, key: BlockKey, position: u64, unset: Option<u64>) {
        self.next = key.seq;
        if self.waiting.insert(key, Waiting { position, unset, body: None }).is_none() {
            *self.counts.entry(key.epoch).or_default() += 1;
        }
    }

    /// Where too many blocks wait: gives up the hole and says where it began and what comes after it.
    pub(super) fn give_up(&mut self) -> Option<(BlockKey, BlockKey)> {
        if self.waiting.len() <= self.limits.blocks {
            let is_crowded = self.waiting.len() > UNJOINED_BLOCKS_MAX
                && self.unjoined_count() > UNJOINED_BLOCKS_MAX as u64;
            return is_crowded.then(|| self.give_up_unjoined()).flatten();
        }
        let Some(front) = self.chain.front().copied() else { return self.give_up_unjoined() };
        let from = BlockKey { epoch: front.epoch, seq: self.next };
        let here = self
            .waiting
            .range(from..)
            .next()
            .map(|(key, _)| *key)
            .filter(|key| key.epoch == front.epoch);
        if let Some(next) = here {
            if next == from {
                // What is in the way is a clock that was never set, not a hole.
                self.ended = Some(front.epoch);
                return Some((from, next));
            }
            self.declared.entry(front.epoch).or_default().insert(from.seq, next.seq - 1);
            return Some((from, next));
        }
        if let Some(last) = front.last {
            self.declared.entry(front.epoch).or_default().insert(from.seq, last);
            let epoch = self.chain.get(1).map_or(front.epoch, |place| place.epoch);
            return Some((from, BlockKey { epoch, seq: 1 }));
        }
        self.give_up_unjoined()
    }

    /// Gives up the oldest block of an epoch that the centre has not joined: it has no place in any order. Should its
    /// epoch be joined after all, the block counts as declared.
    fn give_up_unjoined(&mut self) -> Option<(BlockKey, BlockKey)> {
        let is_joined = |epoch: u64| self.chain.iter().any(|place| place.epoch == epoch);
        let unjoined = self.waiting.iter().filter(|(key, _)| !is_joined(key.epoch));
        let (key, _) = unjoined.min_by_key(|(_, waiting)| waiting.position)?;
        let key = *key;
        self.remove(key);
        self.declared.entry(key.epoch).or_default().insert(key.seq, key.seq);
        Some((key, key))
    }

    fn unjoined_count(&self) -> u64 {
        let is_joined = |epoch: u64| self.chain.iter().any(|place| place.epoch == epoch);
        self.counts.iter().filter(|(epoch, _)| !is_joined(**epoch)).map(|(_, count)| count).sum()
    }

    /// Whether `key` comes after `head` in the order, as far as that is known.
    pub(super) fn is_after(&self, key: BlockKey, head: Option<BlockKey>) -> bool {
        let Some(head) = head else { return true };
        if head.epoch == key.epoch {
            return key.seq > head.seq;
        }
        let mut seen = BTreeSet::new();
        let mut epoch = Some(head.epoch);
        while let Some(at) = epoch.filter(|at| seen.insert(*at)) {
            epoch = self.follows.iter().find(|(of, _)| *of == at).map(|(_, before)| *before);
            if epoch == Some(key.epoch) {
                return false;
            }
        }
        let index = |epoch: u64| self.chain.iter().position(|place| place.epoch == epoch);
        match (index(key.epoch), index(head.epoch)) {
            (None, _) => true,
            (Some(key), Some(head)) => key > head,
            (Some(_), None) => self.passed.contains(&head.epoch),
        }
    }

    /// The place where the settled evaluator stands: the block it needs next.
    pub(super) fn place(&self) -> Option<BlockKey> {
        self.chain.front().map(|place| BlockKey { epoch: place.epoch, seq: self.next })
    }

    /// Whether the settled lane needs exactly this block and could take it.
    pub(super) fn is_next(&self, key: BlockKey) -> bool {
        self.place() == Some(key) && self.waiting.is_empty()
    }

    /// Whether the block that the settled lane needs is there.
    pub(super) fn has_next(&self) -> bool {
        self.place().is_some_and(|key| self.is_waiting(key))
    }

    pub(super) fn is_waiting(&self, key: BlockKey) -> bool {
        self.waiting.contains_key(&key)
    }

    /// Whether no block waits for its turn. One of an epoch that is in no chain has none: a hole that it makes closes never,
    /// and the live lane must not wait for that.
    pub(super) fn is_run_through(&self) -> bool {
        self.waiting.is_empty()
            || self.chain.iter().all(|place| !self.counts.contains_key(&place.epoch))
    }

    /// Blocks that wait for their turn; those of an epoch that is in no chain have none and are not counted.
    pub(super) fn waiting_count(&self) -> usize {
        let unjoined = usize::try_from(self.unjoined_count()).unwrap_or(usize::MAX);
        self.waiting.len().saturating_sub(unjoined)
    }

    /// Log positions of the blocks that wait.
    pub(super) fn positions(&self) -> impl Iterator<Item = u64> + '_ {
        self.waiting.values().map(|waiting| waiting.position)
    }

    pub(super) fn offset(&self, boot: u64) -> Option<Ms> {
        self.offsets.iter().find(|(of, _)| *of == boot).map(|(_, offset)| *offset)
    }

    fn pass_full_epochs(&mut self) {
        while let Some(place) = self.chain.front().copied() {
            if place.last.is_none_or(|last| self.next <= last) {
                return;
            }
            let rest: Vec<BlockKey> = self
                .waiting
                .range(
                    BlockKey { epoch: place.epoch, seq: 0 }..=BlockKey {
                        epoch: place.epoch,
                        seq: u64::MAX,
                    },
                )
                .map(|(key, _)| *key)
                .collect();
            for key in rest {
                self.remove(key);
            }
            self.declared.remove(&place.epoch);
            self.chain.pop_front();
            self.next = 1;
            self.passed.push_back(place.epoch);
            if self.passed.len() > EPOCHS_PASSED_MAX {
                self.passed.pop_front();
            }
        }
    }

    /// Whether every place left of a closed epoch is filled: then no offset of its boot can come any more.
    fn has_ended(&mut self, place: Place) -> bool {
        if self.ended == Some(place.epoch) {
            return true;
        }
        let Some(last) = place.last else { return false };
        let left = last.saturating_sub(self.next) + 1;
        let waiting = self.counts.get(&place.epoch).copied().unwrap_or(0);
        let declared = self.declared.get(&place.epoch);
        if waiting + declared.map_or(0, |spans| spans.count(self.next, last)) < left {
            return false;
        }
        let both = self
            .waiting
            .range(
                BlockKey { epoch: place.epoch, seq: self.next }..=BlockKey {
                    epoch: place.epoch,
                    seq: last,
                },
            )
            .filter(|(key, _)| declared.is_some_and(|spans| spans.end_of(key.seq).is_some()))
            .count() as u64;
        let filled = waiting + declared.map_or(0, |spans| spans.count(self.next, last)) - both;
        if filled >= left {
            self.ended = Some(place.epoch);
        }
        filled >= left
    }

    fn is_declared(&self, key: BlockKey) -> bool {
        self.declared.get(&key.epoch).is_some_and(|spans| spans.end_of(key.seq).is_some())
    }

    fn is_passed(&self, key: BlockKey) -> bool {
        let front = self.chain.front();
        self.passed.contains(&key.epoch)
            || front.is_some_and(|place| place.epoch == key.epoch && key.seq < self.next)
            || self.chain.iter().any(|place| {
                place.epoch == key.epoch && place.last.is_some_and(|last| key.seq > last)
            })
    }

    fn step_over(&mut self, key: BlockKey) -> Option<Waiting<Q>> {
        self.next = key.seq + 1;
        let taken = self.remove(key);
        self.prune();
        taken
    }

    fn remove(&mut self, key: BlockKey) -> Option<Waiting<Q>> {
        let taken = self.waiting.remove(&key)?;
        if let Some(body) = &taken.body {
            self.held_bytes = self.held_bytes.saturating_sub(body.bytes());
        }
        if let Some(count) = self.counts.get_mut(&key.epoch) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&key.epoch);
            }
        }
        Some(taken)
    }

    fn prune(&mut self) {
        let Some(place) = self.chain.front() else { return };
        if let Some(spans) = self.declared.get_mut(&place.epoch) {
            spans.forget_below(self.next);
        }
    }
}

fn push_bounded<T>(queue: &mut VecDeque<T>, item: T) {
    queue.push_back(item);
    if queue.len() > EPOCHS_KNOWN_MAX {
        queue.pop_front();
    }
}
