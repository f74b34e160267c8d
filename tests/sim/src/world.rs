//! One run: faults for a while, then quiet until everything has settled, then the checks.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use ingest::evaluate::CatalogueEngines;
use ingest::registry::NewFact;
use ingest::registry::seed::Seed;
use ingest::state::State;
use rules::FactBody;
use rules::fact::RegState;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::broker::Broker;
use crate::centre::{Centre, Kill};
use crate::clock::{BASE, CentreClock, EdgeClock, Time};
use crate::dice::Dice;
use crate::edge::{Edge, SITE, device_id};
use crate::fault::Fault;
use crate::plant::Plant;
use crate::report::{Findings, Outcome};
use crate::store::Mood;

/// A step of virtual time, ms.
const STEP_MS: i64 = 1_000;
/// Steps with faults.
const HOT_STEPS: i64 = 200;
/// Steps without, at most: the longest back-off of a resend, twice.
const QUIET_STEPS: i64 = 160;
/// Steps without, at least: until the lasting leak must be told.
const QUIET_STEPS_MIN: i64 = 45;
/// How long a long outage lasts, ms: more than the page horizon.
const LONG_MS: i64 = 20 * 60_000;
/// A step while nothing but an outage goes on, ms.
const LONG_STEP_MS: i64 = 20_000;
/// True time after the faults from which the lasting leak is there, ms.
const LASTING_AFTER_MS: i64 = 20_000;

/// What all runs of a thread share: the rules, a runtime for the state database, the database of a fresh centre for
/// each number of gateways.
#[derive(Debug)]
pub(crate) struct Ground {
    runtime: Arc<Runtime>,
    engines: CatalogueEngines,
    templates: Vec<Vec<u8>>,
}

impl Ground {
    /// Makes it; costs some tenths of a second.
    ///
    /// # Errors
    /// Where the rules do not load or the temporary folder cannot be used.
    pub(crate) fn new() -> Result<Self> {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let engines = CatalogueEngines::new(ingest::run::catalogue()?);
        let templates = (1..=GATEWAYS_MAX).map(|gateways| template(&runtime, gateways));
        let templates = templates.collect::<Result<_>>()?;
        Ok(Self { runtime: Arc::new(runtime), engines, templates })
    }

    pub(crate) fn engines(&self) -> &CatalogueEngines {
        &self.engines
    }
}

/// Which devices are dead together.
const DEAD: [&[&str]; 4] = [&[], &["gas"], &["meter"], &["gas", "meter"]];
/// Gateways of the site at most.
const GATEWAYS_MAX: usize = 3;
/// How often there are several, where there may be: each costs as much time as a run with one.
const SEVERAL_P: f64 = 0.15;

/// The state database of a centre that knows one site with so many gateways, each with a gas detector and a meter.
fn template(runtime: &Runtime, gateways: usize) -> Result<Vec<u8>> {
    let folder = temporary()?;
    let path = folder.path().join("state.db");
    let mut text = format!(
        "[[site]]\nid = \"{SITE}\"\nname = \"甲厂\"\nuscc = \"91533401MA6N8A122Y\"\ncounty = \"533401\"\n\
         sectors = [\"危化\"]\nzone = \"Asia/Shanghai\"\n"
    );
    for number in 0..gateways {
        let name = format!("gw-{}", number + 1);
        let key = folder.path().join(format!("{name}.key"));
        std::fs::write(key, crate::edge::key_of(number).to_hex())?;
        let (gas, meter) = (device_id("gas", number), device_id("meter", number));
        text += &format!(
            "[[site.gateway]]\nname = \"{name}\"\nkey_file = \"{name}.key\"\n\
             [[site.device]]\nid = \"{gas}\"\nrole = \"gas_detector\"\ngateway = \"{name}\"\n\
             points = [{{ quantity = \"gas_lel\", period_ms = 1000 }}]\n\
             [[site.device]]\nid = \"{meter}\"\nrole = \"production\"\ngateway = \"{name}\"\n\
             points = [{{ quantity = \"ep_imp\", period_ms = 1000 }}, {{ quantity = \"p_total\", period_ms = 1000 }}]\n"
        );
    }
    let seed = Seed::parse(&text, folder.path());
    let seed = seed.map_err(|problems| anyhow::anyhow!("{problems:?}"))?;
    runtime.block_on(async {
        let state = State::open(&path).await?;
        state.apply_seed(&seed, BASE - 1_000).await?;
        state.close().await?;
        anyhow::Ok(())
    })?;
    Ok(std::fs::read(&path)?)
}

