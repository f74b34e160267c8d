//! Storing sealed blocks: one transaction, synced, after room was made.

use std::collections::BTreeMap;

use super::epoch::SEQ_MAX;
use super::{KeySet, NewBlock, Spool, open, rows};
use crate::error::{Class, Error};
use crate::file::cost;

/// Bytes of a gap range in its row, about.
const GAP_RANGE_BYTES: u64 = 48;

impl Spool {
    /// Stores blocks of the current epoch, in order, in one synced transaction, and counts their
    /// samples as polled in it. A gap record takes what it declares off [`Spool::losses`]. Where
    /// there is no room, older blocks are evicted first (look at `losses` afterwards).
    ///
    /// # Errors
    /// [`Error::OutOfTurn`] for a wrong key; [`Error::Full`] or [`Error::DiskFull`] where nothing
    /// more can be evicted; other disk errors. Nothing of the batch is stored then. A damaged file
    /// is recovered from inside ([`Spool::recover`]), once.
    pub fn append(&mut self, blocks: &[NewBlock<'_>], in_flight: &KeySet) -> Result<(), Error> {
        match self.try_append(blocks, in_flight) {
            Err(e) if e.class() == Class::Reopen && self.memory.is_none() => {
                self.recover()?;
                self.try_append(blocks, in_flight)
            }
            done => done,
        }
    }

    fn try_append(&mut self, blocks: &[NewBlock<'_>], in_flight: &KeySet) -> Result<(), Error> {
        self.check_turn(blocks)?;
        crate::fail_point!("spool.append.before");
        let size = |b: &NewBlock<'_>| b.bytes.len() as u64 + b.gap.len() as u64 * GAP_RANGE_BYTES;
        self.make_room(cost(blocks.iter().map(size)), in_flight)?;
        let mut epoch = self.now().expect("checked: an epoch was begun").clone();
        let counters = self.state.counters.clone();
        let losses = self.state.losses.clone();
        let mut manifests = BTreeMap::new();
        for block in blocks {
            let no = block.manifest.and_then(|key| self.manifests.get(&key).copied()).unwrap_or(0);
            manifests.insert(block.key.seq, no);
            let c = &mut self.state.counters;
            c.polled += u64::from(block.samples);
            c.held += u64::from(block.samples);
            c.held_bytes += block.bytes.len() as u64;
            c.written_bytes += block.bytes.len() as u64;
            if no > 0 {
                *c.manifests.entry(no).or_default() += 1;
            }
            self.state.losses.declared(block.gap);
            epoch.last = block.key.seq;
            let seq = block.key.seq;
            let sets = epoch.held.insert(seq, seq).and_then(|()| match block.gap {
                [] => Ok(()),
                _ => epoch.gaps.insert(seq, seq),
            });
            if sets.is_err() {
                (self.state.counters, self.state.losses) = (counters, losses);
                return Err(Error::TooMany { epoch: block.key.epoch });
            }
        }
        self.state.dirty = true;
        let (state, draft) = (&self.state, &epoch);
        let done = self.file.transact("append to", |conn| {
            for block in blocks {
                rows::insert(conn, draft.id(block.key.seq), block, manifests[&block.key.seq])?;
            }
            open::save(conn, state, &[draft])?;
            crate::fail_point!("spool.append.in");
            Ok(())
        });
        if let Err(e) = done {
            (self.state.counters, self.state.losses) = (counters, losses);
            self.state.losses.dirty = true;
            return Err(e);
        }
        crate::fail_point!("spool.append.after");
        self.state.epochs.insert(epoch.no, epoch);
        self.state.clean();
        for block in blocks {
            self.latest_ms = self.latest_ms.max(block.born_ms);
            if !block.gap.is_empty() {
                self.gaps.insert(block.key, block.gap.to_vec());
            }
        }
        Ok(())
    }

    fn check_turn(&self, blocks: &[NewBlock<'_>]) -> Result<(), Error> {
        let (current, last) = self.now().map_or((0, SEQ_MAX), |e| (e.epoch, e.last));
        for (block, expected) in blocks.iter().zip(last + 1..) {
            if block.key.epoch != current || block.key.seq != expected || expected > SEQ_MAX {
                let (epoch, seq) = (block.key.epoch, block.key.seq);
                return Err(Error::OutOfTurn { epoch, seq, expected });
            }
        }
        Ok(())
    }
}
