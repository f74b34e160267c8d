//! A small engine for the evaluator's tests: the one of the executable model beside the design.
//!
//! limit: `a` > 50 for 20 s (clears below 45 for 10 s); pair: `a` runs without `b` for 25 s; order: `a` runs against
//! an order for 20 s; silent: no sample of a series for 40 s.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use crate::evaluator::{Ms, Step, Turn, Verdict};
use crate::fact::Worth;

const HIGH: f64 = 50.0;
const DEADBAND: f64 = 5.0;
const RUNS: f64 = 10.0;
const GAP_MS: Ms = 30_000;
pub(super) const SILENT_MS: Ms = 40_000;
const NAMES: [&str; 3] = ["limit", "pair", "order"];
const DELAYS: [(Ms, Ms); 3] = [(20_000, 10_000), (25_000, 5_000), (20_000, 5_000)];

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Move {
    pub(super) rule: String,
    pub(super) segment: u32,
    pub(super) t: Ms,
    pub(super) since: Ms,
    pub(super) raised: bool,
}

impl Verdict for Move {
    type Condition = String;
    type Key = (String, bool, u32, Ms);

    fn condition(&self) -> String {
        self.rule.clone()
    }
    fn key(&self) -> Self::Key {
        (self.rule.clone(), self.raised, self.segment, self.t)
    }
    fn turn(&self) -> Turn {
        if self.raised { Turn::Raise } else { Turn::Clear }
    }
    fn severity(&self) -> u8 {
        if self.rule == "limit" { 1 } else { 3 }
    }
    fn time(&self) -> Ms {
        self.t
    }
    fn segment(&self) -> u32 {
        self.segment
    }
    fn is_silence(&self) -> bool {
        self.rule.starts_with("silent")
    }
    fn is_suppressed(&self) -> bool {
        false
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
enum Truth {
    True,
    False,
    Unknown,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Condition {
    active: bool,
    since: Option<Ms>,
    held: Ms,
    unknown: Ms,
    truth: Truth,
    last: Option<Ms>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Small {
    conditions: Vec<Condition>,
    values: BTreeMap<u32, (Ms, f64)>,
    heard: BTreeMap<u32, Ms>,
    silent: BTreeMap<u32, bool>,
    now: Option<Ms>,
    order: bool,
    segment: u32,
}

impl Small {
    pub(super) fn new() -> Self {
        let condition = Condition {
            active: false,
            since: None,
            held: 0,
            unknown: 0,
            truth: Truth::Unknown,
            last: None,
        };
        Self {
            conditions: vec![condition; 3],
            values: BTreeMap::new(),
            heard: BTreeMap::new(),
            silent: BTreeMap::new(),
            now: None,
            order: false,
            segment: 0,
        }
    }

    pub(super) fn is_active(&self, rule: &str) -> bool {
        NAMES
            .iter()
            .position(|name| *name == rule)
            .is_some_and(|index| self.conditions[index].active)
    }

    fn judge(&mut self) {
        let value = |series: u32| self.values.get(&series).map(|held| held.1);
        let (a, b, order) = (value(0), value(1), self.order);
        let limit = if self.conditions[0].active { HIGH - DEADBAND } else { HIGH };
        let of = |truth: bool| if truth { Truth::True } else { Truth::False };
        self.conditions[0].truth = a.map_or(Truth::Unknown, |a| of(a > limit));
        self.conditions[1].truth = match (a, b) {
            (None, _) => Truth::Unknown,
            (Some(a), _) if a <= RUNS => Truth::False,
            (_, None) => Truth::Unknown,
            (_, Some(b)) => of(b == 0.0),
        };
        self.conditions[2].truth = match (order, a) {
            (false, _) => Truth::False,
            (true, None) => Truth::Unknown,
            (true, Some(a)) => of(a > RUNS),
        };
    }

    /// Holds the truths up to `t`; delays that end strictly before `t` fire.
    fn hold_all(&mut self, t: Ms, out: &mut Vec<Move>) {
        let mut again = true;
        while again {
            again = false;
            for index in 0..self.conditions.len() {
                let (on, off) = DELAYS[index];
                let segment = self.segment;
                if let Some((raised, at, since)) = self.conditions[index].hold(t, on, off) {
                    out.push(Move { rule: NAMES[index].into(), segment, t: at, since, raised });
                    self.judge();
                    again = true;
                }
            }
        }
    }
}

impl Condition {
    fn hold(&mut self, t: Ms, on: Ms, off: Ms) -> Option<(bool, Ms, Ms)> {
        let last = *self.last.get_or_insert(t);
        let wanted = if self.active { Truth::False } else { Truth::True };
        if self.truth == wanted {
            let since = *self.since.get_or_insert(last);
            self.unknown = 0;
            let need = if self.active { off } else { on };
            if self.held + (t - last) > need {
                let at = last + need - self.held;
                self.active = !self.active;
                (self.since, self.held, self.last) = (None, 0, Some(at));
                return Some((self.active, at, since));
            }
            self.held += t - last;
        } else if self.truth == Truth::Unknown {
            if self.since.is_some() {
                self.unknown += t - last;
                if !self.active && self.unknown > GAP_MS.max(on / 5) {
                    (self.since, self.held) = (None, 0);
                }
            }
        } else {
            (self.since, self.held, self.unknown) = (None, 0, 0);
        }
        self.last = Some(t);
        None
    }
}

impl Step for Small {
    type Transition = Move;
    type Fact = bool;
    type Series = String;
    type Quality = ();

    fn worth(fact: &bool) -> Worth {
        if *fact { Worth::Binding } else { Worth::Filed }
    }

    fn series_index(&self, series: &String) -> Option<u32> {
        match series.as_str() {
            "a" => Some(0),
            "b" => Some(1),
            _ => None,
        }
    }

    fn sample(&mut self, series: u32, t: Ms, value: f64, (): (), out: &mut Vec<Move>) {
        self.advance(t, out);
        self.hold_all(t, out);
        self.values.insert(series, (t, value));
        self.heard.insert(series, t);
        if self.silent.insert(series, false) == Some(true) {
            let rule = format!("silent-{series}");
            out.push(Move { rule, segment: self.segment, t, since: t, raised: false });
        }
        self.judge();
    }

    fn fact(&mut self, fact: &bool, at: Ms, out: &mut Vec<Move>) {
        self.advance(at, out);
        self.hold_all(at, out);
        self.order = *fact;
        self.judge();
    }

    fn advance(&mut self, t: Ms, out: &mut Vec<Move>) {
        let now = *self.now.get_or_insert(t);
        let mut now = now;
        loop {
            let faded = self.values.iter().map(|(series, held)| (held.0 + GAP_MS, 0, *series));
            let silent = self
                .heard
                .iter()
                .filter(|(series, _)| self.silent.get(series) != Some(&true))
                .map(|(series, heard)| (heard + SILENT_MS, 1, *series));
            let Some((at, kind, series)) = faded.chain(silent).filter(|event| event.0 < t).min()
            else {
                break;
            };
            now = now.max(at);
            self.hold_all(now, out);
            if kind == 0 {
                self.values.remove(&series);
            } else {
                self.silent.insert(series, true);
                let rule = format!("silent-{series}");
                out.push(Move { rule, segment: self.segment, t: now, since: now, raised: true });
            }
            self.judge();
        }
        if t > now {
            self.hold_all(t, out);
            now = t;
        }
        self.now = Some(now);
    }

    fn segment(&mut self, t: Ms) {
        self.values.clear();
        self.heard.values_mut().for_each(|heard| *heard = t);
        self.segment += 1;
        self.now = Some(t);
        for condition in &mut self.conditions {
            let active = condition.active;
            *condition = Small::new().conditions[0].clone();
            (condition.active, condition.last) = (active, Some(t));
        }
    }

    fn hole(&mut self, resumes: Ms) {
        self.heard.values_mut().for_each(|heard| *heard = resumes.max(*heard));
    }

    fn due(&self) -> Option<Ms> {
        Some(Ms::MIN)
    }
}
