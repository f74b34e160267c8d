//! Prometheus metrics of the gateway, read from what the parts show of themselves at each scrape.
//!
//! Served by `status.rs` on loopback. Labels are bus names, device ids and fixed words, nothing else, so
//! that their number is bounded by the configuration. The account must balance:
//! `davy_gateway_polled_samples_total` = the sum of `davy_gateway_samples` over its places.

use std::fmt::Error;
use std::sync::atomic::Ordering;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::{MetricType, TypedMetric};
use prometheus_client::registry::Registry;

use crate::status::Board;

/// The text of all metrics.
///
/// # Errors
/// Never in practice: text is written to memory.
pub fn text(board: &Board) -> Result<String, Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(board.clone()));
    let mut out = String::new();
    prometheus_client::encoding::text::encode(&mut out, &registry)?;
    Ok(out)
}

impl Collector for Board {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let mut out = Out { encoder: &mut encoder };
        spool(self, &mut out)?;
        uplink(self, &mut out)?;
        clock(self, &mut out)?;
        southbound(self, &mut out)
    }
}

struct Out<'a, 'b> {
    encoder: &'a mut DescriptorEncoder<'b>,
}

impl Out<'_, '_> {
    fn counter(&mut self, name: &str, help: &str, value: u64) -> Result<(), Error> {
        let metric = ConstCounter::new(value);
        let encoder =
            self.encoder.encode_descriptor(name, help, None, ConstCounter::<u64>::TYPE)?;
        metric.encode(encoder)
    }

    fn gauge(&mut self, name: &str, help: &str, value: f64) -> Result<(), Error> {
        let metric = ConstGauge::new(value);
        let encoder = self.encoder.encode_descriptor(name, help, None, ConstGauge::<f64>::TYPE)?;
        metric.encode(encoder)
    }

    fn family<'v>(
        &mut self,
        (name, help, kind): (&str, &str, MetricType),
        label: &str,
        values: impl Iterator<Item = (&'v str, u64)>,
    ) -> Result<(), Error> {
        let mut family = self.encoder.encode_descriptor(name, help, None, kind)?;
        for (value, number) in values {
            let labels = [(label, value)];
            let encoder = family.encode_family(&labels)?;
            match kind {
                MetricType::Counter => ConstCounter::new(number).encode(encoder)?,
                _ => ConstGauge::new(real(number)).encode(encoder)?,
            }
        }
        Ok(())
    }
}

fn real(n: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "metrics are floats")]
    let real = n as f64;
    real
}

fn flag(on: bool) -> f64 {
    if on { 1.0 } else { 0.0 }
}

fn spool(board: &Board, out: &mut Out<'_, '_>) -> Result<(), Error> {
    let shown = board.shown.borrow();
    let s = &shown.spool;
    out.counter("davy_gateway_polled_samples", "Samples that entered the spool", s.polled)?;
    let places = [
        ("stored", s.stored),
        ("quarantined", s.quarantined),
        ("declared", s.declared),
        ("backlog", s.backlog),
    ];
    let samples = ("davy_gateway_samples", "Where the polled samples are", MetricType::Gauge);
    out.family(samples, "place", places.into_iter())?;
    out.gauge("davy_gateway_spool_bytes", "Bytes of the spool in use", real(s.bytes))?;
    out.gauge("davy_gateway_spool_bytes_max", "Bound of the spool", real(s.bytes_max))?;
    out.gauge("davy_gateway_spool_blocks", "Blocks in the spool", real(s.blocks))?;
    out.gauge("davy_gateway_backlog_blocks", "Blocks not acked", real(s.unacked_blocks))?;
    out.gauge("davy_gateway_backlog_bytes", "Bytes not acked", real(s.unacked_bytes))?;
    let oldest = real(u64::try_from(board.oldest_age_ms(&shown)).unwrap_or(0)) / 1e3;
    out.gauge("davy_gateway_backlog_oldest_seconds", "Age of the oldest block not acked", oldest)?;
    if let Some(hours) = board.hours_of_autonomy(&shown) {
        let help =
            "Hours without a link until the spool must drop blocks, at the rate since the start";
        out.gauge("davy_gateway_autonomy_hours", help, hours)?;
    }
    out.gauge(
        "davy_gateway_spool_in_memory",
        "1 where the disk does not serve",
        flag(s.memory.is_some()),
    )?;
    out.counter("davy_gateway_spool_written_bytes", "Bytes of blocks written", s.written_bytes)?;
    out.counter(
        "davy_gateway_damaged_blocks",
        "Blocks that failed their checksum",
        s.damaged_blocks,
    )?;
    out.counter(
        "davy_gateway_evicted_blocks",
        "Blocks dropped for room before an ack",
        s.evicted_blocks,
    )?;
    out.counter("davy_gateway_refused_readings", "Readings that fitted no reply", shown.refused)
}

