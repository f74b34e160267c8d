//! The default store: one folder of SQLite files, columns compressed with pco, no server to run.
//!
//! ```text
//! head.sqlite      hand-overs as they came, and the position: one synced transaction each      file.rs, segment.rs
//!    │ seal: sort, merge, compress                                                              seal.rs, merge.rs
//!    ▼
//! 2026-11-23.day   sealed parts, summaries per part and minute, applied position                day.rs, part.rs
//! ```
//!
//! The store writer owns [`EmbeddedStore`]; any number of readers work beside it on connections of their own. Nothing is
//! visible before it is durable. The same series and time twice: the last write stands, in the head, at the seal and in
//! an answer. Memory is bounded by [`SEAL_POINTS_MAX`] samples in the head.

mod backup;
mod check;
mod day;
mod file;
mod head;
mod ledger;
mod mend;
mod merge;
mod part;
mod parts;
mod reader;
mod schema;
mod seal;
mod segment;
mod view;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use wire::{Manifest, ManifestKey};

use super::bounds::{Bounds, RowFilter, RowVerdict};
use super::line::Refused;
use super::{HistoryReader, Position, RefusalSink, Store, StoreBatch, StoreError, names};
use crate::log::DecodedBlock;
pub use backup::{BackupReport, backup};
pub use check::{CheckReport, PROBLEMS_MAX, Problem, check, upgrade};
use file::HeadFile;
use head::Head;
use ledger::Ledger;
pub use ledger::ReadCounts;
pub use view::EmbeddedView;

/// The head is sealed at this many samples, where few series share them.
pub const SEAL_POINTS_MIN: usize = 1 << 20;
/// The head is sealed at this many samples at the latest: about 80 to 130 MB.
pub const SEAL_POINTS_MAX: usize = 8 << 20;
/// The head is sealed once it has this many samples per series: enough for a useful part.
const SEAL_POINTS_PER_SERIES: usize = 256;
/// The head is sealed at this many hand-overs, so that a restart is quick.
pub const SEAL_SEGMENTS_MAX: usize = 8_192;
/// Most manifests whose strips are remembered.
const PLANS_MAX: usize = 4_096;
/// The head file.
const HEAD: &str = "head.sqlite";
/// Locked by the process that writes the folder; others may read.
const LOCK: &str = "store.lock";
/// One day, ms.
const DAY_MS: i64 = day::DAY_MS;

/// Where and how long.
#[derive(Debug, Clone)]
pub struct EmbeddedOptions {
    /// Folder of the files, made if missing.
    pub dir: PathBuf,
    /// How many whole UTC days are kept; `None` = for ever. Older samples are refused as `too_old`.
    pub retention_days: Option<u32>,
    /// Lower bound of the head's size before it is sealed; [`SEAL_POINTS_MIN`] unless a test wants it small.
    pub seal_points: usize,
}

impl EmbeddedOptions {
    /// Everything in `dir`, kept for ever.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into(), retention_days: None, seal_points: SEAL_POINTS_MIN }
    }
}

/// What an opening found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OpenReport {
    /// Samples that were durable but not yet sealed.
    pub head_samples: usize,
    /// A damaged head file, set aside under this name: what it held must be read from the log again.
    pub set_aside: Option<PathBuf>,
}

/// The embedded store; one per folder and process.
#[derive(Debug)]
pub struct EmbeddedStore {
    options: EmbeddedOptions,
    bounds: Bounds,
    file: HeadFile,
    head: Arc<RwLock<Head>>,
    sink: Arc<dyn RefusalSink>,
    ledger: Arc<Ledger>,
    plans: HashMap<ManifestKey, Vec<Result<u32, String>>>,
    body: Vec<u8>,
    cursor: Option<Position>,
    sealed: Option<Position>,
    /// Newest receive time of any block, ms: what retention counts back from.
    newest: i64,
    /// Held until the end: one writer a folder.
    _lock: std::fs::File,
}

