//! Samples that are durable in the head file but not yet sealed into a day file, in memory, by strip.
//!
//! A strip is one device's list of quantities: its rows share a time. The writer appends after each commit; readers
//! copy one series out under a short lock. The head's size is bounded by the owner, which seals it in time.

use std::collections::HashMap;

use super::segment::{MarkCode, Rows};

/// Rows of one device with the same quantities, in the order of arrival.
#[derive(Debug)]
pub(super) struct Strip {
    pub(super) site: String,
    pub(super) device: String,
    /// Column → quantity.
    pub(super) quantities: Vec<String>,
    /// Row → event time, ms.
    pub(super) times: Vec<i64>,
    /// Row-major: `row × width + column`; NaN without a number.
    pub(super) values: Vec<f64>,
    /// Marks that are not plainly good, by row: (row, column, code).
    pub(super) marks: Vec<(u32, u16, MarkCode)>,
    /// Younger strips of the same device that share a quantity.
    younger: Vec<u32>,
}

/// One sample on its way: time, number or NaN, mark.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Point {
    pub(super) t: i64,
    pub(super) value: f64,
    pub(super) mark: MarkCode,
}

/// All strips.
#[derive(Debug, Default)]
pub(super) struct Head {
    /// Index = the strip's id in the head file.
    strips: Vec<Strip>,
    /// Site → device → strips, oldest first.
    devices: HashMap<String, HashMap<String, Vec<u32>>>,
    points: usize,
    series: usize,
    has_shadows: bool,
}

impl Head {
    /// The strip of a device with these quantities, new if there is none yet.
    pub(super) fn strip(&mut self, site: &str, device: &str, quantities: Vec<String>) -> u32 {
        let devices = self.devices.entry(site.to_owned()).or_default();
        let ids = devices.entry(device.to_owned()).or_default();
        for &id in ids.iter() {
            if self.strips[id as usize].quantities == quantities {
                return id;
            }
        }
        let id = u32::try_from(self.strips.len()).unwrap_or(u32::MAX);
        for &older in ids.iter() {
            let older = &mut self.strips[older as usize];
            if older.quantities.iter().any(|q| quantities.contains(q)) {
                older.younger.push(id);
                self.has_shadows = true;
            }
        }
        ids.push(id);
        self.series += quantities.len();
        self.strips.push(Strip {
            site: site.to_owned(),
            device: device.to_owned(),
            quantities,
            times: Vec::new(),
            values: Vec::new(),
            marks: Vec::new(),
            younger: Vec::new(),
        });
        id
    }

    /// Whether any strip has a younger one at all: a new manifest came since the last seal.
    pub(super) fn has_shadows(&self) -> bool {
        self.has_shadows
    }

    /// Whether rows of a younger strip with the same series lie in the head: then the head must be sealed before this
    /// strip takes rows again, or the last write would not be the one that stands.
    pub(super) fn is_shadowed(&self, id: u32) -> bool {
        let younger = &self.strips[id as usize].younger;
        younger.iter().any(|y| !self.strips[*y as usize].times.is_empty())
    }

    /// Appends the rows of a table of a segment. Rows of an unknown strip are left out (a segment that the checksum
    /// passed has none).
    pub(super) fn append(&mut self, rows: &Rows<'_>) {
        let marked = rows.marked();
        for row in 0..rows.rows {
            let Some(strip) = self.strips.get_mut(rows.strip(row) as usize) else { continue };
            if strip.quantities.len() != rows.width() {
                continue;
            }
            if marked {
                let index = u32::try_from(strip.times.len()).unwrap_or(u32::MAX);
                let marks = rows.marks(row);
                let marks = marks.map(|(c, m)| (index, u16::try_from(c).unwrap_or(u16::MAX), m));
                strip.marks.extend(marks);
            }
            strip.times.push(rows.time(row));
            rows.values(row, &mut strip.values);
            self.points += rows.width();
        }
    }

    /// All strips; index = id.
    pub(super) fn strips(&self) -> &[Strip] {
        &self.strips
    }

    /// Number of samples held.
    pub(super) fn points(&self) -> usize {
        self.points
    }

    /// Number of series that strips name.
    pub(super) fn series(&self) -> usize {
        self.series
    }

    /// Forgets everything, strips too.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// The samples of one series with `from <= t < to`, sorted, one per time: the last written.
    pub(super) fn points_of(
        &self,
        site: &str,
        device: &str,
        quantity: &str,
        from: i64,
        to: i64,
    ) -> Vec<Point> {
        let mut points = Vec::new();
        let ids = self.devices.get(site).and_then(|devices| devices.get(device));
        for &id in ids.into_iter().flatten() {
            let strip = &self.strips[id as usize];
            if let Some(column) = strip.quantities.iter().position(|q| q == quantity) {
                strip.copy(column, from, to, &mut points);
            }
        }
        if !points.is_sorted_by(|a, b| a.t < b.t) {
            keep_last(&mut points);
        }
        points
    }
}

impl Strip {
    fn copy(&self, column: usize, from: i64, to: i64, out: &mut Vec<Point>) {
        let width = self.quantities.len();
        let mut marks = self.marks.iter().filter(|(_, c, _)| usize::from(*c) == column).peekable();
        for (row, &t) in self.times.iter().enumerate() {
            let mark = match marks.peek() {
                Some((r, _, code)) if *r as usize == row => {
                    marks.next();
                    *code
                }
                _ => 0,
            };
            if t >= from && t < to {
                out.push(Point { t, value: self.values[row * width + column], mark });
            }
        }
    }

    /// Rows in order of time, one per time: the last written.
    pub(super) fn sorted_rows(&self) -> Vec<u32> {
        let rows = u32::try_from(self.times.len()).unwrap_or(u32::MAX);
        let mut order: Vec<u32> = (0..rows).collect();
        if self.times.is_sorted_by(|a, b| a < b) {
            return order;
        }
        order.sort_by_key(|row| self.times[*row as usize]);
        let mut kept = 0;
        for i in 0..order.len() {
            let next = order.get(i + 1).map(|row| self.times[*row as usize]);
            if next != Some(self.times[order[i] as usize]) {
                order[kept] = order[i];
                kept += 1;
            }
        }
        order.truncate(kept);
        order
    }
}

/// Sorts by time and keeps the last of equal times.
fn keep_last(points: &mut Vec<Point>) {
    points.sort_by_key(|p| p.t);
    points.reverse();
    points.dedup_by_key(|p| p.t);
    points.reverse();
}
