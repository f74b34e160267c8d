//! Where each evaluator is in the log, and its snapshots; called by the evaluator at start and by
//! [`crate::alarms`] inside the transaction that applies an evaluation.

use sea_orm::sea_query::OnConflict;
use sea_orm::{ActiveValue::NotSet, ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait};
use sea_orm::{QueryFilter, QueryOrder, QuerySelect};

use super::entity::journal::{audit, verdict};
use super::entity::progress::{cursor, snapshot};
use super::{During, State, StateError};
use crate::store::Position;

/// Snapshots kept per evaluator: the log evicts nothing newer than the second-newest.
pub const SNAPSHOTS_KEPT: u64 = 3;

/// A serialized evaluator.
#[derive(Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Last record it has seen.
    pub at: Position,
    /// Version of the engine that wrote it; another one rebuilds from the log.
    pub engine_version: u32,
    /// Facts it knew.
    pub fact_revision: u64,
    /// Newest verdict at that moment; see [`State::rewind_verdicts`]. Set by the state, not by the caller.
    pub verdict_seq: i64,
    /// What the evaluator serialized.
    pub bytes: Vec<u8>,
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot").field("at", &self.at).field("bytes", &self.bytes.len()).finish()
    }
}

impl State {
    /// Position up to which an evaluator's effects are in the database.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn evaluator_position(&self, name: &str) -> Result<Option<Position>, StateError> {
        let row = cursor::Entity::find_by_id(name).one(self.reader()).await;
        Ok(row.during("reading a cursor")?.map(|row| position(row.log_id, row.position)))
    }

    /// The newest snapshots of an evaluator, newest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn snapshots(&self, name: &str) -> Result<Vec<Snapshot>, StateError> {
        let rows = snapshot::Entity::find()
            .filter(snapshot::Column::Cursor.eq(name))
            .order_by_desc(snapshot::Column::Seq)
            .limit(SNAPSHOTS_KEPT)
            .all(self.reader())
            .await
            .during("reading snapshots")?;
        Ok(rows.into_iter().map(Snapshot::from).collect())
    }

    /// Takes back the verdicts a gateway got after a snapshot: its evaluator goes on from there on another log.
    /// The duty journal stays, it is what people saw.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn rewind_verdicts(&self, gateway: &str, to: &Snapshot) -> Result<u64, StateError> {
        let tx = self.begin().await?;
        let gone = verdict::Entity::delete_many()
            .filter(verdict::Column::Gateway.eq(gateway))
            .filter(verdict::Column::Seq.gt(to.verdict_seq))
            .exec(&tx)
            .await
            .during("taking back verdicts")?;
        tx.commit().await.during("taking back verdicts")?;
        Ok(gone.rows_affected)
    }
}

/// What a state database held at a moment: a later one that holds it too went on from there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mark {
    /// The newest row of the audit chain.
    audit: Option<(i64, String)>,
    /// The newest verdict that every evaluator's newest snapshot knows.
    verdict: Option<(i64, String, String)>,
}

impl State {
    /// What says that a later state database went on from this one.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn mark(&self) -> Result<Mark, StateError> {
        let mut known = i64::MAX;
        for evaluator in self.evaluators().await? {
            let newest = self.snapshots(&evaluator).await?;
            known = newest.first().map_or(known, |snapshot| known.min(snapshot.verdict_seq));
        }
        let audit = audit::Entity::find().order_by_desc(audit::Column::Seq).one(self.reader());
        let audit = audit.await.during("reading the audit journal")?;
        let verdict = verdict::Entity::find()
            .filter(verdict::Column::Seq.lte(known))
            .order_by_desc(verdict::Column::Seq)
            .one(self.reader())
            .await
            .during("reading the newest verdict")?;
        Ok(Mark {
            audit: audit.map(|row| (row.seq, row.hash)),
            verdict: verdict.map(|row| (row.seq, row.gateway, row.key)),
        })
    }

    /// Whether this database went on from the one that `mark` is of.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn continues(&self, mark: &Mark) -> Result<bool, StateError> {
        if let Some((seq, hash)) = &mark.audit {
            let row = audit::Entity::find_by_id(*seq).one(self.reader()).await;
            if row.during("reading the audit journal")?.is_none_or(|row| row.hash != *hash) {
                return Ok(false);
            }
        }
        let Some((seq, gateway, key)) = &mark.verdict else { return Ok(true) };
        let row = verdict::Entity::find_by_id(*seq).one(self.reader()).await;
        let row = row.during("reading a verdict")?;
        Ok(row.is_some_and(|row| row.gateway == *gateway && row.key == *key))
    }

    /// Takes every evaluator back to a snapshot of an older log: these are its only ones then, and the verdicts after them
    /// are taken back. An evaluator that is not named begins anew. The duty journal stays, it is what people saw.
    ///
    /// # Errors
    /// When the database cannot be written; nothing is changed then.
    pub async fn go_back(&self, to: &[(String, Snapshot)], now_ms: i64) -> Result<(), StateError> {
        const DOING: &str = "going back to older snapshots";
        let tx = self.begin().await?;
        snapshot::Entity::delete_many().exec(&tx).await.during(DOING)?;
        cursor::Entity::delete_many().exec(&tx).await.during(DOING)?;
        let named = to.iter().map(|(name, _)| name.as_str());
        let others = verdict::Column::Gateway.is_not_in(named);
        verdict::Entity::delete_many().filter(others).exec(&tx).await.during(DOING)?;
        for (name, taken) in to {
            verdict::Entity::delete_many()
                .filter(verdict::Column::Gateway.eq(name))
                .filter(verdict::Column::Seq.gt(taken.verdict_seq))
                .exec(&tx)
                .await
                .during(DOING)?;
            insert_snapshot(&tx, name, taken.clone(), now_ms).await?;
            move_cursor(&tx, name, taken.at, now_ms).await?;
        }
        tx.commit().await.during(DOING)
    }
}

