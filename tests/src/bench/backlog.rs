//! A day's backlog of a thousand gateways, sent at once while others go on: do live alarms come in time, does history page
//! nobody, and is every alarm of the day in the journal?
//!
//! A gateway reads a meter and a gas detector each 10 s, which makes one block of 4 samples: 8,640 blocks are its day, and a
//! gateway that reads less often has as many, because it closes an empty one each 10 s. All come back in the same moment,
//! go on with live blocks, and send the rest as real ones do (`fleet`). Beside them one gateway that never was away has 20
//! gas detectors that pass their limit in turn, 10 alarms a second; the time of each is from its event time to the
//! browser's event. Every tenth of those that were away has live alarms too, which are judged before its hole is closed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ingest::state::State;
use rusqlite::{Connection, OpenFlags};
use tokio::time::Instant;
use wire::Key;

use super::contender::{self, Davy, Target};
use super::load::{SITE, Shape};
use super::outage::{DETECTORS, detection, detectors};
use super::report::Report;
use super::source::Source;
use super::{cpu, latency};
use fleet::{DETECTOR, Gateway, METER_ID, Shared};

mod fleet;

/// Gateways that were away.
const GATEWAYS: usize = 1_000;
/// How long they were.
const AWAY: Duration = Duration::from_secs(24 * 3_600);
/// Between two reads of a device, and so between two blocks, ms.
const PERIOD_MS: i64 = 10_000;
/// Alarms of one gateway's time away.
const EPISODES: u64 = 4;
/// Blocks that one of them lasts.
const EPISODE_BLOCKS: u64 = 6;
/// What a detector reads past its limit and otherwise, %LEL.
const PAST: f64 = 30.0;
const NORMAL: f64 = 2.0;
/// Pairs of connections that the gateways share.
const CONNECTIONS: usize = 8;
/// The gateway that never was away.
const GAS: &str = "bench-gas";
/// Everything runs for so long before they come back.
const CALM: Duration = Duration::from_secs(15);
/// Longest wait for all of it to be judged.
const LIMIT: Duration = Duration::from_secs(3_600);
/// Between two looks.
const LOOK: Duration = Duration::from_secs(1);
/// Looks that are shown.
const SHOWN: usize = 16;
/// Rule of the alarms.
const RULE: &str = "R21";

/// What was seen at one look.
#[derive(Debug, Clone, Copy)]
struct Look {
    at: f64,
    rss_mb: f64,
    acked: usize,
    sent: usize,
    slowed: usize,
    logged: f64,
    evaluator_lag: f64,
    stored_lag: f64,
}

/// An alarm that came over the stream: when, of whom, how old.
#[derive(Debug, Clone, Copy)]
struct Heard {
    at: f64,
    was_away: bool,
    age_ms: i64,
}

/// Runs it with `GATEWAYS / scale` gateways.
///
/// # Errors
/// When a part fails, or the backlog is not judged in time.
pub async fn run(report: &mut Report, scale: usize) -> Result<()> {
    let count = (GATEWAYS / scale).max(1);
    let backlog = u64::try_from(AWAY.as_millis())? / PERIOD_MS.unsigned_abs();
    let davy = Davy::start(&registry(count), Target::Embedded).await?;
    let state_db = davy.centre.folder.join("data").join("state.db");
    let keys = keys(&state_db, count).await?;
    let mut gas = Source::new(
        GAS,
        SITE,
        &detectors(),
        &["gas_lel"],
        davy.add_gateway(GAS)?,
        now_ms() - 60_000,
    )?;
    let frame = gas.manifest();
    contender::until(LOOK, || contender::known(&davy, GAS, &frame)).await?;
    let (port, begun) = (davy.broker.port, Instant::now());
    let (shared, is_over) = (Arc::new(Shared::default()), AtomicBool::new(false));
    let goes_on = |n: usize| (!is_over.load(Ordering::Relaxed)).then_some(n);
    let detected = (0..).map_while(goes_on).map(|n| detection(&mut gas, n));
    let looks = std::sync::Mutex::new(Vec::new());
    let watch = async {
        while !is_over.load(Ordering::Relaxed) {
            let look = look(&davy, begun, &shared).await?;
            looks.lock().expect("nobody panics with it").push(look);
            tokio::time::sleep(LOOK).await;
        }
        anyhow::Ok(())
    };
    let direct = async {
        let story = story(&davy, keys, backlog, &state_db, begun, &shared).await;
        is_over.store(true, Ordering::Relaxed);
        shared.stop.store(true, Ordering::Relaxed);
        story
    };
    let gas_topic = contender::topic(GAS);
    let (story, (), alarms, ()) = tokio::try_join!(
        direct,
        watch,
        hear(&davy, begun, &is_over),
        contender::publish(port, &gas_topic, detected, |n| Duration::from_secs(n as u64), |_| {}),
    )?;
    let looks = looks.into_inner().expect("nobody panics with it");
    tell(report, &story, &looks, &alarms)?;
    judge(report, &story, &state_db)
}

