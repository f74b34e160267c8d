//! What the receiver does between groups: gives up what can never come, evicts what nobody needs, counts.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use spool::Entry;

use super::super::gateway::Hole;
use super::super::{Effects, GatewayState, Quarantined};
use super::{Failed, Worker, finish};
use crate::metrics::gauge;
use crate::selfwatch::is_synthetic;

/// Time between two rounds, ms.
const HOUSE_MS: i64 = 5_000;
/// Transactions of one eviction per round: appends never wait for more than one.
const EVICTIONS_MAX: usize = 16;
/// Up to this share of its bound, and of a gateway's quota, the log keeps what nobody needs any more, percent: a new
/// version of the rules is rebuilt from it, and the verdict journal is held against it.
const RETAINED_PERCENT: u64 = 50;
/// A hole that crowds the log is given up no sooner: several acks have asked for it by then, ms.
const HOLE_MIN_MS: i64 = 60_000;
/// Old holes of one gateway given up in one round.
const HOLES_MAX: usize = 256;
/// Held blocks given up in one round.
const LOST_MAX: usize = 64;
/// Released blocks let go in one round.
const RELEASED_MAX: usize = 8_192;

impl Worker {
    pub(super) fn keep_house(&mut self) -> Result<(), spool::Error> {
        let now = self.works.clock.now_ms();
        if now - self.housed_at < HOUSE_MS && now >= self.housed_at {
            return Ok(());
        }
        self.housed_at = now;
        spool::fail_point!("house.before");
        let kept = self
            .close_holes(now)
            .and_then(|()| self.lose_in_time(now))
            .and_then(|()| self.forget_released(now))
            .and_then(|()| self.close_replays(now))
            .and_then(|()| self.discard(now));
        if let Err(failed) = kept {
            self.failed(failed)?;
        }
        self.evict()?;
        self.count(now);
        Ok(())
    }

    /// Gives up holes that are too old, or whose followers use up their gateway's share of the log.
    fn close_holes(&mut self, now: i64) -> Result<(), Failed> {
        let (hole_max, quota) = (self.works.hole_max_ms, self.works.gateway_quota);
        let names: Vec<_> = self.receiver.gateways().map(|(name, _)| name.clone()).collect();
        let mut txn = self.works.log.begin();
        for name in names {
            let kept = self.receiver.gateway(&name).map(|g| &g.kept);
            let want = kept.and_then(|k| k.chain.want(&txn, name.as_str()));
            let before = kept.and_then(|k| k.hole);
            let hole = want.map(|(epoch, seq)| match before {
                Some(hole) if (hole.epoch, hole.seq) == (epoch, seq) => hole,
                _ => Hole { epoch, seq, since: now },
            });
            let Some(hole) = hole else {
                if before.is_some() {
                    self.receiver.touch(&name).kept.hole = None;
                }
                continue;
            };
            let age = now - hole.since;
            // What is settled and waits for the store or a snapshot is not the hole's fault, and a hole must have had
            // the time to be asked for and filled.
            let crowding = age > HOLE_MIN_MS && txn.log().usage(name.as_str()).bytes > quota && {
                let later = kept.map(|k| k.chain.behind(hole.epoch)).unwrap_or_default();
                let behind = txn.log().bytes_behind(name.as_str(), (hole.epoch, hole.seq), &later);
                behind.map_err(Failed::Log)? > quota
            };
            let long = kept.is_some_and(|k| k.chain.is_long());
            if Some(hole) != before {
                self.receiver.touch(&name).kept.hole = Some(hole);
            }
            if age > hole_max || crowding || long {
                self.receiver.give_up_hole(&mut txn, &name, now).map_err(Failed::Log)?;
            }
            if age > hole_max {
                // Behind it are holes as old: each must not take as long again.
                for _ in 1..HOLES_MAX {
                    let chain = self.receiver.gateway(&name).map(|g| &g.kept.chain);
                    let next = chain.and_then(|c| c.follower(&txn, name.as_str()));
                    let Some((epoch, seq)) = next else { break };
                    let known = txn.log().received_at(name.as_str(), epoch, seq);
                    if known.map_err(Failed::Log)?.is_none_or(|at| now - at <= hole_max) {
                        break;
                    }
                    self.receiver.give_up_hole(&mut txn, &name, now).map_err(Failed::Log)?;
                }
            }
        }
        finish(&mut self.receiver, &self.works.quarantine, txn)?;
        self.end(now);
        Ok(())
    }

