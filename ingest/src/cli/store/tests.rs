//! The commands as typed, on a folder that another store has open.

use std::sync::Arc;

use clap::Parser;

use super::*;
use crate::store::{Position, StoreBatch};

#[derive(Debug, Parser)]
struct Typed {
    #[command(subcommand)]
    order: StoreOrder,
}

fn config(folder: &Path) -> Config {
    let text = "[ingest]\nstate_dir = \"data\"\n[broker]\nurl = \"mqtt://127.0.0.1\"\n";
    std::fs::write(folder.join("ingest.toml"), text).unwrap();
    Config::load(&folder.join("ingest.toml")).unwrap()
}

fn call(config: &Config, typed: &[&str]) -> (Result<(), StoreCliError>, String, String) {
    let words = std::iter::once("store").chain(typed.iter().copied());
    let order = Typed::try_parse_from(words).unwrap().order;
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let done = run(order, config, &mut out, &mut err);
    (done, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
}

#[test]
fn commands_run_beside_an_open_store() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path());
    let store = Paths::of(&config).unwrap().store;
    let options = EmbeddedOptions::new(&store);
    let (mut open, _) = EmbeddedStore::open(options, Arc::new(LogRefusals)).unwrap();
    let up_to = Position { log_id: 1, position: 9 };
    open.write(&StoreBatch { up_to, blocks: Vec::new() }).unwrap();
    let (done, out, _) = call(&config, &["check"]);
    assert!(
        done.is_ok() && out.contains("position 9") && out.contains("as it was written"),
        "{out}"
    );
    let to = folder.path().join("copy");
    let (done, out, _) = call(&config, &["backup", to.to_str().unwrap()]);
    assert!(done.is_ok() && out.contains("up to position 9"), "{out}");
    let (done, _, _) = call(&config, &["backup", to.to_str().unwrap()]);
    assert!(done.unwrap_err().to_string().contains("exists already"));
    let (done, out, err) = call(&config, &["export", "-", "--from", "2026-11-01"]);
    assert!(done.is_ok() && out.starts_with("site,device,quantity,unit,t_ms,time,value"), "{out}");
    assert!(err.contains("0 samples of 0 days"), "{err}");
    let file = folder.path().join("x.parquet");
    let (done, _, _) = call(&config, &["export", file.to_str().unwrap()]);
    assert!(done.is_ok());
    assert!(std::fs::read(&file).unwrap().starts_with(b"PAR1"));
    assert!(!folder.path().join("x.parquet.partial").exists());
    // What writes says that the folder is in use.
    for typed in [&["migrate"][..], &["migrate", "--from", to.to_str().unwrap()]] {
        let (done, _, _) = call(&config, typed);
        assert!(done.unwrap_err().to_string().contains("another davy-ingest"));
    }
    drop(open);
    let (done, out, _) = call(&config, &["migrate", "--from", to.to_str().unwrap()]);
    assert!(done.is_ok() && out.contains("0 samples of 0 days"), "{out}");
}

#[test]
fn damage_is_listed_and_ends_with_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path());
    let store = Paths::of(&config).unwrap().store;
    std::fs::write(store.join("2026-11-23.day"), b"this is no database, it is a sentence").unwrap();
    let (done, out, _) = call(&config, &["check"]);
    assert!(matches!(done, Err(StoreCliError::Damaged(1))));
    assert!(out.contains("2026-11-23.day") && out.contains("from a backup"), "{out}");
}

#[test]
fn an_instant_is_a_day_a_time_or_ms() {
    for (text, ms) in [
        ("2023-11-15", 1_700_006_400_000),
        ("2023-11-15T08:00:00+08:00", 1_700_006_400_000),
        ("1700006400000", 1_700_006_400_000),
    ] {
        assert_eq!(instant(text), Ok(ms));
    }
    assert!(instant("yesterday").unwrap_err().contains("2026-11-23"));
}
