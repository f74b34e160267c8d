//! InfluxDB 2 as the store: batches of line protocol out, Flux in.
//!
//! ```text
//! blocks ─► line.rs ─► ranges of lines ─► gzip ─► POST /api/v2/write, 2 in flight ─► answer.rs
//!                            ▲                                                          │
//!                            └───── halves of a range with a bad line ◄─────────────────┘
//! ```
//!
//! The position is kept in a small file and moves only after every line was answered with 204 (or set aside with its
//! reason), so a crash sends lines twice, which changes nothing. This is the only part that names `influxdb2`; the crate
//! writes and looks after buckets, queries go out as plain requests (its query API panics on what servers really answer).
//!
//! Where a number and a bad mark meet at one time, InfluxDB keeps both fields and the number counts: the embedded store
//! would let the later one stand. It takes a clock that ran backwards to make such a pair.

mod answer;
mod check;
mod cursor;
mod flux;
mod reader;
mod send;

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::bounds::Bounds;
use super::line::{LineWriter, Lines};
use super::{HistoryReader, Position, RefusalSink, Store, StoreBatch, StoreError};
use crate::secret::Secret;
use cursor::Cursor;
use reader::InfluxReader;

/// Lines in a request; what InfluxData advises and our measurements confirm.
pub const BATCH_LINES: usize = 5_000;
/// Requests on their way at once; more gains nothing.
pub const IN_FLIGHT: usize = 2;
const DAY_MS: i64 = 86_400_000;

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
    pub token: Secret,
    /// What the bucket is expected to keep, days; `None` = whatever it keeps.
    pub retention_days: Option<u32>,
    /// Create the bucket if it is missing.
    pub create_bucket: bool,
    /// Small file that holds the position.
    pub cursor: PathBuf,
    /// Limit of one request.
    pub timeout: Duration,
    /// Limit of connecting.
    pub connect_timeout: Duration,
    /// Lines in a request: [`BATCH_LINES`] unless a test wants fewer.
    pub batch_lines: usize,
}

impl InfluxOptions {
    /// Usual limits.
    pub fn new(url: &str, org: &str, bucket: &str, token: Secret, cursor: PathBuf) -> Self {
        Self {
            url: url.to_owned(),
            org: org.to_owned(),
            bucket: bucket.to_owned(),
            token,
            retention_days: None,
            create_bucket: false,
            cursor,
            timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(5),
            batch_lines: BATCH_LINES,
        }
    }
}

/// What has happened since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct InfluxCounts {
    /// Samples in lines that were acknowledged.
    pub samples: u64,
    /// Requests that the database took.
    pub requests: u64,
    /// Points that the database dropped because its bucket keeps less.
    pub dropped_by_retention: u64,
}

/// The batch under way: kept over failed attempts, so that what was taken is not sent again.
#[derive(Debug, Default)]
struct Work {
    /// Which batch: its end, its first block, the number of its blocks.
    of: Option<(Position, u64, usize)>,
    lines: Lines,
    samples: u64,
    /// Ranges of lines not yet taken.
    pending: Vec<Range<usize>>,
    /// How often the database failed on it with 500.
    failures: u32,
}

/// The InfluxDB store.
#[derive(Debug)]
pub struct InfluxStore {
    options: InfluxOptions,
    bounds: Bounds,
    runtime: tokio::runtime::Runtime,
    /// Sends bodies that are gzipped already: its requests say so, so it serves nothing else.
    writer: influxdb2::Client,
    admin: influxdb2::Client,
    reader: Arc<InfluxReader>,
    sink: Arc<dyn RefusalSink>,
    lines: LineWriter,
    work: Work,
    cursor: Cursor,
    is_checked: bool,
    batch_lines: usize,
    in_flight: usize,
    counts: InfluxCounts,
}

