//! One bus against a line in memory under a paused clock: silence, refusals, late answers, lost connections.

mod line;
mod serial;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Southbound, start};
use crate::config::Config;
use crate::reading::{Mark, Quality, Reading, Reason};
use line::{Does, Line};

/// A site with units 1..=`units` on one bus, each with the points given.
fn config(units: u8, points: &str) -> Config {
    let mut text = String::from(
        "[gateway]\nname = \"gw\"\nsite = \"s\"\nspool_dir = \"spool\"\nkey = \
         \"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\"\n\
         [broker]\nurl = \"mqtt://localhost\"\n\
         [[bus]]\nname = \"line\"\nkind = \"modbus-tcp\"\naddress = \"line:502\"\n",
    );
    for unit in 1..=units {
        text +=
            &format!("[[bus.device]]\nid = \"d{unit}\"\nunit = {unit}\nprofile = \"generic\"\n");
        text += points;
    }
    match Config::parse(Path::new("test.toml"), &text) {
        Ok(config) => config,
        Err(problems) => panic!("{problems:#?}"),
    }
}

fn point(name: &str, register: u16) -> String {
    format!(
        "[[bus.device.point]]\nquantity = \"{name}\"\ntable = \"holding\"\nreg = {register}\n\
         type = \"u16\"\nunit = \"°C\"\n"
    )
}

/// Three neighbours and a far one: one request, unless something is wrong in it.
fn four_points() -> String {
    point("t_1", 0) + &point("t_2", 1) + &point("t_3", 2) + &point("t_4", 8)
}

struct Running {
    south: Southbound,
    line: Line,
    stop: CancellationToken,
    began: Instant,
}

fn running(config: &Config, line: Line) -> Running {
    let stop = CancellationToken::new();
    let south = start(config, Arc::new(line.clone()), &TaskTracker::new(), &stop);
    Running { south, line, stop, began: Instant::now() }
}

impl Running {
    /// All readings of the next `seconds`.
    async fn collect(&mut self, seconds: u64) -> Vec<Reading> {
        let end = Instant::now() + Duration::from_secs(seconds);
        let mut readings = Vec::new();
        while let Ok(Some(reading)) = timeout_at(end, self.south.readings.recv()).await {
            for value in &reading.values {
                let number = value.mark.quality.has_value();
                assert_eq!(number, value.value.is_finite(), "a failed read is never a number");
            }
            readings.push(reading);
        }
        readings
    }

