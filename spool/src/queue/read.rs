//! Reading: which blocks are to be sent, newest or oldest first, and the blocks themselves.

use super::losses::one;
use super::{EpochState, Fetched, File, Key, KeySet, Loss, Spool, open, rows};
use crate::error::Error;
use crate::intervals::Intervals;

/// In which order blocks are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Backfill.
    NewestFirst,
    /// Rescue, and what the centre wants next.
    OldestFirst,
}

impl Spool {
    /// Keys of blocks that are neither acked nor in `skip`, in `order`, at most `most`, those after
    /// `after` (in the sense of the order) where it is given. Reads nothing from the disk.
    pub fn unacked(
        &self,
        order: Order,
        skip: &KeySet,
        after: Option<Key>,
        most: usize,
    ) -> Vec<Key> {
        let from = after.and_then(|k| Some((*self.numbers.get(&k.epoch)?, k.seq)));
        let mut out = Vec::new();
        let mut take = |e: &EpochState| {
            let mut set: Vec<(u64, u64)> = e.unacked();
            if let Some(skip) = skip.epoch(e.epoch) {
                set =
                    set.into_iter().flat_map(|(a, b)| Intervals::of(a, b).without(skip)).collect();
            }
            let (least, greatest) = beyond(from, order, e.no);
            let ranges = set.into_iter().map(|(a, b)| (a.max(least), b.min(greatest)));
            let keys = |(a, b): (u64, u64)| (a..=b).map(|seq| Key { epoch: e.epoch, seq });
            let left = most - out.len();
            match order {
                Order::OldestFirst => out.extend(ranges.flat_map(keys).take(left)),
                Order::NewestFirst => {
                    out.extend(ranges.rev().flat_map(|r| keys(r).rev()).take(left));
                }
            }
            out.len() < most
        };
        let _: bool = match order {
            Order::OldestFirst => self.state.epochs.values().all(&mut take),
            Order::NewestFirst => self.state.epochs.values().rev().all(&mut take),
        };
        out
    }

    /// Held and unacked seqs of each epoch, in the order of epochs: what is left to deliver.
    pub fn backlog(&self) -> Vec<(u64, Vec<(u64, u64)>)> {
        let epochs = self.state.epochs.values();
        epochs.map(|e| (e.epoch, e.unacked())).filter(|(_, ranges)| !ranges.is_empty()).collect()
    }

    /// True where the block is held and not acked.
    pub fn is_unacked(&self, key: Key) -> bool {
        self.by_epoch(key.epoch)
            .is_some_and(|e| e.held.contains(key.seq) && !e.acked.contains(key.seq))
    }

    /// Reads a block. One that fails its checksum is taken out and waits to be declared.
    ///
    /// # Errors
    /// Disk errors. A damaged file is recovered from inside ([`Spool::recover`]).
    pub fn get(&mut self, key: Key) -> Result<Fetched, Error> {
        match self.try_get(key) {
            Err(Error::Damaged { .. }) if self.memory.is_none() => {
                self.recover()?;
                self.try_get(key)
            }
            got => got,
        }
    }

    fn try_get(&mut self, key: Key) -> Result<Fetched, Error> {
        let Some(e) = self.by_epoch(key.epoch).filter(|e| e.held.contains(key.seq)) else {
            return Ok(Fetched::Gone);
        };
        let (no, id) = (e.no, e.id(key.seq));
        let read = |file: &File| rows::read_block(&file.conn, id).map_err(file.fail("read"));
        let mut found = read(&self.file)?;
        if found.is_none()
            && let Some(archive) = &self.archive
        {
            found = read(archive)?;
        }
        match found {
            Some(Some((mut block, manifest))) if block.key == key => {
                block.manifest = self.manifest_key(manifest);
                Ok(Fetched::Block(block))
            }
            _ => {
                self.give_up(no, key, Loss::Damaged)?;
                Ok(Fetched::Damaged)
            }
        }
    }

    /// Takes out a block that the disk does not give back and remembers it as lost. One that is not held is none.
    ///
    /// # Errors
    /// Disk errors: the block is still held.
    pub fn lose(&mut self, key: Key) -> Result<(), Error> {
        match self.by_epoch(key.epoch).filter(|e| e.held.contains(key.seq)).map(|e| e.no) {
            Some(no) => self.give_up(no, key, Loss::Unreadable),
            None => Ok(()),
        }
    }

