//! Windows of whole minutes: means, trends, and how far a value fell while nothing moved it.

use super::state::{NEVER, Window};
use crate::plan::{How, WindowPlan};
use crate::series::Ms;

/// One minute, ms.
pub(crate) const MINUTE_MS: Ms = 60_000;
/// Time after everything stands before a fall is counted: waves and foam settle, lines drain, ms.
pub(crate) const SETTLE_MS: Ms = 10 * MINUTE_MS;
const MINUTES_PER_HOUR: f64 = 60.0;

impl Window {
    /// Adds a sample; returns when the minute it fell into ends, for the timer.
    pub(crate) fn add(&mut self, t: Ms, value: f64) -> Ms {
        let minute = t.div_euclid(MINUTE_MS);
        if self.minute < minute {
            // Nothing was being filled: a filled ring is moved by its timer before a later sample comes.
            self.minute = minute;
            self.ring.fill((0.0, 0));
        }
        if let Some(bucket) = self.ring.last_mut() {
            bucket.0 += value;
            bucket.1 += 1;
        }
        (minute + 1) * MINUTE_MS
    }

    /// When the minute being filled ends.
    pub(crate) fn due(&self) -> Option<Ms> {
        let holds = self.minute != NEVER && self.ring.iter().any(|b| b.1 > 0);
        holds.then(|| (self.minute + 1) * MINUTE_MS)
    }

    /// Closes the minute; returns what the window is for, NaN where too little of it is covered. `gap` is how long a
    /// value of the series is held, ms.
    pub(crate) fn close(&mut self, plan: &WindowPlan, gap: Ms) -> f64 {
        self.minute += 1;
        let value = match plan.how {
            How::Mean => self.mean(plan.expect),
            How::Slope => self.slope(plan.expect),
            How::Fall => self.fall(plan.expect, gap),
        };
        self.ring.rotate_left(1);
        if let Some(last) = self.ring.last_mut() {
            *last = (0.0, 0);
        }
        value
    }

    fn mean(&self, expect: u32) -> f64 {
        let (mut sum, mut count) = (0.0, 0u32);
        for bucket in &self.ring[1..] {
            sum += bucket.0;
            count += bucket.1;
        }
        if is_covered(count, expect) { sum / f64::from(count) } else { f64::NAN }
    }

    /// Least squares through the means of the known minutes, per hour; equal weights, so that a minute with more
    /// samples does not pull.
    fn slope(&self, expect: u32) -> f64 {
        let known = || self.known();
        let total: u32 = self.ring[1..].iter().map(|b| b.1).sum();
        let n = known().count();
        if n < 3 || !is_covered(total, expect) || self.ring.last().is_none_or(|b| b.1 == 0) {
            return f64::NAN;
        }
        let n = f64::from(crate::compile::count(n));
        let middle = known().fold(0.0, |sum, (x, _)| sum + x) / n;
        let (mut above, mut below) = (0.0, 0.0);
        for (x, mean) in known() {
            above += (x - middle) * mean;
            below += (x - middle) * (x - middle);
        }
        above / below * MINUTES_PER_HOUR
    }

    /// Oldest known minute less the newest one; the newest must be held still.
    fn fall(&self, expect: u32, gap: Ms) -> f64 {
        let ring = &self.ring[1..];
        let oldest = ring.iter().position(|b| b.1 > 0);
        let newest = ring.iter().rposition(|b| b.1 > 0);
        let (Some(a), Some(b)) = (oldest, newest) else { return f64::NAN };
        let minutes = |n: usize| Ms::from(crate::compile::count(n));
        let age = minutes(ring.len() - 1 - b) * MINUTE_MS;
        // As much of a window's samples as lies behind the oldest: whole numbers, so that no rounding decides.
        let (span, whole) = (minutes(ring.len() - a), minutes(ring.len()));
        let count: u32 = ring[a..].iter().map(|b| b.1).sum();
        if age > gap || Ms::from(count) * 10 * whole < Ms::from(expect) * 8 * span {
            return f64::NAN;
        }
        let mean = |b: (f64, u32)| b.0 / f64::from(b.1);
        mean(ring[a]) - mean(ring[b])
    }

    /// The known minutes: place and mean.
    fn known(&self) -> impl Iterator<Item = (f64, f64)> {
        let known = self.ring[1..].iter().enumerate().filter(|(_, b)| b.1 > 0);
        known.map(|(x, b)| (f64::from(crate::compile::count(x)), b.0 / f64::from(b.1)))
    }

    /// What moves the content runs, or may: nothing before counts.
    pub(crate) fn forget(&mut self) {
        self.ring.fill((0.0, 0));
    }
}

/// Tells whether at least 80 % of the samples expected are there: whole numbers, so that no rounding decides.
fn is_covered(count: u32, expect: u32) -> bool {
    count > 0 && u64::from(count) * 10 >= u64::from(expect) * 8
}
