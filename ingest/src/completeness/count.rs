//! Counting one block: its rows by local day, lateness and rhythm, its columns by quality.

use std::ops::Range;
use std::sync::Arc;

use wire::Quality;
use wire::block::{Body, GapRange};
use wire::columns::{Marks, Table};

use super::{Counts, DAY_MS, DAYS_KEPT, Inner, LATE_MS, OFFSET_MS, day_of};
use crate::log::DecodedBlock;

/// A share of a day that rows of a table have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    day: i64,
    late: bool,
    planned: bool,
}

impl Inner {
    pub(super) fn count(&mut self, block: &DecodedBlock, as_of: u64) {
        self.learn(block);
        let site = block.site.as_str();
        let offset = self.sites.get(site).map_or(OFFSET_MS, |site| site.offset_ms);
        let mut first_row = 0_u32;
        for table in &block.readings.tables {
            self.table(block, table, first_row, (offset, as_of));
            first_row += u32::try_from(table.times.len()).unwrap_or(0);
        }
        if let Body::Gap(gap) = &block.block.body {
            // A gap record refers to no manifest: its site is its gateway's.
            let site = self.registry.gateway(block.gateway.as_str()).map(|g| g.site.clone());
            let site = site.unwrap_or_else(|| block.site.clone());
            for range in &gap.ranges {
                self.declared(&site, range, block.received_at, as_of);
            }
        }
    }

    /// A manifest that is new says anew what is expected.
    fn learn(&mut self, block: &DecodedBlock) {
        if block.readings.tables.is_empty() {
            return;
        }
        let known = self.manifests.get(block.gateway.as_str());
        if known
            .is_some_and(|known| Arc::ptr_eq(known, &block.manifest) || **known == *block.manifest)
        {
            return;
        }
        self.manifests.insert(block.gateway.to_string(), Arc::clone(&block.manifest));
        self.changed.push(block.site.clone());
    }

    fn table(
        &mut self,
        block: &DecodedBlock,
        table: &Table,
        first_row: u32,
        (offset, as_of): (i64, u64),
    ) {
        let late_before = block.received_at.saturating_sub(LATE_MS);
        let run_of = |row: usize| Run {
            day: day_of(table.times[row], offset),
            late: table.times[row] < late_before,
            planned: block
                .manifest
                .replies
                .get(table.replies[row] as usize)
                .is_some_and(|reply| reply.period_ms > 0),
        };
        let is_masked = |row: usize| {
            let number = first_row + u32::try_from(row).unwrap_or(0);
            block.masked_rows.binary_search(&number).is_ok()
        };
        let rows = table.times.len();
        let mut start = 0;
        while start < rows {
            let run = run_of(start);
            let mut end = start + 1;
            if is_masked(start) {
                start = end;
                continue;
            }
            while end < rows && !is_masked(end) && run_of(end) == run {
                end += 1;
            }
            self.run(block, table, (run, start..end), (offset, as_of));
            start = end;
        }
    }

    fn run(
        &mut self,
        block: &DecodedBlock,
        table: &Table,
        (run, rows): (Run, Range<usize>),
        (offset, as_of): (i64, u64),
    ) {
        let today = day_of(block.received_at, offset);
        let Some(row) = self.row(&block.site, run.day, today) else { return };
        if as_of <= row.position {
            return;
        }
        row.lacks(as_of);
        let counts = &mut row.counts;
        for column in &table.columns {
            let before = counts.good + counts.uncertain + counts.bad;
            match column.marks() {
                _ if !run.planned => {
                    counts.unplanned += rows.len() as u64;
                    continue;
                }
                Marks::AllGood => counts.good += rows.len() as u64,
                Marks::Each(marks) => {
                    marks[rows.clone()].iter().for_each(|mark| match mark.quality {
                        Quality::Good => counts.good += 1,
                        Quality::Uncertain | Quality::Substituted => counts.uncertain += 1,
                        Quality::Bad | Quality::Stale => counts.bad += 1,
                    })
                }
            }
            if run.late {
                counts.late += counts.good + counts.uncertain + counts.bad - before;
            }
        }
    }

    /// Spreads what a gateway declares lost over the days it was of, by time.
    fn declared(&mut self, site: &str, range: &GapRange, received_at: i64, as_of: u64) {
        let offset = self.sites.get(site).map_or(OFFSET_MS, |site| site.offset_ms);
        let (t0, t1) = match (range.t0, range.t1) {
            (0, _) | (_, 0) => (received_at, received_at),
            (t0, t1) => {
                // Whatever a gateway says: no further back than rows go.
                let oldest = received_at.saturating_sub(DAYS_KEPT * DAY_MS);
                let fit = |t: i64| t.clamp(oldest, received_at.saturating_add(DAY_MS));
                (fit(t0.min(t1)), fit(t0.max(t1)))
            }
        };
        let (first, last) = (day_of(t0, offset), day_of(t1, offset));
        let (span, today) = (t1 - t0 + 1, day_of(received_at, offset));
        let mut left = range.samples;
        for day in first..=last {
            let begin = t0.max(day * DAY_MS - offset);
            let end = (t1 + 1).min((day + 1) * DAY_MS - offset);
            let share = u128::from(range.samples) * u128::from((end - begin).unsigned_abs());
            let share = u64::try_from(share / u128::from(span.unsigned_abs())).unwrap_or(0);
            // Rounding leaves some: they are of the last day.
            let part = if day == last { left } else { share.min(left) };
            left -= part;
            if let Some(row) = self.row(site, day, today).filter(|row| as_of > row.position) {
                row.lacks(as_of);
                row.counts = Counts { declared: row.counts.declared + part, ..row.counts };
            }
        }
    }
}
