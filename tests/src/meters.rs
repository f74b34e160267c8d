//! Register maps of real meters and sensors, written down a second time from their makers' documents, so that a
//! simulated device does not repeat a mistake of the gateway's profiles. Sources: see each map.
//!
//! A map says where a quantity stands and how it is encoded; a [`Registers`] image holds what a unit answers.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};

use crate::harness::modbus::{Answer, Request};

/// How a value stands in registers. Words are big-endian on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// IEEE 754 binary32, high word first.
    F32,
    /// IEEE 754 binary32, low word first.
    F32LowFirst,
    /// Unsigned 16 bits.
    U16,
    /// Signed 16 bits.
    I16,
    /// Unsigned 32 bits, high word first.
    U32,
    /// Signed 32 bits, high word first.
    I32,
    /// Signed 64 bits, high word first.
    I64,
}

impl Encoding {
    /// Number of registers.
    #[must_use]
    pub fn words(self) -> u16 {
        match self {
            Encoding::U16 | Encoding::I16 => 1,
            Encoding::F32 | Encoding::F32LowFirst | Encoding::U32 | Encoding::I32 => 2,
            Encoding::I64 => 4,
        }
    }
}

/// Where one quantity stands: raw = value in the quantity's unit × 10^`power`.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// Name from the product's vocabulary.
    pub quantity: &'static str,
    /// 3 holding, 4 input.
    pub function: u8,
    /// 0-based.
    pub address: u16,
    /// How it is written.
    pub encoding: Encoding,
    /// Decimal shift from the quantity's unit to the raw number.
    pub power: i32,
}

/// A model's map.
#[derive(Debug, Clone, Copy)]
pub struct Model {
    /// Id of the gateway's profile for it.
    pub profile: &'static str,
    /// Its quantities.
    pub places: &'static [Place],
    /// Registers that configure it and always read the same: (function, address, word).
    pub fixed: &'static [(u8, u16, u16)],
}

const fn at(
    quantity: &'static str,
    function: u8,
    address: u16,
    encoding: Encoding,
    power: i32,
) -> Place {
    Place { quantity, function, address, encoding, power }
}

use Encoding::{F32, F32LowFirst, I16, I32, I64, U16};

/// Eastron SDM630, input registers, float32, 9600 8N1. Power in W, energy in kWh.
pub const SDM630: Model = Model {
    profile: "eastron-sdm630",
    places: &[
        at("u_a", 4, 0x0000, F32, 0),
        at("u_b", 4, 0x0002, F32, 0),
        at("u_c", 4, 0x0004, F32, 0),
        at("i_a", 4, 0x0006, F32, 0),
        at("i_b", 4, 0x0008, F32, 0),
        at("i_c", 4, 0x000A, F32, 0),
        at("p_a", 4, 0x000C, F32, 3),
        at("p_b", 4, 0x000E, F32, 3),
        at("p_c", 4, 0x0010, F32, 3),
        at("p_total", 4, 0x0034, F32, 3),
        at("s_total", 4, 0x0038, F32, 3),
        at("q_total", 4, 0x003C, F32, 3),
        at("pf_total", 4, 0x003E, F32, 0),
        at("freq", 4, 0x0046, F32, 0),
        at("ep_imp", 4, 0x0048, F32, 0),
        at("ep_exp", 4, 0x004A, F32, 0),
    ],
    fixed: &[],
};

/// Schneider PM5100, holding registers (manual number − 1), float32; power in kW, energy int64 in Wh.
pub const PM5100: Model = Model {
    profile: "schneider-pm5100",
    places: &[
        at("i_a", 3, 2999, F32, 0),
        at("i_b", 3, 3001, F32, 0),
        at("i_c", 3, 3003, F32, 0),
        at("i_n", 3, 3005, F32, 0),
        at("u_ab", 3, 3019, F32, 0),
        at("u_bc", 3, 3021, F32, 0),
        at("u_ca", 3, 3023, F32, 0),
        at("u_a", 3, 3027, F32, 0),
        at("u_b", 3, 3029, F32, 0),
        at("u_c", 3, 3031, F32, 0),
        at("p_total", 3, 3059, F32, 0),
        at("q_total", 3, 3067, F32, 0),
        at("s_total", 3, 3075, F32, 0),
        at("freq", 3, 3109, F32, 0),
        at("ep_imp", 3, 3203, I64, 3),
        at("ep_exp", 3, 3207, I64, 3),
    ],
    fixed: &[],
};

