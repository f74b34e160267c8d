//! The subscriber: hands messages to the receiver, and acks them to the broker once the log has them.
//!
//! A message is acked in the order of receipt, and only on the connection that brought it. The task that polls does nothing else. While the receiver is behind it reads no more, so that what waits does so at the
//! broker: never in memory here, and never at the price of the connection, because a broker sends all that was under way
//! again on the next. mosquitto 2.0.11 keeps to its `max_inflight_messages` only until its queue moves on; then all of the
//! queue is under way at once.
//!
//! Acks do not go through the client's list of requests: under a flood the library reads some ten messages for each request
//! that it takes up. Tens of thousands of acks waited there, mosquitto looked through all of what they were for at each ack
//! that came, and those that found the list full were lost. They are written here, before more is read and while the receiver
//! is waited for.

use std::sync::mpsc::{SyncSender, TrySendError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use rumqttc::{
    AsyncClient, ConnectionError, Event, EventLoop, Packet, PubAck, Publish, QoS,
    SubscribeReasonCode,
};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use wire::limits::FRAME_BYTES_MAX;
use wire::topic::{Topic, filter_state, filter_up};

use super::profile::{Granted, Profile};
use super::{Backoff, REQUESTS_MAX, options};
use crate::chain_of;
use crate::config::BrokerConfig;
use crate::receive::worker::{Acker, Delivery, Ticket, ToWorker};
use crate::selfwatch::{Marks, is_synthetic};

/// Unacked messages that the broker may have out; the channel to the receiver holds as many.
pub const UNACKED_MAX: usize = 4_096;
/// What is subscribed to.
const FILTERS: usize = 2;
/// A receiver that takes nothing for this long costs the connection: it is stuck, and the broker would end it soon.
const BEHIND_MAX: Duration = Duration::from_secs(15);
/// Between two looks whether the receiver has room again.
const BEHIND_PAUSE: Duration = Duration::from_millis(2);

/// The connection that acks may go out on, and those it still owes.
#[derive(Debug, Default)]
pub struct Sessions {
    owed: Mutex<Owed>,
    /// Rung when there are more.
    bell: Notify,
}

#[derive(Debug, Default)]
struct Owed {
    session: u64,
    is_up: bool,
    /// Packet ids, in the order of receipt.
    packets: Vec<u16>,
}

impl Sessions {
    fn lock(&self) -> MutexGuard<'_, Owed> {
        self.owed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self) -> u64 {
        let mut owed = self.lock();
        *owed = Owed { session: owed.session + 1, is_up: true, packets: Vec::new() };
        owed.session
    }

    fn end(&self) {
        let mut owed = self.lock();
        (owed.is_up, owed.packets) = (false, Vec::new());
    }
}

impl Acker for Sessions {
    /// Never acks a message of an earlier connection: its packet id may mean another one by now.
    fn ack(&self, tickets: &[Ticket]) {
        let mut owed = self.lock();
        let (session, is_up) = (owed.session, owed.is_up);
        let ours = tickets.iter().filter(|t| is_up && t.session == session && t.packet != 0);
        owed.packets.extend(ours.map(|t| t.packet));
        drop(owed);
        self.bell.notify_one();
    }
}

/// Subscribes and hands messages to the receiver until `stop`.
pub async fn subscribe(
    broker: BrokerConfig,
    inbox: SyncSender<ToWorker>,
    sessions: Arc<Sessions>,
    profile: Arc<Profile>,
    marks: Arc<Marks>,
    stop: CancellationToken,
) {
    let metrics = profile.metrics();
    let mut pause = Backoff::new(1);
    while !stop.is_cancelled() {
        match options(&broker, "", false) {
            Ok(mut options) => {
                options.set_manual_acks(true);
                let (client, events) = AsyncClient::new(options, REQUESTS_MAX);
                let session = sessions.begin();
                let connection = Connection {
                    client,
                    session,
                    sessions: &sessions,
                    inbox: &inbox,
                    profile: &profile,
                    marks: &marks,
                };
                let run = connection.run(events, &mut pause);
                let ended = tokio::select! {
                    ended = run => ended,
                    () = stop.cancelled() => return,
                };
                sessions.end();
                metrics.broker_connected.set(0);
                pause.say("subscriber", &ended.to_string());
            }
            Err(error) => pause.say("subscriber", &chain_of(&error)),
        }
        metrics.broker_reconnects.inc();
        pause.wait(&stop).await;
    }
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("{0}")]
    Lost(Box<ConnectionError>),
    #[error("the broker refuses the subscription; mend its access list")]
    Refused,
    #[error("the receiver took none of {UNACKED_MAX} messages for {} s", BEHIND_MAX.as_secs())]
    Behind,
}

struct Connection<'a> {
    client: AsyncClient,
    session: u64,
    sessions: &'a Sessions,
    inbox: &'a SyncSender<ToWorker>,
    profile: &'a Profile,
    marks: &'a Marks,
}

