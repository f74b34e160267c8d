//! Reading alarms: the list of the duty desk, one alarm's history, the verdict journal.

use sea_orm::{ColumnTrait, Condition, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder};
use sea_orm::{QuerySelect, Select};

use rules::Transition;

use super::Occurrence;
use crate::state::entity::alarming::occurrence::{self, Column};
use crate::state::entity::journal::{duty, verdict};
use crate::state::{During, State, StateError, from_body};

/// Rows of finished alarms answered at once.
pub const PAGE_MAX: u64 = 1_000;
/// Active or unsigned rows answered at once: never cut by time, but memory is bounded.
const OPEN_MAX: u64 = 20_000;

/// Which occurrences are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Listing {
    /// The condition holds, or a latch does.
    #[default]
    Active,
    /// Not signed, whether it still holds or not.
    Unacked,
    /// Everything, newest first.
    All,
}

/// What to list.
#[derive(Debug, Clone, Default)]
pub struct OccurrenceFilter {
    /// Which.
    pub listing: Listing,
    /// Only this site: the row-level scope of a plant.
    pub site: Option<String>,
    /// Only those raised before this event time, ms UTC; of use with [`Listing::All`] only.
    pub before: Option<i64>,
    /// With `before`: also those raised at that very time whose id is smaller, so that a list read page by page misses none
    /// of many that were raised together.
    pub before_id: Option<String>,
    /// At most so many with [`Listing::All`]; at most [`PAGE_MAX`].
    pub limit: Option<u64>,
}

/// One line of an occurrence's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryRow {
    /// Centre time, ms UTC.
    pub at: i64,
    /// Event time, ms UTC.
    pub event_time: i64,
    /// raise, clear, level_up, level_down, amends, ack, reset.
    pub kind: String,
    /// User name; none for the engine.
    pub by: Option<String>,
    /// As typed, or what is amended.
    pub comment: Option<String>,
}

/// One line of the verdict journal.
#[derive(Debug, Clone, PartialEq)]
pub struct VerdictRow {
    /// Whose blocks it was judged on.
    pub gateway: String,
    /// What was decided.
    pub transition: Transition,
}

