//! One group commit of the log: collected in memory, then written in one transaction.
//!
//! Called by the receiver thread. Dropping a [`Txn`] leaves everything as it was; after a failed
//! [`Txn::commit`] as well.

use std::collections::{BTreeMap, HashMap};

use rusqlite::{Connection, params};

use super::{EpochSets, Log, NewRecord, Record, Usage, VALUE_BYTES_MAX, rows, sha16};
use crate::error::Error;
use crate::file::cost;
use crate::intervals::{Intervals, TooMany};

#[derive(Debug)]
struct Row {
    gateway: u32,
    crc: u32,
    sha: Option<[u8; 16]>,
    record: Record,
}

/// Changes that become durable together.
#[derive(Debug)]
pub struct Txn<'a> {
    log: &'a mut Log,
    rows: Vec<Row>,
    names: Vec<(String, u32)>,
    sets: BTreeMap<(u32, u64), Option<EpochSets>>,
    kv: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    manifests: BTreeMap<(u32, [u8; 16]), Vec<u8>>,
    discards: Vec<u64>,
    bytes: u64,
}

/// What a commit made durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// Position of the first record, where there was one.
    pub first: Option<u64>,
    /// The last position of the log now.
    pub last: u64,
}

impl<'a> Txn<'a> {
    pub(super) fn new(log: &'a mut Log) -> Self {
        Self {
            log,
            rows: Vec::new(),
            names: Vec::new(),
            sets: BTreeMap::new(),
            kv: BTreeMap::new(),
            manifests: BTreeMap::new(),
            discards: Vec::new(),
            bytes: 0,
        }
    }

    /// The log as it was before this transaction.
    pub fn log(&self) -> &Log {
        self.log
    }

    /// Bytes that this transaction would add.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What is logged and covered of an epoch, with the changes of this transaction.
    pub fn epoch(&self, gateway: &str, epoch: u64) -> Option<&EpochSets> {
        match self.known(gateway).and_then(|no| self.sets.get(&(no, epoch))) {
            Some(changed) => changed.as_ref(),
            None => self.log.epoch(gateway, epoch),
        }
    }

    /// Adds a record that is no block; returns its position.
    pub fn append(&mut self, record: &NewRecord<'_>) -> u64 {
        self.push(record, None)
    }

    /// Adds a block and puts its seq into the logged and covered sets; returns its position.
    ///
    /// # Errors
    /// [`Error::TooMany`] where a set would need too many intervals; nothing of it is kept.
    pub fn append_block(&mut self, record: &NewRecord<'_>) -> Result<u64, Error> {
        let seq = record.seq;
        self.change(record.gateway, record.epoch, |sets| {
            sets.covered.insert(seq, seq)?;
            sets.logged.insert(seq, seq)?;
            sets.held.insert(seq, seq)
        })?;
        Ok(self.push(record, Some(sha16(record.bytes))))
    }

    /// Puts `from..=to` into the logged and the covered set, for blocks that were rejected or that
    /// are held elsewhere.
    ///
    /// # Errors
    /// [`Error::TooMany`] where a set would need too many intervals; both are as they were.
    pub fn add_logged(
        &mut self,
        gateway: &str,
        epoch: u64,
        from: u64,
        to: u64,
    ) -> Result<(), Error> {
        self.change(gateway, epoch, |sets| {
            sets.covered.insert(from, to)?;
            sets.logged.insert(from, to)
        })
    }

    /// Puts `from..=to` into the covered set only: declared lost or gone.
    ///
    /// # Errors
    /// [`Error::TooMany`] where the set would need too many intervals; it is as it was.
    pub fn add_covered(
        &mut self,
        gateway: &str,
        epoch: u64,
        from: u64,
        to: u64,
    ) -> Result<(), Error> {
        self.change(gateway, epoch, |sets| sets.covered.insert(from, to))
    }

    /// Makes an epoch known with empty sets, where it is not known yet.
    pub fn know_epoch(&mut self, gateway: &str, epoch: u64) {
        if self.epoch(gateway, epoch).is_none() {
            let no = self.number(gateway);
            self.sets.insert((no, epoch), Some(EpochSets::default()));
        }
    }

