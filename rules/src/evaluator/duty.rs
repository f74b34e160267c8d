//! What duty staff have been told, and how that agrees with what the settled evaluator finds.
//!
//! Called by the evaluator with every transition of either lane; makes the [`DutyEvent`]s. It must never page for
//! history, and never let a condition that holds at the head go untold.
//!
//! - `told`: the alarms as duty staff see them.
//! - `said`: what the live lane decided and the settled one has not confirmed yet.
//! - `unseen`: what the settled lane found behind a hole while the live one had gone on.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::output::{DutyEvent, Output, Page, Reason, skip_between};
use super::resume::StandingAlarm;
use super::step::{Ms, Verdict};
use super::unseen::{Past, Unseen, is_apart, worst};

/// Age of a sample beyond which nobody is paged for it, ms (design §7).
pub const PAGE_HORIZON_MS: Ms = 15 * 60_000;
/// Most decisions of the live lane kept for comparison; beyond it the oldest is no longer compared.
pub const SAID_MAX: usize = 4_096;
/// Keys remembered as told, and turns as found.
pub const SPOKEN_MAX: usize = 1_024;
/// 橙: the mildest severity that enters the duty list late.
const ORANGE: u8 = 2;

/// When and on what a transition was decided.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    /// The centre's time of the log record.
    pub(super) now: Ms,
    /// Event time of the newest sample behind the decision; `None` before the first block whose time is believed.
    pub(super) sample_at: Option<Ms>,
}

