//! The centre's durable log of records, with the interval sets that say what is in it.
//!
//! `davy-ingest` owns one [`Log`] in its receiver thread (`&mut`: there is one writer), and gives a
//! [`LogReader`], which has its own connection, to each thread that follows the log. Everything of a
//! group commit, records, interval sets, manifests and key/value rows, goes into one [`Txn`] and is
//! on disk when [`Txn::commit`] returns. Positions grow for ever, also after eviction, restart and
//! salvage. The log never evicts by itself and never takes a record beyond its bound.
//!
//! ```text
//! record   position, kind, gateway, epoch, seq, received_at, block?, crc, meta, bytes
//! block    gateway, epoch, seq -> position, size, first 16 bytes of SHA-256 (while the record lives)
//! sets     gateway, epoch -> logged, covered, held (interval sets), crc
//! manifest gateway, key -> bytes, crc
//! kv       key -> value, crc                  what ingest keeps: chain, links, tombstones, …
//! ```

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::file::{self, File, Shape};
use crate::intervals::Intervals;

mod evict;
mod inspect;
mod reader;
mod rows;
mod salvage;
mod txn;

pub use evict::Evicted;
pub use inspect::{Contents, Place};
pub use reader::{Entry, LogReader, Record};
pub use txn::{Committed, Txn};

/// Most bytes of key and value of one key/value row.
pub const VALUE_BYTES_MAX: usize = 16 << 20;
/// How far positions jump where a salvage could not learn the last one given out.
const POSITION_JUMP: u64 = 1 << 32;

const SHAPE: Shape = Shape {
    application_id: 0x4461_764c, // "DavL"
    version: 1,
    schema: "
        CREATE TABLE IF NOT EXISTS gateway(no INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
        CREATE TABLE IF NOT EXISTS record(position INTEGER PRIMARY KEY, kind INTEGER NOT NULL,
            gateway INTEGER NOT NULL, epoch INTEGER NOT NULL, seq INTEGER NOT NULL,
            received_at INTEGER NOT NULL, block INTEGER NOT NULL, crc INTEGER NOT NULL, meta BLOB NOT NULL, bytes BLOB NOT NULL);
        CREATE TABLE IF NOT EXISTS block(gateway INTEGER NOT NULL, epoch INTEGER NOT NULL,
            seq INTEGER NOT NULL, position INTEGER NOT NULL, size INTEGER NOT NULL, sha BLOB NOT NULL,
            PRIMARY KEY(gateway, epoch, seq)) WITHOUT ROWID;
        CREATE TABLE IF NOT EXISTS sets(gateway INTEGER NOT NULL, epoch INTEGER NOT NULL,
            logged BLOB NOT NULL, covered BLOB NOT NULL, held BLOB NOT NULL, crc INTEGER NOT NULL,
            PRIMARY KEY(gateway, epoch)) WITHOUT ROWID;
        CREATE TABLE IF NOT EXISTS manifest(gateway INTEGER NOT NULL, key BLOB NOT NULL,
            bytes BLOB NOT NULL, crc INTEGER NOT NULL, PRIMARY KEY(gateway, key)) WITHOUT ROWID;
        CREATE TABLE IF NOT EXISTS kv(key BLOB PRIMARY KEY, value BLOB NOT NULL,
            crc INTEGER NOT NULL) WITHOUT ROWID;",
    exclusive: false,
    cache_kib: 16 << 10,
    check_bytes_max: 256 << 20,
};

/// How a log is opened.
#[derive(Debug, Clone)]
pub struct LogOptions {
    /// Bytes that the file may use. Default 4 GiB.
    pub bytes_max: u64,
    /// Bytes that must stay free on the file system. Default 256 MiB.
    pub free_reserve_bytes: u64,
    /// Wall time, ms since the Unix epoch: dates the file set aside, nothing else.
    pub now_ms: i64,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self { bytes_max: 4 << 30, free_reserve_bytes: 256 << 20, now_ms: 0 }
    }
}

/// A key and its value.
pub type Pair = (Vec<u8>, Vec<u8>);

/// What opening found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogOpenReport {
    /// The damaged file and the reason, where one was set aside.
    pub set_aside: Option<(PathBuf, String)>,
    /// Records that were copied from it.
    pub salvaged_records: u64,
    /// Blocks that it had logged and that could not be read; they are no longer in the logged
    /// sets, so acks stop naming them and a gateway that still holds them sends them again.
    pub lost_blocks: u64,
    /// True where the interval sets or the key/value rows were not readable whole.
    pub lost_sets: bool,
}

