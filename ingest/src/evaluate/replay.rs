//! The verdict journal as a fresh evaluator makes it from the log: what the journal in the state database is held against.
//!
//! Called by `davy-ingest journal replay` and by system tests. It changes nothing and needs no state database.

use std::collections::BTreeSet;

use rules::evaluator::{Limits, Output};
use spool::{Entry, LogReader};

use super::centre::{Centre, TakeError};
use super::engines::Engines;
use crate::state::to_body;

/// Most bytes of records read at once.
const READ_BYTES_MAX: usize = 4 << 20;

/// Why a log could not be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The log could not be read.
    #[error("the log could not be read")]
    Log(#[source] spool::Error),
    /// A record could not be taken.
    #[error("the record at {position} could not be evaluated")]
    Take {
        /// Its place.
        position: u64,
        /// What stopped it.
        #[source]
        source: TakeError,
    },
}

/// The verdict journal of everything in a log up to `upto`, in the lines and the order of
/// [`State::verdict_lines`](crate::state::State::verdict_lines).
///
/// # Errors
/// [`ReplayError`]. A log that has evicted its beginning gives the verdicts of what is left of it.
pub fn verdict_journal_of<E: Engines>(
    log: &LogReader,
    engines: E,
    upto: u64,
) -> Result<Vec<String>, ReplayError> {
    let mut centre = Centre::new(engines, Limits::default());
    let (mut seen, mut lines) = (BTreeSet::new(), Vec::new());
    let (mut after, mut said) = (0, Vec::new());
    loop {
        let entries = log.read_from(after, READ_BYTES_MAX, &[]).map_err(ReplayError::Log)?;
        let Some(last) = entries.last().map(Entry::position) else { break };
        for entry in entries {
            let position = entry.position();
            let Entry::Record(record) = entry else { continue };
            if position > upto {
                continue;
            }
            centre
                .take(&record, log, &mut said)
                .map_err(|source| ReplayError::Take { position, source })?;
            for said in said.drain(..) {
                let Output::Verdict(turn) = said.output else { continue };
                let (gateway, key) = (said.gateway, turn.key().to_string());
                if seen.insert((gateway.clone(), key.clone())) {
                    let line = format!("{gateway}\t{key}\t{}", to_body(&turn));
                    lines.push((gateway, i64::from(turn.segment), turn.t, key, line));
                }
            }
        }
        after = last;
    }
    lines.sort();
    Ok(lines.into_iter().map(|line| line.4).collect())
}
