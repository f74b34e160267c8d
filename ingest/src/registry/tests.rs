//! The registry: codes, seed files, provisioning, facts.

use std::path::Path;

use rules::FactBody;

use super::seed::Seed;
use super::*;
use crate::state::tests::open;
use crate::state::{Position, State};

const EXAMPLE: &str = include_str!("../../registry.example.toml");
const NOW: i64 = 1_772_000_000_000;

fn example() -> Seed {
    Seed::parse(EXAMPLE, Path::new(".")).unwrap()
}

fn problems(text: &str) -> Vec<String> {
    match Seed::parse(text, Path::new(".")) {
        Err(found) => found.iter().map(ToString::to_string).collect(),
        other => panic!("expected problems, got {other:?}"),
    }
}

// Codes of the standard and of domain §10 pass; each kind of fault is named.
#[test]
fn credit_codes_are_checked() {
    use uscc::{UsccError, check};
    for good in ["91350100M000100Y43", "91533401MA6N8A122Y", "91533400MA6K000142"] {
        assert_eq!(check(good), Ok(()), "{good}");
    }
    assert_eq!(check("91350100M000100Y44"), Err(UsccError::Check('3')));
    assert_eq!(check("91350100M000100Y53"), Err(UsccError::Organisation('4')));
    assert_eq!(check("9135010OM000100Y43"), Err(UsccError::Character('O')));
    assert_eq!(check("91350100M000100Y4"), Err(UsccError::Length(17)));
    assert_eq!(check("９1350100M000100Y43"), Err(UsccError::Character('９')));
}

// The county that became a city is taken under its old code; what is no code is refused.
#[test]
fn county_codes_follow_their_changes() {
    assert_eq!(county::in_force("533421"), Ok("533401"));
    assert_eq!(county::in_force("533422"), Ok("533422"));
    assert_eq!(county::name_zh("533423"), "维西傈僳族自治县");
    for bad in ["5334", "993401", "53340a", "530000", "五三三四"] {
        assert!(county::in_force(bad).is_err(), "{bad}");
    }
}

// The example that ships is whole: it parses, and its model carries what the rules need.
#[test]
fn example_seed_parses_and_makes_a_model() {
    let seed = example();
    let entry = SiteEntry {
        site: seed.sites[0].site.clone(),
        devices: seed.sites[0].devices.clone(),
        revision: 7,
    };
    let model = model::site_model(&entry);
    assert_eq!((model.utc_offset_min, model.revision), (480, 7));
    assert_eq!(model.ratings["P_ref"], 11_000.0);
    assert_eq!(model.device("incomer-1").unwrap().points.len(), 7);
    assert_eq!(model.pairs[0].protective, "dust-fan-1");
    assert_eq!(model.device("crusher-1").unwrap().name.en, "1号破碎机");
}

// Every problem is reported at once, each with its own line.
#[test]
fn all_problems_of_a_seed_are_told_with_their_lines() {
    let text = r#"
[[site]]
id = "a b"
name = "x"
uscc = "91350100M000100Y44"
county = "1"
sectors = ["tin"]
zone = "Mars/Base"
colour = "red"
[[site.device]]
id = "d"
role = "Dust Fan"
gateway = "g9"
ratings = { I_N = "5 V", P_run = "-1 kW", H = "high" }
points = [{ quantity = "p_total" }, { quantity = "power", period_ms = 1 }]
[[site.pair]]
kind = "dust"
production = "d"
protective = "nothing"
[[site.fact]]
id = "f"
kind = "calibration"
valid_from = "2026-03-01 08:00"
"#;
    let found = problems(text);
    let lines: Vec<usize> = found
        .iter()
        .map(|p| p["line ".len()..].split(':').next().unwrap().parse().unwrap())
        .collect();
    assert_eq!(lines, [2, 3, 5, 6, 7, 8, 9, 12, 14, 14, 14, 15, 15, 15, 19, 20, 23], "{found:#?}");
    assert!(
        found[6].contains("site[0].colour: is no known key; known here: account"),
        "{found:#?}"
    );
}

