//! How far a gateway's blocks were settled, read from the log alone: for an evaluator whose snapshot cannot be used.
//!
//! Called at a start of the centre, when records have been evicted: the chain is known to the receiver's rows of the log,
//! what was taken by the position in the state database. Where it is not certain that a block was settled it is judged
//! again, which repeats keys that are known.

use std::collections::{BTreeMap, BTreeSet};

use rules::evaluator::{BlockKey, Past, PastBlock, Span};
use spool::{Entry, Intervals, LogReader, Place};
use wire::Block;
use wire::block::Body;

use crate::log::record::{CentreRecord, kind};
use crate::receive::gateway::{HELD_PREFIX, Kept, held_from, key_of};

/// Bytes read from the log at once.
const READ_BYTES: usize = 4 << 20;

/// What records after a position declare lost, by gateway.
pub(super) type Declared = BTreeMap<String, Vec<Span>>;

/// What the records after `position` declare lost: an evaluator that stood there did not know it.
pub(super) fn declared_after(log: &LogReader, position: u64) -> Result<Declared, spool::Error> {
    let mut declared = Declared::new();
    let mut after = position;
    loop {
        let entries = log.read_from(after, READ_BYTES, &[kind::BLOCK, kind::GONE])?;
        let Some(last) = entries.last() else { return Ok(declared) };
        after = last.position();
        for entry in &entries {
            let Entry::Record(record) = entry else { continue };
            let spans = spans_of(record);
            if !spans.is_empty() {
                declared.entry(record.gateway.clone()).or_default().extend(spans);
            }
        }
    }
}

fn spans_of(record: &spool::Record) -> Vec<Span> {
    if record.kind == kind::BLOCK {
        let Ok(Block { body: Body::Gap(gap), .. }) = Block::decode(&record.bytes) else {
            return Vec::new();
        };
        let span = |r: &wire::block::GapRange| Span { epoch: r.epoch.0, from: r.from, to: r.to };
        return gap.ranges.iter().map(span).collect();
    }
    match CentreRecord::decode(record) {
        Ok(CentreRecord::Gone(gone)) => {
            gone.iter().map(|g| Span { epoch: g.epoch, from: g.from, to: g.to }).collect()
        }
        _ => Vec::new(),
    }
}

/// What the receiver's row says of a gateway; empty where there is none, or none that can be read.
pub(super) fn kept(log: &LogReader, gateway: &str) -> Result<Kept, spool::Error> {
    let bytes = log.get(&key_of(gateway))?;
    Ok(bytes.and_then(|bytes| Kept::decode(&bytes).ok()).unwrap_or_default())
}

/// The epochs of a gateway that records after `position` join to its chain.
pub(super) fn joined_after(
    log: &LogReader,
    gateway: &str,
    position: u64,
) -> Result<BTreeSet<u64>, spool::Error> {
    let mut joined = BTreeSet::new();
    let mut after = position;
    loop {
        let entries = log.read_from(after, READ_BYTES, &[kind::CHAIN])?;
        let Some(last) = entries.last() else { return Ok(joined) };
        after = last.position();
        for entry in entries {
            if let Entry::Record(record) = entry
                && record.gateway == gateway
            {
                joined.insert(record.epoch);
            }
        }
    }
}

/// Whether a block that an evaluator at `position` needs next is neither in the log nor expected by the receiver, and no
/// record to come declares it.
pub(super) fn is_gone(
    log: &LogReader,
    kept: &Kept,
    (gateway, next): (&str, BlockKey),
    position: u64,
) -> Result<bool, spool::Error> {
    let joined = kept.chain.find(next.epoch);
    let is_covered = match joined.filter(|j| j.complete).and_then(|j| j.last) {
        Some(last) => next.seq <= last,
        None => log.sets(gateway, next.epoch)?.is_some_and(|s| s.covered.contains(next.seq)),
    };
    if !is_covered || log.block(gateway, next.epoch, next.seq)?.is_some() {
        return Ok(false);
    }
    let declared = declared_after(log, position)?;
    let spans = declared.get(gateway).map_or(&[][..], Vec::as_slice);
    let is_here = |s: &Span| s.epoch == next.epoch && (s.from..=s.to).contains(&next.seq);
    Ok(!spans.iter().any(is_here))
}

/// How far an evaluator was that had taken every record up to `taken`.
pub(super) fn past(
    log: &LogReader,
    gateway: &str,
    taken: u64,
    declared: &Declared,
) -> Result<Past, spool::Error> {
    let kept = kept(log, gateway)?;
    let held: BTreeMap<u64, u64> = log
        .scan(format!("{HELD_PREFIX}{gateway}/").as_bytes())?
        .iter()
        .filter_map(|(key, value)| held_from(key, value))
        .map(|(_, held)| (held.position, held.boot))
        .collect();
    let mut blocks: BTreeMap<u64, Vec<Place>> = BTreeMap::new();
    for place in log.blocks(gateway)? {
        blocks.entry(place.epoch).or_default().push(place);
    }
    let declared = declared.get(gateway).map_or(&[][..], Vec::as_slice);
    let mut past = Past { position: taken, offsets: kept.boots.into(), ..Past::default() };
    for joined in kept.chain.joined() {
        let covered = match joined.last.filter(|_| joined.complete) {
            Some(last) => Intervals::of(1, last),
            None => log.sets(gateway, joined.epoch)?.map(|s| s.covered).unwrap_or_default(),
        };
        let here = blocks.get(&joined.epoch).map_or(&[][..], Vec::as_slice);
        if past.chain.is_empty() {
            let open = here.iter().find(|b| b.position > taken || held.contains_key(&b.position));
            let late = declared.iter().filter(|s| s.epoch == joined.epoch).map(|s| s.from).min();
            let next = (covered.upto() + 1).min(open.map_or(u64::MAX, |b| b.seq));
            let next = next.min(late.unwrap_or(u64::MAX)).max(1);
            if joined.last.is_some_and(|last| next > last) {
                past.passed.push(joined.epoch);
                blocks.remove(&joined.epoch);
                continue;
            }
            past.next = next;
        }
        let from = if past.chain.is_empty() { past.next } else { 1 };
        past.chain.push((joined.epoch, joined.last));
        let gone = absent(&covered, here, from).into_iter();
        past.gone.extend(gone.map(|(from, to)| Span { epoch: joined.epoch, from, to }));
        if let Some(here) = blocks.get_mut(&joined.epoch) {
            here.retain(|b| b.seq >= from);
        }
    }
    past.waiting = blocks
        .into_values()
        .flatten()
        .filter(|b| b.position <= taken)
        .map(|b| PastBlock {
            epoch: b.epoch,
            seq: b.seq,
            position: b.position,
            unset: held.get(&b.position).copied(),
        })
        .collect();
    Ok(past)
}

/// The ranges from `from` on that are covered and have no record.
fn absent(covered: &Intervals, here: &[Place], from: u64) -> Vec<(u64, u64)> {
    let mut absent = Vec::new();
    let mut next = here.partition_point(|b| b.seq < from);
    for (first, last) in covered.iter() {
        let mut at = first.max(from);
        next += here[next..].partition_point(|b| b.seq < at);
        while let Some(block) = here.get(next).filter(|b| b.seq <= last) {
            if at < block.seq {
                absent.push((at, block.seq - 1));
            }
            at = block.seq + 1;
            next += 1;
        }
        if at <= last {
            absent.push((at, last));
        }
    }
    absent
}
