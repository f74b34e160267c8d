//! The gateway's time: one seam to the system's clocks, and the keeper that decides what the wall time is.
//!
//! The sealer's thread owns a [`Keeper`] and feeds it what the clocks say; tests and simulators feed it
//! what they like. No other file of the northbound half asks the system for the time.
//!
//! Three states (design §4): *unset*, where the system's clock is plainly wrong (a box without a battery
//! clock before NTP) and wall time is the monotonic time; *synced*, by NTP or by the centre; *holdover*,
//! set but not known to be right. A clock that no time daemon watches and that the centre finds wrong by
//! more than a second (a date saved at the last stop, a drifting battery clock) is not used any more: the
//! centre's time is. A backward step of more than a second opens a new time segment.

use std::fmt;
use std::path::Path;

use tokio::time::Instant;
pub use wire::block::ClockState;

/// A system clock before this was never set: 2026-01-01T00:00:00Z.
pub const SET_FLOOR_MS: i64 = 1_767_225_600_000;
/// A backward step beyond this opens a new time segment.
pub const STEP_MS: i64 = 1_000;
/// How long the centre's word on the clock counts.
const VOUCHED_MS: u64 = 3_600_000;
/// Files whose presence says that a time daemon has set the clock.
const SYNCED_MARKERS: [&str; 2] = ["/run/systemd/timesync/synchronized", "/run/davy/time-synced"];

/// The seam to the system's clocks.
pub trait Clock: fmt::Debug + Send + Sync {
    /// The system's wall clock, ms since the Unix epoch, UTC; may be wrong, may step.
    fn system_ms(&self) -> i64;
    /// Monotonic time since the program's start, ms.
    fn mono_ms(&self) -> u64;
    /// The monotonic time of an instant, ms; 0 for one before the start.
    fn mono_of(&self, at: Instant) -> u64;
    /// Whether a time daemon vouches for the wall clock.
    fn is_synced(&self) -> bool;
}

/// The clocks of the machine.
#[derive(Debug)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// Monotonic time counts from here.
    #[must_use]
    pub fn new() -> Self {
        Self { start: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn system_ms(&self) -> i64 {
        #[expect(clippy::disallowed_methods, reason = "this is the Clock seam")]
        let now = std::time::SystemTime::now();
        let since = now.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    }

    fn mono_ms(&self) -> u64 {
        self.mono_of(Instant::now())
    }

    fn mono_of(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.start).as_millis()).unwrap_or(u64::MAX)
    }

    fn is_synced(&self) -> bool {
        SYNCED_MARKERS.iter().any(|p| Path::new(p).exists())
    }
}

/// What the wall clock did since it was last looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Nothing that matters.
    None,
    /// It is known for the first time in this boot.
    Set,
    /// It went back by more than a second: a new time segment.
    Back,
    /// Its state changed, or it jumped forward.
    Other,
}

#[derive(Debug, Clone, Copy)]
struct Offer {
    offset: i64,
    error_ms: u32,
    at_mono: u64,
}

impl Offer {
    fn is_fresh(&self, mono_ms: u64) -> bool {
        mono_ms.saturating_sub(self.at_mono) <= VOUCHED_MS
    }

    /// Whether a clock with this offset is wrong by more than a step, whatever the error of the measurement.
    fn denies(&self, offset: i64) -> bool {
        let allowed = STEP_MS.unsigned_abs() + u64::from(self.error_ms);
        offset.abs_diff(self.offset) > allowed
    }
}

/// Decides what the wall time is. Pure: it knows only what it is told.
#[derive(Debug, Clone, Default)]
pub struct Keeper {
    offset: i64,
    state: ClockState,
    segment: u32,
    boot_offset: Option<i64>,
    error_ms: u32,
    offer: Option<Offer>,
    /// The system's clock was found wrong: the centre's time is used until that or a daemon says otherwise.
    follows_centre: bool,
    /// What the system's clock says, where it says anything.
    system: Option<i64>,
}

