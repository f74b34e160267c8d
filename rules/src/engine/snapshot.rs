//! Storing an engine and bringing it back; carrying its memory over to another plan.
//!
//! A snapshot holds catalogue, sites and state; plan and timers follow from them. Values may be NaN, so the format
//! must carry any f64 (postcard does, JSON does not).

use super::state::{State, Top};
use super::{Engine, NEVER};
use crate::ENGINE_VERSION;
use crate::catalogue::Catalogue;
use crate::compile::compile;
use crate::plan::{How, MarkPlan, Plan};
use crate::series::{Ms, SeriesKey};
use crate::site::SiteModel;
use crate::text::Text;
use crate::transition::{Transition, TransitionKind};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Serialize)]
struct Stored<'a> {
    version: u32,
    catalogue: &'a Catalogue,
    sites: &'a [SiteModel],
    gateway: &'a str,
    state: &'a State,
}

#[derive(Deserialize)]
struct Read {
    version: u32,
    catalogue: Catalogue,
    sites: Vec<SiteModel>,
    gateway: String,
    state: State,
}

impl Serialize for Engine {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let (catalogue, sites) = (&*self.catalogue, self.sites.as_slice());
        let (version, gateway, state) = (ENGINE_VERSION, self.gateway.as_str(), &self.state);
        Stored { version, catalogue, sites, gateway, state }.serialize(to)
    }
}

impl<'de> Deserialize<'de> for Engine {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let read = Read::deserialize(from)?;
        if read.version != ENGINE_VERSION {
            return Err(D::Error::custom(format!(
                "snapshot of engine version {}, this is {ENGINE_VERSION}: rebuild from the log",
                read.version
            )));
        }
        let plan = compile(&read.catalogue, &read.sites, &read.gateway);
        if !read.state.fits(&plan) {
            return Err(D::Error::custom(
                "snapshot does not fit its own rules: rebuild from the log",
            ));
        }
        let (catalogue, sites) = (Arc::new(read.catalogue), Arc::new(read.sites));
        Ok(Self::assemble(catalogue, sites, read.gateway, plan, read.state))
    }
}

/// Names a level over plans: rule, version, scope, place among the instance's levels.
type LevelName<'a> = (&'a str, u32, &'a crate::transition::Scope, usize);

impl Engine {
    /// Carries the memory to a new plan: what has the same name goes on, an alarm whose place is gone clears.
    pub(super) fn carry(&mut self, plan: &Plan, now: Ms, out: &mut Vec<Transition>) -> State {
        self.retire(plan, now, out);
        let (old, was) = (&self.plan, &self.state);
        let mut state = State::new(plan);
        state.now = was.now;
        state.segment = was.segment;
        state.fact_revision = was.fact_revision;
        state.blind_until = was.blind_until;
        state.facts = was.facts.clone();
        for (s, series) in plan.series.iter().enumerate() {
            if let Some(o) = old.index.get(&series.key).map(|o| *o as usize) {
                state.value[s] = was.value[o];
                state.bound[s] = was.bound[o];
                state.seen[s] = was.seen[o];
                state.quality[s] = was.quality[o];
            }
        }
        let windows: BTreeMap<WindowName<'_>, usize> =
            old.windows.iter().enumerate().map(|(i, w)| (window_name(old, w), i)).collect();
        for (w, window) in plan.windows.iter().enumerate() {
            if let Some(o) = windows.get(&window_name(plan, window)) {
                state.windows[w] = was.windows[*o].clone();
                state.value[plan.window_signal(w)] = was.value[old.window_signal(*o)];
            }
        }
        let runs: BTreeMap<Option<&SeriesKey>, usize> =
            (0..old.runs.len()).map(|i| (run_name(old, i), i)).collect();
        for r in 0..plan.runs.len() {
            if let Some(o) = runs.get(&run_name(plan, r)) {
                state.runs[r] = was.runs[*o].clone();
                state.value[plan.run_signal(r)] = was.value[old.run_signal(*o)];
                state.value[plan.memory_signal(r)] = was.value[old.memory_signal(*o)];
            }
        }
        for (m, mark) in plan.marks.iter().enumerate() {
            let name = |plan: &Plan, mark: &MarkPlan| {
                let series = mark.series as usize;
                (plan.series[series].key.clone(), MarkPlan { series: 0, ..*mark })
            };
            let same = |o: &usize| name(old, &old.marks[*o]) == name(plan, mark);
            if let Some(o) = (0..old.marks.len()).find(same) {
                state.marks[m] = was.marks[o].clone();
                state.value[plan.mark_signal(m)] = was.value[old.mark_signal(o)];
            }
        }
        for (l, learn) in plan.learns.iter().enumerate() {
            let key = |plan: &Plan, s: u32| plan.series[s as usize].key.clone();
            let same = |o: &usize| key(old, old.learns[*o].series) == key(plan, learn.series);
            if let Some(o) = (0..old.learns.len()).find(same) {
                state.learnt[l] = was.learnt[o].clone();
            }
        }
        self.carry_levels(plan, &mut state);
        state
    }

