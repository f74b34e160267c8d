//! First migration: every table of the state database. Never edited once landed.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::*;

pub(super) struct First;

impl MigrationName for First {
    fn name(&self) -> &str {
        "m0001_first"
    }
}

struct Definition {
    table: TableCreateStatement,
    indexes: Vec<IndexCreateStatement>,
}

#[async_trait::async_trait]
impl MigrationTrait for First {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for definition in definitions() {
            manager.create_table(definition.table).await?;
            for index in definition.indexes {
                manager.create_index(index).await?;
            }
        }
        protect_audit(manager).await
    }
}

/// The audit journal is append-only for this program too, not only by habit. (On PostgreSQL the service's role gets no
/// right to change the table instead.)
async fn protect_audit(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    if manager.get_database_backend() != sea_orm::DbBackend::Sqlite {
        return Ok(());
    }
    for (name, event) in [("audit_no_update", "UPDATE"), ("audit_no_delete", "DELETE")] {
        let sql = format!(
            "CREATE TRIGGER {name} BEFORE {event} ON audit \
             BEGIN SELECT RAISE(ABORT, 'the audit journal is append-only'); END"
        );
        manager.get_connection().execute_unprepared(&sql).await?;
    }
    Ok(())
}

fn definitions() -> Vec<Definition> {
    vec![
        site(),
        gateway(),
        device(),
        fact(),
        user(),
        session(),
        api_key(),
        alarm(),
        occurrence(),
        ack_request(),
        verdict(),
        duty(),
        audit(),
        cursor(),
        snapshot(),
        outbox(),
        counter(),
    ]
}

fn index(table: &'static str, columns: &[&'static str]) -> IndexCreateStatement {
    let mut index = Index::create();
    index.name(format!("{table}_{}", columns.join("_"))).table(table);
    for column in columns {
        index.col(*column);
    }
    index.to_owned()
}

fn unique(table: &'static str, columns: &[&'static str]) -> IndexCreateStatement {
    index(table, columns).unique().to_owned()
}

fn site() -> Definition {
    let table = Table::create()
        .table("site")
        .col(text("id").primary_key())
        .col(text("name"))
        .col(text("uscc"))
        .col(text("county"))
        .col(text("body"))
        .col(big_integer("revision"))
        .col(big_integer("updated_at"))
        .to_owned();
    Definition { table, indexes: vec![] }
}

fn gateway() -> Definition {
    let table = Table::create()
        .table("gateway")
        .col(text("name").primary_key())
        .col(text("site"))
        .col(integer("part"))
        .col(text_null("key_hex"))
        .col(text_null("replaces"))
        .col(big_integer("created_at"))
        .foreign_key(ForeignKey::create().from("gateway", "site").to("site", "id"))
        .to_owned();
    Definition { table, indexes: vec![] }
}

fn device() -> Definition {
    let table = Table::create()
        .table("device")
        .col(text("site"))
        .col(text("id"))
        .col(text("name"))
        .col(text("role"))
        .col(text_null("gateway"))
        .col(text("body"))
        .col(big_integer("revision"))
        .primary_key(Index::create().col("site").col("id"))
        .foreign_key(ForeignKey::create().from("device", "site").to("site", "id"))
        .to_owned();
    Definition { table, indexes: vec![index("device", &["gateway"])] }
}

fn fact() -> Definition {
    let table = Table::create()
        .table("fact")
        .col(big_integer("revision").primary_key())
        .col(text("id"))
        .col(text("kind"))
        .col(text_null("site"))
        .col(big_integer("valid_from"))
        .col(big_integer_null("valid_to"))
        .col(big_integer("recorded_at"))
        .col(text("recorded_by"))
        .col(text("body"))
        .col(big_integer_null("log_id"))
        .col(big_integer_null("log_position"))
        .to_owned();
    Definition { table, indexes: vec![unique("fact", &["id", "revision"])] }
}

fn user() -> Definition {
    let table = Table::create()
        .table("account")
        .col(text("id").primary_key())
        .col(text("name"))
        .col(text("display"))
        .col(text("role"))
        .col(text_null("site"))
        .col(text("password_hash"))
        .col(big_integer("created_at"))
        .col(big_integer_null("disabled_at"))
        .to_owned();
    Definition { table, indexes: vec![unique("account", &["name"])] }
}

fn session() -> Definition {
    let table = Table::create()
        .table("session")
        .col(text("token_sha256").primary_key())
        .col(text("user_id"))
        .col(big_integer("created_at"))
        .col(big_integer("last_seen"))
        .foreign_key(ForeignKey::create().from("session", "user_id").to("account", "id"))
        .to_owned();
    Definition { table, indexes: vec![index("session", &["user_id"])] }
}

fn api_key() -> Definition {
    let table = Table::create()
        .table("api_key")
        .col(text("id").primary_key())
        .col(text("name"))
        .col(text("token_sha256"))
        .col(text("role"))
        .col(text_null("site"))
        .col(text("created_by"))
        .col(big_integer("created_at"))
        .col(big_integer_null("revoked_at"))
        .to_owned();
    Definition { table, indexes: vec![unique("api_key", &["token_sha256"])] }
}

