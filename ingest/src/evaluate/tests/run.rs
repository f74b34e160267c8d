//! What the cursor makes of a log: alarms, journals and positions.

use std::sync::Arc;

use rules::RegState;
use rules::fact::FactBody;

use super::bench::{BASE, Bench, GATEWAY, plant_of, run};
use crate::alarms::{DutyEvent, EvaluationBatch, Listing, OccurrenceFilter};
use crate::log::record::{CentreRecord, Decided, GoneSpan};
use crate::log::{LogRecord, RecordBody};

const LEAK: std::ops::Range<i64> = 30..60;

fn lel(second: i64) -> f64 {
    if LEAK.contains(&second) { 60.0 } else { 3.0 }
}

/// A log that holds a leak, which goes on at its end.
fn with_leak() -> Bench {
    let mut bench = Bench::new();
    bench.chain(7, 0);
    for second in 0..45 {
        bench.block(7, second, lel(second), second);
    }
    bench
}

fn alarms(bench: &Bench) -> Vec<(String, i32, bool, String, i64)> {
    let found =
        bench.runtime.block_on(bench.state.occurrences(&OccurrenceFilter::default())).unwrap();
    let line = |o: crate::alarms::Occurrence| {
        (o.rule, o.severity, o.active, o.page, (o.raised_at - BASE) / 1_000)
    };
    let mut lines: Vec<_> = found.into_iter().map(line).collect();
    lines.sort();
    lines
}

// Goal: blocks in the log become an alarm row that pages, and its verdict is in the journal.
#[test]
fn a_leak_in_hand_made_blocks_becomes_an_alarm_that_pages() {
    let bench = with_leak();
    bench.set_clock(45);
    run(&mut bench.cursor());
    assert_eq!(alarms(&bench), [("R21".to_owned(), 1, true, "paged".to_owned(), 32)]);
    let changes = bench.changes();
    assert_eq!(changes.iter().filter(|change| change.pages).count(), 1);
    let lines = bench.verdict_lines();
    assert_eq!(lines.len(), 1, "{lines:?}");
}

// Goal (invariants 3, 7): whatever the restarts, the journal is the one a fresh evaluator makes of the log, and nobody
// is paged twice. Method: a new cursor after every few records, snapshots each time the hand clock allows.
#[test]
fn restarts_change_neither_journal_nor_pages() {
    let mut bench = Bench::new();
    bench.chain(7, 0);
    for second in 0..120 {
        // Every seventh block comes five seconds late, so that holes open and close.
        if second % 7 == 0 && second >= 7 {
            bench.block(7, second - 5, lel(second - 5), second);
        }
        if second % 7 != 2 || second < 3 {
            bench.block(7, second, lel(second), second);
        }
        bench.tick(second);
        if second % 11 == 0 {
            bench.set_clock(second * 7);
            bench.start();
            let mut cursor = bench.cursor();
            run(&mut cursor);
        }
    }
    let mut cursor = bench.cursor();
    run(&mut cursor);
    let replayed = bench.replayed();
    assert!(!replayed.is_empty());
    assert_eq!(bench.verdict_lines(), replayed);
    let paged = bench.changes().iter().filter(|change| change.pages).count();
    assert_eq!(paged, 1, "{:?}", bench.changes());
}

// Goal (design §4): blocks beyond the last seq that counts, and those of a gateway that was replaced, are not evaluated.
// Method: a leak that only such blocks show, then one in the epoch that follows.
#[test]
fn blocks_that_do_not_count_are_not_evaluated() {
    let mut bench = Bench::new();
    bench.chain(7, 0);
    for second in 0..10 {
        bench.block(7, second, 3.0, second);
    }
    bench.append("gw-1", &CentreRecord::Chain { epoch: 8, after: Some(7), last: 10 }, 10);
    let before = vec![GoneSpan { epoch: 8, from: 1, to: 10 }];
    bench.append("gw-1", &CentreRecord::Gone(before), 10);
    for second in 10..40 {
        bench.block(7, second, 60.0, second);
        bench.block(8, second, 3.0, second);
        bench.tick(second);
    }
    bench.set_clock(40);
    run(&mut bench.cursor());
    assert!(alarms(&bench).is_empty(), "{:?}", alarms(&bench));
    for second in 40..80 {
        let decided = Decided { is_superseded: true, ..Decided::default() };
        bench.block_as(8, second, 60.0, (second, decided));
        bench.tick(second);
    }
    bench.set_clock(80);
    run(&mut bench.cursor());
    assert!(!alarms(&bench).iter().any(|alarm| alarm.0 == "R21"), "{:?}", alarms(&bench));
    assert!(bench.verdict_lines().is_empty());
}

