//! Small hand-made runs, each for one sentence of the design.

use super::engine::{Move, SILENT_MS, Small};
use super::plant::{Block, Log, Said, fresh, fresh_with, verdicts};
use crate::evaluator::lane::FACTS_AHEAD_MAX;
use crate::evaluator::{
    BlockClock, BlockKey, DutyEvent, Evaluator, FactRecord, Limits, Ms, Output, PAGE_HORIZON_MS,
    Page, Past, Reason, Record, Row, SETTLE_BLOCK_ROWS, SETTLE_ROWS_MAX, SETTLE_TICK_ROWS_MAX,
    Span, StandingAlarm, UNJOINED_BLOCKS_MAX, UNSEEN_MAX,
};

const BASE: Ms = 1_700_000_000_000;
const MIN: Ms = 60_000;

/// One gateway with one epoch unless told otherwise: `a` every second, a block every second.
struct Scene {
    evaluator: Evaluator<Small>,
    log: Vec<Record<Small>>,
    said: Said,
}

impl Scene {
    fn new() -> Self {
        Self::of(fresh())
    }

    fn of(evaluator: Evaluator<Small>) -> Self {
        let mut scene = Self { evaluator, log: Vec::new(), said: Vec::new() };
        scene.take(Record::Chain { epoch: 1, last: 0 });
        scene
    }

    fn take(&mut self, record: Record<Small>) {
        self.log.push(record.clone());
        let position = self.log.len() as u64;
        self.evaluator.record(position, record, &mut Log(&self.log), &mut self.said);
    }

    /// Takes the block of second `second` (seq = second + 1), received at `at`.
    fn block(&mut self, second: i64, a: f64, at: Ms) {
        self.take(Record::Block(Box::new(block(1, second, a, at))));
    }

    fn tick(&mut self, at: Ms) {
        self.take(Record::Tick { at });
    }

    /// What the duty journal has of `limit`: (raised, page, seconds after the beginning).
    fn duty(&self) -> Vec<(bool, Page, i64)> {
        self.turns("limit")
            .into_iter()
            .map(|(turn, page)| (turn.raised, page, (turn.t - BASE) / 1_000))
            .collect()
    }

    fn turns(&self, rule: &str) -> Vec<(Move, Page)> {
        self.said
            .iter()
            .filter_map(|output| match output {
                Output::Duty(DutyEvent::Turn { transition, page, .. }) => {
                    Some((transition.clone(), *page))
                }
                _ => None,
            })
            .filter(|(turn, _)| turn.rule == rule)
            .collect()
    }

    /// What the duty journal has of peaks that came and went unseen: from, to, in seconds after the beginning.
    fn past(&self) -> Vec<(i64, i64, Page)> {
        let of = |output: &Output<Move>| match output {
            Output::Duty(DutyEvent::Past { raise, clear, page, .. }) => {
                Some(((raise.t - BASE) / 1_000, (clear.t - BASE) / 1_000, *page))
            }
            _ => None,
        };
        self.said.iter().filter_map(of).collect()
    }

    fn amends(&self) -> usize {
        self.said
            .iter()
            .filter(|output| matches!(output, Output::Duty(DutyEvent::Amend { .. })))
            .count()
    }
}

fn block(epoch: u64, second: i64, a: f64, at: Ms) -> Block {
    let t = BASE + second * 1_000;
    Block {
        key: BlockKey { epoch, seq: u64::try_from(second + 1).unwrap() },
        follows: None,
        clock: BlockClock {
            unset: false,
            boot: epoch,
            boot_offset: Some(BASE),
            closed_at: t,
            mono_ms: second * 1_000,
            segment: 0,
        },
        gaps: Vec::new(),
        rows: vec![Row { series: 0, t, value: a, quality: () }],
        ahead: false,
        received_at: at,
    }
}

fn at(second: i64) -> Ms {
    BASE + second * 1_000
}

// Limit true from second 480, link cut from 490 to 700: the delay (20 s) ran out unseen; it pages at once, with the
// settled start, when the hole closes.
#[test]
fn a_condition_that_holds_at_the_head_raises_at_once_with_its_settled_start() {
    let mut scene = Scene::new();
    for second in 0..490 {
        scene.block(second, if second < 480 { 5.0 } else { 60.0 }, at(second));
    }
    scene.block(700, 60.0, at(700));
    assert!(scene.evaluator.progress().is_forked);
    for second in (490..700).rev() {
        scene.block(second, 60.0, at(702));
    }
    assert!(!scene.evaluator.progress().is_forked);
    assert_eq!(scene.duty(), [(true, Page::Page, 500)]);
    assert_eq!(scene.turns("limit")[0].0.since, at(480));
}

