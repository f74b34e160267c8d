//! Runs the tests that stand inside each rule.
//!
//! Used by the crate's tests and by whoever edits a catalogue. A test feeds the rule's own fixture, event times
//! counted from an arbitrary whole minute:
//!
//! ```text
//! 3s gas-1.gas_lel = 26 over          one sample (qualities: over, under, uncertain, bad, stale, substituted)
//! 0s..60s/500ms m.i_a,m.i_b = 50      samples from 0 s to before 60 s, each 500 ms
//! 10s order rectification to 1h base 40
//! 10s work approved fan kw 300 to 1h  (or: work filed …)
//! 10s calibration gas-1 to 60s
//! 90s segment 30s                     the clock steps back to 30 s
//! 90s advance                         time moves on to 90 s, exclusive
//! 10s gw-1 gone                       a gateway's last will (or: gw-1 gasp, on battery; gw-1 back; gw-1 heard, a block)
//! 0s..60s/10s gw-1,gw-2 heard         blocks of gateways
//! 50s start                           the centre starts
//! 0s..60s/1s tick                     for the rules that the centre judges
//! 90s tick                            the centre's clock, for the rule about silent gateways
//! ```
//!
//! What must come out is `time kind severity [source level] [suppressed] [latching]`, all of it, in order.

use crate::FeederMonitor;
use crate::catalogue::{Catalogue, Kind, Rule, TestSpec};
use crate::engine::Engine;
use crate::fact::{Fact, FactBody, RegState};
use crate::series::{Ms, Quality, SeriesKey};
use crate::site::SiteModel;
use crate::stale::GatewayMonitor;
use crate::transition::{Severity, Transition};

/// Event time that tests count from: a whole minute.
pub const TEST_START_MS: Ms = 1_700_000_040_000;
/// Most samples one line may make.
pub const LINE_SAMPLES_MAX: usize = 100_000;

/// Runs all tests of all rules; returns what failed, one sentence each.
pub fn failures(catalogue: &Catalogue) -> Vec<String> {
    let mut failed = Vec::new();
    for rule in &catalogue.rules {
        for test in &rule.tests {
            let found = transitions(rule, test).map(|list| list.iter().map(line).collect());
            match found {
                Ok(found) if found == test.expect => {}
                Ok(found) => {
                    let found: Vec<String> = found;
                    failed.push(format!(
                        "{} \"{}\": expected {:?}, found {:?}",
                        rule.id, test.name, test.expect, found
                    ));
                }
                Err(message) => failed.push(format!("{} \"{}\": {message}", rule.id, test.name)),
            }
        }
    }
    failed
}

/// Runs one test and returns the transitions.
///
/// # Errors
/// A sentence that names the line which could not be read, or the missing fixture.
pub fn transitions(rule: &Rule, test: &TestSpec) -> Result<Vec<Transition>, String> {
    let site = rule.fixture.as_ref().ok_or("the rule has no fixture")?;
    let mut events = Vec::new();
    for (number, text) in test.feed.iter().enumerate() {
        let fact_id = format!("fact-{number}");
        read(text, site, &fact_id, &mut events)
            .map_err(|e| format!("cannot read {text:?}: {e}"))?;
    }
    // Facts of a moment come before its samples; samples of a moment in the order of the lines.
    events.sort_by_key(|(t, event)| (*t, event.rank()));
    let catalogue = Catalogue { rules: vec![rule.clone()] };
    let gateway = site.devices.first().map(|d| d.gateway.clone()).unwrap_or_default();
    let sites = std::slice::from_ref(site);
    if rule.kind == Kind::GatewayStale {
        let monitor = GatewayMonitor::new(&catalogue, &[site], TEST_START_MS);
        return Ok(run_monitor(monitor, &gateway, events));
    }
    if rule.kind == Kind::FeederLost {
        let sites: Vec<_> = std::iter::once(site).chain(&rule.neighbours).collect();
        let monitor = FeederMonitor::new(&catalogue, &sites, TEST_START_MS);
        return Ok(run_feeder(monitor, &site.site, &events));
    }
    Ok(run(Engine::new(&catalogue, sites, &gateway), &site.site, events))
}

enum Event {
    Sample { device: String, quantity: String, value: f64, quality: Quality },
    Fact(Box<Fact>),
    Advance,
    Tick,
    Start,
    Segment(Ms),
    Presence { gateway: String, said: Said },
}

/// What is heard of a gateway.
#[derive(Clone, Copy)]
enum Said {
    Block,
    Back,
    Gasp,
    Gone,
}

