//! Bad input, against the real programs: wrong files, devices that refuse, nonsense and forgeries on the topics, a store
//! and an API that are given the wrong token. Each is a clear error that says how to mend it, and nothing is lost.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tests::harness::davy::{Centre, Store};
use tests::harness::influx::{Influx, TOKEN};
use tests::harness::peer::Peer;
use tests::harness::process::{Ended, run_to_end};
use tests::harness::wait::wait_for;
use tests::harness::works::{GATEWAY, Played, SITE, Works, edit, house};
use tests::meters;
use tests::replay::Recording;
use wire::columns::Column;
use wire::frame::{self, Kind};
use wire::message::{Ack, EpochAck, Item, Stamp, Uplink};
use wire::topic::{Topic, TopicKind};
use wire::{Block, GatewayName, Key};

/// Another provisioned gateway of the same site: an insider who has a valid key of his own.
const INSIDER: &str = "works-gw2";

// ── files ──────────────────────────────────────────────────────────────────────────────────────────────────────────

/// A gateway's file with a mistake of each kind; the comments name them.
const WRONG_GATEWAY: &str = r#"[gateway]
name = "works-gw1"
site = "works"
key = "00ff"                    # too short
spool_dir = "spool"
flush_ms = "fast"               # a text
[broker]
url = "http://127.0.0.1"        # not MQTT
[status]
listen = "0.0.0.0:9464"         # not loopback
[[bus]]
name = "hall"
kind = "modbus-tcp"
adress = "127.0.0.1:502"        # misspelt, so address is missing
[[bus.device]]
id = "a"
unit = 1
profile = "eastron-sdm360"      # nearly a profile
[[bus.device]]
id = "b"
unit = 2
profile = "no-such-maker-9"     # no profile at all
[[bus.device]]
id = "c"
unit = 3
profile = "eastron-sdm630"
[[bus.device]]
id = "d"                        # the same meter as c
unit = 3
profile = "eastron-sdm630"
[[bus.device]]
id = "tank"
unit = 300                      # no Modbus unit
profile = "generic"
[[bus.device.point]]
quantity = "level"
table = "holding"
reg = 70000                     # beyond the last register
type = "u16"
unit = "m"
[[bus.device.point]]
quantity = "levle"              # no quantity
table = "holding"
reg = 1
type = "u16"
unit = "m"
"#;

#[test]
fn every_mistake_of_a_gateway_file_is_listed_with_its_line_and_how_to_mend_it() {
    // Goal: one look mends the file. Method: a mistake of each kind; check, run and read all refuse it with the same list.
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("gateway.toml"), WRONG_GATEWAY).expect("written");
    let checked = gateway("check", &folder);
    assert_eq!(checked.code, Some(64), "{}", checked.text);
    let places = [
        (4, "davy-ingest gateway add"),
        (6, "flush_ms = 100"),
        (8, "mqtts://davy.example.cn:8883"),
        (10, "listen = \"127.0.0.1:9464\""),
        (11, "add a line such as: address ="),
        (14, "did you mean address?"),
        (18, "did you mean eastron-sdm630?"),
        (22, "known: acrel-"),
        (27, "d and c both read"),
        (33, "unit = 1"),
        (38, "reg = 70000 will not do"),
        (42, "did you mean level?"),
    ];
    for (line, words) in places {
        let start = format!("gateway.toml:{line}:");
        let problem = checked.text.split("\n\n").find(|p| p.starts_with(&start));
        let problem = problem.unwrap_or_else(|| panic!("nothing of line {line}\n{}", checked.text));
        assert!(problem.contains(words), "line {line} lacks {words:?}:\n{problem}");
    }
    assert!(checked.text.contains(&format!("{} problem(s)", places.len())), "{}", checked.text);
    assert!(!checked.text.contains("00ff"), "a key is never shown");
    for order in ["run", "read"] {
        let ended = gateway(order, &folder);
        assert_eq!((ended.code, ended.text), (Some(64), checked.text.clone()), "{order}");
    }
    assert!(!folder.path().join("spool").exists(), "nothing was started");
}

fn gateway(order: &str, folder: &tempfile::TempDir) -> Ended {
    run_to_end("davy-gateway", &[order, "--config", "gateway.toml"], folder.path()).expect("runs")
}

