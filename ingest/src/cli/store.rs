//! `davy-ingest store`: looks after history on disk. Sizes and times in UTC; long work tells how far it is on standard
//! error. `check`, `backup` and `export` run beside the service; `migrate` into the embedded store needs it stopped.

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};

use crate::config::{Config, ConfigError, StoreConfig};
use crate::run::{self, Lock, Paths, RunError, influx_options};
use crate::store::embedded::{self, EmbeddedOptions, EmbeddedStore, EmbeddedView};
use crate::store::export::{self, ExportError, Format};
use crate::store::influx::{InfluxOptions, InfluxSource, InfluxStore};
use crate::store::migrate::{MigrateError, Migration};
use crate::store::source::{Filter, Source, Step, date};
use crate::store::{LogRefusals, Store, StoreError};

/// Differences and problems printed at most.
const LINES_MAX: usize = 100;
const DISCARD: &str = "[store] kind = \"discard\" keeps nothing";
const SINK: &str =
    "[store]: this kind of database is written to only; use its own tools for its history";
/// Bytes collected before they are written to a file.
const BUFFER_BYTES: usize = 1 << 20;

/// What to do with the history store that the configuration names.
#[derive(Debug, Subcommand)]
pub enum StoreOrder {
    /// Read every byte and say exactly what is damaged, what that costs and what to do; changes nothing
    ///
    /// Embedded store: checksums, decoding, order and number of samples, summaries against samples, for every file. Runs
    /// beside the service. InfluxDB: whether address, token, organisation, bucket and retention are as configured.
    /// Ends with exit code 74 if anything is damaged or refused.
    Check,
    /// Copy the embedded store into a new folder while it is in use
    ///
    /// The copy is a store of its own: to restore, stop the service and put it in the place of state_dir/store. Together
    /// with the durable log, copy the log first: `davy-ingest backup`, which leaves the store out, and then this.
    Backup {
        /// Folder to make; must not exist
        dir: PathBuf,
    },
    /// Write history to a CSV or Parquet file: site, device, quantity, unit, time, value, quality, reason
    #[command(after_help = "Examples:
  davy-ingest store export november.parquet --from 2026-11-01 --to 2026-12-01
  davy-ingest store export - --site 91530000X --device incomer-1 --quantity p_total > load.csv

Rows are sorted by day, site, device, quantity and time. Bad and stale samples have no value. What cannot be read is
named on standard error and left out.")]
    Export(ExportOrder),
    /// Copy history from another store into this one, or bring old day files up to date
    ///
    /// Without --from: rewrites day files of older versions of the embedded store in the present format.
    #[command(after_help = "Examples:
  from the embedded store to InfluxDB (new.toml names it in [store]; may run beside the service of new.toml)
    davy-ingest --config new.toml store migrate --from /var/lib/davy/store
  from InfluxDB to the embedded store (stop the service of new.toml first)
    davy-ingest --config new.toml store migrate --from old.toml
  a damaged day from a backup
    davy-ingest store migrate --from /backup/store --since 2026-11-23 --until 2026-11-24

Day by day; each day is counted in the target afterwards. A migration that broke off goes on when the same command is
started again, and doing a day twice changes nothing: the last write stands.")]
    Migrate(MigrateOrder),
}

/// Kinds of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// Comma-separated text, times as ms and ISO 8601
    Csv,
    /// Apache Parquet, Snappy
    Parquet,
}

/// What to export.
#[derive(Debug, Args)]
pub struct ExportOrder {
    /// File to write, `-` for standard output; it appears when it is whole
    file: PathBuf,
    /// csv or parquet; by default what the file's name ends with
    #[arg(long)]
    format: Option<Kind>,
    /// Only this site; may be given several times
    #[arg(long, value_name = "CODE")]
    site: Vec<String>,
    /// Only this device; may be given several times
    #[arg(long, value_name = "NAME")]
    device: Vec<String>,
    /// Only this quantity; may be given several times
    #[arg(long, value_name = "NAME")]
    quantity: Vec<String>,
    /// First instant: a day (UTC), an ISO 8601 time with zone, or ms since 1970
    #[arg(long, value_name = "TIME", value_parser = instant)]
    from: Option<i64>,
    /// End, exclusive, in the same forms
    #[arg(long, value_name = "TIME", value_parser = instant)]
    to: Option<i64>,
}

