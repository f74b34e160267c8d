//! Joins the catalogue with the registry: which rule stands where, with which numbers, on which series.
//!
//! Called when an engine is made, restored, or told of a new revision of a site. Deterministic: the same catalogue
//! and sites give the same plan. It never drops a rule in silence: what cannot run becomes a line that says why.

mod input;
mod param;
mod scope;

use crate::catalogue::{Catalogue, Kind, Rule, ScopeSpec};
use crate::plan::{Dep, Inst, Level, Line, Plan, Sort, Span};
use crate::series::Ms;
use crate::site::SiteModel;
use crate::standing::Standing;
use crate::test::Test;
use crate::text::Text;
use crate::transition::{Scope, Severity};
use input::{At, Inputs, Signals};
use param::Numbers;
pub(crate) use param::seconds_to_ms;
use scope::Candidate;
use std::collections::BTreeSet;

/// Shortest time a value is held, ms.
pub(crate) const GAP_MS_MIN: Ms = 30_000;
/// Polls a value is held.
pub(crate) const GAP_POLLS: Ms = 3;
/// Levels and rules that a device has about; how much room is made beforehand.
const LEVELS_EACH: usize = 8;
const INSTS_EACH: usize = 6;
/// Polls a delay must span at least.
pub(crate) const DELAY_POLLS_MIN: Ms = 2;

/// What an instance lacks; collected as a whole, so that the page names everything at once.
#[derive(Debug, Default)]
pub(crate) struct Missing {
    pub(crate) texts: Vec<Text>,
    pub(crate) learning_until: Option<Ms>,
}

impl Missing {
    fn push(&mut self, zh: String, en: String) {
        let text = Text { zh, en };
        if !self.texts.contains(&text) {
            self.texts.push(text);
        }
    }

    fn standing(self) -> Standing {
        match self.learning_until {
            Some(until) if self.texts.is_empty() => Standing::Learning { until },
            _ => Standing::Cannot { missing: self.texts },
        }
    }

    fn is_empty(&self) -> bool {
        self.texts.is_empty() && self.learning_until.is_none()
    }
}

/// Compiles the rules whose inputs lie on `gateway`. `sites` are sorted by id.
pub(crate) fn compile(catalogue: &Catalogue, sites: &[SiteModel], gateway: &str) -> Plan {
    let mut build = Build { plan: Plan::default(), signals: Signals::default(), gateway };
    build.reserve(sites);
    for (number, rule) in catalogue.rules.iter().enumerate() {
        for (at, site) in sites.iter().enumerate() {
            build.rule(number, rule, at, site);
        }
    }
    build.finish()
}

struct Build<'a> {
    plan: Plan,
    signals: Signals,
    gateway: &'a str,
}

