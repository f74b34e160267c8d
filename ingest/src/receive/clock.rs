//! What people are told of clocks: a gateway's that is ahead or behind, the centre's own against most of them.
//!
//! Nothing is decided about a block here. A clock that is behind makes history of what happens now, so that it pages
//! nobody; one that is ahead sends its samples to quarantine: neither must go unsaid.

use wire::Block;
use wire::block::ClockState;

use super::block::Arrival;
use super::gateway::Behind;
use super::port::LogPort;
use super::{Notice, Receiver};
use crate::log::record::CentreRecord;

/// A newest block closed so long before it arrived, although it was sent at once, is of a clock that is behind, ms.
const BEHIND_MS: i64 = 60_000;
/// So far ahead of most gateways the centre's own clock keeps everything from paging (the page horizon), ms.
const CENTRE_AHEAD_MS: i64 = rules::evaluator::PAGE_HORIZON_MS;
/// A block that was sent so soon after it was closed was live, ms.
const SENT_LIVE_MS: u64 = 10_000;
/// A lag must stand so long before it is told: what a broker kept while the centre was away comes within seconds, ms.
const STEADY_MS: i64 = 30_000;
/// A lag that shrinks by more than this is a queue that empties, not a clock, ms.
const SHRINK_MS: i64 = 5_000;
/// The same is said again after this, ms.
const AGAIN_MS: i64 = 10 * 60_000;
/// Fewest gateways whose clocks are held against the centre's.
const JURY_MIN: usize = 3;

impl Receiver {
    /// Notes what a block that is about to be logged says of its gateway's clock.
    pub(super) fn watch_clock(
        &mut self,
        port: &impl LogPort,
        arrival: &Arrival<'_>,
        block: &Block,
        is_ahead: bool,
    ) {
        if is_ahead {
            self.tell_ahead(arrival);
        }
        let age = arrival.sent_mono_ms.saturating_sub(block.clock.mono_ms);
        let sets = port.epoch(arrival.gateway.as_str(), block.epoch.0);
        let is_newest = sets.is_none_or(|sets| block.seq > sets.covered.max());
        if block.clock.state == ClockState::Unset
            || block.clock.boot != arrival.boot
            || age > SENT_LIVE_MS
            || !is_newest
        {
            return;
        }
        let (now, lag) = (arrival.at, arrival.at.saturating_sub(block.clock.closed_at));
        let state = self.touch(arrival.gateway);
        if lag <= BEHIND_MS {
            state.behind = None;
            return;
        }
        let first = Behind { since: now, lag, now: lag, at: now };
        let known = state.behind.filter(|b| lag >= b.lag - SHRINK_MS && now >= b.since);
        let behind = known.map_or(first, |b| Behind { now: lag, at: now, ..b });
        state.behind = Some(behind);
        if is_steady(&behind) && is_due(&mut state.told.behind, now) {
            self.effects.notices.push(Notice {
                code: "clock_behind",
                gateway: Some(arrival.gateway.clone()),
                text: format!(
                    "its clock is {} s behind the centre's: what it reports now is taken for history and may page nobody; check NTP on the gateway and on this machine",
                    lag / 1_000
                ),
            });
        }
    }

    /// The centre's clock was set, `by` ms, to `at`: logs it, so that nobody takes the step for silence, and forgets what
    /// clocks said before.
    pub fn clock_stepped(&mut self, port: &mut impl LogPort, by: i64, at: i64) {
        self.log_centre(port, CentreRecord::Step { by }, at);
        for (_, state) in self.gateways_mut() {
            (state.behind, state.clock) = (None, None);
        }
        let holes = self.gateways.iter().filter(|(_, state)| state.kept.hole.is_some());
        for name in holes.map(|(name, _)| name.clone()).collect::<Vec<_>>() {
            if let Some(hole) = &mut self.touch(&name).kept.hole {
                hole.since = hole.since.saturating_add(by);
            }
        }
    }

