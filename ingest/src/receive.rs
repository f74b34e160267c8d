//! The centre's receive rules: what is logged, what is refused, what is rejected, what is acked.
//!
//! ```text
//! message ─► MAC ─► decode ─► key known? ─► list, link ─► room? ─► manifest? ─► ahead of time? ─► log ─► chain, closures
//!              │        │        │ same bytes: acked      │ refused: neither logged nor acked, it comes again
//!              │        │        └ other bytes: quarantine, key_reuse
//!              │        └ quarantine, rejected by its key
//!              └ dropped, counted and said: nothing of it can be trusted
//! ```
//!
//! [`Receiver`] is pure: it decides inside a transaction ([`port::LogPort`]) that [`worker`] commits, and has neither
//! clock nor I/O, so that the simulator drives it. An ack names a block only after the commit that logged it.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use wire::frame::{self, Kind};
use wire::message::{Item, Stamp, State, Uplink};
use wire::{GatewayName, Manifest, ManifestKey, manifest};

use crate::log::record::CentreRecord;
use crate::log::{LogRecord, RecordBody};

pub mod admit;
mod block;
mod clock;
mod delivery;
pub mod directory;
mod dropped;
mod effect;
pub mod gateway;
pub mod memory;
pub mod mqtt;
pub mod port;
pub mod replay;
mod time;
pub mod worker;

pub use delivery::Differ;
pub use directory::{Directory, Known};
pub use effect::{Effects, Notice, Quarantined};
pub use gateway::GatewayState;
pub use time::AHEAD_MS;

use gateway::Presence;
use port::LogPort;

#[cfg(test)]
mod tests;

/// Manifests of one gateway in the log, which keeps them for ever: one comes with each change of its configuration.
pub const GATEWAY_MANIFESTS_MAX: u64 = 4_096;
/// Manifests kept decoded, over all gateways.
const MANIFESTS_MAX: usize = 4_096;
/// Replacements that manifests name, remembered over all gateways.
const REPLACED_MAX: usize = 16_384;
/// Manifest keys asked for at once per gateway.
const NEED_MAX: usize = wire::limits::NEED_MANIFEST_MAX;

/// A message as it came from the broker.
#[derive(Debug, Clone, Copy)]
pub struct Inbound<'a> {
    /// The gateway of the topic.
    pub gateway: &'a GatewayName,
    /// The frame.
    pub frame: &'a [u8],
    /// The centre's time when it arrived, ms UTC.
    pub at: i64,
}

