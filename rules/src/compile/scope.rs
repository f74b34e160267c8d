//! Where a rule stands at a site: its devices, pairs, groups, protected objects.

use super::Missing;
use crate::catalogue::{InputSpec, Kind, Rule, ScopeSpec, Source};
use crate::site::{Device, SiteModel};
use crate::standing::Standing;
use crate::text::Text;
use std::collections::BTreeMap;

/// One place where a rule could stand.
#[derive(Debug)]
pub(crate) struct Candidate<'a> {
    /// Object part of the scope.
    pub(crate) object: String,
    /// Its name.
    pub(crate) name: Text,
    /// Devices the alarm is about.
    pub(crate) devices: Vec<&'a Device>,
    /// Devices the inputs come from, as far as they are known to the registry.
    pub(crate) input_devices: Vec<&'a Device>,
    /// For a pair: production, protective. For an object: guards.
    pub(crate) production: Vec<&'a Device>,
    /// For a pair: the protective device. For an object: its protective devices.
    pub(crate) protective: Vec<&'a Device>,
    /// Devices the registry names but does not have.
    pub(crate) unknown: Vec<String>,
}

/// Lists the places of a rule at a site, sorted by object.
pub(crate) fn candidates<'a>(rule: &Rule, site: &'a SiteModel) -> Vec<Candidate<'a>> {
    let mut found = match &rule.scope {
        ScopeSpec::Device { roles, only, unless } => {
            let mut found = by_device(rule, site, roles);
            found.retain(|c| c.devices.iter().all(|d| is_of_sort(rule, d, only, unless)));
            found
        }
        ScopeSpec::Pair { kind } => by_pair(site, kind),
        ScopeSpec::Group { kind } => by_group(rule, site, kind),
        ScopeSpec::Site => by_site(rule, site),
        ScopeSpec::Object => by_object(rule, site),
    };
    // Objects of a sort are unique in a site: none are equal, and the stable sort's buffer cost more than all else here.
    found.sort_unstable_by(|a, b| a.object.cmp(&b.object));
    found.dedup_by(|a, b| a.object == b.object);
    found
}

/// Says what it means that a rule found no place at a site it is meant for.
pub(crate) fn nothing_to_watch(rule: &Rule) -> Standing {
    let named_sector = !rule.sectors.is_empty();
    match &rule.scope {
        ScopeSpec::Pair { kind } if named_sector => {
            let mut missing = Missing::default();
            missing.push(
                format!("缺少配对({kind}): 生产设备与其保护设备"),
                format!("missing pair of kind {kind}: production device and its protective device"),
            );
            missing.standing()
        }
        ScopeSpec::Group { kind } if named_sector => {
            let mut missing = Missing::default();
            missing.push(format!("缺少设备组({kind})"), format!("missing group of kind {kind}"));
            missing.standing()
        }
        _ => {
            let why = Text::new("该厂没有此类设备", "the site has no such device");
            Standing::NotApplicable { why }
        }
    }
}

/// Tells whether a device has enough of a wanted set for a rule without roles to concern it.
fn concerns(device: &Device, spec: &InputSpec) -> bool {
    spec.quantities.iter().any(|set| {
        let held = set.iter().filter(|q| device.point(q).is_some()).count();
        held >= set.len().min(2)
    })
}

/// Tells whether a device is of the sort of sensor that a rule is for.
fn is_of_sort(rule: &Rule, device: &Device, only: &[String], unless: &[String]) -> bool {
    let measures = |word: &String| {
        let suffixed = |q: &str| q.strip_prefix(word.as_str()).is_some_and(|r| r.starts_with('_'));
        device.points.iter().any(|p| p.quantity == *word || suffixed(&p.quantity))
    };
    let wanted = rule.inputs.iter().flat_map(|i| &i.quantities).flatten();
    let is_other = unless.iter().any(measures) && !wanted.into_iter().any(measures);
    !is_other && (only.is_empty() || only.iter().any(measures))
}

/// Lists the other devices that inputs of a rule at `device` depend on.
fn movers<'a>(rule: &Rule, site: &'a SiteModel, device: &Device) -> Vec<&'a Device> {
    let kinds: Vec<&String> = rule.inputs.iter().filter_map(|i| i.still.as_ref()).collect();
    let of_device =
        |g: &&crate::site::Group| kinds.contains(&&g.kind) && g.devices.contains(&device.id);
    let ids = site.groups.iter().filter(of_device).flat_map(|g| &g.devices);
    ids.filter_map(|id| site.device(id)).filter(|d| d.role != device.role).collect()
}

fn by_device<'a>(rule: &Rule, site: &'a SiteModel, roles: &[String]) -> Vec<Candidate<'a>> {
    let wanted = |d: &&Device| {
        if rule.kind == Kind::Stale {
            return !d.points.is_empty();
        }
        roles.contains(&d.role)
            || (roles.is_empty() && rule.inputs.iter().all(|spec| concerns(d, spec)))
    };
    site.devices
        .iter()
        .filter(wanted)
        .map(|d| Candidate {
            object: d.id.clone(),
            name: d.label(),
            devices: vec![d],
            input_devices: std::iter::once(d).chain(movers(rule, site, d)).collect(),
            production: vec![],
            protective: vec![],
            unknown: vec![],
        })
        .collect()
}

