//! Copies what can be read of a damaged spool into a new one.
//!
//! An unacked block that was held and cannot be read becomes a loss to be declared; an acked one is
//! freed. The account is carried over, so that the balance holds; where it cannot be read it starts
//! again from what was salvaged, and the report says so.

use std::collections::BTreeMap;

use rusqlite::Connection;

use super::block::StoredBlock;
use super::losses::one;
use super::rows::Head;
use super::{Counters, EpochState, File, Intervals, Loss, OpenReport, State, epoch, open, rows};
use crate::error::Error;
use crate::file::{Opened, salvage_rows};

/// Blocks copied in one transaction.
const CHUNK: u64 = 512;

pub(super) fn copy(
    opened: Opened,
    known: Option<State>,
) -> Result<(File, State, OpenReport), Error> {
    let mut report = OpenReport { set_aside: opened.aside.clone(), ..OpenReport::default() };
    let old = opened.damaged();
    let (mut state, counted) = match (known, &old) {
        (Some(state), _) => (state, true),
        (None, Some(old)) => before(old),
        (None, None) => (State::default(), false),
    };
    let target = &opened.file;
    let fail = || target.fail("salvage into");
    target.conn.execute_batch("BEGIN IMMEDIATE").map_err(fail())?;
    let mut kept = Kept::default();
    if let Some(old) = &old {
        manifests(old, &target.conn).map_err(fail())?;
        blocks(old, target, &mut state, &mut kept)?;
    }
    report.salvaged_blocks = kept.blocks;
    report.lost_counters = !counted;
    settle(&mut state, &kept, counted, &mut report);
    let all: Vec<&EpochState> = state.epochs.values().collect();
    open::save(&target.conn, &state, &all).map_err(fail())?;
    target.conn.execute_batch("COMMIT").map_err(fail())?;
    state.clean();
    opened.done()?;
    drop(old);
    Ok((opened.file, state, report))
}

#[derive(Default)]
struct Kept {
    seqs: BTreeMap<u32, Intervals>,
    gaps: BTreeMap<u32, Intervals>,
    account: Counters,
    blocks: u64,
}

/// The state rows of the damaged file; the second value is false where the account is lost.
fn before(old: &Connection) -> (State, bool) {
    let Ok((pairs, _)) = rows::states(old) else { return (State::default(), false) };
    let counted = pairs.iter().any(|(key, _)| key == rows::COUNTERS);
    let (state, _) = open::parse(&pairs);
    (state, counted)
}

fn blocks(
    old: &Connection,
    target: &File,
    state: &mut State,
    kept: &mut Kept,
) -> Result<(), Error> {
    let sql = format!("{} WHERE h.id > ?1 ORDER BY h.id", rows::BLOCK);
    salvage_rows(old, &sql, |row| {
        let Ok(Some((block, manifest))) = rows::block_row(row) else { return Ok(()) };
        let fail = || target.fail("salvage into");
        let id: i64 = row.get(0).map_err(fail())?;
        let (no, seq) = epoch::split(id);
        // A damaged tree may lead to one page by two ways: the second time it is nothing new.
        if rows::born(&target.conn, id).map_err(fail())?.is_some() {
            return Ok(());
        }
        if !keep(state, kept, (no, seq, id), &block, manifest) {
            return Ok(());
        }
        rows::insert(&target.conn, id, &rows::as_new(&block), manifest).map_err(fail())?;
        kept.blocks += 1;
        if kept.blocks.is_multiple_of(CHUNK) {
            target.conn.execute_batch("COMMIT; BEGIN IMMEDIATE").map_err(fail())?;
        }
        Ok(())
    })?;
    Ok(())
}

/// Counts a block that was read; false where there is no interval left to hold it.
fn keep(
    state: &mut State,
    kept: &mut Kept,
    (no, seq, id): (u32, u64, i64),
    block: &StoredBlock,
    manifest: u32,
) -> bool {
    let e = state.epochs.entry(no).or_insert_with(|| EpochState {
        no,
        epoch: block.key.epoch,
        ..EpochState::default()
    });
    // A row that the sets do not hold is one that was deleted and came back with an old page.
    let known = e.held.contains(seq) || e.last < seq || e.held.is_empty();
    if e.epoch != block.key.epoch || !known {
        return false;
    }
    if kept.seqs.entry(no).or_default().insert(seq, seq).is_err() {
        return false;
    }
    if !block.gap.is_empty() && kept.gaps.entry(no).or_default().insert(seq, seq).is_err() {
        return false;
    }
    let head = Head {
        id,
        samples: u64::from(block.samples),
        t0: block.t0,
        t1: block.t1,
        manifest,
        size: block.bytes.len() as u64,
    };
    kept.account.count(e, seq, &head);
    true
}

/// Brings sets, account and losses to what was kept.
fn settle(state: &mut State, kept: &Kept, counted: bool, report: &mut OpenReport) {
    let (now, was) = (&kept.account, state.counters.clone());
    let c = &mut state.counters;
    (c.held, c.held_acked, c.held_rejected) = (now.held, now.held_acked, now.held_rejected);
    (c.held_bytes, c.acked_bytes) = (now.held_bytes, now.acked_bytes);
    c.manifests.clone_from(&now.manifests);
    if counted {
        c.freed_acked += was.held_acked.saturating_sub(now.held_acked);
        c.freed_rejected += was.held_rejected.saturating_sub(now.held_rejected);
        report.lost_samples = was.backlog().saturating_sub(now.backlog());
        c.declared += report.lost_samples;
    }
    // Rows that the old account did not know of (it is older than they are) were polled all the same.
    let stored = c.freed_acked + c.held_acked;
    c.polled = stored + c.freed_rejected + c.held_rejected + c.declared + c.backlog();
    let mut unassigned = report.lost_samples;
    for e in state.epochs.values_mut() {
        let mine = kept.seqs.get(&e.no).cloned().unwrap_or_default();
        for (from, to) in e.unacked() {
            for (from, to) in Intervals::of(from, to).without(&mine) {
                report.lost_blocks += to - from + 1;
                let samples = std::mem::take(&mut unassigned);
                let lost =
                    one(e.epoch, from, e.link, Loss::Unreadable, (i64::MAX, i64::MIN, samples));
                state.losses.add(super::GapRange { to, ..lost });
            }
        }
        e.acked = e.acked.common(&mine).into_iter().collect();
        e.rejected = e.rejected.common(&mine).into_iter().collect();
        e.gaps = kept.gaps.get(&e.no).cloned().unwrap_or_default();
        e.last = e.last.max(mine.max());
        e.held = mine;
    }
    state.losses.dirty = true;
    state.dirty = true;
}

fn manifests(old: &Connection, new: &Connection) -> rusqlite::Result<()> {
    let Ok(mut statement) = old.prepare("SELECT no, key, bytes, crc FROM manifest ORDER BY no")
    else {
        return Ok(());
    };
    let Ok(mut rows) = statement.query([]) else { return Ok(()) };
    while let Ok(Some(row)) = rows.next() {
        let read = || {
            let (key, bytes): (Vec<u8>, Vec<u8>) = (row.get(1)?, row.get(2)?);
            Ok::<_, rusqlite::Error>((row.get::<_, u32>(0)?, key, bytes, row.get::<_, u32>(3)?))
        };
        let Ok((no, key, bytes, crc)) = read() else { continue };
        if super::rows::state_crc(&key, &bytes) == crc {
            new.execute(
                "INSERT OR REPLACE INTO manifest VALUES(?1, ?2, ?3, ?4)",
                (no, key, bytes, crc),
            )?;
        }
    }
    Ok(())
}
