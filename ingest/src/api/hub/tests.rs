//! Numbering, resuming, and the bounds of the hub.

use super::*;
use crate::api::source::LiveQuality;

fn value(site: &str, device: &str, number: f64) -> LiveValue {
    LiveValue {
        site: site.to_owned(),
        device: device.to_owned(),
        quantity: "p_total".to_owned(),
        unit: "kW".to_owned(),
        value: Some(number),
        quality: LiveQuality::Good,
        reason: None,
        t: Some(1),
        received_at: Some(1),
        period_ms: 1_000,
    }
}

fn missed(hub: &Hub, last: u64) -> Option<Vec<u64>> {
    match hub.subscribe(Some(last)).0 {
        Resume::From(events) => Some(events.iter().map(|event| event.id).collect()),
        Resume::Reset => None,
    }
}

// A stream goes on after the number it saw; a number that is too old, of an earlier start, or not yet given is a reset.
#[test]
fn resumes_after_a_known_number_only() {
    let hub = Hub::new(1_000);
    let first = hub.revision();
    for n in 0..3 {
        hub.alarm("a", &n);
    }
    assert_eq!(missed(&hub, first), Some(vec![first + 1, first + 2, first + 3]));
    assert_eq!(missed(&hub, first + 3), Some(vec![]));
    assert_eq!(missed(&hub, first + 4), None);
    assert_eq!(missed(&hub, first - 1), None);
    assert_eq!(missed(&Hub::new(2_000), first + 3), None);
}

// Memory is bounded by number and by bytes: the oldest goes first.
#[test]
fn keeps_a_bounded_number_and_bytes_of_events() {
    let hub = Hub::new(0);
    for n in 0..EVENTS_KEPT_MAX + 10 {
        hub.alarm("a", &n);
    }
    assert_eq!(hub.ring().events.len(), EVENTS_KEPT_MAX);
    assert_eq!(missed(&hub, 9), None);
    assert_eq!(missed(&hub, 10).unwrap().len(), EVENTS_KEPT_MAX);
    let long = "x".repeat(BYTES_KEPT_MAX / 4);
    for _ in 0..6 {
        hub.alarm("a", &long);
    }
    let ring = hub.ring();
    assert!(ring.bytes <= BYTES_KEPT_MAX && ring.events.len() <= 4);
    assert_eq!(ring.bytes, ring.events.iter().map(|event| event.body.bytes()).sum::<usize>());
}

// Of many values of one series only the newest goes out, once, grouped by site; the waiting room is bounded.
#[test]
fn values_are_gathered_until_the_flush() {
    let hub = Hub::new(0);
    hub.values([value("b", "d", 1.0), value("a", "d", 1.0), value("b", "d", 2.0)]);
    hub.flush_values();
    hub.flush_values();
    assert_eq!(hub.revision(), 1);
    let ring = hub.ring();
    let Body::Values(sites) = &ring.events[0].body else { panic!("no values") };
    assert_eq!(sites.iter().map(|(site, _)| site.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert!(sites[1].1.contains("\"value\":2.0") && !sites[1].1.contains("1.0"));
    drop(ring);
    hub.values((0..VALUES_WAITING_MAX + 5).map(|n| value("a", &n.to_string(), 0.0)));
    assert_eq!(hub.ring().waiting.len(), VALUES_WAITING_MAX);
}
