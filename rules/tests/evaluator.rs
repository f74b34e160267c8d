//! The evaluator with the real engine and the built-in catalogue: a gateway's life with kills, clock steps, losses and a
//! link that is cut, logged in two orders of arrival and restarted anywhere.
//!
//! The evaluator's own tests say what each sentence of the design means; here only that the two parts hold together.

#![expect(clippy::unwrap_used, reason = "a test stops at its first surprise")]

use std::collections::{BTreeMap, BTreeSet};

use rand_like::Dice;
use rules::evaluator::{
    BlockClock, BlockKey, BlockRecord, DutyEvent, Evaluator, FactRecord, Limits, Output, Page,
    Record, Reread, RereadError, Row, SeriesTable, Span, Verdict as _,
};
use rules::fact::{Fact, FactBody, RegState};
use rules::site::SiteModel;
use rules::{Catalogue, Engine, Quality, SeriesKey, Transition};

const SITE: &str = r#"
site = "s"
sector_tags = ["粉尘涉爆", "非煤矿山"]
ratings = { P_ref = 100.0, P_base = 10.0 }
pairs = [{ kind = "dust", production = "saw", protective = "fan-1" }]
groups = [{ kind = "main_ventilation", id = "mv", name = { zh = "主通风", en = "mv" }, devices = ["fan-1", "fan-2"] }]
devices = [
  { id = "in", role = "incomer", gateway = "g", ratings = { U_N = 100.0 }, points = [{ quantity = "p_total", period_ms = 5000 }, { quantity = "u_ab", period_ms = 5000 }] },
  { id = "saw", role = "production", gateway = "g", ratings = { I_N = 100.0 }, points = [{ quantity = "i_a", period_ms = 5000 }] },
  { id = "fan-1", role = "dust_fan", gateway = "g", ratings = { I_N = 100.0 }, points = [{ quantity = "i_a", period_ms = 5000 }] },
  { id = "fan-2", role = "main_fan", gateway = "g", ratings = { I_N = 100.0 }, points = [{ quantity = "i_a", period_ms = 5000 }] },
  { id = "gas", role = "gas_detector", gateway = "g", points = [{ quantity = "gas_lel", period_ms = 1000 }] },
  { id = "tank", role = "tank", gateway = "g", ratings = { H = 80.0, HH = 90.0, L = 10.0, LL = 5.0, span = 100.0 }, points = [{ quantity = "level", period_ms = 5000 }] },
]
"#;
/// Series with their period in seconds.
const SERIES: [(&str, &str, i64); 7] = [
    ("in", "p_total", 5),
    ("in", "u_ab", 5),
    ("saw", "i_a", 5),
    ("fan-1", "i_a", 5),
    ("fan-2", "i_a", 5),
    ("gas", "gas_lel", 1),
    ("tank", "level", 5),
];
const BASE: i64 = 1_767_225_600_000;
const SECONDS: i64 = 2_400;
const SEEDS: u64 = 16;

mod rand_like {
    /// Numbers from a seed (splitmix64): a failure names its seed.
    #[derive(Debug)]
    pub(crate) struct Dice(pub(crate) u64);

    impl Dice {
        pub(crate) fn next(&mut self) -> u64 {
            self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            z ^ (z >> 31)
        }
        pub(crate) fn below(&mut self, n: u64) -> u64 {
            self.next() % n
        }
        pub(crate) fn one_in(&mut self, n: u64) -> bool {
            self.below(n) == 0
        }
    }
}

type Block = BlockRecord<Quality>;

#[derive(Default)]
struct Life {
    /// When each was closed, and itself.
    blocks: Vec<(i64, Block)>,
    /// Epochs with their last seq.
    epochs: Vec<(u64, u64)>,
    lost: BTreeSet<BlockKey>,
}

fn engine() -> Engine {
    let site: SiteModel = toml::from_str(SITE).unwrap();
    Engine::new(&Catalogue::built_in().unwrap(), &[site], "g")
}

fn evaluator() -> Evaluator<Engine> {
    let mut evaluator = Evaluator::new(engine(), Limits { bytes: 200_000, ..Limits::default() });
    for (number, (device, quantity, _)) in (0u32..).zip(SERIES) {
        assert_eq!(evaluator.series().number(&SeriesKey::new("s", device, quantity)), Some(number));
    }
    evaluator
}

