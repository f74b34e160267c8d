//! The duty list alone, in orders of decisions that take whole plants of faults to reach.

use std::collections::BTreeMap;

use super::engine::Move;
use crate::evaluator::duty::{By, Duty, Moment};
use crate::evaluator::{DutyEvent, Ms, Output, StandingAlarm};

fn turn(raised: bool, t: Ms) -> Move {
    Move { rule: "limit".to_owned(), segment: 0, t, since: t, raised }
}

fn at(now: Ms) -> Moment {
    Moment { now, sample_at: Some(now) }
}

/// Each amendment: what was told, what it is instead.
fn amended(said: &[Output<Move>]) -> Vec<(Ms, Option<Ms>)> {
    let of = |output: &Output<Move>| match output {
        Output::Duty(DutyEvent::Amend { was, is, .. }) => Some((was.t, is.as_ref().map(|is| is.t))),
        _ => None,
    };
    said.iter().filter_map(of).collect()
}

/// What is amended of an alarm that stood at a start, raised at 80, where only an occurrence from `raise` to `clear` is found.
fn amended_where_found(raise: Ms, clear: Ms) -> Vec<(Ms, Option<Ms>)> {
    let mut duty =
        Duty::resumed(vec![StandingAlarm { transition: turn(true, 80), is_paged: true }]);
    let mut said = Vec::new();
    duty.behind(turn(true, raise), at(300), &mut said);
    duty.behind(turn(false, clear), at(300), &mut said);
    duty.join(&BTreeMap::new(), (0, 300), at(300), &mut said);
    assert_eq!(duty.told().count(), 0);
    amended(&said)
}

// An alarm that stood at a start is found to have begun and ended at other times: it is over, and it has been.
#[test]
fn a_standing_alarm_that_is_dated_otherwise_has_been() {
    assert_eq!(amended_where_found(40, 120), [(80, Some(80))]);
}

// The same where the time told lies outside of what was found: another occurrence, and the one told never was.
#[test]
fn a_standing_alarm_of_another_occurrence_never_was() {
    assert_eq!(amended_where_found(20, 60), [(80, None)]);
}

// A raise is corrected, then the end that was told after it is taken back: the corrected raise comes back, not the one that it
// corrected.
#[test]
fn what_comes_back_is_what_was_found() {
    let mut duty = Duty::default();
    let mut said = Vec::new();
    duty.live(turn(true, 80), By::Block, at(80), &mut said);
    duty.live(turn(false, 210), By::Block, at(210), &mut said);
    duty.settled(turn(true, 40), at(300), &mut said);
    duty.join(
        &BTreeMap::from([("limit".to_owned(), turn(true, 40))]),
        (0, 300),
        at(300),
        &mut said,
    );
    assert_eq!(amended(&said), [(80, Some(40)), (210, None)]);
    let told: Vec<_> = duty.told().map(|(turn, is_paged)| (turn.t, is_paged)).collect();
    assert_eq!(told, [(40, true)]);
}

// Of one occurrence the live lane made two. Putting that right, nothing says on the way that the alarm stands: at no moment
// did it stand again, and the list would move its newest alarm for it.
#[test]
fn corrections_made_together_say_how_it_stands_after_them() {
    let mut duty = Duty::default();
    let mut said = Vec::new();
    duty.settled(turn(true, 20), at(20), &mut said);
    for (raised, t) in [(false, 124), (true, 149), (false, 216)] {
        duty.live(turn(raised, t), By::Block, at(t), &mut said);
    }
    duty.behind(turn(false, 196), at(300), &mut said);
    duty.join(&BTreeMap::new(), (0, 300), at(300), &mut said);
    let standing = said.iter().filter_map(|output| match output {
        Output::Duty(DutyEvent::Amend { standing, .. }) => Some(standing.as_ref().map(|s| s.t)),
        _ => None,
    });
    let standing: Vec<_> = standing.collect();
    assert!(!standing.is_empty() && standing.iter().all(Option::is_none), "{standing:?}");
    assert_eq!(duty.told().count(), 0);
}
