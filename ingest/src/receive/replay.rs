//! A block that a person gives back from quarantine, taken into the transaction like a message.
//!
//! It is a record of its own kind and stands in no dedupe set: the gateway's own key stays with what was logged under it
//! first, and the entry's number is the replay's identity, kept in the log until the store has it. So it is logged once.

use std::sync::Arc;

use spool::{Error, NewRecord};
use wire::GatewayName;
use wire::block::Body;

use super::Receiver;
use super::port::LogPort;
use crate::log::record::kind;
use crate::log::{DecodedBlock, LogRecord, RecordBody};
use crate::quarantine::plan::{NotReplayable, Planned, plan};
use crate::quarantine::{Entry, Logged};

/// What all keys of replays in the log begin with.
pub const REPLAY_PREFIX: &str = "replay/";

/// Key of a replay in the log.
fn key_of(entry: i64) -> Vec<u8> {
    format!("{REPLAY_PREFIX}{entry:016x}").into_bytes()
}

/// Reads a replay back from the log's row.
#[must_use]
pub fn replay_from(key: &[u8], value: &[u8]) -> Option<Logged> {
    let key = std::str::from_utf8(key).ok()?.strip_prefix(REPLAY_PREFIX)?;
    Some(Logged {
        entry: i64::from_str_radix(key, 16).ok()?,
        position: u64::from_le_bytes(value.get(..8)?.try_into().ok()?),
        sha: value.get(8..24)?.try_into().ok()?,
    })
}

impl Receiver {
    /// Takes an entry of the quarantine with its bytes into the transaction.
    ///
    /// # Errors
    /// When the log cannot be read: the whole transaction is to be dropped.
    pub fn replay(
        &mut self,
        port: &mut impl LogPort,
        (entry, bytes): (&Entry, &[u8]),
        now: i64,
    ) -> Result<Result<Logged, NotReplayable>, Error> {
        let Ok(gateway) = GatewayName::new(entry.gateway.clone()) else {
            return Ok(Err(NotReplayable::NoManifest));
        };
        let planned =
            plan(entry, bytes, entry.shift_ms, now, |key| self.manifest(&*port, &gateway, key))?;
        let Planned { mut block, manifest, meta } = match planned {
            Ok(planned) => planned,
            Err(why) => return Ok(Err(why)),
        };
        let encoded = meta.encode();
        let position = port.append(&NewRecord {
            kind: kind::REPLAY,
            gateway: gateway.as_str(),
            epoch: block.epoch.0,
            seq: block.seq,
            received_at: now,
            meta: &encoded,
            bytes,
        });
        let logged = Logged { entry: entry.id, sha: spool::sha16(bytes), position };
        let value = [&position.to_le_bytes()[..], &logged.sha].concat();
        port.put(&key_of(entry.id), Some(&value));
        let readings = match &mut block.body {
            Body::Readings(readings) => std::mem::take(readings),
            Body::Gap(_) => wire::Readings::default(),
        };
        let block = meta.apply(DecodedBlock {
            position,
            gateway: gateway.clone(),
            site: manifest.site.clone(),
            manifest,
            block,
            readings: Arc::new(readings),
            received_at: now,
            masked_rows: Vec::new(),
            is_ahead: false,
        });
        let body = RecordBody::Replay(Arc::new(block));
        let gateway = gateway.to_string();
        self.effects.records.push(Arc::new(LogRecord {
            position,
            received_at: now,
            gateway,
            body,
        }));
        Ok(Ok(logged))
    }

    /// Forgets replays that the store has, or that belong to no entry.
    pub fn forget_replays(&mut self, port: &mut impl LogPort, entries: &[i64]) {
        for entry in entries {
            port.put(&key_of(*entry), None);
        }
    }
}
