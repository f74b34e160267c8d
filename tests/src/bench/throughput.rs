//! From the broker to where it can be queried: Davy into each of its stores, Telegraf into InfluxDB, and InfluxDB alone.
//!
//! Every contender gets the same readings in messages of the same number, over a mosquitto of its own where it reads
//! from one. CPU is the contender's process alone; the database's is a figure of its own.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

use anyhow::{Context, Result, bail};
use rumqttc::{AsyncClient, Event, Incoming, MqttOptions, Outgoing, QoS};
use tempfile::TempDir;
use wire::Key;
use wire::topic::part_of;

use super::cpu;
use super::load::{GATEWAY, Load, QUANTITIES, SITE, Shape, meter};
use super::report::Report;
use super::sink::Sink;
use crate::harness::davy::{Centre, Store};
use crate::harness::influx::{BUCKET, Influx, ORG, TOKEN};
use crate::harness::mosquitto::Mosquitto;
use crate::harness::process::{Process, server_binary};

/// Longest wait for a contender.
const LIMIT: Duration = Duration::from_secs(180);
/// Between two looks whether the last reading has arrived.
const LOOK: Duration = Duration::from_millis(20);
/// Lines in a request straight to InfluxDB.
const RAW_LINES: usize = 5_000;

/// What is measured of a contender.
#[derive(Debug, Clone, Default)]
struct Figures {
    wall: Duration,
    /// The contender's own CPU seconds.
    cpu: f64,
    /// The same by stage of the pipeline, where the contender is ours.
    stages: BTreeMap<String, f64>,
    /// The database's CPU seconds, where there is one.
    database: Option<f64>,
}

