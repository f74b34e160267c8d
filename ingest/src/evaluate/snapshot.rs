//! Snapshots of evaluators, and which of them a start may use.
//!
//! One snapshot per gateway, at the gateway's own position, and one of what the centre itself knows (name [`CENTRE`]). A snapshot of another engine version, of another log or that cannot be read is not used: that evaluator
//! begins at the start of the log again; transition keys keep it from repeating itself.

use rules::evaluator::Evaluator;
use serde::Serialize;
use serde::de::DeserializeOwned;
use spool::{Entry, LogReader};

use super::centre::{Centre, Own};
use super::engines::Engines;
use crate::log::record::kind;
use crate::state::{Position, Snapshot};

/// Name of the cursor and snapshot of the centre itself; no gateway can have it (it has a dot).
pub const CENTRE: &str = "centre.";
/// Version of what is stored here besides the engine.
const STORED_VERSION: u32 = 1;

impl<E: Engines> Centre<E> {
    /// The version that snapshots of this centre carry.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.engines().version() * 1_000 + STORED_VERSION
    }

    /// Serializes one gateway's evaluator; none where there is no such gateway.
    pub(super) fn snapshot(&self, gateway: &str, log_id: u64) -> Option<Snapshot> {
        let fed = self.gateways.get(gateway)?;
        Some(self.stored(log_id, fed.evaluator.position(), to_bytes(&fed.evaluator)))
    }

    /// Serializes what the centre itself knows.
    pub(super) fn snapshot_own(&self, log_id: u64) -> Snapshot {
        self.stored(log_id, self.own.position, to_bytes(&self.own))
    }

    fn stored(&self, log_id: u64, position: u64, bytes: Vec<u8>) -> Snapshot {
        Snapshot {
            at: Position { log_id, position },
            engine_version: self.version(),
            fact_revision: self.own.known.newest_revision(),
            verdict_seq: 0,
            bytes,
        }
    }

    /// Puts back what a snapshot of [`CENTRE`] holds; `false` where it cannot be used.
    pub(super) fn restore_own(&mut self, snapshot: &Snapshot) -> bool {
        let Some(own) = self.read::<Own>(snapshot) else { return false };
        self.own = own;
        true
    }

    /// Puts back one gateway's evaluator; `false` where the snapshot cannot be used.
    pub(super) fn restore_gateway(&mut self, gateway: &str, snapshot: &Snapshot) -> bool {
        let Some(evaluator) = self.read::<Evaluator<E::Engine>>(snapshot) else { return false };
        self.restore(gateway, evaluator);
        true
    }

    fn read<T: DeserializeOwned>(&self, snapshot: &Snapshot) -> Option<T> {
        if snapshot.engine_version != self.version() {
            return None;
        }
        postcard::from_bytes(&snapshot.bytes).ok()
    }
}

fn to_bytes<T: Serialize>(value: &T) -> Vec<u8> {
    postcard::to_allocvec(value).expect("evaluators hold nothing that postcard cannot write")
}

/// Which starts of the centre the log remembers, by position.
#[derive(Debug, Clone, Default)]
pub(super) struct Starts(Vec<(u64, u64)>);

impl Starts {
    /// Reads the start records of the log.
    pub(super) fn read(log: &LogReader) -> Result<Self, spool::Error> {
        let mut starts = Vec::new();
        let mut after = 0;
        loop {
            let found = log.read_from(after, 1 << 20, &[kind::START])?;
            let Some(last) = found.last().map(Entry::position) else { return Ok(Self(starts)) };
            after = last;
            starts.extend(found.iter().filter_map(|entry| match entry {
                Entry::Record(record) => Some((record.position, record.epoch)),
                Entry::Damaged { .. } => None,
            }));
        }
    }

    /// The start that governs a position: the newest at or before it; 0 before the first that is remembered.
    pub(super) fn at(&self, position: u64) -> u64 {
        let index = self.0.partition_point(|(start, _)| *start <= position);
        index.checked_sub(1).map_or(0, |index| self.0[index].1)
    }

    /// Whether a position of a snapshot means the same place in this log. Where the start that governs it has been
    /// evicted the log has gone on from there, and the place is shared.
    pub(super) fn shares(&self, at: Position) -> bool {
        let here = self.at(at.position);
        here == at.log_id || here == 0 && !self.0.is_empty() && at.position < self.0[0].0
    }

    pub(super) fn note(&mut self, position: u64, log_id: u64) {
        if self.0.last().is_none_or(|(last, _)| *last < position) {
            self.0.push((position, log_id));
        }
    }
}
