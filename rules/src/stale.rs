//! Gateways that send nothing, or never sent anything (R41, offline).
//!
//! Driven by the centre alone, with receive times and its own ticks: its transitions belong to the duty journal, never
//! to the verdict journal that edge and centre must agree on. A silent device behind a living gateway is the engine's
//! business. Pure like the engine.

use crate::ENGINE_VERSION;
use crate::catalogue::{Catalogue, Kind, Rule};
use crate::compile::seconds_to_ms;
use crate::evidence::{Evidence, Input, Measure, Origin, Parameter};
use crate::series::{Ms, Quality, SeriesKey};
use crate::site::{Override, SiteModel};
use crate::test::Test;
use crate::text::Text;
use crate::transition::{Scope, Severity, Transition, TransitionKind};
use crate::watched::{Watched, matched};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Watches all gateways the registry expects, one watch for each site a gateway serves.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(from = "Stored")]
pub struct GatewayMonitor {
    watches: Vec<Watch>,
    /// The newest start of the centre, or of the watch.
    start: Ms,
    #[serde(skip)]
    watched: Watched,
}

#[derive(Deserialize)]
struct Stored {
    watches: Vec<Watch>,
    start: Ms,
}

impl From<Stored> for GatewayMonitor {
    fn from(Stored { watches, start }: Stored) -> Self {
        Self::of(watches, start)
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Watch {
    rule: String,
    rule_version: u32,
    rule_name: Text,
    /// The object is the gateway.
    scope: Scope,
    site_name: Text,
    utc_offset_min: i32,
    /// Levels, mildest first: severity, and the silence after which it is reached.
    levels: Vec<(Severity, Ms, Parameter)>,
    /// Receive time of the newest block, `None` if there was none.
    received: Option<Ms>,
    /// How many levels are reached, and since when nothing came.
    reached: usize,
    since: Ms,
}

impl GatewayMonitor {
    /// Watches every gateway that a device of these sites names, from `start` on (the centre's clock).
    pub fn new(catalogue: &Catalogue, sites: &[&SiteModel], start: Ms) -> Self {
        let mut watches = Vec::new();
        for rule in catalogue.rules.iter().filter(|r| r.kind == Kind::GatewayStale) {
            for site in sites {
                let gateways: BTreeSet<&str> =
                    site.devices.iter().map(|d| d.gateway.as_str()).collect();
                watches.extend(gateways.into_iter().map(|g| watch(rule, site, g)));
            }
        }
        Self::of(watches, start)
    }

    fn of(watches: Vec<Watch>, start: Ms) -> Self {
        let watched = Watched::of(watches.iter().map(|watch| [&watch.scope.object]));
        Self { watches, start, watched }
    }

    /// Takes over what an earlier monitor knew: after a change of the registry at `at`. An alarm about a gateway that is
    /// no longer expected clears.
    pub fn carry(&mut self, earlier: &Self, at: Ms, out: &mut Vec<Transition>) {
        let stay: BTreeSet<_> = self.watches.iter().map(Watch::name).collect();
        let gone = earlier.watches.iter();
        let gone = gone.filter(|was| was.reached > 0 && !stay.contains(&was.name()));
        out.extend(gone.map(|was| was.transition(TransitionKind::Clear, at)));
        self.start = earlier.start;
        let was = matched(&self.watches, &earlier.watches, Watch::name);
        for (watch, was) in self.watches.iter_mut().zip(was) {
            if let Some(was) = was {
                watch.received = was.received;
                watch.reached = was.reached.min(watch.levels.len());
                watch.since = was.since;
            }
        }
    }

    /// Tells whether a monitor made this transition, whatever the rule was called.
    pub fn makes(transition: &Transition) -> bool {
        let inputs = &transition.evidence.inputs;
        let is_gateway =
            |i: &Input| i.series.quantity.is_empty() && i.series.device == transition.scope.object;
        matches!(transition.evidence.test, Test::Silent { .. })
            && inputs.len() == 1
            && inputs.iter().all(is_gateway)
    }

    /// Takes these alarms as raised already, each with the transition that brought it to its level. Gives back those that
    /// nobody watches (any more): nothing would ever clear them.
    pub fn resume(&mut self, active: Vec<Transition>) -> Vec<Transition> {
        let mut left = Vec::new();
        for alarm in active {
            let same = |w: &&mut Watch| w.rule == alarm.rule && w.scope == alarm.scope;
            match self.watches.iter_mut().find(same) {
                Some(watch) => {
                    let level = watch.levels.iter().rposition(|(s, ..)| *s == alarm.level);
                    watch.reached = level.map_or(watch.levels.len().min(1), |level| level + 1);
                    watch.since = alarm.since;
                }
                None => left.push(alarm),
            }
        }
        left
    }

    /// Takes note of a block of a gateway received at `at`.
    pub fn received(&mut self, gateway: &str, at: Ms, out: &mut Vec<Transition>) {
        for place in self.watched.places(gateway) {
            let watch = &mut self.watches[*place];
            if watch.reached > 0 {
                out.push(watch.transition(TransitionKind::Clear, at));
                watch.reached = 0;
            }
            watch.received = watch.received.max(Some(at));
        }
    }

    /// Takes note of a start of the centre: silence counts from here at the earliest, also where the clock was set back
    /// meanwhile.
    pub fn started(&mut self, at: Ms) {
        self.start = at;
        for watch in &mut self.watches {
            watch.received = watch.received.map(|received| received.min(at));
        }
    }

    /// The centre's clock was set by so many ms while it ran: as much silence has passed as before.
    pub fn stepped(&mut self, by: Ms) {
        self.start = self.start.saturating_add(by);
        for watch in &mut self.watches {
            watch.received = watch.received.map(|received| received.saturating_add(by));
        }
    }

    /// Judges silence at the centre's time `now`. A transition is dated when the limit was passed.
    pub fn tick(&mut self, now: Ms, out: &mut Vec<Transition>) {
        for watch in &mut self.watches {
            if watch.reached == 0 {
                watch.since = watch.received.map_or(self.start, |r| r.max(self.start));
            }
            while let Some((_, limit, _)) = watch.levels.get(watch.reached) {
                let at = watch.since.saturating_add(*limit);
                if now <= at {
                    break;
                }
                watch.reached += 1;
                let before = watch.reached.checked_sub(2).map(|i| watch.levels[i].0);
                match before {
                    None => out.push(watch.transition(TransitionKind::Raise, at)),
                    Some(before) if watch.level().0 < before => {
                        out.push(watch.transition(TransitionKind::LevelUp, at));
                    }
                    Some(_) => {}
                }
            }
        }
    }

    /// Lists the gateways that count as offline: site, gateway, since when (receive clock).
    pub fn offline(&self) -> impl Iterator<Item = (&str, &str, Ms)> {
        let silent = self.watches.iter().filter(|w| w.reached > 0);
        silent.map(|w| (w.scope.site.as_str(), w.scope.object.as_str(), w.since))
    }
}

impl Watch {
    fn name(&self) -> (&str, &Scope) {
        (&self.rule, &self.scope)
    }

    fn level(&self) -> &(Severity, Ms, Parameter) {
        &self.levels[self.reached.saturating_sub(1)]
    }

    fn transition(&self, kind: TransitionKind, t: Ms) -> Transition {
        Transition {
            rule: self.rule.clone(),
            scope: self.scope.clone(),
            level: self.level().0,
            source_level: None,
            kind,
            t,
            since: self.since,
            segment: 0,
            latching: false,
            evidence: Box::new(self.evidence(kind, t)),
        }
    }

    fn evidence(&self, kind: TransitionKind, t: Ms) -> Evidence {
        let (severity, limit, parameter) = self.level();
        let gateway = &self.scope.object;
        let input = Input {
            series: SeriesKey::new(&*self.scope.site, &**gateway, ""),
            device_name: Text::same(&**gateway),
            measure: Measure::Value,
            unit: String::new(),
            value: None,
            quality: Quality::Stale,
            t: self.received,
            member: 0,
            rating: 1.0,
        };
        Evidence {
            engine_version: ENGINE_VERSION,
            rule: self.rule.clone(),
            rule_version: self.rule_version,
            rule_name: self.rule_name.clone(),
            scope: self.scope.clone(),
            site_name: self.site_name.clone(),
            object_name: Text::same(&**gateway),
            utc_offset_min: self.utc_offset_min,
            kind,
            level: *severity,
            source_level: None,
            test: Test::Silent { limit_ms: *limit },
            parameters: vec![parameter.clone()],
            fact_revision: 0,
            facts: vec![],
            inputs: vec![input],
            intermediates: vec![],
            value: None,
            limit: None,
            clear_limit: None,
            unit: String::new(),
            on_ms: *limit,
            off_ms: 0,
            observed_ms: t - self.since,
            since: self.since,
            samples_from: self.since,
            samples_to: t,
            suppression: None,
            note: None,
        }
    }
}

fn watch(rule: &Rule, site: &SiteModel, gateway: &str) -> Watch {
    let has = |word: &String| site.sector_tags.contains(word);
    let levels = rule.levels.iter().map(|level| {
        let parameter = parameter(rule, site, gateway, &level.on);
        let special = level.severity_where.iter().find(|w| has(&w.has));
        let severity = special.map_or(level.severity, |w| w.severity);
        (severity, seconds_to_ms(parameter.value), parameter)
    });
    let mut levels: Vec<_> = levels.collect();
    levels.sort_by_key(|(_, limit, _)| *limit);
    Watch {
        rule: rule.id.clone(),
        rule_version: rule.version,
        rule_name: rule.name.clone(),
        scope: Scope::new(&*site.site, gateway),
        site_name: site.label(),
        utc_offset_min: site.utc_offset_min,
        levels,
        received: None,
        reached: 0,
        since: 0,
    }
}

/// Resolves a parameter of a rule that the centre judges: gateway > site > sector > template.
pub(crate) fn parameter(rule: &Rule, site: &SiteModel, gateway: &str, name: &str) -> Parameter {
    let fits = |o: &&Override| {
        let here = match o.origin {
            Origin::Asset => o.target == gateway,
            Origin::Site => true,
            Origin::Sector => site.sector_tags.contains(&o.target),
            Origin::Template => false,
        };
        here && o.rule == rule.id && o.parameter == name
    };
    let best = site.overrides.iter().filter(fits).max_by_key(|o| o.origin);
    let spec = rule.param(name);
    let default = spec.and_then(|p| p.default).unwrap_or_default();
    let in_range = |v: &f64| spec.is_none_or(|p| (p.min..=p.max).contains(v));
    let (value, origin) = best
        .filter(|o| in_range(&o.value))
        .map_or((default, Origin::Template), |o| (o.value, o.origin));
    let unit = spec.map_or_else(|| "s".to_string(), |p| p.unit.clone());
    let name = name.to_string();
    Parameter { name, value, unit, origin, overridden: origin != Origin::Template }
}
