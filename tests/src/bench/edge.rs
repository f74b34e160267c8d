//! A gateway at 5,000 points/s with the whole way behind it: its memory and its share of a core.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use super::cpu;
use super::report::Report;
use crate::harness::davy::{Centre, Gateway, Store};
use crate::harness::modbus::{Answer, Request, Server, Units};
use crate::harness::mosquitto::Mosquitto;
use crate::harness::process::free_port;
use crate::harness::site::{GatewayFile, Unit};
use crate::meters::{Model, Registers, SDM630};

/// Units on one bus: half of what its cycle allows at the time that a request is taken to need before it was measured.
const UNITS_PER_BUS: usize = 20;
/// Buses of the loaded gateway: 320 units × 16 quantities = 5,120 points/s.
const BUSES: usize = 16;
/// Before the measurement, so that plans are learnt and caches warm.
const WARM_UP: Duration = Duration::from_secs(8);
/// Measured time.
const MEASURED: Duration = Duration::from_secs(20);

/// Meters whose numbers move a little with every read.
#[derive(Debug)]
pub struct Moving {
    units: Mutex<Vec<Registers>>,
    reads: AtomicU64,
}

impl Moving {
    /// So many units, numbered from 1.
    #[must_use]
    pub fn new(units: usize) -> Moving {
        let units = (0..units).map(|_| Registers::of(&SDM630)).collect();
        Moving { units: Mutex::new(units), reads: AtomicU64::new(0) }
    }
}

impl Units for Moving {
    fn answer(&self, request: Request) -> Answer {
        let n = self.reads.fetch_add(1, Ordering::Relaxed) * 7_919;
        let mut units = self.units.lock().expect("nobody panics with it");
        let index = usize::from(request.unit).wrapping_sub(1);
        let Some(registers) = units.get_mut(index) else { return Answer::Silence };
        for (i, place) in SDM630.places.iter().enumerate() {
            let value = 200 + (n + i as u64 * 31) % 50;
            let text = format!("{value}.{}", n % 10);
            if registers.set(&SDM630, place.quantity, &text).is_err() {
                return Answer::Exception(4);
            }
        }
        registers.answer(request)
    }
}

/// The devices of a chain: all alike.
#[derive(Debug)]
pub struct Fleet {
    /// Their map, and so their profile.
    pub model: &'static Model,
    /// Role of each in the registry.
    pub role: &'static str,
    /// What stands in the registry besides, as TOML.
    pub registry: &'static str,
    /// Who answers, a bus each.
    pub buses: Vec<Arc<dyn Units>>,
    /// Units on each bus, numbered from 1.
    pub units: usize,
}

/// Device simulators, gateway, broker and centre.
#[derive(Debug)]
pub struct Chain {
    /// The centre, signed in.
    pub centre: Centre,
    /// The gateway.
    pub gateway: Gateway,
    /// Site of the chain.
    pub site: &'static str,
    _buses: Vec<Server>,
    _broker: Mosquitto,
    _folder: TempDir,
}

