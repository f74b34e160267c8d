//! Who is measured: Davy with one of its stores, Telegraf; each with a broker and, where it needs one, a database of its own.

use std::cell::Cell;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rumqttc::{AsyncClient, Event, Incoming, MqttOptions, Outgoing, QoS};
use tempfile::TempDir;
use tokio::time::Instant;
use wire::Key;
use wire::topic::part_of;

use super::load::{GATEWAY, Load, QUANTITIES, SITE, Shape, meter};
use super::raw::Way;
use super::sink::Sink;
use crate::harness::davy::{Centre, Store};
use crate::harness::influx::{BUCKET, Influx, ORG, TOKEN};
use crate::harness::mosquitto::Mosquitto;
use crate::harness::process::{Process, server_binary};

/// Longest wait for a contender.
const LIMIT: Duration = Duration::from_secs(180);
/// Between two looks whether the last reading has arrived.
pub(super) const LOOK: Duration = Duration::from_millis(20);
/// Publishes of the load that wait for the broker.
const UNACKED_MAX: u16 = 500;

/// Where Davy stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    Embedded,
    Influx,
    /// A database that takes everything and keeps nothing.
    Sink,
}

/// The centre with what it needs, running.
#[derive(Debug)]
pub(super) struct Davy {
    pub(super) centre: Centre,
    pub(super) broker: Mosquitto,
    pub(super) influx: Option<Influx>,
    pub(super) sink: Sink,
    pub(super) key: Key,
    _folder: TempDir,
}

impl Davy {
    /// Starts broker, database and centre with one gateway, signed in.
    ///
    /// # Errors
    /// When a part cannot be started.
    pub(super) async fn start(registry: &str, target: Target) -> Result<Davy> {
        built()?;
        let folder = TempDir::new()?;
        let broker = Mosquitto::start().await?;
        let influx = if target == Target::Influx { Some(Influx::start().await?) } else { None };
        let sink = Sink::start().await?;
        let store = match &influx {
            Some(influx) => Store::Influx(influx.url()),
            None if target == Target::Sink => Store::Sink(sink.url.clone()),
            None => Store::Embedded,
        };
        let address = format!("127.0.0.1:{}", broker.port);
        let mut centre = Centre::prepare(folder.path(), &address, &store, registry)?;
        let key = Key::from_hex(&centre.add_gateway(GATEWAY, SITE)?)?;
        centre.start().await?;
        centre.sign_in().await?;
        Ok(Davy { centre, broker, influx, sink, key, _folder: folder })
    }

    /// Provisions one more gateway of the site and gives its key.
    ///
    /// # Errors
    /// When it is refused.
    pub(super) fn add_gateway(&self, name: &str) -> Result<Key> {
        Ok(Key::from_hex(&self.centre.add_gateway(name, SITE)?)?)
    }

    /// Process id of the centre.
    ///
    /// # Errors
    /// When it does not run.
    pub(super) fn id(&self) -> Result<u32> {
        self.centre.id().context("a running centre")
    }

    /// Whether a reading can be queried.
    ///
    /// # Errors
    /// When nobody answers.
    pub(super) async fn holds(&self, load: &Load, reading: usize) -> Result<bool> {
        match &self.influx {
            Some(influx) => influx_holds(influx, load, reading).await,
            None => centre_holds(&self.centre, load, reading).await,
        }
    }

    /// The last lines of what the centre wrote.
    pub(super) fn words(&self) -> String {
        tail(&self.centre.output())
    }
}

/// Topic of a gateway's blocks.
pub(super) fn topic(gateway: &str) -> String {
    format!("davy/v1/{:02}/{gateway}/up", part_of(gateway))
}

