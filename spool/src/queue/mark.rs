//! How far the current epoch was committed, in a file of its own: damage to the database's journal must not pass unseen.
//!
//! SQLite takes a journal whose end is damaged for one that ends sooner: what was committed and synced after it is gone, and
//! nothing in the database says so. This file says so: written with [`Spool::flush`](super::Spool::flush), so that it lags
//! behind by at most one period of that, and never names what is not durable. What it names and the database lacks is
//! declared lost.
//!
//! ```text
//! spool.mark   two slots of SLOT_BYTES, written in turn and synced: generation, epoch, last, polled, backlog, link, crc
//! ```

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::block::{Link, Loss};
use super::losses::one;
use super::{EpochState, GapRange, OpenReport, State};
use crate::error::Error;

/// Bytes of one slot; one lies in a sector of its own on any disk.
const SLOT_BYTES: usize = 4_096;
/// Bytes of a slot before its checksum.
const BODY_BYTES: usize = 8 * 8;

/// What is durable.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) epoch: u64,
    pub(super) link: Option<Link>,
    /// Highest seq of it that was committed.
    pub(super) last: u64,
    /// Samples that had entered by then.
    pub(super) polled: u64,
    /// Of these, samples that the centre did not have: no more can be lost.
    pub(super) backlog: u64,
}

impl Mark {
    fn to_slot(self, generation: u64) -> Vec<u8> {
        let link = self.link.unwrap_or(Link { epoch: 0, last: 0 });
        let has_link = u64::from(self.link.is_some());
        let numbers = [
            generation,
            self.epoch,
            self.last,
            self.polled,
            self.backlog,
            has_link,
            link.epoch,
            link.last,
        ];
        let mut slot: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
        slot.extend(crc32fast::hash(&slot).to_le_bytes());
        slot.resize(SLOT_BYTES, 0);
        slot
    }

    /// Generation and mark of a slot; `None` where it was not written whole.
    fn from_slot(slot: &[u8]) -> Option<(u64, Self)> {
        let body = slot.get(..BODY_BYTES)?;
        let crc = u32::from_le_bytes(slot.get(BODY_BYTES..BODY_BYTES + 4)?.try_into().ok()?);
        if crc32fast::hash(body) != crc {
            return None;
        }
        let mut numbers = body.chunks_exact(8).map(|b| b.try_into().map_or(0, u64::from_le_bytes));
        let mut next = || numbers.next().unwrap_or(0);
        let (generation, epoch, last, polled, backlog) = (next(), next(), next(), next(), next());
        let link = (next() == 1).then(|| Link { epoch: next(), last: next() });
        Some((generation, Self { epoch, link, last, polled, backlog }))
    }
}

/// The file.
#[derive(Debug)]
pub(super) struct MarkFile {
    path: PathBuf,
    file: Option<File>,
    generation: u64,
    written: Option<Mark>,
}

impl MarkFile {
    /// The file beside a spool; none yet, or one that cannot be read, names nothing.
    pub(super) fn open(spool: &Path) -> Self {
        let path = spool.with_extension("mark");
        let mut bytes = Vec::new();
        let read = File::open(&path).and_then(|mut file| file.read_to_end(&mut bytes));
        let slots = bytes.chunks(SLOT_BYTES).take(2).filter_map(Mark::from_slot);
        let newest = slots.max_by_key(|(generation, _)| *generation).filter(|_| read.is_ok());
        let (generation, written) = newest.map_or((0, None), |(g, mark)| (g, Some(mark)));
        Self { path, file: None, generation, written }
    }

    /// What it named when it was opened, or what was written since.
    pub(super) fn mark(&self) -> Option<Mark> {
        self.written
    }

