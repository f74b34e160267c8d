//! The promises: design §10 and the checks of the protocol model, as predicates on the real state.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::Result;
use ingest::alarms::{AlarmChange, OccurrenceFilter};
use ingest::evaluate::{Centre as Evaluators, Said};
use ingest::log::{DecodedBlock, LogRecord, RecordBody};
use ingest::quarantine::Filter;
use rules::evaluator::{DutyEvent, Limits, Output, PAGE_HORIZON_MS, Page, Verdict as _};
use rules::{Scope, Severity};

use crate::clock::BASE;
use crate::edge::{Edge, device_id};
use crate::fault::Fault;
use crate::report::Findings;
use crate::store::rows;
use crate::world::World;

/// Blocks that may be on their way at the end.
const ON_THE_WAY: u64 = 10;
/// Blocks whose ack may be on its way.
const NEWEST: u64 = 2;
/// Newest readings that a kill may cost: one that waits for `flush_ms`, one that a torn commit had.
const KILL_READINGS: u64 = 2;
/// How wrong a time may be that was taken from the centre, ms.
const TIME_MS: i64 = 12_000;
/// What passes between a sample and its page beside the horizon, ms: delays, clearing times, steps.
const PAGE_SLACK_MS: i64 = 60_000;

/// Characters of a line that are told.
const LINE_MAX: usize = 260;

/// Alarms that changed.
pub(crate) fn heard(change: &AlarmChange, now: i64, findings: &mut Findings) {
    findings.mix(now.cast_unsigned());
    change.kind.bytes().chain(change.occurrence.id.bytes()).for_each(|b| findings.mix(b.into()));
    let o = &change.occurrence;
    findings.tell(|| {
        let since = o.since - BASE;
        format!(
            "alarm {} {} {} severity {} active {} since {since} pages {}",
            change.kind, o.rule, o.scope, o.severity, o.active, change.pages
        )
    });
    findings.count("alarm changes", 1);
    if change.pages {
        findings.count("pages", 1);
        findings.pages.push((now, change.clone()));
    }
}

impl World {
    /// After each step.
    pub(crate) fn watch(&mut self) {
        for edge in &mut self.edges {
            let name = edge.name.to_string();
            for (epoch, seq) in std::mem::take(&mut edge.freed) {
                let is_logged = self.centre.ever.contains(&(name.clone(), epoch, seq));
                let is_known = is_logged || is_declared(edge, epoch, seq);
                self.findings.expect(is_known, "2: freed before the centre held it", || {
                    format!("{epoch:016x}/{seq}")
                });
            }
        }
        for (at, change) in std::mem::take(&mut self.findings.pages) {
            self.check_page(at, &change);
            self.paged.push(change);
        }
    }

    /// 6 and S: a page has its reason in the present of the plant.
    fn check_page(&mut self, now: i64, change: &AlarmChange) {
        let clocks = [Fault::Back, Fault::Jump];
        if clocks.iter().any(|f| self.has(*f)) {
            return;
        }
        let occurrence = &change.occurrence;
        for (edge, plant) in self.edges.iter().zip(&self.plants) {
            if occurrence.rule == "R21" && occurrence.scope == device_id("gas", edge.number) {
                let from = now - PAGE_HORIZON_MS - PAGE_SLACK_MS;
                self.findings.expect(plant.had_gas(from, now, 25.0), "6: history paged", || {
                    format!(
                        "{} {} raised {}",
                        occurrence.rule,
                        occurrence.scope,
                        occurrence.raised_at - BASE
                    )
                });
            }
        }
        let silent = [
            Fault::Cut,
            Fault::LongOut,
            Fault::Dead,
            Fault::GatewayKill,
            Fault::Noise,
            Fault::BrokerCrash,
            Fault::Image,
            Fault::NewDisk,
            Fault::SmallSpool,
            Fault::SmallLog,
            Fault::Restore,
            Fault::OldLog,
        ];
        if occurrence.rule.starts_with("R41") && !silent.iter().any(|f| self.has(*f)) {
            self.findings.expect(false, "S: told as silent because the centre was away", || {
                format!("{} {}", occurrence.rule, occurrence.scope)
            });
        }
    }

