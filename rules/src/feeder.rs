//! Suspected feeder outages (R09c): a gateway's last will or last gasp together with its neighbours'.
//!
//! Driven by the centre alone, with receive times and its own ticks, like [`crate::stale`]: its transitions belong to
//! the duty journal, never to the verdict journal that edge and centre must agree on. Pure like the engine.
//!
//! A lost carrier, broker or centre looks much like a lost feeder, and must not be told as one:
//! - a gateway counts as lost only if it was heard just before, so that wills kept by the broker prove nothing;
//! - after a start of the centre, or after a time in which nobody was heard, losses do not count for a while;
//! - wills alone are judged only after others had time to come, and only while sites on other feeders are still heard;
//!   the last gasp says itself that mains is gone and needs no such proof;
//! - what was judged not to be a feeder is not judged again until the site was back.

mod tell;

use crate::catalogue::{Catalogue, Kind, Rule};
use crate::evidence::Parameter;
use crate::series::Ms;
use crate::site::SiteModel;
use crate::stale::parameter;
use crate::text::Text;
use crate::transition::{Scope, Severity, Transition, TransitionKind};
use crate::watched::{Watched, matched};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// A gateway that was heard so lately is there: it closes a block at least each 10 s, ms.
const ALIVE_MS: Ms = 30_000;
/// A gateway must have been heard so lately for its will to count, which the broker sends after one and a half times
/// the keep-alive, ms.
const THERE_MS: Ms = 120_000;
/// When nobody at all was heard for so long, the centre itself was cut off, ms.
const DEAF_MS: Ms = 30_000;

/// Watches the sites whose feeder the registry knows, and whether the others are heard.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(from = "Stored")]
pub struct FeederMonitor {
    watches: Vec<Watch>,
    gateways: BTreeMap<String, Seen>,
    /// Since when the centre hears: its start, or the end of a time in which nobody was heard.
    hears_since: Ms,
    /// When anybody was last heard.
    heard: Option<Ms>,
    #[serde(skip)]
    watched: Watched,
}

#[derive(Deserialize)]
struct Stored {
    watches: Vec<Watch>,
    gateways: BTreeMap<String, Seen>,
    hears_since: Ms,
    heard: Option<Ms>,
}

impl From<Stored> for FeederMonitor {
    fn from(stored: Stored) -> Self {
        let Stored { watches, gateways, hears_since, heard } = stored;
        let watched = Watched::of(watches.iter().map(|watch| &watch.gateways));
        Self { watches, gateways, hears_since, heard, watched }
    }
}

/// One site.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Watch {
    rule: String,
    rule_version: u32,
    rule_name: Text,
    scope: Scope,
    site_name: Text,
    utc_offset_min: i32,
    feeder: Option<String>,
    gateways: Vec<String>,
    severity: Severity,
    source_level: Option<String>,
    numbers: Numbers,
    parameters: Vec<Parameter>,
    /// The loss behind the alarm that stands.
    raised: Option<Found>,
    /// A loss that was judged and is none of a feeder.
    dismissed: Option<Ms>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Numbers {
    neighbours: u32,
    within: Ms,
    settle: Ms,
    outside_share: f64,
}

#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct Seen {
    /// When it last sent a block or said that it is there.
    heard: Option<Ms>,
    lost: Option<Lost>,
}

/// How a gateway, or a site, went.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Lost {
    at: Ms,
    /// It said that its mains is gone.
    gasp: bool,
}

/// What was found about the loss of a site.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Found {
    at: Ms,
    neighbours: u32,
    /// Of the site and its neighbours.
    gasps: u32,
    /// Sites on other feeders that were there, and those of them that are.
    outside: u32,
    outside_alive: u32,
}

impl FeederMonitor {
    /// Watches these sites from `start` on (the centre's clock).
    pub fn new(catalogue: &Catalogue, sites: &[&SiteModel], start: Ms) -> Self {
        let rules = catalogue.rules.iter().filter(|r| r.kind == Kind::FeederLost);
        let watches: Vec<Watch> =
            rules.flat_map(|rule| sites.iter().map(move |site| watch(rule, site))).collect();
        let gateways =
            watches.iter().flat_map(|w| &w.gateways).map(|g| (g.clone(), Seen::default()));
        let gateways = gateways.collect();
        Self::from(Stored { watches, gateways, hears_since: start, heard: None })
    }