// A day behind a hole: the record that closes it judges a part, ticks and blocks the rest, and the live lane goes on
// meanwhile; in the end the journal has what it has where all came in order.
#[test]
fn what_lay_behind_a_hole_is_judged_in_parts_while_the_live_lane_goes_on() {
    let last = 30_000;
    let value = |second: i64| if (2_000..2_060).contains(&second) { 60.0 } else { 5.0 };
    let mut scene = Scene::new();
    scene.block(0, 5.0, at(0));
    scene.block(last, 5.0, at(last));
    for second in (1..last).rev() {
        scene.block(second, value(second), at(last));
    }
    let progress = scene.evaluator.progress();
    let part = SETTLE_ROWS_MAX / SETTLE_BLOCK_ROWS;
    assert_eq!(progress.next.unwrap().seq, u64::try_from(part).unwrap() + 2, "no more at once");
    assert!(progress.is_forked && verdicts(&scene.said).is_empty());
    for second in last + 1..last + 40 {
        scene.block(second, 60.0, at(second));
        if scene.duty().iter().any(|(raised, page, _)| *raised && *page == Page::Page) {
            break;
        }
    }
    assert!(scene.evaluator.progress().is_forked, "it pages before all is judged");
    let before = scene.evaluator.progress().next.unwrap().seq;
    scene.tick(at(last + 40));
    let tick = u64::try_from(SETTLE_TICK_ROWS_MAX / SETTLE_BLOCK_ROWS).unwrap();
    assert_eq!(scene.evaluator.progress().next.unwrap().seq, before + tick);
    for second in 41..400 {
        scene.tick(at(last + second));
    }
    assert!(!scene.evaluator.progress().is_forked);
    let mut ordered = Scene::new();
    let blocks = scene.log.iter().filter_map(|record| match record {
        Record::Block(block) => Some(block.clone()),
        _ => None,
    });
    let mut blocks: Vec<_> = blocks.collect();
    blocks.sort_by_key(|block| block.key);
    blocks.into_iter().for_each(|block| ordered.take(Record::Block(block)));
    assert_eq!(verdicts(&scene.said), verdicts(&ordered.said));
    assert_eq!(verdicts(&scene.said).len(), 3);
}

// Limit true from 480 to 530, cut from 475 to 545: 红 that came and went within the page horizon pages as recovered.
#[test]
fn a_short_peak_behind_a_lost_live_block_pages_as_recovered() {
    let mut scene = Scene::new();
    let a = |second: i64| if (480..530).contains(&second) { 60.0 } else { 5.0 };
    for second in (0..475).chain(545..560) {
        scene.block(second, a(second), at(second));
    }
    for second in (475..545).rev() {
        scene.block(second, a(second), at(560));
    }
    assert_eq!(
        scene.duty(),
        [(true, Page::Recovered, 500), (false, Page::Silent(Reason::Eased), 540)]
    );
}

// The same, found after the page horizon: it enters the duty list as 补报未签收, without sound.
#[test]
fn a_peak_found_after_the_horizon_enters_the_duty_list_silently() {
    let mut scene = Scene::new();
    let a = |second: i64| if (480..530).contains(&second) { 60.0 } else { 5.0 };
    let late = 600 + PAGE_HORIZON_MS / 1_000;
    for second in (0..475).chain(late..late + 10) {
        scene.block(second, a(second), at(second));
    }
    for second in (475..late).rev() {
        scene.block(second, a(second), at(late + 10));
    }
    assert_eq!(
        scene.duty(),
        [(true, Page::LateUnsigned, 500), (false, Page::Silent(Reason::Eased), 540)]
    );
}

// A backlog that comes in order, all of it older than the horizon, pages nobody until it reaches the present.
#[test]
fn history_in_order_pages_only_what_still_stands_when_it_reaches_the_present() {
    let mut scene = Scene::new();
    let now = at(2_000);
    for second in 0..2_000 {
        let a = if (100..200).contains(&second) || second >= 900 { 60.0 } else { 5.0 };
        scene.block(second, a, now);
    }
    let told = scene.duty();
    assert_eq!(told[0], (true, Page::LateUnsigned, 120));
    assert!(!told[1].0);
    assert_eq!(told[2], (true, Page::LateUnsigned, 920));
    assert_eq!(told[3], (true, Page::Page, 920), "raised at the head");
    assert_eq!(told.len(), 4);
}

