//! How a start goes on: from the newest snapshots; where one cannot be used, from what log and state database know.
//!
//! A log that still holds its first record rebuilds an evaluator exactly: it is read from the beginning. Of one that has
//! evicted records an evaluator takes up the chain, the facts and the active alarms instead and goes on behind what was
//! settled (design §4): nothing is cleared silently or told again, delays that were running begin again.

use std::collections::BTreeSet;

use rules::evaluator::{DutyEvent, Evaluator, Output, Page, Past, Reason};
use rules::{Text, Transition, TransitionKind};

use super::super::known::Known;
use super::super::past::{self, Declared};
use super::super::readers::{Read, Readers};
use super::super::snapshot::CENTRE;
use super::{Cursor, CursorError, Durable, Engines};
use crate::alarms::ActiveAlarm;
use crate::evaluate::Said;
use crate::log::record::{CentreRecord, kind};
use crate::log::{FollowError, Lineage};
use crate::receive::gateway::KEPT_PREFIX;
use crate::state::{Position, Snapshot};

/// Bytes of facts read from the log at once.
const READ_BYTES: usize = 4 << 20;

/// What is known of an evaluator's snapshots.
enum Kept {
    /// It never had one: only its name is known.
    Never,
    /// None belongs to this log.
    Foreign,
    /// The newest that belongs to this log.
    Here(Snapshot),
}

impl<E: Engines> Cursor<E> {
    pub(super) fn restore(&mut self) -> Result<(), CursorError> {
        let names = self.ask(|state| async move { state.evaluators().await })?;
        let mut from = u64::MAX;
        let mut has_own = false;
        if let Kept::Here(snapshot) = self.kept(CENTRE)? {
            has_own = self.is_followed(&snapshot)? && self.centre.restore_own(&snapshot);
            from = snapshot.at.position;
        }
        let names = names.into_iter().filter(|name| name != CENTRE).collect();
        let (restored, lost) = self.restore_gateways(names, has_own)?;
        from = from.min(restored);
        if !has_own || !lost.is_empty() {
            from = from.min(self.rebuild(has_own, lost)?);
        }
        spool::fail_point!("evaluator.restored");
        self.position = if from == u64::MAX { 0 } else { from };
        self.applied = self.position;
        self.progress.evaluated(self.position);
        self.progress.judged(self.position);
        self.hold();
        Ok(())
    }

    /// Puts back what has a snapshot that can be used. Gives the oldest position among these, and the names of the others.
    fn restore_gateways(
        &mut self,
        names: Vec<String>,
        has_own: bool,
    ) -> Result<(u64, BTreeSet<String>), CursorError> {
        let (mut from, mut lost) = (u64::MAX, BTreeSet::new());
        let version = self.centre.version();
        std::thread::scope(|scope| {
            let mut readers = Readers::start(scope, version);
            let mut put_back = |cursor: &mut Self, read: Option<Read<E::Engine>>| {
                let Some((name, snapshot, evaluator)) = read else { return Ok(false) };
                if cursor.is_restored(&name, &snapshot, evaluator)? {
                    from = from.min(snapshot.at.position);
                } else {
                    lost.insert(name);
                }
                Ok::<bool, CursorError>(true)
            };
            let mut unread = BTreeSet::new();
            for name in names {
                match self.kept(&name)? {
                    // Nothing was ever evaluated under this name.
                    Kept::Never => {}
                    Kept::Here(snapshot) if has_own => {
                        let read = readers.read(name, snapshot);
                        put_back(self, read)?;
                    }
                    Kept::Here(_) | Kept::Foreign => drop(unread.insert(name)),
                }
            }
            while put_back(self, readers.next())? {}
            lost.append(&mut unread);
            Ok((from, lost))
        })
    }

    /// Whether the log goes on behind a snapshot without a gap: a state database from a backup may be older than what the
    /// log has evicted.
    fn is_followed(&self, snapshot: &Snapshot) -> Result<bool, CursorError> {
        let (reader, next) = (self.log.reader(), snapshot.at.position + 1);
        let is_at_head = reader.last_position().map_err(log)? < next;
        Ok(is_at_head || !reader.at(&[next]).map_err(log)?.is_empty())
    }

