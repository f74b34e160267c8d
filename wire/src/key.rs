//! The 256-bit key that a gateway and the centre share. Made by `davy-ingest gateway add`, kept in files.
//! It must never reach a log: `Debug` is redacted and there is no `Display`.

use std::fmt;

/// A gateway's key for HMAC-SHA-256.
#[derive(Clone, PartialEq, Eq)]
pub struct Key([u8; 32]);

/// The text is not 64 hexadecimal digits. Says nothing of the text itself, which may be a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a key is 64 hexadecimal digits (256 bits)")]
pub struct KeyError;

impl Key {
    /// Takes 32 bytes that the caller drew from the system's random source.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Reads 64 hexadecimal digits, ignoring white space around them (a key file ends with a newline).
    ///
    /// # Errors
    /// [`KeyError`] when it is anything else.
    pub fn from_hex(text: &str) -> Result<Self, KeyError> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text.trim(), &mut bytes).map_err(|_| KeyError)?;
        Ok(Self(bytes))
    }

    /// The 64 digits for a key file or for the snippet that is printed once.
    #[must_use]
    pub fn to_hex(&self) -> String {
        hex::encode(self.0)
    }

    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(redacted)")
    }
}
