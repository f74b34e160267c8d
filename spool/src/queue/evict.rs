//! Making room: acked blocks first, then rejected, then the oldest unacked with those in flight last but one and
//! gap records last, which pass on what they declare.

use std::collections::BTreeMap;

use super::losses::one;
use super::rows::Head;
use super::{EpochState, Key, KeySet, Loss, Spool, epoch, open, rows};
use crate::error::Error;
use crate::intervals::Intervals;

/// Blocks taken out in one transaction.
const CHUNK: usize = 512;
/// A round frees at least this part of the bound, so that gap records stay few.
const PART: u64 = 256;
/// Rounds for one append; each frees a part of the bound.
const ROUNDS_MAX: usize = 2 * 256;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rank {
    Acked,
    Rejected,
    Unacked,
    InFlight,
    Gap,
}

const RANKS: [Rank; 5] = [Rank::Acked, Rank::Rejected, Rank::Unacked, Rank::InFlight, Rank::Gap];

impl Spool {
    /// Evicts until `need` more bytes fit.
    ///
    /// # Errors
    /// [`Error::Full`] or [`Error::DiskFull`] where nothing is left to evict.
    pub(super) fn make_room(&mut self, need: u64, in_flight: &KeySet) -> Result<(), Error> {
        let bound = self.bytes_max();
        let reserve = if self.memory.is_some() { 0 } else { self.options.free_reserve_bytes };
        let mut left = ROUNDS_MAX;
        while let Err(e) = self.file.room_for(need, bound, reserve) {
            if !matches!(e, Error::Full { .. } | Error::DiskFull { .. }) || left == 0 {
                return Err(e);
            }
            left -= 1;
            if !self.evict_round(need.max(bound / PART), in_flight)? {
                return Err(e);
            }
        }
        Ok(())
    }

    fn evict_round(&mut self, bytes: u64, in_flight: &KeySet) -> Result<bool, Error> {
        for rank in RANKS {
            let mut doomed: Vec<Head> = Vec::new();
            for e in self.state.epochs.values() {
                for (from, to) in ranked(e, rank, in_flight) {
                    let sum: u64 = doomed.iter().map(|h| h.size).sum();
                    if sum >= bytes || doomed.len() >= CHUNK {
                        break;
                    }
                    let part = rows::heads(
                        &self.file.conn,
                        (e.no, from, to),
                        bytes - sum,
                        CHUNK - doomed.len(),
                    );
                    doomed.extend(part.map_err(self.file.fail("evict from"))?);
                }
            }
            if !doomed.is_empty() {
                return self.evict(&doomed);
            }
        }
        Ok(false)
    }

    /// Takes the blocks out in one transaction with what is known of them; false where none could.
    fn evict(&mut self, doomed: &[Head]) -> Result<bool, Error> {
        let (counters, losses) = (self.state.counters.clone(), self.state.losses.clone());
        let mut drafts: BTreeMap<u32, EpochState> = BTreeMap::new();
        let mut gone: Vec<i64> = Vec::new();
        for head in doomed {
            let (no, seq) = epoch::split(head.id);
            let Some(known) = self.state.epochs.get(&no) else { continue };
            let e = drafts.entry(no).or_insert_with(|| known.clone());
            let mut held = e.held.clone();
            // With no interval left to mark the hole the block stays: it goes when its neighbour does.
            if held.remove(seq, seq).is_err() {
                continue;
            }
            if self.state.counters.uncount(e, seq, head) {
                let what = (head.t0, head.t1, head.samples);
                self.state.losses.add(one(e.epoch, seq, e.link, Loss::Evicted, what));
                let key = Key { epoch: e.epoch, seq };
                let passed = self.gaps.get(&key).cloned().unwrap_or_default();
                passed.into_iter().for_each(|g| self.state.losses.add(g));
            }
            e.held = held;
            for set in [&mut e.acked, &mut e.rejected, &mut e.gaps] {
                // Subsets of `held`: a remnant that cannot be split off is dropped whole instead.
                if set.remove(seq, seq).is_err() {
                    let rest = set.common(&e.held);
                    *set = rest.into_iter().collect();
                }
            }
            gone.push(head.id);
        }
        self.state.dirty = true;
        let (state, changed) = (&self.state, drafts.values().collect::<Vec<_>>());
        let done = self.file.transact("evict from", |conn| {
            for id in &gone {
                rows::delete(conn, *id)?;
                conn.prepare_cached("DELETE FROM rejected WHERE id = ?1")?.execute([id])?;
            }
            open::save(conn, state, &changed)?;
            crate::fail_point!("spool.evict.in");
            Ok(())
        });
        if let Err(e) = done {
            (self.state.counters, self.state.losses) = (counters, losses);
            return Err(e);
        }
        for id in &gone {
            if let Some(key) = self.key(*id) {
                self.gaps.remove(&key);
            }
        }
        self.state.epochs.extend(drafts);
        self.state.clean();
        self.drop_manifests()?;
        self.prune_epochs()?;
        Ok(!gone.is_empty())
    }

    /// Evicts the oldest epoch whole; false where there is none but the current one.
    pub(super) fn evict_oldest_epoch(&mut self) -> Result<bool, Error> {
        let mut others = self.state.epochs.values().filter(|e| Some(e.no) != self.current);
        let oldest = others.find(|e| !e.held.is_empty());
        let Some((no, last)) = oldest.map(|e| (e.no, e.last)) else { return Ok(false) };
        loop {
            let part = rows::heads(&self.file.conn, (no, 0, last), u64::MAX, CHUNK)
                .map_err(self.file.fail("evict from"))?;
            if part.is_empty() || !self.evict(&part)? {
                break;
            }
        }
        // Named by a loss it stays known, but it holds nothing: the bound is on epochs with blocks.
        Ok(self.state.epochs.get(&no).is_none_or(|e| e.held.is_empty()))
    }
}

/// The seqs of an epoch that are evicted at this rank.
fn ranked(e: &EpochState, rank: Rank, in_flight: &KeySet) -> Vec<(u64, u64)> {
    let each = |ranges: Vec<(u64, u64)>, cut: &Intervals| -> Vec<(u64, u64)> {
        ranges.into_iter().flat_map(|(a, b)| Intervals::of(a, b).without(cut)).collect()
    };
    let none = Intervals::new();
    let flying = in_flight.epoch(e.epoch).unwrap_or(&none);
    match rank {
        Rank::Acked => e.acked.without(&e.rejected),
        Rank::Rejected => e.rejected.iter().collect(),
        Rank::Unacked => each(each(e.unacked(), &e.gaps), flying),
        Rank::InFlight => each(e.unacked(), &e.gaps),
        Rank::Gap => e.unacked(),
    }
}
