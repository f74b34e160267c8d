//! Deadlines, missed ticks, phases.

use super::{Next, Schedule, phase};

#[test]
fn the_earliest_deadline_runs_first() {
    let mut schedule = Schedule::default();
    schedule.put(1, 60_000, 0);
    schedule.put(2, 1_000, 0);
    assert_eq!(schedule.next(0), Next::Run(2));
    assert_eq!(schedule.next(0), Next::Run(1));
    assert_eq!(schedule.next(0), Next::Idle, "both are out");
    schedule.done(2, 10);
    schedule.done(1, 20);
    assert_eq!(schedule.next(20), Next::Wait(1_000));
}

#[test]
fn deadlines_do_not_drift_and_missed_ticks_are_counted_not_made_up() {
    let mut schedule = Schedule::default();
    schedule.put(1, 1_000, 0);
    let mut released = Vec::new();
    let mut now = 0;
    while released.len() < 4 {
        match schedule.next(now) {
            Next::Run(id) => {
                released.push(now);
                // The second poll takes 3.5 s.
                now += if released.len() == 2 { 3_500 } else { 100 };
                schedule.done(id, now);
            }
            Next::Wait(until) => now = until,
            Next::Idle => unreachable!("there is a job"),
        }
    }
    // 2,000 and 3,000 were missed; 4,000 is late but before its deadline.
    assert_eq!(released, [0, 1_000, 4_500, 5_000]);
    assert_eq!(schedule.missed(), 2);
}

#[test]
fn a_changed_job_forgets_its_old_time() {
    let mut schedule = Schedule::default();
    schedule.put(1, 1_000, 0);
    schedule.put(1, 1_000, 500);
    assert_eq!(schedule.next(0), Next::Wait(500));
    assert_eq!(schedule.next(500), Next::Run(1));
    assert_eq!(schedule.next(500), Next::Idle);
    schedule.put(1, 1_000, 700);
    assert_eq!(schedule.done(1, 600), 0, "put again while it ran: it keeps that time");
    assert_eq!(schedule.next(600), Next::Wait(700));
    schedule.remove(1);
    assert_eq!(schedule.done(1, 600), 0);
    assert_eq!(schedule.next(2_000), Next::Idle);
}

#[test]
fn phases_spread_devices_over_the_period() {
    let mut tenths = [0; 10];
    for i in 0..1_000 {
        let phase = phase(&format!("meter-{i}"), 1_000);
        tenths[usize::try_from(phase / 100).expect("small")] += 1;
    }
    assert!(tenths.iter().all(|count| (60..=140).contains(count)), "{tenths:?}");
}
