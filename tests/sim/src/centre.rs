//! The centre: its disk, and the program on it while it runs, driven through its real cores.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use ingest::alarms::{AlarmChange, OccurrenceFilter};
use ingest::evaluate::{self, Board, CatalogueEngines, Cursor, Listener, Said};
use ingest::live::Live;
use ingest::log::writer::{Told, WriteError, Writer};
use ingest::log::{Follower, LogRecord, Progress, RecordBody, Shared};
use ingest::quarantine::Quarantine;
use ingest::receive::worker::{Acker, Outgoing, Ticket, ToWorker, Worker, Works};
use ingest::registry::Registrar;
use ingest::state::{Position, State};
use rules::evaluator::Limits;
use spool::{Intervals, Log, LogOptions, LogReader};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};
use wire::frame::{self, Kind};
use wire::message::Ack;

use crate::broker::Broker;
use crate::clock::CentreClock;
use crate::dice::Dice;
use crate::disk::Disk;
use crate::report::Findings;
use crate::store::SimStore;

/// Bytes of one gateway's quarantine.
const QUARANTINE_BYTES: u64 = 8 << 20;
/// A hole older than this is given up, ms: longer than any run.
const HOLE_MAX_MS: i64 = 30 * 86_400_000;
/// More than any disk has free.
const FULL_BYTES: u64 = 1 << 60;
/// Acks that may wait.
const OUTBOX: usize = 4_096;
/// Batches that a cursor takes in one step at most.
const BATCHES: usize = 64;

/// At which step of its pipeline the program is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kill {
    /// With messages taken from the broker and nothing done.
    BeforeCommit,
    /// In the middle of the log's commit.
    InCommit,
    /// The commit is durable, no ack was sent.
    BeforeAck,
    /// The acks are out, nothing was stored or judged.
    AfterAck,
    /// In the middle of the commit of what was judged.
    InJudgement,
    /// After everything.
    AtRest,
}

impl Kill {
    pub(crate) const ALL: [Self; 6] = [
        Self::BeforeCommit,
        Self::InCommit,
        Self::BeforeAck,
        Self::AfterAck,
        Self::InJudgement,
        Self::AtRest,
    ];
}

/// A copy of everything, and how much was archived then.
#[derive(Debug)]
pub(crate) struct Backup {
    folder: PathBuf,
    archived: usize,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Centre {
    pub(crate) disk: Disk,
    pub(crate) clock: Arc<CentreClock>,
    pub(crate) store: SimStore,
    pub(crate) log_max: u64,
    pub(crate) quota: u64,
    pub(crate) running: Option<Running>,
    pub(crate) back_at: i64,
    /// Every record of the present log, also what it has evicted since.
    pub(crate) archive: Vec<Arc<LogRecord>>,
    /// Blocks of the present log, by gateway and epoch.
    pub(crate) logged: BTreeMap<(String, u64), Intervals>,
    /// Blocks that any log ever had.
    pub(crate) ever: BTreeSet<(String, u64, u64)>,
    pub(crate) has_facts: bool,
    pub(crate) backup: Option<Backup>,
    /// Alarms that stood on the list when the log alone was put back, as `rule|site/object`: the log may know nothing of them.
    pub(crate) stood: BTreeSet<String>,
    was_log_put_back: bool,
    runtime: Arc<Runtime>,
    engines: CatalogueEngines,
}

/// The running program.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) worker: Worker,
    writer: Writer,
    pub(crate) cursor: Cursor<CatalogueEngines>,
    pub(crate) state: State,
    pub(crate) shared: Arc<Shared>,
    pub(crate) progress: Arc<Progress>,
    pub(crate) quarantine: Arc<Quarantine>,
    registrar: Arc<Registrar>,
    acks: Arc<Acks>,
    outbox: mpsc::Receiver<Outgoing>,
    changes: Arc<Mutex<Vec<AlarmChange>>>,
    log_id: u64,
}

#[derive(Debug, Default)]
struct Acks(Mutex<Vec<Ticket>>);

impl Acker for Acks {
    fn ack(&self, tickets: &[Ticket]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(tickets);
    }
}

#[derive(Debug)]
struct Ears(Arc<Mutex<Vec<AlarmChange>>>);

