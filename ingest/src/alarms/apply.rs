//! Turns what an evaluator decided into journals, occurrences and outbox rows, in one transaction with its position.
//!
//! Idempotent by transition key: after a restart the evaluator runs again from its snapshot and repeats itself; what is
//! already written changes nothing and tells nobody.

use sea_orm::{ActiveModelTrait, ActiveValue::NotSet, ActiveValue::Set, ColumnTrait};
use sea_orm::{DatabaseTransaction, EntityTrait, IntoActiveModel, PaginatorTrait, QueryFilter};

use super::amend::{self, Amended};
use super::machine::{Axes, Event, Step};
use super::trial::{Trial, attempt};
use rules::test::Test;
use rules::{Transition, TransitionKind};

use super::{AlarmChange, DutyEvent, EvaluationBatch, Occurrence, Page, Verdict, alarm_id};
use crate::state::entity::alarming::{alarm, occurrence};
use crate::state::entity::journal::{duty, verdict};
use crate::state::entity::progress::outbox;
use crate::state::progress::{keep_snapshot, move_cursor};
use crate::state::{During, State, StateError, from_body, to_body};

/// Receivers of a fresh alarm; the notifier knows who is behind the word.
pub const CHANNEL_DUTY: &str = "duty";

impl State {
    /// Makes one step of an evaluator durable: verdicts, duty events, alarms, outbox, snapshot and position together.
    ///
    /// Gives the changes that were new, in order; a repeated batch gives none.
    ///
    /// # Errors
    /// When the database cannot be written; then nothing of the batch is, and the caller tries the same batch again.
    pub async fn apply_evaluation(
        &self,
        batch: EvaluationBatch,
    ) -> Result<Vec<AlarmChange>, StateError> {
        self.apply_evaluations(&[batch]).await
    }

    /// As [`State::apply_evaluation`], for the evaluators of many gateways in one transaction.
    ///
    /// # Errors
    /// When the database cannot be written; then nothing of any batch is.
    pub async fn apply_evaluations(
        &self,
        batches: &[EvaluationBatch],
    ) -> Result<Vec<AlarmChange>, StateError> {
        self.apply_with_trial(batches, &Trial::default()).await.map(|(changes, _)| changes)
    }

    /// As [`State::apply_evaluations`], with the test alarm tried first, in the same transaction; also says whether it
    /// went as it must.
    ///
    /// # Errors
    /// When the database cannot be written; then nothing of any batch is.
    pub async fn apply_with_trial(
        &self,
        batches: &[EvaluationBatch],
        trial: &Trial,
    ) -> Result<(Vec<AlarmChange>, bool), StateError> {
        let tx = self.begin().await?;
        let tried = attempt(&tx, trial).await?;
        let mut changes = Vec::new();
        for batch in batches {
            for verdict in &batch.verdicts {
                write_verdict(&tx, verdict).await?;
            }
            for event in &batch.duty {
                changes.extend(apply_event(&tx, event).await?);
            }
            spool::fail_point!("state.events");
            if let Some(snapshot) = &batch.snapshot {
                spool::fail_point!("state.snapshot");
                keep_snapshot(&tx, &batch.evaluator, snapshot.clone(), batch.recorded_at).await?;
            }
            move_cursor(&tx, &batch.evaluator, batch.position, batch.recorded_at).await?;
        }
        spool::fail_point!("state.commit.before");
        tx.commit().await.during("committing an evaluation")?;
        spool::fail_point!("state.commit.after");
        Ok((changes, tried))
    }
}

