//! What stands in a plant: three-phase loads with a meter, and quantities that a sensor shows.

use rand::Rng;
use rand::rngs::SmallRng;

/// Phase voltage of the 380 V grid, V.
const PHASE_V: f64 = 230.0;
/// Voltage wanders within this share.
const VOLTAGE_WANDER: f64 = 0.012;
/// Power of a running machine wanders within this share.
const POWER_WANDER: f64 = 0.03;
/// Share of the way to the wanted power that a machine goes in a second: motors and furnaces take seconds.
const APPROACH_PER_S: f64 = 0.8;

/// A three-phase load.
#[derive(Debug, Clone)]
pub struct Load {
    /// Power when it runs, kW.
    pub rated_kw: f64,
    /// Power factor when it runs.
    pub power_factor: f64,
    /// Wanted share of the rated power: 0 off, 1 running.
    pub share: f64,
    /// Share it has reached.
    reached: f64,
    /// Energy drawn so far, kWh.
    pub energy_kwh: f64,
}

impl Load {
    /// A load that starts at `share` of its rated power.
    #[must_use]
    pub fn new(rated_kw: f64, power_factor: f64, share: f64) -> Load {
        Load { rated_kw, power_factor, share, reached: share, energy_kwh: 1000.0 }
    }

    /// Moves on by `dt` seconds and returns what it draws, kW.
    pub fn step(&mut self, dt: f64, rng: &mut SmallRng) -> f64 {
        self.reached += (self.share - self.reached) * (APPROACH_PER_S * dt).min(1.0);
        if self.share == 0.0 && self.reached < 0.01 {
            self.reached = 0.0;
        }
        let p =
            self.rated_kw * self.reached * (1.0 + rng.random_range(-POWER_WANDER..POWER_WANDER));
        self.energy_kwh += p * dt / 3600.0;
        p
    }
}

/// What a three-phase meter shows. Sums are of the phases as shown.
#[derive(Debug, Clone, Default)]
pub struct Shown {
    /// Phase voltages, V.
    pub u: [f64; 3],
    /// Phase currents, A.
    pub i: [f64; 3],
    /// Phase powers, kW.
    pub p: [f64; 3],
    /// Reactive power, kvar.
    pub q: f64,
    /// Apparent power, kVA.
    pub s: f64,
    /// Power factor.
    pub pf: f64,
    /// Hz.
    pub freq: f64,
    /// Drawn energy, kWh.
    pub energy_kwh: f64,
}

/// Measures `p_kw` at `power_factor`; `live` = false is a dead supply.
#[must_use]
pub fn measure(
    p_kw: f64,
    power_factor: f64,
    energy_kwh: f64,
    live: bool,
    rng: &mut SmallRng,
) -> Shown {
    let mut shown = Shown { energy_kwh, ..Shown::default() };
    if !live {
        return shown;
    }
    let split = [0.334, 0.331, 0.335]; // no plant is balanced to the last kilowatt
    for (phase, share) in split.into_iter().enumerate() {
        let u = PHASE_V * (1.0 + rng.random_range(-VOLTAGE_WANDER..VOLTAGE_WANDER));
        let p = p_kw * share;
        shown.u[phase] = (u * 10.0).round() / 10.0;
        shown.p[phase] = (p * 1000.0).round() / 1000.0;
        // I = P / (U·cos φ), from the voltage as shown, so that what is shown agrees.
        shown.i[phase] =
            (shown.p[phase] * 1000.0 / (shown.u[phase] * power_factor) * 100.0).round() / 100.0;
    }
    let p = shown.p.iter().sum::<f64>();
    let s = p / power_factor;
    shown.s = (s * 1000.0).round() / 1000.0;
    shown.q = ((s * s - p * p).max(0.0).sqrt() * 1000.0).round() / 1000.0;
    shown.pf = if p > 0.0 { (power_factor * 1000.0).round() / 1000.0 } else { 1.0 };
    shown.freq = ((50.0 + rng.random_range(-0.03..0.03)) * 100.0f64).round() / 100.0;
    shown
}

/// A quantity that a sensor shows: it goes towards `wanted` at `per_s` a second, with `noise`.
#[derive(Debug, Clone)]
pub struct Level {
    /// Where it is going.
    pub wanted: f64,
    /// How fast, in its unit a second.
    pub per_s: f64,
    /// Half width of the noise, in its unit.
    pub noise: f64,
    /// Where it is.
    pub value: f64,
}

impl Level {
    /// A quantity at rest.
    #[must_use]
    pub fn new(value: f64, per_s: f64, noise: f64) -> Level {
        Level { wanted: value, per_s, noise, value }
    }

    /// Moves on by `dt` seconds and returns what the sensor shows.
    pub fn step(&mut self, dt: f64, rng: &mut SmallRng) -> f64 {
        let way = self.wanted - self.value;
        self.value += way.clamp(-self.per_s * dt, self.per_s * dt);
        let noise = if self.noise > 0.0 { rng.random_range(-self.noise..self.noise) } else { 0.0 };
        (self.value + noise).max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn what_a_meter_shows_agrees() {
        // Goal: rules that check P against U·I·cos φ stay quiet. Method: many loads, compare what is shown.
        let mut rng = SmallRng::seed_from_u64(1);
        for p_kw in [0.5, 3.0, 75.0, 1250.0] {
            for _ in 0..200 {
                let m = measure(p_kw, 0.87, 0.0, true, &mut rng);
                let p: f64 = m.p.iter().sum();
                let from_phases: f64 = (0..3).map(|k| m.u[k] * m.i[k] * m.pf / 1000.0).sum();
                assert!((from_phases - p).abs() <= 0.01 * p + 0.01, "{from_phases} against {p}");
                assert!((m.s * m.s - p * p - m.q * m.q).abs() <= 0.01 * m.s * m.s, "S² = P² + Q²");
            }
        }
    }
}
