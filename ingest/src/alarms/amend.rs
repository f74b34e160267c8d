//! Corrections: the settled verdict about something that people were already told.
//!
//! The alarm then stands as the settled evaluator says, but no signature is taken back and nobody is paged; what was
//! told and what was found are both kept in the duty journal.

use rules::{Severity, Transition, TransitionKind};
use sea_orm::{ColumnTrait, Condition, DatabaseTransaction, EntityTrait, QueryFilter, QueryOrder};
use serde::Serialize;

use super::apply::{DutyLine, axes_of, current_occurrence, demand_signature, is_known, save};
use super::apply::{set_axes, severity_of, write_duty};
use super::machine::{Axes, Event, Step};
use super::{AlarmChange, Occurrence, Page, needs_ack};
use crate::state::entity::alarming::occurrence;
use crate::state::entity::journal::duty;
use crate::state::{During, StateError, to_body};

/// What `amends` says where the settled evaluator found nothing at all.
const NEVER: &str = "never";
/// What it says of a clear that the settled evaluator did not find: the alarm had not ended.
const UNCLEARED: &str = "uncleared";

/// What was told, what was found, how it stands now.
#[derive(Serialize)]
pub(super) struct Amended<'a> {
    pub(super) was: &'a Transition,
    pub(super) is: Option<&'a Transition>,
    pub(super) standing: Option<&'a Transition>,
}

impl Amended<'_> {
    /// The word for it: the key of what was found, or what of the alarm never was. That a change of level was none says
    /// nothing of the alarm itself.
    fn word(&self) -> String {
        match (self.is, self.was.kind, self.standing) {
            (Some(is), ..) => is.key().to_string(),
            (None, TransitionKind::Clear, _) => UNCLEARED.to_owned(),
            (None, TransitionKind::Raise, None) => NEVER.to_owned(),
            (None, _, standing) => standing.unwrap_or(self.was).key().to_string(),
        }
    }

    /// The same for an occurrence that is not the newest: how the alarm stands now is not its own.
    fn word_of_past(&self) -> String {
        Amended { standing: None, ..*self }.word()
    }
}

/// Applies a correction to the occurrence that was told; the newest one of its alarm then stands as the settled evaluator
/// says. Where there is none nobody was told and nothing is corrected.
pub(super) async fn apply(
    tx: &DatabaseTransaction,
    amended: Amended<'_>,
    decided_at: i64,
) -> Result<Vec<AlarmChange>, StateError> {
    // The same correction may be made twice, at different moments.
    let key = format!("amends:{}:{}:{decided_at}", amended.was.key(), amended.word());
    if is_known(tx, &key).await? {
        return Ok(vec![]);
    }
    let Some(mut newest) = current_occurrence(tx, amended.was).await? else { return Ok(vec![]) };
    let earlier = told_occurrence(tx, amended.was).await?.filter(|told| told.id != newest.id);
    let until = match (amended.is, amended.standing) {
        (Some(is), None) if is.kind != TransitionKind::Clear => last_told(tx, &newest.id).await?,
        _ => None,
    };
    let Some(mut earlier) = earlier else {
        agree(&mut newest, &amended, until);
        worsen(&mut newest, &amended);
        correct_end(&mut newest, &amended);
        newest.amends = Some(amended.word());
        return Ok(vec![keep(tx, newest, &amended, (key, amended.word()), decided_at).await?]);
    };
    correct_times(&mut earlier, &amended);
    worsen(&mut earlier, &amended);
    earlier.amends = Some(amended.word_of_past());
    let past = (key.clone(), amended.word_of_past());
    let mut changes = vec![keep(tx, earlier, &amended, past, decided_at).await?];
    if newest.active != amended.standing.is_some() {
        agree(&mut newest, &amended, until);
        let line = (format!("{key}:newest"), amended.word());
        changes.push(keep(tx, newest, &amended, line, decided_at).await?);
    }
    Ok(changes)
}

/// Writes a corrected occurrence, and what was corrected into the duty journal.
async fn keep(
    tx: &DatabaseTransaction,
    occurrence: Occurrence,
    amended: &Amended<'_>,
    (key, word): (String, String),
    decided_at: i64,
) -> Result<AlarmChange, StateError> {
    let occurrence = save(tx, occurrence).await?;
    let line = DutyLine {
        key,
        kind: "amends",
        at: decided_at,
        event_time: amended.was.t,
        comment: Some(word),
        body: to_body(amended),
    };
    write_duty(tx, &occurrence, line).await?;
    Ok(AlarmChange { kind: "amends", occurrence, pages: false })
}

