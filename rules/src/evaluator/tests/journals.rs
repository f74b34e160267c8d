//! Property tests over many seeded lives of a gateway; a failure names its seed.

use super::engine::{Move, Small};
use super::plant::rand_like::Dice;
use super::plant::{
    Arrivals, Faults, Life, Log, Said, feed, fresh, fresh_with, live, log, verdicts,
};
use crate::evaluator::{
    BlockKey, DutyEvent, Evaluator, Limits, Output, PAGE_HORIZON_MS, Page, Record, Span,
};
use std::collections::{BTreeMap, BTreeSet};

const SEEDS: u64 = 60;
const ALL: Faults = Faults { kills: true, clocks: true, losses: true, unset: true };
const ROUGH: Arrivals = Arrivals { late_one_in: 60, late_by: 300, facts: true, starts: true };

fn restored(evaluator: &Evaluator<Small>) -> Evaluator<Small> {
    let bytes = postcard::to_allocvec(evaluator).unwrap();
    postcard::from_bytes(&bytes).unwrap()
}

fn scene(seed: u64, faults: Faults, how: &Arrivals) -> (Life, Vec<Record<Small>>) {
    let mut dice = Dice(seed);
    let life = live(&mut dice, 900, faults);
    let log = log(&mut dice, &life, how);
    (life, log)
}

// Goal (invariant 7a): a restart from any snapshot changes neither journal. Method: the evaluator goes through
// postcard at random records, with bodies of waiting blocks lost; everything it says must be the same.
#[test]
fn journals_are_the_same_after_a_restart_from_any_snapshot() {
    for seed in 0..SEEDS {
        let (_, log) = scene(seed, ALL, &ROUGH);
        let whole = feed(&mut fresh(), &log);
        let mut dice = Dice(seed + 1_000);
        let mut evaluator = fresh();
        let mut out = Vec::new();
        for (index, record) in log.iter().enumerate() {
            if dice.one_in(20) {
                evaluator = restored(&evaluator);
            }
            evaluator.record(index as u64 + 1, record.clone(), &mut Log(&log), &mut out);
        }
        assert_eq!(whole, out, "seed {seed}");
    }
}

// Goal: snapshots that are older than the journal repeat it exactly, and records taken twice change nothing.
#[test]
fn evaluating_again_from_an_older_snapshot_repeats_the_same_words() {
    for seed in 0..SEEDS {
        let (_, log) = scene(seed, ALL, &ROUGH);
        let at = log.len() / 2;
        let mut evaluator = fresh();
        let mut out = Vec::new();
        for (index, record) in log[..at].iter().enumerate() {
            evaluator.record(index as u64 + 1, record.clone(), &mut Log(&log), &mut out);
        }
        let mut again = restored(&evaluator);
        let rest = feed(&mut evaluator, &log);
        assert_eq!(rest, feed(&mut again, &log), "seed {seed}");
        assert!(feed(&mut again, &log).is_empty(), "seed {seed}: records were taken twice");
    }
}

/// The log of the same blocks in the one order: late ones left out, facts where they were placed.
fn in_chain_order(life: &Life, log: &[Record<Small>], said: &Said) -> Vec<Record<Small>> {
    let mut left_out: BTreeSet<BlockKey> = BTreeSet::new();
    let mut places: BTreeMap<u64, Option<BlockKey>> = BTreeMap::new();
    for output in said {
        match output {
            Output::Late { key } | Output::TimeUnknown { key, .. } => drop(left_out.insert(*key)),
            Output::Placed { revision, before } => drop(places.insert(*revision, *before)),
            _ => {}
        }
    }
    let blocks: BTreeMap<BlockKey, &Record<Small>> = log
        .iter()
        .filter_map(|record| match record {
            Record::Block(block) => Some((block.key, record)),
            _ => None,
        })
        .collect();
    let offsets: Vec<(u64, i64)> = blocks
        .values()
        .filter_map(|record| match record {
            Record::Block(block) => {
                block.clock.boot_offset.map(|offset| (block.clock.boot, offset))
            }
            _ => None,
        })
        .collect();
    let mut ordered = Vec::new();
    let facts = |before: Option<BlockKey>, ordered: &mut Vec<Record<Small>>| {
        for record in log {
            if let Record::Facts(facts) = record
                && places.get(&facts[0].revision) == Some(&before)
            {
                ordered.push(record.clone());
            }
        }
    };
    facts(None, &mut ordered);
    let mut last = 0;
    for (epoch, end) in &life.epochs {
        ordered.push(Record::Chain { epoch: *epoch, last });
        last = *end;
        for seq in 1..=*end + 1 {
            let key = BlockKey { epoch: *epoch, seq };
            facts(Some(key), &mut ordered);
            match blocks.get(&key) {
                Some(Record::Block(block)) if !left_out.contains(&key) => {
                    let mut block = block.clone();
                    block.gaps.clear();
                    let offset = offsets.iter().find(|offset| offset.0 == block.clock.boot);
                    block.clock.boot_offset = offset.map(|offset| offset.1);
                    ordered.push(Record::Block(block));
                }
                _ if seq <= *end => {
                    ordered.push(Record::Gone(vec![Span { epoch: *epoch, from: seq, to: seq }]));
                }
                _ => {}
            }
        }
    }
    ordered
}