impl EmbeddedStore {
    /// Opens the folder, made if it is new. A damaged head file is set aside and the position goes back to what the
    /// day files are sure of.
    ///
    /// # Errors
    /// [`StoreError::File`] when the folder cannot be used or another process uses it.
    pub fn open(
        options: EmbeddedOptions,
        sink: Arc<dyn RefusalSink>,
    ) -> Result<(Self, OpenReport), StoreError> {
        let io = |e: std::io::Error| file_error("make folder", &options.dir, e.to_string());
        std::fs::create_dir_all(&options.dir).map_err(io)?;
        let lock = lock(&options.dir)?;
        let path = options.dir.join(HEAD);
        let at = |e: file::HeadError| e.at("open", &path);
        let mut report = OpenReport::default();
        let (file, head, [cursor, sealed]) = match HeadFile::open(&path) {
            Ok(opened) => opened,
            Err(error) if error.is_damage() => {
                report.set_aside = Some(set_aside(&path)?);
                let (file, head, _) = HeadFile::open(&path).map_err(at)?;
                let safe = safe_position(&options.dir)?;
                if let Some(safe) = safe {
                    file.set_position("cursor", safe).map_err(at)?;
                    file.set_position("sealed", safe).map_err(at)?;
                }
                (file, head, [safe; 2])
            }
            Err(error) => return Err(at(error)),
        };
        report.head_samples = head.points();
        let bounds = match options.retention_days {
            Some(days) => Bounds { past_ms: i64::from(days) * DAY_MS },
            None => Bounds::default(),
        };
        let store = Self {
            options,
            bounds,
            file,
            head: Arc::new(RwLock::new(head)),
            sink,
            ledger: Arc::default(),
            plans: HashMap::new(),
            body: Vec::new(),
            cursor,
            sealed,
            newest: i64::MIN,
            _lock: lock,
        };
        Ok((store, report))
    }

    /// Moves everything from the head into day files; done by itself when the head is large enough.
    ///
    /// # Errors
    /// [`StoreError::File`]; the head keeps what it has and the call may be repeated.
    pub fn seal(&mut self) -> Result<(), StoreError> {
        let Some(cursor) = self.cursor else { return Ok(()) };
        spool::fail_point!("embedded.seal.before");
        {
            let head = self.head.read().unwrap_or_else(PoisonError::into_inner);
            seal::seal(&head, &self.options.dir, cursor, self.sealed, &self.ledger)?;
        }
        let cleared = self.file.clear(Some(cursor));
        cleared.map_err(|e| e.at("empty", &self.options.dir.join(HEAD)))?;
        spool::fail_point!("embedded.seal.after");
        self.sealed = Some(cursor);
        self.plans.clear();
        self.head.write().unwrap_or_else(PoisonError::into_inner).clear();
        self.retain(self.newest)
    }

    /// How much of day files was read since the opening, by all readers.
    pub fn reads(&self) -> ReadCounts {
        self.ledger.reads()
    }

    fn is_full(&self) -> bool {
        let head = self.head.read().unwrap_or_else(PoisonError::into_inner);
        let wanted = head.series() * SEAL_POINTS_PER_SERIES;
        #[cfg(feature = "failpoints")]
        if let Some(most) = spool::fail::number("DAVY_SEAL_SEGMENTS") {
            return self.file.segments() as u64 >= most;
        }
        let limit = wanted.clamp(self.options.seal_points.min(SEAL_POINTS_MAX), SEAL_POINTS_MAX);
        head.points() >= limit || self.file.segments() >= SEAL_SEGMENTS_MAX
    }

    /// Strips of a manifest's replies, made if the head has none.
    fn plan(&mut self, block: &DecodedBlock) -> &[Result<u32, String>] {
        let key = block.readings.manifest;
        if self.plans.len() >= PLANS_MAX && !self.plans.contains_key(&key) {
            self.plans.clear();
        }
        let head = &self.head;
        self.plans.entry(key).or_insert_with(|| {
            let mut head = head.write().unwrap_or_else(PoisonError::into_inner);
            strips(&mut head, &block.manifest)
        })
    }