async fn write_verdict(tx: &DatabaseTransaction, verdict: &Verdict) -> Result<(), StateError> {
    let transition = &verdict.transition;
    let key = transition.key().to_string();
    let known = verdict::Entity::find()
        .filter(verdict::Column::Gateway.eq(&verdict.gateway))
        .filter(verdict::Column::Key.eq(&key))
        .count(tx)
        .await
        .during("looking for a verdict")?;
    if known > 0 {
        return Ok(());
    }
    let row = verdict::ActiveModel {
        seq: NotSet,
        key: Set(key),
        gateway: Set(verdict.gateway.clone()),
        site: Set(transition.scope.site.clone()),
        rule: Set(transition.rule.clone()),
        scope: Set(transition.scope.object.clone()),
        kind: Set(transition.kind.name().to_owned()),
        severity: Set(severity_of(transition)),
        segment: Set(i64::from(transition.segment)),
        t: Set(transition.t),
        since: Set(transition.since),
        body: Set(to_body(transition)),
    };
    verdict::Entity::insert(row).exec_without_returning(tx).await.during("writing a verdict")?;
    Ok(())
}

pub(super) fn severity_of(transition: &Transition) -> i32 {
    i32::from(transition.level.number())
}

/// A transition on its way to its alarm.
struct Turn<'a> {
    transition: &'a Transition,
    page: Page,
    sample_at: i64,
    decided_at: i64,
    needs_ack: bool,
}

impl Turn<'_> {
    /// Its line in the duty journal.
    fn line(&self, key: String, kind: &'static str) -> DutyLine {
        DutyLine {
            key,
            kind,
            at: self.decided_at,
            event_time: self.transition.t,
            comment: None,
            body: to_body(self.transition),
        }
    }
}

/// What an event did to the occurrence it met.
struct Applied {
    kind: &'static str,
    occurrence: Occurrence,
    asks: bool,
}

pub(super) async fn apply_event(
    tx: &DatabaseTransaction,
    event: &DutyEvent,
) -> Result<Vec<AlarmChange>, StateError> {
    let change = match event {
        DutyEvent::Turn { transition, page, sample_at, decided_at, needs_ack } => {
            let (page, needs_ack) = (*page, *needs_ack);
            let (sample_at, decided_at) = (*sample_at, *decided_at);
            apply_turn(tx, Turn { transition, page, sample_at, decided_at, needs_ack }).await
        }
        DutyEvent::Stands { transition, page, sample_at, decided_at, needs_ack } => {
            let (page, needs_ack) = (*page, *needs_ack);
            let (sample_at, decided_at) = (*sample_at, *decided_at);
            stand(tx, Turn { transition, page, sample_at, decided_at, needs_ack }).await
        }
        DutyEvent::Past { raise, clear, page, decided_at } => {
            amend::apply_past(tx, (raise, clear), *page, *decided_at).await
        }
        DutyEvent::Amend { was, is, standing, decided_at } => {
            let line = Amended { was, is: is.as_deref(), standing: standing.as_deref() };
            return amend::apply(tx, line, *decided_at).await;
        }
    };
    change.map(|change| change.into_iter().collect())
}

async fn apply_turn(
    tx: &DatabaseTransaction,
    turn: Turn<'_>,
) -> Result<Option<AlarmChange>, StateError> {
    let transition = turn.transition;
    let key = transition.key().to_string();
    let is_known_already = is_known(tx, &key).await?;
    let current = current_occurrence(tx, transition).await?;
    if is_known_already {
        return page_at_head(tx, current, &turn, &key).await;
    }
    tell(tx, current, &turn, key).await
}

/// Moves the alarm, writes the line of the duty journal, pages where somebody is to look.
async fn tell(
    tx: &DatabaseTransaction,
    current: Option<Occurrence>,
    turn: &Turn<'_>,
    key: String,
) -> Result<Option<AlarmChange>, StateError> {
    let transition = turn.transition;
    let Some(applied) = change(tx, current, turn).await? else { return Ok(None) };
    let may_page = turn.page.pages() && !transition.is_suppressed();
    let pages = applied.asks && may_page && applied.occurrence.needs_ack;
    let line = turn.line(key, applied.kind);
    write_duty(tx, &applied.occurrence, line).await?;
    spool::fail_point!("state.duty");
    if pages {
        spool::fail_point!("state.page");
        write_outbox(tx, &applied.occurrence, turn).await?;
    }
    Ok(Some(AlarmChange { kind: applied.kind, occurrence: applied.occurrence, pages }))
}

