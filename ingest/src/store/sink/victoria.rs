//! VictoriaMetrics: its start check, when it was started, and history in MetricsQL.
//!
//! A field `u_a` of family `electric` is its metric `electric_u_a`. A window there is what lies after its start up to and
//! with its end, so it is asked for 1 ms before ours ends.

use serde_json::Value;
use wire::Quality;

use super::{Http, SinkFound, SinkOptions, StoreError};
use crate::store::history::{self, Grid, SAMPLES_MAX, worse};
use crate::store::push::Asker;
use crate::store::{
    Aggregates, HistoryAnswer, HistoryQuery, HistoryReader, SampleRow, Samples, Windows, names,
};

const DAY_S: u64 = 86_400;
/// What VictoriaMetrics keeps where nothing is configured: a month of 31 days.
const KEEPS_DEFAULT_S: u64 = 31 * DAY_S;

/// Checks that it is a VictoriaMetrics, that duplicates are harmless and that it keeps long enough.
pub(super) async fn check(http: &Http, options: &SinkOptions) -> Result<SinkFound, StoreError> {
    let mut found = SinkFound::default();
    let (status, _, body) = http.get("flags", &[]).await?;
    if matches!(status, 401 | 403) {
        found.warnings.push(
            "VictoriaMetrics does not show its flags (-flagsAuthKey): see yourself that it runs with -dedup.minScrapeInterval=1ms and a -retentionPeriod as long as wanted".to_owned(),
        );
        return Ok(found);
    }
    let text = String::from_utf8_lossy(&body).into_owned();
    if status != 200 || !text.contains("retentionPeriod") {
        return Err(http.refused(
            format!("{} does not answer like a VictoriaMetrics (status {status})", options.url),
            "give the address of a single-node VictoriaMetrics, e.g. http://host:8428",
        ));
    }
    let is_off = |v: &str| matches!(v, "" | "0" | "0s" | "0ms");
    if flag(&text, "dedup.minScrapeInterval").is_none_or(|v| is_off(&v)) {
        return Err(http.refused(
            "VictoriaMetrics runs without deduplication: what is sent again after a failure would count twice".to_owned(),
            "start it with -dedup.minScrapeInterval=1ms",
        ));
    }
    let keeps = flag(&text, "retentionPeriod").map_or(Some(KEEPS_DEFAULT_S), |v| seconds(&v));
    let late = u64::from(options.late_days) * DAY_S;
    match (keeps, options.retention_days.map(|days| u64::from(days) * DAY_S)) {
        (Some(keeps), Some(wanted)) if keeps < wanted => {
            return Err(http.refused(
                format!("VictoriaMetrics keeps {keeps} s, configured are {wanted} s"),
                format!("start it with -retentionPeriod={}d, or configure fewer days", wanted / DAY_S),
            ));
        }
        (Some(keeps), _) if keeps < late => found.warnings.push(format!(
            "VictoriaMetrics keeps {keeps} s, less than data may be late ([log] hole_max_days), and drops what is older without a word: start it with a longer -retentionPeriod"
        )),
        _ => {}
    }
    process(http).await?;
    Ok(found)
}

/// The value of a flag in the page of flags: `-name="value"` or `name=value`, a line each.
fn flag(text: &str, name: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let (key, value) = line.trim().trim_start_matches('-').split_once('=')?;
        (key.trim() == name).then(|| value.trim().trim_matches('"').to_owned())
    })
}

/// A retention as VictoriaMetrics writes it, s: a bare number is months of 31 days.
fn seconds(text: &str) -> Option<u64> {
    let (number, unit) = match text.find(|c: char| !c.is_ascii_digit()) {
        None => (text, 31 * DAY_S),
        Some(at) => match &text[at..] {
            "s" => (&text[..at], 1),
            "m" => (&text[..at], 60),
            "h" => (&text[..at], 3_600),
            "d" => (&text[..at], DAY_S),
            "w" => (&text[..at], 7 * DAY_S),
            "y" => (&text[..at], 365 * DAY_S),
            _ => return None,
        },
    };
    number.parse::<u64>().ok()?.checked_mul(unit)
}

