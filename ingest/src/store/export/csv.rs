//! CSV, one sample a line; see `export` for the columns.

use std::io::Write;

use super::{Sample, SeriesKey, Sink, unit};

/// Writes CSV.
pub struct CsvSink<'a> {
    out: csv::Writer<Box<dyn Write + Send + 'a>>,
}

impl std::fmt::Debug for CsvSink<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CsvSink").finish_non_exhaustive()
    }
}

impl<'a> CsvSink<'a> {
    /// Begins a file with its header.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn new(out: Box<dyn Write + Send + 'a>) -> std::io::Result<Self> {
        let mut out = csv::Writer::from_writer(out);
        out.write_record([
            "site", "device", "quantity", "unit", "t_ms", "time", "value", "quality", "reason",
        ])?;
        Ok(Self { out })
    }
}

impl Sink for CsvSink<'_> {
    fn put(&mut self, series: &SeriesKey, samples: &[Sample]) -> std::io::Result<()> {
        let [site, device, quantity] = series.each_ref().map(String::as_str);
        let (mut t, mut number) = (itoa::Buffer::new(), zmij::Buffer::new());
        for sample in samples {
            let time = jiff::Timestamp::from_millisecond(sample.t)
                .map(|time| format!("{time:.3}"))
                .unwrap_or_default();
            let value =
                if sample.value.is_finite() { number.format_finite(sample.value) } else { "" };
            self.out.write_record([
                site,
                device,
                quantity,
                unit(quantity),
                t.format(sample.t),
                &time,
                value,
                sample.mark.quality.as_str(),
                sample.mark.reason.as_str(),
            ])?;
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> std::io::Result<()> {
        self.out.flush()
    }
}
