//! What the settled lane found behind a hole while the live one had gone on: kept by condition until the hole closes.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use super::step::{Ms, Verdict};

/// Most unseen transitions kept of one condition; beyond it the oldest occurrences are told as past at once.
pub const UNSEEN_MAX: usize = 64;

/// See the module.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(bound = "", transparent)]
pub(super) struct Unseen<T: Verdict>(BTreeMap<T::Condition, Vec<T>>);

impl<T: Verdict> Default for Unseen<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

/// An occurrence that came and went: its worst raise, its end.
pub(super) type Past<T> = (T, T);

impl<T: Verdict> Unseen<T> {
    /// Every condition that something was found of.
    pub(super) fn conditions(&self) -> Vec<T::Condition> {
        self.0.keys().cloned().collect()
    }

    /// Keeps a transition; gives the oldest occurrence where there are too many.
    pub(super) fn push(&mut self, turn: T) -> Option<Past<T>> {
        let list = self.0.entry(turn.condition()).or_default();
        let mut past = None;
        if list.len() >= UNSEEN_MAX {
            past = take_oldest(list);
            // One that goes up and down without an end: what lies between says least.
            if past.is_none() {
                list.remove(UNSEEN_MAX / 2);
            }
        }
        list.push(turn);
        past
    }

    /// Everything that was found of a condition, in order.
    pub(super) fn take(&mut self, condition: &T::Condition) -> Vec<T> {
        self.0.remove(condition).unwrap_or_default()
    }

    /// Keeps an end that was told already, where anything was found before it: as [`Unseen::push`].
    pub(super) fn push_end(&mut self, end: T) -> Option<Past<T>> {
        if self.0.contains_key(&end.condition()) { self.push(end) } else { None }
    }

    /// The occurrences of a condition that began behind the hole, the last one ended by `end`.
    pub(super) fn take_until(&mut self, end: T) -> Vec<Past<T>> {
        let mut turns = self.take(&end.condition());
        turns.push(end);
        let whole = turns.split_inclusive(|turn| !turn.turn().stands());
        let past =
            whole.filter_map(|turns| Some((worst(turns.iter())?.clone(), turns.last()?.clone())));
        past.collect()
    }

    /// What was found in place of `was`: the nearest transition that moves the condition the same way, of the same
    /// occurrence; not one that was told, but for `was` itself. `said`: what the live lane said of the condition, each with
    /// whether it stood after that. Time segments count for nothing here: behind a hole the live lane may not know of one.
    pub(super) fn take_same(
        &mut self,
        was: &T,
        said: &[(bool, Ms)],
        is_told: impl Fn(&T::Key) -> bool,
    ) -> Option<T> {
        let condition = was.condition();
        let list = self.0.get_mut(&condition)?;
        let stands = was.turn().stands();
        let found: Vec<_> = list.iter().map(|turn| (turn.turn().stands(), turn.time())).collect();
        let is_apart = |a, b| is_apart(found.iter().chain(said).copied(), stands, (a, b));
        let at = was.time();
        let same = list.iter().enumerate().filter(|(_, turn)| turn.turn() == was.turn());
        let same = same.filter(|(_, turn)| {
            let key = turn.key();
            key == was.key() || !is_told(&key) && !is_apart(turn.time(), at)
        });
        let (index, _) = same.min_by_key(|(_, turn)| turn.time().abs_diff(at))?;
        // An end stays: without it what it ends would seem to go on.
        if !stands {
            return Some(list[index].clone());
        }
        let found = list.remove(index);
        self.drop_empty(&condition);
        Some(found)
    }

    fn drop_empty(&mut self, condition: &T::Condition) {
        if self.0.get(condition).is_some_and(Vec::is_empty) {
            self.0.remove(condition);
        }
    }
}

/// Whether a condition turned round between two times at which it moved the same way: they are of two occurrences. `turns`:
/// whether it stood after each turn, and when that was; `stands`: whether it did after the two.
pub(super) fn is_apart(
    mut turns: impl Iterator<Item = (bool, Ms)>,
    stands: bool,
    (a, b): (Ms, Ms),
) -> bool {
    turns.any(|(stood, at)| stood != stands && a.min(b) < at && at < a.max(b))
}

/// The worst raise of an occurrence.
pub(super) fn worst<'a, T: Verdict>(occurrence: impl Iterator<Item = &'a T>) -> Option<&'a T> {
    occurrence.filter(|turn| turn.turn().pages()).min_by_key(|turn| turn.severity())
}

/// Takes the oldest occurrence that began and ended here.
fn take_oldest<T: Verdict>(list: &mut Vec<T>) -> Option<Past<T>> {
    let mut from = 0;
    while let Some(length) = list[from..].iter().position(|turn| !turn.turn().stands()) {
        let upto = from + length;
        if let Some(raise) = worst(list[from..upto].iter()).cloned() {
            let end = list.drain(from..=upto).next_back()?;
            return Some((raise, end));
        }
        from = upto + 1;
    }
    None
}
