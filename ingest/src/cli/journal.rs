//! `davy-ingest journal`: the verdict journal as it was written, and as a fresh evaluator makes it from the log.
//!
//! Both print the same lines in the same order, so that `diff` says whether the centre is as good as its word
//! (design §10, invariant 7). The service must not be running for `replay`: the log has one owner.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use clap::Subcommand;

use super::CliError;
use crate::evaluate::{
    Beginnings, CENTRE, CatalogueEngines, Delivery, follower_of, verdict_journal_behind,
    verdict_journal_of,
};
use crate::log::Lineage;
use crate::log::lineage::LINEAGE_KEY;
use crate::state::State;
use crate::store;

/// What to do with the verdict journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
pub enum JournalOrder {
    /// Print the verdict journal of the state database: gateway, key and body, tab between
    Print {
        /// Only what `replay` can make of a log that has evicted its beginning: the verdicts behind the snapshots that it
        /// replays from
        #[arg(long)]
        since_snapshot: bool,
    },
    /// Print the verdict journal that a fresh evaluator makes of the durable log; stop the service first. Of a log that has
    /// evicted its beginning: the verdicts behind the second-newest snapshots, which it names on standard error
    Replay {
        /// Hand the blocks of each gateway over in the order in which they were sealed, not in that of their arrival
        #[arg(long)]
        in_order: bool,
    },
}

/// Carries it out; `log` is the folder of the durable log.
///
/// # Errors
/// [`CliError`]; nothing is ever changed.
pub async fn run(
    order: JournalOrder,
    state: &State,
    log: &Path,
    catalogue: Arc<rules::Catalogue>,
    output: &mut impl Write,
) -> Result<(), CliError> {
    let engines = CatalogueEngines::new(catalogue);
    let lines = match order {
        JournalOrder::Print { since_snapshot: false } => state.verdict_lines().await?,
        JournalOrder::Print { since_snapshot: true } => {
            let begin = beginnings(state, None).await?;
            let known: BTreeMap<String, i64> =
                begin.gateways.into_iter().map(|(name, at)| (name, at.verdict_seq)).collect();
            state.verdict_lines_after(|gateway| known.get(gateway).copied()).await?
        }
        JournalOrder::Replay { in_order } => {
            let delivery = if in_order { Delivery::InOrder } else { Delivery::AsLogged };
            let position = state.evaluator_position(CENTRE).await?;
            let upto = position.map_or(0, |at| at.position);
            let options =
                spool::LogOptions { free_reserve_bytes: 0, ..spool::LogOptions::default() };
            let (log, _) = spool::Log::open(log, &options).map_err(CliError::Log)?;
            let mut follower = follower_of(&log).map_err(CliError::Log)?;
            if log.reader().and_then(|reader| reader.is_whole()).map_err(CliError::Log)? {
                verdict_journal_of(&mut follower, engines, upto, delivery)
                    .map_err(CliError::Follow)?
            } else if in_order {
                return Err(CliError::NotWhole);
            } else {
                let lineage = log.get(LINEAGE_KEY).map_err(CliError::Log)?;
                let lineage = lineage.map(|bytes| Lineage::decode(&bytes)).unwrap_or_default();
                let begin = beginnings(state, Some(&lineage)).await?;
                let replayed = verdict_journal_behind(&mut follower, engines, upto, begin)
                    .map_err(CliError::Follow)?
                    .ok_or(CliError::NothingToBeginFrom)?;
                tracing::warn!(
                    from = replayed.from,
                    upto,
                    gateways = replayed.gateways.len(),
                    left_out = replayed.left_out.join(", "),
                    "the log has evicted its beginning: replayed from the second-newest snapshots; hold it against `davy-ingest journal print --since-snapshot`"
                );
                replayed.lines
            }
        }
    };
    for line in lines {
        writeln!(output, "{line}").map_err(CliError::Print)?;
    }
    Ok(())
}

/// The second-newest snapshot of each evaluator, or its only one: the log keeps everything behind it. Those of another log
/// are left out where `lineage` is given.
async fn beginnings(state: &State, lineage: Option<&Lineage>) -> Result<Beginnings, CliError> {
    let mut begin = Beginnings::default();
    for name in state.evaluators().await? {
        let snapshots = state.snapshots(&name).await?;
        let Some(snapshot) = snapshots.get(1).or(snapshots.first()).cloned() else { continue };
        let at = store::Position { log_id: snapshot.at.log_id, position: snapshot.at.position };
        if lineage.is_some_and(|lineage| lineage.resolve(at) != at.position) {
            continue;
        }
        if name == CENTRE {
            begin.own = Some(snapshot);
        } else {
            begin.gateways.push((name, snapshot));
        }
    }
    Ok(begin)
}
