//! The engine by table: delays, gaps, segments, holes, facts, standing, overrides, changes of the registry.

#![expect(clippy::unwrap_used, reason = "a test stops at its first surprise")]

use rules::evidence::Origin;
use rules::fact::{Fact, FactBody, RegState};
use rules::site::{Override, SiteModel};
use rules::{
    Catalogue, Engine, Quality, SeriesKey, Severity, Standing, Text, Transition, TransitionKind,
};
use std::sync::Arc;

const T0: i64 = 1_700_000_040_000;
const S: i64 = 1000;
const MIN: i64 = 60 * S;

const MINE: &str = r#"
site = "pulang"
name = { zh = "普朗铜矿", en = "Pulang mine" }
county = "533401"
sector_tags = ["非煤矿山"]
utc_offset_min = 480
ratings = { P_ref = 1000.0, P_base = 100.0 }
groups = [{ kind = "main_ventilation", id = "mv", name = { zh = "主通风", en = "main ventilation" }, devices = ["fan-1", "fan-2"] }]
devices = [
  { id = "in", role = "incomer", gateway = "g", ratings = { U_N = 400.0 }, points = [
    { quantity = "p_total", period_ms = 10000 }, { quantity = "u_a", period_ms = 10000 }, { quantity = "u_b", period_ms = 10000 }, { quantity = "u_c", period_ms = 10000 } ] },
  { id = "fan-1", role = "main_fan", gateway = "g", ratings = { I_N = 100.0 }, points = [{ quantity = "i_a", period_ms = 1000 }] },
  { id = "fan-2", role = "main_fan", gateway = "g", ratings = { I_N = 100.0 }, points = [{ quantity = "i_a", period_ms = 1000 }] },
  { id = "gas-1", role = "gas_detector", gateway = "g", points = [{ quantity = "gas_lel", period_ms = 1000 }] },
]
"#;

fn mine() -> SiteModel {
    toml::from_str(MINE).unwrap()
}

fn catalogue() -> Catalogue {
    Catalogue::built_in().unwrap()
}

fn engine(site: SiteModel) -> Engine {
    Engine::new(&catalogue(), &[site], "g")
}

struct Run {
    engine: Engine,
    out: Vec<Transition>,
}

impl Run {
    fn new(site: SiteModel) -> Self {
        Self { engine: engine(site), out: Vec::new() }
    }

    fn sample(&mut self, device: &str, quantity: &str, t: i64, value: f64) {
        let key = SeriesKey::new("pulang", device, quantity);
        let series = self.engine.series_index(&key).expect("a rule reads it");
        self.engine.sample(series, T0 + t, value, Quality::Good, &mut self.out);
    }

    /// Both fans each second from `from` to before `to`.
    fn fans(&mut self, from: i64, to: i64, one: f64, two: f64) {
        for t in (from..to).step_by(1000) {
            self.sample("fan-1", "i_a", t, one);
            self.sample("fan-2", "i_a", t, two);
        }
    }

    fn power(&mut self, from: i64, to: i64, kw: f64) {
        for t in (from..to).step_by(10_000) {
            self.sample("in", "p_total", t, kw);
        }
    }

    fn advance(&mut self, t: i64) {
        self.engine.advance(T0 + t, &mut self.out);
    }

    fn fact(&mut self, fact: &Fact, at: i64) {
        self.engine.fact(fact, T0 + at, &mut self.out);
    }

    /// What one rule said: kind, level, time from the start.
    fn said(&self, rule: &str) -> Vec<(TransitionKind, Severity, i64)> {
        let of_rule = self.out.iter().filter(|t| t.rule == rule);
        of_rule.map(|t| (t.kind, t.level, t.t - T0)).collect()
    }

    fn standing(&self, rule: &str, object: &str) -> Standing {
        let states = self.engine.states();
        let state = states.iter().find(|s| s.rule == rule && s.scope.object == object);
        state.unwrap_or_else(|| panic!("no line for {rule} {object}")).standing.clone()
    }
}

fn fact(id: &str, revision: u64, from: i64, recorded: i64, body: FactBody) -> Fact {
    Fact {
        id: id.into(),
        revision,
        site: "pulang".into(),
        valid_from: T0 + from,
        valid_to: None,
        recorded_at: T0 + recorded,
        withdrawn: false,
        body,
    }
}