// A delay runs out while the link is silent: the tick raises it, the block that follows confirms it without a word.
#[test]
fn a_tick_raises_what_runs_out_and_the_settled_verdict_confirms_it() {
    let mut scene = Scene::new();
    scene.block(0, 60.0, at(0));
    for second in 1..=25 {
        scene.tick(at(second));
    }
    assert_eq!(scene.duty(), [(true, Page::Page, 20)]);
    assert!(verdicts(&scene.said).is_empty(), "only blocks make verdicts");
    scene.block(1, 60.0, at(26));
    scene.take(Record::Block(Box::new(Block { rows: Vec::new(), ..block(1, 2, 0.0, at(27)) })));
    let mut late = block(1, 3, 60.0, at(28));
    (late.rows[0].t, late.clock.closed_at) = (at(28), at(28));
    scene.take(Record::Block(Box::new(late)));
    assert_eq!(verdicts(&scene.said).len(), 1);
    assert_eq!((scene.duty().len(), scene.amends()), (1, 0));
}

// A sample on its way contradicts what the tick decided: both are kept, nobody is paged for it.
#[test]
fn a_later_contradicting_verdict_amends_and_does_not_page() {
    let mut scene = Scene::new();
    scene.block(0, 60.0, at(0));
    for second in 1..=25 {
        scene.tick(at(second));
    }
    scene.block(1, 5.0, at(26));
    scene.block(2, 5.0, at(27));
    let mut later = block(1, 3, 5.0, at(28));
    (later.rows[0].t, later.clock.closed_at) = (at(28), at(28));
    scene.take(Record::Block(Box::new(later)));
    let said = scene.said.last().unwrap();
    let Output::Duty(DutyEvent::Amend { was, is: None, standing: None, .. }) = said else {
        panic!("{said:?}")
    };
    assert_eq!(was.t, at(20));
    assert_eq!(scene.duty(), [(true, Page::Page, 20)]);
    assert!(verdicts(&scene.said).is_empty());
}

// The centre's clock is set by an hour and back again while the link is silent: a running delay is neither hurried nor held
// up, and what it leads to still pages.
#[test]
fn a_step_of_the_centres_clock_neither_hurries_nor_holds_up_a_delay() {
    let mut scene = Scene::new();
    scene.block(0, 60.0, at(0));
    (1..=10).for_each(|second| scene.tick(at(second)));
    scene.take(Record::Stepped { at: at(3_610), by: 3_600_000 });
    (3_611..=3_615).for_each(|second| scene.tick(at(second)));
    assert!(scene.duty().is_empty(), "hurried");
    scene.take(Record::Stepped { at: at(15), by: -3_600_000 });
    (16..=25).for_each(|second| scene.tick(at(second)));
    assert_eq!(scene.duty(), [(true, Page::Page, 20)]);
}

// Blocks of an epoch that is never joined do not pile up, and should it be joined after all nothing waits for them.
#[test]
fn blocks_of_an_epoch_that_is_never_joined_are_bounded() {
    let mut scene = Scene::new();
    let most = i64::try_from(UNJOINED_BLOCKS_MAX).unwrap();
    for second in 0..most + 3 {
        let foreign = Block { rows: Vec::new(), ..block(9, second, 0.0, at(second)) };
        scene.take(Record::Block(Box::new(foreign)));
    }
    assert_eq!(scene.evaluator.needed().count(), UNJOINED_BLOCKS_MAX);
    assert_eq!(scene.evaluator.progress().waiting, 0, "they have no turn to wait for");
    scene.take(Record::Chain { epoch: 9, last: 0 });
    let parts = UNJOINED_BLOCKS_MAX * SETTLE_BLOCK_ROWS / SETTLE_TICK_ROWS_MAX;
    (0..parts).for_each(|_| scene.tick(at(most)));
    assert_eq!(scene.evaluator.needed().count(), 0);
}

// Blocks of an epoch that is in no chain wait for ever: the live evaluator goes on with the settled one when the hole of the
// epoch that is judged has closed.
#[test]
fn blocks_of_an_epoch_that_is_never_joined_hold_up_nobody() {
    let mut scene = Scene::new();
    scene.block(0, 5.0, at(0));
    scene.take(Record::Block(Box::new(block(9, 0, 5.0, at(1)))));
    for second in [2, 3, 1] {
        scene.block(second, 5.0, at(3));
    }
    assert!(!scene.evaluator.progress().is_forked);
    for second in 4..40 {
        scene.block(second, 60.0, at(second));
    }
    assert_eq!(scene.duty(), [(true, Page::Page, 24)]);
}