// Goal: the log must keep what a restart needs. Method: what is evictable after snapshots, with a hole open.
#[test]
fn the_log_keeps_what_a_restart_needs() {
    let mut bench = Bench::new();
    bench.chain(7, 0);
    bench.block(7, 0, 3.0, 0);
    bench.block(7, 2, 3.0, 2);
    let waiting = bench.log.last_position();
    run(&mut bench.cursor());
    bench.progress.stored(u64::MAX);
    assert_eq!(bench.progress.evictable(), 0, "one snapshot is not enough");
    for second in 31..34 {
        bench.set_clock(second * 31);
        bench.tick(second);
        run(&mut bench.cursor());
    }
    let evictable = bench.progress.evictable();
    assert!(evictable > waiting && evictable < bench.log.last_position(), "{evictable}");
    assert_eq!(*bench.progress.kept(), [waiting]);
    assert_eq!(bench.progress.evaluator_position(), bench.log.last_position());
}

// Goal: whether the evaluator stands still must show within seconds, also while nothing happens. Method: ticks alone, with
// no snapshot due: nothing is to be made durable, so the durable position stays, and what was judged does not.
#[test]
fn what_was_judged_moves_also_when_nothing_happens() {
    let mut bench = Bench::new();
    bench.chain(7, 0);
    bench.block(7, 0, 3.0, 0);
    let shared = bench.shared();
    let mut cursor = bench.cursor_on(Arc::clone(&shared));
    run(&mut cursor);
    let durable = bench.progress.evaluator_position();
    for second in 1..20 {
        bench.tick_told(&shared, second);
    }
    run(&mut cursor);
    assert_eq!(bench.progress.judged_position(), bench.log.last_position());
    assert_eq!(bench.progress.evaluator_position(), durable);
}

// Goal: a start may go on from the second-newest snapshot and read again what waited there. Method: a hole that is open
// in both durable snapshots closes.
#[test]
fn the_log_keeps_what_a_durable_snapshot_waits_for() {
    let mut bench = Bench::new();
    bench.chain(7, 0);
    bench.block(7, 0, 3.0, 0);
    bench.block(7, 2, 3.0, 2);
    let waiting = bench.log.last_position();
    for second in 3..6 {
        bench.tick(second);
        bench.set_clock(second);
        run(&mut bench.cursor());
    }
    assert_eq!(*bench.progress.kept(), [waiting]);
    bench.block(7, 1, 3.0, 6);
    bench.set_clock(6);
    run(&mut bench.cursor());
    assert_eq!(*bench.progress.kept(), [waiting], "the older snapshot still waits for it");
    bench.tick(7);
    bench.set_clock(7);
    run(&mut bench.cursor());
    assert!(bench.progress.kept().is_empty());
}

// Goal: a gateway that falls silent is told once as itself, not by each of its devices; it clears when it is back.
#[test]
fn a_silent_gateway_is_told_as_itself() {
    let mut bench = Bench::new();
    bench.chain(7, 0);
    bench.block(7, 0, 3.0, 0);
    for second in 1..400 {
        bench.tick(second);
    }
    bench.set_clock(400);
    run(&mut bench.cursor());
    let found =
        bench.runtime.block_on(bench.state.occurrences(&OccurrenceFilter::default())).unwrap();
    let scopes: Vec<_> =
        found.iter().map(|o| (o.rule.as_str(), o.scope.as_str(), o.active)).collect();
    assert!(scopes.contains(&("R41g", "gw-1", true)), "{scopes:?}");
    assert!(scopes.contains(&("R41p", "gas-1", true)), "protection unknown: {scopes:?}");
    assert!(!scopes.iter().any(|scope| scope.0 == "R41"), "{scopes:?}");
    bench.block(7, 1, 3.0, 401);
    run(&mut bench.cursor());
    let found =
        bench.runtime.block_on(bench.state.occurrences(&OccurrenceFilter::default())).unwrap();
    assert!(!found.iter().any(|o| o.rule == "R41g" && o.active), "{found:?}");
}

