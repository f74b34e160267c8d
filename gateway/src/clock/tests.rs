//! The keeper under clocks that are unset, step and drift.

use super::*;

const NOW: i64 = SET_FLOOR_MS + 1_000_000;

#[test]
fn set_clock_is_known_at_once_and_repeats_its_first_offset() {
    let mut keeper = Keeper::new();
    assert_eq!(keeper.observe(NOW, 100, true), Change::Set);
    assert_eq!((keeper.state(), keeper.wall(250)), (ClockState::Synced, NOW + 150));
    // NTP slews by 3 ms: no change, the boot's offset stays what it was.
    assert_eq!(keeper.observe(NOW + 103, 200, true), Change::None);
    let stamp = keeper.stamp(wire::Boot(1), 5, 200);
    assert_eq!((stamp.boot_offset, stamp.segment), (Some(NOW - 100), 0));
}

#[test]
fn backward_step_opens_a_segment_and_a_small_one_does_not() {
    let mut keeper = Keeper::new();
    keeper.observe(NOW, 0, true);
    assert_eq!(keeper.observe(NOW - 900, 100, true), Change::None);
    assert_eq!(keeper.observe(NOW - 5_000, 200, true), Change::Back);
    assert_eq!(keeper.segment(), 1);
    assert_eq!(keeper.observe(NOW + 60_000, 300, true), Change::Other);
    assert_eq!(keeper.segment(), 1);
}

#[test]
fn unset_clock_runs_on_monotonic_time_until_the_centre_says() {
    let mut keeper = Keeper::new();
    assert_eq!(keeper.observe(86_400_000, 500, false), Change::None);
    assert_eq!((keeper.state(), keeper.wall(700)), (ClockState::Unset, 700));
    assert_eq!(keeper.stamp(wire::Boot(1), 0, 0).boot_offset, None);
    keeper.offer(NOW, 1_000, 1_200);
    assert_eq!(keeper.observe(86_400_800, 1_200, false), Change::Set);
    assert_eq!(keeper.wall(1_200), NOW + 100);
    let stamp = keeper.stamp(wire::Boot(1), 0, 0);
    assert_eq!((stamp.error_ms, stamp.boot_offset), (100, Some(NOW - 1_100)));
    // A slower round trip does not make it worse.
    keeper.offer(NOW + 3_000, 2_000, 6_000);
    keeper.observe(86_405_000, 6_000, false);
    assert_eq!(keeper.stamp(wire::Boot(1), 0, 0).error_ms, 100);
}

#[test]
fn centre_vouches_for_a_clock_that_no_daemon_watches() {
    let mut keeper = Keeper::new();
    keeper.observe(NOW, 0, false);
    assert_eq!(keeper.state(), ClockState::Holdover);
    keeper.offer(NOW + 100, 60, 100);
    assert_eq!(keeper.observe(NOW + 200, 200, false), Change::Other);
    assert_eq!(keeper.state(), ClockState::Synced);
    assert_eq!(keeper.centre_difference_ms(), Some(-20));
}

#[test]
fn a_clock_that_the_centre_finds_wrong_gives_way_to_the_centres_time() {
    // A date saved at the last stop: five minutes behind, plausible, and nobody watches it.
    let mut behind = Keeper::new();
    behind.observe(NOW, 0, false);
    behind.offer(NOW + 300_100, 60, 100);
    assert_eq!(behind.observe(NOW + 200, 200, false), Change::Other);
    assert_eq!((behind.state(), behind.wall(200)), (ClockState::Synced, NOW + 300_220));
    assert_eq!(behind.stamp(wire::Boot(1), 0, 200).error_ms, 20);
    assert_eq!(behind.centre_difference_ms(), Some(-300_020), "what the system's clock is off by");
    // Without a link for a day it runs on, said to be unsure, and does not fall back.
    let day = 86_400_000;
    assert_eq!(behind.observe(NOW + 86_400_000, day, false), Change::Other);
    assert_eq!(
        (behind.state(), behind.wall(day)),
        (ClockState::Holdover, NOW + 86_400_000 + 300_020)
    );
    assert_eq!(behind.segment(), 0);
    // Somebody sets the clock right and the centre agrees: the system's clock is used again.
    behind.offer(NOW + 86_400_000 + 300_070, day, day + 100);
    assert_eq!(behind.observe(NOW + 86_400_000 + 300_200, day + 200, false), Change::Other);
    assert_eq!(behind.state(), ClockState::Synced);
    assert_eq!(behind.wall(day + 200), NOW + 86_400_000 + 300_200);
}

#[test]
fn a_clock_ahead_of_the_centre_goes_back_in_a_new_segment() {
    let mut ahead = Keeper::new();
    ahead.observe(NOW + 3_600_000, 0, false);
    ahead.offer(NOW + 100, 90, 100);
    assert_eq!(ahead.observe(NOW + 3_600_200, 200, false), Change::Back);
    assert_eq!((ahead.segment(), ahead.wall(200)), (1, NOW + 205));
    // A measurement too slow to tell moves nothing.
    let mut unsure = Keeper::new();
    unsure.observe(NOW, 0, false);
    unsure.offer(NOW + 1_500, 0, 4_000);
    assert_eq!(unsure.observe(NOW + 4_000, 4_000, false), Change::None);
    assert_eq!((unsure.state(), unsure.wall(4_000)), (ClockState::Holdover, NOW + 4_000));
}

#[test]
fn a_clock_that_a_daemon_watches_is_never_moved() {
    let mut synced = Keeper::new();
    synced.offer(NOW + 300_000, 0, 10);
    synced.observe(NOW, 20, true);
    assert_eq!((synced.state(), synced.wall(20)), (ClockState::Synced, NOW));
    assert_eq!(synced.centre_difference_ms(), Some(-300_015));
    // The daemon comes late: its time replaces the centre's.
    let mut late = Keeper::new();
    late.offer(NOW + 300_000, 0, 10);
    late.observe(NOW, 20, false);
    assert_eq!(late.wall(20), NOW + 300_015);
    assert_eq!(late.observe(NOW + 100, 120, true), Change::Back);
    assert_eq!(late.wall(120), NOW + 100);
}

#[test]
fn a_centre_whose_clock_was_set_right_is_believed_at_once() {
    let mut keeper = Keeper::new();
    keeper.observe(NOW, 0, false);
    // The centre is two hours behind, and the link is quick.
    keeper.offer(NOW - 7_200_000, 0, 20);
    keeper.observe(NOW + 100, 100, false);
    assert!(keeper.follows_centre());
    assert_eq!(keeper.wall(100), NOW + 100 - 7_200_010);
    // It is set right while the link has become slower: the new measurement is worse, and right.
    keeper.offer(NOW + 45_100, 45_000, 45_200);
    keeper.observe(NOW + 45_300, 45_300, false);
    assert!(!keeper.follows_centre());
    assert_eq!(keeper.wall(45_300), NOW + 45_300);
}
