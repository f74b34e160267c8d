//! API keys for programs: `Authorization: Bearer <key>`; only the hash is kept, the key is shown once.

use sea_orm::{ActiveModelTrait, ActiveValue::Set, ColumnTrait, EntityTrait, IntoActiveModel};
use sea_orm::{QueryFilter, QueryOrder};
use serde_json::json;

use super::{AccountError, Role, Scope};
use crate::journal::{Act, append};
use crate::secret::Secret;
use crate::state::entity::account::api_key;
use crate::state::{During, State, StateError};

/// Bytes of a key: 256 bits.
const KEY_BYTES: usize = 32;

/// A key, without anything secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Random id, safe to show.
    pub id: String,
    /// What it is for.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// Row scope of a plant key.
    pub site: Option<String>,
    /// User name.
    pub created_by: String,
    /// Ms UTC.
    pub created_at: i64,
    /// Ms UTC.
    pub revoked_at: Option<i64>,
}

impl ApiKey {
    /// Which rows it may see.
    #[must_use]
    pub fn scope(&self) -> Scope {
        Scope::of(self.role, self.site.as_deref())
    }
}

/// A key to be made.
#[derive(Debug, Clone)]
pub struct NewApiKey {
    /// What it is for.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// Site, for plant keys.
    pub site: Option<String>,
}

impl State {
    /// Makes a key; the secret is shown to its owner once and cannot be had again.
    ///
    /// # Errors
    /// [`AccountError::Invalid`], the database or the random source.
    pub async fn add_api_key(
        &self,
        new: NewApiKey,
        actor: &str,
        now_ms: i64,
    ) -> Result<(ApiKey, Secret), AccountError> {
        if (new.role == Role::Plant) != new.site.is_some() {
            let text = "a plant key needs a site, and only a plant key has one".to_owned();
            return Err(AccountError::Invalid(text));
        }
        let token = Secret::random(KEY_BYTES).map_err(StateError::Random)?;
        let row = api_key::Model {
            id: Secret::random(8).map_err(StateError::Random)?.reveal().to_owned(),
            name: new.name,
            token_sha256: token.sha256(),
            role: new.role.as_str().to_owned(),
            site: new.site,
            created_by: actor.to_owned(),
            created_at: now_ms,
            revoked_at: None,
        };
        let tx = self.begin().await?;
        api_key::Entity::insert(row.clone().into_active_model().reset_all())
            .exec_without_returning(&tx)
            .await
            .during("adding a key")?;
        let act = Act { at: now_ms, actor, action: "key.add", subject: &row.id };
        append(&tx, act, &json!({ "name": row.name, "role": row.role, "site": row.site })).await?;
        tx.commit().await.during("adding a key")?;
        Ok((ApiKey::try_from(row)?, token))
    }

    /// The key with this secret, unless it was revoked.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn api_key(&self, token: &Secret) -> Result<Option<ApiKey>, AccountError> {
        let found = api_key::Entity::find()
            .filter(api_key::Column::TokenSha256.eq(token.sha256()))
            .filter(api_key::Column::RevokedAt.is_null())
            .one(self.reader())
            .await
            .during("reading a key")?;
        found.map(ApiKey::try_from).transpose()
    }

    /// All keys, newest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn api_keys(&self) -> Result<Vec<ApiKey>, AccountError> {
        let rows = api_key::Entity::find().order_by_desc(api_key::Column::CreatedAt);
        let rows = rows.all(self.reader()).await.during("listing keys")?;
        rows.into_iter().map(ApiKey::try_from).collect()
    }

    /// Ends a key.
    ///
    /// # Errors
    /// [`AccountError::NotFound`], or the database.
    pub async fn revoke_api_key(
        &self,
        id: &str,
        actor: &str,
        now_ms: i64,
    ) -> Result<(), AccountError> {
        let tx = self.begin().await?;
        let found = api_key::Entity::find_by_id(id).one(&tx).await.during("reading a key")?;
        let mut row = found.ok_or(AccountError::NotFound)?.into_active_model();
        row.revoked_at = Set(Some(now_ms));
        row.update(&tx).await.during("revoking a key")?;
        append(&tx, Act { at: now_ms, actor, action: "key.revoke", subject: id }, &json!({}))
            .await?;
        tx.commit().await.during("revoking a key")?;
        Ok(())
    }
}

impl TryFrom<api_key::Model> for ApiKey {
    type Error = AccountError;

    fn try_from(row: api_key::Model) -> Result<Self, Self::Error> {
        let role = row.role.parse::<Role>().map_err(|e| AccountError::Invalid(e.to_string()))?;
        Ok(Self {
            id: row.id,
            name: row.name,
            role,
            site: row.site,
            created_by: row.created_by,
            created_at: row.created_at,
            revoked_at: row.revoked_at,
        })
    }
}
