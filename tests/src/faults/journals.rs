//! What the evaluator said, held against what it had to say: the verdict journal against a fresh evaluator over the same
//! log, raises and pages against the dips that are stored.

use std::collections::BTreeMap;

use super::field::TANKS;
use super::stranger;
use super::world::{World, has_evicted, read_only};

/// The rule that the dips break.
const RULE: &str = "R24l";
/// Levels below this are a dip, %.
const DIP_BELOW: f64 = 5.0;

/// Dips of each tank, from its stored levels in the order of time; one that still lasts counts.
#[must_use]
pub fn dips(levels: &[(i64, f64)]) -> u64 {
    let low: Vec<bool> = levels.iter().map(|(_, level)| *level < DIP_BELOW).collect();
    let first = low.first().is_some_and(|l| *l);
    u64::from(first) + low.windows(2).filter(|w| !w[0] && w[1]).count() as u64
}

/// Verdict journal written = made anew. The centre must be stopped. Of a log that had to evict (its disk was full) only
/// the end can be made anew: 0 lines are compared.
///
/// # Errors
/// Where they differ: with the first line that does.
pub fn same_verdicts(world: &World) -> Result<usize, String> {
    let log =
        read_only(&world.centre.folder.join("data/log/log.db")).map_err(|e| format!("{e:#}"))?;
    if has_evicted(&log).map_err(|e| e.to_string())? {
        return Ok(0);
    }
    drop(log);
    // The devices answer on the same runtime and must not wait for a child.
    let call = |args: &[&str]| {
        tokio::task::block_in_place(|| world.centre.call(args)).map_err(|e| format!("{e:#}"))
    };
    let (printed, replayed) = (call(&["journal", "print"])?, call(&["journal", "replay"])?);
    if printed == replayed {
        return Ok(printed.lines().count());
    }
    let pairs = printed.lines().zip(replayed.lines());
    let differs = pairs.enumerate().find(|(_, (a, b))| a != b);
    Err(match differs {
        Some((line, (a, b))) => {
            format!("journals differ at line {line}:\nwritten  {a}\nreplayed {b}")
        }
        None => format!(
            "journals differ in length: {} lines written, {} replayed; last written {:?}, last replayed {:?}",
            printed.lines().count(),
            replayed.lines().count(),
            printed.lines().last(),
            replayed.lines().last()
        ),
    })
}

/// Raises and pages of the dips, counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Told {
    /// Dips that are stored.
    pub dips: u64,
    /// Raises in the verdict journal.
    pub raises: u64,
    /// Rows in the outbox.
    pub pages: u64,
}

/// One raise and one page for each dip of the works' own tanks; for the stranger's history raises and no page. The
/// centre must be stopped.
///
/// # Errors
/// Where a count is another one, or the database cannot be read.
pub fn told_once(world: &World, dips: &BTreeMap<&str, u64>) -> Result<Told, String> {
    let state = read_only(&world.state_file()).map_err(|e| format!("{e:#}"))?;
    let count = |sql: &str| -> Result<BTreeMap<String, u64>, String> {
        let run = || {
            let mut statement = state.prepare(sql)?;
            let rows = statement.query_map([format!("{RULE}%")], |r| {
                Ok((r.get::<_, String>(0)?, r.get::<_, i64>(1)?.unsigned_abs()))
            })?;
            rows.collect::<rusqlite::Result<BTreeMap<_, _>>>()
        };
        run().map_err(|e| e.to_string())
    };
    let raises = count(
        "SELECT scope, count(*) FROM verdict WHERE rule LIKE ?1 AND kind = 'raise' GROUP BY scope",
    )?;
    let pages = count(
        "SELECT o.scope, count(*) FROM outbox x JOIN occurrence o ON o.id = x.occurrence_id WHERE o.rule LIKE ?1 GROUP BY o.scope",
    )?;
    let of = |counts: &BTreeMap<String, u64>, tank: &str| counts.get(tank).copied().unwrap_or(0);
    let mut told = Told::default();
    for tank in TANKS {
        let (dips, raises, pages) =
            (dips.get(tank).copied().unwrap_or(0), of(&raises, tank), of(&pages, tank));
        (told.dips, told.raises, told.pages) =
            (told.dips + dips, told.raises + raises, told.pages + pages);
        let is_right =
            if world.clock_was_set { pages <= raises } else { raises == dips && pages == dips };
        if !is_right {
            return Err(format!(
                "{tank}: {dips} dips are stored, {raises} raises are in the verdict journal, {pages} pages in the outbox"
            ));
        }
    }
    let (raises, pages) = (of(&raises, stranger::DEVICE), of(&pages, stranger::DEVICE));
    if raises != world.stranger.dips || pages > 0 {
        return Err(format!(
            "{}: history of {} dips, {raises} raises, {pages} pages",
            stranger::DEVICE,
            world.stranger.dips
        ));
    }
    Ok(told)
}