/// Moments of the story, seconds since its begin, and what must be in the journal.
#[derive(Debug)]
struct Story {
    back: f64,
    acked: f64,
    judged: f64,
    gateways: usize,
    blocks: u64,
    /// Event time before which all is history, ms.
    away_until: i64,
    /// Gateway, turn, event time.
    expected: BTreeSet<(String, String, i64)>,
}

async fn story(
    davy: &Davy,
    keys: Vec<Key>,
    backlog: u64,
    state_db: &Path,
    begun: Instant,
    shared: &Arc<Shared>,
) -> Result<Story> {
    tokio::time::sleep(CALM).await;
    let away_until = now_ms() - PERIOD_MS;
    let (count, mut expected, mut parts) =
        (keys.len(), BTreeSet::new(), Vec::from_iter((0..CONNECTIONS).map(|_| Vec::new())));
    for (index, key) in keys.into_iter().enumerate() {
        let gateway = Gateway::new(index, key, backlog, away_until)?;
        for (from, to) in gateway.episodes() {
            let turn = |kind: &str, seq| (fleet::name(index), kind.to_owned(), gateway.time(seq));
            expected.extend([turn("raise", from), turn("clear", to)]);
        }
        parts[index % CONNECTIONS].push(gateway);
    }
    let back = begun.elapsed().as_secs_f64();
    let mut fleet = tokio::task::JoinSet::new();
    for (number, part) in parts.into_iter().enumerate() {
        fleet.spawn(fleet::drive(number, davy.broker.port, part, Arc::clone(shared)));
    }
    let all = usize::try_from(backlog)? * count;
    let wait = async |what: &str, is_there: &dyn Fn() -> Result<bool>| -> Result<f64> {
        while !is_there()? {
            ensure!(begun.elapsed() < LIMIT, "{what}: not in {LIMIT:?}; {}", davy.words());
            tokio::time::sleep(LOOK).await;
        }
        Ok(begun.elapsed().as_secs_f64())
    };
    let waited = async {
        let acked = wait("acks", &|| Ok(shared.acked.load(Ordering::Relaxed) >= all)).await?;
        let wanted = expected.len();
        let is_judged = || Ok(verdicts(state_db, away_until)?.len() >= wanted);
        anyhow::Ok((acked, wait("verdicts", &is_judged).await?))
    };
    let (acked, judged) = tokio::select! {
        waited = waited => waited?,
        Some(ended) = fleet.join_next() => {
            ended??;
            anyhow::bail!("the gateways stopped: {}", davy.words())
        }
    };
    // What comes right after the last hole is closed counts too.
    tokio::time::sleep(CALM).await;
    let blocks = backlog * u64::try_from(count)?;
    Ok(Story { back, acked, judged, gateways: count, blocks, away_until, expected })
}

/// Hears the alarms as a browser does; each counts when it is first seen.
async fn hear(davy: &Davy, begun: Instant, is_over: &AtomicBool) -> Result<Vec<Heard>> {
    let (mut stream, mut alarms) = (davy.centre.stream().await?, Vec::new());
    let (mut events, mut seen) = (latency::Events::default(), BTreeSet::new());
    let live_from = now_ms();
    while !is_over.load(Ordering::Relaxed) {
        let chunk = tokio::time::timeout(Duration::from_secs(60), stream.chunk()).await??;
        let (at, now) = (begun.elapsed().as_secs_f64(), now_ms());
        for (name, data) in events.take(&chunk.context("the stream ended")?) {
            let raised_at = data["raised_at"].as_i64().filter(|t| *t >= live_from);
            let is_ours = name == "alarm" && data["active"] == true && data["rule"] == RULE;
            let (Some(t), true) = (raised_at, is_ours) else { continue };
            if seen.insert(data["id"].as_str().context("an alarm's id")?.to_owned()) {
                alarms.push(Heard { at, was_away: data["site"] != SITE, age_ms: now - t });
            }
        }
    }
    Ok(alarms)
}

