//! What the centre answers on `…/ack` once blocks are durable in its log. A gateway frees a block only on this.

use prost::Message as _;

use super::{Stamp, name, read};
use crate::block::{Range, convert};
use crate::error::{DecodeError, at_most};
use crate::ids::{Epoch, GatewayName, LogId, ManifestKey, Seq};
use crate::limits::{LIST_MAX, NEED_MANIFEST_MAX, REJECTED_MAX, TEXT_BYTES_MAX};
use crate::proto;

/// One answer of the centre; repeated, so that a lost one heals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ack {
    /// Whose ack it is; must be the name in the topic.
    pub gateway: GatewayName,
    /// The start of the centre. On a new one the gateway forgets which blocks were acked.
    pub log_id: LogId,
    /// The highest stamp seen since that start, of the boot that arrived last; `None` before the first.
    pub echo: Option<Stamp>,
    /// The centre's clock, milliseconds UTC. Counts only when `echo` was sent at most 5 s ago.
    pub centre_time: i64,
    /// Delay for backfill in milliseconds; never for live blocks.
    pub slow_down_ms: u32,
    /// What is logged or rejected, epoch by epoch.
    pub epochs: Vec<EpochAck>,
    /// Manifests to send at once.
    pub need_manifest: Vec<ManifestKey>,
    /// The block that is next in order and missing.
    pub want: Option<Want>,
    /// The revision of the facts that the centre has.
    pub fact_revision: u64,
}

/// What the centre has of one epoch: complete, not a difference to the ack before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EpochAck {
    /// The epoch.
    pub epoch: Epoch,
    /// 1..=upto are logged or rejected, never merely declared lost.
    pub upto: Seq,
    /// Further ones above `upto`, in order.
    pub ranges: Vec<Range>,
    /// Those of them that went to quarantine.
    pub rejected: Vec<Rejected>,
    /// The whole epoch is held: nothing of it need be sent.
    pub complete: bool,
}

/// A block that went to quarantine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Its seq.
    pub seq: Seq,
    /// Why, a stable word.
    pub code: String,
}

/// The block that is next in order: send it at once, oldest first, without back-off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Want {
    /// The epoch.
    pub epoch: Epoch,
    /// From here.
    pub from: Seq,
}

impl EpochAck {
    /// Whether a block is logged or rejected by this ack.
    #[must_use]
    pub fn covers(&self, seq: Seq) -> bool {
        self.complete
            || seq <= self.upto
            || self.ranges.iter().any(|r| (r.from..=r.to).contains(&seq))
    }
}

impl Ack {
    /// The body of a frame of kind [`Ack`](crate::frame::Kind::Ack).
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let epoch = |e: &EpochAck| proto::EpochAck {
            epoch: e.epoch.0,
            upto: e.upto,
            ranges: e.ranges.iter().map(convert::range).collect(),
            rejected: e
                .rejected
                .iter()
                .map(|r| proto::Rejected { seq: r.seq, code: r.code.clone() })
                .collect(),
            complete: e.complete,
        };
        proto::Ack {
            gateway: self.gateway.to_string(),
            log_id: self.log_id.0,
            echo: self.echo.as_ref().map(Stamp::to_proto),
            centre_time: self.centre_time,
            slow_down_ms: self.slow_down_ms,
            epochs: self.epochs.iter().map(epoch).collect(),
            need_manifest: self.need_manifest.iter().map(|k| k.0.to_vec()).collect(),
            want: self.want.map(|w| proto::Want { epoch: w.epoch.0, from: w.from }),
            fact_revision: self.fact_revision,
        }
        .encode_to_vec()
    }

    /// Reads the body of a frame.
    ///
    /// # Errors
    /// [`DecodeError`] on anything else.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let ack: proto::Ack = read("an ack", bytes)?;
        at_most("epochs of an ack", ack.epochs.len(), LIST_MAX)?;
        at_most("manifests asked for", ack.need_manifest.len(), NEED_MANIFEST_MAX)?;
        let need = ack.need_manifest.into_iter().map(|key| {
            let key = <[u8; 16]>::try_from(key.as_slice());
            key.map(ManifestKey)
                .map_err(|_| DecodeError::Inconsistent { what: "a manifest key has 16 bytes" })
        });
        Ok(Self {
            gateway: name(ack.gateway)?,
            log_id: LogId(ack.log_id),
            echo: ack.echo.map(Stamp::from_proto).transpose()?,
            centre_time: ack.centre_time,
            slow_down_ms: ack.slow_down_ms,
            epochs: ack.epochs.into_iter().map(read_epoch).collect::<Result<_, _>>()?,
            need_manifest: need.collect::<Result<_, _>>()?,
            want: ack.want.map(|w| Want { epoch: Epoch(w.epoch), from: w.from }),
            fact_revision: ack.fact_revision,
        })
    }
}

fn read_epoch(epoch: proto::EpochAck) -> Result<EpochAck, DecodeError> {
    at_most("rejected blocks", epoch.rejected.len(), REJECTED_MAX)?;
    let ranges = convert::read_ranges(epoch.ranges)?;
    if ranges.first().is_some_and(|r| r.from <= epoch.upto) {
        return Err(DecodeError::Inconsistent { what: "a range that begins at or below upto" });
    }
    let rejected = epoch.rejected.into_iter().map(|r| {
        at_most("length of a rejection's code", r.code.len(), TEXT_BYTES_MAX)?;
        Ok(Rejected { seq: r.seq, code: r.code })
    });
    Ok(EpochAck {
        epoch: Epoch(epoch.epoch),
        upto: epoch.upto,
        ranges,
        rejected: rejected.collect::<Result<_, DecodeError>>()?,
        complete: epoch.complete,
    })
}