    /// Whether nothing is on its way any more but the newest blocks.
    pub(crate) fn is_settled(&mut self) -> bool {
        let Some(running) = &self.centre.running else { return false };
        let mut gateways = self.edges.iter_mut();
        let is_sent = gateways.all(|e| e.running.as_mut().is_some_and(|r| r.backlog() <= NEWEST));
        let mut judged = running.cursor.centre().progress();
        let is_judged = judged.all(|(_, p)| p.waiting == 0 && !p.is_forked);
        let held = running.worker.receiver().gateways().all(|(_, g)| g.held.is_empty());
        is_sent
            && is_judged
            && held
            && running.progress.store_position() == running.shared.tail.head()
    }

    /// At the end.
    pub(crate) fn check(&mut self) -> Result<()> {
        self.check_blocks();
        self.check_readings();
        self.check_store();
        self.check_liveness();
        self.check_journal()?;
        self.check_duty()?;
        self.check_episodes()?;
        Ok(())
    }

    /// 1: every block is logged, in the backlog, declared or gone with a disk.
    fn check_blocks(&mut self) {
        let Some(running) = &self.centre.running else { return };
        for edge in &mut self.edges {
            let name = edge.name.to_string();
            let kept = running.worker.receiver().gateway(&edge.name).map(|g| &g.kept);
            let backlog: BTreeMap<u64, spool::Intervals> =
                edge.running.as_mut().map_or_else(BTreeMap::new, |r| {
                    let of = |(epoch, ranges): (u64, Vec<(u64, u64)>)| {
                        (epoch, ranges.into_iter().collect())
                    };
                    r.work.spool().backlog().into_iter().map(of).collect()
                });
            let mut nowhere = Vec::new();
            let mut changed = Vec::new();
            for (&(epoch, seq), made) in &edge.made {
                let sha = running.worker.log().block_sha(&name, epoch, seq);
                if sha.is_ok_and(|sha| sha.is_some_and(|sha| sha != made.sha)) {
                    changed.push((epoch, seq));
                }
                let is_logged = self
                    .centre
                    .logged
                    .get(&(name.clone(), epoch))
                    .is_some_and(|set| set.contains(seq));
                let sets = running.worker.log().epoch(&name, epoch);
                let joined = kept.and_then(|k| k.chain.find(epoch));
                let is_covered = sets.is_some_and(|s| s.covered.contains(seq))
                    || joined.is_some_and(|j| j.complete && j.last.is_some_and(|last| seq <= last));
                let is_cut = joined.is_some_and(|j| j.last.is_some_and(|last| seq > last));
                let is_backlog = backlog.get(&epoch).is_some_and(|set| set.contains(seq));
                let is_lost = edge.lost.contains(&(epoch, seq));
                if !(is_logged || is_covered || is_cut || is_backlog || is_lost) {
                    nowhere.push((epoch, seq));
                }
            }
            self.findings.expect(
                nowhere.is_empty(),
                "1: a spooled block is neither logged nor backlog nor declared",
                || {
                    let (epoch, seq) = nowhere[0];
                    let at = edge.made[&nowhere[0]].at / 1_000;
                    format!("{} blocks, first {epoch:016x}/{seq} made at {at} s", nowhere.len())
                },
            );
            self.findings.expect(changed.is_empty(), "3: a logged block has other bytes", || {
                format!("{:016x}/{}", changed[0].0, changed[0].1)
            });
            self.findings.count("blocks made", edge.made.len() as u64);
        }
    }

