//! The centre's disk is lost and its log comes from a backup: every block that the gateway still holds is in log and store
//! again, nothing is doubled, nobody is told twice, and the verdict journal is the one of the log. And a broker that drops
//! what it took is named.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use tempfile::TempDir;
use tests::harness::davy::{Centre, Gateway, Store};
use tests::harness::modbus::Server;
use tests::harness::mosquitto::Mosquitto;
use tests::harness::process::free_port;
use tests::harness::site::{GatewayFile, Unit};
use tests::harness::wait::wait_for;
use tests::plant::Plants;
use tests::prefecture::{GAS_STORY, PLANTS};
use tests::recordings::HOUSEHOLD;
use tests::replay::{Given, Replay};

/// Poll period; also the device's time tolerance, so that a sample cannot be taken for its neighbour.
const PERIOD_MS: i64 = 500;
/// More rows than a test can play: the device never ends.
const ROWS: usize = 20_000;
/// The device that plays a recording.
const HOUSE: &str = "house-1";

struct World {
    folder: TempDir,
    _broker: Mosquitto,
    centre: Centre,
    gateway: Gateway,
    plants: Plants,
    replay: Arc<Replay>,
    _device: Server,
}

impl World {
    async fn start(broker: Mosquitto) -> World {
        let folder = TempDir::new().expect("a folder");
        let plant = PLANTS.iter().find(|p| p.id == GAS_STORY).expect("the gas plant");
        let plants = Plants::start(vec![plant.simulate(11)]).await.expect("a port");
        let recording = HOUSEHOLD.read(0, ROWS).expect("a recording");
        let replay = Arc::new(Replay::new(vec![recording]).expect("registers that fit"));
        let units = Arc::clone(&replay) as _;
        let device = Server::start(([127, 0, 0, 1], 0).into(), units).await.expect("a port");
        let address = format!("127.0.0.1:{}", broker.port);
        let centre = Centre::prepare(folder.path(), &address, &Store::Embedded, &registry())
            .expect("a centre");
        let key = centre.add_gateway(&plant.gateway(), plant.id).expect("a key");
        let file = GatewayFile {
            name: &plant.gateway(),
            site: plant.id,
            key: &key,
            spool_dir: folder.path().join("spool"),
            broker: address,
            status_port: free_port().expect("a port"),
            period_ms: 500,
            timeout_ms: 1000,
        };
        let devices = plant.kind.devices();
        let known =
            devices.iter().map(|d| Unit { id: d.id, unit: d.unit, model: d.model }).collect();
        let house = vec![Unit { id: HOUSE, unit: 1, model: HOUSEHOLD.model }];
        let buses = [(plants.address(0).to_string(), known), (device.address.to_string(), house)];
        let text = file.text(&buses).expect("a gateway's file");
        let gateway =
            Gateway::prepare(folder.path(), file.name, file.status_port, &text).expect("a gateway");
        let mut world =
            World { folder, _broker: broker, centre, gateway, plants, replay, _device: device };
        world.centre.start().await.expect("the centre");
        world.centre.sign_in().await.expect("a session");
        world.gateway.start().expect("the gateway");
        world
    }

    /// Waits until an answer that the device gives from now on is stored: everything runs.
    async fn flows(&self) {
        let now = now_ms();
        wait_for("the newest sample to be stored", Duration::from_secs(90), || async {
            match self.samples("u_a").await?.last() {
                Some((t, _)) if *t >= now => Ok(()),
                last => Err(format!("newest {last:?}, wanted {now}; {}", self.centre.output())),
            }
        })
        .await;
    }

    async fn samples(&self, quantity: &str) -> Result<Vec<(i64, f64)>, String> {
        self.centre.samples(GAS_STORY, HOUSE, quantity).await.map_err(|e| format!("{e:#}"))
    }

    async fn raised(&self, rule: &str) {
        wait_for(&format!("the alarm of {rule}"), Duration::from_secs(60), || async {
            let alarms = self.centre.alarms().await.map_err(|e| format!("{e:#}"))?;
            let is_it = |a: &&Value| a["rule"].as_str().is_some_and(|r| r.starts_with(rule));
            alarms.iter().find(is_it).map(drop).ok_or_else(|| format!("{alarms:?}"))
        })
        .await;
    }

