//! Blocks as the log hands them over, and a model of what a store must answer about them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use ingest::log::DecodedBlock;
use ingest::store::history::{Grid, worse};
use ingest::store::{Refusal, RefusalSink, SampleRow};
use wire::columns::Builder;
use wire::manifest::{Point, Reply};
use wire::{Block, Epoch, GatewayName, Manifest, Mark, Quality, Reason};

/// 2023-11-15 00:00 UTC, ms.
pub(crate) const DAY: i64 = 1_700_006_400_000;
pub(crate) const HOUR: i64 = 3_600_000;
pub(crate) const GOOD: Mark = Mark::GOOD;
pub(crate) const BAD: Mark = Mark::bad(Reason::Timeout);
pub(crate) const STALE: Mark = Mark::stale(Reason::DeviceStale);
pub(crate) const UNCERTAIN: Mark = Mark::uncertain(Reason::OverRange);
pub(crate) const SUBSTITUTED: Mark = Mark { quality: Quality::Substituted, reason: Reason::Manual };

/// One row: event time and its samples.
pub(crate) type Row = (i64, Vec<(f64, Mark)>);

/// Keeps what a store refused.
#[derive(Debug, Default)]
pub(crate) struct Kept(pub(crate) Mutex<Vec<Refusal>>);

impl RefusalSink for Kept {
    fn refused(&self, refusal: Refusal) {
        self.0.lock().unwrap().push(refusal);
    }
}

/// Makes blocks of one device.
#[derive(Debug, Clone)]
pub(crate) struct Device {
    pub(crate) site: &'static str,
    pub(crate) name: &'static str,
    pub(crate) quantities: Vec<&'static str>,
}

pub(crate) fn device(
    site: &'static str,
    name: &'static str,
    quantities: &[&'static str],
) -> Device {
    Device { site, name, quantities: quantities.to_vec() }
}

impl Device {
    pub(crate) fn block(&self, position: u64, rows: &[Row]) -> Arc<DecodedBlock> {
        self.block_received(position, rows, DAY + 20 * HOUR)
    }

    pub(crate) fn block_received(&self, position: u64, rows: &[Row], at: i64) -> Arc<DecodedBlock> {
        let gateway = GatewayName::new("gw-1").unwrap();
        let point = |q: &&str| Point { quantity: (*q).to_owned(), unit: String::new() };
        let reply = Reply {
            device: self.name.to_owned(),
            period_ms: 1_000,
            points: self.quantities.iter().map(point).collect(),
            profile: "test".to_owned(),
            profile_version: "1".to_owned(),
        };
        let site = self.site.to_owned();
        let manifest =
            Manifest { gateway: gateway.clone(), site, replies: vec![reply], replaces: None };
        let mut builder = Builder::new(&manifest, wire::manifest::key(&manifest.encode()));
        for (t, samples) in rows {
            builder.push(0, *t, samples).unwrap();
        }
        Arc::new(DecodedBlock {
            position,
            gateway: gateway.clone(),
            site: self.site.to_owned(),
            manifest: Arc::new(manifest),
            block: Block {
                gateway,
                epoch: Epoch(1),
                seq: position,
                link: None,
                clock: Default::default(),
                fact_revision: 0,
                list: None,
                body: wire::block::Body::Readings(Default::default()),
            },
            readings: Arc::new(builder.take()),
            received_at: at,
            masked_rows: Vec::new(),
            is_ahead: false,
        })
    }
}

/// What one series must hold: the last write stands.
#[derive(Debug, Default, Clone)]
pub(crate) struct Model(pub(crate) BTreeMap<i64, (f64, Quality)>);

/// What the model says about one window.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct ModelWindow {
    pub(crate) min: Option<f64>,
    pub(crate) max: Option<f64>,
    pub(crate) mean: Option<f64>,
    pub(crate) last: Option<f64>,
    pub(crate) q: Option<Quality>,
}

impl Model {
    /// Takes column `column` of the rows.
    pub(crate) fn write(&mut self, rows: &[Row], column: usize) {
        for (t, samples) in rows {
            let (value, mark) = samples[column];
            let numeric = mark.quality.has_value() && value.is_finite();
            let quality = match mark.quality {
                q if q.has_value() && !numeric => Quality::Bad,
                q => q,
            };
            self.0.insert(*t, (if numeric { value + 0.0 } else { f64::NAN }, quality));
        }
    }

    pub(crate) fn rows(&self, from: i64, to: i64) -> Vec<SampleRow> {
        let row = |(t, (v, q)): (&i64, &(f64, Quality))| SampleRow {
            t: *t,
            value: (!v.is_nan()).then_some(*v),
            quality: *q,
        };
        self.0.range(from..to).map(row).collect()
    }

    pub(crate) fn windows(&self, grid: &Grid) -> Vec<ModelWindow> {
        let window = |i: usize| {
            let start = grid.start + i as i64 * grid.step_ms;
            let rows = self.rows(start, start + grid.step_ms);
            let numbers: Vec<f64> = rows.iter().filter_map(|r| r.value).collect();
            let mean = numbers.iter().sum::<f64>() / numbers.len() as f64;
            ModelWindow {
                min: numbers.iter().copied().reduce(f64::min),
                max: numbers.iter().copied().reduce(f64::max),
                mean: (!numbers.is_empty()).then_some(mean),
                last: numbers.last().copied(),
                q: rows.iter().fold(None, |q, row| worse(q, row.quality)),
            }
        };
        (0..grid.len).map(window).collect()
    }
}
