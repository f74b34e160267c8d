//! Opens what the service keeps, in the order in which one needs the other, and writes the start into the log.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use rules::Catalogue;
use spool::{Log, LogOptions};
use tokio::sync::Notify;
use tokio::sync::mpsc::Sender;
use wire::GatewayName;

use super::RunError;
use super::desk::Desk;
use super::hold::Hold;
use crate::api::{ApiConfig, Hub, Parts as ApiParts, SetupToken};
use crate::clock::Clock;
use crate::config::{Config, StoreConfig};
use crate::evaluate::Board;
use crate::live::Live;
use crate::log::record::CentreRecord;
use crate::log::writer::WriterStats;
use crate::log::{Follower, Lineage, Progress, Shared, tail};
use crate::metrics::Metrics;
use crate::quarantine::{Quarantine, RefusedBlocks};
use crate::receive::gateway::{HELD_PREFIX, HeldBlock, KEPT_PREFIX, Kept, held_from};
use crate::receive::mqtt::Sessions;
use crate::receive::worker::{Outgoing, Works};
use crate::receive::{GatewayState, Receiver};
use crate::registry::Registrar;
use crate::registry::seed::Seed;
use crate::state::State;
use crate::store::Store;

/// Where the lineage of starts lies in the log.
const LINEAGE_KEY: &[u8] = b"lineage";

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
}

/// Everything open, nothing running.
pub(super) struct Opened {
    pub(super) hold: Hold,
    pub(super) works: Works,
    pub(super) receiver: Receiver,
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
) -> Result<Opened, RunError> {
    let now = clock.now_ms();
    let paths = Paths::of(config)?;
    // Before anything is written: what another process has must not be touched.
    let hold = Hold::take(&paths.root)?;
    let state = runtime.block_on(open_state(config, &paths, now))?;
    let registry = runtime.block_on(state.load_registry()).map_err(RunError::State)?;
    let registrar = Arc::new(Registrar::new(registry));
    let quarantine = Quarantine::open(&paths.root, config.log.quarantine_bytes_max);
    let quarantine = Arc::new(quarantine.map_err(RunError::Quarantine)?);
    spool::fail_point!("start.state");
    let log = open_log(config, &paths, now)?;
    spool::fail_point!("start.log");
    let (log, receiver, shared) = begin(log, now)?;
    let followers = [0, 1].map(|_| log.reader().map(|r| Follower::new(r, Arc::clone(&shared))));
    let [one, two] = followers;
    let followers = [one.map_err(RunError::Log)?, two.map_err(RunError::Log)?];
    let refused = RefusedBlocks::new(Arc::clone(&quarantine), log.reader().map_err(RunError::Log)?);
    let store = super::store::open(&config.store, &paths, Arc::new(refused))?;
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
    };
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
    let desk = Desk::new(&parts, quarantine, word_of(&config.store));
    let api = ApiParts {
        state,
        registrar,
        clock,
        history: store.reader(),
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
    Ok(Opened { hold, works, receiver, store, followers, api, parts })
}

fn word_of(store: &StoreConfig) -> &'static str {
    match store {
        StoreConfig::Embedded { .. } => "embedded",
        StoreConfig::Influx { .. } => "influx",
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

fn open_log(config: &Config, paths: &Paths, now: i64) -> Result<Log, RunError> {
    // The start itself is a record, and a disk without the usual reserve is a state, not a failure: that record may go
    // into the reserve.
    let options =
        LogOptions { bytes_max: config.log.bytes_max, now_ms: now, free_reserve_bytes: 0 };
    let (log, report) = Log::open(&paths.log, &options).map_err(RunError::Log)?;
    if let Some((file, reason)) = &report.set_aside {
        tracing::error!(file = %file.display(), reason, salvaged = report.salvaged_records, lost_blocks = report.lost_blocks,
            lost_sets = report.lost_sets, "the durable log was damaged: what could be read was copied, gateways send the rest again if they still have it");
    }
    Ok(log)
}

/// Draws the log id of this start, restores the receiver, and logs the start.
fn begin(mut log: Log, now: i64) -> Result<(Log, Receiver, Arc<Shared>), RunError> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(RunError::Random)?;
    let log_id = u64::from_le_bytes(bytes);
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