/// Shapes at 1 and 20 quantities a reading.
#[must_use]
pub fn shapes(scale: usize) -> [(&'static str, Shape); 2] {
    [
        (
            "q1",
            Shape { meters: 1_000, quantities: 1, readings: 1_000_000 / scale, per_message: 500 },
        ),
        ("q20", Shape { meters: 500, quantities: 20, readings: 200_000 / scale, per_message: 100 }),
    ]
}

/// Runs one contender (`embedded`, `influxdb`, `sink`, `telegraf`, `raw`) on one shape.
///
/// # Errors
/// When it cannot be started or its last reading does not arrive.
pub async fn run(report: &mut Report, name: &str, shape: Shape, contender: &str) -> Result<()> {
    let load = Load::new(shape, now_ms() - 5_000, 3)?;
    let figures = match contender {
        "embedded" => davy(&load, Target::Embedded).await?,
        "influxdb" => davy(&load, Target::Influx).await?,
        "sink" => davy(&load, Target::Sink).await?,
        "telegraf" => telegraf(&load).await?,
        "raw" => raw(&load).await?,
        other => bail!("no contender {other}"),
    };
    let points = shape.points() as f64;
    let at = |figure: &str| format!("throughput.{name}.{contender}.{figure}");
    report.set(&at("points_per_s"), points / figures.wall.as_secs_f64());
    report.set(&at("cpu_s_per_million"), figures.cpu / points * 1e6);
    for (stage, cpu) in figures.stages {
        report.set(&at(&format!("stages.{stage}")), cpu / points * 1e6);
    }
    if let Some(database) = figures.database {
        report.set(&at("database_cpu_s_per_million"), database / points * 1e6);
    }
    Ok(())
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Target {
    Embedded,
    Influx,
    Sink,
}

async fn davy(load: &Load, target: Target) -> Result<Figures> {
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
    let mut centre = Centre::prepare(folder.path(), &address, &store, &registry(load.shape))?;
    let key = Key::from_hex(&centre.add_gateway(GATEWAY, SITE)?)?;
    let frames = load.frames(&key)?;
    centre.start().await?;
    centre.sign_in().await?;
    let id = centre.id().context("a running centre")?;
    let database = influx.as_ref().and_then(Influx::id);
    let topic = format!("davy/v1/{:02}/{GATEWAY}/up", part_of(GATEWAY));
    let before = (cpu::by_thread(id)?, database.map(cpu::seconds).transpose()?);
    let begun = Instant::now();
    // The manifest must be logged before the first block: a block that comes too early is not taken, only asked for again.
    publish(broker.port, &topic, &frames[..1]).await?;
    publish(broker.port, &topic, &frames[1..]).await?;
    match target {
        Target::Sink => until(|| async { Ok(sink.lines() >= load.shape.readings as u64) }).await,
        Target::Influx => {
            let influx = influx.as_ref().context("influxd")?;
            until(|| arrived_in_influx(influx, load)).await
        }
        Target::Embedded => until(|| arrived_at_centre(&centre, load)).await,
    }
    .with_context(|| tail(&centre.output()))?;
    let wall = begun.elapsed();
    // The rules are part of the work: what they have still to do counts too.
    until(|| evaluated(&centre)).await.with_context(|| tail(&centre.output()))?;
    let mut stages = BTreeMap::new();
    for (thread, used) in cpu::by_thread(id)? {
        stages.insert(stage(&thread), used - before.0.get(&thread).unwrap_or(&0.0));
    }
    let database = match (database, before.1) {
        (Some(id), Some(before)) => Some(cpu::seconds(id)? - before),
        _ => None,
    };
    centre.kill();
    Ok(Figures { wall, cpu: stages.values().sum(), stages, database })
}

/// Whether the evaluator has taken everything that the log holds.
async fn evaluated(centre: &Centre) -> Result<bool> {
    let system = centre.get("/system").await?;
    Ok(system["log"]["evaluator_lag"].as_u64().is_some_and(|lag| lag <= 2))
}

/// What a thread of the centre does, as a word.
fn stage(thread: &str) -> String {
    thread.strip_prefix("davy-").unwrap_or(thread).replace('.', "-")
}

/// A site with its meters in roles that rules watch.
fn registry(shape: Shape) -> String {
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

async fn arrived_at_centre(centre: &Centre, load: &Load) -> Result<bool> {
    let last = load.shape.readings - 1;
    let (device, t) = (meter(last % load.shape.meters), load.time(last));
    let path =
        format!("/series?site={SITE}&device={device}&quantity=p_total&from={t}&to={}&raw=1", t + 1);
    let answer = centre.get(&path).await?;
    Ok(answer["t"].as_array().is_some_and(|t| !t.is_empty()))
}

async fn arrived_in_influx(influx: &Influx, load: &Load) -> Result<bool> {
    let last = load.shape.readings - 1;
    let (device, t) = (meter(last % load.shape.meters), load.time(last));
    let flux = format!(
        "from(bucket: {BUCKET:?}) |> range(start: time(v: {t}000000), stop: time(v: {}000000)) \
         |> filter(fn: (r) => r._measurement == \"electric\" and r.device == {device:?} and r._field == \"p_total\")",
        t + 1
    );
    Ok(!influx.query(&flux).await?.is_empty())
}

/// Telegraf with its MQTT input and InfluxDB output, tuned to the same batches.
async fn telegraf(load: &Load) -> Result<Figures> {
    let program = server_binary("TELEGRAF", "telegraf")?;
    let folder = TempDir::new()?;
    let broker = Mosquitto::start().await?;
    let influx = Influx::start().await?;
    let config = folder.path().join("telegraf.conf");
    std::fs::write(&config, telegraf_config(broker.port, &influx.url(), load.shape))?;
    let args = ["--config".as_ref(), config.as_os_str()];
    let mut process = Process::start("telegraf", &program, args, folder.path())?;
    process.wait_for_output("Connected", Duration::from_secs(30)).await;
    let messages = load.lines();
    let (id, database) = (process.id(), influx.id().context("influxd")?);
    let before = (cpu::seconds(id)?, cpu::seconds(database)?);
    let begun = Instant::now();
    publish(broker.port, "bench/lines", &messages).await?;
    until(|| arrived_in_influx(&influx, load)).await.with_context(|| tail(&process.output()))?;
    let wall = begun.elapsed();
    let database = Some(cpu::seconds(database)? - before.1);
    Ok(Figures { wall, cpu: cpu::seconds(id)? - before.0, database, ..Figures::default() })
}

fn telegraf_config(port: u16, url: &str, shape: Shape) -> String {
    // The agent flushes when a batch is full or a second has passed; nothing is dropped for want of buffer.
    let buffer = shape.readings * 2;
    format!(
        "[agent]\nomit_hostname = true\ninterval = \"1s\"\nflush_interval = \"1s\"\nmetric_batch_size = {RAW_LINES}\n\
         metric_buffer_limit = {buffer}\n\n\
         [[inputs.mqtt_consumer]]\nservers = [\"tcp://127.0.0.1:{port}\"]\ntopics = [\"bench/lines\"]\nqos = 1\n\
         topic_tag = \"\"\nmax_undelivered_messages = 1000\nclient_id = \"telegraf\"\npersistent_session = true\n\
         data_format = \"influx\"\ninflux_timestamp_precision = \"1ms\"\n\n\
         [[outputs.influxdb_v2]]\nurls = [\"{url}\"]\ntoken = \"{TOKEN}\"\norganization = \"{ORG}\"\nbucket = \"{BUCKET}\"\n\
         content_encoding = \"gzip\"\n"
    )
}

/// Lines encoded and compressed before the clock runs, two requests in flight: what the database takes by itself.
async fn raw(load: &Load) -> Result<Figures> {
    let influx = Influx::start().await?;
    let all: Vec<u8> = load.lines().concat();
    let lines: Vec<&[u8]> = all.split_inclusive(|b| *b == b'\n').collect();
    let bodies: Vec<Vec<u8>> =
        lines.chunks(RAW_LINES).map(|some| gzip(&some.concat())).collect::<Result<_>>()?;
    let client = reqwest011::Client::builder().tcp_nodelay(true).build()?;
    let url = format!("{}/api/v2/write?org={ORG}&bucket={BUCKET}&precision=ms", influx.url());
    let database = influx.id().context("influxd")?;
    let (before, own_before) = (cpu::seconds(database)?, cpu::seconds(std::process::id())?);
    let begun = Instant::now();
    let posts = bodies.into_iter().map(|body| {
        let post = client.post(&url).header("Content-Encoding", "gzip");
        let post = post.header("Authorization", format!("Token {TOKEN}")).body(body);
        async move { anyhow::Ok(post.send().await?.status().as_u16()) }
    });
    let mut answers =
        futures_util::StreamExt::buffer_unordered(futures_util::stream::iter(posts), 2);
    while let Some(status) = futures_util::StreamExt::next(&mut answers).await {
        let status = status?;
        anyhow::ensure!(status == 204, "influxd answered {status}");
    }
    until(|| arrived_in_influx(&influx, load)).await?;
    let wall = begun.elapsed();
    let cpu = cpu::seconds(std::process::id())? - own_before;
    let database = Some(cpu::seconds(database)? - before);
    Ok(Figures { wall, cpu, database, ..Figures::default() })
}

fn gzip(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(1));
    std::io::Write::write_all(&mut encoder, bytes)?;
    Ok(encoder.finish()?)
}

/// Publishes messages with QoS 1 and waits until the broker has all of them.
async fn publish(port: u16, topic: &str, messages: &[Vec<u8>]) -> Result<()> {
    let mut options = MqttOptions::new("bench-load", "127.0.0.1", port);
    options.set_max_packet_size(1 << 20, 1 << 20).set_inflight(500);
    let (client, mut events) = AsyncClient::new(options, 500);
    let (topic, count) = (topic.to_owned(), messages.len());
    let messages = messages.to_vec();
    let feed = async move {
        for message in messages {
            client.publish(topic.as_str(), QoS::AtLeastOnce, false, message).await?;
        }
        anyhow::Ok(client)
    };
    let drain = async {
        let mut acked = 0;
        while acked < count {
            match events.poll().await? {
                Event::Incoming(Incoming::PubAck(_)) => acked += 1,
                Event::Outgoing(Outgoing::Disconnect) => bail!("the broker went away"),
                _ => {}
            }
        }
        Ok(())
    };
    let (client, ()) = tokio::try_join!(feed, drain)?;
    drop(client);
    Ok(())
}

/// Looks until it is true.
async fn until<F: Future<Output = Result<bool>>>(mut look: impl FnMut() -> F) -> Result<()> {
    let begun = Instant::now();
    loop {
        if look().await? {
            return Ok(());
        }
        anyhow::ensure!(begun.elapsed() < LIMIT, "the last reading did not arrive in {LIMIT:?}");
        tokio::time::sleep(LOOK).await;
    }
}

fn tail(text: &str) -> String {
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

fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}
