//! The engine: all rule instances whose inputs lie on one gateway.
//!
//! Driven by the evaluator through [`Step`](crate::evaluator::step::Step): samples, facts, the closing time of blocks.
//! It has no clock: time moves only by what is passed in, and never back except through [`Engine::segment`]. Its
//! total order is event time, then facts, minutes that close, samples, values that become unknown, run states, then
//! deadlines by rule, scope and level (the order of the plan). It must never look at arrival.

mod emit;
mod force;
mod learn;
mod mark;
mod resume;
mod room;
mod signal;
mod silence;
mod snapshot;
mod state;
mod step;
mod timer;
mod window;

use crate::catalogue::Catalogue;
use crate::compile::compile;
use crate::fact::{Fact, FactBody};
use crate::plan::{Dep, Plan, Sort};
use crate::series::{Ms, Quality, SeriesKey};
use crate::site::SiteModel;
use crate::standing::{Pending, RuleState, Standing};
use crate::test::{Bound, Test, Tri};
use crate::transition::{Severity, Transition};
use state::{Held, State, View};
use std::sync::Arc;
use timer::{Class, Due, Timers};

pub(crate) use state::NEVER;

/// All rule instances of one gateway with their state. See the module's words on order and time.
#[derive(Debug, Clone)]
pub struct Engine {
    catalogue: Arc<Catalogue>,
    sites: Arc<Vec<SiteModel>>,
    gateway: String,
    plan: Arc<Plan>,
    state: State,
    /// Tests of the levels with what facts put into them; follows from plan and facts.
    tests: Vec<Test>,
    /// Instances that have no business now (site closed); follows from plan and facts.
    off: Vec<bool>,
    timers: Timers,
}

impl Engine {
    /// Makes an engine for a gateway; `sites` are what the registry knows, of which only rules on this gateway run.
    pub fn new(catalogue: &Catalogue, sites: &[SiteModel], gateway: &str) -> Self {
        Self::sharing(&Arc::new(catalogue.bare()), sites, gateway)
    }

    /// Makes an engine as [`Engine::new`] does over a catalogue that is [bare](Catalogue::bare) and shared with others.
    pub fn sharing(bare: &Arc<Catalogue>, sites: &[SiteModel], gateway: &str) -> Self {
        let mut sites = sites.to_vec();
        sites.sort_by(|a, b| a.site.cmp(&b.site));
        let plan = compile(bare, &sites, gateway);
        let state = State::new(&plan);
        Self::assemble(Arc::clone(bare), Arc::new(sites), gateway.to_string(), plan, state)
    }

    fn assemble(
        catalogue: Arc<Catalogue>,
        sites: Arc<Vec<SiteModel>>,
        gateway: String,
        plan: Plan,
        state: State,
    ) -> Self {
        let mut engine = Self {
            catalogue,
            sites,
            gateway,
            tests: plan.levels.iter().map(|l| l.test).collect(),
            off: vec![false; plan.insts.len()],
            plan: Arc::new(plan),
            state,
            timers: Timers::default(),
        };
        engine.put_facts_into_tests();
        engine.arm_all();
        engine
    }

    /// Returns the engine's number of a series, `None` where no rule reads it. Changes only with
    /// [`FactBody::Site`].
    pub fn series_index(&self, key: &SeriesKey) -> Option<u32> {
        self.plan.index.get(key).copied()
    }

    /// Returns the gateway this engine is for.
    pub fn gateway(&self) -> &str {
        &self.gateway
    }

    /// Tells whether this engine runs exactly the rules of a [bare](Catalogue::bare) catalogue, and shares it from then on
    /// if so. A snapshot brings its own rules back; where they are not the program's any more, it is rebuilt from the log
    /// like one of another engine version.
    pub fn share(&mut self, bare: &Arc<Catalogue>) -> bool {
        let is_same = *self.catalogue == **bare;
        if is_same {
            self.catalogue = Arc::clone(bare);
        }
        is_same
    }

    /// Returns what the registry knew at the newest revision met.
    pub fn sites(&self) -> &[SiteModel] {
        &self.sites
    }

