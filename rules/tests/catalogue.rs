//! The built-in catalogue loads, every rule tests itself, and no rule lacks what a duty officer needs.

use rules::Catalogue;
use rules::selftest;

#[test]
fn every_test_inside_every_rule_holds() {
    let catalogue = Catalogue::built_in().unwrap();
    let failures = selftest::failures(&catalogue);
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn every_rule_tests_the_cases_that_hurt() {
    let catalogue = Catalogue::built_in().unwrap();
    for rule in &catalogue.rules {
        for case in ["positive", "negative", "boundary", "unknown"] {
            let has = rule.tests.iter().any(|t| t.name.starts_with(case));
            assert!(has, "{} has no {case} test", rule.id);
        }
    }
}

#[test]
fn every_text_is_in_both_languages() {
    let catalogue = Catalogue::built_in().unwrap();
    for rule in &catalogue.rules {
        let labels = rule.params.iter().map(|p| &p.label);
        let texts = [&rule.name, &rule.consequence, &rule.source];
        for text in texts.into_iter().chain(labels).chain(&rule.action) {
            assert!(!text.zh.is_empty() && !text.en.is_empty(), "{}: {text:?}", rule.id);
        }
    }
}

/// Every transition of every test in the catalogue.
fn all_transitions() -> Vec<(String, rules::Transition)> {
    let catalogue = Catalogue::built_in().expect("built-in rules load");
    let mut all = Vec::new();
    for rule in &catalogue.rules {
        for test in &rule.tests {
            let found = selftest::transitions(rule, test).expect("tests read");
            all.extend(found.into_iter().map(|t| (format!("{} {}", rule.id, test.name), t)));
        }
    }
    all
}

#[test]
fn evidence_alone_leads_to_the_same_verdict() {
    for (name, t) in all_transitions() {
        let verdict = rules::re_evaluate(&t.evidence);
        assert!(verdict.agrees, "{name}: {verdict:?} {:?}", t.evidence);
        let stored = serde_json::to_string(&*t.evidence).unwrap();
        let read: rules::Evidence = serde_json::from_str(&stored).unwrap();
        assert_eq!(read, *t.evidence, "{name}: evidence survives JSON");
        let stored = postcard::to_stdvec(&t).unwrap();
        assert_eq!(postcard::from_bytes::<rules::Transition>(&stored).unwrap(), t, "{name}");
    }
}

#[test]
fn every_transition_explains_itself_in_one_sentence() {
    for (name, t) in all_transitions() {
        for lang in [rules::Lang::Zh, rules::Lang::En] {
            let text = rules::why(&t.evidence, lang);
            println!("{name}: {text}");
            let whole = !text.contains("NaN") && !text.contains('?') && !text.contains('\n');
            assert!(whole && !text.contains("  "), "{name}: {text}");
        }
    }
}

#[test]
fn an_order_alarm_reads_as_a_duty_officer_wants_it() {
    let catalogue = Catalogue::built_in().unwrap();
    let rule = catalogue.rule("R01a").unwrap();
    let mut fixture = rule.clone();
    let site = fixture.fixture.as_mut().unwrap();
    site.name = rules::Text::new("普朗铜矿", "Pulang mine");
    let test = rules::catalogue::TestSpec {
        name: String::new(),
        feed: vec![
            "0s order rectification to 240h".into(),
            "0s..32min/10s in1.p_total = 514".into(),
            "32min advance".into(),
        ],
        expect: vec![],
    };
    let found = selftest::transitions(&fixture, &test).unwrap();
    assert_eq!(
        rules::why(&found[0].evidence, rules::Lang::Zh),
        "普朗铜矿: 停产整顿令 〔2026〕1号(至 11-25)有效期内, 11-15 06:15–06:45 活跃度 0.46 (阈值 0.30), \
         全厂功率 514 kW, 保安负荷 100 kW, 疑似生产, 已持续 30 分钟(要求 30 分钟)。"
    );
    assert_eq!(
        rules::why(&found[0].evidence, rules::Lang::En),
        "Pulang mine: under order 'stopped for rectification' 〔2026〕1号 (until 11-25), 11-15 06:15–06:45 \
         activity 0.46 (limit 0.30), site power 514 kW, security load 100 kW: suspected production, \
         held for 30 min (required: 30 min)."
    );
}
