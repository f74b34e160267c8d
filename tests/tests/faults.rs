//! Gateway, broker, centre and database killed in turn under load, and the link cut for a minute: nothing lost, nothing
//! doubled, one verdict journal, no page from history.
#![expect(clippy::print_stdout, reason = "the test prints its counts")]

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use tempfile::TempDir;
use tests::harness::davy::{Centre, Gateway, Store};
use tests::harness::influx::Influx;
use tests::harness::modbus::Server;
use tests::harness::mosquitto::Mosquitto;
use tests::harness::process::free_port;
use tests::harness::proxy::Proxy;
use tests::harness::site::{GatewayFile, Unit};
use tests::harness::wait::wait_for;
use tests::plant::Plants;
use tests::prefecture::{GAS_STORY, PLANTS};
use tests::recordings::{HOUSEHOLD, TRANSFORMER};
use tests::replay::{Given, Replay};

/// Poll period; also the device's time tolerance, so that a sample cannot be taken for its neighbour.
const PERIOD_MS: i64 = 500;
/// What a SIGKILL of the gateway may cost: the replies since its last commit (`flush_ms` 100, and the commit itself).
const KILL_COST_MS: i64 = 1000;
/// More rows than the test can play: the device never ends.
const ROWS: usize = 20_000;
/// How long the link is cut, and how long the database stands still.
const CUT: Duration = Duration::from_secs(60);

const UNITS: [&str; 2] = ["house-1", "grid-1"];

struct World {
    _folder: TempDir,
    broker: Mosquitto,
    influx: Influx,
    centre: Centre,
    gateway: Gateway,
    link: Proxy,
    plants: Plants,
    replay: Arc<Replay>,
    _devices: Vec<Server>,
    kills: Vec<i64>,
}

impl World {
    async fn start() -> World {
        let folder = TempDir::new().expect("a folder");
        let broker = Mosquitto::start().await.expect("mosquitto");
        let influx = Influx::start().await.expect("influxd");
        let link = Proxy::start(([127, 0, 0, 1], broker.port).into()).await.expect("a port");
        let plant = PLANTS.iter().find(|p| p.id == GAS_STORY).expect("the gas plant");
        let plants = Plants::start(vec![plant.simulate(11)]).await.expect("a port");
        let recordings = vec![
            HOUSEHOLD.read(0, ROWS).expect("a recording"),
            TRANSFORMER.read(300, ROWS).expect("a recording"),
        ];
        let replay = Arc::new(Replay::new(recordings).expect("registers that fit"));
        let mut devices = Vec::new();
        for _ in UNITS {
            let units = Arc::clone(&replay) as _;
            devices.push(Server::start(([127, 0, 0, 1], 0).into(), units).await.expect("a port"));
        }
        let address = format!("127.0.0.1:{}", broker.port);
        let centre = Centre::prepare(folder.path(), &address, &Store::from(&influx), &registry())
            .expect("a centre");
        let key = centre.add_gateway(&plant.gateway(), plant.id).expect("a key");
        let file = GatewayFile {
            name: &plant.gateway(),
            site: plant.id,
            key: &key,
            spool_dir: folder.path().join("spool"),
            broker: link.address.to_string(),
            status_port: free_port().expect("a port"),
            period_ms: 500,
            timeout_ms: 1000,
        };
        let plant_devices = plant.kind.devices();
        let known =
            plant_devices.iter().map(|d| Unit { id: d.id, unit: d.unit, model: d.model }).collect();
        let recorded = |index: usize, unit, model| {
            (devices[index].address.to_string(), vec![Unit { id: UNITS[index], unit, model }])
        };
        let buses = [
            (plants.address(0).to_string(), known),
            recorded(0, 1, HOUSEHOLD.model),
            recorded(1, 2, TRANSFORMER.model),
        ];
        let text = file.text(&buses).expect("a gateway's file");
        let gateway =
            Gateway::prepare(folder.path(), file.name, file.status_port, &text).expect("a gateway");
        let mut world = World {
            _folder: folder,
            broker,
            influx,
            centre,
            gateway,
            link,
            plants,
            replay,
            _devices: devices,
            kills: Vec::new(),
        };
        world.centre.start().await.expect("the centre");
        world.centre.sign_in().await.expect("a session");
        world.gateway.start().expect("the gateway");
        world
    }

    /// Waits until the newest answer that the device has given by now is stored: everything runs.
    async fn flows(&self) {
        let now = now_ms();
        wait_for("the newest sample to be stored", Duration::from_secs(90), || async {
            let samples = self.samples(UNITS[0], "u_a").await?;
            match samples.last() {
                Some((t, _)) if *t >= now => Ok(()),
                last => Err(format!(
                    "newest {last:?}, wanted {now}; centre: {}",
                    tail(&self.centre.output())
                )),
            }
        })
        .await;
    }

