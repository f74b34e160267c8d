//! `davy-ingest check` against real databases: what it says, that it changes nothing and shows no secret.

use std::path::Path;

use ingest::config::Config;
use ingest::run;

use crate::influxd::{Influxd, ORG, TOKEN};

/// What the command prints for a `[store]` table, and whether it is content.
fn check(folder: &Path, store: &str) -> (bool, String) {
    let text = format!(
        "[ingest]\nstate_dir = \"state\"\n[broker]\nurl = \"mqtt://127.0.0.1:1883\"\n[store]\n{store}\n"
    );
    let config = Config::parse(&text, folder).unwrap();
    let mut out = Vec::new();
    let is_good = run::check(&config, &mut out).is_ok();
    (is_good, String::from_utf8(out).unwrap())
}

#[test]
fn the_command_says_what_the_database_says() {
    let mut influxd = Influxd::start();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("good"), TOKEN).unwrap();
    std::fs::write(folder.path().join("bad"), "a-token-of-somebody-else").unwrap();
    let url = influxd.0.url();
    let store = |token: &str, more: &str| {
        format!(
            "kind = \"influx\"\nurl = {url:?}\norg = {ORG:?}\nbucket = \"checked\"\ntoken_file = {token:?}\n{more}"
        )
    };
    let check = |store: &str| {
        let (is_good, said) = check(folder.path(), store);
        assert!(!said.contains(TOKEN) && !said.contains("somebody"), "{said}");
        (is_good, said)
    };
    let (is_good, said) = check(&store("good", ""));
    assert!(
        !is_good && said.contains("influx bucket create --org \"davy\" --name \"checked\""),
        "{said}"
    );
    for _ in 0..2 {
        let (is_good, said) = check(&store("good", "create_bucket = true"));
        assert!(
            is_good && said.contains("\"checked_1h\" is missing and will be created"),
            "{said}"
        );
    }
    let (is_good, said) = check(&store("bad", "create_bucket = true"));
    assert!(!is_good && said.contains("influx auth create"), "{said}");
    assert!(!folder.path().join("state").exists(), "it made a folder");
    influxd.0.stop();
    let (is_good, said) = check(&store("good", ""));
    assert!(is_good && said.contains("starts without it"), "{said}");
}
