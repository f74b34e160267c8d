//! A day file whose structure is broken is replaced by one with everything that can still be read; the old one stays
//! beside it under another name. Called when a seal meets such a file: it must not stop new samples.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, TransactionBehavior, params};

use super::day::DayError;
use super::part;
use super::schema::{INSERT_PART, PART, PartRow, crc, is_damage, open_reader, open_writer};

/// Names tried for what is set aside.
const ASIDE_MAX: u32 = 1_000;

/// Puts a mended copy in the place of a broken file; the broken one becomes `….day.damaged-1`.
pub(super) fn replace(path: &Path) -> Result<(), DayError> {
    let at = |ending: &str| PathBuf::from(format!("{}{ending}", path.display()));
    let mended = at(".mended");
    for ending in [".mended", ".mended-wal", ".mended-shm"] {
        gone(&at(ending))?;
    }
    salvage(path, &mended)?;
    let aside = (1..=ASIDE_MAX).map(|n| at(&format!(".damaged-{n}"))).find(|p| !p.exists());
    let aside = aside.ok_or(DayError::Shape("1,000 damaged files lie beside it: remove them"))?;
    std::fs::hard_link(path, &aside)?;
    // A log of the old file beside the new one would be played into it.
    for ending in ["-wal", "-shm"] {
        let old = at(ending);
        if old.exists() {
            std::fs::rename(&old, PathBuf::from(format!("{}{ending}", aside.display())))?;
        }
    }
    std::fs::rename(&mended, path)?;
    tracing::error!(file = %path.display(), aside = %aside.display(),
        "a day file was broken: what could be read was copied into a new one, the broken one is set aside");
    Ok(())
}

fn gone(path: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Copies what can be read of a damaged file into a new one at `to`: from the front to the damage, from the back to the
/// damage, table by table. What lies in between is lost to the new file; the old one stays for whoever can do more.
fn salvage(from: &Path, to: &Path) -> Result<(), DayError> {
    let mut db = open_writer(to)?;
    // A connection of its own: a transaction over both files could not be committed.
    let (old, version) = match open_reader(from) {
        Ok(Some(opened)) => opened,
        Ok(None) => return Ok(()),
        // Not even the first page: there is nothing to copy.
        Err(error) if error.is_damage() => return Ok(()),
        Err(error) => return Err(error),
    };
    {
        let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for order in ["ASC", "DESC"] {
            let rows = |what: &str, by: &str| format!("SELECT {what} ORDER BY {by} {order}");
            each(&old, &rows("id, site, device, quantity FROM series", "id"), |row| {
                let (id, site, device, quantity): (i64, String, String, String) =
                    (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
                let insert = "INSERT OR IGNORE INTO series VALUES (?1, ?2, ?3, ?4)";
                tx.prepare_cached(insert)?.execute(params![id, site, device, quantity]).map(drop)
            })?;
            let times = format!("id, refs, body, {} FROM times", crc(version, "crc"));
            each(&old, &rows(&times, "id"), |row| {
                let (id, refs, body): (i64, i64, Vec<u8>) = (row.get(0)?, row.get(1)?, row.get(2)?);
                let insert = "INSERT OR IGNORE INTO times VALUES (?1, ?2, ?3, ?4)";
                let crc = row.get::<_, Option<u32>>(3)?.unwrap_or_else(|| part::crc(&[&body]));
                tx.prepare_cached(insert)?.execute(params![id, refs, crc, body]).map(drop)
            })?;
            let [a, b, c] = ["crc_row", "crc_minutes", "crc_body"].map(|name| crc(version, name));
            let parts = format!("{PART}, {a}, {b}, {c} FROM part");
            each(&old, &rows(&parts, "key"), |row| {
                let (minutes, vals, marks): (Vec<u8>, Vec<u8>, Vec<u8>) =
                    (row.get(11)?, row.get(12)?, row.get(13)?);
                let head = PartRow::read(row)?;
                let exists = "SELECT 1 FROM part WHERE key = ?1";
                if tx.prepare_cached(exists)?.exists([head.key])? {
                    return Ok(());
                }
                // As they were written: a flaw inside a part must not become right by being copied.
                let old = |i: usize| row.get::<_, Option<u32>>(i);
                let crcs = (
                    old(14)?.unwrap_or_else(|| head.crc()),
                    old(15)?.unwrap_or_else(|| part::crc(&[&minutes])),
                    old(16)?.unwrap_or_else(|| part::crc(&[&vals, &marks])),
                );
                head.insert(&mut *tx.prepare_cached(INSERT_PART)?, crcs, (&minutes, &vals, &marks))
            })?;
        }
        each(&old, "SELECT name, log_id, position FROM applied", |row| {
            let (name, log_id, position): (String, i64, i64) =
                (row.get(0)?, row.get(1)?, row.get(2)?);
            let insert = "INSERT OR REPLACE INTO applied VALUES (?1, ?2, ?3)";
            tx.prepare_cached(insert)?.execute(params![name, log_id, position]).map(drop)
        })?;
        // Their numbers would be given to others, and foreign samples would be taken for theirs.
        let orphans = "FROM part WHERE key >> 17 NOT IN (SELECT id FROM series) OR times NOT IN (SELECT id FROM times)";
        tx.execute_batch(&format!(
            "INSERT INTO damaged(key, t0, t1, count, reason, body, vals, marks)
             SELECT key, t0, t1, count, 'its series or its times are lost',
                (SELECT body FROM times WHERE id = part.times), vals, marks {orphans};
             DELETE {orphans};"
        ))?;
        tx.commit()?;
    }
    Ok(())
}

/// Gives each row to `take` until the old file can be read no further.
fn each(
    old: &Connection,
    select: &str,
    mut take: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<()>,
) -> Result<(), DayError> {
    let mut copy = || -> rusqlite::Result<()> {
        let mut statement = old.prepare(select)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            take(row)?;
        }
        Ok(())
    };
    match copy() {
        // A full disk is no damage: then the old file must stay where it is.
        Err(error) if !is_damage(&error) => Err(error.into()),
        _ => Ok(()),
    }
}
