//! Snapshots of evaluators, and which of them a start may use.
//!
//! One snapshot per gateway, at the gateway's own position, and one of what the centre itself knows (name [`CENTRE`]). A snapshot of another engine version, of other rules, of another log or that cannot be read is not used: that evaluator
//! is rebuilt, see `cursor::restore`; transition keys keep it from repeating itself.

use rules::evaluator::Evaluator;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::centre::{Centre, Own};
use super::engines::{EngineStep, Engines};
use crate::state::{Position, Snapshot};

/// Name of the cursor and snapshot of the centre itself; no gateway can have it (it has a dot).
pub const CENTRE: &str = "centre.";
/// Version of what is stored here besides the engine.
const STORED_VERSION: u32 = 6;

impl<E: Engines> Centre<E> {
    /// The version that snapshots of this centre carry.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.engines().version() * 1_000 + STORED_VERSION
    }

    /// Serializes one gateway's evaluator; none where there is no such gateway.
    pub(super) fn snapshot(&self, gateway: &str, log_id: u64) -> Option<Snapshot> {
        let fed = self.gateways.get(gateway)?;
        // In front, so that they are read without the rest.
        let mut bytes = to_bytes(&fed.evaluator.needed().collect::<Vec<u64>>());
        bytes.extend(to_bytes(&fed.evaluator));
        Some(self.stored(log_id, fed.evaluator.position(), bytes))
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

    /// Puts back one gateway's evaluator; `false` where it does not run the rules of today.
    pub(super) fn restore_gateway(
        &mut self,
        gateway: &str,
        mut evaluator: Evaluator<E::Engine>,
    ) -> bool {
        if !evaluator.engines_mut().all(|engine| self.engines().share(engine)) {
            return false;
        }
        self.restore(gateway, evaluator);
        true
    }

    /// Positions of the blocks that wait in a snapshot of a gateway; none where it cannot be used.
    pub(super) fn waiting_in(&self, snapshot: &Snapshot) -> Vec<u64> {
        if snapshot.engine_version != self.version() {
            return Vec::new();
        }
        postcard::take_from_bytes(&snapshot.bytes).map_or_else(|_| Vec::new(), |read| read.0)
    }

    fn read<T: DeserializeOwned>(&self, snapshot: &Snapshot) -> Option<T> {
        if snapshot.engine_version != self.version() {
            return None;
        }
        postcard::from_bytes(&snapshot.bytes).ok()
    }
}

/// Reads the evaluator of a gateway; none where the snapshot is of another version or cannot be read.
pub(super) fn evaluator_of<S: EngineStep>(
    version: u32,
    snapshot: &Snapshot,
) -> Option<Evaluator<S>> {
    if snapshot.engine_version != version {
        return None;
    }
    let (_, rest) = postcard::take_from_bytes::<Vec<u64>>(&snapshot.bytes).ok()?;
    postcard::from_bytes(rest).ok()
}

fn to_bytes<T: Serialize>(value: &T) -> Vec<u8> {
    postcard::to_allocvec(value).expect("evaluators hold nothing that postcard cannot write")
}
