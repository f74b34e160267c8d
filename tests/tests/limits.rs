//! Every bound that a plant, a stranger or a crowd of screens can reach, reached on purpose at the real programs: what is
//! beyond it is refused or left out with a clear message, nothing dies, and everything else flows on.

use std::time::Duration;

use ingest::receive::mqtt::UNACKED_MAX;
use rules::evaluator::SERIES_MAX;
use serde_json::{Value, json};
use tests::harness::davy::{Centre, Store};
use tests::harness::hand::{Hand, now_ms};
use tests::harness::held::Held;
use tests::harness::influx::Influx;
use tests::harness::mosquitto::Mosquitto;
use tests::harness::peer::Peer;
use tests::harness::process::run_to_end;
use tests::harness::wait::wait_for;
use tests::harness::works::{SITE, Works, edit, house};
use wire::GatewayName;
use wire::manifest::Point;
use wire::topic::{Topic, TopicKind};

/// Time for a loaded machine.
const LIMIT: Duration = Duration::from_secs(60);
/// The gateway whose messages a test makes by hand.
const BY_HAND: &str = "works-gw2";

/// Waits until one of the centre's counts is so.
async fn until_metric(centre: &Centre, name: &str, is_so: impl Fn(f64) -> bool) {
    wait_for(name, LIMIT, || async {
        let metrics = centre.metrics().await.map_err(|e| format!("{e:#}"))?;
        match metrics.get(&format!("davy_ingest_{name}")).copied() {
            Some(value) if is_so(value) => Ok(()),
            value => Err(format!("{value:?}; {}", centre.output())),
        }
    })
    .await;
}

// ── gateways ───────────────────────────────────────────────────────────────────────────────────────────────────────

/// Names that nobody has provisioned, in the flood.
const STRANGERS: usize = 20_000;