fn quality(dice: &mut Dice) -> Quality {
    match dice.below(40) {
        0 => Quality::Bad,
        1 => Quality::Uncertain { over: true, under: false },
        2 => Quality::Substituted,
        _ => Quality::Good,
    }
}

fn live(dice: &mut Dice, losses: bool) -> Life {
    let mut life = Life::default();
    let (mut epoch, mut seq, mut clock, mut segment) = (dice.next(), 0, 0, 0);
    let mut follows = None;
    let mut values = [50.0; SERIES.len()];
    let mut mute = [0i64; SERIES.len()];
    let mut down_until = 0;
    let mut rows: Vec<Row<Quality>> = Vec::new();
    let mut gaps: Vec<Span> = Vec::new();
    for second in 0..SECONDS {
        let now = BASE + second * 1_000;
        for (index, value) in values.iter_mut().enumerate() {
            if dice.one_in(90) {
                *value =
                    [0.0, 3.0, 30.0, 60.0, 85.0, 100.0][usize::try_from(dice.below(6)).unwrap()];
            }
            if dice.one_in(1_500) {
                mute[index] = second + dice.below(400) as i64;
            }
        }
        if second < down_until {
            continue;
        }
        if second > 0 && second == down_until {
            life.epochs.push((epoch, seq));
            (follows, epoch, seq, segment) = (Some(epoch), dice.next(), 0, 0);
            rows.clear();
        }
        if dice.one_in(900) {
            if dice.one_in(3) {
                clock += 700_000;
            } else {
                clock -= 20_000;
                segment += 1;
            }
            rows.clear();
        }
        for (index, (.., period)) in SERIES.iter().enumerate() {
            if second % period == 0 && second >= mute[index] {
                let (series, quality) = (u32::try_from(index).unwrap(), quality(dice));
                let value = if quality == Quality::Bad { f64::NAN } else { values[index] };
                rows.push(Row { series, t: now + clock, value, quality });
            }
        }
        if losses && dice.one_in(300) && life.blocks.len() > 30 {
            let from = usize::try_from(dice.below(life.blocks.len() as u64 - 20)).unwrap();
            for (_, block) in &life.blocks[from..from + 15] {
                if block.gaps.is_empty() && life.lost.insert(block.key) {
                    gaps.push(Span {
                        epoch: block.key.epoch,
                        from: block.key.seq,
                        to: block.key.seq,
                    });
                }
            }
        }
        seq += 1;
        let clock = BlockClock {
            unset: false,
            boot: epoch,
            boot_offset: Some(BASE),
            closed_at: now + clock,
            mono_ms: second * 1_000,
            segment,
        };
        let (rows, gaps) = (std::mem::take(&mut rows), std::mem::take(&mut gaps));
        let key = BlockKey { epoch, seq };
        life.blocks
            .push((now, Block { key, follows, clock, gaps, rows, ahead: false, received_at: 0 }));
        if dice.one_in(500) && second < SECONDS - 30 {
            down_until = second + 1 + dice.below(200) as i64;
        }
    }
    life.epochs.push((epoch, seq));
    life
}

fn order(revision: u64, at: i64, stopped: bool) -> FactRecord<Fact> {
    let state = if stopped { RegState::Suspended } else { RegState::Normal };
    let body = FactBody::RegState { state, document: "d".into(), base_kw: None };
    let fact = Fact {
        id: "order".into(),
        revision,
        site: "s".into(),
        valid_from: at,
        valid_to: None,
        recorded_at: at,
        withdrawn: false,
        body,
    };
    FactRecord { fact, at, revision }
}