/// A centre's file with a mistake of each kind.
const WRONG_CENTRE: &str = r#"[ingest]
state_dir = 5
shutdown_grace_ms = -1
[broker]
url = "tcp://127.0.0.1"
colour = "red"
[store]
kind = "oracle"
[http]
listen = "here"
"#;

/// A registry with a mistake of each kind.
const WRONG_REGISTRY: &str = r#"[[site]]
id = "works"
name = "示例厂"
uscc = "91533401MA6N801A0X"
county = "999999"
sectors = ["面包"]
zone = "Asia/Nowhere"
[[site.gateway]]
name = "gw"
[[site.gateway]]
name = "gw"
[[site.device]]
id = "fan-1"
role = "dust_fan"
gateway = "gw-9"
ratings = { I_N = "60 kA" }
points = [{ quantity = "i_aa", period_ms = 1000 }]
colour = "red"
"#;

#[test]
fn every_mistake_of_the_centres_files_is_listed_with_its_line_and_how_to_mend_it() {
    // Goal: the same of the centre's configuration and of the registry. Method: check, run and seed; a refused registry
    // changes nothing; what the configuration names and is not there is said by check.
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text);
    let ingest = |args: &[&str]| run_to_end("davy-ingest", args, folder.path()).expect("runs");
    write("ingest.toml", WRONG_CENTRE).expect("written");
    for order in ["check", "run"] {
        let ended = ingest(&[order]);
        assert_eq!(ended.code, Some(64), "{}", ended.text);
        let places = [
            (2, "must be a text"),
            (3, "must be 0 to 600000"),
            (5, "must be mqtt://host[:port] or mqtts://host[:port]"),
            (6, "known here: ca_file"),
            (
                8,
                "must be \"embedded\", \"influx\", \"influxdb1\", \"victoriametrics\" or \"discard\"",
            ),
            (10, "e.g. \"127.0.0.1:8080\""),
        ];
        lists("ingest.toml", &places, &ended.text);
    }
    let good = "[ingest]\nstate_dir = \"data\"\n[broker]\nurl = \"mqtt://127.0.0.1:1\"\n";
    write("ingest.toml", good).expect("written");
    write("registry.toml", WRONG_REGISTRY).expect("written");
    let seeded = ingest(&["seed", "registry.toml"]);
    assert_eq!(seeded.code, Some(64), "{}", seeded.text);
    let places = [
        (4, "site[0].uscc"),
        (5, "site[0].county"),
        (6, "is none of 危化"),
        (7, "e.g. \"Asia/Shanghai\""),
        (11, "gateway \"gw\" occurs more than once"),
        (1, "\"gw-9\", which is no gateway of this site"),
        (16, "I_N is given in A"),
        (17, "no quantity of the vocabulary"),
        (18, "is no known key"),
    ];
    lists("registry.toml", &places, &seeded.text);
    let listed = ingest(&["gateway", "list"]);
    assert_eq!(
        (listed.code, listed.text.as_str()),
        (Some(0), ""),
        "a refused file changes nothing"
    );

    let influx =
        "[store]\nkind = \"influx\"\nurl = \"http://127.0.0.1:1\"\norg = \"o\"\nbucket = \"b\"\n";
    let text = format!("{good}{influx}token_file = \"no.token\"\n")
        .replace("[ingest]\n", "[ingest]\nseed = \"registry.toml\"\n");
    write("ingest.toml", &text).expect("written");
    let checked = ingest(&["check"]);
    assert_eq!(checked.code, Some(64), "{}", checked.text);
    assert!(checked.text.contains("no.token cannot be read"), "{}", checked.text);
    lists("registry.toml", &places, &checked.text);
}

/// The text lists exactly these lines of a file.
fn lists(file: &str, places: &[(usize, &str)], text: &str) {
    assert!(text.contains(&format!("{file} has {} problem(s)", places.len())), "{text}");
    for (line, words) in places {
        let start = format!("line {line}: ");
        let said = text.lines().any(|l| l.trim_start().starts_with(&start) && l.contains(words));
        assert!(said, "line {line} {words:?} is not in\n{text}");
    }
}

// ── devices ────────────────────────────────────────────────────────────────────────────────────────────────────────

