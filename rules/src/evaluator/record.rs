//! The records of the centre's log as the evaluator takes them, and the way back to a record it no longer holds.
//!
//! Made by the centre (`ingest/src/evaluate/convert.rs`) from decoded blocks; times are milliseconds UTC.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use super::step::{Ms, Step};

/// Most series that one gateway may have; a gateway that names more gets no verdict on the rest.
pub const SERIES_MAX: usize = 65_536;

/// The place of a block among the blocks of its gateway's epoch.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default,
)]
pub struct BlockKey {
    /// Random number drawn at a start of the gateway.
    pub epoch: u64,
    /// Counts from 1 without gaps.
    pub seq: u64,
}

/// Blocks `from..=to` of one epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// The epoch.
    pub epoch: u64,
    /// First seq, inclusive.
    pub from: u64,
    /// Last seq, inclusive.
    pub to: u64,
}

/// One sample of a block.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Row<Q> {
    /// Number from [`SeriesTable::number`].
    pub series: u32,
    /// Event time as the block has it, ms.
    pub t: Ms,
    /// Value in the unit of the series; not a number where the quality says there is none.
    pub value: f64,
    /// How far it may be believed.
    pub quality: Q,
}

/// What a block says about its gateway's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockClock {
    /// The clock was not set: times are readings of an untrusted clock until the boot's offset is known.
    pub unset: bool,
    /// Random number of the gateway's boot.
    pub boot: u64,
    /// Wall time minus monotonic time of this boot, ms, where known.
    pub boot_offset: Option<Ms>,
    /// Wall (or untrusted) time at closing, ms.
    pub closed_at: Ms,
    /// Monotonic time at closing, ms since the boot.
    pub mono_ms: Ms,
    /// Counts backward steps of the clock within the epoch.
    pub segment: u32,
}

/// One block, decoded. Rows that were ahead of the centre at receive are left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BlockRecord<Q> {
    /// Its place.
    pub key: BlockKey,
    /// The epoch that this epoch follows.
    pub follows: Option<u64>,
    /// Its clock.
    pub clock: BlockClock,
    /// Loss that it declares.
    pub gaps: Vec<Span>,
    /// Its samples, in the order of the block.
    pub rows: Vec<Row<Q>>,
    /// Something in it was ahead of the centre at receive: its closing time is not believed.
    pub ahead: bool,
    /// When the centre received it, ms.
    pub received_at: Ms,
}

impl<Q> BlockRecord<Q> {
    /// Memory that the record takes, bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of::<Self>()
            + self.rows.len() * size_of::<Row<Q>>()
            + self.gaps.len() * size_of::<Span>()
    }

    /// What to add to the times of this block to get event times, ms; `None` while that is not known.
    pub(super) fn shift(&self, offset: Option<Ms>) -> Option<Ms> {
        if !self.clock.unset {
            return Some(0);
        }
        let offset = self.clock.boot_offset.or(offset)?;
        Some(offset + self.clock.mono_ms - self.clock.closed_at)
    }
}

/// One revision of a fact.
#[derive(Debug, Clone, PartialEq)]
pub struct FactRecord<F> {
    /// What it says.
    pub fact: F,
    /// max(valid from, recorded at), ms.
    pub at: Ms,
    /// Its number in the centre's count of fact revisions.
    pub revision: u64,
}

/// One record of the log, of one gateway or of the centre as a whole.
#[derive(Debug, Clone)]
pub enum Record<S: Step> {
    /// A block was logged.
    Block(Box<BlockRecord<S::Quality>>),
    /// The centre joined an epoch to the chain: it follows the present tail, which ends at `last`.
    Chain {
        /// The epoch that is joined.
        epoch: u64,
        /// Last seq of the present tail that counts.
        last: u64,
    },
    /// The centre closed holes that the gateway no longer holds.
    Gone(Vec<Span>),
    /// Facts became known to the gateway's rules, in the order of their revisions.
    Facts(Vec<FactRecord<S::Fact>>),
    /// The centre started.
    Start {
        /// When, ms.
        at: Ms,
    },
    /// The centre's clock was set while it ran.
    Stepped {
        /// The time after it, ms.
        at: Ms,
        /// By how much, ms.
        by: Ms,
    },
    /// A second passed at the centre.
    Tick {
        /// The centre's time, ms.
        at: Ms,
    },
}

/// Numbers for the series of one gateway: they only ever grow, so a number once given stays valid.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(bound = "")]
pub struct SeriesTable<S: Step> {
    names: Vec<S::Series>,
    #[serde(skip)]
    numbers: BTreeMap<S::Series, u32>,
}

impl<S: Step> Default for SeriesTable<S> {
    fn default() -> Self {
        Self { names: Vec::new(), numbers: BTreeMap::new() }
    }
}

impl<S: Step> SeriesTable<S> {
    /// The number of a series, given on first sight; `None` when the gateway has [`SERIES_MAX`] series already.
    pub fn number(&mut self, series: &S::Series) -> Option<u32> {
        if self.numbers.len() != self.names.len() {
            self.numbers = self.names.iter().cloned().zip(0..).collect();
        }
        if let Some(number) = self.numbers.get(series) {
            return Some(*number);
        }
        if self.names.len() >= SERIES_MAX {
            return None;
        }
        let number = u32::try_from(self.names.len()).ok()?;
        self.names.push(series.clone());
        self.numbers.insert(series.clone(), number);
        Some(number)
    }

    /// The name of a number.
    #[must_use]
    pub fn name(&self, number: u32) -> Option<&S::Series> {
        self.names.get(number as usize)
    }

    /// How many series have a number.
    #[must_use]
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether no series has a number yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }
}

/// Why a record could not be read again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RereadError {
    /// The log could not be read just now; the evaluator waits and asks again with the next record.
    #[error("log record {position} could not be read again: {why}")]
    Later {
        /// Position in the log.
        position: u64,
        /// The cause.
        why: String,
    },
    /// The record is damaged or gone for ever; the evaluator goes on as if it had been declared lost.
    #[error("log record {position} is lost: {why}")]
    Lost {
        /// Position in the log.
        position: u64,
        /// The cause.
        why: String,
    },
}

/// Gives back a block that waits for its turn and is no longer held in memory.
pub trait Reread<S: Step> {
    /// Reads the block at `position` of the log again, exactly as it was first handed over.
    ///
    /// # Errors
    /// See [`RereadError`].
    fn block(
        &mut self,
        position: u64,
        series: &mut SeriesTable<S>,
    ) -> Result<Box<BlockRecord<S::Quality>>, RereadError>;
}
