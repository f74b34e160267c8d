//! What the API asks of the running parts, answered from memory.

use rules::RuleState;

use super::open::Parts;
use crate::api::Sources;
use crate::api::source::{GatewayLive, LiveValue, LogLive, StoreState, SystemLive};
use crate::completeness::DayOfSite;

/// See the module.
#[derive(Debug)]
pub(super) struct Desk {
    parts: Parts,
    store: &'static str,
}

impl Desk {
    pub(super) fn new(parts: &Parts, store: &'static str) -> Self {
        Self { parts: parts.clone(), store }
    }
}

impl Sources for Desk {
    fn values(&self, site: &str) -> Vec<LiveValue> {
        self.parts.live.values(site)
    }

    fn gateway(&self, name: &str) -> GatewayLive {
        self.parts.live.gateway(name, self.parts.clock.now_ms())
    }

    fn rule_states(&self, site: &str) -> Vec<RuleState> {
        self.parts.board.rule_states(site)
    }

    fn completeness(&self, from: i64, to: i64, wanted: &dyn Fn(&str) -> bool) -> Vec<DayOfSite> {
        let registered = self.parts.registrar.current();
        let now = self.parts.clock.now_ms();
        let known = |site: &str| registered.site(site).is_some() && wanted(site);
        self.parts.completeness.days(from, to, now, known)
    }

    fn system(&self) -> SystemLive {
        use std::sync::atomic::Ordering::Relaxed;
        let parts = &self.parts;
        let head = parts.shared.tail.head();
        let store_state = match parts.stats.trouble.load(Relaxed) {
            0 => StoreState::Well,
            1 => StoreState::Retrying,
            _ => StoreState::Refusing,
        };
        let bytes = u64::try_from(parts.metrics.log_bytes.get()).ok();
        SystemLive {
            store: self.store.to_owned(),
            store_state,
            log: LogLive {
                bytes,
                position: Some(head),
                evaluator_lag: Some(head.saturating_sub(parts.progress.judged_position())),
                store_lag: Some(head.saturating_sub(parts.progress.store_position())),
            },
            notices: parts.live.notices(),
        }
    }
}
