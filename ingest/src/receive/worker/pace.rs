//! Whether live blocks come late, so that gateways are asked to hold their backfill back.
//!
//! Blocks of all gateways lie in one queue, at the broker and in the log: what a thousand gateways send of yesterday lies
//! before an alarm of now. Two delays are watched: how old live blocks are when they are committed (the broker, this
//! thread), and how long ago the newest record was logged that the evaluator has judged.

use std::collections::VecDeque;

/// A delay from which gateways are slowed down, ms: well below the two seconds within which an alarm must come, for a
/// gateway hears of it up to a second later.
const BEHIND_MS: i64 = 750;
/// How often delays are looked at, ms.
const WINDOW_MS: i64 = 500;
/// Ages of live blocks that one look is made of.
const AGES_MAX: usize = 1_024;
/// Looks remembered to find out how long ago a record was logged: a minute, and what is older is late anyhow.
const MARKS_MAX: usize = 120;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Pace {
    looked_at: i64,
    ages: Vec<i64>,
    /// When (monotonic ms) the log ended where.
    marks: VecDeque<(i64, u64)>,
    is_behind: bool,
}

impl Pace {
    /// A live block was `age_ms` old when it was committed.
    pub(super) fn live(&mut self, age_ms: i64) {
        if self.ages.len() < AGES_MAX {
            self.ages.push(age_ms);
        }
    }

    /// Looks, where it is time to: the log ends at `head`, the evaluator has judged up to `judged`.
    pub(super) fn look(&mut self, mono_ms: i64, head: u64, judged: u64) {
        if mono_ms.saturating_sub(self.looked_at) < WINDOW_MS {
            return;
        }
        self.looked_at = mono_ms;
        // The median: one gateway with a slow link or a wrong clock says nothing of the centre.
        self.ages.sort_unstable();
        let age = self.ages.get(self.ages.len() / 2).copied().unwrap_or(0);
        self.ages.clear();
        self.marks.retain(|(_, end)| *end > judged);
        let unjudged_ms = self.marks.front().map_or(0, |(since, _)| mono_ms - since);
        if head > judged && self.marks.len() < MARKS_MAX {
            self.marks.push_back((mono_ms, head));
        }
        self.is_behind = age.max(unjudged_ms) >= BEHIND_MS;
    }

    /// Whether live blocks come late.
    pub(super) fn is_behind(&self) -> bool {
        self.is_behind
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Goal: slow while most live blocks are late, however late a single one is, and well as soon as they are not.
    #[test]
    fn the_median_of_the_ages_counts() {
        let mut pace = Pace::default();
        for age in [100, 90_000, 200, 300, 9_000] {
            pace.live(age);
        }
        pace.look(WINDOW_MS, 0, 0);
        assert!(!pace.is_behind());
        for age in [100, BEHIND_MS, 9_000] {
            pace.live(age);
        }
        pace.look(2 * WINDOW_MS - 1, 0, 0);
        assert!(!pace.is_behind(), "it is not time to look");
        pace.look(2 * WINDOW_MS, 0, 0);
        assert!(pace.is_behind());
        pace.look(3 * WINDOW_MS, 0, 0);
        assert!(!pace.is_behind(), "nothing live came since");
    }

    // Goal: slow while the evaluator has not judged what was logged a second ago; not for what is new.
    #[test]
    fn an_evaluator_that_is_behind_counts_by_time() {
        let mut pace = Pace::default();
        for (look, head, judged, behind) in [
            (1, 10, 5, false),
            (2, 20, 9, false),
            (3, 30, 9, true),
            (4, 40, 29, false),
            (6, 40, 29, true),
        ] {
            pace.look(look * WINDOW_MS, head, judged);
            assert_eq!(pace.is_behind(), behind, "look {look}");
        }
        (10..1_000).for_each(|look| pace.look(look * WINDOW_MS, 1_000, 29));
        assert!(pace.is_behind() && pace.marks.len() <= MARKS_MAX);
        pace.look(1_001 * WINDOW_MS, 1_000, 1_000);
        assert!(!pace.is_behind() && pace.marks.is_empty());
    }
}