    /// One alarm of a rule, raised once and paged once.
    async fn told_once(&self, rule: &str) {
        let alarms = self.centre.alarms().await.expect("the alarms");
        let is_it = |a: &&Value| a["rule"].as_str().is_some_and(|r| r.starts_with(rule));
        let of_rule: Vec<&Value> = alarms.iter().filter(is_it).collect();
        let [alarm] = of_rule[..] else { panic!("{} of {rule}: {of_rule:?}", of_rule.len()) };
        let id = alarm["id"].as_str().expect("an id");
        let detail = self.centre.get(&format!("/alarms/{id}")).await.expect("the alarm");
        assert_eq!(detail["page"], "paged", "{detail}");
        let history = detail["history"].as_array().expect("a history");
        assert_eq!(history.iter().filter(|h| h["kind"] == "raise").count(), 1, "{detail}");
    }

    /// Every answer of the device is stored, once, with its value; gives how many there are. Where the gateway runs on,
    /// further ones may follow.
    async fn all_is_stored(&self, runs_on: bool) -> usize {
        let given = self.replay.given();
        let mut count = 0;
        for place in HOUSEHOLD.model.places {
            let expected: Vec<&Given> =
                given.iter().filter(|g| g.quantity == place.quantity).collect();
            let stored = wait_for("what the gateway holds", Duration::from_secs(120), || async {
                let stored = self.samples(place.quantity).await?;
                if stored.len() >= expected.len() {
                    return Ok(stored);
                }
                Err(format!("{} of {} of {}", stored.len(), expected.len(), place.quantity))
            })
            .await;
            assert!(runs_on || stored.len() == expected.len(), "{} once each", place.quantity);
            for (one, (t, value)) in expected.iter().zip(stored) {
                let wanted: f64 = one.text.parse().expect("a number");
                assert_eq!(
                    value.to_bits(),
                    wanted.to_bits(),
                    "row {} of {}",
                    one.row,
                    one.quantity
                );
                assert!((t - one.at_ms).abs() < PERIOD_MS, "row {} at {t}", one.row);
            }
            count += expected.len();
        }
        count
    }