/// What is logged and what is covered of one epoch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EpochSets {
    /// Blocks that are logged or rejected: what acks name.
    pub logged: Intervals,
    /// Those and the declared ones: what order waits for no longer.
    pub covered: Intervals,
    /// Blocks whose record is still in the log: logged, not rejected, not evicted. A salvage
    /// measures its loss by it. May hold evicted ones where the cap leaves no other way.
    pub held: Intervals,
}

/// A record to be logged. `kind` is the caller's; see [`Txn::append`] and [`Txn::append_block`].
#[derive(Debug, Clone, Copy)]
pub struct NewRecord<'a> {
    /// The caller's kind of record.
    pub kind: u8,
    /// The gateway, `""` for records that belong to none.
    pub gateway: &'a str,
    /// Epoch of a block, else free for the caller.
    pub epoch: u64,
    /// Sequence number of a block, else free for the caller.
    pub seq: u64,
    /// Receive time, ms since the Unix epoch, UTC.
    pub received_at: i64,
    /// What the caller decided at receive (masks, offsets); empty where nothing.
    pub meta: &'a [u8],
    /// The body as it came.
    pub bytes: &'a [u8],
}

/// What the log holds of one gateway.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Blocks in the log.
    pub blocks: u64,
    /// Bytes of these blocks as they came.
    pub bytes: u64,
}

/// The centre's log: the one writer of the file.
#[derive(Debug)]
pub struct Log {
    file: File,
    bytes_max: u64,
    free_reserve_bytes: u64,
    gateways: HashMap<String, u32>,
    sets: HashMap<u32, BTreeMap<u64, EpochSets>>,
    usage: HashMap<u32, Usage>,
    next: u64,
    evicted_upto: u64,
}

impl Log {
    /// Opens `dir/log.db`, making it where it is missing. A damaged file is set aside and what can
    /// be read of it is copied.
    ///
    /// # Errors
    /// [`Error::Busy`] where another process has it; disk errors where the directory cannot be used.
    pub fn open(dir: &Path, options: &LogOptions) -> Result<(Self, LogOpenReport), Error> {
        let path = dir.join("log.db");
        let mut opened = file::open(&path, &SHAPE, options.now_ms)?;
        let mut report = LogOpenReport::default();
        if opened.aside.is_some() {
            report = salvage::copy(&mut opened)?;
        }
        match Self::load(opened.file, options) {
            Ok(log) => Ok((log, report)),
            Err(Error::Damaged { .. }) if report.set_aside.is_none() => {
                // Damage that only showed when the sets were read.
                rows::suspect(&path);
                let mut opened = file::open(&path, &SHAPE, options.now_ms)?;
                let report = salvage::copy(&mut opened)?;
                Ok((Self::load(opened.file, options)?, report))
            }
            Err(e) => Err(e),
        }
    }

    /// Uses so many bytes from now on, whatever the log was opened with.
    pub fn bound(&mut self, bytes: u64) {
        self.bytes_max = bytes;
    }

    /// Keeps so many bytes free on the file system from now on, whatever the log was opened with.
    pub fn keep_free(&mut self, bytes: u64) {
        self.free_reserve_bytes = bytes;
    }

    fn load(file: File, options: &LogOptions) -> Result<Self, Error> {
        let state = rows::load(&file)?;
        Ok(Self {
            file,
            bytes_max: options.bytes_max,
            free_reserve_bytes: options.free_reserve_bytes,
            gateways: state.gateways,
            sets: state.sets,
            usage: state.usage,
            next: state.next,
            evicted_upto: 0,
        })
    }