    /// Takes a sample at event time `t` (not before the engine's time; earlier ones count as now). Deadlines strictly
    /// before `t` fire first. A sample without a usable value moves time only: the last good value is held on.
    pub fn sample(
        &mut self,
        series: u32,
        t: Ms,
        value: f64,
        quality: Quality,
        out: &mut Vec<Transition>,
    ) {
        let t = self.begin(t);
        self.run_timers(t, Class::Sample, out);
        let s = series as usize;
        if !quality.is_usable() || !value.is_finite() || s >= self.state.seen.len() {
            return;
        }
        self.state.bound[s] = match quality {
            Quality::Uncertain { over: true, under: false } => Bound::Over,
            Quality::Uncertain { over: false, under: true } => Bound::Under,
            _ => Bound::Exact,
        };
        self.state.value[s] = value;
        self.state.seen[s] = t;
        self.state.quality[s] = quality;
        self.timers.arm(Class::Hold, series, t + self.plan.series[s].gap);
        for d in self.plan.dependants(s) {
            match self.plan.deps[d] {
                Dep::Window(w) => {
                    if self.state.bound[s] == Bound::Exact && self.is_open(w, t) {
                        let due = self.state.windows[w as usize].add(t, value);
                        self.timers.arm(Class::Window, w, due);
                    }
                }
                Dep::Learn(l) => self.learn(l, t, value),
                Dep::Run(r) => self.judge_run(r, t, out),
                Dep::Gate(w) => self.gate(w, t, out),
                Dep::Mark(m) => self.judge_mark(m, t, out),
                Dep::Heard(l) => self.hear(l, t, out),
                Dep::Inst(i) => self.judge(i, t, out),
            }
        }
    }

    /// Takes a fact met at `at`. It takes effect at max(valid from, recorded at, `at`); one that lies ahead waits.
    pub fn fact(&mut self, fact: &Fact, at: Ms, out: &mut Vec<Transition>) {
        let at = self.begin(at);
        self.run_timers(at, Class::Fact, out);
        self.state.fact_revision = self.state.fact_revision.max(fact.revision);
        let from = fact.valid_from.max(fact.recorded_at).max(at);
        let to = self.end_of(fact, from);
        let held = Held { fact: fact.clone(), from, to, on: false };
        self.keep(held, at, out);
    }

    /// Moves time on to `closing`, exclusive: a deadline at exactly `closing` does not fire yet.
    pub fn advance(&mut self, closing: Ms, out: &mut Vec<Transition>) {
        let closing = self.begin(closing);
        self.run_timers(closing, Class::Fact, out);
    }

    /// Starts a new time segment at `t` after a backward step of the clock: held values, windows, run states and
    /// running delays restart; active alarms and facts stay.
    pub fn segment(&mut self, t: Ms) {
        let plan = Arc::clone(&self.plan);
        let empty = State::new(&plan);
        self.state.segment += 1;
        self.state.now = Some(t);
        self.state.value = empty.value;
        self.state.bound = empty.bound;
        self.state.seen = empty.seen;
        self.state.quality = empty.quality;
        self.state.windows = empty.windows;
        self.state.runs = empty.runs;
        self.state.marks = empty.marks;
        for learnt in &mut self.state.learnt {
            (learnt.hour, learnt.sum, learnt.count) = (NEVER, 0.0, 0);
        }
        self.state.blind_until = NEVER;
        for cond in &mut self.state.conds {
            cond.restart(t);
        }
        self.arm_all();
        self.judge_all(t, &mut Vec::new());
    }

    /// Returns what [`Engine::advance`] to `t` would say, without changing anything.
    pub fn peek(&self, t: Ms) -> Vec<Transition> {
        let mut out = Vec::new();
        if self.timers.earliest().is_some_and(|due| due < t) {
            self.clone().advance(t, &mut out);
        }
        out
    }

    /// Returns the earliest event time at which time alone could make a transition.
    pub fn due(&self) -> Option<Ms> {
        self.timers.earliest()
    }

    /// Returns the state of every rule at every place of this gateway.
    pub fn states(&self) -> Vec<RuleState> {
        let now = self.state.now.unwrap_or(0);
        self.plan.lines.iter().map(|line| self.line_state(line, now)).collect()
    }

