//! A small interpreter of three rules, written from the words of design §7 and not from the engine.
//!
//! It keeps no timers: at every step it looks at all values, facts and conditions anew and moves time from one
//! event to the next. Slow and plain on purpose.

/// One transition: rule, raised or cleared, time, since.
pub(crate) type Said = (&'static str, bool, i64, i64);

pub(crate) const HOLD: i64 = 30_000;
const RULES: [(&str, i64, i64); 3] =
    [("T1", 20_000, 10_000), ("T2", 25_000, 5_000), ("T3", 20_000, 5_000)];

#[derive(Clone, Copy, PartialEq, Debug)]
enum Truth {
    True,
    False,
    Unknown,
}
use Truth::{False, True, Unknown};

#[derive(Clone, Debug)]
struct Condition {
    on: i64,
    off: i64,
    active: bool,
    since: Option<i64>,
    counted: i64,
    unknown: i64,
    truth: Truth,
}

#[derive(Clone, Debug)]
pub(crate) struct Naive {
    conditions: Vec<Condition>,
    a: Option<(i64, f64)>,
    b: Option<(i64, f64)>,
    order: bool,
    now: Option<i64>,
}

impl Naive {
    pub(crate) fn new() -> Self {
        let conditions = RULES
            .iter()
            .map(|(_, on, off)| Condition {
                on: *on,
                off: *off,
                active: false,
                since: None,
                counted: 0,
                unknown: 0,
                truth: Unknown,
            })
            .collect();
        Self { conditions, a: None, b: None, order: false, now: None }
    }

    fn judge(&mut self) {
        let (a, b) = (self.a.map(|v| v.1), self.b.map(|v| v.1));
        for (i, c) in self.conditions.iter_mut().enumerate() {
            c.truth = match i {
                // T1: a is at least 50, clears below 45.
                0 => match a {
                    None => Unknown,
                    Some(v) if v >= if c.active { 45.0 } else { 50.0 } => True,
                    Some(_) => False,
                },
                // T2: a runs (at least 0.5) and b is off (below 10, clears at 20).
                1 => {
                    let off = b.map(|v| v < if c.active { 20.0 } else { 10.0 });
                    match (a.map(|v| v >= 0.5), off) {
                        (Some(false), _) | (_, Some(false)) => False,
                        (Some(true), Some(true)) => True,
                        _ => Unknown,
                    }
                }
                // T3: under an order, a is at least 10, clears below 10.
                _ => match (self.order, a) {
                    (false, _) => False,
                    (true, None) => Unknown,
                    (true, Some(v)) if v >= 10.0 => True,
                    (true, Some(_)) => False,
                },
            };
        }
    }

    /// Holds all truths from now to `t`; deadlines strictly before `t` fire, the earliest first.
    fn hold(&mut self, t: i64, out: &mut Vec<Said>) {
        loop {
            let now = self.now.unwrap();
            for c in &mut self.conditions {
                let wanted = if c.active { False } else { True };
                if c.truth == wanted {
                    if c.since.is_none() {
                        (c.since, c.counted) = (Some(now), 0);
                    }
                    c.unknown = 0;
                } else if c.truth != Unknown {
                    (c.since, c.counted, c.unknown) = (None, 0, 0);
                }
            }
            let deadline = |c: &Condition| {
                let wanted = if c.active { False } else { True };
                let need = if c.active { c.off } else { c.on };
                (c.truth == wanted).then(|| now + need - c.counted)
            };
            let next = (0..self.conditions.len())
                .filter_map(|i| Some((deadline(&self.conditions[i])?, i)))
                .min()
                .filter(|(at, _)| *at < t);
            self.spend(next.map_or(t, |n| n.0) - now);
            self.now = Some(next.map_or(t, |n| n.0));
            let Some((at, i)) = next else { return };
            let c = &mut self.conditions[i];
            c.active = !c.active;
            out.push((RULES[i].0, c.active, at, c.since.unwrap()));
            (c.since, c.counted, c.unknown) = (None, 0, 0);
            self.judge();
        }
    }

    fn spend(&mut self, time: i64) {
        for c in &mut self.conditions {
            let wanted = if c.active { False } else { True };
            if c.truth == wanted {
                c.counted += time;
            } else if c.truth == Unknown && c.since.is_some() {
                c.unknown += time;
                if !c.active && c.unknown > HOLD.max(c.on / 5) {
                    (c.since, c.counted) = (None, 0);
                }
            }
        }
    }

    /// Moves time on to `t`; values held too long become unknown on the way.
    pub(crate) fn advance(&mut self, t: i64, out: &mut Vec<Said>) {
        if self.now.is_none() {
            self.now = Some(t);
            self.judge();
        }
        loop {
            let ends = [self.a, self.b].into_iter().flatten().map(|v| v.0 + HOLD);
            let Some(end) = ends.min().filter(|end| *end < t) else { break };
            self.hold(end, out);
            self.a = self.a.filter(|v| v.0 + HOLD > end);
            self.b = self.b.filter(|v| v.0 + HOLD > end);
            self.judge();
        }
        self.hold(t, out);
    }

    pub(crate) fn sample(&mut self, of_a: bool, t: i64, value: f64, out: &mut Vec<Said>) {
        self.advance(t, out);
        if of_a {
            self.a = Some((t, value));
        } else {
            self.b = Some((t, value));
        }
        self.judge();
    }

    pub(crate) fn order(&mut self, on: bool, t: i64, out: &mut Vec<Said>) {
        self.advance(t, out);
        self.order = on;
        self.judge();
    }

    pub(crate) fn segment(&mut self, t: i64) {
        (self.a, self.b, self.now) = (None, None, Some(t));
        for c in &mut self.conditions {
            (c.since, c.counted, c.unknown) = (None, 0, 0);
        }
        self.judge();
    }
}
