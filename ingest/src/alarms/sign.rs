//! What people do to an occurrence: sign it, release its latch. Each act carries the version it was decided on, enters
//! the duty journal and the audit chain, and happens once however often the request is repeated.

use sea_orm::{ActiveValue::NotSet, ActiveValue::Set, DatabaseTransaction, EntityTrait};
use serde_json::json;

use super::Occurrence;
use super::apply::save;
use super::machine::{Axes, Event, Step};
use crate::journal::{Act, append};
use crate::state::entity::alarming::{ack_request, occurrence};
use crate::state::entity::journal::duty;
use crate::state::{During, State, StateError};

/// Longest comment, in characters.
pub const COMMENT_CHARS_MAX: usize = 2_000;

/// Who signs, on what, with which words.
#[derive(Debug, Clone)]
pub struct Signer<'a> {
    /// Account name.
    pub user: &'a str,
    /// Name as shown.
    pub display: &'a str,
    /// Version of the occurrence the person saw.
    pub version: i64,
    /// As typed.
    pub comment: Option<&'a str>,
    /// Same for every repetition of one click.
    pub idempotency_key: &'a str,
    /// Centre time, ms UTC.
    pub at: i64,
}

/// Why an occurrence was not signed.
#[derive(Debug, thiserror::Error)]
pub enum AckError {
    /// No such occurrence.
    #[error("there is no such alarm")]
    NotFound,
    /// It has changed since the person saw it, or somebody was faster.
    #[error("the alarm has changed since it was shown")]
    Conflict(Box<Occurrence>),
    /// The database failed; nothing was signed.
    #[error("the signature could not be stored")]
    State(#[source] StateError),
}

impl From<StateError> for AckError {
    fn from(source: StateError) -> Self {
        Self::State(source)
    }
}

impl State {
    /// Signs an occurrence (签收).
    ///
    /// # Errors
    /// [`AckError::Conflict`] with the occurrence as it is now, when the version is not the one shown or it is signed.
    pub async fn ack_occurrence(
        &self,
        id: &str,
        signer: &Signer<'_>,
    ) -> Result<Occurrence, AckError> {
        self.act(id, signer, Event::Ack, "ack").await
    }

    /// Releases the latch of an occurrence whose condition has gone (复位).
    ///
    /// # Errors
    /// As [`State::ack_occurrence`]; also a conflict when the condition still holds.
    pub async fn reset_occurrence(
        &self,
        id: &str,
        signer: &Signer<'_>,
    ) -> Result<Occurrence, AckError> {
        self.act(id, signer, Event::Reset, "reset").await
    }

    async fn act(
        &self,
        id: &str,
        signer: &Signer<'_>,
        event: Event,
        verb: &'static str,
    ) -> Result<Occurrence, AckError> {
        let tx = self.begin().await?;
        let found = occurrence::Entity::find_by_id(id).one(&tx).await;
        let current = found.during("reading an occurrence")?.ok_or(AckError::NotFound)?;
        let key = format!("{verb}:{}:{id}:{}", signer.user, signer.idempotency_key);
        let done = ack_request::Entity::find_by_id(&key).one(&tx).await;
        if done.during("looking for a repeated request")?.is_some() {
            return Ok(current);
        }
        let axes = Axes { active: current.active, acked: current.acked, latched: current.latched };
        let Step::To(axes) = axes.step(event, current.latching) else {
            return Err(AckError::Conflict(Box::new(current)));
        };
        if current.version != signer.version {
            return Err(AckError::Conflict(Box::new(current)));
        }
        let changed = save(&tx, signed(current, axes, event, signer)).await?;
        record(&tx, &changed, signer, verb, key).await?;
        tx.commit().await.during("committing a signature")?;
        Ok(changed)
    }
}

fn signed(mut row: Occurrence, axes: Axes, event: Event, signer: &Signer<'_>) -> Occurrence {
    row.acked = axes.acked;
    row.latched = axes.latched;
    if event == Event::Ack {
        row.ack_by = Some(signer.user.to_owned());
        row.ack_by_name = Some(signer.display.to_owned());
        row.ack_at = Some(signer.at);
        row.ack_comment = comment(signer);
    }
    row
}

fn comment(signer: &Signer<'_>) -> Option<String> {
    let text = signer.comment?.trim();
    (!text.is_empty()).then(|| text.chars().take(COMMENT_CHARS_MAX).collect())
}

async fn record(
    tx: &DatabaseTransaction,
    changed: &Occurrence,
    signer: &Signer<'_>,
    verb: &'static str,
    key: String,
) -> Result<(), StateError> {
    let row = duty::ActiveModel {
        seq: NotSet,
        key: Set(format!("{verb}:{}:{}", changed.id, changed.version)),
        occurrence_id: Set(changed.id.clone()),
        site: Set(changed.site.clone()),
        kind: Set(verb.to_owned()),
        at: Set(signer.at),
        event_time: Set(signer.at),
        actor: Set(Some(signer.user.to_owned())),
        comment: Set(comment(signer)),
        body: Set("{}".to_owned()),
    };
    duty::Entity::insert(row).exec_without_returning(tx).await.during("writing a duty event")?;
    let request = ack_request::ActiveModel {
        key: Set(key),
        occurrence_id: Set(changed.id.clone()),
        at: Set(signer.at),
    };
    ack_request::Entity::insert(request)
        .exec_without_returning(tx)
        .await
        .during("keeping an idempotency key")?;
    let action = if verb == "ack" { "alarm.ack" } else { "alarm.reset" };
    let act = Act { at: signer.at, actor: signer.user, action, subject: &changed.id };
    append(tx, act, &json!({ "version": changed.version, "comment": comment(signer) })).await
}