fn uplink(board: &Board, out: &mut Out<'_, '_>) -> Result<(), Error> {
    let p = board.progress.borrow();
    out.gauge("davy_gateway_uplink_connected", "1 while connected", flag(p.connected))?;
    out.counter("davy_gateway_uplink_sessions", "Connections made", p.sessions)?;
    let lanes = ["live", "want", "backfill", "rescue"];
    let sent = ("davy_gateway_sent_blocks", "Blocks sent, with repetitions", MetricType::Counter);
    out.family(sent, "lane", lanes.into_iter().zip(p.sent))?;
    out.counter(
        "davy_gateway_sent_bytes",
        "Bytes of frames with blocks and manifests",
        p.sent_bytes,
    )?;
    out.counter("davy_gateway_sent_manifests", "Manifests sent", p.manifests)?;
    out.counter("davy_gateway_oversized_messages", "Too large for a frame, not sent", p.oversized)?;
    out.counter("davy_gateway_confirmed_publishes", "Publishes the broker confirmed", p.confirmed)?;
    out.counter("davy_gateway_acks", "Acks that counted", p.acks)?;
    out.counter("davy_gateway_acks_forged", "Messages without a right MAC or form", p.acks_forged)?;
    out.counter("davy_gateway_acks_ignored", "Authentic acks that were old", p.acks_ignored)?;
    out.gauge("davy_gateway_awaited_blocks", "Blocks sent and not acked", real(p.awaited as u64))?;
    if let Some(ms) = p.smoothed_ack_ms {
        out.gauge("davy_gateway_ack_seconds", "Smoothed time from sending to ack", ms / 1e3)?;
    }
    Ok(())
}

fn clock(board: &Board, out: &mut Out<'_, '_>) -> Result<(), Error> {
    let shown = board.shown.borrow();
    let set = flag(shown.clock == crate::clock::ClockState::Synced);
    out.gauge("davy_gateway_clock_synced", "1 while the clock is known to be right", set)?;
    if let Some(ms) = shown.centre_difference_ms {
        #[expect(clippy::cast_precision_loss, reason = "metrics are floats")]
        let seconds = ms as f64 / 1e3;
        out.gauge("davy_gateway_clock_difference_seconds", "Clock minus the centre's", seconds)?;
    }
    Ok(())
}

fn southbound(board: &Board, out: &mut Out<'_, '_>) -> Result<(), Error> {
    let (buses, devices) = (&board.health.buses, &board.health.devices);
    let bus = |name, help| (name, help, MetricType::Counter);
    let read = |n: &std::sync::atomic::AtomicU64| n.load(Ordering::Relaxed);
    let each = buses.iter().map(|b| (b.name.as_ref(), read(&b.requests)));
    out.family(bus("davy_gateway_bus_requests", "Requests sent"), "bus", each)?;
    let each = buses.iter().map(|b| (b.name.as_ref(), read(&b.timeouts)));
    out.family(bus("davy_gateway_bus_timeouts", "Requests without an answer"), "bus", each)?;
    let each = buses.iter().map(|b| (b.name.as_ref(), read(&b.broken_answers)));
    out.family(bus("davy_gateway_bus_broken_answers", "Answers that made no sense"), "bus", each)?;
    let each = buses.iter().map(|b| (b.name.as_ref(), read(&b.late_answers)));
    let late = bus("davy_gateway_bus_late_answers", "Answers too late or unasked, thrown away");
    out.family(late, "bus", each)?;
    let each = buses.iter().map(|b| (b.name.as_ref(), read(&b.exceptions)));
    out.family(bus("davy_gateway_bus_exceptions", "Answers that were exceptions"), "bus", each)?;
    let each = buses.iter().map(|b| (b.name.as_ref(), read(&b.missed)));
    out.family(bus("davy_gateway_bus_missed_polls", "Polls skipped, bus late"), "bus", each)?;
    let each = buses.iter().map(|b| (b.name.as_ref(), read(&b.busy_us)));
    out.family(
        bus("davy_gateway_bus_busy_microseconds", "Time with a request on the line"),
        "bus",
        each,
    )?;
    let online = ("davy_gateway_device_online", "1 while the device answers", MetricType::Gauge);
    let each = devices.iter().map(|d| (d.id.as_ref(), d.online.load(Ordering::Relaxed).into()));
    out.family(online, "device", each)?;
    let each = devices.iter().map(|d| (d.id.as_ref(), read(&d.replies)));
    out.family(bus("davy_gateway_device_replies", "Answers with values"), "device", each)?;
    let each = devices.iter().map(|d| (d.id.as_ref(), read(&d.errors)));
    out.family(bus("davy_gateway_device_errors", "Requests without values"), "device", each)
}
