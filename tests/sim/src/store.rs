//! A store that answers everything a database was seen to answer: it refuses, is away, times out after applying, takes a
//! part of a batch, and moves its position in a step of its own.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use ingest::store::{
    HistoryAnswer, HistoryQuery, HistoryReader, Position, Store, StoreBatch, StoreError,
};

/// How it answers just now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Mood {
    /// Takes everything.
    #[default]
    Well,
    /// Refuses: token, bucket, retention.
    Refuses,
    /// Away.
    Away,
    /// Stores the batch and answers nothing in time.
    AppliesAndTimesOut,
    /// Stores a part of the batch, then fails.
    TakesAPart,
    /// Stores the batch, and the program is gone before its position is written.
    LosesItsPosition,
}

/// A sample's identity: device of the site, quantity, event time.
pub(crate) type Place = (String, String, i64);

/// What is stored.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    pub(crate) rows: BTreeMap<Place, f64>,
    pub(crate) position: Option<Position>,
    pub(crate) mood: Mood,
    /// Samples that took the place of another value.
    pub(crate) changed: Vec<Place>,
    pub(crate) failures: u64,
}

/// The store's end that the store writer has; what is kept outlives it.
#[derive(Debug, Clone, Default)]
pub(crate) struct SimStore(pub(crate) Arc<Mutex<Kept>>);

impl SimStore {
    pub(crate) fn lock(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn away(reason: &str) -> StoreError {
    StoreError::Unavailable { store: "sim", reason: reason.to_owned(), pause_ms: 0 }
}

impl Kept {
    fn apply(&mut self, batch: &StoreBatch, blocks: usize) {
        for block in batch.blocks.iter().take(blocks) {
            for (place, value) in rows(block) {
                if self.rows.insert(place.clone(), value).is_some_and(|old| old != value) {
                    self.changed.push(place);
                }
            }
        }
    }
}

/// The samples of a block that are stored as numbers.
pub(crate) fn rows(block: &ingest::log::DecodedBlock) -> Vec<(Place, f64)> {
    let mut found = Vec::new();
    let mut number = 0_u32;
    for table in &block.readings.tables {
        for (row, (reply, t)) in table.replies.iter().zip(&table.times).enumerate() {
            let is_masked = block.masked_rows.binary_search(&number).is_ok();
            number += 1;
            let Some(reply) = block.manifest.replies.get(*reply as usize).filter(|_| !is_masked)
            else {
                continue;
            };
            for (point, column) in reply.points.iter().zip(&table.columns) {
                if column.mark(row).quality.has_value() {
                    let place = (reply.device.clone(), point.quantity.clone(), *t);
                    found.push((place, column.values()[row]));
                }
            }
        }
    }
    found
}

impl Store for SimStore {
    fn write(&mut self, batch: &StoreBatch) -> Result<(), StoreError> {
        let mut kept = self.lock();
        let failed = match kept.mood {
            Mood::Well => None,
            Mood::Refuses => Some(StoreError::Refused {
                store: "sim",
                reason: "401".to_owned(),
                mend: "mend the token".to_owned(),
            }),
            Mood::Away => Some(away("connection refused")),
            Mood::AppliesAndTimesOut => {
                kept.apply(batch, usize::MAX);
                Some(away("timed out"))
            }
            Mood::TakesAPart => {
                kept.apply(batch, batch.blocks.len() / 2);
                Some(away("500"))
            }
            Mood::LosesItsPosition => {
                kept.apply(batch, usize::MAX);
                return Ok(());
            }
        };
        if let Some(error) = failed {
            kept.failures += 1;
            return Err(error);
        }
        kept.apply(batch, usize::MAX);
        kept.position = Some(batch.up_to);
        Ok(())
    }

    fn position(&self) -> Result<Option<Position>, StoreError> {
        Ok(self.lock().position)
    }

    fn reset_position(&mut self, position: Position) -> Result<(), StoreError> {
        self.lock().position = Some(position);
        Ok(())
    }

    fn reader(&self) -> Arc<dyn HistoryReader> {
        Arc::new(Nothing)
    }

    fn retain(&mut self, _now_ms: i64) -> Result<(), StoreError> {
        Ok(())
    }
}

#[derive(Debug)]
struct Nothing;

impl HistoryReader for Nothing {
    fn query(&self, _query: &HistoryQuery) -> Result<HistoryAnswer, StoreError> {
        Err(StoreError::Query { reason: "the simulation asks no history".to_owned() })
    }
}
