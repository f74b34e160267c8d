//! InfluxDB 1: its start check, and history in InfluxQL, answered as CSV.

use csv::ReaderBuilder;
use wire::Quality;

use super::{Http, SinkFound, SinkOptions, StoreError};
use crate::store::history::{self, Grid, SAMPLES_MAX, worse};
use crate::store::push::Asker;
use crate::store::{
    Aggregates, HistoryAnswer, HistoryQuery, HistoryReader, SampleRow, Samples, Windows, names,
};

const DAY_S: u64 = 86_400;

/// Checks version, login, database and retention; creates the database where asked to.
pub(super) async fn check(http: &Http, options: &SinkOptions) -> Result<SinkFound, StoreError> {
    let (status, version, _) = http.get("ping", &[]).await?;
    let major = version.as_deref().map(|v| v.trim_start_matches('v').split('.').next());
    match major {
        Some(Some("1" | "0")) => {}
        Some(Some("2")) => {
            return Err(http.refused(
                format!("{} is an InfluxDB {}", options.url, version.unwrap_or_default()),
                "set [store] kind = \"influx\" with org, bucket and token_file",
            ));
        }
        _ => {
            return Err(http.refused(
                format!("{} does not say that it is an InfluxDB 1 (status {status})", options.url),
                "give the address of an InfluxDB 1.x",
            ));
        }
    }
    let mut found = SinkFound { version, ..SinkFound::default() };
    let rows = ask(http, "", "SHOW DATABASES").await?;
    if !rows.iter().any(|row| row.get("name") == Some(&options.database)) {
        let duration = options.retention_days.map(|days| format!(" WITH DURATION {days}d"));
        let name = identifier(&options.database);
        let create = format!("CREATE DATABASE {name}{}", duration.unwrap_or_default());
        if !options.create_database {
            return Err(http.refused(
                format!("there is no database {:?}", options.database),
                format!("create it (influx -execute '{create}') or set create_database = true in [store]"),
            ));
        }
        found.created = true;
        if options.only_look {
            return Ok(found);
        }
        let answer = http.good(http.post("query", &[("q", &create)]).await?)?;
        read(http, &answer, |_, _| {})?;
        tracing::info!(database = %options.database, "database created");
    }
    let question = format!("SHOW RETENTION POLICIES ON {}", identifier(&options.database));
    let policies = ask(http, "", &question).await?;
    let default = policies.iter().find(|row| row.get("default").is_some_and(|d| d == "true"));
    let keeps = default.and_then(|row| row.get("duration")).and_then(|text| seconds(text));
    let wanted = options.retention_days.map(|days| u64::from(days) * DAY_S);
    match (keeps.filter(|s| *s > 0), wanted) {
        (Some(keeps), Some(wanted)) if keeps < wanted => Err(http.refused(
            format!("database {:?} keeps {keeps} s, configured are {wanted} s", options.database),
            format!(
                "influx -execute 'ALTER RETENTION POLICY \"autogen\" ON {} DURATION {wanted}s', or configure fewer days",
                identifier(&options.database)
            ),
        )),
        (Some(keeps), _) if keeps < u64::from(options.late_days) * DAY_S => {
            found.warnings.push(format!(
                "database {:?} keeps {keeps} s, less than data may be late ([log] hole_max_days): what is older is dropped and counted",
                options.database
            ));
            Ok(found)
        }
        _ => Ok(found),
    }
}

type Record = std::collections::BTreeMap<String, String>;

/// Asks InfluxQL; rows by column name.
async fn ask(http: &Http, database: &str, question: &str) -> Result<Vec<Record>, StoreError> {
    let body = http.good(http.get("query", &parameters(database, question)).await?)?;
    let mut rows = Vec::new();
    read(http, &body, |columns, cells| {
        let row = columns.iter().zip(cells).map(|(c, v)| (c.clone(), (*v).to_owned()));
        rows.push(row.collect());
    })?;
    Ok(rows)
}

fn parameters<'a>(database: &'a str, question: &'a str) -> [(&'a str, &'a str); 3] {
    [("db", database), ("epoch", "ms"), ("q", question)]
}

/// Reads CSV: results follow each other after a blank line, each with its header, which begins with `name,tags`.
fn read(
    http: &Http,
    body: &[u8],
    mut take: impl FnMut(&[String], &[&str]),
) -> Result<(), StoreError> {
    let mut reader = ReaderBuilder::new().has_headers(false).flexible(true).from_reader(body);
    let mut record = csv::StringRecord::new();
    let mut columns: Vec<String> = Vec::new();
    let wrong = |what: String| http.unavailable(format!("an answer that is no answer: {what}"));
    while reader.read_record(&mut record).map_err(|e| wrong(e.to_string()))? {
        let cells: Vec<&str> = record.iter().collect();
        if cells.first() == Some(&"error") {
            let more = reader.read_record(&mut record).map_err(|e| wrong(e.to_string()))?;
            let reason = if more { record.get(0).unwrap_or_default() } else { "" };
            return Err(StoreError::Query { reason: reason.to_owned() });
        }
        if cells.starts_with(&["name", "tags"]) {
            columns = cells.iter().map(|c| (*c).to_owned()).collect();
        } else if cells.len() == columns.len() {
            // What a SHOW answers has its own column "name" behind the one that every row has.
            take(&columns, &cells);
        }
    }
    Ok(())
}

