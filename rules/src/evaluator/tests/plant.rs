//! A gateway's life for the evaluator's tests: samples, kills, clock faults, losses, and a log in any order of arrival.

use rand_like::Dice;
use std::collections::BTreeMap;

use super::engine::Small;
use crate::evaluator::{
    BlockClock, BlockKey, BlockRecord, Evaluator, FactRecord, Limits, Ms, Output, Record, Reread,
    RereadError, Row, SeriesTable, Span,
};

pub(super) type Block = BlockRecord<()>;
pub(super) type Said = Vec<Output<super::engine::Move>>;

/// A fixed sequence of numbers from a seed (splitmix64), so that a failure names its seed.
pub(super) mod rand_like {
    #[derive(Debug, Clone)]
    pub(in super::super) struct Dice(pub(in super::super) u64);

    impl Dice {
        pub(in super::super) fn next(&mut self) -> u64 {
            self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            z ^ (z >> 31)
        }
        pub(in super::super) fn below(&mut self, n: u64) -> u64 {
            self.next() % n
        }
        pub(in super::super) fn one_in(&mut self, n: u64) -> bool {
            self.below(n) == 0
        }
        pub(in super::super) fn from<T: Copy>(&mut self, choice: &[T]) -> T {
            choice[usize::try_from(self.below(choice.len() as u64)).unwrap()]
        }
    }
}

/// Which faults a life may have.
#[derive(Debug, Clone, Copy)]
pub(super) struct Faults {
    pub(super) kills: bool,
    pub(super) clocks: bool,
    pub(super) losses: bool,
    pub(super) unset: bool,
}

/// What the gateway made, in its own order, with the times at which each block was closed.
#[derive(Debug, Clone, Default)]
pub(super) struct Life {
    pub(super) blocks: Vec<(Ms, Block)>,
    /// Epochs in order, with the last seq of each.
    pub(super) epochs: Vec<(u64, u64)>,
    /// Blocks that never reach the centre; each was declared in a gap record.
    pub(super) lost: Vec<BlockKey>,
}

const BASE: Ms = 1_700_000_000_000;

struct Gateway {
    epoch: u64,
    follows: Option<u64>,
    seq: u64,
    boot: u64,
    booted: Ms,
    clock: Ms,
    set: bool,
    segment: u32,
    rows: Vec<Row<()>>,
    gaps: Vec<Span>,
    closed: Ms,
}

impl Gateway {
    fn wall(&self, now: Ms) -> Ms {
        if self.set { now + self.clock } else { now - self.booted }
    }

    fn seal(&mut self, now: Ms) -> (Ms, Block) {
        self.seq += 1;
        self.closed = now;
        // The first offset of the boot, whatever the clock did later.
        let offset = self.set.then_some(self.booted);
        let block = Block {
            key: BlockKey { epoch: self.epoch, seq: self.seq },
            follows: self.follows,
            clock: BlockClock {
                unset: !self.set,
                boot: self.boot,
                boot_offset: offset,
                closed_at: self.wall(now),
                mono_ms: now - self.booted,
                segment: self.segment,
            },
            gaps: std::mem::take(&mut self.gaps),
            rows: std::mem::take(&mut self.rows),
            ahead: false,
            received_at: 0,
        };
        (now, block)
    }
}

/// Lives `seconds` seconds.
pub(super) fn live(dice: &mut Dice, seconds: i64, faults: Faults) -> Life {
    let mut life = Life::default();
    let (mut a, mut b, mut a_until, mut b_until) = (5.0, 1.0, 0, 0);
    let mut gateway = start(dice, BASE, None, false);
    let mut down_until = 0;
    for second in 0..seconds {
        let now = BASE + second * 1_000;
        if second >= a_until {
            (a, a_until) = (dice.from(&[5.0, 20.0, 60.0]), second + 15 + dice.below(100) as i64);
        }
        if second >= b_until {
            (b, b_until) = (dice.from(&[0.0, 1.0, 1.0]), second + 20 + dice.below(120) as i64);
        }
        if second < down_until {
            continue;
        }
        if second == down_until && second > 0 {
            let last = gateway.seq;
            let before = (last > 0).then_some(gateway.epoch).or(gateway.follows);
            if last > 0 {
                life.epochs.push((gateway.epoch, last));
            }
            let unset = faults.unset && dice.one_in(3);
            gateway = start(dice, now, before, unset);
        }
        let set_now = second > seconds - 60 || dice.one_in(20);
        let moment = Second { now, index: second, a, b, set_now };
        step(dice, &mut gateway, &mut life, &moment, faults);
        if faults.kills && dice.one_in(150) && second < seconds - 60 {
            down_until = second + 1 + dice.from(&[0, 2, 30]);
            gateway.rows.clear();
        }
    }
    if gateway.seq > 0 {
        life.epochs.push((gateway.epoch, gateway.seq));
    }
    life.lost.retain(|key| {
        life.epochs.iter().any(|(epoch, last)| *epoch == key.epoch && key.seq <= *last)
    });
    life
}

fn start(dice: &mut Dice, now: Ms, follows: Option<u64>, unset: bool) -> Gateway {
    Gateway {
        epoch: dice.next(),
        follows,
        seq: 0,
        boot: dice.next(),
        booted: now,
        clock: 0,
        set: !unset,
        segment: 0,
        rows: Vec::new(),
        gaps: Vec::new(),
        closed: now,
    }
}

/// What happens in one second.
struct Second {
    now: Ms,
    index: i64,
    a: f64,
    b: f64,
    set_now: bool,
}

