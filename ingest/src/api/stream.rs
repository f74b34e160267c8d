//! `GET /stream`: server-sent events. `alarm`, `value`, `gateway`, a heartbeat `hb`, `reset` when the client must fetch
//! everything again, `signed_out` when its session has ended or its key was revoked. Every stream ends when the service stops.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, State as Shared};
use axum::http::{HeaderMap, HeaderName};
use axum::response::sse::Event as Sent;
use axum::response::{IntoResponse, Sse};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::Caller;
use super::hub::{Body, Event, Resume};
use super::places::Place;
use super::{Api, ApiError, ErrorBody};
use crate::account::{Role, Scope};

/// Time between two batches of values: at most four a second.
const FLUSH: Duration = Duration::from_millis(250);
/// Longest wait for the database to say whether a session or key still stands.
const CHECK: Duration = Duration::from_secs(10);
/// Tells nginx to pass events on as they come.
const UNBUFFERED: (HeaderName, &str) = (HeaderName::from_static("x-accel-buffering"), "no");

pub(super) fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new().routes(routes!(stream))
}

/// Where to go on.
#[derive(Debug, Deserialize, IntoParams)]
pub(super) struct From {
    /// Number of the last event seen; `Last-Event-ID` says the same.
    last_event_id: Option<String>,
}

/// Live alarms, values and gateways as server-sent events.
#[utoipa::path(get, path = "/stream", tag = "live", params(From), responses(
    (status = 200, description = "events: alarm, value, gateway, hb, reset, signed_out",
     content_type = "text/event-stream", body = String),
    (status = 401, body = ErrorBody), (status = 429, body = ErrorBody)))]
async fn stream(
    Shared(api): Shared<Arc<Api>>,
    caller: Caller,
    Query(from): Query<From>,
    headers: HeaderMap,
) -> Result<impl IntoResponse, ApiError> {
    let on_duty = matches!(caller.role, Role::Duty | Role::Officer);
    let place = api.streams.take(&caller.name, on_duty)?;
    let header = headers.get("last-event-id").and_then(|value| value.to_str().ok());
    let asked = from.last_event_id.as_deref().or(header);
    let feed = Feed::open(api, caller, asked, place);
    let events = futures_util::stream::unfold(feed, |mut feed| async {
        let event = feed.next().await?;
        Some((Ok::<_, Infallible>(event), feed))
    });
    Ok(([UNBUFFERED], Sse::new(events)))
}

/// A running check of the caller.
type Check = Pin<Box<dyn Future<Output = bool> + Send>>;

/// One open stream.
struct Feed {
    api: Arc<Api>,
    caller: Caller,
    waiting: VecDeque<Arc<Event>>,
    receiver: Receiver<Arc<Event>>,
    beat: Interval,
    /// Runs beside the heartbeats: whether the caller would still be let in.
    check: Option<Check>,
    must_reset: bool,
    is_over: bool,
    _place: Place,
}

impl Feed {
    fn open(api: Arc<Api>, caller: Caller, asked: Option<&str>, place: Place) -> Self {
        let last = asked.map(|text| text.trim().parse().unwrap_or(u64::MAX));
        let (resume, receiver) = api.parts.hub.subscribe(last);
        let (waiting, must_reset) = match resume {
            Resume::From(events) => (events.into(), false),
            Resume::Reset => (VecDeque::new(), true),
        };
        let mut beat = interval(api.parts.config.heartbeat);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            api,
            caller,
            waiting,
            receiver,
            beat,
            check: None,
            must_reset,
            is_over: false,
            _place: place,
        }
    }

    /// The next event; none when the stream is over.
    async fn next(&mut self) -> Option<Sent> {
        if self.is_over {
            return None;
        }
        let shutdown = self.api.shutdown.clone();
        loop {
            if self.must_reset {
                self.must_reset = false;
                return Some(Sent::default().event("reset").data("{}"));
            }
            if let Some(event) = self.waiting.pop_front() {
                match written(&event, &self.caller.scope) {
                    Some(sent) => return Some(sent),
                    None => continue,
                }
            }
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return None,
                _ = self.beat.tick() => return Some(self.heartbeat()),
                is_let_in = checked(&mut self.check) => {
                    self.check = None;
                    if !is_let_in {
                        self.is_over = true;
                        return Some(Sent::default().event("signed_out").data("{}"));
                    }
                }
                received = self.receiver.recv() => match received {
                    Ok(event) => self.waiting.push_back(event),
                    Err(RecvError::Lagged(missed)) => {
                        tracing::debug!(missed, "stream could not follow");
                        self.must_reset = true;
                    }
                    Err(RecvError::Closed) => return None,
                },
            }
        }
    }

    /// A heartbeat. It waits for nothing: while the database is busy the line is not dead.
    fn heartbeat(&mut self) -> Sent {
        if self.check.is_none() {
            self.check = Some(Box::pin(is_let_in(Arc::clone(&self.api), self.caller.clone())));
        }
        let revision = self.api.parts.hub.revision();
        let beat = json!({ "server_time": self.api.now(), "revision": revision });
        Sent::default().event("hb").data(beat.to_string())
    }
}

/// Whether a caller's session or key still stands. Where nothing can be known in time the stream goes on, and the next beat
/// asks again.
async fn is_let_in(api: Arc<Api>, caller: Caller) -> bool {
    !matches!(timeout(CHECK, caller.is_let_in(&api)).await, Ok(Ok(false)))
}

/// The end of a running check; never without one.
async fn checked(check: &mut Option<Check>) -> bool {
    match check {
        Some(check) => check.await,
        None => std::future::pending().await,
    }
}

/// The event as this scope may see it.
fn written(event: &Event, scope: &Scope) -> Option<Sent> {
    let (name, data) = match &event.body {
        Body::Alarm { site, json } if scope.allows(site) => ("alarm", json.clone()),
        Body::Gateway { site, json } if scope.allows(site) => ("gateway", json.clone()),
        Body::Values(sites) => {
            let seen = sites.iter().filter(|(site, _)| scope.allows(site));
            let elements: Vec<&str> = seen.map(|(_, json)| json.as_str()).collect();
            if elements.is_empty() {
                return None;
            }
            ("value", format!("{{\"values\":[{}]}}", elements.join(",")))
        }
        _ => return None,
    };
    Some(Sent::default().id(event.id.to_string()).event(name).data(data))
}

/// Sends gathered values four times a second until the service stops.
pub(super) async fn flush_values(api: Arc<Api>) {
    let mut tick = interval(FLUSH);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = api.shutdown.cancelled() => return,
            _ = tick.tick() => api.parts.hub.flush_values(),
        }
    }
}