/// Verdicts of the rule before `away_until`: gateway, turn, event time; each as often as it is there.
fn verdicts(state_db: &Path, away_until: i64) -> Result<Vec<(String, String, i64)>> {
    let db = read_only(state_db)?;
    let sql = "SELECT gateway, kind, t FROM verdict WHERE rule = ?1 AND t <= ?2 AND gateway LIKE 'away-%'";
    let mut statement = db.prepare(sql)?;
    let rows = statement
        .query_map((RULE, away_until), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn read_only(path: &Path) -> Result<Connection> {
    let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    db.busy_timeout(Duration::from_secs(10))?;
    Ok(db)
}

/// Compares the journals with what the gateways sent.
fn judge(report: &mut Report, story: &Story, state_db: &Path) -> Result<()> {
    let found = verdicts(state_db, story.away_until)?;
    let mut times: BTreeMap<&(String, String, i64), usize> = BTreeMap::new();
    found.iter().for_each(|verdict| *times.entry(verdict).or_default() += 1);
    let once = story.expected.iter().filter(|turn| times.get(turn) == Some(&1)).count();
    let others = found.iter().filter(|verdict| !story.expected.contains(*verdict)).count();
    let db = read_only(state_db)?;
    let count = |sql: &str| -> Result<f64> {
        Ok(db.query_row(sql, [story.away_until], |row| row.get::<_, i64>(0))? as f64)
    };
    // Whatever the rule: nobody may be told of anything that happened while they were away.
    let queued = count(
        "SELECT count(*) FROM outbox JOIN occurrence ON occurrence.id = outbox.occurrence_id
         WHERE outbox.event_time <= ?1 AND occurrence.site LIKE 'away-%'",
    )?;
    let paged = count(
        "SELECT count(*) FROM occurrence
         WHERE raised_at <= ?1 AND site LIKE 'away-%' AND page IN ('paged', 'recovered')",
    )?;
    let listed = count(
        "SELECT count(*) FROM occurrence
         WHERE raised_at <= ?1 AND site LIKE 'away-%' AND rule = 'R21'",
    )?;
    report.set("backlog.episodes", story.expected.len() as f64 / 2.0);
    report.set("backlog.turns_journalled_once", once as f64);
    report.set("backlog.turns_missing_or_twice", (story.expected.len() - once) as f64);
    report.set("backlog.turns_nobody_sent", others as f64);
    report.set("backlog.episodes_on_the_duty_list", listed);
    report.set("backlog.pages_from_history", queued.max(paged));
    Ok(())
}

fn tell(report: &mut Report, story: &Story, looks: &[Look], alarms: &[Heard]) -> Result<()> {
    let Story { back, acked, judged, .. } = *story;
    report.set("backlog.gateways", story.gateways as f64);
    report.set("backlog.blocks", story.blocks as f64);
    report.set("backlog.seconds_until_acked", acked - back);
    report.set("backlog.seconds_until_judged", judged - back);
    report.set("backlog.blocks_per_s", story.blocks as f64 / (acked - back));
    let last = looks.last().context("a look")?;
    report.set("backlog.sent_over_needed", last.sent as f64 / story.blocks as f64);
    let most = |of: fn(&Look) -> f64| looks.iter().map(of).fold(0.0, f64::max);
    report.set("backlog.rss_peak_mb", most(|l| l.rss_mb));
    report.set("backlog.evaluator_lag_most", most(|l| l.evaluator_lag));
    let spans = [("before", 3.0, back), ("during", back, judged)];
    for (who, was_away) in [("", false), ("of_those_away_", true)] {
        for (name, from, to) in spans.iter().filter(|span| !was_away || span.0 == "during") {
            let fits = |a: &&Heard| a.was_away == was_away && *from <= a.at && a.at < *to;
            let mut ages: Vec<i64> = alarms.iter().filter(fits).map(|a| a.age_ms).collect();
            ages.sort_unstable();
            ensure!(!ages.is_empty(), "no live alarm {name}");
            let at = |percent: usize| ages[(ages.len() - 1) * percent / 100] as f64;
            report.set(&format!("backlog.{who}alarms_{name}"), ages.len() as f64);
            report.set(&format!("backlog.{who}alarm_p50_ms_{name}"), at(50));
            report.set(&format!("backlog.{who}alarm_p99_ms_{name}"), at(99));
            report.set(&format!("backlog.{who}alarm_max_ms_{name}"), at(100));
        }
    }
    // Those of the gateway that never was away: half of the detectors each second.
    let steady = alarms.iter().filter(|a| !a.was_away && back <= a.at && a.at < judged).count();
    let due = (judged - back) * DETECTORS as f64 / 2.0;
    report.set("backlog.alarms_heard_of_due", steady as f64 / due);
    for look in looks.iter().step_by(looks.len().div_ceil(SHOWN)) {
        let at = format!("backlog.curve.{:04.0}s", look.at);
        report.set(&format!("{at}.rss_mb"), look.rss_mb);
        report.set(&format!("{at}.acked"), look.acked as f64);
        report.set(&format!("{at}.sent"), look.sent as f64);
        report.set(&format!("{at}.slowed"), look.slowed as f64);
        report.set(&format!("{at}.samples_logged"), look.logged);
        report.set(&format!("{at}.evaluator_lag"), look.evaluator_lag);
        report.set(&format!("{at}.store_lag"), look.stored_lag);
        let near = |a: &&Heard| (a.at - look.at).abs() < 5.0 && !a.was_away;
        let worst = alarms.iter().filter(near).map(|a| a.age_ms).max().unwrap_or(0);
        report.set(&format!("{at}.alarm_max_ms"), worst as f64);
    }
    Ok(())
}

async fn look(davy: &Davy, begun: Instant, shared: &Shared) -> Result<Look> {
    let metrics = davy.centre.metrics().await?;
    let of = |name: &str| metrics.get(name).copied().with_context(|| format!("no metric {name}"));
    let head = of("davy_ingest_log_position")?;
    Ok(Look {
        at: begun.elapsed().as_secs_f64(),
        rss_mb: cpu::memory_mb(davy.id()?)?.0,
        acked: shared.acked.load(Ordering::Relaxed),
        sent: shared.sent.load(Ordering::Relaxed),
        slowed: shared.slowed.load(Ordering::Relaxed),
        logged: of("davy_ingest_samples_logged_total")?,
        evaluator_lag: head - of("davy_ingest_evaluator_position")?,
        stored_lag: of("davy_ingest_store_lag_records")?,
    })
}

/// Provisions the gateways as `davy-ingest gateway add` does, and gives their keys.
async fn keys(state_db: &Path, count: usize) -> Result<Vec<Key>> {
    let state = State::open(state_db).await?;
    let mut keys = Vec::with_capacity(count);
    for index in 0..count {
        let name = fleet::name(index);
        let added = state.add_gateway(&name, &name, false, "bench", now_ms()).await?;
        keys.push(Key::from_hex(added.key.reveal())?);
    }
    state.close().await?;
    Ok(keys)
}

fn registry(count: usize) -> String {
    let shape = Shape { meters: 1, quantities: 1, readings: 0, per_message: 1 };
    let mut text = contender::registry(shape);
    text.push_str(&super::outage::gas_devices(GAS));
    for index in 0..count {
        let name = fleet::name(index);
        text.push_str(&format!(
            "[[site]]\nid = {name:?}\nname = \"厂{index}\"\nuscc = \"91533401MA6N801A0Q\"\ncounty = \"533401\"\n\
             sectors = [\"危化\"]\nzone = \"Asia/Shanghai\"\n\n[[site.gateway]]\nname = {name:?}\n\n\
             [[site.device]]\nid = {METER_ID:?}\nname = \"电表\"\nrole = \"production\"\ngateway = {name:?}\n\
             ratings = {{ I_N = \"630 A\", U_N = \"400 V\", S_N = \"1250 kVA\", P_idle = \"12 kW\", P_run = \"40 kW\" }}\n\
             points = [{{ quantity = \"p_total\", period_ms = {PERIOD_MS} }}, {{ quantity = \"u_a\", period_ms = {PERIOD_MS} }}, {{ quantity = \"i_a\", period_ms = {PERIOD_MS} }}]\n\n\
             [[site.device]]\nid = {DETECTOR:?}\nname = \"可燃气体\"\nrole = \"gas_detector\"\ngateway = {name:?}\n\
             points = [{{ quantity = \"gas_lel\", period_ms = {PERIOD_MS} }}]\n\n{}",
            latency::OVERRIDES
        ));
    }
    text
}

fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}
