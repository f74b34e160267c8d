//! What the evaluator shows to others: rule states, progress, and which records the log must keep.
//!
//! Written by the cursor, read by the API and by the receiver's eviction; reading never waits and never makes the
//! cursor wait.

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

/// What the log may evict, as far as the evaluator is concerned.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keep {
    /// Records after this one are needed for a restart: the second-newest snapshot of every evaluator lies at or
    /// after it.
    pub after: u64,
    /// Earlier records that are needed all the same: blocks behind a hole or with an unset clock, ascending.
    pub also: Vec<u64>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Board {
    gateways: ArcSwap<BTreeMap<String, GatewayBoard>>,
    keep: ArcSwap<Keep>,
    position: std::sync::atomic::AtomicU64,
}

impl Board {
    /// Every gateway's evaluator.
    #[must_use]
    pub fn gateways(&self) -> Arc<BTreeMap<String, GatewayBoard>> {
        self.gateways.load_full()
    }

    /// What the log must keep.
    #[must_use]
    pub fn keep(&self) -> Arc<Keep> {
        self.keep.load_full()
    }

    /// Position of the last record whose effects are durable.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position.load(std::sync::atomic::Ordering::Acquire)
    }

    pub(super) fn show(&self, gateways: BTreeMap<String, GatewayBoard>) {
        self.gateways.store(Arc::new(gateways));
    }

    pub(super) fn hold(&self, keep: Keep) {
        self.keep.store(Arc::new(keep));
    }

    pub(super) fn reach(&self, position: u64) {
        self.position.store(position, std::sync::atomic::Ordering::Release);
    }
}
