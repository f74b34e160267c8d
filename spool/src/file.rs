//! The one SQLite layer under both the gateway's spool and the centre's log.
//!
//! It opens a file with the pragmas that make a commit durable (WAL, `synchronous=FULL`), measures
//! it, and, where it is damaged, sets it aside under a dated name so that the start never fails for
//! what lies on the disk. It must never delete a damaged file that was not yet salvaged.
//!
//! ```text
//! spool.db                             the file in use (with -wal; -shm where there are readers)
//! spool.db.suspect                     marker: damage was seen; names the file set aside while its
//!                                      rows are being copied, so that a kill in between repeats it
//! spool.db.damaged-20261123T225100Z    what was set aside, the newest ASIDE_FILES_MAX are kept
//! ```

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use crate::error::Error;

mod aside;
pub(crate) use aside::{Opened, open, salvage_rows, told};

/// Damaged files that are kept for inspection, the newest; older ones are deleted.
pub const ASIDE_FILES_MAX: usize = 4;
/// Bytes of journal that SQLite may leave on disk after a checkpoint.
const JOURNAL_BYTES_MAX: u64 = 4 << 20;
/// Pages of journal after which it is written back: 1 MiB, so that little is rewritten after a kill.
const CHECKPOINT_PAGES: u32 = 256;
/// Bytes of cells, index row and half-filled pages beside a row's own, from above.
const ROW_OVERHEAD_BYTES: u64 = 512;
/// Pages that a transaction may need beside its rows: splits, state rows.
const SLACK_PAGES: u64 = 4;
/// How long a statement waits for another connection's lock.
const BUSY_MS: u32 = 5_000;

/// What kind of file is opened.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    /// Marks the file as ours (`PRAGMA application_id`).
    pub(crate) application_id: u32,
    /// Version of the tables (`PRAGMA user_version`).
    pub(crate) version: u32,
    /// Makes the tables where they are missing.
    pub(crate) schema: &'static str,
    /// One connection only: no shared-memory file, and a second process is refused.
    pub(crate) exclusive: bool,
    /// Page cache of the writing connection, KiB.
    pub(crate) cache_kib: u32,
    /// Files up to this size are checked whole at opening; larger ones as their rows are read.
    pub(crate) check_bytes_max: u64,
}

/// An open file with its writing connection.
#[derive(Debug)]
pub(crate) struct File {
    pub(crate) conn: Connection,
    pub(crate) path: PathBuf,
    page_bytes: u64,
    durable: bool,
}

impl File {
    fn at(path: &Path, shape: &Shape) -> Result<Self, Error> {
        let fail = |e| Error::sqlite("open", path, e);
        let size = fs::metadata(path).map_or(0, |m| m.len());
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = Connection::open_with_flags(path, flags).map_err(fail)?;
        let file = Self { conn, path: path.to_path_buf(), page_bytes: 4096, durable: true };
        file.prepare(shape, size).map_err(|e| match e {
            Prepare::Sqlite(e) => fail(e),
            Prepare::Other(e) => e,
        })?;
        sync_directory(path)?;
        file.measured()
    }

    /// A file that lives in memory only, for a gateway whose disk does not serve.
    pub(crate) fn memory(path: &Path, shape: &Shape) -> Result<Self, Error> {
        let fail = |e| Error::sqlite("make tables in memory for", path, e);
        let conn = Connection::open_in_memory().map_err(fail)?;
        conn.execute_batch("PRAGMA auto_vacuum=INCREMENTAL").map_err(fail)?;
        conn.execute_batch(shape.schema).map_err(fail)?;
        Self { conn, path: path.to_path_buf(), page_bytes: 4096, durable: false }.measured()
    }

    fn measured(mut self) -> Result<Self, Error> {
        self.page_bytes = self.pragma("page_size")?;
        Ok(self)
    }