// Goal: a slip of the pen in an override is refused with what would be right: nobody is to believe in a limit that is not set.
#[test]
fn overrides_are_held_against_the_rules() {
    let said = |rest: &str| {
        let text = format!(
            "[[site]]\nid = \"s1\"\nname = \"示例\"\nuscc = \"91533401MA6N801A0Q\"\ncounty = \"533401\"\nzone = \"Asia/Shanghai\"\nsectors = [\"危化\"]\n\n\
             [[site.gateway]]\nname = \"g1\"\n\n[[site.device]]\nid = \"gas-1\"\nrole = \"gas_detector\"\ngateway = \"g1\"\n\
             points = [{{ quantity = \"gas_lel\", period_ms = 1000 }}]\n\n[[site.override]]\n{rest}\n"
        );
        let found = Seed::parse(&text, Path::new(".")).err().unwrap_or_default();
        found.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    let good = "rule = \"R21\"\nparameter = \"limit_1\"\nvalue = 20\nasset = \"gas-1\"";
    assert_eq!(said(good), "");
    let rule = said(&good.replace("R21", "R24"));
    assert!(rule.contains("\"R24\" is no rule; there is R24h, R24k, R24l"), "{rule}");
    let parameter = said(&good.replace("limit_1", "limit1"));
    assert!(parameter.contains("no parameter \"limit1\"; it has limit_1 (%LEL)"), "{parameter}");
    let value = said(&good.replace("20", "2000"));
    assert!(
        value.contains("2000 lies outside") && value.contains("limit_1 of rule R21"),
        "{value}"
    );
    let asset = said(&good.replace("gas-1", "gas-2"));
    assert!(asset.contains("\"gas-2\" is no device, group"), "{asset}");
}

// What is not TOML is a problem too, not a crash; names may occur once.
#[test]
fn broken_toml_and_twins_are_problems() {
    assert!(problems("[[site]\nid = 1")[0].starts_with("line 1"));
    let twice = format!("{EXAMPLE}\n{EXAMPLE}");
    let id = EXAMPLE.lines().position(|l| l.starts_with("id = \"xgll-fesi\"")).unwrap() + 1;
    let again = EXAMPLE.lines().count() + 1 + id;
    let said = format!("line {again}: site[1].id: site \"xgll-fesi\" occurs more than once");
    assert!(problems(&twice).contains(&said), "{:#?}", problems(&twice));
}

// A key file's content never shows in a problem.
#[test]
fn bad_key_file_is_named_but_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("k"), "not-a-key-5eba").unwrap();
    let text = EXAMPLE.replace("name = \"xgll-gw1\"", "name = \"xgll-gw1\"\nkey_file = \"k\"");
    let Err(found) = Seed::parse(&text, folder.path()) else { panic!("taken") };
    let said = found[0].to_string();
    assert!(said.contains("64 hex digits") && !said.contains("5eba"), "{said}");
}

// Goal: a site whose model would be too large is refused with its size, the bound and what to do; one at the bound is taken.
#[test]
fn sites_are_bounded() {
    let head = EXAMPLE.split_once("[[site.").unwrap().0;
    let device = |n: usize, points: &str| {
        format!("[[site.device]]\nid = \"d{n}\"\nrole = \"other\"\npoints = [{points}]\n")
    };
    let site = |count: usize, points: &str| {
        (0..count).fold(head.to_owned(), |text, n| text + &device(n, points))
    };
    let known = wire::quantity::QUANTITIES.iter().take(17);
    let points: Vec<_> =
        known.map(|q| format!("{{ quantity = \"{}\", period_ms = 1000 }}", q.name)).collect();
    let most = wire::limits::DEVICES_MAX;
    assert!(Seed::parse(&site(most, ""), Path::new(".")).is_ok());
    let said = problems(&site(most + 1, ""));
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("4097 devices") && said[0].contains("at most 4096"), "{said:?}");
    assert!(said[0].contains("several sites"), "{said:?}");
    let said = problems(&site(most, &points.join(", ")));
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("69632 points") && said[0].contains("at most 65536"), "{said:?}");
}

// Applying a file twice changes nothing the second time; a change makes one new model fact and keeps expected_since.
#[tokio::test]
async fn seed_is_idempotent_and_yields_facts_for_the_log() {
    let (state, _folder) = open().await;
    let first = state.apply_seed(&example(), NOW).await.unwrap();
    assert_eq!(first.sites_added, ["xgll-fesi"]);
    assert_eq!(first.gateways_added, ["xgll-gw1"]);
    assert!(matches!(first.facts[0].body, FactBody::Site { .. }));
    assert!(state.apply_seed(&example(), NOW + 5).await.unwrap().is_unchanged());

    let text =
        EXAMPLE.replace("\"630 A\"", "\"800 A\"").replace("id = \"gas-1\"", "id = \"gas-2\"");
    let seed = Seed::parse(&text, Path::new(".")).unwrap();
    let second = state.apply_seed(&seed, NOW + 9).await.unwrap();
    assert_eq!(second.sites_changed, ["xgll-fesi"]);
    assert_eq!(second.devices_removed, ["xgll-fesi/gas-1"]);
    let registry = state.load_registry().await.unwrap();
    assert_eq!(registry.device("xgll-fesi", "incomer-1").unwrap().expected_since, NOW);
    assert_eq!(registry.device("xgll-fesi", "gas-2").unwrap().expected_since, NOW + 9);
    let FactBody::Site { model } = &second.facts[0].body else { panic!("no model") };
    assert_eq!(**model, registry.model("xgll-fesi").unwrap());
    assert_eq!((second.facts[0].revision, registry.fact_revision), (2, 2));
}

