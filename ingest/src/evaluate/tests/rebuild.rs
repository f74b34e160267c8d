//! A start of the centre on a log that has evicted its beginning.

use std::sync::Arc;

use rules::fact::FactBody;

use super::bench::{Bench, plant_of, run};
use crate::alarms::{Occurrence, OccurrenceFilter};
use crate::cli::{CliError, JournalOrder, journal};
use crate::state::State;

/// A plant with a gateway that sends and one that never does; a reading a second until `until`, snapshots on the way.
fn settled(until: i64, lel: impl Fn(i64) -> f64) -> Bench {
    let mut bench = Bench::new();
    let model = Box::new(plant_of(&[("gas-1", "gw-1"), ("gas-2", "gw-b")]));
    bench.fact("site:s1", 2, FactBody::Site { model });
    bench.joined(7);
    for second in 0..until {
        bench.block(7, second, lel(second), second);
        bench.tick(second);
        if second % 20 == 19 {
            bench.set_clock(second);
            run(&mut bench.cursor());
        }
    }
    bench.evict();
    bench
}

fn active(bench: &Bench) -> Vec<String> {
    let filter = OccurrenceFilter::default();
    let found = bench.runtime.block_on(bench.state.occurrences(&filter)).unwrap();
    let line = |o: Occurrence| format!("{} {}", o.rule, o.scope);
    let mut lines: Vec<_> = found.into_iter().filter(|o| o.active).map(line).collect();
    lines.sort();
    lines
}

// Goal: of a log that has evicted its beginning `journal replay` replays what is left, from the snapshots that it names, and
// that is what `journal print --since-snapshot` prints; what cannot be replayed it says. Method: a leak before the eviction
// and one behind the second-newest snapshot.
#[test]
fn a_log_without_its_beginning_is_replayed_from_snapshots() {
    let leak = |second: i64| if (100..150).contains(&second) || second >= 385 { 60.0 } else { 3.0 };
    let mut bench = settled(400, leak);
    bench.keep_lineage();
    let all = bench.verdict_lines().len();
    let mut call = |order: JournalOrder| {
        bench.stand_still(async |paths| {
            let state = State::open(&paths.state).await.unwrap();
            let catalogue = Arc::new(rules::Catalogue::built_in().unwrap());
            let mut output = Vec::new();
            let done = journal::run(order, &state, &paths.log, catalogue, &mut output).await;
            state.close().await.unwrap();
            done.map(|()| String::from_utf8(output).unwrap())
        })
    };
    let replayed = call(JournalOrder::Replay { in_order: false }).unwrap();
    assert_eq!(replayed, call(JournalOrder::Print { since_snapshot: true }).unwrap());
    assert!(replayed.contains("R21|s1/gas-1|raise"), "{replayed}");
    assert!(replayed.lines().count() < all, "{all} before");
    let refused = call(JournalOrder::Replay { in_order: true }).unwrap_err();
    assert!(matches!(refused, CliError::NotWhole), "{refused}");
    bench.age_snapshots();
    let mut call = |order: JournalOrder| {
        bench.stand_still(async |paths| {
            let state = State::open(&paths.state).await.unwrap();
            let catalogue = Arc::new(rules::Catalogue::built_in().unwrap());
            let done = journal::run(order, &state, &paths.log, catalogue, &mut Vec::new()).await;
            state.close().await.unwrap();
            done
        })
    };
    let refused = call(JournalOrder::Replay { in_order: false }).unwrap_err();
    assert!(matches!(refused, CliError::NothingToBeginFrom), "{refused}");
}

// Goal: a gateway that never sent anything costs no other gateway its state. Method: silence is told, the log evicts,
// the centre starts again, then gas leaks.
#[test]
fn a_gateway_that_never_sends_costs_no_other_its_alarms() {
    let mut bench = settled(400, |_| 3.0);
    assert_eq!(active(&bench), ["R41g gw-b"]);
    for _ in 0..2 {
        bench.start();
        run(&mut bench.cursor());
    }
    for second in 400..440 {
        bench.block(7, second, 60.0, second);
    }
    bench.set_clock(440);
    let mut cursor = bench.cursor();
    run(&mut cursor);
    assert_eq!(active(&bench), ["R21 gas-1", "R41g gw-b"]);
    assert_eq!(bench.pages().last().map(String::as_str), Some("R21 gas-1"));
    let progress: Vec<_> =
        cursor.centre().progress().map(|(_, p)| (p.waiting, p.is_forked)).collect();
    assert_eq!(progress, [(0, false)]);
}

