//! One pair of connections, from connecting to the first error.

use std::collections::VecDeque;
use std::time::Duration;

use spool::{Fetched, Key};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};
use wire::frame::{self, Kind};
use wire::limits::FRAME_BYTES_MAX;
use wire::message::{Ack, Command, Item, Order, Uplink as Message};
use wire::{GatewayName, ManifestKey};

use super::Uplink;
use super::lanes::Lane;
use super::mqtt::{Connection, Event, LinkError, WINDOW, WINDOW_BYTES, Will};
use super::window::{Window, WindowError};
use crate::seal::thread::{Job, chain};
use crate::state;

/// Time to connect and subscribe.
const CONNECT: Duration = Duration::from_secs(20);
/// A broker that confirms nothing for this long while something is open is given up, ms.
const STALL_MS: u64 = 20_000;
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

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Lost {
    #[error("link lost")]
    Link(#[from] LinkError),
    #[error("the MQTT client contradicts itself")]
    Window(#[from] WindowError),
    #[error("no connection within {} s", CONNECT.as_secs())]
    Slow,
    #[error("the broker confirmed nothing for {} s", STALL_MS / 1000)]
    Stalled,
    #[error("the spool's thread is gone")]
    Spool,
}

#[derive(Debug, Clone, Copy)]
enum Sent {
    Block,
    Manifest,
    State,
}

struct Session<'a> {
    uplink: &'a mut Uplink,
    up: Connection,
    down: Connection,
    window: Window<Sent>,
    fetching: Option<oneshot::Receiver<Vec<(Key, Fetched)>>>,
    lanes_of: Vec<(Key, Lane)>,
    manifests: VecDeque<ManifestKey>,
    reading: Option<oneshot::Receiver<Option<Vec<u8>>>>,
    state_due: u64,
    confirmed_at: u64,
    retry_at: Option<u64>,
}

/// Connects, carries, and returns `Ok` only at an orderly stop.
pub(super) async fn run(
    uplink: &mut Uplink,
    stop: &CancellationToken,
    grace: Duration,
) -> Result<(), Lost> {
    let mut session = tokio::select! {
        made = timeout(CONNECT, connect(uplink)) => made.map_err(|_| Lost::Slow)??,
        () = stop.cancelled() => return Ok(()),
    };
    session.uplink.show(|p| {
        (p.connected, p.waiting_since) = (true, None);
        p.sessions += 1;
    });
    info!("uplink connected");
    session.carry(stop).await?;
    let end = Instant::now() + grace;
    if tokio::time::timeout_at(end, session.drain()).await.is_err() {
        info!(awaited = session.uplink.lanes.awaited(), "stopped with a backlog on disk");
    }
    session.goodbye().await
}

async fn connect(uplink: &mut Uplink) -> Result<Session<'_>, Lost> {
    let seams = &uplink.seams;
    let will = Will {
        topic: uplink.topics.state.clone(),
        payload: uplink.seal(Kind::State, &state::will(seams).encode()),
    };
    let id = |what| format!("davy-{}-{what}", seams.gateway);
    let mut up = Connection::open(&seams.broker, &id("up"), Some(will), &seams.tracker)?;
    let mut down = Connection::open(&seams.broker, &id("down"), None, &seams.tracker)?;
    while down.event().await? != Event::Up {}
    down.subscribe(&uplink.topics.ack)?;
    down.subscribe(&uplink.topics.cmd)?;
    for _ in 0..2 {
        while down.event().await? != Event::Subscribed {}
    }
    while up.event().await? != Event::Up {}
    let now = uplink.now();
    let current = uplink.seams.shown.borrow().manifest;
    Ok(Session {
        uplink,
        up,
        down,
        window: Window::new(WINDOW, WINDOW_BYTES),
        fetching: None,
        lanes_of: Vec::new(),
        manifests: current.into_iter().collect(),
        reading: None,
        state_due: now,
        confirmed_at: now,
        retry_at: None,
    })
}

