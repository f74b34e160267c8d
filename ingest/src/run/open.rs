//! Opens what the service keeps, in the order in which one needs the other, and writes the start into the log.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use rules::Catalogue;
use spool::{Log, LogOptions};
use tokio::sync::Notify;
use tokio::sync::mpsc::Sender;
use wire::block::Link;
use wire::{Epoch, GatewayName};

use super::desk::Desk;
use super::selfwatch::Shown;
use super::{Lock, RunError};
use crate::api::{ApiConfig, Busy, Hub, Parts as ApiParts, SetupToken};
use crate::backup::UNFINISHED;
use crate::clock::Clock;
use crate::completeness::Completeness;
use crate::config::{Config, StoreConfig};
use crate::evaluate::Board;
use crate::live::Live;
use crate::log::lineage::LINEAGE_KEY;
use crate::log::record::CentreRecord;
use crate::log::writer::WriterStats;
use crate::log::{Follower, Lineage, Progress, Shared, tail};
use crate::metrics::Metrics;
use crate::quarantine::{Quarantine, RefusedBlocks};
use crate::receive::gateway::{HELD_PREFIX, HeldBlock, KEPT_PREFIX, Kept, held_from};
use crate::receive::mqtt::Sessions;
use crate::receive::worker::{Outgoing, Works};
use crate::receive::{GatewayState, Receiver};
use crate::registry::seed::Seed;
use crate::registry::{Registrar, Registry};
use crate::state::State;
use crate::store::Store;
use crate::store::sink::SinkKind;

/// What the records of starts may use beyond the log's bound: thousands of starts on a full log.
const START_BYTES: u64 = 1 << 20;

/// Files and folders below the state folder.
#[derive(Debug, Clone)]
pub struct Paths {
    /// The folder itself.
    pub root: PathBuf,
    /// The state database.
    pub state: PathBuf,
    /// Folder of the durable log.
    pub log: PathBuf,
    /// Folder of the embedded store, or of the position in another one.
    pub store: PathBuf,
}

impl Paths {
    /// Makes the folders, for this user only.
    ///
    /// # Errors
    /// [`RunError::Folder`].
    pub fn of(config: &Config) -> Result<Self, RunError> {
        let root = config.state_dir.clone();
        let paths = Self {
            state: root.join("state.db"),
            log: root.join("log"),
            store: root.join("store"),
            root,
        };
        for folder in [&paths.root, &paths.log, &paths.store] {
            make(folder)?;
        }
        Ok(paths)
    }
}

fn make(folder: &Path) -> Result<(), RunError> {
    use std::os::unix::fs::DirBuilderExt as _;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|source| RunError::Folder { path: folder.to_owned(), source })
}

/// The rules.
///
/// # Errors
/// When the built-in catalogue does not load, which a test excludes.
pub fn catalogue() -> Result<Arc<Catalogue>, RunError> {
    Catalogue::built_in().map(Arc::new).map_err(RunError::Catalogue)
}

/// What a gateway's configuration needs besides its name and key.
#[must_use]
pub fn gateway_snippet(config: &Config) -> String {
    let scheme = if config.broker.tls { "mqtts" } else { "mqtt" };
    format!("[broker]\nurl = \"{scheme}://{}:{}\"\n", config.broker.host, config.broker.port)
}

/// What the pages, the facts and the threads share.
#[derive(Debug, Clone)]
pub(super) struct Parts {
    pub(super) state: State,
    pub(super) registrar: Arc<Registrar>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) catalogue: Arc<Catalogue>,
    pub(super) board: Arc<Board>,
    pub(super) live: Arc<Live>,
    pub(super) progress: Arc<Progress>,
    pub(super) stats: Arc<WriterStats>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) failing: Arc<AtomicBool>,
    pub(super) facts_recorded: Arc<Notify>,
    pub(super) shared: Arc<Shared>,
    pub(super) watching: Shown,
    pub(super) completeness: Arc<Completeness>,
    pub(super) history: Arc<dyn crate::store::HistoryReader>,
}

