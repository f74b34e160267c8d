//! Which acks count. An authentic ack may still be an old one: held back by the broker, replayed, or of a
//! centre start that is over; freeing or forgetting on it would lose data.
//!
//! Pure. Each message of the gateway carries (boot, counter); an ack echoes the highest that its centre
//! start has seen (design §4). Called by the uplink for each ack whose MAC is right.

use wire::message::Stamp;
use wire::{Boot, LogId};

/// The centre's time counts where it answers something sent at most this long ago, ms.
pub const FRESH_MS: u64 = 5_000;

/// Why an ack does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ignored {
    /// It echoes nothing.
    NoEcho,
    /// It echoes another boot.
    OtherBoot,
    /// It echoes less than an ack before it.
    Older,
    /// Another log id needs a higher echo than any before.
    OldLog,
    /// It echoes a message that was never sent.
    NeverSent,
}

impl Ignored {
    /// A short stable word for metrics and logs.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::NoEcho => "no_echo",
            Self::OtherBoot => "other_boot",
            Self::Older => "older",
            Self::OldLog => "old_log",
            Self::NeverSent => "never_sent",
        }
    }
}

/// What an ack that counts says beside its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    /// Its log id is another one than before: forget what was acked.
    pub new_log: bool,
    /// Monotonic time of the echoed sending, where the centre's time may be used.
    pub fresh: Option<u64>,
}

/// Remembers the highest echo.
#[derive(Debug, Clone)]
pub struct Gate {
    boot: Boot,
    sent: u64,
    highest: u64,
    log_id: Option<LogId>,
}

impl Gate {
    /// `log_id` is the one that the acks in the spool belong to.
    #[must_use]
    pub fn new(boot: Boot, log_id: Option<LogId>) -> Self {
        Self { boot, sent: 0, highest: 0, log_id }
    }

    /// The counter of the next message of this boot.
    pub fn count(&mut self) -> u64 {
        self.sent += 1;
        self.sent
    }

    /// What [`Gate::count`] will give next.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.sent + 1
    }

    /// Decides whether an ack counts, and remembers it if so.
    ///
    /// # Errors
    /// [`Ignored`] with the reason.
    pub fn judge(
        &mut self,
        echo: Option<&Stamp>,
        log_id: LogId,
        now_mono: u64,
    ) -> Result<Counted, Ignored> {
        let echo = echo.ok_or(Ignored::NoEcho)?;
        if echo.boot != self.boot {
            return Err(Ignored::OtherBoot);
        }
        if echo.counter > self.sent {
            return Err(Ignored::NeverSent);
        }
        if echo.counter < self.highest {
            return Err(Ignored::Older);
        }
        let new_log = self.log_id != Some(log_id);
        if new_log && echo.counter == self.highest {
            return Err(Ignored::OldLog);
        }
        self.highest = echo.counter;
        self.log_id = Some(log_id);
        let age = now_mono.saturating_sub(echo.mono_ms);
        Ok(Counted { new_log, fresh: (age <= FRESH_MS).then_some(echo.mono_ms) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(boot: u64, counter: u64) -> Stamp {
        let gateway = wire::GatewayName::new("gw").unwrap();
        Stamp { gateway, boot: Boot(boot), counter, mono_ms: counter * 100 }
    }

    #[test]
    fn only_acks_of_this_boot_with_an_echo_that_does_not_fall_count() {
        let mut gate = Gate::new(Boot(1), Some(LogId(7)));
        for counter in 1..=10 {
            assert_eq!(gate.count(), counter);
        }
        let mut judge = |echo: Option<Stamp>, log| gate.judge(echo.as_ref(), LogId(log), 1_000);
        assert_eq!(judge(None, 7), Err(Ignored::NoEcho));
        assert_eq!(judge(Some(stamp(2, 5)), 7), Err(Ignored::OtherBoot));
        assert_eq!(judge(Some(stamp(1, 11)), 7), Err(Ignored::NeverSent));
        let same = Counted { new_log: false, fresh: Some(500) };
        assert_eq!(judge(Some(stamp(1, 5)), 7), Ok(same));
        assert_eq!(judge(Some(stamp(1, 5)), 7), Ok(same));
        assert_eq!(judge(Some(stamp(1, 4)), 7), Err(Ignored::Older));
        // An ack of the start before, held back by the broker, must not bring its log id back.
        assert_eq!(judge(Some(stamp(1, 5)), 8), Err(Ignored::OldLog));
        assert_eq!(judge(Some(stamp(1, 6)), 8), Ok(Counted { new_log: true, fresh: Some(600) }));
        assert_eq!(judge(Some(stamp(1, 6)), 7), Err(Ignored::OldLog));
    }

    #[test]
    fn old_echo_gives_no_time() {
        let mut gate = Gate::new(Boot(1), None);
        gate.count();
        let counted = gate.judge(Some(&stamp(1, 1)), LogId(1), 5_101).unwrap();
        assert_eq!(counted, Counted { new_log: true, fresh: None });
    }
}
