//! Turns a level over at its deadline and says so, with evidence.
//!
//! The only place of the engine that allocates while samples flow: once a transition.

use super::Engine;
use super::state::{NEVER, View};
use crate::ENGINE_VERSION;
use crate::evidence::{Evidence, Input, Intermediate, Measure};
use crate::plan::{Binding, Inst};
use crate::series::{Ms, Quality};
use crate::test::{Inputs, Test, activity, total};
use crate::text::Text;
use crate::transition::{Transition, TransitionKind};

impl Engine {
    /// Turns a level over and emits what that means for its alarm.
    pub(super) fn fire(&mut self, l: u32, now: Ms, out: &mut Vec<Transition>) {
        let i = self.plan.levels[l as usize].inst;
        let top = &self.state.tops[i as usize];
        let since = self.state.conds[l as usize].pend;
        let before = top.level.map(|n| self.plan.spans[i as usize].level_from + u32::from(n));
        let was_active = self.state.conds[l as usize].active;
        // Evidence is taken with the level as it was when the delay ran.
        let evidence_of = |engine: &Self, kind, note| engine.transition(l, kind, now, since, note);
        self.state.conds[l as usize].active = !was_active;
        let after = self.worst_level(i);
        self.state.conds[l as usize].active = was_active;
        let severity = |level: u32| self.plan.levels[level as usize].severity;
        let kind = match (before, after) {
            (None, Some(_)) => Some(TransitionKind::Raise),
            (Some(_), None) => Some(TransitionKind::Clear),
            (Some(b), Some(a)) if severity(a) < severity(b) => Some(TransitionKind::LevelUp),
            (Some(b), Some(a)) if severity(a) > severity(b) => Some(TransitionKind::LevelDown),
            _ => None,
        };
        if let Some(kind) = kind {
            // Where the rule has no business any more, that and not its test ends the alarm.
            let mut transition = evidence_of(self, kind, self.no_business(i as usize));
            let shown = &self.plan.levels[after.or(before).unwrap_or(l) as usize];
            transition.level = shown.severity;
            transition.source_level.clone_from(&shown.source_level);
            transition.latching = shown.latching;
            transition.evidence.level = shown.severity;
            transition.evidence.source_level.clone_from(&shown.source_level);
            self.settle_top(i, kind, since, &mut transition);
            out.push(transition);
        }
        let from = self.plan.spans[i as usize].level_from;
        self.state.tops[i as usize].level = after.and_then(|a| u8::try_from(a - from).ok());
        self.state.conds[l as usize].fire(now);
        self.judge(i, now, out);
    }

    fn settle_top(&mut self, i: u32, kind: TransitionKind, since: Ms, to: &mut Transition) {
        let suppression = match kind {
            TransitionKind::Raise | TransitionKind::LevelUp => self.suppression(i),
            _ => None,
        };
        let top = &mut self.state.tops[i as usize];
        match kind {
            TransitionKind::Raise => {
                top.since = since;
                top.suppressed = suppression.is_some();
                top.earlier = top.raised.or(top.earlier);
                top.raised = suppression.is_none().then_some(to.t);
            }
            TransitionKind::LevelUp => top.suppressed = suppression.is_some(),
            TransitionKind::Clear => (top.since, top.suppressed) = (NEVER, false),
            TransitionKind::LevelDown | TransitionKind::Unsuppress => {}
        }
        to.evidence.suppression = suppression;
    }

    /// Returns the most severe active level of an instance; of equals the first.
    fn worst_level(&self, i: u32) -> Option<u32> {
        let span = self.plan.spans[i as usize];
        (span.level_from..span.level_to)
            .filter(|l| self.state.conds[*l as usize].active)
            .min_by_key(|l| self.plan.levels[*l as usize].severity)
    }

    /// Makes a transition of a level with its evidence as things stand.
    pub(super) fn transition(
        &self,
        l: u32,
        kind: TransitionKind,
        now: Ms,
        since: Ms,
        note: Option<Text>,
    ) -> Transition {
        let level = &self.plan.levels[l as usize];
        let inst = &self.plan.insts[level.inst as usize];
        let evidence = self.evidence(l, kind, now, since, note);
        Transition {
            rule: self.catalogue.rules[inst.rule].id.clone(),
            scope: inst.scope.clone(),
            level: level.severity,
            source_level: level.source_level.clone(),
            kind,
            t: now,
            since,
            segment: self.state.segment,
            latching: level.latching,
            evidence: Box::new(evidence),
        }
    }