/// The log of a life: in order and at once, or with cuts after which the newest comes first.
fn log(dice: &mut Dice, life: &Life, is_rough: bool, facts: bool) -> Vec<Record<Engine>> {
    let mut queue: BTreeMap<(i64, u64), Block> = BTreeMap::new();
    let mut cut = (0, 0);
    for (number, (closed, block)) in (0u64..).zip(&life.blocks) {
        if life.lost.contains(&block.key) {
            continue;
        }
        if is_rough && *closed >= cut.1 && dice.one_in(150) {
            cut = (*closed, closed + 1_000 * dice.below(500) as i64);
        }
        let behind = *closed < cut.1;
        let at = if behind { cut.1 + (cut.1 - closed) / 4 } else { *closed };
        queue.insert((at, number), block.clone());
    }
    let (mut log, mut joined, mut seen) = (Vec::new(), 0, BTreeSet::new());
    let end = queue.keys().next_back().unwrap().0 + 1_000;
    let mut now = BASE;
    while now <= end {
        while queue.keys().next().is_some_and(|key| key.0 <= now) {
            let (_, mut block) = queue.pop_first().unwrap();
            block.received_at = now;
            seen.insert(block.key.epoch);
            log.push(Record::Block(Box::new(block)));
            while life.epochs[joined..].iter().any(|epoch| seen.contains(&epoch.0)) {
                let last = if joined == 0 { 0 } else { life.epochs[joined - 1].1 };
                log.push(Record::Chain { epoch: life.epochs[joined].0, last });
                joined += 1;
            }
        }
        if facts && dice.one_in(400) {
            log.push(Record::Facts(vec![order(log.len() as u64 + 1, now, dice.one_in(2))]));
        }
        if is_rough && dice.one_in(600) {
            log.push(Record::Start { at: now });
        }
        log.push(Record::Tick { at: now });
        now += 1_000;
    }
    log
}

struct Log<'a>(&'a [Record<Engine>]);

impl Reread<Engine> for Log<'_> {
    fn block(
        &mut self,
        position: u64,
        _: &mut SeriesTable<Engine>,
    ) -> Result<Box<Block>, RereadError> {
        match &self.0[usize::try_from(position).unwrap() - 1] {
            Record::Block(block) => Ok(block.clone()),
            _ => Err(RereadError::Lost { position, why: "no block".into() }),
        }
    }
}

type Said = Vec<Output<Transition>>;

fn feed(
    evaluator: &mut Evaluator<Engine>,
    log: &[Record<Engine>],
    mut between: impl FnMut(&mut Evaluator<Engine>),
) -> Said {
    let mut said = Vec::new();
    for (position, record) in (1u64..).zip(log) {
        between(evaluator);
        evaluator.record(position, record.clone(), &mut Log(log), &mut said);
    }
    said
}

fn verdicts(said: &Said) -> Vec<String> {
    let lines = said.iter().filter_map(|output| match output {
        Output::Verdict(turn) => Some(serde_json::to_string(turn).unwrap()),
        _ => None,
    });
    lines.collect()
}

/// One output in one line, without the evidence, which is compared as verdicts.
fn told(output: &Output<Transition>) -> String {
    let name = |turn: &Transition| turn.key().to_string();
    match output {
        Output::Verdict(turn) => format!("verdict {}", name(turn)),
        Output::Duty(DutyEvent::Turn { transition, page, sample_at, decided_at }) => {
            format!("turn {} {page:?} {sample_at} {decided_at}", name(transition))
        }
        Output::Duty(DutyEvent::Amend { was, is, standing, decided_at }) => {
            let (is, standing) = (is.as_ref().map(name), standing.as_ref().map(name));
            format!("amend {} {is:?} {standing:?} {decided_at}", name(was))
        }
        Output::Duty(DutyEvent::Past { raise, clear, page, decided_at }) => {
            format!("past {} {} {page:?} {decided_at}", name(raise), name(clear))
        }
        other => format!("{other:?}"),
    }
}

// Goal (invariant 7): with the whole catalogue, restarts change neither journal.
#[test]
fn restarts_change_no_journal_of_the_catalogue() {
    let mut made = 0;
    for seed in 0..SEEDS {
        let mut dice = Dice(seed);
        let life = live(&mut dice, true);
        let log = log(&mut dice, &life, true, true);
        let whole = feed(&mut evaluator(), &log, |_| {});
        let again = feed(&mut evaluator(), &log, |evaluator| {
            if dice.one_in(60) {
                let bytes = postcard::to_allocvec(evaluator).unwrap();
                *evaluator = postcard::from_bytes(&bytes).unwrap();
            }
        });
        assert_eq!(verdicts(&whole), verdicts(&again), "seed {seed}");
        let differs = whole.iter().zip(&again).position(|(one, other)| told(one) != told(other));
        if let Some(at) = differs {
            panic!("seed {seed}, word {at}:\n{}\n{}", told(&whole[at]), told(&again[at]));
        }
        assert_eq!(whole.len(), again.len(), "seed {seed}");
        made += verdicts(&whole).len();
    }
    assert!(made > 100, "only {made} verdicts");
}

