//! Opening, beginning an epoch, and going on when the file turns out damaged or the disk bad.

use std::path::Path;

use super::mark::Mark;
use super::rows::{self, COUNTERS, LOSSES};
use super::{
    Counters, EPOCHS_MAX, EpochState, File, GapRange, Key, Link, Losses, MarkFile, OpenReport,
    SHAPE, Spool, SpoolOptions, State, epoch, file, salvage,
};
use crate::error::Error;
use crate::log::Pair;

pub(super) const LOG_ID: &[u8] = b"log";

impl Spool {
    /// Opens `dir/spool.db`. This never fails for what lies on the disk: a damaged file is set aside
    /// and what can be read of it is copied; where the disk does not serve, blocks are held in memory and
    /// the report says why.
    ///
    /// # Errors
    /// [`Error::Busy`] where another process has the file; else only where not even a table in memory can be made.
    pub fn open(dir: &Path, options: &SpoolOptions) -> Result<(Self, OpenReport), Error> {
        match Self::open_disk(dir, options, None) {
            Ok(opened) => Ok(opened),
            // Two of one name would each sign and send blocks of their own: the second must not even begin.
            Err(busy @ Error::Busy { .. }) => Err(busy),
            Err(e) => {
                let why = file::told(&e);
                let report = OpenReport { memory: Some(why.clone()), ..OpenReport::default() };
                let file = File::memory(&Self::path(dir), &SHAPE)?;
                let mut spool = Self::with(file, State::default(), options);
                spool.memory = Some(why);
                Ok((spool, report))
            }
        }
    }

    fn open_disk(
        dir: &Path,
        options: &SpoolOptions,
        known: Option<State>,
    ) -> Result<(Self, OpenReport), Error> {
        let path = Self::path(dir);
        let opened = file::open(&path, &SHAPE, options.now_ms)?;
        let (file, mut state, mut report) = if opened.aside.is_some() {
            salvage::copy(opened, known)?
        } else {
            match load(&opened.file) {
                Ok(state) => (opened.file, state, OpenReport::default()),
                Err(Error::Damaged { .. }) => {
                    opened.file.suspect();
                    drop(opened);
                    salvage::copy(file::open(&path, &SHAPE, options.now_ms)?, known)?
                }
                Err(e) => return Err(e),
            }
        };
        let mark = MarkFile::open(&path);
        if let Some(mark) = mark.mark() {
            state.missing(mark, &mut report);
        }
        let mut spool = Self::with(file, state, options);
        spool.load_manifests()?;
        spool.load_gaps();
        Ok((spool, report))
    }

    fn with(file: File, state: State, options: &SpoolOptions) -> Self {
        let numbers = state.epochs.values().map(|e| (e.epoch, e.no)).collect();
        Self {
            mark: MarkFile::open(&file.path),
            file,
            archive: None,
            memory: None,
            options: options.clone(),
            state,
            numbers,
            current: None,
            gaps: std::collections::BTreeMap::new(),
            manifests: std::collections::HashMap::new(),
            newest_manifest: 0,
            latest_ms: options.now_ms,
            recovered: None,
        }
    }

    /// Begins an epoch, drawn by the caller; returns the predecessor, the newest epoch of which a
    /// block was stored.
    ///
    /// # Errors
    /// [`Error::OutOfTurn`] where the number was used before; disk errors.
    pub fn begin_epoch(&mut self, epoch: u64) -> Result<Option<Link>, Error> {
        if self.numbers.contains_key(&epoch) {
            return Err(Error::OutOfTurn { epoch, seq: 0, expected: 0 });
        }
        crate::fail_point!("spool.epoch");
        let link = self.predecessor();
        let no = self.state.epochs.keys().next_back().map_or(1, |n| n + 1);
        let state = EpochState { no, epoch, link, dirty: true, ..EpochState::default() };
        self.current = Some(no);
        self.numbers.insert(epoch, no);
        self.state.epochs.insert(no, state);
        while self.held_epochs() > EPOCHS_MAX && self.evict_oldest_epoch()? {}
        self.prune_epochs()?;
        self.flush()?;
        Ok(link)
    }

    fn held_epochs(&self) -> usize {
        self.state
            .epochs
            .values()
            .filter(|e| !e.held.is_empty() || Some(e.no) == self.current)
            .count()
    }

    fn predecessor(&self) -> Option<Link> {
        let stored = self.state.epochs.values().rev().find(|e| e.last > 0);
        stored.map(|e| Link { epoch: e.epoch, last: e.last })
    }

    /// Drops what is known of epochs that nothing refers to any more.
    pub(super) fn prune_epochs(&mut self) -> Result<(), Error> {
        let predecessor = self.state.epochs.values().rev().find(|e| e.last > 0).map(|e| e.no);
        let linked = self.now().and_then(|e| e.link).map(|l| l.epoch);
        let gone: Vec<u32> = self
            .state
            .epochs
            .values()
            .filter(|e| e.held.is_empty() && Some(e.no) != self.current)
            .filter(|e| Some(e.no) != predecessor && Some(e.epoch) != linked)
            .filter(|e| !self.is_named(e.epoch))
            .map(|e| e.no)
            .collect();
        if gone.is_empty() {
            return Ok(());
        }
        self.file.transact("forget epochs of", |conn| {
            for no in &gone {
                conn.execute("DELETE FROM state WHERE key = ?1", [rows::epoch_key(*no)])?;
            }
            Ok(())
        })?;
        for no in gone {
            if let Some(e) = self.state.epochs.remove(&no) {
                self.numbers.remove(&e.epoch);
            }
        }
        Ok(())
    }