impl Moment {
    /// Whether the newest sample is young enough to page for. Where there is none, nothing is known of the present.
    pub(super) fn is_current(self) -> bool {
        self.sample_at.is_some_and(|sample_at| self.now - sample_at <= PAGE_HORIZON_MS)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum By {
    /// The live lane took a block.
    Block,
    /// A tick found that a delay had run out.
    Tick,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(bound = "")]
struct Told<T: Verdict> {
    transition: T,
    /// Most severe level that was paged.
    paged: Option<u8>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(bound = "")]
struct Said<T: Verdict> {
    transition: T,
    by: By,
    /// How the alarm stood before it.
    before: Option<Told<T>>,
}

impl<T: Verdict> Said<T> {
    fn is_before(&self, until: (u32, Ms)) -> bool {
        place(&self.transition) < until
    }
}

/// A transition that the settled lane found: its condition, whether it stands after it, its event time.
type Found<T> = (<T as Verdict>::Condition, bool, Ms);
type Standing<T> = BTreeMap<<T as Verdict>::Condition, T>;

/// See the module.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(bound = "")]
pub(super) struct Duty<T: Verdict> {
    told: BTreeMap<T::Condition, Told<T>>,
    /// Conditions of `told` that nobody was paged for at their present level.
    quiet: BTreeSet<T::Condition>,
    said: Vec<Said<T>>,
    unseen: Unseen<T>,
    /// Keys that were told lately: none is told as new again.
    spoken: VecDeque<T::Key>,
    /// What the settled lane has found lately: none of it is told never to have been.
    found: VecDeque<Found<T>>,
}

impl<T: Verdict> Default for Duty<T> {
    fn default() -> Self {
        Self {
            told: BTreeMap::new(),
            quiet: BTreeSet::new(),
            said: Vec::new(),
            unseen: Unseen::default(),
            spoken: VecDeque::new(),
            found: VecDeque::new(),
        }
    }
}

impl<T: Verdict> Duty<T> {
    /// What duty staff know already at a start.
    pub(super) fn resumed(standing: Vec<StandingAlarm<T>>) -> Self {
        let mut duty = Self::default();
        for StandingAlarm { transition, is_paged } in standing {
            let paged = is_paged.then(|| transition.severity());
            duty.speak(transition.key());
            duty.stand(transition.condition(), transition, paged);
        }
        duty
    }

    /// The alarms as duty staff see them, each with whether they were paged for it.
    pub(super) fn told(&self) -> impl Iterator<Item = (&T, bool)> {
        self.told.values().map(|told| (&told.transition, told.paged.is_some()))
    }

    /// The live lane decided something.
    pub(super) fn live(&mut self, turn: T, by: By, at: Moment, out: &mut Vec<Output<T>>) {
        let key = turn.key();
        if let Some(said) = self.said.iter_mut().find(|said| said.transition.key() == key) {
            said.by = by;
            return;
        }
        let before = self.told.get(&turn.condition()).cloned();
        // The settled lane has found it before the live one came to it again.
        let is_told = match &before {
            Some(told) => told.transition.key() == key,
            None => !turn.turn().stands(),
        };
        if is_told {
            return;
        }
        if self.said.len() >= SAID_MAX {
            self.said.remove(0);
        }
        self.said.push(Said { transition: turn.clone(), by, before });
        let page = page_now(&turn, at);
        self.tell(turn, page, at, out);
    }

    /// The settled lane, which is the live one too, decided something.
    pub(super) fn settled(&mut self, turn: T, at: Moment, out: &mut Vec<Output<T>>) {
        self.note_found(&turn);
        if self.confirmed(&turn).is_some() || self.is_amended(&turn, at, out) {
            return;
        }
        let page = page_now(&turn, at);
        self.tell(turn, page, at, out);
    }

    /// The settled lane decided something behind a hole, while the live lane has gone on.
    pub(super) fn behind(&mut self, turn: T, at: Moment, out: &mut Vec<Output<T>>) {
        self.note_found(&turn);
        if let Some(said) = self.confirmed(&turn) {
            self.end_unseen(turn, said.before.is_some(), at, out);
            return;
        }
        let condition = turn.condition();
        let is_open = self.told.contains_key(&condition)
            || self.said.iter().any(|said| said.transition.condition() == condition);
        let is_over = !turn.turn().stands();
        if let Some(past) = self.unseen.push(turn) {
            out.push(past_event(past, at));
        }
        if is_over && !is_open {
            self.tell_unseen(&condition, (None, &[]), at, out);
        }
    }

    /// The settled lane has reached the head and becomes the live one.
    pub(super) fn join(
        &mut self,
        standing: &Standing<T>,
        settled_to: (u32, Ms),
        at: Moment,
        out: &mut Vec<Output<T>>,
    ) {
        let first = out.len();
        let conditions = self.unseen.conditions();
        let seen: Vec<_> = conditions.iter().map(|condition| self.seen_active(condition)).collect();
        self.drop_contradicted(at, out, |said| said.by == By::Block || said.is_before(settled_to));
        for (condition, seen) in conditions.iter().zip(&seen) {
            self.tell_unseen(condition, (standing.get(condition), seen), at, out);
        }
        self.reconcile(standing, at, out);
        skip_between(&mut out[first..]);
    }

    /// The live lane has passed `to` and has not confirmed what a tick decided before that.
    pub(super) fn passed(
        &mut self,
        to: (u32, Ms),
        standing: &Standing<T>,
        at: Moment,
        out: &mut Vec<Output<T>>,
    ) {
        if self.said.iter().any(|said| said.by == By::Tick && said.is_before(to)) {
            let first = out.len();
            self.drop_contradicted(at, out, |said| said.by == By::Tick && said.is_before(to));
            self.reconcile(standing, at, out);
            skip_between(&mut out[first..]);
        }
    }

    /// The head is where it is: pages what stands there and nobody was paged for.
    pub(super) fn at_head(&mut self, at: Moment, out: &mut Vec<Output<T>>) {
        if self.quiet.is_empty() || !at.is_current() {
            return;
        }
        for condition in std::mem::take(&mut self.quiet) {
            let Some(told) = self.told.get_mut(&condition) else { continue };
            told.paged = Some(told.transition.severity());
            let transition = told.transition.clone();
            out.push(turn_event(transition, Page::Page, at));
        }
    }

    /// When duty staff saw a condition as active since the hole began, by what the live lane said of it.
    fn seen_active(&self, condition: &T::Condition) -> Vec<(Ms, Ms)> {
        let mut said =
            self.said.iter().filter(|said| said.transition.condition() == *condition).peekable();
        let was_active = said.peek().is_some_and(|said| said.before.is_some());
        let (mut seen, mut from) = (Vec::new(), was_active.then_some(Ms::MIN));
        for turn in said.map(|said| &said.transition) {
            match (turn.turn().stands(), from) {
                (true, None) => from = Some(turn.time()),
                (false, Some(begin)) => {
                    seen.push((begin, turn.time()));
                    from = None;
                }
                _ => {}
            }
        }
        // Its end, if there was one, has been confirmed.
        seen.extend(from.map(|begin| (begin, Ms::MAX)));
        seen
    }

    /// Tells what was found behind a hole about one condition; `standing` is its raise where it still holds, `seen` when duty
    /// staff saw it as active. What is older than what they see now, or overlaps what they saw, is told as past: it
    /// never moves the alarm.
    fn tell_unseen(
        &mut self,
        condition: &T::Condition,
        (standing, seen): (Option<&T>, &[(Ms, Ms)]),
        at: Moment,
        out: &mut Vec<Output<T>>,
    ) {
        let turns = self.unseen.take(condition);
        for occurrence in turns.split_inclusive(|turn| !turn.turn().stands()) {
            let Some(last) = occurrence.last() else { continue };
            let told = self.told.get(condition).map(|told| place(&told.transition));
            let worst = worst(occurrence.iter());
            let is_over = !last.turn().stands();
            let is_told = is_over && self.spoken.contains(&last.key());
            let begin = occurrence[0].time();
            let was_seen = seen.iter().any(|(from, to)| begin <= *to && *from <= last.time());
            match (told, worst) {
                (Some(_), Some(worst)) if is_over => {
                    out.push(past_event((worst.clone(), last.clone()), at));
                }
                // Duty staff saw it as a part of the one that they knew.
                (None, Some(worst)) if is_told || is_over && was_seen => {
                    out.push(past_event((worst.clone(), last.clone()), at));
                }
                (Some(told), _) if place(last) < told => {
                    // A look ahead found the same later.
                    if !is_over && let Some(raise) = occurrence.iter().find(|t| t.turn().pages()) {
                        self.is_amended(raise, at, out);
                    }
                }
                (Some(_), None) if is_told => self.end_again(last, at, out),
                (None, None) => {}
                (_, worst) => {
                    let holding = standing.filter(|_| !is_over).or(worst).map(Verdict::key);
                    self.tell_occurrence(occurrence, holding.as_ref(), is_over, at, out);
                }
            }
        }
    }

    /// What was told to have ended, and was taken back, has ended.
    fn end_again(&mut self, end: &T, at: Moment, out: &mut Vec<Output<T>>) {
        let condition = end.condition();
        if let Some(told) = self.told.get(&condition).cloned() {
            self.forget(&condition);
            out.push(amend_event(told.transition, Some(end.clone()), None, at));
        }
    }

    /// Tells the turns of one occurrence; who is to be told is told of the one that `spoken` names.
    fn tell_occurrence(
        &mut self,
        occurrence: &[T],
        spoken: Option<&T::Key>,
        is_over: bool,
        at: Moment,
        out: &mut Vec<Output<T>>,
    ) {
        for turn in occurrence {
            let page = if spoken == Some(&turn.key()) {
                page_unseen(turn, is_over, at)
            } else if !turn.turn().pages() {
                Page::Silent(Reason::Eased)
            } else if turn.is_suppressed() {
                Page::Silent(Reason::Suppressed)
            } else {
                page_late(turn)
            };
            self.tell(turn.clone(), page, at, out);
        }
    }

    /// Makes what duty staff see equal to what stands, except where the live lane is ahead.
    fn reconcile(&mut self, standing: &Standing<T>, at: Moment, out: &mut Vec<Output<T>>) {
        let open: BTreeSet<T::Condition> =
            self.said.iter().map(|said| said.transition.condition()).collect();
        let gone: Vec<T::Condition> = self
            .told
            .keys()
            .filter(|condition| !standing.contains_key(*condition) && !open.contains(*condition))
            .cloned()
            .collect();
        for condition in gone {
            if let Some(told) = self.told.remove(&condition) {
                self.quiet.remove(&condition);
                let was = told.transition;
                let is = self.was_found(&was).then(|| was.clone());
                out.push(amend_event(was, is, None, at));
            }
        }
        for (condition, turn) in standing.iter().filter(|(condition, _)| !open.contains(*condition))
        {
            match self.told.get(condition) {
                Some(told) if told.transition.key() == turn.key() => {}
                Some(told) => {
                    let was = told.clone();
                    out.push(amend_event(
                        was.transition,
                        Some(turn.clone()),
                        Some(turn.clone()),
                        at,
                    ));
                    self.stand(condition.clone(), turn.clone(), was.paged);
                }
                None if self.spoken.contains(&turn.key()) => {
                    self.stand(condition.clone(), turn.clone(), None);
                    let standing = Some(turn.clone());
                    out.push(amend_event(turn.clone(), standing.clone(), standing, at));
                }
                None => {
                    let page = if turn.is_suppressed() {
                        Page::Silent(Reason::Suppressed)
                    } else if at.is_current() {
                        Page::Page
                    } else {
                        page_late(turn)
                    };
                    self.tell(turn.clone(), page, at, out);
                }
            }
        }
    }

    /// What the live lane said, where that is just this.
    fn confirmed(&mut self, turn: &T) -> Option<Said<T>> {
        let key = turn.key();
        let index = self.said.iter().position(|said| said.transition.key() == key)?;
        Some(self.said.remove(index))
    }

    /// The end that duty staff were told of is the end of an occurrence that began behind the hole: they saw the one before
    /// it go on until then. What lies between is listed as past; left open it would be told as standing.
    fn end_unseen(&mut self, end: T, was_told: bool, at: Moment, out: &mut Vec<Output<T>>) {
        if end.turn().stands() {
            return;
        }
        let condition = end.condition();
        let is_open = self.said.iter().any(|said| said.transition.condition() == condition);
        // What the live lane dated otherwise is amended when the hole has closed.
        if !was_told || is_open {
            out.extend(self.unseen.push_end(end).map(|past| past_event(past, at)));
        } else {
            let past = self.unseen.take_until(end);
            out.extend(past.into_iter().map(|past| past_event(past, at)));
        }
    }

    /// Where the live lane said the same of the same condition, but not exactly so: keeps both.
    fn is_amended(&mut self, turn: &T, at: Moment, out: &mut Vec<Output<T>>) -> bool {
        let condition = turn.condition();
        let Some(index) = self.said.iter().position(|said| {
            said.transition.condition() == condition && said.transition.turn() == turn.turn()
        }) else {
            return false;
        };
        let was = self.said.remove(index).transition;
        self.redate(&was, turn);
        if let Some(told) =
            self.told.get(&condition).filter(|told| told.transition.key() == was.key())
        {
            let paged = told.paged;
            self.stand(condition.clone(), turn.clone(), paged);
        }
        let standing = self.told.get(&condition).map(|told| told.transition.clone());
        out.push(amend_event(was, Some(turn.clone()), standing, at));
        true
    }

    /// What comes back where a later word is taken back is what was found, not what it corrected.
    fn redate(&mut self, was: &T, is: &T) {
        let key = was.key();
        let before = self.said.iter_mut().filter_map(|said| said.before.as_mut());
        for told in before.filter(|told| told.transition.key() == key) {
            told.transition = is.clone();
        }
    }

    /// Corrects what the live lane said and the settled one did not find, newest first: by what it found of the same
    /// kind instead, or by nothing.
    fn drop_contradicted(
        &mut self,
        at: Moment,
        out: &mut Vec<Output<T>>,
        is_over: impl Fn(&Said<T>) -> bool,
    ) {
        let (over, kept): (Vec<Said<T>>, Vec<Said<T>>) =
            std::mem::take(&mut self.said).into_iter().partition(is_over);
        self.said = kept;
        let all: Vec<_> = over.iter().chain(&self.said).map(|said| &said.transition).collect();
        let is_told = |key: &T::Key| self.spoken.contains(key);
        let same: Vec<_> = over
            .iter()
            .rev()
            .map(|said| {
                let of = |turn: &&&T| turn.condition() == said.transition.condition();
                let said_of = all.iter().filter(of).map(|turn| (turn.turn().stands(), turn.time()));
                self.unseen.take_same(&said.transition, &said_of.collect::<Vec<_>>(), is_told)
            })
            .collect();
        for (said, is) in over.into_iter().rev().zip(same) {
            let was = said.transition;
            // The live lane came to it again after the settled one had found it.
            if is.as_ref().is_some_and(|is| is.key() == was.key()) {
                continue;
            }
            let condition = was.condition();
            let is_last_word = match self.told.get(&condition) {
                Some(told) => told.transition.key() == was.key(),
                None => !was.turn().stands(),
            };
            match (&is, said.before) {
                _ if !is_last_word => {}
                (Some(is), _) if is.turn().stands() => {
                    let paged = self.told.get(&condition).and_then(|told| told.paged);
                    self.stand(condition.clone(), is.clone(), paged);
                }
                (None, Some(before)) => {
                    self.stand(condition.clone(), before.transition, before.paged);
                }
                (Some(_), _) | (None, None) => self.forget(&condition),
            }
            let standing = self.told.get(&condition).map(|told| told.transition.clone());
            if let Some(is) = &is {
                self.speak(is.key());
                self.redate(&was, is);
            }
            out.push(amend_event(was, is, standing, at));
        }
    }

    fn tell(&mut self, turn: T, page: Page, at: Moment, out: &mut Vec<Output<T>>) {
        let condition = turn.condition();
        if turn.turn().stands() {
            let paged = match page {
                Page::Page | Page::Recovered => Some(turn.severity()),
                Page::LateUnsigned | Page::Silent(_) => None,
            };
            let before = self.told.get(&condition).and_then(|told| told.paged);
            let paged = [paged, before].into_iter().flatten().min();
            self.stand(condition, turn.clone(), paged);
        } else {
            self.forget(&condition);
        }
        self.speak(turn.key());
        out.push(turn_event(turn, page, at));
    }

    fn speak(&mut self, key: T::Key) {
        remember(&mut self.spoken, key);
    }

    fn note_found(&mut self, turn: &T) {
        remember(&mut self.found, (turn.condition(), turn.turn().stands(), turn.time()));
    }

    /// Whether the settled lane found the condition active in the occurrence that `was` is of; it may date it otherwise.
    /// Time segments count for nothing, as in [`Unseen::take_same`].
    fn was_found(&self, was: &T) -> bool {
        let condition = was.condition();
        let of = self.found.iter().filter(|found| found.0 == condition);
        let turns: Vec<_> = of.map(|(_, stands, t)| (*stands, *t)).collect();
        let is_same = |t: Ms| !is_apart(turns.iter().copied(), true, (was.time(), t));
        turns.iter().any(|(stands, t)| *stands && is_same(*t))
    }

    fn stand(&mut self, condition: T::Condition, transition: T, paged: Option<u8>) {
        let worse = paged.is_none_or(|paged| transition.severity() < paged);
        if worse && !transition.is_suppressed() {
            self.quiet.insert(condition.clone());
        } else {
            self.quiet.remove(&condition);
        }
        self.told.insert(condition, Told { transition, paged });
    }

    fn forget(&mut self, condition: &T::Condition) {
        self.told.remove(condition);
        self.quiet.remove(condition);
    }
}

fn remember<K>(keys: &mut VecDeque<K>, key: K) {
    if keys.len() >= SPOKEN_MAX {
        keys.pop_front();
    }
    keys.push_back(key);
}

/// Where a transition is in time.
fn place<T: Verdict>(turn: &T) -> (u32, Ms) {
    (turn.segment(), turn.time())
}

/// Who is told of what the head of the gateway's data shows.
fn page_now<T: Verdict>(turn: &T, at: Moment) -> Page {
    if !turn.turn().pages() {
        Page::Silent(Reason::Eased)
    } else if turn.is_suppressed() {
        Page::Silent(Reason::Suppressed)
    } else if at.is_current() && at.now - turn.time() <= PAGE_HORIZON_MS {
        Page::Page
    } else {
        page_late(turn)
    }
}

/// Who is told of what was found behind a hole; `is_over`: it came and went.
fn page_unseen<T: Verdict>(turn: &T, is_over: bool, at: Moment) -> Page {
    if !turn.turn().pages() {
        Page::Silent(Reason::Eased)
    } else if turn.is_suppressed() {
        Page::Silent(Reason::Suppressed)
    } else if !is_over && at.is_current() {
        Page::Page
    } else if is_over && turn.severity() <= ORANGE && at.now - turn.time() <= PAGE_HORIZON_MS {
        Page::Recovered
    } else {
        page_late(turn)
    }
}

/// How a transition is listed that comes too late to page: the severe ones unsigned, so that somebody looks.
pub fn page_late<T: Verdict>(turn: &T) -> Page {
    if turn.severity() <= ORANGE { Page::LateUnsigned } else { Page::Silent(Reason::History) }
}

fn turn_event<T: Verdict>(transition: T, page: Page, at: Moment) -> Output<T> {
    let sample_at = at.sample_at.unwrap_or_else(|| transition.time());
    Output::Duty(DutyEvent::Turn { transition, page, sample_at, decided_at: at.now })
}

/// An occurrence that came and went behind a hole: listed as past, it never moves the alarm.
fn past_event<T: Verdict>((raise, clear): Past<T>, at: Moment) -> Output<T> {
    let page = page_late(&raise);
    Output::Duty(DutyEvent::Past { raise, clear, page, decided_at: at.now })
}

fn amend_event<T: Verdict>(was: T, is: Option<T>, standing: Option<T>, at: Moment) -> Output<T> {
    Output::Duty(DutyEvent::Amend { was, is, standing, decided_at: at.now })
}
