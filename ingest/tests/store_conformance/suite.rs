//! What every store must do, as one check per sentence. Goal: the two stores cannot be told apart by their answers.
//! Method: hand blocks to the store, ask it, compare with the model.

use std::sync::Arc;

use ingest::log::DecodedBlock;
use ingest::store::history::Grid;
use ingest::store::{
    Aggregates, HistoryAnswer, HistoryQuery, Position, Samples, Shape, Store, StoreBatch, Windows,
};
use wire::Mark;

use crate::blocks::*;

/// A store under test.
pub(crate) struct Subject {
    pub(crate) store: Box<dyn Store>,
    pub(crate) refused: Arc<Kept>,
}

pub(crate) const LOG: u64 = 77;
/// A check and its name.
pub(crate) type Check = (&'static str, fn(&mut Subject));

/// All checks.
pub(crate) const CHECKS: &[Check] = &[
    ("numbers_come_back_to_the_bit", numbers_come_back_to_the_bit),
    ("a_duplicate_changes_nothing", a_duplicate_changes_nothing),
    ("samples_out_of_order_are_answered_in_order", samples_out_of_order_are_answered_in_order),
    ("the_last_write_stands", the_last_write_stands),
    ("every_quality_is_kept_and_bad_is_no_number", every_quality_is_kept_and_bad_is_no_number),
    ("switches_are_zero_and_one", switches_are_zero_and_one),
    ("what_is_not_finite_is_bad", what_is_not_finite_is_bad),
    ("odd_names_stay_apart", odd_names_stay_apart),
    ("names_that_break_out_are_refused", names_that_break_out_are_refused),
    ("absurd_times_are_refused_and_the_rest_kept", absurd_times_are_refused_and_the_rest_kept),
    ("windows_of_any_step_match_the_samples", windows_of_any_step_match_the_samples),
    ("a_window_without_samples_is_a_gap", a_window_without_samples_is_a_gap),
    ("a_batch_handed_over_again_changes_nothing", a_batch_handed_over_again_changes_nothing),
    ("a_new_manifest_continues_the_series", a_new_manifest_continues_the_series),
    ("a_limit_cuts_and_says_so", a_limit_cuts_and_says_so),
    ("days_and_years_join", days_and_years_join),
    ("late_samples_mend_what_was_condensed", late_samples_mend_what_was_condensed),
    ("fifty_thousand_devices_are_told_apart", fifty_thousand_devices_are_told_apart),
    ("a_line_of_nothing_but_bad_samples_is_kept", a_line_of_nothing_but_bad_samples_is_kept),
    ("unreasonable_questions_are_refused", unreasonable_questions_are_refused),
];

impl Subject {
    pub(crate) fn write(&mut self, blocks: Vec<Arc<DecodedBlock>>) {
        let position = blocks.iter().map(|b| b.position).max().unwrap_or(0);
        let up_to = Position { log_id: LOG, position };
        self.store.write(&StoreBatch { up_to, blocks }).unwrap();
        assert_eq!(self.store.position().unwrap(), Some(up_to));
    }

    fn ask(&self, of: (&str, &str, &str), from: i64, to: i64, shape: Shape) -> HistoryAnswer {
        let (site, device, quantity) = (of.0.to_owned(), of.1.to_owned(), of.2.to_owned());
        let query = HistoryQuery { site, device, quantity, from, to, shape };
        self.store.reader().query(&query).unwrap()
    }

    fn raw(&self, of: (&str, &str, &str), from: i64, to: i64, limit: usize) -> Samples {
        match self.ask(of, from, to, Shape::Raw { limit }) {
            HistoryAnswer::Samples(samples) => samples,
            HistoryAnswer::Windows(_) => panic!("asked for samples"),
        }
    }

    fn windows(&self, of: (&str, &str, &str), from: i64, to: i64, step_ms: i64) -> Windows {
        match self.ask(of, from, to, Shape::Windows { step_ms, aggregates: Aggregates::ALL }) {
            HistoryAnswer::Windows(windows) => windows,
            HistoryAnswer::Samples(_) => panic!("asked for windows"),
        }
    }

    /// Raw samples and windows of several steps must be the model's.
    fn matches(&self, model: &Model, of: (&str, &str, &str), from: i64, to: i64) {
        let got = self.raw(of, from, to, 100_000);
        assert_eq!(bits(&got.rows), bits(&model.rows(from, to)), "raw of {of:?}");
        for step in [1_000, 60_000, 420_000, HOUR, 24 * HOUR] {
            if (to - from) / step < 5_000 {
                same_windows(&self.windows(of, from, to, step), model, from, to);
            }
        }
    }
}

pub(crate) fn bits(rows: &[ingest::store::SampleRow]) -> Vec<(i64, Option<u64>, wire::Quality)> {
    rows.iter().map(|r| (r.t, r.value.map(f64::to_bits), r.quality)).collect()
}

pub(crate) fn same_windows(got: &Windows, model: &Model, from: i64, to: i64) {
    let grid = Grid::new(from, to, got.step_ms).unwrap();
    assert_eq!((got.start, got.q.len()), (grid.start, grid.len));
    for (i, want) in model.windows(&grid).iter().enumerate() {
        let at = format!("window {i} of {} ms", got.step_ms);
        assert_eq!(got.min[i].map(f64::to_bits), want.min.map(f64::to_bits), "min, {at}");
        assert_eq!(got.max[i].map(f64::to_bits), want.max.map(f64::to_bits), "max, {at}");
        assert_eq!(got.last[i].map(f64::to_bits), want.last.map(f64::to_bits), "last, {at}");
        assert_eq!(got.q[i], want.q, "quality, {at}");
        assert_eq!(got.mean[i].is_some(), want.mean.is_some(), "mean, {at}");
        if let (Some(got), Some(want)) = (got.mean[i], want.mean) {
            assert!((got - want).abs() <= want.abs() * 1e-12 + 1e-12, "mean {got} {want}, {at}");
        }
    }
}

/// A number that looks like a meter's, from a fixed sequence.
fn reading(n: i64) -> f64 {
    ((n * 7_919) % 4_001 + 20_000) as f64 / 100.0
}

fn rows(from: i64, step: i64, count: i64) -> Vec<Row> {
    (0..count).map(|n| (from + n * step, vec![(reading(n + from / 1_000), GOOD)])).collect()
}

fn numbers_come_back_to_the_bit(s: &mut Subject) {
    let numbers = [
        0.1,
        -230.123,
        0.0,
        -0.0,
        1e300,
        -1e-300,
        5e-324,
        1e21,
        1e16,
        9_007_199_254_740_993.0,
        f64::MAX,
        12345.678,
    ];
    let rows: Vec<Row> =
        numbers.iter().enumerate().map(|(i, v)| (DAY + i as i64, vec![(*v, GOOD)])).collect();
    let mut model = Model::default();
    model.write(&rows, 0);
    s.write(vec![device("S", "M1", &["p_total"]).block(1, &rows)]);
    let got = s.raw(("S", "M1", "p_total"), DAY, DAY + HOUR, 100);
    assert_eq!(bits(&got.rows), bits(&model.rows(DAY, DAY + HOUR)));
}

fn a_duplicate_changes_nothing(s: &mut Subject) {
    let rows = rows(DAY, 1_000, 200);
    let mut model = Model::default();
    model.write(&rows, 0);
    let m = device("S", "M1", &["u_a"]);
    s.write(vec![m.block(1, &rows), m.block(2, &rows)]);
    s.write(vec![m.block(3, &rows[50..150])]);
    s.matches(&model, ("S", "M1", "u_a"), DAY, DAY + HOUR);
}

fn samples_out_of_order_are_answered_in_order(s: &mut Subject) {
    let m = device("S", "M1", &["u_a"]);
    let mut all = rows(DAY, 700, 600);
    let mut model = Model::default();
    model.write(&all, 0);
    all.reverse();
    for (i, some) in all.chunks(100).enumerate() {
        s.write(vec![m.block(i as u64 + 1, some)]);
    }
    s.matches(&model, ("S", "M1", "u_a"), DAY, DAY + HOUR);
}

fn the_last_write_stands(s: &mut Subject) {
    let m = device("S", "M1", &["u_a"]);
    let first: Vec<Row> = (0..100).map(|n| (DAY + n * 1_000, vec![(1.5, GOOD)])).collect();
    let second: Vec<Row> = (30..60).map(|n| (DAY + n * 1_000, vec![(2.5, GOOD)])).collect();
    let third: Vec<Row> = (40..50).map(|n| (DAY + n * 1_000, vec![(3.5, UNCERTAIN)])).collect();
    let mut model = Model::default();
    for (i, rows) in [first, second, third].iter().enumerate() {
        model.write(rows, 0);
        s.write(vec![m.block(i as u64 + 1, rows)]);
    }
    s.matches(&model, ("S", "M1", "u_a"), DAY, DAY + HOUR);
}

fn every_quality_is_kept_and_bad_is_no_number(s: &mut Subject) {
    let marks = [GOOD, UNCERTAIN, BAD, STALE, SUBSTITUTED];
    let rows: Vec<Row> = (0..400_i64)
        .map(|n| {
            let pick = |k: i64| marks[((n * k) / 7 % 5) as usize];
            (DAY + n * 5_000, vec![(reading(n), pick(1)), (reading(n + 9), pick(3)), (1.0, GOOD)])
        })
        .collect();
    let m = device("S", "M1", &["u_a", "gas_lel", "di_1"]);
    s.write(vec![m.block(1, &rows[..150])]);
    s.write(vec![m.block(2, &rows[150..])]);
    for (column, quantity) in m.quantities.iter().enumerate() {
        let mut model = Model::default();
        model.write(&rows, column);
        s.matches(&model, ("S", "M1", quantity), DAY, DAY + HOUR);
    }
}

fn switches_are_zero_and_one(s: &mut Subject) {
    let rows: Vec<Row> =
        (0..20).map(|n| (DAY + n * 60_000, vec![((n % 2) as f64, GOOD)])).collect();
    let mut model = Model::default();
    model.write(&rows, 0);
    s.write(vec![device("S", "D", &["di_airlock"]).block(1, &rows)]);
    s.matches(&model, ("S", "D", "di_airlock"), DAY, DAY + HOUR);
}

fn what_is_not_finite_is_bad(s: &mut Subject) {
    let numbers = [1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 2.0];
    let rows: Vec<Row> = numbers
        .iter()
        .enumerate()
        .map(|(i, v)| (DAY + i as i64 * 1_000, vec![(*v, GOOD)]))
        .collect();
    let mut model = Model::default();
    model.write(&rows, 0);
    s.write(vec![device("S", "D", &["t_oil"]).block(1, &rows)]);
    s.matches(&model, ("S", "D", "t_oil"), DAY, DAY + HOUR);
    assert_eq!(s.refused.0.lock().unwrap().len(), 0);
}

fn odd_names_stay_apart(s: &mut Subject) {
    let names = [
        "a b",
        "a,b",
        "a=b",
        "a\"b",
        "a\\b",
        "a\\,b",
        "电表 1#",
        "${x}",
        "a'b",
        "a",
        "..",
        "a/b",
        "a\\\\ b",
        "\\n",
        "#1",
    ];
    let blocks = names.iter().enumerate().map(|(i, name)| {
        let i = i as i64;
        device(name, name, &["u_a"]).block(1, &[(DAY + i, vec![(i as f64, GOOD)])])
    });
    s.write(blocks.collect());
    for (i, name) in names.iter().enumerate() {
        let got = s.raw((name, name, "u_a"), DAY, DAY + HOUR, 10);
        let rows: Vec<_> = got.rows.iter().map(|r| (r.t, r.value)).collect();
        assert_eq!(rows, [(DAY + i as i64, Some(i as f64))], "{name:?}");
    }
    assert_eq!(*s.refused.0.lock().unwrap(), []);
}

fn names_that_break_out_are_refused(s: &mut Subject) {
    let good = device("S", "M1", &["u_a"]).block(1, &rows(DAY, 1_000, 3));
    let bad = device("S", "M1\nelectric,device=M1,site=S u_a=9 1", &["u_a"]);
    let worse = device("S", "M2\\", &["u_a"]);
    s.write(vec![bad.block(1, &rows(DAY, 1_000, 2)), good, worse.block(1, &rows(DAY, 1_000, 4))]);
    assert_eq!(s.raw(("S", "M1", "u_a"), DAY, DAY + HOUR, 10).rows.len(), 3);
    let refused = s.refused.0.lock().unwrap();
    let refused: Vec<_> = refused.iter().map(|r| (r.code, r.samples)).collect();
    assert_eq!(refused, [("bad_name", 2), ("bad_name", 4)]);
}

fn absurd_times_are_refused_and_the_rest_kept(s: &mut Subject) {
    let one = |t: i64| (t, vec![(1.0, GOOD)]);
    let rows = [
        one(DAY),
        one(0),
        one(-5),
        one(i64::MAX),
        one(i64::MIN),
        one(DAY + 60 * HOUR),
        one(DAY + 1_000),
    ];
    s.write(vec![device("S", "M1", &["u_a"]).block(1, &rows)]);
    let times: Vec<i64> =
        s.raw(("S", "M1", "u_a"), DAY, DAY + 100 * HOUR, 10).rows.iter().map(|r| r.t).collect();
    assert_eq!(times, [DAY, DAY + 1_000]);
    let refused = s.refused.0.lock().unwrap();
    let mut refused: Vec<_> = refused.iter().map(|r| (r.code, r.samples)).collect();
    refused.sort_unstable();
    assert_eq!(refused, [("too_far_ahead", 2), ("too_old", 3)]);
}

fn windows_of_any_step_match_the_samples(s: &mut Subject) {
    let m = device("S", "M1", &["u_a"]);
    let all = rows(DAY + 17 * HOUR + 123, 1_000, 9_000);
    let mut model = Model::default();
    model.write(&all, 0);
    for (i, some) in all.chunks(2_500).enumerate() {
        s.write(vec![m.block(i as u64 + 1, some)]);
    }
    let of = ("S", "M1", "u_a");
    s.matches(&model, of, DAY + 17 * HOUR, DAY + 20 * HOUR);
    let (from, to) = (DAY + 17 * HOUR + 1_234_567, DAY + 18 * HOUR + 2_345_678);
    s.matches(&model, of, from, to);
    for step in [333, 45_000, 90_000, 300_000, 5_400_000] {
        same_windows(&s.windows(of, from, to, step), &model, from, to);
    }
}

fn a_window_without_samples_is_a_gap(s: &mut Subject) {
    let m = device("S", "M1", &["u_a"]);
    let rows = vec![
        (DAY, vec![(1.0, GOOD)]),
        (DAY + 59_999, vec![(2.0, GOOD)]),
        (DAY + 180_000, vec![(3.0, BAD)]),
    ];
    s.write(vec![m.block(1, &rows)]);
    let got = s.windows(("S", "M1", "u_a"), DAY, DAY + 300_000, 60_000);
    assert_eq!(got.last, [Some(2.0), None, None, None, None]);
    let q = [Some(wire::Quality::Good), None, None, Some(wire::Quality::Bad), None];
    assert_eq!(got.q, q);
    let nobody = s.windows(("S", "nobody", "u_a"), DAY, DAY + 300_000, 60_000);
    assert_eq!((nobody.last, nobody.q), (vec![None; 5], vec![None; 5]));
    assert_eq!(s.raw(("S", "nobody", "u_a"), DAY, DAY + 300_000, 9).rows, []);
}

fn a_batch_handed_over_again_changes_nothing(s: &mut Subject) {
    let m = device("S", "M1", &["u_a"]);
    let all = rows(DAY, 1_000, 900);
    let mut model = Model::default();
    model.write(&all, 0);
    let blocks: Vec<_> =
        all.chunks(100).enumerate().map(|(i, some)| m.block(i as u64 + 1, some)).collect();
    s.write(blocks[..4].to_vec());
    s.write(blocks[4..].to_vec());
    // The same again, as after a crash between the write and the cursor.
    let back = Position { log_id: LOG, position: 2 };
    s.store.reset_position(back).unwrap();
    assert_eq!(s.store.position().unwrap(), Some(back));
    s.write(blocks[2..7].to_vec());
    s.write(blocks[7..].to_vec());
    s.matches(&model, ("S", "M1", "u_a"), DAY, DAY + HOUR);
}

fn a_new_manifest_continues_the_series(s: &mut Subject) {
    let (old, new) = (device("S", "M1", &["u_a", "i_a"]), device("S", "M1", &["i_a", "freq"]));
    let two = |from: i64, n: i64| -> Vec<Row> {
        let row = |i: i64| (from + i * 1_000, vec![(reading(i), GOOD), (reading(i + 5), GOOD)]);
        (0..n).map(row).collect()
    };
    let mut model = Model::default();
    // Old, new, old again over the same times: the last write stands whatever the manifest.
    let writes = [
        (&old, two(DAY, 100), 1),
        (&new, two(DAY + 50_000, 100), 0),
        (&old, two(DAY + 70_000, 10), 1),
    ];
    for (i, (device, rows, column)) in writes.iter().enumerate() {
        model.write(rows, *column);
        s.write(vec![device.block(i as u64 + 1, rows)]);
    }
    s.matches(&model, ("S", "M1", "i_a"), DAY, DAY + HOUR);
}

fn a_limit_cuts_and_says_so(s: &mut Subject) {
    let all = rows(DAY, 1_000, 50);
    s.write(vec![device("S", "M1", &["u_a"]).block(1, &all)]);
    let of = ("S", "M1", "u_a");
    let first = s.raw(of, DAY, DAY + HOUR, 30);
    assert_eq!((first.rows.len(), first.truncated), (30, true));
    let rest = s.raw(of, first.rows[29].t + 1, DAY + HOUR, 30);
    assert_eq!((rest.rows.len(), rest.truncated), (20, false));
    assert_eq!(rest.rows[0].t, DAY + 30_000);
    let exact = s.raw(of, DAY, DAY + HOUR, 50);
    assert_eq!((exact.rows.len(), exact.truncated), (50, false));
}

fn days_and_years_join(s: &mut Subject) {
    let m = device("S", "M1", &["ep_imp"]);
    let mut all = rows(DAY - 10_000, 1_000, 20);
    all.extend(rows(DAY - 400 * 24 * HOUR, 1_000, 5));
    let mut model = Model::default();
    model.write(&all, 0);
    s.write(vec![m.block(1, &all)]);
    let of = ("S", "M1", "ep_imp");
    s.matches(&model, of, DAY - HOUR, DAY + HOUR);
    let (from, to) = (DAY - 401 * 24 * HOUR, DAY + HOUR);
    same_windows(&s.windows(of, from, to, 24 * HOUR), &model, from, to);
    assert_eq!(s.raw(of, from, to, 100).rows.len(), 25);
}

fn late_samples_mend_what_was_condensed(s: &mut Subject) {
    let m = device("S", "M1", &["u_a"]);
    let mut model = Model::default();
    let first = rows(DAY, 1_000, 7_200);
    model.write(&first, 0);
    s.write(first.chunks(1_800).map(|some| m.block(1, some)).collect());
    let mut late = rows(DAY + 500, 60_000, 100);
    late.push((DAY + 30_000, vec![(999.0, GOOD)]));
    model.write(&late, 0);
    s.write(vec![m.block(2, &late)]);
    s.matches(&model, ("S", "M1", "u_a"), DAY, DAY + 3 * HOUR);
}

/// Devices of one site.
const DEVICES: usize = 50_000;

fn fifty_thousand_devices_are_told_apart(s: &mut Subject) {
    let names: Vec<&'static str> =
        (0..DEVICES).map(|n| &*Box::leak(format!("M{n:05}").into_boxed_str())).collect();
    for (i, some) in names.chunks(10_000).enumerate() {
        let block = |(n, name): (usize, &&'static str)| {
            device("S", name, &["u_a"]).block(i as u64 + 1, &[one(DAY, (i * 10_000 + n) as f64)])
        };
        s.write(some.iter().enumerate().map(block).collect());
    }
    for n in [0, 1, 9_999, 10_000, 31_234, DEVICES - 1] {
        let got = s.raw(("S", names[n], "u_a"), DAY, DAY + HOUR, 10);
        let rows: Vec<_> = got.rows.iter().map(|r| (r.t, r.value)).collect();
        assert_eq!(rows, [(DAY, Some(n as f64))]);
    }
    assert_eq!(s.raw(("S", "M50000", "u_a"), DAY, DAY + HOUR, 10).rows, []);
    assert_eq!(*s.refused.0.lock().unwrap(), []);
}

/// Cells without a number: some of a row, a whole row, and a number beside them.
fn a_line_of_nothing_but_bad_samples_is_kept(s: &mut Subject) {
    let m = device("S", "M1", &["u_a", "u_b"]);
    let none = f64::NAN;
    let rows: Vec<Row> = vec![
        (DAY, vec![(none, BAD), (1.0, GOOD)]),
        (DAY + 1_000, vec![(none, BAD), (none, STALE)]),
        (DAY + 2_000, vec![(2.0, GOOD), (none, BAD)]),
    ];
    s.write(vec![m.block(1, &rows)]);
    for (column, quantity) in m.quantities.iter().enumerate() {
        let mut model = Model::default();
        model.write(&rows, column);
        s.matches(&model, ("S", "M1", quantity), DAY, DAY + HOUR);
    }
}

fn unreasonable_questions_are_refused(s: &mut Subject) {
    let ask = |from, to, shape| {
        let (site, device, quantity) = ("S".to_owned(), "M".to_owned(), "u_a".to_owned());
        let query = HistoryQuery { site, device, quantity, from, to, shape };
        s.store.reader().query(&query)
    };
    let all = Aggregates::ALL;
    assert!(ask(DAY, DAY, Shape::Raw { limit: 1 }).is_err());
    assert!(ask(-1, DAY, Shape::Raw { limit: 1 }).is_err());
    assert!(ask(DAY, i64::MAX, Shape::Raw { limit: 1 }).is_err());
    assert!(ask(DAY, DAY + HOUR, Shape::Windows { step_ms: 0, aggregates: all }).is_err());
    let error = ask(0, DAY, Shape::Windows { step_ms: 1, aggregates: all }).unwrap_err();
    assert!(error.to_string().contains("use a longer step"), "{error}");
}

/// One good sample, for checks of single stores.
pub(crate) fn one(t: i64, value: f64) -> Row {
    let mark: Mark = GOOD;
    (t, vec![(value, mark)])
}
