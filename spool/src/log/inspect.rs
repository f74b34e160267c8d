//! What a log still holds of a gateway: for a reader that lost its own place and has to find one again.

use std::path::Path;

use rusqlite::{Connection, OpenFlags, OptionalExtension as _, params};

use super::{Entry, EpochSets, LogReader, Pair, SHAPE, rows};
use crate::error::Error;

/// Where a block lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Its epoch.
    pub epoch: u64,
    /// Its sequence number.
    pub seq: u64,
    /// Its record's place in the log.
    pub position: u64,
}

/// What a log holds, read from end to end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Contents {
    /// The first position that is there; 0 where nothing is.
    pub first: u64,
    /// The last one; 0 where nothing is.
    pub last: u64,
    /// Records, damaged ones with them.
    pub records: u64,
    /// Records whose checksum does not fit.
    pub damaged: u64,
}

/// Bytes read at once.
const CHECK_BYTES: usize = 4 << 20;

impl LogReader {
    /// A reader of a log that no [`Log`](super::Log) of this process has open; it changes nothing.
    ///
    /// # Errors
    /// Where the file is not there or is no log.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let run = || {
            let conn = Connection::open_with_flags(path, flags)?;
            conn.execute_batch("PRAGMA query_only=ON; PRAGMA cell_size_check=ON;")?;
            let application: u32 = conn.query_row("PRAGMA application_id", [], |r| r.get(0))?;
            if application == SHAPE.application_id { Ok(conn) } else { Err(rows::broken("log")) }
        };
        let conn = run().map_err(|e| Error::sqlite("open", path, e))?;
        Ok(Self { conn, path: path.to_path_buf() })
    }

    /// Reads every record and looks at its checksum.
    ///
    /// # Errors
    /// [`Error::Damaged`] where a page cannot be read.
    pub fn check(&self) -> Result<Contents, Error> {
        let mut found = Contents::default();
        loop {
            let entries = self.read_from(found.last, CHECK_BYTES, &[])?;
            let Some(last) = entries.last() else { return Ok(found) };
            if found.records == 0 {
                found.first = entries[0].position();
            }
            found.last = last.position();
            found.records += entries.len() as u64;
            let damaged = entries.iter().filter(|e| matches!(e, Entry::Damaged { .. }));
            found.damaged += damaged.count() as u64;
        }
    }

    /// True where every record from the first one on is still there: nothing was evicted or discarded.
    ///
    /// # Errors
    /// [`Error::Damaged`] where a page cannot be read.
    pub fn is_whole(&self) -> Result<bool, Error> {
        let run = || {
            let mut statement =
                self.conn.prepare("SELECT position FROM record ORDER BY position")?;
            let mut rows = statement.query([])?;
            let mut expected = 1;
            while let Some(row) = rows.next()? {
                if row.get::<_, i64>(0)? != expected {
                    return Ok(false);
                }
                expected += 1;
            }
            Ok(true)
        };
        run().map_err(|e| self.fail(e))
    }

    /// The blocks of a gateway whose records are in the log, by epoch number and seq.
    ///
    /// # Errors
    /// [`Error::Damaged`] where a page cannot be read.
    pub fn blocks(&self, gateway: &str) -> Result<Vec<Place>, Error> {
        let run = || {
            let Some(no) = self.number(gateway)? else { return Ok(Vec::new()) };
            let mut statement = self
                .conn
                .prepare_cached("SELECT epoch, seq, position FROM block WHERE gateway = ?1")?;
            let place = |r: &rusqlite::Row<'_>| {
                let at = |column| r.get::<_, i64>(column).map(i64::cast_unsigned);
                Ok(Place { epoch: at(0)?, seq: at(1)?, position: at(2)? })
            };
            let mut places =
                statement.query_map([no], place)?.collect::<rusqlite::Result<Vec<_>>>()?;
            places.sort_unstable();
            Ok(places)
        };
        run().map_err(|e| self.fail(e))
    }

    /// What is logged and covered of an epoch, as committed; `None` where nothing is known of it.
    ///
    /// # Errors
    /// [`Error::Damaged`] where the row cannot be read.
    pub fn sets(&self, gateway: &str, epoch: u64) -> Result<Option<EpochSets>, Error> {
        let run = || {
            let Some(no) = self.number(gateway)? else { return Ok(None) };
            let names = [(no, gateway.to_owned())].into();
            let mut statement = self.conn.prepare_cached(
                "SELECT gateway, epoch, logged, covered, held, crc FROM sets WHERE gateway = ?1 AND epoch = ?2",
            )?;
            let read = |r: &rusqlite::Row<'_>| rows::set_row(r, &names);
            let found = statement.query_row(params![no, epoch.cast_signed()], read).optional()?;
            Ok(found.map(|(_, _, sets)| sets))
        };
        run().map_err(|e| self.fail(e))
    }

    /// All key/value rows whose key begins with `prefix`, by key.
    ///
    /// # Errors
    /// [`Error::Damaged`] where a checksum does not fit.
    pub fn scan(&self, prefix: &[u8]) -> Result<Vec<Pair>, Error> {
        rows::scan(&self.conn, prefix).map_err(|e| self.fail(e))
    }

    fn number(&self, gateway: &str) -> rusqlite::Result<Option<u32>> {
        let mut statement = self.conn.prepare_cached("SELECT no FROM gateway WHERE name = ?1")?;
        statement.query_row([gateway], |r| r.get(0)).optional()
    }
}
