//! Rounds from a seed: a world, one to three faults a round, the account after each. A round that breaks a promise says
//! `SEED=` and the faults, and its world is given up.

use std::time::Duration;

use anyhow::Result;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::account::{Judged, judge};
use super::fault::Fault;
use super::report::Report;
use super::world::{Needs, World};

/// Rounds in one world: its journals are made anew from the first record on after each.
pub const ROUNDS_PER_WORLD: u64 = 8;
/// Most faults of a round.
const FAULTS_MAX: usize = 3;
/// Most time that one round may take, starts and account included.
const ROUND_MAX: Duration = Duration::from_secs(180);

/// What a world of this seed has.
#[must_use]
pub fn needs_of(seed: u64) -> Needs {
    Needs { influx: seed % 2 == 1, disks: seed / 2 % 3 == 1, clocks: seed / 2 % 3 == 2 }
}

/// The faults of each round of a world.
#[must_use]
pub fn plan(seed: u64, rounds: u64) -> Vec<Vec<Fault>> {
    let mut random = SmallRng::seed_from_u64(seed);
    let needs = needs_of(seed);
    (0..rounds)
        .map(|_| {
            let faults = random.random_range(1..=FAULTS_MAX);
            (0..faults).map(|_| Fault::draw(needs, &mut random)).collect()
        })
        .collect()
}

/// Runs a world of rounds; `say` hears of each.
pub async fn world(seed: u64, rounds: u64, say: impl Fn(&str)) -> Report {
    planned(seed, needs_of(seed), plan(seed, rounds), say).await
}

/// Runs a world of given rounds; the seed decides about the rest.
pub async fn planned(
    seed: u64,
    needs: Needs,
    rounds: Vec<Vec<Fault>>,
    say: impl Fn(&str),
) -> Report {
    let mut report = Report::default();
    let mut running = match World::start(needs).await {
        Ok(world) => world,
        Err(e) => {
            report.broken.push(format!("SEED={seed}: no world: {e:#}"));
            return report;
        }
    };
    let mut last = Judged::default();
    let mut random = SmallRng::seed_from_u64(!seed);
    for (number, faults) in rounds.into_iter().enumerate() {
        let words: Vec<String> = faults.iter().map(ToString::to_string).collect();
        let words = words.join("; ");
        say(&format!("SEED={seed} round {number}: {words}"));
        // A wait that runs out panics: the round is what failed, not the run.
        let task = TaskTracker::new().spawn(async move {
            let done = tokio::time::timeout(ROUND_MAX, round(&mut running, &faults, &mut random));
            let done = done.await;
            (running, random, done)
        });
        let (world, generator, done) = match task.await {
            Ok(ended) => ended,
            Err(panicked) => {
                let why = match panicked.try_into_panic() {
                    Ok(words) => words.downcast_ref::<String>().cloned().unwrap_or_default(),
                    Err(e) => e.to_string(),
                };
                report.broken.push(format!("SEED={seed} round {number} [{words}]: {why}"));
                return report;
            }
        };
        (running, random) = (world, generator);
        let why = match done {
            Ok(Ok((times, judged))) => {
                report.round(&times);
                last = judged;
                continue;
            }
            Ok(Err(why)) => why,
            Err(_) => format!("not over after {ROUND_MAX:?}"),
        };
        report.broken.push(format!("SEED={seed} round {number} [{words}]: {why}"));
        keep(&running, seed);
        break;
    }
    report.world(&last);
    report
}

type Round = (Vec<(String, Duration)>, Judged);

async fn round(
    world: &mut World,
    faults: &[Fault],
    random: &mut SmallRng,
) -> Result<Round, String> {
    let mut times = Vec::new();
    world.flows().await;
    for fault in faults {
        let begun = Instant::now();
        fault.put_in(world, random).await.map_err(|e| format!("{fault}: {e:#}"))?;
        // Sometimes the next fault comes before this one is over.
        if random.random_bool(0.7) {
            world.flows().await;
            times.push((fault.row(), begun.elapsed()));
        } else {
            times.push((fault.row(), Duration::ZERO));
        }
    }
    world.flows().await;
    let judged = judge(world).await?;
    Ok((times, judged))
}

/// Keeps the folder of a world that broke a promise, where the environment says so.
fn keep(world: &World, seed: u64) {
    let Some(folder) = std::env::var_os("DAVY_FAULTS_KEEP") else { return };
    let to = std::path::Path::new(&folder).join(format!("seed-{seed}"));
    // Whoever looks into it sees that a copy is not whole; the round's own words stand in the report.
    std::process::Command::new("cp").arg("-a").arg(world.folder.path()).arg(to).status().ok();
}
