//! What the uplink shows of itself: for the status page and the metrics.

use super::lanes::Lane;

/// The uplink, as it is and since the program's start.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Progress {
    /// Both connections are up.
    pub connected: bool,
    /// Connections made.
    pub sessions: u64,
    /// Why the last one ended; empty before the first end.
    pub last_error: String,
    /// Blocks sent in each lane: live, want, backfill, rescue.
    pub sent: [u64; 4],
    /// Bytes of frames sent.
    pub sent_bytes: u64,
    /// Manifests sent.
    pub manifests: u64,
    /// Messages that were not sent because they are too large for a frame.
    pub oversized: u64,
    /// Publishes that the broker confirmed.
    pub confirmed: u64,
    /// Acks that counted.
    pub acks: u64,
    /// Messages on the topics of the centre with a bad MAC or form.
    pub acks_forged: u64,
    /// Authentic acks that were old: [`super::echo`] ignores them.
    pub acks_ignored: u64,
    /// Blocks sent and not acked yet.
    pub awaited: usize,
    /// Smoothed time from sending to app-ack, ms.
    pub smoothed_ack_ms: Option<f64>,
    /// Monotonic ms since when blocks that were sent wait without any ack.
    pub waiting_since: Option<u64>,
}

impl Progress {
    pub(super) fn sent(&mut self, lane: Lane, bytes: usize) {
        let at = match lane {
            Lane::Live => 0,
            Lane::Want => 1,
            Lane::Backfill => 2,
            Lane::Rescue => 3,
        };
        self.sent[at] += 1;
        self.sent_bytes += bytes as u64;
    }
}
