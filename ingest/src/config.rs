//! The configuration file of `davy-ingest`: read, checked with every problem at once, nothing bound or opened.
//!
//! Every key is in `ingest.example.toml` with unit, range and default. Secrets are named by file, never written here.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::de::DeTable;

use crate::registry::seed::reader::{Problem, Problems, Table};
use crate::store::sink::SinkKind;

mod section;

#[cfg(test)]
mod tests;

/// A checked configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Folder of the log, the state, the quarantine and the embedded store.
    pub state_dir: PathBuf,
    /// Sites, gateways and devices applied at each start.
    pub seed: Option<PathBuf>,
    /// How long a stop may take before what is left is abandoned.
    pub shutdown_grace: Duration,
    /// The durable log.
    pub log: LogConfig,
    /// The broker.
    pub broker: BrokerConfig,
    /// Where readings are kept.
    pub store: StoreConfig,
    /// The API and the console.
    pub http: HttpConfig,
    /// The watch over itself.
    pub watch: WatchConfig,
}

/// The durable log and what belongs to it.
#[derive(Debug, Clone, PartialEq)]
pub struct LogConfig {
    /// Bytes that it may use.
    pub bytes_max: u64,
    /// Bytes of one gateway's blocks beyond which its backfill waits.
    pub gateway_bytes_max: u64,
    /// A hole older than this is given up.
    pub hole_max: Duration,
    /// Bytes of one gateway in quarantine.
    pub quarantine_bytes_max: u64,
}

/// The broker that the gateways use.
#[derive(Debug, Clone, PartialEq)]
pub struct BrokerConfig {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Whether to speak TLS.
    pub tls: bool,
    /// Certificates of the broker's authority, PEM.
    pub ca_file: Option<PathBuf>,
    /// Our certificate and key, PEM.
    pub client_cert: Option<(PathBuf, PathBuf)>,
    /// User name.
    pub user: Option<String>,
    /// File with the password.
    pub password_file: Option<PathBuf>,
    /// Names the session at the broker; two centres with one id put each other out.
    pub client_id: String,
    /// Seconds between pings.
    pub keep_alive: Duration,
}

/// Where readings are kept.
#[derive(Debug, Clone, PartialEq)]
pub enum StoreConfig {
    /// In files below the state folder.
    Embedded {
        /// Whole UTC days kept; `None` = for ever.
        retention_days: Option<u32>,
    },
    /// In InfluxDB 2.
    Influx {
        /// Its address.
        url: String,
        /// Organisation.
        org: String,
        /// Bucket.
        bucket: String,
        /// File with the token.
        token_file: PathBuf,
        /// Create the buckets that are missing.
        create_bucket: bool,
        /// What the bucket is to keep, days; `None` = whatever it keeps.
        retention_days: Option<u32>,
        /// Whether minutes and hours are condensed into two more buckets.
        rollups: bool,
    },
    /// In another database that takes line protocol.
    Sink {
        /// Which one.
        kind: SinkKind,
        /// Its address.
        url: String,
        /// Database; InfluxDB 1 only, else empty.
        database: String,
        /// User name and file with the password.
        login: Option<(String, PathBuf)>,
        /// Create the database if it is missing.
        create_database: bool,
        /// What it is to keep, days; `None` = whatever it keeps.
        retention_days: Option<u32>,
    },
    /// Nowhere: only for measuring the pipeline. History is empty.
    Discard,
}

/// The API and the console.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpConfig {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Browsers come through TLS (a proxy in front): cookies are marked `Secure`.
    pub behind_tls: bool,
}

/// The watch over itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchConfig {
    /// Whether a sample of the centre's own goes through everything each 10 s.
    pub synthetic: bool,
    /// Who is told that the centre lives.
    pub heartbeat: Option<HeartbeatConfig>,
}

/// An outside watcher that misses us when we are silent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeartbeatConfig {
    /// Where a GET goes; its path is what a stranger must not know.
    pub url: crate::secret::Secret,
    /// Time between two.
    pub every: Duration,
}

/// Why a file is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("could not read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// It has problems; all of them are listed.
    #[error("{} has {} problem(s):\n{}", path.display(), problems.len(), list(problems))]
    Problems {
        /// The file.
        path: PathBuf,
        /// All of them, by line.
        problems: Vec<Problem>,
    },
}

fn list(problems: &[Problem]) -> String {
    problems.iter().map(|p| format!("  {p}")).collect::<Vec<_>>().join("\n")
}

impl Config {
    /// Reads and checks a file; relative paths in it are relative to its folder.
    ///
    /// # Errors
    /// [`ConfigError`] with every problem.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        let folder = path.parent().unwrap_or(Path::new("."));
        Self::parse(&text, folder)
            .map_err(|problems| ConfigError::Problems { path: path.to_owned(), problems })
    }

    /// Checks a text; relative paths in it are relative to `folder`.
    ///
    /// # Errors
    /// Every problem, by line.
    pub fn parse(text: &str, folder: &Path) -> Result<Self, Vec<Problem>> {
        let problems = Problems::new(text);
        let (document, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            problems.add(&error.span().unwrap_or(0..0), "toml", error.message());
        }
        let mut config = None;
        if errors.is_empty() {
            let root = Table::new(document.get_ref(), 0..0, String::new(), &problems);
            config = section::read(root, folder);
        }
        let found = problems.into_sorted();
        match config {
            Some(config) if found.is_empty() => Ok(config),
            _ => Err(found),
        }
    }
}