// The centre was down for an hour, and the link with it: a delay goes on from the start of the centre, not from the
// receive time of the newest block, and what it leads to is history by then.
#[test]
fn time_goes_on_from_the_later_of_receive_time_and_start() {
    let mut scene = Scene::new();
    scene.block(0, 60.0, at(0));
    scene.take(Record::Start { at: at(3_600) });
    for second in 3_600..=3_622 {
        scene.tick(at(second));
        assert!(scene.duty().is_empty());
    }
    scene.tick(at(3_623));
    assert_eq!(scene.duty(), [(true, Page::LateUnsigned, 20)]);
}

// The gateway is not heard: that says nothing about its devices. A device without samples in the blocks of a gateway
// that is heard is silent.
#[test]
fn silence_of_a_device_is_judged_by_blocks_alone() {
    let mut scene = Scene::new();
    let mut first = block(1, 0, 5.0, at(0));
    first.rows.push(Row { series: 1, t: at(0), value: 1.0, quality: () });
    scene.take(Record::Block(Box::new(first)));
    for second in 1..100 {
        scene.tick(at(second));
    }
    assert!(scene.turns("silent-0").is_empty() && scene.turns("silent-1").is_empty());
    for second in 1..100 {
        scene.block(second, 5.0, at(second));
    }
    let silent = scene.turns("silent-1");
    assert_eq!((silent.len(), silent[0].0.t), (1, at(SILENT_MS / 1_000)));
}

// The centre was down; the newest block comes first and has no sample of `b`, whose samples are on their way.
#[test]
fn a_hole_is_not_silence() {
    let mut scene = Scene::new();
    let mut first = block(1, 0, 5.0, at(0));
    first.rows.push(Row { series: 1, t: at(0), value: 1.0, quality: () });
    scene.take(Record::Block(Box::new(first)));
    scene.block(600, 5.0, at(600));
    scene.tick(at(601));
    assert!(scene.turns("silent-1").is_empty());
}

// A step back of 200 s at second 500, limit true from 520 to 600: seen in the new segment, and live.
#[test]
fn a_backward_step_opens_a_segment_whose_samples_are_live() {
    let mut scene = Scene::new();
    for second in 0..700 {
        let mut block =
            block(1, second, if (520..600).contains(&second) { 60.0 } else { 5.0 }, at(second));
        if second >= 500 {
            block.clock.segment = 1;
            block.clock.closed_at -= 200_000;
            block.rows[0].t -= 200_000;
        }
        scene.take(Record::Block(Box::new(block)));
    }
    assert_eq!(scene.duty(), [(true, Page::Page, 340), (false, Page::Silent(Reason::Eased), 410)]);
    assert_eq!(scene.turns("limit")[0].0.segment, 1);
}

// The clock is set 600 s forward between two blocks: nothing was silent in the time that it left out. What is silent
// afterwards still is.
#[test]
fn a_forward_step_is_not_silence() {
    let mut scene = Scene::new();
    let first = |second: i64| {
        let mut first = block(1, second, 5.0, at(second));
        first.rows.push(Row { series: 1, t: at(second), value: 1.0, quality: () });
        first
    };
    for second in 0..200 {
        let mut block =
            if second < 100 { first(second) } else { block(1, second, 5.0, at(second)) };
        if second >= 60 {
            block.clock.closed_at += 600_000;
            block.rows.iter_mut().for_each(|row| row.t += 600_000);
        }
        scene.take(Record::Block(Box::new(block)));
    }
    let said = verdicts(&scene.said);
    let silent: Vec<_> = said.iter().map(|turn| (turn.rule.as_str(), turn.t)).collect();
    assert_eq!(silent, [("silent-1", at(699) + SILENT_MS)]);
}

// Rows that were ahead of the centre are left out by the caller, and the block's closing time is not believed.
#[test]
fn a_block_ahead_of_time_moves_no_deadline() {
    let mut scene = Scene::new();
    scene.block(0, 60.0, at(0));
    let mut ahead = block(1, 1, 60.0, at(1));
    (ahead.ahead, ahead.clock.closed_at) = (true, at(5_000));
    ahead.rows.clear();
    scene.take(Record::Block(Box::new(ahead)));
    assert!(verdicts(&scene.said).is_empty());
    assert_eq!(scene.evaluator.progress().settled_at, Some(at(0)));
}

