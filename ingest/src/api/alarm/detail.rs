//! One occurrence whole: the evidence it was judged on, what happened to it, and the raises before it.

use std::collections::HashMap;

use rules::Catalogue;
use serde::Serialize;
use utoipa::ToSchema;

use super::view::{Alarm, transition_of, view};
use crate::alarms::{HistoryRow, Occurrence};
use crate::registry::Registry;

/// Earlier raises shown.
pub(super) const EARLIER_MAX: u64 = 10;

/// An alarm whole.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AlarmDetail {
    #[serde(flatten)]
    alarm: Alarm,
    evidence: Option<EvidenceView>,
    history: Vec<HistoryLine>,
    /// Raises of the same alarm before this one, newest first, at most ten.
    earlier: Vec<Earlier>,
}

/// An earlier raise of the same alarm.
#[derive(Debug, Serialize, ToSchema)]
struct Earlier {
    id: String,
    occurrence: i64,
    /// Worst it had, 1 红 … 4 蓝.
    severity: i32,
    raised_at: i64,
    cleared_at: Option<i64>,
    acked: bool,
    needs_ack: bool,
    by_name: Option<String>,
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
    /// User name; none for the engine.
    by: Option<String>,
    /// Their name as shown.
    by_name: Option<String>,
    comment: Option<String>,
}

/// What the database holds of an occurrence besides its row.
pub(super) struct Past {
    pub(super) history: Vec<HistoryRow>,
    pub(super) earlier: Vec<Occurrence>,
    /// User name → name as shown.
    pub(super) names: HashMap<String, String>,
}

/// An occurrence whole.
pub(super) fn detail(
    occurrence: &Occurrence,
    past: Past,
    registry: &Registry,
    rules: &Catalogue,
) -> AlarmDetail {
    let transition = transition_of(occurrence).ok();
    AlarmDetail {
        alarm: view(occurrence, registry, rules),
        evidence: transition.map(|transition| EvidenceView::from(*transition.evidence)),
        history: past.history.into_iter().map(|row| line(row, &past.names)).collect(),
        earlier: past.earlier.into_iter().map(Earlier::from).collect(),
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

fn line(row: HistoryRow, names: &HashMap<String, String>) -> HistoryLine {
    HistoryLine {
        at: row.at,
        event_time: row.event_time,
        kind: row.kind,
        by_name: row.by.as_ref().and_then(|by| names.get(by).cloned()),
        by: row.by,
        comment: row.comment,
    }
}

impl From<Occurrence> for Earlier {
    fn from(occurrence: Occurrence) -> Self {
        Self {
            id: occurrence.id,
            occurrence: occurrence.number,
            severity: occurrence.severity_worst,
            raised_at: occurrence.raised_at,
            cleared_at: occurrence.cleared_at,
            acked: occurrence.acked,
            needs_ack: occurrence.needs_ack,
            by_name: occurrence.ack_by_name,
        }
    }
}
