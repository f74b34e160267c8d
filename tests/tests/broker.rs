//! What a broker does to the link by its settings: it is said, by the check and by the running centre, and costs nothing.

use std::time::Duration;

use tests::harness::davy::{Centre, Store};
use tests::harness::mosquitto::Mosquitto;
use tests::harness::peer::Peer;
use tests::harness::process::free_port;
use tests::harness::wait::wait_for;
use tests::harness::works::{GATEWAY, Works, edit, house};
use wire::GatewayName;
use wire::limits::FRAME_BYTES_MAX;
use wire::topic::{Topic, TopicKind};

/// What mosquitto has by itself.
const DEFAULTS: &str = "sys_interval 1\n";

/// Where mosquitto says, each 10 s, how many messages it keeps.
const HELD_TOPIC: &str = "$SYS/broker/store/messages/count";

/// Messages of a flood: several times the inbox of the centre.
const FLOOD: usize = 5 * ingest::receive::mqtt::UNACKED_MAX;

/// A centre that does not run, on this broker.
fn centre(folder: &tempfile::TempDir, port: u16) -> Centre {
    let address = format!("127.0.0.1:{port}");
    Centre::prepare_without_users(folder.path(), &address, &Store::Embedded, "").expect("a centre")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_check_names_what_a_broker_does_wrong_and_how_to_mend_it() {
    // Goal: settings that drop messages show before a plant pays for them. Method: the check against mosquitto as it comes,
    // with the README's bounds, with a bound on the packet, with QoS 0, and against nothing.
    let folder = tempfile::tempdir().expect("a folder");
    let plain = Mosquitto::start_with("").await.expect("mosquitto");
    let found = centre(&folder, plain.port).call(&["check", "--broker"]).expect_err("problems");
    let found = found.to_string();
    assert!(found.contains("PROBLEM  queue: the broker dropped"), "{found}");
    assert!(
        found.contains("of 2000 messages") && found.contains("max_queued_messages 0"),
        "{found}"
    );
    assert!(
        found.contains("PROBLEM  anonymous:") && found.contains("allow_anonymous false"),
        "{found}"
    );
    assert!(found.contains("ok       qos:") && found.contains("ok       packet_size:"), "{found}");

    let readme = Mosquitto::start().await.expect("mosquitto");
    let found = centre(&folder, readme.port).call(&["check", "--broker"]).expect_err("one problem");
    let found = found.to_string();
    assert!(found.contains("ok       queue: a slow subscriber gets every message"), "{found}");
    assert!(found.contains("1 problem(s)"), "{found}");

    let small = Mosquitto::start_with("message_size_limit 100000\n").await.expect("mosquitto");
    let found = centre(&folder, small.port).call(&["check", "--broker"]).expect_err("problems");
    assert!(found.to_string().contains("PROBLEM  packet_size:"), "{found}");

    let low = Mosquitto::start_with("max_qos 0\n").await.expect("mosquitto");
    let found = centre(&folder, low.port).call(&["check", "--broker"]).expect_err("problems");
    assert!(found.to_string().contains("PROBLEM  qos:"), "{found}");

    let nobody = centre(&folder, free_port().expect("a port"));
    let found = nobody.call(&["check", "--broker"]).expect_err("no broker").to_string();
    assert!(found.contains("PROBLEM  connect:") && found.contains("[broker] url"), "{found}");
}

/// The access list of the README, as it stands there.
fn access_list() -> String {
    let readme = include_str!("../../README.md");
    let (_, list) = readme.split_once("`/etc/mosquitto/acl`:\n\n").expect("an access list");
    list.lines().take_while(|line| !line.is_empty()).map(|l| format!("{}\n", l.trim())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_access_list_of_the_readme_lets_pass_what_must_and_one_line_less_is_found() {
    // Goal: whoever follows the README to the letter has a centre that is ready, and the check finds what hinders it. Method:
    // mosquitto with that list, then with one that does not let the centre publish its own sample.
    let folder = tempfile::tempdir().expect("a folder");
    // mosquitto reads it under another name.
    let mut open = std::fs::metadata(folder.path()).expect("a folder").permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut open, 0o755);
    std::fs::set_permissions(folder.path(), open).expect("opened");
    let file = folder.path().join("acl");
    for (list, word) in [
        (access_list(), "ok       self: "),
        (access_list().replace("readwrite davy/v1", "read davy/v1"), "PROBLEM  self: "),
    ] {
        std::fs::write(&file, list).expect("written");
        let settings = format!("max_queued_messages 0\nacl_file {}\n", file.display());
        let broker = Mosquitto::start_with(&settings).await.expect("mosquitto");
        let port = broker.port;
        let works = Works::prepare_on(broker, port, &Store::Embedded, vec![house(40)]).await;
        let mut works = works.expect("a works");
        works.sign_in_at_broker(port, ("centre", "any"), "any").expect("edited");
        let found = works.centre.call(&["check", "--broker"]).expect_err("anybody gets in");
        let found = found.to_string();
        assert!(found.contains(word) && found.contains("PROBLEM  anonymous: "), "{found}");
        if word.starts_with("ok") {
            assert!(found.contains("1 problem(s)"), "{found}");
            works.start_all().await.expect("it starts");
            works.until_ready().await;
            works.everything_is_stored_once().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_drops_and_one_that_forgets_are_told_and_cost_nothing() {
    // Goal: the running centre says what its broker does. Method: mosquitto as it comes, whose queue for a slow subscriber is
    // overrun beside us; then its sessions are wiped.
    let broker = Mosquitto::start_with(DEFAULTS).await.expect("mosquitto");
    let port = broker.port;
    let works = Works::prepare_on(broker, port, &Store::Embedded, vec![house(40)]).await;
    let mut works = works.expect("a works");
    works.start_all().await.expect("it starts");
    let connected = "davy_gateway_samples{place=\"stored\"}";
    works.until_gateway("acked samples", |of| of(connected) > 0.0).await;
    let notices = works.centre.notices().await.expect("notices");
    assert!(!notices.keys().any(|code| code.starts_with("broker")), "{notices:?}");
    // The first count is what was before our time; a second later the next one comes.
    wait_for("the broker's first count", Duration::from_secs(20), || async {
        let said = works.centre.call(&["check", "--broker"]).expect_err("it drops").to_string();
        let told = works.centre.notices().await.map_err(|e| e.to_string())?;
        if told.contains_key("broker_dropped") { Ok(()) } else { Err(said) }
    })
    .await;
    works.until_notice("broker_dropped", "check --broker").await;
    let metrics = works.centre.metrics().await.expect("metrics");
    assert!(metrics["davy_ingest_broker_dropped_total"] > 0.0);

    works.broker.kill();
    works.broker.wipe().expect("wiped");
    works.broker.resume().await.expect("mosquitto");
    works.until_notice("broker_session_lost", "persistence true").await;
    works.everything_is_stored_once().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_gives_less_than_qos_1_is_told_and_used() {
    // Goal: a downgrade is an alarm, not an outage. Method: the centre's listener allows QoS 0 only, the gateway's does not.
    let low = free_port().expect("a port");
    let bounds = format!("listener {low} 127.0.0.1\nmax_qos 0\nallow_anonymous true\n");
    let broker = Mosquitto::start_with(&bounds).await.expect("mosquitto");
    let port = broker.port;
    let works = Works::prepare_on(broker, port, &Store::Embedded, vec![house(30)]).await;
    let mut works = works.expect("a works");
    let file = works.centre.folder.join("ingest.toml");
    edit(&file, &format!("127.0.0.1:{port}"), &format!("127.0.0.1:{low}")).expect("edited");
    works.start_all().await.expect("it starts");
    works.until_notice("broker_qos", "less than QoS 1").await;
    works.everything_is_stored_once().await;
    works.until_gateway("an empty spool", |of| of("davy_gateway_backlog_blocks") == 0.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn long_messages_that_lie_on_a_gateways_topics_do_not_keep_it_from_the_centre() {
    // Goal: whoever may publish cannot cut a plant off by one message. Method: retained ones, longer than any frame, on the
    // topics that the gateway reads, before it starts; everything must arrive. What comes while it still subscribes is
    // passed over, the rest is counted as refused.
    let mut works = Works::prepare(&Store::Embedded, vec![house(30)]).await.expect("a works");
    let mut peer = Peer::connect(works.broker.port, "litter", "nothing").await.expect("a client");
    let name = GatewayName::new(GATEWAY).expect("a name");
    for (kind, bytes) in [(TopicKind::Ack, FRAME_BYTES_MAX + 4_096), (TopicKind::Cmd, 3 << 20)] {
        let topic = Topic::new(name.clone(), kind).to_string();
        peer.publish_retained(&topic, vec![0x7f; bytes]).await.expect("published");
    }
    works.start_all().await.expect("it starts");
    works.everything_is_stored_once().await;
    works
        .until_gateway("an empty spool", |of| {
            of("davy_gateway_backlog_blocks") == 0.0 && of("davy_gateway_acks_forged_total") >= 1.0
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_moves_on_all_at_once_costs_no_connection() {
    // Goal: a flood waits at the broker, it does not end the link and come again. Method: while the centre stands still, its
    // queue grows beyond what the broker may have under way and beyond the centre's own inbox; mosquitto 2.0.11 sends all of
    // it at the first acks. Each message counts once: none was sent anew on another connection. In the end the broker keeps
    // nothing: a message whose ack was lost on the way would stay under way there, in front of all that come after.
    let mut works = Works::prepare(&Store::Embedded, vec![house(30)]).await.expect("a works");
    works.start_all().await.expect("it starts");
    works.everything_is_stored_once().await;
    let mut peer = Peer::connect(works.broker.port, "flood", "nothing").await.expect("a client");
    let topic = Topic::new(GatewayName::new(GATEWAY).expect("a name"), TopicKind::Up).to_string();
    works.centre.signal("STOP").expect("stopped");
    for _ in 0..FLOOD {
        peer.publish(&topic, vec![0x7f; 64]).await.expect("published");
    }
    works.centre.signal("CONT").expect("it goes on");
    let dropped = "davy_ingest_messages_total{code=\"dropped\"}";
    let all = || async {
        let metrics = works.centre.metrics().await.map_err(|error| error.to_string())?;
        let count = metrics[dropped];
        if count >= FLOOD as f64 { Ok(metrics) } else { Err(format!("{count} of {FLOOD}")) }
    };
    let metrics = wait_for("the flood to pass", Duration::from_secs(60), all).await;
    assert_eq!(metrics["davy_ingest_broker_reconnects_total"], 0.0);
    assert_eq!(metrics[dropped], FLOOD as f64, "each once");
    let port = works.broker.port;
    let counts = Peer::connect(port, "counts", HELD_TOPIC).await.expect("a client");
    // What is counted beside the flood: the broker's own retained counts, and what is on its way this moment.
    wait_for("the broker to keep nothing", Duration::from_secs(60), || async {
        let heard = counts.heard();
        let said = heard.last().map(|(_, count)| String::from_utf8_lossy(count).into_owned());
        let said = said.ok_or("no count yet")?;
        match said.parse::<usize>() {
            Ok(held) if held < FLOOD / 20 => Ok(()),
            _ => Err(format!("{said} messages of {FLOOD}")),
        }
    })
    .await;
}