    async fn samples(&self, device: &str, quantity: &str) -> Result<Vec<(i64, f64)>, String> {
        self.centre.samples(GAS_STORY, device, quantity).await.map_err(|e| format!("{e:#}"))
    }

    async fn alarm(&self, rule: &str) -> Result<Value, String> {
        let alarms = self.centre.alarms().await.map_err(|e| format!("{e:#}"))?;
        let found =
            alarms.into_iter().find(|a| a["rule"].as_str().is_some_and(|r| r.starts_with(rule)));
        found.ok_or_else(|| format!("no alarm of {rule}; centre: {}", tail(&self.centre.output())))
    }
}

impl World {
    /// One alarm of a rule, raised once and paged once, whatever was killed, repeated or delivered late.
    async fn told_once(&self, rule: &str) {
        let alarms = self.centre.alarms().await.expect("the alarms");
        let of_rule: Vec<&Value> = alarms
            .iter()
            .filter(|a| a["rule"].as_str().is_some_and(|r| r.starts_with(rule)))
            .collect();
        let [alarm] = of_rule[..] else {
            panic!("{} alarms of {rule}: {of_rule:?}", of_rule.len())
        };
        let id = alarm["id"].as_str().expect("an id");
        let detail = self.centre.get(&format!("/alarms/{id}")).await.expect("the alarm");
        println!("{rule}: page {}, history {}", detail["page"], detail["history"]);
        assert_eq!(detail["page"], "paged", "{detail}");
        let history = detail["history"].as_array().expect("a history");
        let raises = history.iter().filter(|h| h["kind"] == "raise").count();
        assert_eq!(raises, 1, "{detail}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_and_a_link_cut_lose_nothing_and_double_nothing() {
    let mut world = World::start().await;
    world.flows().await;
    for _ in 0..rounds() {
        world.kills.push(now_ms());
        world.gateway.kill();
        world.gateway.start().expect("the gateway");
        world.flows().await;
        world.broker.kill();
        world.broker.resume().await.expect("mosquitto");
        world.flows().await;
        world.centre.kill();
        world.centre.start().await.expect("the centre");
        world.flows().await;
        world.influx.kill();
        world.influx.resume().await.expect("influxd");
        world.flows().await;
    }
    database_away(&mut world).await;
    let (cut_at, since) = cut_with_a_rise(&world).await;
    wait_for("the alarm of the rise", Duration::from_secs(120), || async {
        let alarm = world.alarm("R21").await?;
        let start = alarm["since"].as_i64().unwrap_or_default();
        // While the backlog is still coming the page stands with what the newest blocks say.
        if (start - since).abs() >= 5_000 {
            return Err(format!("since {start}, the limit was crossed at {since}: {alarm}"));
        }
        assert!(
            start < now_ms() - 20_000 && start > cut_at,
            "it was crossed during the cut: {alarm}"
        );
        Ok(())
    })
    .await;
    world.flows().await;
    world.told_once("R21").await;
    world.told_once("R24h").await;
    world.gateway.stop().await.expect("an orderly end");
    let given = world.replay.given();
    for (index, device) in UNITS.iter().enumerate() {
        account(&world, &given, index, device).await;
    }
    evaluated(&world).await;
    world.centre.stop().await.expect("an orderly end");
    let printed = world.centre.call(&["journal", "print"]).expect("the journal");
    let replayed = world.centre.call(&["journal", "replay"]).expect("the journal made again");
    let in_order =
        world.centre.call(&["journal", "replay", "--in-order"]).expect("the journal in order");
    assert!(
        printed.contains("R21") && printed.contains("R24h"),
        "both rises must stand in it: {printed}"
    );
    assert_eq!(printed, replayed, "verdict journal against a fresh evaluator over the same log");
    assert_eq!(printed, in_order, "verdict journal against the same blocks delivered in order");
    println!("verdict journal: {} lines, the same three ways", printed.lines().count());
}

/// The database stands still for a minute while a tank fills up: the alarm comes on time, and the database catches up.
async fn database_away(world: &mut World) {
    world.influx.kill();
    let gone_at = now_ms();
    world.plants.sites[0].drive("tank-1", 0, 88.0, 50.0);
    let raised =
        wait_for("the tank's alarm without a database", Duration::from_secs(20), || async {
            let alarm = world.alarm("R24h").await?;
            alarm["recorded_at"].as_i64().ok_or_else(|| alarm.to_string())
        })
        .await;
    // 5 s of the rule's delay, half a second of the poll, the rest is ours.
    println!("database away: alarm after {} ms, of which 5,000 are its delay", raised - gone_at);
    pass(CUT, gone_at).await;
    world.influx.resume().await.expect("influxd");
    world.flows().await;
    world.plants.sites[0].drive("tank-1", 0, 61.0, 50.0);
    wait_for("the tank's alarm to clear", Duration::from_secs(90), || async {
        let alarm = world.alarm("R24h").await?;
        if alarm["active"] == false { Ok(()) } else { Err(alarm.to_string()) }
    })
    .await;
}

/// Waits until `time` has passed since `from`, ms.
async fn pass(time: Duration, from: i64) {
    wait_for("the time to pass", time + Duration::from_secs(5), || async {
        let left = i64::try_from(time.as_millis()).unwrap_or(i64::MAX) - (now_ms() - from);
        if left <= 0 { Ok(()) } else { Err(format!("{left} ms left")) }
    })
    .await;
}

/// Cuts the link for a minute; gas rises and stays up during it. Gives when it was cut and when the limit was crossed.
async fn cut_with_a_rise(world: &World) -> (i64, i64) {
    world.link.cut();
    let cut_at = now_ms();
    world.plants.sites[0].drive("gas-1", 0, 35.0, 50.0);
    let crossed = now_ms() + 500;
    pass(CUT, cut_at).await;
    assert!(
        world.alarm("R21").await.is_err(),
        "nothing of it may be known before the link is back"
    );
    world.link.mend();
    (cut_at, crossed)
}

/// Every answer of a device is stored once, or lies in the cost of a gateway's kill.
async fn account(world: &World, given: &[Given], index: usize, device: &str) {
    let unit = u8::try_from(index + 1).expect("few units");
    let model = [HOUSEHOLD.model, TRANSFORMER.model][index];
    let (mut expected_all, mut lost_all) = (0usize, 0usize);
    for place in model.places {
        let expected: Vec<&Given> =
            given.iter().filter(|g| g.unit == unit && g.quantity == place.quantity).collect();
        let stored = wait_for("the backlog to arrive", Duration::from_secs(120), || async {
            let stored = world.samples(device, place.quantity).await?;
            let last = expected.last().map_or(0, |g| g.at_ms);
            match stored.last() {
                Some((t, _)) if (t - last).abs() < PERIOD_MS => Ok(stored),
                newest => Err(format!("newest {newest:?}, last answer at {last}")),
            }
        })
        .await;
        let mut left = stored.iter().peekable();
        for one in &expected {
            let value: f64 = one.text.parse().expect("a number");
            let same = |(t, v): &&(i64, f64)| {
                v.to_bits() == value.to_bits() && (t - one.at_ms).abs() < PERIOD_MS
            };
            if left.peek().is_some_and(same) {
                left.next();
                continue;
            }
            let forgiven = world.kills.iter().any(|k| (0..KILL_COST_MS).contains(&(k - one.at_ms)));
            assert!(
                forgiven,
                "{device}.{} of row {} at {} is lost",
                one.quantity, one.row, one.at_ms
            );
            lost_all += 1;
        }
        assert_eq!(left.next(), None, "{device}.{}: stored and never given", place.quantity);
        expected_all += expected.len();
    }
    println!(
        "{device}: {expected_all} answers, {lost_all} in the last moment before a kill of the gateway, 0 lost"
    );
}

/// Waits until the evaluator has taken everything that the log holds.
async fn evaluated(world: &World) {
    wait_for("the evaluator to reach the log's end", Duration::from_secs(30), || async {
        let system = world.centre.get("/system").await.map_err(|e| e.to_string())?;
        match system["log"]["evaluator_lag"].as_u64() {
            Some(lag) if lag <= 2 => Ok(()),
            lag => Err(format!("lag {lag:?}")),
        }
    })
    .await;
}

/// Rounds of kills: one in `make test`, more by `DAVY_FAULT_ROUNDS=100 cargo test -p tests --test faults`.
fn rounds() -> usize {
    match std::env::var("DAVY_FAULT_ROUNDS") {
        Ok(text) => text.parse().expect("DAVY_FAULT_ROUNDS is a number"),
        Err(_) => 1,
    }
}

fn registry() -> String {
    let plant = PLANTS.iter().find(|p| p.id == GAS_STORY).expect("the gas plant");
    let mut text = plant.registry();
    for (id, model) in UNITS.iter().zip([HOUSEHOLD.model, TRANSFORMER.model]) {
        let points: Vec<String> = model
            .places
            .iter()
            .map(|p| format!("{{ quantity = {:?}, period_ms = 200 }}", p.quantity))
            .collect();
        text.push_str(&format!(
            "[[site.device]]\nid = {id:?}\nname = {id:?}\nrole = \"other\"\ngateway = {:?}\npoints = [{}]\n\n",
            plant.gateway(),
            points.join(", ")
        ));
    }
    text
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().rev().take(12).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}

#[expect(clippy::disallowed_methods, reason = "the test's own clock, the same as the device's")]
fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    i64::try_from(since.as_millis()).expect("before the year 292277026")
}