    /// Forgets the sets of an epoch, for one that is complete and remembered as one line in `kv`.
    pub fn forget_epoch(&mut self, gateway: &str, epoch: u64) {
        let no = self.number(gateway);
        self.sets.insert((no, epoch), None);
    }

    /// A value of the key/value table, with the changes of this transaction.
    ///
    /// # Errors
    /// [`Error::Damaged`] where its checksum does not fit.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        match self.kv.get(key) {
            Some(changed) => Ok(changed.clone()),
            None => self.log.get(key),
        }
    }

    /// Sets a value, or removes it with `None`. Keys must not be empty nor begin with a zero byte.
    ///
    /// # Panics
    /// On such a key, and on a value above [`VALUE_BYTES_MAX`]: both are faults of the program.
    pub fn put(&mut self, key: &[u8], value: Option<&[u8]>) {
        assert!(key.first().is_some_and(|b| *b != 0), "keys are not empty and begin above zero");
        assert!(value.is_none_or(|v| v.len() <= VALUE_BYTES_MAX), "value is too long");
        self.bytes += value.map_or(0, |v| v.len() as u64);
        self.kv.insert(key.to_vec(), value.map(<[u8]>::to_vec));
    }

    /// Keeps a manifest, before the first block that needs it.
    pub fn put_manifest(&mut self, gateway: &str, key: [u8; 16], bytes: &[u8]) {
        let no = self.number(gateway);
        self.bytes += bytes.len() as u64;
        self.manifests.insert((no, key), bytes.to_vec());
    }

    /// True where the manifest is in the log or in this transaction.
    ///
    /// # Errors
    /// [`Error::Damaged`] where its checksum does not fit.
    pub fn has_manifest(&self, gateway: &str, key: &[u8; 16]) -> Result<bool, Error> {
        let here = self.known(gateway).is_some_and(|no| self.manifests.contains_key(&(no, *key)));
        Ok(here || self.log.manifest(gateway, key)?.is_some())
    }

    /// Manifests of a gateway, in the log and in this transaction; one that is put again in it counts twice.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub fn manifest_count(&self, gateway: &str) -> Result<u64, Error> {
        let Some(no) = self.known(gateway) else { return Ok(0) };
        let here = self.manifests.keys().filter(|(of, _)| *of == no).count() as u64;
        Ok(here + self.log.manifest_count(no)?)
    }

    /// Digest of a block, in the log or in this transaction: see [`Log::block_sha`].
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub fn block_sha(
        &self,
        gateway: &str,
        epoch: u64,
        seq: u64,
    ) -> Result<Option<[u8; 16]>, Error> {
        let here = self.known(gateway).and_then(|no| {
            let mine = |r: &&Row| (r.gateway, r.record.epoch, r.record.seq) == (no, epoch, seq);
            self.rows.iter().filter(mine).find_map(|r| r.sha)
        });
        if here.is_some() { Ok(here) } else { self.log.block_sha(gateway, epoch, seq) }
    }

    /// Takes a damaged record out of the log; if it was a block, also out of the logged set (and of
    /// the covered one), so that the gateway sends it again.
    ///
    /// # Errors
    /// Where the file cannot be read, or the sets would need too many intervals.
    pub fn discard(&mut self, position: u64) -> Result<(), Error> {
        let key = rows::key_at(&self.log.file.conn, position)
            .map_err(self.log.file.fail("find a damaged record of"))?;
        if let Some((no, epoch, seq)) = key {
            let name = self.log.gateways.iter().find(|(_, n)| **n == no).map(|(n, _)| n.clone());
            if let Some(name) = name {
                self.change(&name, epoch, |sets| {
                    sets.covered.remove(seq, seq)?;
                    sets.held.remove(seq, seq)?;
                    sets.logged.remove(seq, seq)
                })?;
            }
        }
        self.discards.push(position);
        Ok(())
    }

    /// Writes everything in one transaction; it is on disk when this returns.
    ///
    /// # Errors
    /// [`Error::Full`] at the bound, [`Error::DiskFull`] at the reserve or where the disk says so,
    /// [`Error::Damaged`] where the file must be opened again. Nothing is kept then.
    pub fn commit(self) -> Result<Committed, Error> {
        let Self { log, rows, names, sets, kv, manifests, discards, bytes } = self;
        if bytes > 0 {
            let of_rows = rows.iter().map(|r| (r.record.bytes.len() + r.record.meta.len()) as u64);
            let others = bytes.saturating_sub(of_rows.clone().sum());
            let need = cost(of_rows.chain(std::iter::once(others)));
            log.file.room_for(need, log.bytes_max, log.free_reserve_bytes)?;
        }
        let next = log.next + rows.len() as u64;
        let by_number: HashMap<u32, &str> = log
            .gateways
            .iter()
            .map(|(n, i)| (*i, n.as_str()))
            .chain(names.iter().map(|(n, i)| (*i, n.as_str())))
            .collect();
        let done = log.file.transact("append to", |conn| {
            for (name, no) in &names {
                conn.prepare_cached("INSERT INTO gateway(no, name) VALUES(?1, ?2)")?
                    .execute(params![no, name])?;
            }
            for r in &rows {
                write_row(
                    conn,
                    r.record.position,
                    r.gateway,
                    r.crc,
                    r.sha.as_ref(),
                    &r.record.as_new(),
                )?;
            }
            crate::fail_point!("log.rows.written");
            for ((no, epoch), changed) in &sets {
                write_sets(conn, by_number[no], *no, *epoch, changed.as_ref())?;
            }
            crate::fail_point!("log.sets.written");
            kv.iter().try_for_each(|(k, v)| write_value(conn, k, v.as_deref()))?;
            for ((no, key), bytes) in &manifests {
                conn.prepare_cached("INSERT OR REPLACE INTO manifest VALUES(?1, ?2, ?3, ?4)")?
                    .execute(params![no, key, bytes, rows::pair_crc(key, bytes)])?;
            }
            let mut freed = Vec::new();
            for position in &discards {
                freed.extend(rows::delete(conn, *position)?);
            }
            if !rows.is_empty() {
                write_value(conn, rows::NEXT, Some(&next.to_le_bytes()))?;
            }
            crate::fail_point!("log.commit.in", crate::fail::disk_full());
            Ok(freed)
        });
        let freed = done.inspect_err(|e| {
            if matches!(e, Error::Damaged { .. }) {
                log.file.suspect();
            }
        })?;
        log.gateways.extend(names);
        for ((no, epoch), changed) in sets {
            let of = log.sets.entry(no).or_default();
            match changed {
                Some(changed) => of.insert(epoch, changed),
                None => of.remove(&epoch),
            };
        }
        for row in rows.iter().filter(|r| r.sha.is_some()) {
            let usage = log.usage.entry(row.gateway).or_default();
            usage.blocks += 1;
            usage.bytes += row.record.bytes.len() as u64;
        }
        freed.iter().for_each(|f| log.forget(f));
        let first = (!rows.is_empty()).then_some(log.next);
        log.next = next;
        Ok(Committed { first, last: next - 1 })
    }

    fn push(&mut self, record: &NewRecord<'_>, sha: Option<[u8; 16]>) -> u64 {
        let position = self.log.next + self.rows.len() as u64;
        self.bytes += (record.bytes.len() + record.meta.len()) as u64;
        let gateway = if record.gateway.is_empty() { 0 } else { self.number(record.gateway) };
        self.rows.push(Row {
            gateway,
            crc: rows::record_crc(position, sha.is_some(), record),
            sha,
            record: Record {
                position,
                kind: record.kind,
                gateway: record.gateway.to_owned(),
                epoch: record.epoch,
                seq: record.seq,
                received_at: record.received_at,
                meta: record.meta.to_vec(),
                bytes: record.bytes.to_vec(),
                block: sha.is_some(),
            },
        });
        position
    }

    fn change(
        &mut self,
        gateway: &str,
        epoch: u64,
        edit: impl FnOnce(&mut EpochSets) -> Result<(), TooMany>,
    ) -> Result<(), Error> {
        let mut sets = self.epoch(gateway, epoch).cloned().unwrap_or_default();
        edit(&mut sets).map_err(|TooMany| Error::TooMany { epoch })?;
        let no = self.number(gateway);
        self.sets.insert((no, epoch), Some(sets));
        Ok(())
    }

    fn known(&self, gateway: &str) -> Option<u32> {
        let new = || self.names.iter().find(|(n, _)| n == gateway).map(|(_, no)| *no);
        self.log.gateways.get(gateway).copied().or_else(new)
    }

    fn number(&mut self, gateway: &str) -> u32 {
        self.known(gateway).unwrap_or_else(|| {
            let count = self.log.gateways.len() + self.names.len();
            let top = self.log.gateways.values().chain(self.names.iter().map(|(_, n)| n)).max();
            let no = top.map_or(1, |n| n + 1);
            debug_assert!(count < u32::MAX as usize);
            self.names.push((gateway.to_owned(), no));
            no
        })
    }
}

