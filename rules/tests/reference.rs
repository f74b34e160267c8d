//! The engine against a plain interpreter, against itself restored from a snapshot, and against its own look ahead.
//!
//! Random streams hit deadlines exactly: times are whole seconds and delays are multiples of five.

#![expect(clippy::unwrap_used, reason = "a test stops at its first surprise")]

mod reference {
    pub(crate) mod naive;
}

use proptest::prelude::*;
use reference::naive::{Naive, Said};
use rules::fact::{Fact, FactBody, RegState};
use rules::site::SiteModel;
use rules::{Catalogue, Engine, Quality, SeriesKey, Transition, TransitionKind};

/// The three rules of the executable model: a limit, A without B, measured against an order.
const RULES: &str = r#"
[[rule]]
id = "T1"
version = 1
kind = "high"
name = { zh = "限值", en = "limit" }
consequence = { zh = "x", en = "x" }
action = [{ zh = "x", en = "x" }]
source = { zh = "x", en = "x" }
scope = { device = { roles = ["x"] } }
input = [{ from = "device", quantities = [["a"]] }]
param = [
  { name = "limit", label = { zh = "x", en = "x" }, default = 50, unit = "", min = 0, max = 100 },
  { name = "hys", label = { zh = "x", en = "x" }, default = 5, unit = "", min = 0, max = 100 },
  { name = "on", label = { zh = "x", en = "x" }, default = 20, unit = "s", min = 0, max = 100 },
  { name = "off", label = { zh = "x", en = "x" }, default = 10, unit = "s", min = 0, max = 100 },
]
level = [{ severity = "orange", limit = "limit", deadband = "hys", on = "on", off = "off" }]

[[rule]]
id = "T2"
version = 1
kind = "runs_without"
name = { zh = "甲运行乙停", en = "A without B" }
consequence = { zh = "x", en = "x" }
action = [{ zh = "x", en = "x" }]
source = { zh = "x", en = "x" }
scope = { device = { roles = ["x"] } }
input = [
  { member = 0, from = "device", quantities = [["a"]] },
  { member = 1, from = "device", quantities = [["b"]] },
]
param = [
  { name = "stop", label = { zh = "x", en = "x" }, default = 10, unit = "", min = 0, max = 100 },
  { name = "run", label = { zh = "x", en = "x" }, default = 20, unit = "", min = 0, max = 100 },
  { name = "on", label = { zh = "x", en = "x" }, default = 25, unit = "s", min = 0, max = 100 },
  { name = "off", label = { zh = "x", en = "x" }, default = 5, unit = "s", min = 0, max = 100 },
]
level = [{ severity = "orange", limit = "stop", clear = "run", on = "on", off = "off" }]

[[rule]]
id = "T3"
version = 1
kind = "activity"
name = { zh = "停产令", en = "order" }
consequence = { zh = "x", en = "x" }
action = [{ zh = "x", en = "x" }]
source = { zh = "x", en = "x" }
scope = "site"
input = [{ from = { role = "x" }, quantities = [["a"]] }]
param = [
  { name = "limit", label = { zh = "x", en = "x" }, default = 0.1, unit = "", min = 0, max = 100 },
  { name = "p_ref", label = { zh = "x", en = "x" }, default = 100, unit = "", min = 0, max = 100 },
  { name = "p_base", label = { zh = "x", en = "x" }, default = 0, unit = "", min = 0, max = 100 },
  { name = "on", label = { zh = "x", en = "x" }, default = 20, unit = "s", min = 0, max = 100 },
  { name = "off", label = { zh = "x", en = "x" }, default = 5, unit = "s", min = 0, max = 100 },
]
level = [{ severity = "orange", limit = "limit", second = "p_ref", clear = "limit", on = "on", off = "off" }]
"#;

const SITE: &str = r#"
site = "s"
devices = [
  { id = "d", role = "x", gateway = "g", points = [
    { quantity = "a", period_ms = 2000 }, { quantity = "b", period_ms = 2000 },
  ] },
]
"#;

