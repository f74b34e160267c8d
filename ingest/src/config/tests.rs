//! The example is complete and right; every problem of a bad file is said at once, with its line.

use std::path::Path;
use std::time::Duration;

use crate::store::sink::SinkKind;

use super::{Config, StoreConfig};

fn parse(text: &str) -> Result<Config, Vec<String>> {
    let parsed = Config::parse(text, Path::new("/etc/davy"));
    parsed.map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

#[test]
fn example_is_right_and_its_comments_are_the_defaults() {
    let example = include_str!("../../ingest.example.toml");
    let config = parse(example).unwrap();
    assert_eq!(config.state_dir, Path::new("/etc/davy/davy-data"));
    assert_eq!((config.broker.host.as_str(), config.broker.port), ("127.0.0.1", 1883));
    assert_eq!(config.store, StoreConfig::Embedded { retention_days: None });
    // Method: with the commented defaults switched on nothing changes.
    let defaults = [
        "shutdown_grace_ms",
        "bytes_max",
        "gateway_bytes_max",
        "hole_max_days",
        "quarantine_bytes_max",
        "client_id",
        "keep_alive_s",
        "kind",
        "listen",
        "behind_tls",
        "synthetic",
        "every_s",
    ];
    let on = example.lines().map(|line| {
        let key = line.strip_prefix("# ").and_then(|l| l.split_once(" = ")).map(|(key, _)| key);
        match key {
            Some(key) if defaults.contains(&key) => &line[2..],
            _ => line,
        }
    });
    assert_eq!(parse(&on.collect::<Vec<_>>().join("\n")).unwrap(), config);
}

#[test]
fn every_problem_is_said_at_once_with_its_line() {
    let text = "[ingest]\nstate_dir = 5\nshutdown_grace_ms = -1\n[broker]\nurl = \"tcp://x\"\npassword_file = \"p\"\n\
        colour = 1\n[store]\nkind = \"oracle\"\n[http]\nlisten = \"0.0.0.0:80\"\n";
    let problems = parse(text).unwrap_err();
    for (line, words) in [
        (2, "must be a text"),
        (3, "must be 0 to 600000"),
        (5, "must be mqtt://host"),
        (4, "password_file needs user"),
        (7, "is no known key"),
        (9, "must be \"embedded\""),
        (10, "without TLS"),
    ] {
        let start = format!("line {line}: ");
        let said = problems.iter().any(|p| p.starts_with(&start) && p.contains(words));
        assert!(said, "line {line} {words}: {problems:#?}");
    }
    assert_eq!(problems.len(), 7, "{problems:#?}");
}

#[test]
fn missing_sections_and_broken_toml_are_said() {
    let problems = parse("").unwrap_err();
    assert!(problems.iter().any(|p| p.contains("[ingest] is missing")), "{problems:?}");
    assert!(problems.iter().any(|p| p.contains("[broker] is missing")), "{problems:?}");
    assert!(!parse("[ingest\nstate_dir=").unwrap_err().is_empty());
}

#[test]
fn influx_and_tls_are_read() {
    let text = "[ingest]\nstate_dir = \"d\"\n[broker]\nurl = \"mqtts://b.example\"\nca_file = \"ca.pem\"\nuser = \"u\"\n\
        password_file = \"/run/p\"\nkeep_alive_s = 30\n[store]\nkind = \"influx\"\nurl = \"http://i:8086\"\norg = \"o\"\n\
        bucket = \"b\"\ntoken_file = \"t\"\n[http]\nlisten = \"0.0.0.0:80\"\nbehind_tls = true\n";
    let config = parse(text).unwrap();
    assert!(config.broker.tls && config.broker.port == 8883);
    assert_eq!(config.broker.keep_alive, Duration::from_secs(30));
    assert_eq!(config.broker.password_file.as_deref(), Some(Path::new("/run/p")));
    let StoreConfig::Influx { token_file, .. } = config.store else { panic!("influx") };
    assert_eq!(token_file, Path::new("/etc/davy/t"));
}

#[test]
fn other_databases_are_read_with_what_each_needs() {
    let text = |store: &str| {
        format!("[ingest]\nstate_dir = \"d\"\n[broker]\nurl = \"mqtt://b\"\n[store]\n{store}")
    };
    let read = |store: &str| Config::parse(&text(store), Path::new("/etc")).map(|c| c.store);
    let store = read("kind = \"victoriametrics\"\nurl = \"http://v:8428\"\nretention_days = 400\n");
    let Ok(StoreConfig::Sink { kind, database, retention_days, login, .. }) = store else {
        panic!()
    };
    assert_eq!(
        (kind, database.as_str(), retention_days, login),
        (SinkKind::Victoria, "", Some(400), None)
    );
    let one = "kind = \"influxdb1\"\nurl = \"http://i:8086\"\n";
    let more = "database = \"davy\"\nuser = \"u\"\npassword_file = \"p\"\ncreate_database = true\n";
    let Ok(StoreConfig::Sink { kind, login, create_database, .. }) = read(&format!("{one}{more}"))
    else {
        panic!()
    };
    assert_eq!((kind, login), (SinkKind::Influx1, Some(("u".to_owned(), "/etc/p".into()))));
    assert!(create_database);
    let says = |store: &str, words: &str| {
        let problems = read(store).unwrap_err();
        assert!(problems.iter().any(|p| p.to_string().contains(words)), "{problems:?}");
    };
    says(one, "database");
    says(&format!("{one}database = \"d\"\nuser = \"u\"\n"), "belong together");
    says("kind = \"victoriametrics\"\nurl = \"u\"\ncreate_bucket = true\n", "create_bucket");
    says("kind = \"influxdb3\"\n", "victoriametrics");
}
