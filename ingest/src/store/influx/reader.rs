//! Answers history queries from InfluxDB: a plain POST of Flux, its CSV read row by row.

use std::collections::BTreeMap;

use csv::{ByteRecord, ReaderBuilder};
use wire::Quality;

use super::{InfluxOptions, StoreError, answer, flux, http, runtime, unavailable};
use crate::store::history::{self, Grid, SAMPLES_MAX, worse};
use crate::store::{
    Aggregates, HistoryAnswer, HistoryQuery, HistoryReader, SampleRow, Samples, Shape, Windows,
    names,
};

/// Longest answer that is read, bytes.
const ANSWER_BYTES_MAX: usize = 128 << 20;

/// Reads beside the writer.
#[derive(Debug)]
pub(super) struct InfluxReader {
    options: InfluxOptions,
    client: reqwest011::Client,
    /// Taken at the end only: a runtime must not be dropped where async code runs.
    runtime: Option<tokio::runtime::Runtime>,
}

impl Drop for InfluxReader {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl InfluxReader {
    pub(super) fn new(options: &InfluxOptions) -> Result<Self, StoreError> {
        let client = http(options, false).build();
        let client = client.map_err(|e| unavailable(answer::chain(&e)))?;
        Ok(Self { options: options.clone(), client, runtime: Some(runtime()?) })
    }

    fn raw(&self, query: &HistoryQuery, limit: usize) -> Result<Samples, StoreError> {
        let limit = limit.clamp(1, SAMPLES_MAX);
        let mut rows: BTreeMap<i64, (Option<f64>, Option<Quality>)> = BTreeMap::new();
        self.ask(&flux::raw(&self.options.bucket, query, limit + 1), |row| {
            let entry = rows.entry(row.time).or_default();
            match row.result {
                "value" => entry.0 = row.number(),
                _ => entry.1 = row.quality(),
            }
        })?;
        let truncated = rows.len() > limit;
        let rows = rows.into_iter().take(limit).map(|(t, (value, quality))| {
            let quality = match (value, quality) {
                (Some(_), None) => Quality::Good,
                // A number wins over a bad mark of the same time, with a doubt: see the store's page.
                (Some(_), Some(q)) if !q.has_value() => Quality::Uncertain,
                (_, Some(q)) => q,
                (None, None) => Quality::Bad,
            };
            SampleRow { t, value, quality }
        });
        Ok(Samples { rows: rows.collect(), truncated, damaged: Vec::new() })
    }

    fn windows(
        &self,
        query: &HistoryQuery,
        grid: &Grid,
        wanted: Aggregates,
    ) -> Result<Windows, StoreError> {
        let column = |wanted: bool| vec![None; if wanted { grid.len } else { 0 }];
        let mut out = empty(grid, wanted);
        let mut known_by_last = column(true);
        self.ask(&flux::windows(&self.options.bucket, query, grid, wanted), |row| {
            let Some(i) = grid.index_checked(row.time) else { return };
            let quality = match row.result {
                "q1" => Quality::Uncertain,
                "q2" => Quality::Bad,
                "q3" => Quality::Stale,
                "q4" => Quality::Substituted,
                _ => Quality::Good,
            };
            out.q[i] = worse(out.q[i], quality);
            let column = match row.result {
                "min" => &mut out.min,
                "max" => &mut out.max,
                "mean" => &mut out.mean,
                "last" if wanted.last => &mut out.last,
                "last" => &mut known_by_last,
                _ => return,
            };
            column[i] = row.number();
        })?;
        Ok(out)
    }