    /// Returns the active alarms: rule, scope, level, since.
    pub fn active(&self) -> impl Iterator<Item = (&str, &crate::transition::Scope, Severity, Ms)> {
        self.state.tops.iter().enumerate().filter_map(|(i, top)| {
            let inst = &self.plan.insts[i];
            let level = self.plan.spans[i].level_from as usize + usize::from(top.level?);
            let severity = self.plan.levels[level].severity;
            let rule = self.catalogue.rules[inst.rule].id.as_str();
            Some((rule, &inst.scope, severity, top.since))
        })
    }

    fn line_state(&self, line: &crate::plan::Line, now: Ms) -> RuleState {
        let mut state = RuleState {
            rule: line.rule.clone(),
            scope: line.scope.clone(),
            standing: line.standing.clone(),
            lacking: line.lacking.clone(),
            unknown: false,
            active: None,
            pending: None,
            overridden: line.overridden.clone(),
        };
        let Some(inst) = line.inst.map(|i| i as usize) else { return state };
        if let Some(until) = self.learning_until(inst, now) {
            state.standing = Standing::Learning { until };
        }
        if let Some(standing) = self.standing_by_facts(inst) {
            state.standing = standing;
        }
        let span = self.plan.spans[inst];
        let levels = span.level_from as usize..span.level_to as usize;
        state.unknown = state.standing == Standing::Evaluating
            && self.state.conds[levels.clone()].iter().any(|c| c.cur == Tri::Unknown);
        let active = self.state.tops[inst].level.map(|l| levels.start + usize::from(l));
        state.active = active.map(|l| self.plan.levels[l].severity);
        // The delay to the most severe level is the one a person wants to see.
        let running = levels.filter_map(|l| {
            let (cond, level) = (&self.state.conds[l], &self.plan.levels[l]);
            let (since, for_ms, of_ms) = cond.pending(now, level)?;
            Some(Pending { level: level.severity, clearing: cond.active, since, for_ms, of_ms })
        });
        state.pending = running.min_by_key(|p| (p.clearing, p.level));
        state
    }

    /// Takes the first moment, or holds a moment that lies back at the engine's time.
    fn begin(&mut self, t: Ms) -> Ms {
        match self.state.now {
            Some(now) => t.max(now),
            None => {
                self.state.now = Some(t);
                self.judge_all(t, &mut Vec::new());
                t
            }
        }
    }

    /// Runs all timers before (`t`, `class`) in order and sets the time to `t`.
    fn run_timers(&mut self, t: Ms, class: Class, out: &mut Vec<Transition>) {
        while let Some(due) = self.timers.next_before(t, class) {
            let now = self.state.now.map_or(due.t, |now| now.max(due.t));
            self.state.now = Some(now);
            self.timer(due, now, out);
        }
        self.state.now = Some(t);
    }

    fn timer(&mut self, due: Due, now: Ms, out: &mut Vec<Transition>) {
        let i = due.index as usize;
        match due.class {
            Class::Fact => self.facts_due(now, out),
            Class::Blind => {
                if self.state.blind_until <= now {
                    // Past: a snapshot taken at this very moment must not see again.
                    self.state.blind_until = NEVER;
                    self.see_again(now, out);
                } else {
                    self.timers.arm(Class::Blind, 0, self.state.blind_until);
                }
            }
            Class::Hold => {
                let end = self.state.seen[i].saturating_add(self.plan.series[i].gap);
                if self.state.seen[i] != NEVER && end > due.t {
                    self.timers.arm(Class::Hold, due.index, end);
                } else {
                    self.state.bound[i] = Bound::Exact;
                    self.set(i, f64::NAN, now, out);
                }
            }
            Class::Window => self.close_minute(due, now, out),
            Class::Learn => self.close_hour(due.index, now, out),
            Class::Mark => self.turn_mark(due.index, now, out),
            Class::Between => match self.state.runs[i].gives_up_at() {
                Some(at) if at > now => self.timers.arm(Class::Between, due.index, at),
                Some(_) => {
                    self.state.runs[i].state = Tri::Unknown;
                    self.publish_run(due.index, now, out);
                }
                None => {}
            },
            Class::Run => match self.state.runs[i].decides_at() {
                Some(at) if at > now => self.timers.arm(Class::Run, due.index, at),
                Some(_) => {
                    self.state.runs[i].decide();
                    self.publish_run(due.index, now, out);
                }
                None => {}
            },
            Class::Level => match self.state.conds[i].deadline(&self.plan.levels[i]) {
                Some(at) if at > now => self.timers.arm(Class::Level, due.index, at),
                Some(_) => self.fire(due.index, now, out),
                None => {}
            },
            Class::Sample => {}
        }
    }

