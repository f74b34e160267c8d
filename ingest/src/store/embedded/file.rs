//! The head file: what is durable but not yet sealed, and the store's position, in one SQLite file.
//!
//! ```text
//! strip(id, site, device, quantities)       quantities as JSON
//! segment(id, body)                         one hand-over, see segment.rs
//! mark(name, log_id, position)              'cursor': stored up to here; 'sealed': in day files up to here
//! ```
//!
//! A hand-over is one transaction: its rows and the position they reach. One process writes (it holds the folder's lock);
//! others may read a snapshot beside it.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, params};

use super::head::Head;
use super::segment;
use crate::store::{Position, StoreError};

const VERSION: i64 = 1;
/// Pages of the write-ahead log before it is copied back: 32 MB.
const CHECKPOINT_PAGES: i64 = 4_000;

/// How long a statement waits for another connection's lock.
const BUSY: Duration = Duration::from_secs(5);

const SCHEMA: &str = "
CREATE TABLE strip(id INTEGER PRIMARY KEY, site TEXT NOT NULL, device TEXT NOT NULL, quantities TEXT NOT NULL) STRICT;
CREATE TABLE segment(id INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT;
CREATE TABLE mark(name TEXT PRIMARY KEY, log_id INTEGER NOT NULL, position INTEGER NOT NULL) STRICT;
";

/// The open head file.
#[derive(Debug)]
pub(super) struct HeadFile {
    db: Connection,
    /// Strips of the head that the file has.
    strips: usize,
    /// Segments in the file.
    segments: usize,
}

/// Why the head file could not be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum HeadError {
    /// Its bytes are not as they were written.
    #[error("damaged: {0}")]
    Damaged(String),
    /// Anything else: locked, full, no permission, newer version.
    #[error("{0}")]
    Sql(#[from] rusqlite::Error),
    /// A version this program does not know.
    #[error("made by a newer version of davy-ingest (schema {0})")]
    Newer(i64),
}

impl HeadError {
    /// Whether the file is to be set aside. A damaged page shows in many ways, as a table that is missing or a column of
    /// another type as well: what is no trouble of the machine around the file is one of the file.
    pub(super) fn is_damage(&self) -> bool {
        match self {
            Self::Damaged(_) => true,
            Self::Sql(e) => !e.sqlite_error_code().is_some_and(is_around_the_file),
            Self::Newer(_) => false,
        }
    }

    /// As the store reports it.
    pub(super) fn at(self, action: &'static str, path: &Path) -> StoreError {
        let busy =
            matches!(&self, Self::Sql(e) if e.sqlite_error_code() == Some(ErrorCode::DatabaseBusy));
        let reason = if busy {
            "in use: does another davy-ingest run on this folder? stop it or configure another folder".to_owned()
        } else {
            self.to_string()
        };
        StoreError::File { action, path: path.display().to_string(), reason }
    }
}

/// Whether the file itself may be whole.
fn is_around_the_file(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::CannotOpen
            | ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::DiskFull
            | ErrorCode::FileLockingProtocolFailed
            | ErrorCode::NoLargeFileSupport
            | ErrorCode::OperationInterrupted
            | ErrorCode::OutOfMemory
            | ErrorCode::PermissionDenied
            | ErrorCode::ReadOnly
            | ErrorCode::SystemIoFailure
    )
}

/// What an opening found: the file, what it holds, and up to where that is stored and sealed.
pub(super) type Opened = (HeadFile, Head, [Option<Position>; 2]);

impl HeadFile {
    /// Opens the file, made if it is new, and loads what it holds into a head.
    ///
    /// # Errors
    /// [`HeadError`]; see [`HeadError::is_damage`].
    pub(super) fn open(path: &Path) -> Result<Opened, HeadError> {
        let db = Connection::open(path)?;
        db.busy_timeout(BUSY)?;
        db.pragma_update(None, "page_size", 8_192)?;
        db.pragma_update(None, "journal_mode", "WAL")?;
        db.pragma_update(None, "synchronous", "FULL")?;
        db.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
        let version: i64 = db.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        match version {
            VERSION => {}
            0 => {
                let batch =
                    format!("BEGIN IMMEDIATE; {SCHEMA} PRAGMA user_version = {VERSION}; COMMIT;");
                db.execute_batch(&batch)?;
            }
            newer => return Err(HeadError::Newer(newer)),
        }
        let mut file = Self { db, strips: 0, segments: 0 };
        let head = file.load()?;
        let positions = [file.position("cursor")?, file.position("sealed")?];
        Ok((file, head, positions))
    }

