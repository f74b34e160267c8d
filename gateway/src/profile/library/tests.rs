//! The embedded profiles and a folder of one's own.

use super::{EMBEDDED, Library};
use crate::config::problem::Problems;
use crate::profile::selftest;

#[test]
fn every_embedded_profile_loads_and_decodes_its_makers_examples() {
    // Goal: no profile ships that cannot be read or decodes wrongly. Method: load all, run the tests inside each.
    let mut problems = Problems::default();
    let library = Library::load(None, &mut problems);
    let problems: Vec<String> = problems.into_sorted().iter().map(ToString::to_string).collect();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert_eq!(library.iter().count(), EMBEDDED.len(), "ids are unique");
    for profile in library.iter() {
        let failures = selftest::run(profile);
        assert!(failures.is_empty(), "{failures:#?}");
    }
}

#[test]
fn a_folder_adds_profiles_and_wins() {
    let folder = tempfile::tempdir().expect("a folder");
    let changed = EMBEDDED[0].1.replace("version = \"1.0.0\"", "version = \"9.0.0\"");
    std::fs::write(folder.path().join("mine.toml"), changed).expect("written");
    std::fs::write(folder.path().join("bad.toml"), "[profile]\nid = 7\n").expect("written");
    let mut problems = Problems::default();
    let library = Library::load(Some(folder.path()), &mut problems);
    let mine = library.get("acrel-adl400").expect("there");
    assert_eq!(&*mine.version, "9.0.0");
    let listed = problems.into_sorted();
    assert!(listed.iter().all(|problem| problem.file.ends_with("bad.toml")), "{listed:?}");
    assert!(listed.len() > 3, "all of its problems at once: {listed:?}");
}
