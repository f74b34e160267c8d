//! Evaluations applied to the database: once however often they come, never signing, never losing what is unsigned.

use rules::evidence::Suppression;
use rules::{Severity, Text, Transition, TransitionKind};

use crate::alarms::{AckError, AlarmChange, DutyEvent, EvaluationBatch, Listing, OccurrenceFilter};
use crate::alarms::{Occurrence, Page, Signer, Verdict};
use crate::state::tests::open;
use crate::state::{Position, Snapshot, State};

const NOW: i64 = 1_772_000_000_000;

/// A transition of R21 at `site-a/gas-1`.
fn transition(kind: TransitionKind, level: Severity, t: i64) -> Transition {
    let text = include_str!("../../../tests/api/transition.json");
    let text = text.replace("SITE", "site-a").replace("9999", &t.to_string());
    let mut transition: Transition = serde_json::from_str(&text).unwrap();
    (transition.kind, transition.level) = (kind, level);
    transition
}

fn turn(transition: Transition, page: Page, needs_ack: bool) -> DutyEvent {
    let sample_at = transition.t;
    let transition = Box::new(transition);
    DutyEvent::Turn { transition, page, sample_at, decided_at: NOW, needs_ack }
}

fn event(kind: TransitionKind, level: Severity, t: i64) -> DutyEvent {
    turn(transition(kind, level, t), Page::Paged, true)
}

fn batch(position: u64, duty: Vec<DutyEvent>) -> EvaluationBatch {
    EvaluationBatch {
        evaluator: "gw-1".to_owned(),
        position: Position { log_id: u64::MAX, position },
        recorded_at: NOW,
        verdicts: Vec::new(),
        duty,
        snapshot: None,
    }
}

async fn apply(state: &State, duty: Vec<DutyEvent>) -> Vec<AlarmChange> {
    state.apply_evaluation(batch(1, duty)).await.unwrap()
}

async fn all(state: &State) -> Vec<Occurrence> {
    let filter = OccurrenceFilter { listing: Listing::All, ..OccurrenceFilter::default() };
    state.occurrences(&filter).await.unwrap()
}

async fn outbox(state: &State) -> Vec<(String, String)> {
    use crate::state::entity::progress::outbox::Entity;
    use sea_orm::EntityTrait;
    let rows = Entity::find().all(state.reader()).await.unwrap();
    rows.into_iter().map(|row| (row.occurrence_id, row.step)).collect()
}

fn signer(version: i64, key: &str) -> Signer<'_> {
    let comment = Some(" 已电话核实 ");
    Signer { user: "li", display: "李", version, comment, idempotency_key: key, at: NOW + 5 }
}

use Severity::{Blue, Orange, Red, Yellow};
use TransitionKind::{Clear, LevelDown, LevelUp, Raise, Unsuppress};

// The same batch again, as after a restart, changes no row, gives no change, tells nobody.
#[tokio::test]
async fn repeated_evaluation_changes_nothing() {
    let (state, _folder) = open().await;
    let events = vec![
        event(Raise, Orange, 10),
        event(LevelUp, Red, 20),
        event(LevelDown, Orange, 30),
        event(Clear, Orange, 40),
        event(Raise, Yellow, 50),
    ];
    let mut first = batch(7, events);
    for (kind, level, t) in [(Raise, Orange, 10), (LevelUp, Red, 20), (Clear, Red, 40)] {
        let transition = transition(kind, level, t);
        first.verdicts.push(Verdict { gateway: "gw-1".to_owned(), transition });
    }
    assert_eq!(state.apply_evaluation(first.clone()).await.unwrap().len(), 5);
    let (rows, told) = (all(&state).await, outbox(&state).await);
    first.position.position = 3;
    assert!(state.apply_evaluation(first).await.unwrap().is_empty());
    assert_eq!(all(&state).await, rows);
    assert_eq!(outbox(&state).await, told);
    assert_eq!(state.verdicts("gw-1", 0).await.unwrap().len(), 3);
    let position = state.evaluator_position("gw-1").await.unwrap().unwrap();
    assert_eq!((position.log_id, position.position), (u64::MAX, 3));
    assert_eq!(told.len(), 3, "raise, level_up, raise");
}