/// A transition that was listed silently as history still holds now that the gateway's data has reached the present: the
/// evaluator says it again, this time as a page. Anything else that is said again changes nothing.
async fn page_at_head(
    tx: &DatabaseTransaction,
    current: Option<Occurrence>,
    turn: &Turn<'_>,
    key: &str,
) -> Result<Option<AlarmChange>, StateError> {
    let head = format!("head:{key}");
    let Some(current) = current.filter(|current| current.active) else { return Ok(None) };
    // What latched shows its worst, whatever milder holds now.
    let is_milder = current.latching && severity_of(turn.transition) > current.severity;
    let is_the_same = is_milder || current.body == to_body(turn.transition);
    if !is_the_same || was_paged(&current) || is_known(tx, &head).await? {
        return Ok(None);
    }
    page_now(tx, Some(current), turn, head).await
}

/// Pages for an occurrence that is active and that nobody was paged for.
async fn page_now(
    tx: &DatabaseTransaction,
    current: Option<Occurrence>,
    turn: &Turn<'_>,
    key: String,
) -> Result<Option<AlarmChange>, StateError> {
    let may_page = turn.page.pages() && !turn.transition.is_suppressed();
    let Some(mut current) = current.filter(|_| may_page) else { return Ok(None) };
    turn.page.as_str().clone_into(&mut current.page);
    let occurrence = save(tx, current).await?;
    let line = turn.line(key, turn.transition.kind.name());
    write_duty(tx, &occurrence, line).await?;
    let pages = occurrence.needs_ack;
    if pages {
        write_outbox(tx, &occurrence, turn).await?;
    }
    Ok(Some(AlarmChange { kind: turn.transition.kind.name(), occurrence, pages }))
}

/// Makes the list agree with an alarm that the evaluator holds, although its transition may be known already: a log that was
/// put back makes an evaluator find again what the list was told, and corrected, on the lost one.
async fn stand(
    tx: &DatabaseTransaction,
    turn: Turn<'_>,
) -> Result<Option<AlarmChange>, StateError> {
    let current = current_occurrence(tx, turn.transition).await?;
    let key = format!("stands:{}:{}", turn.transition.key(), turn.decided_at);
    let holds = current.as_ref().filter(|c| c.active && !is_worse(turn.transition, c));
    let was_paged = holds.is_some_and(was_paged);
    match (holds.is_some(), was_paged || !turn.page.pages()) {
        (true, true) => return Ok(None),
        (true, false) => return page_now(tx, current, &turn, key).await,
        (false, _) => {}
    }
    // Whatever it was at the evaluator, for the list it begins, or gets worse, now.
    let kind = TransitionKind::Raise;
    let raised = Transition { kind, ..turn.transition.clone() };
    let turn = Turn { transition: &raised, ..turn };
    tell(tx, current, &turn, key).await
}

/// Whether the duty journal has this event already.
pub(super) async fn is_known(tx: &DatabaseTransaction, key: &str) -> Result<bool, StateError> {
    let known = duty::Entity::find().filter(duty::Column::Key.eq(key)).count(tx).await;
    Ok(known.during("looking for a duty event")? > 0)
}

/// The newest occurrence of the alarm a transition belongs to.
pub(super) async fn current_occurrence(
    tx: &DatabaseTransaction,
    transition: &Transition,
) -> Result<Option<Occurrence>, StateError> {
    let id = alarm_id(&transition.rule, &transition.scope);
    let alarm = alarm::Entity::find_by_id(id).one(tx).await.during("reading an alarm")?;
    let Some(alarm) = alarm else { return Ok(None) };
    let id = occurrence_id(&alarm.id, alarm.occurrences);
    occurrence::Entity::find_by_id(id).one(tx).await.during("reading an occurrence")
}

fn occurrence_id(alarm: &str, number: i64) -> String {
    format!("{alarm}-{number}")
}

