//! What duty staff were told, held against what the verdict journal knows in the end: nothing missing, nothing twice.

use anyhow::Result;
use ingest::alarms::{HistoryRow, Listing, Occurrence, OccurrenceFilter, PAGE_MAX};
use rules::{Severity, Transition, TransitionKind};

use crate::clock::BASE;
use crate::edge::device_id;
use crate::fault::Fault;
use crate::world::World;

/// From a raise to its clear, as the settled evaluator found it.
#[derive(Debug)]
struct Episode {
    since: i64,
    /// Event time of the newest rise.
    newest: i64,
    /// Event time of the clear; none while it goes on.
    end: Option<i64>,
    worst: Severity,
    /// Its raise, and each time that it got worse.
    rises: usize,
}

impl Episode {
    fn overlaps(&self, since: i64, end: Option<i64>) -> bool {
        since <= self.end.unwrap_or(i64::MAX) && self.since <= end.unwrap_or(i64::MAX)
    }

    fn is_shown_by(&self, o: &Occurrence) -> bool {
        self.overlaps(o.since, o.cleared_at.filter(|_| !o.active))
    }
}

/// The episodes of one alarm, from its verdicts in order.
fn episodes(verdicts: &[Transition]) -> Vec<Episode> {
    let mut found: Vec<Episode> = Vec::new();
    for verdict in verdicts {
        let open = found.last_mut().filter(|e| e.end.is_none());
        match (verdict.kind, open) {
            (TransitionKind::Clear, Some(open)) => open.end = Some(verdict.t.max(open.newest)),
            (TransitionKind::Raise, None) => found.push(Episode {
                since: verdict.since,
                newest: verdict.t,
                end: None,
                worst: verdict.level,
                rises: 1,
            }),
            (TransitionKind::LevelUp, Some(open)) => {
                open.rises += 1;
                open.newest = verdict.t;
                open.worst = open.worst.min(verdict.level);
            }
            _ => {}
        }
    }
    found
}

/// What duty staff have of the gas alarm of one gateway.
struct Shown {
    occurrences: Vec<Occurrence>,
    history: Vec<HistoryRow>,
    pages: usize,
}

impl Shown {
    fn of(&self, episode: &Episode) -> Vec<&Occurrence> {
        self.occurrences.iter().filter(|o| episode.is_shown_by(o)).collect()
    }

    fn rows<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a HistoryRow> {
        self.history.iter().filter(move |row| row.kind == kind)
    }

    fn told(&self, episode: &Episode) -> String {
        let line = |o: &Occurrence| {
            let (since, end) = (o.since - BASE, o.cleared_at.map(|t| t - BASE));
            let (number, amends) = (o.number, o.amends.as_deref());
            format!("{number}: {since} to {end:?} {} amends {amends:?}", o.page)
        };
        let lines: Vec<_> = self.of(episode).into_iter().map(line).collect();
        let (since, end) = (episode.since - BASE, episode.end.map(|t| t - BASE));
        format!("from {since} to {end:?}, listed {lines:?}")
    }
}

fn is_never(o: &Occurrence) -> bool {
    o.amends.as_deref() == Some("never")
}

fn was_paged(o: &Occurrence) -> bool {
    o.page == "paged" || o.page == "recovered"
}

impl World {
    /// E: each leak that the journal knows is with the duty staff, once.
    pub(crate) fn check_episodes(&mut self) -> Result<()> {
        for number in 0..self.edges.len() {
            let Some(verdicts) = self.gas_verdicts(number)? else { return Ok(()) };
            let shown = self.shown(&device_id("gas", number))?;
            // In two time segments one time may come twice: nothing tells which is shown.
            if verdicts.iter().any(|t| t.segment > 0) {
                continue;
            }
            let episodes = episodes(&verdicts);
            for episode in episodes.iter().filter(|e| e.worst == Severity::Red) {
                self.check_episode(episode, &shown);
            }
            self.findings.count("alarms whose episodes were looked at", 1);
            if self.forgets() {
                continue;
            }
            let rises: usize = episodes.iter().map(|e| e.rises).sum();
            // What was corrected may have been called for as it was first seen, and as it was found to be.
            let may = rises + shown.rows("amends").count();
            self.findings.expect(shown.pages <= may, "E: more pages than rises", || {
                format!("{} for {rises} of {episodes:?}", shown.pages)
            });
        }
        Ok(())
    }

    fn check_episode(&mut self, episode: &Episode, shown: &Shown) {
        let by = shown.of(episode);
        // An older raise that a log put back brings joins the alarm that stands, in its history: taking over its time would let
        // its end be the end of the alarm.
        let joins = |kind: &str| self.has(Fault::OldLog) && matches!(kind, "raise" | "level_up");
        let is_line = |row: &&HistoryRow| row.kind == "past" || joins(&row.kind);
        let mut lines = shown.history.iter().filter(is_line).map(|row| row.event_time);
        if lines.any(|t| episode.overlaps(t, Some(t))) {
            return;
        }
        let is_once = by.iter().filter(|o| was_paged(o) && !is_never(o)).count() <= 1;
        let checks = [
            (!by.is_empty(), "E: a leak is in no list"),
            (
                by.is_empty() || !by.iter().all(|o| is_never(o)),
                "E: a leak is said never to have been",
            ),
            (
                by.is_empty() || by.iter().any(|o| o.page != "silent"),
                "E: a leak is listed as nothing to sign",
            ),
            (is_once || self.forgets(), "E: a leak is listed twice"),
        ];
        for (holds, what) in checks {
            self.findings.expect(holds, what, || shown.told(episode));
        }
    }

    /// Whether a log or a state database was put back: neither knows what came after it.
    fn forgets(&self) -> bool {
        self.has(Fault::Restore) || self.has(Fault::OldLog)
    }

    /// The verdicts of a gateway's gas alarm in order; none where the centre does not run.
    fn gas_verdicts(&self, number: usize) -> Result<Option<Vec<Transition>>> {
        let Some(running) = &self.centre.running else { return Ok(None) };
        let gas = device_id("gas", number);
        let rows = self.centre.ask(running.state.verdicts(self.edges[number].name.as_str(), 0))?;
        let all = rows.into_iter().map(|(_, row)| row.transition);
        let mut verdicts: Vec<_> =
            all.filter(|t| t.rule == "R21" && t.scope.object == gas).collect();
        verdicts.sort_by_key(|t| (t.segment, t.t));
        Ok(Some(verdicts))
    }

    fn shown(&self, gas: &str) -> Result<Shown> {
        let is_it = |o: &Occurrence| o.rule == "R21" && o.scope == gas;
        let pages = self.paged.iter().filter(|change| is_it(&change.occurrence)).count();
        let mut shown = Shown { occurrences: Vec::new(), history: Vec::new(), pages };
        let Some(running) = &self.centre.running else { return Ok(shown) };
        let (listing, limit) = (Listing::All, Some(PAGE_MAX));
        let all = OccurrenceFilter { listing, limit, ..OccurrenceFilter::default() };
        shown.occurrences = self.centre.ask(running.state.occurrences(&all))?;
        shown.occurrences.retain(is_it);
        for o in &shown.occurrences {
            shown.history.extend(self.centre.ask(running.state.occurrence_history(&o.id))?);
        }
        Ok(shown)
    }
}