    /// Whether most gateways say that the centre's clock is so far ahead that nothing pages any more.
    #[must_use]
    pub fn runs_ahead(&self, now: i64) -> bool {
        let fresh = |at: i64| now.saturating_sub(at) <= AGAIN_MS;
        let heard = self.gateways.values().filter(|g| fresh(g.ack.heard_at)).count();
        let behind = self.gateways.values().filter_map(|g| g.behind).filter(|b| fresh(b.at));
        let far = behind.filter(|b| is_steady(b) && b.now > CENTRE_AHEAD_MS).count();
        heard >= JURY_MIN && far * 2 > heard
    }

    /// Whether a gateway's quarantine is full; says so where it is.
    pub(super) fn is_quarantine_full(&mut self, arrival: &Arrival<'_>) -> bool {
        let is_full = self.quarantine_full.contains(arrival.gateway);
        if is_full && is_due(&mut self.touch(arrival.gateway).told.full, arrival.at) {
            self.effects.notices.push(Notice {
                code: "quarantine_full",
                gateway: Some(arrival.gateway.clone()),
                text: "its quarantine is full: blocks that belong there are not acknowledged and wait at the gateway; look through the quarantine and discard or replay".to_owned(),
            });
        }
        is_full
    }

    /// Whether a gateway that was replaced is to be told (again).
    pub(super) fn is_first_told(&mut self, arrival: &Arrival<'_>) -> bool {
        is_due(&mut self.touch(arrival.gateway).told.replaced, arrival.at)
    }

    /// Tells of a gateway that goes on in an epoch which another one has followed: what it reports now is stored, and no
    /// rule judges it until it starts again.
    pub(super) fn watch_end(&mut self, arrival: &Arrival<'_>, block: &Block) {
        let age = arrival.sent_mono_ms.saturating_sub(block.clock.mono_ms);
        let state = self.touch(arrival.gateway);
        let joined = state.kept.chain.find(block.epoch.0);
        let is_beyond = joined.is_some_and(|j| j.last.is_some_and(|last| block.seq > last));
        if !is_beyond || block.clock.boot != arrival.boot || age > SENT_LIVE_MS {
            return;
        }
        let known = state.muted.filter(|(_, at)| (0..=STEADY_MS).contains(&(arrival.at - at)));
        let since = known.map_or(arrival.at, |(since, _)| since);
        state.muted = Some((since, arrival.at));
        if arrival.at - since >= STEADY_MS && is_due(&mut state.told.muted, arrival.at) {
            self.effects.notices.push(Notice {
                code: "muted",
                gateway: Some(arrival.gateway.clone()),
                text: "it goes on in an epoch that another one has followed (a copied or restored disk under the same name): its readings are stored and NO RULE JUDGES THEM; stop the other one and restart this gateway".to_owned(),
            });
        }
    }

    /// Tells of an epoch that was let go because the one that the gateway is in goes on.
    pub(super) fn tell_rival(&mut self, arrival: &Arrival<'_>) {
        if is_due(&mut self.touch(arrival.gateway).told.rival, arrival.at) {
            self.effects.notices.push(Notice {
                code: "chain_conflict",
                gateway: Some(arrival.gateway.clone()),
                text: "blocks came of an epoch that follows nothing known, while the gateway goes on in another: a copied disk that runs elsewhere, or old messages that somebody or the broker sent again; they are stored and no rule judges them".to_owned(),
            });
        }
    }

    fn tell_ahead(&mut self, arrival: &Arrival<'_>) {
        if is_due(&mut self.touch(arrival.gateway).told.ahead, arrival.at) {
            self.effects.notices.push(Notice {
                code: "clock_ahead",
                gateway: Some(arrival.gateway.clone()),
                text: "its samples lie more than 60 s ahead of the centre's clock and go to quarantine: no rule judges them; check NTP on the gateway and on this machine".to_owned(),
            });
        }
    }
}

fn is_steady(behind: &Behind) -> bool {
    behind.at - behind.since >= STEADY_MS
}

/// Whether something is to be said (again); notes that it is.
fn is_due(told: &mut Option<i64>, now: i64) -> bool {
    let is_due = told.is_none_or(|at| now.saturating_sub(at) >= AGAIN_MS || now < at);
    if is_due {
        *told = Some(now);
    }
    is_due
}