    /// Tells whether a window takes samples now.
    fn is_open(&self, w: u32, now: Ms) -> bool {
        let still = self.state.windows[w as usize].still;
        let is_free = self.plan.windows[w as usize].gate.is_empty();
        is_free || (still != NEVER && now >= still.saturating_add(window::SETTLE_MS))
    }

    /// What moves the content of a window's series started, stopped, or is no longer known to stand.
    fn gate(&mut self, w: u32, now: Ms, out: &mut Vec<Transition>) {
        let gate = self.plan.windows[w as usize].gate.clone();
        if gate.is_empty() {
            return;
        }
        let stands = |b: &crate::plan::Binding| self.state.value[b.signal as usize] < 0.5;
        let all = self.plan.bindings[gate].iter().all(stands);
        let window = &mut self.state.windows[w as usize];
        if all && window.still == NEVER {
            window.still = now;
        } else if !all && window.still != NEVER {
            window.still = NEVER;
            window.forget();
            self.set(self.plan.window_signal(w as usize), f64::NAN, now, out);
        }
    }

    fn close_minute(&mut self, due: Due, now: Ms, out: &mut Vec<Transition>) {
        let w = due.index as usize;
        let plan = &self.plan.windows[w];
        let gap = self.plan.series[plan.series as usize].gap;
        let mean = self.state.windows[w].close(plan, gap);
        if let Some(next) = self.state.windows[w].due() {
            self.timers.arm(Class::Window, due.index, next);
        }
        self.set(self.plan.window_signal(w), mean, now, out);
    }

    /// Gives a signal a value and judges who looks at it.
    fn set(&mut self, signal: usize, value: f64, now: Ms, out: &mut Vec<Transition>) {
        self.state.value[signal] = value;
        for d in self.plan.dependants(signal) {
            match self.plan.deps[d] {
                Dep::Learn(l) => self.learn_run(l),
                Dep::Run(r) => self.judge_run(r, now, out),
                Dep::Gate(w) => self.gate(w, now, out),
                Dep::Mark(m) => self.judge_mark(m, now, out),
                Dep::Inst(i) => self.judge(i, now, out),
                Dep::Window(_) | Dep::Heard(_) => {}
            }
        }
    }

    fn judge_run(&mut self, r: u32, now: Ms, out: &mut Vec<Transition>) {
        let plan = &self.plan.runs[r as usize];
        let bindings = &self.plan.bindings[plan.inputs.clone()];
        let view = self.state.view(bindings);
        let raw = signal::raw(plan, &view);
        let run = &mut self.state.runs[r as usize];
        if raw == run.raw && run.last != NEVER {
            return;
        }
        run.change(now, raw, plan);
        if let Some(at) = run.decides_at() {
            self.timers.arm(Class::Run, r, at);
        }
        if let Some(at) = run.gives_up_at() {
            self.timers.arm(Class::Between, r, at);
        }
        self.publish_run(r, now, out);
    }

    fn publish_run(&mut self, r: u32, now: Ms, out: &mut Vec<Transition>) {
        let value = self.state.runs[r as usize].signal();
        let signal = self.plan.run_signal(r as usize);
        if self.state.value[signal].to_bits() == value.to_bits() {
            return;
        }
        let memory = self.plan.memory_signal(r as usize);
        self.set(signal, value, now, out);
        if !value.is_nan() {
            self.set(memory, value, now, out);
        }
    }

