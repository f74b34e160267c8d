//! Times of blocks at receive: which rows are ahead of the centre, and what happens to blocks of a clock that was never set.
//!
//! "Ahead" is decided once, here, and kept in the record. When more than half of three or more synced gateways look ahead
//! it is the centre's clock that is wrong, and nothing is set aside.

use std::collections::BTreeSet;

use wire::GatewayName;
use wire::block::{Clock, ClockState};
use wire::columns::Readings;

use super::gateway::{self, BOOTS_MAX, GatewayState, HeldBlock};
use super::port::LogPort;
use super::{Quarantined, Receiver};
use crate::log::record::{BlockMeta, Decided};

/// A sample further ahead of the centre than this is set aside, ms.
pub const AHEAD_MS: i64 = 60_000;
/// How long a gateway's word about the time counts, ms.
const CLOCK_WORD_MS: i64 = 10 * 60_000;
/// Fewest synced gateways that can put the centre's clock in doubt.
const JURY_MIN: usize = 3;

impl Receiver {
    /// Whether the gateways' clocks say that the centre's own is behind.
    #[must_use]
    pub fn distrusts_own_clock(&self, now: i64) -> bool {
        let words = self.gateways.values().filter_map(|g| g.clock);
        let words: Vec<bool> =
            words.filter(|(_, at)| now - at <= CLOCK_WORD_MS).map(|(ahead, _)| ahead).collect();
        let ahead = words.iter().filter(|a| **a).count();
        words.len() >= JURY_MIN && ahead * 2 > words.len()
    }

    /// Whether the one or two gateways with a synced clock all say that the centre's own is behind: too few to believe
    /// them, enough to tell.
    #[must_use]
    pub fn doubts_own_clock(&self, now: i64) -> bool {
        let words = self.gateways.values().filter_map(|g| g.clock);
        let fresh: Vec<bool> =
            words.filter(|(_, at)| now - at <= CLOCK_WORD_MS).map(|(ahead, _)| ahead).collect();
        (1..JURY_MIN).contains(&fresh.len()) && fresh.iter().all(|ahead| *ahead)
    }

    /// Decides what is ahead in a block, and notes what its clock says of the centre's.
    pub(super) fn judge_time(
        &mut self,
        gateway: &GatewayName,
        clock: &Clock,
        readings: &Readings,
        now: i64,
    ) -> BlockMeta {
        if clock.state == ClockState::Unset {
            return BlockMeta::default();
        }
        let limit = now.saturating_add(AHEAD_MS);
        let is_ahead = clock.closed_at > limit;
        if clock.state == ClockState::Synced && !crate::selfwatch::is_synthetic(gateway.as_str()) {
            self.touch(gateway).clock = Some((is_ahead, now));
        }
        let times = readings.tables.iter().flat_map(|t| &t.times);
        let ahead = (0_u32..).zip(times).filter(|(_, time)| **time > limit);
        let masked_rows: Vec<u32> = ahead.map(|(row, _)| row).collect();
        if (is_ahead || !masked_rows.is_empty()) && self.distrusts_own_clock(now) {
            return BlockMeta::default();
        }
        BlockMeta {
            is_ahead: is_ahead || !masked_rows.is_empty(),
            masked_rows,
            ..BlockMeta::default()
        }
    }

    /// Notes the offset of a boot, and says which held blocks it releases.
    pub(super) fn release(&mut self, gateway: &GatewayName, clock: &Clock) -> Decided {
        let boot = clock.boot.0;
        let state = self.touch(gateway);
        let known = state.kept.offset(boot);
        if let (None, Some(offset)) = (known, clock.boot_offset) {
            if state.kept.boots.len() >= BOOTS_MAX {
                state.kept.boots.pop_front();
            }
            state.kept.boots.push_back((boot, offset));
        }
        let releases = match clock.boot_offset {
            Some(_) => state.held.values().filter(|h| h.boot == boot).map(|h| h.position).collect(),
            None => Vec::new(),
        };
        let unset = clock.state == ClockState::Unset;
        let offset = clock.boot_offset.or(known).filter(|_| unset);
        Decided { offset, releases, ..Decided::default() }
    }

