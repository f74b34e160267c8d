//! A string that must never be seen: gateway keys, password hashes, tokens.
//!
//! `Debug` and `Display` are redacted; [`Secret::reveal`] is the one way to the text, so that a search for it finds
//! every place where a secret leaves its box.

use std::fmt;

use sea_orm::DeriveValueType;

/// A secret string; prints as `[redacted]`.
#[derive(Clone, PartialEq, Eq, DeriveValueType)]
pub struct Secret(String);

impl Secret {
    /// Puts a text into the box.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// Gives the text itself; never log or answer with what comes out, unless it is shown once on purpose.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Draws `bytes` random bytes from the operating system, as hex.
    ///
    /// # Errors
    /// When the system's random source fails: nothing that needs a secret may go on then.
    pub fn random(bytes: usize) -> Result<Self, getrandom::Error> {
        let mut raw = vec![0_u8; bytes];
        getrandom::fill(&mut raw)?;
        Ok(Self(hex::encode(raw)))
    }

    /// Hex SHA-256 of the text: what is stored of a token.
    #[must_use]
    pub fn sha256(&self) -> String {
        sha256_hex(&[self.0.as_bytes()])
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Hex SHA-256 over parts, each preceded by its length, so that no two lists of parts collide by shifting a boundary.
/// A single part is hashed as it is.
#[must_use]
pub fn sha256_hex(parts: &[&[u8]]) -> String {
    use sha2::{Digest, Sha256};
    let mut hash = Sha256::new();
    for part in parts {
        if parts.len() > 1 {
            hash.update((part.len() as u64).to_be_bytes());
        }
        hash.update(part);
    }
    hex::encode(hash.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    // A secret formatted in any way shows nothing of itself.
    #[test]
    fn secret_is_redacted_in_debug() {
        let secret = Secret::new("abc123".to_owned());
        assert_eq!(format!("{secret:?} {:?}", Some(&secret)), "[redacted] Some([redacted])");
    }

    // Parts are separated by length: moving a byte over the boundary changes the hash.
    #[test]
    fn hash_of_parts_knows_where_a_part_ends() {
        assert_ne!(sha256_hex(&[b"ab", b"c"]), sha256_hex(&[b"a", b"bc"]));
    }
}