// Goal: what was recorded before a gateway's first block is no beginning of its time: nothing is silent since then. Method:
// a chain record comes before the registry's, a stop order is an hour old; then the first blocks, of one detector of two.
#[test]
fn what_was_recorded_before_the_first_block_begins_no_silence() {
    let told = |is_chain_first: bool| {
        let mut bench = Bench::bare();
        if is_chain_first {
            bench.chain(7, 0);
        }
        let model = Box::new(plant_of(&[("gas-1", GATEWAY), ("gas-2", GATEWAY)]));
        bench.fact("site:s1", 1, FactBody::Site { model });
        let (state, document) = (RegState::Suspended, "1".to_owned());
        bench.fact("order:1", 2, FactBody::RegState { state, document, base_kw: None });
        if !is_chain_first {
            bench.chain(7, 0);
        }
        for (seq, second) in (1..=60).zip(3_600..) {
            bench.block_at((7, seq), second, 3.0, (second, Decided::default()));
            bench.tick(second);
        }
        bench.set_clock(3_660);
        run(&mut bench.cursor());
        assert_eq!(bench.verdict_lines(), bench.replayed());
        alarms(&bench)
    };
    let (chain_first, registry_first) = (told(true), told(false));
    assert_eq!((&*chain_first, &*registry_first), (&[][..], &[][..]));
}

// Goal (design §7): a page is not sent hours later as if it were now. Method: a leak lies in the log and nobody judges for an
// hour; it is listed without sound, and pages, since when it really began, once the gateway's present shows that it holds.
#[test]
fn a_page_that_grew_old_is_silent_until_the_present_shows_that_it_holds() {
    let mut bench = with_leak();
    bench.set_clock(3_645);
    run(&mut bench.cursor());
    assert_eq!(alarms(&bench), [("R21".to_owned(), 1, true, "late_unsigned".to_owned(), 32)]);
    assert!(bench.pages().is_empty());
    bench.start();
    let mut cursor = bench.cursor();
    run(&mut cursor);
    assert!(bench.pages().is_empty(), "nothing is known of the present");
    drop(cursor);
    for (seq, second) in (46..50).zip(3_646..) {
        bench.block_at((7, seq), second, 60.0, (second, Decided::default()));
    }
    bench.set_clock(3_650);
    run(&mut bench.cursor());
    let listed = alarms(&bench);
    assert!(listed.contains(&("R21".to_owned(), 1, true, "paged".to_owned(), 32)), "{listed:?}");
    run(&mut bench.cursor());
    assert_eq!(bench.pages().iter().filter(|page| page.starts_with("R21")).count(), 1);
}

// Goal: what came and went while nobody judged pages nobody; it is in the list, unsigned.
#[test]
fn a_page_that_grew_old_and_is_over_is_listed_only() {
    let mut bench = Bench::new();
    bench.chain(7, 0);
    for second in 0..120 {
        bench.block(7, second, lel(second), second);
    }
    bench.set_clock(3_720);
    let mut cursor = bench.cursor();
    run(&mut cursor);
    for (seq, second) in (121..130).zip(3_721..) {
        bench.block_at((7, seq), second, 3.0, (second, Decided::default()));
    }
    run(&mut bench.cursor());
    assert!(!bench.pages().iter().any(|page| page.starts_with("R21")), "{:?}", bench.pages());
    let listed = alarms(&bench);
    assert!(
        listed.contains(&("R21".to_owned(), 1, false, "late_unsigned".to_owned(), 32)),
        "{listed:?}"
    );
}

