//! InfluxDB 2 as the store: batches of line protocol out, Flux in.
//!
//! The position is kept in a small file and moves only after every line was answered with 204 (or set aside with its
//! reason), so a crash sends lines twice, which changes nothing. With `push::endpoint` this is the only part that names
//! `influxdb2`; the crate writes and looks after buckets, queries go out as plain requests (its query API panics on what
//! servers really answer). Minutes and hours are condensed into two more buckets, see `rollup`.
//!
//! Where a number and a bad mark meet at one time, InfluxDB keeps both fields and the number counts: the embedded store
//! would let the later one stand. It takes a clock that ran backwards to make such a pair.

mod check;
mod dirty;
mod flux;
mod query;
mod reader;
mod rollup;
mod source;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::bounds::Bounds;
use super::cursor::Cursor;
use super::line::LineWriter;
use super::push::endpoint::{Endpoint, INFLUX, V2};
pub use super::push::token::Token;
use super::push::{self, Counts, DAY_MS, Limits, Pusher};
use super::{HistoryReader, Position, RefusalSink, Store, StoreBatch, StoreError};
pub use check::Found;
use dirty::Dirty;
use query::Client;
use reader::InfluxReader;
use rollup::Rollup;
pub use source::InfluxSource;

/// How long an hour waits after its end before it is condensed: what comes later rebuilds it.
pub const SETTLE: Duration = Duration::from_secs(120);
/// How long late samples of a site must have paused before the hours that they touched are condensed again.
pub const QUIET: Duration = Duration::from_secs(10);

/// Where the database is and who we are to it.
#[derive(Debug, Clone)]
pub struct InfluxOptions {
    /// `http://host:port`, without a path.
    pub url: String,
    /// Organisation's name.
    pub org: String,
    /// Bucket's name.
    pub bucket: String,
    /// Token that may read and write the bucket, and create it where `create_bucket` is set.
    pub token: Token,
    /// What the bucket is expected to keep, days; `None` = whatever it keeps.
    pub retention_days: Option<u32>,
    /// Create the bucket if it is missing.
    pub create_bucket: bool,
    /// Only look: create and change nothing.
    pub only_look: bool,
    /// Small file that holds the position.
    pub cursor: PathBuf,
    /// How late data may come at all, days (`[log] hole_max_days`): a bucket that keeps less drops some of it.
    pub late_days: u32,
    /// Whether minutes and hours are condensed into buckets of their own.
    pub rollups: bool,
    /// [`SETTLE`] unless a test cannot wait.
    pub settle: Duration,
    /// [`QUIET`] unless a test cannot wait.
    pub quiet: Duration,
    /// Limits of requests.
    pub limits: Limits,
    /// Compress requests: worth its CPU, ours and the database's, only where bytes cross a network.
    pub gzip: bool,
}

impl InfluxOptions {
    /// Usual limits.
    pub fn new(url: &str, org: &str, bucket: &str, token: Token, cursor: PathBuf) -> Self {
        Self {
            url: url.to_owned(),
            org: org.to_owned(),
            bucket: bucket.to_owned(),
            token,
            retention_days: None,
            create_bucket: false,
            only_look: false,
            cursor,
            late_days: 0,
            rollups: true,
            settle: SETTLE,
            quiet: QUIET,
            limits: Limits::default(),
            gzip: !push::is_loopback(url),
        }
    }
}

/// The InfluxDB store.
#[derive(Debug)]
pub struct InfluxStore {
    options: InfluxOptions,
    pusher: Pusher,
    reader: Arc<InfluxReader>,
    cursor: Cursor,
    dirty: Arc<Dirty>,
    rollup: Option<Rollup>,
    is_checked: bool,
    /// Nothing is condensed, and no marks of earlier times are left.
    is_given_up: bool,
}

