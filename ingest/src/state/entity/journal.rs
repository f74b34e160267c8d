//! The three journals. Written by [`crate::journal`] and [`crate::alarms`] only.

/// A settled transition: no arrival time, no actor, no log position.
pub mod verdict {
    use sea_orm::entity::prelude::*;

    /// A settled transition: no arrival time, no actor, no log position.
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "verdict")]
    pub struct Model {
        /// Order of writing.
        #[sea_orm(primary_key)]
        pub seq: i64,
        /// Key of the transition, unique with the gateway.
        pub key: String,
        /// Whose blocks it was judged on.
        pub gateway: String,
        /// Site id.
        pub site: String,
        /// Rule id.
        pub rule: String,
        /// Scope.
        pub scope: String,
        /// raise, clear, level_up, level_down.
        pub kind: String,
        /// 1–4.
        pub severity: i32,
        /// Time segment.
        pub segment: i64,
        /// Event time, ms UTC.
        pub t: i64,
        /// Event time.
        pub since: i64,
        /// JSON of the [`rules::Transition`].
        #[sea_orm(column_type = "Text")]
        pub body: String,
    }

    /// None: rows are joined in code.
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// What the live evaluator and people did.
pub mod duty {
    use sea_orm::entity::prelude::*;

    /// What the live evaluator and people did.
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "duty")]
    pub struct Model {
        /// Order of writing.
        #[sea_orm(primary_key)]
        pub seq: i64,
        /// Unique: the transition key, or one made for the act.
        pub key: String,
        /// Which occurrence.
        pub occurrence_id: String,
        /// Site id.
        pub site: String,
        /// raise, clear, level_up, level_down, ack, reset, amends …
        pub kind: String,
        /// Centre time, ms UTC.
        pub at: i64,
        /// Event time, ms UTC; for people = `at`.
        pub event_time: i64,
        /// User name.
        pub actor: Option<String>,
        /// As typed.
        #[sea_orm(column_type = "Text", nullable)]
        pub comment: Option<String>,
        /// JSON.
        #[sea_orm(column_type = "Text")]
        pub body: String,
    }

    /// None: rows are joined in code.
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// The append-only chain: each row holds the hash of the one before.
pub mod audit {
    use sea_orm::entity::prelude::*;

    /// The append-only chain: each row holds the hash of the one before.
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "audit")]
    pub struct Model {
        /// From 1 without gaps.
        #[sea_orm(primary_key, auto_increment = false)]
        pub seq: i64,
        /// Ms UTC.
        pub at: i64,
        /// User name, `system`, `seed` …
        pub actor: String,
        /// Verb, e.g. `alarm.ack`.
        pub action: String,
        /// What it was done to.
        pub subject: String,
        /// JSON, never a secret.
        #[sea_orm(column_type = "Text")]
        pub detail: String,
        /// Hex SHA-256.
        pub prev_hash: String,
        /// Hex SHA-256.
        pub hash: String,
    }

    /// None: rows are joined in code.
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}
