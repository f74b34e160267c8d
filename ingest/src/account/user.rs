//! Users: adding, listing, changing passwords, signing in.

use std::collections::{BTreeSet, HashMap};

use sea_orm::{ActiveModelTrait, ActiveValue::Set, ColumnTrait, DatabaseTransaction, EntityTrait};
use sea_orm::{IntoActiveModel, PaginatorTrait, QueryFilter, QueryOrder, SqlErr};
use serde_json::json;

use super::{AccountError, Role, Scope, password};
use crate::journal::{Act, append};
use crate::secret::Secret;
use crate::state::entity::account::{session, user};
use crate::state::{During, State, StateError};

/// Longest account name, in characters.
const NAME_CHARS_MAX: usize = 64;

/// A user, without anything secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Random id.
    pub id: String,
    /// Sign-in name.
    pub name: String,
    /// Name as shown.
    pub display: String,
    /// What they may do.
    pub role: Role,
    /// The one site of a plant user.
    pub site: Option<String>,
    /// Ms UTC.
    pub created_at: i64,
    /// Ms UTC.
    pub disabled_at: Option<i64>,
}

impl User {
    /// Which rows they may see.
    #[must_use]
    pub fn scope(&self) -> Scope {
        Scope::of(self.role, self.site.as_deref())
    }
}

/// A user to be added.
#[derive(Debug, Clone)]
pub struct NewUser {
    /// Sign-in name.
    pub name: String,
    /// Name as shown.
    pub display: String,
    /// What they may do.
    pub role: Role,
    /// Site, for plant users.
    pub site: Option<String>,
    /// Hashed before it is stored.
    pub password: Secret,
}

impl State {
    /// Names as shown, by user name; of disabled users too. An unknown name is left out.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn display_names(
        &self,
        names: impl IntoIterator<Item = &str>,
    ) -> Result<HashMap<String, String>, StateError> {
        let wanted: BTreeSet<&str> = names.into_iter().collect();
        if wanted.is_empty() {
            return Ok(HashMap::new());
        }
        let found = user::Entity::find().filter(user::Column::Name.is_in(wanted));
        let found = found.all(self.reader()).await.during("reading names of users")?;
        Ok(found.into_iter().map(|row| (row.name, row.display)).collect())
    }

    /// Adds a user.
    ///
    /// # Errors
    /// [`AccountError::Invalid`], [`AccountError::NameTaken`], or the database.
    pub async fn add_user(
        &self,
        new: NewUser,
        actor: &str,
        now_ms: i64,
    ) -> Result<User, AccountError> {
        let row = prepare(new, now_ms).await?;
        let tx = self.begin().await?;
        let user = insert(&tx, row, actor, "user.add").await?;
        tx.commit().await.during("adding a user")?;
        Ok(user)
    }

    /// Adds the first administrator, only while there is no user at all.
    ///
    /// # Errors
    /// [`AccountError::SetupDone`] when somebody was faster.
    pub async fn add_first_user(&self, new: NewUser, now_ms: i64) -> Result<User, AccountError> {
        let row = prepare(NewUser { role: Role::Administrator, site: None, ..new }, now_ms).await?;
        let tx = self.begin().await?;
        let users = user::Entity::find().count(&tx).await.during("counting users")?;
        if users > 0 {
            return Err(AccountError::SetupDone);
        }
        let user = insert(&tx, row, "setup", "user.setup").await?;
        tx.commit().await.during("adding the first user")?;
        Ok(user)
    }

    /// Whether nobody can sign in yet.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn setup_needed(&self) -> Result<bool, StateError> {
        let users = user::Entity::find().count(self.reader()).await;
        Ok(users.during("counting users")? == 0)
    }

    /// All users by name.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn users(&self) -> Result<Vec<User>, AccountError> {
        let rows = user::Entity::find().order_by_asc(user::Column::Name).all(self.reader()).await;
        rows.during("listing users")?.into_iter().map(User::try_from).collect()
    }

    /// Sets a password and ends the user's sessions.
    ///
    /// # Errors
    /// [`AccountError::NotFound`], [`AccountError::Invalid`], or the database.
    pub async fn set_password(
        &self,
        name: &str,
        new: Secret,
        actor: &str,
        now_ms: i64,
    ) -> Result<(), AccountError> {
        password::check_strength(name, &new)?;
        let hash = password::hash(new).await?;
        let tx = self.begin().await?;
        let row = named(&tx, name).await?.ok_or(AccountError::NotFound)?;
        end_sessions(&tx, &row.id).await?;
        let mut row = row.into_active_model();
        row.password_hash = Set(hash);
        row.update(&tx).await.during("changing a password")?;
        let act = Act { at: now_ms, actor, action: "user.password", subject: name };
        append(&tx, act, &json!({})).await?;
        tx.commit().await.during("changing a password")?;
        Ok(())
    }

    /// Lets a user sign in no more and ends their sessions; the trail keeps their name.
    ///
    /// # Errors
    /// [`AccountError::NotFound`], or the database.
    pub async fn disable_user(
        &self,
        name: &str,
        actor: &str,
        now_ms: i64,
    ) -> Result<(), AccountError> {
        let act = Act { at: now_ms, actor, action: "user.disable", subject: name };
        self.set_disabled(Some(now_ms), act).await
    }

    /// Lets a disabled user sign in again, with the password that they had.
    ///
    /// # Errors
    /// [`AccountError::NotFound`], or the database.
    pub async fn enable_user(
        &self,
        name: &str,
        actor: &str,
        now_ms: i64,
    ) -> Result<(), AccountError> {
        let act = Act { at: now_ms, actor, action: "user.enable", subject: name };
        self.set_disabled(None, act).await
    }

    /// The user is the act's subject; whoever changes between the two has no session after it.
    async fn set_disabled(&self, at: Option<i64>, act: Act<'_>) -> Result<(), AccountError> {
        let tx = self.begin().await?;
        let row = named(&tx, act.subject).await?.ok_or(AccountError::NotFound)?;
        end_sessions(&tx, &row.id).await?;
        let mut row = row.into_active_model();
        row.disabled_at = Set(at);
        row.update(&tx).await.during("disabling or enabling a user")?;
        append(&tx, act, &json!({})).await?;
        tx.commit().await.during("disabling or enabling a user")?;
        Ok(())
    }

    /// Whether there is an account of this name, disabled ones included.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn has_user(&self, name: &str) -> Result<bool, StateError> {
        Ok(named(self.reader(), name).await?.is_some())
    }

    /// The user whose name and password these are.
    ///
    /// # Errors
    /// [`AccountError::BadCredentials`] for a wrong name, a wrong password and a disabled user alike.
    pub async fn check_password(&self, name: &str, given: Secret) -> Result<User, AccountError> {
        let row = named(self.reader(), name).await?;
        let row = row.filter(|row| row.disabled_at.is_none());
        let stored = row.as_ref().map(|row| row.password_hash.clone());
        let fits = given.reveal().len() <= password::PASSWORD_BYTES_MAX
            && password::verify(given, stored).await?;
        match row {
            Some(row) if fits => User::try_from(row),
            _ => Err(AccountError::BadCredentials),
        }
    }
}