/// Acrel ADW300, holding registers: voltage ×10, current ×100, power in W, energy ×100.
pub const ADW300: Model = Model {
    profile: "acrel-adw300",
    places: &[
        at("u_a", 3, 20, U16, 1),
        at("u_b", 3, 21, U16, 1),
        at("u_c", 3, 22, U16, 1),
        at("i_a", 3, 26, U16, 2),
        at("i_b", 3, 27, U16, 2),
        at("i_c", 3, 28, U16, 2),
        at("p_a", 3, 30, I32, 3),
        at("p_b", 3, 32, I32, 3),
        at("p_c", 3, 34, I32, 3),
        at("p_total", 3, 36, I32, 3),
        at("ep_imp", 3, 62, I32, 2),
        at("ep_exp", 3, 64, I32, 2),
    ],
    fixed: &[],
};

/// Acrel ADL400-D, holding registers: voltage ×10, current ×100, power in W, frequency ×100.
pub const ADL400: Model = Model {
    profile: "acrel-adl400",
    places: &[
        at("u_a", 3, 97, U16, 1),
        at("u_b", 3, 98, U16, 1),
        at("u_c", 3, 99, U16, 1),
        at("i_a", 3, 100, U16, 2),
        at("i_b", 3, 101, U16, 2),
        at("i_c", 3, 102, U16, 2),
        at("freq", 3, 119, U16, 2),
        at("p_a", 3, 356, I32, 3),
        at("p_b", 3, 358, I32, 3),
        at("p_c", 3, 360, I32, 3),
        at("p_total", 3, 362, I32, 3),
    ],
    fixed: &[],
};

/// Chint DTSU666, holding registers, float32 on the secondary side: U ×10, I ×1000, P and Q in W and var ×10,
/// power factor ×1000, frequency ×100. CT and VT (×10) ratios at 6 and 7 are 1 here.
pub const DTSU666: Model = Model {
    profile: "chint-dtsu666",
    places: &[
        at("u_ab", 3, 0x2000, F32, 1),
        at("u_bc", 3, 0x2002, F32, 1),
        at("u_ca", 3, 0x2004, F32, 1),
        at("u_a", 3, 0x2006, F32, 1),
        at("u_b", 3, 0x2008, F32, 1),
        at("u_c", 3, 0x200A, F32, 1),
        at("i_a", 3, 0x200C, F32, 3),
        at("i_b", 3, 0x200E, F32, 3),
        at("i_c", 3, 0x2010, F32, 3),
        at("p_total", 3, 0x2012, F32, 4),
        at("q_total", 3, 0x201A, F32, 4),
        at("pf_total", 3, 0x202A, F32, 3),
        at("freq", 3, 0x2044, F32, 2),
        at("ep_imp", 3, 0x101E, F32, 0),
        at("ep_exp", 3, 0x1028, F32, 0),
    ],
    fixed: &[(3, 6, 1), (3, 7, 10)],
};

/// Eight-channel Pt100 module: int16 tenths of a degree, 0x8000 = no sensor.
pub const PT100X8: Model = Model {
    profile: "pt100-8ch",
    places: &[
        at("t_1", 3, 0, I16, 1),
        at("t_2", 3, 1, I16, 1),
        at("t_3", 3, 2, I16, 1),
        at("t_4", 3, 3, I16, 1),
        at("t_5", 3, 4, I16, 1),
        at("t_6", 3, 5, I16, 1),
        at("t_7", 3, 6, I16, 1),
        at("t_8", 3, 7, I16, 1),
    ],
    fixed: &[],
};

/// Honeywell Midas with a %LEL cartridge: status at 40001 (1 = monitoring), concentration as float32, low word first, at
/// 40003, unit at 40007 (bit 3 = %LEL).
pub const MIDAS_LEL: Model = Model {
    profile: "honeywell-midas-lel",
    places: &[at("gas_lel", 3, 2, F32LowFirst, 0)],
    fixed: &[(3, 0, 0x0001), (3, 6, 0x0008)],
};

/// A level transmitter whose addresses the site file gives: tenths of a per cent of span at register 0.
pub const LEVEL: Model =
    Model { profile: "generic", places: &[at("level_pct", 4, 0, U16, 1)], fixed: &[] };

/// Every map of this file.
pub const MODELS: [&Model; 8] =
    [&SDM630, &PM5100, &ADW300, &ADL400, &DTSU666, &PT100X8, &MIDAS_LEL, &LEVEL];

/// What one unit answers now.
#[derive(Debug, Clone, Default)]
pub struct Registers {
    words: BTreeMap<(u8, u16), u16>,
}

impl Registers {
    /// All of the model's places at 0, its fixed registers set.
    #[must_use]
    pub fn of(model: &Model) -> Registers {
        let mut image = Registers::default();
        for place in model.places {
            for i in 0..place.encoding.words() {
                image.words.insert((place.function, place.address + i), 0);
            }
        }
        for (function, address, word) in model.fixed {
            image.words.insert((*function, *address), *word);
        }
        image
    }

