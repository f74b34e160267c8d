//! `make faults`: many random rounds of the fault matrix, several worlds at a time, and what came of them.
#![expect(clippy::print_stdout, reason = "its report is what it is for")]

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use clap::Parser;
use tests::faults::report::Report;
use tests::faults::round::{ROUNDS_PER_WORLD, world};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Random rounds of faults over real processes. Run it by `make faults N=1000`; a failure prints SEED=.
#[derive(Debug, Parser)]
struct Arguments {
    /// Rounds in all
    #[arg(long, default_value_t = 40)]
    rounds: u64,
    /// Seed of the first world; each further one has the next number
    #[arg(long, env = "SEED", default_value_t = 1)]
    seed: u64,
    /// Worlds at a time
    #[arg(long, env = "JOBS", default_value_t = 3)]
    jobs: usize,
    /// End at the first broken promise
    #[arg(long)]
    stop_at_first: bool,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 8)]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let worlds = arguments.rounds.div_ceil(ROUNDS_PER_WORLD);
    let (places, done) = (Arc::new(Semaphore::new(arguments.jobs)), Arc::new(AtomicU64::new(0)));
    let begun = tokio::time::Instant::now();
    let mut running = JoinSet::new();
    for number in 0..worlds {
        let rounds = ROUNDS_PER_WORLD.min(arguments.rounds - number * ROUNDS_PER_WORLD);
        let (places, done) = (Arc::clone(&places), Arc::clone(&done));
        let (seed, all) = (arguments.seed + number, arguments.rounds);
        running.spawn(async move {
            // The semaphore is never closed.
            let _place = places.acquire_owned().await;
            world(seed, rounds, |words| {
                let at = done.fetch_add(1, Ordering::Relaxed) + 1;
                println!("{at:>5}/{all} {:>6} s  {words}", begun.elapsed().as_secs());
            })
            .await
        });
    }
    let mut report = Report::default();
    while let Some(ended) = running.join_next().await {
        match ended {
            Ok(of_world) => {
                for words in &of_world.broken {
                    println!("BROKEN {words}");
                }
                report.add(of_world);
                if arguments.stop_at_first && !report.broken.is_empty() {
                    return ExitCode::FAILURE;
                }
            }
            Err(e) => report.broken.push(format!("a world ended: {e}")),
        }
    }
    println!("\n{report}\n{} s", begun.elapsed().as_secs());
    if report.broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
