//! A gateway's northbound half with readings that the test makes.

use std::sync::Arc;
use std::time::Duration;

use gateway::bus::Southbound;
use gateway::bus::health::Health;
use gateway::clock::{Clock, SystemClock};
use gateway::config::{self, Config};
use gateway::north::{self, North};
use gateway::reading::{self, Mark, Reading, Replies, Reply, ReplyPoint, Value};
use gateway::status::Board;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::broker::Broker;

pub(crate) const KEY: [u8; 32] = [7; 32];
const POINTS: usize = 3;

pub(crate) struct Site {
    config: Config,
    dir: Arc<tempfile::TempDir>,
    north: Option<North>,
    readings: mpsc::Sender<Reading>,
}

impl Site {
    pub(crate) fn start(broker: &Broker, name: &str) -> Self {
        Self::start_as(broker, name, |_| {})
    }

    /// With another configuration.
    pub(crate) fn start_as(broker: &Broker, name: &str, edit: impl FnOnce(&mut Config)) -> Self {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        Self::start_in(broker, name, dir, edit)
    }

    /// With a clock of the test's.
    pub(crate) fn start_with(broker: &Broker, name: &str, clock: Arc<dyn Clock>) -> Self {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        let config = config(broker, name, dir.path());
        Self::of(config, dir, clock)
    }

    fn start_in(
        broker: &Broker,
        name: &str,
        dir: Arc<tempfile::TempDir>,
        edit: impl FnOnce(&mut Config),
    ) -> Self {
        let mut config = config(broker, name, dir.path());
        edit(&mut config);
        Self::of(config, dir, Arc::new(SystemClock::new()))
    }

    fn of(config: Config, dir: Arc<tempfile::TempDir>, clock: Arc<dyn Clock>) -> Self {
        let replies = Replies::default();
        for device in 0..2 {
            replies.add(reply(device)).unwrap();
        }
        let (sender, receiver) = reading::channel();
        let health = Health::new(&config);
        let failed = tokio_util::sync::CancellationToken::new();
        let south = Southbound { readings: receiver, replies, health, failed };
        let north = Some(north::start_with(&config, south, clock).unwrap());
        Self { config, dir, north, readings: sender }
    }

    /// Hands over `count` readings; returns how many samples these were.
    pub(crate) async fn poll(&mut self, count: u32) -> u64 {
        for n in 0..count {
            let values = (0..POINTS)
                .map(|p| Value { value: f64::from(n) + p as f64, mark: Mark::default() });
            let reading = Reading {
                device: n % 2,
                reply: n % 2,
                arrived: Instant::now(),
                values: values.collect(),
            };
            self.readings.send(reading).await.unwrap();
            // Several blocks: the sealer gets time to close one now and then.
            if n % 8 == 7 {
                tokio::time::sleep(Duration::from_millis(12)).await;
            }
        }
        u64::from(count) * POINTS as u64
    }

    pub(crate) fn board(&self) -> &Board {
        &self.north.as_ref().unwrap().board
    }

    /// Waits until what the parts show fits.
    pub(crate) fn until<F: Fn(&Board) -> bool>(
        &self,
        fits: F,
    ) -> impl Future<Output = ()> + use<F> {
        let board = self.board().clone();
        async move {
            let (mut shown, mut progress) = (board.shown.clone(), board.progress.clone());
            while !fits(&board) {
                tokio::select! {
                    changed = shown.changed() => changed.unwrap(),
                    changed = progress.changed() => changed.unwrap(),
                }
            }
        }
    }

    /// Waits until a part broke.
    pub(crate) async fn failed(&self) {
        self.north.as_ref().unwrap().failed().cancelled().await;
    }

    pub(crate) async fn stop(self) {
        let Self { north, readings, config, .. } = self;
        drop(readings);
        north.unwrap().finish(config.gateway.shutdown_grace).await;
    }

    pub(crate) async fn restart(self, broker: &Broker) -> Self {
        let (dir, name) = (Arc::clone(&self.dir), self.config.gateway.name.to_string());
        self.stop().await;
        Self::start_in(broker, &name, dir, |_| {})
    }
}

fn config(broker: &Broker, name: &str, dir: &std::path::Path) -> Config {
    Config {
        file: dir.join("gateway.toml"),
        profiles_dir: None,
        gateway: config::Gateway {
            name: wire::GatewayName::new(name).unwrap(),
            site: "site".to_owned(),
            key: wire::Key::new(KEY),
            spool_dir: dir.join("spool"),
            flush: Duration::from_millis(10),
            spool_bytes_max: 64 << 20,
            free_reserve_bytes: 0,
            replaces: None,
            shutdown_grace: Duration::from_millis(300),
        },
        broker: config::Broker {
            host: "127.0.0.1".to_owned(),
            port: broker.port,
            tls: false,
            user: None,
            password: None,
            ca_file: None,
        },
        status: None,
        buses: Vec::new(),
    }
}

fn reply(device: u32) -> Reply {
    Reply {
        device,
        device_id: format!("m{device}").into(),
        period_ms: 1000,
        points: (0..POINTS)
            .map(|p| ReplyPoint { quantity: format!("q{p}").into(), unit: "kW".into() })
            .collect(),
        profile: "test".into(),
        profile_version: "1".into(),
    }
}
