//! The account after a round: everything that the devices gave out is stored once, or in quarantine, or declared, or fell
//! in the last moment before a kill of the gateway; journals agree; one page for an episode and none from history.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use spool::{Spool, SpoolOptions};
use wire::Block;

use super::field::{Given, METERS, TANKS, now_ms};
use super::journals::{self, Told, dips};
use super::stranger;
use super::world::{World, read_only, tail};
use crate::harness::wait::wait_for;

/// What a SIGKILL of the gateway may cost: the replies since its last commit (`flush_ms` 100, and the commit itself).
const KILL_COST_MS: i64 = 1_000;
/// An answer that was on its way at the kill, ms.
const KILL_AFTER_MS: i64 = 200;
/// Without an answer for so long nothing is on its way from the devices, ms.
const STILL_MS: i64 = 250;
/// Of so many answers one may come too late for the gateway on a machine that is busy with other things.
const LATE_ONE_IN: u64 = 50;
/// What a gateway says when it has to let go of blocks.
const EVICTED: &str = "blocks lost, to be declared";
/// Samples in a meter's whole reply: what a declared loss counts in.
const REPLY_SAMPLES: u64 = 16;

/// What became of the numbers that the meters gave out, since the world began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Judged {
    /// Given out.
    pub sent: u64,
    /// Stored exactly once.
    pub stored: u64,
    /// Not stored, in quarantine.
    pub quarantined: u64,
    /// Not stored, in the last moment before a kill of the gateway.
    pub forgiven: u64,
    /// Not stored, declared by the gateway.
    pub declared: u64,
    /// Not stored, answered after the gateway had given up waiting: never polled.
    pub unpolled: u64,
    /// Lines of the verdict journal.
    pub verdicts: usize,
    /// Raises and pages.
    pub told: Told,
}

/// Stops gateway and centre in order, judges, and starts them again.
///
/// # Errors
/// What is not as promised.
pub async fn judge(world: &mut World) -> Result<Judged, String> {
    let judged = judge_at_rest(world).await?;
    let fail = |e: anyhow::Error| format!("{e:#}");
    world.centre.start().await.map_err(fail)?;
    world.gateway.start().map_err(fail)?;
    Ok(judged)
}

/// The same, and leaves both stopped.
///
/// # Errors
/// What is not as promised.
pub async fn judge_at_rest(world: &mut World) -> Result<Judged, String> {
    let fail = |e: anyhow::Error| format!("{e:#}");
    world.field.silence(true);
    wait_for("the devices to be silent", Duration::from_secs(5), || async {
        let newest = (0..METERS.len()).filter_map(|m| world.field.newest(m)).map(|g| g.at_ms);
        let last = newest.max().unwrap_or(0);
        if now_ms() - last > STILL_MS { Ok(()) } else { Err(format!("answered at {last}")) }
    })
    .await;
    let stopped = world.gateway.stop().await;
    world.field.silence(false);
    stopped.map_err(fail)?;
    world.caught_up().await;
    let mut stored = Vec::new();
    for meter in METERS {
        stored.push(world.stored(meter, "ep_imp", 0).await?);
    }
    let mut levels = BTreeMap::new();
    for tank in TANKS {
        levels.insert(tank, dips(&world.stored(tank, "level_pct", 0).await?));
    }
    let history = world.stored(stranger::DEVICE, "level_pct", 0).await?;
    world.centre.stop().await.map_err(fail)?;

    let declared = spool_is_balanced(world)?;
    let mut judged = tokio::task::block_in_place(|| numbers(world, &stored, declared))?;
    logged_once(world)?;
    let times: BTreeSet<i64> = history.iter().map(|(t, _)| *t).collect();
    if times.len() as u64 != world.stranger.sent || history.len() != times.len() {
        return Err(format!(
            "{}: {} samples of history sent, {} rows at {} times stored",
            stranger::DEVICE,
            world.stranger.sent,
            history.len(),
            times.len()
        ));
    }
    judged.verdicts = journals::same_verdicts(world)?;
    judged.told = journals::told_once(world, &levels)?;
    Ok(judged)
}

/// The gateway's own account, from its stopped spool; gives what it has declared.
fn spool_is_balanced(world: &World) -> Result<u64, String> {
    let options = SpoolOptions { now_ms: now_ms(), ..SpoolOptions::default() };
    let (spool, report) = Spool::open(&world.spool_dir, &options).map_err(|e| e.to_string())?;
    if report.memory.is_some() || report.set_aside.is_some() {
        return Err(format!("the spool is not whole: {report:?}"));
    }
    let stats = spool.stats().map_err(|e| e.to_string())?;
    if !stats.is_balanced() {
        return Err(format!("polled is not stored + quarantined + declared + backlog: {stats:?}"));
    }
    if stats.backlog > 0 && world.disks.is_none() {
        return Err(format!(
            "a backlog is left after an orderly end: {stats:?}; gateway: {}",
            tail(&world.gateway.output())
        ));
    }
    Ok(stats.declared)
}

/// The log holds no block twice.
fn logged_once(world: &World) -> Result<(), String> {
    let log =
        read_only(&world.centre.folder.join("data/log/log.db")).map_err(|e| format!("{e:#}"))?;
    let sql = "SELECT count(*) FROM (SELECT 1 FROM record WHERE block = 1 GROUP BY gateway, epoch, seq HAVING count(*) > 1)";
    let twice: i64 = log.query_row(sql, [], |r| r.get(0)).map_err(|e| e.to_string())?;
    if twice > 0 { Err(format!("{twice} block(s) are logged twice")) } else { Ok(()) }
}

