//! Turns the points of one device into the fewest-cost set of read requests.
//!
//! A read of n registers costs `a + b·n` (both learnt per device, [`cost`]). Bridging a gap of G registers pays when
//! `b·G < a`; the exact optimum under the cap on registers is a dynamic programme over the points sorted by address,
//! O(points × 125). No request crosses a range that is forbidden or known to be unreadable, a `no_merge` point is read
//! alone, the points of a group are read together, and a multi-register value is never split. A slower class's points
//! ride along in a faster request that covers them anyway.
//! Pure: bus tasks and `davy-gateway check` call it.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::profile::{Point, Table};
use cost::Cost;

pub mod bisect;
pub mod cost;

/// Most registers one request may ask for (Modbus application protocol, 6.3 and 6.4).
pub const REGS_MAX: u16 = 125;

/// Most bits asked for at once; the protocol allows 2,000, the planner keeps to the same number as for registers.
pub const BITS_MAX: u16 = 125;

/// What limits a device's requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Registers per request, 1..=125; learnt downwards.
    pub max_regs: u16,
    /// Ranges (table, first, last) that no request may touch: forbidden by the profile or found unreadable.
    pub barred: Vec<(Table, u16, u16)>,
}

impl Limits {
    /// What a device's profile allows.
    #[must_use]
    pub fn of(max_regs: u16, forbid: &[(u16, u16)]) -> Self {
        let tables = [Table::Coil, Table::Discrete, Table::Holding, Table::Input];
        let barred = forbid.iter().flat_map(|(a, b)| tables.map(|table| (table, *a, *b)));
        Self { max_regs, barred: barred.collect() }
    }
}

/// One request of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Table, and with it the function code.
    pub table: Table,
    /// First address.
    pub start: u16,
    /// Number of registers (or bits).
    pub count: u16,
    /// Period of its fastest part.
    pub period: Duration,
    /// What is decoded from the reply, fastest first; the first part every time.
    pub parts: Vec<Part>,
}

/// The points of one poll class inside a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// How often it is taken.
    pub period: Duration,
    /// Points (indexes) that make columns.
    pub columns: Vec<usize>,
    /// Points of the part, status words without a column included.
    pub all: Vec<usize>,
}

/// A plan, and how much work it took.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// The requests, fastest class first, by table and address.
    pub requests: Vec<Request>,
    /// Inner steps of the optimisation.
    pub steps: u64,
}

/// Points that one request must hold together, as a search for unreadable registers sees them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whole {
    /// Its registers.
    pub span: bisect::Span,
    /// Its points.
    pub points: Vec<usize>,
}

/// The points of a request as the smallest things that can be asked for.
#[must_use]
pub fn wholes(points: &[Point], members: &[usize]) -> Vec<Whole> {
    let whole = |item: Item| {
        let count =
            u16::try_from(item.end.saturating_sub(u32::from(item.start))).unwrap_or(u16::MAX);
        Whole { span: bisect::Span { start: item.start, count }, points: item.points }
    };
    items(points, members).into_iter().map(whole).collect()
}

/// Something that one request must hold whole.
#[derive(Debug, Clone)]
struct Item {
    start: u16,
    end: u32,
    points: Vec<usize>,
    alone: bool,
}

/// Plans the points of one device, leaving out those for which `skip` is true.
#[must_use]
pub fn plan(points: &[Point], limits: &Limits, cost: Cost, skip: &dyn Fn(usize) -> bool) -> Plan {
    let mut classes: BTreeMap<(Duration, Table), Vec<usize>> = BTreeMap::new();
    for (index, point) in points.iter().enumerate() {
        if !skip(index) {
            classes.entry((point.period, point.table)).or_default().push(index);
        }
    }
    let mut plan = Plan::default();
    for ((period, table), members) in classes {
        let items = items(points, &members);
        let items = ride_along(&mut plan.requests, points, table, period, items);
        let bars = bars(limits, table, &items);
        let max = if table.is_bits() { BITS_MAX } else { limits.max_regs.clamp(1, REGS_MAX) };
        let (merged, lonely): (Vec<Item>, Vec<Item>) = items.into_iter().partition(|i| !i.alone);
        for group in optimal(&merged, cost, max, &bars, &mut plan.steps) {
            plan.requests.push(request(points, table, period, &merged[group]));
        }
        for item in &lonely {
            plan.requests.push(request(points, table, period, std::slice::from_ref(item)));
        }
    }
    plan
}

