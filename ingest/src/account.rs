//! Who may do what: users, roles, sessions, API keys. Called by the API and by `davy-ingest user`.
//!
//! Passwords are kept as argon2id, tokens only as their SHA-256. Nothing here logs or answers with a secret, except the
//! one function that makes a token and gives it to its owner.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::state::StateError;

mod key;
mod lease;
pub mod password;
mod session;
mod user;

#[cfg(test)]
mod tests;

pub use key::{ApiKey, NewApiKey};
pub use session::{Opened, SESSIONS_PER_USER_MAX, SessionPolicy};
pub use user::{NewUser, User};

/// What a person or program may do. Three duties are separated: the administrator configures, duty and officers decide,
/// the auditor reads the trail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Gateways, users, keys, health.
    Administrator,
    /// Emergency-bureau duty staff: signs, calls, closes.
    Duty,
    /// Section officer: orders, approvals, rules.
    Officer,
    /// A plant's own staff; sees its own site only.
    Plant,
    /// The grid company; sees its feeds only.
    Grid,
    /// Reads the trail.
    Auditor,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Administrator, Self::Duty, Self::Officer, Self::Plant, Self::Grid, Self::Auditor];

    /// The word used in the database, in files and in the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Administrator => "administrator",
            Self::Duty => "duty",
            Self::Officer => "officer",
            Self::Plant => "plant",
            Self::Grid => "grid",
            Self::Auditor => "auditor",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that names no role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no role: use administrator, duty, officer, plant, grid or auditor")]
pub struct UnknownRole(String);

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|role| role.as_str() == text);
        found.ok_or_else(|| UnknownRole(text.to_owned()))
    }
}

/// Which rows somebody may see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Every site.
    All,
    /// One site and nothing else.
    Site(String),
    /// No site at all.
    Nothing,
}

impl Scope {
    /// What a role with this site sees: a plant account without a site sees nothing, never everything.
    #[must_use]
    pub fn of(role: Role, site: Option<&str>) -> Self {
        match (role, site) {
            (Role::Plant, Some(site)) => Self::Site(site.to_owned()),
            (Role::Plant | Role::Grid, _) => Self::Nothing,
            _ => Self::All,
        }
    }

    /// Whether a row of this site may be seen.
    #[must_use]
    pub fn allows(&self, site: &str) -> bool {
        match self {
            Self::All => true,
            Self::Site(own) => own == site,
            Self::Nothing => false,
        }
    }
}

/// Why an account matter was refused.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// Unknown name or wrong password: never says which.
    #[error("the name or the password is wrong")]
    BadCredentials,
    /// The name is in use.
    #[error("the name {0} is already in use")]
    NameTaken(String),
    /// A name, a password or a site does not fit; says what would.
    #[error("{0}")]
    Invalid(String),
    /// No such user or key.
    #[error("there is no such account")]
    NotFound,
    /// First-run set-up was already done.
    #[error("the first administrator already exists")]
    SetupDone,
    /// Hashing failed.
    #[error("the password could not be hashed")]
    Hash,
    /// The database failed.
    #[error("the account could not be read or stored")]
    State(#[source] StateError),
}

impl From<StateError> for AccountError {
    fn from(source: StateError) -> Self {
        Self::State(source)
    }
}
