//! The plant: what the devices would say at any second. Truth, against which everything is held.

use crate::dice::Dice;

/// Devices of a gateway, in the order of its replies.
pub(crate) const DEVICES: [&str; 2] = ["gas", "meter"];

/// The truth of one gateway's devices, drawn whole at the beginning.
#[derive(Debug)]
pub(crate) struct Plant {
    gas: Vec<f64>,
    power: Vec<f64>,
}

impl Plant {
    /// A plant for `seconds`; from `lasting` on there is a leak that does not end.
    pub(crate) fn new(dice: &mut Dice, seconds: usize, lasting: usize) -> Self {
        let mut gas = Vec::with_capacity(seconds);
        while gas.len() < seconds {
            let value = dice.pick(&[3.0, 3.0, 3.0, 30.0, 60.0]);
            let length = dice.below(70) + 5;
            gas.extend(std::iter::repeat_n(value, length));
        }
        gas.truncate(seconds);
        gas.iter_mut().skip(lasting).for_each(|v| *v = 60.0);
        let mut power = Vec::with_capacity(seconds);
        while power.len() < seconds {
            let value = dice.pick(&[0.0, 5.0, 80.0]);
            let length = dice.below(120) + 20;
            power.extend(std::iter::repeat_n(value, length));
        }
        Self { gas, power }
    }

    fn at(of: &[f64], ms: i64) -> f64 {
        let second = usize::try_from(ms / 1_000).unwrap_or(0);
        of.get(second).or(of.last()).copied().unwrap_or(0.0)
    }

    /// %LEL at a true time.
    pub(crate) fn gas(&self, ms: i64) -> f64 {
        Self::at(&self.gas, ms)
    }

    /// kW at a true time.
    pub(crate) fn power(&self, ms: i64) -> f64 {
        Self::at(&self.power, ms)
    }

    /// From a true time on there is a leak that does not end.
    pub(crate) fn leak_from(&mut self, ms: i64) {
        let second = usize::try_from(ms / 1_000).unwrap_or(0);
        self.gas.iter_mut().skip(second).for_each(|v| *v = 60.0);
    }

    /// Whether the gas was at or above `limit` somewhere in a span of true time.
    pub(crate) fn had_gas(&self, from: i64, to: i64, limit: f64) -> bool {
        (from.max(0) / 1_000..=to.max(0) / 1_000).any(|second| self.gas(second * 1_000) >= limit)
    }
}
