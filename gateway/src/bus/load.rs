//! Whether a bus can carry its configuration, known before it starts.
//!
//! Utilisation is the sum over its planned requests of cost over period. `run` and `check` print it, refuse it above
//! 1.0 and warn above 0.7.

use crate::config::{Bus, Config};
use crate::plan::cost::Cost;
use crate::plan::{Limits, Plan, plan};

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
