//! The quarantine with the real programs: a block that is set aside comes back by a person's word, once, through kills,
//! into history and never onto the duty desk.

use std::time::Duration;

use serde_json::{Value, json};
use tests::harness::davy::Store;
use tests::harness::peer::Peer;
use tests::harness::wait::wait_for;
use tests::harness::works::{GATEWAY, Played, SITE, Works};
use tests::meters;
use tests::replay::Recording;
use wire::block::Body;
use wire::columns::Column;
use wire::frame::{self, Kind};
use wire::message::{Item, Uplink};
use wire::topic::{Topic, TopicKind};
use wire::{Block, GatewayName, Key};

/// How far back the copied image's readings lie, ms: within the page horizon, so that age alone keeps nobody from paging.
const BACK_MS: i64 = 300_000;
/// What the copied image's detector reads above the real one, %LEL: a red alarm, were it live.
const ABOVE: f64 = 50.0;

/// Gas that stays calm.
fn calm() -> Played {
    let rows = (0..40).map(|_| vec!["2".to_owned()]).collect();
    let recording = Recording { model: &meters::MIDAS_LEL, columns: vec!["gas_lel"], rows };
    Played { id: "gas-1", role: "gas_detector", recording }
}

/// The newest block with rows that the gateway has sent.
async fn a_block(peer: &Peer, key: &Key) -> (Uplink, Block) {
    wait_for("a block of the gateway", Duration::from_secs(30), || async {
        let opened = peer.heard().into_iter().rev().filter_map(|(_, frame)| {
            let uplink = Uplink::decode(frame::open(key, Kind::Uplink, &frame).ok()?).ok()?;
            let Item::Block(bytes) = &uplink.item else { return None };
            let block = Block::decode(bytes).ok()?;
            block.readings().is_some_and(|r| r.sample_count() > 0).then_some((uplink, block))
        });
        let newest = opened.into_iter().next();
        newest.ok_or_else(|| "none yet".to_owned())
    })
    .await
}

/// The same key, other readings: a copied disk image that went its own way.
fn copy_of(block: &Block) -> Block {
    let mut other = block.clone();
    let Body::Readings(readings) = &mut other.body else { panic!("rows") };
    for table in &mut readings.tables {
        table.times.iter_mut().for_each(|time| *time -= BACK_MS);
        for column in &mut table.columns {
            let mut changed = Column::default();
            (0..column.len())
                .for_each(|row| changed.push(column.values()[row] + ABOVE, column.mark(row)));
            *column = changed;
        }
    }
    other
}

