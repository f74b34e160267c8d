//! Reads `[[site.fact]]`: orders, approvals, planned work, calibrations.

use rules::FactBody;
use rules::fact::{CALIBRATION_MS_MAX, RegState};

use super::SeedFact;
use super::reader::{At, Table};
use super::site::{known_device, need_own_id};

/// Words for the regulatory states.
const STATES: [(&str, RegState); 8] = [
    ("normal", RegState::Normal),
    ("rectification", RegState::Rectification),
    ("suspended", RegState::Suspended),
    ("construction_halted", RegState::ConstructionHalted),
    ("maintenance", RegState::Maintenance),
    ("awaiting_acceptance", RegState::AwaitingAcceptance),
    ("long_stopped", RegState::LongStopped),
    ("closed", RegState::Closed),
];

/// Reads one fact; `None` when a part of it is missing (then problems say so).
pub(super) fn read(table: Table<'_>, devices: &[String]) -> Option<SeedFact> {
    let id = need_own_id(&table, "id", "fact");
    let valid_from = moment(&table, table.need_text("valid_from"));
    let valid_to = moment(&table, table.text("valid_to"));
    let withdrawn = table.flag("withdrawn").is_some_and(|at| at.value);
    let body = table.need_text("kind").and_then(|kind| body(&table, &kind, devices));
    if let (Some(from), Some(to)) = (valid_from, valid_to) {
        if to <= from {
            table.problem("valid_to must be later than valid_from");
        }
        if matches!(body, Some(FactBody::Calibration { .. })) && to - from > CALIBRATION_MS_MAX {
            table.problem("a calibration lasts at most 2 hours");
        }
    }
    if valid_to.is_none() && matches!(body, Some(FactBody::Calibration { .. })) {
        table.problem("a calibration needs valid_to, at most 2 hours after valid_from");
    }
    table.finish();
    Some(SeedFact { id: id?, valid_from: valid_from?, valid_to, withdrawn, body: body? })
}

/// A moment with its offset, e.g. `2026-03-01T08:00:00+08:00`.
fn moment(table: &Table<'_>, at: Option<At<String>>) -> Option<i64> {
    let at = at?;
    match at.value.parse::<jiff::Timestamp>() {
        Ok(moment) => Some(moment.as_millisecond()),
        Err(_) => {
            table.problem_at(
                &at,
                "must be a time with its offset, e.g. \"2026-03-01T08:00:00+08:00\"",
            );
            None
        }
    }
}

fn body(table: &Table<'_>, kind: &At<String>, devices: &[String]) -> Option<FactBody> {
    match kind.value.as_str() {
        "reg_state" => {
            let (state, document) = (table.need_text("state"), table.need_text("document"));
            let base_kw = table.number("base_kw").map(|at| at.value);
            Some(FactBody::RegState {
                state: state_of(table, state?)?,
                document: document?.value,
                base_kw,
            })
        }
        "approval" => Some(FactBody::Approval { document: table.need_text("document")?.value }),
        "work" => {
            let work = table.need_text("work");
            let declared_kw = table.number("declared_kw").map(|at| at.value);
            let approved_by = table.text("approved_by").map(|at| at.value);
            let devices = listed(table, devices);
            Some(FactBody::Work { work: work?.value, devices, declared_kw, approved_by })
        }
        "calibration" => Some(FactBody::Calibration { devices: listed(table, devices) }),
        other => {
            let message = format!("{other:?} is none of reg_state, approval, work, calibration");
            table.problem_at(kind, message);
            None
        }
    }
}

fn state_of(table: &Table<'_>, at: At<String>) -> Option<RegState> {
    let found = STATES.iter().find(|(word, _)| *word == at.value).map(|(_, state)| *state);
    if found.is_none() {
        let words = STATES.map(|(word, _)| word).join(", ");
        table.problem_at(&at, format!("{:?} is none of {words}", at.value));
    }
    found
}

fn listed(table: &Table<'_>, devices: &[String]) -> Vec<String> {
    let named = table.texts("devices").into_iter();
    named.filter_map(|at| known_device(table, Some(at), devices)).collect()
}