    /// Puts a gateway's evaluator back; `false` where its snapshot cannot be used.
    fn is_restored(
        &mut self,
        name: &str,
        snapshot: &Snapshot,
        evaluator: Option<Evaluator<E::Engine>>,
    ) -> Result<bool, CursorError> {
        let Some(evaluator) = evaluator else { return Ok(false) };
        if !self.is_followed(snapshot)? || !self.centre.restore_gateway(name, evaluator) {
            return Ok(false);
        }
        let is_stuck = self.is_stuck(name, snapshot.at.position).map_err(log)?;
        if is_stuck {
            self.centre.gateways.remove(name);
        }
        Ok(!is_stuck)
    }

    /// Whether a restored evaluator waits for what will never come: a record of its chain, or of the block or the closure
    /// that is next, was damaged or evicted before it was taken.
    fn is_stuck(&self, name: &str, position: u64) -> Result<bool, spool::Error> {
        let reader = self.log.reader();
        let kept = past::kept(reader, name)?;
        let joined = kept.chain.joined().iter().map(|joined| joined.epoch);
        let unknown: Vec<u64> = joined.filter(|epoch| !self.centre.knows(name, *epoch)).collect();
        if !unknown.is_empty() {
            let to_come = past::joined_after(reader, name, position)?;
            if unknown.iter().any(|epoch| !to_come.contains(epoch)) {
                return Ok(true);
            }
        }
        let Some(next) = self.centre.next(name) else { return Ok(false) };
        past::is_gone(reader, &kept, (name, next), position)
    }

    /// The newest snapshot of an evaluator that means a place of this log. Where a newer one does not, the log was
    /// restored from a backup, and the verdict journal goes back with it.
    fn kept(&mut self, name: &str) -> Result<Kept, CursorError> {
        let wanted = name.to_owned();
        let found = self.ask(|state| async move { state.snapshots(&wanted).await })?;
        let Some(newest) = found.first().map(|snapshot| snapshot.at) else {
            return Ok(Kept::Never);
        };
        let lineage = &self.log.shared().lineage;
        let is_shared = |at: Position| resolve(lineage, at) == at.position;
        let mut shared = found.into_iter().filter(|snapshot| is_shared(snapshot.at));
        let Some(snapshot) = shared.next() else {
            if name != CENTRE && self.log.reader().is_whole().map_err(log)? {
                // It is judged again from its first record: nothing that was judged on another log stays beside that.
                let (gateway, to) = (name.to_owned(), before_the_first());
                self.ask(|state| async move { state.rewind_verdicts(&gateway, &to).await })?;
            }
            return Ok(Kept::Foreign);
        };
        let second = shared.next();
        let wanted = name.to_owned();
        let judged_to = self.ask(|state| async move { state.evaluator_position(&wanted).await })?;
        // What was judged after the newest snapshot lies on a log that is gone as well.
        let has_left = newest != snapshot.at || judged_to.is_some_and(|at| !is_shared(at));
        if has_left && name != CENTRE {
            let (gateway, to) = (name.to_owned(), snapshot.clone());
            self.ask(|state| async move { state.rewind_verdicts(&gateway, &to).await })?;
        }
        let durable = second.iter().chain([&snapshot]).map(|snapshot| Durable {
            position: snapshot.at.position,
            waiting: if name == CENTRE { Vec::new() } else { self.centre.waiting_in(snapshot) },
        });
        let durable = durable.collect();
        self.taken.entry(name.to_owned()).or_default().durable = durable;
        Ok(Kept::Here(snapshot))
    }

    /// Begins again what has no usable snapshot; gives the position to go on from.
    fn rebuild(&mut self, has_own: bool, mut lost: BTreeSet<String>) -> Result<u64, CursorError> {
        lost.iter().for_each(|name| drop(self.taken.remove(name)));
        if self.log.reader().is_whole().map_err(log)? {
            if !has_own {
                self.centre.forget();
                self.taken.clear();
            }
            return Ok(0);
        }
        let at = self.ask(|state| async move { state.evaluator_position(CENTRE).await })?;
        let at = at.map_or(0, |at| resolve(&self.log.shared().lineage, at));
        let alarms = self.ask(|state| async move { state.active_alarms().await })?;
        tracing::warn!(
            position = at,
            gateways = lost.len(),
            alarms = alarms.len(),
            "no usable snapshot and the log has evicted its beginning: going on behind what was settled"
        );
        let known = if has_own {
            self.known_at(at)?
        } else {
            lost.extend(self.gateways_of_the_log()?);
            self.taken.remove(CENTRE);
            self.rebuild_own(at, &alarms)?
        };
        let declared = past::declared_after(self.log.reader(), at).map_err(log)?;
        for name in lost {
            self.rebuild_gateway(&name, at, &known, &declared, &alarms)?;
        }
        Ok(at)
    }

