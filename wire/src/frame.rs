//! The frame around every message on the broker.
//!
//! ```text
//! version u8 = 1 | kind u8 | body | HMAC-SHA-256, 32 bytes
//! ```
//!
//! The MAC covers version, kind and body under the gateway's key: an MQTT subscriber cannot see who published, and a
//! forged ack would delete a plant's data. [`open`] checks it, in constant time, before anybody decodes the body.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::key::Key;
use crate::limits::FRAME_BYTES_MAX;

/// Version of the frame.
pub const VERSION: u8 = 1;
/// Bytes that a frame adds to its body.
pub const OVERHEAD_BYTES: usize = HEAD + MAC;

const HEAD: usize = 2;
const MAC: usize = 32;

/// What the body is; in the MAC, so that a message of one kind cannot be passed for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A block or a manifest: [`Uplink`](crate::message::Uplink).
    Uplink = 1,
    /// [`State`](crate::message::State).
    State = 2,
    /// [`Ack`](crate::message::Ack).
    Ack = 3,
    /// [`Command`](crate::message::Command).
    Command = 4,
}

/// Why a frame is not taken. Nothing in it can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Shorter than head and MAC, or longer than [`FRAME_BYTES_MAX`].
    #[error("a frame has {OVERHEAD_BYTES} to {FRAME_BYTES_MAX} bytes, this one has {bytes}")]
    Length {
        /// Its length.
        bytes: usize,
    },
    /// Another version of the frame.
    #[error("frame version {found}, this program reads {VERSION}")]
    Version {
        /// The version found.
        found: u8,
    },
    /// Another kind than this topic carries.
    #[error("frame kind {found}, this topic carries {}", *expected as u8)]
    WrongKind {
        /// The kind found.
        found: u8,
        /// The kind that belongs here.
        expected: Kind,
    },
    /// The MAC does not match: another key, or bytes that were changed.
    #[error("the MAC does not match the gateway's key")]
    BadMac,
}

impl FrameError {
    /// A short stable word for metrics.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Length { .. } => "frame_length",
            Self::Version { .. } => "frame_version",
            Self::WrongKind { .. } => "frame_kind",
            Self::BadMac => "mac",
        }
    }
}

fn mac(key: &Key) -> Hmac<Sha256> {
    Hmac::new_from_slice(key.bytes()).expect("HMAC takes a key of any length")
}

/// Wraps a body for the broker.
#[must_use]
pub fn seal(key: &Key, kind: Kind, body: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(body.len() + OVERHEAD_BYTES);
    frame.extend_from_slice(&[VERSION, kind as u8]);
    frame.extend_from_slice(body);
    let mut mac = mac(key);
    mac.update(&frame);
    frame.extend_from_slice(&mac.finalize().into_bytes());
    frame
}

/// Checks a frame and gives its body.
///
/// # Errors
/// [`FrameError`]; the frame is to be dropped and counted.
pub fn open<'a>(key: &Key, kind: Kind, frame: &'a [u8]) -> Result<&'a [u8], FrameError> {
    if frame.len() < OVERHEAD_BYTES || frame.len() > FRAME_BYTES_MAX {
        return Err(FrameError::Length { bytes: frame.len() });
    }
    let (signed, tag) = frame.split_at(frame.len() - MAC);
    let mut mac = mac(key);
    mac.update(signed);
    mac.verify_slice(tag).map_err(|_| FrameError::BadMac)?;
    if signed[0] != VERSION {
        return Err(FrameError::Version { found: signed[0] });
    }
    if signed[1] != kind as u8 {
        return Err(FrameError::WrongKind { found: signed[1], expected: kind });
    }
    Ok(&signed[HEAD..])
}

#[cfg(test)]
mod tests;