impl Build<'_> {
    /// Makes room for about what will come. What stays empty is never touched and costs nothing; growing step by step copies
    /// each list and touches twice its memory, which was a third of the time of a start with a million rules.
    fn reserve(&mut self, sites: &[SiteModel]) {
        let devices =
            || sites.iter().flat_map(|s| &s.devices).filter(|d| d.gateway == self.gateway);
        let (points, devices) = (devices().map(|d| d.points.len()).sum(), devices().count());
        self.signals.reserve(points);
        let plan = &mut self.plan;
        plan.levels.reserve(devices * LEVELS_EACH);
        plan.insts.reserve(devices * INSTS_EACH);
        plan.spans.reserve(devices * INSTS_EACH);
        plan.lines.reserve(devices * INSTS_EACH);
    }

    fn rule(&mut self, number: usize, rule: &Rule, at: usize, site: &SiteModel) {
        let home = site.devices.iter().map(|d| d.gateway.as_str()).min();
        let is_home = home == Some(self.gateway);
        if let Some(standing) = self.not_here(rule, site) {
            if is_home {
                self.line(rule, Scope::new(&site.site, ""), standing, vec![], vec![], None);
            }
            return;
        }
        let candidates = scope::candidates(rule, site);
        if candidates.is_empty() && is_home {
            let standing = scope::nothing_to_watch(rule);
            self.line(rule, Scope::new(&site.site, ""), standing, vec![], vec![], None);
        }
        for candidate in candidates {
            let gateways: BTreeSet<&str> =
                candidate.input_devices.iter().map(|d| d.gateway.as_str()).collect();
            let here = match gateways.first() {
                Some(first) => *first == self.gateway,
                None => is_home,
            };
            if !here {
                continue;
            }
            let scope = Scope::new(&site.site, &candidate.object);
            if gateways.len() > 1 {
                let all = gateways.into_iter().collect::<Vec<_>>().join(", ");
                let text = Text::new(
                    format!("输入分布在多个网关({all})"),
                    format!("inputs lie on several gateways ({all})"),
                );
                let standing = Standing::Cannot { missing: vec![text] };
                self.line(rule, scope, standing, vec![], vec![], None);
                continue;
            }
            self.instance(number, rule, at, site, &candidate, scope);
        }
    }

    fn not_here(&self, rule: &Rule, site: &SiteModel) -> Option<Standing> {
        if rule.kind == Kind::FeederLost && site.feeder.is_none() {
            let missing =
                Text::new("台账缺少馈线 feeder", "missing feeder of the site in registry");
            return Some(Standing::Cannot { missing: vec![missing] });
        }
        if matches!(rule.kind, Kind::FeederLost | Kind::GatewayStale) {
            let why = Text::new(
                "由中心跨网关判断",
                "judged by the centre over several gateways, not by this engine",
            );
            return Some(Standing::NotApplicable { why });
        }
        let fits =
            rule.sectors.is_empty() || rule.sectors.iter().any(|s| site.sector_tags.contains(s));
        (!fits).then(|| {
            let tags = rule.sectors.join("、");
            let why = Text::new(
                format!("仅适用于{tags}"),
                format!("only for sites tagged {}", rule.sectors.join(", ")),
            );
            Standing::NotApplicable { why }
        })
    }

    fn instance(
        &mut self,
        number: usize,
        rule: &Rule,
        at: usize,
        site: &SiteModel,
        candidate: &Candidate<'_>,
        scope: Scope,
    ) {
        let mut missing = Missing::default();
        let numbers = Numbers::resolve(rule, site, candidate, &mut missing);
        let mut lacking = param::strangers(rule, site);
        let place = At { rule, site, candidate, numbers: &numbers };
        let inputs = self.signals.bind(place, &mut lacking, &mut missing);
        let overridden = numbers.overridden();
        let mut levels = Vec::new();
        for spec in &rule.levels {
            if let Some(level) =
                numbers.level(rule, spec, site, candidate, &inputs, &mut lacking, &mut missing)
            {
                levels.push(level);
            }
        }
        if rule.kind == Kind::Votes {
            too_few_votes(&levels, &inputs, candidate, &mut missing);
        }
        if levels.is_empty() && missing.is_empty() {
            missing.texts.append(&mut lacking);
        }
        if !missing.is_empty() {
            return self.line(rule, scope, missing.standing(), lacking, overridden, None);
        }
        let inst = self.add(number, rule, at, candidate, scope.clone(), inputs, numbers, levels);
        self.line(rule, scope, Standing::Evaluating, lacking, overridden, Some(inst));
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one instance, used once")]
    fn add(
        &mut self,
        number: usize,
        rule: &Rule,
        at: usize,
        candidate: &Candidate<'_>,
        scope: Scope,
        inputs: Inputs,
        numbers: Numbers,
        levels: Vec<Level>,
    ) -> u32 {
        let inst = count(self.plan.insts.len());
        let input_from = count(self.signals.bindings.len());
        let level_from = count(self.plan.levels.len());
        let unit = level_unit(rule, &levels);
        self.signals.bindings.extend(inputs.bindings);
        self.plan.levels.extend(levels.into_iter().map(|l| Level { inst, ..l }));
        self.plan.spans.push(Span {
            input_from,
            input_to: count(self.signals.bindings.len()),
            level_from,
            level_to: count(self.plan.levels.len()),
            sort: match rule.kind {
                Kind::InputUnknown | Kind::SilentWhile => Sort::Unknown,
                Kind::Stale => Sort::Heard,
                _ => Sort::Test,
            },
        });
        self.plan.insts.push(Inst {
            rule: number,
            scope,
            site: at,
            object_name: candidate.name.clone(),
            devices: candidate.devices.iter().map(|d| d.id.clone()).collect(),
            params: numbers.into_parameters(),
            unit,
            expected_since: candidate.devices.iter().map(|d| d.expected_since).max().unwrap_or(0),
        });
        inst
    }

    fn line(
        &mut self,
        rule: &Rule,
        scope: Scope,
        standing: Standing,
        lacking: Vec<Text>,
        overridden: Vec<String>,
        inst: Option<u32>,
    ) {
        let rule = rule.id.clone();
        self.plan.lines.push(Line { rule, scope, standing, lacking, overridden, inst });
    }

    fn finish(self) -> Plan {
        let mut plan = self.plan;
        self.signals.finish(&mut plan);
        let mut deps: Vec<(u32, Dep)> = Vec::new();
        for (i, window) in plan.windows.iter().enumerate() {
            deps.push((window.series, Dep::Window(count(i))));
        }
        for (i, run) in plan.runs.iter().enumerate() {
            for binding in &plan.bindings[run.inputs.clone()] {
                deps.push((binding.signal, Dep::Run(count(i))));
            }
        }
        for (i, window) in plan.windows.iter().enumerate() {
            for binding in &plan.bindings[window.gate.clone()] {
                deps.push((binding.signal, Dep::Gate(count(i))));
            }
        }
        deps.extend(plan.marks.iter().enumerate().map(|(i, m)| (m.series, Dep::Mark(count(i)))));
        for (i, learn) in plan.learns.iter().enumerate() {
            deps.push((learn.series, Dep::Learn(count(i))));
            for binding in &plan.bindings[learn.gate.clone()] {
                deps.push((binding.signal, Dep::Learn(count(i))));
            }
        }
        for (i, span) in plan.spans.iter().enumerate() {
            for binding in &plan.bindings[span.input_from as usize..span.input_to as usize] {
                let dep = match span.sort {
                    Sort::Heard => Dep::Heard(span.level_from),
                    _ => Dep::Inst(count(i)),
                };
                deps.push((binding.signal, dep));
            }
        }
        deps.sort_unstable();
        deps.dedup();
        plan.dep_from = vec![0; plan.signal_count() + 1];
        for (signal, _) in &deps {
            plan.dep_from[*signal as usize + 1] += 1;
        }
        for i in 1..plan.dep_from.len() {
            plan.dep_from[i] += plan.dep_from[i - 1];
        }
        plan.deps = deps.into_iter().map(|(_, dep)| dep).collect();
        plan
    }
}