    /// Appends a block's rows to the segment under construction.
    fn push(&mut self, block: &DecodedBlock, body: &mut Vec<u8>) {
        let mut filter = RowFilter::new(self.bounds, block.received_at, &block.masked_rows);
        let mut refused = Refused::default();
        let plan = self.plan(block);
        for table in &block.readings.tables {
            let all = filter.keeps_all(&table.times);
            let width = table.columns.len() as u64;
            let (mut strips, mut kept) = (Vec::with_capacity(table.times.len()), Vec::new());
            for (row, (&time, &reply)) in table.times.iter().zip(&table.replies).enumerate() {
                let verdict = if all { RowVerdict::Keep } else { filter.next(time) };
                refused.time(verdict, time, width);
                match plan.get(reply as usize) {
                    _ if verdict != RowVerdict::Keep => {}
                    Some(Ok(strip)) => {
                        strips.push(*strip);
                        kept.push(u32::try_from(row).unwrap_or(u32::MAX));
                    }
                    Some(Err(reason)) => refused.name(reason, width),
                    None => refused.name("row names a reply that the manifest lacks", width),
                }
            }
            let kept = (kept.len() < table.times.len()).then_some(kept.as_slice());
            if !strips.is_empty() {
                segment::push_table(table, &strips, kept, body);
            }
        }
        refused.report(block, &*self.sink);
    }

    /// Whether a block writes to strips that younger ones shadow: see [`Head::is_shadowed`].
    fn needs_seal(&mut self, block: &DecodedBlock) -> bool {
        self.plan(block);
        if !self.head.read().unwrap_or_else(PoisonError::into_inner).has_shadows() {
            return false;
        }
        let strips: Vec<u32> = self.plan(block).iter().flatten().copied().collect();
        let head = self.head.read().unwrap_or_else(PoisonError::into_inner);
        strips.iter().any(|id| head.is_shadowed(*id))
    }
}

impl Store for EmbeddedStore {
    fn write(&mut self, batch: &StoreBatch) -> Result<(), StoreError> {
        if self.is_full() {
            self.seal()?;
        }
        for block in &batch.blocks {
            self.newest = self.newest.max(block.received_at);
            if !block.readings.tables.is_empty() && self.needs_seal(block) {
                self.seal()?;
            }
        }
        let mut body = std::mem::take(&mut self.body);
        segment::begin(&mut body);
        for block in &batch.blocks {
            self.push(block, &mut body);
        }
        segment::finish(&mut body);
        let committed = {
            let head = self.head.read().unwrap_or_else(PoisonError::into_inner);
            self.file.commit(&head, &body, batch.up_to)
        };
        committed.map_err(|e| e.at("write", &self.options.dir.join(HEAD)))?;
        self.cursor = Some(batch.up_to);
        if let Some(tables) = segment::read(&body) {
            let mut head = self.head.write().unwrap_or_else(PoisonError::into_inner);
            tables.iter().for_each(|table| head.append(table));
        }
        self.body = body;
        Ok(())
    }

    fn position(&self) -> Result<Option<Position>, StoreError> {
        Ok(self.cursor)
    }

    fn reset_position(&mut self, position: Position) -> Result<(), StoreError> {
        let path = self.options.dir.join(HEAD);
        self.file.set_position("cursor", position).map_err(|e| e.at("write", &path))?;
        self.cursor = Some(position);
        Ok(())
    }

    fn reader(&self) -> Arc<dyn HistoryReader> {
        let (dir, head) = (self.options.dir.clone(), Arc::clone(&self.head));
        Arc::new(reader::EmbeddedReader::new(dir, head, Arc::clone(&self.ledger)))
    }

    fn retain(&mut self, now_ms: i64) -> Result<(), StoreError> {
        let Some(days) = self.options.retention_days else { return Ok(()) };
        let files = day_files(&self.options.dir)?;
        // Counted from the newest data where that is older than the clock: a clock that jumps ahead deletes nothing.
        let Some(newest) = files.iter().map(|(day, _)| *day).max() else { return Ok(()) };
        let oldest = newest.min(day::day_of(now_ms)) - i64::from(days);
        for (day, path) in files {
            if day < oldest {
                remove(&path)?;
                self.ledger.forget(&path);
            }
        }
        Ok(())
    }
}

