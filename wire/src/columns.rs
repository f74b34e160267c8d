//! The rows of a block as columns: from the gateway's sealer to the centre's store no sample is ever an object of its own.
//! The sealer fills a [`Builder`], the centre iterates over [`Readings`]; nothing here allocates per sample.
//!
//! Layout before compression (`varint` is LEB128, `zigzag` a varint of (n << 1) ^ (n >> 63), bits are filled from the low end):
//!
//! ```text
//! columns := table_count varint, table*
//! table   := rows varint, columns varint, ints(replies), ints(times), marks, column*
//! marks   := 0                                     every sample of the table is good
//!          | 1, per column: 0 good | 1 runs, (quality u8, reason u8, length varint)* | 2 as the column before
//! column  := nothing                               no sample of it has a value
//!          | n (0..=9), ints(m)                    value = m ÷ 10^n, correctly rounded, |m| < 2^53
//!          | 16 + n, ints(m - m of the column before, both at n decimals)    both columns without an absent value
//!          | 32, 8 planes of bytes                 doubles, each XORed with the one before, lowest byte's plane first
//! ints    := head u8, first values, residuals      head = transform + 4 × packing
//!            transform 0 the values | 1 first value, differences | 2 first value, first difference, second differences
//!            packing   0 per 64 residuals: least zigzag, width u8 (0..=64), (residual - least) in width bits each
//!                      1 each residual zigzag
//! ```
//!
//! A sample without a value (bad, stale) costs no value bytes and is NaN in memory.
//! A value that is not finite is never good: [`Column::push`] makes it bad (`not_finite`); its payload is not kept.
//! -0.0 becomes 0.0: a meter does not mean anything by the sign.

mod floats;
mod ints;
mod layout;
mod marks;
mod read;

pub(crate) use layout::{decode, encode};
pub use marks::Marks;

use std::sync::Arc;

use crate::error::DecodeError;
use crate::ids::ManifestKey;
use crate::limits::{BUILDER_BYTES_MAX, POINTS_MAX, ROWS_MAX, TABLES_MAX};
use crate::manifest::Manifest;
use crate::quality::{Mark, Reason};

/// Rows of one gateway, in tables of equal shape.
#[derive(Debug, Clone, Default)]
pub struct Readings {
    /// The manifest that says what replies and columns mean.
    pub manifest: ManifestKey,
    /// Tables, each of at least one row. Rows are numbered through all tables in order: see [`Readings::row_count`].
    pub tables: Vec<Table>,
}

/// Rows of the same shape (the same list of quantities), possibly of many devices.
#[derive(Debug, Clone, Default)]
pub struct Table {
    /// Row → index into [`Manifest::replies`].
    pub replies: Vec<u32>,
    /// Row → event time, milliseconds since the Unix epoch, UTC.
    pub times: Vec<i64>,
    /// Point of the reply → column; each as long as `times`.
    pub columns: Vec<Column>,
}

/// The samples of one quantity over the rows of a table.
#[derive(Debug, Clone, Default)]
pub struct Column {
    values: Vec<f64>,
    marks: Marks,
}

impl Readings {
    /// Number of rows (replies of devices) over all tables.
    #[must_use]
    pub fn row_count(&self) -> usize {
        self.tables.iter().map(|t| t.times.len()).sum()
    }

    /// Number of samples over all tables, those without a value included.
    #[must_use]
    pub fn sample_count(&self) -> usize {
        self.tables.iter().map(|t| t.times.len() * t.columns.len()).sum()
    }

    /// Earliest and latest event time; `None` without a row.
    #[must_use]
    pub fn time_span(&self) -> Option<(i64, i64)> {
        let times = || self.tables.iter().flat_map(|t| t.times.iter().copied());
        Some((times().min()?, times().max()?))
    }

    /// Checks that every row means something under `manifest`: its reply exists and has as many points as the table columns.
    ///
    /// # Errors
    /// [`DecodeError`] for the first row that does not.
    pub fn check(&self, manifest: &Manifest) -> Result<(), DecodeError> {
        for table in &self.tables {
            for &reply in &table.replies {
                let Some(reply) = manifest.replies.get(reply as usize) else {
                    return Err(DecodeError::Inconsistent {
                        what: "a row names a reply that the manifest lacks",
                    });
                };
                if reply.points.len() != table.columns.len() {
                    return Err(DecodeError::Inconsistent {
                        what: "a row has other points than its reply",
                    });
                }
            }
        }
        Ok(())
    }
}

/// Equality of what a reader would see: values by their bits.
impl PartialEq for Column {
    fn eq(&self, other: &Self) -> bool {
        self.marks == other.marks
            && self.values.len() == other.values.len()
            && self.values.iter().zip(&other.values).all(|(a, b)| a.to_bits() == b.to_bits())
    }
}

impl PartialEq for Table {
    fn eq(&self, other: &Self) -> bool {
        self.replies == other.replies && self.times == other.times && self.columns == other.columns
    }
}