fn order(base_kw: Option<f64>) -> FactBody {
    let document = "迪应急停〔2026〕7号".into();
    FactBody::RegState { state: RegState::Rectification, document, base_kw }
}

use Severity::{Orange, Red};
use TransitionKind::{Clear, LevelUp, Raise};

#[test]
fn a_missing_rating_is_said_by_name_and_never_quiet() {
    let mut site = mine();
    site.devices[2].ratings.clear();
    let run = Run::new(site);
    let Standing::Cannot { missing } = run.standing("R11", "mv") else { panic!("must not run") };
    assert_eq!(missing, [Text::new("fan-2 缺少额定值 I_N", "missing rating I_N of fan-2")]);
}

#[test]
fn every_rule_has_a_line_at_every_site() {
    let run = Run::new(mine());
    for rule in &catalogue().rules {
        let has = run.engine.states().iter().any(|s| s.rule == rule.id);
        assert!(has, "{} has no line", rule.id);
    }
    assert!(matches!(run.standing("R15", ""), Standing::NotApplicable { .. }));
    assert_eq!(run.standing("R21", "gas-1"), Standing::Evaluating);
}

#[test]
fn a_value_still_being_learnt_is_said_with_its_end() {
    let mut site = mine();
    site.ratings.remove("P_ref");
    site.learning.insert("P_ref".into(), T0 + 1);
    let run = Run::new(site);
    assert_eq!(run.standing("R01a", ""), Standing::Learning { until: T0 + 1 });
}

#[test]
fn inputs_on_two_gateways_are_said_and_not_half_judged() {
    let mut site = mine();
    site.devices[2].gateway = "h".into();
    let run = Run::new(site);
    assert!(matches!(run.standing("R11", "mv"), Standing::Cannot { .. }));
}

#[test]
fn security_load_may_come_with_the_order() {
    let mut site = mine();
    site.ratings.remove("P_base");
    let mut run = Run::new(site);
    assert!(matches!(run.standing("R01a", ""), Standing::Cannot { .. }));
    run.fact(&fact("o", 1, 0, 0, order(Some(100.0))), 0);
    assert_eq!(run.standing("R01a", ""), Standing::Evaluating);
    run.power(0, 32 * MIN, 514.0);
    run.advance(32 * MIN);
    assert_eq!(run.said("R01a"), [(Raise, Orange, 31 * MIN)]);
}

#[test]
fn a_running_delay_is_visible() {
    let mut run = Run::new(mine());
    run.fact(&fact("o", 1, 0, 0, order(None)), 0);
    run.power(0, 19 * MIN, 514.0);
    run.advance(19 * MIN);
    let states = run.engine.states();
    let pending = states.iter().find(|s| s.rule == "R01a").unwrap().pending.unwrap();
    assert_eq!((pending.for_ms, pending.of_ms), (18 * MIN, 30 * MIN));
    assert_eq!(pending.since, T0 + MIN);
}

#[test]
fn the_narrowest_override_wins_and_is_recorded() {
    let mut site = mine();
    let set = |origin, target: &str, value| Override {
        rule: "R21".into(),
        parameter: "limit_1".into(),
        value,
        origin,
        target: target.into(),
    };
    site.overrides = vec![
        set(Origin::Asset, "gas-1", 10.0),
        set(Origin::Sector, "非煤矿山", 20.0),
        set(Origin::Site, "", 15.0),
        set(Origin::Asset, "gas-2", 1.0),
    ];
    let mut run = Run::new(site);
    for t in 0..10 {
        run.sample("gas-1", "gas_lel", t * S, 12.0);
    }
    run.advance(10 * S);
    let raise = run.out.iter().find(|t| t.rule == "R21").unwrap();
    assert_eq!((raise.t, raise.evidence.limit), (T0 + 3 * S, Some(10.0)));
    let used = raise.evidence.parameters.iter().find(|p| p.name == "limit_1").unwrap();
    assert!(used.overridden && used.origin == Origin::Asset);
    let states = run.engine.states();
    let line = states.iter().find(|s| s.rule == "R21").unwrap();
    assert_eq!(line.overridden, ["limit_1"]);
}

#[test]
fn an_override_outside_its_range_is_refused() {
    let mut site = mine();
    site.overrides = vec![Override {
        rule: "R21".into(),
        parameter: "limit_1".into(),
        value: 60.0,
        origin: Origin::Site,
        target: String::new(),
    }];
    assert!(matches!(Run::new(site).standing("R21", "gas-1"), Standing::Cannot { .. }));
}

