//! One plant: its devices by unit id, its machines, and what each device shows of them.

use std::collections::BTreeMap;
use std::sync::Mutex;

use rand::SeedableRng;
use rand::rngs::SmallRng;

use super::machine::{Level, Load, Shown, measure};
use crate::harness::modbus::{Answer, Request, Units};
use crate::meters::{Encoding, Model, Registers};

/// What a device measures.
#[derive(Debug, Clone)]
pub enum Measured {
    /// One machine of its own.
    Load(Load),
    /// The supply of the whole site: the sum of its loads and of `own_kw` (light, heating, office).
    Incomer {
        /// What nothing else measures, kW.
        own_kw: f64,
        /// Energy so far, kWh.
        energy_kwh: f64,
    },
    /// Sensor channels, in the order of the model's places.
    Levels(Vec<Level>),
}

/// One device of a site.
#[derive(Debug, Clone)]
pub struct Device {
    /// Id in the site.
    pub id: &'static str,
    /// Modbus unit.
    pub unit: u8,
    /// Its register map.
    pub model: &'static Model,
    /// What it measures.
    pub measured: Measured,
    /// False = it does not answer at all.
    pub answers: bool,
}

impl Device {
    /// A device that answers.
    #[must_use]
    pub fn new(id: &'static str, unit: u8, model: &'static Model, measured: Measured) -> Device {
        Device { id, unit, model, measured, answers: true }
    }
}

#[derive(Debug)]
struct Inside {
    devices: Vec<Device>,
    registers: BTreeMap<u8, Registers>,
    /// Registers that a test holds at a value of its own, whatever the machines do.
    held: BTreeMap<(u8, u8, u16), u16>,
    supplied: bool,
    rng: SmallRng,
}

/// A plant with its devices behind one endpoint.
#[derive(Debug)]
pub struct Site {
    /// Site id.
    pub id: &'static str,
    inside: Mutex<Inside>,
}

impl Site {
    /// A site whose random numbers come from `seed`.
    #[must_use]
    pub fn new(id: &'static str, seed: u64, devices: Vec<Device>) -> Site {
        let registers = devices.iter().map(|d| (d.unit, Registers::of(d.model))).collect();
        let rng = SmallRng::seed_from_u64(seed);
        let inside = Inside { devices, registers, held: BTreeMap::new(), supplied: true, rng };
        let site = Site { id, inside: Mutex::new(inside) };
        site.step(0.0);
        site
    }

    /// Lets the machines run for `dt` seconds and writes what the devices show.
    ///
    /// # Panics
    /// When another thread panicked while it held the lock.
    pub fn step(&self, dt: f64) {
        let mut guard = self.inside.lock().expect("no panic under the lock");
        let Inside { devices, registers, held, supplied, rng } = &mut *guard;
        let mut total = 0.0;
        for device in devices.iter_mut() {
            let Some(image) = registers.get_mut(&device.unit) else { continue };
            match &mut device.measured {
                Measured::Load(load) => {
                    let p = if *supplied { load.step(dt, rng) } else { 0.0 };
                    total += p;
                    let shown = measure(p, load.power_factor, load.energy_kwh, *supplied, rng);
                    show(image, device.model, &shown);
                }
                Measured::Levels(levels) => {
                    for (level, place) in levels.iter_mut().zip(device.model.places) {
                        set(image, device.model, place.quantity, level.step(dt, rng));
                    }
                }
                Measured::Incomer { .. } => {}
            }
        }
        for device in devices.iter_mut() {
            if let Measured::Incomer { own_kw, energy_kwh } = &mut device.measured {
                let p = if *supplied { total + *own_kw } else { 0.0 };
                *energy_kwh += p * dt / 3600.0;
                let shown = measure(p, 0.91, *energy_kwh, *supplied, rng);
                if let Some(image) = registers.get_mut(&device.unit) {
                    show(image, device.model, &shown);
                }
            }
        }
        for ((unit, function, address), word) in held.iter() {
            if let Some(image) = registers.get_mut(unit) {
                image.poke(*function, *address, *word);
            }
        }
    }

