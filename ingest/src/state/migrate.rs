//! The database's tables as numbered migrations; run at each start by [`super::State::open`].
//!
//! A migration that has landed is never edited: a change is a new one, so that a database of any age comes up to date.
//! Times are BIGINT milliseconds; the same definitions run on SQLite and PostgreSQL.

use sea_orm_migration::prelude::*;

mod first;

/// All migrations, oldest first.
#[derive(Debug)]
pub struct Migrator;

impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![Box::new(first::First)]
    }
}