// Goal (invariant 7b): the verdict journal does not depend on the order of arrival. Method: the same blocks to a
// fresh evaluator in chain order, without ticks, receive times or holes.
#[test]
fn verdict_journal_is_that_of_the_blocks_in_chain_order() {
    let mut all = 0;
    for seed in 0..SEEDS {
        let (life, log) = scene(seed, ALL, &ROUGH);
        let mut evaluator = fresh();
        let said = feed(&mut evaluator, &log);
        assert_eq!(evaluator.progress().waiting, 0, "seed {seed}: a hole never closes");
        let ordered = in_chain_order(&life, &log, &said);
        let canonical = verdicts(&feed(&mut fresh(), &ordered));
        assert_eq!(verdicts(&said), canonical, "seed {seed}");
        all += canonical.len();
    }
    assert!(all > 500, "the lives made only {all} verdicts");
}

// Goal: where nothing was declared lost and no fact came late, two orders of arrival give the same bytes.
#[test]
fn verdict_journal_does_not_depend_on_arrival() {
    let faults = Faults { losses: false, ..ALL };
    for seed in 0..SEEDS {
        let mut dice = Dice(seed);
        let life = live(&mut dice, 900, faults);
        let rough = log(&mut dice, &life, &Arrivals { facts: false, ..ROUGH });
        let smooth = log(
            &mut dice,
            &life,
            &Arrivals { facts: false, starts: false, late_one_in: 1, late_by: 0 },
        );
        let one = verdicts(&feed(&mut fresh(), &rough));
        let other = verdicts(&feed(&mut fresh(), &smooth));
        assert_eq!(
            postcard::to_allocvec(&one).unwrap(),
            postcard::to_allocvec(&other).unwrap(),
            "seed {seed}"
        );
    }
}

// Goal: how much memory waiting blocks may take changes nothing that is said.
#[test]
fn blocks_read_again_from_the_log_give_the_same_journals() {
    for seed in 0..SEEDS / 2 {
        let (_, log) = scene(seed, ALL, &ROUGH);
        let tight = Limits { bytes: 0, ..Limits::default() };
        assert_eq!(feed(&mut fresh(), &log), feed(&mut fresh_with(tight), &log), "seed {seed}");
    }
}

/// Replays the duty journal: what duty staff see at the end, and whether every page was in time.
fn duty(said: &Said, seed: u64) -> BTreeMap<String, Move> {
    let mut seen: BTreeMap<String, Move> = BTreeMap::new();
    for output in said {
        let Output::Duty(event) = output else { continue };
        match event {
            DutyEvent::Turn { transition, page, sample_at, decided_at } => {
                if matches!(page, Page::Page) {
                    assert!(decided_at - sample_at <= PAGE_HORIZON_MS, "seed {seed}: {event:?}");
                    assert!(transition.raised, "seed {seed}: {event:?}");
                }
                if *page == Page::Recovered {
                    assert!(decided_at - transition.t <= PAGE_HORIZON_MS, "seed {seed}: {event:?}");
                }
                if transition.raised {
                    seen.insert(transition.rule.clone(), transition.clone());
                } else {
                    seen.remove(&transition.rule);
                }
            }
            DutyEvent::Past { raise, clear, page, .. } => {
                assert!(
                    raise.raised && !clear.raised && *page != Page::Page,
                    "seed {seed}: {event:?}"
                );
            }
            DutyEvent::Amend { was, standing, .. } => match standing {
                Some(standing) => drop(seen.insert(standing.rule.clone(), standing.clone())),
                None => drop(seen.remove(&was.rule)),
            },
        }
    }
    seen
}

// Goal (invariant 6 and §7): pages are in time, and what stands at the head is with duty staff, whatever happened.
#[test]
fn duty_staff_see_what_stands_and_history_pages_nobody() {
    for seed in 0..SEEDS {
        let (_, mut log) = scene(seed, ALL, &ROUGH);
        // Without the ticks at the end, in which everything goes silent.
        while matches!(
            log.last(),
            Some(Record::Tick { .. } | Record::Start { .. } | Record::Facts(_))
        ) {
            log.pop();
        }
        let mut evaluator = fresh();
        let said = feed(&mut evaluator, &log);
        let seen = duty(&said, seed);
        let live_at = evaluator.progress().live_at;
        let is_ahead = |rule: &str| {
            said.iter().any(|output| match output {
                Output::Duty(DutyEvent::Turn { transition, .. }) => {
                    transition.rule == rule && Some(transition.t) >= live_at
                }
                _ => false,
            })
        };
        for rule in ["limit", "pair", "order"].into_iter().filter(|rule| !is_ahead(rule)) {
            let stands = evaluator.live().is_active(rule);
            assert_eq!(seen.contains_key(rule), stands, "seed {seed}: {rule} at the head");
        }
    }
}
