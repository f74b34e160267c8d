//! Blocks that the disk does not give back: when one is given up.
//!
//! One failed read says little (a loose cable, a controller that resets), and where nothing can be read it is the disk
//! and not a block. So a block is given up only after some failures, and only where others were read meanwhile.

use std::collections::BTreeMap;

use spool::Key;

/// Failed reads of one block after which it is lost; the uplink asks at growing intervals, so that is half a minute.
pub(super) const FAILURES_MAX: u32 = 5;
/// Blocks whose failures are counted; of more, the oldest are counted afresh.
const BLOCKS_MAX: usize = 1_024;

/// Failed reads in a row, by block.
#[derive(Debug, Default)]
pub(super) struct Unread {
    failed: BTreeMap<Key, Failed>,
    reads: u64,
}

#[derive(Debug)]
struct Failed {
    times: u32,
    /// Good reads of others before the first failure.
    reads: u64,
}

impl Unread {
    /// A block was read.
    pub(super) fn read(&mut self, key: Key) {
        self.reads += 1;
        self.failed.remove(&key);
    }

    /// A read failed; true where the block is to be given up.
    pub(super) fn failed(&mut self, key: Key) -> bool {
        if self.failed.len() >= BLOCKS_MAX && !self.failed.contains_key(&key) {
            self.failed.pop_first();
        }
        let reads = self.reads;
        let failed = self.failed.entry(key).or_insert(Failed { times: 0, reads });
        failed.times = failed.times.saturating_add(1);
        failed.times >= FAILURES_MAX && reads > failed.reads
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BAD: Key = Key { epoch: 1, seq: 7 };

    #[test]
    fn one_block_is_given_up_and_a_dead_disk_is_not() {
        let mut unread = Unread::default();
        // Nothing can be read: it is the disk.
        assert!((0..100).all(|_| !unread.failed(BAD)));
        unread.read(Key { epoch: 1, seq: 8 });
        assert!(unread.failed(BAD), "others can be read");
        unread.read(BAD);
        let given_up = (0..FAILURES_MAX).map(|_| {
            unread.read(Key { epoch: 1, seq: 9 });
            unread.failed(BAD)
        });
        let given_up: Vec<bool> = given_up.collect();
        assert_eq!(
            given_up,
            [false, false, false, false, true],
            "counted afresh after a good read"
        );
    }

    #[test]
    fn memory_is_bounded() {
        let mut unread = Unread::default();
        for seq in 0..3 * BLOCKS_MAX as u64 {
            unread.failed(Key { epoch: 1, seq });
        }
        assert_eq!(unread.failed.len(), BLOCKS_MAX);
    }
}