/// Which process answers: when it was started, in its own words (whole seconds), and how many lines it has taken since,
/// which only grows.
pub(super) async fn process(http: &Http) -> Result<(String, u64), StoreError> {
    const STARTED: &str = "vm_app_start_timestamp ";
    const TAKEN: &str = "vm_rows_inserted_total{type=\"influx\"} ";
    let body = http.good(http.get("metrics", &[]).await?)?;
    let text = String::from_utf8_lossy(&body);
    let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
    let Some(started) = value(STARTED) else {
        return Err(http.refused(
            "its /metrics does not say when it was started".to_owned(),
            "let davy-ingest read /metrics of VictoriaMetrics: it must notice a restart",
        ));
    };
    let taken = value(TAKEN).and_then(|count| count.trim().parse().ok()).unwrap_or(0);
    Ok((started.to_owned(), taken))
}

/// Asks history.
#[derive(Debug)]
pub(super) struct Reader {
    http: Http,
    asker: Asker,
}

impl Reader {
    pub(super) fn new(http: Http) -> Result<Self, StoreError> {
        let asker = Asker::new(http.name)?;
        Ok(Self { http, asker })
    }

    fn get(&self, path: &str, parameters: &[(&str, &str)]) -> Result<Vec<u8>, StoreError> {
        let runtime = self.asker.runtime()?;
        self.http.good(runtime.block_on(self.http.get(path, parameters))?)
    }

    fn wrong(&self, what: &str) -> StoreError {
        self.http.unavailable(format!("an answer that is no answer: {what}"))
    }

    /// Samples of a metric, ascending: a JSON object a line.
    fn export(&self, metric: &str, from: i64, to: i64) -> Result<Vec<(i64, f64)>, StoreError> {
        let (start, end) = (at(from), at(to - 1));
        let body =
            self.get("api/v1/export", &[("match[]", metric), ("start", &start), ("end", &end)])?;
        let mut samples = Vec::new();
        for line in body.split(|b| *b == b'\n').filter(|line| !line.is_empty()) {
            let object: Value =
                serde_json::from_slice(line).map_err(|e| self.wrong(&e.to_string()))?;
            let list = |name: &str| object.get(name).and_then(Value::as_array);
            let (Some(values), Some(times)) = (list("values"), list("timestamps")) else {
                return Err(self.wrong("no values"));
            };
            for (time, value) in times.iter().zip(values) {
                if let (Some(time), Some(value)) = (time.as_i64(), value.as_f64()) {
                    samples.push((time, value));
                }
            }
        }
        samples.sort_by_key(|(time, _)| *time);
        Ok(samples)
    }

    fn raw(&self, query: &HistoryQuery, limit: usize) -> Result<Samples, StoreError> {
        let limit = limit.clamp(1, SAMPLES_MAX);
        let mut rows = std::collections::BTreeMap::new();
        for (t, value) in self.export(&metric(query, ""), query.from, query.to)? {
            rows.insert(t, (Some(value), Quality::Good));
        }
        for (t, code) in self.export(&metric(query, "_q"), query.from, query.to)? {
            let quality = CODES.iter().find(|(c, _)| f64::from(*c) == code);
            let quality = quality.map_or(Quality::Bad, |(_, quality)| *quality);
            let row = rows.entry(t).or_insert((None, quality));
            row.1 = match row.0 {
                Some(_) if !quality.has_value() => Quality::Uncertain,
                _ => quality,
            };
        }
        let truncated = rows.len() > limit;
        let rows = rows.into_iter().take(limit);
        let rows = rows.map(|(t, (value, quality))| SampleRow { t, value, quality }).collect();
        Ok(Samples { rows, truncated, damaged: Vec::new() })
    }

    /// One number a window.
    fn range(
        &self,
        expression: &str,
        grid: &Grid,
        mut take: impl FnMut(usize, f64),
    ) -> Result<(), StoreError> {
        let (start, end) = (at(grid.start + grid.step_ms - 1), at(grid.end - 1));
        let step = format!("{}ms", grid.step_ms);
        let body = self.get(
            "api/v1/query_range",
            &[
                ("query", expression),
                ("start", &start),
                ("end", &end),
                ("step", &step),
                ("nocache", "1"),
                ("latency_offset", "1ms"),
            ],
        )?;
        let answer: Value =
            serde_json::from_slice(&body).map_err(|e| self.wrong(&e.to_string()))?;
        let series = answer.pointer("/data/result").and_then(Value::as_array);
        for one in series.ok_or_else(|| self.wrong("no result"))? {
            let pairs = one.get("values").and_then(Value::as_array);
            for pair in pairs.ok_or_else(|| self.wrong("no values"))? {
                let time = pair.get(0).and_then(Value::as_f64);
                let value = pair.get(1).and_then(Value::as_str).and_then(|v| v.parse().ok());
                if let (Some(time), Some(value)) = (time, value)
                    && let Some(i) = grid.index_checked(millis(time))
                {
                    take(i, value);
                }
            }
        }
        Ok(())
    }