    /// Sends Flux and gives each row of the answer to `take`.
    fn ask(&self, flux: &str, take: impl FnMut(Row<'_>)) -> Result<(), StoreError> {
        let runtime =
            self.runtime.as_ref().ok_or_else(|| unavailable("shutting down".to_owned()))?;
        let body = runtime.block_on(self.post(flux))?;
        read_rows(&body, take)
    }

    async fn post(&self, flux: &str) -> Result<Vec<u8>, StoreError> {
        let failed = |e: reqwest011::Error| unavailable(answer::chain(&e));
        let base = self.options.url.trim_end_matches('/');
        let request = self
            .client
            .post(format!("{base}/api/v2/query"))
            .query(&[("org", self.options.org.as_str())])
            .header("Authorization", format!("Token {}", self.options.token.reveal()))
            .header("Content-Type", "application/vnd.flux")
            .header("Accept", "application/csv")
            .body(flux.to_owned());
        let mut response = request.send().await.map_err(failed)?;
        let status = response.status().as_u16();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > ANSWER_BYTES_MAX {
                let reason = "the answer is too long: ask for a shorter range".to_owned();
                return Err(StoreError::Query { reason });
            }
            body.extend_from_slice(&chunk);
        }
        if status == 200 {
            return Ok(body);
        }
        let words = answer::words(&String::from_utf8_lossy(&body));
        Err(match status {
            400 => StoreError::Query { reason: words },
            429 | 500.. => unavailable(format!("{status}: {words}")),
            _ => answer::denied(status, &words, &self.options.org, &self.options.bucket),
        })
    }
}

impl HistoryReader for InfluxReader {
    fn query(&self, query: &HistoryQuery) -> Result<HistoryAnswer, StoreError> {
        history::check_range(query.from, query.to)?;
        let storable = names::check_tag(&query.site)
            .and_then(|()| names::check_tag(&query.device))
            .and_then(|()| names::check_quantity(&query.quantity))
            .is_ok();
        match query.shape {
            Shape::Raw { .. } if !storable => Ok(HistoryAnswer::Samples(Samples::default())),
            Shape::Raw { limit } => self.raw(query, limit).map(HistoryAnswer::Samples),
            Shape::Windows { step_ms, aggregates } => {
                let grid = Grid::new(query.from, query.to, step_ms)?;
                let windows = match storable {
                    true => self.windows(query, &grid, aggregates)?,
                    false => empty(&grid, aggregates),
                };
                Ok(HistoryAnswer::Windows(windows))
            }
        }
    }
}

/// Windows that are all gaps.
fn empty(grid: &Grid, wanted: Aggregates) -> Windows {
    let column = |wanted: bool| vec![None; if wanted { grid.len } else { 0 }];
    Windows {
        start: grid.start,
        step_ms: grid.step_ms,
        min: column(wanted.min),
        max: column(wanted.max),
        mean: column(wanted.mean),
        last: column(wanted.last),
        q: vec![None; grid.len],
        damaged: Vec::new(),
    }
}

/// One row of an answer.
#[derive(Debug)]
struct Row<'a> {
    /// Name of the yield.
    result: &'a str,
    /// `_time`, ms.
    time: i64,
    value: &'a str,
}

impl Row<'_> {
    fn number(&self) -> Option<f64> {
        self.value.parse().ok().filter(|v: &f64| v.is_finite())
    }

    fn quality(&self) -> Option<Quality> {
        Quality::from_code(self.value.parse().ok()?)
    }
}

/// Which cell of a table holds what; the header stands before each table.
#[derive(Debug, Clone, Copy)]
struct Header {
    result: usize,
    time: usize,
    value: usize,
}

/// Reads CSV without annotations: tables follow each other, each with its header; an error after the first row is a
/// table of its own.
fn read_rows(body: &[u8], mut take: impl FnMut(Row<'_>)) -> Result<(), StoreError> {
    let mut reader = ReaderBuilder::new().has_headers(false).flexible(true).from_reader(body);
    let (mut record, mut header) = (ByteRecord::new(), None::<Header>);
    let wrong = |what: &str| unavailable(format!("an answer that is no answer: {what}"));
    while reader.read_byte_record(&mut record).map_err(|e| wrong(&e.to_string()))? {
        let cells: Vec<&str> =
            record.iter().map(|c| std::str::from_utf8(c).unwrap_or_default()).collect();
        let find = |name: &str| cells.iter().position(|c| *c == name);
        if let (Some(error), Some(_)) = (find("error"), find("reference")) {
            let more = reader.read_byte_record(&mut record).map_err(|e| wrong(&e.to_string()))?;
            let text = if more { record.get(error).unwrap_or_default() } else { b"" };
            return Err(unavailable(format!("query broke off: {}", String::from_utf8_lossy(text))));
        }
        if let (Some(result), Some(time), Some(value)) =
            (find("result"), find("_time"), find("_value"))
        {
            header = Some(Header { result, time, value });
            continue;
        }
        let Some(at) = header else { continue };
        let (Some(result), Some(time), Some(value)) =
            (cells.get(at.result), cells.get(at.time), cells.get(at.value))
        else {
            continue;
        };
        let time: jiff::Timestamp = time.parse().map_err(|_| wrong("a time"))?;
        take(Row { result, time: time.as_millisecond(), value });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_told_apart_by_their_headers() {
        let body = b",result,table,_time,_value\r\n,min,0,2023-11-15T00:00:00Z,1.5\r\n,min,0,2023-11-15T00:01:00.5Z,2\r\n\r\n\
            ,result,table,_value,_time\r\n,q2,0,3,2023-11-15T00:00:00Z\r\n\r\n";
        let mut rows = Vec::new();
        read_rows(body, |r| rows.push((r.result.to_owned(), r.time, r.number()))).unwrap();
        let t = 1_700_006_400_000;
        let want = [("min", t, Some(1.5)), ("min", t + 60_500, Some(2.0)), ("q2", t, Some(3.0))];
        assert_eq!(rows, want.map(|(r, t, v)| (r.to_owned(), t, v)));
    }

    #[test]
    fn an_error_after_the_first_row_is_an_error() {
        let body = b",result,table,_time,_value\r\n,min,0,2023-11-15T00:00:00Z,1.5\r\n\r\n,error,reference\r\n,ran out of memory,\r\n";
        let error = read_rows(body, |_| {}).unwrap_err();
        assert!(error.to_string().contains("ran out of memory"), "{error}");
    }
}
