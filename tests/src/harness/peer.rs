//! Anybody at the broker: publishes whatever a test likes, on any topic, and keeps what it hears.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, Packet, QoS};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// More than any message of a test.
const PACKET_MAX: usize = 4 << 20;
/// How long the broker may take to confirm something, also the last of many.
const PATIENCE: Duration = Duration::from_secs(20);

/// A message with its topic.
pub type Heard = (String, Bytes);

#[derive(Debug, Default)]
struct Seen {
    heard: Vec<Heard>,
    confirmed: usize,
    subscribed: bool,
    ended: Option<String>,
}

/// A client of the broker until it is dropped.
#[derive(Debug)]
pub struct Peer {
    client: AsyncClient,
    seen: watch::Receiver<Seen>,
    published: usize,
    stop: CancellationToken,
}

impl Peer {
    /// Connects and listens to what matches `filter`.
    ///
    /// # Errors
    /// When the broker does not take it.
    pub async fn connect(port: u16, name: &str, filter: &str) -> Result<Peer> {
        let mut options = MqttOptions::new(name, "127.0.0.1", port);
        options.set_max_packet_size(PACKET_MAX, PACKET_MAX);
        let (client, events) = AsyncClient::new(options, 64);
        let (tell, mut seen) = watch::channel(Seen::default());
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        TaskTracker::new().spawn(async move {
            tokio::select! {
                () = listen(events, tell) => {}
                () = stopped.cancelled() => {}
            }
        });
        client.subscribe(filter, QoS::AtLeastOnce).await?;
        let subscribed = seen.wait_for(|s| s.subscribed || s.ended.is_some());
        timeout(PATIENCE, subscribed).await.context("no answer of the broker")??;
        Ok(Peer { client, seen, published: 0, stop })
    }

    /// Publishes with QoS 1 and waits until the broker has it.
    ///
    /// # Errors
    /// When the broker does not take it.
    pub async fn publish(&mut self, topic: &str, payload: Vec<u8>) -> Result<()> {
        self.publish_as(topic, false, payload).await
    }

    /// Publishes many, one behind the other without waiting between them, until the broker has all.
    ///
    /// # Errors
    /// When the broker does not take one.
    pub async fn publish_all(
        &mut self,
        messages: impl IntoIterator<Item = (String, Vec<u8>)>,
    ) -> Result<()> {
        for (topic, payload) in messages {
            self.client.publish(topic, QoS::AtLeastOnce, false, payload).await?;
            self.published += 1;
        }
        self.confirmed().await
    }

    /// Publishes many with QoS 0, of which nobody confirms anything.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn throw_all(
        &mut self,
        messages: impl IntoIterator<Item = (String, Vec<u8>)>,
    ) -> Result<()> {
        for (topic, payload) in messages {
            self.client.publish(topic, QoS::AtMostOnce, false, payload).await?;
        }
        Ok(())
    }

    /// The same; the broker keeps the message for whoever subscribes later.
    ///
    /// # Errors
    /// When the broker does not take it.
    pub async fn publish_retained(&mut self, topic: &str, payload: Vec<u8>) -> Result<()> {
        self.publish_as(topic, true, payload).await
    }

    async fn publish_as(&mut self, topic: &str, retain: bool, payload: Vec<u8>) -> Result<()> {
        ensure!(payload.len() < PACKET_MAX, "too long for this client");
        self.client.publish(topic, QoS::AtLeastOnce, retain, payload).await?;
        self.published += 1;
        self.confirmed().await
    }

    async fn confirmed(&mut self) -> Result<()> {
        let wanted = self.published;
        let confirmed = self.seen.wait_for(|s| s.confirmed >= wanted || s.ended.is_some());
        let seen = timeout(PATIENCE, confirmed).await.context("no answer of the broker")??;
        match &seen.ended {
            Some(why) => bail!("the connection ended: {why}"),
            None => Ok(()),
        }
    }

    /// Everything heard so far.
    #[must_use]
    pub fn heard(&self) -> Vec<Heard> {
        self.seen.borrow().heard.clone()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn listen(mut events: EventLoop, tell: watch::Sender<Seen>) {
    loop {
        match events.poll().await {
            Ok(Event::Incoming(Packet::Publish(p))) => {
                tell.send_modify(|s| s.heard.push((p.topic, p.payload)));
            }
            Ok(Event::Incoming(Packet::PubAck(_))) => tell.send_modify(|s| s.confirmed += 1),
            Ok(Event::Incoming(Packet::SubAck(_))) => tell.send_modify(|s| s.subscribed = true),
            Ok(_) => {}
            Err(error) => return tell.send_modify(|s| s.ended = Some(error.to_string())),
        }
    }
}