    fn windows(
        &self,
        query: &HistoryQuery,
        grid: &Grid,
        wanted: Aggregates,
    ) -> Result<Windows, StoreError> {
        let mut out = history::empty(grid, wanted);
        let Aggregates { min, max, mean, last } = wanted;
        let window = format!("[{}ms]", grid.step_ms);
        let data = metric(query, "");
        let Windows { q, .. } = &mut out;
        let mut quality = vec![None; q.len()];
        for (wanted, function, column) in [
            (min, "min_over_time", &mut out.min),
            (max, "max_over_time", &mut out.max),
            (mean, "avg_over_time", &mut out.mean),
            (last || !(min || max || mean), "last_over_time", &mut out.last),
        ] {
            if wanted {
                self.range(&format!("{function}({data}{window})"), grid, |i, value| {
                    quality[i] = worse(quality[i], Quality::Good);
                    if let Some(cell) = column.get_mut(i) {
                        *cell = Some(value);
                    }
                })?;
            }
        }
        let marks = metric(query, "_q");
        for (code, mark) in CODES {
            let expression = format!("count_eq_over_time({marks}{window}, {code})");
            self.range(&expression, grid, |i, count| {
                if count > 0.0 {
                    quality[i] = worse(quality[i], mark);
                }
            })?;
        }
        out.q = quality;
        Ok(out)
    }
}

/// The codes of a quality field.
const CODES: [(u8, Quality); 4] =
    [(1, Quality::Uncertain), (2, Quality::Bad), (3, Quality::Stale), (4, Quality::Substituted)];

/// Ms as seconds with three decimals.
fn at(ms: i64) -> String {
    format!("{}.{:03}", ms.div_euclid(1_000), ms.rem_euclid(1_000))
}

/// Seconds with decimals as ms.
#[expect(clippy::cast_possible_truncation, reason = "a time of the answer lies in the asked range")]
fn millis(seconds: f64) -> i64 {
    (seconds * 1_000.0).round() as i64
}

/// The selector of a query's series.
fn metric(query: &HistoryQuery, ending: &str) -> String {
    format!(
        "{{__name__={},device={},site={}}}",
        quoted(&format!("{}_{}{ending}", names::family(&query.quantity).as_str(), query.quantity)),
        quoted(&query.device),
        quoted(&query.site),
    )
}

/// A string of MetricsQL, which is one of Go.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

impl HistoryReader for Reader {
    fn query(&self, query: &HistoryQuery) -> Result<HistoryAnswer, StoreError> {
        let windows = |grid: &Grid, wanted| self.windows(query, grid, wanted);
        history::answer(query, |limit| self.raw(query, limit), windows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_and_retentions_are_read_as_they_are_written() {
        let page =
            "-dedup.minScrapeInterval=\"1ms\"\n-retentionPeriod=\"1\"\nhttpListenAddr=\":8428\"\n";
        assert_eq!(flag(page, "dedup.minScrapeInterval").as_deref(), Some("1ms"));
        assert_eq!(flag(page, "retentionPeriod").as_deref(), Some("1"));
        assert_eq!(flag(page, "minScrapeInterval"), None);
        let read = ["1", "30d", "100y", "12h", "soon", ""].map(seconds);
        let want = [31 * DAY_S, 30 * DAY_S, 36_500 * DAY_S, 43_200];
        assert_eq!(read[..4], want.map(Some));
        assert_eq!(read[4..], [None, None]);
    }

    #[test]
    fn times_keep_their_milliseconds() {
        assert_eq!(at(1_700_006_459_999), "1700006459.999");
        assert_eq!(millis(1_700_006_459.999), 1_700_006_459_999);
    }
}
