//! Moves history from one store to another: embedded to InfluxDB, InfluxDB to embedded, a backup into a store.
//!
//! Samples go the way that readings always go, as blocks through [`Store::write`], so every rule about names, times and
//! last writes holds; the target's position in the log is not moved. A day is done when the target has as many samples
//! of each series as were read; done days are kept in a small file, so that a migration that broke off goes on there.
//! Doing a day again changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use wire::block::Body;
use wire::columns::{Builder, PushError};
use wire::manifest::{Point, Reply};
use wire::{Block, Epoch, GatewayName, Manifest, Mark, Readings};

use super::source::{DeviceSeries, Filter, Sample, SeriesKey, Source, Step, date};
use super::{Position, Store, StoreBatch, StoreError};
use crate::log::DecodedBlock;

/// Samples handed to the target at once.
const BATCH_SAMPLES: usize = 100_000;
/// Differences listed at most.
pub const DIFFERENCES_MAX: usize = 1_000;
/// The gateway that migrated blocks name in messages.
const GATEWAY: &str = "migration";

/// What a migration did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MigrateReport {
    /// Days moved now.
    pub days: usize,
    /// Days that an earlier run had moved.
    pub days_before: usize,
    /// Samples moved now.
    pub samples: u64,
    /// Places of the source that could not be read.
    pub damaged: u64,
    /// Where the target has fewer samples than were read: day, series, read, found.
    pub missing: Vec<(i64, SeriesKey, u64, u64)>,
}

/// Why a migration broke off; what was moved so far stays and counts.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// One of the stores.
    #[error("a store failed; start the same command again to go on")]
    Store(#[from] StoreError),
    /// The file of done days.
    #[error("the file that remembers finished days cannot be used")]
    Progress(#[from] std::io::Error),
    /// A fault of the program.
    #[error("samples of {device} do not fit into a block: {reason}")]
    Block {
        /// Whose samples.
        device: String,
        /// What the builder said.
        reason: String,
    },
}

/// From where to where.
pub struct Migration<'a> {
    /// What is read.
    pub source: &'a mut dyn Source,
    /// What is written.
    pub target: &'a mut dyn Store,
    /// Reads the target anew for the comparison, after everything of a day was written.
    pub reopen: &'a mut dyn FnMut() -> Result<Box<dyn Source>, StoreError>,
    /// File of the days that are done; made if missing.
    pub progress: &'a Path,
    /// What is wanted.
    pub filter: &'a Filter,
}

impl std::fmt::Debug for Migration<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Migration").field("progress", &self.progress).finish_non_exhaustive()
    }
}

impl Migration<'_> {
    /// Runs it; `tell` hears of each day.
    ///
    /// # Errors
    /// [`MigrateError`].
    pub fn run(mut self, tell: &mut dyn FnMut(Step)) -> Result<MigrateReport, MigrateError> {
        let mut done_days = read_progress(self.progress)?;
        let mut report = MigrateReport::default();
        let wanted = |day: &i64| self.filter.has(*day);
        let days: Vec<i64> = self.source.days()?.into_iter().filter(wanted).collect();
        let of = days.len();
        for (index, day) in days.into_iter().enumerate() {
            if done_days.contains(&day) {
                report.days_before += 1;
                continue;
            }
            let read = self.copy(day, &mut report)?;
            let whole = self.compare(day, &read, &mut report)?;
            report.days += 1;
            if whole {
                done_days.insert(day);
                write_progress(self.progress, &done_days)?;
            }
            tell(Step { day, done: index + 1, of, samples: report.samples });
        }
        Ok(report)
    }

    /// Copies a day; returns how many samples each series has.
    fn copy(
        &mut self,
        day: i64,
        report: &mut MigrateReport,
    ) -> Result<BTreeMap<SeriesKey, u64>, MigrateError> {
        let mut counts: BTreeMap<SeriesKey, u64> = BTreeMap::new();
        let (mut blocks, mut waiting) = (Vec::new(), 0);
        let damaged = &mut report.damaged;
        for all in self.source.devices(day, &mut |_, _| *damaged += 1)? {
            let Some(of) = self.filter.of(&all) else { continue };
            for hour in self.filter.hours(day) {
                let damaged = &mut report.damaged;
                let read = self.source.read(&of, hour.start, hour.end, &mut |_, found| {
                    *damaged += u64::from(found.from < found.to);
                })?;
                for (quantity, samples) in of.quantities.iter().zip(&read) {
                    if !samples.is_empty() {
                        let key = [of.site.clone(), of.device.clone(), quantity.clone()];
                        *counts.entry(key).or_default() += samples.len() as u64;
                        report.samples += samples.len() as u64;
                        waiting += samples.len();
                    }
                }
                pack(&of, &read, &mut blocks)?;
                if waiting >= BATCH_SAMPLES {
                    self.write(std::mem::take(&mut blocks))?;
                    waiting = 0;
                }
            }
        }
        self.write(blocks)?;
        Ok(counts)
    }

    fn write(&mut self, blocks: Vec<Arc<DecodedBlock>>) -> Result<(), StoreError> {
        if blocks.is_empty() {
            return Ok(());
        }
        // The target's own place in the log: what is migrated comes from no log.
        let up_to = self.target.position()?.unwrap_or(Position { log_id: 0, position: 0 });
        self.target.write(&StoreBatch { up_to, blocks })
    }

    /// Whether the target has everything that was read of a day.
    fn compare(
        &mut self,
        day: i64,
        read: &BTreeMap<SeriesKey, u64>,
        report: &mut MigrateReport,
    ) -> Result<bool, StoreError> {
        let found = (self.reopen)()?.counts(day)?;
        let mut whole = true;
        for (series, &count) in read {
            let has = found.get(series).copied().unwrap_or(0);
            if has < count {
                whole = false;
                tracing::warn!(
                    day = date(day),
                    ?series,
                    read = count,
                    found = has,
                    "the target has fewer samples than were read"
                );
                if report.missing.len() < DIFFERENCES_MAX {
                    report.missing.push((day, series.clone(), count, has));
                }
            }
        }
        Ok(whole)
    }
}

