//! Nothing secret in any answer or log line, whatever is asked.

use reqwest011::Method;
use serde_json::json;

use crate::rig::{NOW, PASSWORD, Rig, logged};

// Every address is read by somebody who may read it, with everything logged: no password, token, key or hash shows.
#[tokio::test]
async fn no_secret_in_any_answer_or_log_line() {
    let rig = Rig::start().await;
    let root = rig.sign_in("root").await;
    let added = rig.post(&root, "/api/v1/gateways", json!({ "name": "gw-a", "site": "a" })).await;
    let gateway_key = added.json()["key"].as_str().unwrap().to_owned();
    let key = rig.post(&root, "/api/v1/keys", json!({ "name": "p", "role": "auditor" })).await;
    let api_key = key.json()["key"].as_str().unwrap().to_owned();
    let duty = rig.sign_in("duty").await;
    let audit = rig.sign_in("audit").await;
    let alarm = rig.raise("a", NOW).await.occurrence.id;
    rig.post("", "/api/v1/session", json!({ "name": "duty", "password": "mistyped secret" })).await;
    let document = serde_json::to_value(ingest::api::openapi()).unwrap();
    let mut read = String::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        if operations.get("get").is_none() || path.ends_with("/stream") {
            continue;
        }
        let path = path.replace("{id}", &alarm);
        for cookie in [&root, &duty, &audit] {
            let query = "?site=a&device=incomer&quantity=p_total&from=0&to=1000&state=all";
            read += &rig.get(cookie, &format!("{path}{query}")).await.text;
            read += &rig.get(cookie, &path).await.text;
        }
    }
    let closed = rig.send(&duty, Method::DELETE, "/api/v1/session", None).await;
    assert_eq!(closed.status, 204);
    let logged = logged();
    assert!(logged.contains("request_id"), "something was logged");
    let token = |cookie: &str| cookie.split_once('=').unwrap().1.to_owned();
    let secrets = [
        PASSWORD.to_owned(),
        "mistyped secret".to_owned(),
        "$argon2".to_owned(),
        token(&root),
        token(&duty),
        gateway_key,
        api_key,
        rig.setup.reveal().to_owned(),
    ];
    for secret in secrets {
        assert!(!read.contains(&secret), "an answer shows {secret}");
        assert!(!logged.contains(&secret), "a log line shows {secret}");
    }
}
