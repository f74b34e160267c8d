//! Facts in force: orders, approvals, work windows, calibrations, new revisions of a site.
//!
//! A fact begins at max(valid from, recorded at, the place where the log had it) and changes nothing before. What a
//! plant files itself is shown on alarms and suppresses nothing.

use super::state::{Held, NEVER};
use super::timer::Class;
use super::{Engine, is_site};
use crate::catalogue::WorkMask;
use crate::evidence::{FactNote, Suppression};
use crate::fact::{CALIBRATION_MS_MAX, Fact, FactBody, RegState};
use crate::series::Ms;
use crate::standing::Standing;
use crate::test::{Test, total};
use crate::text::Text;
use crate::transition::{Transition, TransitionKind};
use std::sync::Arc;

/// P_ref must be at least so many times P_base, or activity means nothing (domain.md §2.1).
const REFERENCE_OVER_BASE_MIN: f64 = 1.5;

impl Engine {
    /// Says when a fact that begins at `from` ends.
    pub(super) fn end_of(&self, fact: &Fact, from: Ms) -> Ms {
        let end = fact.valid_to.unwrap_or(Ms::MAX);
        match fact.body {
            FactBody::Calibration { .. } => end.min(from.saturating_add(CALIBRATION_MS_MAX)),
            _ => end,
        }
    }

    /// Keeps a fact and lets it take effect if its time has come.
    pub(super) fn keep(&mut self, held: Held, now: Ms, out: &mut Vec<Transition>) {
        let newer = |h: &Held| h.fact.id == held.fact.id && h.fact.revision >= held.fact.revision;
        if self.state.facts.iter().any(newer) {
            return;
        }
        if !self.make_room(&held, now) {
            return;
        }
        self.state.facts.push(held);
        self.facts_due(now, out);
    }

    /// Begins and ends what is due at `now`.
    pub(super) fn facts_due(&mut self, now: Ms, out: &mut Vec<Transition>) {
        let mut begun: Vec<Fact> = Vec::new();
        for held in &mut self.state.facts {
            if !held.on && held.from <= now {
                held.on = true;
                begun.push(held.fact.clone());
            }
        }
        begun.sort_by_key(|f| f.revision);
        for fact in &begun {
            let older = |id: &str, rev: u64| id == fact.id && rev < fact.revision;
            self.state.facts.retain(|h| !older(&h.fact.id, h.fact.revision));
        }
        // A fact taken back has done its work: nothing of it stays.
        self.state
            .facts
            .retain(|h| h.to > now && !(h.on && (h.fact.withdrawn || is_site(&h.fact))));
        for fact in &begun {
            match &fact.body {
                FactBody::Site { model } if !fact.withdrawn => self.replace_site(model, now, out),
                _ => {}
            }
        }
        self.put_facts_into_tests();
        self.judge_all(now, out);
        self.arm_facts();
    }

    /// Arms the next beginning or end of a fact.
    pub(super) fn arm_facts(&mut self) {
        let times = self.state.facts.iter().map(|h| if h.on { h.to } else { h.from });
        if let Some(next) = times.min().filter(|t| *t < Ms::MAX) {
            self.timers.arm(Class::Fact, 0, next);
        }
    }

    fn in_force(&self, site: usize) -> impl Iterator<Item = &Held> {
        let site = &self.sites[site].site;
        self.state.facts.iter().filter(move |h| h.on && h.fact.site == *site)
    }

    /// Returns the regulatory state of a site and the fact that says so.
    pub(super) fn reg_state(&self, site: usize) -> (RegState, Option<&Held>) {
        let says = |h: &&Held| {
            matches!(h.fact.body, FactBody::RegState { .. } | FactBody::Approval { .. })
        };
        let newest =
            self.in_force(site).filter(says).max_by_key(|h| (h.fact.valid_from, h.fact.revision));
        match newest.map(|h| &h.fact.body) {
            Some(FactBody::RegState { state, .. }) => (*state, newest),
            _ => (RegState::Normal, newest),
        }
    }