    /// Sets the damaged file aside and goes on with what could be salvaged; the epoch continues.
    ///
    /// Where no new file can be made it goes on in memory.
    ///
    /// # Errors
    /// Only where not even a table in memory can be made.
    pub fn recover(&mut self) -> Result<OpenReport, Error> {
        let Some(dir) = self.file.path.parent().map(Path::to_path_buf) else {
            return Ok(OpenReport::default());
        };
        if self.memory.is_some() {
            return Ok(OpenReport::default());
        }
        self.file.suspect();
        // The damaged file must be closed before it is renamed and read by another connection.
        let path = self.file.path.clone();
        drop(std::mem::replace(&mut self.file, File::memory(&path, &SHAPE)?));
        let options = SpoolOptions { now_ms: self.latest_ms, ..self.options.clone() };
        match Self::open_disk(&dir, &options, Some(self.state.clone())) {
            Ok((mut fresh, report)) => {
                fresh.current = self.current;
                fresh.options = self.options.clone();
                fresh.recovered = Some(report.clone());
                *self = fresh;
                Ok(report)
            }
            Err(e) => {
                // The file stays marked: the next start salvages it.
                let why = file::told(&e);
                self.memory = Some(why.clone());
                let report = OpenReport { memory: Some(why), ..OpenReport::default() };
                self.recovered = Some(report.clone());
                Ok(report)
            }
        }
    }

    /// Goes on in memory because the disk cannot be written any more; what lies on it can still be
    /// read, sent and acked.
    ///
    /// # Errors
    /// Only where not even a table in memory can be made.
    pub fn fall_back(&mut self, why: &str) -> Result<(), Error> {
        if self.memory.is_none() {
            let memory = File::memory(&self.file.path, &SHAPE)?;
            self.archive = Some(std::mem::replace(&mut self.file, memory));
            self.memory = Some(why.to_owned());
            self.state.dirty = true;
            self.manifests.clear();
        }
        Ok(())
    }

    fn load_gaps(&mut self) {
        let mut found: Vec<(Key, Vec<GapRange>)> = Vec::new();
        for e in self.state.epochs.values() {
            for seq in e.gaps.iter().flat_map(|(from, to)| from..=to) {
                // One that cannot be read is found damaged when it is to be sent.
                if let Ok(Some(Some((block, _)))) = rows::read_block(&self.file.conn, e.id(seq)) {
                    found.push((block.key, block.gap));
                }
            }
        }
        self.gaps.extend(found);
    }

    /// Writes acks that are not on the disk yet, and marks apart from the database how far it is.
    ///
    /// # Errors
    /// Disk errors; nothing is lost by them but the acks' durability.
    pub fn flush(&mut self) -> Result<(), Error> {
        if !self.state.is_clean() {
            let state = &self.state;
            self.file.transact("write acks to", |conn| save(conn, state, &[]))?;
            crate::fail_point!("spool.flushed");
            self.state.clean();
        }
        let (polled, backlog) = (self.state.counters.polled, self.state.counters.backlog());
        match self.now().filter(|_| self.memory.is_none()) {
            Some(e) => {
                let mark = Mark { epoch: e.epoch, link: e.link, last: e.last, polled, backlog };
                self.mark.write(mark)
            }
            None => Ok(()),
        }
    }
}

impl State {
    fn is_clean(&self) -> bool {
        !self.dirty && !self.losses.dirty && self.epochs.values().all(|e| !e.dirty)
    }

    pub(super) fn clean(&mut self) {
        self.dirty = false;
        self.losses.dirty = false;
        self.epochs.values_mut().for_each(|e| e.dirty = false);
    }
}

/// Writes what changed, with `drafts` in place of the epochs of the same number.
pub(super) fn save(
    conn: &rusqlite::Connection,
    state: &State,
    drafts: &[&EpochState],
) -> rusqlite::Result<()> {
    for e in drafts {
        rows::put_epoch(conn, e)?;
    }
    let dirty = state.epochs.values().filter(|e| e.dirty);
    for e in dirty.filter(|e| drafts.iter().all(|d| d.no != e.no)) {
        rows::put_epoch(conn, e)?;
    }
    if state.dirty {
        rows::put_state(conn, COUNTERS, &state.counters.to_bytes())?;
        if let Some(id) = state.log_id {
            rows::put_state(conn, LOG_ID, &id.to_le_bytes())?;
        }
    }
    if state.losses.dirty {
        rows::put_state(conn, LOSSES, &GapRange::write(state.losses.ranges()))?;
    }
    Ok(())
}

fn load(file: &File) -> Result<State, Error> {
    let (pairs, lost) = rows::states(&file.conn).map_err(file.fail("load"))?;
    let broken = || {
        let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
        let words = Some("a state row fails its check".to_owned());
        file.fail("load")(rusqlite::Error::SqliteFailure(code, words))
    };
    let (state, bad) = parse(&pairs);
    if lost || bad { Err(broken()) } else { Ok(state) }
}

/// The state in these rows; the second value is true where a row did not parse.
pub(super) fn parse(pairs: &[Pair]) -> (State, bool) {
    let (mut state, mut bad) = (State::default(), false);
    for (key, value) in pairs {
        let read = match key.as_slice() {
            COUNTERS => Counters::from_bytes(value).map(|c| state.counters = c),
            LOSSES => GapRange::read(value).map(|r| state.losses = Losses::new(r)),
            LOG_ID => {
                value.as_slice().try_into().ok().map(|b| state.log_id = Some(u64::from_le_bytes(b)))
            }
            _ => EpochState::from_bytes(value)
                .filter(|e| *key == rows::epoch_key(e.no) && epoch::id(e.no, 0) >= 0)
                .map(|e| {
                    state.epochs.insert(e.no, e);
                }),
        };
        bad |= read.is_none();
    }
    (state, bad)
}
