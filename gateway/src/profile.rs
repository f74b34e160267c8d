//! Profiles: what stands in which register of which model, as data.
//!
//! A profile is a TOML file (`gateway/profiles/*.toml`, embedded; files of `profiles_dir` add to them and win). It says
//! what a point means; it is never a program. The site file adds what only the site knows: CT and PT ratios, periods,
//! and for transmitters the addresses. [`Point`] is the result, ready to plan and to decode.
//! Who calls this: `config/` at load, `davy-gateway check`. It must never touch a bus.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::decode::decimal::Factor;
use wire::Mark;

pub mod library;
pub mod parse;
pub mod resolve;
pub mod selftest;

/// A register map with its link's habits and its own decode tests.
#[derive(Debug, Clone)]
pub struct Profile {
    /// Stable id, e.g. `eastron-sdm630`; never changes meaning.
    pub id: Arc<str>,
    /// Changes whenever a point changes meaning.
    pub version: Arc<str>,
    /// Maker.
    pub vendor: String,
    /// Models it fits.
    pub models: Vec<String>,
    /// Where the map comes from.
    pub source: String,
    /// How far the map is proven.
    pub standing: Standing,
    /// What to know before using it; may be empty.
    pub note: String,
    /// Habits of the device on the line.
    pub link: LinkSpec,
    /// Poll classes: name → period.
    pub classes: BTreeMap<Arc<str>, Duration>,
    /// The points.
    pub points: Vec<PointSpec>,
    /// Decode tests that came with it.
    pub tests: Vec<DecodeTest>,
    /// Whether the site file must give the points (a generic transmitter).
    pub needs_site_points: bool,
}

/// How far a register map is proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// From the maker's document.
    Official,
    /// Checked against a device in the field.
    FieldChecked,
    /// From one unofficial source: compare with the meter's display at commissioning.
    Unofficial,
}

impl Standing {
    /// As written in the profile.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Official => "official",
            Self::FieldChecked => "field-checked",
            Self::Unofficial => "unofficial",
        }
    }
}

/// `[link]`: habits of a model on the line.
#[derive(Debug, Clone)]
pub struct LinkSpec {
    /// Registers one request may ask for, 1..=125.
    pub max_regs: u16,
    /// Silence the device wants between requests.
    pub min_gap: Duration,
    /// Typical time it takes to begin its answer; feeds the utilisation before anything is learnt.
    pub turnaround: Duration,
    /// Ranges (first, last) never to be read, not even as filling.
    pub forbid: Vec<(u16, u16)>,
}

/// The four read tables; there is no way to name another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Table {
    /// Function code 1.
    Coil,
    /// Function code 2.
    Discrete,
    /// Function code 3.
    Holding,
    /// Function code 4.
    Input,
}

impl Table {
    /// As written in a profile.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Coil => "coil",
            Self::Discrete => "discrete",
            Self::Holding => "holding",
            Self::Input => "input",
        }
    }

    /// Whether one address is one bit.
    #[must_use]
    pub const fn is_bits(self) -> bool {
        matches!(self, Self::Coil | Self::Discrete)
    }
}

/// How a number stands in registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Unsigned 16 bits.
    U16,
    /// Signed 16 bits.
    I16,
    /// Unsigned 32 bits.
    U32,
    /// Signed 32 bits.
    I32,
    /// Unsigned 64 bits.
    U64,
    /// Signed 64 bits.
    I64,
    /// IEEE 754 single.
    F32,
    /// One bit of a register, 0 = lowest; of a coil or discrete input, always bit 0.
    Bit(u8),
}

impl Kind {
    /// Registers it takes.
    #[must_use]
    pub const fn words(self) -> u16 {
        match self {
            Self::U16 | Self::I16 | Self::Bit(_) => 1,
            Self::U32 | Self::I32 | Self::F32 => 2,
            Self::U64 | Self::I64 => 4,
        }
    }

    /// Bits of its raw pattern.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.words() as u32 * 16
    }
}

/// Which side of the transformers a point is measured on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The meter already multiplies: the site's CT and PT are not applied again.
    Primary,
    /// The meter shows its own terminals: multiply by the site's CT and PT.
    Secondary,
}

/// Special encodings of a value after scaling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// Schneider's four-quadrant power factor: above 1 it is 2 − x (leading), below −1 it is −2 − x.
    FourQuadrantPf,
}

