//! What a process has used, from `/proc`: its own CPU time, children excluded, and its memory.

use std::collections::BTreeMap;

use anyhow::{Context, Result};

/// Ticks of `/proc/PID/stat` a second; fixed by the kernel's ABI on all its usual machines.
const TICKS: f64 = 100.0;

/// CPU seconds (user and system) of a process so far, without its children's.
///
/// # Errors
/// When the process is gone.
pub fn seconds(id: u32) -> Result<f64> {
    ticks(&std::fs::read_to_string(format!("/proc/{id}/stat"))?)
}

/// CPU seconds of each thread of a process so far, by thread name; threads of one name are added up. To the nanosecond
/// where the kernel counts so, for a stage may take less than a tick.
///
/// # Errors
/// When the process is gone.
pub fn by_thread(id: u32) -> Result<BTreeMap<String, f64>> {
    let mut threads = BTreeMap::new();
    for task in std::fs::read_dir(format!("/proc/{id}/task"))? {
        let path = task?.path();
        let stat = std::fs::read_to_string(path.join("stat"))?;
        let name = stat.split_once('(').and_then(|(_, rest)| rest.rsplit_once(") "));
        let name = name.context("stat")?.0.to_owned();
        let exact = std::fs::read_to_string(path.join("schedstat")).ok();
        let exact = exact.and_then(|text| text.split(' ').next()?.parse::<f64>().ok());
        let used = exact.map_or_else(|| ticks(&stat), |ns| Ok(ns / 1e9))?;
        *threads.entry(name).or_insert(0.0) += used;
    }
    Ok(threads)
}

fn ticks(stat: &str) -> Result<f64> {
    // The name in brackets may hold spaces: count from behind it.
    let after = stat.rsplit_once(") ").context("stat")?.1;
    let field = |i: usize| -> Result<f64> { Ok(after.split(' ').nth(i).context("stat")?.parse()?) };
    Ok((field(11)? + field(12)?) / TICKS)
}

/// Resident memory and its highest so far, MB.
///
/// # Errors
/// When the process is gone.
pub fn memory_mb(id: u32) -> Result<(f64, f64)> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
    let kb = |name: &str| -> Result<f64> {
        let line = status.lines().find(|l| l.starts_with(name)).context("status")?;
        Ok(line.split_whitespace().nth(1).context("status")?.parse()?)
    };
    Ok((kb("VmRSS:")? / 1024.0, kb("VmHWM:")? / 1024.0))
}