    fn carry_levels(&self, plan: &Plan, state: &mut State) {
        let mut levels: BTreeMap<LevelName<'_>, usize> = BTreeMap::new();
        let mut tops: BTreeMap<(&str, &crate::transition::Scope), &Top> = BTreeMap::new();
        for (i, inst) in self.plan.insts.iter().enumerate() {
            let rule = &self.catalogue.rules[inst.rule];
            let span = self.plan.spans[i];
            for (n, l) in (span.level_from..span.level_to).enumerate() {
                levels.insert((&rule.id, rule.version, &inst.scope, n), l as usize);
            }
            tops.insert((&rule.id, &inst.scope), &self.state.tops[i]);
        }
        for (i, inst) in plan.insts.iter().enumerate() {
            let rule = &self.catalogue.rules[inst.rule];
            let span = plan.spans[i];
            for (n, l) in (span.level_from..span.level_to).enumerate() {
                if let Some(o) = levels.get(&(rule.id.as_str(), rule.version, &inst.scope, n)) {
                    state.conds[l as usize] = self.state.conds[*o];
                }
            }
            if let Some(top) = tops.get(&(rule.id.as_str(), &inst.scope)) {
                let levels = span.level_to - span.level_from;
                let kept = top.level.is_none_or(|l| u32::from(l) < levels);
                state.tops[i] = if kept { (*top).clone() } else { Top::default() };
            }
        }
    }

    /// Clears the alarms whose place the new plan does not have.
    fn retire(&mut self, plan: &Plan, now: Ms, out: &mut Vec<Transition>) {
        for i in 0..self.plan.insts.len() {
            let inst = &self.plan.insts[i];
            let levels = |p: &Plan, at: usize| p.spans[at].level_to - p.spans[at].level_from;
            let stays = plan.insts.iter().enumerate().any(|(n, new)| {
                new.rule == inst.rule
                    && new.scope == inst.scope
                    && levels(plan, n) == levels(&self.plan, i)
            });
            if stays || self.state.tops[i].level.is_none() {
                continue;
            }
            let note = Text::new(
                "台账变更后规则不再适用, 报警关闭",
                "the registry changed and the rule no longer applies here",
            );
            let level = self.plan.spans[i].level_from
                + u32::from(self.state.tops[i].level.unwrap_or_default());
            out.push(self.transition(level, TransitionKind::Clear, now, now, Some(note)));
            let top = &mut self.state.tops[i];
            (top.level, top.suppressed, top.since) = (None, false, NEVER);
        }
    }
}

/// Names a window over plans: series, length, what it makes of it, what must stand meanwhile.
type WindowName<'a> = (&'a SeriesKey, u16, How, Vec<&'a SeriesKey>);

fn window_name<'a>(plan: &'a Plan, window: &crate::plan::WindowPlan) -> WindowName<'a> {
    let gate = &plan.bindings[window.gate.clone()];
    let source = |s: u32| &plan.series[plan.source_series(s as usize)].key;
    let gate = gate.iter().map(|b| source(b.signal)).collect();
    (&plan.series[window.series as usize].key, window.minutes, window.how, gate)
}

fn run_name(plan: &Plan, run: usize) -> Option<&SeriesKey> {
    let first = plan.bindings[plan.runs[run].inputs.clone()].first()?;
    Some(&plan.series[first.signal as usize].key)
}
