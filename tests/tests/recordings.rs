//! Real recordings played as meters through real register maps, over Modbus TCP, a real broker and the real programs:
//! for each answer that the device gave, the store holds exactly one sample, equal to the file, and nothing else.

#![expect(clippy::print_stdout, reason = "the test prints its counts")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tests::harness::davy::{Centre, Gateway, Store};
use tests::harness::influx::Influx;
use tests::harness::modbus::Server;
use tests::harness::mosquitto::Mosquitto;
use tests::harness::process::free_port;
use tests::harness::site::{GatewayFile, Unit};
use tests::harness::wait::wait_for;
use tests::recordings::{HOUSEHOLD, STEEL, Source, TRANSFORMER, TRANSFORMER_OIL};
use tests::replay::{Given, Replay};

/// Event time and the device's own note of its answer may differ by this.
const TIME_TOLERANCE_MS: i64 = 1000;
/// Between two sweeps, ms.
const PERIOD_MS: u32 = 300;

/// Rows of each part: a stretch in `make test`, `DAVY_ROWS=5000` for more.
fn rows() -> usize {
    match std::env::var("DAVY_ROWS") {
        Ok(text) => text.parse().expect("DAVY_ROWS is a number"),
        Err(_) => 120,
    }
}

/// Which rows of which file each unit plays. The parts hold the transformer's weeks of zeros and its live days.
const PARTS: [(&str, Source, usize); 8] = [
    ("house-1", HOUSEHOLD, 0),
    ("house-2", HOUSEHOLD, 9_000),
    ("house-3", HOUSEHOLD, 25_000),
    ("grid-1", TRANSFORMER, 0),
    ("grid-2", TRANSFORMER, 2_000),
    ("oil-1", TRANSFORMER_OIL, 1_500),
    ("steel-1", STEEL, 0),
    ("steel-2", STEEL, 20_000),
];