    /// Puts what facts say into the tests of the levels.
    pub(super) fn put_facts_into_tests(&mut self) {
        let plan = Arc::clone(&self.plan);
        for (i, inst) in plan.insts.iter().enumerate() {
            let (state, order) = self.reg_state(inst.site);
            let declared = match order.map(|h| &h.fact.body) {
                Some(FactBody::RegState { base_kw, .. }) => *base_kw,
                _ => None,
            };
            let forbids = state.forbids_production();
            self.off[i] = self.catalogue.rules[inst.rule].not_when.contains(&state);
            let span = plan.spans[i];
            for l in span.level_from as usize..span.level_to as usize {
                self.tests[l] = with_facts(plan.levels[l].test, forbids, declared);
            }
        }
    }

    /// Says why a rule has no business at its site now.
    pub(super) fn no_business(&self, inst: usize) -> Option<Text> {
        if !self.off[inst] {
            return None;
        }
        let state = self.reg_state(self.plan.insts[inst].site).0.text();
        Some(Text::new(
            format!("监管状态为{}, 规则不适用", state.zh),
            format!("regulatory state is '{}': the rule does not apply", state.en),
        ))
    }

    /// Says what facts (or their absence) do to an instance's standing.
    pub(super) fn standing_by_facts(&self, inst: usize) -> Option<Standing> {
        if let Some(why) = self.no_business(inst) {
            return Some(Standing::NotApplicable { why });
        }
        let level = self.plan.spans[inst].level_from as usize;
        let Some(Test::Activity { base, .. }) = self.tests.get(level) else { return None };
        base.is_nan().then(|| {
            let missing = Text::new(
                "缺少保安负荷 P_base (台账或停产令), 或 P_ref 不足其 1.5 倍",
                "missing P_base (registry or order), or P_ref is less than 1.5 times P_base",
            );
            Standing::Cannot { missing: vec![missing] }
        })
    }

    /// Says whether something forbids a page for an instance now.
    pub(super) fn suppression(&self, i: u32) -> Option<Suppression> {
        let (by, held) = self.mask(i)?;
        let until = (held.to != Ms::MAX).then_some(held.to);
        Some(Suppression { by: by.into(), fact: note(held), until })
    }

    /// Finds the fact that forbids a page for an instance now, without allocating.
    fn mask(&self, i: u32) -> Option<(&'static str, &Held)> {
        let inst = &self.plan.insts[i as usize];
        let rule = &self.catalogue.rules[inst.rule];
        if let Test::Votes { limit } = self.tests[self.plan.spans[i as usize].level_from as usize] {
            return if rule.calibration { self.votes_masked(i, limit) } else { None };
        }
        let all_in = |devices: &[String]| inst.devices.iter().all(|d| devices.contains(d));
        self.in_force(inst.site).find_map(|held| {
            let by = match &held.fact.body {
                FactBody::Calibration { devices } if rule.calibration && all_in(devices) => {
                    "calibration"
                }
                FactBody::Work { devices, declared_kw, approved_by: Some(_), .. } => {
                    let masks = match rule.work {
                        WorkMask::Never => false,
                        WorkMask::Equipment => devices.is_empty() || all_in(devices),
                        WorkMask::Power => self.within_declared(i, declared_kw.unwrap_or(0.0)),
                    };
                    if !masks {
                        return None;
                    }
                    "approved_work"
                }
                _ => return None,
            };
            Some((by, held))
        })
    }

    /// A vote is masked while the detectors that are not being calibrated do not carry it.
    fn votes_masked(&self, i: u32, limit: f64) -> Option<(&'static str, &Held)> {
        let site = self.plan.insts[i as usize].site;
        let calibration = |device: &String| {
            self.in_force(site).find(|held| match &held.fact.body {
                FactBody::Calibration { devices } => devices.contains(device),
                _ => false,
            })
        };
        let span = self.plan.spans[i as usize];
        let bindings = &self.plan.bindings[span.input_from as usize..span.input_to as usize];
        let (mut votes, mut mask) = (0.0, None);
        for binding in bindings.iter().filter(|b| b.member == 0) {
            let value = self.state.value[binding.signal as usize];
            let series = self.plan.source_series(binding.signal as usize);
            if value < 0.5 || value.is_nan() {
                continue;
            }
            match calibration(&self.plan.series[series].key.device) {
                Some(held) => mask = mask.or(Some(held)),
                None => votes += 1.0,
            }
        }
        mask.filter(|_| votes < limit).map(|held| ("calibration", held))
    }

