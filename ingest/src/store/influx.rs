//! InfluxDB 2 as the store: batches of line protocol out, Flux in.
//!
//! ```text
//! blocks ─► line.rs ─► pieces of a batch ─► (gzip) ─► POST /api/v2/write, 2 in flight ─► answer.rs
//!                            ▲                                                              │
//!                            └──────── halves of a piece with a bad line ◄──────────────────┘
//! ```
//!
//! A piece is written into the bytes that the request sends; the next is written while the database works on those before,
//! so that no more than [`IN_FLIGHT`] and one of them exist at once, however far the store is behind.
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
mod work;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::bounds::Bounds;
use super::line::LineWriter;
use super::{HistoryReader, Position, RefusalSink, Store, StoreBatch, StoreError};
use crate::secret::Secret;
use cursor::Cursor;
use reader::InfluxReader;
use work::Work;

/// Lines in a request at most, where so many wait. InfluxData advises 5,000; where the store is behind, more cost the
/// database less (docs/PERFORMANCE.md).
pub const BATCH_LINES: usize = 20_000;
/// Bytes of a request after which no further block is added to it.
pub const BATCH_BYTES: usize = 2 << 20;
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
    /// Compress requests: worth its CPU, ours and the database's, only where bytes cross a network.
    pub gzip: bool,
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
            gzip: !is_loopback(url),
        }
    }
}

/// Whether the database is on this machine.
fn is_loopback(url: &str) -> bool {
    let Ok(url) = reqwest011::Url::parse(url) else { return false };
    let host = url.host_str().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
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

/// The InfluxDB store.
#[derive(Debug)]
pub struct InfluxStore {
    options: InfluxOptions,
    bounds: Bounds,
    runtime: tokio::runtime::Runtime,
    /// Sends bodies that are gzipped already where the options say so: its requests say it too, so it serves nothing else.
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
        let (writer, admin) = (client(options.gzip)?, client(false)?);
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
}

impl Store for InfluxStore {
    fn write(&mut self, batch: &StoreBatch) -> Result<(), StoreError> {
        if !self.is_checked {
            self.check()?;
        }
        self.work.begin(batch);
        if let Err(error) = self.send(&batch.blocks) {
            self.is_checked &= !matches!(error, StoreError::Refused { .. });
            return Err(error);
        }
        self.cursor.set(batch.up_to)?;
        self.counts.samples += self.work.samples;
        self.work.end();
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