#[tokio::test(flavor = "multi_thread")]
async fn recordings_arrive_whole_in_the_embedded_store() {
    play(Store::Embedded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn recordings_arrive_whole_in_influxdb() {
    let influx = Influx::start().await.expect("influxd");
    let (given, failed) = play(Store::from(&influx)).await;
    // What the product's own query answers was compared in `play`; here the database is asked without the product: it
    // holds as many numbers as answers were given, whatever series they are in, and a mark for each failed read.
    for (wanted, fields) in [(given.to_string(), "!~"), (failed.to_string(), "=~")] {
        let flux = format!(
            "from(bucket:\"readings\") |> range(start:0) |> filter(fn:(r)=> r._field {fields} /_q$/) |> group() |> count()"
        );
        let rows = influx.query(&flux).await.expect("a count");
        let found = rows.first().map_or("0", |row| row["_value"].as_str());
        assert_eq!(found, wanted, "points whose field {fields} /_q$/");
    }
}

/// Plays the parts through the whole way and compares; gives how many values were answered, and how many were asked for
/// in vain after a recording's end.
async fn play(store: Store) -> (usize, f64) {
    let folder = TempDir::new().expect("a folder");
    let broker = Mosquitto::start().await.expect("mosquitto");
    let broker_address = format!("127.0.0.1:{}", broker.port);
    let recordings =
        PARTS.iter().map(|(_, source, first)| source.read(*first, rows()).expect("a recording"));
    let replay = Arc::new(Replay::new(recordings.collect()).expect("registers that fit"));
    // An endpoint each, as meters with a network port have.
    let mut devices = Vec::new();
    for _ in PARTS {
        let units = Arc::clone(&replay) as _;
        devices.push(Server::start(([127, 0, 0, 1], 0).into(), units).await.expect("a port"));
    }

    let mut centre =
        Centre::prepare(folder.path(), &broker_address, &store, &registry()).expect("a centre");
    let key = centre.add_gateway("replay-gw1", "replay").expect("a key");
    let status_port = free_port().expect("a port");
    let file = GatewayFile {
        name: "replay-gw1",
        site: "replay",
        key: &key,
        spool_dir: folder.path().join("spool"),
        broker: broker_address,
        status_port,
        period_ms: PERIOD_MS,
        timeout_ms: 1000,
    };
    let buses: Vec<_> = PARTS
        .iter()
        .zip(1u8..)
        .zip(&devices)
        .map(|(((id, source, _), unit), device)| {
            (device.address.to_string(), vec![Unit { id, unit, model: source.model }])
        })
        .collect();
    let config = file.text(&buses).expect("a gateway's file");
    let mut gateway =
        Gateway::prepare(folder.path(), "replay-gw1", status_port, &config).expect("a gateway");
    centre.start().await.expect("the centre");
    centre.sign_in().await.expect("a session");
    gateway.start().expect("the gateway");

    let sweeps = u32::try_from(rows()).expect("few rows");
    let limit = Duration::from_millis(u64::from(2 * PERIOD_MS)) * sweeps + Duration::from_secs(120);
    wait_for("the recordings to be read whole", limit, || {
        let left = replay.left();
        let words = gateway.output();
        async move {
            assert!(!words.contains("overloaded"), "{words}");
            if left == 0 { Ok(()) } else { Err(format!("{left} rows are left; {words}")) }
        }
    })
    .await;
    let given = replay.given();
    let series = by_series(&given);
    wait_for("every sample to be stored", Duration::from_secs(60), || async {
        for ((device, quantity), expected) in &series {
            let stored = centre.samples("replay", device, quantity).await;
            let stored = stored.map_err(|e| format!("{e:#}"))?;
            if stored.len() < expected.len() {
                let first = expected.iter().zip(&stored).find(|(g, s)| (g.at_ms - s.0).abs() > 150);
                return Err(format!(
                    "{device}.{quantity}: {} of {}; first not in step: {first:?}",
                    stored.len(),
                    expected.len()
                ));
            }
        }
        Ok(())
    })
    .await;
    for ((device, quantity), expected) in &series {
        let stored = centre.samples("replay", device, quantity).await.expect("samples");
        compare(device, quantity, expected, &stored);
    }
    wait_for("every sample to be acked", Duration::from_secs(30), || async {
        let metrics = gateway.metrics().await.map_err(|e| format!("{e:#}"))?;
        match place(&metrics, "backlog") {
            0.0 => Ok(()),
            left => Err(format!("{left} samples are not acked")),
        }
    })
    .await;
    let failed = report(&given, &gateway.metrics().await.expect("metrics"));
    gateway.stop().await.expect("an orderly end");
    centre.stop().await.expect("an orderly end");
    (given.len(), failed)
}

/// Samples of the gateway that are in one of the four places.
fn place(metrics: &BTreeMap<String, f64>, place: &str) -> f64 {
    let wanted = format!("davy_gateway_samples{{place=\"{place}\"}}");
    *metrics.get(&wanted).unwrap_or_else(|| panic!("no {wanted} in {metrics:?}"))
}

type Series<'a> = BTreeMap<(&'static str, &'static str), Vec<&'a Given>>;

fn by_series(given: &[Given]) -> Series<'_> {
    let mut series: Series<'_> = BTreeMap::new();
    for one in given {
        let device = PARTS[usize::from(one.unit) - 1].0;
        series.entry((device, one.quantity)).or_default().push(one);
    }
    series
}

fn compare(device: &str, quantity: &str, expected: &[&Given], stored: &[(i64, f64)]) {
    assert_eq!(
        stored.len(),
        expected.len(),
        "{device}.{quantity}: samples stored against answers given"
    );
    for (want, (t, value)) in expected.iter().zip(stored) {
        let text: f64 = want.text.parse().expect("a number in the recording");
        assert_eq!(
            value.to_bits(),
            text.to_bits(),
            "{device}.{quantity} row {}: {value} stored",
            want.row
        );
        let apart = (t - want.at_ms).abs();
        assert!(
            apart <= TIME_TOLERANCE_MS,
            "{device}.{quantity} row {}: {apart} ms apart",
            want.row
        );
    }
}

/// Prints the account and gives how many polled samples are failed reads.
fn report(given: &[Given], metrics: &BTreeMap<String, f64>) -> f64 {
    let polled = metrics
        .iter()
        .find(|(name, _)| name.starts_with("davy_gateway_polled_samples"))
        .map(|(_, polled)| *polled)
        .expect("a counter of polled samples");
    let [stored, quarantined, declared, backlog] =
        ["stored", "quarantined", "declared", "backlog"].map(|name| place(metrics, name));
    println!(
        "answers given: {} values; polled {polled} = stored {stored} + quarantined {quarantined} + declared {declared} + backlog {backlog}",
        given.len()
    );
    assert_eq!(
        polled,
        stored + quarantined + declared + backlog,
        "every polled sample has one place"
    );
    assert!(polled >= given.len() as f64, "polled against answers given");
    assert_eq!(quarantined + declared, 0.0, "nothing was refused or lost");
    let mut named = Vec::new();
    for (_, source, _) in PARTS {
        if !named.contains(&source.path) {
            named.push(source.path);
            println!(
                "{}: without a quantity of ours: {:?}",
                source.path,
                source.unused().expect("a header")
            );
        }
    }
    polled - given.len() as f64
}

fn registry() -> String {
    let mut text = "[[site]]\nid = \"replay\"\nname = \"录制数据回放\"\nuscc = \"91533401MA6N801A0Q\"\ncounty = \"533401\"\n\
                    sectors = [\"其他工贸\"]\nzone = \"Asia/Shanghai\"\n\n[[site.gateway]]\nname = \"replay-gw1\"\n\n"
        .to_owned();
    for (id, source, _) in PARTS {
        let points: Vec<String> = source
            .model
            .places
            .iter()
            .map(|p| format!("{{ quantity = {:?}, period_ms = 100 }}", p.quantity))
            .collect();
        text.push_str(&format!(
            "[[site.device]]\nid = {id:?}\nname = {id:?}\nrole = \"other\"\ngateway = \"replay-gw1\"\npoints = [{}]\n\n",
            points.join(", ")
        ));
    }
    text
}