    /// Switches a machine: `share` of its rated power, 0 = off.
    pub fn run(&self, device: &str, share: f64) {
        self.change(device, |d| {
            if let Measured::Load(load) = &mut d.measured {
                load.share = share;
            }
        });
    }

    /// Sends a sensor's channel (0 = first) towards a value at a speed in its unit a second.
    pub fn drive(&self, device: &str, channel: usize, wanted: f64, per_s: f64) {
        self.change(device, |d| {
            if let Measured::Levels(levels) = &mut d.measured
                && let Some(level) = levels.get_mut(channel)
            {
                (level.wanted, level.per_s) = (wanted, per_s);
            }
        });
    }

    /// Lets a device fall silent, or answer again.
    pub fn answer(&self, device: &str, answers: bool) {
        self.change(device, |d| d.answers = answers);
    }

    /// Cuts or restores the supply of the whole site.
    ///
    /// # Panics
    /// When another thread panicked while it held the lock.
    pub fn supply(&self, on: bool) {
        self.inside.lock().expect("no panic under the lock").supplied = on;
    }

    /// Writes a register and holds it there.
    ///
    /// # Panics
    /// When another thread panicked while it held the lock.
    pub fn hold(&self, unit: u8, function: u8, address: u16, word: u16) {
        let mut inside = self.inside.lock().expect("no panic under the lock");
        inside.held.insert((unit, function, address), word);
        if let Some(image) = inside.registers.get_mut(&unit) {
            image.poke(function, address, word);
        }
    }

    /// The devices as they are now.
    ///
    /// # Panics
    /// When another thread panicked while it held the lock.
    #[must_use]
    pub fn devices(&self) -> Vec<Device> {
        self.inside.lock().expect("no panic under the lock").devices.clone()
    }

    fn change(&self, device: &str, change: impl FnOnce(&mut Device)) {
        let mut inside = self.inside.lock().expect("no panic under the lock");
        if let Some(found) = inside.devices.iter_mut().find(|d| d.id == device) {
            change(found);
        }
    }
}

impl Units for Site {
    fn answer(&self, request: Request) -> Answer {
        let inside = self.inside.lock().expect("no panic under the lock");
        match inside.devices.iter().find(|d| d.unit == request.unit) {
            Some(device) if device.answers => inside.registers[&request.unit].answer(request),
            _ => Answer::Silence,
        }
    }
}

fn show(image: &mut Registers, model: &Model, m: &Shown) {
    let line = |a: usize, b: usize| 3f64.sqrt() * (m.u[a] + m.u[b]) / 2.0;
    let values = [
        ("u_a", m.u[0]),
        ("u_b", m.u[1]),
        ("u_c", m.u[2]),
        ("u_ab", line(0, 1)),
        ("u_bc", line(1, 2)),
        ("u_ca", line(2, 0)),
        ("i_a", m.i[0]),
        ("i_b", m.i[1]),
        ("i_c", m.i[2]),
        ("p_a", m.p[0]),
        ("p_b", m.p[1]),
        ("p_c", m.p[2]),
        ("p_total", m.p.iter().sum()),
        ("q_total", m.q),
        ("s_total", m.s),
        ("pf_total", m.pf),
        ("freq", m.freq),
        ("ep_imp", m.energy_kwh),
    ];
    for (quantity, value) in values {
        if model.places.iter().any(|p| p.quantity == quantity) {
            set(image, model, quantity, value);
        }
    }
}

/// Rounds to what the register can hold and writes it.
fn set(image: &mut Registers, model: &Model, quantity: &str, value: f64) {
    let Some(place) = model.places.iter().find(|p| p.quantity == quantity) else { return };
    let decimals = match place.encoding {
        Encoding::F32 | Encoding::F32LowFirst => 3,
        _ => usize::try_from(place.power).unwrap_or(0),
    };
    let written = image.set(model, quantity, &format!("{value:.decimals$}"));
    debug_assert!(written.is_ok(), "{quantity} = {value}: {written:?}");
}