    fn load(&mut self) -> Result<Head, HeadError> {
        let mut head = Head::default();
        let sql = "SELECT id, site, device, quantities FROM strip ORDER BY id";
        let mut statement = self.db.prepare(sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let (id, site, device): (u32, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let quantities: String = row.get(3)?;
            let quantities = serde_json::from_str(&quantities);
            let quantities =
                quantities.map_err(|e| HeadError::Damaged(format!("strip {id}: {e}")))?;
            if head.strip(&site, &device, quantities) != id {
                return Err(HeadError::Damaged(format!("strip {id} is out of order")));
            }
            self.strips += 1;
        }
        let mut statement = self.db.prepare("SELECT id, body FROM segment ORDER BY id")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let body = row.get_ref(1)?.as_blob().unwrap_or_default();
            let Some(tables) = segment::read(body) else {
                let id: i64 = row.get(0)?;
                return Err(HeadError::Damaged(format!("segment {id}")));
            };
            tables.iter().for_each(|table| head.append(table));
            self.segments += 1;
        }
        Ok(head)
    }

    /// What the file holds now, for another process: the samples and the position they reach. `None` if there is no file.
    ///
    /// # Errors
    /// [`HeadError`].
    pub(super) fn read(path: &Path) -> Result<Option<(Head, Option<Position>)>, HeadError> {
        let Some(db) = open_beside(path)? else { return Ok(None) };
        let mut file = Self { db, strips: 0, segments: 0 };
        let head = file.load()?;
        let position = file.position("cursor")?;
        Ok(Some((head, position)))
    }

    /// A position that the file keeps.
    pub(super) fn position(&self, name: &str) -> Result<Option<Position>, HeadError> {
        let sql = "SELECT log_id, position FROM mark WHERE name = ?1";
        let read = |row: &rusqlite::Row<'_>| {
            let (log_id, position): (i64, i64) = (row.get(0)?, row.get(1)?);
            Ok(Position { log_id: log_id.cast_unsigned(), position: position.cast_unsigned() })
        };
        Ok(self.db.prepare_cached(sql)?.query_row([name], read).optional()?)
    }

    /// Sets a position.
    pub(super) fn set_position(&self, name: &str, at: Position) -> Result<(), HeadError> {
        put_position(&self.db, name, at)?;
        Ok(())
    }

    /// Makes a hand-over durable: new strips of `head`, the segment, the position.
    pub(super) fn commit(
        &mut self,
        head: &Head,
        body: &[u8],
        at: Position,
    ) -> Result<(), HeadError> {
        let tx = self.db.transaction()?;
        {
            let mut insert = tx.prepare_cached("INSERT INTO strip VALUES (?1, ?2, ?3, ?4)")?;
            for (id, strip) in head.strips().iter().enumerate().skip(self.strips) {
                let quantities = serde_json::to_string(&strip.quantities);
                let quantities = quantities.map_err(|e| HeadError::Damaged(e.to_string()))?;
                let id = i64::try_from(id).unwrap_or(i64::MAX);
                insert.execute(params![id, strip.site, strip.device, quantities])?;
            }
        }
        let has_rows = !segment::is_empty(body);
        if has_rows {
            tx.prepare_cached("INSERT INTO segment(body) VALUES (?1)")?.execute([body])?;
        }
        spool::fail_point!("embedded.head.written");
        put_position(&tx, "cursor", at)?;
        spool::fail_point!("embedded.head.position");
        tx.commit()?;
        spool::fail_point!("embedded.head.after");
        self.strips = head.strips().len();
        self.segments += usize::from(has_rows);
        Ok(())
    }

    /// Number of segments held.
    pub(super) fn segments(&self) -> usize {
        self.segments
    }

    /// Empties the file after a seal that reached `sealed`.
    pub(super) fn clear(&mut self, sealed: Option<Position>) -> Result<(), HeadError> {
        let tx = self.db.transaction()?;
        tx.execute("DELETE FROM segment", [])?;
        tx.execute("DELETE FROM strip", [])?;
        if let Some(sealed) = sealed {
            put_position(&tx, "sealed", sealed)?;
        }
        spool::fail_point!("embedded.seal.clearing");
        tx.commit()?;
        (self.strips, self.segments) = (0, 0);
        Ok(())
    }
}

/// Opens the file beside its writer, as one snapshot.
fn open_beside(path: &Path) -> Result<Option<Connection>, HeadError> {
    if !path.exists() {
        return Ok(None);
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags)?;
    db.busy_timeout(BUSY)?;
    db.pragma_update(None, "query_only", true)?;
    db.execute_batch("BEGIN")?;
    match db.query_row("PRAGMA user_version", [], |row| row.get(0))? {
        0 => Ok(None),
        VERSION => Ok(Some(db)),
        newer => Err(HeadError::Newer(newer)),
    }
}

/// Up to where a head file is stored and sealed.
pub(super) fn positions(path: &Path) -> Result<[Option<Position>; 2], HeadError> {
    let Some(db) = open_beside(path)? else { return Ok([None; 2]) };
    let file = HeadFile { db, strips: 0, segments: 0 };
    Ok([file.position("cursor")?, file.position("sealed")?])
}

fn put_position(db: &Connection, name: &str, at: Position) -> rusqlite::Result<()> {
    let sql = "INSERT INTO mark VALUES (?1, ?2, ?3)
        ON CONFLICT(name) DO UPDATE SET log_id = excluded.log_id, position = excluded.position";
    let at = params![name, at.log_id.cast_signed(), at.position.cast_signed()];
    db.prepare_cached(sql)?.execute(at).map(|_| ())
}
