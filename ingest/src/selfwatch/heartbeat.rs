//! The heartbeat to an outside watcher: a GET while the test alarm comes through. It waits for nobody's data path, and
//! the watcher's address, whose path is a secret, is in no log and no answer.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use hyper::Request;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// Longest time for one heartbeat.
const PATIENCE: Duration = Duration::from_secs(8);

/// Where a heartbeat goes.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    tls: bool,
    host: String,
    port: u16,
    /// Path and query; the secret part.
    path: String,
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Target").field("host", &self.host).finish_non_exhaustive()
    }
}

/// Why a heartbeat did not arrive; says nothing of its address beyond the host.
#[derive(Debug, thiserror::Error)]
pub enum HeartbeatError {
    /// No connection.
    #[error("no connection to {host}")]
    Connect {
        /// The watcher.
        host: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// No HTTP.
    #[error("{host} does not answer as HTTP")]
    Http {
        /// The watcher.
        host: String,
        /// What the library said.
        #[source]
        source: hyper::Error,
    },
    /// It refuses.
    #[error("{host} answers {status}")]
    Refused {
        /// The watcher.
        host: String,
        /// HTTP status.
        status: u16,
    },
    /// It takes too long.
    #[error("{host} does not answer within {} s", PATIENCE.as_secs())]
    Slow {
        /// The watcher.
        host: String,
    },
}

impl Target {
    /// Reads `http://host[:port]/path` or `https://…`.
    #[must_use]
    pub fn parse(url: &str) -> Option<Self> {
        let (tls, rest) = match (url.strip_prefix("http://"), url.strip_prefix("https://")) {
            (Some(rest), _) => (false, rest),
            (_, Some(rest)) => (true, rest),
            _ => return None,
        };
        let (address, path) = match rest.split_once('/') {
            Some((address, path)) => (address, format!("/{path}")),
            None => (rest, "/".to_owned()),
        };
        let (host, port) = match address.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().ok()?),
            None => (address, if tls { 443 } else { 80 }),
        };
        let is_plain = |c: char| c.is_ascii_graphic() && c != '@';
        let fits = !host.is_empty() && host.chars().all(is_plain);
        let path_fits = path.chars().all(|c| c.is_ascii_graphic());
        (fits && path_fits).then(|| Self { tls, host: host.to_owned(), port, path })
    }

    /// Sends one heartbeat.
    ///
    /// # Errors
    /// [`HeartbeatError`]; the next one is tried all the same.
    pub async fn beat(&self) -> Result<(), HeartbeatError> {
        let host = || self.host.clone();
        let sent = timeout(PATIENCE, self.send()).await;
        sent.map_err(|_| HeartbeatError::Slow { host: host() })?
    }

    async fn send(&self) -> Result<(), HeartbeatError> {
        let lost = |source| HeartbeatError::Connect { host: self.host.clone(), source };
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await.map_err(lost)?;
        if !self.tls {
            return self.get(stream).await;
        }
        let name = ServerName::try_from(self.host.clone());
        let name = name.map_err(|e| lost(std::io::Error::other(e)))?;
        let stream = TlsConnector::from(trust()).connect(name, stream).await.map_err(lost)?;
        self.get(stream).await
    }

    async fn get<S>(&self, stream: S) -> Result<(), HeartbeatError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let wrong = |source| HeartbeatError::Http { host: self.host.clone(), source };
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(wrong)?;
        let request = Request::get(self.path.as_str())
            .header("host", format!("{}:{}", self.host, self.port))
            .header("user-agent", concat!("davy-ingest/", env!("CARGO_PKG_VERSION")))
            .header("connection", "close")
            .body(Body::empty())
            .expect("a path of graphic characters and constant headers");
        let mut answered = Box::pin(async {
            let answer = sender.send_request(request).await.map_err(wrong)?;
            match answer.status() {
                status if status.is_success() => Ok(()),
                status => Err(HeartbeatError::Refused {
                    host: self.host.clone(),
                    status: status.as_u16(),
                }),
            }
        });
        // The connection serves both directions. It ends as soon as the watcher has answered and closed, which may be in
        // the very step that brings the answer: that is looked for before anything is called a failure.
        let mut connection = Box::pin(connection);
        let ended = tokio::select! {
            answered = &mut answered => return answered,
            ended = &mut connection => ended,
        };
        drop(connection);
        match (answered.await, ended) {
            (Err(HeartbeatError::Http { .. }), Err(source)) => Err(wrong(source)),
            (answered, _) => answered,
        }
    }
}

/// The system's certificates.
fn trust() -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let (added, ignored) =
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    tracing::debug!(added, ignored, "certificates of the system");
    Arc::new(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())
}