impl Listener for Ears {
    fn changed(&mut self, changes: &[AlarmChange]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(changes);
    }
    fn noted(&mut self, _: &Said) {}
}

/// A record in one line.
fn told(record: &LogRecord) -> String {
    let at = record.position;
    match &record.body {
        RecordBody::Block { block: b, decided } => {
            let (clock, ids) = (&b.block.clock, crate::edge::ids_in(&b.readings));
            let gap = matches!(b.block.body, wire::block::Body::Gap(_));
            format!(
                "log {at}: block {:016x}/{} {:?} closed {} segment {} offset {:?} gap {gap} list {} ids {:?} masked {:?} {decided:?}",
                b.block.epoch.0,
                b.block.seq,
                clock.state,
                clock.closed_at - crate::clock::BASE,
                clock.segment,
                clock.boot_offset.map(|o| o - crate::clock::BASE),
                b.block.list.is_some(),
                ids,
                b.masked_rows,
            )
        }
        RecordBody::Centre(body) => format!("log {at}: {body:?}").chars().take(200).collect(),
        RecordBody::Replay(b) => {
            format!("log {at}: replay of {:016x}/{}", b.block.epoch.0, b.block.seq)
        }
        RecordBody::Damaged => format!("log {at}: damaged"),
    }
}

impl Centre {
    pub(crate) fn new(
        root: &Path,
        template: &[u8],
        clock: Arc<CentreClock>,
        runtime: Arc<Runtime>,
        engines: CatalogueEngines,
    ) -> Result<Self> {
        let disk = Disk::new(root, "centre")?;
        std::fs::write(disk.dir().join("state.db"), template)?;
        Ok(Self {
            disk,
            clock,
            store: SimStore::default(),
            log_max: 64 << 20,
            quota: 32 << 20,
            running: None,
            back_at: 0,
            archive: Vec::new(),
            logged: BTreeMap::new(),
            ever: BTreeSet::new(),
            has_facts: true,
            backup: None,
            stood: BTreeSet::new(),
            was_log_put_back: false,
            runtime,
            engines,
        })
    }

    /// Runs something of the state database.
    pub(crate) fn ask<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// Starts the program.
    pub(crate) fn start(&mut self, dice: &mut Dice, findings: &mut Findings) -> Result<()> {
        let wall = ingest::clock::Clock::now_ms(&*self.clock);
        let dir = self.disk.dir();
        let state = self.ask(State::open(&dir.join("state.db"))).context("the state database")?;
        let registry = self.ask(state.load_registry()).context("the registry")?;
        let registrar = Arc::new(Registrar::new(registry));
        let quarantine =
            Arc::new(Quarantine::open(&dir, QUARANTINE_BYTES).context("the quarantine")?);
        let options = LogOptions { bytes_max: self.log_max, now_ms: wall, free_reserve_bytes: 0 };
        let (log, report) = Log::open(&dir.join("log"), &options).context("the log")?;
        findings.expect(report.set_aside.is_none(), "1: a kill damaged the log", || {
            format!("{report:?}")
        });
        let log_id = dice.id();
        self.read_behind(&log, findings)?;
        let (mut log, receiver, shared) =
            ingest::run::begin(log, log_id, wall).context("the start's record")?;
        log.keep_free(0);
        let follower = || log.reader().map(|r| Follower::new(r, Arc::clone(&shared)));
        let (for_store, for_judge) = (follower()?, follower()?);
        let progress = Arc::<Progress>::default();
        let live = Arc::new(Live::new(None));
        let clock = Arc::clone(&self.clock) as Arc<dyn ingest::clock::Clock>;
        let acks = Arc::<Acks>::default();
        let (out, outbox) = mpsc::channel(OUTBOX);
        let works = Works {
            log,
            shared: Arc::clone(&shared),
            progress: Arc::clone(&progress),
            quarantine: Arc::clone(&quarantine),
            live: Arc::clone(&live),
            registrar: Arc::clone(&registrar),
            clock: Arc::clone(&clock),
            metrics: Arc::default(),
            failing: Arc::<AtomicBool>::default(),
            acker: Arc::clone(&acks) as Arc<dyn Acker>,
            outbox: out,
            gateway_quota: self.quota,
            hole_max_ms: HOLE_MAX_MS,
        };
        let worker = Worker::new(works, receiver);
        let told = Told {
            progress: Arc::clone(&progress),
            stats: Arc::default(),
            live,
            clock: Arc::clone(&clock),
        };
        let writer = Writer::new(for_store, Box::new(self.store.clone()), told)?;
        let changes = Arc::<Mutex<Vec<AlarmChange>>>::default();
        let works = evaluate::Works {
            state: state.clone(),
            runtime: self.runtime.handle().clone(),
            log: for_judge,
            clock,
            board: Arc::<Board>::default(),
            progress: Arc::clone(&progress),
            listener: Box::new(Ears(Arc::clone(&changes))),
        };
        let centre = evaluate::Centre::new(self.engines.clone(), Limits::default());
        let cursor = Cursor::start(works, centre).context("the evaluator")?;
        self.has_facts = true;
        self.running = Some(Running {
            worker,
            writer,
            cursor,
            state,
            shared,
            progress,
            quarantine,
            registrar,
            acks,
            outbox,
            changes,
            log_id,
        });
        self.archive_new(findings);
        if std::mem::take(&mut self.was_log_put_back) {
            self.note_standing()?;
        }
        Ok(())
    }