async fn change(
    tx: &DatabaseTransaction,
    current: Option<Occurrence>,
    turn: &Turn<'_>,
) -> Result<Option<Applied>, StateError> {
    let transition = turn.transition;
    if current.as_ref().is_some_and(|current| ends_an_older(transition, current)) {
        return Ok(None);
    }
    let mut current = current;
    if let Some(current) = current.as_mut().filter(|current| current.active) {
        // Not a clear: it says nothing about the level, and ends an alarm that nobody has to sign.
        if turn.needs_ack && transition.kind != TransitionKind::Clear {
            demand_signature(current, turn.page);
        }
    }
    let axes = current.as_ref().map_or(Axes::NORMAL, axes_of);
    // A level that latches holds the alarm until a person releases it, also where it went through a milder one.
    let latching = transition.latching || current.as_ref().is_some_and(|c| c.latching);
    let step = axes.step(machine_event(transition, current.as_ref()), latching);
    let kind = transition.kind.name();
    match (step, current) {
        (Step::NewOccurrence { old, new }, current) => {
            if let Some(mut current) = current.filter(|c| axes_of(c) != old) {
                set_axes(&mut current, old);
                save(tx, current).await?;
            }
            let occurrence = raise(tx, turn, new).await?;
            Ok(Some(Applied { kind: "raise", occurrence, asks: true }))
        }
        (Step::To(axes), Some(mut current)) => {
            let asks = asks(transition, &current, axes);
            set_axes(&mut current, axes);
            follow(&mut current, turn);
            let occurrence = save(tx, current).await?;
            Ok(Some(Applied { kind, occurrence, asks }))
        }
        (Step::Nothing | Step::Refused, Some(mut occurrence)) => {
            let asks = calls_first(&occurrence, turn);
            if asks {
                turn.page.as_str().clone_into(&mut occurrence.page);
                occurrence = save(tx, occurrence).await?;
            }
            Ok(Some(Applied { kind, occurrence, asks }))
        }
        (_, None) => Ok(None),
    }
}

/// Whether it is raised, with a page, onto something active that nobody was called for: its end was lost with a log, or came
/// before it was listed. However the list came to have it, a person gets to hear of the present danger.
fn calls_first(current: &Occurrence, turn: &Turn<'_>) -> bool {
    let is_raise = matches!(turn.transition.kind, TransitionKind::Raise | TransitionKind::LevelUp);
    let pages = turn.page.pages() && !turn.transition.is_suppressed();
    is_raise && pages && current.active && !current.acked && !was_paged(current)
}

/// Whether somebody was called for it.
pub(super) fn was_paged(occurrence: &Occurrence) -> bool {
    occurrence.page == Page::Paged.as_str() || occurrence.page == Page::Recovered.as_str()
}

/// Whether it is the end of an episode before the one that goes on: a log that was put back brings such again, and they say
/// nothing of what holds now. Silence is judged by the centre's clock, which may have been set back.
fn ends_an_older(transition: &Transition, current: &Occurrence) -> bool {
    let is_end = transition.kind == TransitionKind::Clear && current.active;
    if !is_end || matches!(transition.evidence.test, Test::Silent { .. } | Test::Neighbours { .. })
    {
        return false;
    }
    let Ok(shown) = from_body::<Transition>("occurrence", &current.id, &current.body) else {
        return false;
    };
    let is_of_one_clock = shown.segment == transition.segment && current.raised_at <= shown.t;
    transition.segment < shown.segment || is_of_one_clock && transition.t < current.raised_at
}

/// Whether a person must look again: it got worse, or what silenced it has ended and nobody has signed it.
fn asks(transition: &Transition, current: &Occurrence, axes: Axes) -> bool {
    let unsilenced = transition.kind == TransitionKind::Unsuppress && !axes.acked;
    unsilenced || current.acked && !axes.acked || is_worse(transition, current)
}

fn is_worse(transition: &Transition, current: &Occurrence) -> bool {
    transition.kind != TransitionKind::Clear && severity_of(transition) < current.severity
}

