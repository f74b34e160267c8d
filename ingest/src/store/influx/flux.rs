//! Flux text for history queries. Pure.
//!
//! The data are a function called once per aggregate: a variable shared by several yields would stop the push-down and
//! read every sample into memory (measured: 9 s instead of 0.2 s). Names come from outside: they are checked and quoted.

use std::fmt::Write;

use crate::store::history::Grid;
use crate::store::{Aggregates, HistoryQuery, names};

/// Raw numbers and qualities, both oldest first, `limit` of each.
pub(super) fn raw(bucket: &str, query: &HistoryQuery, limit: usize) -> String {
    let mut out = sources(bucket, query, query.from, query.to);
    for (source, name) in [("data", "value"), ("marks", "q")] {
        push(
            &mut out,
            format_args!(
                "{source}() |> keep(columns: [\"_time\", \"_value\"]) |> limit(n: {limit}) |> yield(name: \"{name}\")\n"
            ),
        );
    }
    out
}

/// One table per aggregate, and per quality the count of samples that have it.
pub(super) fn windows(
    bucket: &str,
    query: &HistoryQuery,
    grid: &Grid,
    aggregates: Aggregates,
) -> String {
    let mut out = sources(bucket, query, grid.start, grid.end);
    let every = grid.step_ms;
    let mut aggregate = |source: &str, function: &str, name: &str| {
        push(
            &mut out,
            format_args!(
                "{source} |> aggregateWindow(every: {every}ms, fn: {function}, createEmpty: false, timeSrc: \"_start\") \
             |> keep(columns: [\"_time\", \"_value\"]) |> yield(name: \"{name}\")\n"
            ),
        );
    };
    let Aggregates { min, max, mean, last } = aggregates;
    // One of them is needed to know which windows hold numbers at all.
    let last = last || !(min || max || mean);
    for (wanted, name) in [(min, "min"), (max, "max"), (mean, "mean"), (last, "last")] {
        if wanted {
            aggregate("data()", name, name);
        }
    }
    for code in 1..=4 {
        let source = format!("marks() |> filter(fn: (r) => r._value == {code})");
        aggregate(&source, "count", &format!("q{code}"));
    }
    out
}

/// The two functions that every query calls.
fn sources(bucket: &str, query: &HistoryQuery, from: i64, to: i64) -> String {
    // Nanoseconds as numbers: digits put behind a 0 would be no literal of the language.
    let (from, to) = (from.saturating_mul(1_000_000), to.saturating_mul(1_000_000));
    let mut out = String::new();
    for (name, ending) in [("data", ""), ("marks", "_q")] {
        push(
            &mut out,
            format_args!(
                "{name} = () => from(bucket: {bucket}) |> range(start: time(v: {from}), stop: time(v: {to})) \
             |> filter(fn: (r) => r._measurement == {family} and r.site == {site} and r.device == {device} \
             and r._field == {field})\n",
                bucket = quoted(bucket),
                family = quoted(names::family(&query.quantity).as_str()),
                site = quoted(&query.site),
                device = quoted(&query.device),
                field = quoted(&format!("{}{ending}", query.quantity)),
            ),
        );
    }
    out
}

fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("writing into a String does not fail");
}

/// A Flux string literal. Besides quotes and backslashes `${` would begin an expression.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '$' => out.push_str("\\x24"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            _ => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_breaks_out_of_a_string() {
        assert_eq!(quoted("a\"b\\c${x}\n电"), "\"a\\\"b\\\\c\\x24{x}\\n电\"");
    }
}