/// What the receiver must know of its surroundings for one transaction.
#[derive(Debug, Clone, Copy)]
pub struct Room {
    /// Bytes of the log in use when the transaction began.
    pub used: u64,
    /// Bytes that the log may use.
    pub bound: u64,
    /// Bytes of blocks that one gateway may have in the log before only live ones and the next in order are taken.
    pub gateway_quota: u64,
    /// Bytes that two busy snapshot intervals bring: sizes the reserve; 0 = the least.
    pub two_intervals: u64,
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Logged; acked after the commit.
    Logged,
    /// Logged before; acked again.
    Duplicate,
    /// A manifest was taken.
    Manifest,
    /// Neither logged nor acked, it will be sent again; the word says why.
    Refused(&'static str),
    /// Set aside in quarantine and acked as rejected; the word says why.
    Rejected(&'static str),
    /// Dropped and counted: it cannot be trusted or says nothing; the word says why.
    Dropped(&'static str),
}

/// The receive rules with what they remember. See the module.
#[derive(Debug)]
pub struct Receiver {
    log_id: u64,
    gateways: HashMap<GatewayName, GatewayState>,
    manifests: HashMap<(GatewayName, ManifestKey), Arc<Manifest>>,
    undo: HashMap<GatewayName, Option<GatewayState>>,
    effects: Effects,
    quarantine_full: HashSet<GatewayName>,
    delivered: HashMap<GatewayName, delivery::Delivered>,
    /// Gateways that another one names in its manifest as replaced, with that one and its site.
    replaced: HashMap<GatewayName, (GatewayName, String)>,
}

impl Receiver {
    /// A receiver of a start of the centre, with what the log kept of each gateway.
    #[must_use]
    pub fn new(log_id: u64, kept: impl IntoIterator<Item = (GatewayName, GatewayState)>) -> Self {
        Self {
            log_id,
            gateways: kept.into_iter().collect(),
            manifests: HashMap::new(),
            undo: HashMap::new(),
            effects: Effects::default(),
            quarantine_full: HashSet::new(),
            delivered: HashMap::new(),
            replaced: HashMap::new(),
        }
    }

    /// Says whose quarantine is full: what would go there is neither logged nor acked.
    pub fn set_quarantine_full(&mut self, gateways: HashSet<GatewayName>) {
        self.quarantine_full = gateways;
    }

    /// The id of this start of the centre.
    #[must_use]
    pub fn log_id(&self) -> u64 {
        self.log_id
    }

    /// What is known of a gateway.
    #[must_use]
    pub fn gateway(&self, name: &GatewayName) -> Option<&GatewayState> {
        self.gateways.get(name)
    }

    /// All gateways that were ever heard.
    pub fn gateways(&self) -> impl Iterator<Item = (&GatewayName, &GatewayState)> {
        self.gateways.iter()
    }

    pub(crate) fn gateways_mut(
        &mut self,
    ) -> impl Iterator<Item = (&GatewayName, &mut GatewayState)> {
        self.gateways.iter_mut()
    }

    /// Takes one message into the transaction. After the last one: [`Receiver::seal`], commit, then
    /// [`Receiver::committed`] or [`Receiver::rolled_back`].
    ///
    /// # Errors
    /// When the log cannot be read or changed: the whole transaction is to be dropped.
    pub fn receive(
        &mut self,
        port: &mut impl LogPort,
        directory: &impl Directory,
        room: &Room,
        message: Inbound<'_>,
    ) -> Result<Outcome, spool::Error> {
        let outcome = self.take(port, directory, room, message)?;
        self.effects.notices.extend(match outcome {
            Outcome::Dropped(code) => dropped::notice(code, message.gateway),
            Outcome::Refused(code) => dropped::refused(code, message.gateway),
            _ => None,
        });
        Ok(outcome)
    }

    fn take(
        &mut self,
        port: &mut impl LogPort,
        directory: &impl Directory,
        room: &Room,
        message: Inbound<'_>,
    ) -> Result<Outcome, spool::Error> {
        let Some(known) = directory.gateway(message.gateway) else {
            return Ok(Outcome::Dropped("unknown_gateway"));
        };
        let body = match frame::open(&known.key, Kind::Uplink, message.frame) {
            Ok(body) => body,
            Err(error) => return Ok(Outcome::Dropped(error.code())),
        };
        spool::fail_point!("receive.authentic");
        let Ok(uplink) = Uplink::decode(body) else { return Ok(Outcome::Dropped("malformed")) };
        if uplink.stamp.gateway != *message.gateway {
            return Ok(Outcome::Dropped("topic_mismatch"));
        }
        self.touch(message.gateway).heard(&uplink.stamp, message.at);
        self.delivered(message.gateway, &uplink.stamp, message.at);
        match uplink.item {
            Item::Manifest(bytes) => {
                self.take_manifest(port, room, (known, message.gateway), &bytes)
            }
            Item::Block(bytes) => {
                let arrival = block::Arrival {
                    known,
                    gateway: message.gateway,
                    boot: uplink.stamp.boot,
                    sent_mono_ms: uplink.stamp.mono_ms,
                    at: message.at,
                };
                self.take_block(port, room, &arrival, &bytes)
            }
        }
    }

    fn take_manifest(
        &mut self,
        port: &mut impl LogPort,
        room: &Room,
        (known, gateway): (&Known, &GatewayName),
        bytes: &[u8],
    ) -> Result<Outcome, spool::Error> {
        let Ok(decoded) = Manifest::decode(bytes) else {
            return Ok(Outcome::Dropped("manifest_malformed"));
        };
        if decoded.gateway != *gateway || decoded.site != known.site {
            self.effects.notices.push(Notice {
                code: "manifest_site",
                gateway: Some(gateway.clone()),
                text: format!(
                    "the manifest names gateway {} at site {}, registered is site {}; mend the gateway's configuration or the registry",
                    decoded.gateway, decoded.site, known.site
                ),
            });
            return Ok(Outcome::Dropped("manifest_site"));
        }
        let key = manifest::key(bytes);
        // One that cannot be read is put again, which heals it.
        if port.manifest(gateway.as_str(), &key.0).is_ok_and(|found| found.is_none()) {
            // Nothing evicts a manifest: it must not take the place of what lets the log be emptied.
            if !room.takes_manifest(port.added_bytes()) {
                return Ok(Outcome::Refused("log_full"));
            }
            if port.manifest_count(gateway.as_str())? >= GATEWAY_MANIFESTS_MAX {
                return Ok(Outcome::Refused("manifests_full"));
            }
        }
        port.put_manifest(gateway.as_str(), key.0, bytes);
        spool::fail_point!("receive.manifest");
        self.remember(gateway.clone(), key, Arc::new(decoded));
        self.touch(gateway).need.remove(&key);
        Ok(Outcome::Manifest)
    }

    fn remember(&mut self, gateway: GatewayName, key: ManifestKey, manifest: Arc<Manifest>) {
        if let Some(old) = manifest.replaces.as_ref().filter(|old| **old != gateway) {
            let told = (gateway.clone(), manifest.site.clone());
            if self.replaced.len() < REPLACED_MAX || self.replaced.contains_key(old) {
                self.replaced.insert(old.clone(), told);
            }
        }
        if self.manifests.len() >= MANIFESTS_MAX {
            self.manifests.clear();
        }
        self.manifests.insert((gateway, key), manifest);
    }

    /// A decoded manifest that is in the log or in this transaction.
    fn manifest(
        &mut self,
        port: &impl LogPort,
        gateway: &GatewayName,
        key: ManifestKey,
    ) -> Result<Option<Arc<Manifest>>, spool::Error> {
        if let Some(known) = self.manifests.get(&(gateway.clone(), key)) {
            return Ok(Some(Arc::clone(known)));
        }
        let Some(bytes) = port.manifest(gateway.as_str(), &key.0)? else { return Ok(None) };
        let Ok(decoded) = Manifest::decode(&bytes).map(Arc::new) else { return Ok(None) };
        self.remember(gateway.clone(), key, Arc::clone(&decoded));
        Ok(Some(decoded))
    }

    /// The state of a gateway, to be changed in this transaction.
    pub(crate) fn touch(&mut self, gateway: &GatewayName) -> &mut GatewayState {
        if !self.undo.contains_key(gateway) {
            self.undo.insert(gateway.clone(), self.gateways.get(gateway).cloned());
        }
        self.gateways.entry(gateway.clone()).or_default()
    }

    /// Puts what must survive a restart into the transaction; call once before the commit.
    pub fn seal(&mut self, port: &mut impl LogPort) {
        for (name, before) in &self.undo {
            let Some(now) = self.gateways.get(name) else { continue };
            if before.as_ref().is_none_or(|b| b.kept != now.kept) {
                port.put(&gateway::key_of(name.as_str()), Some(&now.kept.encode()));
            }
        }
    }

    /// The transaction is durable: gives what follows from it.
    pub fn committed(&mut self) -> Effects {
        self.undo.clear();
        std::mem::take(&mut self.effects)
    }

    /// What the transaction wants set aside, before it is committed.
    #[must_use]
    pub fn quarantined(&self) -> &[Quarantined] {
        &self.effects.quarantined
    }

    /// The transaction failed: everything is as it was before it.
    pub fn rolled_back(&mut self) {
        for (name, before) in self.undo.drain() {
            match before {
                Some(state) => self.gateways.insert(name, state),
                None => self.gateways.remove(&name),
            };
        }
        self.manifests.clear();
        self.effects = Effects::default();
    }

    fn log(
        &mut self,
        port: &mut impl LogPort,
        gateway: &str,
        record: CentreRecord,
        at: i64,
    ) -> u64 {
        let position = port.append(&record.encode().as_new(gateway, at));
        let body = RecordBody::Centre(record);
        let gateway = gateway.to_owned();
        self.effects.records.push(Arc::new(LogRecord { position, received_at: at, gateway, body }));
        position
    }

    /// Logs a record of the centre as a whole: a tick, a start, a fact. Gives its position.
    pub fn log_centre(&mut self, port: &mut impl LogPort, record: CentreRecord, at: i64) -> u64 {
        self.log(port, "", record, at)
    }

    /// Takes a state message, or a last will. `None` where it is of an epoch that has a successor: a late will.
    ///
    /// # Errors
    /// The stable word for what cannot be trusted.
    pub fn receive_state(
        &mut self,
        port: &mut impl LogPort,
        directory: &impl Directory,
        message: Inbound<'_>,
    ) -> Result<Option<State>, &'static str> {
        let taken = self.take_state(port, directory, message);
        if let Err(code) = taken {
            self.effects.notices.extend(dropped::notice(code, message.gateway));
        }
        taken
    }

    fn take_state(
        &mut self,
        port: &mut impl LogPort,
        directory: &impl Directory,
        message: Inbound<'_>,
    ) -> Result<Option<State>, &'static str> {
        let known = directory.gateway(message.gateway).ok_or("unknown_gateway")?;
        let body = frame::open(&known.key, Kind::State, message.frame).map_err(|e| e.code())?;
        let state = State::decode(body).map_err(|_| "malformed")?;
        if state.stamp.gateway != *message.gateway {
            return Err("topic_mismatch");
        }
        let epoch = state.epoch.0;
        let kept = &mut self.touch(message.gateway).kept;
        if kept.chain.has_successor(epoch) {
            return Ok(None);
        }
        let said = Presence { epoch, online: state.online, on_battery: state.on_battery };
        if kept.presence != Some(said) {
            kept.presence = Some(said);
            let record =
                CentreRecord::Presence { epoch, online: said.online, on_battery: said.on_battery };
            self.log(port, message.gateway.as_str(), record, message.at);
        }
        Ok(Some(state))
    }

    /// Manifests that a gateway is to send.
    #[must_use]
    pub fn needs(&self, gateway: &GatewayName) -> BTreeSet<ManifestKey> {
        self.gateways.get(gateway).map(|g| g.need.clone()).unwrap_or_default()
    }

    /// The stamp that acks of a gateway echo.
    #[must_use]
    pub fn echo(&self, gateway: &GatewayName) -> Option<&Stamp> {
        self.gateways.get(gateway)?.last.as_ref()
    }
}
