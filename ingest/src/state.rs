//! The relational state: registry, facts, alarms, journals, users, cursors; sea-orm over SQLite.
//!
//! [`State`] only opens, migrates and lends transactions; what is written is said by [`crate::registry`],
//! [`crate::alarms`], [`crate::journal`] and [`crate::account`]. Nothing else may name an entity.
//!
//! One connection writes (SQLite has one writer; a hash chain needs one too), a few read. A write transaction begins
//! IMMEDIATE: it waits for another process (`davy-ingest user add` beside a running service) instead of failing half-way.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sea_orm::sqlx::Connection as _;
use sea_orm::{
    ActiveValue::Set, ConnectOptions, ConnectionTrait, Database, DatabaseConnection,
    DatabaseTransaction, DbErr, EntityTrait, SqliteTransactionMode, TransactionOptions,
    TransactionTrait,
};
use sea_orm_migration::MigratorTrait;

pub mod entity;
pub mod migrate;
pub mod progress;

#[cfg(test)]
pub(crate) mod tests;

pub use crate::store::Position;
pub use progress::{Mark, Snapshot};

/// Readers beside the one writer.
const READERS_MAX: u32 = 4;
/// How long a writer waits for another process that holds the database.
const BUSY_MS: u64 = 10_000;

/// Why the state database did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The file could not be opened or created.
    #[error(
        "could not open the state database {path}: check that its folder exists and is writable"
    )]
    Open {
        /// The file.
        path: PathBuf,
        /// What the driver said.
        #[source]
        source: DbErr,
    },
    /// The tables could not be brought up to date.
    #[error(
        "could not migrate the state database {path}: restore the backup taken before the upgrade"
    )]
    Migrate {
        /// The file.
        path: PathBuf,
        /// What the driver said.
        #[source]
        source: DbErr,
    },
    /// A statement failed.
    #[error("the state database failed while {doing}")]
    Query {
        /// What was being done.
        doing: &'static str,
        /// What the driver said.
        #[source]
        source: DbErr,
    },
    /// A row's JSON is not what this version writes.
    #[error("row {id} of {table} is not readable")]
    Row {
        /// Table.
        table: &'static str,
        /// Key of the row.
        id: String,
        /// What the parser said.
        #[source]
        source: serde_json::Error,
    },
    /// The operating system gave no random bytes.
    #[error("the operating system gave no random bytes")]
    Random(#[source] getrandom::Error),
}

impl StateError {
    /// Whether another try can help: the database is busy or its connection went away.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Query { source: DbErr::Conn(_) | DbErr::ConnectionAcquire(_), .. })
            || matches!(self, Self::Query { source, .. } if source.to_string().contains("database is locked"))
    }
}

/// Says what was being done when a statement failed.
pub(crate) trait During<T> {
    fn during(self, doing: &'static str) -> Result<T, StateError>;
}

impl<T> During<T> for Result<T, DbErr> {
    fn during(self, doing: &'static str) -> Result<T, StateError> {
        self.map_err(|source| StateError::Query { doing, source })
    }
}

/// Handle on the state database; cheap to clone.
#[derive(Debug, Clone)]
pub struct State {
    read: DatabaseConnection,
    write: DatabaseConnection,
}

impl State {
    /// Opens the file, creating it with all tables when missing, and brings an older one up to date.
    ///
    /// # Errors
    /// [`StateError::Open`] and [`StateError::Migrate`]; both are fatal at start.
    pub async fn open(path: &Path) -> Result<Self, StateError> {
        let write = connect(path, 1).await?;
        migrate::Migrator::up(&write, None)
            .await
            .map_err(|source| StateError::Migrate { path: path.to_owned(), source })?;
        let read = connect(path, READERS_MAX).await?;
        Ok(Self { read, write })
    }

    /// The connection for reading; never write through it.
    pub(crate) fn reader(&self) -> &DatabaseConnection {
        &self.read
    }

    /// Begins the one write transaction; dropping it rolls back.
    pub(crate) async fn begin(&self) -> Result<DatabaseTransaction, StateError> {
        let options = TransactionOptions {
            sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
            ..TransactionOptions::default()
        };
        self.write.begin_with_options(options).await.during("beginning a transaction")
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// When it does not.
    pub async fn answers(&self) -> Result<(), StateError> {
        count(&self.read, "readyz").await.map(drop)
    }

    /// Closes both pools; later calls fail.
    ///
    /// # Errors
    /// When the driver could not close; nothing is lost then, SQLite recovers at the next open.
    pub async fn close(self) -> Result<(), StateError> {
        self.read.close().await.during("closing the readers")?;
        self.write.close().await.during("closing the writer")
    }
}

async fn connect(path: &Path, connections: u32) -> Result<DatabaseConnection, StateError> {
    let mut options = ConnectOptions::new("sqlite::memory:");
    let file = path.to_owned();
    // A transaction that could not even be rolled back (a full disk) leaves the driver's count and SQLite out of step:
    // what follows would look committed and never be. Such a connection is thrown away.
    options.map_sqlx_sqlite_pool_opts(|pool| {
        pool.after_release(|connection, _| Box::pin(async { Ok(!connection.is_in_transaction()) }))
    });
    options.max_connections(connections).sqlx_logging(false).map_sqlx_sqlite_opts(move |sqlite| {
        sqlite
            .filename(&file)
            .in_memory(false)
            .shared_cache(false)
            .create_if_missing(true)
            .foreign_keys(true)
            .busy_timeout(Duration::from_millis(BUSY_MS))
            .pragma("journal_mode", "WAL")
            .pragma("synchronous", "FULL")
            .pragma("journal_size_limit", "67108864")
    });
    Database::connect(options)
        .await
        .map_err(|source| StateError::Open { path: path.to_owned(), source })
}

/// Adds one to a named counter and gives the new value.
pub(crate) async fn next_count(
    tx: &impl ConnectionTrait,
    name: &'static str,
) -> Result<i64, StateError> {
    let value = count(tx, name).await? + 1;
    set_count(tx, name, value).await?;
    Ok(value)
}

/// Reads a named counter; 0 when it was never set.
pub(crate) async fn count(
    db: &impl ConnectionTrait,
    name: &'static str,
) -> Result<i64, StateError> {
    let row = entity::progress::counter::Entity::find_by_id(name).one(db).await;
    Ok(row.during("reading a counter")?.map_or(0, |row| row.value))
}

async fn set_count(
    tx: &impl ConnectionTrait,
    name: &'static str,
    value: i64,
) -> Result<(), StateError> {
    use entity::progress::counter;
    let row = counter::ActiveModel { name: Set(name.to_owned()), value: Set(value) };
    let conflict = sea_orm::sea_query::OnConflict::column(counter::Column::Name)
        .update_column(counter::Column::Value)
        .to_owned();
    counter::Entity::insert(row)
        .on_conflict(conflict)
        .exec_without_returning(tx)
        .await
        .during("writing a counter")?;
    Ok(())
}

/// Text of a value as stored in a `body` column.
pub(crate) fn to_body<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("our own row types have string keys and finite numbers")
}

/// A value from a `body` column.
pub(crate) fn from_body<T: serde::de::DeserializeOwned>(
    table: &'static str,
    id: &str,
    body: &str,
) -> Result<T, StateError> {
    serde_json::from_str(body).map_err(|source| StateError::Row {
        table,
        id: id.to_owned(),
        source,
    })
}
