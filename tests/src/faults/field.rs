//! Devices that know what they have said: meters whose every answer carries the next number, tanks that run empty and
//! fill again by the clock.

use std::sync::Mutex;
use std::time::SystemTime;

use crate::harness::modbus::{Answer, Request, Units};
use crate::meters::{LEVEL, Registers, SDM630};

/// Counting meters, units 1 and up.
pub const METERS: [&str; 2] = ["meter-1", "meter-2"];
/// Tanks, units 11 and up.
pub const TANKS: [&str; 3] = ["tank-1", "tank-2", "tank-3"];
/// Unit of the first tank.
pub const FIRST_TANK: u8 = 11;
/// Each tank dips once in this time, ms.
const PERIOD_MS: i64 = 18_000;
/// How long a dip lasts, ms: longer than any part is away, so that somebody sees each.
const DIP_MS: i64 = 5_000;
/// Level in a dip and outside, %.
pub const LEVELS: (&str, &str) = ("2", "50");

/// The nth meter counts from n times this, so that a number alone says whose it is; a float32 holds each exactly.
const APART: u32 = 1_000_000;

/// One number that a meter has given out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Given {
    /// Index in [`METERS`].
    pub meter: usize,
    /// The number; no other answer has it.
    pub n: u32,
    /// When the answer was written, ms since the Unix epoch.
    pub at_ms: i64,
}

#[derive(Debug)]
struct State {
    meters: Vec<(Registers, u32)>,
    given: Vec<Given>,
    silent: bool,
}

/// The devices of the works.
#[derive(Debug)]
pub struct Field(Mutex<State>);

impl Default for Field {
    fn default() -> Self {
        let meters = METERS.iter().zip(1..);
        let meters = meters.map(|(_, nth)| (Registers::of(&SDM630), nth * APART)).collect();
        Self(Mutex::new(State { meters, given: Vec::new(), silent: false }))
    }
}

impl Field {
    /// Everything given out so far.
    ///
    /// # Panics
    /// When another thread panicked under the lock.
    #[must_use]
    pub fn given(&self) -> Vec<Given> {
        self.0.lock().expect("no panic under the lock").given.clone()
    }

    /// The newest number of a meter.
    ///
    /// # Panics
    /// When another thread panicked under the lock.
    #[must_use]
    pub fn newest(&self, meter: usize) -> Option<Given> {
        let state = self.0.lock().expect("no panic under the lock");
        state.given.iter().rfind(|g| g.meter == meter).copied()
    }

    /// Lets no meter answer any more, or lets them answer again.
    ///
    /// # Panics
    /// When another thread panicked under the lock.
    pub fn silence(&self, silent: bool) {
        self.0.lock().expect("no panic under the lock").silent = silent;
    }
}

impl Units for Field {
    fn answer(&self, request: Request) -> Answer {
        let mut state = self.0.lock().expect("no panic under the lock");
        if state.silent {
            return Answer::Silence;
        }
        let unit = usize::from(request.unit);
        if let Some(tank) = unit.checked_sub(usize::from(FIRST_TANK)).filter(|t| *t < TANKS.len()) {
            drop(state);
            let phase = i64::try_from(tank).unwrap_or(0) * PERIOD_MS / 3;
            let level = if (now_ms() + phase) % PERIOD_MS < DIP_MS { LEVELS.0 } else { LEVELS.1 };
            let mut image = Registers::of(&LEVEL);
            return match image.set(&LEVEL, "level_pct", level) {
                Ok(()) => image.answer(request),
                Err(_) => Answer::Exception(4),
            };
        }
        let Some(meter) = unit.checked_sub(1).filter(|m| *m < METERS.len()) else {
            return Answer::Silence;
        };
        let place = SDM630.places.iter().find(|p| p.quantity == "ep_imp");
        let counts = place.is_some_and(|p| {
            let end = u32::from(request.address) + u32::from(request.count);
            p.function == request.function
                && p.address >= request.address
                && u32::from(p.address + p.encoding.words()) <= end
        });
        let (registers, n) = &mut state.meters[meter];
        if counts {
            *n += 1;
            if registers.set(&SDM630, "ep_imp", &n.to_string()).is_err() {
                return Answer::Exception(4);
            }
        }
        let (answer, n) = (registers.answer(request), *n);
        if counts && matches!(answer, Answer::Words(_)) {
            state.given.push(Given { meter, n, at_ms: now_ms() });
        }
        answer
    }
}

/// The devices' clock, which is the test's own.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "the devices' own clock, which the product does not see"
)]
pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
