//! `davy-ingest journal`: the verdict journal as it was written, and as a fresh evaluator makes it from the log.
//!
//! Both print the same lines in the same order, so that `diff` says whether the centre is as good as its word
//! (design §10, invariant 7). The service must not be running for `replay`: the log has one owner.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use clap::Subcommand;

use super::CliError;
use crate::evaluate::{CatalogueEngines, Delivery, follower_of, verdict_journal_of};
use crate::state::State;

/// What to do with the verdict journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
pub enum JournalOrder {
    /// Print the verdict journal of the state database: gateway, key and body, tab between
    Print,
    /// Print the verdict journal that a fresh evaluator makes of the durable log; stop the service first
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
    let lines = match order {
        JournalOrder::Print => state.verdict_lines().await?,
        JournalOrder::Replay { in_order } => {
            let delivery = if in_order { Delivery::InOrder } else { Delivery::AsLogged };
            let position = state.evaluator_position(crate::evaluate::CENTRE).await?;
            let upto = position.map_or(0, |at| at.position);
            let options =
                spool::LogOptions { free_reserve_bytes: 0, ..spool::LogOptions::default() };
            let (log, _) = spool::Log::open(log, &options).map_err(CliError::Log)?;
            let mut follower = follower_of(&log).map_err(CliError::Log)?;
            verdict_journal_of(&mut follower, CatalogueEngines::new(catalogue), upto, delivery)
                .map_err(CliError::Follow)?
        }
    };
    for line in lines {
        writeln!(output, "{line}").map_err(CliError::Print)?;
    }
    Ok(())
}
