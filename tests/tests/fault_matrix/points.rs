//! SIGKILL at each fail point, under load; and that no default build has any.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use tests::faults::fault::{Fault, is_in};
use tests::faults::points::{Of, POINTS, Point};
use tests::faults::world::Needs;
use tests::harness::process::{failpoint_binary, workspace_binary};

use super::{EMBEDDED, INFLUX, keeps_every_promise};

/// Points of one round: the account is held after each round.
const PER_ROUND: usize = 7;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn rounds(points: impl Iterator<Item = Point>) -> Vec<Vec<Fault>> {
    let all: Vec<Fault> = points.map(|p| Fault::Point(p, 1)).collect();
    all.chunks(PER_ROUND).map(<[Fault]>::to_vec).collect()
}

#[test]
fn sources_page_and_list_name_the_same_points() {
    // Goal: no point is forgotten or only written down. Method: the macro's uses, the page's table, the list.
    let mut in_sources = Vec::new();
    for krate in ["spool", "ingest", "gateway"] {
        points_in(&root().join(krate).join("src"), &mut in_sources);
    }
    let page = std::fs::read_to_string(root().join("docs/FAILPOINTS.md")).expect("the page");
    let in_page = page.lines().filter_map(|l| l.strip_prefix("| `")?.split('`').next());
    let in_page: BTreeSet<String> = in_page.map(str::to_owned).collect();
    let listed: BTreeSet<String> = POINTS.iter().map(|p| p.name.to_owned()).collect();
    let unique: BTreeSet<String> = in_sources.iter().cloned().collect();
    assert_eq!(unique.len(), in_sources.len(), "a name stands at one place only: {in_sources:?}");
    assert_eq!(unique, in_page, "sources against docs/FAILPOINTS.md");
    assert_eq!(unique, listed, "sources against tests/src/faults/points.rs");
    assert!(listed.len() >= 50, "{} points", listed.len());
}

fn points_in(folder: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            points_in(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            let text = std::fs::read_to_string(&path).expect("a source");
            let uses = text.split("fail_point!(\"").skip(1);
            found.extend(uses.filter_map(|rest| rest.split('"').next().map(str::to_owned)));
        }
    }
}

#[test]
fn a_default_build_holds_no_fail_point() {
    // Goal: nobody can make a program in service die by a variable. Method: the names in the binaries, which the builds
    // with fail points do hold.
    for name in ["davy-ingest", "davy-gateway"] {
        // As text, because the library's own search is fast also in an unoptimised test.
        let text = |path: PathBuf| {
            String::from_utf8_lossy(&std::fs::read(path).expect("readable")).into_owned()
        };
        let usual = text(workspace_binary(name).expect("built"));
        let with = text(failpoint_binary(name).expect("built"));
        let holds = |text: &str, words: &str| text.contains(words);
        for words in ["DAVY_FAIL", "DAVY_SEAL_SEGMENTS"] {
            assert!(!holds(&usual, words), "{name} holds {words}");
        }
        assert!(holds(&with, "DAVY_FAIL_FILE"), "{name} with fail points lacks them");
        let own = |p: &&Point| (p.of == Of::Gateway) == (name == "davy-gateway");
        for point in POINTS.iter().filter(own) {
            assert!(!holds(&usual, point.name), "{name} holds {}", point.name);
            assert!(holds(&with, point.name), "{name} with fail points lacks {}", point.name);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn the_centre_with_the_embedded_store_killed_at_each_point() {
    let own = POINTS.iter().copied().filter(|p| p.of != Of::Gateway && is_in(p, EMBEDDED));
    let report = keeps_every_promise(101, EMBEDDED, rounds(own)).await;
    assert!(report.names().count() >= 60, "{:?}", report.names().collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn the_centre_with_influxdb_killed_on_its_way_there() {
    let own = POINTS.iter().copied();
    let on_the_way = |p: &Point| p.of == Of::Influx || p.name.starts_with("store.");
    keeps_every_promise(102, INFLUX, rounds(own.filter(on_the_way))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn the_gateway_killed_at_each_point() {
    let needs = Needs { disks: true, ..EMBEDDED };
    let own = POINTS.iter().copied().filter(|p| p.of == Of::Gateway);
    keeps_every_promise(103, needs, rounds(own)).await;
}