// Goal: an alarm that the evaluator holds is in the list, although its key was told and corrected on a log that was lost.
// Method: the correction is written as the lost log's evaluator did; then a start.
#[test]
fn an_alarm_that_was_corrected_on_a_lost_log_comes_back_and_pages() {
    let mut bench = with_leak();
    bench.set_clock(45);
    run(&mut bench.cursor());
    assert_eq!(bench.pages(), ["R21 gas-1"]);
    let active = bench.runtime.block_on(bench.state.active_alarms()).unwrap();
    let was = Box::new(active[0].transition.clone());
    let corrected = DutyEvent::Amend { was, is: None, standing: None, decided_at: BASE };
    let batch = EvaluationBatch {
        evaluator: GATEWAY.to_owned(),
        position: crate::state::Position { log_id: 1_001, position: bench.log.last_position() },
        recorded_at: BASE,
        verdicts: Vec::new(),
        duty: vec![corrected],
        snapshot: None,
    };
    bench.runtime.block_on(bench.state.apply_evaluation(batch)).unwrap();
    assert!(alarms(&bench).iter().all(|alarm| !alarm.2), "{:?}", alarms(&bench));
    for _ in 0..2 {
        bench.start();
        run(&mut bench.cursor());
    }
    let active: Vec<_> = alarms(&bench).into_iter().filter(|alarm| alarm.2).collect();
    assert_eq!(active, [("R21".to_owned(), 1, true, "paged".to_owned(), 32)]);
    assert_eq!(bench.pages(), ["R21 gas-1", "R21 gas-1"]);
}

// Goal: nobody waits for ever before a page that cannot be read: the process ends and the next start salvages the log.
#[test]
fn a_damaged_page_is_an_end_and_no_pause() {
    let mut bench = Bench::new();
    bench.chain(7, 0);
    bench.block(7, 0, 3.0, 0);
    run(&mut bench.cursor());
    for second in 1..300 {
        bench.block(7, second, 3.0, second);
    }
    let mut cursor = bench.cursor();
    bench.damage_pages();
    let failed = cursor.step(std::time::Duration::ZERO).unwrap_err();
    assert!(failed.is_damage(), "{failed:?}");
}

// Goal: a step of the centre's clock is no silence, and a step back mutes nobody. Method: the clock is set by an hour and
// back again while blocks come each second; then they stop.
#[test]
fn a_step_of_the_centres_clock_is_no_silence() {
    let mut bench = Bench::new();
    bench.chain(7, 0);
    let hour = 3_600;
    for second in 0..60 {
        let off = if (20..40).contains(&second) { hour } else { 0 };
        if second == 20 || second == 40 {
            let by = if second == 20 { hour } else { -hour };
            bench.append("", &CentreRecord::Step { by: by * 1_000 }, second + off);
        }
        bench.tick(second + off);
        bench.block(7, second, 3.0, second + off);
    }
    bench.set_clock(60);
    run(&mut bench.cursor());
    assert!(alarms(&bench).is_empty(), "{:?}", alarms(&bench));
    for second in 60..400 {
        bench.tick(second);
    }
    run(&mut bench.cursor());
    let told: Vec<_> = alarms(&bench).into_iter().map(|alarm| (alarm.0, alarm.4)).collect();
    assert!(told.iter().any(|(rule, at)| rule == "R41g" && (350..370).contains(at)), "{told:?}");
}

// Goal: rule states are published, and a rule that cannot run says so.
#[test]
fn rule_states_are_on_the_board() {
    let mut bench = Bench::new();
    bench.chain(7, 0);
    bench.block(7, 0, 3.0, 0);
    run(&mut bench.cursor());
    let shown = bench.board.gateways();
    let board = shown.get("gw-1").unwrap();
    assert!(
        board
            .rules
            .iter()
            .any(|state| state.rule == "R21" && state.standing == rules::Standing::Evaluating)
    );
}

// Goal: a leak that came while the log was being filled backwards is one alarm, raised at the head with its own start.
#[test]
fn backfill_behind_the_newest_block_raises_at_the_head() {
    let mut bench = Bench::new();
    bench.chain(7, 0);
    for second in 0..20 {
        bench.block(7, second, 3.0, second);
    }
    for second in (20..60).rev() {
        bench.block(7, second, if second >= 40 { 60.0 } else { 3.0 }, 61);
    }
    bench.set_clock(62);
    let mut cursor = bench.cursor();
    run(&mut cursor);
    assert_eq!(alarms(&bench), [("R21".to_owned(), 1, true, "paged".to_owned(), 42)]);
    let replayed = bench.replayed();
    assert_eq!(bench.verdict_lines(), replayed);
}