async fn named(
    db: &impl sea_orm::ConnectionTrait,
    name: &str,
) -> Result<Option<user::Model>, StateError> {
    let found = user::Entity::find().filter(user::Column::Name.eq(name)).one(db).await;
    found.during("reading a user")
}

async fn end_sessions(tx: &DatabaseTransaction, user: &str) -> Result<(), StateError> {
    session::Entity::delete_many()
        .filter(session::Column::UserId.eq(user))
        .exec(tx)
        .await
        .during("ending sessions")?;
    Ok(())
}

async fn prepare(new: NewUser, now_ms: i64) -> Result<user::Model, AccountError> {
    let name = new.name.trim().to_owned();
    let fits = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | '@');
    if name.is_empty() || name.chars().count() > NAME_CHARS_MAX || !name.chars().all(fits) {
        let text =
            format!("a name has 1 to {NAME_CHARS_MAX} letters, digits, '.', '-', '_' or '@'");
        return Err(AccountError::Invalid(text));
    }
    if (new.role == Role::Plant) != new.site.is_some() {
        let text = "a plant user needs a site, and only a plant user has one".to_owned();
        return Err(AccountError::Invalid(text));
    }
    password::check_strength(&name, &new.password)?;
    let display = new.display.trim().chars().take(NAME_CHARS_MAX).collect::<String>();
    Ok(user::Model {
        id: Secret::random(8).map_err(StateError::Random)?.reveal().to_owned(),
        display: if display.is_empty() { name.clone() } else { display },
        name,
        role: new.role.as_str().to_owned(),
        site: new.site,
        password_hash: password::hash(new.password).await?,
        created_at: now_ms,
        disabled_at: None,
    })
}

async fn insert(
    tx: &DatabaseTransaction,
    row: user::Model,
    actor: &str,
    action: &'static str,
) -> Result<User, AccountError> {
    if let Err(error) = user::Entity::insert(row.clone().into_active_model().reset_all())
        .exec_without_returning(tx)
        .await
    {
        return match error.sql_err() {
            Some(SqlErr::UniqueConstraintViolation(_)) => Err(AccountError::NameTaken(row.name)),
            _ => Err(StateError::Query { doing: "adding a user", source: error }.into()),
        };
    }
    let act = Act { at: row.created_at, actor, action, subject: &row.name };
    append(tx, act, &json!({ "role": row.role, "site": row.site })).await?;
    User::try_from(row)
}

impl TryFrom<user::Model> for User {
    type Error = AccountError;

    fn try_from(row: user::Model) -> Result<Self, Self::Error> {
        let role = row.role.parse::<Role>().map_err(|e| AccountError::Invalid(e.to_string()))?;
        Ok(Self {
            id: row.id,
            name: row.name,
            display: row.display,
            role,
            site: row.site,
            created_at: row.created_at,
            disabled_at: row.disabled_at,
        })
    }
}
