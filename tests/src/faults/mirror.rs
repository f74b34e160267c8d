//! Somebody at the broker who hears every frame of the gateways and publishes it again: twice, out of order, hours late.
//! The bytes are the gateway's own, so every MAC is right.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use rand::Rng;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Frames that are kept: some minutes.
const KEPT_MAX: usize = 4_000;
/// More than any frame.
const PACKET_MAX: usize = 4 << 20;
/// Pause after a lost connection.
const PAUSE: Duration = Duration::from_millis(100);

#[derive(Debug, Default)]
struct Kept {
    known: HashSet<Bytes>,
    frames: VecDeque<(String, Bytes)>,
    at_once: bool,
}

/// A mirror until it is dropped; it survives the broker's death.
#[derive(Debug)]
pub struct Mirror {
    client: AsyncClient,
    kept: Arc<Mutex<Kept>>,
    stop: CancellationToken,
}

impl Mirror {
    /// Connects to the broker at `port`.
    #[must_use]
    pub fn start(port: u16) -> Mirror {
        let mut options = MqttOptions::new("mirror", "127.0.0.1", port);
        options.set_max_packet_size(PACKET_MAX, PACKET_MAX);
        let (client, mut events) = AsyncClient::new(options, 2 * KEPT_MAX);
        let kept = Arc::new(Mutex::new(Kept::default()));
        let stop = CancellationToken::new();
        let (listener, heard, stopped) = (client.clone(), Arc::clone(&kept), stop.clone());
        TaskTracker::new().spawn(async move {
            let listen = async {
                loop {
                    match events.poll().await {
                        Ok(Event::Incoming(Packet::ConnAck(_))) => {
                            // A full queue means that the broker is going: the next connection asks again.
                            listener.try_subscribe("davy/v1/+/+/up", QoS::AtLeastOnce).ok();
                        }
                        Ok(Event::Incoming(Packet::Publish(p))) => {
                            if keep(&heard, &p.topic, &p.payload) {
                                let again = p.payload.to_vec();
                                listener.try_publish(p.topic, QoS::AtLeastOnce, false, again).ok();
                            }
                        }
                        Ok(_) => {}
                        Err(_) => tokio::time::sleep(PAUSE).await,
                    }
                }
            };
            tokio::select! {
                () = listen => {}
                () = stopped.cancelled() => {}
            }
        });
        Mirror { client, kept, stop }
    }

    /// From now on every frame goes out a second time at once, or no more.
    ///
    /// # Panics
    /// When another thread panicked under the lock.
    pub fn doubles(&self, at_once: bool) {
        self.kept.lock().expect("no panic under the lock").at_once = at_once;
    }

    /// Publishes kept frames again in a drawn order, each up to twice; gives how many.
    ///
    /// # Errors
    /// When the client's queue is full.
    ///
    /// # Panics
    /// When another thread panicked under the lock.
    pub fn again(&self, most: usize, random: &mut SmallRng) -> Result<usize> {
        let mut frames: Vec<_> =
            self.kept.lock().expect("no panic under the lock").frames.iter().cloned().collect();
        frames.shuffle(random);
        frames.truncate(most);
        let mut sent = 0;
        for (topic, frame) in frames {
            for _ in 0..random.random_range(1..=2) {
                let frame = frame.to_vec();
                self.client.try_publish(topic.clone(), QoS::AtLeastOnce, false, frame)?;
                sent += 1;
            }
        }
        Ok(sent)
    }
}

/// Keeps a frame; whether it is to go out again at once. One that was heard before is the mirror's own.
fn keep(kept: &Mutex<Kept>, topic: &str, frame: &Bytes) -> bool {
    let mut kept = kept.lock().expect("no panic under the lock");
    if !kept.known.insert(frame.clone()) {
        return false;
    }
    kept.frames.push_back((topic.to_owned(), frame.clone()));
    if kept.frames.len() > KEPT_MAX
        && let Some((_, old)) = kept.frames.pop_front()
    {
        kept.known.remove(&old);
    }
    kept.at_once
}

impl Drop for Mirror {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