// Behind a declared loss the closing time of a block that was ahead of the centre is believed no more than elsewhere: what
// falls silent is told in its time.
#[test]
fn a_block_ahead_of_time_behind_a_loss_mutes_no_silence() {
    let mut scene = Scene::new();
    let mut first = block(1, 0, 5.0, at(0));
    first.rows.push(Row { series: 1, t: at(0), value: 1.0, quality: () });
    scene.take(Record::Block(Box::new(first)));
    scene.take(Record::Gone(vec![Span { epoch: 1, from: 2, to: 2 }]));
    let mut ahead = block(1, 2, 5.0, at(2));
    (ahead.ahead, ahead.clock.closed_at) = (true, at(500_000));
    ahead.rows.clear();
    scene.take(Record::Block(Box::new(ahead)));
    for second in 3..SILENT_MS / 1_000 + 10 {
        scene.block(second, 5.0, at(second));
    }
    let silent = verdicts(&scene.said);
    assert!(silent.iter().any(|turn| turn.rule == "silent-1" && turn.raised), "{silent:?}");
}

// The loss before a block of which no time is believed still lies before the next one: that nothing was heard in it proves
// nothing.
#[test]
fn a_loss_before_a_block_ahead_of_time_feigns_no_silence() {
    let mut scene = Scene::new();
    scene.block(0, 5.0, at(0));
    let after = 2 * SILENT_MS / 1_000;
    scene.take(Record::Gone(vec![Span { epoch: 1, from: 2, to: after.unsigned_abs() }]));
    let mut ahead = block(1, after, 5.0, at(after));
    (ahead.ahead, ahead.clock.closed_at) = (true, at(500_000));
    ahead.rows.clear();
    scene.take(Record::Block(Box::new(ahead)));
    for second in after + 1..after + 10 {
        scene.block(second, 5.0, at(second));
    }
    assert_eq!(scene.evaluator.progress().settled_at, Some(at(after + 9)));
    let silent = verdicts(&scene.said);
    assert!(silent.iter().all(|turn| turn.rule != "silent-0"), "{silent:?}");
}

// A gateway lived with a clock an hour fast behind a cut link, and starts again with a clock that is barely ahead: the first
// block tells no time that is believed, the next ones do. Time goes back with the first of these, not an hour later.
#[test]
fn a_start_ahead_of_time_mutes_no_delay_after_it() {
    let mut scene = Scene::new();
    for second in 0..10 {
        let mut fast = block(1, second, 5.0, at(7_200));
        (fast.rows[0].t, fast.clock.closed_at) = (at(3_600 + second), at(3_600 + second));
        scene.take(Record::Block(Box::new(fast)));
    }
    scene.take(Record::Chain { epoch: 2, last: 10 });
    let mut ahead = block(2, 0, 5.0, at(7_200));
    (ahead.ahead, ahead.clock.closed_at) = (true, at(10_000));
    ahead.rows.clear();
    scene.take(Record::Block(Box::new(ahead)));
    for second in 1..40 {
        scene.take(Record::Block(Box::new(block(2, second, 60.0, at(7_200 + second)))));
    }
    let said: Vec<_> = verdicts(&scene.said).iter().map(|turn| (turn.segment, turn.t)).collect();
    assert_eq!(said, [(1, at(21))]);
    assert_eq!(scene.evaluator.progress().settled_at, Some(at(39)));
}

/// An evaluator that goes on with `limit` active, raised unseen at second 0, and an order that holds from second 3,600.
fn resumed() -> Scene {
    let past = Past { chain: vec![(1, None)], next: 1, at: at(7_200), ..Past::default() };
    let (rule, since, t) = ("limit".to_owned(), at(-20), at(0));
    let raised = Move { rule, segment: 0, t, since, raised: true };
    let standing = vec![StandingAlarm { transition: raised, is_paged: false }];
    let facts = vec![FactRecord { fact: true, at: at(9_000), revision: 1 }];
    let limits = Limits::default();
    let mut evaluator = Evaluator::resumed(Small::new(), limits, &past, standing, facts);
    assert_eq!(evaluator.series().number(&"a".to_string()), Some(0));
    Scene { evaluator, log: Vec::new(), said: Vec::new() }
}

// The first block that an evaluator meets is ahead of time: its closing time is not the present. Nobody is paged for what
// was raised hours ago, and time does not run on from there.
#[test]
fn a_first_block_ahead_of_time_is_no_present() {
    let mut scene = resumed();
    let mut ahead = block(1, 0, 60.0, at(7_200));
    (ahead.ahead, ahead.clock.closed_at) = (true, at(9_000));
    ahead.rows.clear();
    scene.take(Record::Block(Box::new(ahead)));
    (7_201..7_300).for_each(|second| scene.tick(at(second)));
    assert!(scene.said.is_empty(), "{:?}", scene.said);
    // What holds in the first block of the present pages.
    scene.block(7_201, 60.0, at(7_301));
    scene.take(Record::Gone(vec![Span { epoch: 1, from: 2, to: 7_201 }]));
    assert_eq!(scene.duty(), [(true, Page::Page, 0)]);
}