    /// Takes over what an earlier monitor knew: after a change of the registry.
    pub fn carry(&mut self, earlier: &Self) {
        self.hears_since = earlier.hears_since;
        self.heard = earlier.heard;
        for (name, seen) in &mut self.gateways {
            *seen = earlier.gateways.get(name).copied().unwrap_or_default();
        }
        let was = matched(&self.watches, &earlier.watches, Watch::name);
        for (watch, was) in self.watches.iter_mut().zip(was) {
            if let Some(was) = was {
                (watch.raised, watch.dismissed) = (was.raised, was.dismissed);
            }
        }
    }

    /// Takes these alarms as raised already. Gives back those that are none of a feeder here.
    pub fn resume(&mut self, active: Vec<Transition>) -> Vec<Transition> {
        let mut left = Vec::new();
        for alarm in active {
            let same = |w: &&mut Watch| w.rule == alarm.rule && w.scope == alarm.scope;
            match self.watches.iter_mut().find(same) {
                // How many neighbours went with it stands in the alarm; for its end only the moment counts.
                Some(watch) => {
                    watch.raised = Some(Found {
                        at: alarm.t,
                        neighbours: 0,
                        gasps: 0,
                        outside: 0,
                        outside_alive: 0,
                    });
                }
                None => left.push(alarm),
            }
        }
        left
    }

    /// Takes note of a start of the centre: what was lost before proves nothing.
    pub fn started(&mut self, at: Ms) {
        self.hears_since = self.hears_since.max(at);
        for seen in self.gateways.values_mut() {
            seen.heard = None;
        }
    }

    /// Takes note of a block of a gateway received at `at`.
    pub fn received(&mut self, gateway: &str, at: Ms, out: &mut Vec<Transition>) {
        self.hear(at);
        let Some(seen) = self.gateways.get_mut(gateway) else { return };
        seen.heard = Some(at);
        if seen.lost.is_some_and(|lost| !lost.gasp) {
            seen.lost = None;
        }
        self.back(gateway, at, out);
    }

    /// Takes note of what a gateway, or its last will, said at `at`.
    pub fn presence(
        &mut self,
        gateway: &str,
        online: bool,
        on_battery: bool,
        at: Ms,
        out: &mut Vec<Transition>,
    ) {
        self.hear(at);
        let settled = at >= self.hears_since.saturating_add(self.patience());
        let Some(seen) = self.gateways.get_mut(gateway) else { return };
        let was_there = seen.heard.is_some_and(|h| at - h <= THERE_MS);
        let counts = settled && was_there;
        seen.lost = match (online, on_battery, seen.lost) {
            (true, false, _) => None,
            (true, true, Some(lost)) if lost.gasp => Some(lost),
            (true, true, _) if counts => Some(Lost { at, gasp: true }),
            (false, _, None) if counts => Some(Lost { at, gasp: false }),
            (_, _, lost) => lost,
        };
        if online {
            seen.heard = Some(at);
        }
        self.back(gateway, at, out);
    }

    /// Judges at the centre's time `now`.
    pub fn tick(&mut self, now: Ms, out: &mut Vec<Transition>) {
        for i in 0..self.watches.len() {
            let watch = &self.watches[i];
            let (Some(lost), None) = (self.lost(watch, now), watch.raised) else { continue };
            if watch.feeder.is_none() || watch.dismissed == Some(lost.at) {
                continue;
            }
            match self.judge(watch, lost, now) {
                Verdict::Wait => {}
                Verdict::Dismiss => self.watches[i].dismissed = Some(lost.at),
                Verdict::Feeder(found) => {
                    self.watches[i].raised = Some(found);
                    out.push(self.tell(&self.watches[i], found, TransitionKind::Raise, now));
                }
            }
        }
    }

    fn judge(&self, watch: &Watch, lost: Lost, now: Ms) -> Verdict {
        let Numbers { neighbours: need, within, settle, outside_share } = watch.numbers;
        let on_feeder = |w: &&Watch| w.feeder == watch.feeder && w.scope != watch.scope;
        let near = |l: &Lost| (l.at - lost.at).abs() <= within;
        let neighbours = self.watches.iter().filter(on_feeder).filter_map(|w| self.lost(w, now));
        let neighbours: Vec<Lost> = neighbours.filter(near).collect();
        let gasps = neighbours.iter().filter(|l| l.gasp).count();
        let n = crate::compile::count;
        let mut found = Found {
            at: lost.at,
            neighbours: n(neighbours.len()),
            gasps: n(gasps) + u32::from(lost.gasp),
            outside: 0,
            outside_alive: 0,
        };
        if lost.gasp && n(gasps) >= need {
            found.neighbours = n(gasps);
            return Verdict::Feeder(found);
        }
        let last = neighbours.iter().map(|l| l.at).fold(lost.at, Ms::max);
        if found.neighbours < need || now < last.saturating_add(settle) {
            return Verdict::Wait;
        }
        let others = self.watches.iter().filter(|w| w.feeder != watch.feeder);
        for other in others {
            let is_alive = other.gateways.iter().any(|g| self.is_alive(g, now));
            let heard = other.gateways.iter().filter_map(|g| self.gateways.get(g)?.heard).max();
            // Silent since about then counts as gone, whether its will has come yet or not.
            let was_there = heard.is_some_and(|h| h >= lost.at - THERE_MS);
            found.outside += u32::from(is_alive || was_there);
            found.outside_alive += u32::from(is_alive);
        }
        let gone = f64::from(found.outside - found.outside_alive);
        let is_feeder = found.outside_alive > 0 && gone <= outside_share * f64::from(found.outside);
        if is_feeder { Verdict::Feeder(found) } else { Verdict::Dismiss }
    }