    /// Sets aside held blocks whose boot's offset can no longer come.
    fn lose_in_time(&mut self, now: i64) -> Result<(), Failed> {
        let lost = self.receiver.lost_in_time(&self.works.log.begin());
        let full = self.works.quarantine.full();
        for (gateway, mut positions) in
            lost.into_iter().filter(|(gateway, _)| !full.contains(gateway))
        {
            positions.truncate(LOST_MAX);
            let reader = self.works.log.reader().map_err(Failed::Log)?;
            let entries = reader.at(&positions).map_err(Failed::Log)?;
            for damaged in entries.iter().filter(|entry| matches!(entry, Entry::Damaged { .. })) {
                // It is sent again, not given up.
                self.works.shared.report_damaged(damaged.position());
                positions.retain(|position| *position != damaged.position());
            }
            let blocks = entries.into_iter().filter_map(|entry| match entry {
                Entry::Record(record) => {
                    let block = Quarantined {
                        gateway: gateway.clone(),
                        epoch: record.epoch,
                        seq: record.seq,
                        code: "time_unknown",
                        detail: format!(
                            "the gateway's clock was never set; received at {} ms",
                            record.received_at
                        ),
                        rows: Vec::new(),
                        bytes: record.bytes,
                        at: record.received_at,
                    };
                    Some(block)
                }
                Entry::Damaged { .. } => None,
            });
            let blocks: Vec<_> = blocks.collect();
            let mut txn = self.works.log.begin();
            self.receiver.give_up_held(&mut txn, &gateway, &positions, blocks);
            finish(&mut self.receiver, &self.works.quarantine, txn)?;
            self.end(now);
        }
        Ok(())
    }

    /// Lets go of blocks of a clock that was set late, once the store has them.
    fn forget_released(&mut self, now: i64) -> Result<(), Failed> {
        let stored = self.works.progress.store_position();
        if self.receiver.gateways().all(|(_, g)| g.released.is_empty()) {
            return Ok(());
        }
        let mut txn = self.works.log.begin();
        self.receiver.forget_released(&mut txn, stored, RELEASED_MAX);
        finish(&mut self.receiver, &self.works.quarantine, txn)?;
        self.end(now);
        Ok(())
    }

    /// Takes records out that a follower could not read, so that their gateway sends them again.
    fn discard(&mut self, now: i64) -> Result<(), Failed> {
        let damaged = self.works.shared.take_damaged();
        if damaged.is_empty() {
            return Ok(());
        }
        tracing::error!(
            records = damaged.len(),
            "records of the log are damaged; their gateways send them again if they still have them"
        );
        if let Err(failed) = self.discard_all(&damaged) {
            // A follower reads a record once: nobody would report these again.
            damaged.iter().for_each(|position| self.works.shared.report_damaged(*position));
            return Err(failed);
        }
        self.discarded += damaged.len();
        self.end(now);
        Ok(())
    }

    fn discard_all(&mut self, damaged: &BTreeSet<u64>) -> Result<(), Failed> {
        let mut txn = self.works.log.begin();
        for position in damaged {
            txn.discard(*position).map_err(Failed::Log)?;
        }
        self.receiver.hold_again(&mut txn, damaged);
        finish(&mut self.receiver, &self.works.quarantine, txn)
    }

    pub(super) fn end(&mut self, now: i64) {
        let effects: Effects = self.receiver.committed();
        self.tell(effects, now);
    }