// Goal: a log restored from a backup takes the verdict journal back with it; what comes again is judged again.
// Method: another second half after the restore than before it.
#[test]
fn a_restored_log_takes_the_journal_back_to_what_both_share() {
    let mut bench = Bench::new();
    bench.chain(7, 0);
    for second in 0..45 {
        bench.block(7, second, 3.0, second);
        bench.set_clock(second * 40);
        if second == 20 {
            run(&mut bench.cursor());
            bench.back_up();
        }
    }
    for second in 45..60 {
        bench.block(7, second, 60.0, second);
    }
    bench.set_clock(4_000);
    run(&mut bench.cursor());
    assert_eq!(bench.verdict_lines().len(), 1);
    bench.restore();
    for second in 21..80 {
        bench.block(7, second, if second > 70 { 60.0 } else { 3.0 }, second);
    }
    bench.set_clock(8_000);
    run(&mut bench.cursor());
    assert_eq!(bench.verdict_lines(), bench.replayed());
    assert!(
        bench.verdict_lines()[0].contains("\"since\":1767225671000"),
        "{:?}",
        bench.verdict_lines()
    );
}

// Goal: a backup older than every snapshot that is kept is judged from its beginning, and its journal holds nothing of the
// lost log. Method: the copy is taken before the first step, then come more snapshots than are kept.
#[test]
fn a_log_older_than_every_snapshot_has_a_journal_of_its_own() {
    let mut bench = Bench::new();
    bench.chain(7, 0);
    bench.block(7, 0, 3.0, 0);
    bench.back_up();
    for second in 1..200 {
        bench.block(7, second, lel(second), second);
        if second % 40 == 0 {
            bench.set_clock(second);
            run(&mut bench.cursor());
        }
    }
    assert!(!bench.verdict_lines().is_empty());
    bench.restore();
    for second in 1..100 {
        bench.block(7, second, 3.0, 200 + second);
    }
    bench.set_clock(300);
    run(&mut bench.cursor());
    assert_eq!(bench.verdict_lines(), bench.replayed());
}

// Goal: what was decided while the state database failed is not lost. Method: a database that another writer holds.
#[test]
fn what_is_decided_while_the_database_fails_is_applied_later() {
    let mut bench = with_leak();
    bench.set_clock(45);
    let mut cursor = bench.cursor();
    let state = bench.state.clone();
    bench.runtime.block_on(state.clone().close()).unwrap();
    assert!(cursor.step(std::time::Duration::ZERO).is_err());
    assert!(cursor.step(std::time::Duration::ZERO).is_err());
    assert_eq!(cursor.position(), bench.log.last_position(), "it stands where it was");
    drop(cursor);
    bench.reopen_state();
    run(&mut bench.cursor());
    assert_eq!(alarms(&bench), [("R21".to_owned(), 1, true, "paged".to_owned(), 32)]);
}

// Goal: whatever comes late, twice raised or corrected, the alarm list shows what the live evaluator holds. Method: many
// seeded orders of arrival of a detector that goes up and down, with restarts between; then the rows of the state
// database against the engine.
#[test]
fn the_alarm_list_agrees_with_the_live_evaluator() {
    for seed in 0..3u64 {
        let mut dice = seed + 1;
        let mut next = |n: u64| {
            dice = dice
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (dice >> 33) % n
        };
        let mut bench = Bench::new();
        bench.chain(7, 0);
        let (mut value, mut late) = (3.0, Vec::new());
        for second in 0..400 {
            if next(20) == 0 {
                value = [3.0, 30.0, 60.0][usize::try_from(next(3)).unwrap()];
            }
            let is_cut = second / 50 % 2 == 1;
            if is_cut && second % 50 < 40 {
                late.push((second, value));
            } else {
                bench.block(7, second, value, second);
                if let Some((then, value)) = late.pop() {
                    bench.block(7, then, value, second);
                }
                if let Some((then, value)) = late.pop() {
                    bench.block(7, then, value, second);
                }
            }
            bench.tick(second);
            if next(70) == 0 {
                bench.set_clock(second * 31);
                bench.start();
                run(&mut bench.cursor());
            }
        }
        for (then, value) in late.into_iter().rev() {
            bench.block(7, then, value, 400);
        }
        bench.set_clock(400 * 31);
        let mut cursor = bench.cursor();
        run(&mut cursor);
        let states = cursor.centre().states("gw-1");
        let active =
            states.iter().filter(|state| state.rule == "R21").find_map(|state| state.active);
        let listed: Vec<_> =
            alarms(&bench).into_iter().filter(|alarm| alarm.0 == "R21" && alarm.2).collect();
        let levels: Vec<i32> = listed.iter().map(|alarm| alarm.1).collect();
        let expected: Vec<i32> = active.iter().map(|level| i32::from(level.number())).collect();
        assert_eq!(levels, expected, "seed {seed}: {listed:?}");
        assert_eq!(bench.verdict_lines(), bench.replayed(), "seed {seed}");
    }
}

