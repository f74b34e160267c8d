//! The audit chain shows every kind of tampering with rows that are not the newest.

use sea_orm::{ConnectionTrait, Statement};

use super::*;
use crate::state::tests::open;

async fn chain_of(rows: i64) -> (State, tempfile::TempDir) {
    let (state, folder) = open().await;
    for n in 0..rows {
        let act = Act { at: n, actor: "a", action: "test.act", subject: "s" };
        state.audit(act, &serde_json::json!({ "n": n })).await.unwrap();
    }
    (state, folder)
}

async fn tamper(state: &State, sql: &str) {
    let tx = state.begin().await.unwrap();
    for sql in ["DROP TRIGGER audit_no_update", "DROP TRIGGER audit_no_delete", sql] {
        let statement = Statement::from_string(tx.get_database_backend(), sql);
        tx.execute_raw(statement).await.unwrap();
    }
    tx.commit().await.unwrap();
}

// An untouched chain is whole and its head is the newest row's hash.
#[tokio::test]
async fn untouched_chain_is_whole() {
    let (state, _folder) = chain_of(5).await;
    let newest = state.audit_rows(None, 1).await.unwrap().remove(0);
    let expected = ChainCheck::Whole { rows: 5, head: newest.hash };
    assert_eq!(state.check_audit_chain().await.unwrap(), expected);
    assert_eq!(state.audit_rows(Some(3), 10).await.unwrap().len(), 2);
}

// Each way of changing history is found at the row where it happened.
#[tokio::test]
async fn tampering_breaks_the_chain_where_it_happened() {
    let cases = [
        ("UPDATE audit SET detail = '{}' WHERE seq = 3", 3),
        ("UPDATE audit SET actor = 'b' WHERE seq = 1", 1),
        ("UPDATE audit SET at = at + 1 WHERE seq = 5", 5),
        ("DELETE FROM audit WHERE seq = 2", 2),
        ("UPDATE audit SET seq = 9 WHERE seq = 5", 5),
    ];
    for (sql, seq) in cases {
        let (state, _folder) = chain_of(5).await;
        tamper(&state, sql).await;
        let found = state.check_audit_chain().await.unwrap();
        assert_eq!(found, ChainCheck::Broken { seq }, "{sql}");
    }
}

// The database itself refuses to change or drop a row.
#[tokio::test]
async fn rows_cannot_be_changed_through_the_service() {
    let (state, _folder) = chain_of(2).await;
    for sql in ["UPDATE audit SET actor = 'b'", "DELETE FROM audit"] {
        let tx = state.begin().await.unwrap();
        let statement = Statement::from_string(tx.get_database_backend(), sql);
        assert!(tx.execute_raw(statement).await.is_err(), "{sql}");
    }
}
