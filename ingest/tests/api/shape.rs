//! Errors in one shape, headers on everything, history, and a handler that panics.

use reqwest011::Method;
use serde_json::json;

use crate::rig::{NOW, Options, Rig};

// Every refusal, ours or the framework's, is JSON with a code, a sentence and the request's id.
#[tokio::test]
async fn every_refusal_has_one_shape() {
    let rig = Rig::start().await;
    let cookie = rig.sign_in("root").await;
    let large = json!({ "name": "x".repeat(70_000), "role": "auditor" });
    let cases = [
        (Method::GET, "/api/v1/nothing", None, 404, "not_found"),
        (Method::GET, "/api/nothing", None, 404, "not_found"),
        (Method::PUT, "/api/v1/session", Some(json!({})), 405, "method_not_allowed"),
        (Method::POST, "/api/v1/keys", Some(large), 413, "too_large"),
        (Method::POST, "/api/v1/keys", Some(json!({ "role": "king" })), 400, "invalid"),
        (Method::GET, "/api/v1/values", None, 400, "invalid"),
        (
            Method::GET,
            "/api/v1/series?site=a&device=d&quantity=q&from=x&to=1",
            None,
            400,
            "invalid",
        ),
        (Method::GET, "/api/v1/alarms?state=odd", None, 400, "invalid"),
    ];
    for (method, path, body, status, code) in cases {
        let answer = rig.send(&cookie, method, path, body).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (status, code),
            "{path}: {}",
            answer.text
        );
        assert_eq!(answer.headers["x-request-id"], answer.json()["request_id"].as_str().unwrap());
        assert!(!answer.json()["message"].as_str().unwrap().is_empty());
    }
}

// A handler that panics answers 500 without its words, and the service goes on.
#[tokio::test]
async fn panic_is_one_answer_and_not_the_end() {
    let rig = Rig::with(Options { system_panics: true, ..Options::default() }).await;
    let cookie = rig.sign_in("duty").await;
    let answer = rig.get(&cookie, "/api/v1/system").await;
    assert_eq!((answer.status, answer.code()), (500, "internal".to_owned()));
    assert!(!answer.text.contains("panics"), "{}", answer.text);
    assert_eq!(rig.get(&cookie, "/api/v1/session").await.status, 200);
}

// Every answer carries the headers that keep browsers safe; the API's are never cached.
#[tokio::test]
async fn safe_headers_are_on_every_answer() {
    let rig = Rig::start().await;
    for path in ["/", "/api/v1/session", "/assets/none.js"] {
        let answer = rig.get("", path).await;
        let policy = answer.headers["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'self'") && !policy.contains("unsafe"), "{path}");
        assert_eq!(answer.headers["x-content-type-options"], "nosniff");
        assert_eq!(answer.headers["x-frame-options"], "DENY");
    }
    assert_eq!(rig.get("", "/api/v1/session").await.headers["cache-control"], "no-store");
    assert_eq!(rig.get("", "/").await.headers["cache-control"], "no-store");
}

// Values hold what came and what was expected but never did; history comes in columns, its failure is said.
#[tokio::test]
async fn values_and_history_say_what_is_missing() {
    let rig = Rig::start().await;
    let cookie = rig.sign_in("duty").await;
    let values = rig.get(&cookie, "/api/v1/values?site=a").await.json();
    assert_eq!(values["values"][0]["value"], 12.5);
    assert_eq!(
        (&values["values"][1]["quantity"], &values["values"][1]["quality"]),
        (&json!("u_ab"), &json!("unknown"))
    );
    let ask = |device: &str, more: &str| {
        format!("/api/v1/series?site=a&device={device}&quantity=p_total&from=0&to=2000{more}")
    };
    let series = rig.get(&cookie, &ask("incomer", "&px=2")).await.json();
    assert_eq!(
        series,
        json!({ "unit": "kW", "step_ms": 1000, "t": [0, 1000], "min": [1.0, null],
        "max": [2.0, null], "mean": [1.5, null], "last": [2.0, null], "q": [0, null] })
    );
    let broken = rig.get(&cookie, &ask("other", "")).await;
    assert_eq!((broken.status, broken.code()), (503, "history_unavailable".to_owned()));
    assert!(!broken.text.contains("disk gone"));
    for bad in ["&px=0", "&px=99999", "&agg=median"] {
        assert_eq!(rig.get(&cookie, &ask("incomer", bad)).await.status, 400, "{bad}");
    }
}

// Accounts and gateways are managed by the administrator; a new gateway's key works for the receiver at once.
#[tokio::test]
async fn administrator_adds_users_and_gateways() {
    let rig = Rig::start().await;
    let root = rig.sign_in("root").await;
    let user = json!({ "name": "zhao", "display": "赵", "role": "plant", "site": "a", "password": crate::rig::PASSWORD });
    assert_eq!(rig.post(&root, "/api/v1/users", user.clone()).await.status, 201);
    assert_eq!(rig.post(&root, "/api/v1/users", user).await.status, 409);
    let homeless = json!({ "name": "qian", "display": "", "role": "plant", "site": "nowhere", "password": crate::rig::PASSWORD });
    assert_eq!(rig.post(&root, "/api/v1/users", homeless).await.status, 400);
    let zhao = rig.sign_in("zhao").await;
    assert_eq!(rig.get(&zhao, "/api/v1/sites").await.json()["sites"].as_array().unwrap().len(), 1);
    let gone = rig.send(&root, Method::DELETE, "/api/v1/users/zhao", None).await;
    assert_eq!(gone.status, 204);
    assert_eq!(rig.get(&zhao, "/api/v1/sites").await.status, 401);
    let gateway = json!({ "name": "gw-new", "site": "a" });
    let added = rig.post(&root, "/api/v1/gateways", gateway.clone()).await;
    assert_eq!(added.status, 201, "{}", added.text);
    let key = added.json()["key"].as_str().unwrap().to_owned();
    assert!(added.json()["snippet"].as_str().unwrap().contains(&key));
    assert_eq!(rig.post(&root, "/api/v1/gateways", gateway).await.status, 409);
    let list = rig.get(&root, "/api/v1/gateways").await;
    assert!(list.text.contains("gw-new") && !list.text.contains(&key));
    let audit = rig.sign_in("audit").await;
    let trail = rig.get(&audit, "/api/v1/audit?limit=500").await;
    assert!(trail.text.contains("gateway.add") && trail.text.contains("user.disable"));
    let check = rig.get(&audit, "/api/v1/audit/check").await.json();
    assert_eq!(check["whole"], true);
    rig.raise("a", NOW).await;
}
