//! What the log has said of sites and facts, by position: an evaluator that begins at a place of the log knows exactly
//! what came before that place, on every replay.
//!
//! Called by the centre with each fact record; part of the centre's snapshot.

use std::collections::{BTreeMap, BTreeSet};

use rules::fact::Worth;

use rules::evaluator::FactRecord;
use rules::{Fact, FactBody, SiteModel};
use serde::{Deserialize, Serialize};

/// Most fact revisions kept; beyond it the oldest that a newer revision replaced, or that ended long ago, are forgotten.
pub(super) const FACTS_MAX: usize = 65_536;
/// Work and calibrations that ended so long before the newest record change no verdict any more, ms (40 days): no hole in
/// a gateway's blocks stays open that long.
const ENDED_KEPT_MS: i64 = 40 * 86_400_000;

/// See the module.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(from = "Stored")]
pub(super) struct Known {
    facts: Vec<(u64, Fact)>,
    revisions: Revisions,
    /// Newest time of recording, ms.
    recorded_at: i64,
    #[serde(skip)]
    index: Index,
}

/// What a snapshot holds: the index follows from it.
#[derive(Deserialize)]
struct Stored {
    facts: Vec<(u64, Fact)>,
    revisions: Revisions,
    recorded_at: i64,
}

impl From<Stored> for Known {
    fn from(stored: Stored) -> Self {
        let Stored { facts, revisions, recorded_at } = stored;
        let index = Index::of(&facts);
        Self { facts, revisions, recorded_at, index }
    }
}

/// Where the facts of a site stand: a start asks for each of thousands of gateways.
#[derive(Debug, Clone, Default)]
struct Index {
    /// Places in the list of facts, by site, in order.
    facts: BTreeMap<String, Vec<usize>>,
    /// Sites that have, or had, a device on a gateway.
    sites: BTreeMap<String, BTreeSet<String>>,
    /// Newest time of recording among the facts up to each, ms.
    recorded_at: Vec<i64>,
}

impl Index {
    fn of(facts: &[(u64, Fact)]) -> Self {
        let mut index = Self::default();
        facts.iter().for_each(|(_, fact)| index.add(fact));
        index
    }

    fn add(&mut self, fact: &Fact) {
        let place = self.recorded_at.len();
        let newest = self.recorded_at.last().copied().unwrap_or(i64::MIN);
        self.recorded_at.push(newest.max(fact.recorded_at));
        self.facts.entry(fact.site.clone()).or_default().push(place);
        for device in model_of(fact).into_iter().flat_map(|model| &model.devices) {
            match self.sites.get_mut(&device.gateway) {
                Some(sites) if sites.contains(&fact.site) => {}
                Some(sites) => drop(sites.insert(fact.site.clone())),
                None => {
                    let sites = BTreeSet::from([fact.site.clone()]);
                    self.sites.insert(device.gateway.clone(), sites);
                }
            }
        }
    }
}

/// Revisions met, as sorted ranges: they are one count without gaps, so these are few however many there were.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Revisions(Vec<(u64, u64)>);

impl Revisions {
    /// Adds one; `false` where it is known.
    fn insert(&mut self, revision: u64) -> bool {
        let next = self.0.partition_point(|range| range.1 < revision);
        if self.0.get(next).is_some_and(|range| range.0 <= revision) {
            return false;
        }
        let joins_before = next > 0 && self.0[next - 1].1 + 1 == revision;
        let joins_after = self.0.get(next).is_some_and(|range| range.0 == revision + 1);
        match (joins_before, joins_after) {
            (true, true) => self.0[next - 1].1 = self.0.remove(next).1,
            (true, false) => self.0[next - 1].1 = revision,
            (false, true) => self.0[next].0 = revision,
            (false, false) => self.0.insert(next, (revision, revision)),
        }
        true
    }
}

impl Known {
    /// Takes a fact record; `false` where it was logged before (each start of the centre may log it again).
    pub(super) fn take(&mut self, position: u64, fact: &Fact) -> bool {
        if !self.revisions.insert(fact.revision) {
            return false;
        }
        self.facts.push((position, fact.clone()));
        self.index.add(fact);
        self.recorded_at = self.recorded_at.max(fact.recorded_at);
        if self.facts.len() > FACTS_MAX {
            self.forget_old();
        }
        true
    }

    /// Newest revision met; 0 where there is none.
    pub(super) fn newest_revision(&self) -> u64 {
        self.revisions.0.last().map_or(0, |range| range.1)
    }

    /// Whether the record at `position` is the one by which a fact became known.
    pub(super) fn is_first(&self, position: u64, fact: &Fact) -> bool {
        let index = self.facts.partition_point(|(at, _)| *at < position);
        self.facts
            .get(index)
            .is_some_and(|(at, known)| *at == position && known.revision == fact.revision)
    }

