//! Snapshots of evaluators, and which of them a start may use.
//!
//! One snapshot per gateway, at the gateway's own position, and one of what the centre itself knows (name [`CENTRE`]). A snapshot of another engine version, of other rules, of another log or that cannot be read is not used: that evaluator
//! begins at the start of the log again; transition keys keep it from repeating itself.

use rules::evaluator::Evaluator;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::centre::{Centre, Own};
use super::engines::Engines;
use crate::state::{Position, Snapshot};

/// Name of the cursor and snapshot of the centre itself; no gateway can have it (it has a dot).
pub const CENTRE: &str = "centre.";
/// Version of what is stored here besides the engine.
const STORED_VERSION: u32 = 2;

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
        if !self.engines().runs(evaluator.settled()) {
            return false;
        }
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
