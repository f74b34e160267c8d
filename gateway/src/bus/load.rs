//! Whether a bus can carry its configuration, known before it starts.
//!
//! And whether the gateway can name all its points in one manifest. Utilisation is the sum over its planned requests of cost over period. `run` and `check` print it, refuse it above
//! 1.0 and warn above 0.7.

use super::device::reply;
use crate::config::{Bus, Config};
use crate::plan::cost::Cost;
use crate::plan::{Limits, Plan, plan};
use crate::reading::{MANIFEST_BYTES_MAX, REPLIES_MAX};

/// Above this a bus has no room for repeats and reconnects.
pub const WARN_ABOVE: f64 = 0.7;

/// Above this a bus cannot keep its periods.
pub const REFUSE_ABOVE: f64 = 1.0;

/// The load of one bus.
#[derive(Debug, Clone)]
pub struct Load {
    /// Bus name.
    pub bus: String,
    /// Requests per sweep of all devices.
    pub requests: usize,
    /// Points that make columns.
    pub points: usize,
    /// Points a second.
    pub points_per_s: f64,
    /// Sum of cost over period; 1.0 = always busy.
    pub utilisation: f64,
    /// Registers read only because that is cheaper than another request.
    pub filling: u32,
}

/// The load of each bus, in order.
#[must_use]
pub fn loads(config: &Config) -> Vec<Load> {
    config.buses.iter().map(load).collect()
}

/// Part of [`MANIFEST_BYTES_MAX`] that the first plans may take, percent: plans that change name more.
pub const MANIFEST_PERCENT: usize = 75;

/// What the gateway has to name in its manifest at the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Named {
    /// Points.
    pub points: usize,
    /// Kinds of reply.
    pub replies: usize,
    /// Bytes of the manifest.
    pub bytes: usize,
}

impl Named {
    /// How many gateways it takes; 1 where this one will do.
    #[must_use]
    pub fn gateways(&self) -> usize {
        let bytes = self.bytes.div_ceil(MANIFEST_BYTES_MAX * MANIFEST_PERCENT / 100);
        bytes.max(self.replies.div_ceil(REPLIES_MAX * MANIFEST_PERCENT / 100)).max(1)
    }
}

/// What all first plans name.
#[must_use]
pub fn named(config: &Config) -> Named {
    let mut named = Named { points: 0, replies: 0, bytes: 0 };
    for (bus, device) in config.devices() {
        let requests = first_plan(bus, device).requests;
        let parts = requests.iter().flat_map(|r| &r.parts).filter(|p| !p.columns.is_empty());
        for part in parts {
            named.points += part.columns.len();
            named.replies += 1;
            named.bytes += reply(device, part.period, &part.columns).manifest_bytes();
        }
    }
    named
}

/// The plan a device starts with.
#[must_use]
pub fn first_plan(bus: &Bus, device: &crate::config::Device) -> Plan {
    let limits = Limits::of(device.max_regs, &device.forbid);
    plan(&device.points, &limits, Cost::guess(device.turnaround, bus.line_baud), &|_| false)
}

fn load(bus: &Bus) -> Load {
    let mut load = Load {
        bus: bus.name.to_string(),
        requests: 0,
        points: 0,
        points_per_s: 0.0,
        utilisation: 0.0,
        filling: 0,
    };
    for device in &bus.devices {
        let cost = Cost::guess(device.turnaround, bus.line_baud);
        for request in first_plan(bus, device).requests {
            let period = request.period.as_secs_f64();
            let time = cost.time(u32::from(request.count)) + bus.min_gap;
            load.requests += 1;
            load.utilisation += time.as_secs_f64() / period;
            let mut used = 0;
            for part in &request.parts {
                load.points += part.columns.len();
                load.points_per_s += part.columns.len() as f64 / part.period.as_secs_f64();
                let words = |index: &usize| u32::from(device.points[*index].kind.words());
                used += part.all.iter().map(words).sum::<u32>();
            }
            load.filling += u32::from(request.count).saturating_sub(used);
        }
    }
    load
}
