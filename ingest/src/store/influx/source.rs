//! An InfluxDB bucket read from end to end, for export and migration: plain requests of Flux, a device and hour at once.
//!
//! The reason of a mark is not in the database and comes back as none. Where a number and a bad mark meet at one time, the
//! number counts and is uncertain, as in every answer of this store.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use wire::{Mark, Quality, Reason};

use super::{INFLUX, InfluxOptions, push};
use crate::store::source::{self, DAY_MS, DeviceSeries, Sample, SeriesKey, Source};
use crate::store::{Damage, StoreError};

/// Longest answer that is read, bytes.
const ANSWER_BYTES_MAX: usize = 256 << 20;
/// Limit of one request: a count over a day of many series takes its time.
const PATIENCE: Duration = Duration::from_secs(300);
/// The measurements that readings are kept under.
const FAMILIES: &str = "(r._measurement == \"electric\" or r._measurement == \"gas\" or r._measurement == \"process\" \
     or r._measurement == \"state\")";

/// See the module.
#[derive(Debug)]
pub struct InfluxSource {
    options: InfluxOptions,
    client: reqwest011::Client,
    runtime: tokio::runtime::Runtime,
}

impl InfluxSource {
    /// Prepares the source; does not touch the network.
    ///
    /// # Errors
    /// When no client can be made.
    pub fn open(options: InfluxOptions) -> Result<Self, StoreError> {
        let client = reqwest011::Client::builder()
            .timeout(PATIENCE)
            .connect_timeout(options.limits.connect_timeout)
            .redirect(reqwest011::redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(|e| failed(e.to_string()))?;
        Ok(Self { options, client, runtime: push::runtime(INFLUX)? })
    }

    fn from(&self, from: i64, to: i64) -> String {
        let (from, to) = (from.saturating_mul(1_000_000), to.saturating_mul(1_000_000));
        format!(
            "from(bucket: {}) |> range(start: time(v: {from}), stop: time(v: {to})) |> filter(fn: (r) => {FAMILIES})",
            text(&self.options.bucket)
        )
    }

    /// Rows of an answer as cells by name.
    fn ask(&self, flux: String) -> Result<Vec<BTreeMap<String, String>>, StoreError> {
        let body = self.runtime.block_on(self.post(flux))?;
        let mut reader =
            csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(&body[..]);
        let (mut names, mut rows) = (Vec::new(), Vec::new());
        for record in reader.records() {
            let record = record.map_err(|e| failed(format!("an answer that is no answer: {e}")))?;
            let cells: Vec<&str> = record.iter().collect();
            let is_head = cells.contains(&"result") && cells.contains(&"table");
            if is_head || (cells.contains(&"error") && cells.contains(&"reference")) {
                names = cells.into_iter().map(str::to_owned).collect();
                continue;
            }
            let row: BTreeMap<String, String> =
                names.iter().cloned().zip(cells.into_iter().map(str::to_owned)).collect();
            if let (Some(error), true) = (row.get("error"), row.contains_key("reference")) {
                return Err(failed(format!("query broke off: {error}")));
            }
            rows.push(row);
        }
        Ok(rows)
    }

    async fn post(&self, flux: String) -> Result<Vec<u8>, StoreError> {
        let failed_request = |e: reqwest011::Error| failed(crate::chain_of(&e));
        let base = self.options.url.trim_end_matches('/');
        let request = self
            .client
            .post(format!("{base}/api/v2/query"))
            .query(&[("org", self.options.org.as_str())])
            .header("Authorization", format!("Token {}", self.options.token.current().reveal()))
            .header("Content-Type", "application/vnd.flux")
            .header("Accept", "application/csv")
            .body(flux);
        let mut response = request.send().await.map_err(failed_request)?;
        let status = response.status().as_u16();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed_request)? {
            if body.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(failed("an hour of one device is too long an answer".to_owned()));
            }
            body.extend_from_slice(&chunk);
        }
        if status == 200 {
            return Ok(body);
        }
        let said = format!("{status}: {}", String::from_utf8_lossy(&body).trim());
        Err(match status {
            401 | 403 | 404 => StoreError::Refused {
                store: "InfluxDB",
                reason: said,
                mend: "check token, organisation and bucket of the source".to_owned(),
            },
            400 => StoreError::Query { reason: said },
            _ => failed(said),
        })
    }

    /// Number of points of each series with a field of `filter`.
    fn count(&self, day: i64, filter: &str) -> Result<Vec<(SeriesKey, u64)>, StoreError> {
        let flux = format!(
            "{} |> filter(fn: (r) => {filter}) |> count() |> keep(columns: [\"site\", \"device\", \"_field\", \"_value\"])",
            self.from(day * DAY_MS, (day + 1) * DAY_MS)
        );
        let rows = self.ask(flux)?;
        let key = |row: &BTreeMap<String, String>| -> Option<(SeriesKey, u64)> {
            let cell = |name: &str| row.get(name).cloned();
            Some(([cell("site")?, cell("device")?, cell("_field")?], cell("_value")?.parse().ok()?))
        };
        Ok(rows.iter().filter_map(key).collect())
    }

    /// The time of a series' first or last point, ms.
    fn edge(&self, function: &str) -> Result<Vec<i64>, StoreError> {
        let all = self.from(0, crate::store::history::TIME_MAX_MS);
        let flux = format!("{all} |> {function}() |> keep(columns: [\"_time\"])");
        let rows = self.ask(flux)?;
        Ok(rows.iter().filter_map(time).collect())
    }
}