impl Event {
    fn rank(&self) -> u8 {
        match self {
            Self::Fact(_) => 0,
            Self::Sample { .. } | Self::Presence { .. } => 1,
            Self::Advance | Self::Tick | Self::Start | Self::Segment(_) => 2,
        }
    }
}

fn run(mut engine: Engine, site: &str, events: Vec<(Ms, Event)>) -> Vec<Transition> {
    let mut out = Vec::new();
    for (t, event) in events {
        match event {
            Event::Sample { device, quantity, value, quality } => {
                let key = SeriesKey::new(site, device, quantity);
                if let Some(series) = engine.series_index(&key) {
                    engine.sample(series, t, value, quality, &mut out);
                }
            }
            Event::Fact(fact) => engine.fact(&fact, t, &mut out),
            Event::Advance | Event::Tick => engine.advance(t, &mut out),
            Event::Segment(back) => engine.segment(back),
            Event::Start | Event::Presence { .. } => {}
        }
    }
    out
}

fn run_monitor(
    mut monitor: GatewayMonitor,
    gateway: &str,
    events: Vec<(Ms, Event)>,
) -> Vec<Transition> {
    let mut out = Vec::new();
    for (t, event) in events {
        match event {
            Event::Sample { .. } => monitor.received(gateway, t, &mut out),
            Event::Tick => monitor.tick(t, &mut out),
            _ => {}
        }
    }
    out
}

fn run_feeder(mut monitor: FeederMonitor, site: &str, events: &[(Ms, Event)]) -> Vec<Transition> {
    let mut out = Vec::new();
    for (t, event) in events {
        let t = *t;
        match event {
            Event::Presence { gateway, said } => match said {
                Said::Block => monitor.received(gateway, t, &mut out),
                Said::Back => monitor.presence(gateway, true, false, t, &mut out),
                Said::Gasp => monitor.presence(gateway, true, true, t, &mut out),
                Said::Gone => monitor.presence(gateway, false, false, t, &mut out),
            },
            Event::Tick => monitor.tick(t, &mut out),
            Event::Start => monitor.started(t),
            _ => {}
        }
    }
    // A test is about its fixture's site; the neighbours say the same of themselves.
    out.retain(|t| t.scope.site == site);
    out
}

fn line(t: &Transition) -> String {
    let severity = match t.level {
        Severity::Red => "red",
        Severity::Orange => "orange",
        Severity::Yellow => "yellow",
        Severity::Blue => "blue",
    };
    let mut line = format!("{} {} {severity}", write_time(t.t - TEST_START_MS), t.kind.name());
    if let Some(source) = &t.source_level {
        line += &format!(" {source}");
    }
    if t.is_suppressed() {
        line += " suppressed";
    }
    if t.latching {
        line += " latching";
    }
    line
}

/// Writes a span as the expectations do: `1h1min`, `90s` as `1min30s` except below two minutes.
fn write_time(ms: Ms) -> String {
    if ms < 120_000 {
        return if ms % 1000 == 0 { format!("{}s", ms / 1000) } else { format!("{ms}ms") };
    }
    let (h, min, s, rest) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60, ms % 1000);
    let parts = [(h, "h"), (min, "min"), (s, "s"), (rest, "ms")];
    parts.iter().filter(|(n, _)| *n > 0).map(|(n, unit)| format!("{n}{unit}")).collect()
}

/// Reads a span such as `1h30min`, `90s`, `500ms`.
fn read_time(text: &str) -> Result<Ms, String> {
    let (mut rest, mut sum) = (text, 0);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (number, tail) = rest.split_at(digits);
        let letters = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let scale = match unit {
            "ms" => 1,
            "s" => 1000,
            "min" => 60_000,
            "h" => 3_600_000,
            _ => return Err(format!("{text:?} is no span: write 1h30min, 90s, 500ms")),
        };
        sum += number.parse::<Ms>().map_err(|e| format!("{text:?}: {e}"))? * scale;
        rest = tail;
    }
    Ok(sum)
}

fn read(
    text: &str,
    site: &SiteModel,
    fact_id: &str,
    events: &mut Vec<(Ms, Event)>,
) -> Result<(), String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let (when, what) = words.split_first().ok_or("empty")?;
    if what.get(1) == Some(&"=") {
        return read_samples(when, what, events);
    }
    if let [names, said @ ("heard" | "back" | "gasp" | "gone")] = what {
        let said = match *said {
            "heard" => Said::Block,
            "back" => Said::Back,
            "gasp" => Said::Gasp,
            _ => Said::Gone,
        };
        return read_span(when, |t| {
            let said = |name: &str| Event::Presence { gateway: name.into(), said };
            events.extend(names.split(',').map(|name| (t, said(name))));
        });
    }
    if *what == ["tick"] && when.contains("..") {
        return read_span(when, |t| events.push((t, Event::Tick)));
    }
    let t = TEST_START_MS + read_time(when)?;
    let event = match what {
        ["advance"] => Event::Advance,
        ["tick"] => Event::Tick,
        ["start"] => Event::Start,
        ["segment", back] => Event::Segment(TEST_START_MS + read_time(back)?),
        [kind @ ("order" | "work" | "calibration" | "approval"), rest @ ..] => {
            Event::Fact(Box::new(read_fact(kind, rest, t, &site.site, fact_id)?))
        }
        _ => return Err("not a line I know".into()),
    };
    events.push((t, event));
    Ok(())
}