/// A raise of something active that is worse than before is a rise of level; a rise of something that is not active is
/// a raise: whatever a restart has swallowed, a person gets to see the present danger.
fn machine_event(transition: &Transition, current: Option<&Occurrence>) -> Event {
    let active = current.is_some_and(|c| c.active);
    let worse = current.is_some_and(|c| is_worse(transition, c));
    match transition.kind {
        TransitionKind::Clear => Event::Clear,
        TransitionKind::LevelDown if !active => Event::Better,
        _ if !active => Event::Raise,
        TransitionKind::LevelDown => Event::Better,
        TransitionKind::Raise | TransitionKind::Unsuppress if worse => Event::Worse,
        TransitionKind::Unsuppress => Event::Better,
        TransitionKind::Raise => Event::Raise,
        TransitionKind::LevelUp => Event::Worse,
    }
}

pub(super) fn axes_of(occurrence: &Occurrence) -> Axes {
    Axes { active: occurrence.active, acked: occurrence.acked, latched: occurrence.latched }
}

pub(super) fn set_axes(occurrence: &mut Occurrence, axes: Axes) {
    occurrence.active = axes.active;
    occurrence.acked = axes.acked || !occurrence.needs_ack;
    occurrence.latched = axes.latched;
    if !occurrence.acked {
        occurrence.ack_by = None;
        occurrence.ack_by_name = None;
        occurrence.ack_at = None;
        occurrence.ack_comment = None;
    }
}

/// From here on the occurrence has to be signed. Where that was not so before, its signed axis said only that there was
/// nothing to sign, and how it had reached people called nobody: `page` is the first call.
pub(super) fn demand_signature(occurrence: &mut Occurrence, page: Page) {
    if !std::mem::replace(&mut occurrence.needs_ack, true) {
        occurrence.acked = false;
        page.as_str().clone_into(&mut occurrence.page);
    }
}

/// Takes over time, severity and evidence of a transition that goes on with an occurrence.
fn follow(occurrence: &mut Occurrence, turn: &Turn<'_>) {
    let transition = turn.transition;
    if transition.kind == TransitionKind::Clear {
        // Nothing ends before it began, whatever a clock that was set back says.
        occurrence.cleared_at = Some(transition.t.max(occurrence.raised_at));
        return;
    }
    occurrence.suppressed_by = suppressed_by(transition);
    // What latched is what a person must see, with its reason, however much milder it has become.
    let is_milder = severity_of(transition) > occurrence.severity;
    if !(occurrence.latching && is_milder) {
        occurrence.severity = severity_of(transition);
        occurrence.source_level.clone_from(&transition.source_level);
        occurrence.body = to_body(transition);
    }
    occurrence.severity_worst = occurrence.severity_worst.min(occurrence.severity);
    occurrence.latching |= transition.latching;
    let was_silent = occurrence.page == Page::Silent.as_str();
    if turn.page.pages() || was_silent && turn.page == Page::LateUnsigned {
        turn.page.as_str().clone_into(&mut occurrence.page);
    }
}

fn suppressed_by(transition: &Transition) -> Option<String> {
    transition.evidence.suppression.as_ref().map(|suppression| suppression.by.clone())
}

/// The device an alarm is about: its inputs all come from one, or its object is one of them.
fn device_of(transition: &Transition) -> Option<String> {
    let object = &transition.scope.object;
    let mut devices = transition.evidence.inputs.iter().map(|input| &input.series.device);
    let first = devices.clone().next()?;
    if devices.clone().all(|device| device == first) {
        return Some(first.clone());
    }
    devices.any(|device| device == object).then(|| object.clone())
}

/// Begins a new occurrence under its alarm.
async fn raise(
    tx: &DatabaseTransaction,
    turn: &Turn<'_>,
    axes: Axes,
) -> Result<Occurrence, StateError> {
    let transition = turn.transition;
    let number = next_number(tx, transition).await?;
    let alarm = alarm_id(&transition.rule, &transition.scope);
    let severity = severity_of(transition);
    let row = Occurrence {
        id: occurrence_id(&alarm, number),
        alarm_id: alarm,
        number,
        version: 1,
        site: transition.scope.site.clone(),
        rule: transition.rule.clone(),
        scope: transition.scope.object.clone(),
        device: device_of(transition),
        severity,
        severity_worst: severity,
        source_level: transition.source_level.clone(),
        active: axes.active,
        acked: axes.acked || !turn.needs_ack,
        latched: axes.latched,
        latching: transition.latching,
        needs_ack: turn.needs_ack,
        since: transition.since,
        raised_at: transition.t,
        cleared_at: None,
        recorded_at: turn.decided_at,
        page: turn.page.as_str().to_owned(),
        amends: None,
        ack_by: None,
        ack_by_name: None,
        ack_at: None,
        ack_comment: None,
        shelved_until: None,
        suppressed_by: suppressed_by(transition),
        out_of_service: None,
        body: to_body(transition),
    };
    occurrence::Entity::insert(row.clone().into_active_model().reset_all())
        .exec_without_returning(tx)
        .await
        .during("writing an occurrence")?;
    Ok(row)
}

