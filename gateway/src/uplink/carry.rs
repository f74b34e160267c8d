//! What an uplink does while it is connected: which messages go out, which jobs the spool's work gets, what an ack changes.
//!
//! No async and no connection: it is told what happened, books it, and leaves what is to be published in its outbox, so
//! that `uplink/session.rs` and a simulator drive the same. It lives as long as one pair of connections.

use std::collections::VecDeque;

use spool::{Fetched, Key};
use tokio::sync::oneshot;
use tracing::{debug, error, info, warn};
use wire::frame::{self, Kind};
use wire::limits::FRAME_BYTES_MAX;
use wire::message::{Ack, Command, Item, Order, Uplink as Message};
use wire::{GatewayName, ManifestKey};

use super::lanes::Lane;
use super::mqtt::{WINDOW, WINDOW_BYTES};
use super::window::{Window, WindowError};
use super::{Publish, Uplink};
use crate::seal::thread::{Job, chain};
use crate::state;

/// A broker that confirms nothing for this long while something is open is given up, ms.
pub const STALL_MS: u64 = 20_000;
/// The state is published at least this often, ms.
const STATE_MS: u64 = 30_000;
/// Blocks read from the spool at once.
const FETCH: usize = 16;
/// Manifests waiting to be sent.
const MANIFESTS_MAX: usize = wire::limits::NEED_MANIFEST_MAX;
/// Command ids remembered, so that none is carried out twice.
const COMMANDS_MAX: usize = 64;
/// How long to wait before looking again where the spool's queue is full, ms.
const RETRY_MS: u64 = 20;

/// Why the connections are of no use any more.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// The client reported what cannot be.
    #[error("the MQTT client contradicts itself")]
    Window(#[from] WindowError),
    /// Nothing is confirmed.
    #[error("the broker confirmed nothing for {} s", STALL_MS / 1000)]
    Stalled,
}

#[derive(Debug, Clone, Copy)]
enum Sent {
    Block,
    Manifest,
    State,
}

type Blocks = Vec<(Key, Fetched)>;

/// What the spool's work was asked for.
#[derive(Debug)]
pub enum Found {
    /// Blocks.
    Blocks(Vec<(Key, Fetched)>),
    /// A manifest.
    Manifest(Option<Vec<u8>>),
}

/// See the module.
#[derive(Debug)]
pub struct Carry {
    window: Window<Sent>,
    fetching: Option<oneshot::Receiver<Blocks>>,
    lanes_of: Vec<(Key, Lane)>,
    manifests: VecDeque<ManifestKey>,
    reading: Option<oneshot::Receiver<Option<Vec<u8>>>>,
    state_due: u64,
    confirmed_at: u64,
    retry_at: Option<u64>,
    /// Counter of the first message of this connection.
    first_counter: u64,
    out: VecDeque<Publish>,
}

impl Carry {
    /// Both connections are up and the topics of the centre are subscribed.
    #[must_use]
    pub fn new(uplink: &Uplink) -> Self {
        let now = uplink.now();
        let first_counter = uplink.gate.next();
        let current = uplink.seams.shown.borrow().manifest;
        Self {
            window: Window::new(WINDOW, WINDOW_BYTES),
            fetching: None,
            lanes_of: Vec::new(),
            manifests: current.into_iter().collect(),
            reading: None,
            state_due: now,
            confirmed_at: now,
            retry_at: None,
            first_counter,
            out: VecDeque::new(),
        }
    }

    /// The next message for the broker, in order.
    pub fn take_out(&mut self) -> Option<Publish> {
        self.out.pop_front()
    }

