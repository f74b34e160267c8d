//! One block at receive: from its bytes to a record in the transaction, or to the reason why not.

use std::sync::Arc;

use spool::{Error, NewRecord, sha16};
use wire::block::{Body, GapRecord};
use wire::message::State;
use wire::{Block, Boot, GatewayName, Manifest, Readings};

use super::admit::{LIVE_MS, Turn};
use super::gateway::{Doubt, GatewayState, HELD_MAX, Tail};
use super::port::LogPort;
use super::{Known, NEED_MAX, Notice, Outcome, Quarantined, Receiver, Room};
use crate::log::record::{BlockMeta, CentreRecord, kind};
use crate::log::{DecodedBlock, LogRecord, RecordBody};
use crate::selfwatch::is_synthetic;

/// Who sent it, in which boot, and when it arrived.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrival<'a> {
    pub(super) known: &'a Known,
    pub(super) gateway: &'a GatewayName,
    pub(super) boot: Boot,
    pub(super) sent_mono_ms: u64,
    pub(super) at: i64,
}

impl Receiver {
    pub(super) fn take_block(
        &mut self,
        port: &mut impl LogPort,
        room: &Room,
        arrival: &Arrival<'_>,
        bytes: &[u8],
    ) -> Result<Outcome, Error> {
        let name = arrival.gateway.as_str();
        let block = match Block::decode(bytes) {
            Ok(block) if block.gateway == *arrival.gateway => block,
            Ok(_) => return Ok(Outcome::Dropped("gateway_mismatch")),
            Err(error) => match Block::key_of(bytes) {
                Ok((gateway, epoch, seq)) if gateway == *arrival.gateway => {
                    let key = (epoch.0, seq);
                    return self.reject(
                        port,
                        arrival,
                        key,
                        bytes,
                        (error.code(), error.to_string()),
                    );
                }
                _ => return Ok(Outcome::Dropped("malformed")),
            },
        };
        let key = (block.epoch.0, block.seq);
        spool::fail_point!("receive.decoded");
        self.touch(arrival.gateway).ack.epochs.insert(key.0);
        if self.is_logged(port, arrival.gateway, key) {
            return self.take_again(port, arrival, key, bytes);
        }
        self.read_order(port, arrival, &block)?;
        let turn = self.turn(port, arrival, &block);
        if !room.takes(turn, port.added_bytes(), port.usage_bytes(name)) {
            return Ok(Outcome::Refused("log_full"));
        }
        let manifest = match self.manifest_of(port, arrival, &block)? {
            Ok(manifest) => manifest,
            Err(outcome) => return Ok(outcome),
        };
        if let Body::Readings(readings) = &block.body
            && let Err(error) = readings.check(&manifest)
        {
            return self.reject(port, arrival, key, bytes, (error.code(), error.to_string()));
        }
        self.log_block(port, arrival, block, manifest, bytes)
    }

    /// Whether a block was logged or rejected before.
    fn is_logged(
        &self,
        port: &impl LogPort,
        gateway: &GatewayName,
        (epoch, seq): (u64, u64),
    ) -> bool {
        let joined = self.gateways.get(gateway).and_then(|g| g.kept.chain.find(epoch));
        joined.is_some_and(|j| j.complete && j.last.is_some_and(|last| seq <= last))
            || port.epoch(gateway.as_str(), epoch).is_some_and(|s| s.logged.contains(seq))
    }

    /// A block that was logged before: acked again, unless it is another one under the same key.
    fn take_again(
        &mut self,
        port: &impl LogPort,
        arrival: &Arrival<'_>,
        (epoch, seq): (u64, u64),
        bytes: &[u8],
    ) -> Result<Outcome, Error> {
        spool::fail_point!("receive.duplicate");
        let logged = port.block_sha(arrival.gateway.as_str(), epoch, seq)?;
        if logged.is_none_or(|sha| sha == sha16(bytes)) {
            return Ok(Outcome::Duplicate);
        }
        if self.is_quarantine_full(arrival) {
            return Ok(Outcome::Refused("quarantine_full"));
        }
        let detail = "a block with other bytes was logged under this key".to_owned();
        self.set_aside(arrival, (epoch, seq), ("key_reuse", detail), Vec::new(), bytes);
        self.effects.notices.push(Notice {
            code: "key_reuse",
            gateway: Some(arrival.gateway.clone()),
            text: format!(
                "two different blocks {epoch:016x}/{seq} of one gateway: a copied disk image or a forged block; see the quarantine"
            ),
        });
        Ok(Outcome::Rejected("key_reuse"))
    }