// Goal (design §4): after an upgrade of the engine, with the beginning of the log gone, an active alarm neither clears
// silently nor pages again, and it still clears when the gas is gone. Method: snapshots of another version.
#[test]
fn active_alarms_survive_an_upgrade_of_the_engine() {
    let mut bench = settled(400, |second| if second >= 100 { 60.0 } else { 3.0 });
    assert_eq!(active(&bench), ["R21 gas-1", "R41g gw-b"]);
    let pages = bench.pages();
    bench.age_snapshots();
    bench.start();
    for second in 400..460 {
        bench.block(7, second, 60.0, second);
        bench.tick(second);
    }
    bench.set_clock(460);
    run(&mut bench.cursor());
    assert_eq!(active(&bench), ["R21 gas-1", "R41g gw-b"]);
    assert_eq!(bench.pages(), pages, "paged again");
    for second in 460..700 {
        bench.block(7, second, 3.0, second);
        bench.tick(second);
    }
    bench.set_clock(700);
    run(&mut bench.cursor());
    assert_eq!(active(&bench), ["R41g gw-b"]);
    for second in 700..760 {
        bench.block(7, second, 60.0, second);
    }
    bench.set_clock(760);
    run(&mut bench.cursor());
    assert_eq!(bench.pages().len(), pages.len() + 1, "a new leak pages");
}

// Goal: a state database from a backup that is older than what the log still holds costs no alarm: what is gone counts as
// settled. Method: the copy is taken early, the log goes on and evicts.
#[test]
fn a_state_database_older_than_the_log_goes_on() {
    let mut bench = Bench::new();
    bench.joined(7);
    for second in 0..300 {
        bench.block(7, second, 3.0, second);
        bench.tick(second);
        if second % 20 == 19 {
            bench.set_clock(second);
            run(&mut bench.cursor());
        }
        if second == 100 {
            bench.back_up_state();
        }
    }
    bench.evict();
    bench.restore_state();
    bench.start();
    for second in 300..340 {
        bench.block(7, second, 60.0, second);
    }
    bench.set_clock(340);
    let mut cursor = bench.cursor();
    run(&mut cursor);
    assert_eq!(active(&bench), ["R21 gas-1"]);
    let waiting: Vec<_> = cursor.centre().progress().map(|(_, p)| p.waiting).collect();
    assert_eq!(waiting, [0]);
}

// Goal: a chain record that was lost before the evaluator took it stops a gateway only until the next start.
#[test]
fn a_lost_chain_record_costs_no_gateway_its_alarms() {
    let mut bench = settled(200, |_| 3.0);
    bench.joined(8);
    let chain = bench.log.last_position();
    let mut txn = bench.log.begin();
    assert!(txn.discard(chain).is_ok());
    txn.commit().unwrap();
    bench.block(8, 0, 3.0, 200);
    bench.set_clock(200);
    run(&mut bench.cursor());
    bench.start();
    for second in 1..40 {
        bench.block(8, second, 60.0, 200 + second);
    }
    bench.set_clock(240);
    let mut cursor = bench.cursor();
    run(&mut cursor);
    let waiting: Vec<_> = cursor.centre().progress().map(|(_, p)| p.waiting).collect();
    assert_eq!(waiting, [0]);
}

// Goal: an alarm about a gateway that leaves the registry does not stand for ever.
#[test]
fn silence_of_a_gateway_that_leaves_the_registry_clears() {
    let mut bench = settled(400, |_| 3.0);
    assert_eq!(active(&bench), ["R41g gw-b"]);
    bench.fact("site:s1", 3, FactBody::Site { model: Box::new(plant_of(&[("gas-1", "gw-1")])) });
    bench.set_clock(400);
    run(&mut bench.cursor());
    // A start between the change and the next record of time forgets nothing of it.
    bench.tick(401);
    run(&mut bench.cursor());
    assert!(active(&bench).is_empty(), "{:?}", active(&bench));
}

// Goal: blocks that wait behind a hole are judged when it closes, also after an upgrade. Method: a hole, eviction,
// snapshots of another version, then the missing block.
#[test]
fn a_hole_that_closes_after_an_upgrade_is_run_through() {
    let mut bench = settled(200, |_| 3.0);
    for second in 201..230 {
        bench.block(7, second, 60.0, second);
        bench.tick(second);
    }
    bench.set_clock(230);
    run(&mut bench.cursor());
    for second in 261..290 {
        bench.set_clock(second);
        bench.tick(second);
        run(&mut bench.cursor());
    }
    bench.evict();
    bench.age_snapshots();
    bench.start();
    let mut cursor = bench.cursor();
    let waiting: Vec<_> = cursor.centre().progress().map(|(_, p)| p.waiting).collect();
    assert_eq!(waiting, [29]);
    run(&mut cursor);
    bench.block(7, 200, 3.0, 291);
    bench.set_clock(291);
    let mut cursor = bench.cursor();
    run(&mut cursor);
    let progress: Vec<_> =
        cursor.centre().progress().map(|(_, p)| (p.waiting, p.is_forked)).collect();
    assert_eq!(progress, [(0, false)]);
    assert!(active(&bench).contains(&"R21 gas-1".to_owned()), "{:?}", active(&bench));
    assert_eq!(bench.pages().iter().filter(|page| page.starts_with("R21 ")).count(), 1);
}