impl State {
    /// Occurrences as listed to duty staff: worst first among the open ones, newest first among all.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn occurrences(
        &self,
        filter: &OccurrenceFilter,
    ) -> Result<Vec<Occurrence>, StateError> {
        let mut select = occurrence::Entity::find();
        if let Some(site) = &filter.site {
            select = select.filter(Column::Site.eq(site));
        }
        listed(select, filter).all(self.reader()).await.during("listing alarms")
    }

    /// One occurrence.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn occurrence(&self, id: &str) -> Result<Option<Occurrence>, StateError> {
        occurrence::Entity::find_by_id(id).one(self.reader()).await.during("reading an alarm")
    }

    /// The raises of the same alarm before this one, newest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn earlier_occurrences(
        &self,
        of: &Occurrence,
        limit: u64,
    ) -> Result<Vec<Occurrence>, StateError> {
        occurrence::Entity::find()
            .filter(Column::AlarmId.eq(&of.alarm_id))
            .filter(Column::Number.lt(of.number))
            .order_by_desc(Column::Number)
            .limit(limit)
            .all(self.reader())
            .await
            .during("reading an alarm's earlier raises")
    }

    /// What happened to an occurrence, oldest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn occurrence_history(&self, id: &str) -> Result<Vec<HistoryRow>, StateError> {
        let rows = duty::Entity::find()
            .filter(duty::Column::OccurrenceId.eq(id))
            .order_by_asc(duty::Column::Seq)
            .limit(PAGE_MAX)
            .all(self.reader())
            .await
            .during("reading an alarm's history")?;
        Ok(rows.into_iter().map(HistoryRow::from).collect())
    }

    /// Verdicts of a gateway after a sequence number, oldest first, at most [`PAGE_MAX`].
    ///
    /// # Errors
    /// When the database cannot be read, or a row is not readable.
    pub async fn verdicts(
        &self,
        gateway: &str,
        after: i64,
    ) -> Result<Vec<(i64, VerdictRow)>, StateError> {
        let rows = verdict::Entity::find()
            .filter(verdict::Column::Gateway.eq(gateway))
            .filter(verdict::Column::Seq.gt(after))
            .order_by_asc(verdict::Column::Seq)
            .limit(PAGE_MAX)
            .all(self.reader())
            .await
            .during("reading the verdict journal")?;
        rows.into_iter()
            .map(|row| {
                let transition = from_body("verdict", &row.key, &row.body)?;
                Ok((row.seq, VerdictRow { gateway: row.gateway, transition }))
            })
            .collect()
    }

    /// The verdict journal as text, `gateway TAB key TAB body`, in the order of gateway, segment, time and key: what
    /// [`crate::evaluate::replay`] makes of the log must be the same bytes.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn verdict_lines(&self) -> Result<Vec<String>, StateError> {
        self.verdict_lines_after(|_| Some(0)).await
    }

    /// The same of the verdicts after a row of each gateway's; `None` leaves a gateway out.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn verdict_lines_after(
        &self,
        known: impl Fn(&str) -> Option<i64>,
    ) -> Result<Vec<String>, StateError> {
        let mut lines = Vec::new();
        let mut after = 0;
        loop {
            let rows = verdict::Entity::find()
                .filter(verdict::Column::Seq.gt(after))
                .order_by_asc(verdict::Column::Seq)
                .limit(PAGE_MAX)
                .all(self.reader())
                .await
                .during("reading the verdict journal")?;
            let Some(last) = rows.last() else { break };
            after = last.seq;
            let is_after =
                |row: &verdict::Model| known(&row.gateway).is_some_and(|known| row.seq > known);
            lines.extend(rows.into_iter().filter(is_after).map(|row| {
                let line = format!("{}\t{}\t{}", row.gateway, row.key, row.body);
                (row.gateway, row.segment, row.t, row.key, line)
            }));
        }
        lines.sort();
        Ok(lines.into_iter().map(|line| line.4).collect())
    }

    /// Names of the evaluators that have a snapshot.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn evaluators(&self) -> Result<Vec<String>, StateError> {
        use crate::state::entity::progress::cursor;
        let rows = cursor::Entity::find().all(self.reader()).await.during("reading cursors")?;
        Ok(rows.into_iter().map(|row| row.name).collect())
    }

    /// How many occurrences are active, whatever their number.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn active_count(&self) -> Result<u64, StateError> {
        let select = occurrence::Entity::find().filter(Column::Active.eq(true));
        select.count(self.reader()).await.during("counting alarms")
    }
}

fn listed(
    select: Select<occurrence::Entity>,
    filter: &OccurrenceFilter,
) -> Select<occurrence::Entity> {
    let open = match filter.listing {
        Listing::Active => {
            Condition::any().add(Column::Active.eq(true)).add(Column::Latched.eq(true))
        }
        Listing::Unacked => Condition::any().add(Column::Acked.eq(false)),
        Listing::All => {
            return select
                .filter(earlier(filter))
                .order_by_desc(Column::RaisedAt)
                .order_by_desc(Column::Id)
                .limit(filter.limit.unwrap_or(PAGE_MAX).min(PAGE_MAX));
        }
    };
    select
        .filter(open)
        .order_by_asc(Column::Severity)
        .order_by_desc(Column::RaisedAt)
        .limit(OPEN_MAX)
}

/// What comes after the place that the filter names, newest first.
fn earlier(filter: &OccurrenceFilter) -> Condition {
    let Some(before) = filter.before else { return Condition::all() };
    let place = Condition::any().add(Column::RaisedAt.lt(before));
    match &filter.before_id {
        Some(id) => {
            let same = Condition::all().add(Column::RaisedAt.eq(before)).add(Column::Id.lt(id));
            place.add(same)
        }
        None => place,
    }
}

impl From<duty::Model> for HistoryRow {
    fn from(row: duty::Model) -> Self {
        Self {
            at: row.at,
            event_time: row.event_time,
            kind: row.kind,
            by: row.actor,
            comment: row.comment,
        }
    }
}