    fn bus(&self) -> &super::health::BusHealth {
        &self.south.health.buses[0]
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn good(reading: &Reading) -> bool {
    reading.values.iter().all(|value| value.mark == Mark::GOOD)
}

fn marked(readings: &[Reading], device: u32, mark: Mark) -> usize {
    let void = |r: &&Reading| r.device == device && r.values.iter().all(|v| v.mark == mark);
    readings.iter().filter(void).count()
}

#[tokio::test(start_paused = true)]
async fn ten_silent_units_of_a_hundred_cost_their_neighbours_nothing() {
    // Goal: invariant 4 behind one TCP connection. Method: 100 units at 1 s, 10 of them silent from the start, each
    // answer takes 4 ms; the others must have a reading each second and the silent ones at most a tenth of the bus.
    let line = Line::new(Duration::from_millis(4));
    for unit in 1..=100 {
        line.set(unit, if unit % 10 == 0 { Does::Silent } else { Does::Answer(0) });
    }
    let mut running = running(&config(100, &four_points()), line);
    let seconds = 60;
    let readings = running.collect(seconds).await;
    for device in (0..100).filter(|device| device % 10 != 9) {
        let times: Vec<Instant> =
            readings.iter().filter(|r| r.device == device && good(r)).map(|r| r.arrived).collect();
        assert!(times.len() >= 58, "device {device} has {} readings in {seconds} s", times.len());
        let gaps = times.windows(2).map(|pair| pair[1] - pair[0]);
        let widest = gaps.max().expect("two readings");
        assert!(widest < Duration::from_millis(1_900), "device {device} waited {widest:?}");
    }
    assert_eq!(running.bus().missed.load(Ordering::Relaxed), 0);
    let dead = Duration::from_micros(running.bus().dead_us.load(Ordering::Relaxed));
    let share = dead.as_secs_f64() / running.began.elapsed().as_secs_f64();
    assert!(share <= 0.1, "silent devices took {:.1} % of the bus", share * 100.0);
    for device in (9..100).step_by(10) {
        assert_eq!(marked(&readings, device, Mark::stale(Reason::Timeout)), 1, "said once");
    }
}

#[tokio::test(start_paused = true)]
async fn a_device_that_dies_is_stale_once_and_comes_back() {
    let line = Line::new(Duration::from_millis(4));
    line.set(1, Does::Answer(0));
    line.set(2, Does::Answer(0));
    let mut running = running(&config(2, &four_points()), line);
    assert!(running.collect(10).await.iter().all(good));
    running.line.set(2, Does::Silent);
    let readings = running.collect(120).await;
    assert_eq!(marked(&readings, 1, Mark::stale(Reason::Timeout)), 1);
    assert!(readings.iter().filter(|r| r.device == 0 && good(r)).count() >= 119);
    assert!(!running.south.health.devices[1].online.load(Ordering::Relaxed));
    running.line.set(2, Does::Answer(0));
    let readings = running.collect(70).await;
    assert!(readings.iter().any(|r| r.device == 1 && good(r)), "found within the longest pause");
    assert!(running.south.health.devices[1].online.load(Ordering::Relaxed));
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_is_never_the_next_value() {
    // Goal: no value of an old request under a new one. Method: unit 2 answers after the timeout with other numbers.
    let line = Line::new(Duration::from_millis(1));
    line.set(1, Does::Answer(0));
    line.set(2, Does::Late(Duration::from_millis(1_500), 1_000));
    let mut running = running(&config(2, &four_points()), line);
    let readings = running.collect(60).await;
    let first = readings.iter().filter(|r| r.device == 0 && good(r));
    assert!(first.clone().count() >= 55);
    let values: Vec<Vec<f64>> =
        first.map(|r| r.values.iter().map(|value| value.value).collect()).collect();
    assert!(values.iter().all(|values| values == &[0.0, 1.0, 2.0, 8.0]), "{values:?}");
    assert!(
        running.bus().connects.load(Ordering::Relaxed) > 1,
        "each timeout made a new connection"
    );
}

#[tokio::test(start_paused = true)]
async fn a_register_the_device_lacks_costs_only_itself() {
    let line = Line::new(Duration::from_millis(4));
    line.set(1, Does::Lacks(vec![1]));
    let mut running = running(&config(1, &four_points()), line);
    let readings = running.collect(20).await;
    let exception = Mark::bad(Reason::DeviceException);
    assert_eq!(marked(&readings, 0, exception), 1, "the lacking point is said once");
    let replies = running.south.replies.all();
    let named = |r: &Reading| -> Vec<String> {
        let reply = &replies[usize::try_from(r.reply).expect("small")];
        reply.points.iter().map(|point| point.quantity.to_string()).collect()
    };
    let bad: Vec<_> = readings.iter().filter(|r| !good(r)).map(named).collect();
    assert_eq!(bad, [["t_2"]]);
    for quantity in ["t_1", "t_3", "t_4"] {
        let there = readings.iter().filter(|r| good(r) && named(r).iter().any(|n| n == quantity));
        let count = there.count();
        assert!(count >= 16, "{quantity} has {count} readings in 20 s");
    }
    // Asked once: no request touches register 1 any more.
    let late: Vec<_> = running.line.asked().into_iter().skip(20).collect();
    assert!(
        late.iter().all(|(_, start, count)| !(*start..*start + *count).contains(&1)),
        "{late:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_plan_that_the_manifest_has_no_room_for_changes_nothing_and_is_said() {
    // Goal: a device whose points cannot be split any more goes on as it is. Method: the manifest is filled by a
    // stranger before the device begins to refuse a register.
    let line = Line::new(Duration::from_millis(4));
    line.set(1, Does::Answer(0));
    let mut running = running(&config(1, &four_points()), line);
    assert!(running.collect(5).await.iter().all(good));
    let first = running.south.replies.get(0).expect("planned");
    for device in 1.. {
        let long: std::sync::Arc<str> = "x".repeat(250).into();
        let more = crate::reading::Reply { device, device_id: long, ..(*first).clone() };
        if running.south.replies.add(more).is_err() {
            break;
        }
    }
    running.line.set(1, Does::Lacks(vec![1]));
    let readings = running.collect(30).await;
    assert_eq!(marked(&readings, 0, Mark::bad(Reason::DeviceException)), 1, "said once");
    assert!(running.south.replies.is_full());
    running.line.set(1, Does::Answer(0));
    let readings = running.collect(10).await;
    assert!(readings.iter().filter(|r| good(r)).count() >= 8, "asked all the while");
}

#[tokio::test(start_paused = true)]
async fn an_unreadable_hole_is_bridged_no_more() {
    let line = Line::new(Duration::from_millis(4));
    line.set(1, Does::Lacks(vec![5]));
    let mut running = running(&config(1, &four_points()), line);
    let readings = running.collect(20).await;
    assert!(readings.iter().all(good), "every point is readable");
    let replies = running.south.replies.len();
    assert!(replies <= 3, "{replies} replies");
    let last: Vec<_> = running.line.asked().into_iter().rev().take(2).collect();
    assert!(last.contains(&(1, 0, 3)) && last.contains(&(1, 8, 1)), "{last:?}");
}

#[tokio::test(start_paused = true)]
async fn a_unit_missing_behind_a_converter_keeps_the_connection() {
    let line = Line::new(Duration::from_millis(4));
    line.set(1, Does::Answer(0));
    line.set(2, Does::Except(0x0B));
    let mut running = running(&config(2, &four_points()), line);
    let readings = running.collect(30).await;
    assert_eq!(marked(&readings, 1, Mark::stale(Reason::Timeout)), 1);
    assert!(readings.iter().filter(|r| r.device == 0 && good(r)).count() >= 29);
    assert_eq!(running.bus().connects.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn exceptions_are_bad_once_and_never_numbers() {
    let line = Line::new(Duration::from_millis(4));
    line.set(1, Does::Except(4));
    let mut running = running(&config(1, &four_points()), line);
    let readings = running.collect(30).await;
    assert_eq!(readings.len(), 1);
    assert_eq!(marked(&readings, 0, Mark::bad(Reason::DeviceException)), 1);
    let problem = running.south.health.devices[0].problem().expect("said in words");
    assert!(problem.contains("设备内部故障") && problem.contains("device failure"), "{problem}");
    running.line.set(1, Does::Answer(0));
    assert!(running.collect(3).await.iter().all(good));
    assert_eq!(running.south.health.devices[0].problem(), None);
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_goes_away_is_found_again() {
    let line = Line::new(Duration::from_millis(4));
    line.set(1, Does::Answer(0));
    let mut running = running(&config(1, &four_points()), line);
    assert!(running.collect(5).await.iter().all(good));
    running.line.open(false);
    let readings = running.collect(120).await;
    assert_eq!(readings.iter().filter(|r| !good(r)).count(), 1, "said once");
    assert_eq!(marked(&readings, 0, Mark::stale(Reason::LinkDown)), 1);
    let problem = running.south.health.devices[0].problem().expect("said in words");
    assert!(problem.contains("connection refused"), "{problem}");
    running.line.open(true);
    let readings = running.collect(40).await;
    let back = readings.iter().filter(|r| good(r)).count();
    assert!(back >= 8, "{back} readings after the longest pause of 30 s");
    assert!(readings.iter().all(|r| r.values.iter().all(|v| v.mark.quality != Quality::Stale)));
}

#[tokio::test(start_paused = true)]
async fn an_answer_of_another_unit_is_no_answer() {
    let line = Line::new(Duration::from_millis(4));
    line.set(1, Does::Answer(0));
    line.set(2, Does::OtherUnit);
    let mut running = running(&config(2, &four_points()), line);
    let readings = running.collect(30).await;
    assert!(readings.iter().all(|r| r.device == 0 || !good(r)));
    assert!(readings.iter().filter(|r| r.device == 0 && good(r)).count() >= 25);
    assert!(running.bus().broken_answers.load(Ordering::Relaxed) > 0);
    let problem = running.south.health.devices[1].problem().expect("said in words");
    assert!(problem.contains("unit 3 answered a request to unit 2"), "{problem}");
}

#[tokio::test(start_paused = true)]
async fn a_slow_consumer_holds_polls_up_and_loses_none_that_were_made() {
    // Goal: memory is bounded by the channel. Method: read nothing until the channel is full, then everything.
    let line = Line::new(Duration::from_micros(10));
    line.set(1, Does::Answer(0));
    let text = four_points().replace("type = \"u16\"", "type = \"u16\"\nclass = \"fast\"")
        + "[bus.device.period_ms]\nfast = 50\n";
    let mut running = running(&config(1, &text), line);
    tokio::time::sleep(Duration::from_secs(300)).await;
    let waiting = running.south.readings.len();
    assert_eq!(waiting, crate::reading::READING_QUEUE);
    let readings = running.collect(10).await;
    assert!(readings.len() > crate::reading::READING_QUEUE);
    assert!(running.bus().missed.load(Ordering::Relaxed) > 1_000, "counted, not made up");
}