    /// Tells whether the site's power stays within security load plus what was declared; UNKNOWN counts as within.
    fn within_declared(&self, i: u32, declared_kw: f64) -> bool {
        let span = self.plan.spans[i as usize];
        let bindings = &self.plan.bindings[span.input_from as usize..span.input_to as usize];
        let view = self.state.view(bindings);
        match self.tests[span.level_from as usize] {
            Test::Activity { base, .. } => {
                let above = total(&view).0 > base + declared_kw;
                !above
            }
            _ => false,
        }
    }

    /// Ends the suppression of an active alarm when nothing suppresses it any more.
    pub(super) fn unsuppress(&mut self, i: u32, now: Ms, out: &mut Vec<Transition>) {
        let Some(level) = self.state.tops[i as usize].level else { return };
        if self.mask(i).is_some() {
            return;
        }
        self.state.tops[i as usize].suppressed = false;
        self.state.tops[i as usize].raised = Some(now);
        let level = self.plan.spans[i as usize].level_from + u32::from(level);
        let since = self.state.tops[i as usize].since;
        out.push(self.transition(level, TransitionKind::Unsuppress, now, since, None));
    }

    /// Lists the facts a person should see on an alarm of this instance.
    pub(super) fn facts_of(&self, i: usize) -> Vec<FactNote> {
        let inst = &self.plan.insts[i];
        let order = self.reg_state(inst.site).1.map(note);
        let shown = self.in_force(inst.site).filter(|held| match &held.fact.body {
            FactBody::Work { devices, .. } => {
                devices.is_empty() || inst.devices.iter().any(|d| devices.contains(d))
            }
            FactBody::Calibration { devices } => inst.devices.iter().any(|d| devices.contains(d)),
            _ => false,
        });
        order.into_iter().chain(shown.map(note)).collect()
    }
}

fn with_facts(test: Test, forbids: bool, declared: Option<f64>) -> Test {
    match test {
        Test::Activity { base, reference, limit, clear, .. } => {
            let base = declared.unwrap_or(base);
            let means = reference >= REFERENCE_OVER_BASE_MIN * base;
            let base = if means { base } else { f64::NAN };
            Test::Activity { base, reference, limit, clear, ordered: forbids }
        }
        Test::RunOrdered { .. } => Test::RunOrdered { ordered: forbids },
        other => other,
    }
}

fn note(held: &Held) -> FactNote {
    let what = match &held.fact.body {
        FactBody::RegState { state, document, .. } => {
            let name = state.text();
            let order = if state.forbids_production() { "令" } else { "" };
            Text::new(
                format!("{}{order} {document}", name.zh).trim_end(),
                format!("order '{}' {document}", name.en).trim_end(),
            )
        }
        FactBody::Approval { document } => Text::new(
            format!("复产批复 {document}").trim_end(),
            format!("approval to resume {document}").trim_end(),
        ),
        FactBody::Work { work, approved_by: Some(by), .. } => Text::new(
            format!("计划作业({work}), {by}批准"),
            format!("planned work ({work}) approved by {by}"),
        ),
        FactBody::Work { work, approved_by: None, .. } => Text::new(
            format!("企业报备作业({work}), 未经批准, 不影响报警"),
            format!("work filed by the plant ({work}), not approved: changes nothing"),
        ),
        FactBody::Calibration { .. } => Text::new("探测器标校", "calibration of the detector"),
        FactBody::Site { .. } => Text::new("台账变更", "registry changed"),
    };
    let valid_to = (held.to != Ms::MAX && held.to != NEVER).then_some(held.to);
    let (id, revision) = (held.fact.id.clone(), held.fact.revision);
    FactNote { id, revision, what, valid_from: held.fact.valid_from, valid_to }
}