impl PartialEq for Readings {
    fn eq(&self, other: &Self) -> bool {
        self.manifest == other.manifest && self.tables == other.tables
    }
}

impl Column {
    /// Adds a sample; see the module's page for values that are not finite.
    pub fn push(&mut self, value: f64, mark: Mark) {
        let mark = match mark.quality.has_value() && !value.is_finite() {
            true => Mark::bad(Reason::NotFinite),
            false => mark,
        };
        self.marks.push(self.values.len(), mark);
        self.values.push(if mark.quality.has_value() { value + 0.0 } else { f64::NAN });
    }

    /// The values; NaN where the sample has none.
    #[must_use]
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// The marks.
    #[must_use]
    pub fn marks(&self) -> &Marks {
        &self.marks
    }

    /// The mark of a row.
    #[must_use]
    pub fn mark(&self, row: usize) -> Mark {
        self.marks.get(row)
    }

    /// Number of samples.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there is no sample.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
}

/// Collects rows until a block is closed. Rows of replies with the same list of quantities share a table.
#[derive(Debug)]
pub struct Builder {
    /// Reply → (table, points).
    shapes: Arc<[(u32, u32)]>,
    readings: Readings,
    rows: usize,
    samples: usize,
}

/// Why a row was not taken; the builder is unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PushError {
    /// The manifest has no such reply.
    #[error("the manifest has no reply {reply}")]
    Reply {
        /// The reply's index.
        reply: u32,
    },
    /// Another number of samples than the reply has points.
    #[error("reply {reply} has {points} points, the row has {samples}")]
    Points {
        /// The reply's index.
        reply: u32,
        /// Points of the reply.
        points: usize,
        /// Samples given.
        samples: usize,
    },
    /// No room: close the block first.
    #[error("the block is full")]
    Full,
}

impl Builder {
    /// A builder for the replies of `manifest`, whose key is `key`.
    #[must_use]
    pub fn new(manifest: &Manifest, key: ManifestKey) -> Self {
        let mut seen: Vec<Vec<&str>> = Vec::new();
        let shapes = manifest.replies.iter().map(|reply| {
            let shape: Vec<&str> = reply.points.iter().map(|p| p.quantity.as_str()).collect();
            let table = seen.iter().position(|s| *s == shape).unwrap_or_else(|| {
                seen.push(shape);
                seen.len() - 1
            });
            (index(table), index(reply.points.len()))
        });
        let shapes = shapes.collect();
        Self {
            shapes,
            readings: Readings { manifest: key, tables: Vec::new() },
            rows: 0,
            samples: 0,
        }
    }

    /// Adds the samples of one reply, in the order of its points. `time` is the event time, milliseconds UTC.
    ///
    /// # Errors
    /// [`PushError`]; nothing was added.
    pub fn push(
        &mut self,
        reply: u32,
        time: i64,
        samples: &[(f64, Mark)],
    ) -> Result<(), PushError> {
        let &(table, points) = self.shapes.get(reply as usize).ok_or(PushError::Reply { reply })?;
        if samples.len() != points as usize {
            return Err(PushError::Points {
                reply,
                points: points as usize,
                samples: samples.len(),
            });
        }
        let fits = self.rows < ROWS_MAX
            && self.samples + samples.len() <= POINTS_MAX
            && (table as usize) < TABLES_MAX
            && (self.is_empty() || self.worst_bytes(1, samples.len()) <= BUILDER_BYTES_MAX);
        if !fits {
            return Err(PushError::Full);
        }
        let tables = &mut self.readings.tables;
        if tables.len() <= table as usize {
            tables.resize_with(table as usize + 1, Table::default);
        }
        let table = &mut tables[table as usize];
        table.replies.push(reply);
        table.times.push(time);
        table.columns.resize_with(samples.len(), Column::default);
        for (column, &(value, mark)) in table.columns.iter_mut().zip(samples) {
            column.push(value, mark);
        }
        self.rows += 1;
        self.samples += samples.len();
        Ok(())
    }

    /// Bytes that the rows can need at worst, with `rows` rows of `samples` samples more.
    fn worst_bytes(&self, rows: usize, samples: usize) -> usize {
        (self.rows + rows) * 15 + (self.samples + samples) * 11
    }

    /// Whether the block should be closed now: another row of usual size might not fit.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.worst_bytes(1, 256) > BUILDER_BYTES_MAX
    }

    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of samples.
    #[must_use]
    pub fn samples(&self) -> usize {
        self.samples
    }

    /// Takes the rows out, tables without a row left out; the builder starts again empty.
    pub fn take(&mut self) -> Readings {
        (self.rows, self.samples) = (0, 0);
        let mut tables = std::mem::take(&mut self.readings.tables);
        tables.retain(|t| !t.times.is_empty());
        Readings { manifest: self.readings.manifest, tables }
    }
}

fn index(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