/// Takes the folder for this process.
fn lock(dir: &Path) -> Result<std::fs::File, StoreError> {
    let path = dir.join(LOCK);
    let io = |e: std::io::Error| file_error("lock", &path, e.to_string());
    let file = std::fs::File::options().create(true).append(true).open(&path).map_err(io)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => {
            let reason = "in use: does another davy-ingest run on this folder? stop it or configure another folder";
            Err(file_error("lock", &path, reason.to_owned()))
        }
        Err(std::fs::TryLockError::Error(error)) => Err(io(error)),
    }
}

/// The strips of a manifest's replies, or why a reply can have none.
fn strips(head: &mut Head, manifest: &Manifest) -> Vec<Result<u32, String>> {
    let replies = manifest.replies.iter().map(|reply| {
        names::check_tag(&manifest.site)?;
        names::check_tag(&reply.device)?;
        for point in &reply.points {
            names::check_quantity(&point.quantity)?;
        }
        let quantities = reply.points.iter().map(|p| p.quantity.clone()).collect();
        Ok(head.strip(&manifest.site, &reply.device, quantities))
    });
    replies.collect()
}

/// Moves a damaged head file out of the way; returns its new name.
fn set_aside(path: &Path) -> Result<PathBuf, StoreError> {
    let free = (1..10_000_u32).map(|n| path.with_file_name(format!("head.damaged-{n}.sqlite")));
    let Some(aside) = free.into_iter().find(|p| !p.exists()) else {
        let reason = "10,000 damaged files lie beside it already: remove them".to_owned();
        return Err(file_error("set aside", path, reason));
    };
    let io = |e: std::io::Error| file_error("set aside", path, e.to_string());
    std::fs::rename(path, &aside).map_err(io)?;
    for ending in ["-wal", "-shm"] {
        let side = |p: &Path| PathBuf::from(format!("{}{ending}", p.display()));
        if side(path).exists() {
            std::fs::rename(side(path), side(&aside)).map_err(io)?;
        }
    }
    Ok(aside)
}

/// The position that the day files are sure of: the end of the last whole seal that any of them knows.
fn safe_position(dir: &Path) -> Result<Option<Position>, StoreError> {
    let mut safe: Option<Position> = None;
    for (_, path) in day_files(dir)? {
        let read = || -> Result<Option<Position>, day::DayError> {
            match schema::open_reader(&path)? {
                Some((db, _)) => Ok(day::position(&db, "safe")?),
                None => Ok(None),
            }
        };
        let found = match read() {
            Ok(found) => found,
            // One damaged day must not keep the store from opening; the others know of earlier seals.
            Err(error) if error.is_damage() => None,
            Err(error) => return Err(error.at("read day file", &path)),
        };
        if found.is_some_and(|f| safe.is_none_or(|s| f.position > s.position)) {
            safe = found;
        }
    }
    Ok(safe)
}

/// The day files of a folder.
fn day_files(dir: &Path) -> Result<Vec<(i64, PathBuf)>, StoreError> {
    let io = |e: std::io::Error| file_error("list", dir, e.to_string());
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(io)? {
        let entry = entry.map_err(io)?;
        if let Some(day) = entry.file_name().to_str().and_then(day::day_of_name) {
            files.push((day, entry.path()));
        }
    }
    Ok(files)
}

fn remove(path: &Path) -> Result<(), StoreError> {
    for ending in ["", "-wal", "-shm"] {
        let file = PathBuf::from(format!("{}{ending}", path.display()));
        match std::fs::remove_file(&file) {
            Ok(()) => {}
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(file_error("delete", &file, e.to_string())),
        }
    }
    Ok(())
}

fn file_error(action: &'static str, path: &Path, reason: String) -> StoreError {
    StoreError::File { action, path: path.display().to_string(), reason }
}
