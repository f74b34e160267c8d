//! An order that begins in the middle: what came before is settled and no longer in the log.

use std::collections::VecDeque;

use super::super::record::BlockKey;
use super::super::resume::Past;
use super::{EPOCHS_KNOWN_MAX, EPOCHS_PASSED_MAX, Limits, Order, Place, Waiting};

impl<Q> Order<Q> {
    pub(in crate::evaluator) fn resumed(limits: Limits, past: &Past) -> Self {
        let mut order = Self::new(limits);
        let newest = past.passed.len().saturating_sub(EPOCHS_PASSED_MAX);
        order.passed = past.passed[newest..].iter().copied().collect();
        order.chain =
            past.chain.iter().map(|(epoch, last)| Place { epoch: *epoch, last: *last }).collect();
        order.next = past.next.max(1);
        order.declare(&past.gone);
        let newest = past.offsets.len().saturating_sub(EPOCHS_KNOWN_MAX);
        order.offsets = VecDeque::from(past.offsets[newest..].to_vec());
        for waiting in &past.waiting {
            let key = BlockKey { epoch: waiting.epoch, seq: waiting.seq };
            if order.is_passed(key) {
                continue;
            }
            let (position, unset) = (waiting.position, waiting.unset);
            if order.waiting.insert(key, Waiting { position, unset, body: None }).is_none() {
                *order.counts.entry(key.epoch).or_default() += 1;
            }
        }
        order
    }
}