/// Files of a run: in memory where the system offers that.
fn temporary() -> Result<TempDir> {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.context("a temporary folder")
}

/// The ground of this thread: each has its own, so that all threads of its runs can stay on one processor.
///
/// # Panics
/// Where it cannot be made: nothing can be simulated then.
fn ground() -> &'static Ground {
    thread_local! {
        // Never freed: the few threads that play runs live as long as the process.
        static GROUND: &'static Ground =
            Box::leak(Box::new(Ground::new().expect("rules and a temporary folder")));
    }
    GROUND.with(|ground| *ground)
}

/// Runs a seed with some kinds of faults.
///
/// # Errors
/// Where the simulation itself cannot go on: a file, a part that does not open.
pub fn run(seed: u64, faults: &[Fault]) -> Result<Outcome> {
    play(seed, faults, None)
}

/// As [`run`], and tells what happened, line by line.
///
/// # Errors
/// As [`run`].
pub fn tell(seed: u64, faults: &[Fault]) -> Result<Outcome> {
    play(seed, faults, Some(Vec::new()))
}

fn play(seed: u64, faults: &[Fault], story: Option<Vec<String>>) -> Result<Outcome> {
    let mut world = World::new(ground(), seed, faults)?;
    world.findings.story = story;
    if let Err(error) = world.play() {
        let text = format!("{error:#}");
        world.findings.expect(false, "a part does not start or go on", || text);
    }
    Ok(world.outcome())
}

pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) faults: Vec<Fault>,
    pub(crate) ground: &'static Ground,
    pub(crate) dice: Dice,
    pub(crate) time: Time,
    pub(crate) plants: Vec<Plant>,
    pub(crate) edges: Vec<Edge>,
    pub(crate) broker: Broker,
    pub(crate) centre: Centre,
    pub(crate) findings: Findings,
    pub(crate) quiet_from: i64,
    /// Every page.
    pub(crate) paged: Vec<ingest::alarms::AlarmChange>,
    long_until: i64,
    mood_until: i64,
    full_until: i64,
    /// An image of a gateway's disk, and whose.
    image: Option<(usize, std::path::PathBuf)>,
    _folder: TempDir,
}

impl World {
    fn new(ground: &'static Ground, seed: u64, faults: &[Fault]) -> Result<Self> {
        let folder = temporary()?;
        let mut dice = Dice::new(seed);
        let time = Time::default();
        let has = |fault| faults.contains(&fault);
        let seconds = usize::try_from((HOT_STEPS + QUIET_STEPS) * 3 + 4 * LONG_MS / 1_000)?;
        let mut edges = Vec::new();
        let mut plants = Vec::new();
        let several = has(Fault::Several) && (faults.len() == 1 || dice.chance(SEVERAL_P));
        let gateways = if several { dice.pick(&[2, GATEWAYS_MAX]) } else { 1 };
        for number in 0..gateways {
            let clock = Arc::new(EdgeClock::new(time.clone()));
            let small = has(Fault::SmallSpool) && dice.chance(0.5);
            let spool_max = if small { 64 << 10 } else { 8 << 20 };
            edges.push(Edge::new(folder.path(), number, clock, spool_max)?);
            plants.push(Plant::new(&mut dice, seconds, seconds));
        }
        let clock = Arc::new(CentreClock::new(time.clone()));
        let runtime = Arc::clone(&ground.runtime);
        let mut centre = Centre::new(
            folder.path(),
            &ground.templates[gateways - 1],
            clock,
            runtime,
            ground.engines.clone(),
        )?;
        if has(Fault::SmallLog) && dice.chance(0.5) {
            centre.log_max = 200 << 10;
            centre.quota = 100 << 10;
        }
        Ok(Self {
            seed,
            faults: faults.to_vec(),
            ground,
            dice,
            time,
            plants,
            edges,
            broker: Broker::default(),
            centre,
            findings: Findings::default(),
            quiet_from: 0,
            paged: Vec::new(),
            long_until: 0,
            mood_until: 0,
            full_until: 0,
            image: None,
            _folder: folder,
        })
    }