async fn entry_is(works: &Works, id: &str, state: &str) -> Value {
    wait_for(&format!("entry {id} {state}"), Duration::from_secs(30), || async {
        let shown = works.centre.get(&format!("/quarantine/{id}")).await;
        let shown = shown.map_err(|e| format!("{e:#}"))?;
        let is_so = shown["row"]["state"] == state;
        if is_so { Ok(shown) } else { Err(format!("{shown}\n{}", works.centre.output())) }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_of_a_copied_image_comes_back_once_and_pages_nobody() {
    // Goal: an officer takes the readings of a copied image into history. Method: the gateway's own newest block under the
    // same key with other values; asked for while the centre is down, which is killed again and again afterwards.
    let mut works = Works::start(&Store::Embedded, vec![calm()]).await.expect("a works");
    let own = Key::from_hex(&works.key).expect("a key");
    let gateway = GatewayName::new(GATEWAY).expect("a name");
    let up = Topic::new(gateway, TopicKind::Up).to_string();
    let mut peer = Peer::connect(works.broker.port, "copy", &up).await.expect("a client");
    let (uplink, block) = a_block(&peer, &own).await;
    let (_, last) = block.readings().and_then(wire::Readings::time_span).expect("rows");
    let rows = block.readings().expect("rows").row_count();
    wait_for("the block to be stored", Duration::from_secs(30), || async {
        let stored = works.centre.samples(SITE, "gas-1", "gas_lel").await;
        let stored = stored.map_err(|e| e.to_string())?;
        if stored.iter().any(|(t, _)| *t == last) { Ok(()) } else { Err(format!("{stored:?}")) }
    })
    .await;
    let message = Uplink { stamp: uplink.stamp, item: Item::Block(copy_of(&block).encode()) };
    let copied = frame::seal(&own, Kind::Uplink, &message.encode());
    peer.publish(&up, copied.clone()).await.expect("published");
    works.until_notice("key_reuse", "see the quarantine").await;

    let centre = &works.centre;
    let password = ["--password-file", "password"];
    for (name, role) in [("zhao", "officer"), ("chief", "administrator")] {
        let add = ["user", "add", name, "--role", role];
        centre.call(&[&add[..], &password].concat()).expect("a user");
    }
    let listed = centre.call(&["quarantine", "list"]).expect("a list");
    assert!(listed.starts_with("1  open") && listed.contains("key_reuse"), "{listed}");
    let shown = centre.call(&["quarantine", "show", "1"]).expect("an entry");
    for words in ["磁盘镜像", "a copied disk image", "gas-1", "gas_lel=52 %LEL", "clock synced"]
    {
        assert!(shown.contains(words), "{words:?} in\n{shown}");
    }
    let shown = centre.get("/quarantine/1").await.expect("the entry");
    assert_eq!(shown["content"]["to"], json!(last - BACK_MS), "{shown}");
    let replay = ["quarantine", "replay", "1", "--reason", "the spare gateway's own readings"];
    let by = |who: &'static str| [&replay[..], &["--by", who]].concat();
    for (who, why) in [("nobody", "none who may sign in"), ("chief", "may not decide")] {
        let refused = centre.call(&by(who)).expect_err("refused").to_string();
        assert!(refused.contains(why), "{refused}");
    }

    works.centre.kill();
    let asked = works.centre.call(&by("zhao")).expect("asked for");
    assert!(asked.contains("at its next start"), "{asked}");
    let again = works.centre.call(&by("zhao")).expect_err("refused").to_string();
    assert!(again.contains("decided about this entry already"), "{again}");
    for _ in 0..3 {
        works.centre.start().await.expect("the centre");
        works.centre.kill();
    }
    works.centre.start().await.expect("the centre");
    let entry = entry_is(&works, "1", "replayed").await;
    assert_eq!(entry["row"]["done"]["by"], "zhao");
    assert_eq!(entry["content"], json!(null), "its bytes are gone");
    // The same block once more is the same entry, closed as it is.
    peer.publish(&up, copied).await.expect("published");
    works.until_gateway("an empty spool", |of| of("davy_gateway_backlog_blocks") == 0.0).await;
    let open = works.centre.get("/quarantine?state=open").await.expect("a list");
    assert_eq!(open["rows"], json!([]));

    let stored = works.centre.samples(SITE, "gas-1", "gas_lel").await.expect("samples");
    let (old, new): (Vec<_>, Vec<_>) = stored.into_iter().partition(|(t, _)| *t <= last - BACK_MS);
    assert_eq!(old.len(), rows, "each row once: {old:?}");
    assert!(old.iter().all(|(_, value)| *value == 2.0 + ABOVE), "{old:?}");
    assert!(new.iter().all(|(_, value)| *value == 2.0), "the first bytes stand: {new:?}");
    let alarms = works.centre.alarms().await.expect("alarms");
    let gas = alarms.iter().find(|a| a["rule"].as_str().is_some_and(|r| r.starts_with("R21")));
    assert!(gas.is_none(), "history never pages: {gas:?}");
    let whole = works.centre.call(&["audit"]).expect("the audit journal");
    assert!(whole.contains("whole"), "{whole}");
    works.centre.stop().await.expect("an orderly end");
    let replayed = works.centre.call(&["journal", "replay"]).expect("a fresh evaluator");
    let printed = works.centre.call(&["journal", "print"]).expect("the journal");
    assert_eq!(printed, replayed, "the verdict journal does not know of it");
}