// A raise over an unsigned occurrence makes a new one and leaves the old unsigned; each is signed by itself.
#[tokio::test]
async fn re_raise_keeps_the_old_occurrence_unsigned() {
    let (state, _folder) = open().await;
    apply(
        &state,
        vec![event(Raise, Orange, 10), event(Clear, Orange, 20), event(Raise, Orange, 30)],
    )
    .await;
    let rows = all(&state).await;
    assert_eq!(
        rows.iter().map(|r| (r.number, r.active, r.acked)).collect::<Vec<_>>(),
        [(2, true, false), (1, false, false)]
    );
    state.ack_occurrence(&rows[1].id, &signer(rows[1].version, "k")).await.unwrap();
    let rows = all(&state).await;
    assert_eq!((rows[0].acked, rows[1].acked), (false, true));
}

// A rise in severity takes the signature back and pages; a fall does neither.
#[tokio::test]
async fn rise_in_severity_asks_again_and_a_fall_does_not() {
    let (state, _folder) = open().await;
    apply(&state, vec![event(Raise, Yellow, 10)]).await;
    let raised = all(&state).await.remove(0);
    state.ack_occurrence(&raised.id, &signer(raised.version, "k")).await.unwrap();
    let worse = apply(&state, vec![event(LevelUp, Red, 20)]).await.remove(0);
    assert!(worse.pages && !worse.occurrence.acked && worse.occurrence.ack_by.is_none());
    let version = worse.occurrence.version;
    state.ack_occurrence(&raised.id, &signer(version, "k2")).await.unwrap();
    let better = apply(&state, vec![event(LevelDown, Yellow, 30)]).await.remove(0);
    assert!(!better.pages && better.occurrence.acked);
    assert_eq!((better.occurrence.severity, better.occurrence.severity_worst), (3, 1));
}

// A latching rule holds the alarm after the condition has gone until a person resets it.
#[tokio::test]
async fn latched_alarm_waits_for_a_reset() {
    let (state, _folder) = open().await;
    let latching = |kind, t| {
        turn(Transition { latching: true, ..transition(kind, Red, t) }, Page::Paged, true)
    };
    apply(&state, vec![latching(Raise, 10)]).await;
    let raised = all(&state).await.remove(0);
    let refused = state.reset_occurrence(&raised.id, &signer(raised.version, "k")).await;
    assert!(matches!(refused, Err(AckError::Conflict(_))), "still holds");
    let cleared = apply(&state, vec![latching(Clear, 20)]).await.remove(0).occurrence;
    assert!(cleared.latched && !cleared.active);
    let listed = state.occurrences(&OccurrenceFilter::default()).await.unwrap();
    assert_eq!(listed.len(), 1, "latched is listed as active");
    let reset = state.reset_occurrence(&cleared.id, &signer(cleared.version, "k")).await.unwrap();
    assert!(!reset.latched && !reset.acked, "a reset does not sign");
}

// A level that latched is what people see until they release it, although the condition fell to a milder one on its way.
#[tokio::test]
async fn a_latch_outlives_the_milder_level_after_it() {
    let (state, _folder) = open().await;
    let red = Transition { latching: true, ..transition(LevelUp, Red, 20) };
    apply(&state, vec![event(Raise, Yellow, 10), turn(red, Page::Paged, true)]).await;
    let lower = apply(&state, vec![event(LevelDown, Yellow, 30)]).await.remove(0).occurrence;
    assert_eq!((lower.severity, lower.active), (1, true));
    let gone = apply(&state, vec![event(Clear, Yellow, 40)]).await.remove(0).occurrence;
    assert_eq!((gone.severity, gone.active, gone.latched), (1, false, true));
    let signed = state.ack_occurrence(&gone.id, &signer(gone.version, "k")).await.unwrap();
    assert!(signed.latched);
    let reset = state.reset_occurrence(&signed.id, &signer(signed.version, "r")).await.unwrap();
    assert!(!reset.latched && reset.acked);
}

// Goal: a red alarm that latched while its readings were history, and fell to a milder level, calls somebody when the
// gateway's data reach the present. Method: the evaluator says the milder level again, as a page.
#[tokio::test]
async fn a_latch_that_nobody_was_called_for_calls_at_the_head() {
    let (state, _folder) = open().await;
    let red = Transition { latching: true, ..transition(Raise, Red, 10) };
    let milder = transition(LevelDown, Yellow, 20);
    let history = vec![turn(red, Page::Silent, true), turn(milder.clone(), Page::Silent, true)];
    apply(&state, history).await;
    let called = apply(&state, vec![turn(milder, Page::Paged, true)]).await;
    assert_eq!(called.iter().map(|change| change.pages).collect::<Vec<_>>(), [true]);
    assert_eq!((called[0].occurrence.severity, outbox(&state).await.len()), (1, 1));
}

