//! The page's age as it is sent, and what stands once everything has been judged.
//!
//! An evaluator decides by the times of the log's records, so that every replay decides the same. Where the centre was down,
//! or its evaluator behind, such a page would ring hours later as if it were now. So its age is looked at again here, by the
//! centre's clock: what grew too old is listed silently (design §7), and when the gateway's own data has reached the present
//! and the alarm still holds, it pages, since when it really began.
//!
//! The same moment makes good what a log that was put back alone under a state database that had gone on leaves behind: an
//! alarm that the evaluator found again, under a key that the list was told and corrected on the lost log. What came behind a
//! hole is found again when that closes, so the list is looked at once more then.
//!
//! An evaluator that was put back holds what held when the backup was made. It says nothing of now: only what the gateway's
//! data since the start shows to hold is told, and what is about to clear is waited for.

use std::collections::BTreeMap;

use rules::evaluator::{DutyEvent, Output, PAGE_HORIZON_MS, Page, page_late};
use rules::{RuleState, Scope, Transition};

use super::super::snapshot::CENTRE;
use super::{Cursor, CursorError, Engines, Said};
use crate::alarms;

/// Readings that are older than this at the start say nothing of now, ms: a gateway closes a block at least so often.
const FRESH_MS: i64 = 10_000;
/// Until the next look at a gateway of which something could not be told yet, ms.
const AGAIN_MS: i64 = 1_000;

/// Gateways whose alarms are still to be held against the list.
#[derive(Debug)]
pub(super) enum Unsaid {
    /// All: the cursor has just started.
    All,
    /// These.
    These {
        /// Readings before that say nothing of now, ms.
        since: i64,
        names: BTreeMap<String, Look>,
    },
}

/// How far one is.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Look {
    /// It was held against the list while a hole was open.
    is_said: bool,
    /// When the next look is due.
    due_at: i64,
}

impl Unsaid {
    /// Takes back a page that grew too old while nobody judged.
    pub(super) fn look(&mut self, said: &mut Said, now: i64) {
        let Output::Duty(DutyEvent::Turn { transition, page, sample_at, .. }) = &mut said.output
        else {
            return;
        };
        // What the centre judges by its own clock is no history.
        let is_old = now.saturating_sub(*sample_at) > PAGE_HORIZON_MS && said.gateway != CENTRE;
        if !is_old || !matches!(page, Page::Page | Page::Recovered) {
            return;
        }
        *page = page_late(transition);
        if let Self::These { names, .. } = self {
            names.insert(said.gateway.clone(), Look::default());
        }
    }
}

impl<E: Engines> Cursor<E> {
    /// Holds what stands against the list, for the gateways whose data has reached the present.
    pub(super) fn say_what_stands(&mut self) -> Result<(), CursorError> {
        if self.position < self.log.shared().tail.head() {
            return Ok(());
        }
        if matches!(self.unsaid, Unsaid::All) {
            let names = self.centre.gateways.keys();
            let names = names.map(|name| (name.clone(), Look::default())).collect();
            self.unsaid = Unsaid::These { since: self.clock.now_ms() - FRESH_MS, names };
            // What was judged again may have ended what the list still has.
            self.apply_now()?;
            self.find_orphans()?;
        }
        let now = self.clock.now_ms();
        let Unsaid::These { since, names } = &self.unsaid else { return Ok(()) };
        let since = *since;
        let here = |(name, look): (&String, &Look)| {
            let evaluator = &self.centre.gateways.get(name)?.evaluator;
            let is_settled = !evaluator.progress().is_forked;
            let is_due = (is_settled || !look.is_said) && look.due_at <= now;
            let is_here = evaluator.present(now).is_some_and(|sample_at| sample_at >= since);
            (is_due && is_here).then(|| (name.clone(), is_settled))
        };
        let here: Vec<(String, bool)> = names.iter().filter_map(here).collect();
        if here.is_empty() {
            return Ok(());
        }
        // The list as it is after everything that was said before.
        self.apply_now()?;
        let active = self.ask(|state| async move { state.active_alarms().await })?;
        let condition = |t: &Transition| (t.rule.clone(), t.scope.clone());
        let listed: BTreeMap<(String, Scope), (u8, bool)> = active
            .iter()
            .map(|a| (condition(&a.transition), (a.transition.level.number(), a.is_paged)))
            .collect();
        for (name, is_settled) in here {
            let Some(fed) = self.centre.gateways.get(&name) else { continue };
            let Some(sample_at) = fed.evaluator.present(now) else { continue };
            let states = self.centre.states(&name);
            let pending = self.pending.entry(name.clone()).or_default();
            let mut waits = false;
            for (transition, is_paged) in fed.evaluator.told() {
                let pages = is_paged && !transition.is_suppressed();
                let agrees =
                    listed.get(&condition(transition)).is_some_and(|(level, was_paged)| {
                        *level <= transition.level.number() && (*was_paged || !pages)
                    });
                if agrees {
                    continue;
                }
                if !holds_now(&states, transition) {
                    waits = true;
                    continue;
                }
                tracing::warn!(rule = %transition.rule, site = %transition.scope.site, object = %transition.scope.object,
                    "an alarm holds that the list does not have so, or that nobody was paged for: told now");
                pending.stands(alarms::DutyEvent::Stands {
                    needs_ack: alarms::needs_ack(transition.level),
                    transition: Box::new(transition.clone()),
                    page: if pages { alarms::Page::Paged } else { alarms::Page::Silent },
                    sample_at,
                    decided_at: now,
                });
            }
            let Unsaid::These { names, .. } = &mut self.unsaid else { continue };
            if is_settled && !waits {
                names.remove(&name);
            } else {
                names.insert(name, Look { is_said: !waits, due_at: now + AGAIN_MS });
            }
        }
        Ok(())
    }

    /// Makes what was said so far durable.
    pub(super) fn apply_now(&mut self) -> Result<(), CursorError> {
        self.collect();
        self.apply()
    }
}

/// Whether the newest readings show that it holds: they are known, and nothing is on its way to end it.
fn holds_now(states: &[RuleState], transition: &Transition) -> bool {
    let is_it = |s: &&RuleState| s.rule == transition.rule && s.scope == transition.scope;
    states.iter().find(is_it).is_some_and(|s| s.active.is_some() && !s.unknown && !is_clearing(s))
}

fn is_clearing(state: &RuleState) -> bool {
    state.pending.as_ref().is_some_and(|pending| pending.clearing)
}
