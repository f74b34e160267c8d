//! One pair of connections, from connecting to the first error.

use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use super::Uplink;
use super::carry::{Broken, Carry};
use super::mqtt::{Connection, Event, LinkError, Will};

/// Time to connect and subscribe.
const CONNECT: Duration = Duration::from_secs(20);

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Lost {
    #[error("link lost")]
    Link(#[from] LinkError),
    #[error(transparent)]
    Broken(#[from] Broken),
    #[error("no connection within {} s", CONNECT.as_secs())]
    Slow,
    #[error("the spool's thread is gone")]
    Spool,
}

struct Session<'a> {
    uplink: &'a mut Uplink,
    up: Connection,
    down: Connection,
    carry: Carry,
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
    session.uplink.connected();
    session.carry(stop).await?;
    let end = Instant::now() + grace;
    if tokio::time::timeout_at(end, session.drain()).await.is_err() {
        info!(awaited = session.uplink.lanes.awaited(), "stopped with a backlog on disk");
    }
    session.goodbye().await
}

async fn connect(uplink: &mut Uplink) -> Result<Session<'_>, Lost> {
    let seams = &uplink.seams;
    let said = uplink.will();
    let will = Will { topic: said.topic, payload: said.payload };
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
    let carry = Carry::new(uplink);
    Ok(Session { uplink, up, down, carry })
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
        self.carry.pump(self.uplink);
        self.publish()?;
        let wake = Instant::now() + Duration::from_millis(self.carry.idle_ms(self.uplink));
        tokio::select! {
            event = self.up.event() => self.published(event?)?,
            event = self.down.event() => if let Event::Message { topic, payload } = event? {
                self.carry.heard(self.uplink, &topic, &payload);
            },
            changed = self.uplink.seams.view.changed() => {
                changed.map_err(|_| Lost::Spool)?;
                self.uplink.take_view();
            }
            found = self.carry.answered() => self.carry.found(self.uplink, found),
            () = sleep_until(wake) => {}
        }
        self.carry.settle(self.uplink)?;
        self.publish()
    }

    /// Hands what is to go out to the client.
    fn publish(&mut self) -> Result<(), Lost> {
        while let Some(out) = self.carry.take_out() {
            self.up.publish(&out.topic, out.retain, out.payload)?;
            spool::fail_point!("gateway.sent");
        }
        Ok(())
    }

    fn published(&mut self, event: Event) -> Result<(), Lost> {
        match event {
            Event::Written(id) => self.carry.written(id)?,
            Event::Confirmed(id) => self.carry.confirmed(self.uplink, id),
            Event::Up | Event::Subscribed | Event::Message { .. } => {}
        }
        Ok(())
    }

    async fn goodbye(&mut self) -> Result<(), Lost> {
        if self.carry.free() > 0 {
            self.carry.send_state(self.uplink, false);
            self.publish()?;
        }
        let end = Instant::now() + Duration::from_secs(2);
        while !self.carry.is_idle() {
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
}