fn step(dice: &mut Dice, gateway: &mut Gateway, life: &mut Life, second: &Second, faults: Faults) {
    let now = second.now;
    if !gateway.set && second.set_now {
        let sealed = gateway.seal(now);
        life.blocks.push(sealed);
        gateway.set = true;
    }
    if faults.clocks && gateway.set && dice.one_in(300) {
        let sealed = gateway.seal(now);
        life.blocks.push(sealed);
        let step = dice.from(&[-3_000, -20_000, -200_000, 2_000, 400_000]);
        gateway.clock += step;
        gateway.segment += u32::from(step < 0);
    }
    let t = gateway.wall(now);
    gateway.rows.push(Row { series: 0, t, value: second.a, quality: () });
    if second.index % 5 == 0 {
        gateway.rows.push(Row { series: 1, t, value: second.b, quality: () });
    }
    if faults.losses && dice.one_in(200) && life.blocks.len() > 20 {
        let from = usize::try_from(dice.below(life.blocks.len() as u64 - 10)).unwrap();
        for (_, block) in &life.blocks[from..from + 10] {
            if block.gaps.is_empty() && !life.lost.contains(&block.key) {
                life.lost.push(block.key);
                gateway.gaps.push(Span {
                    epoch: block.key.epoch,
                    from: block.key.seq,
                    to: block.key.seq,
                });
            }
        }
        let rows = std::mem::take(&mut gateway.rows);
        let sealed = gateway.seal(now);
        life.blocks.push(sealed);
        gateway.rows = rows;
    }
    if second.index % 2 == 0 || now - gateway.closed >= 10_000 {
        let sealed = gateway.seal(now);
        life.blocks.push(sealed);
    }
}

/// Reads waiting blocks again from the log, as the centre does.
pub(super) struct Log<'a>(pub(super) &'a [Record<Small>]);

impl Reread<Small> for Log<'_> {
    fn block(
        &mut self,
        position: u64,
        _: &mut SeriesTable<Small>,
    ) -> Result<Box<Block>, RereadError> {
        let index = usize::try_from(position).unwrap() - 1;
        match &self.0[index] {
            Record::Block(block) => Ok(block.clone()),
            _ => Err(RereadError::Lost { position, why: "not a block".into() }),
        }
    }
}

/// A centre that records blocks as they arrive, joins epochs, ticks, and records facts.
pub(super) struct Arrivals {
    pub(super) late_one_in: u64,
    pub(super) late_by: u64,
    pub(super) facts: bool,
    pub(super) starts: bool,
}

/// The log that a centre writes of a life.
pub(super) fn log(dice: &mut Dice, life: &Life, how: &Arrivals) -> Vec<Record<Small>> {
    let mut queue: BTreeMap<(Ms, u64), Block> = BTreeMap::new();
    let mut cut = (0, 0);
    for (closed, block) in &life.blocks {
        if life.lost.contains(&block.key) {
            continue;
        }
        if *closed >= cut.1 && how.late_by > 0 && dice.one_in(how.late_one_in) {
            cut = (*closed, closed + 1_000 * dice.below(how.late_by) as i64);
        }
        // After a cut, the newest come first: later blocks overtake by being sent at once.
        let at = if *closed < cut.1 {
            cut.1 + (cut.1 - closed) / 4
        } else {
            closed + dice.from(&[0, 0, 0, 1_000])
        };
        queue.insert((at, dice.next()), block.clone());
    }
    let mut log: Vec<Record<Small>> = Vec::new();
    let mut joined = 0;
    let mut seen: Vec<u64> = Vec::new();
    let end = queue.keys().next_back().map_or(BASE, |key| key.0) + 120_000;
    let mut now = BASE;
    while now <= end {
        if how.starts && dice.one_in(200) {
            log.push(Record::Start { at: now });
        }
        while queue.keys().next().is_some_and(|key| key.0 <= now) {
            let (_, mut block) = queue.pop_first().unwrap();
            block.received_at = now;
            seen.push(block.key.epoch);
            log.push(Record::Block(Box::new(block)));
            // The lists of any later block name the epochs between.
            while life.epochs[joined..].iter().any(|epoch| seen.contains(&epoch.0)) {
                let last = if joined == 0 { 0 } else { life.epochs[joined - 1].1 };
                log.push(Record::Chain { epoch: life.epochs[joined].0, last });
                joined += 1;
            }
        }
        if how.facts && dice.one_in(100) {
            let at = now - dice.from(&[0, 0, 1_000, 3_000]);
            let revision = log.len() as u64;
            log.push(Record::Facts(vec![FactRecord { fact: dice.one_in(2), at, revision }]));
        }
        log.push(Record::Tick { at: now });
        now += 1_000;
    }
    log
}

pub(super) fn fresh() -> Evaluator<Small> {
    fresh_with(Limits::default())
}

pub(super) fn fresh_with(limits: Limits) -> Evaluator<Small> {
    let mut evaluator = Evaluator::new(Small::new(), limits);
    assert_eq!(evaluator.series().number(&"a".to_string()), Some(0));
    assert_eq!(evaluator.series().number(&"b".to_string()), Some(1));
    evaluator
}

/// Feeds a log to an evaluator and gives what it said, by position.
pub(super) fn feed(evaluator: &mut Evaluator<Small>, log: &[Record<Small>]) -> Said {
    let mut out = Vec::new();
    for (index, record) in log.iter().enumerate() {
        evaluator.record(index as u64 + 1, record.clone(), &mut Log(log), &mut out);
    }
    out
}

pub(super) fn verdicts(said: &Said) -> Vec<super::engine::Move> {
    said.iter()
        .filter_map(|output| match output {
            Output::Verdict(turn) => Some(turn.clone()),
            _ => None,
        })
        .collect()
}