/// A site with its meters in roles that rules watch.
pub(super) fn registry(shape: Shape) -> String {
    let mut text = format!(
        "[[site]]\nid = {SITE:?}\nname = \"压测企业\"\nname_en = \"Bench works\"\nuscc = \"91533401MA6N8A122Y\"\n\
         county = \"533401\"\nsectors = [\"冶金\"]\nzone = \"Asia/Shanghai\"\n\
         ratings = {{ P_ref = \"200000 kW\", P_base = \"180 kW\" }}\n\n[[site.gateway]]\nname = {GATEWAY:?}\n\n"
    );
    let points: Vec<String> = QUANTITIES[..shape.quantities]
        .iter()
        .map(|(q, _, _)| format!("{{ quantity = {q:?}, period_ms = 1000 }}"))
        .collect();
    let points = points.join(", ");
    for i in 0..shape.meters {
        let id = meter(i);
        text.push_str(&format!(
            "[[site.device]]\nid = {id:?}\nname = {id:?}\nrole = \"production\"\ngateway = {GATEWAY:?}\n\
             ratings = {{ I_N = \"630 A\", U_N = \"400 V\", S_N = \"1250 kVA\", P_idle = \"12 kW\", P_run = \"40 kW\" }}\n\
             points = [{points}]\n\n"
        ));
    }
    text
}

async fn centre_holds(centre: &Centre, load: &Load, reading: usize) -> Result<bool> {
    let (device, t) = (meter(reading % load.shape.meters), load.time(reading));
    let path =
        format!("/series?site={SITE}&device={device}&quantity=p_total&from={t}&to={}&raw=1", t + 1);
    let answer = centre.get(&path).await?;
    Ok(answer["t"].as_array().is_some_and(|t| !t.is_empty()))
}

/// Whether a database answers with a reading.
pub(super) async fn influx_holds(influx: &Influx, load: &Load, reading: usize) -> Result<bool> {
    let (device, t) = (meter(reading % load.shape.meters), load.time(reading));
    let flux = format!(
        "from(bucket: {BUCKET:?}) |> range(start: time(v: {t}000000), stop: time(v: {}000000)) \
         |> filter(fn: (r) => r._measurement == \"electric\" and r.device == {device:?} and r._field == \"p_total\")",
        t + 1
    );
    Ok(!influx.query(&flux).await?.is_empty())
}

/// Telegraf with its MQTT input and InfluxDB output, running.
#[derive(Debug)]
pub(super) struct Telegraf {
    pub(super) process: Process,
    pub(super) broker: Mosquitto,
    pub(super) influx: Influx,
    _folder: TempDir,
}

/// Topic that Telegraf reads.
pub(super) const LINES_TOPIC: &str = "bench/lines";

impl Telegraf {
    /// Starts broker, database and Telegraf, whose requests are cut like `way` and flushed at least each `flush_ms`.
    ///
    /// # Errors
    /// When a part cannot be started.
    pub(super) async fn start(shape: Shape, way: Way, flush_ms: u32) -> Result<Telegraf> {
        let program = server_binary("TELEGRAF", "telegraf")?;
        let folder = TempDir::new()?;
        let broker = Mosquitto::start().await?;
        let influx = Influx::start().await?;
        let config = folder.path().join("telegraf.conf");
        let text = telegraf_config(broker.port, &influx.url(), shape, way, flush_ms);
        std::fs::write(&config, text)?;
        let args = ["--config".as_ref(), config.as_os_str()];
        let mut process = Process::start("telegraf", &program, args, folder.path())?;
        process.wait_for_output("Connected", Duration::from_secs(30)).await;
        Ok(Telegraf { process, broker, influx, _folder: folder })
    }
}

fn telegraf_config(port: u16, url: &str, shape: Shape, way: Way, flush_ms: u32) -> String {
    // The agent flushes when a batch is full or the interval has passed; nothing is dropped for want of buffer.
    let (buffer, lines) = (shape.readings * 2, way.lines);
    let encoding = if way.gzip { "gzip" } else { "identity" };
    format!(
        "[agent]\nomit_hostname = true\ninterval = \"1s\"\nflush_interval = \"{flush_ms}ms\"\n\
         metric_batch_size = {lines}\nmetric_buffer_limit = {buffer}\n\n\
         [[inputs.mqtt_consumer]]\nservers = [\"tcp://127.0.0.1:{port}\"]\ntopics = [\"{LINES_TOPIC}\"]\nqos = 1\n\
         topic_tag = \"\"\nmax_undelivered_messages = 1000\nclient_id = \"telegraf\"\npersistent_session = true\n\
         data_format = \"influx\"\ninflux_timestamp_precision = \"1ms\"\n\n\
         [[outputs.influxdb_v2]]\nurls = [\"{url}\"]\ntoken = \"{TOKEN}\"\norganization = \"{ORG}\"\nbucket = \"{BUCKET}\"\n\
         content_encoding = \"{encoding}\"\n"
    )
}

