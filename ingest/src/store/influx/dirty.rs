//! Which hours of which site are not condensed, or no longer as their samples are: a small file beside the position.
//!
//! The writer marks what a batch touches before it sends the batch, the condenser takes away what it has rebuilt, the
//! reader asks samples where an hour is marked. An hour that is marked for nothing costs time; one that is not marked
//! though its samples changed would be a wrong answer: whatever is in doubt is marked. Everything is marked at first.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::{Clock as _, SystemClock};
use crate::store::bounds::{Bounds, EARLIEST_MS};
use crate::store::cursor;
use crate::store::history::TIME_MAX_MS;
use crate::store::{StoreBatch, StoreError};

/// Ms of an hour.
pub(super) const HOUR_MS: i64 = 3_600_000;
/// Most spans of hours kept of one site; beyond it the nearest grow together, marking more than is needed.
const SPANS_MAX: usize = 128;
/// Most spans that a query is cut into: many small ones cost more than reading samples in between.
pub(super) const QUERY_SPANS_MAX: usize = 9;
/// Hours that are condensed at once: at first, and at most where that is quick.
const PACE: i64 = 6;
const PACE_MAX: i64 = 24 * 31;
/// What is quick, and what is slow: then fewer hours are taken the next time.
const QUICK: Duration = Duration::from_secs(2);
const SLOW: Duration = Duration::from_secs(20);
/// How long a site waits at least after it could not be condensed.
const FAILED_PAUSE_MS: i64 = 300_000;
/// Stands for all sites.
const ALL: &str = "";
const FORMAT: &str = "davy-condensed-1";

/// A part of a query's range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    /// Ms, inclusive.
    pub(super) from: i64,
    /// Ms, exclusive.
    pub(super) to: i64,
    /// The condensed data are whole here.
    pub(super) is_condensed: bool,
}

/// What is to be condensed next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Job {
    /// `None` = every site.
    pub(super) site: Option<String>,
    /// First ms and end, whole hours.
    pub(super) range: (i64, i64),
}

/// Hours from, inclusive, to, exclusive, since the epoch; ascending, apart from each other.
type Hours = Vec<(i64, i64)>;

#[derive(Debug)]
struct Inner {
    sites: BTreeMap<String, Hours>,
    /// Touched by the batch on its way: nobody may condense these.
    flying: BTreeSet<(String, i64)>,
    /// What is being condensed, and what was touched meanwhile.
    working: Option<(String, (i64, i64))>,
    again: Vec<(String, i64)>,
    /// When a site's ended hours were touched last, ms that never go back.
    touched: BTreeMap<String, i64>,
    /// The buckets are there and somebody condenses.
    is_ready: bool,
    is_changed: bool,
    /// Hours that are condensed at once.
    pace: i64,
}

