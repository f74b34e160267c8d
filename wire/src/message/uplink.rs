//! What a gateway sends on `…/up`: a block or a manifest as it lies in the spool, with the stamp of this sending.

use prost::Message as _;

use super::{name, read};
use crate::error::DecodeError;
use crate::ids::{Boot, GatewayName};
use crate::proto;

/// A sending of a block or a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uplink {
    /// Which sending it is.
    pub stamp: Stamp,
    /// What is sent.
    pub item: Item,
}

/// What is sent: bytes exactly as they lie in the spool, the same at every sending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// A [`Block`](crate::Block).
    Block(Vec<u8>),
    /// A [`Manifest`](crate::Manifest); its key is [`manifest::key`](crate::manifest::key) of the bytes.
    Manifest(Vec<u8>),
}

/// Which message of which boot this is. Acks echo the highest that the centre's present start has seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    /// The gateway.
    pub gateway: GatewayName,
    /// Drawn at each boot of the gateway's program.
    pub boot: Boot,
    /// Counts the messages since that boot, from 1.
    pub counter: u64,
    /// Monotonic time of that boot when the message was sent, milliseconds.
    pub mono_ms: u64,
}

impl Stamp {
    pub(super) fn to_proto(&self) -> proto::Stamp {
        proto::Stamp {
            gateway: self.gateway.to_string(),
            boot: self.boot.0,
            counter: self.counter,
            mono_ms: self.mono_ms,
        }
    }

    pub(super) fn from_proto(stamp: proto::Stamp) -> Result<Self, DecodeError> {
        Ok(Self {
            gateway: name(stamp.gateway)?,
            boot: Boot(stamp.boot),
            counter: stamp.counter,
            mono_ms: stamp.mono_ms,
        })
    }
}

impl Uplink {
    /// The body of a frame of kind [`Uplink`](crate::frame::Kind::Uplink).
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let item = match &self.item {
            Item::Block(bytes) => proto::uplink::Item::Block(bytes.clone()),
            Item::Manifest(bytes) => proto::uplink::Item::Manifest(bytes.clone()),
        };
        proto::Uplink { stamp: Some(self.stamp.to_proto()), item: Some(item) }.encode_to_vec()
    }

    /// Reads the body of a frame.
    ///
    /// # Errors
    /// [`DecodeError`] on anything else. The block or manifest inside is not looked at.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let uplink: proto::Uplink = read("an uplink message", bytes)?;
        let item = match uplink.item {
            Some(proto::uplink::Item::Block(bytes)) => Item::Block(bytes),
            Some(proto::uplink::Item::Manifest(bytes)) => Item::Manifest(bytes),
            None => return Err(DecodeError::Missing { what: "the item of an uplink message" }),
        };
        let stamp =
            uplink.stamp.ok_or(DecodeError::Missing { what: "the stamp of an uplink message" })?;
        Ok(Self { stamp: Stamp::from_proto(stamp)?, item })
    }
}