impl Session<'_> {
    async fn carry(&mut self, stop: &CancellationToken) -> Result<(), Lost> {
        while !stop.is_cancelled() {
            tokio::select! {
                step = self.step() => step?,
                () = stop.cancelled() => {}
            }
        }
        Ok(())
    }

    /// Goes on until nothing is left to deliver.
    async fn drain(&mut self) -> Result<(), Lost> {
        while !self.uplink.seams.view.borrow().backlog.is_empty() {
            self.step().await?;
        }
        Ok(())
    }

    /// Waits for one thing to happen, then sends what may be sent.
    ///
    /// # Cancel safety
    /// Safe: events, views and answers are taken or not, and each is dealt with without waiting.
    async fn step(&mut self) -> Result<(), Lost> {
        self.pump()?;
        let wake = Instant::now() + Duration::from_millis(self.idle_ms());
        tokio::select! {
            event = self.up.event() => self.published(event?)?,
            event = self.down.event() => if let Event::Message { topic, payload } = event? {
                self.heard(&topic, &payload);
            },
            changed = self.uplink.seams.view.changed() => {
                changed.map_err(|_| Lost::Spool)?;
                let view = self.uplink.seams.view.borrow_and_update().clone();
                self.uplink.lanes.view(view);
            }
            found = answer(&mut self.fetching) => {
                self.fetching = None;
                self.send_blocks(found.unwrap_or_default())?;
            }
            found = answer(&mut self.reading) => {
                self.reading = None;
                self.send_manifest(found.flatten())?;
            }
            () = sleep_until(wake) => {}
        }
        if !self.window.is_idle() && self.since(self.confirmed_at) > STALL_MS {
            return Err(Lost::Stalled);
        }
        self.uplink.share_in_flight();
        let (lanes, now) = (&self.uplink.lanes, self.uplink.now());
        let (awaited, smoothed) = (lanes.awaited(), lanes.smoothed_ack_ms());
        self.uplink.progress.send_if_modified(|p| {
            let changed = p.awaited != awaited || p.smoothed_ack_ms != smoothed;
            (p.awaited, p.smoothed_ack_ms) = (awaited, smoothed);
            p.waiting_since = (awaited > 0).then(|| p.waiting_since.unwrap_or(now));
            changed
        });
        Ok(())
    }

    fn since(&self, at: u64) -> u64 {
        self.uplink.now().saturating_sub(at)
    }

    /// How long nothing is to be done unless something happens.
    fn idle_ms(&self) -> u64 {
        let now = self.uplink.now();
        let lanes = self.uplink.lanes.wake_at(now).filter(|_| self.fetching.is_none());
        let next = lanes.into_iter().chain(self.retry_at).chain([self.state_due]).min();
        next.unwrap_or(now).saturating_sub(now).clamp(1, 1_000)
    }

    /// Asks for what is to be sent next, as far as the window has room.
    fn pump(&mut self) -> Result<(), Lost> {
        self.retry_at = None;
        let now = self.uplink.now();
        if now >= self.state_due && self.window.free() > 0 {
            self.send_state(true)?;
        }
        if self.reading.is_none()
            && self.window.free() > 0
            && let Some(key) = self.manifests.front().copied()
        {
            let (tell, found) = oneshot::channel();
            if self.ask(Job::Manifest(key, tell)) {
                self.manifests.pop_front();
                self.reading = Some(found);
            }
        }
        // What is being read has its places in the window kept.
        if self.fetching.is_some() || self.window.free() < 2 {
            return Ok(());
        }
        let Ok(place) = self.uplink.seams.jobs.try_reserve() else {
            self.retry_at = Some(now + RETRY_MS);
            return Ok(());
        };
        let most = (self.window.free() - 1).min(FETCH);
        let lanes = &mut self.uplink.lanes;
        self.lanes_of = std::iter::from_fn(|| lanes.next(now)).take(most).collect();
        if !self.lanes_of.is_empty() {
            let (tell, found) = oneshot::channel();
            place.send(Job::Fetch(self.lanes_of.iter().map(|(k, _)| *k).collect(), tell));
            self.fetching = Some(found);
        }
        Ok(())
    }

    fn ask(&mut self, job: Job) -> bool {
        let asked = self.uplink.seams.jobs.try_send(job).is_ok();
        if !asked {
            self.retry_at = Some(self.uplink.now() + RETRY_MS);
        }
        asked
    }

    fn published(&mut self, event: Event) -> Result<(), Lost> {
        match event {
            Event::Written(id) => self.window.sent(id)?,
            Event::Confirmed(id) => {
                self.confirmed_at = self.uplink.now();
                spool::fail_point!("gateway.confirmed");
                if self.window.confirmed(id).is_some() {
                    self.uplink.show(|p| p.confirmed += 1);
                }
            }
            Event::Up | Event::Subscribed | Event::Message { .. } => {}
        }
        Ok(())
    }

    fn send_blocks(&mut self, found: Vec<(Key, Fetched)>) -> Result<(), Lost> {
        for (key, fetched) in found {
            // Evicted or damaged meanwhile, or the disk does not give it back. It stays booked: the next view says
            // where it is not held any more, and asking again at once would only keep the disk busy.
            let Fetched::Block(block) = fetched else { continue };
            if self.window.free() == 0 {
                self.uplink.lanes.unsent(key);
                continue;
            }
            let lane =
                self.lanes_of.iter().find(|(k, _)| *k == key).map_or(Lane::Backfill, |l| l.1);
            let bytes = self.send(Item::Block(block.bytes), Sent::Block)?;
            if bytes > 0 {
                self.uplink.show(|p| p.sent(lane, bytes));
            }
        }
        Ok(())
    }

    fn send_manifest(&mut self, bytes: Option<Vec<u8>>) -> Result<(), Lost> {
        if let Some(bytes) = bytes
            && self.window.free() > 0
        {
            let bytes = self.send(Item::Manifest(bytes), Sent::Manifest)?;
            self.uplink.show(|p| p.manifests += u64::from(bytes > 0));
        }
        Ok(())
    }

    fn send(&mut self, item: Item, what: Sent) -> Result<usize, Lost> {
        let message = Message { stamp: self.uplink.stamp(), item };
        let payload = self.uplink.seal(Kind::Uplink, &message.encode());
        let bytes = payload.len();
        if bytes > FRAME_BYTES_MAX {
            // The broker would cut the connection, each time anew.
            if self.uplink.progress.borrow().oversized == 0 {
                error!(?what, bytes, most = FRAME_BYTES_MAX, "too large for a frame, not sent");
            }
            self.uplink.show(|p| p.oversized += 1);
            return Ok(0);
        }
        if self.window.is_idle() {
            self.confirmed_at = self.uplink.now();
        }
        self.window.submit(what, bytes);
        spool::fail_point!("gateway.send");
        self.up.publish(&self.uplink.topics.up, false, payload)?;
        spool::fail_point!("gateway.sent");
        Ok(bytes)
    }

    fn send_state(&mut self, online: bool) -> Result<(), Lost> {
        let stamp = self.uplink.stamp();
        let state = state::message(&self.uplink.seams, stamp, online);
        let payload = self.uplink.seal(Kind::State, &state.encode());
        if self.window.is_idle() {
            self.confirmed_at = self.uplink.now();
        }
        self.window.submit(Sent::State, payload.len());
        self.up.publish(&self.uplink.topics.state, true, payload)?;
        self.state_due = self.uplink.now() + STATE_MS;
        Ok(())
    }

    async fn goodbye(&mut self) -> Result<(), Lost> {
        if self.window.free() > 0 {
            self.send_state(false)?;
        }
        let end = Instant::now() + Duration::from_secs(2);
        while !self.window.is_idle() {
            match tokio::time::timeout_at(end, self.up.event()).await {
                Ok(event) => self.published(event?)?,
                Err(_) => break,
            }
        }
        self.up.disconnect()?;
        self.down.disconnect()?;
        // The driver ends when the broker closes; a second is enough where it does not.
        let closed = async { while self.up.event().await.is_ok() {} };
        if timeout(Duration::from_secs(1), closed).await.is_err() {
            debug!("the broker did not close the connection");
        }
        Ok(())
    }

    fn heard(&mut self, topic: &str, payload: &[u8]) {
        let done = if topic == self.uplink.topics.ack {
            self.heard_ack(payload)
        } else if topic == self.uplink.topics.cmd {
            self.heard_command(payload)
        } else {
            Ok(())
        };
        if let Err(why) = done {
            self.uplink.show(|p| p.acks_forged += 1);
            warn!(topic, reason = %why, "message from the centre refused");
        }
    }

    fn heard_ack(&mut self, payload: &[u8]) -> Result<(), String> {
        let body =
            frame::open(&self.uplink.seams.key, Kind::Ack, payload).map_err(|e| chain(&e))?;
        let ack = Ack::decode(body).map_err(|e| chain(&e))?;
        spool::fail_point!("gateway.ack");
        self.is_for_us(&ack.gateway)?;
        let now = self.uplink.now();
        // Where the thread cannot take it the ack is as if lost: acks are repeated.
        let Ok(place) = self.uplink.seams.jobs.try_reserve() else { return Ok(()) };
        let counted = match self.uplink.gate.judge(ack.echo.as_ref(), ack.log_id, now) {
            Ok(counted) => counted,
            Err(why) => {
                debug!(reason = why.code(), log_id = %ack.log_id, "ack ignored");
                self.uplink.progress.send_modify(|p| p.acks_ignored += 1);
                return Ok(());
            }
        };
        if counted.new_log {
            self.uplink.lanes.new_log();
        }
        self.uplink.lanes.acked(now, &ack.epochs, ack.slow_down_ms);
        if let Some(want) = ack.want {
            self.uplink.lanes.wanted(now, want);
        }
        for key in &ack.need_manifest {
            if self.manifests.len() < MANIFESTS_MAX && !self.manifests.contains(key) {
                self.manifests.push_back(*key);
            }
        }
        self.uplink.progress.send_modify(|p| {
            p.acks += 1;
            p.waiting_since = None;
        });
        let round_trip = counted.fresh.map(|sent| (sent, now));
        place.send(Job::Ack { ack: Box::new(ack), new_log: counted.new_log, round_trip });
        Ok(())
    }

    fn heard_command(&mut self, payload: &[u8]) -> Result<(), String> {
        let body =
            frame::open(&self.uplink.seams.key, Kind::Command, payload).map_err(|e| chain(&e))?;
        let command = Command::decode(body).map_err(|e| chain(&e))?;
        self.is_for_us(&command.gateway)?;
        let seams = &self.uplink.seams;
        let now = seams.shown.borrow().wall_ms(&*seams.clock);
        let seen = &mut self.uplink.carried_out;
        if seen.contains(&command.id) || now > command.expires_at {
            return Ok(());
        }
        seen.push_back(command.id.clone());
        if seen.len() > COMMANDS_MAX {
            seen.pop_front();
        }
        match command.order {
            Order::Ping => self.state_due = self.uplink.now(),
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

    fn is_for_us(&self, gateway: &GatewayName) -> Result<(), String> {
        if *gateway == self.uplink.seams.gateway {
            Ok(())
        } else {
            Err(format!("it is for {gateway}"))
        }
    }
}

/// The answer of the spool's thread, or never where nothing was asked. `None` where the thread is gone.
async fn answer<T>(asked: &mut Option<oneshot::Receiver<T>>) -> Option<T> {
    match asked {
        Some(receiver) => receiver.await.ok(),
        None => std::future::pending().await,
    }
}
