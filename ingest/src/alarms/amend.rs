//! Corrections: the settled verdict about something that people were already told.
//!
//! The alarm then stands as the settled evaluator says, but no signature is taken back and nobody is paged; what was
//! told and what was found are both kept in the duty journal.

use rules::Transition;
use sea_orm::DatabaseTransaction;
use serde::Serialize;

use super::apply::{DutyLine, axes_of, current_occurrence, demand_signature, is_known, save};
use super::apply::{set_axes, severity_of, write_duty};
use super::machine::{Axes, Event, Step};
use super::{AlarmChange, Page, needs_ack};
use crate::state::{StateError, to_body};

/// What `amends` says where the settled evaluator found nothing at all.
const NEVER: &str = "never";

/// What was told, what was found, how it stands now.
#[derive(Serialize)]
pub(super) struct Amended<'a> {
    pub(super) was: &'a Transition,
    pub(super) is: Option<&'a Transition>,
    pub(super) standing: Option<&'a Transition>,
}

/// Applies a correction to the newest occurrence of its alarm; without one nobody was told and nothing is corrected.
pub(super) async fn apply(
    tx: &DatabaseTransaction,
    amended: Amended<'_>,
    decided_at: i64,
) -> Result<Option<AlarmChange>, StateError> {
    let found = amended.is.map_or_else(|| NEVER.to_owned(), |is| is.key().to_string());
    // The same correction may be made twice, at different moments.
    let key = format!("amends:{}:{found}:{decided_at}", amended.was.key());
    if is_known(tx, &key).await? {
        return Ok(None);
    }
    let Some(mut current) = current_occurrence(tx, amended.was).await? else { return Ok(None) };
    match amended.standing {
        Some(standing) => {
            if needs_ack(standing.level) {
                demand_signature(&mut current, Page::LateUnsigned);
            }
            let axes = axes_of(&current);
            set_axes(&mut current, Axes { active: true, latched: false, ..axes });
            current.cleared_at = None;
            current.severity = severity_of(standing);
            current.severity_worst = current.severity_worst.min(current.severity);
            current.source_level.clone_from(&standing.source_level);
            current.body = to_body(standing);
        }
        None => {
            if let Step::To(axes) = axes_of(&current).step(Event::Clear, current.latching) {
                set_axes(&mut current, axes);
                current.cleared_at = Some(amended.is.map_or(amended.was.t, |is| is.t));
            }
        }
    }
    current.amends = Some(found.clone());
    let occurrence = save(tx, current).await?;
    let line = DutyLine {
        key,
        kind: "amends",
        at: decided_at,
        event_time: amended.was.t,
        comment: Some(found),
        body: to_body(&amended),
    };
    write_duty(tx, &occurrence, line).await?;
    Ok(Some(AlarmChange { kind: "amends", occurrence, pages: false }))
}

/// Writes an occurrence that came and went unseen into the history of the alarm, which stays as it is. Red and orange are
/// marked as late on the occurrence that people have before them.
pub(super) async fn apply_past(
    tx: &DatabaseTransaction,
    (raise, clear): (&Transition, &Transition),
    page: Page,
    decided_at: i64,
) -> Result<Option<AlarmChange>, StateError> {
    let key = format!("past:{}:{}", raise.key(), clear.key());
    if is_known(tx, &key).await? {
        return Ok(None);
    }
    let Some(current) = current_occurrence(tx, raise).await? else { return Ok(None) };
    let occurrence = save(tx, current).await?;
    let line = DutyLine {
        key,
        kind: "past",
        at: decided_at,
        event_time: raise.t,
        comment: Some(page.as_str().to_owned()),
        body: to_body(&(raise, clear)),
    };
    write_duty(tx, &occurrence, line).await?;
    Ok(Some(AlarmChange { kind: "past", occurrence, pages: false }))
}