#[tokio::test(flavor = "multi_thread")]
async fn a_register_that_a_device_lacks_costs_its_own_point_and_is_named() {
    // Goal: a wrong register in the site file is seen while commissioning and while running, and costs no other point.
    // Method: a level transmitter that answers "illegal data address" to a second point of the site file.
    let works = Works::prepare(&Store::Embedded, vec![tank()]).await;
    let mut works = works.expect("a works");
    let extra = "[[bus.device.point]]\nquantity = \"pressure\"\ntable = \"input\"\nreg = 9000\ntype = \"u16\"\n\
                 unit = \"kPa\"\nclass = \"fast\"\n";
    let file = works.gateway.folder.join("gateway.toml");
    let text = std::fs::read_to_string(&file).expect("the file");
    std::fs::write(&file, text + extra).expect("written");
    let args = ["read", "--config", "gateway.toml"];
    let read = run_to_end("davy-gateway", &args, &works.gateway.folder).expect("runs");
    let row = |quantity: &str| read.text.lines().find(|l| l.contains(quantity)).unwrap_or_default();
    assert_eq!(read.code, Some(0), "the device answers: {}", read.text);
    assert!(row("level_pct").contains("良好 good"), "{}", read.text);
    assert!(row("pressure").contains("address"), "the exception in words: {}", read.text);
    let by_hand = works.replay.given().len();

    works.start_all().await.expect("it starts");
    works.until_page("check their registers: tank-1: pressure (input 9000)").await;
    wait_for("the point to be bad, the other good", Duration::from_secs(20), || async {
        let values = works.centre.get(&format!("/values?site={SITE}")).await;
        let values = values.map_err(|e| e.to_string())?;
        let of = |quantity: &str| {
            let mut all = values["values"].as_array().into_iter().flatten();
            all.find(|v| v["quantity"] == quantity).cloned().unwrap_or_default()
        };
        let (pressure, level) = (of("pressure"), of("level_pct"));
        let is_so = pressure["quality"] == "bad"
            && pressure["reason"] == "device_exception"
            && pressure["value"].is_null()
            && level["quality"] == "good";
        if is_so { Ok(()) } else { Err(values.to_string()) }
    })
    .await;
    works.everything_is_stored_once_after(by_hand).await;
}

fn tank() -> Played {
    let rows = (0..30).map(|row| vec![format!("{}.5", 40 + row)]).collect();
    let recording = Recording { model: &meters::LEVEL, columns: vec!["level_pct"], rows };
    Played { id: "tank-1", role: "tank", recording }
}

