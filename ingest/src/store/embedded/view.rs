//! The embedded store as another process sees it, beside its writer or without one: the head as one snapshot, then the
//! day files. A seal in between shows samples twice and they are merged; none is missed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::day::{self, DAY_MS, DayError};
use super::file::HeadFile;
use super::head::Head;
use super::ledger::Ledger;
use super::parts::DayReader;
use super::reader::{samples, within};
use super::{HEAD, day_files, segment};
use crate::store::source::{self, DeviceSeries, Sample, SeriesKey, Source};
use crate::store::{Damage, Position, StoreError};

/// See the module.
#[derive(Debug)]
pub struct EmbeddedView {
    dir: PathBuf,
    head: Head,
    /// Stored up to here when the snapshot was taken.
    pub position: Option<Position>,
    ledger: Arc<Ledger>,
    /// The file read last: a day is read device by device.
    open: Option<(i64, Option<DayReader>)>,
}

impl EmbeddedView {
    /// Takes the snapshot of the head. A folder without one is fine: it may hold day files alone.
    ///
    /// # Errors
    /// When the folder or the head cannot be read.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        if !dir.is_dir() {
            return Err(super::file_error("read", dir, "there is no such folder".to_owned()));
        }
        let path = dir.join(HEAD);
        let found = HeadFile::read(&path).map_err(|e| e.at("read", &path))?;
        let (head, position) = found.unwrap_or_default();
        Ok(Self { dir: dir.to_owned(), head, position, ledger: Arc::default(), open: None })
    }

    /// The file of a day.
    fn file(&mut self, day: i64) -> Result<Option<&DayReader>, DayError> {
        if self.open.as_ref().is_none_or(|(open, _)| *open != day) {
            // A file that is gone over to another is closed first: one is open at a time.
            self.open = None;
            let path = day::path_of(&self.dir, day);
            let reader = DayReader::open(&path, day, Arc::clone(&self.ledger))?;
            self.open = Some((day, reader));
        }
        Ok(self.open.as_ref().and_then(|(_, reader)| reader.as_ref()))
    }

    fn in_file(&mut self, day: i64) -> Result<Vec<[String; 3]>, DayError> {
        let Some(file) = self.file(day)? else { return Ok(Vec::new()) };
        Ok(file.series()?.into_iter().map(|(_, names)| names).collect())
    }

    fn at(&self, day: i64) -> impl FnOnce(DayError) -> StoreError + use<> {
        let path = day::path_of(&self.dir, day);
        move |error| error.at("read day file", &path)
    }
}

impl Source for EmbeddedView {
    fn days(&mut self) -> Result<Vec<i64>, StoreError> {
        let mut days: BTreeSet<i64> =
            day_files(&self.dir)?.into_iter().map(|(day, _)| day).collect();
        let times = self.head.strips().iter().flat_map(|strip| &strip.times);
        days.extend(times.map(|t| day::day_of(*t)));
        Ok(days.into_iter().collect())
    }

    fn devices(
        &mut self,
        day: i64,
        damage: &mut dyn FnMut(&SeriesKey, Damage),
    ) -> Result<Vec<DeviceSeries>, StoreError> {
        let mut devices: BTreeMap<(String, String), BTreeSet<String>> = BTreeMap::new();
        let at = self.at(day);
        let series = match self.in_file(day) {
            Ok(series) => series,
            // What the head has of the day is still read.
            Err(error) if error.is_damage() => {
                let (from, to, reason) = (day * DAY_MS, (day + 1) * DAY_MS, error.to_string());
                damage(&SeriesKey::default(), Damage { from, to, samples: 0, reason });
                Vec::new()
            }
            Err(error) => return Err(at(error)),
        };
        for [site, device, quantity] in series {
            devices.entry((site, device)).or_default().insert(quantity);
        }
        for strip in self.head.strips() {
            if strip.times.iter().any(|t| day::day_of(*t) == day) {
                let key = (strip.site.clone(), strip.device.clone());
                devices.entry(key).or_default().extend(strip.quantities.iter().cloned());
            }
        }
        Ok(source::by_device(devices))
    }

    fn read(
        &mut self,
        of: &DeviceSeries,
        from: i64,
        to: i64,
        damage: &mut dyn FnMut(&SeriesKey, Damage),
    ) -> Result<Vec<Vec<Sample>>, StoreError> {
        let day = day::day_of(from);
        let at = self.at(day);
        let heads: Vec<_> = of
            .quantities
            .iter()
            .map(|quantity| self.head.points_of(&of.site, &of.device, quantity, from, to))
            .collect();
        let whole = |error: &DayError| Damage { from, to, samples: 0, reason: error.to_string() };
        let (file, broken) = match self.file(day) {
            Ok(file) => (file, None),
            Err(error) if error.is_damage() => (None, Some(whole(&error))),
            Err(error) => return Err(at(error)),
        };
        let mut all = Vec::with_capacity(heads.len());
        for (quantity, head) in of.quantities.iter().zip(heads) {
            let key = [of.site.clone(), of.device.clone(), quantity.clone()];
            let names = [of.site.as_str(), of.device.as_str(), quantity.as_str()];
            let mut noted = |more: Damage| damage(&key, more);
            broken.iter().for_each(|more| noted(more.clone()));
            let mut out = Vec::new();
            let mut take = |t: i64, value: f64, mark: u16| {
                if t >= from && t < to {
                    out.push(Sample { t, value, mark: segment::mark(mark) });
                }
            };
            let parts = match file.map(|file| file.parts(names, from, to, &mut noted)) {
                None => Vec::new(),
                Some(Ok(parts)) => parts,
                Some(Err(error)) if error.is_damage() => {
                    noted(whole(&error));
                    Vec::new()
                }
                Some(Err(error)) => return Err(at(error)),
            };
            let mut next = from;
            for part in &parts {
                let (t0, end) = (part.row.t0, part.row.t1.saturating_add(1));
                within(&head, next, t0).iter().for_each(|p| take(p.t, p.value, p.mark));
                let inside = within(&head, t0.max(from), end.min(to));
                if let Err(error) = samples(file, part, inside, &mut noted, &mut take) {
                    return Err(at(error));
                }
                next = next.max(end);
            }
            within(&head, next, to).iter().for_each(|p| take(p.t, p.value, p.mark));
            all.push(out);
        }
        Ok(all)
    }

    /// Reads every sample: a count that was never decoded would prove nothing.
    fn counts(&mut self, day: i64) -> Result<BTreeMap<SeriesKey, u64>, StoreError> {
        let mut counts = BTreeMap::new();
        for of in self.devices(day, &mut |_, _| {})? {
            for hour in 0..24 {
                let from = day * DAY_MS + hour * super::part::HOUR_MS;
                let read = self.read(&of, from, from + super::part::HOUR_MS, &mut |_, _| {})?;
                for (quantity, samples) in of.quantities.iter().zip(read) {
                    if !samples.is_empty() {
                        let key = [of.site.clone(), of.device.clone(), quantity.clone()];
                        *counts.entry(key).or_default() += samples.len() as u64;
                    }
                }
            }
        }
        Ok(counts)
    }
}
