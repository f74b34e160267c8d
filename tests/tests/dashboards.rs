//! The shipped Grafana dashboard of readings: every query of it runs on a real InfluxDB 2 that a real centre has written,
//! with its variables filled in as Grafana does.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tests::harness::davy::{Centre, Store};
use tests::harness::hand::{Hand, now_ms};
use tests::harness::influx::{BUCKET, Influx};
use tests::harness::mosquitto::Mosquitto;
use tests::harness::peer::Peer;
use tests::harness::wait::wait_for;
use wire::manifest::Point;

const SITE: &str = "works";
const REGISTRY: &str = "[[site]]\nid = \"works\"\nname = \"示例厂\"\nuscc = \"91533401MA6N801A0Q\"\ncounty = \"533401\"\n\
                        sectors = [\"危化\"]\nzone = \"Asia/Shanghai\"\n";
/// Device, quantity and the three values of each: what they become in the panel's window of a minute.
const READINGS: [(&str, &str, [f64; 3], f64); 4] = [
    ("grid-1", "u_a", [230.0, 231.0, 232.0], 231.0),
    ("gas-1", "gas_lel", [2.0, 7.0, 3.0], 7.0),
    ("tank-1", "level_pct", [40.0, 50.0, 60.0], 50.0),
    ("door-1", "di_door", [0.0, 1.0, 0.0], 1.0),
];
/// A bad sample beside them.
const BAD: (&str, &str) = ("tank-1", "pressure");

/// Puts values in the places that Grafana fills: its own words and the board's variables.
fn filled(query: &str, values: &BTreeMap<&str, String>, (from, to): (i64, i64)) -> String {
    let time = |ms: i64| format!("time(v: {})", i128::from(ms) * 1_000_000);
    let mut text = query
        .replace("v.timeRangeStart", &time(from))
        .replace("v.timeRangeStop", &time(to))
        .replace("v.windowPeriod", "1m");
    for (name, value) in values {
        text = text.replace(&format!("${{{name}}}"), value);
        let as_list = serde_json::to_string(&[value]).expect("a list");
        text = text.replace(&format!("${{{name}:json}}"), &as_list);
    }
    assert!(!text.contains("${"), "something is left to fill in: {text}");
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn every_query_of_the_board_of_readings_runs_and_finds_what_was_written() {
    // Goal: who imports the board sees readings, and no panel shows an error. Method: a sample of each family through
    // broker and centre; then each variable's and each panel's query on the database.
    let folder = tempfile::tempdir().expect("a folder");
    let (broker, influx) =
        (Mosquitto::start().await.expect("mosquitto"), Influx::start().await.expect("influxd"));
    let address = format!("127.0.0.1:{}", broker.port);
    let store = Store::from(&influx);
    let mut centre = Centre::prepare(folder.path(), &address, &store, REGISTRY).expect("a centre");
    let key = centre.add_gateway("works-gw1", SITE).expect("a key");
    centre.start().await.expect("the centre");
    centre.sign_in().await.expect("a session");
    let mut hand = Hand::new("works-gw1", SITE, &key).expect("a gateway");
    let mut peer = Peer::connect(broker.port, "hand", "nothing/of/this").await.expect("a client");
    let point = |quantity: &str| Point { quantity: quantity.to_owned(), unit: String::new() };
    let devices = READINGS.iter().map(|r| (r.0, r.1)).chain([BAD]);
    let mut manifest = hand.manifest(std::iter::empty(), &[]);
    for (device, quantity) in devices {
        let one = hand.manifest(std::iter::once(device.to_owned()), &[point(quantity)]);
        manifest.replies.extend(one.replies);
    }
    // Whole minutes, so that a window holds all three.
    let minute = (now_ms() - 120_000).div_euclid(60_000) * 60_000;
    let (mut rows, bad) = (Vec::new(), u32::try_from(READINGS.len()).expect("few"));
    for n in 0..3_u8 {
        for (reply, reading) in (0..).zip(&READINGS) {
            let at = minute + 1_000 * i64::from(n);
            rows.push((reply, at, vec![reading.2[usize::from(n)]]));
        }
    }
    rows.push((bad, minute + 1_000, vec![f64::NAN]));
    let sent = [
        (hand.topic(), hand.sealed_manifest(&manifest)),
        (hand.topic(), hand.next(&manifest, &rows).expect("a block")),
    ];
    peer.publish_all(sent).await.expect("published");
    wait_for("the readings to be stored", Duration::from_secs(60), || async {
        let stored = centre.samples(SITE, "door-1", "di_door").await;
        let stored = stored.map_err(|e| format!("{e:#}; {}", centre.output()))?;
        if stored.len() == 3 { Ok(()) } else { Err(format!("{stored:?}; {}", centre.output())) }
    })
    .await;

    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../dashboards/grafana/davy-site.json");
    let board = std::fs::read_to_string(&path).expect("the board");
    let board: Value = serde_json::from_str(&board).expect("JSON");
    let during = (minute - 60_000, minute + 120_000);
    let mut values = BTreeMap::from([("bucket", BUCKET.to_owned()), ("site", SITE.to_owned())]);
    let mut offered = BTreeMap::new();
    for variable in board["templating"]["list"].as_array().expect("variables") {
        if variable["type"] != "query" {
            continue;
        }
        let query = filled(variable["query"].as_str().expect("a query"), &values, during);
        let found = influx.query(&query).await.unwrap_or_else(|e| panic!("{query}\n{e:#}"));
        let names: BTreeSet<_> = found.into_iter().filter_map(|mut r| r.remove("_value")).collect();
        offered.insert(variable["name"].as_str().expect("a name").to_owned(), names);
    }
    assert_eq!(offered["site"], BTreeSet::from([SITE.to_owned()]));
    let all: BTreeSet<_> = READINGS.iter().map(|r| r.0.to_owned()).collect();
    assert_eq!(offered["device"], all);

    let mut shown = BTreeMap::new();
    for panel in board["panels"].as_array().expect("panels") {
        let title = panel["title"].as_str().expect("a title");
        for target in panel["targets"].as_array().into_iter().flatten() {
            for device in &all {
                values.insert("device", device.clone());
                let query = filled(target["query"].as_str().expect("a query"), &values, during);
                let rows = influx.query(&query).await;
                let rows = rows.unwrap_or_else(|e| panic!("{title}: {query}\n{e:#}"));
                for row in rows {
                    let value: f64 = row["_value"].parse().expect("a number");
                    shown.insert((title, row["device"].clone(), row["_field"].clone()), value);
                }
            }
        }
    }
    let panels = ["电力 electricity", "气体 gas", "工艺 process", "开关量 states"];
    let mut wanted: BTreeMap<_, _> = panels
        .into_iter()
        .zip(READINGS)
        .map(|(title, (device, quantity, _, value))| {
            ((title, device.to_owned(), quantity.to_owned()), value)
        })
        .collect();
    let (device, quantity) = (BAD.0.to_owned(), format!("{}_q", BAD.1));
    wanted.insert(("非良好样本 samples that are not good", device, quantity), 1.0);
    assert_eq!(shown, wanted);
}