async fn next_number(tx: &DatabaseTransaction, transition: &Transition) -> Result<i64, StateError> {
    let id = alarm_id(&transition.rule, &transition.scope);
    let known = alarm::Entity::find_by_id(&id).one(tx).await.during("reading an alarm")?;
    let number = known.as_ref().map_or(0, |alarm| alarm.occurrences) + 1;
    let row = alarm::ActiveModel {
        id: Set(id),
        site: Set(transition.scope.site.clone()),
        rule: Set(transition.rule.clone()),
        scope: Set(transition.scope.object.clone()),
        occurrences: Set(number),
    };
    let written = if known.is_some() {
        row.update(tx).await.map(drop)
    } else {
        alarm::Entity::insert(row).exec_without_returning(tx).await.map(drop)
    };
    written.during("writing an alarm")?;
    Ok(number)
}

/// Writes an occurrence back with its next version.
pub(super) async fn save(
    tx: &DatabaseTransaction,
    mut occurrence: Occurrence,
) -> Result<Occurrence, StateError> {
    occurrence.version += 1;
    let row = occurrence.into_active_model().reset_all();
    row.update(tx).await.during("changing an occurrence")
}

/// A line of the duty journal that the engine writes.
pub(super) struct DutyLine {
    pub(super) key: String,
    pub(super) kind: &'static str,
    pub(super) at: i64,
    pub(super) event_time: i64,
    pub(super) comment: Option<String>,
    pub(super) body: String,
}

pub(super) async fn write_duty(
    tx: &DatabaseTransaction,
    occurrence: &Occurrence,
    line: DutyLine,
) -> Result<(), StateError> {
    let row = duty::ActiveModel {
        seq: NotSet,
        key: Set(line.key),
        occurrence_id: Set(occurrence.id.clone()),
        site: Set(occurrence.site.clone()),
        kind: Set(line.kind.to_owned()),
        at: Set(line.at),
        event_time: Set(line.event_time),
        actor: Set(None),
        comment: Set(line.comment),
        body: Set(line.body),
    };
    duty::Entity::insert(row).exec_without_returning(tx).await.during("writing a duty event")?;
    Ok(())
}

/// Leaves a message for the notifier, once per occurrence, step and channel.
async fn write_outbox(
    tx: &DatabaseTransaction,
    occurrence: &Occurrence,
    turn: &Turn<'_>,
) -> Result<(), StateError> {
    let step = format!("{}:{}", turn.transition.kind.name(), occurrence.severity);
    let known = outbox::Entity::find()
        .filter(outbox::Column::OccurrenceId.eq(&occurrence.id))
        .filter(outbox::Column::Step.eq(&step))
        .filter(outbox::Column::Channel.eq(CHANNEL_DUTY))
        .count(tx)
        .await
        .during("looking for an outbox row")?;
    if known > 0 {
        return Ok(());
    }
    let row = outbox::ActiveModel {
        seq: NotSet,
        occurrence_id: Set(occurrence.id.clone()),
        step: Set(step),
        channel: Set(CHANNEL_DUTY.to_owned()),
        due_at: Set(turn.decided_at),
        event_time: Set(turn.sample_at),
        attempts: Set(0),
        sent_at: Set(None),
        last_error: Set(None),
    };
    outbox::Entity::insert(row).exec_without_returning(tx).await.during("writing the outbox")?;
    Ok(())
}
