//! Who this start of the gateway is: the random numbers drawn before anything else.
//!
//! Drawn once in `north.rs`; a restored disk image or a lost spool can never reuse a key because the
//! epoch is not on the disk before it is drawn. Nothing here touches the disk.

use wire::{Boot, Epoch};

/// The numbers of one start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start {
    /// Key space of the blocks of this start.
    pub epoch: Epoch,
    /// What monotonic times and message counters belong to.
    pub boot: Boot,
}

/// The system gave no random numbers: without them no block may be keyed.
#[derive(Debug, thiserror::Error)]
#[error("the system gives no random numbers; is /dev/urandom there?")]
pub struct NoRandom(#[source] getrandom::Error);

impl Start {
    /// Draws the numbers from the system's random source.
    ///
    /// # Errors
    /// [`NoRandom`] where it has none.
    pub fn draw() -> Result<Self, NoRandom> {
        Ok(Self { epoch: Epoch(number()?), boot: Boot(number()?) })
    }
}

fn number() -> Result<u64, NoRandom> {
    // 0 stands for "none" in logs and tools.
    loop {
        let drawn = getrandom::u64().map_err(NoRandom)?;
        if drawn != 0 {
            return Ok(drawn);
        }
    }
}
