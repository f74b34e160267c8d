//! The HTTP server: bounded connections, and an end to those that do not go on. Whoever opens connections and sends nothing,
//! sends a header a byte at a time, or stops reading, holds a place for seconds and not for ever, and none at all once
//! somebody else needs it: `/healthz` must not wait for half-open connections.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, Request, State as Shared};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{ApiError, BODY_BYTES_MAX};

mod guarded;
mod silent;

use guarded::Guarded;
use silent::{Place, Silent};

/// Pause after a connection could not be taken: no file handle is left, and none will be at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(250);

/// What a connection may do.
#[derive(Debug, Clone, Copy)]
pub struct Connections {
    /// Open at once; beyond it new ones wait in the system's queue.
    pub max: usize,
    /// Longest wait for the whole header of the next request; an idle connection ends after it too.
    pub header: Duration,
    /// Longest wait for the whole body of a request.
    pub body: Duration,
    /// Longest time in which a peer takes nothing of what is sent to it.
    pub stalled: Duration,
}

impl Default for Connections {
    fn default() -> Self {
        Self {
            max: 512,
            header: Duration::from_secs(10),
            body: Duration::from_secs(10),
            stalled: Duration::from_secs(20),
        }
    }
}

/// Serves until `stop`, then lets open requests end.
pub(super) async fn serve(
    listener: TcpListener,
    routes: Router,
    limits: Connections,
    stop: CancellationToken,
) {
    let places = Arc::new(Semaphore::new(limits.max));
    let connections = TaskTracker::new();
    let silent = Arc::new(Silent::default());
    while let Some(accepted) = stop.run_until_cancelled(accept(&listener, &places, &silent)).await {
        let Some((stream, peer, place)) = accepted else { continue };
        let (routes, stop, asked) = (routes.clone(), stop.clone(), silent.enter());
        connections.spawn(async move {
            tokio::select! {
                () = one(stream, peer, routes, limits, (&asked, stop)) => {}
                () = asked.evicted() => {}
            }
            drop(place);
        });
    }
    connections.close();
    connections.wait().await;
}

type Accepted = (TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit);

/// The next connection, once there is a place for it: where none is free, one that has asked nothing yet makes room.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
    silent: &Silent,
) -> Option<Accepted> {
    match listener.accept().await {
        Ok((stream, peer)) => {
            let place = match Arc::clone(places).try_acquire_owned() {
                Ok(place) => place,
                Err(_) => {
                    silent.evict_oldest();
                    Arc::clone(places).acquire_owned().await.ok()?
                }
            };
            Some((stream, peer, place))
        }
        Err(error) => {
            tracing::warn!(%error, "a connection could not be taken, trying again");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

/// Serves one connection to its end.
async fn one(
    stream: TcpStream,
    peer: SocketAddr,
    routes: Router,
    limits: Connections,
    (asked, stop): (&Place, CancellationToken),
) {
    if let Err(error) = prepare(&stream, limits) {
        tracing::debug!(%error, "a connection ended at once");
        return;
    }
    let routes = TowerToHyperService::new(routes);
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        asked.has_asked();
        request.extensions_mut().insert(ConnectInfo(peer));
        routes.call(request)
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header)
        .serve_connection(TokioIo::new(Guarded::new(stream, limits.stalled)), service);
    let mut served = std::pin::pin!(served);
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        () = stop.cancelled() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, %peer, "a connection ended early");
    }
}

/// Small events go out at once, and a peer that is gone is noticed although the system's buffer still has room.
fn prepare(stream: &TcpStream, limits: Connections) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    #[cfg(target_os = "linux")]
    socket2::SockRef::from(stream).set_tcp_user_timeout(Some(limits.stalled))?;
    Ok(())
}

/// Reads the whole body before anything else happens, within a time.
pub(super) async fn whole_body(
    Shared(limits): Shared<Connections>,
    request: Request,
    next: Next,
) -> Response {
    let (head, body) = request.into_parts();
    let refused = match timeout(limits.body, to_bytes(body, BODY_BYTES_MAX)).await {
        Ok(Ok(bytes)) => return next.run(Request::from_parts(head, Body::from(bytes))).await,
        Ok(Err(_)) => {
            ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "the request is too large")
        }
        Err(_) => {
            let text = "the request's body did not come in time";
            ApiError::new(StatusCode::REQUEST_TIMEOUT, "too_slow", text)
        }
    };
    refused.into_response()
}
