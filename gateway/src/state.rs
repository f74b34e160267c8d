//! The gateway's state message: what it says of itself on `…/state`, retained, and as its last will.
//!
//! Made by the uplink at each connection, each half minute, and when asked. The will is written before it
//! is needed: its counter is 0 and its numbers are those of the moment of connecting.

use std::sync::atomic::Ordering;

use wire::message::{DeviceHealth, Stamp, State};

use crate::seal::thread::Shown;
use crate::uplink::Seams;

/// Bytes of a device's health beside its name, from above.
const DEVICE_BYTES: usize = 40;

/// The state as it is now.
#[must_use]
pub fn message(seams: &Seams, stamp: Stamp, online: bool) -> State {
    let shown = seams.shown.borrow();
    let mut devices = devices(seams, &shown);
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
        at: shown.wall_ms(&*seams.clock),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        clock: shown.clock,
        backlog_blocks: shown.spool.unacked_blocks,
        backlog_bytes: shown.spool.unacked_bytes,
        polled: shown.spool.polled,
        stored: shown.spool.stored,
        declared_lost: shown.spool.declared,
        devices,
        on_battery: false,
        centre_difference_ms: shown.centre_difference_ms,
        first_counter: 0,
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

/// `shown` is handed on: a second borrow under the first may wait for ever ([`crate::status::Board`]).
fn devices(seams: &Seams, shown: &Shown) -> Vec<DeviceHealth> {
    let wall = shown.wall_ms(&*seams.clock);
    let mono = seams.clock.mono_ms();
    let last = |at| {
        let age = mono.saturating_sub(seams.clock.mono_of(at));
        wall - age.cast_signed()
    };
    let device = |d: &crate::bus::health::DeviceHealth| DeviceHealth {
        device: d.id.to_string(),
        online: d.online.load(Ordering::Relaxed),
        last_reply: d.last_reply().map_or(0, last),
        errors: d.errors.load(Ordering::Relaxed),
    };
    seams.health.devices.iter().map(device).collect()
}