impl Keeper {
    /// A keeper that knows nothing yet: unset.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Looks at the clocks. Rows that were taken before a [`Change`] must be closed into a block with
    /// the clock as it was: take a copy of the keeper first.
    pub fn observe(&mut self, system_ms: i64, mono_ms: u64, synced: bool) -> Change {
        let mono = mono_ms.cast_signed();
        self.system = (system_ms >= SET_FLOOR_MS).then_some(system_ms - mono);
        let (state, offset, error_ms) = if let Some(offset) = self.system {
            let vouched = if synced { Some(0) } else { self.vouched(offset, mono_ms) };
            let offer = self.offer.filter(|offer| {
                let fresh = offer.is_fresh(mono_ms);
                vouched.is_none() && (self.follows_centre || fresh && offer.denies(offset))
            });
            self.follows_centre = offer.is_some();
            match (vouched, offer) {
                (Some(error_ms), _) => (ClockState::Synced, offset, error_ms),
                // An offer that has grown old is kept: going back to a clock known to be wrong is worse.
                (None, Some(offer)) if offer.is_fresh(mono_ms) => {
                    (ClockState::Synced, offer.offset, offer.error_ms)
                }
                (None, Some(offer)) => (ClockState::Holdover, offer.offset, offer.error_ms),
                (None, None) => (ClockState::Holdover, offset, 0),
            }
        } else if let Some(offer) = self.offer {
            (ClockState::Synced, offer.offset, offer.error_ms)
        } else {
            (ClockState::Unset, 0, 0)
        };
        self.error_ms = error_ms;
        let was_set = self.state != ClockState::Unset;
        let step = offset - self.offset;
        let changed = self.state != state;
        (self.state, self.offset) = (state, offset);
        if !was_set {
            if state == ClockState::Unset {
                return Change::None;
            }
            self.boot_offset.get_or_insert(offset);
            return Change::Set;
        }
        if step < -STEP_MS {
            self.segment += 1;
            return Change::Back;
        }
        if changed || step > STEP_MS { Change::Other } else { Change::None }
    }

    /// Takes the centre's time from an ack that echoes something sent at most 5 s ago.
    pub fn offer(&mut self, centre_ms: i64, sent_mono_ms: u64, now_mono_ms: u64) {
        let half = now_mono_ms.saturating_sub(sent_mono_ms) / 2;
        let error_ms = u32::try_from(half).unwrap_or(u32::MAX);
        let offset = centre_ms + half.cast_signed() - now_mono_ms.cast_signed();
        // While the centre is the only clock a worse measurement does not replace a better one, unless it contradicts
        // it: then the centre's clock has been set.
        let contradicts = |o: Offer| {
            let both = u64::from(o.error_ms) + u64::from(error_ms) + STEP_MS.unsigned_abs();
            (offset - o.offset).unsigned_abs() > both
        };
        let better = self
            .offer
            .is_none_or(|o| error_ms <= o.error_ms || !o.is_fresh(now_mono_ms) || contradicts(o));
        if better {
            self.offer = Some(Offer { offset, error_ms, at_mono: now_mono_ms });
        }
    }

    /// The error of the system's clock, where the centre measured it lately and found it right.
    fn vouched(&self, offset: i64, mono_ms: u64) -> Option<u32> {
        let offer = self.offer.filter(|o| o.is_fresh(mono_ms))?;
        let error = (offset - offer.offset).unsigned_abs() + u64::from(offer.error_ms);
        u32::try_from(error).ok().filter(|e| i64::from(*e) <= STEP_MS)
    }

    /// Wall time of a monotonic time; the monotonic time itself while unset.
    #[must_use]
    pub fn wall(&self, mono_ms: u64) -> i64 {
        mono_ms.cast_signed() + self.offset
    }

    /// How far the wall time can be trusted.
    #[must_use]
    pub fn state(&self) -> ClockState {
        self.state
    }

    /// What blocks of before the clock was set are timed by, ms between wall and monotonic time; `None` where the clock
    /// now lies more than a step behind that: it was set a second time.
    #[must_use]
    pub fn unset_offset(&self) -> Option<i64> {
        self.boot_offset.filter(|boot| boot - self.offset <= STEP_MS)
    }

    /// Whether the system's clock was found wrong and the centre's time is used instead.
    #[must_use]
    pub fn follows_centre(&self) -> bool {
        self.follows_centre
    }

    /// Backward steps so far.
    #[must_use]
    pub fn segment(&self) -> u32 {
        self.segment
    }

    /// What the centre's time says that the system's clock is off by, ms, where it was measured; the gateway's
    /// own time is right all the same where it follows the centre.
    #[must_use]
    pub fn centre_difference_ms(&self) -> Option<i64> {
        let own = self.system.unwrap_or(self.offset);
        self.offer.map(|o| own - o.offset)
    }

    /// The clock for a block that closes now.
    #[must_use]
    pub fn stamp(&self, boot: wire::Boot, closed_at: i64, mono_ms: u64) -> wire::block::Clock {
        wire::block::Clock {
            state: self.state,
            closed_at,
            mono_ms,
            boot,
            segment: self.segment,
            boot_offset: self.boot_offset,
            error_ms: self.error_ms,
        }
    }
}

#[cfg(test)]
mod tests;