    /// Reads link and list, joins epochs, closes holes: from blocks that will be refused as well.
    fn read_order(
        &mut self,
        port: &mut impl LogPort,
        arrival: &Arrival<'_>,
        block: &Block,
    ) -> Result<(), Error> {
        let (name, now) = (arrival.gateway.as_str(), arrival.at);
        let state = self.touch(arrival.gateway);
        let chain = &mut state.kept.chain;
        chain.note_link(name, block.epoch.0, block.link.as_ref());
        if block.clock.boot == arrival.boot && chain.note_current(block.epoch.0) {
            state.doubt = Some(Doubt::again(state.doubt, now));
        }
        let chain = &mut state.kept.chain;
        if let Some(list) = &block.list {
            chain.read_list(name, (block.epoch.0, block.seq), list);
            spool::fail_point!("receive.list");
        }
        self.hear_tail(port, arrival, block);
        if block.list.is_some() {
            self.settle_order(port, arrival.gateway, now)?;
        }
        Ok(())
    }

    /// Notes whether the epoch at the tail of the chain goes on, and lets go of epochs that would have ended it.
    fn hear_tail(&mut self, port: &impl LogPort, arrival: &Arrival<'_>, block: &Block) {
        let state = self.touch(arrival.gateway);
        let Some(epoch) = state.kept.chain.tail() else { return };
        let known = state.tail.filter(|tail| tail.epoch == epoch).and_then(|tail| tail.boot);
        let is_its_own = block.clock.boot == arrival.boot && block.epoch.0 == epoch;
        let boot = if is_its_own { Some(arrival.boot.0) } else { known };
        let is_heard = boot == Some(arrival.boot.0);
        if is_heard {
            state.tail = Some(Tail { epoch, boot, heard_at: arrival.at, gone_at: None });
        }
        if is_heard && state.kept.chain.drop_rivals(port, arrival.gateway.as_str()) {
            self.tell_rival(arrival);
        }
    }

    /// Notes that a gateway says that it is there in an epoch, or that it is not.
    pub(super) fn hear_presence(&mut self, state: &State, at: i64) {
        let known = self.touch(&state.stamp.gateway);
        let Some(tail) = known.tail.as_mut().filter(|tail| tail.epoch == state.epoch.0) else {
            return;
        };
        if state.online {
            (tail.heard_at, tail.gone_at) = (at, None);
        } else {
            tail.gone_at = Some(at);
        }
    }

    /// Joins epochs that waited until the one that they name was quiet: their gateway need not be heard for that. Any other is
    /// joined only while its gateway is heard: behind a cut link the one at the tail may go on.
    ///
    /// # Errors
    /// When the log cannot take the change.
    pub fn settle_quiet(&mut self, port: &mut impl LogPort, now: i64) -> Result<(), Error> {
        let waits = |g: &GatewayState| g.kept.chain.is_overtaken() && g.may_end_tail(now);
        let waiting = self.gateways.iter().filter(|(_, g)| waits(g));
        let waiting: Vec<GatewayName> = waiting.map(|(name, _)| name.clone()).collect();
        waiting.iter().try_for_each(|name| self.settle_order(port, name, now))
    }

    /// Joins epochs whose place is known, closes holes nobody can fill, shrinks what is complete.
    pub(super) fn settle_order(
        &mut self,
        port: &mut impl LogPort,
        gateway: &GatewayName,
        now: i64,
    ) -> Result<(), Error> {
        let name = gateway.as_str();
        let state = self.touch(gateway);
        let is_quiet = state.may_end_tail(now);
        let chain = &mut state.kept.chain;
        let conflicts = chain.conflicts();
        let joins = chain.place(port, name, is_quiet);
        if let (false, Some(epoch)) = (joins.is_empty(), chain.tail()) {
            state.tail = Some(Tail { epoch, boot: None, heard_at: now, gone_at: None });
        }
        let gone = chain.close_gone(port, name)?;
        chain.shrink(port, name);
        if chain.conflicts() > conflicts {
            self.effects.notices.push(Notice {
                code: "chain_conflict",
                gateway: Some(gateway.clone()),
                text: "an epoch does not follow where it says: a restored disk image, a new disk, or two gateways under one name".to_owned(),
            });
        }
        for record in joins.into_iter().chain(gone) {
            spool::fail_point!("receive.chain");
            self.log(port, name, record, now);
        }
        Ok(())
    }