/// What to migrate.
#[derive(Debug, Args)]
pub struct MigrateOrder {
    /// Folder of an embedded store or of its backup, or a configuration file whose [store] is read
    #[arg(long, value_name = "FOLDER|FILE")]
    from: Option<PathBuf>,
    /// First instant to copy: a day (UTC), an ISO 8601 time with zone, or ms since 1970
    #[arg(long, value_name = "TIME", value_parser = instant)]
    since: Option<i64>,
    /// End, exclusive, in the same forms
    #[arg(long, value_name = "TIME", value_parser = instant)]
    until: Option<i64>,
}

/// Why a command failed; its text is for the person at the terminal.
#[derive(Debug, thiserror::Error)]
pub enum StoreCliError {
    /// A store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The configuration, or a folder or secret that it names.
    #[error(transparent)]
    Run(#[from] Box<RunError>),
    /// The other configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// An export.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// A migration.
    #[error(transparent)]
    Migrate(#[from] MigrateError),
    /// A file or a terminal.
    #[error("could not write {0}")]
    Write(String, #[source] std::io::Error),
    /// The store is not whole.
    #[error("{0} place(s) of the store are damaged, listed above")]
    Damaged(u64),
    /// The target lacks samples.
    #[error(
        "the target has fewer samples than were read in {0} series and days, listed above; start the command again"
    )]
    Missing(usize),
    /// The database refuses, in words.
    #[error("{0}")]
    Asked(String),
    /// Not for this kind of store.
    #[error("{0}")]
    Kind(&'static str),
}

/// An instant as typed.
fn instant(text: &str) -> Result<i64, String> {
    if let Ok(ms) = text.parse() {
        return Ok(ms);
    }
    if let Ok(at) = text.parse::<jiff::Timestamp>() {
        return Ok(at.as_millisecond());
    }
    let day: Result<jiff::civil::Date, _> = text.parse();
    let day = day.ok().and_then(|day| day.to_zoned(jiff::tz::TimeZone::UTC).ok());
    day.map(|day| day.timestamp().as_millisecond()).ok_or_else(|| {
        "give a day (2026-11-23, UTC), a time (2026-11-23T08:00:00+08:00) or ms since 1970"
            .to_owned()
    })
}

/// Tells on standard error how far a long piece of work is: at most a line per percent.
struct Told<'a> {
    err: &'a mut dyn Write,
    what: &'static str,
    percent: usize,
}

impl Told<'_> {
    fn step(&mut self, step: Step) {
        let percent = step.done * 100 / step.of.max(1);
        if percent > self.percent || step.done == step.of {
            self.percent = percent;
            let line = format!(
                "{} {}  {} of {} days  {} samples\n",
                self.what,
                date(step.day),
                step.done,
                step.of,
                step.samples
            );
            // Who cannot be told does not stop the work.
            self.err.write_all(line.as_bytes()).ok();
        }
    }
}

/// Carries out a command; results go to `out`, progress to `err`.
///
/// # Errors
/// [`StoreCliError`].
pub fn run(
    order: StoreOrder,
    config: &Config,
    out: &mut (impl Write + Send),
    err: &mut impl Write,
) -> Result<(), StoreCliError> {
    let paths = Paths::of(config).map_err(Box::new)?;
    match order {
        StoreOrder::Check => check(config, &paths, out, err),
        StoreOrder::Backup { dir } => {
            need_embedded(config)?;
            let mut told = Told { err, what: "copied", percent: 0 };
            let report = embedded::backup(&paths.store, &dir, &mut |step| told.step(step))?;
            let (files, bytes) = (report.files, report.bytes);
            let position = report.position.map_or(0, |p| p.position);
            say(
                out,
                format!(
                    "{files} day files, {bytes} bytes in {}, up to position {position} of the log\n",
                    dir.display()
                ),
            )
        }
        StoreOrder::Export(order) => export(order, config, &paths, out, err),
        StoreOrder::Migrate(MigrateOrder { from: None, .. }) => {
            need_embedded(config)?;
            let mut told = Told { err, what: "looked at", percent: 0 };
            let upgraded = embedded::upgrade(&paths.store, &mut |step| told.step(step))?;
            say(
                out,
                format!("{upgraded} day files were of an older format, all are up to date now\n"),
            )
        }
        StoreOrder::Migrate(MigrateOrder { from: Some(from), since, until }) => {
            let filter = Filter { from: since, to: until, ..Filter::default() };
            migrate(&from, &filter, config, &paths, out, err)
        }
    }
}

fn say(out: &mut dyn Write, text: String) -> Result<(), StoreCliError> {
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.map_err(|e| StoreCliError::Write("standard output".to_owned(), e))
}