/// The occurrence that a transition was told under: the last one, where a log that was put back made it told again.
async fn told_occurrence(
    tx: &DatabaseTransaction,
    was: &Transition,
) -> Result<Option<Occurrence>, StateError> {
    let key = was.key().to_string();
    // Keys that begin with the first and a colon lie before the second, which has the next character.
    let (from, to) = (format!("stands:{key}:"), format!("stands:{key};"));
    let again = Condition::all().add(duty::Column::Key.gt(from)).add(duty::Column::Key.lt(to));
    let told = duty::Entity::find()
        .filter(Condition::any().add(duty::Column::Key.eq(key)).add(again))
        .order_by_desc(duty::Column::Seq)
        .one(tx)
        .await
        .during("looking for what was told")?;
    let Some(told) = told else { return Ok(None) };
    let found = occurrence::Entity::find_by_id(told.occurrence_id).one(tx).await;
    found.during("reading an occurrence")
}

/// Event time of the newest transition that an occurrence was told of; `None` where there is none. What people did counts for
/// nothing here.
async fn last_told(tx: &DatabaseTransaction, occurrence: &str) -> Result<Option<i64>, StateError> {
    let of = duty::Entity::find().filter(duty::Column::OccurrenceId.eq(occurrence));
    let by_nobody = of.filter(duty::Column::Actor.is_null());
    let last = by_nobody.order_by_desc(duty::Column::EventTime).one(tx).await;
    Ok(last.during("reading the duty journal")?.map(|line| line.event_time))
}

/// Makes an occurrence stand as the settled evaluator says. Where that found no end of it, it lasted until `until`, the last
/// that was told of it.
fn agree(current: &mut Occurrence, amended: &Amended<'_>, until: Option<i64>) {
    match amended.standing {
        Some(standing) => {
            if needs_ack(standing.level) {
                demand_signature(current, Page::LateUnsigned);
            }
            let axes = axes_of(current);
            set_axes(current, Axes { active: true, latched: false, ..axes });
            current.cleared_at = None;
            begin_when_it_did(current, amended.is, standing);
            current.severity = severity_of(standing);
            current.severity_worst = current.severity_worst.min(current.severity);
            current.source_level.clone_from(&standing.source_level);
            current.body = to_body(standing);
            list_as_late(current, standing);
        }
        None => {
            if let Step::To(axes) = axes_of(current).step(Event::Clear, current.latching) {
                set_axes(current, axes);
                let t = match amended.is {
                    Some(is) if is.kind == TransitionKind::Clear => is.t,
                    Some(is) => until.map_or(is.t, |until| until.max(is.t)),
                    None => amended.was.t,
                };
                // Nothing ends before it began, whatever ended it.
                current.cleared_at = Some(t.max(current.raised_at));
            }
        }
    }
}

/// Takes over when an occurrence that is over began or ended.
fn correct_times(occurrence: &mut Occurrence, amended: &Amended<'_>) {
    if let Some(is) = amended.is
        && amended.was.kind == TransitionKind::Raise
        && is.kind == TransitionKind::Raise
    {
        (occurrence.since, occurrence.raised_at) = (is.since, is.t);
    }
    correct_end(occurrence, amended);
}

/// What was found to be worse than it was told is shown as such, and has to be signed if that needs it.
fn worsen(occurrence: &mut Occurrence, amended: &Amended<'_>) {
    let Some(is) = amended.is.filter(|is| is.kind != TransitionKind::Clear) else { return };
    let severity = severity_of(is);
    if severity >= occurrence.severity || occurrence.active {
        return;
    }
    occurrence.severity = severity;
    occurrence.severity_worst = occurrence.severity_worst.min(severity);
    occurrence.source_level.clone_from(&is.source_level);
    occurrence.body = to_body(is);
    if needs_ack(is.level) {
        demand_signature(occurrence, Page::LateUnsigned);
    }
    list_as_late(occurrence, is);
}

/// Red and orange are never listed as nothing to sign, however they came to be so; `found`: what made them so.
fn list_as_late(occurrence: &mut Occurrence, found: &Transition) {
    let is_severe = occurrence.severity <= i32::from(Severity::Orange.number());
    if is_severe && !found.is_suppressed() && occurrence.page == Page::Silent.as_str() {
        Page::LateUnsigned.as_str().clone_into(&mut occurrence.page);
    }
}

fn correct_end(occurrence: &mut Occurrence, amended: &Amended<'_>) {
    if let Some(is) = amended.is
        && is.kind == TransitionKind::Clear
        && !occurrence.active
    {
        occurrence.cleared_at = Some(is.t.max(occurrence.raised_at));
    }
}

/// Takes over when the occurrence really began: the live evaluator knew only the head behind a hole. A rise of level
/// found in place of it can only tell that it began earlier.
fn begin_when_it_did(current: &mut Occurrence, is: Option<&Transition>, standing: &Transition) {
    let raise =
        [is, Some(standing)].into_iter().flatten().find(|t| t.kind == TransitionKind::Raise);
    match raise {
        Some(raise) => (current.since, current.raised_at) = (raise.since, raise.t),
        None => {
            current.since = current.since.min(standing.since);
            current.raised_at = current.raised_at.min(standing.t);
        }
    }
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
