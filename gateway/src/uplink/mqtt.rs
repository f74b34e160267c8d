//! One MQTT 3.1.1 connection: the only file that names rumqttc.
//!
//! rumqttc's session is not trusted: on a lost session it silently drops what it had accepted, and after
//! a packet-id collision it never publishes again. So a [`Connection`] is one client and one event loop
//! for one TCP connection, thrown away on the first error of any kind, and whoever uses it sends again
//! what was not acked. The event loop's `poll` is not cancel-safe: it runs in a task that does nothing
//! else. The user of a connection never waits on it, so a full queue cannot deadlock the two.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use rumqttc::{
    AsyncClient, Event as Polled, EventLoop, LastWill, MqttOptions, NetworkOptions, Outgoing,
    Packet, QoS, TlsConfiguration, Transport,
};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio_util::task::TaskTracker;

use crate::config::{Broker, Secret};

/// Publishes that may be under way on a connection, from the oldest unconfirmed on.
pub const WINDOW: usize = 64;
/// Bytes in these.
pub const WINDOW_BYTES: usize = 1 << 20;
/// Events between the event loop and its user.
const EVENTS: usize = 256;
/// A dead peer shows after at most twice this.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// Seconds to open the TCP connection.
const CONNECT_SECONDS: u64 = 10;
/// Bytes of topic and header around a frame.
const HEADER_BYTES: usize = 512;
/// Longest packet that is read. Longer than any frame: a longer message that somebody left at the broker on one of our
/// topics would end each connection anew, and with a bound far above it costs what it takes to read it, once.
const PACKET_MAX: usize = 4 << 20;

/// What happened on a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The broker took the connection.
    Up,
    /// The broker took the subscriptions.
    Subscribed,
    /// The oldest publish that was not written yet went out under this packet id.
    Written(u16),
    /// The broker confirmed a packet id.
    Confirmed(u16),
    /// A message came.
    Message {
        /// Its topic.
        topic: String,
        /// Its payload.
        payload: Bytes,
    },
}