// ── the topics ─────────────────────────────────────────────────────────────────────────────────────────────────────

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_and_forgeries_on_the_topics_are_counted_said_and_cost_nothing() {
    // Goal: whoever may publish at the broker can neither stop the centre nor put a sample into another's series.
    // Method: beside a running gateway, a message of each kind; counts are exact, and in the end every answer of the
    // device is stored once.
    let mut works = Works::prepare(&Store::Embedded, vec![house(40)]).await.expect("a works");
    let insider = key(&works.centre.add_gateway(INSIDER, SITE).expect("a key"));
    works.start_all().await.expect("it starts");
    let own = key(&works.key);
    let up = topic(GATEWAY, TopicKind::Up);
    let mut peer = Peer::connect(works.broker.port, "anybody", &up).await.expect("a client");
    let (frame, uplink, block) = a_block(&peer, &own).await;
    let stranger = Key::new([7; 32]);
    let sealed = |key: &Key, stamp: &Stamp| {
        let message = Uplink { stamp: stamp.clone(), item: Item::Block(block.encode()) };
        frame::seal(key, Kind::Uplink, &message.encode())
    };
    let mut flipped = frame.to_vec();
    flipped[frame.len() / 2] ^= 0x10;
    let by_insider = Stamp { gateway: name(INSIDER), ..uplink.stamp.clone() };
    let insiders = topic(INSIDER, TopicKind::Up);
    // What is published where, and under which word it is counted.
    let cases: Vec<(&str, String, Vec<u8>, &str)> = vec![
        ("random bytes", up.clone(), (0..300u32).map(|i| (i * 167 % 251) as u8).collect(), "mac"),
        ("nothing", up.clone(), Vec::new(), "frame_length"),
        ("a truncated frame", up.clone(), frame[..frame.len() - 5].to_vec(), "mac"),
        ("a megabyte", up.clone(), vec![1; 1 << 20], "frame_length"),
        ("a flipped bit", up.clone(), flipped, "mac"),
        (
            "a signed heap of bytes",
            up.clone(),
            frame::seal(&own, Kind::Uplink, b"\xff\xff\xff"),
            "malformed",
        ),
        ("a state as a block", up.clone(), frame::seal(&own, Kind::State, b""), "frame_kind"),
        ("another partition", "davy/v1/99/works-gw1/up".to_owned(), frame.to_vec(), "topic"),
        ("no gateway's name", "davy/v1/07/works.gw1/up".to_owned(), frame.to_vec(), "topic"),
        ("garbage as a state", topic(GATEWAY, TopicKind::State), vec![3; 200], "mac"),
        ("a name without a key", topic("nobody", TopicKind::Up), frame.to_vec(), "unknown_gateway"),
        ("a stranger's key", up.clone(), sealed(&stranger, &uplink.stamp), "mac"),
        ("the insider's key", up.clone(), sealed(&insider, &uplink.stamp), "mac"),
        (
            "the insider's topic, another's stamp",
            insiders.clone(),
            sealed(&insider, &uplink.stamp),
            "topic_mismatch",
        ),
        (
            "the insider's stamp, another's block",
            insiders,
            sealed(&insider, &by_insider),
            "gateway_mismatch",
        ),
    ];
    for (what, topic, payload, _) in &cases {
        peer.publish(topic, payload.clone()).await.unwrap_or_else(|e| panic!("{what}: {e:#}"));
    }
    peer.publish(&format!("{up}/more"), frame.to_vec()).await.expect("published; nobody listens");
    for kind in [TopicKind::Ack, TopicKind::Cmd] {
        peer.publish(&topic(GATEWAY, kind), vec![9; 100]).await.expect("published");
        peer.publish(&topic(GATEWAY, kind), vec![9; 1 << 20]).await.expect("published");
    }
    let mut codes: Vec<&str> = cases.iter().map(|c| c.3).collect();
    codes.sort_unstable();
    wait_for("every refusal to be counted", Duration::from_secs(20), || async {
        let metrics = works.centre.metrics().await.map_err(|e| e.to_string())?;
        let count = |code: &str| {
            let series = format!("davy_ingest_messages_dropped_total{{code=\"{code}\"}}");
            metrics.get(&series).copied().unwrap_or_default()
        };
        let wrong = codes.chunk_by(|a, b| a == b).find(|same| count(same[0]) != same.len() as f64);
        match wrong {
            None => Ok(()),
            Some(same) => Err(format!("{}: {} of {}", same[0], count(same[0]), same.len())),
        }
    })
    .await;
    for (code, words) in [
        ("mac", "davy-ingest gateway add"),
        ("frame_length", "access list"),
        ("malformed", "run the same version"),
        ("unknown_gateway", "nobody"),
        ("topic_mismatch", "--rekey"),
        ("gateway_mismatch", "--rekey"),
    ] {
        works.until_notice(code, words).await;
    }
    let metrics = works.centre.metrics().await.expect("metrics");
    assert_eq!(metrics["davy_ingest_broker_reconnects_total"], 0.0, "no message ends the link");
    works.until_page("that are not the centre's").await;
    works.everything_is_stored_once().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_used_again_with_other_bytes_is_set_aside_and_the_first_bytes_stand() {
    // Goal: a copied disk image (or a thief of the key) cannot overwrite what is stored. Method: a block of the running
    // gateway, its values changed, signed with the right key.
    let works = Works::start(&Store::Embedded, vec![house(30)]).await.expect("a works");
    let own = key(&works.key);
    let up = topic(GATEWAY, TopicKind::Up);
    let mut peer = Peer::connect(works.broker.port, "copy", &up).await.expect("a client");
    let (_, uplink, block) = a_block(&peer, &own).await;
    // Whoever has the key and is first is believed: what is shown here is that nobody can be second.
    let (_, newest) = block.readings().and_then(wire::Readings::time_span).expect("rows");
    wait_for("the block to be stored", Duration::from_secs(30), || async {
        let stored = works.centre.samples(SITE, "house-1", "u_a").await;
        let stored = stored.map_err(|e| e.to_string())?;
        let found = stored.iter().any(|(t, _)| *t == newest);
        if found { Ok(()) } else { Err(format!("none at {newest} of {stored:?}")) }
    })
    .await;
    let mut other = block.clone();
    let wire::block::Body::Readings(readings) = &mut other.body else { panic!("rows") };
    for column in readings.tables.iter_mut().flat_map(|table| &mut table.columns) {
        let mut changed = Column::default();
        (0..column.len())
            .for_each(|row| changed.push(column.values()[row] + 1000.0, column.mark(row)));
        *column = changed;
    }
    let message = Uplink { stamp: uplink.stamp, item: Item::Block(other.encode()) };
    let forged = frame::seal(&own, Kind::Uplink, &message.encode());
    for _ in 0..2 {
        peer.publish(&up, forged.clone()).await.expect("published");
    }
    works.until_notice("key_reuse", "see the quarantine").await;
    let rows = works.centre.get("/quarantine").await.expect("the quarantine")["rows"].clone();
    let rows: Vec<&Value> = rows.as_array().into_iter().flatten().collect();
    assert_eq!(rows.len(), 1, "the same twice is one entry: {rows:?}");
    assert_eq!((&rows[0]["code"], &rows[0]["gateway"]), (&json!("key_reuse"), &json!(GATEWAY)));
    works.everything_is_stored_once().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_foreign_and_old_acks_free_nothing() {
    // Goal: only the centre's own word frees a block. Method: with the centre down, acks that name everything, signed
    // with other keys or for another gateway, and real ones again; the account must not move. Then the centre comes back.
    let mut works = Works::start(&Store::Embedded, vec![house(60)]).await.expect("a works");
    let insider = key(&works.centre.add_gateway(INSIDER, SITE).expect("a key"));
    let own = key(&works.key);
    let acks = topic(GATEWAY, TopicKind::Ack);
    let mut peer = Peer::connect(works.broker.port, "forger", &acks).await.expect("a client");
    wait_for("two acks of the centre", Duration::from_secs(30), || async {
        let count = peer.heard().len();
        if count < 2 { Err(format!("{count}; {}", works.gateway.output())) } else { Ok(()) }
    })
    .await;
    let stored = "davy_gateway_samples{place=\"stored\"}";
    works.until_gateway("acked samples", |of| of(stored) > 0.0).await;
    works.centre.kill();
    works.until_gateway("a backlog", |of| of("davy_gateway_backlog_blocks") >= 5.0).await;
    let real = peer.heard();
    let (oldest, newest) = (real[0].1.to_vec(), real[real.len() - 1].1.to_vec());
    let mut everything = ack_of(&own, &newest);
    everything.epochs.iter_mut().for_each(|e| (e.upto, e.ranges) = (u64::MAX, Vec::new()));
    let for_insider = Ack { gateway: name(INSIDER), ..everything.clone() };
    let before = works.gateway.metrics().await.expect("metrics");
    for payload in [
        frame::seal(&Key::new([7; 32]), Kind::Ack, &everything.encode()),
        frame::seal(&insider, Kind::Ack, &everything.encode()),
        frame::seal(&own, Kind::State, &everything.encode()),
        frame::seal(&own, Kind::Ack, &for_insider.encode()),
        newest,
        oldest,
    ] {
        peer.publish(&acks, payload).await.expect("published");
    }
    let ignored = "davy_gateway_acks_ignored_total";
    let seen = before[ignored];
    works
        .until_gateway("every forgery to be counted", |of| {
            of("davy_gateway_acks_forged_total") == 4.0 && of(ignored) > seen
        })
        .await;
    works.until_page("refused 4 messages that are not the centre's").await;
    works.until_page("the centre does not answer, blocks are kept").await;
    let after = works.gateway.metrics().await.expect("metrics");
    assert_eq!(after[stored], before[stored], "samples freed");
    assert!(after["davy_gateway_backlog_blocks"] >= before["davy_gateway_backlog_blocks"]);
    works.centre.start().await.expect("the centre");
    works.everything_is_stored_once().await;
    works
        .until_gateway("the spool to be free", |of| of("davy_gateway_backlog_blocks") == 0.0)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_with_a_wrong_key_is_told_on_both_sides_and_loses_nothing() {
    // Goal: the likeliest mistake at commissioning. Method: a key with one digit changed; then mended.
    let mut works = Works::prepare(&Store::Embedded, vec![house(30)]).await.expect("a works");
    let wrong = format!("{}{}", &works.key[..63], if works.key.ends_with('0') { '1' } else { '0' });
    let file = works.gateway.folder.join("gateway.toml");
    edit(&file, &works.key, &wrong).expect("edited");
    works.start_all().await.expect("it starts");
    works.until_notice("mac", GATEWAY).await;
    works.until_page("is the key the one that davy-ingest gateway add printed?").await;
    works.gateway.stop().await.expect("an orderly end");
    edit(&file, &wrong, &works.key).expect("edited");
    works.gateway.start().expect("the gateway");
    works.everything_is_stored_once().await;
}

/// A block with rows that the running gateway has sent: its frame, the message, the block.
async fn a_block(peer: &Peer, key: &Key) -> (Bytes, Uplink, Block) {
    wait_for("a block of the gateway", Duration::from_secs(30), || async {
        let heard = peer.heard().into_iter().rev();
        let opened = heard.filter_map(|(_, frame)| {
            let uplink = Uplink::decode(frame::open(key, Kind::Uplink, &frame).ok()?).ok()?;
            let Item::Block(bytes) = &uplink.item else { return None };
            let block = Block::decode(bytes).ok()?;
            let has_rows = block.readings().is_some_and(|r| r.sample_count() > 0);
            has_rows.then_some((frame, uplink, block))
        });
        let newest = opened.into_iter().next();
        newest.ok_or_else(|| "none yet".to_owned())
    })
    .await
}

fn ack_of(key: &Key, frame: &[u8]) -> Ack {
    let body = frame::open(key, Kind::Ack, frame).expect("the centre's ack");
    let ack = Ack::decode(body).expect("an ack");
    assert!(ack.epochs.iter().any(|e: &EpochAck| e.upto > 0), "it names blocks: {ack:?}");
    ack
}

fn topic(gateway: &str, kind: TopicKind) -> String {
    Topic::new(name(gateway), kind).to_string()
}

fn name(gateway: &str) -> GatewayName {
    GatewayName::new(gateway).expect("a name")
}

fn key(hex: &str) -> Key {
    Key::from_hex(hex).expect("a key")
}

// ── the store and the API ──────────────────────────────────────────────────────────────────────────────────────────

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_refuses_is_named_with_the_way_to_mend_it_and_loses_nothing() {
    // Goal: a wrong token, organisation or bucket costs no reading and no alarm. Method: start with a wrong token while
    // gas rises; then a wrong organisation; then a bucket that is missing, which is created; in the end all is there.
    let influx = Influx::start().await.expect("influxd");
    let gas = (0..40).map(|row| vec![if row < 10 { "2" } else { "35" }.to_owned()]).collect();
    let gas = Recording { model: &meters::MIDAS_LEL, columns: vec!["gas_lel"], rows: gas };
    let gas = Played { id: "gas-1", role: "gas_detector", recording: gas };
    let works = Works::prepare(&Store::from(&influx), vec![house(40), gas]).await;
    let mut works = works.expect("a works");
    let token = works.centre.folder.join("influx.token");
    std::fs::write(&token, "no-such-token").expect("written");
    works.centre.start().await.expect("it starts: acks and alarms need no store");
    works.centre.sign_in().await.expect("a session");
    works.gateway.start().expect("the gateway");
    works.until_notice("store_refuses", "[store] token_file").await;
    let system = works.centre.get("/system").await.expect("the system");
    assert_eq!(system["store_state"], "refusing", "{system}");
    assert!(works.centre.output().contains("the store refuses, mend it"));
    assert!(!works.centre.output().contains("no-such-token"), "a token is never shown");
    wait_for("the alarm of the gas", Duration::from_secs(30), || async {
        let alarms = works.centre.alarms().await.map_err(|e| e.to_string())?;
        let found = alarms.iter().any(|a| a["rule"].as_str().is_some_and(|r| r.starts_with("R21")));
        if found { Ok(()) } else { Err(format!("{alarms:?}")) }
    })
    .await;
    works
        .until_gateway("acks from the log alone", |of| {
            of("davy_gateway_samples{place=\"stored\"}") > 100.0
                && of("davy_gateway_backlog_blocks") <= 20.0
        })
        .await;

    std::fs::write(&token, TOKEN).expect("written");
    let file = works.centre.folder.join("ingest.toml");
    restart_with(&mut works, &file, ("org = \"davy\"", "org = \"nobody\"")).await;
    works.until_notice("store_refuses", "[store] org = \"nobody\"").await;
    let fresh = "bucket = \"fresh\"\ncreate_bucket = true";
    edit(&file, "bucket = \"readings\"", fresh).expect("edited");
    restart_with(&mut works, &file, ("org = \"nobody\"", "org = \"davy\"")).await;
    works.everything_is_stored_once().await;
    assert!(!works.centre.notices().await.expect("notices").contains_key("store_refuses"));
    // The database itself, without the product between.
    let given = works.replay.given();
    let flux = "from(bucket:\"fresh\") |> range(start:0) |> filter(fn:(r)=> r._field == \"gas_lel\") |> count()";
    let count = influx.query(flux).await.expect("a count")[0]["_value"].clone();
    let wanted = given.iter().filter(|g| g.quantity == "gas_lel").count();
    assert_eq!(count, wanted.to_string(), "points of the detector in InfluxDB");
}

async fn restart_with(works: &mut Works, file: &std::path::Path, (from, to): (&str, &str)) {
    works.centre.stop().await.expect("an orderly end");
    edit(file, from, to).expect("edited");
    works.centre.start().await.expect("the centre");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_no_right_at_the_api_is_told_so_and_what_to_do() {
    // Goal: a wrong set-up token, session, key or password opens nothing and says what to do. Method: each at a real
    // centre; the right one afterwards.
    let folder = tempfile::tempdir().expect("a folder");
    let prepared =
        Centre::prepare_without_users(folder.path(), "127.0.0.1:1", &Store::Embedded, "");
    let mut centre = prepared.expect("a centre");
    centre.start().await.expect("the centre, without its broker");
    let client = reqwest011::Client::new();
    let system = || client.get(centre.url("/api/v1/system"));
    let post = |path: &str, body: Value| {
        client.post(centre.url(path)).header("Origin", centre.url("")).json(&body)
    };
    let body = refused(system(), 401, "signed_out").await;
    assert_eq!((&body["message"], &body["setup_needed"]), (&json!("sign in first"), &json!(true)));
    let first = |token: &str| {
        let password = "correct-horse-battery-staple-7";
        json!({ "name": "admin", "display": "管理员", "password": password, "setup_token": token })
    };
    let body = refused(post("/api/v1/setup", first("0123")), 403, "bad_setup_token").await;
    assert!(body["message"].as_str().is_some_and(|m| m.contains("terminal")), "{body}");
    let printed = centre.output();
    let token = printed.lines().find_map(|l| l.strip_prefix("setup token ")).expect("a token");
    let made = post("/api/v1/setup", first(token)).send().await.expect("an answer");
    assert_eq!(made.status(), 200);
    let cookie = made.headers()["set-cookie"].to_str().expect("a cookie").to_owned();
    let cookie = cookie.split(';').next().expect("a pair").to_owned();
    assert_eq!(system().header("Cookie", &cookie).send().await.expect("an answer").status(), 200);
    refused(post("/api/v1/setup", first(token)), 409, "conflict").await;

    let other = format!("{}0000", &cookie[..cookie.len() - 4]);
    let body = refused(system().header("Cookie", other), 401, "signed_out").await;
    assert_eq!(body["setup_needed"], json!(false));
    let body = refused(system().header("Authorization", "Bearer davy_0000"), 401, "bad_key").await;
    assert!(body["message"].as_str().is_some_and(|m| m.contains("davy-ingest key add")), "{body}");
    let printed = centre.call(&["key", "add", "export", "--role", "duty"]).expect("a key");
    let (id, secret) = printed.trim().split_once("  ").expect("id and key");
    let with_key = || system().header("Authorization", format!("Bearer {secret}"));
    assert_eq!(with_key().send().await.expect("an answer").status(), 200);
    centre.call(&["key", "revoke", id]).expect("revoked");
    refused(with_key(), 401, "bad_key").await;
    let wrong = json!({ "name": "admin", "password": "wrong-horse-battery" });
    refused(post("/api/v1/session", wrong), 401, "bad_credentials").await;
}

/// Sends a request that must be refused like this, with a request id to find it by; gives the body.
async fn refused(request: reqwest011::RequestBuilder, status: u16, code: &str) -> Value {
    let answer = request.send().await.expect("an answer");
    assert_eq!(answer.status(), status, "{code}");
    let body: Value = answer.json().await.expect("JSON");
    assert_eq!(body["code"], code, "{body}");
    assert!(body["request_id"].as_str().is_some_and(|id| !id.is_empty()), "{body}");
    body
}
