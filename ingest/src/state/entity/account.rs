//! Users, sessions, API keys. Read by [`crate::account`] only.

/// A person who may sign in.
pub mod user {
    use sea_orm::entity::prelude::*;

    /// A person who may sign in.
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "account")]
    pub struct Model {
        /// Random id.
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: String,
        /// Sign-in name, unique.
        pub name: String,
        /// Name as shown.
        pub display: String,
        /// See [`crate::account::Role`].
        pub role: String,
        /// The one site of a plant user.
        pub site: Option<String>,
        /// argon2id PHC string.
        pub password_hash: crate::secret::Secret,
        /// Ms UTC.
        pub created_at: i64,
        /// Ms UTC; a disabled user signs in no more.
        pub disabled_at: Option<i64>,
    }

    /// None: rows are joined in code.
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// A signed-in browser; only the hash of its token is kept.
pub mod session {
    use sea_orm::entity::prelude::*;

    /// A signed-in browser; only the hash of its token is kept.
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "session")]
    pub struct Model {
        /// Hex.
        #[sea_orm(primary_key, auto_increment = false)]
        pub token_sha256: String,
        /// Whose.
        pub user_id: String,
        /// Ms UTC; the absolute expiry counts from here.
        pub created_at: i64,
        /// Ms UTC; the idle expiry counts from here.
        pub last_seen: i64,
    }

    /// None: rows are joined in code.
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// A key for programs; only its hash is kept.
pub mod api_key {
    use sea_orm::entity::prelude::*;

    /// A key for programs; only its hash is kept.
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "api_key")]
    pub struct Model {
        /// Random id, safe to show.
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: String,
        /// What it is for.
        pub name: String,
        /// Hex, unique.
        pub token_sha256: String,
        /// See [`crate::account::Role`].
        pub role: String,
        /// Row scope of a plant key.
        pub site: Option<String>,
        /// User name.
        pub created_by: String,
        /// Ms UTC.
        pub created_at: i64,
        /// Ms UTC.
        pub revoked_at: Option<i64>,
    }

    /// None: rows are joined in code.
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}
