//! An occurrence as the console draws it: state from the database, texts from the catalogue, names from the registry,
//! numbers from the evidence.

use rules::{Catalogue, Lang, Text, Transition};
use serde::Serialize;
use utoipa::ToSchema;

use super::Parsed;
use crate::alarms::{HistoryRow, Occurrence};
use crate::registry::{Registry, county};

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
    county: String,
    county_name: String,
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
    /// Event time at which the condition began, ms UTC.
    since: i64,
    /// Event time at which its delay had run out, ms UTC.
    raised_at: i64,
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
    source_clause: String,
    quality_note: Option<String>,
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
pub(in crate::api) struct Overridden {
    param: String,
    default: Option<f64>,
    value: f64,
}

/// An alarm whole.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AlarmDetail {
    #[serde(flatten)]
    alarm: Alarm,
    evidence: Option<EvidenceView>,
    history: Vec<HistoryLine>,
}

/// What the rule judged on.
#[derive(Debug, Serialize, ToSchema)]
struct EvidenceView {
    inputs: Vec<InputView>,
    limit: Option<f64>,
    clear_limit: Option<f64>,
    on_ms: i64,
    off_ms: i64,
    rule_version: u32,
    fact_revision: u64,
    samples_from: i64,
    samples_to: i64,
    suppression: Option<String>,
}

/// One input.
#[derive(Debug, Serialize, ToSchema)]
struct InputView {
    series: String,
    device: String,
    quantity: String,
    unit: String,
    value: Option<f64>,
    quality: &'static str,
    t: Option<i64>,
}

/// One line of the history.
#[derive(Debug, Serialize, ToSchema)]
struct HistoryLine {
    at: i64,
    event_time: i64,
    kind: String,
    by: Option<String>,
    comment: Option<String>,
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
    let site = registry.site(&occurrence.site).map(|entry| &entry.site);
    let county = site.map_or(String::new(), |site| site.county.clone());
    let site_name = site.map_or_else(|| occurrence.site.clone(), |site| site.name.zh.clone());
    Alarm {
        id: occurrence.id.clone(),
        occurrence: occurrence.number,
        version: occurrence.version,
        rule: occurrence.rule.clone(),
        rule_version: evidence.map_or(0, |evidence| evidence.rule_version),
        name_zh: card.name.zh,
        name_en: card.name.en,
        site: occurrence.site.clone(),
        site_name,
        county_name: county::name_zh(&county).to_owned(),
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
        source_clause: card.source.zh,
        quality_note: transition.as_ref().and_then(quality_note),
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
        .map(|parameter| Overridden {
            param: parameter.name.clone(),
            default: rule.and_then(|rule| rule.param(&parameter.name)?.default),
            value: parameter.value,
        })
        .collect()
}

/// Says when the rule judged on readings that are not plainly good.
fn quality_note(transition: &Transition) -> Option<String> {
    let doubtful = transition.evidence.inputs.iter();
    let doubtful = doubtful.filter(|input| input.quality != rules::Quality::Good);
    let mut devices: Vec<&str> = doubtful.map(|input| input.series.device.as_str()).collect();
    devices.dedup();
    if devices.is_empty() {
        return None;
    }
    let devices = devices.join(", ");
    Some(format!("数据质量存疑 / doubtful readings: {devices}"))
}

/// An occurrence whole.
pub(super) fn detail(
    occurrence: &Occurrence,
    history: Vec<HistoryRow>,
    registry: &Registry,
    rules: &Catalogue,
) -> AlarmDetail {
    let transition = transition_of(occurrence).ok();
    AlarmDetail {
        alarm: view(occurrence, registry, rules),
        evidence: transition.map(|transition| EvidenceView::from(*transition.evidence)),
        history: history.into_iter().map(HistoryLine::from).collect(),
    }
}

impl From<rules::Evidence> for EvidenceView {
    fn from(evidence: rules::Evidence) -> Self {
        Self {
            inputs: evidence.inputs.into_iter().map(InputView::from).collect(),
            limit: evidence.limit,
            clear_limit: evidence.clear_limit,
            on_ms: evidence.on_ms,
            off_ms: evidence.off_ms,
            rule_version: evidence.rule_version,
            fact_revision: evidence.fact_revision,
            samples_from: evidence.samples_from,
            samples_to: evidence.samples_to,
            suppression: evidence.suppression.map(|suppression| suppression.by),
        }
    }
}

impl From<rules::evidence::Input> for InputView {
    fn from(input: rules::evidence::Input) -> Self {
        let quality = match input.quality {
            rules::Quality::Good => "good",
            rules::Quality::Uncertain { .. } => "uncertain",
            rules::Quality::Bad => "bad",
            rules::Quality::Stale => "stale",
            rules::Quality::Substituted => "substituted",
        };
        Self {
            series: input.series.to_string(),
            device: input.series.device,
            quantity: input.series.quantity,
            unit: input.unit,
            value: input.value,
            quality,
            t: input.t,
        }
    }
}

impl From<HistoryRow> for HistoryLine {
    fn from(row: HistoryRow) -> Self {
        Self {
            at: row.at,
            event_time: row.event_time,
            kind: row.kind,
            by: row.by,
            comment: row.comment,
        }
    }
}
