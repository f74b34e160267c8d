//! Listens to what the broker counts of itself: messages that it dropped.
//!
//! On a connection of its own, because some brokers end one that asks for what they do not have (rumqttd ends it for any
//! topic that begins with `$`): with the publisher's the acks of all gateways ended.

use std::sync::Arc;
use std::time::Duration;

use rumqttc::{AsyncClient, Event, EventLoop, Packet, QoS, SubscribeReasonCode};
use tokio_util::sync::CancellationToken;

use super::profile::{DROPPED_TOPIC, Profile};
use super::{REQUESTS_MAX, options};
use crate::chain_of;
use crate::config::BrokerConfig;

/// Pause after the connection was lost.
const AGAIN: Duration = Duration::from_secs(15);
/// Pause after a broker that has no such count: another may stand in its place by then.
const ASK_AGAIN: Duration = Duration::from_secs(600);

/// Counts until `stop`. A broker without a count is left alone.
pub async fn count_dropped(broker: BrokerConfig, profile: Arc<Profile>, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let pause = match options(&broker, "-count", true) {
            Ok(options) => {
                let (client, events) = AsyncClient::new(options, REQUESTS_MAX);
                tokio::select! {
                    pause = listen(&client, events, &profile) => pause,
                    () = stop.cancelled() => return,
                }
            }
            Err(error) => {
                tracing::debug!(why = chain_of(&error), "cannot ask for the broker's count");
                AGAIN
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// Listens as long as the connection lasts; gives how long to wait then.
async fn listen(client: &AsyncClient, mut events: EventLoop, profile: &Profile) -> Duration {
    let (mut has_asked, mut has_it) = (false, false);
    loop {
        match events.poll().await {
            Ok(Event::Incoming(Packet::ConnAck(_))) => {
                has_asked = true;
                if client.try_subscribe(DROPPED_TOPIC, QoS::AtMostOnce).is_err() {
                    return AGAIN;
                }
            }
            Ok(Event::Incoming(Packet::SubAck(ack))) => {
                has_it = !ack.return_codes.contains(&SubscribeReasonCode::Failure);
                if !has_it {
                    return ASK_AGAIN;
                }
            }
            Ok(Event::Incoming(Packet::Publish(publish))) if publish.topic == DROPPED_TOPIC => {
                profile.dropped(&publish.payload);
            }
            Ok(_) => {}
            Err(error) => {
                tracing::debug!(%error, "no count of the broker's any more");
                return if has_asked && !has_it { ASK_AGAIN } else { AGAIN };
            }
        }
    }
}
