//! Sessions: a random 256-bit token in the browser, its SHA-256 here, an idle and an absolute end.

use sea_orm::{ActiveValue::Set, ColumnTrait, Condition, EntityTrait, PaginatorTrait, QueryFilter};
use sea_orm::{QueryOrder, QuerySelect};
use serde_json::json;
use std::time::Duration;
use tokio::time::timeout;

use super::{AccountError, User};
use crate::journal::{Act, append};
use crate::secret::Secret;
use crate::state::entity::account::{session, user};
use crate::state::entity::alarming::ack_request;
use crate::state::{During, State, StateError};

/// Bytes of a token: 256 bits.
const TOKEN_BYTES: usize = 32;
/// How often a session's last use is written: not at every request.
const TOUCH_MS: i64 = 60_000;
/// Longest wait for that: whoever asks does not want to write.
const TOUCH_PATIENCE: Duration = Duration::from_secs(1);
/// How long a click may be repeated without signing twice.
const REQUEST_KEPT_MS: i64 = 86_400_000;
/// Sessions one user may have at once; the oldest ends.
pub const SESSIONS_PER_USER_MAX: u64 = 20;

/// When a session ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionPolicy {
    /// After so long without a request, ms. A wall screen's stream counts as use.
    pub idle_ms: i64,
    /// After so long in any case, ms.
    pub absolute_ms: i64,
}

impl Default for SessionPolicy {
    /// Half an hour over a 12-hour shift idle, a week in all.
    fn default() -> Self {
        Self { idle_ms: 12 * 3_600_000 + 1_800_000, absolute_ms: 7 * 86_400_000 }
    }
}

/// A session just opened; the token goes into the cookie and is never seen again.
#[derive(Debug, Clone)]
pub struct Opened {
    /// Whose.
    pub user: User,
    /// For the cookie.
    pub token: Secret,
}

impl State {
    /// Opens a session for a user whose password was checked.
    ///
    /// # Errors
    /// When the database or the random source fails.
    pub async fn open_session(&self, user: User, now_ms: i64) -> Result<Opened, AccountError> {
        let token = Secret::random(TOKEN_BYTES).map_err(StateError::Random)?;
        let tx = self.begin().await?;
        let row = session::ActiveModel {
            token_sha256: Set(token.sha256()),
            user_id: Set(user.id.clone()),
            created_at: Set(now_ms),
            last_seen: Set(now_ms),
        };
        session::Entity::insert(row)
            .exec_without_returning(&tx)
            .await
            .during("opening a session")?;
        end_oldest(&tx, &user.id).await?;
        let act =
            Act { at: now_ms, actor: &user.name, action: "session.open", subject: &user.name };
        append(&tx, act, &json!({})).await?;
        tx.commit().await.during("opening a session")?;
        Ok(Opened { user, token })
    }

    /// The user of a token, if its session has not ended; counts as use.
    ///
    /// # Errors
    /// When the database fails; a forged or ended token is `None`.
    pub async fn session_user(
        &self,
        token: &Secret,
        policy: SessionPolicy,
        now_ms: i64,
    ) -> Result<Option<User>, AccountError> {
        let key = token.sha256();
        let found = session::Entity::find_by_id(&key).one(self.reader()).await;
        let Some(row) = found.during("reading a session")? else { return Ok(None) };
        if now_ms - row.last_seen > policy.idle_ms || now_ms - row.created_at > policy.absolute_ms {
            return Ok(None);
        }
        let user = user::Entity::find_by_id(&row.user_id).one(self.reader()).await;
        let user = user.during("reading a user")?.filter(|user| user.disabled_at.is_none());
        let Some(user) = user else { return Ok(None) };
        if now_ms - row.last_seen > TOUCH_MS {
            // A full disk or a busy database must not close the console for reading.
            match timeout(TOUCH_PATIENCE, self.touch(&key, now_ms)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::warn!(error = %crate::chain_of(&error), "a session's last use was not written");
                }
                Err(_) => {
                    tracing::warn!("the database is busy, a session's last use was not written")
                }
            }
        }
        Ok(Some(User::try_from(user)?))
    }

    async fn touch(&self, key: &str, now_ms: i64) -> Result<(), StateError> {
        let tx = self.begin().await?;
        session::Entity::update_many()
            .col_expr(session::Column::LastSeen, now_ms.into())
            .filter(session::Column::TokenSha256.eq(key))
            .exec(&tx)
            .await
            .during("touching a session")?;
        tx.commit().await.during("touching a session")
    }

    /// Ends a session; an unknown token changes nothing.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn close_session(
        &self,
        token: &Secret,
        actor: &str,
        now_ms: i64,
    ) -> Result<(), StateError> {
        let tx = self.begin().await?;
        let gone = session::Entity::delete_by_id(token.sha256()).exec(&tx).await;
        if gone.during("ending a session")?.rows_affected > 0 {
            let act = Act { at: now_ms, actor, action: "session.close", subject: actor };
            append(&tx, act, &json!({})).await?;
        }
        tx.commit().await.during("ending a session")
    }

    /// Removes sessions that have ended and idempotency keys nobody will repeat; called now and then.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn sweep(&self, policy: SessionPolicy, now_ms: i64) -> Result<u64, StateError> {
        let ended = Condition::any()
            .add(session::Column::LastSeen.lt(now_ms - policy.idle_ms))
            .add(session::Column::CreatedAt.lt(now_ms - policy.absolute_ms));
        let tx = self.begin().await?;
        let gone = session::Entity::delete_many().filter(ended).exec(&tx).await;
        let gone = gone.during("sweeping sessions")?.rows_affected;
        ack_request::Entity::delete_many()
            .filter(ack_request::Column::At.lt(now_ms - REQUEST_KEPT_MS))
            .exec(&tx)
            .await
            .during("sweeping idempotency keys")?;
        tx.commit().await.during("sweeping")?;
        Ok(gone)
    }
}

async fn end_oldest(tx: &sea_orm::DatabaseTransaction, user: &str) -> Result<(), StateError> {
    let of_user = session::Entity::find().filter(session::Column::UserId.eq(user));
    let open = of_user.clone().count(tx).await.during("counting sessions")?;
    let beyond = open.saturating_sub(SESSIONS_PER_USER_MAX);
    let oldest = of_user
        .order_by_asc(session::Column::CreatedAt)
        .limit(beyond)
        .all(tx)
        .await
        .during("looking for old sessions")?;
    for row in oldest {
        session::Entity::delete_by_id(row.token_sha256)
            .exec(tx)
            .await
            .during("ending a session")?;
    }
    Ok(())
}
