//! An occurrence as the console draws it: state from the database, texts from the catalogue, names from the registry,
//! numbers from the evidence.

use rules::{Catalogue, Lang, Text, Transition};
use serde::Serialize;
use utoipa::ToSchema;

use super::Parsed;
use crate::alarms::Occurrence;
use crate::registry::{Registry, Site, county};

/// An alarm as listed: one raise of one rule at one scope.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(in crate::api) struct Alarm {
    /// Names this raise.
    id: String,
    /// Number of the raise under its alarm, from 1.
    occurrence: i64,
    /// Goes up with each change; sent back when signing.
    version: i64,
    rule: String,
    rule_version: u32,
    name_zh: String,
    name_en: String,
    site: String,
    site_name: String,
    site_name_en: String,
    county: String,
    county_name: String,
    county_name_en: String,
    device: Option<String>,
    scope: String,
    /// 1 红 … 4 蓝.
    severity: i32,
    source_level: Option<String>,
    active: bool,
    /// Signed, or nobody has to sign it: see `needs_ack`.
    acked: bool,
    /// False for 蓝 that was never worse: 无需签收.
    needs_ack: bool,
    latched: bool,
    /// Event time at which the condition of its first level began, ms UTC.
    since: i64,
    /// Event time at which the delay of its first level had run out, ms UTC.
    raised_at: i64,
    /// Event time at which the condition of its present level began, ms UTC: value, limit and reason are of that one.
    level_since: i64,
    /// Event time of the judgement that value, limit and reason come from, ms UTC.
    level_at: i64,
    cleared_at: Option<i64>,
    /// Centre time, ms UTC.
    recorded_at: i64,
    ack: Option<Signature>,
    value: Option<f64>,
    limit: Option<f64>,
    unit: Option<String>,
    quantity: Option<String>,
    delay_ms: i64,
    overridden: Vec<Overridden>,
    why_zh: String,
    why_en: String,
    /// paged, recovered, silent, late_unsigned.
    page: String,
    /// Key of what the settled verdict says otherwise, or `never`.
    amends: Option<String>,
    consequence_zh: String,
    consequence_en: String,
    action_zh: Vec<String>,
    action_en: Vec<String>,
    source_clause_zh: String,
    source_clause_en: String,
    /// Says when the rule judged on readings that are not plainly good.
    quality_note_zh: Option<String>,
    quality_note_en: Option<String>,
}

/// Who signed.
#[derive(Debug, Clone, Serialize, ToSchema)]
struct Signature {
    by: String,
    by_name: String,
    at: i64,
    comment: Option<String>,
}

/// A parameter that is not the catalogue's default.
#[derive(Debug, Clone, Serialize, ToSchema)]
struct Overridden {
    param: String,
    label_zh: String,
    label_en: String,
    unit: String,
    default: Option<f64>,
    value: f64,
}

/// The transition that raised an occurrence, or that changed it last.
pub(super) fn transition_of(occurrence: &Occurrence) -> Parsed {
    serde_json::from_str(&occurrence.body)
}