impl From<snapshot::Model> for Snapshot {
    fn from(row: snapshot::Model) -> Self {
        Self {
            at: position(row.log_id, row.position),
            engine_version: u32::try_from(row.engine_version).unwrap_or(u32::MAX),
            fact_revision: row.fact_revision.cast_unsigned(),
            verdict_seq: row.verdict_seq,
            bytes: row.bytes,
        }
    }
}

fn position(log_id: i64, position: i64) -> Position {
    Position { log_id: log_id.cast_unsigned(), position: position.cast_unsigned() }
}

/// Moves an evaluator's cursor, inside the transaction of what it wrote.
pub(crate) async fn move_cursor(
    tx: &impl ConnectionTrait,
    name: &str,
    to: Position,
    now_ms: i64,
) -> Result<(), StateError> {
    let row = cursor::ActiveModel {
        name: Set(name.to_owned()),
        log_id: Set(to.log_id.cast_signed()),
        position: Set(to.position.cast_signed()),
        updated_at: Set(now_ms),
    };
    let conflict = OnConflict::column(cursor::Column::Name)
        .update_columns([
            cursor::Column::LogId,
            cursor::Column::Position,
            cursor::Column::UpdatedAt,
        ])
        .to_owned();
    cursor::Entity::insert(row)
        .on_conflict(conflict)
        .exec_without_returning(tx)
        .await
        .during("moving a cursor")?;
    Ok(())
}

/// Keeps a snapshot, inside the transaction of the position it belongs to, and drops those beyond the kept few.
pub(crate) async fn keep_snapshot(
    tx: &impl ConnectionTrait,
    name: &str,
    taken: Snapshot,
    now_ms: i64,
) -> Result<(), StateError> {
    let newest = verdict::Entity::find().order_by_desc(verdict::Column::Seq).one(tx).await;
    let verdict_seq = newest.during("reading the newest verdict")?.map_or(0, |row| row.seq);
    insert_snapshot(tx, name, Snapshot { verdict_seq, ..taken }, now_ms).await?;
    let old = snapshot::Entity::find()
        .filter(snapshot::Column::Cursor.eq(name))
        .order_by_desc(snapshot::Column::Seq)
        .offset(SNAPSHOTS_KEPT)
        .limit(1)
        .select_only()
        .column(snapshot::Column::Seq)
        .into_tuple::<i64>()
        .one(tx)
        .await
        .during("looking for old snapshots")?;
    if let Some(seq) = old {
        snapshot::Entity::delete_many()
            .filter(snapshot::Column::Cursor.eq(name))
            .filter(snapshot::Column::Seq.lte(seq))
            .exec(tx)
            .await
            .during("dropping old snapshots")?;
    }
    Ok(())
}

async fn insert_snapshot(
    tx: &impl ConnectionTrait,
    name: &str,
    taken: Snapshot,
    now_ms: i64,
) -> Result<(), StateError> {
    let row = snapshot::ActiveModel {
        seq: NotSet,
        cursor: Set(name.to_owned()),
        log_id: Set(taken.at.log_id.cast_signed()),
        position: Set(taken.at.position.cast_signed()),
        engine_version: Set(i64::from(taken.engine_version)),
        fact_revision: Set(taken.fact_revision.cast_signed()),
        verdict_seq: Set(taken.verdict_seq),
        created_at: Set(now_ms),
        bytes: Set(taken.bytes),
    };
    snapshot::Entity::insert(row).exec_without_returning(tx).await.during("keeping a snapshot")?;
    Ok(())
}