/// Everything open, nothing running.
pub(super) struct Opened {
    pub(super) lock: Lock,
    pub(super) works: Works,
    pub(super) receiver: Receiver,
    pub(super) counting: (Arc<Completeness>, Follower),
    pub(super) store: Box<dyn Store>,
    pub(super) followers: [Follower; 2],
    pub(super) api: ApiParts,
    pub(super) parts: Parts,
}

/// Opens everything.
pub(super) fn open(
    runtime: &tokio::runtime::Runtime,
    config: &Config,
    clock: Arc<dyn Clock>,
    (acker, outbox): (Arc<Sessions>, Sender<Outgoing>),
    busy: &Busy,
) -> Result<Opened, RunError> {
    let busy = |with: &'static str| busy.store(Arc::new(with));
    let now = clock.now_ms();
    let paths = Paths::of(config)?;
    let lock = Lock::take(&paths.root)?;
    if let Ok(backup) = std::fs::read_to_string(paths.root.join(UNFINISHED)) {
        return Err(RunError::Unfinished { backup });
    }
    busy("the state database and the registry");
    let state = runtime.block_on(open_state(config, &paths, now))?;
    let registry = runtime.block_on(state.load_registry()).map_err(RunError::State)?;
    let registrar = Arc::new(Registrar::new(registry));
    let quarantine = Quarantine::open(&paths.root, config.log.quarantine_bytes_max);
    let quarantine = Arc::new(quarantine.map_err(RunError::Quarantine)?);
    spool::fail_point!("start.state");
    busy("the durable log");
    let log = open_log(config.log.bytes_max, &paths.log, now)?;
    spool::fail_point!("start.log");
    let (mut log, receiver, shared) = begin(log, draw()?, now)?;
    log.bound(config.log.bytes_max);
    let counting = count(&mut log, &shared, &registrar.current(), now)?;
    let followers = [0, 1].map(|_| log.reader().map(|r| Follower::new(r, Arc::clone(&shared))));
    let [one, two] = followers;
    let followers = [one.map_err(RunError::Log)?, two.map_err(RunError::Log)?];
    let refused = RefusedBlocks::new(Arc::clone(&quarantine), log.reader().map_err(RunError::Log)?);
    busy("the store");
    let store = super::store::open(&config.store, &paths, Arc::new(refused), config.log.hole_max)?;
    let hub = Arc::new(Hub::new(now));
    let parts = Parts {
        state: state.clone(),
        registrar: Arc::clone(&registrar),
        clock: Arc::clone(&clock),
        catalogue: catalogue()?,
        board: Arc::default(),
        live: Arc::new(Live::new(Some(Arc::clone(&hub)))),
        progress: Arc::default(),
        stats: Arc::default(),
        metrics: Arc::default(),
        failing: Arc::default(),
        facts_recorded: Arc::default(),
        shared: Arc::clone(&shared),
        watching: Shown::default(),
        completeness: Arc::clone(&counting.0),
        history: store.reader(),
    };
    parts.metrics.started_at.set(now.div_euclid(1_000));
    let works = Works {
        log,
        shared,
        progress: Arc::clone(&parts.progress),
        quarantine: Arc::clone(&quarantine),
        live: Arc::clone(&parts.live),
        registrar: Arc::clone(&registrar),
        clock: Arc::clone(&clock),
        metrics: Arc::clone(&parts.metrics),
        failing: Arc::clone(&parts.failing),
        acker,
        outbox,
        gateway_quota: config.log.gateway_bytes_max,
        hole_max_ms: i64::try_from(config.log.hole_max.as_millis()).unwrap_or(i64::MAX),
    };
    let desk = Desk::new(&parts, word_of(&config.store));
    let reader = works.log.reader().map_err(RunError::Log)?;
    let quarantine = Arc::new(crate::quarantine::Desk::new(quarantine, Some(reader)));
    // What somebody decided just before a kill.
    if let Err(error) = runtime.block_on(quarantine.audit(&parts.state)) {
        tracing::error!(error = %crate::chain_of(&error), "acts on the quarantine could not be put into the audit journal; the next act tries again");
    }
    let api = ApiParts {
        state,
        registrar,
        clock,
        history: Arc::clone(&parts.history),
        quarantine,
        sources: Arc::new(desk),
        rules: Arc::clone(&parts.catalogue),
        hub,
        facts_recorded: Arc::clone(&parts.facts_recorded),
        setup: runtime.block_on(setup(&parts.state, &mut std::io::stdout()))?,
        config: ApiConfig {
            tls: config.http.behind_tls,
            gateway_snippet: gateway_snippet(config),
            ..ApiConfig::default()
        },
    };
    Ok(Opened { lock, works, receiver, counting, store, followers, api, parts })
}

