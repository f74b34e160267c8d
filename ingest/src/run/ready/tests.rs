//! What makes the centre unready, and what does not.

use super::{Facts, Ready, State, judge};
use crate::run::selfwatch::{Heartbeat, Status};
use crate::selfwatch::Stage;

fn well() -> Facts {
    let watch = Status { is_on: true, is_well: true, ..Status::default() };
    Facts { broker_connected: true, watch, ..Facts::default() }
}

fn with(change: impl Fn(&mut Facts)) -> Ready {
    let mut facts = well();
    change(&mut facts);
    judge(&facts)
}

// Goal: each part without which no alarm comes makes it unready, and says why.
#[test]
fn each_part_that_alarms_need_makes_it_unready() {
    assert!(judge(&well()).ready);
    let cases: [(&str, Ready); 5] = [
        ("broker", with(|f| f.broker_connected = false)),
        ("log", with(|f| f.log_failing = true)),
        ("evaluator", with(|f| f.evaluator_failing = true)),
        ("state_db", with(|f| f.state_db = Some("locked".to_owned()))),
        ("synthetic", with(|f| (f.watch.is_well, f.watch.stuck) = (false, Some(Stage::Log)))),
    ];
    for (part, answer) in cases {
        assert!(!answer.ready, "{part}");
        let json = serde_json::to_value(&answer).unwrap();
        assert_eq!(json["parts"][part]["state"], "failing", "{json}");
        assert!(json["parts"][part]["reason"].is_string(), "{json}");
    }
}

// Goal: a store that is down, a heartbeat that does not arrive, records that wait: said, and ready all the same.
#[test]
fn what_alarms_do_not_need_is_said_only() {
    let answers = [
        with(|f| f.store_trouble = 2),
        with(|f| f.watch.heartbeat = Heartbeat::Failed("no connection".to_owned())),
        with(|f| f.evaluator_lag = 100_000),
    ];
    for answer in answers {
        assert!(answer.ready, "{answer:?}");
        let parts = [&answer.parts.store, &answer.parts.heartbeat, &answer.parts.evaluator];
        assert!(parts.iter().any(|part| part.state == State::Impaired), "{answer:?}");
    }
}

// Goal: it is not ready before a sample of its own has come through; without such samples it does not wait for one.
#[test]
fn it_is_ready_once_a_sample_came_through() {
    assert!(!with(|f| f.watch.is_well = false).ready);
    assert!(with(|f| f.watch = Status::default()).ready);
}
