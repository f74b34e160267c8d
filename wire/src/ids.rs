//! The names of things on the wire, each its own type, so that an epoch cannot be passed for a boot.
//! Used everywhere. Must never accept a gateway name that could break out of its topic.

use std::fmt;
use std::str::FromStr;

use crate::limits::GATEWAY_NAME_BYTES_MAX;

/// The name of a gateway: 1 to 64 of `A-Z a-z 0-9 _ -`.
///
/// No `.` (NATS refuses it in a topic), no `/`, `+` or `#` (they would change the topic).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GatewayName(Box<str>);

/// Why a text is no gateway name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Empty or too long.
    #[error("a gateway name has 1 to {GATEWAY_NAME_BYTES_MAX} characters, this one has {bytes}")]
    Length {
        /// Its length in bytes.
        bytes: usize,
    },
    /// A character outside `A-Z a-z 0-9 _ -`.
    #[error("a gateway name has only A-Z a-z 0-9 _ - in it, this one has {found:?}")]
    Character {
        /// The first offending character.
        found: char,
    },
}

impl GatewayName {
    /// Checks a text and takes it as a name.
    ///
    /// # Errors
    /// [`NameError`] says which part of the grammar is broken.
    pub fn new(name: impl Into<String>) -> Result<Self, NameError> {
        let name = name.into();
        if name.is_empty() || name.len() > GATEWAY_NAME_BYTES_MAX {
            return Err(NameError::Length { bytes: name.len() });
        }
        match name.chars().find(|c| !(c.is_ascii_alphanumeric() || *c == '_' || *c == '-')) {
            Some(found) => Err(NameError::Character { found }),
            None => Ok(Self(name.into())),
        }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for GatewayName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for GatewayName {
    type Err = NameError;
    fn from_str(s: &str) -> Result<Self, NameError> {
        Self::new(s)
    }
}

impl AsRef<str> for GatewayName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// Position of a block within its epoch: from 1, without gaps.
pub type Seq = u64;

/// A random number drawn at each start of the gateway, before its first block: no key is ever used twice, even after a
/// restored disk image or a lost spool.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Epoch(pub u64);

/// A random number drawn at each start of the gateway's program; monotonic times and offsets belong to one boot.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Boot(pub u64);

/// A random number drawn at each start of the centre; acks of another one are void.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct LogId(pub u64);

/// The first 16 bytes of the SHA-256 of a manifest's bytes as sent.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct ManifestKey(pub [u8; 16]);

macro_rules! hex_shown {
    ($($id:ident),*) => {$(
        impl fmt::Display for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:016x}", self.0)
            }
        }
        impl fmt::Debug for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({:016x})", stringify!($id), self.0)
            }
        }
    )*};
}
hex_shown!(Epoch, Boot, LogId);

impl fmt::Display for ManifestKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for ManifestKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ManifestKey({self})")
    }
}
