//! The whole built-in catalogue over random plants' lives: restored anywhere, cut into small steps, replayed.
//!
//! What the rules say is checked elsewhere; here only that windows, run states, holds and facts do not depend on when
//! somebody looks, saves or restores.

#![expect(clippy::unwrap_used, reason = "a test stops at its first surprise")]

use proptest::prelude::*;
use rules::fact::{Fact, FactBody, RegState};
use rules::site::SiteModel;
use rules::{Catalogue, Engine, Quality, SeriesKey, Transition};

const SITE: &str = r#"
site = "s"
sector_tags = ["粉尘涉爆", "非煤矿山"]
ratings = { P_ref = 100.0, P_base = 10.0 }
pairs = [{ kind = "dust", production = "saw", protective = "fan-1" }]
groups = [
  { kind = "main_ventilation", id = "mv", name = { zh = "主通风", en = "mv" }, devices = ["fan-1", "fan-2"] },
  { kind = "gas_cell", id = "cell", name = { zh = "区域", en = "cell" }, devices = ["gas", "gas-2"] },
  { kind = "tank_transfer", id = "move", name = { zh = "进出料", en = "move" }, devices = ["tank", "pump", "valve"] },
]
devices = [
  { id = "in", role = "incomer", gateway = "g", ratings = { U_N = 100.0 }, points = [{ quantity = "p_total", period_ms = 5000 }, { quantity = "u_ab", period_ms = 5000 }] },
  { id = "saw", role = "production", gateway = "g", ratings = { I_N = 100.0 }, points = [{ quantity = "i_a", period_ms = 5000 }, { quantity = "i_b", period_ms = 5000 }, { quantity = "i_c", period_ms = 5000 }] },
  { id = "fan-1", role = "dust_fan", gateway = "g", ratings = { I_N = 100.0 }, points = [{ quantity = "i_a", period_ms = 5000 }, { quantity = "p_total", period_ms = 5000 }, { quantity = "di_ready", period_ms = 5000 }] },
  { id = "fan-2", role = "main_fan", gateway = "g", ratings = { I_N = 100.0, P_run = 50.0 }, points = [{ quantity = "i_a", period_ms = 5000 }, { quantity = "p_total", period_ms = 5000 }, { quantity = "di_ready", period_ms = 5000 }] },
  { id = "gas-2", role = "gas_detector", gateway = "g", points = [{ quantity = "gas_lelm", period_ms = 1000 }] },
  { id = "pump", role = "transfer_pump", gateway = "g", ratings = { I_N = 400.0 }, points = [{ quantity = "i_a", period_ms = 5000 }] },
  { id = "valve", role = "transfer_valve", gateway = "g", points = [{ quantity = "di_open", period_ms = 5000 }] },
  { id = "gas", role = "gas_detector", gateway = "g", points = [{ quantity = "gas_lel", period_ms = 1000 }] },
  { id = "tank", role = "tank", gateway = "g", ratings = { H = 80.0, HH = 90.0, L = 10.0, LL = 5.0, span = 100.0 }, points = [{ quantity = "level", period_ms = 5000 }] },
]
"#;

const SERIES: [(&str, &str); 16] = [
    ("in", "p_total"),
    ("in", "u_ab"),
    ("saw", "i_a"),
    ("saw", "i_b"),
    ("saw", "i_c"),
    ("fan-1", "i_a"),
    ("fan-2", "i_a"),
    ("gas", "gas_lel"),
    ("tank", "level"),
    ("fan-1", "p_total"),
    ("fan-1", "di_ready"),
    ("fan-2", "p_total"),
    ("fan-2", "di_ready"),
    ("gas-2", "gas_lelm"),
    ("pump", "i_a"),
    ("valve", "di_open"),
];
const START: i64 = 1_700_000_040_000;

#[derive(Debug, Clone)]
enum Step {
    /// All series, so often, each five seconds.
    Steady([u8; 16], u8),
    One(usize, u8, u8),
    Fact(u8),
    Wait,
    Hole,
}

fn steps() -> impl Strategy<Value = Vec<(i64, Step)>> {
    let step = prop_oneof![
        4 => (any::<[u8; 16]>(), 1u8..150).prop_map(|(v, n)| Step::Steady(v, n)),
        4 => (0usize..16, any::<u8>(), any::<u8>()).prop_map(|(s, v, q)| Step::One(s, v, q)),
        2 => any::<u8>().prop_map(Step::Fact),
        1 => Just(Step::Wait),
        1 => Just(Step::Hole),
    ];
    let wait = prop_oneof![4 => 0i64..8_000, 2 => 20_000i64..90_000, 1 => 100_000i64..900_000];
    prop::collection::vec((wait, step), 1..25)
}

