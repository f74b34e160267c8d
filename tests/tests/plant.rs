//! The simulated plants through the gateway's real southbound half: what one side encodes after the makers' documents
//! the other decodes after its profiles, and the electricity it shows is consistent.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use gateway::bus::link::Tcp;
use gateway::bus::{Southbound, start};
use gateway::config::Config;
use tests::harness::site::{GatewayFile, Unit};
use tests::meters;
use tests::plant::Plants;
use tests::plant::machine::{Level, Load};
use tests::plant::site::{Device, Measured, Site};
use tests::prefecture::PLANTS;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wire::{Mark, Quality};

/// Longest wait for something that should happen within seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// Device and quantity → the newest value.
type Latest = BTreeMap<(String, String), (f64, Mark)>;

struct Reading {
    south: Southbound,
    latest: Latest,
    stop: CancellationToken,
}

/// Starts the buses of a gateway for these endpoints.
fn read(buses: &[(String, Vec<Unit<'_>>)]) -> Reading {
    let file = GatewayFile {
        name: "gw",
        site: "site",
        key: "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
        spool_dir: "spool".into(),
        broker: "localhost:1883".to_owned(),
        status_port: 9464,
        period_ms: 200,
        timeout_ms: 1000,
    };
    let text = file.text(buses).expect("profiles");
    let config = Config::parse(Path::new("gateway.toml"), &text)
        .unwrap_or_else(|problems| panic!("{problems:#?}\n{text}"));
    let stop = CancellationToken::new();
    let south = start(&config, Arc::new(Tcp), &TaskTracker::new(), &stop);
    Reading { south, latest: Latest::new(), stop }
}

impl Reading {
    /// Takes readings until `enough`; returns the time it took.
    async fn until(&mut self, what: &str, enough: impl Fn(&Latest) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !enough(&self.latest) {
            let next = timeout_at(end, self.south.readings.recv()).await;
            let reading = next.unwrap_or_else(|_| {
                panic!(
                    "no {what}; not good: {:#?}",
                    self.latest.iter().filter(|(_, v)| v.1 != Mark::GOOD).collect::<Vec<_>>()
                )
            });
            let reading = reading.expect("the buses run");
            let reply = self.south.replies.get(reading.reply).expect("named");
            for (point, value) in reply.points.iter().zip(&reading.values) {
                let key = (reply.device_id.to_string(), point.quantity.to_string());
                self.latest.insert(key, (value.value, value.mark));
            }
        }
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn of(latest: &Latest, device: &str, quantity: &str) -> Option<f64> {
    let found = latest.get(&(device.to_owned(), quantity.to_owned()))?;
    (found.1 == Mark::GOOD).then_some(found.0)
}

/// The quantities of a model that the gateway reads.
fn quantities(model: &meters::Model) -> impl Iterator<Item = &'static str> {
    model.places.iter().map(|place| place.quantity)
}

#[tokio::test]
async fn every_meter_of_the_library_is_read_and_its_electricity_agrees() {
    // Goal: profile and simulator agree on each map. Method: one unit of each model, a load of 40 kW at cos φ 0.9 on
    // every meter; each quantity of the map must come out good, and P = Σ U·I·cos φ, S² = P² + Q².
    let meters = [
        ("sdm630", &meters::SDM630),
        ("pm5100", &meters::PM5100),
        ("adw300", &meters::ADW300),
        ("adl400", &meters::ADL400),
        ("dtsu666", &meters::DTSU666),
    ];
    let mut devices: Vec<Device> = meters
        .iter()
        .zip(1..)
        .map(|((id, model), unit)| {
            Device::new(id, unit, model, Measured::Load(Load::new(40.0, 0.9, 1.0)))
        })
        .collect();
    let level = |value| Level::new(value, 0.1, 0.0);
    let levels = Measured::Levels((0..8).map(|i| level(20.0 + f64::from(i))).collect());
    devices.push(Device::new("pt100", 6, &meters::PT100X8, levels));
    let gas = Measured::Levels(vec![level(12.5)]);
    devices.push(Device::new("midas", 7, &meters::MIDAS_LEL, gas));
    devices.push(Device::new("tank", 8, &meters::LEVEL, Measured::Levels(vec![level(61.5)])));
    let units: Vec<Unit<'_>> =
        devices.iter().map(|d| Unit { id: d.id, unit: d.unit, model: d.model }).collect();
    let all: Vec<(&str, &str)> =
        devices.iter().flat_map(|d| quantities(d.model).map(|q| (d.id, q))).collect();
    let plants = Plants::start(vec![Site::new("all", 7, devices.clone())]).await.expect("served");
    let mut reading = read(&[(plants.address(0).to_string(), units)]);
    let whole = |latest: &Latest| all.iter().all(|(d, q)| of(latest, d, q).is_some());
    reading.until("good value of every quantity", whole).await;

    assert_eq!(of(&reading.latest, "tank", "level_pct"), Some(61.5));
    assert_eq!(of(&reading.latest, "midas", "gas_lel"), Some(12.5));
    assert_eq!(of(&reading.latest, "pt100", "t_8"), Some(27.0));
    for (id, _) in meters {
        let value = |quantity: &str| of(&reading.latest, id, quantity);
        let p = value("p_total").expect("read");
        assert!((36.0..44.0).contains(&p), "{id}: {p} kW of a load of 40 kW");
        // The simulator moves between two requests of one sweep: 3 % of wander on each side.
        let phases = ["a", "b", "c"].map(|phase| {
            let (u, i) = (value(&format!("u_{phase}")), value(&format!("i_{phase}")));
            u.expect("read") * i.expect("read") * 0.9 / 1000.0
        });
        let from_phases: f64 = phases.iter().sum();
        assert!((from_phases - p).abs() < 0.08 * p, "{id}: {from_phases} kW from phases, {p} kW");
        if let (Some(s), Some(q)) = (value("s_total"), value("q_total")) {
            assert!((s * s - p * p - q * q).abs() < 0.16 * s * s, "{id}: S² = P² + Q²");
        }
    }
    let before = of(&reading.latest, "pm5100", "ep_imp").expect("read");
    let grown = |l: &Latest| of(l, "pm5100", "ep_imp").is_some_and(|now| now >= before + 0.02);
    reading.until("energy that integrates the power", grown).await;
}

#[tokio::test]
async fn the_whole_prefecture_is_read_and_a_register_can_be_poked() {
    // Goal: each plant's gateway reads each device from the start; a test can make a detector say what it likes.
    // Method: all twelve plants behind one southbound half; then a status word is held at "instrument fault".
    let sites = PLANTS.iter().zip(1..).map(|(plant, seed)| plant.simulate(seed)).collect();
    let plants = Plants::start(sites).await.expect("served");
    // Device ids are unique in a site; this one gateway reads twelve, so it calls them by their site as well.
    let named: Vec<Vec<(String, u8, &meters::Model)>> = PLANTS
        .iter()
        .map(|plant| {
            let devices = plant.kind.devices().into_iter();
            devices.map(|d| (format!("{}-{}", plant.id, d.id), d.unit, d.model)).collect()
        })
        .collect();
    let buses: Vec<(String, Vec<Unit<'_>>)> = named
        .iter()
        .enumerate()
        .map(|(index, devices)| {
            let units = devices.iter().map(|(id, unit, model)| Unit { id, unit: *unit, model });
            (plants.address(index).to_string(), units.collect())
        })
        .collect();
    let all: Vec<(&str, &str)> = named
        .iter()
        .flatten()
        .flat_map(|(id, _, model)| quantities(model).map(move |q| (id.as_str(), q)))
        .collect();
    let mut reading = read(&buses);
    let whole = |latest: &Latest| all.iter().all(|(d, q)| of(latest, d, q).is_some());
    reading.until("good value of every device of the prefecture", whole).await;

    let (index, plant) = PLANTS
        .iter()
        .enumerate()
        .find(|(_, plant)| plant.kind.devices().iter().any(|d| d.id == "gas-1"))
        .expect("a plant with gas");
    let gas = (format!("{}-gas-1", plant.id), "gas_lel".to_owned());
    plants.sites[index].hold(3, 3, 0, 0x0021);
    let fault = |l: &Latest| l.get(&gas).is_some_and(|(_, mark)| mark.quality == Quality::Bad);
    reading.until("fault of the detector", fault).await;
    plants.sites[index].hold(3, 3, 0, 0x0007);
    let calibrating =
        |l: &Latest| l.get(&gas).is_some_and(|(_, mark)| mark.quality == Quality::Uncertain);
    reading.until("calibration of the detector", calibrating).await;
}
