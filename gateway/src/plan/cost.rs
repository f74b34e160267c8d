//! What one read costs on the line: `a + b·n`, guessed at first, then learnt from round trips.
//!
//! Integers in nanoseconds, so that two machines plan alike. The planner and the utilisation use [`Cost`], a device's
//! task keeps a [`Learned`].

use std::time::Duration;

/// Cost of reading n registers: `a + b·n`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// Per request, in ns: turnaround, framing, link.
    pub a_ns: u64,
    /// Per register, in ns.
    pub b_ns: u64,
}

/// Link time assumed for one exchange over TCP before anything is learnt.
const TCP_EXCHANGE_NS: u64 = 4_000_000;

/// Time assumed per register where nothing is known of the line.
const TCP_REGISTER_NS: u64 = 20_000;

impl Cost {
    /// First guess: the device's own turnaround on TCP, or the serial formula where the speed of the line behind a
    /// converter is known: 13 characters of 10 bits and the 3.5-character silence, two characters a register.
    #[must_use]
    pub fn guess(turnaround: Duration, line_baud: Option<u32>) -> Self {
        let turnaround = u64::try_from(turnaround.as_nanos()).unwrap_or(u64::MAX / 4);
        let tcp = Self { a_ns: turnaround + TCP_EXCHANGE_NS, b_ns: TCP_REGISTER_NS };
        let Some(baud) = line_baud.filter(|baud| *baud > 0) else { return tcp };
        let character = 10 * 1_000_000_000 / u64::from(baud);
        let silence = if baud <= 19_200 { character * 7 / 2 } else { 1_750_000 };
        Self { a_ns: tcp.a_ns + 13 * character + silence, b_ns: 2 * character }
    }

    /// Cost of n registers in ns.
    #[must_use]
    pub const fn of(self, registers: u32) -> u64 {
        self.a_ns.saturating_add(self.b_ns.saturating_mul(registers as u64))
    }

    /// The same as a duration.
    #[must_use]
    pub const fn time(self, registers: u32) -> Duration {
        Duration::from_nanos(self.of(registers))
    }
}

/// Weight of one new round trip against the past: the fit follows a line that changes within some 50 polls.
const FORGET: f64 = 0.98;

/// Round trips after which the fit is trusted over the guess.
const TRUST_AFTER: u32 = 50;

/// Running least squares of round trip over registers, with exponential forgetting, and a high quantile.
#[derive(Debug, Clone)]
pub struct Learned {
    guess: Cost,
    seen: u32,
    weight: f64,
    n: f64,
    t: f64,
    nn: f64,
    nt: f64,
    high_ns: f64,
}

impl Learned {
    /// Nothing seen yet.
    #[must_use]
    pub fn new(guess: Cost) -> Self {
        Self { guess, seen: 0, weight: 0.0, n: 0.0, t: 0.0, nn: 0.0, nt: 0.0, high_ns: 0.0 }
    }

    /// Takes one answered read.
    #[expect(clippy::cast_precision_loss, reason = "round trips are below 2^53 ns")]
    pub fn observe(&mut self, registers: u16, round_trip: Duration) {
        let (n, t) = (f64::from(registers), round_trip.as_nanos().min(u128::from(u64::MAX)) as f64);
        for sum in [&mut self.weight, &mut self.n, &mut self.t, &mut self.nn, &mut self.nt] {
            *sum *= FORGET;
        }
        self.weight += 1.0;
        self.n += n;
        self.t += t;
        self.nn += n * n;
        self.nt += n * t;
        self.seen = self.seen.saturating_add(1);
        // Rises to a slow answer at once, sinks by 1 % a poll: near the 99th centile without a histogram.
        self.high_ns = if t > self.high_ns { t } else { self.high_ns * 0.99 + t * 0.01 };
    }

    /// The fit once there is enough to fit, the guess before.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped to positive seconds"
    )]
    pub fn cost(&self) -> Cost {
        if self.seen < TRUST_AFTER {
            return self.guess;
        }
        let mean_t = self.t / self.weight;
        let mean_n = self.n / self.weight;
        let spread = self.nn / self.weight - mean_n * mean_n;
        // Requests of one length say nothing of the slope: keep the guessed one.
        let guess_b = self.guess.b_ns as f64;
        let slope = if spread > 4.0 {
            ((self.nt / self.weight - mean_n * mean_t) / spread).clamp(0.0, 1e9)
        } else {
            guess_b.min(mean_t / mean_n.max(1.0))
        };
        let intercept = (mean_t - slope * mean_n).clamp(10_000.0, 60e9);
        Cost { a_ns: intercept as u64, b_ns: slope as u64 }
    }

    /// Answers seen so far.
    #[must_use]
    pub const fn seen(&self) -> u32 {
        self.seen
    }

    /// A round trip that few answers exceed; `None` before the first.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a sum of positive times"
    )]
    pub fn high(&self) -> Option<Duration> {
        (self.seen > 0).then(|| Duration::from_nanos(self.high_ns as u64))
    }
}