    /// Judges every level of an instance; on the way without a change nothing is allocated.
    fn judge(&mut self, i: u32, now: Ms, out: &mut Vec<Transition>) {
        let span = self.plan.spans[i as usize];
        if span.sort == Sort::Heard {
            return self.listen(i, now);
        }
        let bindings = &self.plan.bindings[span.input_from as usize..span.input_to as usize];
        let (value, bound, usual) = (&self.state.value, &self.state.bound, &self.state.usual);
        let view = View { bindings, value, bound, usual };
        for l in span.level_from as usize..span.level_to as usize {
            let cond = &mut self.state.conds[l];
            let truth = if self.off[i as usize] {
                Tri::False
            } else if span.sort == Sort::Unknown && now < self.state.blind_until {
                Tri::Unknown
            } else if !cond.active
                && self.plan.levels[l]
                    .again
                    .is_some_and(|w| !self.state.tops[i as usize].is_again(now, w))
            {
                Tri::False
            } else {
                self.tests[l].judge(cond.active, &view)
            };
            if truth != cond.cur || cond.last == NEVER {
                cond.change(now, truth, &self.plan.levels[l]);
                if let Some(at) = cond.deadline(&self.plan.levels[l]) {
                    self.timers.arm(Class::Level, crate::compile::count(l), at);
                }
            }
        }
        if self.state.tops[i as usize].suppressed {
            self.unsuppress(i, now, out);
        }
    }

    fn judge_all(&mut self, now: Ms, out: &mut Vec<Transition>) {
        let n = crate::compile::count;
        (0..n(self.plan.learns.len())).for_each(|l| self.learn_run(l));
        (0..n(self.plan.windows.len())).for_each(|w| self.gate(w, now, out));
        (0..n(self.plan.marks.len())).for_each(|m| self.judge_mark(m, now, out));
        for i in 0..crate::compile::count(self.plan.insts.len()) {
            self.judge(i, now, out);
        }
    }

    /// Arms every timer from the state.
    fn arm_all(&mut self) {
        let plan = &self.plan;
        let mut timers = Timers::new(&[
            (Class::Fact, 1),
            (Class::Blind, 1),
            (Class::Hold, plan.series.len()),
            (Class::Window, plan.windows.len()),
            (Class::Learn, plan.learns.len()),
            (Class::Mark, plan.marks.len()),
            (Class::Between, plan.runs.len()),
            (Class::Run, plan.runs.len()),
            (Class::Level, plan.levels.len()),
        ]);
        let n = crate::compile::count;
        for (i, seen) in self.state.seen.iter().enumerate().filter(|(_, seen)| **seen != NEVER) {
            if !self.state.value[i].is_nan() {
                timers.arm(Class::Hold, n(i), seen + plan.series[i].gap);
            }
        }
        for (i, window) in self.state.windows.iter().enumerate() {
            window.due().into_iter().for_each(|at| timers.arm(Class::Window, n(i), at));
        }
        for (i, learnt) in self.state.learnt.iter().enumerate() {
            learnt.due().into_iter().for_each(|at| timers.arm(Class::Learn, n(i), at));
        }
        for (i, mark) in self.state.marks.iter().enumerate() {
            let due = mark.due(&plan.marks[i]);
            due.into_iter().for_each(|at| timers.arm(Class::Mark, n(i), at));
        }
        for (i, run) in self.state.runs.iter().enumerate() {
            run.decides_at().into_iter().for_each(|at| timers.arm(Class::Run, n(i), at));
            run.gives_up_at().into_iter().for_each(|at| timers.arm(Class::Between, n(i), at));
        }
        for (i, cond) in self.state.conds.iter().enumerate() {
            let due = cond.deadline(&plan.levels[i]);
            due.into_iter().for_each(|at| timers.arm(Class::Level, n(i), at));
        }
        if self.state.blind_until != NEVER {
            timers.arm(Class::Blind, 0, self.state.blind_until);
        }
        self.timers = timers;
        self.arm_facts();
    }

    /// Replaces a site's model by a newer revision; states of places that stay are kept.
    fn replace_site(&mut self, model: &SiteModel, now: Ms, out: &mut Vec<Transition>) {
        let mut sites = (*self.sites).clone();
        sites.retain(|s| s.site != model.site);
        sites.push(model.clone());
        sites.sort_by(|a, b| a.site.cmp(&b.site));
        let plan = compile(&self.catalogue, &sites, &self.gateway);
        let state = self.carry(&plan, now, out);
        let gateway = self.gateway.clone();
        let catalogue = Arc::clone(&self.catalogue);
        *self = Self::assemble(catalogue, Arc::new(sites), gateway, plan, state);
        self.judge_all(now, out);
    }
}

/// Tells whether a fact is about the registry.
pub(crate) fn is_site(fact: &Fact) -> bool {
    matches!(fact.body, FactBody::Site { .. })
}
