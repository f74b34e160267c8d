//! Measures Davy beside its peers on this machine; `make bench`. Prints figures as they come, then the table with the
//! goals, and writes `target/bench/report.json`. What could not be measured is named, not guessed, and fails the run.
#![expect(clippy::print_stdout, reason = "a program for people at a terminal")]

use std::path::PathBuf;
use std::process::ExitCode;
use tokio::time::Instant;

use anyhow::Result;
use clap::Parser;
use tests::bench::load::Load;
use tests::bench::report::Report;
use tests::bench::{
    backlog, bytes, edge, history, history_influx, latency, outage, queryable, raw, restart, store,
    throughput,
};

/// Measures Davy beside Telegraf and InfluxDB on the same readings.
#[derive(Debug, Parser)]
struct Args {
    /// Only sections whose name starts so: wire, store, history, throughput.q1, throughput.q20.sink, gateway, restart,
    /// latency …
    #[arg(long)]
    only: Vec<String>,
    /// Divides the load: 1 for figures to publish, 10 for a quick look.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=100))]
    scale: u16,
    /// Where the report goes.
    #[arg(long, default_value = "target/bench/report.json")]
    out: PathBuf,
}

const CONTENDERS: [&str; 7] =
    ["raw", "raw_large", "telegraf", "telegraf_large", "influxdb", "embedded", "sink"];

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let args = Args::parse();
    let scale = usize::from(args.scale);
    let wanted = |section: &str| {
        let fits = |only: &String| section.starts_with(only.as_str()) || only.starts_with(section);
        args.only.is_empty() || args.only.iter().any(fits)
    };
    let mut report = Report::default();
    machine(&mut report);
    if wanted("wire") {
        section(&mut report, "wire", async |r| bytes::run(r)).await;
    }
    if wanted("store") {
        section(&mut report, "store", async |r| store::run(r, scale)).await;
    }
    if wanted("history.embedded") {
        section(&mut report, "history.embedded", async |r| history::run(r, scale)).await;
    }
    if wanted("history.influxdb") {
        let run = async |r: &mut Report| history_influx::run(r, scale).await;
        section(&mut report, "history.influxdb", run).await;
    }
    for (name, shape) in throughput::shapes(scale) {
        let title = format!("influxd.{name}");
        // What InfluxDB itself takes in other ways is for who tunes the store, not part of every run.
        if !args.only.is_empty() && wanted(&title) {
            let load = Load::new(shape, throughput::load_end(), 3)?;
            section(&mut report, &title, async |r| raw::ways(r, name, &load).await).await;
        }
        for contender in CONTENDERS {
            let title = format!("throughput.{name}.{contender}");
            if wanted(&title) {
                let run = async |r: &mut Report| throughput::run(r, name, shape, contender).await;
                section(&mut report, &title, run).await;
            }
        }
    }
    for contender in queryable::CONTENDERS {
        let title = format!("queryable_ms.{contender}");
        if wanted(&title) {
            section(&mut report, &title, async |r| queryable::run(r, contender).await).await;
        }
    }
    if wanted("outage") {
        section(&mut report, "outage", async |r| outage::run(r, scale).await).await;
    }
    if wanted("backlog") {
        section(&mut report, "backlog", async |r| backlog::run(r, scale).await).await;
    }
    if wanted("gateway") {
        section(&mut report, "gateway", async |r| edge::run(r).await).await;
    }
    if wanted("restart") {
        section(&mut report, "restart", async |r| restart::run(r, scale).await).await;
    }
    if wanted("latency_ms") {
        section(&mut report, "latency_ms", async |r| latency::run(r).await).await;
    }
    table(&report);
    report.write(&args.out)?;
    println!("\nreport: {}", args.out.display());
    Ok(if report.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs one section; a failure is kept and the next section goes on.
async fn section(
    report: &mut Report,
    name: &str,
    run: impl AsyncFnOnce(&mut Report) -> Result<()>,
) {
    println!("── {name} …");
    let begun = Instant::now();
    match run(report).await {
        Ok(()) => println!("   {:.1} s", begun.elapsed().as_secs_f64()),
        Err(error) => {
            println!("   not measured: {error:#}");
            report.failed(name, &error);
        }
    }
}

/// On which side of a figure a goal lies.
#[derive(Debug, Clone, Copy)]
enum Wanted {
    Least(f64),
    Most(f64),
}

impl Wanted {
    fn is_met(self, reached: f64) -> bool {
        match self {
            Wanted::Least(least) => reached >= least,
            Wanted::Most(most) => reached <= most,
        }
    }
}

/// What each stage of the centre costs, CPU seconds per million points.
fn stages(report: &Report) {
    println!("\nthe centre by stage, CPU s/M");
    for shape in ["q1", "q20"] {
        for contender in ["influxdb", "embedded", "sink"] {
            let stages = report.group(&format!("throughput.{shape}.{contender}.stages"));
            if stages.is_empty() {
                continue;
            }
            let words: Vec<String> =
                stages.iter().map(|(stage, cost)| format!("{stage} {cost:.3}")).collect();
            println!("  {shape:<4}{contender:<9} {}", words.join(", "));
        }
    }
}

/// What a store that is away costs, with the curve of memory.
fn store_outage(report: &Report) {
    let figure = |name: &str| {
        report.get(&format!("outage.{name}")).map_or_else(|| "–".to_owned(), |f| format!("{f:.1}"))
    };
    println!(
        "store away     {} s at {} points/s: {} MB before, {} MB during, {} MB catching up; alarms p99 {}, {} and {} ms",
        figure("seconds"),
        figure("live_points_per_s"),
        figure("rss_before_mb"),
        figure("rss_during_mb"),
        figure("rss_catching_up_mb"),
        figure("alarm_p99_ms_before"),
        figure("alarm_p99_ms_during"),
        figure("alarm_p99_ms_catching_up")
    );
    let curve: Vec<String> = report
        .names("outage.curve")
        .iter()
        .map(|at| format!("{at} {}", figure(&format!("curve.{at}.rss_mb"))))
        .collect();
    if !curve.is_empty() {
        println!("               MB by second: {}", curve.join(", "));
    }
}

/// What a day's backlog of many gateways costs those that go on.
fn backlog_sent(report: &Report) {
    let figure = |name: &str| {
        report.get(&format!("backlog.{name}")).map_or_else(|| "–".to_owned(), |f| format!("{f:.0}"))
    };
    println!(
        "backlog        {} gateways, {} blocks: acked after {} s ({} blocks/s), judged after {} s; {} MB at most",
        figure("gateways"),
        figure("blocks"),
        figure("seconds_until_acked"),
        figure("blocks_per_s"),
        figure("seconds_until_judged"),
        figure("rss_peak_mb")
    );
    println!(
        "               live alarms p50 {} p99 {} most {} ms (p99 {} before); of gateways with a hole p50 {} p99 {} ms",
        figure("alarm_p50_ms_during"),
        figure("alarm_p99_ms_during"),
        figure("alarm_max_ms_during"),
        figure("alarm_p99_ms_before"),
        figure("of_those_away_alarm_p50_ms_during"),
        figure("of_those_away_alarm_p99_ms_during")
    );
    println!(
        "               {} episodes: {} turns journalled once, {} missing or twice, {} that nobody sent; {} on the duty list",
        figure("episodes"),
        figure("turns_journalled_once"),
        figure("turns_missing_or_twice"),
        figure("turns_nobody_sent"),
        figure("episodes_on_the_duty_list")
    );
}

fn machine(report: &mut Report) {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    report.set("machine.cores", cores as f64);
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    if let Some(model) = info.lines().find_map(|l| l.strip_prefix("model name")) {
        report.note("machine.cpu", model.trim_start_matches([' ', '\t', ':']));
    }
}

/// The figures side by side, with the goals.
fn table(report: &Report) {
    let figure =
        |path: &str| report.get(path).map_or_else(|| "–".to_owned(), |f| format!("{f:.2}"));
    println!(
        "\n{:<16} {:>12} {:>12} {:>12} {:>14} {:>16}",
        "", "points/s", "own CPU s/M", "DB CPU s/M", "points/CPU s", "peak MB, own/DB"
    );
    for shape in ["q1", "q20"] {
        println!("{shape}");
        for contender in CONTENDERS {
            let at = |f: &str| format!("throughput.{shape}.{contender}.{f}");
            let mb =
                |f: &str| report.get(&at(f)).map_or_else(|| "–".to_owned(), |f| format!("{f:.0}"));
            let per_cpu = report
                .get(&at("cpu_s_per_million"))
                .map_or_else(|| "–".to_owned(), |c| format!("{:.0}", 1e6 / c));
            println!(
                "  {contender:<14} {:>12} {:>12} {:>12} {:>14} {:>16}",
                report
                    .get(&at("points_per_s"))
                    .map_or_else(|| "–".to_owned(), |f| format!("{f:.0}")),
                figure(&at("cpu_s_per_million")),
                figure(&at("database_cpu_s_per_million")),
                per_cpu,
                format!("{} / {}", mb("rss_peak_mb"), mb("database_rss_peak_mb"))
            );
        }
    }
    stages(report);
    println!(
        "\nstore alone    q1 {} q20 {} points per CPU s, {} and {} bytes a point",
        figure("store.embedded.q1.points_per_cpu_s"),
        figure("store.embedded.q20.points_per_cpu_s"),
        figure("store.embedded.q1.bytes_per_point"),
        figure("store.embedded.q20.bytes_per_point")
    );
    println!(
        "wire           household {}, transformer {} bytes a sample (50 meters, one reading each)",
        figure("wire.bytes_per_sample.household"),
        figure("wire.bytes_per_sample.transformer")
    );
    println!(
        "gateway        {} MB, {} % of a core at {} points/s",
        figure("gateway.rss_mb"),
        figure("gateway.cpu_percent"),
        figure("gateway.points_per_s")
    );
    for contender in queryable::CONTENDERS {
        println!(
            "queryable      {contender:<9} p50 {} ms, p99 {} ms after publish, at 200,000 points/s",
            figure(&format!("queryable_ms.{contender}.p50")),
            figure(&format!("queryable_ms.{contender}.p99"))
        );
    }
    store_outage(report);
    backlog_sent(report);
    println!(
        "restart        {} s from the start of the process to the first evaluation with {} rules at {} gateways, {} MB ({} MB at most); the evaluator alone {} s",
        figure("restart.process_s"),
        figure("restart.rules"),
        figure("restart.gateways"),
        figure("restart.rss_mb"),
        figure("restart.peak_mb"),
        figure("restart.evaluator_s")
    );
    println!(
        "history        1 M samples of InfluxDB as 3,000 min/max: p50 {} p99 {} ms; condensed minutes {}, hours {} ms",
        figure("history.influxdb.million_p50_ms"),
        figure("history.influxdb.million_p99_ms"),
        figure("history.influxdb.minutes_p50_ms"),
        figure("history.influxdb.hours_p50_ms")
    );
    println!(
        "latency        alarm p50 {} ms, p99 {} ms from reply to browser; newest values {} and {} ms\n",
        figure("latency_ms.p50"),
        figure("latency_ms.p99"),
        figure("latency_ms.values_p50"),
        figure("latency_ms.values_p99")
    );
    let ratio = |a: &str, b: &str| Some(report.get(a)? / report.get(b)?);
    // Against the better of the two ways of each peer.
    let over_telegraf = |shape: &str| {
        let cost = |who: &str| format!("throughput.{shape}.{who}.cpu_s_per_million");
        let ours = cost("influxdb");
        let ratios = [ratio(&cost("telegraf"), &ours), ratio(&cost("telegraf_large"), &ours)];
        ratios.into_iter().flatten().reduce(f64::min)
    };
    let of_raw = |shape: &str| {
        let rate = |who: &str| format!("throughput.{shape}.{who}.points_per_s");
        let ours = rate("influxdb");
        let ratios = [ratio(&ours, &rate("raw")), ratio(&ours, &rate("raw_large"))];
        ratios.into_iter().flatten().reduce(f64::min)
    };
    let into_sink = |shape: &str| {
        report.get(&format!("throughput.{shape}.sink.cpu_s_per_million")).map(|cost| 1.0 / cost)
    };
    let goals = [
        (
            "history: ≤ 100 ms for 1 M samples as min/max points, p99",
            report.get("history.chart.p99_ms"),
            Wanted::Most(100.0),
        ),
        ("q1: ≥ 10 × Telegraf's points per CPU second", over_telegraf("q1"), Wanted::Least(10.0)),
        ("q20: ≥ 3 × Telegraf's points per CPU second", over_telegraf("q20"), Wanted::Least(3.0)),
        ("q1: ≥ 0.8 of InfluxDB's own rate", of_raw("q1"), Wanted::Least(0.8)),
        ("q20: ≥ 0.8 of InfluxDB's own rate", of_raw("q20"), Wanted::Least(0.8)),
        ("q1: ≥ 2 M points per CPU second into the sink", into_sink("q1"), Wanted::Least(2.0)),
        ("q20: ≥ 2 M points per CPU second into the sink", into_sink("q20"), Wanted::Least(2.0)),
        (
            "wire: ≤ 3 bytes a sample, household",
            report.get("wire.bytes_per_sample.household"),
            Wanted::Most(3.0),
        ),
        (
            "wire: ≤ 3 bytes a sample, transformer",
            report.get("wire.bytes_per_sample.transformer"),
            Wanted::Most(3.0),
        ),
        (
            "history: 1 M samples of InfluxDB ≤ 300 ms",
            report.get("history.influxdb.million_p50_ms"),
            Wanted::Most(300.0),
        ),
        ("gateway: < 20 MB at 5,000 points/s", report.get("gateway.rss_mb"), Wanted::Most(20.0)),
        (
            "store away: memory grows by ≤ 10 %",
            ratio("outage.rss_late_mb", "outage.rss_early_mb"),
            Wanted::Most(1.1),
        ),
        (
            "store away: alarms p99 < 2,000 ms",
            report.get("outage.alarm_p99_ms_during"),
            Wanted::Most(2_000.0),
        ),
        (
            "store back: catches up at ≥ 3 × live",
            report.get("outage.catch_up_over_live"),
            Wanted::Least(3.0),
        ),
        (
            "backlog: live alarms p99 < 2,000 ms",
            report.get("backlog.alarm_p99_ms_during"),
            Wanted::Most(2_000.0),
        ),
        (
            "backlog: pages from history",
            report.get("backlog.pages_from_history"),
            Wanted::Most(0.0),
        ),
        (
            "backlog: turns missing in the journal, or there twice",
            report.get("backlog.turns_missing_or_twice"),
            Wanted::Most(0.0),
        ),
        (
            "restart: a million rules back in < 3 s",
            report.get("restart.process_s"),
            Wanted::Most(3.0),
        ),
        (
            "alarm: p99 < 200 ms from reply to browser",
            report.get("latency_ms.p99"),
            Wanted::Most(200.0),
        ),
    ];
    for (goal, reached, wanted) in goals {
        match reached {
            Some(reached) => {
                println!("{} {goal}: {reached:.2}", if wanted.is_met(reached) { "✓" } else { "✗" })
            }
            None => println!("– {goal}: not measured"),
        }
    }
}
