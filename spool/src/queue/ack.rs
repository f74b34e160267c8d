//! Acks: which blocks the centre's log has, under which log id.

use super::rows::Sum;
use super::{EpochState, Key, Spool, rows};
use crate::error::Error;
use crate::intervals::Intervals;

/// What an ack says of one epoch.
#[derive(Debug, Clone, Copy)]
pub struct EpochAck<'a> {
    /// The epoch.
    pub epoch: u64,
    /// Blocks that are logged or rejected.
    pub acked: &'a Intervals,
    /// Of these, the rejected ones with the reason's code.
    pub rejected: &'a [(u64, String)],
}

/// What an ack changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AckOutcome {
    /// Blocks that were unacked before.
    pub blocks: u64,
    /// Samples in them.
    pub samples: u64,
    /// Blocks newly known as rejected.
    pub rejected: u64,
}

impl Spool {
    /// Forgets which blocks were acked, because the centre's log is another one now: what is held is
    /// sent again unless acks of the new id name it. Does nothing where `log_id` is known already.
    ///
    /// # Errors
    /// Disk errors.
    pub fn new_log(&mut self, log_id: u64) -> Result<(), Error> {
        if self.state.log_id == Some(log_id) {
            return Ok(());
        }
        for e in self.state.epochs.values_mut() {
            e.dirty |= !e.acked.is_empty();
            e.acked.clear();
            e.rejected.clear();
        }
        let c = &mut self.state.counters;
        (c.held_acked, c.held_rejected, c.acked_bytes) = (0, 0, 0);
        self.state.log_id = Some(log_id);
        self.state.dirty = true;
        crate::fail_point!("spool.new_log");
        self.flush()
    }

    /// Marks blocks as acked. They stay on the disk until room is needed. On the disk the ack is
    /// written with the next append or [`Spool::flush`].
    ///
    /// # Errors
    /// Where sums over the blocks cannot be read; nothing is acked then.
    pub fn ack(&mut self, acks: &[EpochAck<'_>]) -> Result<AckOutcome, Error> {
        let mut out = AckOutcome::default();
        crate::fail_point!("spool.ack");
        for ack in acks {
            let Some(no) = self.numbers.get(&ack.epoch).copied() else { continue };
            self.ack_epoch(no, ack, &mut out)?;
        }
        Ok(out)
    }

    fn ack_epoch(
        &mut self,
        no: u32,
        ack: &EpochAck<'_>,
        out: &mut AckOutcome,
    ) -> Result<(), Error> {
        let Some(e) = self.state.epochs.get(&no) else { return Ok(()) };
        let named: Intervals = e.held.common(ack.acked).into_iter().collect();
        let fresh = named.without(&e.acked);
        let mut acked = e.acked.clone();
        // Where the union does not fit the blocks stay unacked: they are sent again, none is lost.
        if !fresh.is_empty() && acked.union(&named).is_ok() {
            let mut sum = Sum::default();
            for (from, to) in fresh {
                let part = self.sum(no, from, to)?;
                sum.blocks += part.blocks;
                sum.samples += part.samples;
                sum.bytes += part.bytes;
            }
            let c = &mut self.state.counters;
            c.held_acked += sum.samples;
            c.acked_bytes += sum.bytes;
            out.blocks += sum.blocks;
            out.samples += sum.samples;
            self.change(no, |e| e.acked = acked);
        }
        for (seq, code) in ack.rejected {
            self.reject(no, *seq, code, out)?;
        }
        Ok(())
    }

    fn reject(&mut self, no: u32, seq: u64, code: &str, out: &mut AckOutcome) -> Result<(), Error> {
        let Some(e) = self.state.epochs.get(&no) else { return Ok(()) };
        if !e.acked.contains(seq) || e.rejected.contains(seq) {
            return Ok(());
        }
        let mut rejected = e.rejected.clone();
        if rejected.insert(seq, seq).is_err() {
            return Ok(());
        }
        let samples = self.sum(no, seq, seq)?.samples;
        let (id, at) = (e.id(seq), self.latest_ms);
        self.file
            .conn
            .execute("INSERT OR REPLACE INTO rejected VALUES(?1, ?2, ?3)", (id, code, at))
            .map_err(self.file.fail("note a rejection in"))?;
        let c = &mut self.state.counters;
        c.held_acked -= samples;
        c.held_rejected += samples;
        out.rejected += 1;
        self.change(no, |e| e.rejected = rejected);
        Ok(())
    }

    fn change(&mut self, no: u32, edit: impl FnOnce(&mut EpochState)) {
        if let Some(e) = self.state.epochs.get_mut(&no) {
            edit(e);
            e.dirty = true;
            self.state.dirty = true;
        }
    }

    /// Sums over blocks, also of those on a disk that can only be read any more.
    fn sum(&self, no: u32, from: u64, to: u64) -> Result<Sum, Error> {
        let mut sum = Sum::default();
        for file in std::iter::once(&self.file).chain(&self.archive) {
            let part = rows::sum(&file.conn, no, from, to).map_err(file.fail("sum blocks of"))?;
            sum.blocks += part.blocks;
            sum.samples += part.samples;
            sum.bytes += part.bytes;
        }
        Ok(sum)
    }

    /// Rejected blocks that are kept aside, newest first: key, code, when it was heard (ms UTC).
    ///
    /// # Errors
    /// Disk errors.
    pub fn rejected(&self, most: usize) -> Result<Vec<(Key, String, i64)>, Error> {
        let run = || {
            let mut read = self
                .file
                .conn
                .prepare_cached("SELECT id, code, at FROM rejected ORDER BY id DESC LIMIT ?1")?;
            let most = i64::try_from(most).unwrap_or(i64::MAX);
            let rows =
                read.query_map([most], |r| Ok((r.get::<_, i64>(0)?, r.get(1)?, r.get(2)?)))?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        };
        let found = run().map_err(self.file.fail("read rejections of"))?;
        Ok(found.into_iter().filter_map(|(id, code, at)| Some((self.key(id)?, code, at))).collect())
    }

    /// Key of a row id, while its epoch is known.
    pub(super) fn key(&self, id: i64) -> Option<Key> {
        let (no, seq) = super::epoch::split(id);
        Some(Key { epoch: self.state.epochs.get(&no)?.epoch, seq })
    }
}
