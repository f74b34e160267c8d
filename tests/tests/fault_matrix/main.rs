//! The fault matrix with real processes (`tests/src/faults`), the fixed part of it: each row put in at least once, against
//! both stores where that matters. `make faults N=1000` runs random rounds of the same.
#![expect(clippy::print_stdout, reason = "each world prints its report")]

mod broker;
mod clock;
mod disk;
mod points;
mod random;
mod replay;
mod store;
mod two;

use tests::faults::fault::Fault;
use tests::faults::report::Report;
use tests::faults::round;
use tests::faults::world::Needs;

/// The embedded store, nothing else.
const EMBEDDED: Needs = Needs { influx: false, disks: false, clocks: false };
/// InfluxDB behind a door.
const INFLUX: Needs = Needs { influx: true, disks: false, clocks: false };

/// Runs a world of these rounds. Every promise is kept, or the test fails with `SEED=` and the faults.
async fn keeps_every_promise(seed: u64, needs: Needs, rounds: Vec<Vec<Fault>>) -> Report {
    let report = round::planned(seed, needs, rounds, |words| println!("{words}")).await;
    println!("{report}");
    assert!(report.broken.is_empty(), "{}", report.broken.join("\n"));
    report
}
