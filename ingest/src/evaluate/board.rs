//! What the evaluator shows to others: rule states and progress.
//!
//! Written by the cursor, read by the API; reading never waits and never makes the cursor wait.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rules::RuleState;
use rules::evaluator::Progress;

/// One gateway's evaluator as others see it.
#[derive(Debug, Clone, PartialEq)]
pub struct GatewayBoard {
    /// State of every rule at every place of its sites.
    pub rules: Arc<Vec<RuleState>>,
    /// How far it is.
    pub progress: Progress,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Board {
    gateways: ArcSwap<BTreeMap<String, GatewayBoard>>,
}

impl Board {
    /// Every gateway's evaluator.
    #[must_use]
    pub fn gateways(&self) -> Arc<BTreeMap<String, GatewayBoard>> {
        self.gateways.load_full()
    }

    /// Every rule at every scope of a site, over all gateways that serve it.
    #[must_use]
    pub fn rule_states(&self, site: &str) -> Vec<RuleState> {
        let gateways = self.gateways.load();
        let states = gateways.values().flat_map(|gateway| gateway.rules.iter());
        let mut states: Vec<_> = states.filter(|state| state.scope.site == site).cloned().collect();
        states.sort_by(|a, b| (&a.rule, &a.scope).cmp(&(&b.rule, &b.scope)));
        states
    }

    pub(super) fn show(&self, gateways: BTreeMap<String, GatewayBoard>) {
        self.gateways.store(Arc::new(gateways));
    }
}