// Before an evaluator that goes on has met any block, it knows of no present: a fact pages nobody for what was raised hours
// ago.
#[test]
fn a_fact_before_the_first_block_pages_no_history() {
    let mut scene = resumed();
    scene.take(Record::Facts(vec![FactRecord { fact: true, at: at(7_200), revision: 2 }]));
    assert!(scene.duty().is_empty(), "{:?}", scene.said);
}

// Gap records and closures close holes; what comes after it was declared is never evaluated.
#[test]
fn declared_blocks_close_a_hole_and_are_not_evaluated_when_they_come_after_all() {
    let mut scene = Scene::new();
    scene.block(0, 5.0, at(0));
    scene.block(3, 5.0, at(3));
    scene.take(Record::Gone(vec![Span { epoch: 1, from: 2, to: 2 }]));
    assert_eq!(scene.evaluator.progress().waiting, 1);
    let mut gap = block(1, 4, 5.0, at(4));
    gap.gaps = vec![Span { epoch: 1, from: 3, to: 3 }];
    scene.take(Record::Block(Box::new(gap)));
    assert_eq!(scene.evaluator.progress().next, Some(BlockKey { epoch: 1, seq: 6 }));
    scene.block(1, 60.0, at(5));
    assert_eq!(scene.said, [Output::Late { key: BlockKey { epoch: 1, seq: 2 } }]);
    assert_eq!(scene.evaluator.progress().waiting, 0);
}

// Blocks beyond the place at which the centre ended an epoch are stored, not evaluated.
#[test]
fn blocks_beyond_the_end_of_an_epoch_are_skipped() {
    let mut scene = Scene::new();
    for second in [0, 1, 3] {
        scene.block(second, 5.0, at(second));
    }
    scene.take(Record::Chain { epoch: 2, last: 2 });
    assert_eq!(scene.evaluator.progress().waiting, 0);
    scene.block(2, 5.0, at(4));
    scene.take(Record::Block(Box::new(block(2, 0, 5.0, at(5)))));
    assert_eq!(scene.evaluator.progress().next, Some(BlockKey { epoch: 2, seq: 2 }));
}

// Blocks with an unset clock wait for the offset of their boot and are then timed with it.
#[test]
fn blocks_with_an_unset_clock_are_timed_once_the_offset_is_known() {
    let mut scene = Scene::new();
    for second in 0..30 {
        let mut unset = block(1, second, 60.0, at(second));
        unset.clock.unset = true;
        unset.clock.boot_offset = None;
        unset.clock.closed_at = second * 1_000;
        unset.rows[0].t = second * 1_000;
        scene.take(Record::Block(Box::new(unset)));
    }
    assert_eq!((scene.evaluator.progress().waiting, scene.said.len()), (30, 0));
    scene.block(30, 60.0, at(30));
    assert_eq!(scene.duty(), [(true, Page::Page, 20)]);
}

// Every seq of the epoch is here and none brought an offset: the time of these blocks will never be known.
#[test]
fn an_epoch_that_ended_without_an_offset_is_time_unknown() {
    let mut scene = Scene::new();
    for second in 0..2 {
        let mut unset = block(1, second, 60.0, at(second));
        unset.clock.unset = true;
        unset.clock.boot_offset = None;
        scene.take(Record::Block(Box::new(unset)));
    }
    scene.take(Record::Chain { epoch: 2, last: 3 });
    assert!(scene.said.is_empty(), "the third may still bring it");
    scene.take(Record::Gone(vec![Span { epoch: 1, from: 3, to: 3 }]));
    let unknown = |output: &Output<Move>| matches!(output, Output::TimeUnknown { .. });
    assert_eq!(scene.said.iter().filter(|output| unknown(output)).count(), 2);
    assert_eq!(scene.evaluator.progress().waiting, 0);
}

// An order entered late judges samples from its place in the log on, never those before.
#[test]
fn a_fact_takes_effect_from_where_the_settled_evaluator_met_it() {
    let mut scene = Scene::new();
    for second in 0..60 {
        scene.block(second, 20.0, at(second));
    }
    scene.take(Record::Facts(vec![FactRecord { fact: true, at: at(-3_600), revision: 7 }]));
    assert_eq!(
        scene.said,
        [Output::Placed { revision: 7, before: Some(BlockKey { epoch: 1, seq: 61 }) }]
    );
    for second in 60..90 {
        scene.block(second, 20.0, at(second));
    }
    let order = &scene.turns("order")[0].0;
    assert_eq!((order.since, order.t), (at(59), at(79)));
}