    /// 1: every reading is in a block, once, but for the last ones before a kill.
    fn check_readings(&mut self) {
        for edge in &self.edges {
            let mut seen: BTreeMap<u64, u32> = BTreeMap::new();
            for made in edge.made.values() {
                made.ids.iter().for_each(|id| *seen.entry(*id).or_default() += 1);
            }
            let newest = edge.given.keys().next_back().copied().unwrap_or(0);
            for (id, at) in &edge.given {
                let times = seen.get(id).copied().unwrap_or(0);
                let is_excused = edge
                    .kills
                    .iter()
                    .any(|kill| (kill.saturating_sub(KILL_READINGS)..=*kill).contains(id))
                    || *id + 3 > newest;
                self.findings.expect(
                    times == 1 || times == 0 && is_excused,
                    "1: a reading is not in one block",
                    || format!("reading {id} of {} s is in {times} blocks", at / 1_000),
                );
            }
        }
    }

    /// St, T, 3: what is logged is stored, under its time, once.
    fn check_store(&mut self) {
        let offsets = self.offsets();
        let kept = self.centre.store.lock();
        let mut missing = Vec::new();
        let given_up = self.given_up();
        for block in self.centre.archive.iter().filter_map(|r| r.block()) {
            if given_up.contains(&(block.block.epoch.0, block.block.seq)) {
                continue;
            }
            let Some(block) = timed(block, &offsets) else { continue };
            for (place, value) in rows(&block) {
                if kept
                    .rows
                    .get(&place)
                    .is_none_or(|stored| *stored != value && !self.may_overlap())
                {
                    missing.push((block.position, place));
                }
            }
        }
        self.findings.expect(missing.is_empty(), "St: logged and never stored", || {
            format!("{} samples, first {:?}", missing.len(), missing[0])
        });
        let mut times: BTreeMap<u64, Vec<i64>> = BTreeMap::new();
        for ((_, quantity, t), value) in &kept.rows {
            if quantity == "ep_imp" {
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "whole and small"
                )]
                times.entry(*value as u64).or_default().push(*t);
            }
        }
        let changed = kept.changed.len();
        let (mut doubled, mut wrong) = (Vec::new(), Vec::new());
        for edge in &self.edges {
            for (id, at) in &edge.given {
                let Some(stored) = times.get(id) else { continue };
                if stored.len() > 1 {
                    doubled.push((*id, stored.clone()));
                }
                if (stored[0] - BASE - at).abs() > TIME_MS {
                    wrong.push((*id, stored[0] - BASE - at));
                }
            }
        }
        drop(kept);
        self.findings.expect(doubled.is_empty(), "3: one reading is stored at two times", || {
            format!("{:?}", doubled[0])
        });
        if !self.may_overlap() {
            self.findings.expect(wrong.is_empty(), "T: a stored sample has a wrong time", || {
                format!("{} samples, reading {} by {} ms", wrong.len(), wrong[0].0, wrong[0].1)
            });
            self.findings
                .expect(changed == 0, "3: a stored value changed", || format!("{changed} samples"));
        }
        // A block that was made before may come again at any time: it stays set aside.
        let from = self.quiet_from + 30_000;
        let is_later = |gateway: &str, block: &wire::Block| {
            let edge = self.edges.iter().find(|edge| edge.name.as_str() == gateway);
            let made = edge.and_then(|edge| edge.made.get(&(block.epoch.0, block.seq)));
            made.is_some_and(|made| made.at > from)
        };
        let masked = |r: &&Arc<LogRecord>| {
            let set_aside = r.block().filter(|b| !b.masked_rows.is_empty());
            set_aside.is_some_and(|b| is_later(&r.gateway, &b.block))
        };
        let set_aside = self.centre.archive.iter().filter(masked).count();
        self.findings.expect(
            set_aside == 0,
            "T: samples set aside as ahead after the clock was right again",
            || format!("{set_aside} blocks"),
        );
    }

    /// Whether clocks were moved, so that one time may be there twice.
    fn may_overlap(&self) -> bool {
        self.has(Fault::Back) || self.has(Fault::Jump)
    }

    /// Blocks that were set aside because their time would never be known.
    fn given_up(&self) -> BTreeSet<(u64, u64)> {
        let Some(running) = &self.centre.running else { return BTreeSet::new() };
        let listed = running.quarantine.list(&Filter::default(), u32::MAX).unwrap_or_default();
        let of =
            |e: &ingest::quarantine::Entry| Some((u64::from_str_radix(&e.epoch, 16).ok()?, e.seq));
        listed.iter().filter(|e| e.code == "time_unknown").filter_map(of).collect()
    }

    fn offsets(&self) -> BTreeMap<u64, i64> {
        let clock = |r: &Arc<LogRecord>| r.block().map(|b| b.block.clock);
        let clocks = self.centre.archive.iter().filter_map(clock);
        clocks.filter_map(|c| Some((c.boot.0, c.boot_offset?))).collect()
    }

    /// L, H, 5: nothing waits for ever.
    fn check_liveness(&mut self) {
        let Some(running) = &self.centre.running else { return };
        for edge in &mut self.edges {
            let backlog = edge.running.as_mut().map_or(0, crate::edge::Running::backlog);
            self.findings.expect(backlog < ON_THE_WAY, "L: the backlog does not drain", || {
                format!("{backlog} blocks")
            });
            let Some(state) = running.worker.receiver().gateway(&edge.name) else { continue };
            let held = state.held.len();
            self.findings.expect(
                held == 0,
                "H: blocks of an unset clock are held for ever",
                || format!("{held} blocks"),
            );
            let conflicts = state.kept.chain.conflicts();
            self.findings.count("chain conflicts", conflicts);
            for (epoch, sets) in running.worker.log().epochs(edge.name.as_str()) {
                let intervals = sets.logged.len().max(sets.covered.len());
                self.findings.expect(
                    intervals <= spool::INTERVALS_MAX,
                    "5: too many intervals",
                    || format!("{epoch:016x}: {intervals}"),
                );
            }
        }
        self.findings.count("quarantined", running.quarantine.open_entries());
        let late = running.cursor.position() < running.shared.tail.head();
        self.findings.expect(!late, "L: the evaluator is behind", || {
            format!("at {}", running.cursor.position())
        });
        for (name, progress) in running.cursor.centre().progress() {
            let is_open = progress.waiting as u64 >= ON_THE_WAY;
            self.findings
                .expect(!is_open, "L: a hole never closes", || format!("{name}: {progress:?}"));
        }
        let stored = running.progress.store_position();
        self.findings.expect(
            stored == running.shared.tail.head(),
            "L: the store is behind",
            || format!("at {stored}"),
        );
    }

    /// 7a, 7b, 6: the journal is the one that a fresh evaluator makes.
    fn check_journal(&mut self) -> Result<()> {
        let Some(running) = &self.centre.running else { return Ok(()) };
        let mut records: Vec<Arc<LogRecord>> = self.centre.archive.clone();
        records.retain(|r| r.position <= running.cursor.position());
        let journal = self.centre.ask(running.state.verdict_lines())?;
        self.findings.count("verdicts", journal.len() as u64);
        let log = running.worker.log();
        let (fresh, said) = replay(self.ground.engines(), log, &records)?;
        // Of a log that was put back and has evicted its beginning the journal keeps what was judged on the lost one: evidence may
        // name a fact that was met earlier there, and an alarm that stood is taken up, not raised again.
        let is_whole = log.reader()?.is_whole()?;
        self.findings.count("logs that evicted", u64::from(!is_whole));
        let is_judged_again = is_whole || !self.has(Fault::OldLog);
        let stood = &self.centre.stood;
        let stands = |key: &str| {
            let key = key.split('\t').nth(1).unwrap_or_default();
            stood.iter().any(|of| key.starts_with(of.as_str()))
        };
        let named = |lines: &[String]| -> Vec<String> {
            if is_judged_again {
                return lines.to_vec();
            }
            let keys = lines.iter().filter_map(|line| Some(line.rsplit_once('\t')?.0));
            keys.filter(|key| !stands(key)).map(str::to_owned).collect()
        };
        let (there, here) = (named(&fresh), named(&journal));
        self.findings.expect(
            there == here,
            "7a: the journal is not what a fresh evaluator makes of the log",
            || difference(&here, &there),
        );
        let (mut late, mut unknown) = (BTreeSet::new(), 0_u64);
        for said in &said {
            match &said.output {
                Output::Late { key } => drop(late.insert((key.epoch, key.seq))),
                Output::TimeUnknown { .. } => unknown += 1,
                Output::Duty(DutyEvent::Turn {
                    transition,
                    page: page @ (Page::Page | Page::Recovered),
                    sample_at,
                    decided_at,
                }) => {
                    // What came and went is told by its own time: no newer sample is behind it.
                    let of = if *page == Page::Recovered { transition.time() } else { *sample_at };
                    self.findings.expect(
                        decided_at - of <= PAGE_HORIZON_MS,
                        "6: paged on an old sample",
                        || {
                            let (at, old) =
                                ((decided_at - BASE) / 1_000, (decided_at - of) / 1_000);
                            format!("{} at {at} s, {old} s old", transition.key())
                        },
                    );
                }
                _ => {}
            }
        }
        self.findings.count("late blocks", late.len() as u64);
        self.findings.count("blocks of unknown time", unknown);
        let is_gap = |r: &Arc<LogRecord>| {
            r.block().is_some_and(|b| {
                matches!(b.block.body, wire::block::Body::Gap(_))
                    || !b.masked_rows.is_empty()
                    || b.is_ahead
            })
        };
        let is_gone = |r: &Arc<LogRecord>| {
            matches!(r.body, RecordBody::Centre(ingest::log::record::CentreRecord::Gone(_)))
        };
        let gaps = records.iter().filter(|r| is_gap(r)).count();
        let gone = records.iter().filter(|r| is_gone(r)).count();
        self.findings.count("gap records", gaps as u64);
        self.findings.count("closures", gone as u64);
        // Design §10, 7: where there was no declared loss, late fact or sample ahead of time.
        if gaps == 0 && gone == 0 && unknown == 0 && !self.has(Fault::Facts) {
            let ordered = in_order(&records);
            let (ordered, _) = replay(self.ground.engines(), log, &ordered)?;
            self.findings.count("runs held against the blocks in order", 1);
            self.findings.expect(
                ordered == fresh,
                "7b: the journal depends on the order of arrival",
                || difference(&fresh, &ordered),
            );
        }
        Ok(())
    }

    /// D: a condition that lasts is with the duty staff, and the list agrees with the live evaluator.
    fn check_duty(&mut self) -> Result<()> {
        let Some(running) = &self.centre.running else { return Ok(()) };
        let active = self.centre.ask(running.state.occurrences(&OccurrenceFilter::default()))?;
        for edge in &self.edges {
            let gas = device_id("gas", edge.number);
            let states = running.cursor.centre().states(edge.name.as_str());
            let is_it = |s: &&rules::RuleState| s.rule == "R21" && is_at(&s.scope, &gas);
            let level = states.iter().find(is_it).and_then(|s| s.active);
            self.findings.expect(
                level == Some(Severity::Red),
                "D: a lasting leak is not active in the live evaluator",
                || format!("{level:?}"),
            );
            let listed: Vec<_> =
                active.iter().filter(|o| o.rule == "R21" && o.scope == gas && o.active).collect();
            let is_red = listed.len() == 1 && listed[0].severity == 1;
            self.findings.expect(is_red, "D: a lasting leak is not in the duty list", || {
                format!("{listed:?}")
            });
            let was_told = listed.iter().any(|o| o.page == "paged" || o.page == "recovered");
            self.findings.expect(was_told || !is_red, "D: a lasting leak never paged", || {
                format!("{listed:?}")
            });
        }
        Ok(())
    }
}

