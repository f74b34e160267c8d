//! A block: what a gateway seals, spools, sends and frees as one. Its bytes never change once sealed.
//! The gateway's sealer encodes, the centre's receiver decodes; the key `(gateway, epoch, seq)` is the identity of delivery.

pub(crate) mod convert;

use prost::Message as _;

use crate::columns::Readings;
use crate::error::{DecodeError, at_most};
use crate::ids::{Boot, Epoch, GatewayName, Seq};
use crate::limits::BLOCK_BYTES_MAX;
use crate::proto;

/// One block of a gateway.
#[derive(Debug, Clone, PartialEq)]
pub struct Block {
    /// Who sealed it.
    pub gateway: GatewayName,
    /// The start of the gateway in which it was sealed.
    pub epoch: Epoch,
    /// From 1, without gaps within the epoch.
    pub seq: Seq,
    /// The epoch that this epoch follows; `None` where there is none.
    pub link: Option<Link>,
    /// The gateway's clock when it closed.
    pub clock: Clock,
    /// What the gateway's edge rules knew when it closed; 0 = nothing.
    pub fact_revision: u64,
    /// Every epoch the gateway still holds: in the first block of an epoch, in one each 10 s, in the first after a new
    /// log id. `Some(empty)` is a statement, `None` is none.
    pub list: Option<Vec<HeldEpoch>>,
    /// Rows or declared loss.
    pub body: Body,
}

/// What a block carries.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// Rows; none at all says "nothing until `closed_at`".
    Readings(Readings),
    /// Declared loss.
    Gap(GapRecord),
}

/// The epoch that an epoch follows, and the last seq that was stored of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The predecessor.
    pub epoch: Epoch,
    /// Its last stored seq.
    pub last: Seq,
    /// The gateway of the predecessor, only where a replaced gateway is named.
    pub gateway: Option<GatewayName>,
}

/// State of a gateway's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ClockState {
    /// Never set: its times mean nothing until the offset of its boot is known.
    #[default]
    Unset,
    /// Follows NTP or the centre.
    Synced,
    /// Was synced, runs free.
    Holdover,
}

/// The gateway's clock when a block closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Clock {
    /// How far the times can be trusted.
    pub state: ClockState,
    /// Wall time, milliseconds UTC; where unset, the untrusted clock's reading.
    pub closed_at: i64,
    /// Monotonic time of the boot, milliseconds.
    pub mono_ms: u64,
    /// The boot that `mono_ms` belongs to.
    pub boot: Boot,
    /// Time segment: counts backward steps of more than 1 s within the epoch.
    pub segment: u32,
    /// Wall − mono of this boot in milliseconds, once known, and then in every block.
    pub boot_offset: Option<i64>,
    /// Bound of the clock's error in milliseconds where known, else 0.
    pub error_ms: u32,
}

/// One epoch that the gateway still holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldEpoch {
    /// The epoch.
    pub epoch: Epoch,
    /// What it follows.
    pub link: Option<Link>,
    /// Its last stored seq.
    pub last: Seq,
    /// What is still on the gateway's disk.
    pub held: Vec<Range>,
}

/// Seqs from `from` to `to`, both inclusive; `from <= to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Range {
    /// The first.
    pub from: Seq,
    /// The last.
    pub to: Seq,
}

/// Declared loss. The centre counts as declared only what it does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GapRecord {
    /// What is lost.
    pub ranges: Vec<GapRange>,
    /// Why, a stable word: `evicted`, `damaged`, `quarantined`.
    pub reason: String,
}

/// Blocks of one epoch that are lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GapRange {
    /// The epoch.
    pub epoch: Epoch,
    /// The first lost seq.
    pub from: Seq,
    /// The last lost seq.
    pub to: Seq,
    /// Earliest event time in them, milliseconds UTC, 0 = unknown.
    pub t0: i64,
    /// Latest event time in them, milliseconds UTC, 0 = unknown.
    pub t1: i64,
    /// Samples in them, where known.
    pub samples: u64,
    /// What the epoch follows, so that the chain survives the loss of a whole epoch.
    pub link: Option<Link>,
}

/// A block that would be too large for a frame. The builder's bounds keep readings from it; a list or a gap record must be
/// shortened by the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the block has {bytes} bytes, a frame takes {BLOCK_BYTES_MAX}")]
pub struct TooLarge {
    /// Its encoded size.
    pub bytes: usize,
}

impl Block {
    /// The bytes to spool and send. See [`Block::check_size`] for their bound.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        convert::to_proto(self).encode_to_vec()
    }

    /// Checks that encoded bytes fit in a frame.
    ///
    /// # Errors
    /// [`TooLarge`] if they do not.
    pub fn check_size(bytes: &[u8]) -> Result<(), TooLarge> {
        if bytes.len() <= BLOCK_BYTES_MAX { Ok(()) } else { Err(TooLarge { bytes: bytes.len() }) }
    }

    /// Reads the bytes of a block.
    ///
    /// # Errors
    /// [`DecodeError`] on anything that is no block within the limits.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        at_most("block bytes", bytes.len(), BLOCK_BYTES_MAX)?;
        let block = proto::Block::decode(bytes)
            .map_err(|source| DecodeError::Protobuf { what: "a block", source })?;
        convert::from_proto(block)
    }

    /// Gateway, epoch and seq of a block whose rest may be broken, so that the whole can be rejected by its key.
    ///
    /// # Errors
    /// [`DecodeError`] where not even the key can be read.
    pub fn key_of(bytes: &[u8]) -> Result<(GatewayName, Epoch, Seq), DecodeError> {
        at_most("block bytes", bytes.len(), BLOCK_BYTES_MAX)?;
        let block = proto::Block::decode(bytes)
            .map_err(|source| DecodeError::Protobuf { what: "a block", source })?;
        convert::key_of(block)
    }

    /// The rows; `None` in a gap record.
    #[must_use]
    pub fn readings(&self) -> Option<&Readings> {
        match &self.body {
            Body::Readings(readings) => Some(readings),
            Body::Gap(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;