    fn prepare(&self, shape: &Shape, size: u64) -> Result<(), Prepare> {
        let conn = &self.conn;
        conn.busy_timeout(std::time::Duration::from_millis(if shape.exclusive {
            0
        } else {
            5_000
        }))?;
        let locking = if shape.exclusive { "EXCLUSIVE" } else { "NORMAL" };
        conn.execute_batch(&format!(
            "PRAGMA auto_vacuum=INCREMENTAL; PRAGMA locking_mode={locking}; PRAGMA journal_mode=WAL;
             PRAGMA synchronous=FULL; PRAGMA journal_size_limit={JOURNAL_BYTES_MAX};
             PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES}; PRAGMA cache_size=-{};
             PRAGMA temp_store=MEMORY; PRAGMA trusted_schema=OFF; PRAGMA cell_size_check=ON;",
            shape.cache_kib
        ))?;
        let tables: u32 = conn.query_row("SELECT count(*) FROM sqlite_schema", [], |r| r.get(0))?;
        if tables > 0 {
            self.recognise(shape)?;
            if size <= shape.check_bytes_max {
                let verdict: String = conn.query_row("PRAGMA quick_check(1)", [], |r| r.get(0))?;
                if verdict != "ok" {
                    return Err(Prepare::Other(self.damaged(verdict)));
                }
            }
        }
        // Taking the write lock now shows a disk that cannot be written, or another process.
        conn.execute_batch(&format!(
            "BEGIN IMMEDIATE; PRAGMA application_id={}; PRAGMA user_version={}; {} COMMIT;",
            shape.application_id, shape.version, shape.schema
        ))?;
        conn.busy_timeout(std::time::Duration::from_millis(BUSY_MS.into()))?;
        Ok(())
    }

    fn recognise(&self, shape: &Shape) -> Result<(), Prepare> {
        let application: u32 = self.conn.query_row("PRAGMA application_id", [], |r| r.get(0))?;
        let version: u32 = self.conn.query_row("PRAGMA user_version", [], |r| r.get(0))?;
        if application != shape.application_id || version != shape.version {
            return Err(Prepare::Other(Error::Version {
                path: self.path.clone(),
                found: version,
                known: shape.version,
            }));
        }
        Ok(())
    }

    fn damaged(&self, words: String) -> Error {
        let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
        let source = rusqlite::Error::SqliteFailure(code, Some(words));
        Error::Damaged { path: self.path.clone(), source }
    }

    /// Wraps an error of SQLite with what was being done.
    pub(crate) fn fail(&self, doing: &'static str) -> impl Fn(rusqlite::Error) -> Error + '_ {
        move |e| Error::sqlite(doing, &self.path, e)
    }

    /// Runs `work` in one transaction; it is on disk when this returns `Ok`.
    pub(crate) fn transact<T>(
        &mut self,
        doing: &'static str,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, Error> {
        let path = &self.path;
        let run = || {
            let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let out = work(&tx)?;
            tx.commit()?;
            Ok(out)
        };
        run().map_err(|e| Error::sqlite(doing, path, e))
    }

    fn pragma(&self, name: &str) -> Result<u64, Error> {
        let sql = format!("PRAGMA {name}");
        let value: i64 = self
            .conn
            .prepare_cached(&sql)
            .and_then(|mut s| s.query_row([], |r| r.get(0)))
            .map_err(self.fail("measure"))?;
        Ok(value.cast_unsigned())
    }

    /// Bytes of pages in use, without free pages and the journal.
    pub(crate) fn used_bytes(&self) -> Result<u64, Error> {
        let pages = self.pragma("page_count")?.saturating_sub(self.pragma("freelist_count")?);
        Ok(pages * self.page_bytes)
    }

    /// Refuses where `need` more bytes would pass the bound or eat into the disk's reserve.
    pub(crate) fn room_for(&self, need: u64, bound: u64, reserve: u64) -> Result<(), Error> {
        let used = self.used_bytes()?;
        if used.saturating_add(need) > bound {
            return Err(Error::Full { path: self.path.clone(), used, need, bound });
        }
        if !self.durable || reserve == 0 {
            return Ok(());
        }
        let free_pages = self.pragma("freelist_count")? * self.page_bytes;
        // The journal holds a second copy until the next checkpoint.
        let growth = need.saturating_mul(2).saturating_sub(free_pages);
        if growth == 0 {
            // It goes into pages that are free already: what others left of the disk is not touched.
            return Ok(());
        }
        let wanted = growth.saturating_add(reserve);
        if disk_free_bytes(&self.path).is_some_and(|free| free < wanted) {
            return Err(Error::DiskFull { path: self.path.clone(), source: None });
        }
        Ok(())
    }

    /// Gives up to `pages` free pages back to the file system.
    pub(crate) fn shrink(&self, pages: u32) -> Result<(), Error> {
        let run = || {
            let mut statement =
                self.conn.prepare(&format!("PRAGMA incremental_vacuum({pages})"))?;
            let mut rows = statement.query([])?;
            while rows.next()?.is_some() {}
            Ok(())
        };
        run().map_err(self.fail("shrink"))
    }

    /// A connection for reading beside the writer.
    pub(crate) fn reader(&self, cache_kib: u32) -> Result<Connection, Error> {
        let run = || {
            let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let conn = Connection::open_with_flags(&self.path, flags)?;
            conn.busy_timeout(std::time::Duration::from_millis(BUSY_MS.into()))?;
            conn.execute_batch(&format!(
                "PRAGMA query_only=ON; PRAGMA cache_size=-{cache_kib}; PRAGMA trusted_schema=OFF;
                 PRAGMA cell_size_check=ON;"
            ))?;
            Ok(conn)
        };
        run().map_err(self.fail("open for reading"))
    }

    /// Leaves word on the disk that damage was seen: the next opening sets the file aside.
    pub(crate) fn suspect(&self) {
        if self.durable {
            // Where even this cannot be written the next start finds the damage by itself.
            drop(write_synced(&with_suffix(&self.path, ".suspect"), b""));
        }
    }
}

enum Prepare {
    Sqlite(rusqlite::Error),
    Other(Error),
}

impl From<rusqlite::Error> for Prepare {
    fn from(e: rusqlite::Error) -> Self {
        Self::Sqlite(e)
    }
}

/// Bytes of pages that rows of these sizes may need, from above.
pub(crate) fn cost(sizes: impl Iterator<Item = u64>) -> u64 {
    // What does not fit a leaf goes to pages of its own with a 4-byte link; leaves split half full.
    let row = |size: u64| size / 4092 * 4096 + size % 4092 + ROW_OVERHEAD_BYTES;
    sizes.map(row).sum::<u64>() + SLACK_PAGES * 4096
}

/// Bytes that the file system of `path` has for us; `None` where it does not say.
pub(crate) fn disk_free_bytes(path: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(path.parent()?).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// `path` with `suffix` after its name.
pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_os_string();
    name.push(suffix);
    PathBuf::from(name)
}

fn write_synced(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = fs::File::create(path)?;
    if let Err(e) = file.write_all(bytes).and_then(|()| file.sync_all()) {
        // Half a word is worse than none.
        drop(fs::remove_file(path));
        return Err(e);
    }
    path.parent().map_or(Ok(()), |dir| fs::File::open(dir)?.sync_all())
}

fn sync_directory(path: &Path) -> Result<(), Error> {
    let Some(dir) = path.parent() else { return Ok(()) };
    fs::File::open(dir).and_then(|d| d.sync_all()).map_err(|source| Error::Directory {
        doing: "sync",
        path: dir.to_path_buf(),
        source,
    })
}