// Invariant 5: the number of waiting blocks reaches its maximum; the hole is given up, the same on every replay.
#[test]
fn a_hole_with_too_many_blocks_behind_it_is_given_up() {
    let limits = Limits { blocks: 50, bytes: 4_096 };
    let mut scene = Scene::of(fresh_with(limits));
    for second in (1..=51).chain(60..=111) {
        scene.block(second, 5.0, at(second));
        assert!(scene.evaluator.progress().waiting <= 50);
    }
    let given_up = |output: &Output<Move>| matches!(output, Output::GivenUp { .. });
    assert_eq!(scene.said.iter().filter(|output| given_up(output)).count(), 2);
    // And without any chain record: nothing has a place, the newest are let go.
    let mut lost = Scene { evaluator: fresh_with(limits), log: Vec::new(), said: Vec::new() };
    for second in 0..80 {
        lost.block(second, 5.0, at(second));
        assert!(lost.evaluator.progress().waiting <= 50);
    }
}

// A page is never decided on a sample older than the horizon, not even when the gateway's clock is an hour behind.
#[test]
fn a_gateway_an_hour_behind_is_listed_silently() {
    let mut scene = Scene::new();
    for second in 0..40 {
        scene.block(second, 60.0, at(second) + 60 * MIN);
        scene.tick(at(second) + 60 * MIN);
    }
    assert_eq!(scene.duty(), [(true, Page::LateUnsigned, 20)]);
}

// An alarm clears and comes again behind a hole while the fork, which knows the present, has it active: what is past is
// listed, and the alarm stays.
#[test]
fn what_came_and_went_behind_a_hole_never_clears_an_alarm_that_stands() {
    let mut scene = Scene::new();
    let a = |second: i64| if (20..60).contains(&second) || second >= 200 { 60.0 } else { 5.0 };
    for second in (0..10).chain(190..260) {
        scene.block(second, a(second), at(second));
    }
    assert_eq!(scene.duty(), [(true, Page::Page, 220)]);
    for second in (10..190).rev() {
        scene.block(second, a(second), at(261));
    }
    assert_eq!(scene.duty().len(), 1, "nothing moves the alarm");
    assert_eq!(scene.past(), [(40, 70, Page::LateUnsigned)]);
    assert_eq!(scene.amends(), 0);
}

// Two peaks with a hole over the end of the first and the beginning of the second: the live lane saw one alarm and its end.
// The settled one finds two. The second is listed as past, and nobody is told that it stands, or that it never was.
#[test]
fn a_peak_whose_end_was_told_is_not_told_as_standing() {
    let mut scene = Scene::new();
    let a = |second: i64| match second {
        20..100 | 130..200 => 60.0,
        _ => 5.0,
    };
    for second in (0..95).chain(170..230) {
        scene.block(second, a(second), at(second));
    }
    let told = [(true, Page::Page, 40), (false, Page::Silent(Reason::Eased), 210)];
    assert_eq!(scene.duty(), told);
    for second in (95..170).rev() {
        scene.block(second, a(second), at(231));
    }
    assert!(!scene.evaluator.progress().is_forked);
    assert_eq!(scene.duty(), told, "nothing more is told");
    assert_eq!(scene.past(), [(150, 210, Page::LateUnsigned)]);
    assert_eq!(scene.amends(), 0);
}

// The same where the live lane saw the first peak begin later than it did: its raise is corrected, and the second peak, which
// ended as it said, is listed as past. Nobody is told that it stands, or that one of them never was.
#[test]
fn a_raise_is_held_against_the_peak_that_it_was_of() {
    let mut scene = Scene::new();
    let a = |second: i64| match second {
        20..100 | 130..200 => 60.0,
        _ => 5.0,
    };
    for second in (0..10).chain(60..95).chain(170..230) {
        scene.block(second, a(second), at(second));
    }
    let told = [(true, Page::Page, 80), (false, Page::Silent(Reason::Eased), 210)];
    assert_eq!(scene.duty(), told);
    for second in (10..60).chain(95..170).rev() {
        scene.block(second, a(second), at(231));
    }
    assert!(!scene.evaluator.progress().is_forked);
    assert_eq!(scene.duty(), told, "nothing more is told");
    assert_eq!(scene.past(), [(150, 210, Page::LateUnsigned)]);
    let corrected = scene.said.iter().find_map(|output| match output {
        Output::Duty(DutyEvent::Amend { was, is, standing, .. }) => {
            Some((was.t, is.as_ref().map(|is| is.t), standing.is_some()))
        }
        _ => None,
    });
    assert_eq!(corrected, Some((at(80), Some(at(40)), false)));
    assert_eq!(scene.amends(), 1);
}

