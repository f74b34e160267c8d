//! Which history queries run now. A place is given back when the query has ended, not when its caller has gone: nothing
//! stops a blocking thread, so a place that came free earlier would let a few impatient callers take every thread.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::http::StatusCode;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::ApiError;

/// Queries of one caller that run or wait: a page full of charts, asked twice.
const ASKED_MAX: usize = 64;
/// Queries of one caller that run at once: one caller leaves places to the others.
const RUNNING_MAX: usize = 2;

/// The places.
#[derive(Debug)]
pub(crate) struct Queries {
    all: Arc<Semaphore>,
    callers: Mutex<HashMap<String, Arc<Semaphore>>>,
    patience: Duration,
}

/// A place, for as long as the query runs.
#[derive(Debug)]
pub(super) struct Place {
    _own: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
}

impl Queries {
    /// `places` queries run at once; who waits longer than `patience` for one is refused.
    pub(super) fn new(places: usize, patience: Duration) -> Self {
        let all = Arc::new(Semaphore::new(places));
        Self { all, callers: Mutex::default(), patience }
    }

    /// Waits for a place.
    ///
    /// # Errors
    /// 429 where this caller has asked for too much at once, 503 where no place came free in time.
    pub(super) async fn place(&self, caller: &str) -> Result<Place, ApiError> {
        let own = self.own(caller)?;
        let all = Arc::clone(&self.all);
        let both = async move {
            let own = own.acquire_owned().await?;
            Ok(Place { _own: own, _all: all.acquire_owned().await? })
        };
        match timeout(self.patience, both).await {
            Ok(place) => {
                place.map_err(|error: tokio::sync::AcquireError| ApiError::internal(&error))
            }
            Err(_) => {
                let message = "history is busy: ask again, or for a shorter time";
                Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "history_busy", message))
            }
        }
    }

    fn own(&self, caller: &str) -> Result<Arc<Semaphore>, ApiError> {
        let mut callers = self.callers.lock().expect("nobody panics while holding this lock");
        // Whoever waits or holds a place holds the semaphore too; one that nobody holds says nothing.
        callers.retain(|_, own| Arc::strong_count(own) > 1);
        let new = || Arc::new(Semaphore::new(RUNNING_MAX));
        let own = Arc::clone(callers.entry(caller.to_owned()).or_insert_with(new));
        if Arc::strong_count(&own) - 1 > ASKED_MAX {
            return Err(ApiError::too_many("too many history queries at once", 1));
        }
        Ok(own)
    }
}