    fn evidence(
        &self,
        l: u32,
        kind: TransitionKind,
        now: Ms,
        since: Ms,
        note: Option<Text>,
    ) -> Evidence {
        let level = &self.plan.levels[l as usize];
        let i = level.inst as usize;
        let inst = &self.plan.insts[i];
        let rule = &self.catalogue.rules[inst.rule];
        let site = &self.sites[inst.site];
        let span = self.plan.spans[i];
        let bindings = &self.plan.bindings[span.input_from as usize..span.input_to as usize];
        let view = self.state.view(bindings);
        let test = self.tests[l as usize];
        let (limit, clear_limit) = test.limits();
        let earlier = self.state.tops[i].earlier.filter(|_| level.again.is_some());
        let earlier = earlier.map(earlier_raise);
        let observed = self.state.conds[l as usize].pending(now, level).map_or(0, |p| p.1);
        Evidence {
            engine_version: ENGINE_VERSION,
            rule: rule.id.clone(),
            rule_version: rule.version,
            rule_name: rule.name.clone(),
            scope: inst.scope.clone(),
            site_name: site.label(),
            object_name: inst.object_name.clone(),
            utc_offset_min: site.utc_offset_min,
            kind,
            level: level.severity,
            source_level: level.source_level.clone(),
            test,
            parameters: inst.params.clone(),
            fact_revision: self.state.fact_revision,
            facts: self.facts_of(i),
            inputs: bindings.iter().map(|b| self.input(b)).collect(),
            intermediates: intermediates(&test, &view).into_iter().chain(earlier).collect(),
            value: test.value(&view),
            limit,
            clear_limit,
            unit: unit(inst, &test),
            on_ms: level.on,
            off_ms: level.off,
            observed_ms: observed,
            since,
            samples_from: since,
            samples_to: now,
            suppression: None,
            note,
        }
    }

    fn input(&self, binding: &Binding) -> Input {
        let s = self.plan.source_series(binding.signal as usize);
        let series = &self.plan.series[s];
        let value = self.state.value[binding.signal as usize];
        let quality = match binding.measure {
            Measure::Value => self.state.quality[s],
            _ => Quality::Good,
        };
        let (value, rating) = match binding.learnt.map(|l| self.state.usual[l as usize]) {
            None => (value, binding.rating),
            // It stands, so it does nothing: known without knowing what is usual.
            Some(usual) if usual.is_infinite() => (value * 0.0, 1.0),
            Some(usual) if usual.is_nan() => (f64::NAN, 1.0),
            Some(usual) => (value, usual),
        };
        Input {
            series: series.key.clone(),
            device_name: series.device_name.clone(),
            measure: binding.measure,
            unit: match binding.measure {
                Measure::Run | Measure::LastRun | Measure::Mark => String::new(),
                Measure::Slope { .. } => format!("{}/h", unit_of(&series.key.quantity)),
                _ => unit_of(&series.key.quantity).into(),
            },
            value: value.is_finite().then_some(value),
            quality,
            t: (self.state.seen[s] != NEVER).then_some(self.state.seen[s]),
            member: binding.member,
            rating,
        }
    }
}

/// Names the occurrence before, for a level that needs one.
fn earlier_raise(t: Ms) -> Intermediate {
    // Milliseconds of any date in question are whole numbers that an f64 holds exactly.
    Intermediate { name: "earlier".into(), value: Some(t as f64), unit: "ms".into() }
}

fn unit(inst: &Inst, test: &Test) -> String {
    if test.limits().0.is_some() { inst.unit.clone() } else { String::new() }
}

fn intermediates(test: &Test, view: &View<'_>) -> Vec<Intermediate> {
    let item = |name: &str, value: f64, unit: &str| Intermediate {
        name: name.into(),
        value: value.is_finite().then_some(value),
        unit: unit.into(),
    };
    match *test {
        Test::Activity { base, reference, .. } => {
            let power = total(view).0;
            vec![
                item("p_site", power, "kW"),
                item("p_base", base, "kW"),
                item("p_ref", reference, "kW"),
                item("act", activity(power, base, reference), "1"),
            ]
        }
        Test::AllBelow { .. }
        | Test::AllBelowUnset { .. }
        | Test::RunsWithout { .. }
        | Test::RunsWeak { .. }
        | Test::OneLow { .. } => {
            (0..view.count()).map(|i| item(&format!("share_{i}"), view.value(i), "1")).collect()
        }
        _ => vec![],
    }
}

/// Returns the unit of a quantity of the fixed vocabulary (domain.md §4.1), empty where it has none.
pub(crate) fn unit_of(quantity: &str) -> &'static str {
    match quantity {
        "freq" | "vfd_f" => "Hz",
        "gas_lel" => "%LEL",
        "gas_lelm" => "LEL·m",
        "gas_ppm" => "ppm",
        "gas_mgm3" => "mg/m³",
        "o2" | "ch4" => "%VOL",
        "level" => "m",
        "level_pct" | "unb_u" => "%",
        "pressure" => "MPa",
        "dp" => "Pa",
        "flow" => "m³/h",
        "i_res" => "mA",
        "pf_total" | "det_status" => "",
        q if q.starts_with("u_") => "V",
        q if q.starts_with("i_") => "A",
        q if q.starts_with("p_") => "kW",
        q if q.starts_with("q_") => "kvar",
        q if q.starts_with("s_") => "kVA",
        q if q.starts_with("ep_") => "kWh",
        q if q.starts_with("eq_") => "kvarh",
        q if q.starts_with("t_") => "°C",
        q if q.starts_with("thd_") => "%",
        _ => "",
    }
}
