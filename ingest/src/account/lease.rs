//! When a session ends whatever is done, so that a desk can be warned in time.

use sea_orm::EntityTrait;

use super::session::SessionPolicy;
use crate::secret::Secret;
use crate::state::entity::account::session;
use crate::state::{During, State, StateError};

impl State {
    /// When the session of a token ends at the latest, ms UTC; use does not put this off, only signing in again does. None
    /// where there is no such session.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn session_ends_at(
        &self,
        token: &Secret,
        policy: SessionPolicy,
    ) -> Result<Option<i64>, StateError> {
        let found = session::Entity::find_by_id(token.sha256()).one(self.reader()).await;
        let found = found.during("reading a session's end")?;
        Ok(found.map(|row| row.created_at.saturating_add(policy.absolute_ms)))
    }
}
