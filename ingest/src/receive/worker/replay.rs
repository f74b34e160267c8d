//! Gives back what people asked for: from the quarantine into the log, once, whatever dies in between.
//!
//! The log's transaction is the one place that says whether a replay was done: its row `replay/…` stands beside the record.
//! The quarantine's own word follows, and is made good from the log at a start and after any failure.

use spool::Entry as LogEntry;

use super::super::replay::{REPLAY_PREFIX, replay_from};
use super::{Failed, Worker, finish};
use crate::quarantine::Logged;

/// Entries given back in one transaction: a block of a gateway never waits for more than these.
const REPLAYS_MAX: u32 = 32;

impl Worker {
    /// One step; does nothing while nobody asks, and waits while the log is crowded.
    pub(super) fn replay(&mut self) -> Result<(), spool::Error> {
        if !self.works.quarantine.is_asked() || self.crowded {
            return Ok(());
        }
        let now = self.works.clock.now_ms();
        match self.give_back(now) {
            Ok(()) => Ok(()),
            Err(failed) => {
                // What the log has and the quarantine does not know yet must not be given back twice.
                self.reconciled = false;
                self.failed(failed)
            }
        }
    }

    fn give_back(&mut self, now: i64) -> Result<(), Failed> {
        if !self.reconciled {
            self.reconcile(now)?;
        }
        let asked = self.works.quarantine.requested(REPLAYS_MAX).map_err(Failed::Quarantine)?;
        if asked.is_empty() {
            return Ok(());
        }
        let (mut logged, mut refused) = (Vec::new(), Vec::new());
        let mut txn = self.works.log.begin();
        for (entry, bytes) in &asked {
            match self.receiver.replay(&mut txn, (entry, bytes), now).map_err(Failed::Log)? {
                Ok(replay) => logged.push(replay),
                Err(why) => refused.push((entry.id, why)),
            }
        }
        finish(&mut self.receiver, &self.works.quarantine, txn)?;
        self.end(now);
        tracing::info!(
            entries = logged.len(),
            refused = refused.len(),
            "gave back what was set aside"
        );
        let quarantine = &self.works.quarantine;
        quarantine.logged(&logged).map_err(Failed::Quarantine)?;
        for (id, why) in refused {
            quarantine.reopen(id, &why.to_string()).map_err(Failed::Quarantine)?;
        }
        Ok(())
    }

    /// Brings the quarantine in line with the log.
    fn reconcile(&mut self, now: i64) -> Result<(), Failed> {
        let rows = self.works.log.scan(REPLAY_PREFIX.as_bytes()).map_err(Failed::Log)?;
        let mut known: Vec<Logged> =
            rows.iter().filter_map(|(key, value)| replay_from(key, value)).collect();
        let positions: Vec<u64> = known.iter().map(|replay| replay.position).collect();
        let reader = self.works.log.reader().map_err(Failed::Log)?;
        let there = reader.at(&positions).map_err(Failed::Log)?;
        let there: std::collections::BTreeSet<u64> = there
            .iter()
            .filter(|entry| matches!(entry, LogEntry::Record(_)))
            .map(LogEntry::position)
            .collect();
        let stored = self.works.progress.store_position();
        for replay in &mut known {
            // Damaged and taken out before the store had it.
            if !there.contains(&replay.position) && replay.position > stored {
                replay.position = 0;
            }
        }
        let forget = self.works.quarantine.reconcile(&known).map_err(Failed::Quarantine)?;
        self.forget(&forget.iter().map(|replay| replay.entry).collect::<Vec<_>>(), now)?;
        self.reconciled = true;
        Ok(())
    }

    /// Closes replays that the store has.
    pub(super) fn close_replays(&mut self, now: i64) -> Result<(), Failed> {
        let stored = self.works.progress.store_position();
        let closed = self.works.quarantine.stored(stored).map_err(Failed::Quarantine)?;
        self.forget(&closed, now)
    }

    fn forget(&mut self, entries: &[i64], now: i64) -> Result<(), Failed> {
        if entries.is_empty() {
            return Ok(());
        }
        let mut txn = self.works.log.begin();
        self.receiver.forget_replays(&mut txn, entries);
        finish(&mut self.receiver, &self.works.quarantine, txn)?;
        self.end(now);
        Ok(())
    }
}
