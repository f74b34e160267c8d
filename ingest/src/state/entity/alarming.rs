//! Alarms and their occurrences. Written by [`crate::alarms`] only.

/// One alarm per (site, rule, scope).
pub mod alarm {
    use sea_orm::entity::prelude::*;

    /// One alarm per (site, rule, scope).
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "alarm")]
    pub struct Model {
        /// First 16 hex of SHA-256 over site, rule, scope.
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: String,
        /// Site id.
        pub site: String,
        /// Rule id.
        pub rule: String,
        /// Scope of the rule.
        pub scope: String,
        /// How often it was raised.
        pub occurrences: i64,
    }

    /// None: rows are joined in code.
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// One raise of an alarm, with its two axes and who signed it.
pub mod occurrence {
    use sea_orm::entity::prelude::*;

    /// One raise of an alarm, with its two axes and who signed it.
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "occurrence")]
    pub struct Model {
        /// `<alarm id>-<number>`.
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: String,
        /// Its alarm.
        pub alarm_id: String,
        /// From 1.
        pub number: i64,
        /// Goes up by one with each change.
        pub version: i64,
        /// Site id.
        pub site: String,
        /// Rule id.
        pub rule: String,
        /// Scope.
        pub scope: String,
        /// Device, where the scope is one.
        pub device: Option<String>,
        /// 1 红 … 4 蓝, now.
        pub severity: i32,
        /// The worst it had.
        pub severity_worst: i32,
        /// 一级, 高高报 …: never derived from severity.
        pub source_level: Option<String>,
        /// The condition holds.
        pub active: bool,
        /// Signed at its present severity.
        pub acked: bool,
        /// Held until reset.
        pub latched: bool,
        /// The rule latches.
        pub latching: bool,
        /// False for 蓝 that was never worse.
        pub needs_ack: bool,
        /// Event time at which the condition began, ms UTC.
        pub since: i64,
        /// Event time of the raise.
        pub raised_at: i64,
        /// Event time of the clear.
        pub cleared_at: Option<i64>,
        /// Centre time at which it entered the duty journal.
        pub recorded_at: i64,
        /// paged, recovered, silent, late_unsigned.
        pub page: String,
        /// What the settled verdict says otherwise.
        pub amends: Option<String>,
        /// User name.
        pub ack_by: Option<String>,
        /// Name as shown.
        pub ack_by_name: Option<String>,
        /// Ms UTC.
        pub ack_at: Option<i64>,
        /// As typed.
        #[sea_orm(column_type = "Text", nullable)]
        pub ack_comment: Option<String>,
        /// Ms UTC.
        pub shelved_until: Option<i64>,
        /// Rule or alarm that suppresses it by design.
        pub suppressed_by: Option<String>,
        /// Permit.
        pub out_of_service: Option<String>,
        /// JSON of the newest raising [`rules::Transition`].
        #[sea_orm(column_type = "Text")]
        pub body: String,
    }

    /// None: rows are joined in code.
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// Idempotency keys of acks already carried out.
pub mod ack_request {
    use sea_orm::entity::prelude::*;

    /// Idempotency keys of acks already carried out.
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "ack_request")]
    pub struct Model {
        /// As sent by the client, with the user id before it.
        #[sea_orm(primary_key, auto_increment = false)]
        pub key: String,
        /// What was signed.
        pub occurrence_id: String,
        /// Ms UTC.
        pub at: i64,
    }

    /// None: rows are joined in code.
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}
