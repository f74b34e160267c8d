//! Opening and migrating; the connection's settings are the ones durability rests on.

use sea_orm::{ConnectionTrait, Statement};
use tempfile::TempDir;

use super::*;

/// A fresh state database in a folder that lives as long as the test.
pub(crate) async fn open() -> (State, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let state = State::open(&folder.path().join("state.db")).await.unwrap();
    (state, folder)
}

async fn pragma(state: &State, name: &str) -> String {
    let backend = state.write.get_database_backend();
    let row = state.write.query_one_raw(Statement::from_string(backend, format!("PRAGMA {name}")));
    let row = row.await.unwrap().unwrap();
    row.try_get_by_index::<String>(0)
        .or_else(|_| row.try_get_by_index::<i64>(0).map(|n| n.to_string()))
        .unwrap()
}

// A fresh file gets all tables; opening it again migrates nothing; the writer syncs and keeps foreign keys.
#[tokio::test]
async fn opens_from_empty_and_again_with_the_settings_that_matter() {
    let (state, folder) = open().await;
    assert_eq!(pragma(&state, "journal_mode").await, "wal");
    assert_eq!(pragma(&state, "synchronous").await, "2");
    assert_eq!(pragma(&state, "foreign_keys").await, "1");
    assert!(state.setup_needed().await.unwrap());
    state.close().await.unwrap();
    let again = State::open(&folder.path().join("state.db")).await.unwrap();
    assert_eq!(again.active_count().await.unwrap(), 0);
}

// A folder that does not exist is said with its path.
#[tokio::test]
async fn missing_folder_is_named() {
    let error = State::open(Path::new("/nowhere/at/all/state.db")).await.unwrap_err();
    assert!(error.to_string().contains("/nowhere/at/all/state.db"), "{error}");
}

// Two handles on one file: the second writer waits for the first instead of failing.
#[tokio::test]
async fn second_process_waits_for_the_first() {
    let (state, folder) = open().await;
    let other = State::open(&folder.path().join("state.db")).await.unwrap();
    let tx = state.begin().await.unwrap();
    let waiting = async {
        let tx = other.begin().await.unwrap();
        next_count(&tx, "x").await.unwrap();
        tx.commit().await.unwrap();
    };
    let first = async {
        next_count(&tx, "x").await.unwrap();
        tx.commit().await.unwrap();
    };
    tokio::join!(waiting, first);
    assert_eq!(count(state.reader(), "x").await.unwrap(), 2);
}

// A full disk breaks transactions in the middle: what is written after there is room again is durable, as another process
// sees it, and not only in the eyes of the writer.
#[tokio::test]
async fn what_is_written_after_a_full_disk_is_durable() {
    let (state, folder) = open().await;
    let pages: i64 = pragma(&state, "page_count").await.parse().unwrap();
    for round in 0..3 {
        let bound = pragma(&state, &format!("max_page_count={pages}")).await;
        assert_eq!(bound, pages.to_string(), "the file may not grow");
        let tx = state.begin().await;
        let Ok(tx) = tx else { continue };
        let mut failed = false;
        for n in 0..4_000 {
            let name: &'static str = Box::leak(format!("{round}-{n}-{}", "x".repeat(500)).into());
            failed |= next_count(&tx, name).await.is_err();
            if failed {
                break;
            }
        }
        assert!(failed | tx.commit().await.is_err(), "the disk was full");
    }
    pragma(&state, "max_page_count=1000000").await;
    let tx = state.begin().await.unwrap();
    next_count(&tx, "after").await.unwrap();
    tx.commit().await.unwrap();
    let other = State::open(&folder.path().join("state.db")).await.unwrap();
    assert_eq!(count(other.reader(), "after").await.unwrap(), 1);
    let tx = other.begin().await.unwrap();
    tx.rollback().await.unwrap();
}
