//! Plays many seeds of the simulation and says what happened; `make sim N=100000`. Ends with 1 where a promise was broken.
#![expect(clippy::print_stdout, reason = "a program for people at a terminal")]

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use clap::Parser;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use sim::{Fault, Outcome};
use tokio::time::Instant;

/// A run opens and closes some twenty databases; as in the centre itself (docs/PERFORMANCE.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Failures that are told in full.
const TOLD_MAX: usize = 20;

/// Plays many seeds of the simulation.
#[derive(Debug, Parser)]
struct Args {
    /// How many.
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
    /// The first one.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Kinds of faults, with commas between; where none is named, those that each seed draws.
    #[arg(long, value_delimiter = ',')]
    faults: Vec<Fault>,
    /// Runs at the same time; 0 = as many as processors.
    #[arg(long, default_value_t = 0)]
    jobs: usize,
    /// Tells what happens in each run, line by line: for one seed.
    #[arg(long)]
    tell: bool,
    /// Ends at the first failure.
    #[arg(long)]
    first: bool,
}

#[derive(Debug, Default)]
struct Sum {
    runs: u64,
    failed: u64,
    by_check: BTreeMap<String, (u64, u64)>,
    counts: BTreeMap<&'static str, u64>,
    told: usize,
}

impl Sum {
    fn add(&mut self, outcome: &Outcome) {
        self.runs += 1;
        outcome.story.iter().for_each(|line| println!("{line}"));
        for (what, n) in &outcome.counts {
            *self.counts.entry(what).or_default() += n;
        }
        if outcome.is_good() {
            return;
        }
        self.failed += 1;
        for (what, ..) in &outcome.broken {
            self.by_check.entry(what.clone()).or_insert((0, outcome.seed)).0 += 1;
        }
        if self.told < TOLD_MAX {
            self.told += 1;
            println!("{}", outcome.told());
        }
    }
}

/// Keeps this thread, and those that it starts, on one processor: a run hands work to and fro between the thread that
/// drives it and those of its state database, and to wake a sleeping processor each time costs a third of the speed. Where the
/// system does not let it, it is only slower.
fn stay_on(processor: usize) {
    let mut set = CpuSet::new();
    if set.set(processor).is_ok() {
        let _slower_without = sched_setaffinity(Pid::from_raw(0), &set);
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let jobs = if args.jobs == 0 { processors } else { args.jobs };
    let begun = Instant::now();
    let (next, sum) = (AtomicU64::new(args.from), Mutex::new(Sum::default()));
    let end = args.from + args.seeds;
    let work = |job: usize| {
        stay_on(job % processors);
        loop {
            let seed = next.fetch_add(1, Relaxed);
            if seed >= end {
                return;
            }
            let faults =
                if args.faults.is_empty() { Fault::drawn(seed) } else { args.faults.clone() };
            let played = if args.tell { sim::tell(seed, &faults) } else { sim::run(seed, &faults) };
            let outcome = match played {
                Ok(outcome) => outcome,
                Err(error) => {
                    println!("SEED={seed}: the simulation itself failed: {error:#}");
                    next.store(end, Relaxed);
                    let mut sum = sum.lock().expect("no panic");
                    sum.failed += 1;
                    return;
                }
            };
            let mut sum = sum.lock().expect("no panic");
            sum.add(&outcome);
            if sum.runs.is_multiple_of(1_000) {
                let seconds = begun.elapsed().as_secs().max(1);
                println!(
                    "{} runs, {} failed, {} a minute",
                    sum.runs,
                    sum.failed,
                    sum.runs * 60 / seconds
                );
            }
            if args.first && sum.failed > 0 {
                next.store(end, Relaxed);
            }
        }
    };
    std::thread::scope(|scope| {
        for job in 0..jobs {
            scope.spawn(move || work(job));
        }
    });
    let sum = sum.into_inner().expect("no panic");
    let seconds = begun.elapsed().as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "a display value")]
    let rate = sum.runs as f64 * 60.0 / seconds;
    println!("{} runs in {seconds:.1} s ({rate:.0} a minute), {} failed", sum.runs, sum.failed);
    for (what, n) in &sum.counts {
        println!("  {n:>10}  {what}");
    }
    for (what, (n, seed)) in &sum.by_check {
        println!("  FAILED {n} times, first SEED={seed}: {what}");
    }
    if sum.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
