//! Databases that take line protocol without being an InfluxDB 2: InfluxDB 1 and VictoriaMetrics.
//!
//! Neither is the store that Davy is made for; who runs one already can keep it. What differs, besides speed:
//! - InfluxDB 1 answers as the others do. It refuses series beyond its limits (set aside as `too_many_series`).
//! - VictoriaMetrics answers 204 whatever becomes of a line, so that every line must be right before it goes (`line`
//!   writes nothing else, and tests hold it to that); it keeps the larger of two values of one time, rounds numbers to
//!   about 15 digits, drops silently what is older than its retention, and has nothing on disk for some seconds: the
//!   position follows only what is surely there, and goes back when the server was restarted (`durable`).
//!
//! Nothing is condensed here: a year's view reads every sample.

mod durable;
mod influx1;
mod victoria;

use std::path::PathBuf;
use std::sync::Arc;

use super::cursor::Cursor;
use super::line::LineWriter;
use super::push::endpoint::{Endpoint, Plain};
use super::push::token::Token;
use super::push::{self, Counts, Limits, Pusher, answer};
use super::{HistoryReader, Position, RefusalSink, Store, StoreBatch, StoreError};
use durable::Durable;

/// Which database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SinkKind {
    /// InfluxDB 1.x.
    Influx1,
    /// VictoriaMetrics, single node.
    Victoria,
}

impl SinkKind {
    /// Its name in messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Influx1 => "InfluxDB 1",
            Self::Victoria => "VictoriaMetrics",
        }
    }
}

/// Where the database is.
#[derive(Debug, Clone)]
pub struct SinkOptions {
    /// Which one.
    pub kind: SinkKind,
    /// `http://host:port`, without a path.
    pub url: String,
    /// Database's name; InfluxDB 1 only.
    pub database: String,
    /// User and password, where the database asks for them.
    pub login: Option<(String, Token)>,
    /// What the database is expected to keep, days; `None` = whatever it keeps.
    pub retention_days: Option<u32>,
    /// Create the database if it is missing; InfluxDB 1 only.
    pub create_database: bool,
    /// Only look: create and change nothing.
    pub only_look: bool,
    /// Small file that holds the position.
    pub cursor: PathBuf,
    /// How late data may come at all, days (`[log] hole_max_days`).
    pub late_days: u32,
    /// How long what was taken waits until it surely is on the server's disk; VictoriaMetrics only.
    pub hold: std::time::Duration,
    /// Limits of requests.
    pub limits: Limits,
    /// Compress requests: worth its CPU, ours and the database's, only where bytes cross a network.
    pub gzip: bool,
}

impl SinkOptions {
    /// Usual limits.
    #[must_use]
    pub fn new(kind: SinkKind, url: &str, database: &str, cursor: PathBuf) -> Self {
        Self {
            kind,
            url: url.to_owned(),
            database: database.to_owned(),
            login: None,
            retention_days: None,
            create_database: false,
            only_look: false,
            cursor,
            late_days: 0,
            hold: durable::HOLD,
            limits: Limits::default(),
            gzip: !push::is_loopback(url),
        }
    }
}

/// What the database said of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SinkFound {
    /// Its version, where it says one.
    pub version: Option<String>,
    /// Whether the database was created now, or would be where it was only looked.
    pub created: bool,
    /// What a person should know though it works.
    pub warnings: Vec<String>,
}

/// A line-protocol database as the store.
#[derive(Debug)]
pub struct LineStore {
    options: SinkOptions,
    http: Http,
    pusher: Pusher,
    reader: Arc<dyn HistoryReader>,
    position: Durable,
    is_checked: bool,
}

impl LineStore {
    /// Prepares the store; does not touch the network.
    ///
    /// # Errors
    /// [`StoreError::Refused`] for an address that cannot work, [`StoreError::File`] for the cursor's file.
    pub fn open(options: SinkOptions, sink: Arc<dyn RefusalSink>) -> Result<Self, StoreError> {
        let name = options.kind.name();
        let (port, path, parameters) = match options.kind {
            SinkKind::Influx1 => {
                (8086, "write", vec![("db", options.database.as_str()), ("precision", "ms")])
            }
            SinkKind::Victoria => (8428, "write", vec![("precision", "ms")]),
        };
        push::address(name, &options.url, &format!("http://host:{port}"))?;
        let http = Http::new(&options)?;
        let mut url = http.url(path);
        url.query_pairs_mut().extend_pairs(parameters);
        let mend = match options.kind {
            SinkKind::Influx1 => format!(
                "check [store] database = {:?}, user and password_file (influx -execute 'SHOW DATABASES')",
                options.database
            ),
            SinkKind::Victoria => "check the address, user and password_file in [store]".to_owned(),
        };
        let gzip = options.gzip;
        let client = push::http(&options.limits, gzip).build();
        let client = client.map_err(|e| http.unavailable(answer::chain(&e)))?;
        let login = options.login.clone();
        let endpoint = Endpoint::Plain(Box::new(Plain { name, url, login, client, gzip, mend }));
        let lines = match options.kind {
            SinkKind::Influx1 => LineWriter::new(),
            SinkKind::Victoria => LineWriter::doubling(),
        };
        let pusher =
            Pusher::new(endpoint, sink, lines, options.limits.batch_lines, options.retention_days)?;
        let reader: Arc<dyn HistoryReader> = match options.kind {
            SinkKind::Influx1 => {
                Arc::new(influx1::Reader::new(Http::new(&options)?, &options.database)?)
            }
            SinkKind::Victoria => Arc::new(victoria::Reader::new(Http::new(&options)?)?),
        };
        let cursor = Cursor::open(&options.cursor)?;
        let hold = match options.kind {
            // Its write-ahead log is synced before it answers.
            SinkKind::Influx1 => None,
            SinkKind::Victoria => Some(options.hold),
        };
        let position = Durable::new(cursor, hold);
        Ok(Self { options, http, pusher, reader, position, is_checked: false })
    }