// An alarm seems to go on over a long hole in which it came and went many times: each time is listed, however many.
#[test]
fn many_peaks_behind_a_hole_are_all_listed() {
    let mut scene = Scene::new();
    let peaks = i64::try_from(UNSEEN_MAX).unwrap();
    let end = 100 * peaks;
    let a = |second: i64| if second % 100 >= 50 { 60.0 } else { 5.0 };
    for second in (0..90).chain(end + 60..end + 90) {
        scene.block(second, a(second), at(second));
    }
    assert_eq!(scene.duty(), [(true, Page::Page, 70)]);
    for second in 90..end + 60 {
        scene.block(second, a(second), at(end + 91));
    }
    let mut seen: Vec<i64> = scene.past().into_iter().map(|(from, ..)| from).collect();
    seen.extend(scene.duty().into_iter().filter(|turn| turn.0).map(|turn| turn.2));
    seen.sort_unstable();
    let all: Vec<i64> = (0..=peaks).map(|n| 100 * n + 70).collect();
    assert_eq!(seen, all);
    assert!(scene.evaluator.told().next().is_some(), "the last one stands");
}

// Several epochs get their places one after the other, the last a while later: what the live lane said on its blocks is taken
// back by none of the steps between, and it goes on meanwhile.
#[test]
fn places_that_become_known_together_contradict_nothing() {
    let mut scene = Scene::new();
    for second in (0..45).chain(46..50) {
        scene.block(second, 5.0, at(second));
    }
    let of = |epoch: u64, seq: u64, second: i64, a: f64| {
        let block = block(epoch, second, a, at(second));
        Record::Block(Box::new(Block { key: BlockKey { epoch, seq }, ..block }))
    };
    scene.take(of(2, 1, 50, 5.0));
    for (second, seq) in (51..100).zip(1..) {
        scene.take(of(3, seq, second, 60.0));
    }
    let told = [(true, Page::Page, 71)];
    assert_eq!(scene.duty(), told);
    scene.block(45, 5.0, at(100));
    scene.take(Record::Chain { epoch: 2, last: 50 });
    for (second, seq) in (100..130).zip(50..) {
        scene.take(of(3, seq, second, if second < 110 { 60.0 } else { 5.0 }));
        scene.tick(at(second));
    }
    let told = [told[0], (false, Page::Silent(Reason::Eased), 120)];
    assert_eq!(scene.duty(), told);
    scene.take(Record::Chain { epoch: 3, last: 1 });
    scene.tick(at(130));
    assert!(!scene.evaluator.progress().is_forked);
    assert_eq!((scene.duty(), scene.amends()), (told.to_vec(), 0));
}

// Invariant 5: facts that lie ahead reach their maximum. Time never moves for them; of too many, the ones worth least and
// farthest ahead go, each said, and an order among them stays.
#[test]
fn too_many_facts_ahead_drop_the_least_and_move_no_time() {
    let mut scene = Scene::new();
    let far = at(3_000_000_000);
    for second in 0..30 {
        scene.block(second, 20.0, at(second));
    }
    scene.take(Record::Facts(vec![FactRecord { fact: true, at: at(40), revision: 1 }]));
    let filed = |n: usize| FactRecord {
        fact: false,
        at: far + Ms::try_from(n).unwrap(),
        revision: n as u64 + 2,
    };
    for n in 0..FACTS_AHEAD_MAX + 1 {
        scene.take(Record::Facts(vec![filed(n)]));
    }
    let dropped = scene.said.iter().filter_map(|output| match output {
        Output::FactDropped { at } => Some(*at - far),
        _ => None,
    });
    let last = Ms::try_from(FACTS_AHEAD_MAX).unwrap();
    assert_eq!(dropped.collect::<Vec<_>>(), [last - 1, last]);
    assert_eq!(scene.evaluator.progress().settled_at, Some(at(29)));
    for second in 30..70 {
        scene.block(second, 20.0, at(second));
    }
    let order = &scene.turns("order")[0].0;
    assert_eq!((order.since, order.t), (at(40), at(60)));
}
