//! Reading the log beside its writer: by position for the cursors, by key for one block.
//!
//! Each reading thread owns one [`LogReader`]. It must never keep a statement open between calls: an
//! open read transaction would keep the journal from being written back.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, params_from_iter};

use super::{NewRecord, rows};
use crate::error::Error;
use crate::file::File;

/// Page cache of a reading connection, KiB.
const CACHE_KIB: u32 = 4 << 10;
/// How long a reader of another process waits for a lock, ms.
const BUSY_MS: u64 = 5_000;
/// Most positions that one call of [`LogReader::at`] takes.
const AT_MAX: usize = 500;

/// A record of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its place in the log, from 1, growing for ever.
    pub position: u64,
    /// The caller's kind.
    pub kind: u8,
    /// The gateway, `""` where it belongs to none.
    pub gateway: String,
    /// Epoch of a block.
    pub epoch: u64,
    /// Sequence number of a block.
    pub seq: u64,
    /// Receive time, ms since the Unix epoch, UTC.
    pub received_at: i64,
    /// What was decided at receive.
    pub meta: Vec<u8>,
    /// The body as it came.
    pub bytes: Vec<u8>,
    /// True where it was logged by [`Txn::append_block`](super::Txn::append_block).
    pub block: bool,
}

impl Record {
    /// The record as it would be logged again.
    pub fn as_new(&self) -> NewRecord<'_> {
        NewRecord {
            kind: self.kind,
            gateway: &self.gateway,
            epoch: self.epoch,
            seq: self.seq,
            received_at: self.received_at,
            meta: &self.meta,
            bytes: &self.bytes,
        }
    }
}

/// What lies at a position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A record whose checksum fits.
    Record(Record),
    /// A record whose checksum does not fit. [`Txn::discard`](super::Txn::discard) takes it out and
    /// out of the logged set, so that the gateway sends the block again.
    Damaged {
        /// Its place.
        position: u64,
    },
}

impl Entry {
    /// The place in the log.
    pub fn position(&self) -> u64 {
        match self {
            Self::Record(r) => r.position,
            Self::Damaged { position } => *position,
        }
    }
}

/// A second connection to the log, for one reading thread.
#[derive(Debug)]
pub struct LogReader {
    pub(super) conn: Connection,
    pub(super) path: PathBuf,
}

impl LogReader {
    pub(super) fn new(file: &File) -> Result<Self, Error> {
        Ok(Self { conn: file.reader(CACHE_KIB)?, path: file.path.clone() })
    }

    /// A reader of `dir/log.db` in another process than its writer: for commands that may be used beside the service.
    ///
    /// # Errors
    /// Where there is no such file, or it cannot be read.
    pub fn beside(dir: &Path) -> Result<Self, Error> {
        let path = dir.join("log.db");
        let run = || {
            let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let conn = Connection::open_with_flags(&path, flags)?;
            conn.busy_timeout(std::time::Duration::from_millis(BUSY_MS))?;
            conn.execute_batch("PRAGMA query_only=ON; PRAGMA trusted_schema=OFF;")?;
            Ok(conn)
        };
        let conn = run().map_err(|e| Error::sqlite("open for reading", &path, e))?;
        Ok(Self { conn, path })
    }

    /// Records with a position above `after`, in order, until their bytes pass `bytes_max` (at least
    /// one is returned where there is one). `kinds` filters; empty takes all. Evicted positions are
    /// simply absent.
    ///
    /// # Errors
    /// [`Error::Damaged`] where a page cannot be read: close the log and open it again.
    pub fn read_from(
        &self,
        after: u64,
        bytes_max: usize,
        kinds: &[u8],
    ) -> Result<Vec<Entry>, Error> {
        let filter = if kinds.is_empty() {
            String::new()
        } else {
            let list: Vec<String> = kinds.iter().map(u8::to_string).collect();
            format!(" AND r.kind IN ({})", list.join(","))
        };
        let sql = format!("{} WHERE r.position > ?1{filter} ORDER BY r.position", rows::RECORD);
        let run = || {
            let mut statement = self.conn.prepare_cached(&sql)?;
            let mut rows = statement.query([after.cast_signed()])?;
            let (mut out, mut bytes) = (Vec::new(), 0);
            while let Some(row) = rows.next()? {
                let entry = entry(row)?;
                if let Entry::Record(r) = &entry {
                    bytes += r.bytes.len() + r.meta.len();
                }
                if bytes > bytes_max && !out.is_empty() {
                    break;
                }
                out.push(entry);
            }
            Ok(out)
        };
        run().map_err(|e| self.fail(e))
    }