const START: i64 = 1_700_000_040_000;

#[derive(Debug, Clone)]
enum Step {
    A(f64),
    B(f64),
    Bad,
    Order(bool),
    Advance,
    Back,
}

fn steps() -> impl Strategy<Value = Vec<(i64, Step)>> {
    let value = prop::sample::select(vec![0.0, 5.0, 10.0, 15.0, 20.0, 44.9, 45.0, 50.0, 60.0]);
    let step = prop_oneof![
        6 => value.clone().prop_map(Step::A),
        4 => value.prop_map(Step::B),
        1 => Just(Step::Bad),
        1 => any::<bool>().prop_map(Step::Order),
        2 => Just(Step::Advance),
        1 => Just(Step::Back),
    ];
    let wait = prop_oneof![
        8 => (0i64..12).prop_map(|s| s * 1000),
        4 => (0i64..9).prop_map(|s| s * 5000),
        1 => 60_000i64..300_000,
    ];
    prop::collection::vec((wait, step), 1..120)
}

fn order(on: bool, revision: u64, t: i64) -> Fact {
    let state = if on { RegState::Suspended } else { RegState::Normal };
    Fact {
        id: "order".into(),
        revision,
        site: "s".into(),
        valid_from: t,
        valid_to: None,
        recorded_at: t,
        withdrawn: false,
        body: FactBody::RegState { state, document: String::new(), base_kw: None },
    }
}

/// Feeds an engine and says what it said; `each` may replace the engine before each step.
fn feed(
    mut engine: Engine,
    steps: &[(i64, Step)],
    mut each: impl FnMut(usize, Engine) -> Engine,
) -> Vec<Transition> {
    let index = |e: &Engine, q: &str| e.series_index(&SeriesKey::new("s", "d", q)).unwrap();
    let (mut t, mut out) = (START, Vec::new());
    for (n, (wait, step)) in steps.iter().enumerate() {
        engine = each(n, engine);
        t += wait;
        let (a, b) = (index(&engine, "a"), index(&engine, "b"));
        match step {
            Step::A(v) => engine.sample(a, t, *v, Quality::Good, &mut out),
            Step::B(v) => engine.sample(b, t, *v, Quality::Good, &mut out),
            Step::Bad => engine.sample(a, t, 99.0, Quality::Bad, &mut out),
            Step::Order(on) => engine.fact(&order(*on, n as u64 + 1, t), t, &mut out),
            Step::Advance => engine.advance(t, &mut out),
            Step::Back => {
                // As the evaluator does: the block before the step closed at `t`.
                engine.advance(t, &mut out);
                t -= 40_000;
                engine.segment(t);
            }
        }
    }
    engine.advance(t + 200_000, &mut out);
    out
}

fn naive(steps: &[(i64, Step)]) -> Vec<Said> {
    let (mut naive, mut t, mut out) = (Naive::new(), START, Vec::new());
    for (wait, step) in steps {
        t += wait;
        match step {
            Step::A(v) => naive.sample(true, t, *v, &mut out),
            Step::B(v) => naive.sample(false, t, *v, &mut out),
            Step::Bad | Step::Advance => naive.advance(t, &mut out),
            Step::Order(on) => naive.order(*on, t, &mut out),
            Step::Back => {
                naive.advance(t, &mut out);
                t -= 40_000;
                naive.segment(t);
            }
        }
    }
    naive.advance(t + 200_000, &mut out);
    out
}

fn engine() -> Engine {
    let catalogue = Catalogue::load(&[("test.toml", RULES)]).unwrap();
    let site: SiteModel = toml::from_str(SITE).unwrap();
    Engine::new(&catalogue, &[site], "g")
}

