//! `davy-ingest`: arguments, tracing, exit codes. Everything else is in the library.

use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Parser, Subcommand};
use ingest::backup::{self, Wishes};
use ingest::cli::{self, Desk, JournalOrder, Order, QuarantineOrder, StoreOrder};
use ingest::clock::{Clock as _, SystemClock};
use ingest::config::Config;
use ingest::quarantine::{self, Quarantine};
use ingest::run::{self, RunError};
use ingest::state::State;
use spool::LogReader;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Blocks are made in one thread and let go in another, which the system's allocator pays for with locks and mprotect
/// (docs/PERFORMANCE.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The centre of Davy: receives the gateways' readings, keeps them, judges them, raises alarms, serves the console.
///
/// First time: copy ingest.example.toml to ingest.toml, `davy-ingest check`, `davy-ingest seed registry.toml`,
/// `davy-ingest gateway add NAME --site SITE` (prints what the gateway's configuration needs), `davy-ingest run`.
/// All commands but `run` may be used beside a running service, except `restore`, `journal replay` and `store migrate`.
#[derive(Debug, Parser)]
#[command(name = "davy-ingest", version)]
struct Arguments {
    /// Configuration file; every key is explained in ingest.example.toml
    #[arg(long, short, global = true, default_value = "ingest.toml", value_name = "FILE")]
    config: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the service until SIGTERM or SIGINT
    Run,
    /// Check the configuration and everything it names; prints every problem at once
    Check {
        /// Try the broker too: who gets in, QoS, long frames, a slow subscriber (2,000 messages on topics of its own)
        #[arg(long)]
        broker: bool,
    },
    /// Back the log, the state database and the quarantine up into a new folder, beside the running service
    Backup {
        /// The folder; it must not exist
        folder: PathBuf,
    },
    /// Put a backup back; stop the service first
    Restore {
        /// The backup's folder
        folder: PathBuf,
        /// Set the log that is there aside
        #[arg(long)]
        replace: bool,
        /// Set the state database that is there aside and put the backup's in its place: what people did since is not in it
        #[arg(long)]
        with_state: bool,
    },
    /// The verdict journal: as it was written, or made anew from the log (stop the service first)
    #[command(subcommand)]
    Journal(JournalOrder),
    /// What was set aside: list, show, replay, discard, export
    #[command(subcommand)]
    Quarantine(QuarantineOrder),
    /// History on disk: check it, copy it, write it to files, move it to another store
    #[command(subcommand)]
    Store(StoreOrder),
    #[command(flatten)]
    Order(Order),
}

/// Exit code of a bad configuration or command (EX_USAGE).
const EXIT_USAGE: u8 = 64;
/// Exit code of a disk, a database or a file that does not serve (EX_IOERR).
const EXIT_IO: u8 = 74;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    start_tracing();
    let config = match Config::load(&arguments.config) {
        Ok(config) => config,
        Err(error) => return refuse(&error, EXIT_USAGE),
    };
    // One provider only is compiled in; a second installation would be a fault of a test that links this.
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        tracing::debug!("a TLS provider is installed already");
    }
    let done = match arguments.command {
        Command::Run => run::until_signal(config, Arc::new(SystemClock)),
        Command::Check { broker } => check(&config, broker),
        Command::Backup { folder } => back_up(&folder, &config),
        Command::Restore { folder, replace, with_state } => {
            restore(&folder, Wishes { replace, with_state }, &config)
        }
        Command::Journal(order) => journal(order, &config),
        Command::Quarantine(order) => quarantine(order, &config),
        Command::Store(order) => {
            let (mut out, mut err) = (std::io::stdout(), std::io::stderr());
            cli::store::run(order, &config, &mut out, &mut err).map_err(RunError::StoreOrder)
        }
        Command::Order(order) => carry_out(order, &config),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is_usage() => refuse(&error, EXIT_USAGE),
        Err(error) => refuse(&error, EXIT_IO),
    }
}

/// Looks at what the configuration names, and tries the broker where that is asked for.
fn check(config: &Config, broker: bool) -> Result<(), RunError> {
    let mut output = std::io::stdout().lock();
    run::check(config, &mut output)?;
    if broker { run::runtime()?.block_on(run::check_broker(config, &mut output)) } else { Ok(()) }
}

