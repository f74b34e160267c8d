//! Copies what can be read of a damaged log into a new one, positions and all.
//!
//! A block that was logged and cannot be read leaves the logged set: the centre then stops acking it
//! (its `log_id` is new at each start), and a gateway that still holds it sends it again. A block that
//! was evicted after it was settled stays in the sets, as long as these can be read.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use rusqlite::{Connection, params};

use super::txn::{write_row, write_sets, write_value};
use super::{EpochSets, LogOpenReport, POSITION_JUMP, Record, rows};
use crate::error::Error;
use crate::file::{Opened, salvage_rows};
use crate::intervals::Intervals;

/// Records copied in one transaction.
const CHUNK: u64 = 1024;

#[derive(Default)]
struct Found {
    sets: HashMap<(u32, u64), EpochSets>,
    kept: BTreeSet<(u32, u64, u64)>,
    top: u64,
    records: u64,
}

pub(super) fn copy(opened: &mut Opened) -> Result<LogOpenReport, Error> {
    let mut report = LogOpenReport { set_aside: opened.aside.clone(), ..LogOpenReport::default() };
    let old = opened.damaged();
    let target = &opened.file;
    let mut names = HashMap::new();
    let mut found = Found::default();
    target.conn.execute_batch("BEGIN IMMEDIATE").map_err(target.fail("salvage into"))?;
    if let Some(old) = &old {
        names = gateways(old, &target.conn).map_err(target.fail("salvage into"))?;
        records(old, opened, &names, &mut found)?;
        report.lost_sets |= sets(old, &names, &mut found);
        report.lost_sets |= key_values(old, opened, found.top)?;
        manifests(old, opened)?;
        report.lost_blocks = lost(&mut found);
    } else {
        report.lost_sets = true;
        let jump = POSITION_JUMP.to_le_bytes();
        write_value(&target.conn, rows::NEXT, Some(&jump)).map_err(target.fail("salvage into"))?;
    }
    crate::fail_point!("salvage.copied");
    for (no, epoch, seq) in &found.kept {
        let set = found.sets.entry((*no, *epoch)).or_default();
        // A set that is full keeps what it holds: the block is logged twice rather than lost.
        report.lost_sets |= [&mut set.logged, &mut set.covered, &mut set.held]
            .into_iter()
            .any(|s| s.insert(*seq, *seq).is_err());
    }
    let by_number: HashMap<u32, &String> = names.iter().map(|(n, i)| (*i, n)).collect();
    for ((no, epoch), set) in &found.sets {
        let Some(name) = by_number.get(no) else { continue };
        write_sets(&target.conn, name, *no, *epoch, Some(set))
            .map_err(target.fail("salvage into"))?;
    }
    target.conn.execute_batch("COMMIT").map_err(target.fail("salvage into"))?;
    report.salvaged_records = found.records;
    crate::fail_point!("salvage.committed");
    opened.done()?;
    Ok(report)
}

fn gateways(old: &Connection, new: &Connection) -> rusqlite::Result<HashMap<String, u32>> {
    let names = rows::gateways(old).unwrap_or_default();
    for (name, no) in &names {
        new.execute("INSERT OR IGNORE INTO gateway(no, name) VALUES(?1, ?2)", params![no, name])?;
    }
    Ok(names)
}

fn records(
    old: &Connection,
    opened: &Opened,
    names: &HashMap<String, u32>,
    found: &mut Found,
) -> Result<(), Error> {
    let target = &opened.file;
    let sql = format!("{} WHERE r.position > ?1 ORDER BY r.position", rows::RECORD);
    salvage_rows(old, &sql, |row| {
        let Ok(Some(r)) = rows::record_row(row) else { return Ok(()) };
        let no = names.get(&r.gateway).copied().unwrap_or(0);
        let mut copy = || {
            // A damaged tree may lead to one page by two ways: the second time it is nothing new.
            if rows::is_there(&target.conn, r.position)? {
                return Ok(());
            }
            copy_row(&target.conn, no, &r)?;
            if r.block {
                found.kept.insert((no, r.epoch, r.seq));
            }
            Ok(())
        };
        copy().map_err(target.fail("salvage into"))?;
        found.top = found.top.max(r.position);
        found.records += 1;
        if found.records.is_multiple_of(CHUNK) {
            target
                .conn
                .execute_batch("COMMIT; BEGIN IMMEDIATE")
                .map_err(target.fail("salvage into"))?;
        }
        Ok(())
    })?;
    Ok(())
}

