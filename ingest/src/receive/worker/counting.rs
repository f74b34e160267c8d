//! Hands logged blocks to the count of what came, those of an unset clock when a record has let them through.

use std::sync::Arc;

use crate::chain_of;
use crate::completeness::Completeness;
use crate::log::{Follower, LogRecord};

/// See the module.
#[derive(Debug)]
pub(super) struct Counting {
    pub(super) completeness: Arc<Completeness>,
    pub(super) follower: Follower,
}

impl Counting {
    /// Counts what a committed record lets through.
    pub(super) fn count(&mut self, record: &LogRecord) {
        let Self { completeness, follower } = self;
        if let Err(error) = completeness.let_through(record, follower) {
            // The counts lack blocks of a late clock; nothing else depends on them.
            tracing::warn!(error = %chain_of(&error), "released blocks could not be counted");
        }
    }
}