    pub(crate) fn has(&self, fault: Fault) -> bool {
        self.faults.contains(&fault)
    }

    fn play(&mut self) -> Result<()> {
        for edge in &mut self.edges {
            edge.start(&mut self.dice, 0, &mut self.findings)?;
        }
        self.centre.start(&mut self.dice, &mut self.findings)?;
        for _ in 0..HOT_STEPS {
            self.step(true)?;
        }
        self.calm();
        for n in 0..QUIET_STEPS {
            self.step(false)?;
            if n >= QUIET_STEPS_MIN && self.is_settled() {
                break;
            }
        }
        self.check()
    }

    /// All faults end; from here on everything must come right by itself.
    fn calm(&mut self) {
        let now = self.time.now();
        self.quiet_from = now;
        self.broker.noise = 0;
        self.centre.back_at = now;
        self.centre.fill_disk(false);
        self.centre.store.lock().mood = Mood::Well;
        self.long_until = 0;
        for (edge, plant) in self.edges.iter_mut().zip(&mut self.plants) {
            edge.back_at = now;
            edge.cut_until = now;
            edge.dead.clear();
            // One that was never set has the centre's time from the acks.
            if edge.clock.is_set() {
                edge.clock.step(0, true);
            }
            plant.leak_from(now + LASTING_AFTER_MS);
        }
    }

    fn step(&mut self, is_hot: bool) -> Result<()> {
        let is_long = self.time.now() < self.long_until;
        self.time.pass(if is_long { LONG_STEP_MS } else { STEP_MS });
        let now = self.time.now();
        self.findings.now = now;
        let kill = if is_hot { self.happen(now)? } else { None };
        for (edge, plant) in self.edges.iter_mut().zip(&self.plants) {
            if edge.running.is_none() && now >= edge.back_at {
                edge.start(&mut self.dice, now, &mut self.findings)?;
            }
            edge.poll(plant, now, &mut self.findings);
            edge.carry(&mut self.broker, now, &mut self.dice, &mut self.findings);
        }
        if self.centre.running.is_none() && now >= self.centre.back_at {
            self.centre.start(&mut self.dice, &mut self.findings)?;
        }
        let lag = if is_hot && self.has(Fault::Lag) { 0.6 } else { 0.0 };
        self.centre.step(&mut self.broker, (now, lag), kill, &mut self.dice, &mut self.findings)?;
        self.watch();
        Ok(())
    }

    /// With probability `p`, if the run has this kind of fault.
    fn may(&mut self, fault: Fault, p: f64) -> bool {
        self.has(fault) && self.dice.chance(p)
    }

    /// What goes wrong in this step; gives where the centre is killed in it.
    fn happen(&mut self, now: i64) -> Result<Option<Kill>> {
        if self.may(Fault::Noise, 0.05) {
            self.broker.noise = self.dice.pick(&[0, 1, 1, 5]);
        }
        if self.may(Fault::BrokerCrash, 0.015) {
            self.broker.crash();
            self.findings.count("broker crashes", 1);
        }
        for number in 0..self.edges.len() {
            self.happen_at_edge(number, now)?;
        }
        self.happen_at_store(now);
        if self.may(Fault::Facts, 0.03) {
            self.record_fact()?;
        }
        self.happen_at_centre(now)
    }

