//! What is active, as an evaluator that lost its state takes it up again.

use rules::Transition;
use sea_orm::{ColumnTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder};

use super::apply::was_paged;
use crate::state::entity::alarming::occurrence;
use crate::state::entity::journal::verdict;
use crate::state::{During, State, StateError, from_body};

/// An alarm that is active.
#[derive(Debug, Clone, PartialEq)]
pub struct ActiveAlarm {
    /// What brought it to its present level.
    pub transition: Transition,
    /// Whether duty staff were paged for it.
    pub is_paged: bool,
}

impl State {
    /// Every alarm whose condition holds, as far as duty staff know. One whose evidence another version wrote and this
    /// one cannot read is left out: only the person who signs it can end it.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn active_alarms(&self) -> Result<Vec<ActiveAlarm>, StateError> {
        let rows = occurrence::Entity::find()
            .filter(occurrence::Column::Active.eq(true))
            .order_by_asc(occurrence::Column::Id)
            .all(self.reader())
            .await
            .during("reading active alarms")?;
        let mut alarms = Vec::with_capacity(rows.len());
        for row in rows {
            let is_paged = was_paged(&row);
            match from_body::<Transition>("occurrence", &row.id, &row.body) {
                Ok(transition) => alarms.push(ActiveAlarm { transition, is_paged }),
                Err(error) => {
                    tracing::error!(occurrence = %row.id, error = %crate::chain_of(&error),
                        "an active alarm cannot be taken up again, sign and close it by hand");
                }
            }
        }
        Ok(alarms)
    }

    /// Whether an alarm was judged on a gateway's blocks.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn is_judged_on(
        &self,
        gateway: &str,
        alarm: &Transition,
    ) -> Result<bool, StateError> {
        let found = verdict::Entity::find()
            .filter(verdict::Column::Gateway.eq(gateway))
            .filter(verdict::Column::Rule.eq(&alarm.rule))
            .filter(verdict::Column::Site.eq(&alarm.scope.site))
            .filter(verdict::Column::Scope.eq(&alarm.scope.object))
            .count(self.reader())
            .await;
        Ok(found.during("looking for the verdicts of an alarm")? > 0)
    }

    /// Time segment of a gateway's newest verdict; 0 where it has none.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn newest_segment(&self, gateway: &str) -> Result<u32, StateError> {
        let row = verdict::Entity::find()
            .filter(verdict::Column::Gateway.eq(gateway))
            .order_by_desc(verdict::Column::Seq)
            .one(self.reader())
            .await
            .during("reading the newest verdict")?;
        Ok(row.map_or(0, |row| u32::try_from(row.segment).unwrap_or(0)))
    }
}