fn word_of(store: &StoreConfig) -> &'static str {
    match store {
        StoreConfig::Embedded { .. } => "embedded",
        StoreConfig::Influx { .. } => "influx",
        StoreConfig::Sink { kind: SinkKind::Influx1, .. } => "influxdb1",
        StoreConfig::Sink { kind: SinkKind::Victoria, .. } => "victoriametrics",
        StoreConfig::Discard => "discard",
    }
}

async fn open_state(config: &Config, paths: &Paths, now: i64) -> Result<State, RunError> {
    let state = State::open(&paths.state).await.map_err(RunError::State)?;
    if let Some(file) = &config.seed {
        let seed = Seed::load(file).map_err(RunError::Seed)?;
        let report = state.apply_seed(&seed, now).await.map_err(RunError::Registry)?;
        if !report.is_unchanged() {
            tracing::info!(
                sites = report.sites_added.len() + report.sites_changed.len(),
                facts = report.facts.len(),
                "the registry seed changed the registry"
            );
        }
    }
    Ok(state)
}

/// While no user exists: a one-time token for the set-up page, printed on the terminal of whoever runs the service. It
/// does not go through the logs, which are collected and kept.
async fn setup(state: &State, out: &mut (impl Write + Send)) -> Result<SetupToken, RunError> {
    if !state.setup_needed().await.map_err(RunError::State)? {
        return Ok(SetupToken::closed());
    }
    let (setup, token) = SetupToken::draw().map_err(RunError::Random)?;
    let text = format!(
        "no user exists yet: open the console and make the first administrator with the\nsetup token {}\n",
        token.reveal()
    );
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(RunError::Print)?;
    Ok(setup)
}

fn open_log(bytes_max: u64, folder: &Path, now: i64) -> Result<Log, RunError> {
    // The start itself is a record, and a disk without the usual reserve or a log without room is a state, not a failure:
    // that record may go beyond both.
    let bytes_max = bytes_max.saturating_add(START_BYTES);
    let options = LogOptions { bytes_max, now_ms: now, free_reserve_bytes: 0 };
    let (log, report) = Log::open(folder, &options).map_err(RunError::Log)?;
    if let Some((file, reason)) = &report.set_aside {
        tracing::error!(file = %file.display(), reason, salvaged = report.salvaged_records, lost_blocks = report.lost_blocks,
            lost_sets = report.lost_sets, "the durable log was damaged: what could be read was copied, gateways send the rest again if they still have it");
    }
    Ok(log)
}

/// Draws the log id of a start.
fn draw() -> Result<u64, RunError> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(RunError::Random)?;
    Ok(u64::from_le_bytes(bytes))
}