/// A registry file of a site with so many gateways and no device.
fn crowd(gateways: usize) -> String {
    let mut text = String::from(
        "[[site]]\nid = \"crowd\"\nname = \"示例园区\"\nuscc = \"91533401MA6N801A0Q\"\ncounty = \"533401\"\n\
         sectors = [\"危化\"]\nzone = \"Asia/Shanghai\"\n",
    );
    for n in 0..gateways {
        text.push_str(&format!("[[site.gateway]]\nname = \"crowd-{n}\"\n"));
    }
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn more_gateways_than_one_centre_judges_are_refused_and_those_that_are_in_flow_on() {
    // Goal: no gateway is taken whose alarms nobody would judge, and names that anybody can make up cost nothing. Method: a
    // registry file with one too many, then exactly as many, then one more by hand and by API; then a flood of blocks
    // under strange names and under known ones with a wrong key, beside a gateway that is read.
    let mut works = Works::prepare(&Store::Embedded, vec![house(60)]).await.expect("a works");
    let most = ingest::evaluate::GATEWAYS_MAX;
    let file = works.centre.folder.join("crowd.toml");
    let seed = || run_to_end("davy-ingest", &["seed", "crowd.toml"], &works.centre.folder);
    std::fs::write(&file, crowd(most)).expect("written");
    let refused = seed().expect("runs");
    assert_ne!(refused.code, Some(0), "{}", refused.text);
    assert!(refused.text.contains(&format!("this centre has {most} gateways")), "{}", refused.text);
    let listed = works.centre.call(&["gateway", "list"]).expect("a list");
    assert_eq!(listed.lines().count(), 1, "a refused file changes nothing");
    std::fs::write(&file, crowd(most - 1)).expect("written");
    let taken = seed().expect("runs");
    assert_eq!(taken.code, Some(0), "{}", taken.text);
    let one_more = works.centre.add_gateway(BY_HAND, SITE).expect_err("one too many").to_string();
    assert!(one_more.contains("--rekey") && one_more.contains("another centre"), "{one_more}");
    let rekeyed = ["gateway", "add", "crowd-7", "--site", "crowd", "--rekey"];
    works.centre.call(&rekeyed).expect("one that is in gets its key");
    let again = seed().expect("runs");
    assert_eq!(again.code, Some(0), "the same file again: {}", again.text);

    works.start_all().await.expect("it starts");
    let printed =
        works.centre.call(&["key", "add", "admin", "--role", "administrator"]).expect("a key");
    let (_, secret) = printed.trim().split_once("  ").expect("id and key");
    let answer = reqwest011::Client::new()
        .post(works.centre.url("/api/v1/gateways"))
        .header("Authorization", format!("Bearer {secret}"))
        .json(&json!({ "name": BY_HAND, "site": SITE }))
        .send()
        .await
        .expect("an answer");
    assert_eq!(answer.status(), 409);
    let body: Value = answer.json().await.expect("JSON");
    assert_eq!(body["code"], "conflict", "{body}");
    assert!(body["message"].as_str().is_some_and(|m| m.contains("another centre")), "{body}");

    let mut peer =
        Peer::connect(works.broker.port, "flood", "nothing/of/this").await.expect("a client");
    let topic = |name: String| {
        Topic::new(GatewayName::new(name).expect("a name"), TopicKind::Up).to_string()
    };
    let strange = (0..STRANGERS).map(|n| (topic(format!("stranger-{n}")), vec![7; 200]));
    peer.publish_all(strange).await.expect("published");
    let forged = (0..STRANGERS / 10).map(|_| (topic("crowd-7".to_owned()), vec![7; 200]));
    peer.publish_all(forged).await.expect("published");
    let dropped = |code: &str| format!("messages_dropped_total{{code=\"{code}\"}}");
    until_metric(&works.centre, &dropped("unknown_gateway"), |n| n == STRANGERS as f64).await;
    until_metric(&works.centre, &dropped("mac"), |n| n == (STRANGERS / 10) as f64).await;
    works.until_notice("unknown_gateway", "davy-ingest gateway add").await;
    works.until_notice("mac", "crowd-7").await;
    let system = works.centre.get("/system").await.expect("the system");
    let about = system["notices"].as_array().into_iter().flatten();
    let strange = about.filter(|n| n["code"] == "unknown_gateway").count();
    assert_eq!(strange, 1, "one notice for all strange names: {system}");
    works.everything_is_stored_once().await;
    until_metric(&works.centre, "gateways_heard", |n| n == 1.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_falls_behind_costs_a_connection_and_nothing_else() {
    // Goal: memory stays bounded whatever is thrown at a centre that does not come after, and all of it is over when it goes
    // on. Method: the receiver's thread is held while somebody throws more than waits in memory; QoS 0, of which a broker
    // holds nothing back.
    let mut works = Works::prepare(&Store::Embedded, vec![house(60)]).await.expect("a works");
    works.start_all().await.expect("it starts");
    works.until_gateway("an ack", |value| value("davy_gateway_acks_total") > 0.0).await;
    let process = works.centre.id().expect("it runs");
    let held = Held::thread(process, "davy-receive").expect("the receiver's thread");
    let mut peer =
        Peer::connect(works.broker.port, "flood", "nothing/of/this").await.expect("a client");
    let topic = Topic::new(GatewayName::new("stranger").expect("a name"), TopicKind::Up);
    let thrown = (0..2 * UNACKED_MAX).map(|_| (topic.to_string(), vec![7; 200]));
    peer.throw_all(thrown).await.expect("thrown");
    wait_for("the connection to be given up", LIMIT, || async {
        let output = works.centre.output();
        let is_so = output.contains("the receiver took none of 4096 messages");
        if is_so { Ok(()) } else { Err(output) }
    })
    .await;
    assert_eq!(works.centre.health("/healthz").await.expect("healthz").0, 200);
    drop(held);
    until_metric(&works.centre, "broker_connected", |connected| connected == 1.0).await;
    works.everything_is_stored_once().await;
}

// ── series ─────────────────────────────────────────────────────────────────────────────────────────────────────────

/// Devices of one manifest: it must fit into a frame.
const DEVICES: usize = 1_400;

/// Quantities of each device.
fn points() -> Vec<Point> {
    let known = wire::quantity::QUANTITIES.iter().filter(|q| q.name.len() <= 5).take(12);
    known.map(|q| Point { quantity: q.name.to_owned(), unit: String::new() }).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_with_ever_new_series_is_told_and_takes_no_place_of_others() {
    // Goal: a gateway whose device names change all the time stops neither itself nor its neighbours, and people are told
    // what no rule judges and no page shows. Method: manifests of ever new devices from a gateway with a real key, past the
    // bound of the rules and then past that of the newest values, beside a gateway of the same site that is read.
    let mut works = Works::prepare(&Store::Embedded, vec![house(60)]).await.expect("a works");
    let key = works.centre.add_gateway(BY_HAND, SITE).expect("a key");
    works.start_all().await.expect("it starts");
    let mut hand = Hand::new(BY_HAND, SITE, &key).expect("a gateway");
    let mut peer =
        Peer::connect(works.broker.port, "hand", "nothing/of/this").await.expect("a client");
    let points = points();
    let series = DEVICES * points.len();
    let until_shown = async |device: &str, value: f64| {
        wait_for(&format!("{device} to show {value}"), LIMIT, || async {
            let values = works.centre.get(&format!("/values?site={SITE}")).await;
            let values = values.map_err(|e| format!("{e:#}"))?;
            let mut of_device =
                values["values"].as_array().into_iter().flatten().filter(|v| v["device"] == device);
            let is_so = of_device.any(|v| v["value"] == json!(value));
            if is_so { Ok(()) } else { Err(works.centre.output()) }
        })
        .await;
    };
    let mut first = None;
    let manifests = ingest::live::SITE_SERIES_MAX / series + 2;
    for turn in 0..manifests {
        let devices = (0..DEVICES).map(|n| format!("d{turn}-{n}"));
        let manifest = hand.manifest(devices, &points);
        let last = u32::try_from(DEVICES).expect("few") - 1;
        let values = vec![1.0; points.len()];
        let sent = [
            (hand.topic(), hand.sealed_manifest(&manifest)),
            (hand.topic(), hand.next(&manifest, &[(last, now_ms(), values)]).expect("a block")),
        ];
        peer.publish_all(sent).await.expect("published");
        let before = works.centre.notices().await.expect("notices");
        if turn * series < SERIES_MAX {
            assert!(!before.contains_key("series_unjudged"), "manifest {turn}: {before:?}");
        }
        first.get_or_insert(manifest);
    }
    let first = first.expect("a manifest");
    works.until_notice("series_unjudged", BY_HAND).await;
    works.until_notice("series_unjudged", "another name that replaces this one").await;
    works.until_notice("series_unshown", "mend its configuration").await;
    // Those that were first go on, and what is beyond is in history.
    let again = hand.next(&first, &[(0, now_ms(), vec![7.0; points.len()])]).expect("a block");
    peer.publish(&hand.topic(), again).await.expect("published");
    until_shown("d0-0", 7.0).await;
    let beyond = format!("d{}-{}", manifests - 1, DEVICES - 1);
    wait_for("what is beyond to be stored", LIMIT, || async {
        let stored = works.centre.samples(SITE, &beyond, &points[0].quantity).await;
        let stored = stored.map_err(|e| format!("{e:#}"))?;
        if stored.len() == 1 { Ok(()) } else { Err(format!("{stored:?}")) }
    })
    .await;
    works.everything_is_stored_once().await;
    let values = works.centre.get(&format!("/values?site={SITE}")).await.expect("values");
    let devices: Vec<_> = values["values"].as_array().into_iter().flatten().collect();
    assert!(devices.iter().any(|v| v["device"] == "house-1"), "its neighbour is still shown");
    assert!(devices.iter().all(|v| v["device"] != beyond.as_str()), "what is beyond is not");
}

// ── live views ─────────────────────────────────────────────────────────────────────────────────────────────────────

/// A stream as a screen has it, with what it has said so far.
struct Screen {
    answer: reqwest011::Response,
    said: String,
}

impl Screen {
    /// Reads on until an event of this name and these words has come.
    async fn until(&mut self, event: &str, words: &str) {
        let heard = async {
            loop {
                let has = self.said.split("\n\n").any(|e| {
                    e.lines().any(|l| l == format!("event: {event}")) && e.contains(words)
                });
                if has {
                    return;
                }
                let chunk = self.answer.chunk().await.expect("the stream goes on");
                let chunk = chunk.expect("the stream has not ended");
                self.said.push_str(&String::from_utf8_lossy(&chunk));
            }
        };
        let what = format!("{event} with {words:?}");
        tokio::time::timeout(LIMIT, heard).await.unwrap_or_else(|_| panic!("{what} came not"));
    }
}

/// Asks for a stream: it, or the refusal.
async fn screen(centre: &Centre, secret: &str) -> Result<Screen, reqwest011::Response> {
    let asked = reqwest011::Client::new()
        .get(centre.url("/api/v1/stream"))
        .header("Authorization", format!("Bearer {secret}"));
    let answer = asked.send().await.expect("an answer");
    let said = String::new();
    if answer.status().is_success() { Ok(Screen { answer, said }) } else { Err(answer) }
}

/// Checks a refusal in the API's shape.
async fn is_too_many(refused: Result<Screen, reqwest011::Response>, words: &str) {
    let Err(answer) = refused else { panic!("there was a place") };
    assert_eq!(answer.status(), 429);
    assert!(answer.headers().contains_key("retry-after"));
    let body: Value = answer.json().await.expect("JSON");
    assert_eq!(body["code"], "too_many", "{body}");
    assert!(body["message"].as_str().is_some_and(|m| m.contains(words)), "{body}");
    assert!(body["request_id"].as_str().is_some_and(|id| !id.is_empty()), "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_live_view_too_many_is_told_so_and_all_others_go_on() {
    // Goal: a crowd of screens never costs the duty desk its stream, and whoever comes too late is told what to do. Method:
    // all places, taken by keys that each have as many as one may have; then one more of each kind. What happens then
    // reaches every screen that is open; one that is closed makes room.
    let folder = tempfile::tempdir().expect("a folder");
    let broker = Mosquitto::start().await.expect("mosquitto");
    let address = format!("127.0.0.1:{}", broker.port);
    let mut centre =
        Centre::prepare(folder.path(), &address, &Store::Embedded, "").expect("a centre");
    let key = |name: String, role: &str| {
        let printed = centre.call(&["key", "add", &name, "--role", role]).expect("a key");
        printed.trim().split_once("  ").expect("id and key").1.to_owned()
    };
    let most = ingest::api::STREAMS_MAX;
    let (of_one, for_duty) = (8, 64);
    let auditors: Vec<_> =
        (0..=(most - for_duty) / of_one).map(|n| key(format!("wall-{n}"), "auditor")).collect();
    let duty: Vec<_> = (0..=for_duty / of_one).map(|n| key(format!("desk-{n}"), "duty")).collect();
    centre.start().await.expect("the centre");
    centre.sign_in().await.expect("a session");
    until_metric(&centre, "broker_connected", |connected| connected == 1.0).await;
    let mut open = Vec::new();
    for (who, places) in [(&auditors, most - for_duty), (&duty, for_duty)] {
        for n in 0..places {
            let Ok(place) = screen(&centre, &who[n / of_one]).await else { panic!("no place") };
            open.push(place);
        }
        if who == &auditors {
            is_too_many(screen(&centre, &auditors[0]).await, "close a tab").await;
            is_too_many(screen(&centre, &auditors[places / of_one]).await, "try again later").await;
        }
    }
    assert_eq!(open.len(), most);
    is_too_many(screen(&centre, &duty[for_duty / of_one]).await, "try again later").await;

    // A message under a strange name is a notice, and a notice is told to every screen.
    let mut peer =
        Peer::connect(broker.port, "anybody", "nothing/of/this").await.expect("a client");
    let stranger = Topic::new(GatewayName::new("stranger").expect("a name"), TopicKind::Up);
    peer.publish(&stranger.to_string(), vec![7; 200]).await.expect("published");
    for screen in &mut open {
        screen.until("gateway", "data: {}").await;
        screen.until("hb", "server_time").await;
    }
    drop(open.pop());
    let late = wait_for("a place that was left", LIMIT, || async {
        let asked = screen(&centre, &duty[for_duty / of_one]).await;
        asked.map_err(|refused| refused.status().to_string())
    })
    .await;
    open.push(late);
    is_too_many(screen(&centre, &duty[0]).await, "").await;
    assert_eq!(centre.health("/healthz").await.expect("healthz").0, 200);
    centre.stop().await.expect("an orderly end with all of them open");
}

// ── quarantine ─────────────────────────────────────────────────────────────────────────────────────────────────────

#[tokio::test(flavor = "multi_thread")]
async fn a_full_quarantine_is_told_holds_only_its_own_gateway_and_takes_again_when_emptied() {
    // Goal: one gateway whose blocks are all set aside fills its own share and nothing else; a person makes room. Method:
    // other bytes under one key again and again, past a share of 1 MiB, beside a gateway that is read.
    let mut works = Works::prepare(&Store::Embedded, vec![house(60)]).await.expect("a works");
    let key = works.centre.add_gateway(BY_HAND, SITE).expect("a key");
    let file = works.centre.folder.join("ingest.toml");
    edit(&file, "[store]", "[log]\nquarantine_bytes_max = 1048576\n\n[store]").expect("edited");
    let officer = ["user", "add", "zhao", "--role", "officer", "--password-file", "password"];
    works.centre.call(&officer).expect("an officer");
    works.start_all().await.expect("it starts");
    let mut hand = Hand::new(BY_HAND, SITE, &key).expect("a gateway");
    let mut peer =
        Peer::connect(works.broker.port, "hand", "nothing/of/this").await.expect("a client");
    let points = points();
    let manifest = hand.manifest((0..1_000).map(|n| format!("d{n}")), &points);
    let rows = |salt: f64| -> Vec<(u32, i64, Vec<f64>)> {
        let row = |n: u32| {
            let value = |p: usize| (f64::from(n) * 13.7 + p as f64 + salt).sin() * 1e3;
            (n, now_ms(), (0..points.len()).map(value).collect())
        };
        (0..1_000).map(row).collect()
    };
    let sent = [
        (hand.topic(), hand.sealed_manifest(&manifest)),
        (hand.topic(), hand.next(&manifest, &rows(0.0)).expect("a block")),
    ];
    peer.publish_all(sent).await.expect("published");
    for n in 1..=20 {
        let other = hand.again(&manifest, &rows(f64::from(n))).expect("a block");
        peer.publish(&hand.topic(), other).await.expect("published");
    }
    works.until_notice("quarantine_full", BY_HAND).await;
    until_metric(&works.centre, "blocks_refused_total{code=\"quarantine_full\"}", |n| n > 0.0)
        .await;
    let entries = works.centre.get("/quarantine?state=open").await.expect("the quarantine");
    let entries = entries["rows"].as_array().expect("rows").clone();
    assert!((2..20).contains(&entries.len()), "{} are set aside", entries.len());
    assert!(entries.iter().all(|e| e["gateway"] == BY_HAND && e["code"] == "key_reuse"));
    works.everything_is_stored_once().await;

    let ids: Vec<String> = (1..=entries.len()).map(|n| n.to_string()).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let discard = [&["quarantine", "discard"], &ids[..], &["--by", "zhao", "--reason", "a copy"]];
    works.centre.call(&discard.concat()).expect("discarded");
    let one_more = hand.again(&manifest, &rows(0.5)).expect("a block");
    peer.publish(&hand.topic(), one_more).await.expect("published");
    until_metric(&works.centre, "quarantine_entries", |n| n == 1.0).await;
}

// ── the durable log ────────────────────────────────────────────────────────────────────────────────────────────────

/// The least that a log may be given, bytes.
const LOG_BYTES: u64 = 64 << 20;
/// Blocks sent between two looks: a hundredth of that log.
const BLOCKS: usize = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_full_log_is_told_leaves_everything_at_the_gateways_and_takes_again_when_the_store_is_back()
 {
    // Goal: a database that nobody mends for days costs no reading and no crash. Method: InfluxDB is stopped, and blocks that
    // hardly compress fill the smallest log that a centre may have; a gateway that is read comes when it is full. Then
    // InfluxDB is started again, and what was refused is sent again, as gateways do.
    let mut influx = Influx::start().await.expect("influxd");
    let mut works = Works::prepare(&Store::from(&influx), vec![house(60)]).await.expect("a works");
    let key = works.centre.add_gateway(BY_HAND, SITE).expect("a key");
    let file = works.centre.folder.join("ingest.toml");
    let log = format!("[log]\nbytes_max = {LOG_BYTES}\n\n[store]");
    edit(&file, "[store]", &log).expect("edited");
    works.centre.start().await.expect("the centre");
    works.centre.sign_in().await.expect("a session");
    influx.kill();

    let mut hand = Hand::new(BY_HAND, SITE, &key).expect("a gateway");
    let mut peer =
        Peer::connect(works.broker.port, "hand", "nothing/of/this").await.expect("a client");
    let quantities = points();
    let manifest = hand.manifest((0..1_000).map(|n| format!("d{n}")), &quantities);
    let opening = hand.sealed_manifest(&manifest);
    peer.publish(&hand.topic(), opening).await.expect("published");
    let (begun, mut sent) = (now_ms(), Vec::new());
    let refused = "blocks_refused_total{code=\"log_full\"}";
    loop {
        let fresh = (0..BLOCKS).map(|_| {
            let salt = sent.len() as f64;
            let time = begun + i64::try_from(sent.len()).expect("few");
            let values = |n: u32| {
                let value = |p: usize| (f64::from(n) * 13.7 + p as f64 + salt / 7.0).sin() * 1e3;
                (0..quantities.len()).map(value).collect()
            };
            let rows: Vec<_> = (0..1_000).map(|n| (n, time, values(n))).collect();
            let block = hand.next(&manifest, &rows).expect("a block");
            sent.push(block.clone());
            (hand.topic(), block)
        });
        let fresh: Vec<_> = fresh.collect();
        peer.publish_all(fresh).await.expect("published");
        let before = sent.len() as f64;
        let counts = || async {
            let metrics = works.centre.metrics().await.map_err(|e| format!("{e:#}"))?;
            let of = |name: &str| metrics.get(&format!("davy_ingest_{name}")).copied();
            let logged = of("messages_total{code=\"logged\"}").unwrap_or_default();
            let refused = of(refused).unwrap_or_default();
            let is_taken = logged + refused >= before;
            if is_taken { Ok(refused) } else { Err(format!("{logged} and {refused} of {before}")) }
        };
        if wait_for("all to be logged or refused", LIMIT, counts).await > 0.0 {
            break;
        }
        assert!(sent.len() < 4_000, "the log takes and takes");
    }
    works.until_notice("log_full", "Mend the store").await;
    assert_eq!(works.centre.health("/healthz").await.expect("healthz").0, 200);
    works.gateway.start().expect("the gateway");
    works
        .until_gateway("its blocks to wait", |value| value("davy_gateway_backlog_blocks") > 5.0)
        .await;

    influx.resume().await.expect("influxd");
    // What is not the next in order waits at the gateways until a fifth of the log is free.
    wait_for("the log to take backfill again", LIMIT, || async {
        let notices = works.centre.notices().await.map_err(|e| format!("{e:#}"))?;
        let is_short = ["log_full", "log_crowded"].iter().any(|code| notices.contains_key(*code));
        if is_short { Err(format!("{notices:?}")) } else { Ok(()) }
    })
    .await;
    let again = sent.split_off(sent.len() - BLOCKS);
    let blocks = sent.len() + again.len();
    peer.publish_all(again.into_iter().map(|block| (hand.topic(), block))).await.expect("sent");
    works.everything_is_stored_once().await;
    for device in ["d0", "d999"] {
        wait_for("all that was made by hand", LIMIT, || async {
            let stored = works.centre.samples(SITE, device, &quantities[0].quantity).await;
            let mut stored = stored.map_err(|e| format!("{e:#}"))?;
            stored.retain(|(t, _)| (begun..begun + 1_000_000).contains(t));
            if stored.len() == blocks {
                Ok(())
            } else {
                Err(format!("{} of {blocks}", stored.len()))
            }
        })
        .await;
    }
}