fn need_embedded(config: &Config) -> Result<(), StoreCliError> {
    match config.store {
        StoreConfig::Embedded { .. } => Ok(()),
        StoreConfig::Influx { .. } => Err(StoreCliError::Kind(
            "[store] kind = \"influx\": InfluxDB has its own tools for this (influx backup)",
        )),
        StoreConfig::Sink { .. } => Err(StoreCliError::Kind(SINK)),
        StoreConfig::Discard => Err(StoreCliError::Kind(DISCARD)),
    }
}

fn check(
    config: &Config,
    paths: &Paths,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<(), StoreCliError> {
    if matches!(config.store, StoreConfig::Influx { .. } | StoreConfig::Sink { .. }) {
        let found = run::ask_store(&config.store, &paths.store, config.log.hole_max);
        let lines = found.map_err(StoreCliError::Asked)?;
        return say(out, lines.iter().map(|line| format!("{line}\n")).collect());
    }
    need_embedded(config)?;
    let mut told = Told { err, what: "checked", percent: 0 };
    let report = embedded::check(&paths.store, &mut |step| told.step(step))?;
    let mut text = String::new();
    for problem in report.problems.iter().take(LINES_MAX) {
        let series =
            problem.series.as_ref().map_or(String::new(), |s| format!("  {}", s.join(" / ")));
        let span = problem.span.map_or(String::new(), |(from, to)| {
            let at =
                |t| jiff::Timestamp::from_millisecond(t).map_or(t.to_string(), |t| t.to_string());
            format!("  {} to {}", at(from), at(to))
        });
        text.push_str(&format!(
            "{}{series}{span}\n  {}; {} samples cannot be read\n  {}\n",
            problem.file, problem.what, problem.samples_lost, problem.mend
        ));
    }
    let all = report.problems.len() as u64 + report.more_problems;
    if all > LINES_MAX as u64 {
        text.push_str(&format!("… and {} more\n", all - LINES_MAX as u64));
    }
    for note in &report.notes {
        text.push_str(&format!("note: {note}\n"));
    }
    text.push_str(&format!(
        "{} day files, {} parts, {} samples, and {} samples not yet sealed; position {} of the log\n",
        report.files,
        report.parts,
        report.samples,
        report.head_samples,
        report.position.map_or(0, |p| p.position)
    ));
    if report.is_whole() {
        text.push_str("everything is as it was written\n");
    }
    say(out, text)?;
    if report.is_whole() { Ok(()) } else { Err(StoreCliError::Damaged(all)) }
}

/// The history that a configuration names, to be read.
fn source(config: &Config, folder: &Path) -> Result<Box<dyn Source>, StoreCliError> {
    Ok(match &config.store {
        StoreConfig::Embedded { .. } => Box::new(EmbeddedView::open(folder)?),
        store @ StoreConfig::Influx { .. } => {
            let cursor = folder.join("read.position");
            Box::new(InfluxSource::open(influx_options(store, &cursor, 0).map_err(Box::new)?)?)
        }
        StoreConfig::Sink { .. } => return Err(StoreCliError::Kind(SINK)),
        StoreConfig::Discard => return Err(StoreCliError::Kind(DISCARD)),
    })
}

fn export(
    order: ExportOrder,
    config: &Config,
    paths: &Paths,
    out: &mut (impl Write + Send),
    err: &mut dyn Write,
) -> Result<(), StoreCliError> {
    let is_parquet = order.file.extension().is_some_and(|e| e.eq_ignore_ascii_case("parquet"));
    let format = match order.format {
        Some(Kind::Parquet) => Format::Parquet,
        None if is_parquet => Format::Parquet,
        _ => Format::Csv,
    };
    let mut source = source(config, &paths.store)?;
    let (sites, devices, quantities) = (order.site, order.device, order.quantity);
    let filter = Filter { sites, devices, quantities, from: order.from, to: order.to };
    let is_stdout = order.file == Path::new("-");
    let partial = PathBuf::from(format!("{}.partial", order.file.display()));
    let failed = |e| StoreCliError::Write(partial.display().to_string(), e);
    let target: Box<dyn Write + Send + '_> = if is_stdout {
        Box::new(BufWriter::with_capacity(BUFFER_BYTES, &mut *out))
    } else {
        let file = std::fs::File::create(&partial).map_err(failed)?;
        Box::new(BufWriter::with_capacity(BUFFER_BYTES, file))
    };
    let sink = export::sink(format, target).map_err(failed)?;
    let lines = std::cell::RefCell::new((Told { err, what: "exported", percent: 0 }, 0));
    let report = export::export(
        &mut *source,
        &filter,
        sink,
        &mut |step| lines.borrow_mut().0.step(step),
        &mut |series, damage| {
            let mut lines = lines.borrow_mut();
            let (told, count) = &mut *lines;
            *count += 1;
            if *count <= LINES_MAX && damage.from < damage.to {
                let (from, to) = (damage.from, damage.to);
                let line = format!(
                    "not readable: {}  {from} to {to} ms: {}\n",
                    series.join(" / "),
                    damage.reason
                );
                told.err.write_all(line.as_bytes()).ok();
            }
        },
    )?;
    let text = format!("{} samples of {} days\n", report.samples, report.days);
    if is_stdout {
        lines.borrow_mut().0.err.write_all(text.as_bytes()).ok();
    } else {
        let written = std::fs::File::open(&partial).and_then(|file| file.sync_all());
        written.and_then(|()| std::fs::rename(&partial, &order.file)).map_err(failed)?;
        say(out, text)?;
    }
    if report.damaged > 0 { Err(StoreCliError::Damaged(report.damaged)) } else { Ok(()) }
}

