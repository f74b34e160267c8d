//! `davy-gateway read`: one sweep over every device, as a table a person compares with the meters' displays.
//!
//! Sends reads only and nothing to the centre. A refused request is halved until the table shows which registers the
//! device lacks.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::time::Duration;

use wire::{Quality, quantity};

use super::table::Table;
use crate::bus::frame::{Reply, Request};
use crate::bus::link::{Answered, Connect, Link, LinkError};
use crate::bus::load::first_plan;
use crate::config::{Bus, Config, Device};
use crate::decode::decode;
use crate::plan::{self, Request as Planned, wholes};
use crate::reading::Value;

/// Requests that halving may add per device.
const EXTRA_REQUESTS_MAX: usize = 64;

/// Exit code when a device did not answer (`EX_UNAVAILABLE`).
pub const EXIT_SILENT: u8 = 69;

/// Reads every device once, or only the named one.
///
/// # Errors
/// Only when the output cannot be written.
pub async fn read(
    config: &Config,
    only: Option<&str>,
    connector: &dyn Connect,
    out: &mut dyn Write,
) -> io::Result<u8> {
    let mut table = Table::new(&[
        "设备 device",
        "量 quantity",
        "名称 name",
        "数值 value",
        "单位 unit",
        "质量 quality",
        "往返 rtt",
    ]);
    let mut silent = Vec::new();
    for bus in &config.buses {
        let wanted = |device: &&Device| only.is_none_or(|id| id == &*device.id);
        let mut sweep = Sweep { bus, connector, link: None };
        for device in bus.devices.iter().filter(wanted) {
            if let Some(reason) = sweep.device(device, &mut table).await {
                silent.push(format!(
                    "{}（{}，unit {}）: {reason}",
                    device.id, bus.address, device.unit
                ));
            }
        }
    }
    if table.is_empty() && silent.is_empty() {
        writeln!(out, "没有这个设备 no such device: {}", only.unwrap_or(""))?;
        return Ok(super::check::EXIT_CONFIG);
    }
    write!(out, "{table}")?;
    for line in &silent {
        writeln!(out, "无应答 no answer  {line}")?;
    }
    if silent.is_empty() {
        return Ok(0);
    }
    writeln!(
        out,
        "查：接线 A/B、从站地址、波特率和校验、IP 和端口。check: A/B wiring, unit, baud and parity, IP and port."
    )?;
    Ok(EXIT_SILENT)
}

struct Sweep<'a> {
    bus: &'a Bus,
    connector: &'a dyn Connect,
    link: Option<Link>,
}

impl Sweep<'_> {
    /// Reads one device; the reason if it is silent.
    async fn device(&mut self, device: &Device, table: &mut Table) -> Option<String> {
        let mut queue: VecDeque<Planned> = first_plan(self.bus, device).requests.into();
        let mut extra = 0;
        while let Some(request) = queue.pop_front() {
            match self.ask(device.unit, &request).await {
                Ok(Answered { reply: Reply::Words(words), round_trip, .. }) => {
                    show(device, &request, &words, round_trip, table);
                }
                Ok(Answered { reply: Reply::Exception(exception), round_trip, .. }) => {
                    let all: Vec<usize> =
                        request.parts.iter().flat_map(|p| p.all.clone()).collect();
                    let parts = wholes(&device.points, &all);
                    if exception.is_unit_down() {
                        return Some(both(exception.meaning()));
                    }
                    if exception.is_refusal() && parts.len() > 1 && extra < EXTRA_REQUESTS_MAX {
                        extra += 2;
                        let (left, right) = parts.split_at(parts.len() / 2);
                        queue.push_front(rejoin(device, &request, right));
                        queue.push_front(rejoin(device, &request, left));
                    } else {
                        refused(device, &all, &both(exception.meaning()), round_trip, table);
                    }
                }
                Ok(_) => {}
                Err(error) => return Some(chain(&error)),
            }
        }
        None
    }

    async fn ask(&mut self, unit: u8, request: &Planned) -> Result<Answered, LinkError> {
        let link = match self.link.take() {
            Some(link) => link,
            None => {
                Link::open(self.connector, &self.bus.address, self.bus.framing, self.bus.timeout)
                    .await?
            }
        };
        tokio::time::sleep(self.bus.min_gap).await;
        let Planned { table, start, count, .. } = *request;
        let ask = Request::Read { table, start, count };
        let (link, answered) = link.exchange(unit, ask, self.bus.timeout).await?;
        self.link = Some(link);
        Ok(answered)
    }
}

/// A request for some of the things of another.
fn rejoin(device: &Device, request: &Planned, parts: &[plan::Whole]) -> Planned {
    let all: Vec<usize> = parts.iter().flat_map(|part| part.points.clone()).collect();
    let named = |index: &usize| device.points[*index].quantity.is_some();
    let start = parts.iter().map(|part| part.span.start).min().unwrap_or(request.start);
    let end = parts.iter().map(|part| part.span.start.saturating_add(part.span.count)).max();
    let columns = all.iter().copied().filter(named).collect();
    Planned {
        start,
        count: end.unwrap_or(start) - start,
        parts: vec![plan::Part { period: request.period, columns, all }],
        ..*request
    }
}

fn show(device: &Device, request: &Planned, words: &[u16], rtt: Duration, table: &mut Table) {
    for part in &request.parts {
        let values = decode(&device.points, &part.columns, &part.all, request.start, words);
        for (index, value) in part.columns.iter().zip(values) {
            row(device, *index, &number(value), &quality(value), rtt, table);
        }
    }
}

fn refused(device: &Device, points: &[usize], why: &str, rtt: Duration, table: &mut Table) {
    for index in points {
        row(device, *index, "—", why, rtt, table);
    }
}

fn row(
    device: &Device,
    index: usize,
    value: &str,
    quality: &str,
    rtt: Duration,
    table: &mut Table,
) {
    let point = &device.points[index];
    let Some(name) = point.quantity.as_deref() else { return };
    table.row(vec![
        device.id.to_string(),
        name.to_owned(),
        quantity::lookup(name).map_or("", |info| info.zh).to_owned(),
        value.to_owned(),
        point.unit.to_string(),
        quality.to_owned(),
        format!("{:.1} ms", rtt.as_secs_f64() * 1e3),
    ]);
}

fn number(value: Value) -> String {
    if value.mark.quality.has_value() { value.value.to_string() } else { "—".to_owned() }
}

fn quality(value: Value) -> String {
    let zh = match value.mark.quality {
        Quality::Good => "良好 good",
        Quality::Uncertain => "存疑 uncertain",
        Quality::Bad => "无效 bad",
        Quality::Stale => "过期 stale",
        Quality::Substituted => "替代 substituted",
    };
    format!("{zh} {}", value.mark.reason.as_str()).trim_end().to_owned()
}

fn both((zh, en): (&str, &str)) -> String {
    format!("{zh} {en}")
}

fn chain(error: &LinkError) -> String {
    match crate::bus::link::cause(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}
