//! What the console is told of devices and of completeness, and how it changes when nothing comes any more.

use serde_json::{Value as Json, json};

use crate::rig::{NOW, Rig, live_value};

async fn sites(rig: &Rig, cookie: &str) -> (Json, Json) {
    let answer = rig.get(cookie, "/api/v1/sites").await.json();
    (answer["sites"][0].clone(), answer["sites"][1].clone())
}

// A device is online while usable samples come, and no longer: at the latest after three periods, at least 30 s.
#[tokio::test]
async fn device_goes_offline_when_its_samples_stop() {
    let rig = Rig::start().await;
    let cookie = rig.sign_in("duty").await;
    let (a, b) = sites(&rig, &cookie).await;
    assert_eq!(a["devices"][0]["online"], true);
    assert_eq!(b["devices"][0]["online"], Json::Null, "nothing is known of it");
    rig.clock.pass(30_000);
    assert_eq!(sites(&rig, &cookie).await.0["devices"][0]["online"], true);
    rig.clock.pass(1);
    assert_eq!(sites(&rig, &cookie).await.0["devices"][0]["online"], false);
    let mut slow = live_value("a", 1.0);
    slow.period_ms = 60_000;
    rig.sources.set(vec![slow]);
    rig.clock.pass(149_999);
    assert_eq!(sites(&rig, &cookie).await.0["devices"][0]["online"], true);
    rig.clock.pass(1);
    assert_eq!(sites(&rig, &cookie).await.0["devices"][0]["online"], false);
}

// A sample without a number, or an old one that arrives now, is no sign that the device answers.
#[tokio::test]
async fn only_usable_and_present_samples_count() {
    use ingest::api::source::LiveQuality;
    let rig = Rig::start().await;
    let cookie = rig.sign_in("duty").await;
    let good = live_value("a", 1.0);
    let mut bad = good.clone();
    (bad.value, bad.quality) = (None, LiveQuality::Bad);
    let mut late = good.clone();
    late.t = Some(NOW - 3_600_000);
    let mut doubtful = good.clone();
    doubtful.quality = LiveQuality::Uncertain;
    for (value, online, share) in
        [(good, true, 0.5), (bad, false, 0.0), (late, false, 0.0), (doubtful, true, 0.5)]
    {
        rig.sources.set(vec![value.clone()]);
        let (a, _) = sites(&rig, &cookie).await;
        assert_eq!(a["devices"][0]["online"], online, "{value:?}");
        assert_eq!(a["completeness"], share, "{value:?}");
    }
}

// What an event brings when something changes is never late: it says that the device answers, not that it does not.
#[tokio::test]
async fn event_without_a_rhythm_never_makes_a_device_offline() {
    let rig = Rig::start().await;
    let cookie = rig.sign_in("duty").await;
    let mut event = live_value("a", 1.0);
    event.period_ms = 0;
    rig.sources.set(vec![event]);
    assert_eq!(sites(&rig, &cookie).await.0["devices"][0]["online"], true);
    rig.clock.pass(3_600_000);
    assert_eq!(sites(&rig, &cookie).await.0["devices"][0]["online"], Json::Null);
}

// The denominator is what the registry expects: a series or a whole site that was never heard is missing, not left out.
#[tokio::test]
async fn completeness_counts_what_never_came() {
    let rig = Rig::start().await;
    let cookie = rig.sign_in("duty").await;
    let (a, b) = sites(&rig, &cookie).await;
    assert_eq!((&a["expected"], &a["completeness"]), (&json!(2), &json!(0.5)), "u_ab never came");
    assert_eq!((&b["expected"], &b["completeness"]), (&json!(1), &json!(0.0)), "never heard");
    rig.clock.pass(60_000);
    assert_eq!(sites(&rig, &cookie).await.0["completeness"], 0.0);
}

// What stops alarms is for everybody whose alarms it stops; the rest of the service's state is the bureau's.
#[tokio::test]
async fn plant_hears_that_its_alarms_are_stopped_and_no_more() {
    let rig = Rig::start().await;
    let codes = |answer: Json| -> Vec<String> {
        let notices = answer["notices"].as_array().unwrap().clone();
        notices.iter().map(|notice| notice["code"].as_str().unwrap().to_owned()).collect()
    };
    for (who, expected) in [
        ("duty", vec!["broker_down", "key_reuse"]),
        ("plant-b", vec!["broker_down"]),
        ("grid", vec![]),
    ] {
        let cookie = rig.sign_in(who).await;
        let answer = rig.get(&cookie, "/api/v1/system").await.json();
        assert_eq!(codes(answer), expected, "{who}");
    }
    let cookie = rig.sign_in("duty").await;
    let answer = rig.get(&cookie, "/api/v1/system").await.json();
    assert_eq!(answer["notices"][0]["level"], "alarms_stopped");
    assert_eq!((&answer["store"], &answer["store_state"]), (&json!("embedded"), &json!("well")));
}

// What came by day is told by role: the bureau all sites, a plant its own, the grid company nothing; the newest day first.
#[tokio::test]
async fn completeness_by_day_is_told_by_role() {
    let rig = Rig::start().await;
    let day = |text: &str| json!(text);
    let duty = rig.sign_in("duty").await;
    let all = rig.get(&duty, "/api/v1/completeness").await;
    assert_eq!(all.status, 200, "{}", all.text);
    let all = all.json()["days"].clone();
    let rows = all.as_array().unwrap();
    assert_eq!(rows.len(), 4);
    assert_eq!((&rows[0]["site"], &rows[0]["day"]), (&json!("a"), &day("2026-02-25")));
    assert_eq!((&rows[3]["site"], &rows[3]["day"]), (&json!("b"), &day("2026-02-24")));
    assert_eq!((&rows[0]["share"], &rows[0]["good"]), (&json!(0.5), &json!(90)));
    let one = "/api/v1/completeness?from=2026-02-24&to=2026-02-24&site=b";
    assert_eq!(rig.get(&duty, one).await.json()["days"].as_array().unwrap().len(), 1);
    let plant = rig.sign_in("plant-a").await;
    let own = rig.get(&plant, "/api/v1/completeness").await.json();
    let own: Vec<&Json> = own["days"].as_array().unwrap().iter().map(|row| &row["site"]).collect();
    assert_eq!(own, [&json!("a"), &json!("a")]);
    assert_eq!(rig.get(&plant, one).await.status, 404, "another plant is not there");
    let grid = rig.sign_in("grid").await;
    assert_eq!(rig.get(&grid, "/api/v1/completeness").await.status, 403);
    for wrong in ["from=yesterday", "from=2026-02-25&to=2026-02-24", "to=2026-02-30"] {
        let answer = rig.get(&duty, &format!("/api/v1/completeness?{wrong}")).await;
        assert_eq!(answer.status, 400, "{wrong}");
    }
}
