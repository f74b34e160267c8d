//! The centre's answers to its gateways: what is logged or rejected, what is wanted, what is next.
//!
//! Made by the receiver's thread between transactions, so that an ack never names what is not durable. A lost ack heals:
//! it goes out each second while anything changes and each 5 s otherwise, complete for every epoch it names.

use std::collections::BTreeSet;

use wire::block::Range;
use wire::limits::{LIST_MAX, NEED_MANIFEST_MAX, REJECTED_MAX};
use wire::message::{Ack, EpochAck, Rejected, Want};
use wire::{Epoch, GatewayName, LogId};

use crate::receive::port::LogPort;
use crate::receive::{GatewayState, Receiver};

/// Shortest time between two acks of a gateway while something changes, ms.
pub const CHANGED_EVERY_MS: i64 = 1_000;
/// Longest time between two acks of a gateway that is heard, ms.
pub const REPEATED_EVERY_MS: i64 = 5_000;
/// A gateway not heard for this long gets no more repetitions, ms.
pub const HEARD_WITHIN_MS: i64 = 60_000;
/// What backfill is delayed by while the log is crowded or live blocks come late, ms.
pub const SLOW_DOWN_MS: u32 = 1_000;
/// Ranges in one message, so that it fits in a frame whatever the epochs.
const RANGES_MAX: usize = 8_192;

/// What acks say beside what is logged.
#[derive(Debug, Clone, Copy)]
pub struct Said {
    /// The centre's time, ms UTC.
    pub now: i64,
    /// Backfill is to wait: the log is at 80 % or beyond, or live blocks come late.
    pub slow_down: bool,
    /// The newest revision of the facts.
    pub fact_revision: u64,
}

impl GatewayState {
    fn is_due(&self, now: i64) -> bool {
        let since = now - self.ack.sent_at;
        // A clock that went back must not silence acks.
        let elapsed = |every| since >= every || since < 0;
        self.ack.urgent
            || (self.ack.changed && elapsed(CHANGED_EVERY_MS))
            || (now - self.ack.heard_at <= HEARD_WITHIN_MS && elapsed(REPEATED_EVERY_MS))
    }
}

/// The acks that are due, and marks them as sent.
pub fn due(receiver: &mut Receiver, port: &impl LogPort, said: &Said) -> Vec<(GatewayName, Ack)> {
    let log_id = receiver.log_id();
    let mut acks = Vec::new();
    for (name, state) in receiver.gateways_mut().filter(|(_, s)| s.is_due(said.now)) {
        for ack in of(log_id, name, state, port, said) {
            acks.push((name.clone(), ack));
        }
        state.ack.sent_at = said.now;
        (state.ack.changed, state.ack.urgent) = (false, false);
        state.ack.epochs.clear();
    }
    acks
}

/// The ack of one gateway, in more than one message where its ranges are many.
fn of(
    log_id: u64,
    name: &GatewayName,
    state: &GatewayState,
    port: &impl LogPort,
    said: &Said,
) -> Vec<Ack> {
    let chain = &state.kept.chain;
    let mut named: BTreeSet<u64> = state.ack.epochs.clone();
    named.extend(chain.listed());
    named.extend(chain.tail());
    let mut messages = vec![Vec::new()];
    let mut ranges = 0;
    for epoch in named {
        let Some(ack) = epoch_ack(epoch, name, state, port) else { continue };
        let last = messages.last().map_or(0, Vec::len);
        if last >= LIST_MAX || (last > 0 && ranges + ack.ranges.len() > RANGES_MAX) {
            messages.push(Vec::new());
            ranges = 0;
        }
        ranges += ack.ranges.len();
        if let Some(message) = messages.last_mut() {
            message.push(ack);
        }
    }
    let want = chain.want(port, name.as_str());
    let message = |epochs| Ack {
        gateway: name.clone(),
        log_id: LogId(log_id),
        echo: state.last.clone(),
        centre_time: said.now,
        slow_down_ms: if said.slow_down { SLOW_DOWN_MS } else { 0 },
        epochs,
        need_manifest: state.need.iter().take(NEED_MANIFEST_MAX).copied().collect(),
        want: want.map(|(epoch, from)| Want { epoch: Epoch(epoch), from }),
        fact_revision: said.fact_revision,
    };
    messages.into_iter().map(message).collect()
}

/// What is logged or rejected of one epoch; `None` where nothing is known of it.
fn epoch_ack(
    epoch: u64,
    name: &GatewayName,
    state: &GatewayState,
    port: &impl LogPort,
) -> Option<EpochAck> {
    let complete = state.kept.chain.find(epoch).filter(|j| j.complete).and_then(|j| j.last);
    let sets = port.epoch(name.as_str(), epoch);
    if complete.is_none() && sets.is_none() {
        return None;
    }
    let upto = complete.unwrap_or(0).max(sets.map_or(0, |s| s.logged.upto()));
    let beyond = sets.into_iter().flat_map(|s| s.logged.iter()).filter(|(_, to)| *to > upto);
    let ranges = beyond.map(|(from, to)| Range { from: from.max(upto + 1), to });
    let rejected = state.kept.rejected.iter().rev().filter(|r| r.epoch == epoch).take(REJECTED_MAX);
    Some(EpochAck {
        epoch: Epoch(epoch),
        upto,
        ranges: ranges.collect(),
        rejected: rejected.map(|r| Rejected { seq: r.seq, code: r.code.clone() }).collect(),
        // A complete epoch is named by its last seq: blocks beyond it would be stored if they came.
        complete: false,
    })
}