    fn happen_at_edge(&mut self, number: usize, now: i64) -> Result<()> {
        if self.may(Fault::Cut, 0.03) {
            let length = self.dice.pick(&[3_000, 15_000, 60_000]);
            self.edges[number].cut_until = now + length;
            self.findings.count("cuts", 1);
        }
        if self.may(Fault::LongOut, 0.004) && self.long_until < now {
            self.edges[number].cut_until = now + LONG_MS;
            self.long_until = now + LONG_MS;
            self.findings.count("long outages", 1);
        }
        if self.may(Fault::Dead, 0.02) {
            let dead = self.dice.pick(&DEAD);
            self.edges[number].dead = dead.iter().copied().collect();
        }
        if self.may(Fault::GatewayKill, 0.025) {
            self.kill_gateway(number, now)?;
        }
        if self.may(Fault::Image, 0.02) && self.image.is_none() {
            self.image = Some((number, self.edges[number].disk.copy("image")?));
        }
        let has_image = self.image.as_ref().is_some_and(|(of, _)| *of == number);
        let restores = has_image && self.may(Fault::Image, 0.015);
        if restores || self.may(Fault::NewDisk, 0.004) {
            self.exchange_disk(number, now, restores)?;
        }
        let edge = &mut self.edges[number];
        let off = edge.clock.off();
        let can_step = edge.running.is_some() && edge.clock.is_set();
        if can_step && self.may(Fault::Back, 0.01) {
            let by = self.dice.pick(&[3_000, 20_000, 200_000]);
            self.edges[number].clock.step(off - by, true);
            self.findings.count("clocks back", 1);
        } else if can_step && self.may(Fault::Jump, 0.006) {
            self.edges[number].clock.step(off + 300_000, true);
            self.edges[number].jump_until = now + 20_000;
            self.findings.count("clocks ahead", 1);
        } else if can_step
            && self.edges[number].jump_until > 0
            && now >= self.edges[number].jump_until
        {
            self.edges[number].clock.step(0, true);
            self.edges[number].jump_until = 0;
        }
        Ok(())
    }

    fn kill_gateway(&mut self, number: usize, now: i64) -> Result<()> {
        let is_torn = self.dice.chance(0.4);
        let is_unset = self.has(Fault::Unset) && self.dice.chance(0.5);
        let pause = self.dice.pick(&[0, 2_000, 20_000]);
        let edge = &mut self.edges[number];
        if edge.running.is_none() {
            return Ok(());
        }
        let before = if is_torn { Some(edge.disk.copy("before")?) } else { None };
        if is_torn {
            // It seals and stores once more, and nothing of that gets out before the power goes.
            let known = (edge.made.clone(), edge.held.clone());
            edge.poll(&self.plants[number], now, &mut self.findings);
            (edge.made, edge.held) = known;
        }
        let old = edge.disk.kill()?;
        edge.end();
        drop(std::fs::remove_dir_all(old));
        if let Some(before) = before {
            let was_torn = edge.disk.tear(&before, &["spool.db"], &mut self.dice)?;
            self.findings.count("torn spools", u64::from(was_torn));
        }
        edge.back_at = now + pause;
        edge.starts_unset = is_unset;
        self.findings.count("gateway kills", 1);
        self.findings.count("unset starts", u64::from(is_unset));
        Ok(())
    }

    fn exchange_disk(&mut self, number: usize, now: i64, restores: bool) -> Result<()> {
        let image = if restores { self.image.take() } else { None };
        let edge = &mut self.edges[number];
        edge.end();
        let old = match &image {
            Some((_, image)) => edge.disk.exchange(image)?,
            None => edge.disk.wipe()?,
        };
        drop(std::fs::remove_dir_all(old));
        edge.back_at = now + 2_000;
        edge.lost_disk();
        self.findings.count(if restores { "disk images" } else { "new disks" }, 1);
        Ok(())
    }

