//! Facts in the state database: recording, reading back, and noting where the durable log holds each.
//!
//! A fact is stored here first, then the pipeline writes it to the log and calls [`State::mark_fact_logged`], so that a
//! stop in between loses nothing. Revisions are numbered over all facts and never change.

use std::collections::HashMap;
use std::sync::Arc;

use rules::{Fact, FactBody};
use sea_orm::{ActiveModelTrait, ActiveValue::NotSet, ActiveValue::Set, ColumnTrait, Condition};
use sea_orm::{DatabaseTransaction, EntityTrait, IntoActiveModel, QueryFilter, QueryOrder};

use super::seed::{SeedFact, is_model};
use super::store::{RegistryError, SeedReport, need_site};
use crate::journal::{Act, append};
use crate::secret::Secret;
use crate::state::entity::registry::fact;
use crate::state::{During, Position, State, StateError, from_body, next_count, to_body};

/// Counter of fact revisions.
pub(super) const FACT_REVISION: &str = "fact_revision";

/// A fact to be recorded.
#[derive(Debug, Clone, PartialEq)]
pub struct NewFact {
    /// Identity over all revisions; none draws one.
    pub id: Option<String>,
    /// Site it is about.
    pub site: String,
    /// Ms UTC.
    pub valid_from: i64,
    /// Ms UTC, exclusive.
    pub valid_to: Option<i64>,
    /// Takes the fact back.
    pub withdrawn: bool,
    /// What it says.
    pub body: FactBody,
}

impl State {
    /// Records a fact as its next revision; the caller hands it to the pipeline for the log.
    ///
    /// # Errors
    /// [`RegistryError`]; nothing was recorded.
    pub async fn record_fact(
        &self,
        new: NewFact,
        actor: &str,
        now_ms: i64,
    ) -> Result<Fact, RegistryError> {
        if new.valid_to.is_some_and(|to| to <= new.valid_from) {
            return Err(RegistryError::Invalid(
                "valid_to must be later than valid_from".to_owned(),
            ));
        }
        if matches!(new.body, FactBody::Calibration { .. }) {
            let length = new.valid_to.and_then(|to| to.checked_sub(new.valid_from));
            if length.is_none_or(|length| length > rules::fact::CALIBRATION_MS_MAX) {
                return Err(RegistryError::Invalid(
                    "a calibration lasts at most 2 hours".to_owned(),
                ));
            }
        }
        let id = match new.id {
            Some(id) => id,
            None => Secret::random(8).map_err(StateError::Random)?.reveal().to_owned(),
        };
        let tx = self.begin().await?;
        need_site(&tx, &new.site).await?;
        let written = SeedFact {
            id,
            valid_from: new.valid_from,
            valid_to: new.valid_to,
            withdrawn: new.withdrawn,
            body: new.body,
        };
        let fact = insert_fact(&tx, &new.site, &written, actor, now_ms).await?;
        let act = Act { at: now_ms, actor, action: "fact.record", subject: &fact.id };
        append(&tx, act, &fact).await?;
        tx.commit().await.during("recording a fact")?;
        Ok(fact)
    }

    /// Facts after a revision, oldest first, models of sites included.
    ///
    /// # Errors
    /// When the database cannot be read, or a row is not readable.
    pub async fn facts_after(&self, revision: u64) -> Result<Vec<Fact>, StateError> {
        let rows = fact::Entity::find()
            .filter(fact::Column::Revision.gt(revision.cast_signed()))
            .order_by_asc(fact::Column::Revision)
            .all(self.reader())
            .await
            .during("reading facts")?;
        rows.iter().map(|row| from_body("fact", &row.id, &row.body)).collect()
    }