/// An occurrence as listed. An unreadable body leaves its numbers out; the alarm itself is always shown.
pub(in crate::api) fn view(
    occurrence: &Occurrence,
    registry: &Registry,
    rules: &Catalogue,
) -> Alarm {
    let transition = transition_of(occurrence).ok();
    let evidence = transition.as_ref().map(|transition| transition.evidence.as_ref());
    let card = Card::of(occurrence, transition.as_ref(), rules);
    let why = |lang| evidence.map(|evidence| rules::why(evidence, lang)).unwrap_or_default();
    let doubtful = transition.as_ref().and_then(doubtful);
    let site = registry.site(&occurrence.site).map(|entry| &entry.site);
    let county = site.map_or(String::new(), |site| site.county.clone());
    let name = |of: fn(&Site) -> &String| {
        site.map_or_else(|| occurrence.site.clone(), |site| of(site).clone())
    };
    Alarm {
        id: occurrence.id.clone(),
        occurrence: occurrence.number,
        version: occurrence.version,
        rule: occurrence.rule.clone(),
        rule_version: evidence.map_or(0, |evidence| evidence.rule_version),
        name_zh: card.name.zh,
        name_en: card.name.en,
        site: occurrence.site.clone(),
        site_name: name(|site| &site.name.zh),
        site_name_en: name(|site| &site.name.en),
        county_name: county::name_zh(&county).to_owned(),
        county_name_en: county::name_en(&county).to_owned(),
        county,
        device: occurrence.device.clone(),
        scope: occurrence.scope.clone(),
        severity: occurrence.severity,
        source_level: occurrence.source_level.clone(),
        active: occurrence.active,
        acked: occurrence.acked,
        needs_ack: occurrence.needs_ack,
        latched: occurrence.latched,
        since: occurrence.since,
        raised_at: occurrence.raised_at,
        level_since: transition.as_ref().map_or(occurrence.since, |judged| judged.since),
        level_at: transition.as_ref().map_or(occurrence.raised_at, |judged| judged.t),
        cleared_at: occurrence.cleared_at,
        recorded_at: occurrence.recorded_at,
        ack: signature(occurrence),
        value: evidence.and_then(|evidence| evidence.value),
        limit: evidence.and_then(|evidence| evidence.limit),
        unit: evidence.map(|evidence| evidence.unit.clone()).filter(|unit| !unit.is_empty()),
        quantity: evidence
            .and_then(|evidence| Some(evidence.inputs.first()?.series.quantity.clone())),
        delay_ms: evidence.map_or(0, |evidence| evidence.on_ms),
        overridden: transition.as_ref().map(|t| overridden(t, rules)).unwrap_or_default(),
        why_zh: why(Lang::Zh),
        why_en: why(Lang::En),
        page: occurrence.page.clone(),
        amends: occurrence.amends.clone(),
        consequence_zh: card.consequence.zh,
        consequence_en: card.consequence.en,
        action_zh: card.action.iter().map(|text| text.zh.clone()).collect(),
        action_en: card.action.iter().map(|text| text.en.clone()).collect(),
        source_clause_zh: card.source.zh,
        source_clause_en: card.source.en,
        quality_note_zh: doubtful.as_ref().map(|devices| format!("数据质量存疑: {devices}")),
        quality_note_en: doubtful.map(|devices| format!("doubtful readings: {devices}")),
    }
}

/// What people read of a rule.
#[derive(Default)]
struct Card {
    name: Text,
    consequence: Text,
    action: Vec<Text>,
    source: Text,
}

impl Card {
    /// The rule's texts; for a rule that has left the catalogue the name its evidence kept.
    fn of(occurrence: &Occurrence, transition: Option<&Transition>, rules: &Catalogue) -> Self {
        if let Some(rule) = rules.rule(&occurrence.rule).cloned() {
            let (name, consequence) = (rule.name, rule.consequence);
            return Self { name, consequence, action: rule.action, source: rule.source };
        }
        let name = transition.map(|transition| transition.evidence.rule_name.clone());
        let name = name.unwrap_or_else(|| Text::same(occurrence.rule.clone()));
        Self { name, ..Self::default() }
    }
}

fn signature(occurrence: &Occurrence) -> Option<Signature> {
    let by = occurrence.ack_by.clone()?;
    Some(Signature {
        by_name: occurrence.ack_by_name.clone().unwrap_or_else(|| by.clone()),
        by,
        at: occurrence.ack_at?,
        comment: occurrence.ack_comment.clone(),
    })
}

fn overridden(transition: &Transition, rules: &Catalogue) -> Vec<Overridden> {
    let rule = rules.rule(&transition.rule);
    let parameters = transition.evidence.parameters.iter().filter(|p| p.overridden);
    parameters
        .map(|parameter| {
            let spec = rule.and_then(|rule| rule.param(&parameter.name));
            let label = spec.map_or_else(|| Text::same(&parameter.name), |spec| spec.label.clone());
            Overridden {
                param: parameter.name.clone(),
                label_zh: label.zh,
                label_en: label.en,
                unit: parameter.unit.clone(),
                default: spec.and_then(|spec| spec.default),
                value: parameter.value,
            }
        })
        .collect()
}

/// The devices whose readings the rule judged on were not plainly good.
fn doubtful(transition: &Transition) -> Option<String> {
    let doubtful = transition.evidence.inputs.iter();
    let doubtful = doubtful.filter(|input| input.quality != rules::Quality::Good);
    let mut devices: Vec<&str> = doubtful.map(|input| input.series.device.as_str()).collect();
    devices.dedup();
    (!devices.is_empty()).then(|| devices.join(", "))
}
