//! Manifests: kept while a block on the disk refers to them.

use rusqlite::{OptionalExtension as _, params};

use super::{Spool, rows};
use crate::error::Error;

impl Spool {
    /// Keeps a manifest; it is on disk when this returns. Putting a known one does nothing.
    ///
    /// # Errors
    /// Disk errors, [`Error::Full`].
    pub fn put_manifest(&mut self, key: [u8; 16], bytes: &[u8]) -> Result<(), Error> {
        if let Some(no) = self.manifests.get(&key) {
            self.newest_manifest = *no;
            return Ok(());
        }
        // A number counted in memory only is not used again for another manifest.
        let counted = self.state.counters.manifests.keys().next_back().copied();
        let known = self.manifests.values().max().copied();
        let no = counted.max(known).unwrap_or(0).max(self.newest_manifest) + 1;
        self.file.transact("put a manifest into", |conn| {
            conn.execute(
                "INSERT INTO manifest VALUES(?1, ?2, ?3, ?4)",
                params![no, key, bytes, rows::state_crc(&key, bytes)],
            )
        })?;
        crate::fail_point!("spool.manifest");
        self.manifests.insert(key, no);
        self.newest_manifest = no;
        Ok(())
    }

    /// The bytes of a manifest, `None` where no block refers to it any more or it is damaged.
    ///
    /// # Errors
    /// Disk errors.
    pub fn manifest(&self, key: &[u8; 16]) -> Result<Option<Vec<u8>>, Error> {
        for file in std::iter::once(&self.file).chain(&self.archive) {
            let mut read = file
                .conn
                .prepare_cached("SELECT bytes, crc FROM manifest WHERE key = ?1")
                .map_err(file.fail("read a manifest of"))?;
            let row = read
                .query_row([key], |r| Ok((r.get::<_, Vec<u8>>(0)?, r.get::<_, u32>(1)?)))
                .optional()
                .map_err(file.fail("read a manifest of"))?;
            if let Some((bytes, crc)) = row {
                return Ok((rows::state_crc(key, &bytes) == crc).then_some(bytes));
            }
        }
        Ok(None)
    }

    pub(super) fn load_manifests(&mut self) -> Result<(), Error> {
        let file = &self.file;
        let run = || {
            let mut statement = file.conn.prepare("SELECT key, no FROM manifest")?;
            let rows = statement.query_map([], |r| Ok((r.get::<_, Vec<u8>>(0)?, r.get(1)?)))?;
            rows.collect::<rusqlite::Result<Vec<(Vec<u8>, u32)>>>()
        };
        for (key, no) in run().map_err(file.fail("load"))? {
            if let Ok(key) = key.try_into() {
                self.manifests.insert(key, no);
                self.newest_manifest = self.newest_manifest.max(no);
            }
        }
        Ok(())
    }

    /// Deletes manifests that no block refers to, except the one put last.
    pub(super) fn drop_manifests(&mut self) -> Result<(), Error> {
        let used = &self.state.counters.manifests;
        let idle: Vec<([u8; 16], u32)> = self
            .manifests
            .iter()
            .map(|(key, no)| (*key, *no))
            .filter(|(_, no)| *no != self.newest_manifest && !used.contains_key(no))
            .collect();
        for (key, no) in idle {
            self.file.transact("drop a manifest of", |conn| {
                conn.execute("DELETE FROM manifest WHERE no = ?1", [no])
            })?;
            self.manifests.remove(&key);
        }
        Ok(())
    }

    pub(super) fn manifest_key(&self, no: u32) -> Option<[u8; 16]> {
        self.manifests.iter().find(|(_, n)| **n == no).map(|(key, _)| *key)
    }
}
