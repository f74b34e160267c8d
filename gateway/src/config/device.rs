//! Reads `[[bus]]` and `[[bus.device]]` and joins each device with its profile.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::file::millis;
use super::keys;
use super::problem::{Problems, Text, nearest};
use super::section::{Key, Section};
use super::{Bus, Device};
use crate::bus::link::Framing;
use crate::decode::decimal::Factor;
use crate::profile::library::Library;
use crate::profile::parse::{Defaults, PERIOD_MS, choice, identifier, point};
use crate::profile::resolve::{Wiring, needs_ratios, resolve};
use crate::profile::{Kind, PointSpec, Profile, Table};

/// Buses of one gateway at most.
const BUSES_MAX: usize = 256;

/// Devices of one gateway at most: what a state message can name.
const DEVICES_MAX: usize = wire::limits::DEVICES_MAX;

/// What must be unique over the whole file.
#[derive(Default)]
struct Seen {
    buses: BTreeMap<String, usize>,
    addresses: BTreeMap<String, String>,
    devices: BTreeMap<String, String>,
    count: u32,
}

/// All buses.
pub(crate) fn buses(
    root: &mut Section<'_>,
    library: &Library,
    problems: &mut Problems,
) -> Vec<Bus> {
    let mut seen = Seen::default();
    let sections = root.tables(problems, keys::BUS);
    if sections.is_empty() && !root.has(keys::BUS.name) {
        root.missing(problems, keys::BUS);
    }
    let buses = sections.into_iter().take(BUSES_MAX);
    buses.filter_map(|section| bus(section, library, &mut seen, problems)).collect()
}

fn bus(
    mut section: Section<'_>,
    library: &Library,
    seen: &mut Seen,
    problems: &mut Problems,
) -> Option<Bus> {
    let name = identifier(&mut section, keys::BUS_NAME, problems);
    if let Some(name) = &name {
        section.rename(format!("[[bus]] \"{name}\""));
        if seen.buses.insert(name.clone(), 0).is_some() {
            twice(&section, problems, "总线名", "bus name", name);
        }
    }
    if !section.has(keys::KIND.name) {
        section.missing(problems, keys::KIND);
    }
    let kinds = [("modbus-tcp", Framing::Tcp), ("modbus-rtu-over-tcp", Framing::Rtu)];
    let framing = choice(&mut section, keys::KIND, &kinds, problems).map(|at| at.value);
    if framing == Some(Framing::Rtu) && !section.has(keys::LINE_BAUD.name) {
        section.missing(problems, keys::LINE_BAUD);
    }
    let address = address(&mut section, seen, name.as_deref().unwrap_or("?"), problems);
    let timeout = section.integer(problems, keys::TIMEOUT_MS, 20..=30_000);
    let min_gap = section.integer(problems, keys::MIN_GAP_MS, 0..=1_000);
    let line_baud = section.integer(problems, keys::LINE_BAUD, 1_200..=921_600);
    let sections = section.tables(problems, keys::DEVICE);
    if sections.is_empty() && !section.has(keys::DEVICE.name) {
        section.missing(problems, keys::DEVICE);
    }
    let mut min_gap = millis(min_gap, 0);
    let mut devices: Vec<Device> = Vec::new();
    for one in sections.into_iter().take(DEVICES_MAX) {
        let span = one.span().clone();
        let Some((device, gap)) = device(one, library, seen, problems) else { continue };
        if let Some((other, register)) = devices.iter().find_map(|d| Some((d, shared(d, &device)?)))
        {
            same_meter(&section, &span, (&device, other), &register, problems);
        }
        if let Some(baud) = &line_baud {
            min_gap = min_gap.max(gap).max(silence(baud.value.unsigned_abs()));
        }
        devices.push(device);
    }
    section.finish(problems);
    Some(Bus {
        name: name?.into(),
        address: address?.into(),
        framing: framing?,
        timeout: millis(timeout, 1_000),
        min_gap,
        line_baud: line_baud.and_then(|at| u32::try_from(at.value).ok()),
        devices,
    })
}

/// The first register that two devices of one bus both read as a value: a unit given twice would show one meter as two.
/// What differs (another circuit of one meter, another bit of one word) is no such register.
fn shared(one: &Device, two: &Device) -> Option<String> {
    let valued = |device: &'_ Device| -> Vec<(Table, u16, Kind)> {
        let points = device.points.iter().filter(|point| point.quantity.is_some());
        points.map(|point| (point.table, point.address, point.kind)).collect()
    };
    if one.unit != two.unit {
        return None;
    }
    let taken = valued(one);
    let twice = valued(two).into_iter().find(|place| taken.contains(place));
    twice.map(|(table, address, _)| format!("{} {address}", table.as_str()))
}