    /// The models of the sites that have devices on a gateway, as known before `position`.
    pub(super) fn sites_of(&self, gateway: &str, position: u64) -> Vec<SiteModel> {
        self.models_of(gateway, position).cloned().collect()
    }

    /// The ids of these sites.
    pub(super) fn site_ids_of(&self, gateway: &str, position: u64) -> BTreeSet<String> {
        self.models_of(gateway, position).map(|model| model.site.clone()).collect()
    }

    fn models_of(&self, gateway: &str, position: u64) -> impl Iterator<Item = &SiteModel> {
        let sites = self.index.sites.get(gateway).into_iter().flatten();
        let newest = move |site: &String| self.of_site(site, position).filter_map(model_of).last();
        sites.filter_map(newest).filter(move |model| is_on(model, gateway))
    }

    /// The models of all sites.
    pub(super) fn sites(&self) -> Vec<&SiteModel> {
        let mut models: BTreeMap<&str, &SiteModel> = BTreeMap::new();
        for model in self.before(u64::MAX).filter_map(model_of) {
            models.insert(&model.site, model);
        }
        models.into_values().collect()
    }

    /// The gateways whose rules may change with a fact recorded at `position`, itself included.
    pub(super) fn gateways_of(&self, fact: &Fact, position: u64) -> BTreeSet<String> {
        let models = self.of_site(&fact.site, position).chain([fact]).filter_map(model_of);
        models.flat_map(|model| model.devices.iter().map(|device| device.gateway.clone())).collect()
    }

    /// The facts of some sites as known before `position`, newest revision of each, without models and without what had
    /// ended long before.
    pub(super) fn facts_of(
        &self,
        sites: &BTreeSet<String>,
        position: u64,
    ) -> Vec<FactRecord<Fact>> {
        let mut newest: BTreeMap<&str, (usize, &Fact)> = BTreeMap::new();
        for place in sites.iter().flat_map(|site| self.places(site, position)) {
            let fact = &self.facts[place].1;
            let is_newest = |known: &(usize, &Fact)| known.0 < place;
            if model_of(fact).is_none() && newest.get(&*fact.id).is_none_or(is_newest) {
                newest.insert(&fact.id, (place, fact));
            }
        }
        let before = self.facts.partition_point(|(at, _)| *at < position);
        let recorded_at = before.checked_sub(1).map_or(i64::MIN, |at| self.index.recorded_at[at]);
        let newest = newest.into_values().map(|(_, fact)| fact);
        let open = newest.filter(|fact| !ended_long_before(fact, recorded_at));
        let mut facts: Vec<_> = open.map(record).collect();
        facts.sort_by_key(|fact| fact.revision);
        facts
    }

    /// The facts of a site as known before `position`, in order.
    fn of_site(&self, site: &str, position: u64) -> impl Iterator<Item = &Fact> {
        self.places(site, position).map(|place| &self.facts[place].1)
    }

    fn places(&self, site: &str, position: u64) -> impl Iterator<Item = usize> {
        let places = self.index.facts.get(site).into_iter().flatten().copied();
        places.take_while(move |place| self.facts[*place].0 < position)
    }

    fn before(&self, position: u64) -> impl Iterator<Item = &Fact> {
        self.facts.iter().take_while(move |(at, _)| *at < position).map(|(_, fact)| fact)
    }

    /// Forgets, in the older half, what newer revisions have replaced and what ended long ago.
    fn forget_old(&mut self) {
        let half = self.facts.len() / 2;
        let newest: BTreeMap<String, u64> =
            self.facts.iter().map(|(_, fact)| (name(fact), fact.revision)).collect();
        let mut index = 0;
        self.facts.retain(|(_, fact)| {
            index += 1;
            index > half
                || newest.get(&name(fact)) == Some(&fact.revision)
                    && !ended_long_before(fact, self.recorded_at)
        });
        self.index = Index::of(&self.facts);
    }
}

fn ended_long_before(fact: &Fact, at: i64) -> bool {
    let ends = matches!(fact.body, FactBody::Calibration { .. }) || fact.worth() < Worth::Binding;
    ends && fact.valid_to.is_some_and(|to| to.saturating_add(ENDED_KEPT_MS) < at)
}

/// A fact as an evaluator takes it.
pub(super) fn record(fact: &Fact) -> FactRecord<Fact> {
    FactRecord {
        fact: fact.clone(),
        at: fact.valid_from.max(fact.recorded_at),
        revision: fact.revision,
    }
}

pub(super) fn model_of(fact: &Fact) -> Option<&SiteModel> {
    match &fact.body {
        FactBody::Site { model } => Some(model),
        _ => None,
    }
}

pub(super) fn is_on(model: &SiteModel, gateway: &str) -> bool {
    model.devices.iter().any(|device| device.gateway == gateway)
}

fn name(fact: &Fact) -> String {
    if model_of(fact).is_some() {
        format!("site:{}", fact.site)
    } else {
        format!("fact:{}", fact.id)
    }
}

#[cfg(test)]
mod tests;
