//! VictoriaMetrics as the store of the whole way: it answers before anything is on its disk, so each kill of it costs what
//! it had acknowledged, and the centre must give all of that again.

use std::time::Duration;

use tests::harness::davy::Store;
use tests::harness::hand::{Hand, now_ms};
use tests::harness::peer::Peer;
use tests::harness::victoria::Victoria;
use tests::harness::wait::wait_for;
use tests::harness::works::{Played, SITE, Works};
use tests::meters;
use tests::replay::Recording;
use wire::manifest::Point;

/// Time for a loaded machine.
const LIMIT: Duration = Duration::from_secs(90);
/// Blocks that pile up while it is away, and rows of each: several requests in one batch.
const BLOCKS: i64 = 12;
const ROWS: i64 = 1_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_victoriametrics_killed_within_batches_has_everything_once_in_the_end() {
    // Goal: nothing is lost and nothing doubled, although what was acknowledged is gone with each kill. Method: a meter is
    // read all the while; more than one request holds piles up while the database is away; then it is killed as soon as
    // it has taken something, three times in a row.
    let mut victoria = Victoria::start().await.expect("victoria-metrics");
    let row = |n: u16| [(230.0 + f64::from(n) / 4.0).to_string()];
    let rows = (0..120).map(|n| row(n).to_vec()).collect();
    let recording = Recording { model: &meters::SDM630, columns: vec!["u_a"], rows };
    let house = Played { id: "house-1", role: "other", recording };
    let store = Store::Victoria(victoria.url());
    let mut works = Works::prepare(&store, vec![house]).await.expect("a works");
    let key = works.centre.add_gateway("works-gw2", SITE).expect("a key");
    works.start_all().await.expect("it starts");
    wait_for("the first samples", LIMIT, || async {
        let stored = works.centre.samples(SITE, "house-1", "u_a").await;
        let stored = stored.map_err(|e| format!("{e:#}; {}", works.centre.output()))?;
        if stored.is_empty() { Err(works.centre.output()) } else { Ok(()) }
    })
    .await;

    victoria.kill();
    let mut hand = Hand::new("works-gw2", SITE, &key).expect("a gateway");
    let mut peer =
        Peer::connect(works.broker.port, "hand", "nothing/of/this").await.expect("a client");
    let points = [Point { quantity: "i_a".to_owned(), unit: "A".to_owned() }];
    let manifest = hand.manifest(std::iter::once("bulk-1".to_owned()), &points);
    let manifest_frame = hand.sealed_manifest(&manifest);
    peer.publish(&hand.topic(), manifest_frame).await.expect("published");
    let start = now_ms() - 2 * BLOCKS * ROWS;
    let mut given = Vec::new();
    for block in 0..BLOCKS {
        let rows: Vec<_> = (block * ROWS..(block + 1) * ROWS)
            .map(|n| (0, start + n, vec![f64::from(i32::try_from(n).expect("few")) / 8.0]))
            .collect();
        given.extend(rows.iter().map(|(_, t, values)| (*t, values[0])));
        let frame = hand.next(&manifest, &rows).expect("a block");
        peer.publish(&hand.topic(), frame).await.expect("published");
    }
    let bulk = f64::from(i32::try_from(BLOCKS * ROWS).expect("few"));
    wait_for("all of it to be in the log", LIMIT, || async {
        let metrics = works.centre.metrics().await.map_err(|e| format!("{e:#}"))?;
        let logged = metrics["davy_ingest_samples_logged_total"];
        if logged > bulk { Ok(()) } else { Err(logged.to_string()) }
    })
    .await;
    for _ in 0..3 {
        victoria.resume().await.expect("it starts again");
        wait_for("something to be taken", LIMIT, || async {
            let taken = victoria.taken().await.map_err(|e| format!("{e:#}"))?;
            if taken > 0.0 { Ok(()) } else { Err(works.centre.output()) }
        })
        .await;
        victoria.kill();
    }
    victoria.resume().await.expect("it starts again");

    works.everything_is_stored_once().await;
    let stored = wait_for("the bulk to be stored", LIMIT, || async {
        let stored = works.centre.samples_from(SITE, "bulk-1", "i_a", start).await;
        let stored = stored.map_err(|e| format!("{e:#}"))?;
        if stored.len() < given.len() { Err(stored.len().to_string()) } else { Ok(stored) }
    })
    .await;
    assert!(stored == given, "{} against {} given", stored.len(), given.len());
}