fn same_meter(
    section: &Section<'_>,
    span: &std::ops::Range<usize>,
    (device, other): (&Device, &Device),
    register: &str,
    problems: &mut Problems,
) {
    let (id, other, unit) = (&device.id, &other.id, device.unit);
    section.report(
        problems,
        span,
        Text::new(
            format!("{id} 和 {other} 都读从站 {unit} 的 {register}"),
            format!("{id} and {other} both read {register} of unit {unit}"),
        ),
        Text::new(
            "核对两块表的从站地址，各写各的 unit",
            "look up the unit of each meter and give each its own",
        ),
    );
}

/// The 3.5 characters of silence that part frames on a serial line; fixed above 19,200 baud.
fn silence(baud: u64) -> Duration {
    let characters = Duration::from_micros(10 * 3_500_000 / baud.max(1));
    if baud > 19_200 { Duration::from_micros(1_750) } else { characters }
}

fn twice(section: &Section<'_>, problems: &mut Problems, zh: &str, en: &str, name: &str) {
    section.report(
        problems,
        section.span(),
        Text::new(format!("{zh} {name} 用了两次"), format!("{en} {name} is used twice")),
        Text::new("改成不同的名字", "give one of them another name"),
    );
}

/// One task owns an endpoint: two buses on one would compete for its few connections.
fn address(
    section: &mut Section<'_>,
    seen: &mut Seen,
    bus: &str,
    problems: &mut Problems,
) -> Option<String> {
    let at = section.need_text(problems, keys::ADDRESS)?;
    let port = at.value.rsplit_once(':').and_then(|(host, port)| {
        (!host.is_empty() && !host.contains([' ', '/'])).then(|| port.parse::<u16>().ok())?
    });
    if port.is_none_or(|port| port == 0) {
        section.wrong(problems, keys::ADDRESS, &at.span);
        return None;
    }
    if let Some(other) = seen.addresses.insert(at.value.clone(), bus.to_owned()) {
        section.report(
            problems,
            &at.span,
            Text::new(
                format!("总线 {other} 已使用地址 {}", at.value),
                format!("bus {other} already has the address {}", at.value),
            ),
            Text::new(
                "把两条总线的设备合到一条 [[bus]] 下",
                "put the devices of both under one [[bus]]",
            ),
        );
    }
    Some(at.value)
}

fn device(
    mut section: Section<'_>,
    library: &Library,
    seen: &mut Seen,
    problems: &mut Problems,
) -> Option<(Device, Duration)> {
    let id = identifier(&mut section, keys::ID, problems);
    if let Some(id) = &id {
        section.rename(format!("[[bus.device]] \"{id}\""));
        if seen.devices.insert(id.clone(), String::new()).is_some() {
            twice(&section, problems, "设备号", "device id", id);
        }
    }
    if !section.has(keys::UNIT.name) {
        section.missing(problems, keys::UNIT);
    }
    let unit = section.integer(problems, keys::UNIT, 0..=255);
    let role = section.text(problems, keys::ROLE).map(|at| at.value);
    let max_regs = section.integer(problems, keys::MAX_REGS, 1..=125);
    let profile = profile(&mut section, library, problems);
    let Some(profile) = profile else {
        // What depends on the profile cannot be judged without it.
        return None;
    };
    let periods = periods(&mut section, &profile, problems);
    let specs = specs(&mut section, &profile, problems);
    let (ct, pt) = ratios(&mut section, &specs, problems);
    let points = resolve(&specs, &Wiring { ct, pt, periods: &periods });
    if points.is_err() {
        section.missing(problems, keys::CT);
    }
    section.finish(problems);
    let index = seen.count;
    seen.count += 1;
    let limit = max_regs.and_then(|at| u16::try_from(at.value).ok());
    let device = Device {
        index,
        id: id?.into(),
        unit: u8::try_from(unit?.value).ok()?,
        role,
        profile: Arc::clone(&profile.id),
        profile_version: Arc::clone(&profile.version),
        max_regs: limit.unwrap_or(profile.link.max_regs),
        turnaround: profile.link.turnaround,
        forbid: profile.link.forbid.clone(),
        points: points.ok()?,
    };
    Some((device, profile.link.min_gap))
}