/// Publishes messages with QoS 1 and waits until the broker has all of them. A message is made and goes out when `due`
/// says so, counted from the call; `sent` hears of each.
///
/// # Errors
/// When the broker goes away, or a message cannot be made.
pub(super) async fn publish(
    port: u16,
    topic: &str,
    messages: impl IntoIterator<Item = Result<Vec<u8>>>,
    due: impl Fn(usize) -> Duration,
    mut sent: impl FnMut(usize),
) -> Result<()> {
    let id = format!("bench-load-{topic}").replace('/', "-");
    let mut options = MqttOptions::new(id, "127.0.0.1", port);
    options.set_max_packet_size(1 << 20, 1 << 20).set_inflight(UNACKED_MAX);
    // A ping wakes the reading side where the last ack came before it was known to be the last.
    options.set_keep_alive(Duration::from_secs(5));
    let (client, mut events) = AsyncClient::new(options, usize::from(UNACKED_MAX));
    // How many there are is known when the last is handed over: before its ack can come.
    let count = Cell::new(usize::MAX);
    let feed = async {
        let (begun, mut messages) = (Instant::now(), messages.into_iter());
        for index in 0.. {
            if due(index) > begun.elapsed() {
                tokio::time::sleep_until(begun + due(index)).await;
            }
            let Some(message) = messages.next() else {
                count.set(index);
                break;
            };
            client.publish(topic, QoS::AtLeastOnce, false, message?).await?;
            sent(index);
        }
        anyhow::Ok(())
    };
    let drain = async {
        let mut acked = 0;
        while acked < count.get() {
            match events.poll().await? {
                Event::Incoming(Incoming::PubAck(_)) => acked += 1,
                Event::Outgoing(Outgoing::Disconnect) => bail!("the broker went away"),
                _ => {}
            }
        }
        Ok(())
    };
    let ((), ()) = tokio::try_join!(feed, drain)?;
    Ok(())
}

/// Publishes messages as fast as the broker takes them.
///
/// # Errors
/// When the broker goes away.
pub(super) async fn publish_at_once(port: u16, topic: &str, messages: Vec<Vec<u8>>) -> Result<()> {
    publish(port, topic, messages.into_iter().map(Ok), |_| Duration::ZERO, |_| {}).await
}

/// Sends a gateway's manifest; whether the centre has taken one more within half a second.
///
/// # Errors
/// When nobody answers.
pub(super) async fn known(davy: &Davy, gateway: &str, manifest: &[u8]) -> Result<bool> {
    let taken = async || {
        let metrics = davy.centre.metrics().await?;
        let taken = metrics.get("davy_ingest_messages_total{code=\"manifest\"}");
        anyhow::Ok(taken.copied().unwrap_or(0.0))
    };
    let before = taken().await?;
    publish_at_once(davy.broker.port, &topic(gateway), vec![manifest.to_vec()]).await?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    Ok(taken().await? > before)
}

/// Looks until it is true.
pub(super) async fn until<F: Future<Output = Result<bool>>>(
    every: Duration,
    mut look: impl FnMut() -> F,
) -> Result<()> {
    let begun = Instant::now();
    loop {
        if look().await? {
            return Ok(());
        }
        ensure!(begun.elapsed() < LIMIT, "the last reading did not arrive in {LIMIT:?}");
        tokio::time::sleep(every).await;
    }
}

/// The last lines of a text.
pub(super) fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().rev().take(8).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}

/// Whether the programs to be measured were built for it.
fn built() -> Result<()> {
    let path = crate::harness::process::workspace_binary("davy-ingest")?;
    if path.components().any(|c| c.as_os_str() == "debug") {
        bail!("{} is not optimised: run `make bench`", Path::new(&path).display());
    }
    Ok(())
}
