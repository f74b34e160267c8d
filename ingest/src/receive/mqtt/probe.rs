//! Tries what the broker does, for `davy-ingest check --broker`: lets anybody in, refuses or downgrades what the centre
//! needs, cuts long frames, drops messages for a slow subscriber.
//!
//! On topics of its own (`davy/check/…`, and one sample under a name of its own) and with clients of its own whose sessions
//! are clean: nothing stays behind, and the running service is not touched.

use std::time::Duration;

use rumqttc::{
    AsyncClient, ConnectReturnCode, ConnectionError, Event, EventLoop, Packet, Publish, QoS,
    SubscribeReasonCode,
};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;
use wire::GatewayName;
use wire::limits::FRAME_BYTES_MAX;
use wire::topic::{Topic, TopicKind, filter_state, filter_up};

use super::{PACKET_OVERHEAD, SecretError, options};
use crate::config::BrokerConfig;
use crate::secret::Secret;
use crate::selfwatch::PREFIX;

/// Messages that a subscriber leaves unacked: a plant's backlog after a cut brings as many at once.
pub const PROBE_MESSAGES: usize = 2_000;
/// Bytes of each.
const MESSAGE_BYTES: usize = 64;
/// Longest wait for one step.
const PATIENCE: Duration = Duration::from_secs(15);
/// After so long without a message none is on its way any more.
const QUIET: Duration = Duration::from_secs(2);
/// Requests that may wait in a client.
const REQUESTS: usize = 2 * PROBE_MESSAGES;

/// What a try found: a sentence, and whether it is a problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Stable word.
    pub code: &'static str,
    /// Whether it must be mended.
    pub is_problem: bool,
    /// In words, with how to mend it.
    pub text: String,
}

fn fine(code: &'static str, text: &str) -> Finding {
    Finding { code, is_problem: false, text: text.to_owned() }
}

fn problem(code: &'static str, text: impl Into<String>) -> Finding {
    Finding { code, is_problem: true, text: text.into() }
}

/// Tries the broker; every finding, problem or not.
///
/// # Errors
/// Where a file with a secret cannot be read.
pub async fn probe(broker: &BrokerConfig) -> Result<Vec<Finding>, SecretError> {
    let tag = Secret::random(6).map_or_else(|_| "probe".to_owned(), |t| t.reveal().to_owned());
    let topic = format!("davy/check/{tag}");
    let mut findings = Vec::new();
    match Client::connect(broker, &format!("-check-{tag}")).await? {
        Err(why) => {
            let text = format!(
                "the broker does not take the centre: {why}; see [broker] url, user, password_file"
            );
            return Ok(vec![problem("connect", text)]);
        }
        Ok(mut client) => {
            findings.push(subscriptions(&mut client).await);
        }
    }
    findings.push(own_sample(broker, &tag).await?);
    findings.push(anybody(broker, &tag).await?);
    findings.push(long_frame(broker, &topic, &tag).await?);
    findings.push(slow_subscriber(broker, &topic, &tag).await?);
    Ok(findings)
}

/// Whether the centre gets its subscriptions with QoS 1.
async fn subscriptions(client: &mut Client) -> Finding {
    for filter in [filter_up(), filter_state()] {
        match client.subscribe(filter).await {
            Ok(SubscribeReasonCode::Success(QoS::AtMostOnce)) => {
                return problem(
                    "qos",
                    format!(
                        "the broker gives {filter} less than QoS 1: allow QoS 1 (mosquitto: no max_qos 0)"
                    ),
                );
            }
            Ok(SubscribeReasonCode::Success(_)) => {}
            Ok(SubscribeReasonCode::Failure) => {
                return problem(
                    "acl",
                    format!(
                        "the broker refuses the subscription to {filter}: let the centre's user read davy/v1/#"
                    ),
                );
            }
            Err(why) => {
                return problem("acl", format!("no answer to the subscription to {filter}: {why}"));
            }
        }
    }
    fine("qos", "the centre's subscriptions have QoS 1")
}