fn is_at(scope: &Scope, object: &str) -> bool {
    scope.object == object
}

/// Whether a block is declared lost, by a record that was made or by what waits to be declared.
fn is_declared(edge: &mut Edge, epoch: u64, seq: u64) -> bool {
    let waits = edge.running.as_mut().is_some_and(|r| {
        let mut losses = r.work.spool().losses().iter();
        losses.any(|g| g.epoch == epoch && (g.from..=g.to).contains(&seq))
    });
    let is_in = |g: &(u64, u64, u64)| g.0 == epoch && (g.1..=g.2).contains(&seq);
    waits || edge.made.values().any(|made| made.gaps.iter().any(is_in))
}

/// A block with its event times as they are stored; none where its time is not known.
fn timed(block: &Arc<DecodedBlock>, offsets: &BTreeMap<u64, i64>) -> Option<Arc<DecodedBlock>> {
    if !block.is_unset() {
        return Some(Arc::clone(block));
    }
    let offset = offsets.get(&block.block.clock.boot.0)?;
    Some(Arc::new(block.timed_by(*offset)))
}

/// The verdict journal, and everything that was said, of a fresh evaluator over these records.
fn replay(
    engines: &ingest::evaluate::CatalogueEngines,
    log: &spool::Log,
    records: &[Arc<LogRecord>],
) -> Result<(Vec<String>, Vec<Said>)> {
    let limits = Limits { bytes: usize::MAX, ..Limits::default() };
    let mut centre = Evaluators::new(engines.clone(), limits);
    let mut follower = ingest::evaluate::follower_of(log)?;
    let (mut seen, mut lines, mut all) = (BTreeSet::new(), Vec::new(), Vec::new());
    for record in records {
        let mut said = Vec::new();
        centre.take(record, &mut follower, &mut said);
        for said in &said {
            let Output::Verdict(turn) = &said.output else { continue };
            let key = turn.key().to_string();
            if seen.insert((said.gateway.clone(), key.clone())) {
                let body = serde_json::to_string(turn)?;
                let line = format!("{}\t{key}\t{body}", said.gateway);
                lines.push((said.gateway.clone(), i64::from(turn.segment), turn.t, key, line));
            }
        }
        all.extend(said);
    }
    lines.sort();
    Ok((lines.into_iter().map(|l| l.4).collect(), all))
}

