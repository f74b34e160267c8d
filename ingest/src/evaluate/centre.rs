//! All evaluators of the centre, fed from the log: one per gateway, each a pure function of its records.
//!
//! Called by the cursor and by the replay with records in log order. It does no I/O of its own but reading waiting blocks
//! again, and knows no clock.

use std::collections::{BTreeMap, BTreeSet};

use rules::evaluator::{
    BlockKey, BlockRecord, DutyEvent, Evaluator, Limits, Output, Page, Past, Progress, Reason,
    Record, Reread, RereadError, SeriesTable, Span, StandingAlarm, Verdict as _,
};
use rules::{Catalogue, Fact, FeederMonitor, GatewayMonitor, Quality, RuleState, Transition};
use serde::{Deserialize, Serialize};

use super::convert::Converter;
use super::engines::Engines;
use super::known::{Known, is_on, model_of, record};
use super::own_test::OwnTest;
use super::snapshot::CENTRE;
use crate::alarms::ActiveAlarm;
use crate::log::record::{CentreRecord, Decided, GoneSpan};
use crate::log::{DecodedBlock, Follower, Found, LogRecord, RecordBody};
use crate::selfwatch::is_synthetic;

/// Most gateways that one centre evaluates; blocks of further ones are stored, not evaluated.
pub const GATEWAYS_MAX: usize = 16_384;

/// What the evaluator of a gateway said about one record.
#[derive(Debug, Clone, PartialEq)]
pub struct Said {
    /// The gateway.
    pub gateway: String,
    /// What was said.
    pub output: Output<Transition>,
}

/// A bound that was reached: what lies beyond it is stored and judged by no rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reached {
    /// There are [`GATEWAYS_MAX`] gateways already; this one is the first beyond.
    Gateways(String),
    /// This gateway has [`rules::evaluator::SERIES_MAX`] series already.
    Series(String),
}

/// One gateway's evaluator with what it needs to be fed.
#[derive(Debug)]
pub(super) struct Fed<E: Engines> {
    pub(super) evaluator: Evaluator<E::Engine>,
    pub(super) sites: BTreeSet<String>,
    converter: Converter,
}

/// What the centre itself knows beside its gateways' evaluators, up to a position of its own.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Own {
    pub(super) position: u64,
    pub(super) known: Known,
    /// Gateways that send nothing (R41): judged on receive time, never part of the verdict journal.
    pub(super) monitor: GatewayMonitor,
    /// Gateways that went together with their neighbours (R09c): judged in the same way.
    pub(super) feeders: FeederMonitor,
    /// When the registry changed since the two were made, ms: they are made anew before they are asked again, once for
    /// thousands of sites that are registered together.
    changed_at: Option<i64>,
}

