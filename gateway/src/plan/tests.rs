//! The planner against trying every split, and against the rules no request may break.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::cost::{Cost, Learned};
use super::{Item, Limits, Plan, optimal, plan};
use crate::decode::decimal::Factor;
use crate::profile::{Kind, Point, Table};

/// A request costs as much as 10 registers.
const COST: Cost = Cost { a_ns: 10_000, b_ns: 1_000 };

fn point(address: u16, kind: Kind) -> Point {
    Point {
        quantity: Some(Arc::from(format!("t_{address}"))),
        unit: Arc::from("°C"),
        table: Table::Holding,
        address,
        kind,
        low_word_first: false,
        low_byte_first: false,
        factor: Factor::ONE,
        code: None,
        range: None,
        invalid: Vec::new(),
        when: Vec::new(),
        otherwise: None,
        governs: Vec::new(),
        class: Arc::from("fast"),
        period: Duration::from_secs(1),
        group: None,
        no_merge: false,
    }
}

fn limits(max_regs: u16) -> Limits {
    Limits { max_regs, barred: Vec::new() }
}

fn ranges(plan: &Plan) -> Vec<(u16, u16)> {
    plan.requests.iter().map(|request| (request.start, request.count)).collect()
}

fn planned(points: &[Point], limits: &Limits) -> Vec<(u16, u16)> {
    ranges(&plan(points, limits, COST, &|_| false))
}

#[test]
fn a_gap_is_bridged_only_when_that_is_cheaper() {
    let at = |addresses: &[u16]| addresses.iter().map(|a| point(*a, Kind::U16)).collect::<Vec<_>>();
    assert_eq!(planned(&at(&[0, 1, 2]), &limits(125)), [(0, 3)]);
    assert_eq!(planned(&at(&[0, 10]), &limits(125)), [(0, 11)], "9 registers are cheaper than 10");
    assert_eq!(planned(&at(&[0, 12]), &limits(125)), [(0, 1), (12, 1)]);
    assert_eq!(planned(&at(&[0, 2, 4]), &limits(3)).len(), 2);
}

#[test]
fn greedy_would_lose_where_the_cap_binds() {
    // Goal: the optimum under the cap, not the first fit. Method: 0, 4, 5 and 9 under a cap of 6 registers.
    // Greedy takes 0..6 and then 9 alone: (0,6) + (9,1); two requests cost least with the smallest spans.
    let points: Vec<Point> = [0, 4, 5, 9].map(|a| point(a, Kind::U16)).to_vec();
    let found = planned(&points, &limits(6));
    assert_eq!(found.len(), 2);
    assert_eq!(found.iter().map(|(_, count)| u32::from(*count)).sum::<u32>(), 1 + 6);
}

#[test]
fn barred_ranges_lone_points_and_groups_are_kept() {
    let points = [point(0, Kind::U16), point(4, Kind::U16)];
    let barred = Limits { max_regs: 125, barred: vec![(Table::Holding, 2, 2)] };
    assert_eq!(planned(&points, &barred), [(0, 1), (4, 1)]);
    let other = Limits { max_regs: 125, barred: vec![(Table::Input, 2, 2)] };
    assert_eq!(planned(&points, &other), [(0, 5)]);

    let lonely = Point { no_merge: true, ..point(2, Kind::U16) };
    let points = [point(0, Kind::U16), lonely, point(4, Kind::U16)];
    assert_eq!(planned(&points, &limits(125)), [(0, 1), (4, 1), (2, 1)]);

    let group = |address| Point { group: Some(Arc::from("gas")), ..point(address, Kind::U16) };
    let points = [group(0), group(30)];
    assert_eq!(planned(&points, &limits(125)), [(0, 31)], "one reply, whatever it costs");
}

#[test]
fn a_slower_class_rides_along() {
    let slow = Point { period: Duration::from_secs(60), ..point(1, Kind::U16) };
    let far = Point { period: Duration::from_secs(60), ..point(500, Kind::U16) };
    let plan =
        plan(&[point(0, Kind::U16), slow, point(2, Kind::U16), far], &limits(125), COST, &|_| {
            false
        });
    assert_eq!(ranges(&plan), [(0, 3), (500, 1)]);
    let periods: Vec<u64> = plan.requests[0].parts.iter().map(|p| p.period.as_secs()).collect();
    assert_eq!(periods, [1, 60]);
    assert_eq!(plan.requests[0].parts[1].columns, [1]);
}

