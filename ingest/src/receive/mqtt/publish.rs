//! The publisher: acks and commands for the gateways.

use std::sync::Arc;

use bytes::Bytes;
use rumqttc::{AsyncClient, Event, Packet, QoS};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use super::profile::Profile;
use super::{Backoff, REQUESTS_MAX, options};
use crate::chain_of;
use crate::config::BrokerConfig;
use crate::receive::worker::Outgoing;

/// Publishes acks and commands until `stop`. What cannot go out is dropped: acks are repeated.
pub async fn publish(
    broker: BrokerConfig,
    mut outbox: mpsc::Receiver<Outgoing>,
    profile: Arc<Profile>,
    stop: CancellationToken,
) {
    let mut pause = Backoff::new(2);
    while !stop.is_cancelled() {
        match options(&broker, "-ack", true) {
            Ok(options) => {
                let (client, mut events) = AsyncClient::new(options, REQUESTS_MAX);
                // Polling and feeding are two futures that both live as long as the connection: poll is not cancel-safe.
                let up = Notify::new();
                let poll = async {
                    loop {
                        match events.poll().await {
                            Ok(Event::Incoming(Packet::ConnAck(_))) => {
                                pause.reset();
                                up.notify_one();
                            }
                            Ok(_) => {}
                            Err(error) => return error.to_string(),
                        }
                    }
                };
                let feed = async {
                    up.notified().await;
                    while let Some(message) = outbox.recv().await {
                        let topic = message.topic.to_string();
                        let frame = Bytes::from(message.frame);
                        spool::fail_point!("ack.publish");
                        // Acks are repeated: one that is lost heals.
                        let less = profile.takes_less();
                        let qos = if less { QoS::AtMostOnce } else { QoS::AtLeastOnce };
                        if client.publish_bytes(topic, qos, false, frame).await.is_err() {
                            break;
                        }
                    }
                    "the receiver stopped".to_owned()
                };
                let ended = tokio::select! {
                    ended = poll => ended,
                    ended = feed => ended,
                    () = stop.cancelled() => return,
                };
                if outbox.is_closed() {
                    return;
                }
                pause.say("publisher", &ended);
            }
            Err(error) => pause.say("publisher", &chain_of(&error)),
        }
        pause.wait(&stop).await;
    }
}