    /// Names `mark`, durably when this returns; does nothing where it is named already.
    ///
    /// # Errors
    /// Where the disk does not serve; the mark before stands.
    pub(super) fn write(&mut self, mark: Mark) -> Result<(), Error> {
        if self.written == Some(mark) {
            return Ok(());
        }
        let mut run = || {
            let file = match &mut self.file {
                Some(file) => file,
                none => none.insert(make(&self.path)?),
            };
            let generation = self.generation + 1;
            let at = (generation % 2) * SLOT_BYTES as u64;
            file.write_all_at(&mark.to_slot(generation), at)?;
            file.sync_data()
        };
        run().map_err(|source| Error::Directory {
            doing: "write",
            path: self.path.clone(),
            source,
        })?;
        self.generation += 1;
        self.written = Some(mark);
        Ok(())
    }
}

/// Opens the file for writing; a new one gets its whole size at once, so that a full disk later changes nothing.
fn make(path: &Path) -> std::io::Result<File> {
    let mut file =
        File::options().create(true).truncate(false).read(true).write(true).open(path)?;
    let size = 2 * SLOT_BYTES as u64;
    if file.metadata()?.len() < size {
        file.write_all(&vec![0; 2 * SLOT_BYTES])?;
        file.sync_all()?;
        if let Some(folder) = path.parent() {
            File::open(folder)?.sync_all()?;
        }
    }
    Ok(file)
}

impl State {
    /// Declares what was committed and is not here any more; says so in `report`.
    pub(super) fn missing(&mut self, mark: Mark, report: &mut OpenReport) {
        let known = self.epochs.values().find(|e| e.epoch == mark.epoch).map(|e| e.no);
        if known.is_none() && self.counters.polled >= mark.polled {
            // Forgotten since, not lost.
            return;
        }
        let next = self.epochs.keys().next_back().map_or(1, |n| n + 1);
        let e = self.epochs.entry(known.unwrap_or(next)).or_insert_with(|| EpochState {
            no: next,
            epoch: mark.epoch,
            link: mark.link,
            ..EpochState::default()
        });
        if mark.last <= e.last {
            return;
        }
        let samples = mark.polled.saturating_sub(self.counters.polled).min(mark.backlog);
        let lost =
            one(e.epoch, e.last + 1, e.link, Loss::Unreadable, (i64::MAX, i64::MIN, samples));
        report.lost_blocks += mark.last - e.last;
        report.lost_samples += samples;
        e.last = mark.last;
        e.dirty = true;
        self.losses.add(GapRange { to: mark.last, ..lost });
        self.counters.polled += samples;
        self.counters.declared += samples;
        self.dirty = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Goal: the newest whole slot counts, whichever it is. Method: each slot in turn is torn.
    #[test]
    fn the_newest_whole_slot_counts() {
        let dir = tempfile::TempDir::new().unwrap();
        let spool = dir.path().join("spool.db");
        let mark = |last| Mark {
            epoch: 7,
            link: Some(Link { epoch: 6, last: 9 }),
            last,
            polled: last * 10,
            backlog: last,
        };
        let mut file = MarkFile::open(&spool);
        assert_eq!(file.mark(), None);
        (1..=3).for_each(|last| file.write(mark(last)).unwrap());
        assert_eq!(MarkFile::open(&spool).mark(), Some(mark(3)));
        let path = dir.path().join("spool.mark");
        let whole = std::fs::read(&path).unwrap();
        for (torn, newest) in [(0, 3), (1, 2)] {
            let mut bytes = whole.clone();
            bytes[torn * SLOT_BYTES + 20] ^= 1;
            std::fs::write(&path, &bytes).unwrap();
            assert_eq!(MarkFile::open(&spool).mark(), Some(mark(newest)), "slot {torn} is torn");
        }
        std::fs::write(&path, b"").unwrap();
        assert_eq!(MarkFile::open(&spool).mark(), None);
        let mut file = MarkFile::open(&spool);
        file.write(Mark { epoch: 8, ..Mark::default() }).unwrap();
        assert_eq!(MarkFile::open(&spool).mark().unwrap().link, None);
    }
}
