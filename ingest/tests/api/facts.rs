//! What may be recorded, how far ahead, how much, by whom.

use ingest::account::Role;
use ingest::registry::NewFact;
use reqwest011::Method;
use reqwest011::header::{AUTHORIZATION, HeaderMap};
use rules::FactBody;
use serde_json::{Value as Json, json};

use crate::rig::{NOW, Rig, api_key};

const DAY: i64 = 86_400_000;

fn work(from: i64, to: Option<i64>) -> Json {
    json!({ "site": "a", "kind": "work", "work": "检修", "valid_from": from, "valid_to": to })
}

// Planned work begins soon, ends, and is no older than today; what is asked otherwise is said.
#[tokio::test]
async fn planned_work_has_bounds() {
    let rig = Rig::start().await;
    let cookie = rig.sign_in("plant-a").await;
    let cases = [
        (work(NOW, None), 400, "valid_to"),
        (work(NOW + 91 * DAY, Some(NOW + 92 * DAY)), 400, "90 days"),
        (work(4_102_444_800_000, Some(4_102_444_900_000)), 400, "90 days"),
        (work(i64::MIN, Some(NOW + 1)), 400, "valid_from"),
        (work(NOW, Some(NOW + 31 * DAY)), 400, "30 days"),
        (work(NOW - 2 * DAY, Some(NOW - DAY)), 400, "over"),
        (work(NOW + 89 * DAY, Some(NOW + 90 * DAY)), 201, ""),
    ];
    for (form, status, word) in cases {
        let answer = rig.post(&cookie, "/api/v1/facts", form.clone()).await;
        assert_eq!(answer.status, status, "{form}: {}", answer.text);
        assert!(answer.text.contains(word), "{form}: {}", answer.text);
    }
    let officer = rig.sign_in("officer").await;
    let order = json!({ "site": "a", "kind": "reg_state", "state": "suspended", "document": "7号",
                        "valid_from": 4_102_444_800_000i64 });
    assert_eq!(rig.post(&officer, "/api/v1/facts", order).await.status, 400);
    let mask = json!({ "site": "a", "kind": "calibration", "devices": ["incomer"],
                       "valid_from": 0, "valid_to": i64::MAX });
    assert_eq!(rig.post(&officer, "/api/v1/facts", mask).await.status, 400);
}

// A site has so many open windows and no more; taking one back is always possible and makes room.
#[tokio::test]
async fn open_work_of_a_site_is_bounded() {
    let rig = Rig::start().await;
    let cookie = rig.sign_in("plant-a").await;
    for _ in 0..199 {
        let body = FactBody::Work {
            work: "检修".to_owned(),
            devices: Vec::new(),
            declared_kw: None,
            approved_by: None,
        };
        let new = NewFact {
            id: None,
            site: "a".to_owned(),
            valid_from: NOW,
            valid_to: Some(NOW + DAY),
            withdrawn: false,
            body,
        };
        rig.state.record_fact(new, "test", NOW).await.unwrap();
    }
    let form = work(NOW, Some(NOW + DAY));
    let last = rig.post(&cookie, "/api/v1/facts", form.clone()).await;
    assert_eq!(last.status, 201, "{}", last.text);
    let full = rig.post(&cookie, "/api/v1/facts", form.clone()).await;
    assert_eq!((full.status, full.code()), (409, "conflict".to_owned()));
    assert!(full.text.contains("withdraw"), "{}", full.text);
    let mut back = form.clone();
    (back["id"], back["withdrawn"]) = (last.json()["id"].clone(), true.into());
    assert_eq!(rig.post(&cookie, "/api/v1/facts", back).await.status, 201);
    assert_eq!(rig.post(&cookie, "/api/v1/facts", form).await.status, 201);
}

// Whoever records without pause is told to wait; others are not.
#[tokio::test]
async fn recording_is_limited_per_caller() {
    let rig = Rig::start().await;
    let cookie = rig.sign_in("plant-a").await;
    let form = work(NOW, Some(NOW + DAY));
    for _ in 0..20 {
        assert_eq!(rig.post(&cookie, "/api/v1/facts", form.clone()).await.status, 201);
    }
    let limited = rig.post(&cookie, "/api/v1/facts", form.clone()).await;
    assert_eq!((limited.status, limited.code()), (429, "too_many".to_owned()));
    assert!(limited.headers.contains_key("retry-after"));
    let duty = rig.sign_in("duty").await;
    assert_eq!(rig.post(&duty, "/api/v1/facts", form).await.status, 201);
}

// What an office decides is recorded by a person: an officer's key files work and calibrations, nothing that orders or
// approves, and changes nothing that was approved.
#[tokio::test]
async fn programs_decide_nothing() {
    let rig = Rig::start().await;
    let bearer = format!("Bearer {}", api_key(&rig, Role::Officer, None).await);
    let send = async |form: Json| {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, bearer.parse().unwrap());
        rig.send_raw(headers, Method::POST, "/api/v1/facts", Some(form)).await
    };
    let filed = work(NOW, Some(NOW + DAY));
    let mut approved = filed.clone();
    approved["approved"] = true.into();
    let order = json!({ "site": "a", "kind": "reg_state", "state": "normal", "document": "7号",
                        "valid_from": NOW });
    let approval = json!({ "site": "a", "kind": "approval", "document": "8号", "valid_from": NOW });
    for decision in [&approved, &order, &approval] {
        let refused = send(decision.clone()).await;
        assert_eq!(refused.status, 403, "{decision}");
        assert!(refused.text.contains("person"), "{}", refused.text);
    }
    let own = send(filed.clone()).await;
    assert_eq!(own.status, 201, "{}", own.text);
    let officer = rig.sign_in("officer").await;
    approved["id"] = own.json()["id"].clone();
    assert_eq!(rig.post(&officer, "/api/v1/facts", approved).await.status, 201);
    let mut back = filed;
    back["id"] = own.json()["id"].clone();
    assert_eq!(send(back).await.status, 403, "approved by a person");
}