    /// What the centre itself knows, from the state database: the log no longer says it.
    fn rebuild_own(&mut self, at: u64, alarms: &[ActiveAlarm]) -> Result<Known, CursorError> {
        let facts = self.ask(|state| async move { state.facts_after(0).await })?;
        let mut known = Known::default();
        for fact in &facts {
            known.take(0, fact);
        }
        let silent = alarms.iter().map(|alarm| alarm.transition.clone()).collect();
        let now = self.clock.now_ms();
        let left = self.centre.rebuild_own(at, known.clone(), silent, now);
        for alarm in left {
            self.close(CENTRE, alarm, no_longer());
        }
        Ok(known)
    }

    /// What the snapshot of the centre knows, and the facts logged from there to `at`.
    fn known_at(&self, at: u64) -> Result<Known, CursorError> {
        let mut known = self.centre.own.known.clone();
        let mut after = self.centre.own.position;
        while after < at {
            let reader = self.log.reader();
            let entries = reader.read_from(after, READ_BYTES, &[kind::FACT]).map_err(log)?;
            let Some(last) = entries.last() else { break };
            after = last.position();
            for entry in entries {
                let spool::Entry::Record(record) = entry else { continue };
                if let (Ok(CentreRecord::Fact(fact)), true) =
                    (CentreRecord::decode(&record), record.position <= at)
                {
                    known.take(record.position, &fact);
                }
            }
        }
        Ok(known)
    }

    fn rebuild_gateway(
        &mut self,
        name: &str,
        at: u64,
        known: &Known,
        declared: &Declared,
        alarms: &[ActiveAlarm],
    ) -> Result<(), CursorError> {
        let gateway = name.to_owned();
        let segment = self.ask(|state| async move { state.newest_segment(&gateway).await })?;
        let past = past::past(self.log.reader(), name, at, declared).map_err(log)?;
        let past = Past { segment, at: self.clock.now_ms(), ..past };
        for alarm in self.centre.rebuild(name, &past, known, alarms) {
            let (gateway, asked) = (name.to_owned(), alarm.clone());
            let is_own =
                self.ask(|state| async move { state.is_judged_on(&gateway, &asked).await })?;
            if is_own {
                self.close(name, alarm, no_longer());
            }
        }
        Ok(())
    }

    /// Gateways that the receiver has joined to a chain.
    fn gateways_of_the_log(&self) -> Result<BTreeSet<String>, CursorError> {
        let rows = self.log.reader().scan(KEPT_PREFIX.as_bytes()).map_err(log)?;
        let name = |key: &[u8]| String::from_utf8(key[KEPT_PREFIX.len()..].to_vec()).ok();
        let names = rows.iter().filter_map(|(key, _)| name(key));
        Ok(names.filter(|name| !crate::selfwatch::is_synthetic(name)).collect())
    }

    /// Ends an alarm that nothing judges any more, where everybody sees why.
    pub(super) fn close(&mut self, evaluator: &str, alarm: Transition, why: Text) {
        let now = self.clock.now_ms();
        let mut evidence = alarm.evidence;
        evidence.kind = TransitionKind::Clear;
        evidence.note = Some(why);
        let t = now.max(alarm.t);
        let transition = Transition { kind: TransitionKind::Clear, t, evidence, ..alarm };
        let page = Page::Silent(Reason::Eased);
        let event = DutyEvent::Turn { sample_at: t, transition, page, decided_at: now };
        let said = Said { gateway: evaluator.to_owned(), output: Output::Duty(event) };
        self.pending.entry(evaluator.to_owned()).or_default().take(said);
    }
}

/// Where every journal begins.
fn before_the_first() -> Snapshot {
    let at = Position { log_id: 0, position: 0 };
    Snapshot { at, engine_version: 0, fact_revision: 0, verdict_seq: 0, bytes: Vec::new() }
}

fn no_longer() -> Text {
    Text::new(
        "规则更新后不再适用于此处, 报警关闭",
        "the rules changed and this one no longer applies here",
    )
}

fn resolve(lineage: &Lineage, at: Position) -> u64 {
    lineage.resolve(crate::store::Position { log_id: at.log_id, position: at.position })
}

fn log(error: spool::Error) -> CursorError {
    CursorError::Log(FollowError::Log(error))
}