fn migrate(
    from: &Path,
    filter: &Filter,
    config: &Config,
    paths: &Paths,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<(), StoreCliError> {
    let mut source: Box<dyn Source> = if from.is_dir() {
        Box::new(EmbeddedView::open(from)?)
    } else {
        let other = Config::load(from)?;
        let folder = Paths::of(&other).map_err(Box::new)?.store;
        self::source(&other, &folder)?
    };
    // What the service writes meanwhile would not be counted right.
    let _lock = Lock::take(&paths.root).map_err(Box::new)?;
    let sink = std::sync::Arc::new(LogRefusals);
    let mut target: Box<dyn Store> = match &config.store {
        StoreConfig::Embedded { retention_days } => {
            let options = EmbeddedOptions {
                retention_days: *retention_days,
                ..EmbeddedOptions::new(&paths.store)
            };
            Box::new(EmbeddedStore::open(options, sink)?.0)
        }
        store @ StoreConfig::Influx { .. } => {
            // Not the service's own position. Its marks of condensed hours go: it condenses everything anew.
            let cursor = paths.store.join("migrate.position");
            let options = influx_options(store, &cursor, 0).map_err(Box::new)?;
            let options = InfluxOptions { create_bucket: true, rollups: false, ..options };
            let marks = paths.store.join("influx.rollup");
            match std::fs::remove_file(&marks) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                    return Err(StoreCliError::Write(marks.display().to_string(), e));
                }
                _ => {}
            }
            Box::new(InfluxStore::open(options, sink)?)
        }
        StoreConfig::Sink { .. } => return Err(StoreCliError::Kind(SINK)),
        StoreConfig::Discard => return need_embedded(config),
    };
    let name = std::fs::canonicalize(from)
        .map_err(|e| StoreCliError::Write(from.display().to_string(), e))?;
    let name = crc32fast::hash(name.as_os_str().as_encoded_bytes());
    let progress = paths.store.join(format!("migrate-{name:08x}.days"));
    let mut told = Told { err, what: "copied", percent: 0 };
    let migration = Migration {
        source: &mut *source,
        target: &mut *target,
        reopen: &mut || self::source(config, &paths.store).map_err(reason),
        progress: &progress,
        filter,
    };
    let report = migration.run(&mut |step| told.step(step))?;
    let mut text = String::new();
    for (day, series, read, found) in report.missing.iter().take(LINES_MAX) {
        let day = date(*day);
        text.push_str(&format!(
            "{day}  {}: {read} read, {found} in the target\n",
            series.join(" / ")
        ));
    }
    if report.days_before > 0 {
        text.push_str(&format!(
            "{} days were done before; remove {} to do them again\n",
            report.days_before,
            progress.display()
        ));
    }
    text.push_str(&format!(
        "{} samples of {} days copied and counted\n",
        report.samples, report.days
    ));
    say(out, text)?;
    match (report.missing.len(), report.damaged) {
        (0, 0) => Ok(()),
        (0, damaged) => Err(StoreCliError::Damaged(damaged)),
        (missing, _) => Err(StoreCliError::Missing(missing)),
    }
}

/// What went wrong with reading the target, as a store's error.
fn reason(error: StoreCliError) -> StoreError {
    match error {
        StoreCliError::Store(error) => error,
        other => StoreError::Query { reason: crate::chain_of(&other) },
    }
}

#[cfg(test)]
mod tests;
