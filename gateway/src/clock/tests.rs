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
    keeper.offer(NOW + 9_000, 2_000, 6_000);
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
    // A clock that the centre finds wrong by minutes is not vouched for, and is not moved.
    let mut wrong = Keeper::new();
    wrong.offer(NOW + 300_000, 0, 10);
    wrong.observe(NOW, 20, false);
    assert_eq!((wrong.state(), wrong.wall(20)), (ClockState::Holdover, NOW));
}