#[test]
fn sixty_thousand_points_take_linear_work() {
    // Goal: a start is never held up by planning. Method: count inner steps (time would measure the machine):
    // 60,000 points in devices of 1,000, each step a few instructions, so far below 50 ms.
    let device: Vec<Point> = (0..1_000).map(|i| point(i * 7 % 6_000, Kind::F32)).collect();
    let steps: u64 = (0..60).map(|_| plan(&device, &limits(125), COST, &|_| false).steps).sum();
    assert!(steps <= 60_000 * 126, "{steps} steps");
    // The worst case: every register of a table is a point.
    let dense: Vec<Point> = (0..60_000).map(|i| point(i, Kind::U16)).collect();
    let plan = plan(&dense, &limits(125), COST, &|_| false);
    assert!(plan.steps <= 60_000 * 126, "{} steps", plan.steps);
    assert_eq!(plan.requests.len(), 480);
}

#[test]
fn costs_are_learnt_from_round_trips() {
    let guess = Cost { a_ns: 24_000_000, b_ns: 20_000 };
    let mut learned = Learned::new(guess);
    assert_eq!(learned.cost(), guess);
    for i in 0..500_u64 {
        let n = 2 + i % 60;
        let registers = u16::try_from(n).expect("small");
        learned.observe(registers, Duration::from_micros(5_000 + 100 * n));
    }
    let cost = learned.cost();
    assert!(cost.a_ns.abs_diff(5_000_000) < 50_000, "{cost:?}");
    assert!(cost.b_ns.abs_diff(100_000) < 2_000, "{cost:?}");
    let mut same = Learned::new(guess);
    for _ in 0..500 {
        same.observe(10, Duration::from_millis(8));
    }
    assert_eq!(same.cost().b_ns, 20_000, "one length says nothing of the slope");
    assert!(same.cost().of(10).abs_diff(8_000_000) < 10_000);
}

/// Cheapest cost over all splits, by trying each.
fn brute(items: &[Item], max: u16, bars: &[(u32, u32)]) -> u64 {
    let legal = |run: &[Item]| {
        let start = u32::from(run[0].start);
        let end = run.iter().map(|i| i.end).max().unwrap_or(start);
        let hit = bars.iter().any(|bar| bar.0 < end && bar.1 > start);
        let ok = run.len() == 1 || (end - start <= u32::from(max) && !hit);
        ok.then(|| COST.of(end - start))
    };
    let splits = 0..1_u32 << items.len().saturating_sub(1);
    let costs = splits.filter_map(|cuts| {
        let mut total = 0;
        let mut first = 0;
        for upto in 1..=items.len() {
            if upto == items.len() || cuts >> (upto - 1) & 1 == 1 {
                total += legal(&items[first..upto])?;
                first = upto;
            }
        }
        Some(total)
    });
    costs.min().unwrap_or(0)
}

proptest! {
    #[test]
    fn no_split_is_cheaper(
        mut starts in proptest::collection::btree_set(0..200_u16, 1..9),
        bar in 0..200_u32,
        max in 4..125_u16,
    ) {
        let last = starts.pop_last().expect("one");
        starts.insert(last);
        let items: Vec<Item> = starts
            .iter()
            .map(|s| Item { start: *s, end: u32::from(*s) + 2, points: vec![], alone: false })
            .collect();
        let bars = [(bar, bar + 1)];
        let mut steps = 0;
        let runs = optimal(&items, COST, max, &bars, &mut steps);
        let cost = |run: &std::ops::Range<usize>| {
            let end = items[run.clone()].iter().map(|i| i.end).max().unwrap_or(0);
            COST.of(end - u32::from(items[run.start].start))
        };
        prop_assert_eq!(runs.iter().map(cost).sum::<u64>(), brute(&items, max, &bars));
        prop_assert_eq!(runs.iter().map(std::ops::Range::len).sum::<usize>(), items.len());
    }
}
