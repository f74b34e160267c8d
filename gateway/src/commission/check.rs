//! `davy-gateway check`: every problem of a configuration, or what it will do. Opens nothing, binds nothing.

use std::io::{self, Write};
use std::path::Path;

use super::table::Table;
use crate::bus::load::{
    MANIFEST_PERCENT, Named, REFUSE_ABOVE, WARN_ABOVE, first_plan, loads, named,
};
use crate::config::Config;
use crate::config::problem::{Problem, Problems};
use crate::profile::library::Library;
use crate::profile::{Standing, selftest};
use crate::reading::MANIFEST_BYTES_MAX;

/// Exit code for a configuration that cannot be used (`EX_USAGE`).
pub const EXIT_CONFIG: u8 = 64;

/// Checks a file and prints what was found.
///
/// # Errors
/// Only when the output cannot be written.
pub fn check(file: &Path, out: &mut dyn Write) -> io::Result<u8> {
    let config = match Config::load(file) {
        Ok(config) => config,
        Err(problems) => {
            print_problems(&problems, out)?;
            return Ok(EXIT_CONFIG);
        }
    };
    let code = if is_too_much(&config, out)? { EXIT_CONFIG } else { 0 };
    plans(&config, out)?;
    let code = if profiles(&config, out)? { code } else { EXIT_CONFIG };
    if code == 0 {
        writeln!(out, "\n配置可用。configuration is good.")?;
    }
    Ok(code)
}

/// Prints the problems of a file, numbered by their count.
///
/// # Errors
/// Only when the output cannot be written.
pub fn print_problems(problems: &[Problem], out: &mut dyn Write) -> io::Result<()> {
    for problem in problems {
        writeln!(out, "{problem}\n")?;
    }
    writeln!(out, "共 {0} 个问题，未启动。{0} problem(s), nothing was started.", problems.len())
}

/// Prints the utilisation of each bus; true where a bus, or the gateway, cannot carry the configuration.
///
/// # Errors
/// Only when the output cannot be written.
pub fn is_too_much(config: &Config, out: &mut dyn Write) -> io::Result<bool> {
    let over = overloaded(config, out)?;
    let named = named(config);
    let gateways = named.gateways();
    if gateways == 1 {
        return Ok(over);
    }
    let Named { points, bytes, .. } = named;
    let (each, most) = (points / gateways, MANIFEST_BYTES_MAX * MANIFEST_PERCENT / 100);
    writeln!(
        out,
        "\n测点太多：{points} 个测点的点表为 {bytes} 字节，一台网关最多 {most}。分到 {gateways} 台网关，每台约 {each} \
         个测点，或删去不用的测点、缩短设备名。\n\
         too many points: the manifest of {points} points has {bytes} bytes, a gateway names at most {most}. Split the \
         devices over {gateways} gateways, about {each} points each, or drop points that nobody needs."
    )?;
    Ok(true)
}

/// Prints the utilisation of each bus; true where one cannot carry its configuration.
///
/// # Errors
/// Only when the output cannot be written.
fn overloaded(config: &Config, out: &mut dyn Write) -> io::Result<bool> {
    let mut table = Table::new(&[
        "总线 bus",
        "设备 devices",
        "请求 requests",
        "测点 points",
        "点/秒 points/s",
        "占用率 load",
        "",
    ]);
    let mut over = false;
    for (bus, load) in config.buses.iter().zip(loads(config)) {
        over |= load.utilisation > REFUSE_ABOVE;
        let verdict = if load.utilisation > REFUSE_ABOVE {
            "超载：放慢周期或分到两条总线 overloaded: longer periods, or split the bus"
        } else if load.utilisation > WARN_ABOVE {
            "偏高：重试余量不足 high: little room for repeats"
        } else {
            ""
        };
        table.row(vec![
            load.bus,
            bus.devices.len().to_string(),
            load.requests.to_string(),
            load.points.to_string(),
            format!("{:.1}", load.points_per_s),
            format!("{:.0} %", load.utilisation * 100.0),
            verdict.to_owned(),
        ]);
    }
    write!(out, "{table}")?;
    Ok(over)
}

/// What will be asked of each device.
fn plans(config: &Config, out: &mut dyn Write) -> io::Result<()> {
    let mut table = Table::new(&[
        "总线 bus",
        "设备 device",
        "从站 unit",
        "型号 profile",
        "寄存器 registers",
        "周期 period",
        "量 quantities",
    ]);
    for (bus, device) in config.devices() {
        for request in first_plan(bus, device).requests {
            let last = u32::from(request.start) + u32::from(request.count) - 1;
            let place = format!("{} {}..{last}", request.table.as_str(), request.start);
            for part in &request.parts {
                let names =
                    part.columns.iter().filter_map(|i| device.points[*i].quantity.as_deref());
                table.row(vec![
                    bus.name.to_string(),
                    device.id.to_string(),
                    device.unit.to_string(),
                    device.profile.to_string(),
                    place.clone(),
                    format!("{} ms", part.period.as_millis()),
                    names.collect::<Vec<_>>().join(" "),
                ]);
            }
        }
    }
    if table.is_empty() { Ok(()) } else { write!(out, "\n{table}") }
}

/// Runs the decode tests of the profiles in use; false where one fails.
fn profiles(config: &Config, out: &mut dyn Write) -> io::Result<bool> {
    let mut good = true;
    let mut problems = Problems::default();
    let library = Library::load(config.profiles_dir.as_deref(), &mut problems);
    let used = |id: &str| config.devices().any(|(_, device)| &*device.profile == id);
    writeln!(out)?;
    for profile in library.iter().filter(|profile| used(&profile.id)) {
        let failures = selftest::run(profile);
        writeln!(
            out,
            "{} {}  {}  解码测试 decode tests {}/{}",
            profile.id,
            profile.version,
            profile.standing.as_str(),
            profile.tests.len().saturating_sub(failures.len()),
            profile.tests.len(),
        )?;
        if profile.standing == Standing::Unofficial {
            writeln!(
                out,
                "    非官方寄存器表：投运前与表计显示逐项核对。unofficial map: compare with the display before use."
            )?;
        }
        if !profile.note.is_empty() {
            writeln!(out, "    {}", profile.note)?;
        }
        for failure in failures {
            good = false;
            writeln!(out, "    {} (line {}): {}", failure.test, failure.line, failure.difference)?;
        }
    }
    Ok(good)
}

/// Lists the profiles there are.
///
/// # Errors
/// Only when the output cannot be written.
pub fn list_profiles(folder: Option<&Path>, out: &mut dyn Write) -> io::Result<()> {
    let mut problems = Problems::default();
    let library = Library::load(folder, &mut problems);
    let mut table =
        Table::new(&["型号 profile", "版本", "厂家 vendor", "适用 models", "可信度 standing"]);
    for profile in library.iter() {
        table.row(vec![
            profile.id.to_string(),
            profile.version.to_string(),
            profile.vendor.clone(),
            profile.models.join(", "),
            profile.standing.as_str().to_owned(),
        ]);
    }
    write!(out, "{table}")?;
    for problem in problems.into_sorted() {
        writeln!(out, "\n{problem}")?;
    }
    Ok(())
}
