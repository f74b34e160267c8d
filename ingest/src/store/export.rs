//! History as files for other programs: CSV or Parquet, sorted by day, site, device and quantity, then time.
//!
//! | column | CSV | Parquet |
//! | --- | --- | --- |
//! | site, device, quantity, unit | text | UTF-8 |
//! | t | `t_ms`, ms UTC, and `time`, ISO 8601 | TIMESTAMP (ms, UTC) |
//! | value | shortest decimal; empty without a number | DOUBLE, null without a number |
//! | quality | good, uncertain, bad, stale, substituted | UTF-8 |
//! | reason | empty where nothing is to be said | UTF-8, null |
//!
//! An hour of one device is in memory at a time, and one row group of Parquet ([`parquet::ROWS`]).

use std::io::Write;

use super::source::{DeviceSeries, Filter, Sample, SeriesKey, Source, Step};
use super::{Damage, StoreError};

pub mod csv;
pub mod parquet;

/// Where samples go.
pub trait Sink {
    /// Takes the samples of one series, in order.
    ///
    /// # Errors
    /// When they cannot be written.
    fn put(&mut self, series: &SeriesKey, samples: &[Sample]) -> std::io::Result<()>;

    /// Ends the file.
    ///
    /// # Errors
    /// When it cannot be written.
    fn finish(self: Box<Self>) -> std::io::Result<()>;
}

/// Kinds of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Comma-separated text.
    Csv,
    /// Apache Parquet.
    Parquet,
}

/// A sink of that kind.
///
/// # Errors
/// When the head of the file cannot be written.
pub fn sink<'a>(
    format: Format,
    out: Box<dyn Write + Send + 'a>,
) -> std::io::Result<Box<dyn Sink + 'a>> {
    Ok(match format {
        Format::Csv => Box::new(csv::CsvSink::new(out)?),
        Format::Parquet => Box::new(parquet::ParquetSink::new(out)?),
    })
}

/// What was written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ExportReport {
    /// Days with samples.
    pub days: usize,
    /// Samples written.
    pub samples: u64,
    /// Places that could not be read.
    pub damaged: u64,
}

/// Why an export broke off.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The store.
    #[error("the history cannot be read")]
    Store(#[from] StoreError),
    /// The file.
    #[error("the file cannot be written")]
    Write(#[from] std::io::Error),
}

/// Writes what `filter` wants of `source` to `sink`; `tell` hears of each day, `damage` of each place that cannot be read.
///
/// # Errors
/// [`ExportError`].
pub fn export(
    source: &mut dyn Source,
    filter: &Filter,
    mut sink: Box<dyn Sink + '_>,
    tell: &mut dyn FnMut(Step),
    damage: &mut dyn FnMut(&SeriesKey, &Damage),
) -> Result<ExportReport, ExportError> {
    let mut report = ExportReport::default();
    let days: Vec<i64> = source.days()?.into_iter().filter(|day| filter.has(*day)).collect();
    let of = days.len();
    for (done, day) in days.into_iter().enumerate() {
        let before = report.samples;
        let devices = source.devices(day, &mut |series, found| {
            report.damaged += 1;
            damage(series, &found);
        })?;
        for all in devices {
            let Some(wanted) = filter.of(&all) else { continue };
            device(source, filter, day, &wanted, &mut *sink, &mut report, damage)?;
        }
        report.days += usize::from(report.samples > before);
        tell(Step { day, done: done + 1, of, samples: report.samples });
    }
    sink.finish()?;
    Ok(report)
}

fn device(
    source: &mut dyn Source,
    filter: &Filter,
    day: i64,
    wanted: &DeviceSeries,
    sink: &mut dyn Sink,
    report: &mut ExportReport,
    damage: &mut dyn FnMut(&SeriesKey, &Damage),
) -> Result<(), ExportError> {
    // One series after the other within a device, so that its hours follow each other in the file.
    for quantity in &wanted.quantities {
        let one = DeviceSeries { quantities: vec![quantity.clone()], ..wanted.clone() };
        let series = [one.site.clone(), one.device.clone(), quantity.clone()];
        for hour in filter.hours(day) {
            let read = source.read(&one, hour.start, hour.end, &mut |series, found| {
                report.damaged += u64::from(found.from < found.to);
                damage(series, &found);
            })?;
            for samples in read.iter().filter(|samples| !samples.is_empty()) {
                sink.put(&series, samples)?;
                report.samples += samples.len() as u64;
            }
        }
    }
    Ok(())
}

/// Unit of a quantity; empty for one that this program does not know.
fn unit(quantity: &str) -> &'static str {
    wire::quantity::lookup(quantity).map_or("", |info| info.unit)
}