// Goal: what came and went in history is listed as worth a signature where it was severe, also if it began mild; and ends
// no earlier than it began, also by a clock that was set back.
#[tokio::test]
async fn history_that_rose_is_listed_as_severe_and_ends_after_it_began() {
    let (state, _folder) = open().await;
    let mild = turn(transition(Raise, Yellow, 100), Page::Silent, true);
    let worse = turn(transition(LevelUp, Red, 200), Page::LateUnsigned, true);
    let end = Transition { segment: 1, ..transition(Clear, Red, 50) };
    apply(&state, vec![mild, worse, turn(end, Page::Silent, true)]).await;
    let listed = all(&state).await.remove(0);
    assert_eq!((listed.page.as_str(), listed.active), ("late_unsigned", false));
    assert_eq!(listed.cleared_at, Some(listed.raised_at));
}

// Two people sign the same alarm: the second gets a conflict with what is there; a repeated click is one signature.
#[tokio::test]
async fn second_signature_conflicts_and_a_repeated_click_does_not() {
    let (state, _folder) = open().await;
    apply(&state, vec![event(Raise, Orange, 10)]).await;
    let raised = all(&state).await.remove(0);
    let stale = state.ack_occurrence(&raised.id, &signer(raised.version + 1, "k")).await;
    assert!(matches!(stale, Err(AckError::Conflict(_))), "another version");
    let signed = state.ack_occurrence(&raised.id, &signer(raised.version, "k")).await.unwrap();
    assert_eq!(signed.ack_comment.as_deref(), Some("已电话核实"));
    let again = state.ack_occurrence(&raised.id, &signer(raised.version, "k")).await.unwrap();
    assert_eq!(again, signed);
    let wang = Signer { user: "wang", ..signer(raised.version, "k") };
    let Err(AckError::Conflict(now)) = state.ack_occurrence(&raised.id, &wang).await else {
        panic!("signed twice")
    };
    assert_eq!(now.ack_by.as_deref(), Some("li"));
    let history = state.occurrence_history(&raised.id).await.unwrap();
    assert_eq!(history.iter().map(|h| h.kind.as_str()).collect::<Vec<_>>(), ["raise", "ack"]);
    assert_eq!(state.audit_rows(None, 10).await.unwrap()[0].action, "alarm.ack");
    let unknown = state.ack_occurrence("nothing", &wang).await;
    assert!(matches!(unknown, Err(AckError::NotFound)));
}

// A correction is kept beside what was paged: no axis, no signature, no message changes.
#[tokio::test]
async fn amends_neither_pages_nor_takes_a_signature_back() {
    let (state, _folder) = open().await;
    apply(&state, vec![event(Raise, Orange, 10)]).await;
    let raised = all(&state).await.remove(0);
    state.ack_occurrence(&raised.id, &signer(raised.version, "k")).await.unwrap();
    let boxed = |kind, level, t| Box::new(transition(kind, level, t));
    let was = || boxed(Raise, Orange, 10);
    let worse_start = transition(Raise, Red, 9);
    let worse = DutyEvent::Amend {
        was: was(),
        is: Some(boxed(Raise, Red, 9)),
        standing: Some(boxed(Raise, Red, 9)),
        decided_at: NOW,
    };
    let never = DutyEvent::Amend { was: was(), is: None, standing: None, decided_at: NOW };
    let change = apply(&state, vec![worse.clone()]).await.remove(0);
    assert!(!change.pages && change.occurrence.acked && change.occurrence.active);
    assert_eq!(change.occurrence.severity, 1);
    let begun = (change.occurrence.since, change.occurrence.raised_at);
    assert_eq!(begun, (worse_start.since, worse_start.t), "it stands since when it really began");
    let change = apply(&state, vec![never, worse]).await;
    assert_eq!(change.len(), 1, "a repeated correction is none");
    assert!(change[0].occurrence.acked && !change[0].occurrence.active);
    assert_eq!(change[0].occurrence.amends.as_deref(), Some("never"));
    assert_eq!(outbox(&state).await.len(), 1);
}

