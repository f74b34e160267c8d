//! What the receiver needs of the durable log inside one transaction.
//!
//! [`spool::Txn`] is the real one; the simulator and the property tests bring one in memory.

use spool::{EpochSets, Error, NewRecord, Txn};

/// One transaction of the log, seen with its own changes.
pub trait LogPort {
    /// What is logged and covered of an epoch.
    fn epoch(&self, gateway: &str, epoch: u64) -> Option<&EpochSets>;
    /// Adds a record that is no block; gives its position.
    fn append(&mut self, record: &NewRecord<'_>) -> u64;
    /// Adds a block and puts it into the logged and covered sets; gives its position.
    ///
    /// # Errors
    /// [`Error::TooMany`] where a set would need too many intervals; nothing of it is kept.
    fn append_block(&mut self, record: &NewRecord<'_>) -> Result<u64, Error>;
    /// Puts one seq into the logged and covered sets without a record: it was rejected.
    ///
    /// # Errors
    /// [`Error::TooMany`].
    fn add_logged(&mut self, gateway: &str, epoch: u64, seq: u64) -> Result<(), Error>;
    /// Puts a range into the covered set only: declared or gone.
    ///
    /// # Errors
    /// [`Error::TooMany`].
    fn add_covered(&mut self, gateway: &str, epoch: u64, from: u64, to: u64) -> Result<(), Error>;
    /// Forgets the sets of an epoch.
    fn forget_epoch(&mut self, gateway: &str, epoch: u64);
    /// Sets or removes a value.
    fn put(&mut self, key: &[u8], value: Option<&[u8]>);
    /// Keeps a manifest.
    fn put_manifest(&mut self, gateway: &str, key: [u8; 16], bytes: &[u8]);
    /// The bytes of a manifest that was committed before.
    ///
    /// # Errors
    /// Where the file cannot be read.
    fn manifest(&self, gateway: &str, key: &[u8; 16]) -> Result<Option<Vec<u8>>, Error>;
    /// Manifests of a gateway, in the log and in this transaction.
    ///
    /// # Errors
    /// Where the file cannot be read.
    fn manifest_count(&self, gateway: &str) -> Result<u64, Error>;
    /// Digest of a block that is in the log.
    ///
    /// # Errors
    /// Where the file cannot be read.
    fn block_sha(&self, gateway: &str, epoch: u64, seq: u64) -> Result<Option<[u8; 16]>, Error>;
    /// Bytes of the gateway's blocks in the log.
    fn usage_bytes(&self, gateway: &str) -> u64;
    /// Bytes that this transaction would add.
    fn added_bytes(&self) -> u64;
}

impl LogPort for Txn<'_> {
    fn epoch(&self, gateway: &str, epoch: u64) -> Option<&EpochSets> {
        Txn::epoch(self, gateway, epoch)
    }
    fn append(&mut self, record: &NewRecord<'_>) -> u64 {
        Txn::append(self, record)
    }
    fn append_block(&mut self, record: &NewRecord<'_>) -> Result<u64, Error> {
        Txn::append_block(self, record)
    }
    fn add_logged(&mut self, gateway: &str, epoch: u64, seq: u64) -> Result<(), Error> {
        Txn::add_logged(self, gateway, epoch, seq, seq)
    }
    fn add_covered(&mut self, gateway: &str, epoch: u64, from: u64, to: u64) -> Result<(), Error> {
        Txn::add_covered(self, gateway, epoch, from, to)
    }
    fn forget_epoch(&mut self, gateway: &str, epoch: u64) {
        Txn::forget_epoch(self, gateway, epoch);
    }
    fn put(&mut self, key: &[u8], value: Option<&[u8]>) {
        Txn::put(self, key, value);
    }
    fn put_manifest(&mut self, gateway: &str, key: [u8; 16], bytes: &[u8]) {
        Txn::put_manifest(self, gateway, key, bytes);
    }
    fn manifest(&self, gateway: &str, key: &[u8; 16]) -> Result<Option<Vec<u8>>, Error> {
        self.log().manifest(gateway, key)
    }
    fn manifest_count(&self, gateway: &str) -> Result<u64, Error> {
        Txn::manifest_count(self, gateway)
    }
    fn block_sha(&self, gateway: &str, epoch: u64, seq: u64) -> Result<Option<[u8; 16]>, Error> {
        Txn::block_sha(self, gateway, epoch, seq)
    }
    fn usage_bytes(&self, gateway: &str) -> u64 {
        self.log().usage(gateway).bytes
    }
    fn added_bytes(&self) -> u64 {
        self.bytes()
    }
}