fn read_samples(when: &str, what: &[&str], events: &mut Vec<(Ms, Event)>) -> Result<(), String> {
    let [names, "=", value, rest @ ..] = what else { return Err("write names = value".into()) };
    let value: f64 = value.parse().map_err(|e| format!("{value}: {e}"))?;
    let quality = match rest {
        [] => Quality::Good,
        ["over"] => Quality::Uncertain { over: true, under: false },
        ["under"] => Quality::Uncertain { over: false, under: true },
        ["uncertain"] => Quality::Uncertain { over: false, under: false },
        ["bad"] => Quality::Bad,
        ["stale"] => Quality::Stale,
        ["substituted"] => Quality::Substituted,
        _ => return Err("unknown quality".into()),
    };
    for name in names.split(',') {
        name.rsplit_once('.').ok_or("write device.quantity")?;
    }
    read_span(when, |t| {
        for (device, quantity) in names.split(',').filter_map(|name| name.rsplit_once('.')) {
            let (device, quantity) = (device.to_string(), quantity.to_string());
            events.push((t, Event::Sample { device, quantity, value, quality }));
        }
    })
}

/// Reads `5s` or `0s..60s/5s` and calls `each` with every moment.
fn read_span(when: &str, mut each: impl FnMut(Ms)) -> Result<(), String> {
    let (from, to, step) = match when.split_once("..") {
        None => (read_time(when)?, read_time(when)? + 1, 1),
        Some((from, rest)) => {
            let (to, step) = rest.split_once('/').ok_or("a span needs /step")?;
            (read_time(from)?, read_time(to)?, read_time(step)?.max(1))
        }
    };
    if usize::try_from((to - from) / step).unwrap_or(usize::MAX) > LINE_SAMPLES_MAX {
        return Err(format!("more than {LINE_SAMPLES_MAX} samples"));
    }
    let mut t = from;
    while t < to {
        each(TEST_START_MS + t);
        t += step;
    }
    Ok(())
}

fn read_fact(kind: &str, words: &[&str], t: Ms, site: &str, id: &str) -> Result<Fact, String> {
    let after = |word: &str| words.iter().position(|w| *w == word).and_then(|i| words.get(i + 1));
    let valid_to = after("to").map(|w| read_time(w)).transpose()?.map(|to| TEST_START_MS + to);
    let number = |word: &str| after(word).map(|w| w.parse::<f64>().map_err(|e| e.to_string()));
    let stop = words.iter().position(|w| ["to", "kw", "base"].contains(w)).unwrap_or(words.len());
    let listed = &words[..stop];
    let names = |from: usize| listed.iter().skip(from).map(|w| (*w).to_string()).collect();
    let body = match kind {
        "order" => FactBody::RegState {
            state: match listed {
                ["rectification"] => RegState::Rectification,
                ["suspended"] => RegState::Suspended,
                ["closed"] => RegState::Closed,
                ["long_stopped"] => RegState::LongStopped,
                ["maintenance"] => RegState::Maintenance,
                ["normal"] => RegState::Normal,
                _ => return Err("unknown state".into()),
            },
            document: "〔2026〕1号".into(),
            base_kw: number("base").transpose()?,
        },
        "approval" => FactBody::Approval { document: "〔2026〕2号".into() },
        "calibration" => FactBody::Calibration { devices: names(0) },
        _ => FactBody::Work {
            work: "检修".into(),
            devices: names(1),
            declared_kw: number("kw").transpose()?,
            approved_by: match listed.first() {
                Some(&"approved") => Some("危化科".into()),
                Some(&"filed") => None,
                _ => return Err("write work approved or work filed".into()),
            },
        },
    };
    let (site, id) = (site.to_string(), id.to_string());
    let revision = u64::try_from(t - TEST_START_MS).unwrap_or(0) + 1;
    let withdrawn = false;
    Ok(Fact { id, revision, site, valid_from: t, valid_to, recorded_at: t, withdrawn, body })
}
