//! Alarms that were active before an engine that has seen nothing: what a rebuild without the whole log begins with.

use super::Engine;
use super::state::Top;
use crate::transition::Transition;

impl Engine {
    /// Takes these alarms as active, each with the transition that brought it to its level, and counts time segments on
    /// from `segment`. To be called before the first sample. Gives back those whose place the rules do not have (any
    /// more): nothing would ever clear them.
    pub fn resume(&mut self, active: Vec<Transition>, segment: u32) -> Vec<Transition> {
        self.state.segment = segment;
        active.into_iter().filter(|alarm| !self.stand(alarm)).collect()
    }

    /// Makes one alarm stand: its level, and the milder ones, which clear by themselves where they do not hold.
    fn stand(&mut self, alarm: &Transition) -> bool {
        let rules = &self.catalogue.rules;
        let is_here = |inst: &crate::plan::Inst| {
            rules[inst.rule].id == alarm.rule && inst.scope == alarm.scope
        };
        let Some(i) = self.plan.insts.iter().position(is_here) else { return false };
        let span = self.plan.spans[i];
        let levels = || span.level_from as usize..span.level_to as usize;
        let plan = &self.plan.levels;
        let fits = |l: &usize| plan[*l].severity == alarm.level;
        let named = |l: &usize| fits(l) && plan[*l].source_level == alarm.source_level;
        let found = levels().find(named).or_else(|| levels().find(fits));
        let Some(level) = found.or_else(|| levels().min_by_key(|l| plan[*l].severity)) else {
            return false;
        };
        for l in levels().filter(|l| *l == level || plan[*l].severity > plan[level].severity) {
            self.state.conds[l].active = true;
        }
        self.state.tops[i] = Top {
            level: u8::try_from(level - span.level_from as usize).ok(),
            suppressed: alarm.is_suppressed(),
            since: alarm.since,
            raised: (!alarm.is_suppressed()).then_some(alarm.t),
            earlier: None,
        };
        true
    }
}
