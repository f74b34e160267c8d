//! Serves a recording as a meter: each row is held until one sweep has read it whole, and every answer is logged, so
//! that a test can say for each logged answer which samples must be in the store, and that nothing else is.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::SystemTime;

use anyhow::Result;

use crate::harness::modbus::{Answer, Request, Units};
use crate::meters::{Model, Registers};

/// One value that the device has given out.
#[derive(Debug, Clone, PartialEq)]
pub struct Given {
    /// Unit id.
    pub unit: u8,
    /// When the answer was written, ms since the Unix epoch.
    pub at_ms: i64,
    /// Row of the recording.
    pub row: usize,
    /// Name of the quantity.
    pub quantity: &'static str,
    /// The value as it stands in the recording.
    pub text: String,
}

/// A recording as one unit's rows: quantities in columns, values as the file's own text.
#[derive(Debug)]
pub struct Recording {
    /// Whose registers carry it.
    pub model: &'static Model,
    /// Quantity of each column.
    pub columns: Vec<&'static str>,
    /// Rows of text, a value per column.
    pub rows: Vec<Vec<String>>,
}

#[derive(Debug)]
struct Unit {
    recording: Recording,
    registers: Registers,
    row: usize,
    /// Places read of the present row; when all are, the next read gets the next row.
    read: BTreeSet<(u8, u16)>,
}

/// Units that play recordings.
#[derive(Debug)]
pub struct Replay {
    units: Mutex<Vec<Option<Unit>>>,
    given: Mutex<Vec<Given>>,
}

impl Replay {
    /// Unit 1 plays the first recording, and so on.
    ///
    /// # Errors
    /// When a value does not fit the model's registers.
    pub fn new(recordings: Vec<Recording>) -> Result<Replay> {
        let mut units = vec![None];
        for recording in recordings {
            let mut unit = Unit {
                registers: Registers::of(recording.model),
                recording,
                row: 0,
                read: BTreeSet::new(),
            };
            unit.load()?;
            units.push(Some(unit));
        }
        Ok(Replay { units: Mutex::new(units), given: Mutex::new(Vec::new()) })
    }

    /// Whether every unit has given out its last row whole.
    ///
    /// # Panics
    /// When a test thread panicked while it held the lock.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.left() == 0
    }

    /// Rows that are still to be read, of all units.
    ///
    /// # Panics
    /// When a test thread panicked while it held the lock.
    #[must_use]
    pub fn left(&self) -> usize {
        let units = self.units.lock().expect("no panic under the lock");
        units.iter().flatten().map(Unit::left).sum()
    }

    /// Everything given out so far.
    ///
    /// # Panics
    /// When a test thread panicked while it held the lock.
    #[must_use]
    pub fn given(&self) -> Vec<Given> {
        self.given.lock().expect("no panic under the lock").clone()
    }
}

impl Unit {
    fn load(&mut self) -> Result<()> {
        for (column, quantity) in self.recording.columns.iter().enumerate() {
            self.registers.set(
                self.recording.model,
                quantity,
                &self.recording.rows[self.row][column],
            )?;
        }
        self.read.clear();
        Ok(())
    }

    fn whole(&self) -> bool {
        self.read.len() == self.recording.model.places.len()
    }

    fn left(&self) -> usize {
        self.recording.rows.len() - self.row - usize::from(self.whole())
    }

    fn text(&self, quantity: &str) -> String {
        let column = self.recording.columns.iter().position(|c| *c == quantity);
        column.map_or_else(|| "0".to_owned(), |c| self.recording.rows[self.row][c].clone())
    }
}

impl Units for Replay {
    fn answer(&self, request: Request) -> Answer {
        let mut units = self.units.lock().expect("no panic under the lock");
        let Some(Some(unit)) = units.get_mut(usize::from(request.unit)) else {
            return Answer::Silence;
        };
        if unit.whole() {
            if unit.row + 1 == unit.recording.rows.len() {
                return Answer::Silence;
            }
            unit.row += 1;
            if unit.load().is_err() {
                return Answer::Exception(4);
            }
        }
        let answer = unit.registers.answer(request);
        if !matches!(answer, Answer::Words(_)) {
            return answer;
        }
        let at_ms = now_ms();
        let end = u32::from(request.address) + u32::from(request.count);
        let mut given = self.given.lock().expect("no panic under the lock");
        for place in unit.recording.model.places {
            let covered = place.function == request.function
                && place.address >= request.address
                && u32::from(place.address + place.encoding.words()) <= end;
            if covered {
                unit.read.insert((place.function, place.address));
                given.push(Given {
                    unit: request.unit,
                    at_ms,
                    row: unit.row,
                    quantity: place.quantity,
                    text: unit.text(place.quantity),
                });
            }
        }
        answer
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the device's own clock, which the product does not see"
)]
fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