/// Whether the centre may publish a sample of its own, as its self-watch does each 10 s: under a name that is none of a
/// plant's, and that no running centre takes for its own.
async fn own_sample(broker: &BrokerConfig, tag: &str) -> Result<Finding, SecretError> {
    let mut client = match Client::connect(broker, &format!("-check-self-{tag}")).await? {
        Ok(client) => client,
        Err(why) => return Ok(problem("self", why)),
    };
    let name = GatewayName::new(format!("{PREFIX}check")).expect("a name by its rules");
    let topic = Topic::new(name, TopicKind::Up).to_string();
    let refused = || {
        let text = format!(
            "the centre's own sample does not come back from {topic}: its test alarm will never pass and it will not be ready; let the centre's user write and read davy/v1/+/+/up (mosquitto: topic readwrite davy/v1/+/+/up; NATS: publish and subscribe davy.v1.*.*.up)"
        );
        problem("self", text)
    };
    if client.subscribe(&topic).await != Ok(SubscribeReasonCode::Success(QoS::AtLeastOnce)) {
        return Ok(refused());
    }
    if client.client.publish(&topic, QoS::AtLeastOnce, false, tag).await.is_err() {
        return Ok(problem("self", "the client takes nothing more"));
    }
    let came = client.until(|packet| match packet {
        Packet::Publish(publish) => (publish.payload == tag).then_some(()),
        _ => None,
    });
    Ok(match came.await {
        Ok(()) => fine("self", "the centre's own sample comes back"),
        Err(_) => refused(),
    })
}

/// Whether somebody without a name gets in.
async fn anybody(broker: &BrokerConfig, tag: &str) -> Result<Finding, SecretError> {
    let nobody = BrokerConfig {
        user: None,
        password_file: None,
        client_cert: None,
        client_id: format!("davy-anybody-{tag}"),
        ..broker.clone()
    };
    Ok(match Client::connect(&nobody, "").await? {
        Ok(_) => problem(
            "anonymous",
            "the broker lets in clients without a name: anybody may publish under a gateway's topics and push gateways out by their client ids (nothing forged is believed, but much is dropped); set allow_anonymous false, a user for each gateway, and an access list",
        ),
        Err(_) => fine("anonymous", "the broker refuses clients without a name"),
    })
}

/// Whether the longest frame passes.
async fn long_frame(broker: &BrokerConfig, topic: &str, tag: &str) -> Result<Finding, SecretError> {
    let mut client = match Client::connect(broker, &format!("-check-long-{tag}")).await? {
        Ok(client) => client,
        Err(why) => return Ok(problem("packet_size", why)),
    };
    if let Err(finding) = client.listen(topic).await {
        return Ok(finding);
    }
    let longest = vec![0x5a; FRAME_BYTES_MAX];
    if client.client.publish(topic, QoS::AtLeastOnce, false, longest).await.is_err() {
        return Ok(problem("packet_size", "the client takes nothing more"));
    }
    let came = client.until(|packet| match packet {
        Packet::Publish(publish) => Some(publish.payload.len()),
        _ => None,
    });
    Ok(match came.await {
        Ok(FRAME_BYTES_MAX) => fine("packet_size", "the longest frame passes"),
        Ok(_) | Err(_) => problem(
            "packet_size",
            format!(
                "a frame of {FRAME_BYTES_MAX} bytes does not pass: allow packets of {} bytes (mosquitto: max_packet_size and message_size_limit; NATS: max_payload)",
                FRAME_BYTES_MAX + PACKET_OVERHEAD
            ),
        ),
    })
}

/// How many of [`PROBE_MESSAGES`] confirmed messages a subscriber gets that acks none until all are published.
async fn slow_subscriber(
    broker: &BrokerConfig,
    topic: &str,
    tag: &str,
) -> Result<Finding, SecretError> {
    let slow = Client::connect(broker, &format!("-check-slow-{tag}")).await?;
    let fast = Client::connect(broker, &format!("-check-fast-{tag}")).await?;
    let (mut slow, mut fast) = match (slow, fast) {
        (Ok(slow), Ok(fast)) => (slow, fast),
        (Err(why), _) | (_, Err(why)) => return Ok(problem("queue", why)),
    };
    if let Err(finding) = slow.listen(topic).await {
        return Ok(finding);
    }
    for _ in 0..PROBE_MESSAGES {
        let message = vec![0x33; MESSAGE_BYTES];
        if fast.client.try_publish(topic, QoS::AtLeastOnce, false, message).is_err() {
            return Ok(problem("queue", "the client takes nothing more"));
        }
    }
    let mut confirmed = 0;
    // The slow one goes on reading, as the centre does, and acks nothing.
    let mut waiting: Vec<Publish> = Vec::new();
    while confirmed < PROBE_MESSAGES {
        let step = async {
            tokio::select! {
                packet = fast.packet() => packet.map(|p| (true, p)),
                packet = slow.packet() => packet.map(|p| (false, p)),
            }
        };
        match timeout(PATIENCE, step).await {
            Ok(Ok((true, Packet::PubAck(_)))) => confirmed += 1,
            Ok(Ok((false, Packet::Publish(publish)))) => waiting.push(publish),
            Ok(Ok(_)) => {}
            Ok(Err(why)) => return Ok(problem("queue", format!("the connection broke: {why}"))),
            Err(_) => {
                let text = format!(
                    "the broker confirmed {confirmed} of {PROBE_MESSAGES} messages and then no more"
                );
                return Ok(problem("queue", text));
            }
        }
    }
    let mut came = 0;
    loop {
        for publish in waiting.drain(..) {
            came += 1;
            if slow.client.try_ack(&publish).is_err() {
                return Ok(problem("queue", "the client takes nothing more"));
            }
        }
        if came >= PROBE_MESSAGES {
            return Ok(fine("queue", "a slow subscriber gets every message"));
        }
        match timeout(QUIET, slow.packet()).await {
            Ok(Ok(Packet::Publish(publish))) => waiting.push(publish),
            Ok(Ok(_)) => {}
            Ok(Err(why)) => return Ok(problem("queue", format!("the connection broke: {why}"))),
            Err(_) => break,
        }
    }
    let dropped = PROBE_MESSAGES - came;
    Ok(problem(
        "queue",
        format!(
            "the broker dropped {dropped} of {PROBE_MESSAGES} messages that it had confirmed, because their subscriber was slow: set max_queued_messages 0 (bounded by max_queued_bytes) and max_inflight_messages 1000 (mosquitto)"
        ),
    ))
}