    fn note_standing(&mut self) -> Result<()> {
        let Some(running) = &self.running else { return Ok(()) };
        let active = self.ask(running.state.occurrences(&OccurrenceFilter::default()))?;
        let standing = active.into_iter().filter(|o| o.active);
        self.stood.extend(standing.map(|o| format!("{}|{}/{}", o.rule, o.site, o.scope)));
        Ok(())
    }

    /// A torn commit may have become durable all the same: takes what lies in the log behind the archive.
    fn read_behind(&mut self, log: &Log, findings: &mut Findings) -> Result<()> {
        let after = self.archive.last().map_or(0, |r| r.position);
        let mut follower = evaluate::follower_of(log)?;
        loop {
            let at = self.archive.last().map_or(after, |r| r.position);
            let batch = follower.next(at, Duration::ZERO)?;
            if batch.records.is_empty() {
                return Ok(());
            }
            batch.records.into_iter().for_each(|record| self.keep(record, findings));
        }
    }

    /// Ends the program where it stands; its files stay as they are.
    pub(crate) fn end(
        &mut self,
        broker: &mut Broker,
        dice: &mut Dice,
        findings: &mut Findings,
    ) -> Result<()> {
        let Some(running) = self.running.take() else { return Ok(()) };
        let old = self.disk.kill()?;
        self.drop_program(running, &old);
        broker.centre_gone(dice.chance(0.8));
        findings.count("centre kills", 1);
        Ok(())
    }

    fn drop_program(&self, running: Running, folder: &Path) {
        let state = running.state.clone();
        drop(running);
        drop(self.ask(state.close()));
        drop(std::fs::remove_dir_all(folder));
    }

    /// One step of the program, up to `kill`.
    pub(crate) fn step(
        &mut self,
        broker: &mut Broker,
        (now, lag): (i64, f64),
        kill: Option<Kill>,
        dice: &mut Dice,
        findings: &mut Findings,
    ) -> Result<()> {
        if self.running.is_none() {
            return Ok(());
        }
        let deliveries = broker.take_up(now);
        if kill == Some(Kill::BeforeCommit) {
            return self.end(broker, dice, findings);
        }
        let before = match kill {
            Some(Kill::InCommit) => Some(self.disk.copy("before")?),
            _ => None,
        };
        let mut items: Vec<ToWorker> = deliveries.into_iter().map(ToWorker::Message).collect();
        let facts = self.facts_to_log(&mut items)?;
        let archived = self.archive.len();
        let Some(running) = &mut self.running else { return Ok(()) };
        if let Err(error) = running.worker.take(items) {
            findings.expect(false, "L: the receiver ended", || error.to_string());
            return self.end(broker, dice, findings);
        }
        if let Some(before) = before {
            self.end(broker, dice, findings)?;
            let was_torn = self.disk.tear(&before, &["log"], dice)?;
            findings.count("torn commits", u64::from(was_torn));
            self.truncate(archived);
            return Ok(());
        }
        self.archive_new(findings);
        self.mark_logged(facts)?;
        if kill == Some(Kill::BeforeAck) {
            return self.end(broker, dice, findings);
        }
        let Some(running) = &mut self.running else { return Ok(()) };
        let tickets =
            std::mem::take(&mut *running.acks.0.lock().unwrap_or_else(PoisonError::into_inner));
        broker.acked(&tickets);
        let mut acks = Vec::new();
        while let Ok(out) = running.outbox.try_recv() {
            acks.push((out.topic.to_string(), out));
        }
        acks.sort_by(|a, b| a.0.cmp(&b.0));
        acks.iter().for_each(|(_, out)| self.check_ack(out, findings));
        for (_, out) in acks {
            broker.publish_down(out.topic, out.frame, now, dice);
        }
        if kill == Some(Kill::AfterAck) {
            return self.end(broker, dice, findings);
        }
        if !dice.chance(lag) {
            self.write(broker, dice, findings)?;
        }
        let before = match kill {
            Some(Kill::InJudgement) => Some(self.disk.copy("before")?),
            _ => None,
        };
        if !dice.chance(lag) || before.is_some() {
            self.judge(now, before.is_none(), findings);
        }
        if let Some(before) = before {
            self.end(broker, dice, findings)?;
            let was_torn = self.disk.tear(&before, &["state.db"], dice)?;
            findings.count("torn judgements", u64::from(was_torn));
            return Ok(());
        }
        if kill.is_some() {
            return self.end(broker, dice, findings);
        }
        Ok(())
    }