impl Chain {
    /// Starts everything, each device read once a second.
    ///
    /// # Errors
    /// When a part cannot be started.
    pub async fn start(fleet: Fleet) -> Result<Chain> {
        let (folder, broker) = (TempDir::new()?, Mosquitto::start().await?);
        let (site, name) = ("bench-site", "bench-gw");
        let ids: Vec<String> =
            (0..fleet.buses.len() * fleet.units).map(|i| format!("meter-{i:03}")).collect();
        let address = format!("127.0.0.1:{}", broker.port);
        let registry = registry(site, name, &ids, &fleet);
        let mut centre = Centre::prepare(folder.path(), &address, &Store::Embedded, &registry)?;
        let key = centre.add_gateway(name, site)?;
        let mut servers = Vec::new();
        for units in &fleet.buses {
            servers.push(Server::start(([127, 0, 0, 1], 0).into(), Arc::clone(units)).await?);
        }
        let file = GatewayFile {
            name,
            site,
            key: &key,
            spool_dir: folder.path().join("spool"),
            broker: address,
            status_port: free_port()?,
            period_ms: 1_000,
            timeout_ms: 500,
        };
        let list = |(server, ids): (&Server, &'_ [String])| {
            let unit = |(i, id): (usize, &'_ String)| Ok((u8::try_from(i + 1)?, id.clone()));
            let units: Result<Vec<(u8, String)>> = ids.iter().enumerate().map(unit).collect();
            units.map(|units| (server.address.to_string(), units))
        };
        let lists = servers.iter().zip(ids.chunks(fleet.units)).map(list);
        let lists = lists.collect::<Result<Vec<_>>>()?;
        let buses: Vec<(String, Vec<Unit<'_>>)> = lists
            .iter()
            .map(|(address, list)| {
                let units =
                    list.iter().map(|(unit, id)| Unit { id, unit: *unit, model: fleet.model });
                (address.clone(), units.collect())
            })
            .collect();
        let text = file.text(&buses)?;
        let mut gateway = Gateway::prepare(folder.path(), name, file.status_port, &text)?;
        centre.start().await?;
        centre.sign_in().await?;
        gateway.start()?;
        Ok(Chain { centre, gateway, site, _buses: servers, _broker: broker, _folder: folder })
    }
}

fn registry(site: &str, gateway: &str, ids: &[String], fleet: &Fleet) -> String {
    let mut text = format!(
        "[[site]]\nid = {site:?}\nname = \"压测企业\"\nname_en = \"Bench works\"\nuscc = \"91533401MA6N8A122Y\"\n\
         county = \"533401\"\nsectors = [\"冶金\"]\nzone = \"Asia/Shanghai\"\n\n[[site.gateway]]\nname = {gateway:?}\n\n"
    );
    let points: Vec<String> = fleet
        .model
        .places
        .iter()
        .map(|p| format!("{{ quantity = {:?}, period_ms = 1000 }}", p.quantity))
        .collect();
    let points = points.join(", ");
    for id in ids {
        text.push_str(&format!(
            "[[site.device]]\nid = {id:?}\nname = {id:?}\nrole = {:?}\ngateway = {gateway:?}\npoints = [{points}]\n\n",
            fleet.role
        ));
    }
    text.push_str(fleet.registry);
    text
}

/// Measures the gateway.
///
/// # Errors
/// When a part fails or the gateway does not poll at the rate it was given.
pub async fn run(report: &mut Report) -> Result<()> {
    let buses = (0..BUSES).map(|_| Arc::new(Moving::new(UNITS_PER_BUS)) as _).collect();
    let (model, role, registry) = (&SDM630, "production", "");
    let fleet = Fleet { model, role, registry, buses, units: UNITS_PER_BUS };
    let chain = Chain::start(fleet).await?;
    let id = chain.gateway.id().context("a running gateway")?;
    tokio::time::sleep(WARM_UP).await;
    let (before, polled) = (cpu::seconds(id)?, polled(&chain.gateway).await?);
    tokio::time::sleep(MEASURED).await;
    let used = cpu::seconds(id)? - before;
    let rate = (self::polled(&chain.gateway).await? - polled) / MEASURED.as_secs_f64();
    ensure!(rate > 4_500.0, "the gateway polled {rate:.0} points/s, 5,000 were asked for");
    let (rss, peak) = cpu::memory_mb(id)?;
    report.set("gateway.points_per_s", rate);
    report.set("gateway.rss_mb", rss);
    report.set("gateway.rss_peak_mb", peak);
    report.set("gateway.cpu_percent", used / MEASURED.as_secs_f64() * 100.0);
    Ok(())
}

/// Samples polled since the spool was made.
async fn polled(gateway: &Gateway) -> Result<f64> {
    let metrics = gateway.metrics().await.with_context(|| gateway.output())?;
    let found = metrics.iter().find(|(name, _)| name.contains("polled"));
    let all: Vec<&String> = metrics.keys().collect();
    found
        .map(|(_, value)| *value)
        .with_context(|| format!("no metric of polled samples in {all:?}"))
}
