//! The verdict journal as a fresh evaluator makes it from the log: what the journal in the state database is held against.
//!
//! Called by `davy-ingest journal replay` and by system tests. It changes nothing and needs no state database.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use rules::evaluator::{Limits, Output};

use super::centre::Centre;
use super::engines::Engines;
use crate::log::{FollowError, Follower, Lineage, Shared};
use crate::state::to_body;

/// A follower of a log that nobody writes: from its beginning to the end it has now.
///
/// # Errors
/// When the log cannot be read.
pub fn follower_of(log: &spool::Log) -> Result<Follower, spool::Error> {
    let shared = Shared::new(log.last_position(), Lineage::default(), 0);
    Ok(Follower::new(log.reader()?, Arc::new(shared)))
}

/// The verdict journal of everything in a log up to `upto`, in the lines and the order of
/// [`State::verdict_lines`](crate::state::State::verdict_lines).
///
/// # Errors
/// When the log cannot be read. A log that has evicted its beginning gives the verdicts of what is left of it.
pub fn verdict_journal_of<E: Engines>(
    log: &mut Follower,
    engines: E,
    upto: u64,
) -> Result<Vec<String>, FollowError> {
    let mut centre = Centre::new(engines, Limits::default());
    let (mut seen, mut lines) = (BTreeSet::new(), Vec::new());
    let (mut after, mut said) = (0, Vec::new());
    loop {
        let batch = log.next(after, Duration::ZERO)?;
        if batch.up_to == after {
            break;
        }
        after = batch.up_to;
        for record in batch.records.iter().filter(|record| record.position <= upto) {
            centre.take(record, log, &mut said);
            for said in said.drain(..) {
                let Output::Verdict(turn) = said.output else { continue };
                let (gateway, key) = (said.gateway, turn.key().to_string());
                if seen.insert((gateway.clone(), key.clone())) {
                    let line = format!("{gateway}\t{key}\t{}", to_body(&turn));
                    lines.push((gateway, i64::from(turn.segment), turn.t, key, line));
                }
            }
        }
    }
    lines.sort();
    Ok(lines.into_iter().map(|line| line.4).collect())
}
