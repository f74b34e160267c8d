//! Blocks to and from their protobuf form, with every bound checked. Called by `block.rs` and `message.rs`.

use super::{Block, Body, Clock, ClockState, GapRange, GapRecord, HeldEpoch, Link, Range};
use crate::columns;
use crate::error::{DecodeError, at_most, between};
use crate::ids::{Boot, Epoch, GatewayName};
use crate::limits::{GAP_RANGES_MAX, INTERVALS_MAX, LIST_MAX, TEXT_BYTES_MAX};
use crate::proto;

pub(super) fn to_proto(block: &Block) -> proto::Block {
    let body = match &block.body {
        Body::Readings(readings) => proto::block::Body::Readings(columns::encode(readings)),
        Body::Gap(gap) => proto::block::Body::Gap(proto::GapRecord {
            ranges: gap.ranges.iter().map(gap_range).collect(),
            reason: gap.reason.clone(),
        }),
    };
    proto::Block {
        gateway: block.gateway.to_string(),
        epoch: block.epoch.0,
        seq: block.seq,
        link: block.link.as_ref().map(link),
        clock: Some(clock(&block.clock)),
        fact_revision: block.fact_revision,
        list: block.list.iter().flatten().map(held_epoch).collect(),
        has_list: block.list.is_some(),
        body: Some(body),
    }
}

pub(super) fn key_of(block: proto::Block) -> Result<(GatewayName, Epoch, u64), DecodeError> {
    between("seq", block.seq, 1, u64::MAX - 1)?;
    let gateway = GatewayName::new(block.gateway).map_err(DecodeError::Name)?;
    Ok((gateway, Epoch(block.epoch), block.seq))
}

pub(super) fn from_proto(block: proto::Block) -> Result<Block, DecodeError> {
    between("seq", block.seq, 1, u64::MAX - 1)?;
    at_most("epochs in the list", block.list.len(), LIST_MAX)?;
    if !block.has_list && !block.list.is_empty() {
        return Err(DecodeError::Inconsistent { what: "a list that is said not to be there" });
    }
    let list = block.list.into_iter().map(read_held_epoch).collect::<Result<_, _>>()?;
    let body = match block.body {
        Some(proto::block::Body::Readings(readings)) => Body::Readings(columns::decode(&readings)?),
        Some(proto::block::Body::Gap(gap)) => Body::Gap(read_gap(gap)?),
        None => return Err(DecodeError::Missing { what: "the body of a block" }),
    };
    Ok(Block {
        gateway: GatewayName::new(block.gateway).map_err(DecodeError::Name)?,
        epoch: Epoch(block.epoch),
        seq: block.seq,
        link: block.link.map(read_link).transpose()?,
        clock: read_clock(
            block.clock.ok_or(DecodeError::Missing { what: "the clock of a block" })?,
        )?,
        fact_revision: block.fact_revision,
        list: block.has_list.then_some(list),
        body,
    })
}

fn link(link: &Link) -> proto::Link {
    let gateway = link.gateway.as_ref().map(ToString::to_string).unwrap_or_default();
    proto::Link { epoch: link.epoch.0, last: link.last, gateway }
}

fn read_link(link: proto::Link) -> Result<Link, DecodeError> {
    let gateway = (!link.gateway.is_empty()).then_some(link.gateway);
    let gateway = gateway.map(GatewayName::new).transpose().map_err(DecodeError::Name)?;
    Ok(Link { epoch: Epoch(link.epoch), last: link.last, gateway })
}

fn clock(clock: &Clock) -> proto::Clock {
    proto::Clock {
        state: clock_state(clock.state),
        closed_at: clock.closed_at,
        mono_ms: clock.mono_ms,
        boot: clock.boot.0,
        segment: clock.segment,
        boot_offset: clock.boot_offset,
        error_ms: clock.error_ms,
    }
}

fn read_clock(clock: proto::Clock) -> Result<Clock, DecodeError> {
    Ok(Clock {
        state: read_clock_state(clock.state)?,
        closed_at: clock.closed_at,
        mono_ms: clock.mono_ms,
        boot: Boot(clock.boot),
        segment: clock.segment,
        boot_offset: clock.boot_offset,
        error_ms: clock.error_ms,
    })
}

pub(crate) fn clock_state(state: ClockState) -> i32 {
    match state {
        ClockState::Unset => proto::ClockState::Unset.into(),
        ClockState::Synced => proto::ClockState::Synced.into(),
        ClockState::Holdover => proto::ClockState::Holdover.into(),
    }
}

pub(crate) fn read_clock_state(state: i32) -> Result<ClockState, DecodeError> {
    match proto::ClockState::try_from(state) {
        Ok(proto::ClockState::Unset) => Ok(ClockState::Unset),
        Ok(proto::ClockState::Synced) => Ok(ClockState::Synced),
        Ok(proto::ClockState::Holdover) => Ok(ClockState::Holdover),
        Err(_) => Err(DecodeError::Unknown { what: "clock state", value: state.into() }),
    }
}

fn held_epoch(held: &HeldEpoch) -> proto::Epoch {
    proto::Epoch {
        epoch: held.epoch.0,
        link: held.link.as_ref().map(link),
        last: held.last,
        held: held.held.iter().map(range).collect(),
    }
}

fn read_held_epoch(held: proto::Epoch) -> Result<HeldEpoch, DecodeError> {
    Ok(HeldEpoch {
        epoch: Epoch(held.epoch),
        link: held.link.map(read_link).transpose()?,
        last: held.last,
        held: read_ranges(held.held)?,
    })
}

pub(crate) fn range(range: &Range) -> proto::Range {
    proto::Range { from: range.from, to: range.to }
}

pub(crate) fn read_ranges(ranges: Vec<proto::Range>) -> Result<Vec<Range>, DecodeError> {
    at_most("ranges", ranges.len(), INTERVALS_MAX)?;
    let mut after = 0;
    let mut read = Vec::with_capacity(ranges.len());
    for range in ranges {
        check_range(range.from, range.to)?;
        if range.from <= after {
            return Err(DecodeError::Inconsistent { what: "ranges that are not in order" });
        }
        after = range.to;
        read.push(Range { from: range.from, to: range.to });
    }
    Ok(read)
}

fn check_range(from: u64, to: u64) -> Result<(), DecodeError> {
    between("start of a range", from, 1, u64::MAX - 1)?;
    between("end of a range", to, from, u64::MAX - 1)
}

fn gap_range(gap: &GapRange) -> proto::GapRange {
    proto::GapRange {
        epoch: gap.epoch.0,
        from: gap.from,
        to: gap.to,
        t0: gap.t0,
        t1: gap.t1,
        samples: gap.samples,
        link: gap.link.as_ref().map(link),
    }
}

fn read_gap(gap: proto::GapRecord) -> Result<GapRecord, DecodeError> {
    at_most("ranges of a gap record", gap.ranges.len(), GAP_RANGES_MAX)?;
    at_most("length of the reason of a gap record", gap.reason.len(), TEXT_BYTES_MAX)?;
    let ranges = gap.ranges.into_iter().map(|range| {
        check_range(range.from, range.to)?;
        Ok(GapRange {
            epoch: Epoch(range.epoch),
            from: range.from,
            to: range.to,
            t0: range.t0,
            t1: range.t1,
            samples: range.samples,
            link: range.link.map(read_link).transpose()?,
        })
    });
    Ok(GapRecord { ranges: ranges.collect::<Result<_, DecodeError>>()?, reason: gap.reason })
}