/// Joins points into items: a group is one item, points that begin at the same register are one item.
fn items(points: &[Point], members: &[usize]) -> Vec<Item> {
    let mut groups: BTreeMap<&str, Item> = BTreeMap::new();
    let mut starts: BTreeMap<(u16, bool), Item> = BTreeMap::new();
    for &index in members {
        let point = &points[index];
        let start = point.address;
        let end = u32::from(start) + u32::from(point.kind.words());
        let fresh = || Item { start, end, points: Vec::new(), alone: point.no_merge };
        let item = match &point.group {
            Some(group) => groups.entry(group).or_insert_with(fresh),
            None => starts.entry((start, point.no_merge)).or_insert_with(fresh),
        };
        item.start = item.start.min(start);
        item.end = item.end.max(end);
        item.points.push(index);
    }
    let mut items: Vec<Item> = groups.into_values().chain(starts.into_values()).collect();
    items.sort_by_key(|item| (item.start, item.end));
    items
}

/// Puts items that a faster request of the same table already covers into that request; returns the others.
fn ride_along(
    requests: &mut [Request],
    points: &[Point],
    table: Table,
    period: Duration,
    items: Vec<Item>,
) -> Vec<Item> {
    let mut rest = Vec::with_capacity(items.len());
    for item in items {
        let covers = |r: &&mut Request| {
            let end = u32::from(r.start) + u32::from(r.count);
            r.table == table && r.start <= item.start && item.end <= end && !item.alone
        };
        let Some(request) = requests.iter_mut().find(covers) else {
            rest.push(item);
            continue;
        };
        let same = request.parts.iter_mut().find(|part| part.period == period);
        match same {
            Some(part) => {
                part.columns.extend(columns(points, &item.points));
                part.all.extend(&item.points);
            }
            None => request.parts.push(Part {
                period,
                columns: columns(points, &item.points),
                all: item.points,
            }),
        }
    }
    rest
}

fn columns(points: &[Point], members: &[usize]) -> Vec<usize> {
    members.iter().copied().filter(|&index| points[index].quantity.is_some()).collect()
}

/// Sorted, disjoint ranges of one table that no merged request may touch.
fn bars(limits: &Limits, table: Table, items: &[Item]) -> Vec<(u32, u32)> {
    let barred = limits.barred.iter().filter(|(t, _, _)| *t == table);
    let mut bars: Vec<(u32, u32)> =
        barred.map(|(_, first, last)| (u32::from(*first), u32::from(*last) + 1)).collect();
    bars.extend(items.iter().filter(|i| i.alone).map(|i| (u32::from(i.start), i.end)));
    bars.sort_unstable();
    bars.dedup_by(|later, earlier| {
        let joined = later.0 <= earlier.1;
        if joined {
            earlier.1 = earlier.1.max(later.1);
        }
        joined
    });
    bars
}

/// Splits items, sorted by address, into the cheapest runs of neighbours.
fn optimal(
    items: &[Item],
    cost: Cost,
    max: u16,
    bars: &[(u32, u32)],
    steps: &mut u64,
) -> Vec<std::ops::Range<usize>> {
    let walls = walls(items, bars);
    // best[i]: cheapest way to read the first i items, and where its last run begins.
    let mut best: Vec<(u64, usize)> = Vec::with_capacity(items.len() + 1);
    best.push((0, 0));
    for upto in 1..=items.len() {
        let mut end = 0;
        let mut found = (u64::MAX, upto - 1);
        for first in (0..upto).rev() {
            *steps += 1;
            let start = u32::from(items[first].start);
            end = end.max(items[first].end);
            let single = first + 1 == upto;
            if !single && (end - start > u32::from(max) || end > walls[first]) {
                break;
            }
            let total = best[first].0.saturating_add(cost.of(end - start));
            // At equal cost the longer run wins: fewer requests.
            if total <= found.0 {
                found = (total, first);
            }
        }
        best.push(found);
    }
    let mut runs = Vec::new();
    let mut upto = items.len();
    while upto > 0 {
        let first = best[upto].1;
        runs.push(first..upto);
        upto = first;
    }
    runs.reverse();
    runs
}

/// For each item the address at which the first barred range behind its start begins.
fn walls(items: &[Item], bars: &[(u32, u32)]) -> Vec<u32> {
    let wall = |item: &Item| {
        let start = u32::from(item.start);
        let behind = bars.partition_point(|bar| bar.0 < start);
        let inside = behind.checked_sub(1).is_some_and(|before| bars[before].1 > start);
        let next = bars.get(behind).map_or(u32::MAX, |bar| bar.0);
        if inside { start } else { next }
    };
    items.iter().map(wall).collect()
}

fn request(points: &[Point], table: Table, period: Duration, run: &[Item]) -> Request {
    let start = run.iter().map(|i| i.start).min().unwrap_or(0);
    let end = run.iter().map(|i| i.end).max().unwrap_or(0);
    let all: Vec<usize> = run.iter().flat_map(|i| i.points.iter().copied()).collect();
    let count = u16::try_from(end.saturating_sub(u32::from(start))).unwrap_or(u16::MAX);
    let part = Part { period, columns: columns(points, &all), all };
    Request { table, start, count, period, parts: vec![part] }
}

#[cfg(test)]
mod tests;