#[test]
fn an_override_of_an_unknown_parameter_is_said() {
    let mut site = mine();
    site.overrides = vec![Override {
        rule: "R21".into(),
        parameter: "limit1".into(),
        value: 10.0,
        origin: Origin::Site,
        target: String::new(),
    }];
    let run = Run::new(site);
    let states = run.engine.states();
    let line = states.iter().find(|s| s.rule == "R21").unwrap();
    assert_eq!(line.standing, Standing::Evaluating);
    assert!(line.lacking.iter().any(|t| t.en.contains("unknown parameter limit1")));
}

#[test]
fn a_delay_shorter_than_two_polls_is_refused() {
    // The catalogue's 1 s at a poll of 1 s becomes two polls and says so; a person's is an error.
    let mut run = Run::new(mine());
    for t in 0..5 {
        run.sample("gas-1", "gas_lel", t * S, 80.0);
    }
    run.advance(5 * S);
    assert_eq!(run.said("R21"), [(Raise, Red, 2 * S)]);
    let states = run.engine.states();
    let line = states.iter().find(|s| s.rule == "R21").unwrap();
    assert!(line.lacking.iter().any(|t| t.en.contains("on_2 = 1 s refused")), "{:?}", line.lacking);
    let mut site = mine();
    site.overrides = vec![Override {
        rule: "R21".into(),
        parameter: "on_2".into(),
        value: 1.5,
        origin: Origin::Site,
        target: String::new(),
    }];
    assert!(matches!(Run::new(site).standing("R21", "gas-1"), Standing::Cannot { .. }));
}

#[test]
fn a_fact_recorded_late_judges_nothing_before() {
    let mut run = Run::new(mine());
    run.power(0, 60 * MIN, 514.0);
    // Valid since the start, recorded now: the delay runs from here.
    run.fact(&fact("o", 1, 0, 60 * MIN, order(None)), 60 * MIN);
    run.power(60 * MIN, 91 * MIN, 514.0);
    run.advance(91 * MIN);
    assert_eq!(run.said("R01a"), [(Raise, Orange, 90 * MIN)]);
    let raise = run.out.iter().find(|t| t.rule == "R01a").unwrap();
    assert_eq!(raise.since, T0 + 60 * MIN);
    assert_eq!(raise.evidence.fact_revision, 1);
}

#[test]
fn a_fact_that_lies_ahead_waits_and_a_withdrawn_one_is_gone() {
    let mut run = Run::new(mine());
    run.fact(&fact("o", 1, 10 * MIN, 0, order(None)), 0);
    run.power(0, 30 * MIN, 514.0);
    let mut withdrawn = fact("o", 2, 10 * MIN, 30 * MIN, order(None));
    withdrawn.withdrawn = true;
    run.fact(&withdrawn, 30 * MIN);
    run.power(30 * MIN, 90 * MIN, 514.0);
    run.advance(90 * MIN);
    assert_eq!(run.said("R01a"), []);
}

fn work(id: String, revision: u64, approved: bool) -> Fact {
    let approved_by = approved.then(|| "应急局".to_owned());
    let body =
        FactBody::Work {
            work: "检修".into(), devices: Vec::new(), declared_kw: None, approved_by
        };
    let mut fact = fact(&id, revision, 0, 0, body);
    fact.valid_to = Some(T0 + 1_000 * MIN + i64::try_from(revision).unwrap());
    fact
}

#[test]
fn no_number_of_work_windows_pushes_an_order_out() {
    let mut run = Run::new(mine());
    let mut o = fact("o", 1, 0, 0, order(None));
    o.valid_to = Some(T0 + 500 * MIN);
    run.fact(&o, 0);
    run.fact(&work("approved".into(), 2, true), 0);
    for n in 3..4_200 {
        run.fact(&work(format!("w{n}"), n, false), 0);
    }
    run.power(0, 32 * MIN, 514.0);
    run.advance(32 * MIN);
    assert_eq!(run.said("R01a"), [(Raise, Orange, 31 * MIN)]);
    let raise = run.out.iter().find(|t| t.rule == "R01a").unwrap();
    let shown: Vec<&str> = raise.evidence.facts.iter().map(|f| f.id.as_str()).collect();
    assert_eq!(shown[..2], ["o", "approved"], "approved work goes after what was only filed");
    assert_eq!(shown.len(), 4_096, "and the bound holds");
}