/// Why a connection is of no use any more.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The file with the authority cannot be read.
    #[error("cannot read the broker's authority from {}", path.display())]
    Authority {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The connection failed or was closed.
    #[error("the connection to the broker failed")]
    Connection(#[source] Box<rumqttc::ConnectionError>),
    /// The broker refused the client or a subscription.
    #[error("the broker refused: {0}")]
    Refused(String),
    /// The client takes nothing more.
    #[error("the client's queue is full or closed")]
    Queue,
    /// The event loop ended.
    #[error("the event loop ended")]
    Ended,
}

/// The last will: published by the broker when the connection breaks.
#[derive(Debug, Clone)]
pub struct Will {
    /// Its topic.
    pub topic: String,
    /// Its payload, retained.
    pub payload: Vec<u8>,
}

/// One connection; dropping it closes the socket.
#[derive(Debug)]
pub struct Connection {
    client: AsyncClient,
    events: mpsc::Receiver<Result<Event, LinkError>>,
    driver: AbortHandle,
}

impl Connection {
    /// Begins to connect; [`Event::Up`] tells when the broker took it.
    ///
    /// # Errors
    /// [`LinkError::Authority`].
    pub fn open(
        broker: &Broker,
        client_id: &str,
        will: Option<Will>,
        tracker: &TaskTracker,
    ) -> Result<Self, LinkError> {
        let mut options = MqttOptions::new(client_id, broker.host.as_str(), broker.port);
        let packet = wire::limits::FRAME_BYTES_MAX + HEADER_BYTES;
        options
            .set_clean_session(true)
            .set_keep_alive(KEEP_ALIVE)
            .set_max_packet_size(PACKET_MAX, packet)
            .set_inflight(u16::try_from(4 * WINDOW).unwrap_or(u16::MAX));
        if let Some(user) = &broker.user {
            options.set_credentials(user, broker.password.as_ref().map_or("", Secret::expose));
        }
        if let Some(will) = will {
            options.set_last_will(LastWill::new(will.topic, will.payload, QoS::AtLeastOnce, true));
        }
        if broker.tls {
            options.set_transport(transport(broker)?);
        }
        let (client, mut driver) = AsyncClient::new(options, 2 * WINDOW);
        let mut network = NetworkOptions::new();
        network.set_connection_timeout(CONNECT_SECONDS);
        network.set_tcp_nodelay(true);
        driver.set_network_options(network);
        let (tell, events) = mpsc::channel(EVENTS);
        let driver = tracker.spawn(drive(driver, tell)).abort_handle();
        Ok(Self { client, events, driver })
    }

    /// The next event; after an error there is none.
    ///
    /// # Errors
    /// [`LinkError`]: throw the connection away.
    ///
    /// # Cancel safety
    /// Safe: an event is taken or not.
    pub async fn event(&mut self) -> Result<Event, LinkError> {
        self.events.recv().await.unwrap_or(Err(LinkError::Ended))
    }

    /// Hands a QoS 1 publish to the client.
    ///
    /// # Errors
    /// [`LinkError::Queue`]: throw the connection away.
    pub fn publish(&self, topic: &str, retain: bool, payload: Vec<u8>) -> Result<(), LinkError> {
        self.client
            .try_publish(topic, QoS::AtLeastOnce, retain, payload)
            .map_err(|_| LinkError::Queue)
    }

    /// Asks for the messages of a topic, QoS 1.
    ///
    /// # Errors
    /// [`LinkError::Queue`]: throw the connection away.
    pub fn subscribe(&self, topic: &str) -> Result<(), LinkError> {
        self.client.try_subscribe(topic, QoS::AtLeastOnce).map_err(|_| LinkError::Queue)
    }

    /// Says goodbye, so that the broker does not publish the last will.
    ///
    /// # Errors
    /// [`LinkError::Queue`] where not even that fits.
    pub fn disconnect(&self) -> Result<(), LinkError> {
        self.client.try_disconnect().map_err(|_| LinkError::Queue)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

async fn drive(mut event_loop: EventLoop, tell: mpsc::Sender<Result<Event, LinkError>>) {
    loop {
        let event = match event_loop.poll().await {
            Ok(polled) => known(polled),
            Err(e) => Some(Err(LinkError::Connection(Box::new(e)))),
        };
        let Some(event) = event else { continue };
        let last = event.is_err();
        if tell.send(event).await.is_err() || last {
            return;
        }
    }
}

/// What of rumqttc's events matters here.
fn known(polled: Polled) -> Option<Result<Event, LinkError>> {
    match polled {
        Polled::Incoming(Packet::ConnAck(ack)) => match ack.code {
            rumqttc::ConnectReturnCode::Success => Some(Ok(Event::Up)),
            code => Some(Err(LinkError::Refused(format!("{code:?}")))),
        },
        Polled::Incoming(Packet::SubAck(ack)) => {
            let refused = |c: &rumqttc::SubscribeReasonCode| {
                matches!(c, rumqttc::SubscribeReasonCode::Failure)
            };
            let refusal =
                || LinkError::Refused("a subscription; check the broker's ACL".to_owned());
            Some(if ack.return_codes.iter().any(refused) {
                Err(refusal())
            } else {
                Ok(Event::Subscribed)
            })
        }
        Polled::Incoming(Packet::PubAck(ack)) => Some(Ok(Event::Confirmed(ack.pkid))),
        Polled::Incoming(Packet::Publish(publish)) => {
            // No frame is as long: it is refused by its length, and held by nobody.
            let is_frame = publish.payload.len() <= wire::limits::FRAME_BYTES_MAX;
            let payload = if is_frame { publish.payload } else { Bytes::new() };
            Some(Ok(Event::Message { topic: publish.topic, payload }))
        }
        Polled::Outgoing(Outgoing::Publish(id)) => Some(Ok(Event::Written(id))),
        _ => None,
    }
}

fn transport(broker: &Broker) -> Result<Transport, LinkError> {
    // One provider, named: where a dependency brings a second one rustls would panic at the first use.
    let _installed_before = rustls::crypto::ring::default_provider().install_default();
    let Some(path) = &broker.ca_file else { return Ok(Transport::tls_with_default_config()) };
    let fail = |source| LinkError::Authority { path: path.clone(), source };
    let ca = std::fs::read(path).map_err(fail)?;
    Ok(Transport::tls_with_config(TlsConfiguration::Simple { ca, alpn: None, client_auth: None }))
}
