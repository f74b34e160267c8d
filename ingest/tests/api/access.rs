//! Who may see and do what: other sites' pages, roles, rows of other plants, API keys.

use ingest::account::Role;
use reqwest011::Method;
use reqwest011::header::{AUTHORIZATION, COOKIE, HeaderMap, ORIGIN};
use serde_json::json;

use crate::rig::{NOW, Rig, api_key};

// A change that another site's page sends with our cookie is refused, however the browser says where it comes from.
#[tokio::test]
async fn another_sites_page_cannot_use_the_cookie() {
    let rig = Rig::start().await;
    let cookie = rig.sign_in("root").await;
    let cases: [(&[(&str, &str)], u16); 7] = [
        (&[("origin", "http://evil.example")], 403),
        (&[("origin", "null")], 403),
        (&[], 403),
        (&[("sec-fetch-site", "cross-site"), ("origin", &rig.base)], 403),
        (&[("sec-fetch-site", "same-site")], 403),
        (&[("authorization", "Basic eDp5"), ("origin", "http://evil.example")], 403),
        (&[("sec-fetch-site", "same-origin")], 201),
    ];
    for (given, status) in cases {
        let mut headers = HeaderMap::new();
        headers.insert(COOKIE, cookie.parse().unwrap());
        for (name, value) in given {
            headers.insert(
                reqwest011::header::HeaderName::from_bytes(name.as_bytes()).unwrap(),
                value.parse().unwrap(),
            );
        }
        let body = json!({ "name": format!("key{status}"), "role": "auditor" });
        let answer = rig.send_raw(headers, Method::POST, "/api/v1/keys", Some(body)).await;
        assert_eq!(answer.status, status, "{given:?}: {}", answer.text);
        assert!(status != 403 || answer.code() == "cross_site");
    }
    let mut headers = HeaderMap::new();
    headers.insert(ORIGIN, "http://evil.example".parse().unwrap());
    let body = json!({ "name": "duty", "password": crate::rig::PASSWORD });
    let login = rig.send_raw(headers, Method::POST, "/api/v1/session", Some(body)).await;
    assert_eq!(login.code(), "cross_site", "nobody is signed in from another page");
}

// Three duties are separated, and each role does its own.
#[tokio::test]
async fn roles_do_their_own_and_nothing_else() {
    let rig = Rig::start().await;
    let alarm = rig.raise("a", NOW).await.occurrence;
    let ack = format!("/api/v1/alarms/{}/ack", alarm.id);
    let click = json!({ "version": 99, "idempotency_key": "k" });
    let user = json!({ "name": "x y", "display": "x", "role": "duty", "password": "123" });
    let gateway = json!({ "name": "gw-a", "site": "nowhere" });
    let fact = json!({ "site": "a", "kind": "approval", "valid_from": 1, "document": "" });
    // Allowed means that the role is not what refuses.
    let may = [
        ("root", [403, 400, 400, 403, 200, 403]),
        ("duty", [409, 403, 403, 403, 403, 403]),
        ("officer", [409, 403, 403, 400, 403, 403]),
        ("audit", [403, 403, 403, 403, 200, 200]),
        ("grid", [403, 403, 403, 403, 403, 403]),
        ("plant-a", [403, 403, 403, 403, 403, 403]),
    ];
    for (name, expected) in may {
        let cookie = rig.sign_in(name).await;
        let got = [
            rig.post(&cookie, &ack, click.clone()).await.status,
            rig.post(&cookie, "/api/v1/users", user.clone()).await.status,
            rig.post(&cookie, "/api/v1/gateways", gateway.clone()).await.status,
            rig.post(&cookie, "/api/v1/facts", fact.clone()).await.status,
            rig.get(&cookie, "/api/v1/users").await.status,
            rig.get(&cookie, "/api/v1/audit").await.status,
        ];
        assert_eq!(got, expected, "{name}");
    }
}

// A plant reads its own rows only; what is another's is not there, in lists and by name.
#[tokio::test]
async fn plant_reads_no_other_plants_row() {
    let rig = Rig::start().await;
    let own = rig.raise("a", NOW).await.occurrence;
    let other = rig.raise("b", NOW).await.occurrence;
    let cookie = rig.sign_in("plant-a").await;
    let denied = [
        format!("/api/v1/alarms/{}", other.id),
        format!("/api/v1/alarms/{}/why", other.id),
        "/api/v1/values?site=b".to_owned(),
        "/api/v1/series?site=b&device=gas-1&quantity=gas_lel&from=0&to=1000".to_owned(),
        "/api/v1/rules/state?site=b".to_owned(),
        "/api/v1/facts?site=b".to_owned(),
        "/api/v1/values?site=nowhere".to_owned(),
    ];
    for path in denied {
        let answer = rig.get(&cookie, &path).await;
        assert_eq!((answer.status, answer.code()), (404, "not_found".to_owned()), "{path}");
    }
    for path in ["/alarms?state=all", "/sites", "/gateways", "/facts", "/values?site=a"] {
        let answer = rig.get(&cookie, &format!("/api/v1{path}")).await;
        assert_eq!(answer.status, 200, "{path}");
        for foreign in ["乙厂", "gw-b", "gas-1\"]", "13800000002", &other.id] {
            assert!(!answer.text.contains(foreign), "{path} shows {foreign}");
        }
    }
    assert_eq!(rig.get(&cookie, &format!("/api/v1/alarms/{}", own.id)).await.status, 200);
    let grid = rig.sign_in("grid").await;
    for (path, list) in [("/alarms", "alarms"), ("/sites", "sites"), ("/gateways", "gateways")] {
        let answer = rig.get(&grid, &format!("/api/v1{path}")).await.json();
        assert_eq!(answer[list].as_array().unwrap().len(), 0, "{path}");
    }
}

