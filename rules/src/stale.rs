//! Silence: devices and gateways that give no data, or never gave any (R41).
//!
//! Driven by the live evaluator alone, because it is judged on receive time and on the centre's ticks: its transitions
//! belong to the duty journal, never to the verdict journal that edge and centre must agree on. Pure like the engine.
//! Staleness counts from the receive time of the sample with the newest event time, or from a later start of the
//! centre; older samples never refresh it.

use crate::ENGINE_VERSION;
use crate::catalogue::{Catalogue, Kind, Rule};
use crate::compile::count;
use crate::evidence::{Evidence, Input, Measure, Origin, Parameter};
use crate::series::{Ms, Quality, SeriesKey};
use crate::site::{Device, SiteModel};
use crate::test::Test;
use crate::text::Text;
use crate::transition::{Scope, Severity, Transition, TransitionKind};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Watches the devices of one gateway for silence.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StaleMonitor {
    watches: Vec<Watch>,
    index: BTreeMap<(String, String), u32>,
    /// The newest start of the centre, or of the watch.
    start: Ms,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Watch {
    rule: String,
    rule_version: u32,
    rule_name: Text,
    scope: Scope,
    site_name: Text,
    device_name: Text,
    utc_offset_min: i32,
    severity: Severity,
    parameter: Parameter,
    limit: Ms,
    quantity: String,
    expected_since: Ms,
    /// (segment, event time) of the newest sample.
    newest: Option<(u32, Ms)>,
    /// Receive time of the newest sample.
    received: Ms,
    /// Since when it counts as silent.
    silent: Option<Ms>,
}

impl StaleMonitor {
    /// Watches every device of the gateway that has points. `start` is when watching begins (receive clock).
    pub fn new(catalogue: &Catalogue, sites: &[SiteModel], gateway: &str, start: Ms) -> Self {
        let mut monitor = Self { watches: Vec::new(), index: BTreeMap::new(), start };
        for rule in catalogue.rules.iter().filter(|r| r.kind == Kind::Stale) {
            for site in sites {
                let here = |d: &&Device| d.gateway == gateway && !d.points.is_empty();
                for device in site.devices.iter().filter(here) {
                    let name = (site.site.clone(), device.id.clone());
                    monitor.index.insert(name, count(monitor.watches.len()));
                    monitor.watches.push(watch(rule, site, device));
                }
            }
        }
        monitor
    }

    /// Takes over what an earlier monitor knew of the devices that are still watched: after a registry change.
    pub fn carry(&mut self, earlier: &Self) {
        self.start = earlier.start;
        for (name, i) in &self.index {
            if let Some(was) = earlier.index.get(name).map(|o| &earlier.watches[*o as usize]) {
                let watch = &mut self.watches[*i as usize];
                (watch.newest, watch.received, watch.silent) =
                    (was.newest, was.received, was.silent);
            }
        }
    }

    /// Takes note of a usable sample of a device: its segment and event time, and when it was received.
    pub fn received(
        &mut self,
        site: &str,
        device: &str,
        segment: u32,
        t: Ms,
        received_at: Ms,
        out: &mut Vec<Transition>,
    ) {
        let Some(i) = self.index.get(&(site.to_string(), device.to_string())) else { return };
        let watch = &mut self.watches[*i as usize];
        if watch.newest.is_some_and(|newest| newest >= (segment, t)) {
            return;
        }
        watch.newest = Some((segment, t));
        watch.received = received_at;
        if watch.silent.is_some() {
            out.push(watch.transition(TransitionKind::Clear, received_at, self.start));
            watch.silent = None;
        }
    }

    /// Takes note of a start of the centre: silence counts from here at the earliest.
    pub fn started(&mut self, at: Ms) {
        self.start = self.start.max(at);
    }

    /// Judges silence at the centre's time `now`. The transition is dated when the limit was passed.
    pub fn tick(&mut self, now: Ms, out: &mut Vec<Transition>) {
        for watch in &mut self.watches {
            let from = watch.counts_from(self.start);
            if watch.silent.is_none() && now - from > watch.limit {
                out.push(watch.transition(TransitionKind::Raise, from + watch.limit, self.start));
                watch.silent = Some(from);
            }
        }
    }

    /// Lists the silent devices: site, device, since when their data is missing (receive clock).
    pub fn silent(&self) -> impl Iterator<Item = (&str, &str, Ms)> {
        self.watches
            .iter()
            .filter_map(|w| Some((w.scope.site.as_str(), w.scope.object.as_str(), w.silent?)))
    }
}

impl Watch {
    fn counts_from(&self, start: Ms) -> Ms {
        self.received.max(start).max(self.expected_since)
    }

    fn transition(&self, kind: TransitionKind, t: Ms, start: Ms) -> Transition {
        let since = self.silent.unwrap_or_else(|| self.counts_from(start));
        Transition {
            rule: self.rule.clone(),
            scope: self.scope.clone(),
            level: self.severity,
            source_level: None,
            kind,
            t,
            since,
            segment: self.newest.map_or(0, |n| n.0),
            latching: false,
            evidence: Box::new(self.evidence(kind, t, since)),
        }
    }

    fn evidence(&self, kind: TransitionKind, t: Ms, since: Ms) -> Evidence {
        let input = Input {
            series: SeriesKey::new(&*self.scope.site, &*self.scope.object, &*self.quantity),
            device_name: self.device_name.clone(),
            measure: Measure::Value,
            unit: String::new(),
            value: None,
            quality: Quality::Stale,
            t: self.newest.map(|n| n.1),
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
            object_name: self.device_name.clone(),
            utc_offset_min: self.utc_offset_min,
            kind,
            level: self.severity,
            source_level: None,
            test: Test::Silent { limit_ms: self.limit },
            parameters: vec![self.parameter.clone()],
            fact_revision: 0,
            facts: vec![],
            inputs: vec![input],
            intermediates: vec![],
            value: None,
            limit: None,
            clear_limit: None,
            unit: String::new(),
            on_ms: self.limit,
            off_ms: 0,
            observed_ms: t - since,
            since,
            samples_from: since,
            samples_to: t,
            suppression: None,
            note: None,
        }
    }
}

fn watch(rule: &Rule, site: &SiteModel, device: &Device) -> Watch {
    let number = |name: &str, or: f64| {
        let of = |o: &&crate::site::Override| o.rule == rule.id && o.parameter == name;
        let fits = |o: &&crate::site::Override| match o.origin {
            Origin::Asset => o.target == device.id,
            Origin::Site => true,
            Origin::Sector => site.sector_tags.contains(&o.target),
            Origin::Template => false,
        };
        let best = site.overrides.iter().filter(of).filter(fits).max_by_key(|o| o.origin);
        let default = rule.param(name).and_then(|p| p.default).unwrap_or(or);
        best.map_or((default, Origin::Template), |o| (o.value, o.origin))
    };
    let (silence, origin) = number("silence", 60.0);
    let polls = crate::compile::seconds_to_ms(number("polls", 3.0).0) / 1000;
    let slowest = device.points.iter().map(|p| p.period_ms).max().unwrap_or(0);
    let level = rule.levels.first();
    let site_name =
        if site.name.zh.is_empty() { Text::same(&*site.site) } else { site.name.clone() };
    Watch {
        rule: rule.id.clone(),
        rule_version: rule.version,
        rule_name: rule.name.clone(),
        scope: Scope::new(&*site.site, &*device.id),
        site_name,
        device_name: device.label(),
        utc_offset_min: site.utc_offset_min,
        severity: level.map_or(Severity::Blue, |l| l.severity),
        parameter: Parameter {
            name: "silence".into(),
            value: silence,
            unit: "s".into(),
            origin,
            overridden: origin != Origin::Template,
        },
        limit: crate::compile::seconds_to_ms(silence).max(polls * slowest),
        quantity: device.points.first().map(|p| p.quantity.clone()).unwrap_or_default(),
        expected_since: device.expected_since,
        newest: None,
        received: Ms::MIN,
        silent: None,
    }
}