/// A client of the probe's own. Its event loop is polled by a task that does nothing else: poll is not cancel-safe.
struct Client {
    client: AsyncClient,
    packets: mpsc::Receiver<Result<Packet, String>>,
    driver: AbortHandle,
}

impl Drop for Client {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

async fn drive(mut events: EventLoop, tell: mpsc::Sender<Result<Packet, String>>) {
    loop {
        let packet = match events.poll().await {
            Ok(Event::Incoming(packet)) => Ok(packet),
            Ok(Event::Outgoing(_)) => continue,
            Err(ConnectionError::ConnectionRefused(code)) => Err(format!("{code:?}")),
            Err(error) => Err(error.to_string()),
        };
        let is_last = packet.is_err();
        if tell.send(packet).await.is_err() || is_last {
            return;
        }
    }
}

impl Client {
    /// Connects; the inner error is the broker's refusal, in words.
    async fn connect(
        broker: &BrokerConfig,
        suffix: &str,
    ) -> Result<Result<Self, String>, SecretError> {
        let mut options = options(broker, suffix, true)?;
        options.set_manual_acks(true);
        options.set_inflight(u16::try_from(PROBE_MESSAGES).unwrap_or(u16::MAX));
        let (client, events) = AsyncClient::new(options, REQUESTS);
        let (tell, packets) = mpsc::channel(REQUESTS);
        let driver = TaskTracker::new().spawn(drive(events, tell)).abort_handle();
        let mut new = Self { client, packets, driver };
        let taken = new.until(|packet| match packet {
            Packet::ConnAck(ack) => Some(ack.code),
            _ => None,
        });
        Ok(match taken.await {
            Ok(ConnectReturnCode::Success) => Ok(new),
            Ok(code) => Err(format!("{code:?}")),
            Err(why) => Err(why),
        })
    }

    /// Subscribes to a topic of the probe's own, or says why nothing can be tried.
    async fn listen(&mut self, topic: &str) -> Result<(), Finding> {
        match self.subscribe(topic).await {
            Ok(SubscribeReasonCode::Success(QoS::AtLeastOnce | QoS::ExactlyOnce)) => Ok(()),
            _ => Err(problem(
                "not_tried",
                format!("not tried: let the centre's user read and write davy/check/# ({topic})"),
            )),
        }
    }

    async fn subscribe(&mut self, filter: &str) -> Result<SubscribeReasonCode, String> {
        self.client.try_subscribe(filter, QoS::AtLeastOnce).map_err(|e| e.to_string())?;
        let answered = self.until(|packet| match packet {
            Packet::SubAck(ack) => Some(ack.return_codes.first().copied()),
            _ => None,
        });
        answered.await?.ok_or_else(|| "an empty answer".to_owned())
    }

    /// The next packet of the broker.
    async fn packet(&mut self) -> Result<Packet, String> {
        self.packets.recv().await.unwrap_or_else(|| Err("the connection ended".to_owned()))
    }

    /// Waits for what `wanted` picks.
    async fn until<T>(&mut self, wanted: impl Fn(Packet) -> Option<T>) -> Result<T, String> {
        let looking = async {
            loop {
                if let Some(found) = wanted(self.packet().await?) {
                    return Ok(found);
                }
            }
        };
        let found = timeout(PATIENCE, looking).await;
        found.unwrap_or_else(|_| Err(format!("nothing within {} s", PATIENCE.as_secs())))
    }
}
