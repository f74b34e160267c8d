//! Sends Flux and reads its CSV, row by row.

use std::time::Duration;

use csv::{ByteRecord, ReaderBuilder};
use wire::Quality;

use super::{InfluxOptions, StoreError, Token, unavailable};
use crate::store::push::{answer, endpoint, http};

/// Longest answer that is read, bytes.
pub(super) const ANSWER_BYTES_MAX: usize = 128 << 20;

/// Who asks.
#[derive(Debug, Clone)]
pub(super) struct Client {
    url: String,
    org: String,
    pub(super) bucket: String,
    token: Token,
    client: reqwest011::Client,
}

impl Client {
    pub(super) fn new(options: &InfluxOptions) -> Result<Self, StoreError> {
        Self::patient(options, options.limits.timeout)
    }

    /// One that waits longer than the options say.
    pub(super) fn patient(options: &InfluxOptions, timeout: Duration) -> Result<Self, StoreError> {
        let client = http(&options.limits, false).timeout(timeout).build();
        Ok(Self {
            url: options.url.clone(),
            org: options.org.clone(),
            bucket: options.bucket.clone(),
            token: options.token.clone(),
            client: client.map_err(|e| unavailable(answer::chain(&e)))?,
        })
    }

    /// Sends Flux and gives each row of the answer to `take`.
    pub(super) fn ask(
        &self,
        runtime: &tokio::runtime::Runtime,
        flux: &str,
        take: impl FnMut(Row<'_>),
    ) -> Result<(), StoreError> {
        let body = runtime.block_on(self.post(flux))?;
        read_rows(&body, take)
    }

    async fn post(&self, flux: &str) -> Result<Vec<u8>, StoreError> {
        let failed = |e: reqwest011::Error| unavailable(answer::chain(&e));
        let base = self.url.trim_end_matches('/');
        let request = self
            .client
            .post(format!("{base}/api/v2/query"))
            .query(&[("org", self.org.as_str())])
            .header("Authorization", format!("Token {}", self.token.current().reveal()))
            .header("Content-Type", "application/vnd.flux")
            .header("Accept", "application/csv")
            .body(flux.to_owned());
        let response = request.send().await.map_err(failed)?;
        let status = response.status().as_u16();
        let body = body_of(response).await?;
        if status == 200 {
            return Ok(body);
        }
        let words = answer::words(&String::from_utf8_lossy(&body));
        Err(match status {
            400 => StoreError::Query { reason: words },
            429 | 500.. => unavailable(format!("{status}: {words}")),
            _ => endpoint::denied(status, &words, &self.org, &self.bucket),
        })
    }
}

/// Reads a body that may be no longer than [`ANSWER_BYTES_MAX`].
async fn body_of(response: reqwest011::Response) -> Result<Vec<u8>, StoreError> {
    crate::store::push::endpoint::body_of(endpoint::INFLUX, response, ANSWER_BYTES_MAX).await
}

/// One row of an answer.
#[derive(Debug)]
pub(super) struct Row<'a> {
    /// Name of the yield.
    pub(super) result: &'a str,
    /// `_time`, ms.
    pub(super) time: i64,
    value: &'a str,
}

impl Row<'_> {
    pub(super) fn number(&self) -> Option<f64> {
        self.value.parse().ok().filter(|v: &f64| v.is_finite())
    }

    pub(super) fn quality(&self) -> Option<Quality> {
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