/// One rule over a status word; the first that matches decides.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct When {
    /// Bits looked at.
    pub mask: u64,
    /// What they must be (under the mask), or with `any` that at least one is set.
    pub equals: u64,
    /// Match when any masked bit is set instead.
    pub any: bool,
    /// What it does to the points it governs.
    pub effect: Option<Effect>,
    /// The value of the status point itself.
    pub value: Option<f64>,
}

/// What a status word says about the points it governs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// A number, with care.
    Doubt(Mark),
    /// No number.
    Void(Mark),
    /// Beyond the upper end: the value is the range's end.
    OverRange,
}

/// A point as the profile (or the site file) gives it.
#[derive(Debug, Clone)]
pub struct PointSpec {
    /// Vocabulary name; `None` for a status word that only governs others.
    pub quantity: Option<Arc<str>>,
    /// Table, and with it the function code.
    pub table: Table,
    /// 0-based address as on the wire.
    pub address: u16,
    /// Encoding.
    pub kind: Kind,
    /// Low word first.
    pub low_word_first: bool,
    /// Low byte first within each word.
    pub low_byte_first: bool,
    /// Raw number × scale = value in `unit`.
    pub scale: Factor,
    /// Scale times conversion from the meter's unit to the vocabulary's.
    pub factor: Factor,
    /// The vocabulary's unit.
    pub unit: Arc<str>,
    /// Side of the transformers.
    pub side: Side,
    /// Special encoding.
    pub code: Option<Code>,
    /// Range in the meter's unit at its terminals, as decimals; beyond it: the range's end, uncertain.
    pub valid: Option<(crate::decode::decimal::Decimal, crate::decode::decimal::Decimal)>,
    /// Raw patterns that mean "no value".
    pub invalid: Vec<u64>,
    /// Rules of a status word.
    pub when: Vec<When>,
    /// Value of a status word that matches no rule; `None` = the number itself.
    pub otherwise: Option<f64>,
    /// Quantities that this status word governs.
    pub governs: Vec<Arc<str>>,
    /// Poll class.
    pub class: Arc<str>,
    /// Points of one group are read by one request.
    pub group: Option<Arc<str>>,
    /// Never read together with anything else (read-clears registers).
    pub no_merge: bool,
}

/// A decode test inside a profile.
#[derive(Debug, Clone)]
pub struct DecodeTest {
    /// What it shows.
    pub name: String,
    /// Table of the words.
    pub table: Table,
    /// Address of the first word.
    pub address: u16,
    /// The words.
    pub words: Vec<u16>,
    /// CT ratio to assume.
    pub ct: Factor,
    /// PT ratio to assume.
    pub pt: Factor,
    /// quantity → expected value, or `None` with the mark alone.
    pub expect: Vec<Expect>,
    /// Line of the file, for the report.
    pub line: usize,
}

/// What one quantity must decode to.
#[derive(Debug, Clone, PartialEq)]
pub struct Expect {
    /// Vocabulary name.
    pub quantity: String,
    /// Exact value, bit for bit; `None` = no number.
    pub value: Option<f64>,
    /// Quality and reason, e.g. `uncertain over_range`.
    pub mark: Mark,
}

/// A point ready to plan and to decode: profile and site wiring joined.
#[derive(Debug, Clone)]
pub struct Point {
    /// Vocabulary name; `None` for a status word that only governs others.
    pub quantity: Option<Arc<str>>,
    /// The vocabulary's unit.
    pub unit: Arc<str>,
    /// Table.
    pub table: Table,
    /// 0-based address.
    pub address: u16,
    /// Encoding.
    pub kind: Kind,
    /// Low word first.
    pub low_word_first: bool,
    /// Low byte first within each word.
    pub low_byte_first: bool,
    /// Raw × factor = value in the vocabulary's unit on the primary side.
    pub factor: Factor,
    /// Special encoding.
    pub code: Option<Code>,
    /// Lower and upper end of the range, in the vocabulary's unit.
    pub range: Option<(f64, f64)>,
    /// Raw patterns that mean "no value".
    pub invalid: Vec<u64>,
    /// Rules of a status word.
    pub when: Vec<When>,
    /// Value of a status word that matches no rule.
    pub otherwise: Option<f64>,
    /// Indexes, in the device's points, of what this status word governs.
    pub governs: Vec<usize>,
    /// Name of its poll class.
    pub class: Arc<str>,
    /// Poll period.
    pub period: Duration,
    /// Points of one group are read by one request.
    pub group: Option<Arc<str>>,
    /// Never read together with anything else.
    pub no_merge: bool,
}
