//! The verdict journal as a fresh evaluator makes it from the log: what the journal in the state database is held against.
//!
//! Called by `davy-ingest journal replay` and by system tests. It changes nothing and needs no state database.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use rules::evaluator::{Limits, Output};

use super::centre::{Centre, Said};
use super::engines::Engines;
use super::snapshot::evaluator_of;
use crate::log::record::CentreRecord;
use crate::log::{FollowError, Follower, Found, Lineage, LogRecord, RecordBody, Shared};
use crate::state::{Snapshot, to_body};

/// In which order the blocks of a gateway are handed to the fresh evaluator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// As they arrived.
    AsLogged,
    /// As the gateway sealed them, by the chain of its epochs and seq: what would have been logged on a link that
    /// never broke. Everything else keeps its place.
    InOrder,
}

/// A follower of a log that nobody writes: from its beginning to the end it has now.
///
/// # Errors
/// When the log cannot be read.
pub fn follower_of(log: &spool::Log) -> Result<Follower, spool::Error> {
    let shared = Shared::new(log.last_position(), Lineage::default(), 0);
    Ok(Follower::new(log.reader()?, Arc::new(shared)))
}

/// Where a replay of a log that has evicted its beginning begins: what a start of the centre would be sure to find.
#[derive(Debug, Clone, Default)]
pub struct Beginnings {
    /// Of the centre itself.
    pub own: Option<Snapshot>,
    /// Of each gateway's evaluator.
    pub gateways: Vec<(String, Snapshot)>,
}

/// A replay from snapshots.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Replayed {
    /// The verdicts, as those of [`verdict_journal_of`].
    pub lines: Vec<String>,
    /// The first record that was replayed.
    pub from: u64,
    /// Gateways that were replayed, each with the newest verdict that its snapshot knew.
    pub gateways: BTreeMap<String, i64>,
    /// Gateways whose snapshot is of another version, of other rules, or of another log: nothing of them was replayed.
    pub left_out: Vec<String>,
}

/// The verdict journal of a log behind `begin`, as logged; `None` where the centre's own snapshot cannot be used, without
/// which no fact before it is known.
///
/// # Errors
/// When the log cannot be read.
pub fn verdict_journal_behind<E: Engines>(
    log: &mut Follower,
    engines: E,
    upto: u64,
    begin: Beginnings,
) -> Result<Option<Replayed>, FollowError> {
    let mut centre = Centre::new(engines, Limits::default());
    let Some(own) = begin.own.filter(|own| centre.restore_own(own)) else { return Ok(None) };
    let mut replayed = Replayed { from: own.at.position + 1, ..Replayed::default() };
    for (name, snapshot) in begin.gateways {
        let evaluator = evaluator_of(centre.version(), &snapshot);
        if evaluator.is_some_and(|evaluator| centre.restore_gateway(&name, evaluator)) {
            replayed.from = replayed.from.min(snapshot.at.position + 1);
            replayed.gateways.insert(name, snapshot.verdict_seq);
        } else {
            replayed.left_out.push(name);
        }
    }
    let (mut verdicts, mut said) = (Verdicts::default(), Vec::new());
    each_record(log, (replayed.from - 1, upto), |record, log| {
        if !replayed.left_out.contains(&record.gateway) {
            centre.take(record, log, &mut said);
        }
        verdicts.take(&mut said);
        Ok(())
    })?;
    replayed.lines = verdicts.lines();
    Ok(Some(replayed))
}

/// Verdicts, each once.
#[derive(Debug, Default)]
struct Verdicts {
    seen: BTreeSet<(String, String)>,
    lines: Vec<(String, i64, i64, String, String)>,
}

impl Verdicts {
    fn take(&mut self, said: &mut Vec<Said>) {
        for said in said.drain(..) {
            let Output::Verdict(turn) = said.output else { continue };
            let (gateway, key) = (said.gateway, turn.key().to_string());
            if self.seen.insert((gateway.clone(), key.clone())) {
                let line = format!("{gateway}\t{key}\t{}", to_body(&turn));
                self.lines.push((gateway, i64::from(turn.segment), turn.t, key, line));
            }
        }
    }