/// Restores the receiver from the log and logs this start, whose id was drawn for it.
///
/// # Errors
/// [`RunError`] where the log cannot be read or written.
pub fn begin(
    mut log: Log,
    log_id: u64,
    now: i64,
) -> Result<(Log, Receiver, Arc<Shared>), RunError> {
    let mut lineage = log
        .get(LINEAGE_KEY)
        .map_err(RunError::Log)?
        .map_or_else(Lineage::default, |b| Lineage::decode(&b));
    let mut receiver = Receiver::new(log_id, restore(&log)?);
    let mut txn = log.begin();
    let position = receiver.log_centre(&mut txn, CentreRecord::Start { log_id }, now);
    lineage.start(log_id, position);
    txn.put(LINEAGE_KEY, Some(&lineage.encode()));
    receiver.seal(&mut txn);
    spool::fail_point!("start.id.before");
    txn.commit().map_err(RunError::Log)?;
    spool::fail_point!("start.id.after");
    log.keep_free(LogOptions::default().free_reserve_bytes);
    let effects = receiver.committed();
    let shared = Arc::new(Shared::new(position - 1, lineage, tail::SAMPLES_MAX));
    shared.tail.push(effects.records);
    tracing::info!(
        log_id = format!("{log_id:016x}"),
        position,
        gateways = receiver.gateways().count(),
        "the durable log is open"
    );
    Ok((log, receiver, shared))
}

/// What came of each site, with the follower that reads on for it.
fn count(
    log: &mut Log,
    shared: &Arc<Shared>,
    registry: &Arc<Registry>,
    now: i64,
) -> Result<(Arc<Completeness>, Follower), RunError> {
    let reader = log.reader().map_err(RunError::Log)?;
    let mut follower = Follower::new(reader, Arc::clone(shared));
    let counted = Completeness::open(log, &mut follower, registry, now);
    Ok((Arc::new(counted.map_err(RunError::Writer)?), follower))
}

/// The end of a gateway's chain in the log, for the epoch that follows it.
pub(super) fn tail_of(works: &Works, receiver: &Receiver, name: &GatewayName) -> Option<Link> {
    let tail = receiver.gateway(name)?.kept.chain.tail()?;
    let sets = works.log.epoch(name.as_str(), tail);
    let last = sets.map_or(0, |sets| sets.covered.max().max(sets.logged.max()));
    Some(Link { epoch: Epoch(tail), last, gateway: None })
}

/// What the log kept of each gateway.
fn restore(log: &Log) -> Result<Vec<(GatewayName, GatewayState)>, RunError> {
    let mut held: std::collections::HashMap<String, Vec<HeldBlock>> =
        std::collections::HashMap::new();
    for (key, value) in log.scan(HELD_PREFIX.as_bytes()).map_err(RunError::Log)? {
        if let Some((gateway, block)) = held_from(&key, &value) {
            held.entry(gateway).or_default().push(block);
        }
    }
    let mut gateways = Vec::new();
    for (key, value) in log.scan(KEPT_PREFIX.as_bytes()).map_err(RunError::Log)? {
        let name = String::from_utf8_lossy(&key[KEPT_PREFIX.len()..]).into_owned();
        let kept = Kept::decode(&value)
            .map_err(|source| RunError::Kept { gateway: name.clone(), source })?;
        let held = held.remove(&name).unwrap_or_default();
        if let Ok(name) = GatewayName::new(name) {
            gateways.push((name, GatewayState::restored(kept, held)));
        }
    }
    Ok(gateways)
}

#[cfg(test)]
mod tests {
    use super::*;

    // Goal: a log without room is a state, not a failure: the centre starts on it, so that the store can take what fills it.
    #[test]
    fn a_start_on_a_full_log_succeeds() {
        let folder = tempfile::tempdir().unwrap();
        let bound = 256 << 10;
        let options = LogOptions { bytes_max: bound, free_reserve_bytes: 0, now_ms: 1 };
        let (mut log, _) = Log::open(folder.path(), &options).unwrap();
        let full = loop {
            let mut txn = log.begin();
            txn.append(&spool::NewRecord {
                kind: crate::log::record::kind::TICK,
                gateway: "",
                epoch: 0,
                seq: 0,
                received_at: 1,
                meta: &[],
                bytes: &[0; 4_000],
            });
            match txn.commit() {
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        assert!(matches!(full, spool::Error::Full { .. }), "{full:?}");
        drop(log);
        for _ in 0..20 {
            let log = open_log(bound, folder.path(), 2).unwrap();
            let (log, _, shared) = begin(log, 7, 2).unwrap();
            assert_eq!(log.last_position(), shared.tail.head());
        }
    }
}
