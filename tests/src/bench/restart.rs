//! How long the centre takes from the start of its process to its first evaluation, with a million rules at their places.
//!
//! Method: a registry, a log and the snapshots of an orderly stop are made by the product's own parts; then the real
//! program is started on them, and the clock stops when its evaluator has judged the record of that start.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ingest::alarms::AlarmChange;
use ingest::clock::{Clock as _, SystemClock};
use ingest::evaluate::{Board, CatalogueEngines, Centre, Cursor, Listener, Said, Works};
use ingest::log::record::{BlockMeta, CentreRecord, kind};
use ingest::log::{Follower, Lineage, Progress, Shared};
use ingest::registry::seed::Seed;
use ingest::state::State;
use rules::Catalogue;
use spool::{Log, LogOptions, NewRecord};
use tokio::time::Instant;
use wire::block::{Body, Clock, ClockState};
use wire::columns::Builder;
use wire::manifest::{self, Manifest, Point, Reply};
use wire::{Block, Boot, Epoch, GatewayName, Mark, quantity};

use super::cpu;
use super::report::Report;
use crate::harness::process::{Process, free_port, workspace_binary};

/// Rules at their places that must be back.
const RULES: usize = 1_000_000;
/// Devices of a site, all on one gateway.
const DEVICES: usize = 100;
/// What the devices of a site are: role, quantities; taken in turn.
const KINDS: [(&str, &[&str]); 5] = [
    ("production", &["p_total", "i_a", "i_b", "i_c", "u_a", "u_b", "u_c", "pf_total"]),
    ("gas_detector", &["gas_lel"]),
    ("tank", &["level", "pressure"]),
    ("dust_fan", &["p_total", "i_a", "i_b", "i_c", "u_a", "u_b", "u_c"]),
    ("incomer", &["p_total", "i_a", "i_b", "i_c", "u_a", "u_b", "u_c", "pf_total", "ep_imp"]),
];
/// Longest start that is waited for.
const PATIENCE: Duration = Duration::from_secs(120);

struct Deaf;

impl Listener for Deaf {
    fn changed(&mut self, _: &[AlarmChange]) {}
    fn noted(&mut self, _: &Said) {}
}

/// Runs it; `scale` divides the number of rules.
///
/// # Errors
/// When a part of it fails, or the program does not come up.
pub async fn run(report: &mut Report, scale: usize) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let made = Arc::new(data.clone());
    let handle = tokio::runtime::Handle::current();
    let prepared = tokio::task::spawn_blocking(move || prepare(&made, RULES / scale, &handle));
    let prepared = prepared.await??;
    report.set("restart.rules", prepared.rules as f64);
    report.set("restart.devices", (prepared.sites * DEVICES) as f64);
    report.set("restart.gateways", prepared.sites as f64);
    report.set("restart.snapshot_mb", prepared.snapshot_bytes as f64 / 1e6);
    report.set("restart.evaluator_s", prepared.restored_s);
    let (port, nobody) = (free_port()?, free_port()?);
    let config = format!(
        "[ingest]\nstate_dir = \"data\"\n[broker]\nurl = \"mqtt://127.0.0.1:{nobody}\"\n[http]\nlisten = \"127.0.0.1:{port}\"\n[store]\nkind = \"discard\"\n"
    );
    std::fs::write(folder.path().join("ingest.toml"), config)?;
    let mut command = Command::new(workspace_binary("davy-ingest")?);
    command.args(["run", "--config", "ingest.toml"]).current_dir(folder.path());
    let begun = Instant::now();
    let process = Process::start_command("davy-ingest", command, folder.path())?;
    let judged = judged(port, prepared.head).await;
    let output = process.output();
    report.set(
        "restart.process_s",
        judged.with_context(|| output.clone())?.duration_since(begun).as_secs_f64(),
    );
    ensure!(output.contains("from their snapshots"), "it was rebuilt, not restored: {output}");
    let (resident, peak) = cpu::memory_mb(process.id())?;
    report.set("restart.rss_mb", resident);
    report.set("restart.peak_mb", peak);
    Ok(())
}