impl Own {
    fn new(catalogue: &Catalogue) -> Self {
        let monitor = GatewayMonitor::new(catalogue, &[], 0);
        let feeders = FeederMonitor::new(catalogue, &[], 0);
        Self { position: 0, known: Known::default(), monitor, feeders, changed_at: None }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Centre<E: Engines> {
    engines: E,
    limits: Limits,
    pub(super) own: Own,
    pub(super) gateways: BTreeMap<String, Fed<E>>,
    own_test: Option<OwnTest>,
    /// Bounds reached since the last [`Centre::reached`].
    reached: Vec<Reached>,
    is_full_said: bool,
}

impl<E: Engines> Centre<E> {
    /// Begins before the first record.
    #[must_use]
    pub fn new(engines: E, limits: Limits) -> Self {
        let own = Own::new(engines.catalogue());
        let gateways = BTreeMap::new();
        let (reached, is_full_said) = (Vec::new(), false);
        Self { own, engines, limits, gateways, own_test: None, reached, is_full_said }
    }

    /// Judges the centre's own samples too: only the running centre does, they are no part of any journal.
    #[must_use]
    pub fn watching_itself(mut self) -> Self {
        self.own_test = Some(OwnTest::default());
        self
    }

    /// Takes the next record of the log and says what follows from it.
    pub fn take(&mut self, record: &LogRecord, log: &mut Follower, out: &mut Vec<Said>) {
        let is_new = record.position > self.own.position;
        if let Some(test) = &mut self.own_test {
            test.take(record, log, out);
        }
        if is_synthetic(&record.gateway) {
            self.own.position = self.own.position.max(record.position);
            return;
        }
        if is_new && !matches!(&record.body, RecordBody::Centre(CentreRecord::Fact(_))) {
            self.watch_anew(out);
        }
        match &record.body {
            RecordBody::Block { block, decided } => {
                if is_new {
                    self.heard(&record.gateway, record.received_at, out);
                }
                self.take_block(record, block, decided, log, out);
            }
            RecordBody::Centre(body) => self.take_centre(record, body, is_new, log, out),
            // It is no longer logged: the receiver discards it and the gateway sends the block again.
            RecordBody::Damaged => {}
            // History that order has passed long ago: stored, never evaluated, so that it can neither page nor change a
            // verdict.
            RecordBody::Replay(_) => {}
        }
        self.own.position = self.own.position.max(record.position);
    }

    /// Watches the gateways of the registry as it is now.
    fn watch_anew(&mut self, out: &mut Vec<Said>) {
        let Some(at) = self.own.changed_at.take() else { return };
        let (catalogue, sites) = (self.engines.catalogue(), self.own.known.sites());
        let mut monitor = GatewayMonitor::new(catalogue, &sites, at);
        let mut turns = Vec::new();
        monitor.carry(&self.own.monitor, at, &mut turns);
        let mut feeders = FeederMonitor::new(catalogue, &sites, at);
        feeders.carry(&self.own.feeders);
        (self.own.monitor, self.own.feeders) = (monitor, feeders);
        out.extend(turns.into_iter().map(|turn| told(turn, at)));
    }

    fn heard(&mut self, gateway: &str, at: i64, out: &mut Vec<Said>) {
        let mut turns = Vec::new();
        self.own.monitor.received(gateway, at, &mut turns);
        self.own.feeders.received(gateway, at, &mut turns);
        out.extend(turns.into_iter().map(|turn| told(turn, at)));
    }

    fn take_centre(
        &mut self,
        record: &LogRecord,
        body: &CentreRecord,
        is_new: bool,
        log: &mut Follower,
        out: &mut Vec<Said>,
    ) {
        let (position, at) = (record.position, record.received_at);
        match body {
            CentreRecord::Chain { epoch, last, .. } => {
                let (epoch, last) = (*epoch, *last);
                self.feed(&record.gateway, position, log, out, |_| Record::Chain { epoch, last });
            }
            CentreRecord::Gone(gone) => {
                let span =
                    |gone: &GoneSpan| Span { epoch: gone.epoch, from: gone.from, to: gone.to };
                let spans = gone.iter().map(span).collect();
                self.feed(&record.gateway, position, log, out, |_| Record::Gone(spans));
            }
            CentreRecord::Fact(fact) => self.take_fact(position, at, fact, is_new, log, out),
            CentreRecord::Tick => {
                if is_new {
                    let mut turns = Vec::new();
                    self.own.monitor.tick(at, &mut turns);
                    self.own.feeders.tick(at, &mut turns);
                    out.extend(turns.into_iter().map(|turn| told(turn, at)));
                }
                self.feed_all(position, log, out, || Record::Tick { at });
            }
            CentreRecord::Start { .. } => {
                if is_new {
                    self.own.monitor.started(at);
                    self.own.feeders.started(at);
                }
                self.feed_all(position, log, out, || Record::Start { at });
            }
            CentreRecord::Step { by } => {
                let by = *by;
                if is_new {
                    self.own.monitor.stepped(by);
                    self.own.feeders.started(at);
                }
                self.feed_all(position, log, out, || Record::Stepped { at, by });
            }
            CentreRecord::Presence { online, on_battery, .. } => {
                if is_new {
                    let (mut turns, gateway) = (Vec::new(), record.gateway.as_str());
                    self.own.feeders.presence(gateway, *online, *on_battery, at, &mut turns);
                    out.extend(turns.into_iter().map(|turn| told(turn, at)));
                }
            }
        }
    }

    /// State of every rule at a gateway.
    #[must_use]
    pub fn states(&self, gateway: &str) -> Vec<RuleState> {
        let fed = self.gateways.get(gateway);
        fed.map(|fed| self.engines.states(fed.evaluator.live())).unwrap_or_default()
    }

    /// Bounds that were reached since this was asked last.
    pub fn reached(&mut self) -> Vec<Reached> {
        std::mem::take(&mut self.reached)
    }

    /// How far each gateway's evaluator is.
    pub fn progress(&self) -> impl Iterator<Item = (&str, Progress)> {
        self.gateways.iter().map(|(name, fed)| (name.as_str(), fed.evaluator.progress()))
    }

    /// Positions of records that evaluators still need, besides those after their snapshots.
    pub fn needed(&self) -> impl Iterator<Item = u64> {
        self.gateways.values().flat_map(|fed| fed.evaluator.needed())
    }

    /// Those of one gateway.
    pub(super) fn needed_by(&self, gateway: &str) -> Vec<u64> {
        let fed = self.gateways.get(gateway);
        fed.map(|fed| fed.evaluator.needed().collect()).unwrap_or_default()
    }

    /// Begins again before the first record.
    pub(super) fn forget(&mut self) {
        self.own = Own::new(self.engines.catalogue());
        self.gateways.clear();
    }

    pub(super) fn engines(&self) -> &E {
        &self.engines
    }

    /// Puts an evaluator back as a snapshot had it.
    pub(super) fn restore(&mut self, gateway: &str, evaluator: Evaluator<E::Engine>) {
        let sites = self.own.known.site_ids_of(gateway, evaluator.position() + 1);
        let fed = Fed { evaluator, sites, converter: Converter::default() };
        self.gateways.insert(gateway.to_owned(), fed);
    }

    /// Whether an epoch is, or was, in the chain of a gateway's evaluator.
    pub(super) fn knows(&self, gateway: &str, epoch: u64) -> bool {
        self.gateways.get(gateway).is_some_and(|fed| fed.evaluator.knows(epoch))
    }

    /// The block that a gateway's settled evaluator needs next.
    pub(super) fn next(&self, gateway: &str) -> Option<BlockKey> {
        self.gateways.get(gateway)?.evaluator.progress().next
    }

    /// Begins at `position` with what is known of sites and facts, and with the silent gateways that duty staff know of.
    /// Silence counts from `now`. Gives back the alarms about silence that nobody watches any more.
    pub(super) fn rebuild_own(
        &mut self,
        position: u64,
        known: Known,
        active: Vec<Transition>,
        now: i64,
    ) -> Vec<Transition> {
        let catalogue = self.engines.catalogue();
        let mut monitor = GatewayMonitor::new(catalogue, &known.sites(), now);
        let mut feeders = FeederMonitor::new(catalogue, &known.sites(), now);
        let left = monitor.resume(feeders.resume(active));
        self.own = Own { position, known, monitor, feeders, changed_at: None };
        self.gateways.clear();
        left.into_iter().filter(GatewayMonitor::makes).collect()
    }

    /// Begins a gateway's evaluator behind `past`, with those of the active alarms that are its own. Gives back those of
    /// its sites that its rules do not have.
    pub(super) fn rebuild(
        &mut self,
        gateway: &str,
        past: &Past,
        known: &Known,
        active: &[ActiveAlarm],
    ) -> Vec<Transition> {
        let models = known.sites_of(gateway, u64::MAX);
        let sites: BTreeSet<String> = models.iter().map(|model| model.site.clone()).collect();
        let mut engine = self.engines.engine(gateway, &models);
        let judged = |alarm: &&ActiveAlarm| {
            let transition = &alarm.transition;
            sites.contains(&transition.scope.site) && !GatewayMonitor::makes(transition)
        };
        let active: Vec<&ActiveAlarm> = active.iter().filter(judged).collect();
        let all = active.iter().map(|alarm| alarm.transition.clone()).collect();
        let left = self.engines.resume(&mut engine, all, past.segment);
        let gone: BTreeSet<_> = left.iter().map(Transition::condition).collect();
        let standing = active
            .into_iter()
            .filter(|alarm| !gone.contains(&alarm.transition.condition()))
            .map(|alarm| StandingAlarm {
                transition: alarm.transition.clone(),
                is_paged: alarm.is_paged,
            })
            .collect();
        let facts = known.facts_of(&sites, u64::MAX);
        let evaluator = Evaluator::resumed(engine, self.limits, past, standing, facts);
        let fed = Fed { evaluator, sites, converter: Converter::default() };
        self.gateways.insert(gateway.to_owned(), fed);
        left
    }

    fn take_block(
        &mut self,
        record: &LogRecord,
        block: &DecodedBlock,
        decided: &Decided,
        log: &mut Follower,
        out: &mut Vec<Said>,
    ) {
        let position = record.position;
        let is_taken = self
            .gateways
            .get(&record.gateway)
            .is_some_and(|fed| position <= fed.evaluator.position());
        if is_taken || decided.is_superseded {
            return;
        }
        self.feed(&record.gateway, position, log, out, |fed| {
            Record::Block(Box::new(fed.converter.block(block, decided, fed.evaluator.series())))
        });
    }

    /// A fact reaches every gateway that the site has, or had, devices on.
    fn take_fact(
        &mut self,
        position: u64,
        at: i64,
        fact: &Fact,
        is_new: bool,
        log: &mut Follower,
        out: &mut Vec<Said>,
    ) {
        // Each start of the centre may log a fact again: only the first counts.
        let is_first = if is_new {
            self.own.known.take(position, fact)
        } else {
            self.own.known.is_first(position, fact)
        };
        if !is_first {
            return;
        }
        if is_new && model_of(fact).is_some() {
            self.own.changed_at = Some(at);
        }
        for gateway in self.own.known.gateways_of(fact, position) {
            let Some(fed) = self.gateways.get_mut(&gateway) else { continue };
            let is_new = position > fed.evaluator.position()
                && model_of(fact).is_some_and(|model| is_on(model, &gateway))
                && fed.sites.insert(fact.site.clone());
            let mut facts = vec![record(fact)];
            if is_new {
                let site = BTreeSet::from([fact.site.clone()]);
                facts.extend(self.own.known.facts_of(&site, position));
            }
            self.feed(&gateway, position, log, out, |_| Record::Facts(facts));
        }
    }

    fn feed_all(
        &mut self,
        position: u64,
        log: &mut Follower,
        out: &mut Vec<Said>,
        record: impl Fn() -> Record<E::Engine>,
    ) {
        let mut said = Vec::new();
        for (gateway, fed) in &mut self.gateways {
            let mut again = Again { log: &mut *log, converter: &mut fed.converter };
            fed.evaluator.record(position, record(), &mut again, &mut said);
            out.extend(said.drain(..).map(|output| Said { gateway: gateway.clone(), output }));
        }
    }

    fn feed(
        &mut self,
        gateway: &str,
        position: u64,
        log: &mut Follower,
        out: &mut Vec<Said>,
        record: impl FnOnce(&mut Fed<E>) -> Record<E::Engine>,
    ) {
        if !self.gateways.contains_key(gateway) && !self.begin(gateway, position, log, out) {
            return;
        }
        let Some(fed) = self.gateways.get_mut(gateway) else { return };
        let record = record(fed);
        if fed.converter.take_short() {
            self.reached.push(Reached::Series(gateway.to_owned()));
        }
        let mut said = Vec::new();
        let mut again = Again { log: &mut *log, converter: &mut fed.converter };
        fed.evaluator.record(position, record, &mut again, &mut said);
        out.extend(said.into_iter().map(|output| Said { gateway: gateway.to_owned(), output }));
    }

    /// A gateway is met for the first time: its evaluator knows what the log said before this place.
    fn begin(
        &mut self,
        gateway: &str,
        position: u64,
        log: &mut Follower,
        out: &mut Vec<Said>,
    ) -> bool {
        if self.gateways.len() >= GATEWAYS_MAX {
            // Once is enough: whoever comes next is beyond it too.
            if !std::mem::replace(&mut self.is_full_said, true) {
                self.reached.push(Reached::Gateways(gateway.to_owned()));
            }
            return false;
        }
        let models = self.own.known.sites_of(gateway, position);
        let sites: BTreeSet<String> = models.iter().map(|model| model.site.clone()).collect();
        let facts = self.own.known.facts_of(&sites, position);
        let evaluator = Evaluator::new(self.engines.engine(gateway, &models), self.limits);
        let fed = Fed { evaluator, sites, converter: Converter::default() };
        self.gateways.insert(gateway.to_owned(), fed);
        if position > 1 && !facts.is_empty() {
            self.feed(gateway, position - 1, log, out, |_| Record::Facts(facts));
        }
        true
    }
}

/// What is judged on the centre's time is told at once: nothing of it is history.
fn told(transition: Transition, now: i64) -> Said {
    let page = if transition.turn().pages() { Page::Page } else { Page::Silent(Reason::Eased) };
    // The gateway may never have sent anything: it has no evaluator whose position this could move.
    let gateway = CENTRE.to_owned();
    let event = DutyEvent::Turn { sample_at: transition.t, transition, page, decided_at: now };
    Said { gateway, output: Output::Duty(event) }
}

/// Reads waiting blocks again from the log.
pub(super) struct Again<'a> {
    pub(super) log: &'a mut Follower,
    pub(super) converter: &'a mut Converter,
}

impl<S: super::engines::EngineStep> Reread<S> for Again<'_> {
    fn block(
        &mut self,
        position: u64,
        series: &mut SeriesTable<S>,
    ) -> Result<Box<BlockRecord<Quality>>, RereadError> {
        let later = |why: String| RereadError::Later { position, why };
        match self.log.block_at(position) {
            Ok(Found::Block { block, decided }) => {
                Ok(Box::new(self.converter.block(&block, &decided, series)))
            }
            // The receiver takes a damaged record out of the log, and the gateway sends the block again.
            Ok(Found::Damaged) => Err(later("its checksum does not fit".to_owned())),
            Ok(Found::Gone) => {
                let why = "it is no longer in the log".to_owned();
                Err(RereadError::Lost { position, why })
            }
            Err(error) => Err(later(error.to_string())),
        }
    }
}