    fn write(
        &mut self,
        broker: &mut Broker,
        dice: &mut Dice,
        findings: &mut Findings,
    ) -> Result<()> {
        for _ in 0..BATCHES {
            let Some(running) = &mut self.running else { return Ok(()) };
            match running.writer.step(Duration::ZERO) {
                Ok(true) => {}
                Ok(false) => break,
                Err(WriteError::Store(_)) => {
                    findings.count("store failures", 1);
                    break;
                }
                Err(error) => {
                    findings.expect(false, "St: the store writer cannot read the log", || {
                        error.to_string()
                    });
                    return self.end(broker, dice, findings);
                }
            }
        }
        Ok(())
    }

    fn judge(&mut self, now: i64, is_heard: bool, findings: &mut Findings) {
        let Some(running) = &mut self.running else { return };
        for _ in 0..BATCHES {
            match running.cursor.step(Duration::ZERO) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    let chain = format!("{:#}", anyhow::Error::from(error));
                    findings.expect(false, "L: the evaluator failed", || chain);
                    break;
                }
            }
        }
        let changes =
            std::mem::take(&mut *running.changes.lock().unwrap_or_else(PoisonError::into_inner));
        if is_heard {
            for change in changes {
                crate::check::heard(&change, now, findings);
            }
        }
    }

    /// Facts that this start has not logged yet, and where their positions come.
    fn facts_to_log(
        &mut self,
        items: &mut Vec<ToWorker>,
    ) -> Result<Vec<(u64, oneshot::Receiver<u64>)>> {
        let Some(running) = self.running.as_ref().filter(|_| self.has_facts) else {
            return Ok(Vec::new());
        };
        self.ask(running.registrar.refresh(&running.state))?;
        let mut waits = Vec::new();
        for fact in self.ask(running.state.facts_to_log(running.log_id))? {
            let (told, logged) = oneshot::channel();
            waits.push((fact.revision, logged));
            items.push(ToWorker::Fact(Box::new(fact), told));
        }
        self.has_facts = false;
        Ok(waits)
    }

    fn mark_logged(&mut self, facts: Vec<(u64, oneshot::Receiver<u64>)>) -> Result<()> {
        for (revision, mut logged) in facts {
            let Some(running) = &self.running else { return Ok(()) };
            match logged.try_recv() {
                Ok(position) => {
                    let at = Position { log_id: running.log_id, position };
                    self.ask(running.state.mark_fact_logged(revision, at))?;
                }
                // The commit failed: the next round tries again.
                Err(_) => self.has_facts = true,
            }
        }
        Ok(())
    }

    /// Takes a record of the log into the archive.
    fn keep(&mut self, record: Arc<LogRecord>, findings: &mut Findings) {
        findings.mix(record.position);
        findings.tell(|| told(&record));
        findings.mix(record.received_at.cast_unsigned());
        if let Some(block) = record.block() {
            let (epoch, seq) = (block.block.epoch.0, block.block.seq);
            findings.mix(epoch ^ seq);
            findings.count("blocks logged", 1);
            let seqs = self.logged.entry((record.gateway.clone(), epoch)).or_default();
            findings.expect(!seqs.contains(seq), "1: a block was logged twice", || {
                format!("{epoch:016x}/{seq} at {}", record.position)
            });
            findings.expect(seqs.insert(seq, seq).is_ok(), "5: too many intervals", String::new);
            self.ever.insert((record.gateway.clone(), epoch, seq));
        }
        self.archive.push(record);
    }

    /// Takes what was logged since into the archive.
    fn archive_new(&mut self, findings: &mut Findings) {
        let Some(running) = &self.running else { return };
        let after = self.archive.last().map_or(0, |r| r.position);
        let new = running.shared.tail.after(after, (usize::MAX, usize::MAX));
        findings.expect(
            new.is_some() || running.shared.tail.head() <= after,
            "1: positions of the log are not in one row",
            || format!("after {after}"),
        );
        for record in new.unwrap_or_default() {
            self.keep(record, findings);
        }
        let Some(running) = &self.running else { return };
        if let Ok((used, bound)) = running.worker.log().size() {
            findings.expect(used <= bound, "5: the log is above its bound", || {
                format!("{used} of {bound}")
            });
        }
    }

    /// The log is an older one: forgets what came after.
    fn truncate(&mut self, archived: usize) {
        self.archive.truncate(archived);
        self.logged.clear();
        for record in &self.archive {
            if let Some(block) = record.block() {
                let seqs =
                    self.logged.entry((record.gateway.clone(), block.block.epoch.0)).or_default();
                let seq = block.block.seq;
                seqs.insert(seq, seq).expect("they fitted before");
            }
        }
    }

    /// An ack may name only what is durable in the log.
    fn check_ack(&self, out: &Outgoing, findings: &mut Findings) {
        let number =
            out.topic.gateway.as_str().trim_start_matches("gw-").parse::<usize>().unwrap_or(1);
        let key = crate::edge::key_of(number - 1);
        let Ok(body) = frame::open(&key, Kind::Ack, &out.frame) else { return };
        let Ok(ack) = Ack::decode(body) else { return };
        for epoch in &ack.epochs {
            let ranges = epoch.ranges.iter().map(|r| (r.from, r.to));
            let named: Intervals =
                [(1, epoch.upto)].into_iter().filter(|r| r.1 > 0).chain(ranges).collect();
            let none = Intervals::new();
            let logged =
                self.logged.get(&(ack.gateway.to_string(), epoch.epoch.0)).unwrap_or(&none);
            let more = named.without(logged);
            findings.expect(more.is_empty(), "2: an ack names what is not in the log", || {
                format!("{:016x} {more:?}", epoch.epoch.0)
            });
        }
        findings.count("acks", 1);
    }

    /// Lets the log's disk be full, or not any more.
    pub(crate) fn fill_disk(&mut self, is_full: bool) {
        if let Some(running) = &mut self.running {
            running.worker.keep_free(if is_full { FULL_BYTES } else { 0 });
        }
    }

    /// Copies log and state as they lie.
    pub(crate) fn back_up(&mut self) -> Result<()> {
        let folder = self.disk.copy("backup")?;
        self.backup = Some(Backup { folder, archived: self.archive.len() });
        Ok(())
    }

    /// Puts the backup back: the log alone, or state database and quarantine with it.
    pub(crate) fn restore(
        &mut self,
        is_whole: bool,
        broker: &mut Broker,
        dice: &mut Dice,
        findings: &mut Findings,
    ) -> Result<()> {
        let Some(backup) = self.backup.take() else { return Ok(()) };
        if !is_whole && !LogReader::beside(&backup.folder.join("log"))?.is_whole()? {
            return Ok(());
        }
        self.end(broker, dice, findings)?;
        let here = self.disk.dir();
        if is_whole {
            self.disk.exchange(&backup.folder)?;
        } else {
            std::fs::remove_dir_all(here.join("log"))?;
            crate::disk::copy_tree(&backup.folder.join("log"), &here.join("log"))?;
        }
        self.truncate(backup.archived);
        findings.count(if is_whole { "restores, log and state" } else { "restores, log alone" }, 1);
        self.was_log_put_back |= !is_whole;
        Ok(())
    }
}