#[test]
fn an_approval_ends_an_order_and_a_newer_order_ends_an_approval() {
    let mut run = Run::new(mine());
    run.fact(&fact("o", 1, 0, 0, order(None)), 0);
    let approval = FactBody::Approval { document: "批〔2026〕1号".into() };
    run.fact(&fact("p", 2, MIN, MIN, approval), MIN);
    run.power(MIN, 40 * MIN, 514.0);
    assert_eq!(run.said("R01a"), []);
    run.fact(&fact("o2", 3, 40 * MIN, 40 * MIN, order(None)), 40 * MIN);
    run.power(40 * MIN, 71 * MIN, 514.0);
    run.advance(71 * MIN);
    assert_eq!(run.said("R01a"), [(Raise, Orange, 70 * MIN)]);
}

#[test]
fn a_new_segment_keeps_alarms_and_starts_delays_again() {
    let mut run = Run::new(mine());
    run.fans(0, 60 * S, 0.0, 0.0);
    assert_eq!(run.said("R11"), [(Raise, Orange, 10 * S)]);
    run.engine.segment(T0 - 3600 * S);
    assert_eq!(run.engine.active().count(), 1);
    // Ten minutes count from the step on; the key carries the segment.
    run.fans(-3600 * S, -2970 * S, 0.0, 0.0);
    let up = run.out.iter().find(|t| t.kind == LevelUp).unwrap();
    assert_eq!((up.t - T0, up.segment, up.level), (-3000 * S, 1, Red));
    assert_eq!(up.key().to_string(), format!("R11|pulang/mv|level_up|1|1|{}", T0 - 3000 * S));
}

#[test]
fn silence_counts_again_after_a_hole() {
    let mut run = Run::new(mine());
    run.fans(0, 10 * S, 50.0, 0.0);
    run.sample("gas-1", "gas_lel", 0, 1.0);
    run.engine.hole(T0 + 1000 * S);
    run.fans(1000 * S, 1031 * S, 50.0, 0.0);
    run.advance(1031 * S);
    assert_eq!(run.said("R41"), [], "what is missing is no silence");
    run.fans(1031 * S, 1400 * S, 50.0, 0.0);
    run.advance(1400 * S);
    let silent = run.out.iter().find(|t| t.rule == "R41" && t.scope.object == "gas-1").unwrap();
    assert_eq!(silent.t, T0 + 1060 * S);
    let unknown = run.out.iter().find(|t| t.rule == "R41p").unwrap();
    assert_eq!((unknown.scope.object.as_str(), unknown.t), ("gas-1", T0 + 1300 * S));
}

#[test]
fn a_rating_entered_later_lets_the_rule_run_and_keeps_the_rest() {
    let mut site = mine();
    site.devices[2].ratings.clear();
    let mut run = Run::new(site);
    run.fans(0, 30 * S, 0.0, 0.0);
    for t in 0..10 {
        run.sample("gas-1", "gas_lel", 30 * S + t * S, 30.0);
    }
    assert_eq!(run.said("R11"), []);
    let model = FactBody::Site { model: Box::new(mine()) };
    run.fact(&fact("site", 1, 0, 40 * S, model), 40 * S);
    assert_eq!(run.standing("R11", "mv"), Standing::Evaluating);
    assert_eq!(run.engine.active().count(), 1, "the gas alarm stands");
    run.fans(40 * S, 60 * S, 0.0, 0.0);
    assert_eq!(run.said("R11"), [(Raise, Orange, 50 * S)]);
}

#[test]
fn an_alarm_whose_device_left_the_registry_clears_and_says_so() {
    let mut run = Run::new(mine());
    for t in 0..10 {
        run.sample("gas-1", "gas_lel", t * S, 30.0);
    }
    let mut site = mine();
    site.devices.pop();
    let model = FactBody::Site { model: Box::new(site) };
    run.fact(&fact("site", 1, 0, 10 * S, model), 10 * S);
    assert_eq!(run.said("R21").last(), Some(&(Clear, Severity::Yellow, 10 * S)));
    let text = rules::why(&run.out.last().unwrap().evidence, rules::Lang::Zh);
    assert_eq!(text, "普朗铜矿「gas-1」: 台账变更后规则不再适用, 报警关闭。");
}