    /// Asks the database whether it is the one configured and serves; creates the database where that was asked for.
    /// Also done by itself before the first write.
    ///
    /// # Errors
    /// [`StoreError::Refused`] says what to mend, [`StoreError::Unavailable`] that nobody answered.
    pub fn check(&mut self) -> Result<SinkFound, StoreError> {
        let (runtime, options) = (&self.pusher.runtime, &self.options);
        let found = match options.kind {
            SinkKind::Influx1 => runtime.block_on(influx1::check(&self.http, options)),
            SinkKind::Victoria => runtime.block_on(victoria::check(&self.http, options)),
        }?;
        for warning in &found.warnings {
            tracing::warn!(store = options.kind.name(), "{warning}");
        }
        self.is_checked = true;
        Ok(found)
    }

    /// What has happened so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.pusher.counts()
    }
}

impl Store for LineStore {
    fn write(&mut self, batch: &StoreBatch) -> Result<(), StoreError> {
        if !self.is_checked {
            self.check()?;
        }
        if self.position.is_due() {
            let (started, taken) = self.pusher.runtime.block_on(victoria::process(&self.http))?;
            if self.position.is_other(&started, taken) {
                // It may have lost what it took of this batch in an earlier try, too.
                self.pusher.forget();
            }
            self.position.seen(started, taken)?;
        }
        if let Err(error) = self.pusher.push(batch) {
            self.is_checked &= !matches!(error, StoreError::Refused { .. });
            return Err(error);
        }
        self.position.taken(batch.up_to)
    }

    fn position(&self) -> Result<Option<Position>, StoreError> {
        Ok(self.position.position())
    }

    fn reset_position(&mut self, position: Position) -> Result<(), StoreError> {
        self.position.reset(position)
    }

    fn reader(&self) -> Arc<dyn HistoryReader> {
        Arc::clone(&self.reader)
    }

    /// Nothing to do: the database has its own retention.
    fn retain(&mut self, _now_ms: i64) -> Result<(), StoreError> {
        Ok(())
    }

    fn dropped(&self) -> u64 {
        self.pusher.counts().dropped_by_retention
    }
}

/// Plain requests to the database.
#[derive(Debug)]
struct Http {
    name: &'static str,
    base: reqwest011::Url,
    login: Option<(String, Token)>,
    client: reqwest011::Client,
}

/// Longest answer that is read, bytes.
const ANSWER_BYTES_MAX: usize = 128 << 20;

impl Http {
    fn new(options: &SinkOptions) -> Result<Self, StoreError> {
        let name = options.kind.name();
        let unavailable = |reason| StoreError::Unavailable { store: name, reason, pause_ms: 0 };
        let base = reqwest011::Url::parse(&options.url).map_err(|e| unavailable(e.to_string()))?;
        let client = push::http(&options.limits, false).build();
        let client = client.map_err(|e| unavailable(answer::chain(&e)))?;
        Ok(Self { name, base, login: options.login.clone(), client })
    }

    fn url(&self, path: &str) -> reqwest011::Url {
        let mut url = self.base.clone();
        url.set_path(path);
        url
    }

    fn unavailable(&self, reason: String) -> StoreError {
        StoreError::Unavailable { store: self.name, reason, pause_ms: 0 }
    }

    fn refused(&self, reason: String, mend: impl Into<String>) -> StoreError {
        StoreError::Refused { store: self.name, reason, mend: mend.into() }
    }

    /// A GET; status, version header and body.
    async fn get(
        &self,
        path: &str,
        parameters: &[(&str, &str)],
    ) -> Result<(u16, Option<String>, Vec<u8>), StoreError> {
        self.send(self.client.get(self.url(path)).query(parameters)).await
    }

    /// A POST with the parameters in the URL and no body.
    async fn post(
        &self,
        path: &str,
        parameters: &[(&str, &str)],
    ) -> Result<(u16, Option<String>, Vec<u8>), StoreError> {
        self.send(self.client.post(self.url(path)).query(parameters)).await
    }

    async fn send(
        &self,
        request: reqwest011::RequestBuilder,
    ) -> Result<(u16, Option<String>, Vec<u8>), StoreError> {
        let mut request = request.header("Accept", "application/csv");
        if let Some((user, password)) = &self.login {
            request = request.basic_auth(user, Some(password.current().reveal()));
        }
        let response = request.send().await.map_err(|e| self.unavailable(answer::chain(&e)))?;
        let status = response.status().as_u16();
        let version = response.headers().get("X-Influxdb-Version");
        let version = version.and_then(|v| v.to_str().ok()).map(str::to_owned);
        let body = push::endpoint::body_of(self.name, response, ANSWER_BYTES_MAX).await?;
        Ok((status, version, body))
    }

    /// The body of a 200, or what the status means.
    fn good(
        &self,
        (status, _, body): (u16, Option<String>, Vec<u8>),
    ) -> Result<Vec<u8>, StoreError> {
        if status == 200 {
            return Ok(body);
        }
        let words = answer::words(&String::from_utf8_lossy(&body));
        Err(match status {
            400 | 422 => StoreError::Query { reason: words },
            401 | 403 => self.refused(
                format!("status {status}: {words}"),
                "check user and password_file in [store]",
            ),
            404 => self.refused(
                format!("status 404: {words}"),
                format!("check that [store] url is that of a {}", self.name),
            ),
            _ => self.unavailable(format!("{status}: {words}")),
        })
    }
}
