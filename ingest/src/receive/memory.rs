//! A log in memory: the receiver's other side in simulations and property tests. Never used by the service.
//!
//! Clone it before a transaction and put the clone back for one that failed.

use std::collections::{BTreeMap, HashMap};

use spool::{EpochSets, Error, NewRecord, sha16};

use super::GatewayState;
use super::gateway::{HELD_PREFIX, HeldBlock, KEPT_PREFIX, Kept, held_from};
use super::port::LogPort;
use wire::GatewayName;

/// A record as it was appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appended {
    /// Its place.
    pub position: u64,
    /// Its kind.
    pub kind: u8,
    /// The gateway, or empty.
    pub gateway: String,
    /// Epoch of a block.
    pub epoch: u64,
    /// Seq of a block.
    pub seq: u64,
    /// When it was received, ms UTC.
    pub received_at: i64,
    /// What was decided at receive.
    pub meta: Vec<u8>,
    /// The body.
    pub bytes: Vec<u8>,
}

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct MemoryLog {
    /// Everything appended, in order.
    pub records: Vec<Appended>,
    sets: HashMap<String, BTreeMap<u64, EpochSets>>,
    values: BTreeMap<Vec<u8>, Vec<u8>>,
    manifests: HashMap<(String, [u8; 16]), Vec<u8>>,
    digests: HashMap<(String, u64, u64), [u8; 16]>,
    usage: HashMap<String, u64>,
}

impl MemoryLog {
    /// What it kept of each gateway: what a start of the centre reads back.
    #[must_use]
    pub fn restore(&self) -> Vec<(GatewayName, GatewayState)> {
        let mut held: HashMap<String, Vec<HeldBlock>> = HashMap::new();
        for (key, value) in self.scan(HELD_PREFIX) {
            if let Some((gateway, block)) = held_from(key, value) {
                held.entry(gateway).or_default().push(block);
            }
        }
        let kept = self.scan(KEPT_PREFIX).filter_map(|(key, value)| {
            let name = String::from_utf8(key[KEPT_PREFIX.len()..].to_vec()).ok()?;
            let state = GatewayState::restored(
                Kept::decode(value).ok()?,
                held.remove(&name).unwrap_or_default(),
            );
            Some((GatewayName::new(name).ok()?, state))
        });
        kept.collect()
    }

    fn scan<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a Vec<u8>, &'a Vec<u8>)> {
        self.values.iter().filter(move |(key, _)| key.starts_with(prefix.as_bytes()))
    }

    fn change(
        &mut self,
        gateway: &str,
        epoch: u64,
        edit: impl FnOnce(&mut EpochSets) -> Result<(), spool::TooMany>,
    ) -> Result<(), Error> {
        let sets = self.sets.entry(gateway.to_owned()).or_default().entry(epoch).or_default();
        let mut changed = sets.clone();
        edit(&mut changed).map_err(|_| Error::TooMany { epoch })?;
        *sets = changed;
        Ok(())
    }
}

impl LogPort for MemoryLog {
    fn epoch(&self, gateway: &str, epoch: u64) -> Option<&EpochSets> {
        self.sets.get(gateway)?.get(&epoch)
    }

    fn append(&mut self, record: &NewRecord<'_>) -> u64 {
        let position = self.records.len() as u64 + 1;
        self.records.push(Appended {
            position,
            kind: record.kind,
            gateway: record.gateway.to_owned(),
            epoch: record.epoch,
            seq: record.seq,
            received_at: record.received_at,
            meta: record.meta.to_vec(),
            bytes: record.bytes.to_vec(),
        });
        position
    }

    fn append_block(&mut self, record: &NewRecord<'_>) -> Result<u64, Error> {
        let (epoch, seq) = (record.epoch, record.seq);
        self.change(record.gateway, epoch, |sets| {
            sets.covered.insert(seq, seq)?;
            sets.logged.insert(seq, seq)
        })?;
        self.digests.insert((record.gateway.to_owned(), epoch, seq), sha16(record.bytes));
        *self.usage.entry(record.gateway.to_owned()).or_default() += record.bytes.len() as u64;
        Ok(self.append(record))
    }

    fn add_logged(&mut self, gateway: &str, epoch: u64, seq: u64) -> Result<(), Error> {
        self.change(gateway, epoch, |sets| {
            sets.covered.insert(seq, seq)?;
            sets.logged.insert(seq, seq)
        })
    }

    fn add_covered(&mut self, gateway: &str, epoch: u64, from: u64, to: u64) -> Result<(), Error> {
        self.change(gateway, epoch, |sets| sets.covered.insert(from, to))
    }

    fn forget_epoch(&mut self, gateway: &str, epoch: u64) {
        if let Some(sets) = self.sets.get_mut(gateway) {
            sets.remove(&epoch);
        }
    }

    fn put(&mut self, key: &[u8], value: Option<&[u8]>) {
        match value {
            Some(value) => self.values.insert(key.to_vec(), value.to_vec()),
            None => self.values.remove(key),
        };
    }

    fn put_manifest(&mut self, gateway: &str, key: [u8; 16], bytes: &[u8]) {
        self.manifests.insert((gateway.to_owned(), key), bytes.to_vec());
    }

    fn manifest(&self, gateway: &str, key: &[u8; 16]) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.manifests.get(&(gateway.to_owned(), *key)).cloned())
    }

    fn manifest_count(&self, gateway: &str) -> Result<u64, Error> {
        Ok(self.manifests.keys().filter(|(of, _)| of == gateway).count() as u64)
    }

    fn block_sha(&self, gateway: &str, epoch: u64, seq: u64) -> Result<Option<[u8; 16]>, Error> {
        Ok(self.digests.get(&(gateway.to_owned(), epoch, seq)).copied())
    }

    fn usage_bytes(&self, gateway: &str) -> u64 {
        self.usage.get(gateway).copied().unwrap_or(0)
    }

    fn added_bytes(&self) -> u64 {
        0
    }
}
