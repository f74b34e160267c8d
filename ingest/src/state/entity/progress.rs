//! Where the evaluators are, what is still to be sent, small counters.

/// Position of an evaluator; changed with what it wrote.
pub mod cursor {
    use sea_orm::entity::prelude::*;

    /// Position of an evaluator; changed with what it wrote.
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "cursor")]
    pub struct Model {
        /// Evaluator.
        #[sea_orm(primary_key, auto_increment = false)]
        pub name: String,
        /// Log, bit for bit.
        pub log_id: i64,
        /// Last applied position.
        pub position: i64,
        /// Ms UTC.
        pub updated_at: i64,
    }

    /// None: rows are joined in code.
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// Serialized evaluator at a position.
pub mod snapshot {
    use sea_orm::entity::prelude::*;

    /// Serialized evaluator at a position.
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "snapshot")]
    pub struct Model {
        /// Order of writing.
        #[sea_orm(primary_key)]
        pub seq: i64,
        /// Evaluator.
        pub cursor: String,
        /// Log.
        pub log_id: i64,
        /// Position.
        pub position: i64,
        /// Of the rules crate.
        pub engine_version: i64,
        /// Facts it knew.
        pub fact_revision: i64,
        /// Newest verdict at that moment: the journal goes back to here.
        pub verdict_seq: i64,
        /// Ms UTC.
        pub created_at: i64,
        /// The snapshot.
        pub bytes: Vec<u8>,
    }

    /// None: rows are joined in code.
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// One thing to tell on one channel.
pub mod outbox {
    use sea_orm::entity::prelude::*;

    /// One thing to tell on one channel.
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "outbox")]
    pub struct Model {
        /// Order of writing.
        #[sea_orm(primary_key)]
        pub seq: i64,
        /// Which alarm.
        pub occurrence_id: String,
        /// raise, level_up:1 …
        pub step: String,
        /// Group of receivers.
        pub channel: String,
        /// Ms UTC; not before.
        pub due_at: i64,
        /// Event time: the notifier checks the age again.
        pub event_time: i64,
        /// Tries so far.
        pub attempts: i32,
        /// Ms UTC.
        pub sent_at: Option<i64>,
        /// Of the last try.
        #[sea_orm(column_type = "Text", nullable)]
        pub last_error: Option<String>,
    }

    /// None: rows are joined in code.
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// A named number: registry revision, fact revision.
pub mod counter {
    use sea_orm::entity::prelude::*;

    /// A named number: registry revision, fact revision.
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "counter")]
    pub struct Model {
        /// Which.
        #[sea_orm(primary_key, auto_increment = false)]
        pub name: String,
        /// Now.
        pub value: i64,
    }

    /// None: rows are joined in code.
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}
