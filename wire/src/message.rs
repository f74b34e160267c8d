//! The messages inside frames: [`Uplink`] and [`State`] from a gateway, [`Ack`] and [`Command`] from the centre.
//! Both programs encode and decode them; `frame.rs` seals and opens what stands here. None is trusted before its MAC is.

mod ack;
mod command;
mod state;
mod uplink;

pub use ack::{Ack, EpochAck, Rejected, Want};
pub use command::{AlarmAck, Command, Order, RuleSet};
pub use state::{DeviceHealth, State};
pub use uplink::{Item, Stamp, Uplink};

use crate::error::DecodeError;
use crate::ids::GatewayName;

/// Decodes protobuf, saying which message it was.
fn read<M: prost::Message + Default>(what: &'static str, bytes: &[u8]) -> Result<M, DecodeError> {
    crate::error::at_most("message bytes", bytes.len(), crate::limits::FRAME_BYTES_MAX)?;
    M::decode(bytes).map_err(|source| DecodeError::Protobuf { what, source })
}

fn name(name: String) -> Result<GatewayName, DecodeError> {
    GatewayName::new(name).map_err(DecodeError::Name)
}

#[cfg(test)]
mod tests;