// Goal: what is over and is found to have been worse than it was listed is shown so, and as worth a signature.
#[tokio::test]
async fn what_was_worse_than_it_was_listed_is_shown_so() {
    let (state, _folder) = open().await;
    let mild = turn(transition(Raise, Blue, 10), Page::Silent, false);
    let end = turn(transition(Clear, Blue, 30), Page::Silent, false);
    apply(&state, vec![mild, end]).await;
    let boxed = |kind, level, t| Box::new(transition(kind, level, t));
    let (was, is) = (boxed(Raise, Blue, 10), Some(boxed(Raise, Red, 9)));
    let amend = DutyEvent::Amend { was, is, standing: None, decided_at: NOW };
    let changed = apply(&state, vec![amend]).await.remove(0);
    let o = changed.occurrence;
    assert_eq!((o.severity, o.severity_worst, o.page.as_str()), (1, 1, "late_unsigned"));
    assert!(!o.active && !o.acked && o.needs_ack && !changed.pages);
}

// The same where it still stands: red is never listed as nothing to sign, and nobody is called for history.
#[tokio::test]
async fn history_that_stands_and_was_worse_is_listed_as_late() {
    let (state, _folder) = open().await;
    apply(&state, vec![turn(transition(Raise, Yellow, 10), Page::Silent, true)]).await;
    let boxed = |level, t| Box::new(transition(Raise, level, t));
    let (was, is) = (boxed(Yellow, 10), Some(boxed(Red, 5)));
    let amend = DutyEvent::Amend { was, standing: is.clone(), is, decided_at: NOW };
    let milder = turn(transition(LevelDown, Yellow, 12), Page::Silent, true);
    let changed = apply(&state, vec![amend, milder]).await.remove(0);
    let o = changed.occurrence;
    assert_eq!((o.severity, o.page.as_str()), (1, "late_unsigned"));
    assert!(o.active && !o.acked && o.needs_ack && !changed.pages);
}

// It is over, and the settled evaluator knows no end of it: it lasted at least until the last that was told of it.
#[tokio::test]
async fn what_is_over_without_an_end_lasted_until_it_was_last_told() {
    let (state, _folder) = open().await;
    apply(&state, vec![event(Raise, Orange, 10), event(LevelUp, Red, 40)]).await;
    let raise = || Box::new(transition(Raise, Orange, 10));
    let over =
        DutyEvent::Amend { was: raise(), is: Some(raise()), standing: None, decided_at: NOW };
    let o = apply(&state, vec![over]).await.remove(0).occurrence;
    assert_eq!((o.active, o.raised_at, o.cleared_at), (false, 10, Some(40)));
}

// What is corrected is what was told, also where the alarm has come again since; and only an alarm that began for nothing
// is called one that never was.
#[tokio::test]
async fn a_correction_names_what_it_corrects_and_no_true_alarm_is_taken_back() {
    let (state, _folder) = open().await;
    let boxed = |kind, t| Box::new(transition(kind, Orange, t));
    let amend = |was, is, standing| DutyEvent::Amend { was, is, standing, decided_at: NOW };
    apply(&state, vec![event(Raise, Orange, 10), event(Clear, Orange, 20)]).await;
    // It had not ended: it goes on, and did happen.
    let uncleared = amend(boxed(Clear, 20), None, Some(boxed(Raise, 10)));
    let on = apply(&state, vec![uncleared]).await.remove(0).occurrence;
    assert_eq!((on.active, on.cleared_at, on.amends.as_deref()), (true, None, Some("uncleared")));
    apply(&state, vec![event(Clear, Orange, 30), event(Raise, Orange, 40)]).await;
    // The clear of the first one was later: it alone is corrected, the second goes on as it is.
    let later = amend(boxed(Clear, 30), Some(boxed(Clear, 35)), Some(boxed(Raise, 40)));
    let changed = apply(&state, vec![later]).await;
    assert_eq!(changed.len(), 1);
    let second = all(&state).await.into_iter().find(|o| o.number == 2).expect("the second");
    assert_eq!((changed[0].occurrence.number, changed[0].occurrence.cleared_at), (1, Some(35)));
    let untouched = (second.active, second.raised_at, second.amends);
    assert_eq!(untouched, (true, 40, None));
    // The first began earlier.
    let begun = amend(boxed(Raise, 10), Some(boxed(Raise, 5)), Some(boxed(Raise, 40)));
    let first = apply(&state, vec![begun]).await.remove(0).occurrence;
    assert_eq!((first.number, first.raised_at, first.active), (1, 5, false));
    // The first never was, and nothing stands any more: the second ends, no earlier than it began.
    let never = amend(boxed(Raise, 10), None, None);
    let changed = apply(&state, vec![never]).await;
    assert_eq!(changed[0].occurrence.amends.as_deref(), Some("never"));
    let second = &changed[1].occurrence;
    assert_eq!((second.number, second.active, second.cleared_at), (2, false, Some(40)));
    assert_eq!(second.amends, None);
}