impl Source for InfluxSource {
    fn days(&mut self) -> Result<Vec<i64>, StoreError> {
        let day = |t: i64| t.div_euclid(DAY_MS);
        let first = self.edge("first")?.into_iter().min().map(day);
        let last = self.edge("last")?.into_iter().max().map(day);
        Ok(first.zip(last).map_or_else(Vec::new, |(first, last)| (first..=last).collect()))
    }

    fn devices(
        &mut self,
        day: i64,
        _damage: &mut dyn FnMut(&SeriesKey, Damage),
    ) -> Result<Vec<DeviceSeries>, StoreError> {
        let mut devices: BTreeMap<(String, String), BTreeSet<String>> = BTreeMap::new();
        for [site, device, quantity] in self.counts(day)?.into_keys() {
            devices.entry((site, device)).or_default().insert(quantity);
        }
        Ok(source::by_device(devices))
    }

    fn read(
        &mut self,
        of: &DeviceSeries,
        from: i64,
        to: i64,
        _damage: &mut dyn FnMut(&SeriesKey, Damage),
    ) -> Result<Vec<Vec<Sample>>, StoreError> {
        let fields: Vec<String> = of
            .quantities
            .iter()
            .flat_map(|q| [q.clone(), format!("{q}_q")])
            .map(|field| format!("r._field == {}", text(&field)))
            .collect();
        let flux = format!(
            "{} |> filter(fn: (r) => r.site == {} and r.device == {}) |> filter(fn: (r) => {}) \
             |> keep(columns: [\"_time\", \"_field\", \"_value\"])",
            self.from(from, to),
            text(&of.site),
            text(&of.device),
            fields.join(" or ")
        );
        let mut found: Vec<BTreeMap<i64, Found>> = vec![BTreeMap::new(); of.quantities.len()];
        for row in self.ask(flux)? {
            let (Some(t), Some(field), Some(value)) =
                (time(&row), row.get("_field"), row.get("_value"))
            else {
                continue;
            };
            let place = |name: &str| of.quantities.iter().position(|q| q == name);
            if let Some(index) = place(field) {
                found[index].entry(t).or_default().0 = value.parse().ok();
            } else if let Some(index) = field.strip_suffix("_q").and_then(place) {
                let code = value.parse().ok();
                found[index].entry(t).or_default().1 = code.and_then(Quality::from_code);
            }
        }
        let samples = found.into_iter().map(|series| series.into_iter().map(sample).collect());
        Ok(samples.collect())
    }

    fn counts(&mut self, day: i64) -> Result<BTreeMap<SeriesKey, u64>, StoreError> {
        let mut counts: BTreeMap<SeriesKey, u64> = BTreeMap::new();
        for (key, count) in self.count(day, "r._field !~ /_q$/")? {
            *counts.entry(key).or_default() += count;
        }
        // Samples without a number have their mark alone.
        let bare = "r._field =~ /_q$/ and (r._value == 2 or r._value == 3)";
        for ([site, device, field], count) in self.count(day, bare)? {
            let quantity = field.strip_suffix("_q").unwrap_or(&field).to_owned();
            *counts.entry([site, device, quantity]).or_default() += count;
        }
        Ok(counts)
    }
}

/// A number and a mark of one time, as far as there are any.
type Found = (Option<f64>, Option<Quality>);

fn sample((t, (value, quality)): (i64, Found)) -> Sample {
    let quality = match (value, quality) {
        (Some(_), None) => Quality::Good,
        (Some(_), Some(q)) if !q.has_value() => Quality::Uncertain,
        (Some(_), Some(q)) => q,
        (None, Some(q)) if !q.has_value() => q,
        (None, _) => Quality::Bad,
    };
    Sample { t, value: value.unwrap_or(f64::NAN), mark: Mark { quality, reason: Reason::None } }
}

fn time(row: &BTreeMap<String, String>) -> Option<i64> {
    let time: jiff::Timestamp = row.get("_time")?.parse().ok()?;
    Some(time.as_millisecond())
}

/// A Flux string. Besides quotes and backslashes `${` would begin an expression.
fn text(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '$' => out.push_str("\\x24"),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn failed(reason: String) -> StoreError {
    StoreError::Unavailable { store: "InfluxDB", reason, pause_ms: 0 }
}
