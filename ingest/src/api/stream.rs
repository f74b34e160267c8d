//! `GET /stream`: server-sent events. `alarm`, `value`, `gateway`, a heartbeat `hb`, `reset` when the client must fetch
//! everything again, `signed_out` when its session has ended. Every stream ends when the service stops.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, State as Shared};
use axum::http::HeaderMap;
use axum::response::Sse;
use axum::response::sse::Event as Sent;
use futures_util::Stream;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio::time::{Interval, MissedTickBehavior, interval};
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
) -> Result<Sse<impl Stream<Item = Result<Sent, Infallible>>>, ApiError> {
    let on_duty = matches!(caller.role, Role::Duty | Role::Officer);
    let place = api.streams.take(&caller.name, on_duty)?;
    let header = headers.get("last-event-id").and_then(|value| value.to_str().ok());
    let asked = from.last_event_id.as_deref().or(header);
    let feed = Feed::open(api, caller, asked, place);
    Ok(Sse::new(futures_util::stream::unfold(feed, |mut feed| async {
        let event = feed.next().await?;
        Some((Ok(event), feed))
    })))
}

/// One open stream.
struct Feed {
    api: Arc<Api>,
    caller: Caller,
    waiting: VecDeque<Arc<Event>>,
    receiver: Receiver<Arc<Event>>,
    beat: Interval,
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
        Self { api, caller, waiting, receiver, beat, must_reset, is_over: false, _place: place }
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
                _ = self.beat.tick() => return Some(self.heartbeat().await),
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

    /// A heartbeat, unless the session has ended meanwhile. An open stream counts as use of its session.
    async fn heartbeat(&mut self) -> Sent {
        if let Some(token) = &self.caller.session {
            let policy = self.api.parts.config.sessions;
            let user = self.api.state().session_user(token, policy, self.api.now()).await;
            if matches!(user, Ok(None)) {
                self.is_over = true;
                return Sent::default().event("signed_out").data("{}");
            }
        }
        let revision = self.api.parts.hub.revision();
        let beat = json!({ "server_time": self.api.now(), "revision": revision });
        Sent::default().event("hb").data(beat.to_string())
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