/// Waits until the record after `head`, the start itself, is judged.
async fn judged(port: u16, head: u64) -> Result<Instant> {
    let begun = Instant::now();
    loop {
        let page = reqwest011::get(format!("http://127.0.0.1:{port}/metrics")).await;
        if let Ok(page) = page {
            let page = page.text().await?;
            let line = page.lines().find_map(|l| l.strip_prefix("davy_ingest_evaluator_position "));
            // The page has no such line before the evaluator is back.
            if let Some(at) = line
                && at.parse::<u64>()? > head
            {
                return Ok(Instant::now());
            }
        }
        ensure!(begun.elapsed() < PATIENCE, "not up after {} s", PATIENCE.as_secs());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

struct Prepared {
    rules: usize,
    sites: usize,
    head: u64,
    snapshot_bytes: u64,
    restored_s: f64,
}

fn prepare(data: &Path, rules: usize, runtime: &tokio::runtime::Handle) -> Result<Prepared> {
    for folder in ["log", "store"] {
        std::fs::create_dir_all(data.join(folder))?;
    }
    let catalogue = Arc::new(Catalogue::built_in()?);
    let state = runtime.block_on(State::open(&data.join("state.db")))?;
    let now = SystemClock.now_ms();
    let model = runtime.block_on(async {
        let folder = tempfile::tempdir()?;
        let state = State::open(&folder.path().join("state.db")).await?;
        state.apply_seed(&seed(1)?, now).await?;
        state.load_registry().await?.model("s0").context("a site's model")
    })?;
    let each = rules::Engine::new(&catalogue, &[model], &gateway(0)).states().len();
    let sites = rules.div_ceil(each.max(1));
    runtime.block_on(state.apply_seed(&seed(sites)?, now))?;
    let facts = runtime.block_on(state.facts_after(0))?;

    let options = LogOptions { free_reserve_bytes: 0, ..LogOptions::default() };
    let mut log = Log::open(&data.join("log"), &options)?.0;
    let mut lineage = Lineage::default();
    lineage.start(1, 1);
    let mut txn = log.begin();
    txn.append(&CentreRecord::Start { log_id: 1 }.encode().as_new("", now));
    txn.put(b"lineage", Some(&lineage.encode()));
    for fact in facts {
        txn.append(&CentreRecord::Fact(Box::new(fact)).encode().as_new("", now));
    }
    txn.commit()?;
    for site in 0..sites {
        block(&mut log, site, now)?;
    }
    let works = |log: &Log, lineage: &Lineage| -> Result<Works> {
        let shared = Arc::new(Shared::new(log.last_position(), lineage.clone(), 0));
        Ok(Works {
            state: state.clone(),
            runtime: runtime.clone(),
            log: Follower::new(log.reader()?, shared),
            clock: Arc::new(SystemClock),
            board: Arc::new(Board::default()),
            progress: Arc::new(Progress::default()),
            listener: Box::new(Deaf),
        })
    };
    let start = |log: &Log| -> Result<Cursor<CatalogueEngines>> {
        let engines = CatalogueEngines::new(Arc::clone(&catalogue));
        Ok(Cursor::start(
            works(log, &lineage)?,
            Centre::new(engines, rules::evaluator::Limits::default()),
        )?)
    };
    let mut counted = 0;
    let mut restored_s = 0.0;
    // Twice, so that there are two snapshots of each as after any day.
    for round in 0..2 {
        let begun = Instant::now();
        let mut cursor = start(&log)?;
        if round == 1 {
            restored_s = begun.elapsed().as_secs_f64();
        }
        while cursor.step(Duration::ZERO)? {}
        cursor.finish()?;
        counted = (0..sites).map(|site| cursor.centre().states(&gateway(site)).len()).sum();
        drop(cursor);
        let mut txn = log.begin();
        txn.append(&CentreRecord::Tick.encode().as_new("", now + 1_000));
        txn.commit()?;
    }
    let snapshot_bytes = std::fs::metadata(data.join("state.db"))?.len();
    runtime.block_on(state.clone().close())?;
    Ok(Prepared { rules: counted, sites, head: log.last_position(), snapshot_bytes, restored_s })
}

fn gateway(site: usize) -> String {
    format!("gw-{site}")
}

fn devices() -> impl Iterator<Item = (String, &'static str, &'static [&'static str])> {
    let kinds = KINDS.iter().cycle();
    (0..DEVICES).zip(kinds).map(|(n, (role, quantities))| (format!("d{n}"), *role, *quantities))
}

fn seed(sites: usize) -> Result<Seed> {
    let mut text = String::new();
    for site in 0..sites {
        let gateway = gateway(site);
        text.push_str(&format!(
            "[[site]]\nid = \"s{site}\"\nname = \"厂{site}\"\nuscc = \"91533401MA6N801A0Q\"\ncounty = \"533401\"\nsectors = [\"危化\"]\nzone = \"Asia/Shanghai\"\n[[site.gateway]]\nname = {gateway:?}\n"
        ));
        for (id, role, quantities) in devices() {
            let points: Vec<_> = quantities
                .iter()
                .map(|q| format!("{{ quantity = {q:?}, period_ms = 1000 }}"))
                .collect();
            text.push_str(&format!(
                "[[site.device]]\nid = {id:?}\nname = {id:?}\nrole = {role:?}\ngateway = {gateway:?}\npoints = [{}]\n",
                points.join(", ")
            ));
        }
    }
    Seed::parse(&text, Path::new(".")).map_err(|problems| {
        anyhow::anyhow!(
            "the registry: {}",
            problems.first().map(ToString::to_string).unwrap_or_default()
        )
    })
}

/// Chain and first block of a gateway, a value of every series.
fn block(log: &mut Log, site: usize, now: i64) -> Result<()> {
    let name = gateway(site);
    let replies = devices().map(|(device, _, quantities)| Reply {
        device,
        period_ms: 1_000,
        points: quantities
            .iter()
            .map(|q| Point {
                quantity: (*q).to_owned(),
                unit: quantity::lookup(q).map_or("", |q| q.unit).to_owned(),
            })
            .collect(),
        profile: "bench".to_owned(),
        profile_version: "1".to_owned(),
    });
    let manifest = Manifest {
        gateway: GatewayName::new(name.clone())?,
        site: format!("s{site}"),
        replies: replies.collect(),
        replaces: None,
    };
    let bytes = manifest.encode();
    let key = manifest::key(&bytes);
    let mut builder = Builder::new(&manifest, key);
    for (reply, (_, _, quantities)) in (0u32..).zip(devices()) {
        let row: Vec<_> = quantities.iter().map(|_| (1.0, Mark::GOOD)).collect();
        builder.push(reply, now, &row)?;
    }
    let block = Block {
        gateway: manifest.gateway.clone(),
        epoch: Epoch(1),
        seq: 1,
        link: None,
        clock: Clock {
            state: ClockState::Synced,
            closed_at: now + 1,
            mono_ms: 1,
            boot: Boot(1),
            segment: 0,
            boot_offset: Some(now),
            error_ms: 0,
        },
        fact_revision: 0,
        list: None,
        body: Body::Readings(builder.take()),
    };
    let mut txn = log.begin();
    let chain = CentreRecord::Chain { epoch: 1, after: None, last: 0 };
    txn.append(&chain.encode().as_new(&name, now));
    txn.put_manifest(&name, key.0, &bytes);
    txn.append_block(&NewRecord {
        kind: kind::BLOCK,
        gateway: &name,
        epoch: 1,
        seq: 1,
        received_at: now,
        meta: &BlockMeta::default().encode(),
        bytes: &block.encode(),
    })?;
    txn.commit()?;
    Ok(())
}
