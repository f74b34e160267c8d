//! The topic grammar: `davy/v1/{part}/{gateway}/{up|ack|state|cmd}`.
//! The uplinks subscribe and publish with it; the centre reads the gateway's name from it before it can check a MAC.
//! A topic never holds a `.` (NATS closes the connection) and `part` is always two digits.

use std::fmt;
use std::str::FromStr;

use crate::ids::{GatewayName, NameError};

/// Number of partitions, the unit of scale-out; fixed for ever, because it is in every gateway's configuration.
pub const PARTS: u8 = 64;

/// What travels on a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TopicKind {
    /// Blocks and manifests, gateway to centre.
    Up,
    /// Acks, centre to gateway.
    Ack,
    /// Retained state and last will, gateway to centre.
    State,
    /// Commands, centre to gateway.
    Cmd,
}

impl TopicKind {
    /// The last word of the topic.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Ack => "ack",
            Self::State => "state",
            Self::Cmd => "cmd",
        }
    }
}

/// One gateway's topic.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Topic {
    /// Partition, 0 to 63.
    pub part: u8,
    /// The gateway.
    pub gateway: GatewayName,
    /// What travels on it.
    pub kind: TopicKind,
}

impl Topic {
    /// The topic of a gateway in the partition that its name gives.
    #[must_use]
    pub fn new(gateway: GatewayName, kind: TopicKind) -> Self {
        Self { part: part_of(gateway.as_str()), gateway, kind }
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "davy/v1/{:02}/{}/{}", self.part, self.gateway, self.kind.as_str())
    }
}

/// Why a text is no topic of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TopicError {
    /// Not `davy/v1/{part}/{gateway}/{kind}`.
    #[error("not a topic of the form davy/v1/{{part}}/{{gateway}}/{{up|ack|state|cmd}}")]
    Shape,
    /// The partition is not two digits, or is not the gateway's.
    #[error("the partition is not the one of this gateway, {expected:02}")]
    Part {
        /// The partition of the gateway's name.
        expected: u8,
    },
    /// The gateway's name breaks its grammar.
    #[error("bad gateway name")]
    Name(#[source] NameError),
}

impl FromStr for Topic {
    type Err = TopicError;

    fn from_str(s: &str) -> Result<Self, TopicError> {
        let mut words = s.strip_prefix("davy/v1/").ok_or(TopicError::Shape)?.split('/');
        let (Some(part), Some(gateway), Some(kind), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(TopicError::Shape);
        };
        let kind = match kind {
            "up" => TopicKind::Up,
            "ack" => TopicKind::Ack,
            "state" => TopicKind::State,
            "cmd" => TopicKind::Cmd,
            _ => return Err(TopicError::Shape),
        };
        let topic = Self::new(GatewayName::new(gateway).map_err(TopicError::Name)?, kind);
        let two_digits = part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit());
        if two_digits && part.parse() == Ok(topic.part) {
            Ok(topic)
        } else {
            Err(TopicError::Part { expected: topic.part })
        }
    }
}

/// The partition of a gateway: CRC-32 (IEEE) of its name modulo [`PARTS`].
#[must_use]
pub fn part_of(gateway: &str) -> u8 {
    let rest = crc32fast::hash(gateway.as_bytes()) % u32::from(PARTS);
    u8::try_from(rest).expect("a remainder below 64 fits")
}

/// What the centre subscribes to for blocks and manifests of every gateway.
#[must_use]
pub fn filter_up() -> &'static str {
    "davy/v1/+/+/up"
}

/// What the centre subscribes to for states of every gateway.
#[must_use]
pub fn filter_state() -> &'static str {
    "davy/v1/+/+/state"
}

#[cfg(test)]
mod tests;
