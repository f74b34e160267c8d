//! The uplink: carries blocks from the spool to the centre until the centre's log has them.
//!
//! One task. It owns the decision core (`uplink/lanes.rs`), the gate that tells which acks count
//! (`uplink/echo.rs`) and, while connected, two connections: one that publishes, one that hears acks and
//! commands (an ack must never wait behind a full publish window). Any error of either throws both away;
//! after a jittered pause they are made anew and what is due is sent again. It never frees a block: it
//! hands acks that count to the spool's thread.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use spool::KeySet;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};
use wire::frame::{self, Kind};
use wire::message::Stamp;
use wire::topic::{Topic, TopicKind};
use wire::{GatewayName, LogId};

use crate::bus::health::Health;
use crate::clock::Clock;
use crate::config::Broker;
use crate::epoch::Start;
use crate::seal::thread::{Job, Shown, chain};
use crate::state;

pub mod carry;
pub mod echo;
pub mod lanes;
pub mod mqtt;
pub mod progress;
mod session;
pub mod window;

use echo::Gate;
use lanes::{Lanes, View};
use progress::Progress;

/// First pause after a lost connection.
const PAUSE_MIN: Duration = Duration::from_millis(500);
/// Longest pause: an alarm behind a link that has just come back waits no longer.
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// A connection that lasted this long begins the pauses anew, ms.
const GOOD_MS: u64 = 30_000;

/// What the uplink needs.
#[derive(Debug)]
pub struct Seams {
    /// The broker.
    pub broker: Broker,
    /// Who we are.
    pub gateway: GatewayName,
    /// The key that every message is authenticated with.
    pub key: wire::Key,
    /// Epoch and boot.
    pub start: Start,
    /// The spool's thread.
    pub jobs: mpsc::Sender<Job>,
    /// What there is to send.
    pub view: watch::Receiver<View>,
    /// The account, for the state message.
    pub shown: watch::Receiver<Shown>,
    /// Where the spool's thread looks up what is in flight.
    pub in_flight: Arc<Mutex<KeySet>>,
    /// The log that the acks in the spool belong to.
    pub log_id: Option<LogId>,
    /// Health of the devices, for the state message.
    pub health: Health,
    /// The machine's clocks.
    pub clock: Arc<dyn Clock>,
    /// Where tasks are spawned.
    pub tracker: TaskTracker,
}

/// The uplink.
#[derive(Debug)]
pub struct Uplink {
    seams: Seams,
    topics: Topics,
    gate: Gate,
    lanes: Lanes,
    progress: watch::Sender<Progress>,
    carried_out: std::collections::VecDeque<String>,
}

/// A message for the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    /// Its topic.
    pub topic: String,
    /// Whether the broker keeps it.
    pub retain: bool,
    /// The frame.
    pub payload: Vec<u8>,
}

#[derive(Debug)]
struct Topics {
    up: String,
    ack: String,
    state: String,
    cmd: String,
}

impl Uplink {
    /// An uplink that is not running yet, and where its progress is shown.
    #[must_use]
    pub fn new(seams: Seams) -> (Self, watch::Receiver<Progress>) {
        let topic = |kind| Topic::new(seams.gateway.clone(), kind).to_string();
        let topics = Topics {
            up: topic(TopicKind::Up),
            ack: topic(TopicKind::Ack),
            state: topic(TopicKind::State),
            cmd: topic(TopicKind::Cmd),
        };
        let (progress, shown) = watch::channel(Progress::default());
        let gate = Gate::new(seams.start.boot, seams.log_id);
        let carried_out = std::collections::VecDeque::new();
        (Self { seams, topics, gate, lanes: Lanes::new(), progress, carried_out }, shown)
    }

    /// Runs until `stop`, then goes on until the backlog is delivered or `grace` is over.
    pub async fn run(mut self, stop: CancellationToken, grace: Duration) {
        let mut pause = PAUSE_MIN;
        let mut down_since: Option<u64> = None;
        while !stop.is_cancelled() {
            let begun = self.now();
            self.take_view();
            let ended = session::run(&mut self, &stop, grace).await;
            let now = self.now();
            let was_up = self.progress.borrow().connected;
            self.disconnected();
            match ended {
                Ok(()) => return self.show(|p| p.connected = false),
                Err(e) => {
                    let text = chain(&e);
                    if down_since.is_none() || was_up {
                        warn!(error = %text, "uplink lost");
                        down_since = Some(now);
                    }
                    self.show(|p| (p.connected, p.last_error) = (false, text));
                }
            }
            if was_up && now.saturating_sub(begun) >= GOOD_MS {
                pause = PAUSE_MIN;
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(jittered(pause)) => {}
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
        info!("uplink stopped without a connection");
    }

    /// Takes what the spool holds now.
    pub fn take_view(&mut self) {
        let view = self.seams.view.borrow_and_update().clone();
        self.lanes.view(view);
    }

    /// Both connections are up.
    pub fn connected(&mut self) {
        self.show(|p| {
            (p.connected, p.waiting_since) = (true, None);
            p.sessions += 1;
        });
        info!("uplink connected");
    }

    /// The connections are gone.
    pub fn disconnected(&mut self) {
        self.lanes.disconnected(self.now());
        self.share_in_flight();
    }

    /// What the broker is to publish when the connection breaks.
    #[must_use]
    pub fn will(&self) -> Publish {
        let payload = self.seal(Kind::State, &state::will(&self.seams).encode());
        Publish { topic: self.topics.state.clone(), retain: true, payload }
    }

    fn now(&self) -> u64 {
        self.seams.clock.mono_ms()
    }

    fn show(&self, edit: impl FnOnce(&mut Progress)) {
        self.progress.send_modify(edit);
    }

    fn share_in_flight(&self) {
        let mut shared = self.seams.in_flight.lock().unwrap_or_else(PoisonError::into_inner);
        if *shared != *self.lanes.in_flight() {
            *shared = self.lanes.in_flight().clone();
        }
    }

    fn stamp(&mut self) -> Stamp {
        Stamp {
            gateway: self.seams.gateway.clone(),
            boot: self.seams.start.boot,
            counter: self.gate.count(),
            mono_ms: self.now(),
        }
    }

    fn seal(&self, kind: Kind, body: &[u8]) -> Vec<u8> {
        frame::seal(&self.seams.key, kind, body)
    }
}

/// Between half and one and a half of `pause`.
fn jittered(pause: Duration) -> Duration {
    let drawn = getrandom::u32().unwrap_or(u32::MAX / 2);
    pause / 2 + pause.mul_f64(f64::from(drawn) / f64::from(u32::MAX))
}