    /// The records at `positions`, in ascending order; evicted ones are absent.
    ///
    /// # Errors
    /// [`Error::Damaged`] where a page cannot be read.
    pub fn at(&self, positions: &[u64]) -> Result<Vec<Entry>, Error> {
        let mut out = Vec::with_capacity(positions.len());
        for part in positions.chunks(AT_MAX) {
            let marks = vec!["?"; part.len()].join(",");
            let sql = format!("{} WHERE r.position IN ({marks}) ORDER BY r.position", rows::RECORD);
            let run = || {
                let mut statement = self.conn.prepare(&sql)?;
                let mut rows =
                    statement.query(params_from_iter(part.iter().map(|p| p.cast_signed())))?;
                let mut found = Vec::new();
                while let Some(row) = rows.next()? {
                    found.push(entry(row)?);
                }
                Ok(found)
            };
            out.extend(run().map_err(|e| self.fail(e))?);
        }
        Ok(out)
    }

    /// One block by its key, `None` where its record is not in the log.
    ///
    /// # Errors
    /// [`Error::Damaged`] where a page cannot be read.
    pub fn block(&self, gateway: &str, epoch: u64, seq: u64) -> Result<Option<Entry>, Error> {
        let sql = format!(
            "{} WHERE r.position = (SELECT b.position FROM block b JOIN gateway n ON n.no = b.gateway
             WHERE n.name = ?1 AND b.epoch = ?2 AND b.seq = ?3)",
            rows::RECORD
        );
        let run = || {
            let mut statement = self.conn.prepare_cached(&sql)?;
            let mut rows = statement.query((gateway, epoch.cast_signed(), seq.cast_signed()))?;
            rows.next()?.map(entry).transpose()
        };
        run().map_err(|e| self.fail(e))
    }

    /// The newest position that can be read, 0 where there is none.
    ///
    /// # Errors
    /// [`Error::Damaged`] where a page cannot be read.
    pub fn last_position(&self) -> Result<u64, Error> {
        self.conn
            .query_row("SELECT coalesce(max(position), 0) FROM record", [], |r| r.get::<_, i64>(0))
            .map(i64::cast_unsigned)
            .map_err(|e| self.fail(e))
    }

    /// A value of the key/value table.
    ///
    /// # Errors
    /// [`Error::Damaged`] where its checksum does not fit.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        rows::get(&self.conn, key).map_err(|e| self.fail(e))
    }

    /// The bytes of a manifest, `None` where it is unknown.
    ///
    /// # Errors
    /// [`Error::Damaged`] where its checksum does not fit.
    pub fn manifest(&self, gateway: &str, key: &[u8; 16]) -> Result<Option<Vec<u8>>, Error> {
        let run = || match rows::gateways(&self.conn)?.get(gateway) {
            Some(no) => rows::manifest(&self.conn, *no, key),
            None => Ok(None),
        };
        run().map_err(|e| self.fail(e))
    }

    pub(super) fn fail(&self, e: rusqlite::Error) -> Error {
        let error = Error::sqlite("read", &self.path, e);
        if matches!(error, Error::Damaged { .. }) {
            rows::suspect(&self.path);
        }
        error
    }
}

fn entry(row: &rusqlite::Row<'_>) -> rusqlite::Result<Entry> {
    Ok(match rows::record_row(row) {
        Ok(Some(record)) => Entry::Record(record),
        // A value of another type than was written is damage of this row alone.
        Ok(None)
        | Err(
            rusqlite::Error::InvalidColumnType(..) | rusqlite::Error::FromSqlConversionFailure(..),
        ) => Entry::Damaged { position: row.get::<_, i64>(0)?.cast_unsigned() },
        Err(e) => return Err(e),
    })
}
