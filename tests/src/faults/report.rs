//! What many rounds amounted to: per fault how often and how long until everything was well again.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::account::Judged;

/// Rounds with one fault.
#[derive(Debug, Clone, Copy, Default)]
struct Row {
    rounds: u64,
    total: Duration,
    worst: Duration,
}

/// The sum of all rounds.
#[derive(Debug, Default)]
pub struct Report {
    rows: BTreeMap<String, Row>,
    /// Rounds that kept every promise.
    pub kept: u64,
    /// Those that did not: what to say of each.
    pub broken: Vec<String>,
    sum: Judged,
    worlds: u64,
}

impl Report {
    /// A round whose faults took so long until data flowed again.
    pub fn round(&mut self, faults: &[(String, Duration)]) {
        self.kept += 1;
        for (name, time) in faults {
            let row = self.rows.entry(name.clone()).or_default();
            row.rounds += 1;
            row.total += *time;
            row.worst = row.worst.max(*time);
        }
    }

    /// A world that ended, with its account.
    pub fn world(&mut self, judged: &Judged) {
        let told = &mut self.sum.told;
        (told.dips, told.raises, told.pages) = (
            told.dips + judged.told.dips,
            told.raises + judged.told.raises,
            told.pages + judged.told.pages,
        );
        let sum = &mut self.sum;
        sum.sent += judged.sent;
        sum.stored += judged.stored;
        sum.quarantined += judged.quarantined;
        sum.forgiven += judged.forgiven;
        sum.declared += judged.declared;
        sum.unpolled += judged.unpolled;
        sum.verdicts += judged.verdicts;
        self.worlds += 1;
    }

    /// Takes another report in.
    pub fn add(&mut self, other: Report) {
        for (name, row) in other.rows {
            let own = self.rows.entry(name).or_default();
            own.rounds += row.rounds;
            own.total += row.total;
            own.worst = own.worst.max(row.worst);
        }
        self.kept += other.kept;
        self.broken.extend(other.broken);
        self.world(&other.sum);
        self.worlds += other.worlds.saturating_sub(1);
    }

    /// Names of the faults that happened.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.rows.keys().map(String::as_str)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<46} {:>6} {:>9} {:>9}", "fault", "times", "mean s", "worst s")?;
        for (name, row) in &self.rows {
            let times = u32::try_from(row.rounds).unwrap_or(u32::MAX).max(1);
            let mean = row.total / times;
            writeln!(
                f,
                "{name:<46} {:>6} {:>9.2} {:>9.2}",
                row.rounds,
                mean.as_secs_f64(),
                row.worst.as_secs_f64()
            )?;
        }
        let sum = &self.sum;
        writeln!(
            f,
            "{} rounds kept every promise, {} did not, in {} worlds",
            self.kept,
            self.broken.len(),
            self.worlds
        )?;
        writeln!(
            f,
            "numbers given out {}, stored once {}, quarantined {}, declared {}, in the last moment before a kill of the \
             gateway {}, answered too late to be polled {}, lost 0, doubled 0",
            sum.sent, sum.stored, sum.quarantined, sum.declared, sum.forgiven, sum.unpolled
        )?;
        writeln!(
            f,
            "dips {}, raises {}, pages {}; {} verdicts, the same when made anew",
            sum.told.dips, sum.told.raises, sum.told.pages, sum.verdicts
        )?;
        self.broken.iter().try_for_each(|words| writeln!(f, "BROKEN {words}"))
    }
}
