//! `davy-ingest`: arguments, tracing, exit codes. Everything else is in the library.

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Parser, Subcommand};
use ingest::cli::{self, Desk, JournalOrder, Order};
use ingest::clock::{Clock as _, SystemClock};
use ingest::config::Config;
use ingest::run::{self, RunError};
use ingest::state::State;
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
/// All commands but `run` may be used beside a running service, except `journal replay`.
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
    Check,
    /// The verdict journal: as it was written, or made anew from the log (stop the service first)
    #[command(subcommand)]
    Journal(JournalOrder),
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
        Command::Check => run::check(&config, &mut std::io::stdout().lock()),
        Command::Journal(order) => journal(order, &config),
        Command::Order(order) => carry_out(order, &config),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is_usage() => refuse(&error, EXIT_USAGE),
        Err(error) => refuse(&error, EXIT_IO),
    }
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

/// Prints a verdict journal.
fn journal(order: JournalOrder, config: &Config) -> Result<(), RunError> {
    let runtime = run::runtime()?;
    runtime.block_on(async {
        let paths = run::Paths::of(config)?;
        let state = State::open(&paths.state).await.map_err(RunError::State)?;
        let mut output = std::io::stdout();
        let told = cli::journal::run(order, &state, &paths.log, run::catalogue()?, &mut output);
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
