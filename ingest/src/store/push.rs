//! What every store that takes line protocol shares: batches become lines, lines become requests, answers are acted on.
//!
//! ```text
//! blocks ─► line.rs ─► pieces of a batch ─► (gzip) ─► POST, 2 in flight ─► answer.rs
//!                            ▲                                                │
//!                            └──── halves of a piece with a bad line ◄────────┘
//! ```
//!
//! A piece is written into the bytes that the request sends; the next is written while the database works on those before,
//! so that no more than [`IN_FLIGHT`] and one of them exist at once, however far the store is behind.
//!
//! Used by `store::influx` and `store::sink`, which know their database; this knows none but by its answers.

pub(super) mod answer;
pub(super) mod endpoint;
mod send;
pub(super) mod token;
mod work;

use std::sync::Arc;
use std::time::Duration;

use super::bounds::Bounds;
use super::line::LineWriter;
use super::{RefusalSink, StoreBatch, StoreError};
use endpoint::Endpoint;
use work::Work;

/// Lines in a request at most, where so many wait. InfluxData advises 5,000; where the store is behind, more cost the
/// database less (docs/PERFORMANCE.md).
pub const BATCH_LINES: usize = 20_000;
/// Bytes of a request after which no further block is added to it.
pub const BATCH_BYTES: usize = 2 << 20;
/// Requests on their way at once; more gains nothing.
pub const IN_FLIGHT: usize = 2;
/// Ms of a day.
pub(super) const DAY_MS: i64 = 86_400_000;

/// Limits of requests to a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Of one request.
    pub timeout: Duration,
    /// Of connecting.
    pub connect_timeout: Duration,
    /// Lines in a request: [`BATCH_LINES`] unless a test wants fewer.
    pub batch_lines: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(5),
            batch_lines: BATCH_LINES,
        }
    }
}

/// What has happened since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Samples in lines that were acknowledged.
    pub samples: u64,
    /// Requests that the database took.
    pub requests: u64,
    /// Points that the database dropped because it keeps less than they are old.
    pub dropped_by_retention: u64,
}

/// Carries batches to one database.
#[derive(Debug)]
pub(super) struct Pusher {
    pub(super) endpoint: Endpoint,
    pub(super) runtime: tokio::runtime::Runtime,
    sink: Arc<dyn RefusalSink>,
    bounds: Bounds,
    lines: LineWriter,
    work: Work,
    batch_lines: usize,
    in_flight: usize,
    counts: Counts,
}

impl Pusher {
    /// `retention_days`: what is older is refused instead of sent.
    pub(super) fn new(
        endpoint: Endpoint,
        sink: Arc<dyn RefusalSink>,
        lines: LineWriter,
        batch_lines: usize,
        retention_days: Option<u32>,
    ) -> Result<Self, StoreError> {
        let bounds = match retention_days {
            Some(days) => Bounds { past_ms: i64::from(days) * DAY_MS },
            None => Bounds::default(),
        };
        Ok(Self {
            runtime: runtime(endpoint.name())?,
            endpoint,
            sink,
            bounds,
            lines,
            work: Work::default(),
            batch_lines: batch_lines.max(1),
            in_flight: IN_FLIGHT,
            counts: Counts::default(),
        })
    }

    /// What has happened so far.
    pub(super) fn counts(&self) -> Counts {
        self.counts
    }

    /// Sends a batch; `Ok` once every line of it is acknowledged or set aside with its reason.
    pub(super) fn push(&mut self, batch: &StoreBatch) -> Result<(), StoreError> {
        self.endpoint.refresh()?;
        self.work.begin(batch);
        spool::fail_point!("influx.encoded");
        self.send(&batch.blocks)?;
        self.counts.samples += self.work.samples;
        self.work.end();
        Ok(())
    }

    /// The database may have lost what it took of the batch under way: all of it is sent again.
    pub(super) fn forget(&mut self) {
        self.work.end();
    }
}

/// Whether an address is on this machine.
pub(super) fn is_loopback(url: &str) -> bool {
    let Ok(url) = reqwest011::Url::parse(url) else { return false };
    let host = url.host_str().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// An HTTP client with our limits; `gzip` marks every body as compressed.
pub(super) fn http(limits: &Limits, gzip: bool) -> reqwest011::ClientBuilder {
    let mut headers = reqwest011::header::HeaderMap::new();
    if gzip {
        let gzip = reqwest011::header::HeaderValue::from_static("gzip");
        headers.insert(reqwest011::header::CONTENT_ENCODING, gzip);
    }
    reqwest011::Client::builder()
        .default_headers(headers)
        .timeout(limits.timeout)
        .connect_timeout(limits.connect_timeout)
        .redirect(reqwest011::redirect::Policy::none())
        .tcp_nodelay(true)
        .no_proxy()
}

/// The runtime of a reader's requests. It is taken at the end only: a runtime must not be dropped where async code runs.
#[derive(Debug)]
pub(super) struct Asker {
    store: &'static str,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Asker {
    /// For questions to `store`.
    ///
    /// # Errors
    /// When the system gives no runtime.
    pub(super) fn new(store: &'static str) -> Result<Self, StoreError> {
        Ok(Self { store, runtime: Some(runtime(store)?) })
    }

    /// What requests run on.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] at the end of the program.
    pub(super) fn runtime(&self) -> Result<&tokio::runtime::Runtime, StoreError> {
        self.runtime.as_ref().ok_or_else(|| StoreError::Unavailable {
            store: self.store,
            reason: "shutting down".to_owned(),
            pause_ms: 0,
        })
    }
}

impl Drop for Asker {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A runtime for one thread's requests.
pub(super) fn runtime(store: &'static str) -> Result<tokio::runtime::Runtime, StoreError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|e| {
        let reason = format!("no runtime for requests: {e}");
        StoreError::Unavailable { store, reason, pause_ms: 0 }
    })
}

/// Checks an address before anything panics on it or silently drops a part of it. `example`: what a right one looks like.
///
/// # Errors
/// [`StoreError::Refused`] with what is wrong and how to mend it.
pub(super) fn address(store: &'static str, text: &str, example: &str) -> Result<(), StoreError> {
    let bad = |why: &str, mend: String| {
        let reason = format!("address {text:?} {why}");
        Err(StoreError::Refused { store, reason, mend })
    };
    let Ok(url) = reqwest011::Url::parse(text) else {
        return bad("is not a URL", format!("give it as {example}"));
    };
    match url.scheme() {
        "http" => {}
        "https" => {
            let mend = "reach the database over http on loopback or a protected network, or through a TLS tunnel";
            return bad("needs TLS, which this client lacks", mend.to_owned());
        }
        _ => return bad("is not http", format!("give it as {example}")),
    }
    if !url.username().is_empty() || url.password().is_some() {
        // The address is shown in messages: the password must not be.
        let reason = "the address holds a password".to_owned();
        let mend = "give it in a file of its own, see ingest.example.toml".to_owned();
        return Err(StoreError::Refused { store, reason, mend });
    }
    if url.path() != "/" || url.query().is_some() {
        let mend =
            "paths are dropped: let the proxy serve the database at the root of a host or port";
        return bad("has a path", mend.to_owned());
    }
    Ok(())
}
