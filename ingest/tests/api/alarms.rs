//! Alarms as the console reads and signs them.

use serde_json::json;

use rules::{Severity, Transition, TransitionKind};

use crate::rig::{NOW, Rig, transition};

// A raised alarm is listed with texts, numbers and names, shown whole, and explained.
#[tokio::test]
async fn alarm_is_listed_shown_and_explained() {
    let rig = Rig::start().await;
    let raised = rig.raise("a", NOW - 5).await.occurrence;
    let cookie = rig.sign_in("duty").await;
    let list = rig.get(&cookie, "/api/v1/alarms").await.json();
    let alarm = &list["alarms"][0];
    assert_eq!(list["revision"], rig.hub.revision());
    assert_eq!(alarm["id"], raised.id);
    assert_eq!(
        (&alarm["site_name"], &alarm["county_name"]),
        (&json!("甲厂"), &json!("香格里拉市"))
    );
    assert_eq!(
        (&alarm["site_name_en"], &alarm["county_name_en"]),
        (&json!("Works A"), &json!("Shangri-La"))
    );
    assert_eq!((&alarm["severity"], &alarm["source_level"]), (&json!(2), &json!("一级")));
    assert_eq!(
        (&alarm["value"], &alarm["limit"], &alarm["unit"]),
        (&json!(26.5), &json!(25.0), &json!("%LEL"))
    );
    assert_eq!(
        (&alarm["active"], &alarm["acked"], &alarm["needs_ack"], &alarm["page"]),
        (&json!(true), &json!(false), &json!(true), &json!("paged"))
    );
    assert_eq!(alarm["overridden"][0]["param"], "limit_1");
    assert!(alarm["why_zh"].as_str().unwrap().contains("26.5"), "{}", alarm["why_zh"]);
    let whole = rig.get(&cookie, &format!("/api/v1/alarms/{}", raised.id)).await.json();
    assert_eq!(whole["evidence"]["inputs"][0]["series"], "a/gas-1/gas_lel");
    assert_eq!(whole["history"][0]["kind"], "raise");
    let why = rig.get(&cookie, &format!("/api/v1/alarms/{}/why", raised.id)).await.json();
    assert_eq!(why["re_evaluated"], true);
    let sites = rig.get(&cookie, "/api/v1/sites").await.json();
    assert_eq!((&sites["sites"][0]["worst"], &sites["sites"][0]["active"]), (&json!(2), &json!(1)));
    assert_eq!(sites["sites"][1]["worst"], 0);
    assert_eq!(rig.get(&cookie, "/api/v1/alarms/nothing").await.status, 404);
}

// After a rise the numbers shown are of the new level, and so are the times beside them; the first raise stays known.
#[tokio::test]
async fn level_change_says_when_it_was_judged() {
    let rig = Rig::start().await;
    let raised = rig.raise("a", NOW - 60_000).await.occurrence;
    let (kind, level) = (TransitionKind::LevelUp, Severity::Red);
    let risen = Transition { kind, level, since: NOW - 8_000, ..transition("a", NOW - 5_000) };
    rig.judge(risen).await;
    let cookie = rig.sign_in("duty").await;
    let shown = rig.get(&cookie, &format!("/api/v1/alarms/{}", raised.id)).await.json();
    assert_eq!(shown["severity"], 1);
    assert_eq!(
        (&shown["since"], &shown["raised_at"]),
        (&json!(NOW - 60_000), &json!(NOW - 60_000))
    );
    let judged = (&shown["level_since"], &shown["level_at"]);
    assert_eq!(judged, (&json!(NOW - 8_000), &json!(NOW - 5_000)));
}

// An alarm that is over is still there to be read, with the raises before it and who signed them by the name people know.
#[tokio::test]
async fn past_alarm_is_shown_with_the_raises_before_it() {
    let rig = Rig::start().await;
    let cookie = rig.sign_in("duty").await;
    let clear = |t| Transition { kind: TransitionKind::Clear, ..transition("a", t) };
    let first = rig.raise("a", NOW - 50).await.occurrence;
    let click = json!({ "version": first.version, "idempotency_key": "k" });
    rig.post(&cookie, &format!("/api/v1/alarms/{}/ack", first.id), click).await;
    rig.judge(clear(NOW - 40)).await;
    let second = rig.raise("a", NOW - 30).await.occurrence;
    rig.judge(clear(NOW - 20)).await;
    let shown = rig.get(&cookie, &format!("/api/v1/alarms/{}", second.id)).await.json();
    assert_eq!((&shown["occurrence"], &shown["active"]), (&json!(2), &json!(false)));
    let earlier = &shown["earlier"];
    assert_eq!(earlier.as_array().unwrap().len(), 1);
    assert_eq!(
        (&earlier[0]["id"], &earlier[0]["by_name"]),
        (&json!(first.id), &json!("duty 显示"))
    );
    let shown = rig.get(&cookie, &format!("/api/v1/alarms/{}", first.id)).await.json();
    assert!(shown["earlier"].as_array().unwrap().is_empty());
    let signed = &shown["history"][1];
    assert_eq!((&signed["by"], &signed["by_name"]), (&json!("duty"), &json!("duty 显示")));
}

