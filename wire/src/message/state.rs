//! What a gateway says of itself on `…/state`: retained, and the last will with `online = false`.
//! The centre ignores a state of an epoch that has a successor: a will can arrive late.

use prost::Message as _;

use super::{Stamp, read};
use crate::block::{ClockState, convert};
use crate::error::{DecodeError, at_most, between};
use crate::ids::Epoch;
use crate::limits::{DEVICES_MAX, TEXT_BYTES_MAX};
use crate::proto;

/// A gateway's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// Which message it is; counter 0 in a last will, which was written before it was needed.
    pub stamp: Stamp,
    /// The start of the gateway that it belongs to.
    pub epoch: Epoch,
    /// `false` in the last will and at an orderly stop.
    pub online: bool,
    /// The gateway's wall clock, milliseconds UTC.
    pub at: i64,
    /// Version of the gateway's program.
    pub version: String,
    /// State of its clock.
    pub clock: ClockState,
    /// Blocks not yet acked.
    pub backlog_blocks: u64,
    /// Bytes not yet acked.
    pub backlog_bytes: u64,
    /// Samples polled since the spool was made.
    pub polled: u64,
    /// Samples that the centre has acked, of those polled since the spool was made.
    pub stored: u64,
    /// Samples declared lost since the spool was made.
    pub declared_lost: u64,
    /// The devices behind it.
    pub devices: Vec<DeviceHealth>,
    /// Last gasp: mains of the gateway is gone.
    pub on_battery: bool,
    /// The gateway's own clock minus the centre's time, ms, where an ack let it measure that; its blocks may follow the
    /// centre all the same.
    pub centre_difference_ms: Option<i64>,
    /// Counter of the first message of the connection that carries this; 0 = not said. Whoever gets a later message of
    /// the same connection and never an earlier one has a broker that drops.
    pub first_counter: u64,
}

/// Health of one device behind a gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceHealth {
    /// Its id, unique in its site.
    pub device: String,
    /// Whether it answers.
    pub online: bool,
    /// Its last answer, milliseconds UTC; 0 = never.
    pub last_reply: i64,
    /// Failed requests since the gateway's start.
    pub errors: u64,
}

impl State {
    /// The body of a frame of kind [`State`](crate::frame::Kind::State).
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let device = |d: &DeviceHealth| proto::DeviceHealth {
            device: d.device.clone(),
            online: d.online,
            last_reply: d.last_reply,
            errors: d.errors,
        };
        proto::State {
            stamp: Some(self.stamp.to_proto()),
            epoch: self.epoch.0,
            online: self.online,
            at: self.at,
            version: self.version.clone(),
            clock: convert::clock_state(self.clock),
            backlog_blocks: self.backlog_blocks,
            backlog_bytes: self.backlog_bytes,
            polled: self.polled,
            stored: self.stored,
            declared_lost: self.declared_lost,
            devices: self.devices.iter().map(device).collect(),
            on_battery: self.on_battery,
            centre_difference_ms: self.centre_difference_ms,
            first_counter: self.first_counter,
        }
        .encode_to_vec()
    }

    /// Reads the body of a frame.
    ///
    /// # Errors
    /// [`DecodeError`] on anything else.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let state: proto::State = read("a state", bytes)?;
        at_most("devices of a state", state.devices.len(), DEVICES_MAX)?;
        at_most("length of a version", state.version.len(), TEXT_BYTES_MAX)?;
        let devices = state.devices.into_iter().map(|d| {
            between("length of a device's id", d.device.len() as u64, 1, TEXT_BYTES_MAX as u64)?;
            Ok(DeviceHealth {
                device: d.device,
                online: d.online,
                last_reply: d.last_reply,
                errors: d.errors,
            })
        });
        let stamp = state.stamp.ok_or(DecodeError::Missing { what: "the stamp of a state" })?;
        Ok(Self {
            stamp: Stamp::from_proto(stamp)?,
            epoch: Epoch(state.epoch),
            online: state.online,
            at: state.at,
            version: state.version,
            clock: convert::read_clock_state(state.clock)?,
            backlog_blocks: state.backlog_blocks,
            backlog_bytes: state.backlog_bytes,
            polled: state.polled,
            stored: state.stored,
            declared_lost: state.declared_lost,
            devices: devices.collect::<Result<_, DecodeError>>()?,
            on_battery: state.on_battery,
            centre_difference_ms: state.centre_difference_ms,
            first_counter: state.first_counter,
        })
    }
}
