//! House rules that a machine can hold: which crate may know which, and what may not stand in the sources.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const OURS: [&str; 7] = ["wire", "spool", "rules", "gateway", "ingest", "tests", "sim"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests lies in the repository").to_owned()
}

/// The folder of a crate.
fn folder(of: &str) -> PathBuf {
    root().join(if of == "sim" { "tests/sim" } else { of })
}

fn allowed(of: &str) -> &'static [&'static str] {
    match of {
        "gateway" | "ingest" => &["wire", "spool", "rules"],
        "tests" | "sim" => &["wire", "spool", "rules", "gateway", "ingest"],
        _ => &[],
    }
}

#[test]
fn crates_know_only_whom_the_design_allows() {
    // Goal: the data flows one way. Method: read every manifest, in all its dependency tables.
    for name in OURS {
        let text = std::fs::read_to_string(folder(name).join("Cargo.toml")).expect("a manifest");
        let manifest: toml::Table = toml::from_str(&text).expect("valid TOML");
        let known: BTreeSet<String> = ["dependencies", "dev-dependencies", "build-dependencies"]
            .iter()
            .filter_map(|table| manifest.get(*table)?.as_table())
            .flat_map(|table| table.keys().cloned())
            .filter(|dependency| OURS.contains(&dependency.as_str()))
            .collect();
        let extra: Vec<_> = known.iter().filter(|k| !allowed(name).contains(&k.as_str())).collect();
        assert!(extra.is_empty(), "{name} must not depend on {extra:?}: design, parts and edges");
    }
}

#[test]
fn only_one_place_of_a_crate_names_its_broker_client() {
    // Goal: the library can be exchanged. Method: look for its name in the sources: one file of the gateway, one folder of the
    // centre with the file that leads it.
    for (krate, place) in [("gateway", "src/uplink/mqtt"), ("ingest", "src/receive/mqtt")] {
        let (file, folder) = (format!("{place}.rs"), format!("{place}/"));
        let stray: Vec<String> = sources(&root().join(krate).join("src"))
            .into_iter()
            .filter(|path| {
                std::fs::read_to_string(path).is_ok_and(|text| text.contains("rumqttc::"))
            })
            .filter_map(|path| {
                Some(path.strip_prefix(root().join(krate)).ok()?.to_str()?.to_owned())
            })
            .filter(|path| *path != file && !path.starts_with(&folder))
            .collect();
        assert!(stray.is_empty(), "{krate}: rumqttc is named in {stray:?}");
    }
}

#[test]
fn every_source_file_says_what_it_is_for() {
    // Goal: a newcomer reads the first line and knows. Method: the first line is a module comment.
    let silent: Vec<PathBuf> = OURS
        .iter()
        .flat_map(|krate| sources(&folder(krate).join("src")))
        .filter(|path| {
            let text = std::fs::read_to_string(path).unwrap_or_default();
            !text.trim_start().starts_with("//!")
        })
        .collect();
    assert!(silent.is_empty(), "no `//!` at the top of {silent:?}");
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = std::fs::read_dir(folder) else { return found };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
    found
}