/// Runs a command of the state database.
fn carry_out(order: Order, config: &Config) -> Result<(), RunError> {
    let runtime = run::runtime()?;
    runtime.block_on(async {
        let paths = run::Paths::of(config)?;
        let state = State::open(&paths.state).await.map_err(RunError::State)?;
        let snippet = run::gateway_snippet(config);
        let mut desk = Desk {
            state: &state,
            now_ms: SystemClock.now_ms(),
            gateway_snippet: &snippet,
            input: std::io::stdin().lock(),
            output: std::io::stdout(),
        };
        cli::run(order, &mut desk).await.map_err(RunError::Order)
    })
}

/// Makes a backup and says where it lies.
fn back_up(folder: &Path, config: &Config) -> Result<(), RunError> {
    let runtime = run::runtime()?;
    let paths = run::Paths::of(config)?;
    let mut out = std::io::stdout();
    let taken = backup::take(&paths, folder, SystemClock.now_ms(), &mut out);
    let manifest = runtime.block_on(taken).map_err(RunError::Backup)?;
    let log = manifest.log;
    let bytes: u64 = manifest.files.iter().map(|part| part.bytes).sum();
    let mut text = format!(
        "backup in {}: log from {} to {} ({} records), {} evaluator(s), {} MiB\n",
        folder.display(),
        log.first,
        log.last,
        log.records,
        manifest.evaluators.len(),
        bytes >> 20
    );
    if log.damaged > 0 {
        text.push_str(&format!(
            "{} record(s) of the log are damaged and were so before; the service takes them out and asks for them again\n",
            log.damaged
        ));
    }
    out.write_all(text.as_bytes()).map_err(RunError::Print)
}

/// Puts a backup back.
fn restore(folder: &Path, wishes: Wishes, config: &Config) -> Result<(), RunError> {
    let runtime = run::runtime()?;
    let paths = run::Paths::of(config)?;
    let _lock = run::Lock::take(&paths.root)?;
    let mut out = std::io::stdout();
    let restored = backup::restore(&paths, folder, wishes, SystemClock.now_ms(), &mut out);
    runtime.block_on(restored).map_err(RunError::Backup)
}

/// Prints a verdict journal.
fn journal(order: JournalOrder, config: &Config) -> Result<(), RunError> {
    let runtime = run::runtime()?;
    runtime.block_on(async {
        let paths = run::Paths::of(config)?;
        // Replay opens the log as its owner does.
        let _lock = match order {
            JournalOrder::Print { .. } => None,
            JournalOrder::Replay { .. } => Some(run::Lock::take(&paths.root)?),
        };
        let state = State::open(&paths.state).await.map_err(RunError::State)?;
        let mut output = std::io::stdout();
        let told = cli::journal::run(order, &state, &paths.log, run::catalogue()?, &mut output);
        told.await.map_err(RunError::Order)
    })
}

/// Looks through the quarantine, beside the service.
fn quarantine(order: QuarantineOrder, config: &Config) -> Result<(), RunError> {
    let runtime = run::runtime()?;
    runtime.block_on(async {
        let paths = run::Paths::of(config)?;
        let state = State::open(&paths.state).await.map_err(RunError::State)?;
        let quarantine = Quarantine::open(&paths.root, config.log.quarantine_bytes_max);
        let quarantine = Arc::new(quarantine.map_err(RunError::Quarantine)?);
        // A service that never ran has no log yet.
        let log = paths.log.join("log.db").exists().then(|| LogReader::beside(&paths.log));
        let desk = quarantine::Desk::new(quarantine, log.transpose().map_err(RunError::Log)?);
        let (now, mut output) = (SystemClock.now_ms(), std::io::stdout());
        let told = cli::quarantine::run(order, &desk, &state, now, &mut output);
        told.await.map_err(RunError::Order)
    })
}

/// Text on a terminal, JSON in service.
fn start_tracing() {
    let filter =
        Targets::new().with_default(LevelFilter::INFO).with_target("rumqttc", LevelFilter::ERROR);
    let filter = filter
        .with_target("sqlx", LevelFilter::WARN)
        .with_target("sea_orm_migration", LevelFilter::WARN);
    let registry = tracing_subscriber::registry().with(filter);
    if std::io::stderr().is_terminal() {
        registry.with(tracing_subscriber::fmt::layer().with_writer(std::io::stderr)).init();
    } else {
        let json = tracing_subscriber::fmt::layer().json().with_writer(std::io::stderr);
        registry.with(json).init();
    }
}

fn refuse(error: &dyn std::error::Error, code: u8) -> ExitCode {
    let mut text = format!("davy-ingest: {error}\n");
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!("  because: {cause}\n"));
        source = cause.source();
    }
    // Without a standard error nobody is told, the exit code still says it.
    drop(std::io::stderr().write_all(text.as_bytes()));
    ExitCode::from(code)
}