    fn happen_at_store(&mut self, now: i64) {
        if self.may(Fault::Store, 0.04) {
            let moods = [
                Mood::Refuses,
                Mood::Away,
                Mood::AppliesAndTimesOut,
                Mood::TakesAPart,
                Mood::LosesItsPosition,
            ];
            let mood = self.dice.pick(&moods);
            self.centre.store.lock().mood = mood;
            // Now and then for so long that a small log has to hold what is not stored.
            let longest = if self.dice.chance(0.2) { 300_000 } else { 20_000 };
            self.mood_until = now + self.dice.between(1_000, longest);
        } else if now >= self.mood_until {
            self.centre.store.lock().mood = Mood::Well;
        }
    }

    fn record_fact(&mut self) -> Result<()> {
        let Some(running) = &self.centre.running else { return Ok(()) };
        let wall = self.time.wall();
        let state = if self.dice.chance(0.6) { RegState::Suspended } else { RegState::Normal };
        let fact = NewFact {
            id: Some("order-1".to_owned()),
            site: SITE.to_owned(),
            valid_from: wall - self.dice.pick(&[0, 0, 1_000, 30_000]),
            valid_to: None,
            withdrawn: false,
            body: FactBody::RegState { state, document: "1".to_owned(), base_kw: None },
        };
        self.centre.ask(running.state.record_fact(fact, "sim", wall))?;
        self.centre.has_facts = true;
        self.findings.count("facts", 1);
        Ok(())
    }

    fn happen_at_centre(&mut self, now: i64) -> Result<Option<Kill>> {
        if self.centre.running.is_none() {
            return Ok(None);
        }
        let restores = self.has(Fault::Restore) || self.has(Fault::OldLog);
        if restores
            && self.dice.chance(0.03)
            && (self.centre.backup.is_none() || self.dice.chance(0.4))
        {
            self.centre.back_up()?;
        } else if self.centre.backup.is_some() && restores && self.dice.chance(0.015) {
            let is_whole = match (self.has(Fault::Restore), self.has(Fault::OldLog)) {
                (true, true) => self.dice.chance(0.5),
                (is_whole, _) => is_whole,
            };
            self.centre.restore(is_whole, &mut self.broker, &mut self.dice, &mut self.findings)?;
            self.centre.back_at = now + 3_000;
            return Ok(None);
        }
        if self.may(Fault::Full, 0.03) {
            self.full_until = now + self.dice.between(2_000, 15_000);
            self.findings.count("full disks", 1);
        }
        self.centre.fill_disk(now < self.full_until);
        if self.may(Fault::LongDown, 0.004) && self.long_until < now {
            self.long_until = now + LONG_MS;
            self.centre.back_at = now + LONG_MS;
            self.findings.count("long downs", 1);
            return Ok(Some(self.dice.pick(&Kill::ALL)));
        }
        if self.may(Fault::CentreKill, 0.03) {
            self.centre.back_at = now + self.dice.pick(&[1_000, 5_000, 40_000]);
            return Ok(Some(self.dice.pick(&Kill::ALL)));
        }
        Ok(None)
    }

    fn outcome(mut self) -> Outcome {
        let broken = self.findings.broken.into_iter().map(|(what, (at, how))| (what, at, how));
        let counts = &mut self.findings.counts;
        *counts.entry("messages dropped").or_default() += self.broker.dropped;
        *counts.entry("messages doubled").or_default() += self.broker.doubled;
        Outcome {
            seed: self.seed,
            faults: self.faults,
            broken: broken.collect(),
            counts: self.findings.counts,
            trace: self.findings.trace,
            story: self.findings.story.unwrap_or_default(),
        }
    }
}