fn said(list: &[Transition]) -> Vec<Said> {
    let names = ["T1", "T2", "T3"];
    let name = |t: &Transition| *names.iter().find(|n| **n == t.rule).unwrap();
    list.iter().map(|t| (name(t), t.kind == TransitionKind::Raise, t.t, t.since)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(128) })]

    // The engine with its lazy timers says what plain re-reading of the rules says, in the same order.
    #[test]
    fn engine_agrees_with_the_plain_interpreter(steps in steps()) {
        prop_assert_eq!(said(&feed(engine(), &steps, |_, e| e)), naive(&steps));
    }

    // A snapshot taken and read back before every step changes nothing, evidence included.
    #[test]
    fn a_restored_engine_goes_on_as_if_nothing_had_happened(steps in steps()) {
        let whole = feed(engine(), &steps, |_, e| e);
        let restored = feed(engine(), &steps, |_, e| {
            postcard::from_bytes(&postcard::to_stdvec(&e).unwrap()).unwrap()
        });
        prop_assert_eq!(whole, restored);
    }

    // What a look ahead says is what comes when no sample intervenes, and looking changes nothing.
    #[test]
    fn peek_says_what_advance_will_do(steps in steps(), ahead in 0i64..120_000) {
        let whole = feed(engine(), &steps, |_, e| e);
        let mut t = START;
        let looked = feed(engine(), &steps, |n, e| {
            if n > 0 {
                t += steps[n - 1].0 - if matches!(steps[n - 1].1, Step::Back) { 40_000 } else { 0 };
                let (mut later, mut out) = (e.clone(), Vec::new());
                let seen = e.peek(t + ahead);
                later.advance(t + ahead, &mut out);
                assert_eq!(seen, out);
                assert!(out.is_empty() || e.due().is_some_and(|due| due <= out[0].t));
            }
            e
        });
        prop_assert_eq!(whole, looked);
    }

    // Cutting the way into small steps of time makes no difference.
    #[test]
    fn small_steps_of_time_make_no_difference(steps in steps()) {
        let mut fine = Vec::new();
        for (wait, step) in &steps {
            for _ in 0..wait / 1000 {
                fine.push((1000, Step::Advance));
            }
            fine.push((wait % 1000, step.clone()));
        }
        let strip = |mut list: Vec<Transition>| {
            // The revision of a fact counts steps in this test.
            for t in &mut list {
                t.evidence.fact_revision = 0;
                t.evidence.facts.clear();
            }
            list
        };
        let coarse = feed(engine(), &steps, |_, e| e);
        prop_assert_eq!(strip(coarse), strip(feed(engine(), &fine, |_, e| e)));
    }

    // Judging again from evidence never disagrees.
    #[test]
    fn evidence_agrees_on_random_streams(steps in steps()) {
        for t in feed(engine(), &steps, |_, e| e) {
            prop_assert!(rules::re_evaluate(&t.evidence).agrees, "{:?}", t);
        }
    }
}

// By hand, as the executable model has them: each rule once, with its times.
#[test]
fn the_three_rules_of_the_model_by_hand() {
    let a = |wait, v| (wait, Step::A(v));
    let steps = [
        a(0, 60.0),
        (0, Step::B(0.0)),
        (10_000, Step::Order(true)),
        a(0, 60.0),
        (10_000, Step::A(60.0)),
        (5_000, Step::B(0.0)),
        a(0, 60.0),
        (5_000, Step::B(30.0)),
        a(5_000, 0.0),
        (5_000, Step::B(30.0)),
        a(10_000, 0.0),
    ];
    let found = said(&feed(engine(), &steps, |_, e| e));
    let s =
        |rule, raised, t: i64, since: i64| (rule, raised, START + t * 1000, START + since * 1000);
    let expected = vec![
        s("T1", true, 20, 0),
        s("T2", true, 25, 0),
        s("T3", true, 30, 10),
        s("T2", false, 35, 30),
        s("T3", false, 40, 35),
        s("T1", false, 45, 35),
    ];
    assert_eq!(found, expected);
    assert_eq!(naive(&steps), expected);
}
