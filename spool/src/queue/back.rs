//! Going back to a disk that takes blocks again, after the spool had to go on in memory.

use super::{File, Spool, open, rows};
use crate::error::Error;
use crate::file::cost;

impl Spool {
    /// Moves what is held in memory to the disk that failed while running, in one transaction, and goes on there; `true`
    /// where it did. `false` where blocks are on disk already, or where the disk's file could not be kept open: then only a
    /// new start goes back.
    ///
    /// # Errors
    /// Where the disk still takes nothing: nothing is changed then.
    pub fn go_back(&mut self) -> Result<bool, Error> {
        let Some(disk) = &mut self.archive else { return Ok(false) };
        let used = self.file.used_bytes()?;
        // The bound may be passed by what memory held: the next append evicts down to it.
        disk.room_for(cost([used].into_iter()), u64::MAX, self.options.free_reserve_bytes)?;
        let (memory, state) = (&self.file, &self.state);
        let drafts: Vec<_> = state.epochs.values().collect();
        let all = super::State { dirty: true, ..state.clone() };
        disk.transact("go back to", |conn| {
            copy(memory, conn)?;
            // What was acked and evicted meanwhile, or given up, is held by no set any more.
            let mut gone = Vec::new();
            rows::each_head(conn, |head| {
                let (no, seq) = super::epoch::split(head.id);
                if !state.epochs.get(&no).is_some_and(|e| e.held.contains(seq)) {
                    gone.push(head.id);
                }
            })?;
            gone.iter().try_for_each(|id| rows::delete(conn, *id))?;
            rows::forget_epochs(conn)?;
            let mut all = all;
            all.losses.dirty = true;
            open::save(conn, &all, &drafts)
        })?;
        if let Some(disk) = self.archive.take() {
            self.file = disk;
        }
        self.memory = None;
        self.state.clean();
        self.manifests.clear();
        self.load_manifests()?;
        Ok(true)
    }
}

/// Copies blocks, manifests and rejections.
fn copy(from: &File, to: &rusqlite::Connection) -> rusqlite::Result<()> {
    let mut read = from.conn.prepare(rows::BLOCK)?;
    let mut blocks = read.query([])?;
    while let Some(row) = blocks.next()? {
        // One that fails its checksum is found damaged when it is to be sent: it is in the sets and nowhere else.
        if let Some((block, manifest)) = rows::block_row(row)? {
            rows::insert(to, row.get(0)?, &rows::as_new(&block), manifest)?;
        }
    }
    let mut read = from.conn.prepare("SELECT no, key, bytes, crc FROM manifest")?;
    let mut manifests = read.query([])?;
    while let Some(row) = manifests.next()? {
        to.execute(
            "INSERT OR REPLACE INTO manifest VALUES(?1, ?2, ?3, ?4)",
            (
                row.get::<_, u32>(0)?,
                row.get::<_, Vec<u8>>(1)?,
                row.get::<_, Vec<u8>>(2)?,
                row.get::<_, u32>(3)?,
            ),
        )?;
    }
    let mut read = from.conn.prepare("SELECT id, code, at FROM rejected")?;
    let mut rejected = read.query([])?;
    while let Some(row) = rejected.next()? {
        to.execute(
            "INSERT OR REPLACE INTO rejected VALUES(?1, ?2, ?3)",
            (row.get::<_, i64>(0)?, row.get::<_, String>(1)?, row.get::<_, i64>(2)?),
        )?;
    }
    Ok(())
}