/// Packs an hour of a device into blocks: quantities with the same times become one reply, as they were read.
fn pack(
    of: &DeviceSeries,
    read: &[Vec<Sample>],
    out: &mut Vec<Arc<DecodedBlock>>,
) -> Result<(), MigrateError> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for (index, samples) in read.iter().enumerate().filter(|(_, samples)| !samples.is_empty()) {
        let same = |group: &&mut Vec<usize>| {
            let times = |of: &[Sample]| of.iter().map(|s| s.t).collect::<Vec<_>>();
            read[group[0]].len() == samples.len() && times(&read[group[0]]) == times(samples)
        };
        match groups.iter_mut().find(same) {
            Some(group) if group.len() < wire::limits::REPLY_POINTS_MAX => group.push(index),
            _ => groups.push(vec![index]),
        }
    }
    for group in groups {
        pack_group(of, read, &group, out)?;
    }
    Ok(())
}

fn pack_group(
    of: &DeviceSeries,
    read: &[Vec<Sample>],
    group: &[usize],
    out: &mut Vec<Arc<DecodedBlock>>,
) -> Result<(), MigrateError> {
    let wrong = |reason: String| MigrateError::Block { device: of.device.clone(), reason };
    let gateway = GatewayName::new(GATEWAY).map_err(|e| wrong(e.to_string()))?;
    let point = |i: &usize| Point { quantity: of.quantities[*i].clone(), unit: String::new() };
    let reply = Reply {
        device: of.device.clone(),
        period_ms: 0,
        points: group.iter().map(point).collect(),
        profile: GATEWAY.to_owned(),
        profile_version: String::new(),
    };
    let (site, replies) = (of.site.clone(), vec![reply]);
    let manifest = Manifest { gateway: gateway.clone(), site, replies, replaces: None };
    let key = wire::manifest::key(&manifest.encode());
    let manifest = Arc::new(manifest);
    let mut builder = Builder::new(&manifest, key);
    let mut last = i64::MIN;
    let mut row: Vec<(f64, Mark)> = Vec::with_capacity(group.len());
    let mut close = |builder: &mut Builder, received_at: i64| {
        let readings = Arc::new(builder.take());
        if !readings.tables.is_empty() {
            out.push(block(&gateway, &manifest, readings, received_at));
        }
    };
    for index in 0..read[group[0]].len() {
        row.clear();
        row.extend(group.iter().map(|i| (read[*i][index].value, read[*i][index].mark)));
        let t = read[group[0]][index].t;
        match builder.push(0, t, &row) {
            Ok(()) => {}
            Err(PushError::Full) => {
                close(&mut builder, last);
                builder.push(0, t, &row).map_err(|e| wrong(e.to_string()))?;
            }
            Err(error) => return Err(wrong(error.to_string())),
        }
        last = t;
    }
    close(&mut builder, last);
    Ok(())
}

fn block(
    gateway: &GatewayName,
    manifest: &Arc<Manifest>,
    readings: Arc<Readings>,
    received_at: i64,
) -> Arc<DecodedBlock> {
    Arc::new(DecodedBlock {
        position: 0,
        gateway: gateway.clone(),
        site: manifest.site.clone(),
        manifest: Arc::clone(manifest),
        block: Block {
            gateway: gateway.clone(),
            epoch: Epoch(0),
            seq: 0,
            link: None,
            clock: wire::block::Clock::default(),
            fact_revision: 0,
            list: None,
            body: Body::Readings(Readings::default()),
        },
        readings,
        // The bounds of a store count from the receive time: these samples were taken once already.
        received_at,
        masked_rows: Vec::new(),
        is_ahead: false,
    })
}

fn read_progress(path: &Path) -> std::io::Result<BTreeSet<i64>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(text.lines().filter_map(|line| line.parse().ok()).collect()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(BTreeSet::new()),
        Err(error) => Err(error),
    }
}

/// Replaced whole: a kill leaves the old list, and a day done twice changes nothing.
fn write_progress(path: &Path, days: &BTreeSet<i64>) -> std::io::Result<()> {
    let text: String = days.iter().map(|day| format!("{day}\n")).collect();
    let new = path.with_extension("new");
    std::fs::write(&new, text)?;
    std::fs::File::open(&new)?.sync_all()?;
    std::fs::rename(&new, path)
}