fn copy_row(conn: &Connection, no: u32, r: &Record) -> rusqlite::Result<()> {
    let sha = r.block.then(|| super::sha16(&r.bytes));
    let crc = rows::record_crc(r.position, r.block, &r.as_new());
    write_row(conn, r.position, no, crc, sha.as_ref(), &r.as_new())
}

/// True where a set could not be read.
fn sets(old: &Connection, names: &HashMap<String, u32>, found: &mut Found) -> bool {
    let names: HashMap<u32, String> = names.iter().map(|(n, i)| (*i, n.clone())).collect();
    let Ok(mut statement) = old.prepare(rows::SETS) else { return true };
    let Ok(mut rows) = statement.query([]) else { return true };
    let mut lost = false;
    loop {
        match rows.next() {
            Ok(None) => return lost,
            Err(_) => return true,
            Ok(Some(row)) => match rows::set_row(row, &names) {
                Ok((no, epoch, set)) => {
                    found.sets.insert((no, epoch), set);
                }
                Err(_) => lost = true,
            },
        }
    }
}

/// Copies the key/value rows; true where one could not be read.
fn key_values(old: &Connection, opened: &Opened, top: u64) -> Result<bool, Error> {
    let target = &opened.file;
    let mut lost = false;
    let mut pairs: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
    if let Ok(mut statement) = old.prepare("SELECT key, value, crc FROM kv ORDER BY key") {
        let mut rows = statement.query([]).map_err(target.fail("salvage into"))?;
        loop {
            let row = match rows.next() {
                Ok(None) => break,
                Ok(Some(row)) => row,
                Err(_) => {
                    lost = true;
                    break;
                }
            };
            let read = || {
                let key: Vec<u8> = row.get(0)?;
                let value = rows::check_value(&key, row.get(1)?, row.get(2)?)?;
                Ok::<_, rusqlite::Error>((key, value))
            };
            match read() {
                Ok((key, value)) => {
                    pairs.insert(key, value);
                }
                Err(_) => lost = true,
            }
        }
    } else {
        lost = true;
    }
    if !pairs.contains_key(rows::NEXT) {
        // Cursors of other files may stand beyond what was read: go where none can have been.
        pairs.insert(rows::NEXT.to_vec(), (top + POSITION_JUMP).to_le_bytes().to_vec());
    }
    for (key, value) in &pairs {
        write_value(&target.conn, key, Some(value)).map_err(target.fail("salvage into"))?;
    }
    Ok(lost)
}

fn manifests(old: &Connection, opened: &Opened) -> Result<(), Error> {
    let Ok(mut statement) =
        old.prepare("SELECT gateway, key, bytes, crc FROM manifest ORDER BY 1, 2")
    else {
        return Ok(());
    };
    let Ok(mut rows) = statement.query([]) else { return Ok(()) };
    while let Ok(Some(row)) = rows.next() {
        let read = || {
            let (key, bytes): (Vec<u8>, Vec<u8>) = (row.get(1)?, row.get(2)?);
            let bytes = rows::check_value(&key, bytes, row.get(3)?)?;
            Ok::<_, rusqlite::Error>((row.get::<_, u32>(0)?, key, bytes))
        };
        // An unreadable manifest is asked for again when a block needs it.
        let Ok((no, key, bytes)) = read() else { continue };
        opened
            .file
            .conn
            .execute(
                "INSERT OR REPLACE INTO manifest VALUES(?1, ?2, ?3, ?4)",
                params![no, key, bytes, rows::pair_crc(&key, &bytes)],
            )
            .map_err(opened.file.fail("salvage into"))?;
    }
    Ok(())
}

/// Takes blocks that were in the log and could not be read out of the sets.
fn lost(found: &mut Found) -> u64 {
    let mut kept: HashMap<(u32, u64), Intervals> = HashMap::new();
    for (no, epoch, seq) in &found.kept {
        let set = kept.entry((*no, *epoch)).or_default();
        if set.insert(*seq, *seq).is_err() {
            // Not every kept block can be named: the others of the epoch are sent again.
            continue;
        }
    }
    let mut count = 0;
    for (key, set) in &mut found.sets {
        for (from, to) in set.held.without(&kept.remove(key).unwrap_or_default()) {
            count += to - from + 1;
            let cut = [&mut set.logged, &mut set.covered, &mut set.held]
                .into_iter()
                .all(|s| s.remove(from, to).is_ok());
            if !cut {
                // No interval left to mark it: forget the epoch, everything of it is sent again.
                *set = EpochSets::default();
                break;
            }
        }
    }
    count
}