// A plant files planned work for itself; it is never approved by that, and another site's is not there.
#[tokio::test]
async fn plant_files_its_own_planned_work_unapproved() {
    let rig = Rig::start().await;
    let cookie = rig.sign_in("plant-a").await;
    let work = |site: &str, approved: bool| {
        json!({ "site": site, "kind": "work", "work": "检修", "devices": [], "approved": approved,
                "valid_from": NOW, "valid_to": NOW + 1000 })
    };
    let filed = rig.post(&cookie, "/api/v1/facts", work("a", false)).await;
    assert_eq!(filed.status, 201, "{}", filed.text);
    assert!(filed.json()["approved_by"].is_null());
    assert_eq!(rig.post(&cookie, "/api/v1/facts", work("b", false)).await.status, 404);
    assert_eq!(rig.post(&cookie, "/api/v1/facts", work("a", true)).await.status, 403);
    let mask = json!({ "site": "a", "kind": "calibration", "devices": ["incomer"], "valid_from": NOW, "valid_to": NOW + 1 });
    assert_eq!(rig.post(&cookie, "/api/v1/facts", mask).await.status, 403);
    let mut approval = work("a", true);
    approval["id"] = filed.json()["id"].clone();
    let duty = rig.sign_in("duty").await;
    let approved = rig.post(&duty, "/api/v1/facts", approval).await.json();
    assert_eq!(approved["approved_by"], "duty 显示");
    let mut change = work("a", false);
    change["id"] = filed.json()["id"].clone();
    assert_eq!(rig.post(&cookie, "/api/v1/facts", change).await.status, 403, "approved already");
    assert_eq!(rig.state.facts_to_log(1).await.unwrap().len(), 4, "two models, two revisions");
}

// A program uses a key instead of a cookie, without an origin; it never signs alarms; a revoked key is refused.
#[tokio::test]
async fn api_keys_open_what_their_role_may_see() {
    let rig = Rig::start().await;
    let alarm = rig.raise("a", NOW).await.occurrence;
    let token = api_key(&rig, Role::Duty, None).await;
    let with = |token: &str| {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
        headers
    };
    let seen = rig.send_raw(with(&token), Method::GET, "/api/v1/alarms", None).await;
    assert_eq!(seen.json()["alarms"].as_array().unwrap().len(), 1);
    let click = json!({ "version": 1, "idempotency_key": "k" });
    let path = format!("/api/v1/alarms/{}/ack", alarm.id);
    let signed = rig.send_raw(with(&token), Method::POST, &path, Some(click)).await;
    assert_eq!(signed.status, 403, "a program signs nothing");
    let plant = api_key(&rig, Role::Plant, Some("b")).await;
    let seen = rig.send_raw(with(&plant), Method::GET, "/api/v1/alarms", None).await;
    assert_eq!(seen.json()["alarms"].as_array().unwrap().len(), 0);
    let forged = rig.send_raw(with("00"), Method::GET, "/api/v1/alarms", None).await;
    assert_eq!((forged.status, forged.code()), (401, "bad_key".to_owned()));
    let key = rig.state.api_keys().await.unwrap();
    for key in key {
        rig.state.revoke_api_key(&key.id, "test", NOW).await.unwrap();
    }
    let revoked = rig.send_raw(with(&token), Method::GET, "/api/v1/alarms", None).await;
    assert_eq!(revoked.status, 401);
}

// Health is for everybody; metrics are for this machine itself and for staff, also through a proxy; both carry the headers
// that keep browsers safe.
#[tokio::test]
async fn metrics_are_for_this_machine_and_for_staff() {
    let rig = Rig::start().await;
    let ask = async |path: &str, given: &[(&'static str, &str)]| {
        let mut headers = HeaderMap::new();
        for (name, value) in given {
            headers.insert(*name, value.parse().unwrap());
        }
        let answer = rig.send_raw(headers, Method::GET, path, None).await;
        assert_eq!(answer.headers["x-content-type-options"], "nosniff", "{path}");
        answer.status
    };
    let outside = ("x-forwarded-for", "203.0.113.9");
    assert_eq!(ask("/healthz", &[outside]).await, 200);
    assert_eq!(ask("/metrics", &[]).await, 200);
    assert_eq!(ask("/metrics", &[outside]).await, 401);
    assert_eq!(ask("/metrics", &[("x-forwarded-proto", "https")]).await, 401);
    for (role, site, status) in [(Role::Auditor, None, 200), (Role::Plant, Some("a"), 403)] {
        let bearer = format!("Bearer {}", api_key(&rig, role, site).await);
        assert_eq!(ask("/metrics", &[outside, ("authorization", &bearer)]).await, status);
    }
}