// Goal (invariant 7): with the whole catalogue, the verdict journal does not depend on the order of arrival.
#[test]
fn arrival_changes_no_verdict_of_the_catalogue() {
    for seed in 0..SEEDS {
        let mut dice = Dice(seed);
        let life = live(&mut dice, false);
        let smooth = log(&mut dice, &life, false, false);
        let rough = log(&mut dice, &life, true, false);
        let one = verdicts(&feed(&mut evaluator(), &smooth, |_| {}));
        let other = verdicts(&feed(&mut evaluator(), &rough, |_| {}));
        let differs = one.iter().zip(&other).position(|(one, other)| one != other);
        if let Some(at) = differs {
            panic!("seed {seed}, verdict {at}:\n{}\n{}", one[at], other[at]);
        }
        assert_eq!(one.len(), other.len(), "seed {seed}");
    }
}

// Goal (§7): what is active at the head is with duty staff at its level, and nothing else is.
#[test]
fn duty_staff_see_what_the_catalogue_finds_at_the_head() {
    for seed in 0..SEEDS {
        let mut dice = Dice(seed + 500);
        let life = live(&mut dice, true);
        let mut log = log(&mut dice, &life, true, true);
        while matches!(
            log.last(),
            Some(Record::Tick { .. } | Record::Start { .. } | Record::Facts(_))
        ) {
            log.pop();
        }
        let mut evaluator = evaluator();
        let said = feed(&mut evaluator, &log, |_| {});
        let live_at = evaluator.progress().live_at;
        let (mut seen, mut ahead) = (BTreeMap::new(), BTreeSet::new());
        for output in &said {
            let (condition, stands) = match output {
                Output::Duty(DutyEvent::Turn { transition, page, sample_at, decided_at }) => {
                    if *page == Page::Page {
                        assert!(
                            decided_at - sample_at <= rules::evaluator::PAGE_HORIZON_MS,
                            "seed {seed}"
                        );
                    }
                    if Some(transition.t) >= live_at {
                        ahead.insert(transition.condition());
                    }
                    (transition.condition(), transition.turn().stands().then(|| transition.clone()))
                }
                Output::Duty(DutyEvent::Amend { was, standing, .. }) => {
                    (was.condition(), standing.clone())
                }
                _ => continue,
            };
            match stands {
                Some(transition) => drop(seen.insert(condition, transition.level)),
                None => drop(seen.remove(&condition)),
            }
        }
        let active = evaluator.live().active();
        let active: BTreeMap<_, _> = active
            .map(|(rule, scope, level, _)| ((rule.to_owned(), scope.clone()), level))
            .collect();
        seen.retain(|condition, _| !ahead.contains(condition));
        let active: BTreeMap<_, _> =
            active.into_iter().filter(|(condition, _)| !ahead.contains(condition)).collect();
        assert_eq!(seen, active, "seed {seed}");
    }
}

// Goal: a gateway whose clock was ahead when the centre first judged it, behind blocks that are lost, is judged all the same
// once its clock is right. Method: a closure, a block ahead without rows, then a leak.
#[test]
fn a_clock_that_was_ahead_behind_a_loss_mutes_no_leak() {
    let at = |second: i64| BASE + second * 1_000;
    let block = |seq: u64, second: i64, closed_at: i64, ahead: bool| {
        let clock = BlockClock {
            unset: false,
            boot: 1,
            boot_offset: Some(BASE),
            closed_at,
            mono_ms: second * 1_000,
            segment: u32::from(!ahead),
        };
        let leak = Row { series: 5, t: closed_at, value: 60.0, quality: Quality::Good };
        let rows = if ahead { Vec::new() } else { vec![leak] };
        let key = BlockKey { epoch: 1, seq };
        let received_at = at(second);
        Record::Block(Box::new(Block {
            key,
            follows: None,
            clock,
            gaps: Vec::new(),
            rows,
            ahead,
            received_at,
        }))
    };
    let mut log = vec![
        Record::Chain { epoch: 1, last: 0 },
        Record::Gone(vec![Span { epoch: 1, from: 1, to: 1 }]),
        block(2, 2, at(30_000), true),
    ];
    log.extend((3..20_i64).map(|second| block(second.unsigned_abs(), second, at(second), false)));
    let said = feed(&mut evaluator(), &log, |_| {});
    let is_raise = |o: &&Output<Transition>| matches!(o, Output::Verdict(turn) if turn.rule == "R21" && turn.turn().stands());
    let raised = said.iter().find(is_raise).map(told);
    assert!(raised.is_some(), "{:?}", said.iter().map(told).collect::<Vec<_>>());
}
