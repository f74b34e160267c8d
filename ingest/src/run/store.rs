//! Opens the store that the configuration names.

use std::sync::Arc;

use super::RunError;
use super::open::Paths;
use crate::config::StoreConfig;
use crate::secret::Secret;
use crate::store::embedded::{EmbeddedOptions, EmbeddedStore};
use crate::store::influx::{InfluxOptions, InfluxStore};
use crate::store::{
    HistoryAnswer, HistoryQuery, HistoryReader, Position, RefusalSink, Store, StoreBatch,
    StoreError,
};

pub(super) fn open(
    config: &StoreConfig,
    paths: &Paths,
    sink: Arc<dyn RefusalSink>,
) -> Result<Box<dyn Store>, RunError> {
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
            let options = influx_options(config, &paths.store.join("influx.position"))?;
            Ok(Box::new(InfluxStore::open(options, sink).map_err(RunError::Store)?))
        }
        StoreConfig::Discard => Ok(Box::new(Discard::default())),
    }
}

/// Where the configured InfluxDB is; its token is read from its file.
///
/// # Errors
/// [`RunError::Secret`]; [`RunError::Store`] where another store is configured.
pub fn influx_options(
    config: &StoreConfig,
    cursor: &std::path::Path,
) -> Result<InfluxOptions, RunError> {
    let StoreConfig::Influx { url, org, bucket, token_file } = config else {
        let reason = "[store] kind is not \"influx\"".to_owned();
        return Err(RunError::Store(StoreError::Query { reason }));
    };
    let token = std::fs::read_to_string(token_file)
        .map_err(|source| RunError::Secret { path: token_file.clone(), source })?;
    let token = Secret::new(token.trim().to_owned());
    let options = InfluxOptions::new(url, org, bucket, token, cursor.to_owned());
    Ok(InfluxOptions { create_bucket: true, ..options })
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
