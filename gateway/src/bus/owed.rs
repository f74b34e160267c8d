//! Answers that a unit on a serial line still owes, so that none is taken for another.
//!
//! Where a request on a serial line had no answer, the answer may come at any time later, into whatever connection is
//! open then, and fits the next request of the same length. So the unit is not asked again for at least the bus's
//! timeout, longer at each failure in a row; what comes meanwhile is thrown away; and its first answer afterwards
//! shows only that it is there: the line is listened to once more, and the answer is no value.
//! On Modbus TCP the transaction tells answers apart and nothing of this is needed.

use std::time::Duration;

use tokio::time::Instant;

use super::link::{Answered, Framing, Link, LinkError};
use super::task::Task;

/// The pause doubles up to this many times.
const DOUBLINGS_MAX: u32 = 4;

/// And is then no longer than this, unless the bus's timeout is.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// Shortest listening behind the first answer.
const LINGER_MIN: Duration = Duration::from_millis(50);

/// An answer that is still to come, or may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Owed {
    /// The unit is not asked before.
    pub(crate) until: Instant,
    /// Requests without a good answer in a row.
    failures: u32,
}

impl Task {
    /// Before when the station must not be asked.
    pub(crate) fn owes_until(&self, station: usize) -> Option<Instant> {
        let owed = self.stations[station].owed?;
        (owed.until > Instant::now()).then_some(owed.until)
    }

    /// Remembers that a request to the station has failed.
    pub(crate) fn owes(&mut self, station: usize, error: &LinkError) {
        // Nothing was asked where bytes lay there before.
        if self.bus.framing == Framing::Tcp || matches!(error, LinkError::Unasked(_)) {
            return;
        }
        let failures = self.stations[station].owed.map_or(0, |owed| owed.failures);
        let pause = self.bus.timeout.saturating_mul(1 << failures.min(DOUBLINGS_MAX));
        let until = Instant::now() + pause.min(PAUSE_MAX.max(self.bus.timeout));
        let failures = failures.saturating_add(1);
        self.stations[station].owed = Some(Owed { until, failures });
    }

    /// Tells the link whose answers may come instead of the one that is waited for.
    pub(crate) fn name_owing(&self, link: &mut Link) {
        let owing = self.stations.iter().filter(|station| station.owed.is_some());
        link.owed_by(owing.map(|station| station.device.unit));
    }

    /// Makes sure of an answer: the first one of a station that owed one is only a sign of life, and only where
    /// nothing comes behind it.
    pub(crate) async fn make_sure(
        &mut self,
        station: usize,
        limit: Duration,
        (mut link, mut answered): (Link, Answered),
    ) -> Result<(Link, Answered), LinkError> {
        if self.stations[station].owed.is_some() {
            // Half of what the neighbours can spare, because the question took a part already.
            link.linger(limit.min(self.slack() / 2).max(LINGER_MIN)).await?;
            self.stations[station].owed = None;
            answered.is_sign = true;
        }
        Ok((link, answered))
    }
}