    /// Writes a value given as decimal text in the quantity's unit.
    ///
    /// # Errors
    /// When the model has no such quantity or the encoding cannot hold the value exactly.
    pub fn set(&mut self, model: &Model, quantity: &str, text: &str) -> Result<()> {
        let place = model
            .places
            .iter()
            .find(|p| p.quantity == quantity)
            .with_context(|| format!("{} has no {quantity}", model.profile))?;
        for (i, word) in (0u16..).zip(encode(place, text)?) {
            self.words.insert((place.function, place.address + i), word);
        }
        Ok(())
    }

    /// Writes one raw register.
    pub fn poke(&mut self, function: u8, address: u16, word: u16) {
        self.words.insert((function, address), word);
    }

    /// Answers a read of consecutive registers. As in a real meter, reserved registers between two used ones read 0;
    /// one outside the used span is an illegal address.
    #[must_use]
    pub fn answer(&self, request: Request) -> Answer {
        let mut of_table = self.words.range((request.function, 0)..=(request.function, u16::MAX));
        let (Some(first), last) = (of_table.next(), of_table.next_back()) else {
            return Answer::Exception(2);
        };
        let first = first.0.1;
        let last = last.map_or(first, |entry| entry.0.1);
        let end = u32::from(request.address) + u32::from(request.count);
        if request.address < first || end > u32::from(last) + 1 {
            return Answer::Exception(2);
        }
        let word = |address| self.words.get(&(request.function, address)).copied().unwrap_or(0);
        Answer::Words((request.address..).take(usize::from(request.count)).map(word).collect())
    }
}

/// Words of a value given as decimal text in the quantity's unit.
///
/// # Errors
/// When the encoding cannot hold it exactly, or the text is no decimal number.
pub fn encode(place: &Place, text: &str) -> Result<Vec<u16>> {
    let shifted = shift(text, place.power)?;
    let bytes: Vec<u8> = match place.encoding {
        F32 => shifted.parse::<f32>()?.to_be_bytes().to_vec(),
        F32LowFirst => {
            let b = shifted.parse::<f32>()?.to_be_bytes();
            vec![b[2], b[3], b[0], b[1]]
        }
        whole => {
            ensure!(
                !shifted.contains('.'),
                "{}: {text} needs more places than the register has",
                place.quantity
            );
            let n: i64 = shifted.parse()?;
            match whole {
                U16 => u16::try_from(n)?.to_be_bytes().to_vec(),
                I16 => i16::try_from(n)?.to_be_bytes().to_vec(),
                Encoding::U32 => u32::try_from(n)?.to_be_bytes().to_vec(),
                I32 => i32::try_from(n)?.to_be_bytes().to_vec(),
                _ => n.to_be_bytes().to_vec(),
            }
        }
    };
    Ok(bytes.chunks(2).map(|c| u16::from_be_bytes([c[0], c[1]])).collect())
}

/// Moves the decimal point of `text` by `power` places to the right, exactly.
///
/// # Errors
/// When `text` is no plain decimal number.
pub fn shift(text: &str, power: i32) -> Result<String> {
    let (sign, digits) = text.strip_prefix('-').map_or(("", text), |rest| ("-", rest));
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() || !whole.bytes().chain(part.bytes()).all(|b| b.is_ascii_digit()) {
        bail!("{text:?} is no decimal number");
    }
    let mut all = format!("{whole}{part}");
    let mut point = i32::try_from(whole.len())? + power;
    while point < 1 {
        all.insert(0, '0');
        point += 1;
    }
    let point = usize::try_from(point)?;
    while all.len() < point {
        all.push('0');
    }
    let (whole, part) = all.split_at(point);
    let whole = whole.trim_start_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    let part = part.trim_end_matches('0');
    Ok(if part.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{part}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_moves_exactly() {
        for (text, power, want) in [
            ("4.216", 3, "4216"),
            ("0.326", 3, "326"),
            ("243.15", 1, "2431.5"),
            ("-0.5", 3, "-500"),
            ("12", -3, "0.012"),
            ("0", 3, "0"),
            ("100", -2, "1"),
        ] {
            assert_eq!(shift(text, power).expect("a number"), want, "{text} by {power}");
        }
        assert!(shift("1e3", 0).is_err());
    }

    #[test]
    fn the_vendors_examples_encode() {
        let place = at("u_a", 4, 0, F32, 0);
        assert_eq!(encode(&place, "230.2").expect("fits"), [0x4366, 0x3333]);
        let place = at("t_1", 3, 0, I16, 1);
        assert_eq!(encode(&place, "-12.5").expect("fits"), [0xFF83]);
        assert!(encode(&place, "1.25").is_err(), "a tenth cannot hold a hundredth");
    }
}