    /// Begins a group commit: nothing is written until [`Txn::commit`].
    pub fn begin(&mut self) -> Txn<'_> {
        Txn::new(self)
    }

    /// A reader with its own connection, for another thread.
    ///
    /// # Errors
    /// Where the file cannot be opened a second time.
    pub fn reader(&self) -> Result<LogReader, Error> {
        LogReader::new(&self.file)
    }

    /// What is logged and covered of an epoch; `None` where nothing is known of it.
    pub fn epoch(&self, gateway: &str, epoch: u64) -> Option<&EpochSets> {
        self.sets.get(self.gateways.get(gateway)?)?.get(&epoch)
    }

    /// All epochs of a gateway with their sets, by epoch number (which is random, not an order).
    pub fn epochs(&self, gateway: &str) -> impl Iterator<Item = (u64, &EpochSets)> {
        let sets = self.gateways.get(gateway).and_then(|no| self.sets.get(no));
        sets.into_iter().flatten().map(|(epoch, sets)| (*epoch, sets))
    }

    /// The gateways that the log knows, in no order.
    pub fn gateways(&self) -> impl Iterator<Item = &str> {
        self.gateways.keys().map(String::as_str)
    }

    /// Blocks and bytes that the log holds of a gateway.
    pub fn usage(&self, gateway: &str) -> Usage {
        self.gateways.get(gateway).and_then(|no| self.usage.get(no)).copied().unwrap_or_default()
    }

    /// Bytes of the blocks that the log holds of a gateway behind a seq of an epoch, and of all blocks of `later` epochs.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub fn bytes_behind(
        &self,
        gateway: &str,
        (epoch, seq): (u64, u64),
        later: &[u64],
    ) -> Result<u64, Error> {
        let Some(no) = self.gateways.get(gateway) else { return Ok(0) };
        let run = || {
            let mut sum = rows::bytes_behind(&self.file.conn, *no, epoch, seq)?;
            for epoch in later {
                sum += rows::bytes_behind(&self.file.conn, *no, *epoch, 0)?;
            }
            Ok(sum)
        };
        run().map_err(self.file.fail("measure"))
    }

    /// When a block whose record is in the log was received, ms UTC.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub fn received_at(&self, gateway: &str, epoch: u64, seq: u64) -> Result<Option<i64>, Error> {
        let Some(no) = self.gateways.get(gateway) else { return Ok(None) };
        rows::received_at(&self.file.conn, *no, epoch, seq).map_err(self.file.fail("look into"))
    }

    /// The last position given out, 0 where the log never held a record.
    pub fn last_position(&self) -> u64 {
        self.next - 1
    }

    /// Bytes of the file in use and the bound, for the 80 % rule.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub fn size(&self) -> Result<(u64, u64), Error> {
        Ok((self.file.used_bytes()?, self.bytes_max))
    }

    /// Where the file lies.
    pub fn path(&self) -> &Path {
        &self.file.path
    }

    /// A value of the key/value table.
    ///
    /// # Errors
    /// [`Error::Damaged`] where its checksum does not fit.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        rows::get(&self.file.conn, key).map_err(self.file.fail("read a value of"))
    }

    /// All key/value rows whose key begins with `prefix`, by key.
    ///
    /// # Errors
    /// [`Error::Damaged`] where a checksum does not fit.
    pub fn scan(&self, prefix: &[u8]) -> Result<Vec<Pair>, Error> {
        rows::scan(&self.file.conn, prefix).map_err(self.file.fail("read values of"))
    }

    /// The bytes of a manifest, `None` where it is unknown.
    ///
    /// # Errors
    /// [`Error::Damaged`] where its checksum does not fit.
    pub fn manifest(&self, gateway: &str, key: &[u8; 16]) -> Result<Option<Vec<u8>>, Error> {
        let Some(no) = self.gateways.get(gateway) else { return Ok(None) };
        rows::manifest(&self.file.conn, *no, key).map_err(self.file.fail("read a manifest of"))
    }

    pub(crate) fn manifest_count(&self, no: u32) -> Result<u64, Error> {
        rows::manifest_count(&self.file.conn, no).map_err(self.file.fail("count manifests of"))
    }

    /// First 16 bytes of the SHA-256 of a block's bytes, while its record lives in the log: another
    /// block under the same key is key reuse.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub fn block_sha(
        &self,
        gateway: &str,
        epoch: u64,
        seq: u64,
    ) -> Result<Option<[u8; 16]>, Error> {
        let Some(no) = self.gateways.get(gateway) else { return Ok(None) };
        rows::sha(&self.file.conn, *no, epoch, seq).map_err(self.file.fail("read a digest of"))
    }

    /// Copies the whole log, as it is now, to a new file for a backup.
    ///
    /// # Errors
    /// Where `target` exists or cannot be written.
    pub fn backup(&self, target: &Path) -> Result<(), Error> {
        self.file
            .conn
            .execute("VACUUM INTO ?1", [target.to_string_lossy()])
            .map(|_| ())
            .map_err(|e| Error::sqlite("back up to", target, e))
    }
}

/// First 16 bytes of the SHA-256 of a block's bytes, as [`Log::block_sha`] keeps it.
pub fn sha16(bytes: &[u8]) -> [u8; 16] {
    use sha2::Digest as _;
    let digest = sha2::Sha256::digest(bytes);
    let mut out = [0; 16];
    out.copy_from_slice(&digest[..16]);
    out
}

#[cfg(test)]
mod tests;
