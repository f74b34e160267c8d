//! The gateway's state message: what it says of itself on `…/state`, retained, and as its last will.
//!
//! Made by the uplink at each connection, each half minute, and when asked. The will is written before it
//! is needed: its counter is 0 and its numbers are those of the moment of connecting.

use std::sync::Arc;

use arc_swap::ArcSwap;
use wire::message::{DeviceHealth, Stamp, State};

use crate::uplink::Seams;

/// Health of the devices, put here by the buses, read for the state message and the status page.
pub type Devices = Arc<ArcSwap<Vec<DeviceHealth>>>;

/// Bytes of a device's health beside its name, from above.
const DEVICE_BYTES: usize = 40;

/// An empty list of devices.
#[must_use]
pub fn no_devices() -> Devices {
    Arc::new(ArcSwap::from_pointee(Vec::new()))
}

/// The state as it is now.
#[must_use]
pub fn message(seams: &Seams, stamp: Stamp, online: bool) -> State {
    let shown = seams.shown.borrow();
    let mut devices = seams.devices.load().as_ref().clone();
    devices.truncate(wire::limits::DEVICES_MAX);
    // Long names of very many devices would not fit a frame: the first ones are told.
    let mut bytes = 0;
    let fits = |d: &&DeviceHealth| {
        bytes += d.device.len() + DEVICE_BYTES;
        bytes <= wire::limits::BLOCK_BYTES_MAX / 2
    };
    let count = devices.iter().take_while(fits).count();
    devices.truncate(count);
    State {
        stamp,
        epoch: seams.start.epoch,
        online,
        at: seams.clock.system_ms(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        clock: shown.clock,
        backlog_blocks: shown.spool.unacked_blocks,
        backlog_bytes: shown.spool.unacked_bytes,
        polled: shown.spool.polled,
        // What entered the spool is stored in it, or was, until it was delivered or declared.
        stored: shown.spool.polled,
        declared_lost: shown.spool.declared,
        devices,
        on_battery: false,
    }
}

/// The state that the broker publishes when the connection breaks.
#[must_use]
pub fn will(seams: &Seams) -> State {
    let stamp = Stamp {
        gateway: seams.gateway.clone(),
        boot: seams.start.boot,
        counter: 0,
        mono_ms: seams.clock.mono_ms(),
    };
    State { devices: Vec::new(), ..message(seams, stamp, false) }
}