    /// Takes a block that cannot be read out of the spool and remembers it as lost.
    fn give_up(&mut self, no: u32, key: Key, loss: Loss) -> Result<(), Error> {
        let mut e = self.state.epochs[&no].clone();
        let (acked, id) = (e.acked.contains(key.seq), e.id(key.seq));
        for set in [&mut e.held, &mut e.acked, &mut e.rejected, &mut e.gaps] {
            set.remove(key.seq, key.seq).map_err(|_| Error::TooMany { epoch: key.epoch })?;
        }
        let path = self.file.path.clone();
        let fail = |err| Error::sqlite("take a damaged block out of", &path, err);
        // What the row says of itself is not to be trusted: the account is taken from the others.
        let others =
            account(&self.file, self.archive.as_ref(), &self.state.epochs, &e, id).map_err(fail)?;
        let before = self.state.counters.clone();
        let losses = self.state.losses.clone();
        let c = &mut self.state.counters;
        let lost =
            before.backlog().saturating_sub(others.held - others.held_acked - others.held_rejected);
        c.freed_acked += before.held_acked.saturating_sub(others.held_acked);
        c.freed_rejected += before.held_rejected.saturating_sub(others.held_rejected);
        c.declared += lost;
        (c.held, c.held_acked, c.held_rejected) =
            (others.held, others.held_acked, others.held_rejected);
        (c.held_bytes, c.acked_bytes) = (others.held_bytes, others.acked_bytes);
        c.manifests = others.manifests;
        c.damaged_blocks += 1;
        self.state.dirty = true;
        if !acked {
            let unknown = (i64::MAX, i64::MIN, lost);
            self.state.losses.add(one(key.epoch, key.seq, e.link, loss, unknown));
            self.gaps.remove(&key).into_iter().flatten().for_each(|g| self.state.losses.add(g));
        }
        e.dirty = true;
        let (state, draft) = (&self.state, &e);
        let doing = "take a damaged block out of";
        let mut done = self.file.transact(doing, |conn| {
            rows::delete(conn, id)?;
            open::save(conn, state, &[draft])
        });
        if loss == Loss::Unreadable && done.is_err() {
            // Deleting reads what cannot be read. The row stays where it is and is held by no set.
            done = self.file.transact(doing, |conn| open::save(conn, state, &[draft]));
        }
        if let Err(err) = done {
            (self.state.counters, self.state.losses) = (before, losses);
            return Err(err);
        }
        self.state.epochs.insert(no, e);
        self.state.clean();
        Ok(())
    }

    /// When the oldest unacked block was sealed.
    pub(super) fn oldest_born(&self) -> Result<Option<i64>, Error> {
        let oldest = self.unacked(Order::OldestFirst, &KeySet::new(), None, 1);
        let Some(e) = oldest.first().and_then(|k| self.by_epoch(k.epoch)) else { return Ok(None) };
        let id = e.id(oldest[0].seq);
        for file in std::iter::once(&self.file).chain(&self.archive) {
            let born = rows::born(&file.conn, id).map_err(file.fail("read"))?;
            if born.is_some() {
                return Ok(born);
            }
        }
        Ok(None)
    }
}

/// The account of the heads on the disk, without `without`, under the acks of `epochs` with `draft`.
fn account(
    file: &File,
    archive: Option<&File>,
    epochs: &std::collections::BTreeMap<u32, EpochState>,
    draft: &EpochState,
    without: i64,
) -> rusqlite::Result<super::Counters> {
    let mut c = super::Counters::default();
    for file in std::iter::once(file).chain(archive) {
        rows::each_head(&file.conn, |head| {
            let (no, seq) = super::epoch::split(head.id);
            let e = if no == draft.no { Some(draft) } else { epochs.get(&no) };
            if let Some(e) = e.filter(|e| head.id != without && e.held.contains(seq)) {
                c.count(e, seq, head);
            }
        })?;
    }
    Ok(c)
}

/// The seqs of epoch `no` that come after `from` in this order: least and greatest.
fn beyond(from: Option<(u32, u64)>, order: Order, no: u32) -> (u64, u64) {
    const NONE: (u64, u64) = (1, 0);
    let Some((at, seq)) = from else { return (0, u64::MAX) };
    match (order, no.cmp(&at)) {
        (Order::OldestFirst, std::cmp::Ordering::Less)
        | (Order::NewestFirst, std::cmp::Ordering::Greater) => NONE,
        (Order::OldestFirst, std::cmp::Ordering::Equal) => (seq.saturating_add(1), u64::MAX),
        (Order::NewestFirst, std::cmp::Ordering::Equal) => {
            seq.checked_sub(1).map_or(NONE, |s| (0, s))
        }
        _ => (0, u64::MAX),
    }
}