/// `168h0m0s` in seconds; 0 = for ever.
fn seconds(text: &str) -> Option<u64> {
    let (mut total, mut number) = (0, String::new());
    for c in text.chars() {
        if c.is_ascii_digit() {
            number.push(c);
            continue;
        }
        let unit = match c {
            'h' => 3_600,
            'm' => 60,
            's' => 1,
            _ => return None,
        };
        total += std::mem::take(&mut number).parse::<u64>().ok()? * unit;
    }
    Some(total)
}

/// An InfluxQL identifier.
fn identifier(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// An InfluxQL string.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// Asks history.
#[derive(Debug)]
pub(super) struct Reader {
    http: Http,
    database: String,
    asker: Asker,
}

impl Reader {
    pub(super) fn new(http: Http, database: &str) -> Result<Self, StoreError> {
        let asker = Asker::new(http.name)?;
        Ok(Self { http, database: database.to_owned(), asker })
    }

    fn ask(&self, question: &str, take: impl FnMut(&[String], &[&str])) -> Result<(), StoreError> {
        let runtime = self.asker.runtime()?;
        let sent = runtime.block_on(self.http.get("query", &parameters(&self.database, question)));
        read(&self.http, &self.http.good(sent?)?, take)
    }

    fn raw(&self, query: &HistoryQuery, limit: usize) -> Result<Samples, StoreError> {
        let limit = limit.clamp(1, SAMPLES_MAX);
        let (value, mark) = (&query.quantity, format!("{}_q", query.quantity));
        let question = format!(
            "SELECT {}, {} {} ORDER BY time LIMIT {}",
            identifier(value),
            identifier(&mark),
            source(query, query.from, query.to),
            limit + 1
        );
        let mut rows = Vec::new();
        self.ask(&question, |columns, cells| {
            let cell = |name: &str| {
                columns.iter().position(|c| c == name).map(|i| cells[i]).filter(|c| !c.is_empty())
            };
            let Some(t) = cell("time").and_then(|t| t.parse().ok()) else { return };
            let number: Option<f64> = cell(value).and_then(|v| v.parse().ok());
            let code = cell(&mark).and_then(|v| v.parse().ok());
            rows.push(SampleRow::of_fields(t, number, code.and_then(Quality::from_code)));
        })?;
        let truncated = rows.len() > limit;
        rows.truncate(limit);
        Ok(Samples { rows, truncated, damaged: Vec::new() })
    }

    fn windows(
        &self,
        query: &HistoryQuery,
        grid: &Grid,
        wanted: Aggregates,
    ) -> Result<Windows, StoreError> {
        let mut out = history::empty(grid, wanted);
        let from = source(query, grid.start, grid.end);
        let group = format!("GROUP BY time({}ms) fill(none)", grid.step_ms);
        let value = identifier(&query.quantity);
        let mark = identifier(&format!("{}_q", query.quantity));
        let mut question = format!(
            "SELECT min({value}) AS v_min, max({value}) AS v_max, mean({value}) AS v_mean, last({value}) AS v_last {from} {group}"
        );
        for code in 1..=4 {
            question.push_str(&format!(
                "; SELECT count({mark}) AS q_{code} {from} AND {mark} = {code} {group}"
            ));
        }
        self.ask(&question, |columns, cells| {
            let Some(time) = columns.iter().position(|c| c == "time") else { return };
            let Some(i) = cells[time].parse().ok().and_then(|t| grid.index_checked(t)) else {
                return;
            };
            for (column, cell) in columns.iter().zip(cells).filter(|(_, cell)| !cell.is_empty()) {
                let number: Option<f64> = cell.parse().ok();
                let quality = match column.as_str() {
                    "v_min" | "v_max" | "v_mean" | "v_last" => Quality::Good,
                    "q_1" => Quality::Uncertain,
                    "q_2" => Quality::Bad,
                    "q_3" => Quality::Stale,
                    "q_4" => Quality::Substituted,
                    _ => continue,
                };
                // A window that a filter left empty may come with a count of none.
                if number == Some(0.0) && column.starts_with("q_") {
                    continue;
                }
                out.q[i] = worse(out.q[i], quality);
                match column.as_str() {
                    "v_min" if wanted.min => out.min[i] = number,
                    "v_max" if wanted.max => out.max[i] = number,
                    "v_mean" if wanted.mean => out.mean[i] = number,
                    "v_last" if wanted.last => out.last[i] = number,
                    _ => {}
                }
            }
        })?;
        Ok(out)
    }
}

fn source(query: &HistoryQuery, from: i64, to: i64) -> String {
    format!(
        "FROM {} WHERE \"site\" = {} AND \"device\" = {} AND time >= {from}ms AND time < {to}ms",
        identifier(names::family(&query.quantity).as_str()),
        quoted(&query.site),
        quoted(&query.device),
    )
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
    fn durations_and_quotes_are_influxql() {
        assert_eq!(seconds("168h0m0s"), Some(604_800));
        assert_eq!((seconds("0s"), seconds("soon")), (Some(0), None));
        assert_eq!(quoted("a'b\\c"), "'a\\'b\\\\c'");
        assert_eq!(identifier("a\"b"), "\"a\\\"b\"");
    }
}