// The end of an episode that was over long ago, found again in a log that was put back, does not end the present one.
#[tokio::test]
async fn the_end_of_an_older_episode_does_not_end_the_present_one() {
    let (state, _folder) = open().await;
    apply(&state, vec![event(Raise, Red, 10), event(Clear, Red, 20), event(Raise, Red, 30)]).await;
    assert!(apply(&state, vec![event(Clear, Red, 25)]).await.is_empty());
    let rows = all(&state).await;
    let present = rows.iter().find(|o| o.number == 2).expect("the second");
    assert!(present.active && present.cleared_at.is_none());
    let stepped = Transition { segment: 1, ..transition(Clear, Red, 25) };
    let ended = apply(&state, vec![turn(stepped, Page::Silent, true)]).await;
    assert!(!ended[0].occurrence.active, "the gateway's clock was set back: this is its end");
}

// What came and went unseen is listed unsigned without a message; what is suppressed does not page until it is not.
#[tokio::test]
async fn only_what_may_page_reaches_the_outbox() {
    let (state, _folder) = open().await;
    let late = |kind, t| turn(transition(kind, Red, t), Page::LateUnsigned, true);
    apply(&state, vec![late(Raise, 10), late(Clear, 20)]).await;
    let row = all(&state).await.remove(0);
    assert_eq!((row.active, row.acked, row.page.as_str()), (false, false, "late_unsigned"));
    let mut masked = transition(Raise, Red, 30);
    let fact = rules::evidence::FactNote {
        id: "c".to_owned(),
        revision: 1,
        what: Text::same("calibration"),
        valid_from: 0,
        valid_to: None,
    };
    let suppression = Suppression { by: "calibration".to_owned(), fact, until: Some(40) };
    masked.evidence.suppression = Some(suppression);
    let change = apply(&state, vec![turn(masked, Page::Paged, true)]).await.remove(0);
    assert_eq!(change.occurrence.suppressed_by.as_deref(), Some("calibration"));
    assert!(!change.pages && outbox(&state).await.is_empty());
    let freed = apply(&state, vec![event(Unsuppress, Red, 40)]).await.remove(0);
    assert!(freed.pages && freed.occurrence.suppressed_by.is_none());
    assert_eq!(outbox(&state).await.len(), 1);
}

// Goal: an alarm that is listed as active and that nobody was called for must not silence a raise of the present; the call
// comes once, and not where somebody has signed.
#[tokio::test]
async fn a_raise_onto_what_nobody_was_called_for_calls() {
    for is_signed in [false, true] {
        let (state, _folder) = open().await;
        let late = turn(transition(Raise, Red, 10), Page::LateUnsigned, true);
        let listed = apply(&state, vec![late]).await.remove(0).occurrence;
        if is_signed {
            state.ack_occurrence(&listed.id, &signer(listed.version, "k")).await.unwrap();
        }
        let present = apply(&state, vec![event(Raise, Red, 900)]).await.remove(0);
        assert_eq!(present.pages, !is_signed);
        let again = apply(&state, vec![event(Raise, Red, 950)]).await;
        assert!(again.iter().all(|change| !change.pages));
        assert_eq!(outbox(&state).await.len(), usize::from(!is_signed));
    }
}

// A statistical 蓝 event has nothing to sign and tells nobody.
#[tokio::test]
async fn statistical_event_has_no_ack_axis() {
    let (state, _folder) = open().await;
    let blue = turn(transition(Raise, Severity::Blue, 10), Page::Paged, false);
    let change = apply(&state, vec![blue]).await.remove(0);
    assert!(change.occurrence.acked && change.occurrence.ack_by.is_none() && !change.pages);
    let refused = state.ack_occurrence(&change.occurrence.id, &signer(1, "k")).await;
    assert!(matches!(refused, Err(AckError::Conflict(_))));
}