    /// Facts that this log does not hold yet, oldest first: after a restart, or on a log that is not the one before.
    ///
    /// # Errors
    /// When the database cannot be read, or a row is not readable.
    pub async fn facts_to_log(&self, log_id: u64) -> Result<Vec<Fact>, StateError> {
        let missing = Condition::any()
            .add(fact::Column::LogId.is_null())
            .add(fact::Column::LogId.ne(log_id.cast_signed()));
        let rows = fact::Entity::find()
            .filter(missing)
            .order_by_asc(fact::Column::Revision)
            .all(self.reader())
            .await
            .during("reading facts to log")?;
        rows.iter().map(|row| from_body("fact", &row.id, &row.body)).collect()
    }

    /// Notes where the log holds a fact.
    ///
    /// # Errors
    /// When the database cannot be written; the fact is then logged a second time, which the evaluator knows by its
    /// revision.
    pub async fn mark_fact_logged(&self, revision: u64, at: Position) -> Result<(), StateError> {
        let tx = self.begin().await?;
        let found = fact::Entity::find_by_id(revision.cast_signed()).one(&tx).await;
        let Some(row) = found.during("reading a fact")? else { return Ok(()) };
        let mut row = row.into_active_model();
        row.log_id = Set(Some(at.log_id.cast_signed()));
        row.log_position = Set(Some(at.position.cast_signed()));
        row.update(&tx).await.during("marking a fact as logged")?;
        tx.commit().await.during("marking a fact as logged")
    }
}

/// Newest revision of each fact in the order of revisions, without the models.
pub(super) fn newest_facts(facts: Vec<Fact>) -> Vec<Arc<Fact>> {
    let mut newest: HashMap<String, Fact> = HashMap::new();
    for fact in facts.into_iter().filter(|fact| !is_model(&fact.body)) {
        newest.insert(fact.id.clone(), fact);
    }
    let mut newest: Vec<_> = newest.into_values().map(Arc::new).collect();
    newest.sort_by_key(|fact| fact.revision);
    newest
}

/// Records a fact of a file unless its newest revision says the same.
pub(super) async fn apply_fact(
    tx: &DatabaseTransaction,
    site: &str,
    written: &SeedFact,
    now_ms: i64,
    report: &mut SeedReport,
) -> Result<(), StateError> {
    let newest = fact::Entity::find()
        .filter(fact::Column::Id.eq(&written.id))
        .order_by_desc(fact::Column::Revision)
        .one(tx)
        .await
        .during("reading a fact")?;
    if let Some(row) = newest {
        let known: Fact = from_body("fact", &row.id, &row.body)?;
        if known == written.at(site, known.revision, known.recorded_at) {
            return Ok(());
        }
    }
    report.facts.push(insert_fact(tx, site, written, "seed", now_ms).await?);
    Ok(())
}

/// Gives a fact its revision and stores it.
pub(super) async fn insert_fact(
    tx: &DatabaseTransaction,
    site: &str,
    written: &SeedFact,
    actor: &str,
    now_ms: i64,
) -> Result<Fact, StateError> {
    let revision = next_count(tx, FACT_REVISION).await?;
    let fact = written.at(site, revision.cast_unsigned(), now_ms);
    let row = fact::ActiveModel {
        revision: Set(revision),
        id: Set(fact.id.clone()),
        kind: Set(kind_of(&fact.body).to_owned()),
        site: Set(Some(site.to_owned())),
        valid_from: Set(fact.valid_from),
        valid_to: Set(fact.valid_to),
        recorded_at: Set(now_ms),
        recorded_by: Set(actor.to_owned()),
        body: Set(to_body(&fact)),
        log_id: NotSet,
        log_position: NotSet,
    };
    fact::Entity::insert(row).exec_without_returning(tx).await.during("recording a fact")?;
    Ok(fact)
}

/// Word for the kind of a fact.
#[must_use]
pub fn kind_of(body: &FactBody) -> &'static str {
    match body {
        FactBody::RegState { .. } => "reg_state",
        FactBody::Approval { .. } => "approval",
        FactBody::Work { .. } => "work",
        FactBody::Calibration { .. } => "calibration",
        FactBody::Site { .. } => "site",
    }
}
