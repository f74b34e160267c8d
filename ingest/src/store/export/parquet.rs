//! Parquet with Snappy, one row group per [`ROWS`] samples; see `export` for the columns.

use std::io::Write;
use std::sync::Arc;

use parquet::basic::Compression;
use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

use super::{Sample, SeriesKey, Sink, unit};

/// Samples of a row group: about 60 MB while it is collected, good for readers too.
pub const ROWS: usize = 1 << 19;

const SCHEMA: &str = "message davy {
    REQUIRED BYTE_ARRAY site (UTF8);
    REQUIRED BYTE_ARRAY device (UTF8);
    REQUIRED BYTE_ARRAY quantity (UTF8);
    REQUIRED BYTE_ARRAY unit (UTF8);
    REQUIRED INT64 t (TIMESTAMP(MILLIS, true));
    OPTIONAL DOUBLE value;
    REQUIRED BYTE_ARRAY quality (UTF8);
    OPTIONAL BYTE_ARRAY reason (UTF8);
}";

/// Rows on their way into a row group.
#[derive(Default)]
struct Rows {
    /// Site, device, quantity, unit.
    names: [Vec<ByteArray>; 4],
    times: Vec<i64>,
    values: Vec<f64>,
    has_value: Vec<i16>,
    qualities: Vec<ByteArray>,
    reasons: Vec<ByteArray>,
    has_reason: Vec<i16>,
}

/// Writes Parquet.
pub struct ParquetSink<'a> {
    out: SerializedFileWriter<Box<dyn Write + Send + 'a>>,
    rows: Rows,
}

impl std::fmt::Debug for ParquetSink<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ParquetSink").field("rows", &self.rows.times.len()).finish_non_exhaustive()
    }
}

fn wrong(error: parquet::errors::ParquetError) -> std::io::Error {
    match error {
        parquet::errors::ParquetError::External(error) => std::io::Error::other(error),
        other => std::io::Error::other(other),
    }
}

impl<'a> ParquetSink<'a> {
    /// Begins a file.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn new(out: Box<dyn Write + Send + 'a>) -> std::io::Result<Self> {
        let schema = Arc::new(parse_message_type(SCHEMA).map_err(wrong)?);
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_created_by(concat!("davy-ingest ", env!("CARGO_PKG_VERSION")).to_owned())
            .build();
        let out = SerializedFileWriter::new(out, schema, Arc::new(properties)).map_err(wrong)?;
        Ok(Self { out, rows: Rows::default() })
    }

    fn write_rows(&mut self) -> std::io::Result<()> {
        let rows = std::mem::take(&mut self.rows);
        if rows.times.is_empty() {
            return Ok(());
        }
        let mut group = self.out.next_row_group().map_err(wrong)?;
        let mut index = 0;
        while let Some(mut column) = group.next_column().map_err(wrong)? {
            let text =
                |values: &[ByteArray],
                 has: Option<&[i16]>,
                 column: &mut parquet::file::writer::SerializedColumnWriter<'_>| {
                    column.typed::<ByteArrayType>().write_batch(values, has, None)
                };
            let written = match index {
                0..=3 => text(&rows.names[index], None, &mut column),
                4 => column.typed::<Int64Type>().write_batch(&rows.times, None, None),
                5 => column.typed::<DoubleType>().write_batch(
                    &rows.values,
                    Some(&rows.has_value),
                    None,
                ),
                6 => text(&rows.qualities, None, &mut column),
                _ => text(&rows.reasons, Some(&rows.has_reason), &mut column),
            };
            written.map_err(wrong)?;
            column.close().map_err(wrong)?;
            index += 1;
        }
        group.close().map_err(wrong)?;
        Ok(())
    }
}

impl Sink for ParquetSink<'_> {
    fn put(&mut self, series: &SeriesKey, samples: &[Sample]) -> std::io::Result<()> {
        let [site, device, quantity] = series.each_ref().map(String::as_str);
        // Shared, not copied per row.
        let names = [site, device, quantity, unit(quantity)].map(ByteArray::from);
        for sample in samples {
            let rows = &mut self.rows;
            for (column, name) in rows.names.iter_mut().zip(&names) {
                column.push(name.clone());
            }
            rows.times.push(sample.t);
            let numeric = sample.value.is_finite();
            rows.has_value.push(i16::from(numeric));
            rows.values.extend(numeric.then_some(sample.value));
            rows.qualities.push(word(sample.mark.quality.as_str()));
            let reason = sample.mark.reason.as_str();
            rows.has_reason.push(i16::from(!reason.is_empty()));
            rows.reasons.extend((!reason.is_empty()).then(|| word(reason)));
            if rows.times.len() >= ROWS {
                self.write_rows()?;
            }
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> std::io::Result<()> {
        self.write_rows()?;
        self.out.close().map_err(wrong)?;
        Ok(())
    }
}

/// A word of the program itself: nothing is copied.
fn word(text: &'static str) -> ByteArray {
    ByteArray::from(bytes::Bytes::from_static(text.as_bytes()))
}
