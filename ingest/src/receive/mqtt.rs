//! The broker: one subscriber with manual acks ([`subscribe`]), one publisher of acks ([`publish`]), and what a broker is
//! asked and watched for ([`probe`], [`profile`], [`count_dropped`]).
//!
//! Only this folder names rumqttc. Its own session is not trusted: one client and event loop per connection, thrown away on
//! any error.

use std::time::Duration;

use rumqttc::{MqttOptions, Transport};
use tokio_util::sync::CancellationToken;
use wire::limits::FRAME_BYTES_MAX;

use crate::config::BrokerConfig;

mod dropped;
pub mod probe;
pub mod profile;
mod publish;
mod subscribe;

pub use dropped::count_dropped;
pub use publish::publish;
pub use subscribe::{Sessions, UNACKED_MAX, subscribe};

/// Requests that may wait in a client.
const REQUESTS_MAX: usize = 64;
/// Acks in flight to the broker.
const INFLIGHT: u16 = 256;
/// First pause after a lost connection; doubled up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_millis(250);
/// Longest pause after a lost connection.
const PAUSE_MAX: Duration = Duration::from_secs(15);
/// Topic and MQTT header around a frame.
const PACKET_OVERHEAD: usize = 1_024;
/// Longest packet that is read: what MQTT allows. With a smaller bound one long message would end every connection anew,
/// because the broker sends it again on the next.
const PACKET_MAX: usize = 268_435_455;

/// Why the broker's options cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("could not read {}", path.display())]
pub struct SecretError {
    path: std::path::PathBuf,
    #[source]
    source: std::io::Error,
}

/// Options of one connection; files are read anew, so that a renewed certificate is taken.
fn options(broker: &BrokerConfig, suffix: &str, clean: bool) -> Result<MqttOptions, SecretError> {
    let read = |path: &std::path::PathBuf| {
        std::fs::read(path).map_err(|source| SecretError { path: path.clone(), source })
    };
    let id = format!("{}{suffix}", broker.client_id);
    let mut options = MqttOptions::new(id, broker.host.clone(), broker.port);
    options.set_keep_alive(broker.keep_alive);
    options.set_clean_session(clean);
    options.set_inflight(INFLIGHT);
    options.set_max_packet_size(PACKET_MAX, FRAME_BYTES_MAX + PACKET_OVERHEAD);
    if let Some(user) = &broker.user {
        let password = broker.password_file.as_ref().map(read).transpose()?.unwrap_or_default();
        let password = String::from_utf8_lossy(&password).trim_end().to_owned();
        options.set_credentials(user.clone(), password);
    }
    if broker.tls {
        let ca = broker.ca_file.as_ref().map(read).transpose()?.unwrap_or_default();
        let ours = broker.client_cert.as_ref();
        let ours = ours.map(|(c, k)| Ok::<_, SecretError>((read(c)?, read(k)?))).transpose()?;
        options.set_transport(Transport::tls(ca, ours, None));
    }
    Ok(options)
}

/// Pauses that double and are spread by a little, so that many centres do not knock in step.
#[derive(Debug)]
struct Backoff {
    next: Duration,
    spread: u64,
}

impl Backoff {
    fn new(seed: u64) -> Self {
        Self { next: PAUSE_MIN, spread: seed }
    }

    fn reset(&mut self) {
        self.next = PAUSE_MIN;
    }

    /// Says why a connection ended, once until the next one holds.
    fn say(&self, who: &str, why: &str) {
        if self.next == PAUSE_MIN {
            tracing::warn!(who, why, "connection to the broker lost, trying again");
        } else {
            tracing::debug!(who, why, "broker still away");
        }
    }

    async fn wait(&mut self, stop: &CancellationToken) {
        self.spread = self.spread.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let pause = self.next + Duration::from_millis(self.spread >> 56);
        self.next = (self.next * 2).min(PAUSE_MAX);
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => {}
        }
    }
}