/// Says that a vote can never be carried: it would be quiet for ever.
fn too_few_votes(
    levels: &[Level],
    inputs: &Inputs,
    candidate: &Candidate<'_>,
    missing: &mut Missing,
) {
    let voters = count(inputs.bindings.iter().filter(|b| b.member == 0).count());
    let wanted = levels.iter().filter_map(|l| l.test.limits().0).fold(0.0, f64::max);
    if f64::from(voters) < wanted {
        missing.push(
            format!("{} 的探测器少于 {wanted} 个", candidate.name.zh),
            format!("{} has fewer than {wanted} detectors", candidate.name.en),
        );
    }
}

/// Narrows a count: a plan holds far fewer than 2^32 of anything.
pub(crate) fn count(n: usize) -> u32 {
    u32::try_from(n).expect("a plan holds fewer than 2^32 parts")
}

fn level_unit(rule: &Rule, levels: &[Level]) -> String {
    if levels.is_empty() || matches!(rule.scope, ScopeSpec::Object) {
        return String::new();
    }
    let name = rule.levels.iter().find_map(|l| l.limit.as_deref());
    name.and_then(|n| rule.param(n)).map(|p| p.unit.clone()).unwrap_or_default()
}

/// Picks the severity of a level for a scope.
pub(crate) fn severity(
    spec: &crate::catalogue::LevelSpec,
    site: &SiteModel,
    candidate: &Candidate<'_>,
) -> Severity {
    let found = spec.severity_where.iter().find(|w| has_word(&w.has, site, candidate));
    found.map_or(spec.severity, |w| w.severity)
}

/// Tells whether the site or a device of the scope has a role or tag.
pub(crate) fn has_word(word: &String, site: &SiteModel, candidate: &Candidate<'_>) -> bool {
    site.sector_tags.contains(word)
        || candidate.devices.iter().any(|d| d.role == *word || d.tags.contains(word))
}

/// Makes the test of a level from its numbers.
pub(crate) fn test_of(
    kind: Kind,
    unset: bool,
    (limit, second): (f64, f64),
    clear: (f64, f64),
    base: f64,
) -> Test {
    match kind {
        Kind::High if !second.is_nan() => {
            Test::HighRising { limit, clear: clear.0, rise: second, rise_clear: second / 2.0 }
        }
        Kind::AllBelow if unset => Test::AllBelowUnset { limit, clear: clear.0 },
        Kind::RunsWeak => Test::RunsWeak { limit, clear: clear.0 },
        Kind::Votes => Test::Votes { limit },
        Kind::High => Test::High { limit, clear: clear.0 },
        Kind::Low => Test::Low { limit, clear: clear.0 },
        Kind::AllBelow => Test::AllBelow { limit, clear: clear.0 },
        Kind::RunsWithout => Test::RunsWithout { limit, clear: clear.0 },
        Kind::Activity => {
            Test::Activity { base, reference: second, limit, clear: clear.0, ordered: false }
        }
        Kind::RunOrdered => Test::RunOrdered { ordered: false },
        Kind::OneLow => Test::OneLow { low: limit, high: second, clear: clear.0 },
        Kind::Outside => {
            Test::Outside { low: limit, high: second, low_clear: clear.0, high_clear: clear.1 }
        }
        Kind::InputUnknown => Test::InputUnknown,
        Kind::SilentWhile => Test::SilentWhile,
        Kind::Stale | Kind::FeederLost | Kind::GatewayStale => {
            Test::Silent { limit_ms: seconds_to_ms(limit) }
        }
    }
}
