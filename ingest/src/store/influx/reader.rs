//! Answers history queries from InfluxDB: samples from the bucket itself, windows from the condensed hours and minutes
//! where they are whole and from the samples where they are not, joined window by window.

use std::collections::BTreeMap;
use std::sync::Arc;

use wire::Quality;

use super::dirty::{Dirty, Span};
use super::query::{Client, Row};
use super::{StoreError, flux};
use crate::store::history::{self, Grid, SAMPLES_MAX, worse};
use crate::store::push::Asker;
use crate::store::push::endpoint::INFLUX;
use crate::store::{
    Aggregates, HistoryAnswer, HistoryQuery, HistoryReader, SampleRow, Samples, Windows,
};

/// Reads beside the writer.
#[derive(Debug)]
pub(super) struct InfluxReader {
    client: Client,
    dirty: Arc<Dirty>,
    asker: Asker,
}

impl InfluxReader {
    pub(super) fn new(client: Client, dirty: Arc<Dirty>) -> Result<Self, StoreError> {
        Ok(Self { client, dirty, asker: Asker::new(INFLUX)? })
    }

    fn raw(&self, query: &HistoryQuery, limit: usize) -> Result<Samples, StoreError> {
        let limit = limit.clamp(1, SAMPLES_MAX);
        let mut rows: BTreeMap<i64, (Option<f64>, Option<Quality>)> = BTreeMap::new();
        self.ask(&flux::raw(&self.client.bucket, query, limit + 1), |row| {
            let entry = rows.entry(row.time).or_default();
            match row.result {
                "value" => entry.0 = row.number(),
                _ => entry.1 = row.quality(),
            }
        })?;
        let truncated = rows.len() > limit;
        let rows = rows.into_iter().take(limit);
        let rows = rows.map(|(t, (value, mark))| SampleRow::of_fields(t, value, mark));
        Ok(Samples { rows: rows.collect(), truncated, damaged: Vec::new() })
    }

    fn windows(
        &self,
        query: &HistoryQuery,
        grid: &Grid,
        wanted: Aggregates,
    ) -> Result<Windows, StoreError> {
        let level = flux::Level::of(grid.step_ms);
        let spans = match level {
            Some(_) => self.dirty.spans(&query.site, grid.start, grid.end),
            None => vec![Span { from: grid.start, to: grid.end, is_condensed: false }],
        };
        let text = flux::windows(&self.client.bucket, query, grid.step_ms, &spans, level, wanted);
        let mut joined = Joined::new(grid, wanted);
        self.ask(&text, |row| joined.take(&row))?;
        Ok(joined.finish())
    }

    fn ask(&self, flux: &str, take: impl FnMut(Row<'_>)) -> Result<(), StoreError> {
        self.client.ask(self.asker.runtime()?, flux, take)
    }
}

/// Windows under way, from several spans.
struct Joined<'a> {
    grid: &'a Grid,
    wanted: Aggregates,
    out: Windows,
    sum: Vec<Option<f64>>,
    count: Vec<Option<f64>>,
    /// Which span the `last` of a window is from: the later one stands.
    last_of: Vec<usize>,
}

impl<'a> Joined<'a> {
    fn new(grid: &'a Grid, wanted: Aggregates) -> Self {
        let column = |wanted: bool| vec![None; if wanted { grid.len } else { 0 }];
        let last_of = vec![0; if wanted.last { grid.len } else { 0 }];
        let (sum, count) = (column(wanted.mean), column(wanted.mean));
        Self { grid, wanted, out: history::empty(grid, wanted), sum, count, last_of }
    }

    /// Takes a row; its yield is named by the number of the span and what it is: `3.min`.
    fn take(&mut self, row: &Row<'_>) {
        let Some(i) = self.grid.index_checked(row.time) else { return };
        let Some((span, what)) = row.result.split_once('.') else { return };
        let quality = match what {
            "q1" => Quality::Uncertain,
            "q2" => Quality::Bad,
            "q3" => Quality::Stale,
            "q4" => Quality::Substituted,
            _ => Quality::Good,
        };
        self.out.q[i] = worse(self.out.q[i], quality);
        let Some(number) = row.number() else { return };
        let join = |known: &mut Option<f64>, of: fn(f64, f64) -> f64| {
            *known = Some(known.map_or(number, |known| of(known, number)));
        };
        match what {
            "min" if self.wanted.min => join(&mut self.out.min[i], f64::min),
            "max" if self.wanted.max => join(&mut self.out.max[i], f64::max),
            "mean" if self.wanted.mean => self.out.mean[i] = Some(number),
            "sum" if self.wanted.mean => join(&mut self.sum[i], |a, b| a + b),
            "count" if self.wanted.mean => join(&mut self.count[i], |a, b| a + b),
            "last" if self.wanted.last => {
                let span = span.parse().unwrap_or(0);
                if self.out.last[i].is_none() || span >= self.last_of[i] {
                    (self.out.last[i], self.last_of[i]) = (Some(number), span);
                }
            }
            _ => {}
        }
    }

    fn finish(mut self) -> Windows {
        for (mean, (sum, count)) in self.out.mean.iter_mut().zip(self.sum.iter().zip(&self.count)) {
            let joined = sum.zip(*count).filter(|(_, count)| *count > 0.0).map(|(s, c)| s / c);
            *mean = joined.or(*mean);
        }
        self.out
    }
}

impl HistoryReader for InfluxReader {
    fn query(&self, query: &HistoryQuery) -> Result<HistoryAnswer, StoreError> {
        let windows = |grid: &Grid, wanted| self.windows(query, grid, wanted);
        history::answer(query, |limit| self.raw(query, limit), windows)
    }
}
