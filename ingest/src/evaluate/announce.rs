//! Tells streams and notices what the evaluator did, once it is durable.
//!
//! Called in the evaluator's thread; it never waits.

use std::fmt;
use std::sync::Arc;

use rules::evaluator::{BlockKey, Output, RereadError, SERIES_MAX};

use super::centre::{GATEWAYS_MAX, Reached, Said};
use super::cursor::Listener;
use crate::alarms::AlarmChange;
use crate::api::Api;
use crate::clock::Clock;
use crate::live::Live;
use crate::metrics::{Metrics, Word};
use crate::selfwatch::Marks;

/// See the module.
pub struct Announcer {
    api: Arc<Api>,
    live: Arc<Live>,
    clock: Arc<dyn Clock>,
    marks: Arc<Marks>,
    metrics: Arc<Metrics>,
}

impl fmt::Debug for Announcer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Announcer").finish_non_exhaustive()
    }
}

impl Announcer {
    /// Tells through `api` and `live`, counts in `metrics`; what becomes of the test alarm goes to `marks`.
    #[must_use]
    pub fn new(
        api: Arc<Api>,
        live: Arc<Live>,
        clock: Arc<dyn Clock>,
        marks: Arc<Marks>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self { api, live, clock, marks, metrics }
    }

    fn count(&self, change: &AlarmChange) {
        self.metrics.alarm_changes.get_or_create(&Word { code: change.kind }).inc();
        if change.pages {
            self.metrics.alarm_pages.inc();
        }
        if change.pages && change.kind == "raise" {
            let age = self.clock.now_ms().saturating_sub(change.occurrence.raised_at);
            #[expect(clippy::cast_precision_loss, reason = "metrics are floats")]
            let age = age.max(0) as f64 / 1e3;
            self.metrics.alarm_seconds.observe(age);
        }
    }

    fn notice(&self, code: &str, gateway: &str, text: &str) {
        self.live.notice(code, gateway, text, self.clock.now_ms());
    }
}

impl Listener for Announcer {
    fn changed(&mut self, changes: &[AlarmChange]) {
        for change in changes {
            self.count(change);
            tracing::info!(kind = change.kind, rule = %change.occurrence.rule, site = %change.occurrence.site,
                scope = %change.occurrence.scope, severity = change.occurrence.severity, pages = change.pages, "alarm changed");
        }
        self.api.announce(changes);
    }

    fn test_judged(&mut self, t: i64) {
        self.marks.judged(t);
    }

    fn test_alarmed(&mut self, t: i64) {
        self.marks.alarmed(t, self.clock.mono_ms());
    }

    fn reached(&mut self, bound: &Reached) {
        let (code, about, text) = match bound {
            Reached::Gateways(name) => (
                "gateways_unjudged",
                "",
                format!(
                    "more than {GATEWAYS_MAX} gateways have sent blocks, the first beyond is {name}: theirs are stored, no rule \
                 judges them; move sites to another centre"
                ),
            ),
            Reached::Series(name) => (
                "series_unjudged",
                name.as_str(),
                format!(
                    "its manifests named more than {SERIES_MAX} series: samples of the further ones are stored, no rule judges \
                 them; mend its device names, then provision it under another name that replaces this one"
                ),
            ),
        };
        if self.live.notice(code, about, &text, self.clock.now_ms()) {
            tracing::error!(code, gateway = about, text, "notice");
        }
    }

    fn noted(&mut self, said: &Said) {
        let gateway = said.gateway.as_str();
        match &said.output {
            Output::GivenUp { from, next } => {
                tracing::warn!(gateway, from = %name(*from), next = %name(*next), "gave up a hole in the blocks");
                let text =
                    "too many blocks waited behind missing ones, which are now counted as lost";
                self.notice("hole_given_up", gateway, text);
            }
            Output::Unreadable { key, error: error @ RereadError::Lost { .. } } => {
                tracing::error!(gateway, block = %name(*key), %error, "a block is lost to the rules");
                self.notice(
                    "block_unreadable",
                    gateway,
                    "a block of the log was lost before the rules saw it",
                );
            }
            Output::Unreadable { key, error } => {
                tracing::warn!(gateway, block = %name(*key), %error, "a block waits to be read again");
            }
            Output::TimeUnknown { key, .. } => {
                tracing::warn!(gateway, block = %name(*key), "a block's time will never be known, no rule judges it");
            }
            Output::Late { key } => {
                tracing::debug!(gateway, block = %name(*key), "a block came after it was declared lost, no rule judges it");
            }
            Output::FactDropped { at } => {
                tracing::warn!(
                    gateway,
                    at,
                    "too many facts lie ahead, the one worth least was dropped"
                );
                let text = "too many recorded facts lie in the future: planned work farthest ahead was dropped; \
                            withdraw what is not needed and record it again";
                self.notice("fact_dropped", gateway, text);
            }
            Output::Placed { revision, .. } => {
                tracing::debug!(gateway, revision, "a fact took effect")
            }
            Output::Verdict(_) | Output::Duty(_) => {}
        }
    }
}

fn name(key: BlockKey) -> String {
    format!("{:016x}:{}", key.epoch, key.seq)
}