    fn turn(&self, port: &impl LogPort, arrival: &Arrival<'_>, block: &Block) -> Turn {
        let name = arrival.gateway.as_str();
        let key = (block.epoch.0, block.seq);
        let chain = self.gateways.get(arrival.gateway).map(|g| &g.kept.chain);
        let is_next = chain
            .is_some_and(|c| c.next(port, name) == Some(key) || c.may_be_next(port, name, key));
        let unset = block.clock.state == wire::block::ClockState::Unset;
        match &block.body {
            Body::Gap(_) => Turn::Gap,
            _ if is_next => Turn::Next,
            _ if !unset && arrival.at - block.clock.closed_at <= LIVE_MS => Turn::Live,
            Body::Readings(_) => Turn::Old,
        }
    }

    /// The manifest that a block refers to, or what to answer without it.
    fn manifest_of(
        &mut self,
        port: &impl LogPort,
        arrival: &Arrival<'_>,
        block: &Block,
    ) -> Result<Result<Arc<Manifest>, Outcome>, Error> {
        let key = match &block.body {
            Body::Readings(readings) if !readings.tables.is_empty() => readings.manifest,
            _ => return Ok(Ok(Arc::new(no_manifest(arrival)))),
        };
        if let Some(manifest) = self.manifest(port, arrival.gateway, key)? {
            return Ok(Ok(manifest));
        }
        spool::fail_point!("receive.need_manifest");
        let state = self.touch(arrival.gateway);
        if state.need.len() < NEED_MAX {
            state.need.insert(key);
        }
        state.ack.urgent = true;
        Ok(Err(Outcome::Refused("need_manifest")))
    }

    fn log_block(
        &mut self,
        port: &mut impl LogPort,
        arrival: &Arrival<'_>,
        block: Block,
        manifest: Arc<Manifest>,
        bytes: &[u8],
    ) -> Result<Outcome, Error> {
        let (name, now) = (arrival.gateway.as_str(), arrival.at);
        let key = (block.epoch.0, block.seq);
        let empty = Readings::default();
        let meta =
            self.judge_time(arrival.gateway, &block.clock, block.readings().unwrap_or(&empty), now);
        if !meta.masked_rows.is_empty() && self.is_quarantine_full(arrival) {
            return Ok(Outcome::Refused("quarantine_full"));
        }
        // The centre's own gateway is no witness of the centre's clock.
        if !is_synthetic(name) {
            self.watch_clock(port, arrival, &block, meta.is_ahead);
        }
        self.watch_end(arrival, &block);
        let mut decided = self.release(arrival.gateway, &block.clock);
        decided.is_superseded = self.is_superseded(arrival, &block);
        let is_held =
            block.clock.state == wire::block::ClockState::Unset && decided.offset.is_none();
        if is_held && self.touch(arrival.gateway).held.len() >= HELD_MAX {
            return Ok(Outcome::Refused("held_full"));
        }
        let meta = BlockMeta { decided, ..meta };
        let encoded = meta.encode();
        let record = NewRecord {
            kind: kind::BLOCK,
            gateway: name,
            epoch: key.0,
            seq: key.1,
            received_at: now,
            meta: &encoded,
            bytes,
        };
        let position = match port.append_block(&record) {
            Ok(position) => position,
            Err(Error::TooMany { .. }) => return Ok(Outcome::Refused("intervals")),
            Err(error) => return Err(error),
        };
        spool::fail_point!("receive.appended");
        if !meta.masked_rows.is_empty() {
            let detail = "more than 60 s ahead of the centre's clock".to_owned();
            self.set_aside(arrival, key, ("future", detail), meta.masked_rows.clone(), bytes);
        }
        self.keep_held(port, arrival.gateway, (&block.clock, key.0, position), &meta.decided);
        if let Body::Gap(gap) = &block.body {
            self.declare(port, arrival.gateway, gap)?;
        }
        self.effects.records.push(Arc::new(decoded(arrival, block, manifest, meta, position)));
        self.settle_order(port, arrival.gateway, now)?;
        Ok(Outcome::Logged)
    }

