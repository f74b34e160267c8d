//! `make demo`: a broker, a simulated prefecture, its gateways and the centre, and a story within three minutes.
//! Ends everything on Ctrl-C. Needs `davy-gateway` and `davy-ingest` beside it.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tempfile::TempDir;
use tests::demo::{broker, control, recording, say, story};
use tests::harness::davy::{Centre, Gateway, Store};
use tests::harness::modbus::Server;
use tests::harness::mosquitto::wait_for_port;
use tests::harness::process::free_port;
use tests::harness::proxy::Proxy;
use tests::harness::site::{GatewayFile, Unit};
use tests::plant::Plants;
use tests::prefecture::PLANTS;
use tests::replay::{Recording, Replay};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Site of a recording that `REPLAY` names.
const REPLAY_SITE: &str = "replay";

fn main() -> Result<()> {
    // The broker calls every connection that ends an error; here connections end because the story says so.
    let filter =
        Targets::new().with_default(LevelFilter::WARN).with_target("rumqttd", LevelFilter::OFF);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    tracing_subscriber::registry().with(lines).with(filter).init();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(run())?;
    // The broker's thread never ends by itself.
    runtime.shutdown_timeout(Duration::from_secs(1));
    Ok(())
}

async fn run() -> Result<()> {
    let replay = recording::from_environment()?;
    let folder = TempDir::new()?;
    say("[1/4] MQTT 服务器 · broker (rumqttd, demo only)");
    let listen: SocketAddr = ([127, 0, 0, 1], free_port()?).into();
    broker::start(listen)?;
    wait_for_port(listen.port(), "the demo's broker").await;
    let link = Proxy::start(listen).await?;

    say("[2/4] 模拟的 12 家企业 · twelve simulated plants over Modbus TCP");
    let plants =
        Plants::start(PLANTS.iter().zip(1..).map(|(plant, seed)| plant.simulate(seed)).collect())
            .await?;

    say("[3/4] 监测中心 · davy-ingest with the embedded store");
    let mut centre = Centre::prepare(
        folder.path(),
        &listen.to_string(),
        &Store::Embedded,
        &registry(replay.as_ref()),
    )?;
    centre.start().await?;

    say("[4/4] 12 个网关 · davy-gateway at each plant");
    let mut gateways = Vec::new();
    for (index, plant) in PLANTS.iter().enumerate() {
        let through = if plant.id == story::cut_site() { link.address } else { listen };
        let devices = plant.kind.devices();
        let units =
            devices.iter().map(|d| Unit { id: d.id, unit: d.unit, model: d.model }).collect();
        let bus = vec![(plants.address(index).to_string(), units)];
        gateways.push(gateway(
            folder.path(),
            &centre,
            (plant.id, &plant.gateway()),
            through,
            &bus,
        )?);
    }
    let _replay = match replay {
        Some(recording) => {
            Some(serve(folder.path(), &centre, listen, recording, &mut gateways).await?)
        }
        None => None,
    };
    for gateway in &mut gateways {
        gateway.start()?;
    }
    let (name, password) = centre.account();
    say("");
    say(&format!("  控制台 · console   {}", centre.url("/")));
    say(&format!("  登录 · sign in     {name} / {password}"));
    say(&format!("  文件 · files       {}", folder.path().display()));
    say("  命令 · commands    type help");
    say("");
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        () = tell(&plants, &link) => {}
        () = control::obey(&plants, &link) => {}
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
    say("正在停止 · stopping …");
    for gateway in &mut gateways {
        // Ctrl-C reaches the whole group: one that has ended already is what is wanted.
        gateway.stop().await.ok();
    }
    centre.stop().await.ok();
    Ok(())
}

/// Tells the story, then lets the plants run for ever.
async fn tell(plants: &Plants, link: &Proxy) {
    story::play(plants, link).await;
    std::future::pending::<()>().await;
}

type Bus<'a> = Vec<(String, Vec<Unit<'a>>)>;

fn gateway(
    folder: &Path,
    centre: &Centre,
    (site, name): (&str, &str),
    broker: SocketAddr,
    bus: &Bus<'_>,
) -> Result<Gateway> {
    let key = centre.add_gateway(name, site)?;
    let status_port = free_port()?;
    let file = GatewayFile {
        name,
        site,
        key: &key,
        spool_dir: folder.join(name).join("spool"),
        broker: broker.to_string(),
        status_port,
        period_ms: 1000,
        timeout_ms: 1000,
    };
    Gateway::prepare(folder, name, status_port, &file.text(bus)?)
}

async fn serve(
    folder: &Path,
    centre: &Centre,
    broker: SocketAddr,
    recording: Recording,
    gateways: &mut Vec<Gateway>,
) -> Result<Server> {
    let model = recording.model;
    let replay = Arc::new(Replay::new(vec![recording])?);
    let server = Server::start(([127, 0, 0, 1], 0).into(), replay).await?;
    let bus = vec![(server.address.to_string(), vec![Unit { id: "meter-1", unit: 1, model }])];
    gateways.push(gateway(folder, centre, (REPLAY_SITE, "replay-gw1"), broker, &bus)?);
    Ok(server)
}

fn registry(replay: Option<&Recording>) -> String {
    let mut text = String::new();
    for plant in &PLANTS {
        text.push_str(&plant.registry());
        text.push_str(story::overrides(plant.id));
    }
    if let Some(recording) = replay {
        let points: Vec<String> = recording
            .columns
            .iter()
            .map(|q| format!("{{ quantity = {q:?}, period_ms = 1000 }}"))
            .collect();
        text.push_str(&format!(
            "[[site]]\nid = {REPLAY_SITE:?}\nname = \"录制数据回放\"\nname_en = \"Replayed recording\"\n\
             uscc = \"91533401MA6N806A2B\"\ncounty = \"533401\"\nsectors = [\"其他工贸\"]\nzone = \"Asia/Shanghai\"\n\n\
             [[site.gateway]]\nname = \"replay-gw1\"\n\n[[site.device]]\nid = \"meter-1\"\nname = \"回放电表\"\n\
             role = \"incomer\"\ngateway = \"replay-gw1\"\npoints = [{}]\n\n",
            points.join(", ")
        ));
    }
    text
}