impl InfluxStore {
    /// Prepares the store; does not touch the network.
    ///
    /// # Errors
    /// [`StoreError::Refused`] for an address that cannot work, [`StoreError::File`] for the cursor's file.
    pub fn open(options: InfluxOptions, sink: Arc<dyn RefusalSink>) -> Result<Self, StoreError> {
        push::address(INFLUX, &options.url, "http://host:8086")?;
        let names = (options.org.as_str(), options.bucket.as_str());
        let v2 = V2::new(&options.url, names, options.token.clone(), options.limits, options.gzip)?;
        let endpoint = Endpoint::V2(Box::new(v2));
        let pusher = Pusher::new(
            endpoint,
            sink,
            LineWriter::new(),
            options.limits.batch_lines,
            options.retention_days,
        )?;
        let cursor = Cursor::open(&options.cursor)?;
        let of = format!("{} {} {}", options.url, options.org, options.bucket);
        let dirty = Arc::new(Dirty::open(&options.cursor.with_extension("rollup"), &of)?);
        let reader = InfluxReader::new(Client::new(&options)?, Arc::clone(&dirty))?;
        let reader = Arc::new(reader);
        Ok(Self {
            pusher,
            reader,
            cursor,
            dirty,
            rollup: None,
            is_checked: false,
            is_given_up: false,
            options,
        })
    }

    /// Asks the database whether it is an InfluxDB 2 and token, organisation, bucket and retention are as configured;
    /// creates buckets where that was asked for. Also done by itself before the first write.
    ///
    /// # Errors
    /// [`StoreError::Refused`] says what to mend, [`StoreError::Unavailable`] that nobody answered.
    pub fn check(&mut self) -> Result<Found, StoreError> {
        self.pusher.endpoint.refresh()?;
        let Endpoint::V2(v2) = &self.pusher.endpoint else {
            unreachable!("an InfluxDB 2 is written to as one")
        };
        let admin = v2.admin()?;
        let found = self.pusher.runtime.block_on(check::check(&admin, &self.options))?;
        for warning in &found.warnings {
            tracing::warn!(bucket = %self.options.bucket, "{warning}");
        }
        if found.has_rollups && !self.options.only_look {
            if found.are_rollups_new {
                self.dirty.forget();
            }
            self.dirty.make_ready();
            if self.rollup.is_none() {
                self.rollup = Some(Rollup::start(&self.options, Arc::clone(&self.dirty))?);
            }
        }
        self.is_checked = true;
        Ok(found)
    }

    /// What has happened so far.
    pub fn counts(&self) -> Counts {
        self.pusher.counts()
    }

    /// Condenses now whatever waits for it, whether an hour has ended or not: for tests and for a person who cannot wait.
    ///
    /// # Errors
    /// What the database answered.
    pub fn condense(&mut self) -> Result<(), StoreError> {
        if !self.is_checked {
            self.check()?;
        }
        rollup::all(&self.options, &self.dirty)
    }

    fn bounds(&self) -> Bounds {
        match self.options.retention_days {
            Some(days) => Bounds { past_ms: i64::from(days) * DAY_MS },
            None => Bounds::default(),
        }
    }
}

impl Store for InfluxStore {
    fn write(&mut self, batch: &StoreBatch) -> Result<(), StoreError> {
        if !self.is_checked {
            self.check()?;
        }
        // Before the lines go: from here on nobody takes the condensed hours for whole.
        if self.options.rollups {
            self.dirty.mark(batch, self.bounds());
        } else if !self.is_given_up {
            self.dirty.give_up()?;
            self.is_given_up = true;
        }
        if let Err(error) = self.pusher.push(batch) {
            self.is_checked &= !matches!(error, StoreError::Refused { .. });
            return Err(error);
        }
        spool::fail_point!("influx.sent");
        // Before the position: what is not sent again must not be forgotten.
        if self.options.rollups {
            self.dirty.landed()?;
        }
        self.cursor.set(batch.up_to)
    }

    fn position(&self) -> Result<Option<Position>, StoreError> {
        Ok(self.cursor.position())
    }

    fn reset_position(&mut self, position: Position) -> Result<(), StoreError> {
        self.cursor.set(position)
    }

    fn reader(&self) -> Arc<dyn HistoryReader> {
        let reader: Arc<InfluxReader> = Arc::clone(&self.reader);
        reader
    }

    /// Nothing to do: the bucket has its own retention.
    fn retain(&mut self, _now_ms: i64) -> Result<(), StoreError> {
        Ok(())
    }

    fn dropped(&self) -> u64 {
        self.pusher.counts().dropped_by_retention
    }
}

fn unavailable(reason: String) -> StoreError {
    StoreError::Unavailable { store: INFLUX, reason, pause_ms: 0 }
}

fn refused(reason: String, mend: impl Into<String>) -> StoreError {
    StoreError::Refused { store: INFLUX, reason, mend: mend.into() }
}