    /// How a site went: when the last of its gateways did that were there. `None` while one is there.
    fn lost(&self, watch: &Watch, now: Ms) -> Option<Lost> {
        let mut lost: Option<Lost> = None;
        for gateway in &watch.gateways {
            match self.gateways.get(gateway).and_then(|seen| seen.lost) {
                Some(l) => {
                    let (at, gasp) = lost.map_or((l.at, true), |b| (b.at.max(l.at), b.gasp));
                    lost = Some(Lost { at, gasp: gasp && l.gasp });
                }
                None if self.is_alive(gateway, now) => return None,
                None => {}
            }
        }
        lost
    }

    fn is_alive(&self, gateway: &str, now: Ms) -> bool {
        let seen = self.gateways.get(gateway);
        seen.is_some_and(|s| s.lost.is_none() && s.heard.is_some_and(|h| now - h <= ALIVE_MS))
    }

    /// Somebody was heard; a long silence before means that the centre was cut off.
    fn hear(&mut self, at: Ms) {
        if self.heard.is_none_or(|h| at - h > DEAF_MS) {
            self.hears_since = self.hears_since.max(at);
            for seen in self.gateways.values_mut() {
                seen.heard = None;
            }
        }
        self.heard = self.heard.max(Some(at));
    }

    /// How long losses do not count after the centre began to hear, ms: as long as losses may lie apart.
    fn patience(&self) -> Ms {
        self.watches.iter().map(|w| w.numbers.within).max().unwrap_or(0)
    }

    /// Clears the alarms of sites of which a gateway is back.
    fn back(&mut self, gateway: &str, at: Ms, out: &mut Vec<Transition>) {
        for i in self.watched.places(gateway).to_vec() {
            let watch = &self.watches[i];
            if self.lost(watch, at).is_some() {
                continue;
            }
            if let Some(found) = watch.raised {
                out.push(self.tell(watch, found, TransitionKind::Clear, at));
            }
            (self.watches[i].raised, self.watches[i].dismissed) = (None, None);
        }
    }
}

impl Watch {
    fn name(&self) -> (&str, &Scope) {
        (&self.rule, &self.scope)
    }
}

enum Verdict {
    Wait,
    /// Not a feeder: others went too, or nobody else is there to tell.
    Dismiss,
    Feeder(Found),
}

fn watch(rule: &Rule, site: &SiteModel) -> Watch {
    let gateways: BTreeSet<&String> = site.devices.iter().map(|d| &d.gateway).collect();
    let level = rule.levels.first();
    let severity = level.map_or(Severity::Orange, |l| {
        let special = l.severity_where.iter().find(|w| site.sector_tags.contains(&w.has));
        special.map_or(l.severity, |w| w.severity)
    });
    let parameters: Vec<Parameter> =
        rule.params.iter().map(|p| parameter(rule, site, "", &p.name)).collect();
    let value = |name: &str| parameters.iter().find(|p| p.name == name).map_or(0.0, |p| p.value);
    let ms = |name: &str| crate::compile::seconds_to_ms(value(name));
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped before")]
    let neighbours = value("neighbours").round().clamp(1.0, 100.0) as u32;
    let numbers = Numbers {
        neighbours,
        within: ms("within"),
        settle: ms("settle"),
        outside_share: value("outside"),
    };
    Watch {
        rule: rule.id.clone(),
        rule_version: rule.version,
        rule_name: rule.name.clone(),
        scope: Scope::new(&*site.site, ""),
        site_name: site.label(),
        utc_offset_min: site.utc_offset_min,
        feeder: site.feeder.clone(),
        gateways: gateways.into_iter().filter(|g| !g.is_empty()).cloned().collect(),
        severity,
        source_level: level.and_then(|l| l.source_level.clone()),
        numbers,
        parameters,
        raised: None,
        dismissed: None,
    }
}