#[test]
fn a_closed_mine_has_no_ventilation_rule() {
    let mut run = Run::new(mine());
    run.fans(0, 20 * S, 0.0, 0.0);
    let closed =
        FactBody::RegState { state: RegState::Closed, document: String::new(), base_kw: None };
    run.fact(&fact("o", 1, 0, 20 * S, closed), 20 * S);
    assert!(matches!(run.standing("R11", "mv"), Standing::NotApplicable { .. }));
    run.fans(20 * S, 60 * S, 0.0, 0.0);
    assert_eq!(run.said("R11"), [(Raise, Orange, 10 * S), (Clear, Orange, 50 * S)]);
    let clear = run.out.iter().find(|t| t.rule == "R11" && t.kind == Clear).unwrap();
    assert!(
        rules::re_evaluate(&clear.evidence).agrees,
        "the state of the site ended it, not a test"
    );
    assert!(rules::why(&clear.evidence, rules::Lang::Zh).contains("监管状态为关闭"));
}

#[test]
fn transitions_of_one_moment_come_in_the_order_of_rule_scope_level() {
    let mut run = Run::new(mine());
    for q in ["u_a", "u_b", "u_c"] {
        run.sample("in", q, 0, 0.0);
    }
    run.fans(0, 10 * S, 0.0, 0.0);
    for q in ["u_a", "u_b", "u_c"] {
        run.sample("in", q, 10 * S, 0.0);
    }
    run.fans(10 * S, 40 * S, 0.0, 0.0);
    let mut sorted = run.out.clone();
    sorted.sort_by(|a, b| (a.t, &a.rule, &a.scope).cmp(&(b.t, &b.rule, &b.scope)));
    let names = |list: &[Transition]| list.iter().map(|t| t.key()).collect::<Vec<_>>();
    assert!(run.out.len() >= 2);
    assert_eq!(names(&run.out), names(&sorted));
}

#[test]
fn a_snapshot_of_another_engine_is_refused() {
    let mut bytes = postcard::to_stdvec(&engine(mine())).unwrap();
    bytes[0] = 99;
    let found = postcard::from_bytes::<Engine>(&bytes);
    assert!(found.is_err());
}

#[test]
fn a_snapshot_tells_that_it_runs_older_rules() {
    let bytes = postcard::to_stdvec(&engine(mine())).unwrap();
    let mut restored: Engine = postcard::from_bytes(&bytes).unwrap();
    let mut newer = catalogue();
    assert!(restored.share(&Arc::new(newer.bare())));
    newer.rules[0].version += 1;
    assert!(!restored.share(&Arc::new(newer.bare())));
}

#[test]
fn what_a_cell_a_tank_and_a_feeder_lack_is_said() {
    let mut site = mine();
    let cell =
        r#"{ kind = "gas_cell", id = "cell", name = { zh = "", en = "" }, devices = ["gas-1"] }"#;
    site.groups.push(
        toml::from_str::<toml::Table>(&format!("g = {cell}")).unwrap()["g"]
            .clone()
            .try_into()
            .unwrap(),
    );
    let mut tank = site.devices[3].clone();
    (tank.id, tank.role) = ("tank".into(), "tank".into());
    tank.points[0].quantity = "level".into();
    tank.ratings = [("span", 10.0), ("H", 8.0), ("HH", 9.0)].map(|(k, v)| (k.into(), v)).into();
    site.devices.push(tank);
    let run = Run::new(site);
    for (rule, object, word) in [
        ("R21c", "cell", "fewer than 2 detectors"),
        ("R24k", "tank", "missing group of kind tank_transfer"),
        ("R09c", "", "missing feeder"),
        ("R11p", "mv", "missing point p_total"),
    ] {
        let Standing::Cannot { missing } = run.standing(rule, object) else {
            panic!("{rule} must not run: {:?}", run.standing(rule, object))
        };
        assert!(missing[0].en.contains(word), "{rule}: {missing:?}");
    }
    assert_eq!(run.standing("R24h", "tank"), Standing::Evaluating);
    assert_eq!(run.standing("R11", "mv"), Standing::Evaluating);
    let states = run.engine.states();
    let r11 = states.iter().find(|s| s.rule == "R11").unwrap();
    assert!(r11.lacking[0].en.contains("di_ready"), "{:?}", r11.lacking);
}