    /// True where the broker has confirmed everything.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.window.is_idle()
    }

    /// How many more messages may go out now.
    #[must_use]
    pub fn free(&self) -> usize {
        self.window.free()
    }

    /// How long nothing is to be done unless something happens, ms.
    #[must_use]
    pub fn idle_ms(&self, uplink: &Uplink) -> u64 {
        let now = uplink.now();
        let lanes = uplink.lanes.wake_at(now).filter(|_| self.fetching.is_none());
        let next = lanes.into_iter().chain(self.retry_at).chain([self.state_due]).min();
        next.unwrap_or(now).saturating_sub(now).clamp(1, 1_000)
    }

    /// Asks for what is to be sent next, as far as the window has room.
    pub fn pump(&mut self, uplink: &mut Uplink) {
        self.retry_at = None;
        let now = uplink.now();
        if now >= self.state_due && self.window.free() > 0 {
            self.send_state(uplink, true);
        }
        if self.reading.is_none()
            && self.window.free() > 0
            && let Some(key) = self.manifests.front().copied()
        {
            let (tell, found) = oneshot::channel();
            if self.ask(uplink, Job::Manifest(key, tell)) {
                self.manifests.pop_front();
                self.reading = Some(found);
            }
        }
        // What is being read has its places in the window kept.
        if self.fetching.is_some() || self.window.free() < 2 {
            return;
        }
        let Ok(place) = uplink.seams.jobs.try_reserve() else {
            self.retry_at = Some(now + RETRY_MS);
            return;
        };
        let most = (self.window.free() - 1).min(FETCH);
        let lanes = &mut uplink.lanes;
        self.lanes_of = std::iter::from_fn(|| lanes.next(now)).take(most).collect();
        if !self.lanes_of.is_empty() {
            let (tell, found) = oneshot::channel();
            place.send(Job::Fetch(self.lanes_of.iter().map(|(k, _)| *k).collect(), tell));
            self.fetching = Some(found);
        }
    }

    fn ask(&mut self, uplink: &Uplink, job: Job) -> bool {
        let asked = uplink.seams.jobs.try_send(job).is_ok();
        if !asked {
            self.retry_at = Some(uplink.now() + RETRY_MS);
        }
        asked
    }

    /// The oldest message that was not written yet went out under this packet id.
    ///
    /// # Errors
    /// [`Broken::Window`].
    pub fn written(&mut self, id: u16) -> Result<(), Broken> {
        Ok(self.window.sent(id)?)
    }

    /// The broker confirmed a packet id.
    pub fn confirmed(&mut self, uplink: &Uplink, id: u16) {
        self.confirmed_at = uplink.now();
        spool::fail_point!("gateway.confirmed");
        if self.window.confirmed(id).is_some() {
            uplink.show(|p| p.confirmed += 1);
        }
    }

    /// What the spool's work answered; pending while it was asked for nothing.
    ///
    /// # Cancel safety
    /// Safe: an answer is taken or not; hand it to [`Carry::found`].
    pub async fn answered(&mut self) -> Found {
        tokio::select! {
            blocks = answer(&mut self.fetching) => Found::Blocks(blocks.unwrap_or_default()),
            manifest = answer(&mut self.reading) => Found::Manifest(manifest.flatten()),
        }
    }

    /// Takes the answers that are there, without waiting.
    pub fn take_answers(&mut self, uplink: &mut Uplink) {
        if let Some(Ok(blocks)) = self.fetching.as_mut().map(oneshot::Receiver::try_recv) {
            self.found(uplink, Found::Blocks(blocks));
        }
        if let Some(Ok(manifest)) = self.reading.as_mut().map(oneshot::Receiver::try_recv) {
            self.found(uplink, Found::Manifest(manifest));
        }
    }

    /// Sends what was read.
    pub fn found(&mut self, uplink: &mut Uplink, found: Found) {
        match found {
            Found::Blocks(blocks) => {
                self.fetching = None;
                self.send_blocks(uplink, blocks);
            }
            Found::Manifest(bytes) => {
                self.reading = None;
                self.send_manifest(uplink, bytes);
            }
        }
    }

    /// After each event: shows how it stands.
    ///
    /// # Errors
    /// [`Broken::Stalled`].
    pub fn settle(&mut self, uplink: &mut Uplink) -> Result<(), Broken> {
        let now = uplink.now();
        if !self.window.is_idle() && now.saturating_sub(self.confirmed_at) > STALL_MS {
            return Err(Broken::Stalled);
        }
        uplink.share_in_flight();
        let lanes = &uplink.lanes;
        let (awaited, smoothed) = (lanes.awaited(), lanes.smoothed_ack_ms());
        uplink.progress.send_if_modified(|p| {
            let changed = p.awaited != awaited || p.smoothed_ack_ms != smoothed;
            (p.awaited, p.smoothed_ack_ms) = (awaited, smoothed);
            p.waiting_since = (awaited > 0).then(|| p.waiting_since.unwrap_or(now));
            changed
        });
        Ok(())
    }

    fn send_blocks(&mut self, uplink: &mut Uplink, found: Blocks) {
        for (key, fetched) in found {
            // Evicted or damaged meanwhile, or the disk does not give it back. It stays booked: the next view says
            // where it is not held any more, and asking again at once would only keep the disk busy.
            let Fetched::Block(block) = fetched else { continue };
            if self.window.free() == 0 {
                uplink.lanes.unsent(key);
                continue;
            }
            let lane =
                self.lanes_of.iter().find(|(k, _)| *k == key).map_or(Lane::Backfill, |l| l.1);
            let bytes = self.send(uplink, Item::Block(block.bytes), Sent::Block);
            if bytes > 0 {
                uplink.show(|p| p.sent(lane, bytes));
            }
        }
    }

    fn send_manifest(&mut self, uplink: &mut Uplink, bytes: Option<Vec<u8>>) {
        if let Some(bytes) = bytes
            && self.window.free() > 0
        {
            let bytes = self.send(uplink, Item::Manifest(bytes), Sent::Manifest);
            uplink.show(|p| p.manifests += u64::from(bytes > 0));
        }
    }

    fn send(&mut self, uplink: &mut Uplink, item: Item, what: Sent) -> usize {
        let message = Message { stamp: uplink.stamp(), item };
        let payload = uplink.seal(Kind::Uplink, &message.encode());
        let bytes = payload.len();
        if bytes > FRAME_BYTES_MAX {
            // The broker would cut the connection, each time anew.
            if uplink.progress.borrow().oversized == 0 {
                error!(?what, bytes, most = FRAME_BYTES_MAX, "too large for a frame, not sent");
            }
            uplink.show(|p| p.oversized += 1);
            return 0;
        }
        if self.window.is_idle() {
            self.confirmed_at = uplink.now();
        }
        self.window.submit(what, bytes);
        spool::fail_point!("gateway.send");
        let topic = uplink.topics.up.clone();
        self.out.push_back(Publish { topic, retain: false, payload });
        bytes
    }

    /// Publishes what the gateway says of itself; the caller looks first whether there is room.
    pub fn send_state(&mut self, uplink: &mut Uplink, online: bool) {
        let stamp = uplink.stamp();
        let mut state = state::message(&uplink.seams, stamp, online);
        state.first_counter = self.first_counter;
        let payload = uplink.seal(Kind::State, &state.encode());
        if self.window.is_idle() {
            self.confirmed_at = uplink.now();
        }
        self.window.submit(Sent::State, payload.len());
        let topic = uplink.topics.state.clone();
        self.out.push_back(Publish { topic, retain: true, payload });
        self.state_due = uplink.now() + STATE_MS;
    }

    /// A message came on a topic of the centre.
    pub fn heard(&mut self, uplink: &mut Uplink, topic: &str, payload: &[u8]) {
        let done = if topic == uplink.topics.ack {
            self.heard_ack(uplink, payload)
        } else if topic == uplink.topics.cmd {
            self.heard_command(uplink, payload)
        } else {
            Ok(())
        };
        if let Err(why) = done {
            uplink.show(|p| p.acks_forged += 1);
            warn!(topic, reason = %why, "message from the centre refused");
        }
    }

    fn heard_ack(&mut self, uplink: &mut Uplink, payload: &[u8]) -> Result<(), String> {
        let body = frame::open(&uplink.seams.key, Kind::Ack, payload).map_err(|e| chain(&e))?;
        let ack = Ack::decode(body).map_err(|e| chain(&e))?;
        spool::fail_point!("gateway.ack");
        is_for_us(uplink, &ack.gateway)?;
        let now = uplink.now();
        // Where the thread cannot take it the ack is as if lost: acks are repeated.
        let Ok(place) = uplink.seams.jobs.try_reserve() else { return Ok(()) };
        let counted = match uplink.gate.judge(ack.echo.as_ref(), ack.log_id, now) {
            Ok(counted) => counted,
            Err(why) => {
                debug!(reason = why.code(), log_id = %ack.log_id, "ack ignored");
                uplink.progress.send_modify(|p| p.acks_ignored += 1);
                return Ok(());
            }
        };
        if counted.new_log {
            uplink.lanes.new_log();
        }
        uplink.lanes.acked(now, &ack.epochs, ack.slow_down_ms);
        if let Some(want) = ack.want {
            uplink.lanes.wanted(now, want);
        }
        for key in &ack.need_manifest {
            if self.manifests.len() < MANIFESTS_MAX && !self.manifests.contains(key) {
                self.manifests.push_back(*key);
            }
        }
        uplink.progress.send_modify(|p| {
            p.acks += 1;
            p.waiting_since = None;
        });
        let round_trip = counted.fresh.map(|sent| (sent, now));
        place.send(Job::Ack { ack: Box::new(ack), new_log: counted.new_log, round_trip });
        Ok(())
    }

    fn heard_command(&mut self, uplink: &mut Uplink, payload: &[u8]) -> Result<(), String> {
        let body = frame::open(&uplink.seams.key, Kind::Command, payload).map_err(|e| chain(&e))?;
        let command = Command::decode(body).map_err(|e| chain(&e))?;
        is_for_us(uplink, &command.gateway)?;
        let seams = &uplink.seams;
        let now = seams.shown.borrow().wall_ms(&*seams.clock);
        let seen = &mut uplink.carried_out;
        if seen.contains(&command.id) || now > command.expires_at {
            return Ok(());
        }
        seen.push_back(command.id.clone());
        if seen.len() > COMMANDS_MAX {
            seen.pop_front();
        }
        match command.order {
            Order::Ping => self.state_due = uplink.now(),
            // Nothing at the edge evaluates rules yet: said, not silently dropped.
            Order::RuleSet(set) => {
                info!(version = %set.version, "rule set not taken: no edge rules here")
            }
            Order::AlarmAck(ack) => {
                info!(rule = %ack.rule, "alarm ack not taken: no edge rules here")
            }
        }
        Ok(())
    }
}

fn is_for_us(uplink: &Uplink, gateway: &GatewayName) -> Result<(), String> {
    if *gateway == uplink.seams.gateway { Ok(()) } else { Err(format!("it is for {gateway}")) }
}

/// The answer of the spool's work, or never where nothing was asked. `None` where the work is gone.
async fn answer<T>(asked: &mut Option<oneshot::Receiver<T>>) -> Option<T> {
    match asked {
        Some(receiver) => receiver.await.ok(),
        None => std::future::pending().await,
    }
}
