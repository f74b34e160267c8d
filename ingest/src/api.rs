//! The HTTP API `/api/v1` and the console: what people and programs see and change.
//!
//! `main` builds an [`Api`] of the state, the registry, the history reader and the live [`Sources`], and awaits
//! [`serve`]. The evaluator calls [`Api::announce`] with what changed. Nothing in the data path waits for this module:
//! queues towards browsers are bounded and drop to `reset`, history is read on blocking threads, a handler that panics
//! answers 500.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use rules::Catalogue;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::limit::RequestBodyLimitLayer;
use utoipa_axum::router::OpenApiRouter;

use crate::account::SessionPolicy;
use crate::alarms::AlarmChange;
use crate::clock::Clock;
use crate::registry::Registrar;
use crate::state::State;
use crate::store::HistoryReader;

mod alarm;
mod auth;
mod completeness;
mod console;
mod document;
mod error;
mod fact;
mod gateway;
mod hub;
mod lease;
mod limit;
mod peer;
mod places;
mod quarantine;
mod queries;
mod request;
mod rule;
mod series;
mod serve;
mod session;
mod setup;
mod site;
pub mod source;
mod starting;
mod stream;
mod system;
mod user;

pub use document::openapi;
pub use hub::Hub;
pub use serve::Connections;
pub use setup::SetupToken;
pub use source::Sources;
pub use starting::{Busy, serve_starting};

use error::{ApiError, ErrorBody};

/// Largest request body, bytes: the longest is a fact with a list of devices.
pub const BODY_BYTES_MAX: usize = 64 * 1024;
/// Streams open at once.
pub const STREAMS_MAX: usize = 256;
/// History queries running at once: each holds a blocking thread and a database reader.
pub const QUERIES_MAX: usize = 4;
/// Longest wait of a history query for its turn.
const QUERY_PATIENCE: Duration = Duration::from_secs(10);
/// Time between heartbeats of a stream.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// How the API behaves.
#[derive(Debug, Clone)]
pub struct ApiConfig {
    /// The browser speaks TLS to us or to a proxy before us: cookies are `Secure`.
    pub tls: bool,
    /// When sessions end.
    pub sessions: SessionPolicy,
    /// Time between heartbeats of a stream; the console calls the line dead after 12 s.
    pub heartbeat: Duration,
    /// Failed attempts to sign in, per minute, for one name; five times as many for one address.
    pub sign_ins_per_minute: u32,
    /// What a connection may do.
    pub connections: Connections,
    /// Longest wait of a history query for its turn.
    pub query_patience: Duration,
    /// Shown by `/system`.
    pub version: String,
    /// What a gateway's configuration needs besides its key, e.g. the `[broker]` table; part of the snippet.
    pub gateway_snippet: String,
}

impl Default for ApiConfig {
    fn default() -> Self {
        Self {
            tls: false,
            sessions: SessionPolicy::default(),
            heartbeat: HEARTBEAT,
            sign_ins_per_minute: 10,
            connections: Connections::default(),
            query_patience: QUERY_PATIENCE,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            gateway_snippet: String::new(),
        }
    }
}

/// What the API is built of.
#[derive(Debug)]
pub struct Parts {
    /// Registry, alarms, users.
    pub state: State,
    /// The registry's snapshot; replaced here after a change.
    pub registrar: Arc<Registrar>,
    /// Wall time.
    pub clock: Arc<dyn Clock>,
    /// History.
    pub history: Arc<dyn HistoryReader>,
    /// What was set aside.
    pub quarantine: Arc<crate::quarantine::Desk>,
    /// Live values, gateways, rule states.
    pub sources: Arc<dyn Sources>,
    /// Texts of rules.
    pub rules: Arc<Catalogue>,
    /// Towards the streams.
    pub hub: Arc<Hub>,
    /// Wakes whoever writes recorded facts to the durable log (see `State::facts_to_log`).
    pub facts_recorded: Arc<Notify>,
    /// The one-time token, while no user exists.
    pub setup: SetupToken,
    /// How it behaves.
    pub config: ApiConfig,
}

/// The API; shared by all handlers.
#[derive(Debug)]
pub struct Api {
    pub(crate) parts: Parts,
    pub(crate) sign_ins: limit::SignIns,
    pub(crate) changes: limit::Changes,
    pub(crate) streams: places::Places,
    pub(crate) queries: queries::Queries,
    pub(crate) shutdown: CancellationToken,
}

impl Api {
    /// Builds the API; streams end when `shutdown` is cancelled.
    #[must_use]
    pub fn new(parts: Parts, shutdown: CancellationToken) -> Arc<Self> {
        Arc::new(Self {
            sign_ins: limit::SignIns::new(parts.config.sign_ins_per_minute),
            changes: limit::Changes::default(),
            streams: places::Places::new(STREAMS_MAX),
            queries: queries::Queries::new(QUERIES_MAX, parts.config.query_patience),
            parts,
            shutdown,
        })
    }

    /// Tells the streams what changed; never waits.
    pub fn announce(&self, changes: &[AlarmChange]) {
        let registry = self.parts.registrar.current();
        for change in changes {
            let card = alarm::view(&change.occurrence, &registry, &self.parts.rules);
            self.parts.hub.alarm(&change.occurrence.site, &card);
        }
    }

    pub(crate) fn now(&self) -> i64 {
        self.parts.clock.now_ms()
    }

    pub(crate) fn state(&self) -> &State {
        &self.parts.state
    }
}

/// Routes of others that are served beside ours, with the same headers.
#[derive(Debug, Default)]
pub struct Beside {
    /// For everybody.
    pub open: Router,
    /// For who asks from this machine itself, and for staff.
    pub operators: Router,
}

/// All routes with their layers.
fn router(api: &Arc<Api>, beside: Beside) -> Router {
    let (routes, _document) = routes().split_for_parts();
    let operators = beside.operators.layer(from_fn_with_state(Arc::clone(api), auth::operators));
    routes
        .layer(from_fn_with_state(Arc::clone(api), auth::same_origin))
        .with_state(Arc::clone(api))
        .merge(beside.open)
        .merge(operators)
        .fallback(console::serve)
        .layer(from_fn_with_state(api.parts.config.connections, serve::whole_body))
        .layer(RequestBodyLimitLayer::new(BODY_BYTES_MAX))
        .layer(CatchPanicLayer::new())
        .layer(from_fn(request::answer))
        .layer(CompressionLayer::new())
        .layer(from_fn_with_state(api.parts.config.tls, request::secure))
}

/// Routes with their documentation.
fn routes() -> OpenApiRouter<Arc<Api>> {
    let v1 = session::routes()
        .merge(lease::routes())
        .merge(user::routes())
        .merge(alarm::routes())
        .merge(site::routes())
        .merge(completeness::routes())
        .merge(series::routes())
        .merge(rule::routes())
        .merge(gateway::routes())
        .merge(fact::routes())
        .merge(system::routes())
        .merge(quarantine::routes())
        .merge(stream::routes())
        .merge(document::routes());
    OpenApiRouter::with_openapi(document::frame()).nest("/api/v1", v1)
}

/// Serves until the API's token is cancelled; open streams end then.
pub async fn serve(listener: TcpListener, api: Arc<Api>, beside: Beside) {
    let routes = router(&api, beside);
    let flush = stream::flush_values(Arc::clone(&api));
    let server = serve::serve(listener, routes, api.parts.config.connections, api.shutdown.clone());
    tokio::join!(server, flush);
}
