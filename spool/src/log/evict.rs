//! Eviction: only what the caller names, in small transactions so that appends never wait long.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};

use super::txn::write_sets;
use super::{EpochSets, Log, rows};
use crate::error::Error;

/// Records deleted in one transaction.
const CHUNK: usize = 512;
/// Free pages given back to the file system after each transaction.
const SHRINK_PAGES: u32 = 1024;

/// What an eviction took out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Evicted {
    /// Records deleted.
    pub records: u64,
    /// Bytes of blocks deleted, as they came.
    pub bytes: u64,
    /// True where the call stopped at its bound of one transaction and there is more to do.
    pub more: bool,
}

impl Log {
    /// Deletes records at positions up to `upto`, except those in `keep` (sorted ascending), at most
    /// a few hundred in one call; call again while [`Evicted::more`].
    ///
    /// # Errors
    /// [`Error::DiskFull`] where even deleting needs room, [`Error::Damaged`].
    pub fn evict(&mut self, upto: u64, keep: &[u64]) -> Result<Evicted, Error> {
        debug_assert!(keep.is_sorted());
        let doomed = self.doomed(upto, keep)?;
        let mut out = Evicted { more: doomed.len() == CHUNK, ..Evicted::default() };
        if !doomed.is_empty() {
            let names: HashMap<u32, &str> =
                self.gateways.iter().map(|(n, i)| (*i, n.as_str())).collect();
            let sets = &self.sets;
            let (freed, changed) = self.file.transact("evict from", |conn| {
                let mut freed = Vec::new();
                for position in &doomed {
                    freed.extend(rows::delete(conn, *position)?);
                }
                let changed = without(sets, &freed);
                for ((no, epoch), set) in &changed {
                    write_sets(conn, names[no], *no, *epoch, Some(set))?;
                }
                crate::fail_point!("log.evict.in");
                Ok((freed, changed))
            })?;
            crate::fail_point!("log.evict.after");
            for ((no, epoch), set) in changed {
                self.sets.entry(no).or_default().insert(epoch, set);
            }
            out.records = doomed.len() as u64;
            out.bytes = freed.iter().map(|f| f.bytes).sum();
            freed.iter().for_each(|f| self.forget(f));
            self.file.shrink(SHRINK_PAGES)?;
        }
        if !out.more {
            // Below the first kept position nothing is left to look at again.
            let below = keep.first().map_or(upto, |k| k.saturating_sub(1));
            self.evicted_upto = self.evicted_upto.max(upto.min(below).min(self.last_position()));
        }
        Ok(out)
    }

    fn doomed(&self, upto: u64, keep: &[u64]) -> Result<Vec<u64>, Error> {
        let run = || {
            let mut statement = self.file.conn.prepare_cached(
                "SELECT position FROM record WHERE position > ?1 AND position <= ?2 ORDER BY position",
            )?;
            let mut rows = statement.query([
                self.evicted_upto.cast_signed(),
                upto.min(i64::MAX as u64).cast_signed(),
            ])?;
            let mut doomed = Vec::new();
            while let Some(row) = rows.next()? {
                let position = row.get::<_, i64>(0)?.cast_unsigned();
                if keep.binary_search(&position).is_err() {
                    doomed.push(position);
                    if doomed.len() == CHUNK {
                        break;
                    }
                }
            }
            Ok(doomed)
        };
        run().map_err(self.file.fail("evict from"))
    }
}

/// The sets of the epochs that lose records, with these taken out of `held`.
fn without(
    sets: &HashMap<u32, BTreeMap<u64, EpochSets>>,
    freed: &[rows::Freed],
) -> BTreeMap<(u32, u64), EpochSets> {
    let mut changed: BTreeMap<(u32, u64), EpochSets> = BTreeMap::new();
    for f in freed {
        let key = (f.gateway, f.epoch);
        let set = match changed.entry(key) {
            Entry::Occupied(e) => e.into_mut(),
            Entry::Vacant(e) => match sets.get(&f.gateway).and_then(|s| s.get(&f.epoch)) {
                Some(set) => e.insert(set.clone()),
                None => continue,
            },
        };
        // With no interval left it stays named as held: a salvage would have it sent again.
        if set.held.remove(f.seq, f.seq).is_err() {
            continue;
        }
    }
    changed
}