fn profile(
    section: &mut Section<'_>,
    library: &Library,
    problems: &mut Problems,
) -> Option<Arc<Profile>> {
    let at = section.need_text(problems, keys::PROFILE)?;
    if let Some(profile) = library.get(&at.value) {
        return Some(Arc::clone(profile));
    }
    let known: Vec<&str> = library.iter().map(|profile| &*profile.id).collect();
    let mend = match nearest(&at.value, known.iter().copied()) {
        Some(meant) => Text::new(format!("是否想写 {meant}？"), format!("did you mean {meant}?")),
        None => Text::new(
            format!("可用型号：{}", known.join(", ")),
            format!("known: {}", known.join(", ")),
        ),
    };
    section.report(
        problems,
        &at.span,
        Text::new(format!("没有型号 {}", at.value), format!("there is no profile {}", at.value)),
        mend,
    );
    None
}

fn periods(
    section: &mut Section<'_>,
    profile: &Profile,
    problems: &mut Problems,
) -> BTreeMap<Arc<str>, Duration> {
    let mut periods = profile.classes.clone();
    let Some(mut table) = section.table(problems, keys::PERIOD_MS) else { return periods };
    for (class, at) in table.entries(problems, keys::PERIOD_MS) {
        let ms = at.value.parse::<i64>().ok().filter(|ms| PERIOD_MS.contains(ms));
        match (periods.get_mut(class.as_str()), ms) {
            (Some(period), Some(ms)) => *period = Duration::from_millis(ms.unsigned_abs()),
            (Some(_), None) => table.wrong(problems, keys::PERIOD_MS, &at.span),
            (None, _) => {
                let known: Vec<&str> = profile.classes.keys().map(|name| &**name).collect();
                table.report(
                    problems,
                    &at.span,
                    Text::new(
                        format!("型号 {} 没有采集类别 {class}", profile.id),
                        format!("profile {} has no poll class {class}", profile.id),
                    ),
                    Text::new(
                        format!("可用：{}", known.join(", ")),
                        format!("known: {}", known.join(", ")),
                    ),
                );
            }
        }
    }
    periods
}

/// The profile's points with the site's: a site's point replaces the profile's of the same name.
fn specs(section: &mut Section<'_>, profile: &Profile, problems: &mut Problems) -> Vec<PointSpec> {
    let defaults = Defaults {
        low_word_first: false,
        low_byte_first: false,
        side: None,
        classes: &profile.classes,
    };
    let sections = section.tables(problems, keys::POINT);
    if sections.is_empty() && profile.needs_site_points && !section.has(keys::POINT.name) {
        section.missing(problems, keys::POINT);
    }
    let own: Vec<PointSpec> =
        sections.into_iter().filter_map(|one| point(one, &defaults, problems)).collect();
    let skip = section.literals(problems, keys::SKIP);
    let mut specs = profile.points.clone();
    for at in &skip {
        let before = specs.len();
        specs.retain(|spec| spec.quantity.as_deref() != Some(at.value.as_str()));
        if specs.len() == before {
            section.wrong(problems, keys::SKIP, &at.span);
        }
    }
    let named =
        |spec: &PointSpec| own.iter().any(|o| o.quantity.is_some() && o.quantity == spec.quantity);
    specs.retain(|spec| !named(spec));
    specs.extend(own);
    for (zh, en) in crate::profile::parse::problems_of_set(&specs) {
        section.report(
            problems,
            section.span(),
            Text::new(zh, en),
            Text::new("改正该设备的测点", "mend the device's points"),
        );
    }
    specs
}

/// CT and PT: needed exactly where a value depends on them, because a wrong silent default is a wrong number.
fn ratios(
    section: &mut Section<'_>,
    specs: &[PointSpec],
    problems: &mut Problems,
) -> (Factor, Factor) {
    let needed = needs_ratios(specs);
    let mut ratio = |section: &mut Section<'_>, key: Key| {
        let Some(at) = section.literal(problems, key) else {
            if needed && !section.has(key.name) {
                section.missing(problems, key);
            }
            return Factor::ONE;
        };
        match Factor::parse(&at.value) {
            None => section.wrong(problems, key, &at.span),
            Some(ratio) if !needed && ratio != Factor::ONE => section.report(
                problems,
                &at.span,
                Text::new(
                    format!("此型号给出一次侧数值，{} 不起作用", key.name),
                    format!("this profile's values are primary: {} has no effect", key.name),
                ),
                Text::new(
                    format!("变比在表内设置；删去 {}", key.name),
                    format!("set the ratio inside the meter and remove {}", key.name),
                ),
            ),
            Some(ratio) => return ratio,
        }
        Factor::ONE
    };
    (ratio(section, keys::CT), ratio(section, keys::PT))
}