impl InfluxStore {
    /// Prepares the store; does not touch the network.
    ///
    /// # Errors
    /// [`StoreError::Refused`] for an address that cannot work, [`StoreError::File`] for the cursor's file.
    pub fn open(options: InfluxOptions, sink: Arc<dyn RefusalSink>) -> Result<Self, StoreError> {
        check::address(&options.url)?;
        let client = |gzip: bool| {
            let builder = http(&options, gzip);
            let token = options.token.reveal();
            influxdb2::ClientBuilder::with_builder(builder, &options.url, &options.org, token)
                .build()
                .map_err(|e| {
                    refused(e.to_string(), "check the address and the token for odd characters")
                })
        };
        let (writer, admin) = (client(true)?, client(false)?);
        let runtime = runtime()?;
        let reader = Arc::new(InfluxReader::new(&options)?);
        let bounds = match options.retention_days {
            Some(days) => Bounds { past_ms: i64::from(days) * DAY_MS },
            None => Bounds::default(),
        };
        Ok(Self {
            bounds,
            runtime,
            writer,
            admin,
            reader,
            sink,
            lines: LineWriter::new(),
            work: Work::default(),
            cursor: Cursor::open(&options.cursor)?,
            is_checked: false,
            batch_lines: options.batch_lines.max(1),
            in_flight: IN_FLIGHT,
            counts: InfluxCounts::default(),
            options,
        })
    }

    /// Asks the database whether token, organisation, bucket and retention are as configured; creates the bucket where
    /// that was asked for. Also done by itself before the first write.
    ///
    /// # Errors
    /// [`StoreError::Refused`] says what to mend, [`StoreError::Unavailable`] that nobody answered.
    pub fn check(&mut self) -> Result<(), StoreError> {
        self.runtime.block_on(check::check(&self.admin, &self.options))?;
        self.is_checked = true;
        Ok(())
    }

    /// What has happened so far.
    pub fn counts(&self) -> InfluxCounts {
        self.counts
    }

    /// Turns a batch into lines, unless the work under way is that batch already.
    fn encode(&mut self, batch: &StoreBatch) {
        let first = batch.blocks.first().map_or(0, |b| b.position);
        let of = Some((batch.up_to, first, batch.blocks.len()));
        if self.work.of == of {
            return;
        }
        let work = &mut self.work;
        work.lines.clear();
        (work.of, work.samples, work.failures) = (of, 0, 0);
        for block in &batch.blocks {
            work.samples += self.lines.append(block, self.bounds, &*self.sink, &mut work.lines);
        }
        let (len, step) = (work.lines.len(), self.batch_lines);
        work.pending.clear();
        work.pending.extend((0..len).step_by(step).map(|from| from..(from + step).min(len)));
    }
}

impl Store for InfluxStore {
    fn write(&mut self, batch: &StoreBatch) -> Result<(), StoreError> {
        if !self.is_checked {
            self.check()?;
        }
        self.encode(batch);
        spool::fail_point!("influx.encoded");
        if let Err(error) = self.send_pending() {
            self.is_checked &= !matches!(error, StoreError::Refused { .. });
            return Err(error);
        }
        spool::fail_point!("influx.sent");
        self.cursor.set(batch.up_to)?;
        self.counts.samples += self.work.samples;
        self.work.of = None;
        Ok(())
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
}

/// An HTTP client with our limits; `gzip` marks every body as compressed.
fn http(options: &InfluxOptions, gzip: bool) -> reqwest011::ClientBuilder {
    let mut headers = reqwest011::header::HeaderMap::new();
    if gzip {
        let gzip = reqwest011::header::HeaderValue::from_static("gzip");
        headers.insert(reqwest011::header::CONTENT_ENCODING, gzip);
    }
    reqwest011::Client::builder()
        .default_headers(headers)
        .timeout(options.timeout)
        .connect_timeout(options.connect_timeout)
        .redirect(reqwest011::redirect::Policy::none())
        .tcp_nodelay(true)
        .no_proxy()
}

/// A runtime for one thread's requests.
fn runtime() -> Result<tokio::runtime::Runtime, StoreError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|e| unavailable(format!("no runtime for requests: {e}")))
}

const STORE: &str = "InfluxDB";

fn unavailable(reason: String) -> StoreError {
    StoreError::Unavailable { store: STORE, reason, pause_ms: 0 }
}

fn refused(reason: String, mend: impl Into<String>) -> StoreError {
    StoreError::Refused { store: STORE, reason, mend: mend.into() }
}
