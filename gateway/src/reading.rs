//! What the southbound half hands to the sealer: one reading per reply of a device, over one bounded channel.
//!
//! Buses make readings (`bus.rs`), the sealer consumes them, commissioning commands print them. A reading names its
//! columns by a reply number of the [`Replies`] table, which only ever grows while the program runs: a plan that
//! changes (a register that turned out unreadable) adds replies and never renumbers old ones, so a reading that is
//! still in the channel keeps its meaning. Nothing here knows Modbus, files or the broker.

use std::sync::{Arc, RwLock};

use tokio::sync::mpsc;
use tokio::time::Instant;

pub use wire::{Mark, Quality, Reason};

/// Readings that may wait between the buses and the sealer. At 5,000 points a second in replies of about 20 points
/// this is 16 s; when it is full the buses wait, polls are missed and counted, and no memory grows.
pub const READING_QUEUE: usize = 4_096;

/// Replies a gateway can name in its lifetime: what a manifest holds.
pub const REPLIES_MAX: usize = wire::limits::REPLIES_MAX;

/// Bytes that the replies may take in the manifest, so that it fits a frame with its head.
pub const MANIFEST_BYTES_MAX: usize = wire::limits::BLOCK_BYTES_MAX - 1_024;

/// One value of a reading.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Value {
    /// The value in the vocabulary's unit of its quantity; NaN when, and only when, the mark is bad or stale.
    pub value: f64,
    /// How far it can be trusted.
    pub mark: Mark,
}

/// Everything one reply of one device said, or the notice that it no longer says anything.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// Index of the device in [`crate::config::Config::devices`] order, over all buses.
    pub device: u32,
    /// Index in [`Replies`].
    pub reply: u32,
    /// Monotonic clock at the reply's arrival. The sealer makes the event time from it, once.
    pub arrived: Instant,
    /// One per point of the reply, in its order.
    pub values: Vec<Value>,
}

/// What the columns of one kind of reply mean.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Reply {
    /// Index of the device, as in [`Reading::device`].
    pub device: u32,
    /// Its id, unique in the site.
    pub device_id: Arc<str>,
    /// Planned interval in ms; 0 = the device reports by itself.
    pub period_ms: u32,
    /// The columns.
    pub points: Vec<ReplyPoint>,
    /// Profile id.
    pub profile: Arc<str>,
    /// Profile version.
    pub profile_version: Arc<str>,
}

/// One column of a reply.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ReplyPoint {
    /// Name from the vocabulary.
    pub quantity: Arc<str>,
    /// The vocabulary's unit of that quantity.
    pub unit: Arc<str>,
}

impl Reply {
    /// Bytes that it takes in the manifest.
    #[must_use]
    pub fn manifest_bytes(&self) -> usize {
        // Protobuf: a tag, a length and the text; an empty text is left out.
        let text = |text: &str| if text.is_empty() { 0 } else { nested(text.len()) };
        let point = |p: &ReplyPoint| nested(text(&p.quantity) + text(&p.unit));
        let period = if self.period_ms == 0 { 0 } else { 1 + varint(self.period_ms as usize) };
        let head = text(&self.device_id) + text(&self.profile) + text(&self.profile_version);
        nested(head + period + self.points.iter().map(point).sum::<usize>())
    }
}

/// Bytes of a tag below 16, a length, and so many bytes.
fn nested(bytes: usize) -> usize {
    1 + varint(bytes) + bytes
}

/// Bytes of a number, seven bits in each.
fn varint(number: usize) -> usize {
    let bits = usize::BITS - (number | 1).leading_zeros();
    bits.div_ceil(7) as usize
}

/// The replies that readings refer to: shared, append-only, bounded by [`REPLIES_MAX`] and [`MANIFEST_BYTES_MAX`].
#[derive(Debug, Clone, Default)]
pub struct Replies {
    list: Arc<RwLock<Named>>,
}

#[derive(Debug, Default)]
struct Named {
    replies: Vec<Arc<Reply>>,
    /// What they take in the manifest.
    bytes: usize,
    /// Whether one was refused.
    full: bool,
}

/// The table of replies is full; the plan that wanted another keeps its old one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "this gateway already names as many kinds of reply as its manifest holds ({REPLIES_MAX}, or {MANIFEST_BYTES_MAX} \
     bytes); mend the device whose plan keeps changing, or move devices to another gateway, and restart"
)]
pub struct RepliesFull;

impl Replies {
    /// Adds a reply, or finds the equal one of the same device, and returns its number.
    ///
    /// # Errors
    /// [`RepliesFull`] at [`REPLIES_MAX`], and where the manifest would not fit a frame any more.
    pub fn add(&self, reply: Reply) -> Result<u32, RepliesFull> {
        let mut named = self.list.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        let equal = |known: &Arc<Reply>| known.device == reply.device && **known == reply;
        if let Some(found) = named.replies.iter().rposition(equal) {
            return u32::try_from(found).map_err(|_| RepliesFull);
        }
        let (number, bytes) = (named.replies.len(), named.bytes + reply.manifest_bytes());
        if number >= REPLIES_MAX || bytes > MANIFEST_BYTES_MAX {
            named.full = true;
            return Err(RepliesFull);
        }
        named.bytes = bytes;
        named.replies.push(Arc::new(reply));
        u32::try_from(number).map_err(|_| RepliesFull)
    }

    /// Whether a reply was refused since the start: some device keeps an older plan, or has none.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.list.read().unwrap_or_else(std::sync::PoisonError::into_inner).full
    }

    /// All replies so far, in order of their numbers. Cheap enough to call when [`Self::len`] has changed.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Reply>> {
        self.list.read().unwrap_or_else(std::sync::PoisonError::into_inner).replies.clone()
    }

    /// One reply.
    #[must_use]
    pub fn get(&self, number: u32) -> Option<Arc<Reply>> {
        let named = self.list.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        named.replies.get(usize::try_from(number).ok()?).map(Arc::clone)
    }

    /// How many there are; it only grows, so a new length is a new manifest.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.read().unwrap_or_else(std::sync::PoisonError::into_inner).replies.len()
    }

    /// Whether no device has been planned yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The channel from the buses to the sealer.
#[must_use]
pub fn channel() -> (mpsc::Sender<Reading>, mpsc::Receiver<Reading>) {
    mpsc::channel(READING_QUEUE)
}