fn by_pair<'a>(site: &'a SiteModel, kind: &str) -> Vec<Candidate<'a>> {
    let pairs = site.pairs.iter().filter(|p| p.kind == kind);
    pairs
        .map(|p| {
            let production: Vec<_> = site.device(&p.production).into_iter().collect();
            let protective: Vec<_> = site.device(&p.protective).into_iter().collect();
            let devices: Vec<_> = production.iter().chain(&protective).copied().collect();
            let label = |id: &str| site.device(id).map_or_else(|| Text::same(id), Device::label);
            let (a, b) = (label(&p.production), label(&p.protective));
            Candidate {
                object: p.object(),
                name: Text::new(format!("{}与{}", a.zh, b.zh), format!("{} and {}", a.en, b.en)),
                input_devices: devices.clone(),
                devices,
                production,
                protective,
                unknown: unknown(site, [&p.production, &p.protective]),
            }
        })
        .collect()
}

fn by_group<'a>(rule: &Rule, site: &'a SiteModel, kind: &str) -> Vec<Candidate<'a>> {
    let attached = rule.inputs.iter().any(|i| i.from == Source::Attached);
    let groups = site.groups.iter().filter(|g| g.kind == kind);
    groups
        .map(|g| {
            let devices: Vec<_> = g.devices.iter().filter_map(|id| site.device(id)).collect();
            let protects = |d: &&Device| attached && d.protects.as_ref() == Some(&g.id);
            Candidate {
                object: g.id.clone(),
                name: if g.name.zh.is_empty() { Text::same(&*g.id) } else { g.name.clone() },
                input_devices: devices
                    .iter()
                    .copied()
                    .chain(site.devices.iter().filter(protects))
                    .collect(),
                devices,
                production: vec![],
                protective: vec![],
                unknown: unknown(site, &g.devices),
            }
        })
        .collect()
}

fn by_site<'a>(rule: &Rule, site: &'a SiteModel) -> Vec<Candidate<'a>> {
    let mut devices = Vec::new();
    let mut wanted = false;
    for spec in &rule.inputs {
        match &spec.from {
            Source::Role(role) => {
                wanted = true;
                devices.extend(site.devices.iter().filter(|d| d.role == *role));
            }
            Source::RoleIfAny(role) => {
                devices.extend(site.devices.iter().filter(|d| d.role == *role));
            }
            _ => {}
        }
    }
    if site.devices.is_empty() || (!wanted && devices.is_empty()) {
        return vec![];
    }
    vec![Candidate {
        object: String::new(),
        name: site.label(),
        input_devices: devices.clone(),
        devices,
        production: vec![],
        protective: vec![],
        unknown: vec![],
    }]
}

fn by_object<'a>(rule: &Rule, site: &'a SiteModel) -> Vec<Candidate<'a>> {
    // object -> (guards, protective devices)
    let mut objects: BTreeMap<String, (Vec<&Device>, Vec<&Device>)> = BTreeMap::new();
    let watched = |d: &&Device| rule.inputs.iter().any(|i| i.roles.contains(&d.role));
    for device in site.devices.iter().filter(watched) {
        let mut placed = false;
        for pair in site.pairs.iter().filter(|p| p.protective == device.id) {
            let entry = objects.entry(pair.production.clone()).or_default();
            entry.0.extend(site.device(&pair.production));
            entry.1.push(device);
            placed = true;
        }
        for group in site.groups.iter().filter(|g| g.devices.contains(&device.id)) {
            objects.entry(group.id.clone()).or_default().1.push(device);
            placed = true;
        }
        if let Some(object) = &device.protects {
            objects.entry(object.clone()).or_default().1.push(device);
        } else if !placed {
            objects.entry(device.id.clone()).or_default().1.push(device);
        }
    }
    let name = |object: &str| {
        let group = site.groups.iter().find(|g| g.id == object && !g.name.zh.is_empty());
        let device = site.device(object).map(Device::label);
        group.map(|g| g.name.clone()).or(device).unwrap_or_else(|| Text::same(object))
    };
    objects
        .into_iter()
        .map(|(object, (mut guards, protective))| {
            guards.dedup_by(|a, b| a.id == b.id);
            Candidate {
                name: name(&object),
                object,
                input_devices: guards.iter().chain(&protective).copied().collect(),
                devices: protective.clone(),
                production: guards,
                protective,
                unknown: vec![],
            }
        })
        .collect()
}

fn unknown<'s>(site: &SiteModel, ids: impl IntoIterator<Item = &'s String>) -> Vec<String> {
    ids.into_iter().filter(|id| site.device(id).is_none()).cloned().collect()
}