fn alarm() -> Definition {
    let table = Table::create()
        .table("alarm")
        .col(text("id").primary_key())
        .col(text("site"))
        .col(text("rule"))
        .col(text("scope"))
        .col(big_integer("occurrences"))
        .to_owned();
    Definition { table, indexes: vec![unique("alarm", &["site", "rule", "scope"])] }
}

fn occurrence() -> Definition {
    let table = Table::create()
        .table("occurrence")
        .col(text("id").primary_key())
        .col(text("alarm_id"))
        .col(big_integer("number"))
        .col(big_integer("version"))
        .col(text("site"))
        .col(text("rule"))
        .col(text("scope"))
        .col(text_null("device"))
        .col(integer("severity"))
        .col(integer("severity_worst"))
        .col(text_null("source_level"))
        .col(boolean("active"))
        .col(boolean("acked"))
        .col(boolean("latched"))
        .col(boolean("latching"))
        .col(boolean("needs_ack"))
        .col(big_integer("since"))
        .col(big_integer("raised_at"))
        .col(big_integer_null("cleared_at"))
        .col(big_integer("recorded_at"))
        .col(text("page"))
        .col(text_null("amends"))
        .col(text_null("ack_by"))
        .col(text_null("ack_by_name"))
        .col(big_integer_null("ack_at"))
        .col(text_null("ack_comment"))
        .col(big_integer_null("shelved_until"))
        .col(text_null("suppressed_by"))
        .col(text_null("out_of_service"))
        .col(text("body"))
        .foreign_key(ForeignKey::create().from("occurrence", "alarm_id").to("alarm", "id"))
        .to_owned();
    Definition {
        table,
        indexes: vec![
            unique("occurrence", &["alarm_id", "number"]),
            index("occurrence", &["active", "acked"]),
            index("occurrence", &["raised_at"]),
        ],
    }
}

fn ack_request() -> Definition {
    let table = Table::create()
        .table("ack_request")
        .col(text("key").primary_key())
        .col(text("occurrence_id"))
        .col(big_integer("at"))
        .to_owned();
    Definition { table, indexes: vec![] }
}

fn verdict() -> Definition {
    let table = Table::create()
        .table("verdict")
        .col(big_pk_auto("seq"))
        .col(text("key"))
        .col(text("gateway"))
        .col(text("site"))
        .col(text("rule"))
        .col(text("scope"))
        .col(text("kind"))
        .col(integer("severity"))
        .col(big_integer("segment"))
        .col(big_integer("t"))
        .col(big_integer("since"))
        .col(text("body"))
        .to_owned();
    Definition { table, indexes: vec![unique("verdict", &["gateway", "key"])] }
}

fn duty() -> Definition {
    let table = Table::create()
        .table("duty")
        .col(big_pk_auto("seq"))
        .col(text("key"))
        .col(text("occurrence_id"))
        .col(text("site"))
        .col(text("kind"))
        .col(big_integer("at"))
        .col(big_integer("event_time"))
        .col(text_null("actor"))
        .col(text_null("comment"))
        .col(text("body"))
        .foreign_key(ForeignKey::create().from("duty", "occurrence_id").to("occurrence", "id"))
        .to_owned();
    Definition { table, indexes: vec![unique("duty", &["key"]), index("duty", &["occurrence_id"])] }
}

fn audit() -> Definition {
    let table = Table::create()
        .table("audit")
        .col(big_integer("seq").primary_key())
        .col(big_integer("at"))
        .col(text("actor"))
        .col(text("action"))
        .col(text("subject"))
        .col(text("detail"))
        .col(text("prev_hash"))
        .col(text("hash"))
        .to_owned();
    Definition { table, indexes: vec![index("audit", &["at"])] }
}

fn cursor() -> Definition {
    let table = Table::create()
        .table("cursor")
        .col(text("name").primary_key())
        .col(big_integer("log_id"))
        .col(big_integer("position"))
        .col(big_integer("updated_at"))
        .to_owned();
    Definition { table, indexes: vec![] }
}

fn snapshot() -> Definition {
    let table = Table::create()
        .table("snapshot")
        .col(big_pk_auto("seq"))
        .col(text("cursor"))
        .col(big_integer("log_id"))
        .col(big_integer("position"))
        .col(big_integer("engine_version"))
        .col(big_integer("fact_revision"))
        .col(big_integer("verdict_seq"))
        .col(big_integer("created_at"))
        .col(blob("bytes"))
        .to_owned();
    Definition { table, indexes: vec![index("snapshot", &["cursor", "seq"])] }
}

fn outbox() -> Definition {
    let table = Table::create()
        .table("outbox")
        .col(big_pk_auto("seq"))
        .col(text("occurrence_id"))
        .col(text("step"))
        .col(text("channel"))
        .col(big_integer("due_at"))
        .col(big_integer("event_time"))
        .col(integer("attempts"))
        .col(big_integer_null("sent_at"))
        .col(text_null("last_error"))
        .foreign_key(ForeignKey::create().from("outbox", "occurrence_id").to("occurrence", "id"))
        .to_owned();
    Definition {
        table,
        indexes: vec![
            unique("outbox", &["occurrence_id", "step", "channel"]),
            index("outbox", &["sent_at", "due_at"]),
        ],
    }
}

fn counter() -> Definition {
    let table = Table::create()
        .table("counter")
        .col(text("name").primary_key())
        .col(big_integer("value"))
        .to_owned();
    Definition { table, indexes: vec![] }
}