    async fn evaluated(&self) {
        wait_for("the evaluator to reach the log's end", Duration::from_secs(60), || async {
            let system = self.centre.get("/system").await.map_err(|e| e.to_string())?;
            match system["log"]["evaluator_lag"].as_u64() {
                Some(lag) if lag <= 2 => Ok(()),
                lag => Err(format!("lag {lag:?}")),
            }
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_log_comes_back_from_a_backup_and_from_the_gateways() {
    let mut world = World::start(Mosquitto::start().await.expect("mosquitto")).await;
    world.flows().await;
    world.plants.sites[0].drive("gas-1", 0, 35.0, 50.0);
    world.raised("R21").await;
    // Beside the running service.
    let backup = world.folder.path().join("backup");
    let backup = backup.to_str().expect("a name");
    println!("{}", world.centre.call(&["backup", backup]).expect("a backup"));
    let again = world.centre.call(&["backup", backup]).expect_err("it is there");
    assert!(format!("{again:#}").contains("is there already"), "{again:#}");
    let held = world.centre.call(&["restore", backup]).expect_err("the service runs");
    assert!(format!("{held:#}").contains("stop it first"), "{held:#}");
    // What follows is in no backup.
    world.plants.sites[0].drive("tank-1", 0, 88.0, 50.0);
    world.raised("R24h").await;
    world.flows().await;
    let before = world.all_is_stored(true).await;
    world.centre.kill();
    let data = world.centre.folder.join("data");
    std::fs::remove_dir_all(data.join("log")).expect("the log's folder");
    std::fs::remove_dir_all(data.join("store")).expect("the store's folder");
    // The service has a user of its own, and root puts the backup back; anybody else can give nothing away.
    drop(std::os::unix::fs::chown(&data, Some(12_345), None));
    println!("{}", world.centre.call(&["restore", backup]).expect("the backup put back"));
    let owner = |path: &Path| std::fs::metadata(path).map(|of| of.uid()).expect("a file");
    for part in ["log", "log/log.db"] {
        assert_eq!(owner(&data.join(part)), owner(&data), "whose {part} is");
    }
    world.centre.start().await.expect("the centre");
    world.flows().await;
    world.gateway.stop().await.expect("an orderly end");
    let stored = world.all_is_stored(false).await;
    println!("{before} answers before the loss, {stored} at the end, each stored once");
    assert!(stored > before);
    world.evaluated().await;
    world.told_once("R21").await;
    world.told_once("R24h").await;
    let notices = world.centre.notices().await.expect("the notices");
    for code in ["broker_drops", "two_gateways", "key_reuse"] {
        assert!(!notices.contains_key(code), "{notices:?}");
    }
    world.centre.stop().await.expect("an orderly end");
    let journal = |args: &[&str]| world.centre.call(args).expect("the journal");
    let printed = journal(&["journal", "print"]);
    assert!(printed.contains("R21") && printed.contains("R24h"), "{printed}");
    assert_eq!(printed, journal(&["journal", "replay"]), "against a fresh evaluator");
    assert_eq!(printed, journal(&["journal", "replay", "--in-order"]), "against their one order");
}

// Goal: a broker that takes messages and drops them is named, and nothing of them is lost. Method: mosquitto with a short
// queue, and a centre that stands still for as long as that queue overflows.
#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_drops_is_named_and_nothing_is_lost() {
    let short = "max_inflight_messages 20\nmax_queued_messages 5\n";
    let broker = Mosquitto::start_with(short).await.expect("mosquitto");
    let mut world = World::start(broker).await;
    world.flows().await;
    assert!(!world.centre.notices().await.expect("the notices").contains_key("broker_drops"));
    let centre = world.centre.id().expect("it runs").to_string();
    let signal = |name: &str| {
        let sent = std::process::Command::new("kill").arg(name).arg(&centre).status();
        assert!(sent.expect("kill").success());
    };
    let sent = sent_blocks(&world).await;
    signal("-STOP");
    wait_for("the queue to overflow", Duration::from_secs(60), || async {
        let now = sent_blocks(&world).await;
        if now >= sent + 100.0 { Ok(()) } else { Err(format!("{sent} sent then, {now} now")) }
    })
    .await;
    signal("-CONT");
    wait_for("the notice of the broker", Duration::from_secs(120), || async {
        let notices = world.centre.notices().await.map_err(|e| format!("{e:#}"))?;
        notices.get("broker_drops").map(drop).ok_or_else(|| format!("{notices:?}"))
    })
    .await;
    world.flows().await;
    world.gateway.stop().await.expect("an orderly end");
    println!("{} answers, each stored once", world.all_is_stored(false).await);
}

/// Blocks that the gateway has handed to the broker.
async fn sent_blocks(world: &World) -> f64 {
    let metrics = world.gateway.metrics().await.expect("the gateway's metrics");
    metrics.iter().filter(|(name, _)| name.contains("sent_blocks")).map(|(_, value)| value).sum()
}

fn registry() -> String {
    let plant = PLANTS.iter().find(|p| p.id == GAS_STORY).expect("the gas plant");
    let points: Vec<String> = HOUSEHOLD
        .model
        .places
        .iter()
        .map(|p| format!("{{ quantity = {:?}, period_ms = 200 }}", p.quantity))
        .collect();
    format!(
        "{}[[site.device]]\nid = {HOUSE:?}\nname = {HOUSE:?}\nrole = \"other\"\ngateway = {:?}\npoints = [{}]\n\n",
        plant.registry(),
        plant.gateway(),
        points.join(", ")
    )
}

#[expect(clippy::disallowed_methods, reason = "the test's own clock, the same as the device's")]
fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    i64::try_from(since.as_millis()).expect("before the year 292277026")
}