/// A value of a series: switches are 0 or 1, valves and contacts mostly 0.
fn value(series: usize, byte: u8) -> f64 {
    if SERIES[series].1.starts_with("di_") {
        return f64::from(u8::from(byte > 200));
    }
    f64::from(byte) * 0.5
}

fn quality(byte: u8) -> Quality {
    match byte % 8 {
        0 => Quality::Bad,
        1 => Quality::Uncertain { over: true, under: false },
        2 => Quality::Uncertain { over: false, under: true },
        3 => Quality::Uncertain { over: false, under: false },
        _ => Quality::Good,
    }
}

fn fact(kind: u8, revision: u64, t: i64) -> Fact {
    let state = if kind.is_multiple_of(2) { RegState::Suspended } else { RegState::Closed };
    let body = match kind % 5 {
        0 | 1 => FactBody::RegState { state, document: "x".into(), base_kw: None },
        2 => FactBody::Approval { document: "x".into() },
        3 => FactBody::Calibration { devices: vec!["gas".into()] },
        _ => FactBody::Work {
            work: "检修".into(),
            devices: vec!["saw".into()],
            declared_kw: Some(30.0),
            approved_by: (!kind.is_multiple_of(3)).then(|| "x".into()),
        },
    };
    Fact {
        id: format!("f{}", kind % 5),
        revision,
        site: "s".into(),
        valid_from: t + i64::from(kind % 4) * 10_000,
        valid_to: (!kind.is_multiple_of(2)).then_some(t + 400_000),
        recorded_at: t,
        withdrawn: kind.is_multiple_of(7),
        body,
    }
}

/// Moves to `t` in one go, or second by second.
fn go(engine: &mut Engine, now: i64, t: i64, fine: bool, out: &mut Vec<Transition>) {
    if fine {
        for s in (now..t).step_by(1700) {
            engine.advance(s, out);
        }
    }
    engine.advance(t, out);
}

fn feed(
    steps: &[(i64, Step)],
    fine: bool,
    mut each: impl FnMut(Engine) -> Engine,
) -> Vec<Transition> {
    let catalogue = Catalogue::built_in().unwrap();
    let site: SiteModel = toml::from_str(SITE).unwrap();
    let mut engine = Engine::new(&catalogue, &[site], "g");
    let index = |e: &Engine, s: usize| {
        e.series_index(&SeriesKey::new("s", SERIES[s].0, SERIES[s].1)).unwrap()
    };
    let (mut t, mut out) = (START, Vec::new());
    engine.advance(t, &mut out);
    for (n, (wait, step)) in steps.iter().enumerate() {
        engine = each(engine);
        go(&mut engine, t, t + wait, fine, &mut out);
        t += wait;
        match step {
            Step::Steady(values, times) => {
                for _ in 0..*times {
                    for (s, v) in values.iter().enumerate() {
                        let series = index(&engine, s);
                        engine.sample(series, t, value(s, *v), Quality::Good, &mut out);
                    }
                    go(&mut engine, t, t + 5_000, fine, &mut out);
                    t += 5_000;
                }
            }
            Step::One(s, v, q) => {
                let series = index(&engine, *s);
                engine.sample(series, t, value(*s, *v), quality(*q), &mut out);
            }
            Step::Fact(kind) => engine.fact(&fact(*kind, n as u64 + 1, t), t, &mut out),
            Step::Wait => {}
            Step::Hole => engine.hole(t + 30_000),
        }
    }
    go(&mut engine, t, t + 1_000_000, fine, &mut out);
    out
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn the_catalogue_goes_on_from_any_snapshot(steps in steps()) {
        let restored = feed(&steps, false, |e| {
            postcard::from_bytes(&postcard::to_stdvec(&e).unwrap()).unwrap()
        });
        prop_assert_eq!(feed(&steps, false, |e| e), restored);
    }

    #[test]
    fn the_catalogue_does_not_care_how_time_is_cut(steps in steps()) {
        prop_assert_eq!(feed(&steps, false, |e| e), feed(&steps, true, |e| e));
    }

    #[test]
    fn the_catalogue_explains_and_re_evaluates_everything(steps in steps()) {
        for t in feed(&steps, false, |e| e) {
            prop_assert!(rules::re_evaluate(&t.evidence).agrees, "{:?}", t);
            let text = rules::why(&t.evidence, rules::Lang::Zh);
            prop_assert!(!text.contains("NaN"), "{}", text);
        }
    }

    // Times never run backwards in what is said, and a rule never raises twice without a clear.
    #[test]
    fn what_is_said_is_in_order(steps in steps()) {
        let said = feed(&steps, false, |e| e);
        prop_assert!(said.windows(2).all(|w| w[0].t <= w[1].t));
        let mut keys: Vec<_> = said.iter().map(Transition::key).collect();
        keys.sort();
        let count = keys.len();
        keys.dedup();
        prop_assert_eq!(keys.len(), count, "a key was used twice");
    }
}
