//! Why bytes that passed the MAC are no message of ours. Returned by every `decode` of the crate.
//! The centre quarantines a block with [`DecodeError::code`]; nobody retries.

use crate::ids::NameError;

/// Bytes that cannot be decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// Not protobuf, or a field of another wire type.
    #[error("malformed protobuf in {what}")]
    Protobuf {
        /// The message that was being read.
        what: &'static str,
        /// What the protobuf reader says.
        #[source]
        source: prost::DecodeError,
    },
    /// A field that must be there is absent.
    #[error("{what} is missing")]
    Missing {
        /// The field.
        what: &'static str,
    },
    /// A number or a length outside its bound.
    #[error("{what} is {is}, allowed are {min} to {max}")]
    Bounds {
        /// The field.
        what: &'static str,
        /// Its value.
        is: u64,
        /// The least that is allowed.
        min: u64,
        /// The most that is allowed.
        max: u64,
    },
    /// A gateway name that breaks the grammar.
    #[error("bad gateway name")]
    Name(#[source] NameError),
    /// A number that stands for nothing known, where guessing would be unsafe.
    #[error("{what} has the unknown value {value}")]
    Unknown {
        /// The field.
        what: &'static str,
        /// The value found.
        value: i64,
    },
    /// Two fields that contradict each other.
    #[error("{what}")]
    Inconsistent {
        /// What contradicts what.
        what: &'static str,
    },
    /// The columns cannot be decompressed.
    #[error("columns do not decompress to their stated size")]
    Compression,
    /// The columns end early, run over, or hold a value that may not be there.
    #[error("columns: {what} at byte {at} of the uncompressed columns")]
    Columns {
        /// What is wrong.
        what: &'static str,
        /// Where, in the uncompressed columns.
        at: usize,
    },
}

impl DecodeError {
    /// A short stable word for metrics, the quarantine and `rejected` in acks.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Protobuf { .. } => "protobuf",
            Self::Missing { .. } => "missing_field",
            Self::Bounds { .. } => "bounds",
            Self::Name(_) => "name",
            Self::Unknown { .. } => "unknown_value",
            Self::Inconsistent { .. } => "inconsistent",
            Self::Compression => "compression",
            Self::Columns { .. } => "columns",
        }
    }
}

/// Checks a length against its bound.
pub(crate) fn at_most(what: &'static str, is: usize, max: usize) -> Result<(), DecodeError> {
    between(what, is as u64, 0, max as u64)
}

/// Checks a number against its bounds, both inclusive.
pub(crate) fn between(what: &'static str, is: u64, min: u64, max: u64) -> Result<(), DecodeError> {
    if (min..=max).contains(&is) { Ok(()) } else { Err(DecodeError::Bounds { what, is, min, max }) }
}