    /// Changes the rows of held blocks after a block was logged at `position`.
    pub(super) fn keep_held(
        &mut self,
        port: &mut impl LogPort,
        gateway: &GatewayName,
        block: (&Clock, u64, u64),
        decided: &Decided,
    ) {
        let (clock, epoch, position) = block;
        let state = self.touch(gateway);
        for released in &decided.releases {
            let Some(held) = state.held.remove(released) else { continue };
            // The store may be far behind: it reads the block when it meets this record.
            let held = HeldBlock { released_by: position, ..held };
            state.released.insert(*released, held);
            let key = gateway::held_key(gateway.as_str(), *released);
            port.put(&key, Some(&gateway::held_value(&held)));
        }
        if clock.state == ClockState::Unset && decided.offset.is_none() {
            let held = HeldBlock { boot: clock.boot.0, epoch, position, released_by: 0 };
            state.held.insert(position, held);
            port.put(
                &gateway::held_key(gateway.as_str(), position),
                Some(&gateway::held_value(&held)),
            );
        }
    }

    /// Holds blocks again whose releasing record was damaged and taken out: the next record that knows the offset of their
    /// boot releases them.
    pub fn hold_again(&mut self, port: &mut impl LogPort, discarded: &BTreeSet<u64>) {
        let of = |(name, state): (&GatewayName, &GatewayState)| {
            let lost = state.released.values().filter(|h| discarded.contains(&h.released_by));
            lost.map(|h| (name.clone(), *h)).collect::<Vec<_>>()
        };
        let lost: Vec<_> = self.gateways.iter().flat_map(of).collect();
        for (name, released) in lost {
            let held = HeldBlock { released_by: 0, ..released };
            let state = self.touch(&name);
            state.released.remove(&held.position);
            state.held.insert(held.position, held);
            let key = gateway::held_key(name.as_str(), held.position);
            port.put(&key, Some(&gateway::held_value(&held)));
        }
    }

    /// Forgets released blocks that the store has, at most `most`: it has taken everything up to `stored`.
    pub fn forget_released(&mut self, port: &mut impl LogPort, stored: u64, most: usize) {
        let of = |(name, state): (&GatewayName, &GatewayState)| {
            let done = state.released.values().filter(|h| h.released_by <= stored);
            done.map(|h| (name.clone(), h.position)).collect::<Vec<_>>()
        };
        let done: Vec<_> = self.gateways.iter().flat_map(of).take(most).collect();
        for (name, position) in done {
            self.touch(&name).released.remove(&position);
            port.put(&gateway::held_key(name.as_str(), position), None);
        }
    }

    /// Held blocks whose offset can no longer come: every seq of their epoch is covered and none brought one, or their epoch
    /// was let go because it contradicts one that goes on.
    #[must_use]
    pub fn lost_in_time(&self, port: &impl LogPort) -> Vec<(GatewayName, Vec<u64>)> {
        let hopeless = |name: &GatewayName, state: &GatewayState, held: &HeldBlock| {
            let joined = state.kept.chain.find(held.epoch);
            if state.kept.chain.is_let_go(held.epoch) {
                return true;
            }
            let covered = |last| {
                port.epoch(name.as_str(), held.epoch).is_some_and(|s| s.covered.upto() >= last)
            };
            joined.is_some_and(|j| j.last.is_some_and(|last| j.complete || covered(last)))
        };
        let of = |(name, state): (&GatewayName, &GatewayState)| {
            let lost = state.held.values().filter(|h| hopeless(name, state, h));
            let lost: Vec<u64> = lost.map(|h| h.position).collect();
            (!lost.is_empty()).then(|| (name.clone(), lost))
        };
        self.gateways.iter().filter(|(_, s)| !s.held.is_empty()).filter_map(of).collect()
    }

    /// Gives up held blocks that [`Receiver::lost_in_time`] named, with what could be read of them.
    pub fn give_up_held(
        &mut self,
        port: &mut impl LogPort,
        gateway: &GatewayName,
        positions: &[u64],
        blocks: impl IntoIterator<Item = Quarantined>,
    ) {
        for position in positions {
            self.touch(gateway).held.remove(position);
            port.put(&gateway::held_key(gateway.as_str(), *position), None);
        }
        self.effects.quarantined.extend(blocks);
    }

    /// Closes the hole that a gateway's order waits at; nobody expects its blocks any more.
    ///
    /// # Errors
    /// When the log cannot take the change.
    pub fn give_up_hole(
        &mut self,
        port: &mut impl LogPort,
        gateway: &GatewayName,
        now: i64,
    ) -> Result<(), spool::Error> {
        let chain = &self.touch(gateway).kept.chain;
        if let Some(record) = chain.give_up_hole(port, gateway.as_str())? {
            self.log(port, gateway.as_str(), record, now);
            self.settle_order(port, gateway, now)?;
        }
        Ok(())
    }
}