impl Default for Inner {
    fn default() -> Self {
        Self {
            sites: BTreeMap::new(),
            flying: BTreeSet::new(),
            working: None,
            again: Vec::new(),
            touched: BTreeMap::new(),
            is_ready: false,
            is_changed: false,
            pace: PACE,
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Dirty {
    path: PathBuf,
    /// Which database and bucket the file speaks of.
    of: String,
    inner: Mutex<Inner>,
}

impl Dirty {
    /// Reads the file. None yet, a damaged one, or one of another bucket: everything is marked.
    pub(super) fn open(path: &Path, of: &str) -> Result<Self, StoreError> {
        let sites = match std::fs::read(path) {
            Ok(bytes) => String::from_utf8(bytes).ok().and_then(|text| parse(&text, of)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
            Err(e) => return Err(cursor::failed("read marks of condensed hours", path, &e)),
        };
        let mut inner = Inner::default();
        match sites {
            Some(sites) => inner.sites = sites,
            None => inner.everything(),
        }
        Ok(Self { path: path.to_owned(), of: of.to_owned(), inner: Mutex::new(inner) })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing is condensed any more.
    pub(super) fn forget(&self) {
        self.lock().everything();
    }

    /// From now on somebody condenses.
    pub(super) fn make_ready(&self) {
        self.lock().is_ready = true;
    }

    /// Marks the hours that a batch touches; before it is sent.
    pub(super) fn mark(&self, batch: &StoreBatch, bounds: Bounds) {
        let mut inner = self.lock();
        let inner = &mut *inner;
        let mut last = ("", i64::MIN);
        for block in &batch.blocks {
            let (earliest, latest) = bounds.span(block.received_at);
            let site = block.manifest.site.as_str();
            for time in block.readings.tables.iter().flat_map(|table| &table.times) {
                let hour = time.div_euclid(HOUR_MS);
                if (site, hour) != last && (earliest..=latest).contains(time) {
                    last = (site, hour);
                    inner.touch(site, hour);
                }
            }
        }
    }

    /// The batch is stored: makes the marks durable.
    pub(super) fn landed(&self) -> Result<(), StoreError> {
        let mut inner = self.lock();
        inner.flying.clear();
        self.save(&mut inner)
    }

    fn save(&self, inner: &mut Inner) -> Result<(), StoreError> {
        if inner.is_changed {
            let text = text(&inner.sites, &self.of);
            cursor::replace(&self.path, text.as_bytes())
                .map_err(|e| cursor::failed("write marks of condensed hours", &self.path, &e))?;
            inner.is_changed = false;
        }
        Ok(())
    }

    /// Cuts a range of a site into what is condensed and what is not.
    pub(super) fn spans(&self, site: &str, from: i64, to: i64) -> Vec<Span> {
        let whole = Span { from, to, is_condensed: false };
        let inner = self.lock();
        if !inner.is_ready {
            return vec![whole];
        }
        let mut marked: Vec<(i64, i64)> = [ALL, site]
            .iter()
            .filter_map(|site| inner.sites.get(*site))
            .flatten()
            .map(|(a, b)| ((a * HOUR_MS).max(from), (b * HOUR_MS).min(to)))
            .filter(|(a, b)| a < b)
            .collect();
        drop(inner);
        // Hours that the range cuts are read as samples: the condensed ones hold more than is asked for.
        let (first, end) = ((from + HOUR_MS - 1).div_euclid(HOUR_MS), to.div_euclid(HOUR_MS));
        if first >= end {
            return vec![whole];
        }
        marked.extend([(from, first * HOUR_MS), (end * HOUR_MS, to)].iter().filter(|(a, b)| a < b));
        let mut marked = union(marked);
        while marked.len() * 2 + 1 > QUERY_SPANS_MAX {
            close_nearest(&mut marked);
        }
        let mut spans = Vec::new();
        let mut at = from;
        for (a, b) in marked {
            spans.push(Span { from: at, to: a, is_condensed: true });
            spans.push(Span { from: a, to: b, is_condensed: false });
            at = b;
        }
        spans.push(Span { from: at, to, is_condensed: true });
        spans.retain(|span| span.from < span.to);
        spans
    }

    /// Takes hours that may be condensed now: ended before `ended` (ms), of a site that has been quiet for so long, with
    /// nothing of them on its way.
    pub(super) fn take(&self, ended: i64, quiet: Duration) -> Option<Job> {
        let mut inner = self.lock();
        if inner.working.is_some() {
            return None;
        }
        let end = ended.div_euclid(HOUR_MS);
        let mono = SystemClock.mono_ms();
        let quiet = i64::try_from(quiet.as_millis()).unwrap_or(i64::MAX);
        let mut found = None;
        for (site, hours) in &inner.sites {
            let is_loud = |at: &i64| (mono - at).max(0) < quiet;
            if inner.touched.get(site).is_some_and(is_loud) {
                continue;
            }
            // The newest first: that is what is looked at.
            let newest = hours.iter().rev().find(|(from, _)| *from < end);
            let Some(to) = newest.map(|(_, to)| (*to).min(end)) else { continue };
            // What lies between marked hours is condensed once more, which changes nothing: one question instead of many.
            let first = hours.iter().find(|(_, end)| *end > to - inner.pace);
            let range = (first.map_or(to - 1, |(from, _)| (*from).max(to - inner.pace)), to);
            let flies = |(of, hour): &(String, i64)| {
                (site == ALL || of == site) && (range.0..range.1).contains(hour)
            };
            if !inner.flying.iter().any(flies) {
                found = Some((site.clone(), range));
                break;
            }
        }
        let (site, range) = found?;
        inner.touched.remove(&site);
        inner.again.clear();
        inner.working = Some((site.clone(), range));
        let range = (range.0 * HOUR_MS, range.1 * HOUR_MS);
        Some(Job { site: (site != ALL).then_some(site), range })
    }

    /// The job that was taken is done, or was not: what was touched meanwhile stays marked.
    pub(super) fn finish(&self, is_done: bool, took: Duration) -> Result<(), StoreError> {
        let mut inner = self.lock();
        let Some((site, range)) = inner.working.take() else { return Ok(()) };
        let again = std::mem::take(&mut inner.again);
        inner.pace = match took {
            _ if !is_done => (inner.pace / 4).max(1),
            took if took < QUICK => (inner.pace * 2).min(PACE_MAX),
            took if took > SLOW => (inner.pace / 2).max(1),
            _ => inner.pace,
        };
        if !is_done {
            // One site that cannot be condensed must not keep the others waiting.
            inner.touched.insert(site, SystemClock.mono_ms() + FAILED_PAUSE_MS);
            return Ok(());
        }
        if let Some(hours) = inner.sites.get_mut(&site) {
            *hours = without(hours, range);
            if hours.is_empty() {
                inner.sites.remove(&site);
            }
        }
        for (site, hour) in again {
            inner.add(&site, (hour, hour + 1));
        }
        inner.is_changed = true;
        self.save(&mut inner)
    }

    /// Nothing is older than `oldest` or newer than `newest` (ms): what was marked beside them for all sites is taken away.
    /// What came meanwhile has marks of its own site.
    pub(super) fn lies_within(&self, oldest: i64, newest: i64) -> Result<(), StoreError> {
        let mut inner = self.lock();
        let (first, last) = (oldest.div_euclid(HOUR_MS), newest.div_euclid(HOUR_MS));
        if let Some(hours) = inner.sites.remove(ALL) {
            let within = hours.iter().map(|(from, to)| ((*from).max(first), (*to).min(last + 1)));
            let within: Hours = within.filter(|(from, to)| from < to).collect();
            if !within.is_empty() {
                inner.sites.insert(ALL.to_owned(), within);
            }
            inner.is_changed = true;
        }
        self.save(&mut inner)
    }

    /// Nobody marks from now on: at the next start everything is marked.
    pub(super) fn give_up(&self) -> Result<(), StoreError> {
        match std::fs::remove_file(&self.path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                Err(cursor::failed("remove marks of condensed hours", &self.path, &e))
            }
            _ => Ok(()),
        }
    }

    /// Whether everything is still marked for all sites from the beginning of time.
    pub(super) fn is_untouched(&self) -> bool {
        let first = EARLIEST_MS.div_euclid(HOUR_MS);
        let inner = self.lock();
        inner.sites.get(ALL).and_then(|hours| hours.first()).is_some_and(|(from, _)| *from <= first)
    }
}

impl Inner {
    /// Marks every hour there can be.
    fn everything(&mut self) {
        let (from, to) = (EARLIEST_MS.div_euclid(HOUR_MS), TIME_MAX_MS / HOUR_MS);
        self.add(ALL, (from, to));
    }

    fn touch(&mut self, site: &str, hour: i64) {
        self.flying.insert((site.to_owned(), hour));
        if let Some((of, range)) = &self.working
            && (of == ALL || of == site)
            && (range.0..range.1).contains(&hour)
        {
            self.again.push((site.to_owned(), hour));
        }
        if (hour + 1) * HOUR_MS < SystemClock.now_ms() {
            self.touched.insert(site.to_owned(), SystemClock.mono_ms());
        }
        let known = self.sites.get(site).is_some_and(|hours| {
            let after = hours.partition_point(|(from, _)| *from <= hour);
            after > 0 && hours[after - 1].1 > hour
        });
        if !known {
            self.add(site, (hour, hour + 1));
        }
    }

    fn add(&mut self, site: &str, range: (i64, i64)) {
        let hours = self.sites.entry(site.to_owned()).or_default();
        hours.push(range);
        *hours = union(std::mem::take(hours));
        while hours.len() > SPANS_MAX {
            close_nearest(hours);
        }
        self.is_changed = true;
    }
}

/// Sorted, joined where they touch.
fn union(mut ranges: Vec<(i64, i64)>) -> Vec<(i64, i64)> {
    ranges.sort_unstable();
    let mut out: Vec<(i64, i64)> = Vec::with_capacity(ranges.len());
    for (from, to) in ranges {
        match out.last_mut() {
            Some(last) if last.1 >= from => last.1 = last.1.max(to),
            _ => out.push((from, to)),
        }
    }
    out
}

/// Fills the smallest gap.
fn close_nearest(ranges: &mut Vec<(i64, i64)>) {
    let nearest = (1..ranges.len()).min_by_key(|i| ranges[*i].0 - ranges[*i - 1].1);
    if let Some(i) = nearest {
        ranges[i - 1].1 = ranges[i].1;
        ranges.remove(i);
    }
}

fn without(ranges: &[(i64, i64)], (from, to): (i64, i64)) -> Hours {
    let parts = ranges.iter().flat_map(|(a, b)| [(*a, (*b).min(from)), ((*a).max(to), *b)]);
    parts.filter(|(a, b)| a < b).collect()
}

fn text(sites: &BTreeMap<String, Hours>, of: &str) -> String {
    let mut out = format!("{FORMAT} {}\n", hex::encode(of));
    for (site, hours) in sites {
        for (from, to) in hours {
            writeln!(out, "{from} {to} {}", hex::encode(site))
                .expect("writing into a String does not fail");
        }
    }
    let crc = crc32fast::hash(out.as_bytes());
    writeln!(out, "{crc}").expect("writing into a String does not fail");
    out
}

fn parse(text: &str, of: &str) -> Option<BTreeMap<String, Hours>> {
    let (body, crc) = text.trim_end().rsplit_once('\n')?;
    let body = format!("{body}\n");
    if crc.parse() != Ok(crc32fast::hash(body.as_bytes())) {
        return None;
    }
    let mut lines = body.lines();
    if lines.next()? != format!("{FORMAT} {}", hex::encode(of)) {
        return None;
    }
    let mut sites: BTreeMap<String, Hours> = BTreeMap::new();
    for line in lines {
        let mut words = line.splitn(3, ' ');
        let (from, to) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let site = String::from_utf8(hex::decode(words.next()?).ok()?).ok()?;
        sites.entry(site).or_default().push((from, to));
    }
    Some(sites)
}

#[cfg(test)]
mod tests;