    /// Evicts what is stored, settled, not held for its clock, and older than the second-newest snapshot.
    fn evict(&mut self) -> Result<(), spool::Error> {
        // Before what is kept: a cursor names what it keeps, then lets go of the rest.
        let upto = self.works.progress.evictable();
        let mut keep: Vec<u64> = self.works.progress.kept().to_vec();
        let held =
            |g: &GatewayState| g.held.keys().chain(g.released.keys()).copied().collect::<Vec<_>>();
        keep.extend(self.receiver.gateways().flat_map(|(_, g)| held(g)));
        // Starts say which positions two logs share; without them every snapshot and cursor would be void.
        keep.extend(self.works.shared.lineage.positions());
        keep.sort_unstable();
        keep.dedup();
        for _ in 0..EVICTIONS_MAX {
            if !self.is_pressed()? {
                return Ok(());
            }
            match self.works.log.evict(upto, &keep) {
                Ok(evicted) if evicted.more => {}
                Ok(_) => return Ok(()),
                Err(error) if error.class() == spool::Class::Reopen => return Err(error),
                Err(error) => {
                    tracing::warn!(error = %crate::chain_of(&error), "the log could not evict");
                    return Ok(());
                }
            }
        }
        // There is more: the next round comes at once, so that eviction keeps pace with any rate of arrival.
        self.housed_at = 0;
        Ok(())
    }

    /// Whether the log must make room: for all, for one gateway, or because its disk is full.
    fn is_pressed(&self) -> Result<bool, spool::Error> {
        let log = &self.works.log;
        let (used, bound) = log.size()?;
        let quota = self.works.gateway_quota / 100 * RETAINED_PERCENT;
        Ok(used >= bound / 100 * RETAINED_PERCENT
            || self.works.failing.load(Ordering::Relaxed)
            || log.gateways().any(|name| log.usage(name).bytes >= quota))
    }

    fn count(&mut self, now: i64) {
        let (metrics, progress) = (&self.works.metrics, &self.works.progress);
        metrics.store_position.set(gauge(progress.store_position()));
        metrics.evaluator_position.set(gauge(progress.judged_position()));
        let heard = self
            .receiver
            .gateways()
            .filter(|(name, g)| now - g.ack.heard_at < 60_000 && !is_synthetic(name.as_str()));
        metrics.gateways_heard.set(gauge(heard.count() as u64));
        metrics.quarantine_entries.set(gauge(self.works.quarantine.open_entries()));
        let distrusted = self.receiver.distrusts_own_clock(now);
        metrics.clock_distrusted.set(i64::from(distrusted));
        let live = &self.works.live;
        live.standing("clock_distrusted", distrusted, now, || {
            "most gateways say that the centre's clock is behind; check NTP on this machine"
                .to_owned()
        });
        live.standing("clock_doubted", self.receiver.doubts_own_clock(now), now, || {
            "every gateway with a synced clock is ahead of the centre, but they are too few to decide whose clock is wrong: their samples are in quarantine; check NTP on both sides".to_owned()
        });
        live.standing("clock_runs_ahead", self.receiver.runs_ahead(now), now, || {
            "most gateways are more than 15 min behind the centre: what they report counts as history and pages nobody; check NTP on this machine".to_owned()
        });
        live.standing("released_lost", progress.lost() > 0, now, || {
            format!("{} block(s) of a clock that was set late were no longer in the log when the store came to them", progress.lost())
        });
        live.standing("log_crowded", self.crowded, now, || {
            "the durable log is at 80 % or beyond: backfill waits at the gateways; see store and evaluator lag".to_owned()
        });
        live.standing("log_full", self.full, now, || {
            "the durable log is full: no block of any gateway is taken and nothing new is judged; the gateways keep it. Mend the store (see its notice), or raise [log] bytes_max and restart".to_owned()
        });
        live.standing("log_small", self.too_small, now, || {
            "the durable log is too small for what arrives: its reserve does not hold two snapshot intervals; raise [log] bytes_max".to_owned()
        });
        let dropped = self.receiver.dropped_by_broker(now);
        live.standing("broker_drops", dropped > 0, now, || {
            format!("the broker took {dropped} message(s) within the last hour and never delivered them; the gateways send them again, nothing is lost; give the broker the settings of the README (mosquitto: max_queued_messages 0)")
        });
        let differ = self.receiver.clocks_differ(now);
        live.standing("clock_differs", differ.is_some(), now, || {
            differ.map(|d| d.text()).unwrap_or_default()
        });
        live.standing("log_failing", self.works.failing.load(Ordering::Relaxed), now, || {
            "the durable log cannot be written: nothing is acked; check the disk of state_dir"
                .to_owned()
        });
    }
}
