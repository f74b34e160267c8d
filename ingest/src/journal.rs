//! The audit journal: append-only, hash-chained, one row for every change a person or an office makes.
//!
//! Rows are appended inside the transaction of the change itself, so that neither exists without the other.
//! `hash = SHA-256(prev_hash, seq, at, actor, action, subject, detail)`, each part preceded by its length.
//! Details never hold a secret. The verdict and duty journals are written by [`crate::alarms`].

use sea_orm::{ActiveValue::Set, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder};
use sea_orm::{ColumnTrait, QuerySelect};
use serde::Serialize;

use crate::secret::sha256_hex;
use crate::state::entity::journal::audit;
use crate::state::{During, State, StateError, to_body};

#[cfg(test)]
mod tests;

/// Hash before the first row.
const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";
/// Rows checked or answered at once.
pub const AUDIT_PAGE_MAX: u64 = 1_000;

/// One thing somebody did, before it is chained.
#[derive(Debug, Clone)]
pub struct Act<'a> {
    /// Centre time, ms UTC.
    pub at: i64,
    /// User name, or `system`, `seed`, `cli`.
    pub actor: &'a str,
    /// Verb, e.g. `alarm.ack`.
    pub action: &'static str,
    /// What it was done to.
    pub subject: &'a str,
}

/// One row of the audit journal, as answered to an auditor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct AuditRow {
    /// From 1 without gaps.
    pub seq: i64,
    /// Centre time, ms UTC.
    pub at: i64,
    /// Who.
    pub actor: String,
    /// Verb.
    pub action: String,
    /// What it was done to.
    pub subject: String,
    /// JSON text.
    pub detail: String,
    /// Hex SHA-256, chained.
    pub hash: String,
}

/// What a check of the chain found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChainCheck {
    /// Every row holds; the head may be compared with one noted elsewhere.
    Whole {
        /// Rows checked.
        rows: i64,
        /// Hash of the newest row.
        head: String,
    },
    /// The first row that does not follow from the one before.
    Broken {
        /// Its number.
        seq: i64,
    },
}

/// Appends an act to the chain, inside the transaction of the change it speaks of.
pub(crate) async fn append<D: Serialize>(
    tx: &impl ConnectionTrait,
    act: Act<'_>,
    detail: &D,
) -> Result<(), StateError> {
    let last = audit::Entity::find().order_by_desc(audit::Column::Seq).one(tx).await;
    let (seq, prev_hash) = last
        .during("reading the head of the audit journal")?
        .map_or((1, GENESIS.to_owned()), |row| (row.seq + 1, row.hash));
    let mut row = audit::Model {
        seq,
        at: act.at,
        actor: act.actor.to_owned(),
        action: act.action.to_owned(),
        subject: act.subject.to_owned(),
        detail: to_body(detail),
        prev_hash,
        hash: String::new(),
    };
    row.hash = hash_of(&row);
    let row = audit::ActiveModel {
        seq: Set(row.seq),
        at: Set(row.at),
        actor: Set(row.actor),
        action: Set(row.action),
        subject: Set(row.subject),
        detail: Set(row.detail),
        prev_hash: Set(row.prev_hash),
        hash: Set(row.hash),
    };
    audit::Entity::insert(row)
        .exec_without_returning(tx)
        .await
        .during("appending to the audit journal")?;
    Ok(())
}

fn hash_of(row: &audit::Model) -> String {
    sha256_hex(&[
        row.prev_hash.as_bytes(),
        &row.seq.to_be_bytes(),
        &row.at.to_be_bytes(),
        row.actor.as_bytes(),
        row.action.as_bytes(),
        row.subject.as_bytes(),
        row.detail.as_bytes(),
    ])
}

impl State {
    /// Appends an act that changes nothing else in this database (a failed sign-in, an export).
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn audit<D: Serialize + Sync>(
        &self,
        act: Act<'_>,
        detail: &D,
    ) -> Result<(), StateError> {
        let tx = self.begin().await?;
        append(&tx, act, detail).await?;
        tx.commit().await.during("appending to the audit journal")
    }

    /// Rows before `before`, newest first, at most [`AUDIT_PAGE_MAX`].
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn audit_rows(
        &self,
        before: Option<i64>,
        limit: u64,
    ) -> Result<Vec<AuditRow>, StateError> {
        let rows = audit::Entity::find()
            .filter(audit::Column::Seq.lt(before.unwrap_or(i64::MAX)))
            .order_by_desc(audit::Column::Seq)
            .limit(limit.min(AUDIT_PAGE_MAX))
            .all(self.reader())
            .await
            .during("reading the audit journal")?;
        Ok(rows.into_iter().map(AuditRow::from).collect())
    }

    /// Walks the whole chain and says where it first breaks.
    ///
    /// A row cut off at the end shows only against a head noted elsewhere; the service logs the head at each start.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn check_audit_chain(&self) -> Result<ChainCheck, StateError> {
        let (mut rows, mut head) = (0, GENESIS.to_owned());
        loop {
            let page = audit::Entity::find()
                .filter(audit::Column::Seq.gt(rows))
                .order_by_asc(audit::Column::Seq)
                .limit(AUDIT_PAGE_MAX)
                .all(self.reader())
                .await
                .during("checking the audit journal")?;
            if page.is_empty() {
                return Ok(ChainCheck::Whole { rows, head });
            }
            for row in page {
                if row.seq != rows + 1 || row.prev_hash != head || row.hash != hash_of(&row) {
                    return Ok(ChainCheck::Broken { seq: rows + 1 });
                }
                (rows, head) = (row.seq, row.hash);
            }
        }
    }
}

impl From<audit::Model> for AuditRow {
    fn from(row: audit::Model) -> Self {
        Self {
            seq: row.seq,
            at: row.at,
            actor: row.actor,
            action: row.action,
            subject: row.subject,
            detail: row.detail,
            hash: row.hash,
        }
    }
}