/// Every number given out, once.
fn numbers(world: &World, stored: &[Vec<(i64, f64)>], declared: u64) -> Result<Judged, String> {
    let aside = in_quarantine(world)?;
    let given = world.field.given();
    let mut judged = Judged { sent: given.len() as u64, ..Judged::default() };
    let known: BTreeSet<(usize, u64)> =
        given.iter().map(|g| (g.meter, f64::from(g.n).to_bits())).collect();
    let mut open = Vec::new();
    for (meter, rows) in stored.iter().enumerate() {
        let mut times: BTreeMap<u32, i64> = BTreeMap::new();
        for (t, value) in rows {
            if !known.contains(&(meter, value.to_bits())) {
                return Err(format!(
                    "{}: {value} at {t} is stored and was never given",
                    METERS[meter]
                ));
            }
            let n = format!("{value:.0}").parse::<u32>().map_err(|e| e.to_string())?;
            if let Some(before) = times.insert(n, *t) {
                return Err(format!("{}: {n} is stored twice, at {before} and {t}", METERS[meter]));
            }
        }
        let is_in_order = times.values().zip(times.values().skip(1)).all(|(a, b)| a < b);
        if !is_in_order && !world.clock_was_set {
            return Err(format!("{}: times are not in the order of the numbers", METERS[meter]));
        }
        for one in given.iter().filter(|g| g.meter == meter) {
            if times.contains_key(&one.n) {
                judged.stored += 1;
            } else if aside.contains(&(meter, one.n)) {
                judged.quarantined += 1;
            } else if world
                .kills
                .iter()
                .any(|k| (-KILL_COST_MS..=KILL_AFTER_MS).contains(&(one.at_ms - k)))
            {
                judged.forgiven += 1;
            } else {
                open.push(*one);
            }
        }
    }
    if !open.is_empty() {
        // The spool keeps what is acked: what was never in it was never polled, the answer came too late.
        let (log, spool) = (held(&log_of(world), LOG)?, held(&spool_of(world), SPOOL)?);
        let is_held = |one: &Given| {
            let bits = f64::from(one.n).to_bits();
            log.contains(&bits) || spool.contains(&bits)
        };
        let (lost, unpolled): (Vec<Given>, Vec<Given>) = open.into_iter().partition(is_held);
        (judged.declared, judged.unpolled) = (lost.len() as u64, unpolled.len() as u64);
        if judged.declared * REPLY_SAMPLES > declared {
            return Err(format!(
                "{} number(s) are lost, {declared} samples declared; the first: {:?}; kills {:?}",
                lost.len(),
                &lost[..lost.len().min(5)],
                world.kills
            ));
        }
        if world.disks.is_some() && world.gateway.output().contains(EVICTED) {
            // It evicted them for want of room and went on in memory, where the count of them ended with it.
            judged.declared += std::mem::take(&mut judged.unpolled);
        }
        if judged.unpolled > 1 + judged.sent / LATE_ONE_IN {
            return Err(format!(
                "{} of {} answers never reached the spool: {:?}",
                judged.unpolled,
                judged.sent,
                &unpolled[..unpolled.len().min(5)]
            ));
        }
    }
    Ok(judged)
}

/// Blocks of the log and of the spool.
const LOG: &str = "SELECT bytes FROM record WHERE block = 1";
const SPOOL: &str = "SELECT bytes FROM body";

fn log_of(world: &World) -> PathBuf {
    world.centre.folder.join("data/log/log.db")
}

fn spool_of(world: &World) -> PathBuf {
    world.spool_dir.join("spool.db")
}

/// The values in all blocks of a file, by their bits.
fn held(path: &Path, sql: &str) -> Result<BTreeSet<u64>, String> {
    let mut found = BTreeSet::new();
    for bytes in bodies(path, sql)? {
        let Ok(block) = Block::decode(&bytes) else { continue };
        let tables = block.readings().into_iter().flat_map(|r| &r.tables);
        let values = tables.flat_map(|t| &t.columns).flat_map(|c| c.values());
        found.extend(values.map(|v| v.to_bits()));
    }
    Ok(found)
}

fn bodies(path: &Path, sql: &str) -> Result<Vec<Vec<u8>>, String> {
    let file = read_only(path).map_err(|e| format!("{e:#}"))?;
    let read = || {
        let mut statement = file.prepare(sql)?;
        let rows = statement.query_map([], |r| r.get::<_, Vec<u8>>(0))?;
        rows.collect::<rusqlite::Result<Vec<_>>>()
    };
    read().map_err(|e| format!("{}: {e}", path.display()))
}

/// Numbers in quarantined blocks, whole or row by row.
fn in_quarantine(world: &World) -> Result<BTreeSet<(usize, u32)>, String> {
    let path = world.centre.folder.join("data/quarantine.db");
    let mut found = BTreeSet::new();
    for bytes in bodies(&path, "SELECT bytes FROM entry")? {
        let Ok(block) = Block::decode(&bytes) else { continue };
        let Some(readings) = block.readings() else { continue };
        for column in readings.tables.iter().flat_map(|t| &t.columns) {
            for value in column.values() {
                let is_count = value.fract() == 0.0 && (1.0..1e9).contains(value);
                if let (true, Ok(n)) = (is_count, format!("{value:.0}").parse()) {
                    // Which meter it was is not in the number: either may claim it once it is missing.
                    found.extend((0..METERS.len()).map(|meter| (meter, n)));
                }
            }
        }
    }
    Ok(found)
}
