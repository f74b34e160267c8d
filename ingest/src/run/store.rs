//! Opens the store that the configuration names.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::RunError;
use super::open::Paths;
use crate::config::StoreConfig;
use crate::store::embedded::{EmbeddedOptions, EmbeddedStore};
use crate::store::influx::{InfluxOptions, InfluxStore, Token};
use crate::store::sink::{LineStore, SinkKind, SinkOptions};
use crate::store::{
    HistoryAnswer, HistoryQuery, HistoryReader, LogRefusals, Position, RefusalSink, Store,
    StoreBatch, StoreError,
};

pub(super) fn open(
    config: &StoreConfig,
    paths: &Paths,
    sink: Arc<dyn RefusalSink>,
    hole_max: Duration,
) -> Result<Box<dyn Store>, RunError> {
    let late_days = days(hole_max);
    match config {
        StoreConfig::Embedded { retention_days } => {
            let options = EmbeddedOptions {
                retention_days: *retention_days,
                ..EmbeddedOptions::new(&paths.store)
            };
            let (store, report) = EmbeddedStore::open(options, sink).map_err(RunError::Store)?;
            if let Some(file) = &report.set_aside {
                tracing::error!(file = %file.display(), "the store's newest file was damaged and set aside; the log writes it again");
            }
            Ok(Box::new(store))
        }
        StoreConfig::Influx { .. } => {
            let options = influx_options(config, &paths.store.join("influx.position"), late_days)?;
            Ok(Box::new(InfluxStore::open(options, sink).map_err(RunError::Store)?))
        }
        StoreConfig::Sink { .. } => {
            let options = line(config, &paths.store, late_days)?;
            Ok(Box::new(LineStore::open(options, sink).map_err(RunError::Store)?))
        }
        StoreConfig::Discard => Ok(Box::new(Discard::default())),
    }
}

pub(super) fn days(hole_max: Duration) -> u32 {
    u32::try_from(hole_max.as_secs() / 86_400).unwrap_or(u32::MAX)
}

fn token(path: &Path) -> Result<Token, RunError> {
    Token::from_file(path).map_err(|source| RunError::Secret { path: path.to_owned(), source })
}

/// Where the configured InfluxDB 2 is, with its position in the file `cursor`; its token is read from its file.
///
/// # Errors
/// [`RunError::Secret`]; [`RunError::Store`] where another store is configured.
pub fn influx_options(
    config: &StoreConfig,
    cursor: &Path,
    late_days: u32,
) -> Result<InfluxOptions, RunError> {
    let StoreConfig::Influx {
        url,
        org,
        bucket,
        token_file,
        create_bucket,
        retention_days,
        rollups,
    } = config
    else {
        let reason = "[store] kind is not \"influx\"".to_owned();
        return Err(RunError::Store(StoreError::Query { reason }));
    };
    Ok(InfluxOptions {
        create_bucket: *create_bucket,
        retention_days: *retention_days,
        rollups: *rollups,
        late_days,
        ..InfluxOptions::new(url, org, bucket, token(token_file)?, cursor.to_owned())
    })
}

/// Options of another line-protocol database; only for that kind.
fn line(config: &StoreConfig, store: &Path, late_days: u32) -> Result<SinkOptions, RunError> {
    let StoreConfig::Sink { kind, url, database, login, create_database, retention_days } = config
    else {
        unreachable!("asked for a sink only")
    };
    let file = match kind {
        SinkKind::Influx1 => "influxdb1.position",
        SinkKind::Victoria => "victoriametrics.position",
    };
    let login = match login {
        Some((user, file)) => Some((user.clone(), token(file)?)),
        None => None,
    };
    Ok(SinkOptions {
        login,
        create_database: *create_database,
        retention_days: *retention_days,
        late_days,
        ..SinkOptions::new(*kind, url, database, store.join(file))
    })
}

/// What `davy-ingest check` says about the store: asks it, changes nothing. A problem is an `Err`, with how to mend it; a
/// database that is away is none, because the service starts without it.
///
/// # Errors
/// The problem in words.
pub fn ask(config: &StoreConfig, store: &Path, hole_max: Duration) -> Result<Vec<String>, String> {
    let late_days = days(hole_max);
    let words = |error: RunError| crate::chain_of(&error);
    let sink = Arc::new(LogRefusals);
    let (version, created, warnings) = match config {
        StoreConfig::Embedded { .. } | StoreConfig::Discard => return Ok(Vec::new()),
        StoreConfig::Influx { .. } => {
            let options = influx_options(config, &store.join("influx.position"), late_days);
            let options = options.map_err(words)?;
            let options = InfluxOptions { only_look: true, ..options };
            let asked = InfluxStore::open(options, sink).and_then(|mut store| store.check());
            match told(asked)? {
                Ok(found) => (found.version, found.created, found.warnings),
                Err(away) => return Ok(vec![away]),
            }
        }
        StoreConfig::Sink { database, .. } => {
            let options = line(config, store, late_days).map_err(words)?;
            let options = SinkOptions { only_look: true, ..options };
            let asked = LineStore::open(options, sink).and_then(|mut store| store.check());
            match told(asked)? {
                Ok(found) => {
                    let created = found.created.then(|| database.clone());
                    (found.version, created.into_iter().collect(), found.warnings)
                }
                Err(away) => return Ok(vec![away]),
            }
        }
    };
    let version = version.map(|version| format!("answers, version {version}"));
    let created = created
        .into_iter()
        .map(|name| format!("{name:?} is missing and will be created at the start"));
    let warnings = warnings.into_iter().map(|warning| format!("warning: {warning}"));
    Ok(version.into_iter().chain(created).chain(warnings).collect())
}

/// A refusal is a problem; a database that is away is only said.
fn told<T>(asked: Result<T, StoreError>) -> Result<Result<T, String>, String> {
    match asked {
        Ok(found) => Ok(Ok(found)),
        Err(error @ StoreError::Unavailable { .. }) => Ok(Err(format!(
            "warning: {error}; davy-ingest starts without it and the log keeps the data until it answers"
        ))),
        Err(error) => Err(error.to_string()),
    }
}

/// Keeps nothing: for measuring the pipeline.
#[derive(Debug, Default)]
struct Discard(Option<Position>);

impl Store for Discard {
    fn write(&mut self, batch: &StoreBatch) -> Result<(), StoreError> {
        self.0 = Some(batch.up_to);
        Ok(())
    }

    fn position(&self) -> Result<Option<Position>, StoreError> {
        Ok(self.0)
    }

    fn reset_position(&mut self, position: Position) -> Result<(), StoreError> {
        self.0 = Some(position);
        Ok(())
    }

    fn reader(&self) -> Arc<dyn HistoryReader> {
        Arc::new(NoHistory)
    }

    fn retain(&mut self, _now_ms: i64) -> Result<(), StoreError> {
        Ok(())
    }
}

#[derive(Debug)]
struct NoHistory;

impl HistoryReader for NoHistory {
    fn query(&self, _query: &HistoryQuery) -> Result<HistoryAnswer, StoreError> {
        Err(StoreError::Query { reason: "[store] kind = \"discard\" keeps no history".to_owned() })
    }
}