impl Connection<'_> {
    async fn run(self, mut events: EventLoop, pause: &mut Backoff) -> Ended {
        let mut granted_filters = 0;
        loop {
            let is_subscribed = granted_filters == FILTERS;
            if is_subscribed && let Err(ended) = self.write_acks(&mut events).await {
                return ended;
            }
            // A poll that is cut off loses nothing once the subscriptions are granted: packets that were read wait in the
            // loop's state, written ones in its buffer, and of what it would write itself only a ping is left.
            let polled = tokio::select! {
                polled = events.poll() => polled,
                () = self.sessions.bell.notified(), if is_subscribed => continue,
            };
            let event = match polled {
                Ok(Event::Incoming(packet)) => packet,
                Ok(Event::Outgoing(_)) => continue,
                Err(error) => return Ended::Lost(Box::new(error)),
            };
            let went_on = match event {
                Packet::ConnAck(ack) => self.connected(ack.session_present),
                Packet::SubAck(ack) => {
                    granted_filters += 1;
                    let granted = granted(&ack.return_codes);
                    self.profile.granted(granted);
                    if granted == Granted::Refused {
                        Err(Ended::Refused)
                    } else {
                        // Less than QoS 1 is told, and taken: nothing at all would be worse.
                        pause.reset();
                        Ok(())
                    }
                }
                Packet::Publish(publish) => {
                    let owing = is_subscribed.then_some(&mut events);
                    self.deliver(publish, owing).await
                }
                _ => Ok(()),
            };
            if let Err(ended) = went_on {
                return ended;
            }
        }
    }

    fn connected(&self, session_present: bool) -> Result<(), Ended> {
        tracing::info!(session_present, "connected to the broker");
        self.profile.connected(session_present);
        self.profile.metrics().broker_connected.set(1);
        let filters: [_; FILTERS] = [filter_up(), filter_state()];
        for filter in filters {
            // The queue of a new client has room.
            self.client.try_subscribe(filter, QoS::AtLeastOnce).map_err(|_| Ended::Refused)?;
        }
        Ok(())
    }

    /// Writes the acks that are owed, in the order of receipt.
    async fn write_acks(&self, events: &mut EventLoop) -> Result<(), Ended> {
        let packets = std::mem::take(&mut self.sessions.lock().packets);
        let Some(network) = events.network.as_mut().filter(|_| !packets.is_empty()) else {
            return Ok(());
        };
        let written = async {
            for packet in packets {
                spool::fail_point!("puback.before");
                network.write(Packet::PubAck(PubAck::new(packet))).await?;
            }
            network.flush().await
        };
        match tokio::time::timeout(BEHIND_MAX, written).await {
            Ok(written) => written.map_err(|e| Ended::Lost(Box::new(e.into()))),
            Err(_) => Err(Ended::Lost(Box::new(ConnectionError::FlushTimeout))),
        }
    }

    /// Hands a message over; `owing` is what acks can be written to while the receiver has no room.
    async fn deliver(&self, publish: Publish, owing: Option<&mut EventLoop>) -> Result<(), Ended> {
        let ticket = Ticket { session: self.session, packet: publish.pkid };
        let Ok(topic) = publish.topic.parse::<Topic>() else {
            self.profile.metrics().dropped("topic");
            return self.send(ToWorker::Void(ticket), owing).await;
        };
        if is_synthetic(topic.gateway.as_str()) {
            self.marks.returned();
        } else {
            self.profile.metrics().received_bytes.inc_by(publish.payload.len() as u64);
        }
        // What is longer than any frame goes on without its bytes: it is no frame either way, and the inbox stays small.
        let is_frame = publish.payload.len() <= FRAME_BYTES_MAX;
        let payload = if is_frame { publish.payload } else { Bytes::new() };
        let retained = publish.retain;
        spool::fail_point!("receive.delivered");
        let message = ToWorker::Message(Delivery { topic, payload, retained, ticket });
        self.send(message, owing).await
    }

    /// Hands something over, waiting until there is room.
    async fn send(
        &self,
        message: ToWorker,
        mut owing: Option<&mut EventLoop>,
    ) -> Result<(), Ended> {
        let (mut message, mut since) = (message, None);
        loop {
            message = match self.inbox.try_send(message) {
                Ok(()) => return Ok(()),
                Err(TrySendError::Full(message)) => message,
                Err(TrySendError::Disconnected(_)) => return Err(Ended::Behind),
            };
            let since = *since.get_or_insert_with(tokio::time::Instant::now);
            if since.elapsed() >= BEHIND_MAX {
                return Err(Ended::Behind);
            }
            if let Some(events) = &mut owing {
                self.write_acks(events).await?;
            }
            tokio::time::sleep(BEHIND_PAUSE).await;
        }
    }
}

/// The least that an answer to a subscription grants.
fn granted(codes: &[SubscribeReasonCode]) -> Granted {
    let of = |code: &SubscribeReasonCode| match code {
        SubscribeReasonCode::Success(QoS::AtLeastOnce | QoS::ExactlyOnce) => Granted::Whole,
        SubscribeReasonCode::Success(QoS::AtMostOnce) => Granted::Less,
        SubscribeReasonCode::Failure => Granted::Refused,
    };
    let all = codes.iter().map(of);
    all.reduce(|a, b| if a == Granted::Whole { b } else { a }).unwrap_or(Granted::Refused)
}