pub(super) fn write_row(
    conn: &Connection,
    position: u64,
    gateway: u32,
    crc: u32,
    sha: Option<&[u8; 16]>,
    r: &NewRecord<'_>,
) -> rusqlite::Result<()> {
    let (position, epoch, seq) =
        (position.cast_signed(), r.epoch.cast_signed(), r.seq.cast_signed());
    conn.prepare_cached("INSERT INTO record VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)")?
        .execute(params![
            position,
            r.kind,
            gateway,
            epoch,
            seq,
            r.received_at,
            sha.is_some(),
            crc,
            r.meta,
            r.bytes
        ])?;
    if let Some(sha) = sha {
        let size = i64::try_from(r.bytes.len()).unwrap_or(i64::MAX);
        conn.prepare_cached("INSERT OR REPLACE INTO block VALUES(?1, ?2, ?3, ?4, ?5, ?6)")?
            .execute(params![gateway, epoch, seq, position, size, sha])?;
    }
    Ok(())
}

pub(super) fn write_sets(
    conn: &Connection,
    name: &str,
    no: u32,
    epoch: u64,
    sets: Option<&EpochSets>,
) -> rusqlite::Result<()> {
    let Some(sets) = sets else {
        conn.prepare_cached("DELETE FROM sets WHERE gateway = ?1 AND epoch = ?2")?
            .execute(params![no, epoch.cast_signed()])?;
        return Ok(());
    };
    let [logged, covered, held] =
        [&sets.logged, &sets.covered, &sets.held].map(Intervals::to_bytes);
    let crc = rows::sets_crc(name, epoch, [&logged, &covered, &held]);
    conn.prepare_cached("INSERT OR REPLACE INTO sets VALUES(?1, ?2, ?3, ?4, ?5, ?6)")?
        .execute(params![no, epoch.cast_signed(), logged, covered, held, crc])?;
    Ok(())
}

pub(super) fn write_value(
    conn: &Connection,
    key: &[u8],
    value: Option<&[u8]>,
) -> rusqlite::Result<()> {
    let Some(value) = value else {
        conn.prepare_cached("DELETE FROM kv WHERE key = ?1")?.execute([key])?;
        return Ok(());
    };
    conn.prepare_cached("INSERT OR REPLACE INTO kv VALUES(?1, ?2, ?3)")?.execute(params![
        key,
        value,
        rows::pair_crc(key, value)
    ])?;
    Ok(())
}

impl Log {
    /// Takes what left the file out of the counts.
    pub(super) fn forget(&mut self, freed: &rows::Freed) {
        if let Some(usage) = self.usage.get_mut(&freed.gateway) {
            *usage = Usage {
                blocks: usage.blocks.saturating_sub(1),
                bytes: usage.bytes.saturating_sub(freed.bytes),
            };
        }
    }
}
