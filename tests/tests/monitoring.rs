//! What is shipped for Prometheus and Grafana fits what the programs say: every metric that a dashboard or an alert rule
//! names is on the page of a running centre or gateway, and every alert has a test.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tests::harness::davy::Store;
use tests::harness::works::{Played, Works};
use tests::recordings::TRANSFORMER;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Names of our metrics, and of the process, in a text.
fn names_in(text: &str) -> BTreeSet<String> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = text.split(|c| !is_name(c));
    let begins = ["davy_ingest_", "davy_gateway_", "process_"];
    words.filter(|word| begins.iter().any(|b| word.starts_with(b))).map(str::to_owned).collect()
}

/// The texts that name metrics: expressions of dashboards and of rules.
fn texts() -> Vec<(String, String)> {
    let mut texts = Vec::new();
    for folder in ["dashboards/grafana", "deploy/prometheus"] {
        for entry in std::fs::read_dir(repository().join(folder)).expect("the folder") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            texts.push((name, std::fs::read_to_string(&path).expect("a text")));
        }
    }
    texts
}

// Goal: no panel and no rule waits for a metric that does not exist. Method: a running centre with a gateway.
#[tokio::test(flavor = "multi_thread")]
async fn every_metric_that_is_named_exists() {
    let recording = TRANSFORMER.read(0, 50).expect("a recording");
    let played = vec![Played { id: "grid-1", role: "incomer", recording }];
    let works = Works::start(&Store::Embedded, played).await.expect("the works");
    works.until_gateway("an ack", |value| value("davy_gateway_acks_total") > 0.0).await;
    let centre = works.centre.metrics().await.expect("metrics");
    for name in ["process_start_time_seconds", "process_resident_memory_bytes", "process_open_fds"]
    {
        assert!(centre[name] > 0.0, "{name}");
    }
    let mut known = BTreeSet::new();
    for page in [works.centre.metrics().await, works.gateway.metrics().await] {
        let page = page.expect("metrics");
        known.extend(page.keys().map(|k| k.split('{').next().unwrap_or_default().to_owned()));
    }
    let mut wanted = 0;
    for (file, text) in texts() {
        for name in names_in(&text) {
            assert!(
                known.contains(&name),
                "{file} names {name}, which is on neither page: {known:#?}"
            );
            wanted += 1;
        }
    }
    assert!(wanted > 60, "only {wanted} names were found");
}

// Goal: dashboards are whole: ids are unique, panels have words and queries, variables that are used exist.
#[test]
fn dashboards_are_whole() {
    let mut uids = BTreeSet::new();
    for (file, text) in texts().into_iter().filter(|(file, _)| file.ends_with(".json")) {
        let board: Value = serde_json::from_str(&text).expect("JSON");
        assert!(uids.insert(board["uid"].to_string()), "{file}");
        let mut ids = BTreeSet::new();
        for panel in board["panels"].as_array().expect("panels") {
            assert!(ids.insert(panel["id"].as_i64()), "{file}: {panel}");
            assert!(!panel["title"].as_str().unwrap_or_default().is_empty(), "{file}: {panel}");
            let targets = panel["targets"].as_array().expect("targets");
            let asks = |t: &Value| t["expr"].is_string() || t["query"].is_string();
            assert!(!targets.is_empty() && targets.iter().all(asks), "{file}: {panel}");
        }
        let variables: Vec<_> = board["templating"]["list"]
            .as_array()
            .expect("variables")
            .iter()
            .map(|v| &v["name"])
            .collect();
        for name in ["datasource", "instance", "site", "device", "bucket"] {
            let is_used =
                text.contains(&format!("${{{name}}}")) || text.contains(&format!("${name}"));
            assert!(!is_used || variables.contains(&&Value::from(name)), "{file} uses {name}");
        }
    }
    assert_eq!(uids.len(), 3);
}

// Goal: every alert is fired by a test of its own, and named in the one where all is well.
#[test]
fn every_alert_has_its_tests() {
    let read = |name: &str| {
        std::fs::read_to_string(repository().join("deploy/prometheus").join(name)).expect("a file")
    };
    let (rules, tests) = (read("davy.rules.yml"), read("davy.rules.test.yml"));
    let alerts: Vec<_> =
        rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(alerts.len() >= 20);
    for alert in alerts {
        assert!(tests.contains(&format!("- name: {alert}\n")), "{alert} is never fired");
        let silent = format!("alertname: {alert}, exp_alerts: []");
        assert!(tests.contains(&silent), "{alert} is not silent while all is well");
    }
}
