//! Looks each second whether alarms still come, and puts notices up where they do not.
//!
//! Of its own, because what it watches cannot tell: a receiver, a broker or an evaluator that stands still says nothing.
//! Seconds are counted in looks, not by a clock that can be set.

use std::collections::VecDeque;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::open::Parts;

/// Time between two looks.
const LOOK: Duration = Duration::from_secs(1);
/// Looks without a broker after which it is said: a reconnection takes less.
const BROKER_LOOKS: u32 = 15;
/// Looks for which a record may wait for the evaluator. The log gets a tick each second, so it never stands still itself.
const BEHIND_LOOKS: usize = 10;
/// Looks of failure in a row after which the evaluator counts as stopped.
const FAILING_LOOKS: u32 = 3;
/// Looks of a store that does not take data after which it is said.
const STORE_LOOKS: u32 = 15;

/// What one look sees.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    broker_connected: bool,
    /// Newest record of the log.
    head: u64,
    /// Up to where everything is judged.
    evaluated: u64,
    evaluator_failing: bool,
    log_failing: bool,
    /// 0 well, 1 retrying, 2 a person has to mend it.
    store_trouble: u64,
}

/// What is wrong after a look: code, whether it stands, sentence.
type Standing = (&'static str, bool, &'static str);

/// See the module.
#[derive(Debug, Default)]
struct Watch {
    heads: VecDeque<u64>,
    without_broker: u32,
    failing: u32,
    without_store: u32,
}

impl Watch {
    fn look(&mut self, seen: &Seen) -> [Standing; 5] {
        count(&mut self.without_broker, !seen.broker_connected);
        count(&mut self.failing, seen.evaluator_failing);
        count(&mut self.without_store, seen.store_trouble > 0);
        self.heads.push_back(seen.head);
        let before = if self.heads.len() > BEHIND_LOOKS { self.heads.pop_front() } else { None };
        let failing = self.failing >= FAILING_LOOKS;
        let behind = before.is_some_and(|head| seen.evaluated < head);
        let stalled = before.is_some_and(|head| head == seen.head);
        let refuses = seen.store_trouble > 1;
        [
            (
                "broker_down",
                self.without_broker > BROKER_LOOKS,
                "no connection to the broker: nothing of the plants arrives; check the broker",
            ),
            (
                "evaluator_failing",
                failing,
                "alarms are not judged; check the state database and its disk",
            ),
            (
                "evaluator_behind",
                behind && !failing,
                "alarms are not judged in time: a record has waited for more than 10 s",
            ),
            (
                "log_stalled",
                stalled && !seen.log_failing,
                "nothing is received: the log has not grown for 10 s; check disk and load of this machine",
            ),
            (
                "store_trouble",
                self.without_store > STORE_LOOKS && !refuses,
                "the history store does not take data now; alarms go on, the log keeps the data",
            ),
        ]
    }
}

fn count(looks: &mut u32, stands: bool) {
    *looks = if stands { looks.saturating_add(1) } else { 0 };
}

fn seen(parts: &Parts) -> Seen {
    Seen {
        broker_connected: parts.metrics.broker_connected.get() == 1,
        head: parts.shared.tail.head(),
        evaluated: parts.progress.judged_position(),
        evaluator_failing: parts.progress.is_evaluator_failing(),
        log_failing: parts.failing.load(Relaxed),
        store_trouble: parts.stats.trouble.load(Relaxed),
    }
}

/// Watches until `stop`.
pub(super) async fn watch(parts: Parts, stop: CancellationToken) {
    let mut watch = Watch::default();
    let mut beat = tokio::time::interval(LOOK);
    // Never two looks at once after a pause: they count as seconds.
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = beat.tick() => {}
            () = stop.cancelled() => return,
        }
        let now = parts.clock.now_ms();
        for (code, stands, text) in watch.look(&seen(&parts)) {
            parts.live.standing(code, stands, now, || text.to_owned());
        }
        let damage = parts.history.damage();
        parts.live.standing("store_damaged", damage.is_some(), now, || damage.unwrap_or_default());
    }
}

#[cfg(test)]
mod tests;
