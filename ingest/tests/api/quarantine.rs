//! What was set aside: who may look, who may decide, what is refused and how it is said.

use ingest::account::Role;
use ingest::receive::Quarantined;
use reqwest011::Method;
use reqwest011::header::{AUTHORIZATION, HeaderMap};
use serde_json::json;
use wire::block::{Body, Clock, ClockState};
use wire::{Block, Boot, Epoch, GatewayName, Readings};

use crate::rig::{NOW, Rig, api_key};

/// A block that can be read, and one that cannot.
fn set_aside(rig: &Rig) {
    let gateway = GatewayName::new("gw-a").unwrap();
    let block = Block {
        gateway: gateway.clone(),
        epoch: Epoch(7),
        seq: 2,
        link: None,
        clock: Clock {
            state: ClockState::Synced,
            closed_at: NOW,
            boot: Boot(1),
            ..Clock::default()
        },
        fact_revision: 0,
        list: None,
        body: Body::Readings(Readings::default()),
    };
    let aside = |seq, code, bytes: Vec<u8>| Quarantined {
        gateway: gateway.clone(),
        epoch: 7,
        seq,
        code,
        detail: "in particular".to_owned(),
        rows: Vec::new(),
        bytes,
        at: NOW,
    };
    let blocks = [aside(1, "protobuf", vec![0xff; 3]), aside(2, "key_reuse", block.encode())];
    rig.quarantine.put(&blocks).unwrap();
}

// The list takes its filters, the detail says in both languages what it is, what lies in it and what can be done.
#[tokio::test]
async fn entries_are_listed_and_explained() {
    let rig = Rig::start().await;
    set_aside(&rig);
    let cookie = rig.sign_in("duty").await;
    let ids = async |query: &str| -> Vec<i64> {
        let list = rig.get(&cookie, &format!("/api/v1/quarantine{query}")).await.json();
        let rows = list["rows"].as_array().unwrap().clone();
        rows.iter().map(|row| row["id"].as_i64().unwrap()).collect()
    };
    assert_eq!(ids("").await, [2, 1]);
    assert_eq!(ids("?code=protobuf&gateway=gw-a&state=open").await, [1]);
    assert_eq!(ids("?state=replayed").await, [0_i64; 0]);
    assert_eq!(ids(&format!("?from={}", NOW + 1)).await, [0_i64; 0]);
    assert_eq!(ids("?before=2&limit=1").await, [1]);
    assert_eq!(rig.get(&cookie, "/api/v1/quarantine?state=lost").await.status, 400);
    assert_eq!(rig.get(&cookie, "/api/v1/quarantine/9").await.status, 404);
    let one = rig.get(&cookie, "/api/v1/quarantine/1").await.json();
    assert_eq!((&one["row"]["seq"], &one["content"]["kind"]), (&json!(1), &json!("unreadable")));
    assert_eq!(one["can"]["refused_code"], json!("unreadable"));
    for text in [&one["row"]["what"], &one["explained"]["mend"], &one["can"]["refused"]] {
        assert!(text["zh"].as_str().is_some_and(|zh| zh.contains("数据")), "{text}");
        assert!(text["en"].as_str().is_some_and(str::is_ascii), "{text}");
    }
    let two = rig.get(&cookie, "/api/v1/quarantine/2").await.json();
    assert_eq!(
        two["can"]["replay"],
        json!(["officer"]),
        "an office believes, not an administrator"
    );
    assert_eq!(
        (&two["content"]["closed_at"], &two["can"]["shift"]),
        (&json!(NOW), &json!("optional"))
    );
}

// Whoever looks, whoever decides, whoever may have the bytes.
#[tokio::test]
async fn each_role_may_do_its_own() {
    let rig = Rig::start().await;
    set_aside(&rig);
    let may = [
        ("root", [200, 200, 202]),
        ("duty", [200, 403, 403]),
        ("officer", [200, 200, 202]),
        ("audit", [200, 200, 403]),
        ("grid", [403, 403, 403]),
        ("plant-a", [403, 403, 403]),
    ];
    let act = json!({ "ids": [9], "reason": "nobody needs it" });
    for (user, [list, bytes, discard]) in may {
        let cookie = rig.sign_in(user).await;
        let got = [
            rig.get(&cookie, "/api/v1/quarantine").await.status,
            rig.get(&cookie, "/api/v1/quarantine/2/bytes").await.status,
            rig.post(&cookie, "/api/v1/quarantine/discard", act.clone()).await.status,
        ];
        assert_eq!(got, [list, bytes, discard], "{user}");
    }
    // A program decides nothing, whatever its role.
    let key = api_key(&rig, Role::Officer, None).await;
    let mut headers = HeaderMap::new();
    headers.insert(AUTHORIZATION, format!("Bearer {key}").parse().unwrap());
    let path = "/api/v1/quarantine/discard";
    assert_eq!(rig.send_raw(headers, Method::POST, path, Some(act)).await.status, 403);
}

// An act is refused entry by entry, carried out once, and in the audit journal with its reason.
#[tokio::test]
async fn an_act_is_carried_out_once_and_audited() {
    let rig = Rig::start().await;
    set_aside(&rig);
    let (officer, root) = (rig.sign_in("officer").await, rig.sign_in("root").await);
    let post = async |cookie: &str, what: &str, body| {
        rig.post(cookie, &format!("/api/v1/quarantine/{what}"), body).await
    };
    for bad in [json!({ "ids": [1], "reason": " " }), json!({ "ids": [], "reason": "why" })] {
        assert_eq!(post(&officer, "discard", bad).await.code(), "invalid");
    }
    let both = json!({ "ids": [1, 2], "reason": "the makers have it" });
    let done = post(&root, "discard", both.clone()).await.json()["outcomes"].clone();
    assert_eq!((&done[0]["state"], &done[0]["refused"]), (&json!("discarded"), &json!(null)));
    assert_eq!(done[1]["refused"], json!("role"), "a plant's readings are not the administrator's");
    assert!(done[1]["text"]["zh"].as_str().is_some_and(|zh| zh.contains("无权")));
    let done = post(&officer, "discard", both.clone()).await.json()["outcomes"].clone();
    assert_eq!([&done[0]["refused"], &done[1]["refused"]], [&json!("not_open"), &json!(null)]);
    let empty = json!({ "ids": [2], "reason": "again" });
    let done = post(&officer, "replay", empty).await.json()["outcomes"].clone();
    assert_eq!(done[0]["refused"], json!("not_open"));
    let row = rig.get(&officer, "/api/v1/quarantine/2").await.json()["row"].clone();
    assert_eq!((&row["state"], &row["done"]["by"]), (&json!("discarded"), &json!("officer")));
    let auditor = rig.sign_in("audit").await;
    let rows = rig.get(&auditor, "/api/v1/audit?limit=3").await.json()["rows"].clone();
    // Above them stands the auditor's own sign-in.
    let acts = [1, 2].map(|n| (rows[n]["action"].clone(), rows[n]["actor"].clone()));
    let of = |who: &str| (json!("quarantine.discard"), json!(who));
    assert_eq!(acts, [of("officer"), of("root")], "{rows}");
    assert!(rows[1]["detail"].as_str().is_some_and(|text| text.contains("the makers have it")));
}
