//! What the registry keeps: sites, gateways, devices, facts. Read by [`crate::registry`] only.

/// A site: what is searched or joined is a column, the rest is `body`.
pub mod site {
    use sea_orm::entity::prelude::*;

    /// A site: what is searched or joined is a column, the rest is `body`.
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "site")]
    pub struct Model {
        /// Short id, `[A-Za-z0-9_-]`.
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: String,
        /// Name as shown.
        pub name: String,
        /// Unified social credit code.
        pub uscc: String,
        /// GB/T 2260 code.
        pub county: String,
        /// JSON of [`crate::registry::Site`].
        #[sea_orm(column_type = "Text")]
        pub body: String,
        /// Registry revision of the last change.
        pub revision: i64,
        /// Ms UTC.
        pub updated_at: i64,
    }

    /// None: rows are joined in code.
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// A gateway and its key. The key is a secret: never log a row.
pub mod gateway {
    use sea_orm::entity::prelude::*;

    /// A gateway and its key. The key is a secret: never log a row.
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "gateway")]
    pub struct Model {
        /// Topic-safe name.
        #[sea_orm(primary_key, auto_increment = false)]
        pub name: String,
        /// Site id.
        pub site: String,
        /// crc32(name) mod 64.
        pub part: i32,
        /// 256-bit key, hex; none = registered but not provisioned.
        pub key_hex: Option<crate::secret::Secret>,
        /// The gateway this one replaces.
        pub replaces: Option<String>,
        /// Ms UTC.
        pub created_at: i64,
    }

    /// None: rows are joined in code.
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// A device; its id is unique in its site.
pub mod device {
    use sea_orm::entity::prelude::*;

    /// A device; its id is unique in its site.
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "device")]
    pub struct Model {
        /// Site id.
        #[sea_orm(primary_key, auto_increment = false)]
        pub site: String,
        /// Device id.
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: String,
        /// Name as shown.
        pub name: String,
        /// What it does in the plant.
        pub role: String,
        /// Gateway that reads it.
        pub gateway: Option<String>,
        /// JSON of [`crate::registry::Device`].
        #[sea_orm(column_type = "Text")]
        pub body: String,
        /// Registry revision of the last change.
        pub revision: i64,
    }

    /// None: rows are joined in code.
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// One numbered revision of a fact; never updated but for its place in the log.
pub mod fact {
    use sea_orm::entity::prelude::*;

    /// One numbered revision of a fact; never updated but for its place in the log.
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "fact")]
    pub struct Model {
        /// Numbered from 1 over all facts.
        #[sea_orm(primary_key, auto_increment = false)]
        pub revision: i64,
        /// The fact; later revisions of an id supersede earlier ones.
        pub id: String,
        /// See [`crate::registry::fact::kind_of`].
        pub kind: String,
        /// Site it speaks of; none = all.
        pub site: Option<String>,
        /// Ms UTC.
        pub valid_from: i64,
        /// Ms UTC, exclusive.
        pub valid_to: Option<i64>,
        /// Ms UTC.
        pub recorded_at: i64,
        /// User or `seed`.
        pub recorded_by: String,
        /// JSON of the record.
        #[sea_orm(column_type = "Text")]
        pub body: String,
        /// Log that holds it; none = still to be written.
        pub log_id: Option<i64>,
        /// Position in that log.
        pub log_position: Option<i64>,
    }

    /// None: rows are joined in code.
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}