// A 蓝 alarm that rises is one like any other from then on: it pages, waits for a signature, and keeps asking when it
// falls back.
#[tokio::test]
async fn blue_that_rises_asks_for_a_signature() {
    let (state, _folder) = open().await;
    let blue = || turn(transition(Raise, Blue, 10), Page::Paged, false);
    apply(&state, vec![blue()]).await;
    let worse = apply(&state, vec![event(LevelUp, Yellow, 20)]).await.remove(0);
    assert!(worse.pages && worse.occurrence.needs_ack && !worse.occurrence.acked);
    assert_eq!(outbox(&state).await.len(), 1);
    let listing = Listing::Unacked;
    let unsigned = OccurrenceFilter { listing, ..OccurrenceFilter::default() };
    assert_eq!(state.occurrences(&unsigned).await.unwrap().len(), 1);
    let better = turn(transition(LevelDown, Blue, 30), Page::Paged, false);
    let better = apply(&state, vec![better]).await.remove(0).occurrence;
    assert!(better.needs_ack && !better.acked, "what was asked for is not taken back");
    let signed = state.ack_occurrence(&better.id, &signer(better.version, "k")).await.unwrap();
    let cleared = apply(&state, vec![event(Clear, Blue, 40)]).await.remove(0).occurrence;
    assert!(signed.acked && cleared.acked && !cleared.active);
}

// A correction to a worse level than 蓝 enters the list unsigned, and still calls nobody; one that clears asks nothing.
#[tokio::test]
async fn blue_that_is_amended_to_worse_is_unsigned() {
    let (state, _folder) = open().await;
    apply(&state, vec![turn(transition(Raise, Blue, 10), Page::Paged, false)]).await;
    let is = Some(Box::new(transition(Raise, Yellow, 9)));
    let was = || Box::new(transition(Raise, Blue, 10));
    let worse = DutyEvent::Amend { was: was(), standing: is.clone(), is, decided_at: NOW };
    let change = apply(&state, vec![worse]).await.remove(0);
    assert!(!change.pages && change.occurrence.needs_ack && !change.occurrence.acked);
    assert_eq!(change.occurrence.page, "late_unsigned");
    assert!(outbox(&state).await.is_empty());
}

// History never calls: a rise that backfill brings is unsigned and silent, although 蓝 itself had come in time.
#[tokio::test]
async fn blue_that_rises_in_history_is_unsigned_and_silent() {
    let (state, _folder) = open().await;
    apply(&state, vec![turn(transition(Raise, Blue, 10), Page::Paged, false)]).await;
    let late = turn(transition(LevelUp, Yellow, 20), Page::Silent, true);
    let change = apply(&state, vec![late]).await.remove(0);
    assert!(!change.pages && !change.occurrence.acked);
    assert_eq!(change.occurrence.page, "silent");
}

// What was suppressed and comes free at a worse level than 蓝 pages and is unsigned.
#[tokio::test]
async fn blue_that_comes_free_worse_asks_for_a_signature() {
    let (state, _folder) = open().await;
    apply(&state, vec![turn(transition(Raise, Blue, 10), Page::Paged, false)]).await;
    let freed = apply(&state, vec![event(Unsuppress, Orange, 20)]).await.remove(0);
    assert!(freed.pages && freed.occurrence.needs_ack && !freed.occurrence.acked);
}

// Snapshots come back newest first, a few are kept, and the verdicts go back to one when the log was restored.
#[tokio::test]
async fn snapshots_are_kept_and_verdicts_go_back_to_one() {
    let (state, _folder) = open().await;
    for n in 1..=5_u8 {
        let t = i64::from(n) * 10;
        let mut step = batch(u64::from(n), Vec::new());
        let transition = transition(Raise, Red, t);
        step.verdicts = vec![Verdict { gateway: "gw-1".to_owned(), transition }];
        step.snapshot = Some(Snapshot {
            at: step.position,
            engine_version: 1,
            fact_revision: 9,
            verdict_seq: 0,
            bytes: vec![n],
        });
        state.apply_evaluation(step).await.unwrap();
    }
    let kept = state.snapshots("gw-1").await.unwrap();
    assert_eq!(kept.iter().map(|s| s.bytes[0]).collect::<Vec<_>>(), [5, 4, 3]);
    assert_eq!(state.rewind_verdicts("gw-1", &kept[2]).await.unwrap(), 2);
    assert_eq!(state.verdicts("gw-1", 0).await.unwrap().len(), 3);
}

// The row filter of a plant lists its own site only.
#[tokio::test]
async fn plant_lists_its_own_alarms_only() {
    let (state, _folder) = open().await;
    let mut other = transition(Raise, Red, 10);
    other.scope.site = "site-b".to_owned();
    apply(&state, vec![event(Raise, Red, 10), turn(other, Page::Paged, true)]).await;
    let filter =
        OccurrenceFilter { site: Some("site-b".to_owned()), ..OccurrenceFilter::default() };
    let rows = state.occurrences(&filter).await.unwrap();
    assert!(rows.len() == 1 && rows[0].site == "site-b");
}