/// The records with the blocks of each gateway in their one order, everything else at its place.
fn in_order(records: &[Arc<LogRecord>]) -> Vec<Arc<LogRecord>> {
    use ingest::log::record::CentreRecord;
    let mut chain: BTreeMap<(String, u64), usize> = BTreeMap::new();
    for record in records {
        if let RecordBody::Centre(CentreRecord::Chain { epoch, .. }) = &record.body {
            let place = chain.len();
            chain.entry((record.gateway.clone(), *epoch)).or_insert(place);
        }
    }
    let place = |r: &Arc<LogRecord>| {
        let block = r.block().map(|b| (b.block.epoch.0, b.block.seq)).unwrap_or_default();
        (chain.get(&(r.gateway.clone(), block.0)).copied().unwrap_or(usize::MAX), block.1)
    };
    let mut sorted: BTreeMap<String, Vec<Arc<LogRecord>>> = BTreeMap::new();
    for record in records.iter().filter(|r| r.block().is_some()) {
        sorted.entry(record.gateway.clone()).or_default().push(Arc::clone(record));
    }
    sorted.values_mut().for_each(|blocks| blocks.sort_by_key(&place));
    let mut next: BTreeMap<String, std::vec::IntoIter<Arc<LogRecord>>> =
        sorted.into_iter().map(|(name, blocks)| (name, blocks.into_iter())).collect();
    let moved = records.iter().map(|record| {
        if record.block().is_none() {
            return Arc::clone(record);
        }
        let other = next.get_mut(&record.gateway).and_then(Iterator::next);
        let body = other.map_or(RecordBody::Damaged, |other| other.body.clone());
        Arc::new(LogRecord { body, ..LogRecord::clone(record) })
    });
    moved.collect()
}

/// The first line in which two journals differ.
fn difference(one: &[String], other: &[String]) -> String {
    let (here, there) = (only(one, other), only(other, one));
    format!("{} and {} lines; only here {here:?}, only there {there:?}", one.len(), other.len())
}

fn only(of: &[String], not_in: &[String]) -> Option<String> {
    let first = of.iter().find(|line| !not_in.contains(line))?;
    Some(first.chars().take(LINE_MAX).collect())
}