// What people read has no bare word of the program where the catalogue has one for people.
#[tokio::test]
async fn parameters_and_sources_are_named_for_people() {
    let rig = Rig::start().await;
    let raised = rig.raise("a", NOW).await.occurrence;
    let cookie = rig.sign_in("duty").await;
    let shown = rig.get(&cookie, &format!("/api/v1/alarms/{}", raised.id)).await.json();
    let changed = &shown["overridden"][0];
    assert_eq!((&changed["param"], &changed["unit"]), (&json!("limit_1"), &json!("%LEL")));
    for label in ["label_zh", "label_en"] {
        assert!(!matches!(changed[label].as_str(), None | Some("" | "limit_1")), "{changed}");
    }
    assert_ne!(shown["source_clause_zh"], shown["source_clause_en"]);
}

// Two people sign at once: one signs, the other is told who was faster; the same click again is the same signature.
#[tokio::test]
async fn second_signature_is_a_conflict_that_shows_the_first() {
    let rig = Rig::start().await;
    let raised = rig.raise("a", NOW).await.occurrence;
    let path = format!("/api/v1/alarms/{}/ack", raised.id);
    let (first, second) = (rig.sign_in("duty").await, rig.sign_in("duty2").await);
    let click = |key: &str| json!({ "version": raised.version, "comment": "已电话核实", "idempotency_key": key });
    let signed = rig.post(&first, &path, click("one")).await;
    assert_eq!(signed.status, 200, "{}", signed.text);
    assert_eq!(signed.json()["ack"]["by_name"], "duty 显示");
    let late = rig.post(&second, &path, click("two")).await;
    assert_eq!((late.status, late.code()), (409, "conflict".to_owned()));
    assert_eq!(late.json()["alarm"]["ack"]["by"], "duty");
    let again = rig.post(&first, &path, click("one")).await;
    assert_eq!((again.status, again.json()), (200, signed.json()));
    let unsigned = rig.get(&first, "/api/v1/alarms?state=unacked").await.json();
    assert_eq!(unsigned["alarms"].as_array().unwrap().len(), 0);
    let active = rig.get(&first, "/api/v1/alarms?state=active").await.json();
    assert_eq!(active["alarms"].as_array().unwrap().len(), 1, "signed is not over");
}

// A click without its key, with an unknown field's type, or on what holds no latch is refused with a reason.
#[tokio::test]
async fn clicks_that_make_no_sense_are_refused() {
    let rig = Rig::start().await;
    let raised = rig.raise("a", NOW).await.occurrence;
    let cookie = rig.sign_in("duty").await;
    let ack = format!("/api/v1/alarms/{}/ack", raised.id);
    for body in [
        json!({ "version": 1 }),
        json!({ "version": 1, "idempotency_key": "" }),
        json!({ "version": "1", "idempotency_key": "k" }),
    ] {
        let refused = rig.post(&cookie, &ack, body).await;
        assert_eq!((refused.status, refused.code()), (400, "invalid".to_owned()));
    }
    let reset = format!("/api/v1/alarms/{}/reset", raised.id);
    let refused = rig.post(&cookie, &reset, json!({ "version": 1, "idempotency_key": "k" })).await;
    assert_eq!(refused.status, 409);
}

// Alarms raised at one time are read page by page without losing one.
#[tokio::test]
async fn history_pages_lose_no_alarm_of_the_same_time() {
    let rig = Rig::start().await;
    for (site, t) in [("a", NOW), ("b", NOW)] {
        rig.raise(site, t).await;
    }
    let cookie = rig.sign_in("duty").await;
    let mut place = String::new();
    let mut sites = Vec::new();
    loop {
        let path = format!("/api/v1/alarms?state=all&limit=1{place}");
        let page = rig.get(&cookie, &path).await.json();
        let Some(alarm) = page["alarms"].get(0) else { break };
        sites.push(alarm["site"].as_str().unwrap().to_owned());
        let id = alarm["id"].as_str().unwrap();
        place = format!("&before={}&before_id={id}", alarm["raised_at"]);
    }
    sites.sort();
    assert_eq!(sites, ["a", "b"]);
}