    fn lines(mut self) -> Vec<String> {
        self.lines.sort();
        self.lines.into_iter().map(|line| line.4).collect()
    }
}

/// The verdict journal of everything in a log up to `upto`, in the lines and the order of
/// [`State::verdict_lines`](crate::state::State::verdict_lines).
///
/// # Errors
/// When the log cannot be read. Of a log that has evicted its beginning see [`verdict_journal_behind`]: the records that
/// join epochs are gone, and nothing would be judged.
pub fn verdict_journal_of<E: Engines>(
    log: &mut Follower,
    engines: E,
    upto: u64,
    delivery: Delivery,
) -> Result<Vec<String>, FollowError> {
    let (instead, limits) = match delivery {
        Delivery::AsLogged => (BTreeMap::new(), Limits::default()),
        // A block that waits cannot be read again where it was handed over, so all of them stay in memory.
        Delivery::InOrder => {
            (places_in_order(log, upto)?, Limits { bytes: usize::MAX, ..Limits::default() })
        }
    };
    let mut centre = Centre::new(engines, limits);
    let (mut verdicts, mut said) = (Verdicts::default(), Vec::new());
    each_record(log, (0, upto), |record, log| {
        match instead.get(&record.position) {
            Some(other) => centre.take(&in_place_of(record, *other, log)?, log, &mut said),
            None => centre.take(record, log, &mut said),
        }
        verdicts.take(&mut said);
        Ok(())
    })?;
    Ok(verdicts.lines())
}

/// Hands over everything in a log after `after` up to `upto`, in its order.
fn each_record(
    log: &mut Follower,
    (mut after, upto): (u64, u64),
    mut take: impl FnMut(&LogRecord, &mut Follower) -> Result<(), FollowError>,
) -> Result<(), FollowError> {
    loop {
        let batch = log.next(after, Duration::ZERO)?;
        if batch.up_to == after {
            return Ok(());
        }
        after = batch.up_to;
        for record in batch.records.iter().filter(|record| record.position <= upto) {
            take(record, log)?;
        }
    }
}

/// For each place of a block in the log the place of the block that belongs there, where it is another one.
fn places_in_order(log: &mut Follower, upto: u64) -> Result<BTreeMap<u64, u64>, FollowError> {
    let mut chain: BTreeMap<(String, u64), usize> = BTreeMap::new();
    let mut blocks: BTreeMap<String, Vec<(u64, u64, u64)>> = BTreeMap::new();
    each_record(log, (0, upto), |record, _| {
        match &record.body {
            RecordBody::Block { block, .. } => blocks
                .entry(record.gateway.clone())
                .or_default()
                .push((block.block.epoch.0, block.block.seq, record.position)),
            RecordBody::Centre(CentreRecord::Chain { epoch, .. }) => {
                let place = chain.len();
                chain.entry((record.gateway.clone(), *epoch)).or_insert(place);
            }
            _ => {}
        }
        Ok(())
    })?;
    let mut instead = BTreeMap::new();
    for (gateway, blocks) in blocks {
        // Blocks of an epoch that was never joined have no place in any order: they stay behind all others.
        let place_of =
            |epoch: u64| chain.get(&(gateway.clone(), epoch)).copied().unwrap_or(usize::MAX);
        let mut ordered: Vec<_> =
            blocks.iter().map(|(epoch, seq, at)| (place_of(*epoch), *seq, *at)).collect();
        ordered.sort_unstable();
        let moved = blocks.iter().zip(&ordered).filter(|(here, there)| here.2 != there.2);
        instead.extend(moved.map(|(here, there)| (here.2, there.2)));
    }
    Ok(instead)
}

/// The block at `other`, as if it had been logged where `record` lies.
fn in_place_of(
    record: &LogRecord,
    other: u64,
    log: &mut Follower,
) -> Result<LogRecord, FollowError> {
    let body = match log.block_at(other)? {
        Found::Block { block, decided } => RecordBody::Block { block, decided },
        Found::Damaged | Found::Gone => RecordBody::Damaged,
    };
    Ok(LogRecord { body, ..record.clone() })
}