// A gateway gets one key, shown once; a second time needs an explicit wish, another site is refused.
#[tokio::test]
async fn gateway_is_provisioned_once_and_its_key_is_not_printed() {
    let (state, _folder) = open().await;
    state.apply_seed(&example(), NOW).await.unwrap();
    let added = state.add_gateway("xgll-gw1", "xgll-fesi", false, "root", NOW).await.unwrap();
    assert_eq!(added.key.reveal().len(), 64);
    assert!(added.snippet().contains(added.key.reveal()));
    assert!(!format!("{added:?}").contains(added.key.reveal()));
    let again = state.add_gateway("xgll-gw1", "xgll-fesi", false, "root", NOW).await;
    assert!(matches!(again, Err(RegistryError::HasKey(_))));
    let other = state.add_gateway("xgll-gw9", "nowhere", false, "root", NOW).await;
    assert!(matches!(other, Err(RegistryError::NoSuchSite(_))));
    let rekeyed = state.add_gateway("xgll-gw1", "xgll-fesi", true, "root", NOW).await.unwrap();
    assert_ne!(rekeyed.key, added.key);
    let registry = state.load_registry().await.unwrap();
    let gateway = registry.gateway("xgll-gw1").unwrap();
    assert_eq!(gateway.key.as_ref().unwrap().to_hex(), rekeyed.key.reveal());
    assert_eq!(gateway.part, wire::topic::part_of("xgll-gw1"));
    assert!(!format!("{registry:?}").contains(added.key.reveal()));
    let trail = state.audit_rows(None, 100).await.unwrap();
    assert!(trail.iter().all(|row| !row.detail.contains(added.key.reveal())));
}

async fn with_order(state: &State) -> rules::Fact {
    state.apply_seed(&example(), NOW).await.unwrap();
    let order = NewFact {
        id: Some("order-1".to_owned()),
        site: "xgll-fesi".to_owned(),
        valid_from: NOW,
        valid_to: None,
        withdrawn: false,
        body: FactBody::Approval { document: "1".to_owned() },
    };
    state.record_fact(order, "officer", NOW + 1).await.unwrap()
}

// A fact keeps its id over revisions, waits to be logged, and is due again on another log.
#[tokio::test]
async fn facts_are_numbered_and_wait_for_the_log() {
    let (state, _folder) = open().await;
    let order = with_order(&state).await;
    let again = NewFact {
        id: Some(order.id.clone()),
        site: order.site.clone(),
        valid_from: NOW,
        valid_to: Some(NOW + 10),
        withdrawn: true,
        body: order.body.clone(),
    };
    let taken_back = state.record_fact(again, "officer", NOW + 2).await.unwrap();
    assert_eq!((order.revision, taken_back.revision), (2, 3));
    let registry = state.load_registry().await.unwrap();
    assert_eq!(registry.facts().len(), 1);
    assert!(registry.facts()[0].withdrawn);
    for fact in state.facts_to_log(8).await.unwrap() {
        let at = Position { log_id: 8, position: fact.revision };
        state.mark_fact_logged(fact.revision, at).await.unwrap();
    }
    assert!(state.facts_to_log(8).await.unwrap().is_empty());
    assert_eq!(state.facts_to_log(u64::MAX).await.unwrap().len(), 3);
}

// An end before the beginning, a long calibration and an unknown site are refused.
#[tokio::test]
async fn facts_that_make_no_sense_are_refused() {
    let (state, _folder) = open().await;
    with_order(&state).await;
    let base = NewFact {
        id: None,
        site: "xgll-fesi".to_owned(),
        valid_from: NOW,
        valid_to: Some(NOW),
        withdrawn: false,
        body: FactBody::Calibration { devices: vec!["gas-1".to_owned()] },
    };
    let long = NewFact { valid_to: Some(NOW + 7_200_001), ..base.clone() };
    let nowhere = NewFact { site: "x".to_owned(), valid_to: Some(NOW + 1), ..base.clone() };
    for bad in [base, long, nowhere] {
        assert!(state.record_fact(bad, "officer", NOW).await.is_err());
    }
    assert_eq!(state.facts_after(0).await.unwrap().len(), 2);
}

// A reload that was overtaken by a newer one does not bring the old snapshot back.
#[tokio::test]
async fn registrar_never_goes_back() {
    let (state, _folder) = open().await;
    let empty = state.load_registry().await.unwrap();
    let registrar = Registrar::new(empty.clone());
    with_order(&state).await;
    registrar.replace(state.load_registry().await.unwrap());
    registrar.replace(empty);
    assert!(!registrar.refresh(&state).await.unwrap(), "nothing new");
    state.add_gateway("xgll-gw1", "xgll-fesi", false, "cli", NOW).await.unwrap();
    assert!(registrar.refresh(&state).await.unwrap(), "changed by another process");
    assert!(registrar.current().gateway("xgll-gw1").unwrap().key.is_some());
    assert!(registrar.current().site("xgll-fesi").is_some());
}

// A plant's scope shows its own site and no other, a grid account none.
#[tokio::test]
async fn plant_scope_reads_no_other_site() {
    use crate::account::Role;
    let (state, _folder) = open().await;
    state.apply_seed(&example(), NOW).await.unwrap();
    let registry = state.load_registry().await.unwrap();
    let seen = |role, site| registry.sites_in(&Scope::of(role, site)).count();
    assert_eq!(seen(Role::Plant, Some("xgll-fesi")), 1);
    assert_eq!(seen(Role::Plant, Some("other")), 0);
    assert_eq!(seen(Role::Plant, None), 0);
    assert_eq!(seen(Role::Grid, None), 0);
    assert_eq!(seen(Role::Duty, None), 1);
}