    /// Whether the gateway was replaced by one that has been heard: the registry says so, or the manifest of a gateway of
    /// the same site. One that goes on sending is told: no rule judges what it reports.
    fn is_superseded(&mut self, arrival: &Arrival<'_>, block: &Block) -> bool {
        let named = self.replaced.get(arrival.gateway);
        let named = named.filter(|(_, site)| *site == arrival.known.site).map(|(new, _)| new);
        let Some(new) = arrival.known.replaced_by.as_ref().or(named).cloned() else { return false };
        if self.gateways.get(&new).is_none_or(|g| g.kept.chain.tail().is_none()) {
            return false;
        }
        let is_live = arrival.at - block.clock.closed_at <= LIVE_MS;
        if is_live && self.is_first_told(arrival) {
            self.effects.notices.push(Notice {
                code: "replaced_sends",
                gateway: Some(arrival.gateway.clone()),
                text: format!(
                    "it was replaced by {new} and still sends: its readings are stored and no rule judges them; switch it off, or take `replaces` out of {new}'s configuration and the registry"
                ),
            });
        }
        true
    }

    /// Counts declared loss: only what is not held, which is what the covered set adds.
    fn declare(
        &mut self,
        port: &mut impl LogPort,
        gateway: &GatewayName,
        gap: &GapRecord,
    ) -> Result<(), Error> {
        for range in &gap.ranges {
            let epoch = range.epoch.0;
            match port.add_covered(gateway.as_str(), epoch, range.from, range.to) {
                // The hole stays open and is closed by a list instead.
                Ok(()) | Err(Error::TooMany { .. }) => {}
                Err(error) => return Err(error),
            }
            let state = self.touch(gateway);
            state.ack.epochs.insert(epoch);
            if let Some(link) = &range.link {
                state.kept.chain.note_link(gateway.as_str(), epoch, Some(link));
            }
        }
        Ok(())
    }

    fn reject(
        &mut self,
        port: &mut impl LogPort,
        arrival: &Arrival<'_>,
        (epoch, seq): (u64, u64),
        bytes: &[u8],
        (code, detail): (&'static str, String),
    ) -> Result<Outcome, Error> {
        let name = arrival.gateway.as_str();
        self.touch(arrival.gateway).ack.epochs.insert(epoch);
        if self.is_logged(port, arrival.gateway, (epoch, seq)) {
            return Ok(Outcome::Duplicate);
        }
        if self.is_quarantine_full(arrival) {
            return Ok(Outcome::Refused("quarantine_full"));
        }
        match port.add_logged(name, epoch, seq) {
            Ok(()) => {}
            Err(Error::TooMany { .. }) => return Ok(Outcome::Refused("intervals")),
            Err(error) => return Err(error),
        }
        // Order must not wait for a block that will never be evaluated: it is closed like a lost one.
        spool::fail_point!("receive.rejected");
        let spans = vec![crate::log::record::GoneSpan { epoch, from: seq, to: seq }];
        self.log(port, name, CentreRecord::Gone(spans), arrival.at);
        self.set_aside(arrival, (epoch, seq), (code, detail), Vec::new(), bytes);
        self.touch(arrival.gateway).reject(epoch, seq, code);
        self.settle_order(port, arrival.gateway, arrival.at)?;
        Ok(Outcome::Rejected(code))
    }

    fn set_aside(
        &mut self,
        arrival: &Arrival<'_>,
        (epoch, seq): (u64, u64),
        (code, detail): (&'static str, String),
        rows: Vec<u32>,
        bytes: &[u8],
    ) {
        self.effects.quarantined.push(Quarantined {
            gateway: arrival.gateway.clone(),
            epoch,
            seq,
            code,
            detail,
            rows,
            bytes: bytes.to_vec(),
            at: arrival.at,
        });
    }
}

/// What a block without rows refers to: a manifest that says nothing but where it is from.
fn no_manifest(arrival: &Arrival<'_>) -> Manifest {
    Manifest {
        gateway: arrival.gateway.clone(),
        site: arrival.known.site.clone(),
        replies: Vec::new(),
        replaces: None,
    }
}

fn decoded(
    arrival: &Arrival<'_>,
    mut block: Block,
    manifest: Arc<Manifest>,
    meta: BlockMeta,
    position: u64,
) -> LogRecord {
    let readings = match &mut block.body {
        Body::Readings(readings) => std::mem::take(readings),
        Body::Gap(_) => Readings::default(),
    };
    let block = DecodedBlock {
        position,
        gateway: arrival.gateway.clone(),
        site: manifest.site.clone(),
        manifest,
        block,
        readings: Arc::new(readings),
        received_at: arrival.at,
        masked_rows: meta.masked_rows,
        is_ahead: meta.is_ahead,
    };
    let body = RecordBody::Block { block: Arc::new(block), decided: meta.decided };
    LogRecord { position, received_at: arrival.at, gateway: arrival.gateway.to_string(), body }
}
