//! Notices: words, levels, order, bounds.

use super::{NOTICES_MAX, Notices};
use crate::api::source::NoticeLevel;

// Whatever this program puts up has its Chinese, and nothing empty stands in brackets.
#[test]
fn every_notice_is_said_in_both_languages() {
    for code in [
        "broker_down",
        "broker_refuses",
        "broker_session_lost",
        "broker_qos",
        "evaluator_failing",
        "evaluator_behind",
        "log_failing",
        "log_stalled",
        "store_trouble",
        "key_reuse",
        "chain_conflict",
        "manifest_site",
        "hole_given_up",
        "block_unreadable",
        "clock_distrusted",
        "log_crowded",
        "clock_ahead",
        "clock_behind",
        "clock_doubted",
        "clock_runs_ahead",
        "quarantine_full",
        "released_lost",
        "fact_dropped",
        "clock_differs",
        "two_gateways",
        "muted",
        "replaced_sends",
        "broker_drops",
        "log_small",
    ] {
        let mut notices = Notices::default();
        notices.put(code, "", "in English", 1);
        notices.put(code, "gw-1", "in English", 2);
        for notice in notices.all() {
            assert!(!notice.zh.contains("English") && !notice.zh.contains("（）"), "{}", notice.zh);
        }
    }
}

// Where the words end with a colon, the reason follows.
#[test]
fn a_reason_follows_the_words_that_lead_to_it() {
    let mut notices = Notices::default();
    notices.put("store_refuses", "", "401, wrong token", 1);
    assert!(notices.all()[0].zh.ends_with("：401, wrong token"));
}

// What stops alarms stands first however old it is, and keeps its beginning while it stands.
#[test]
fn what_stops_alarms_stands_first() {
    let mut notices = Notices::default();
    assert!(notices.put("broker_down", "", "x", 10));
    assert!(!notices.put("broker_down", "", "x", 20));
    notices.put("key_reuse", "gw-1", "x", 30);
    let all = notices.all();
    let (first, level) = (&all[0], NoticeLevel::AlarmsStopped);
    assert_eq!((first.code.as_str(), first.level, first.since), ("broker_down", level, 10));
    assert!(notices.take_down("broker_down") && !notices.take_down("broker_down"));
}

// A flood of warnings never pushes out what stops alarms.
#[test]
fn notices_are_bounded() {
    let mut notices = Notices::default();
    notices.put("broker_down", "", "x", 0);
    for n in 0..2 * NOTICES_MAX as i64 {
        notices.put("key_reuse", &format!("gw-{n}"), "x", n);
    }
    let all = notices.all();
    assert_eq!((all.len(), all[0].code.as_str()), (NOTICES_MAX, "broker_down"));
}