// Goal (R09c): three sites of one feeder whose gateways go within two minutes, while another feeder is heard, are told
// once each, whatever the restarts; the one that is back clears.
#[test]
fn a_feeder_that_goes_is_told_and_clears_when_it_is_back() {
    let mut bench = Bench::new();
    for (n, feeder) in [(1, "F"), (2, "F"), (3, "F"), (4, "G")] {
        bench.neighbour(n, feeder);
    }
    let say = |bench: &mut Bench, n: u64, online: bool, second: i64| {
        let record = CentreRecord::Presence { epoch: n, online, on_battery: false };
        bench.append(&format!("gw-{n}"), &record, second);
    };
    for second in 0..400 {
        for n in 1..=4 {
            if second % 10 == 0 && (second < 300 || n == 4) {
                say(&mut bench, n, true, second);
            }
        }
        if second == 310 {
            (1..=3).for_each(|n| say(&mut bench, n, false, second));
        }
        bench.tick(second);
        if second % 101 == 0 {
            bench.set_clock(second);
            run(&mut bench.cursor());
        }
    }
    say(&mut bench, 2, true, 401);
    bench.set_clock(401);
    run(&mut bench.cursor());
    let filter = OccurrenceFilter { listing: Listing::All, ..OccurrenceFilter::default() };
    let found = bench.runtime.block_on(bench.state.occurrences(&filter)).unwrap();
    let mut told: Vec<_> = found.iter().filter(|o| o.rule == "R09c").collect();
    told.sort_by_key(|o| o.scope.clone());
    let told: Vec<_> = told
        .iter()
        .map(|o| (o.site.as_str(), o.active, o.page.as_str(), (o.raised_at - BASE) / 1_000))
        .collect();
    assert_eq!(
        told,
        [("s1", true, "paged", 370), ("s2", false, "paged", 370), ("s3", true, "paged", 370)]
    );
    assert!(bench.replayed().is_empty(), "the verdict journal holds nothing of it");
}

// Goal: a gateway beyond the bound is not judged and that is told, once; those that are in go on, and nothing dies. Method: a
// record of one gateway more than are taken, then further ones.
#[test]
fn gateways_beyond_the_bound_are_told_once() {
    use super::super::{CatalogueEngines, Centre, GATEWAYS_MAX, Reached, follower_of};
    let bench = Bench::new();
    let engines = CatalogueEngines::new(std::sync::Arc::new(rules::Catalogue::built_in().unwrap()));
    let mut centre = Centre::new(engines, rules::evaluator::Limits::default());
    let (mut log, mut said, mut position) = (follower_of(&bench.log).unwrap(), Vec::new(), 0);
    let mut take = |centre: &mut Centre<CatalogueEngines>, gateway: String, last| {
        position += 1;
        let body = RecordBody::Centre(CentreRecord::Chain { epoch: 7, after: None, last });
        let record = LogRecord { position, received_at: BASE, gateway, body };
        centre.take(&record, &mut log, &mut said);
    };
    for n in 0..GATEWAYS_MAX {
        take(&mut centre, format!("gw-{n}"), 0);
    }
    assert_eq!(centre.reached(), []);
    for name in ["gw-next", "gw-later", "gw-next"] {
        take(&mut centre, name.to_owned(), 0);
    }
    assert_eq!(centre.reached(), [Reached::Gateways("gw-next".to_owned())]);
    assert_eq!(centre.progress().count(), GATEWAYS_MAX);
    take(&mut centre, "gw-0".to_owned(), 5);
    assert!(centre.knows("gw-0", 7) && !centre.knows("gw-next", 7));
}
