//! A cursor over the log: the newest records from memory, older ones read and decoded again.
//!
//! The store writer and the evaluator own one each, in a thread of their own; every call blocks.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use spool::{Entry, LogReader, Record};

use super::decode::{DecodeBlockError, Decoder};
use super::record::{BlockMeta, CentreRecord, Decided, RecordError, kind};
use super::{DecodedBlock, Lineage, LogRecord, RecordBody, Tail};

/// Bytes read from the log at once.
const READ_BYTES: usize = 4 << 20;
/// Records given at once.
const BATCH_RECORDS_MAX: usize = 2_048;
/// Samples after which no further record is given: 8 bytes each, 16 MiB. Bytes alone bound nothing, quiet plants compress
/// to a tenth of a byte a sample.
const BATCH_SAMPLES_MAX: usize = 2 << 20;
/// Damaged records reported between two rounds of the receiver.
const DAMAGED_MAX: usize = 4_096;

/// What the receiver and the followers share.
#[derive(Debug)]
pub struct Shared {
    /// The newest records.
    pub tail: Tail,
    /// The starts of the centre on this log.
    pub lineage: Lineage,
    damaged: Mutex<BTreeSet<u64>>,
}

impl Shared {
    /// Of a log whose last position is `head`.
    #[must_use]
    pub fn new(head: u64, lineage: Lineage, samples_max: usize) -> Self {
        Self { tail: Tail::new(head, samples_max), lineage, damaged: Mutex::default() }
    }

    /// Notes that the record at `position` cannot be read.
    pub fn report_damaged(&self, position: u64) {
        let mut damaged = self.damaged.lock().unwrap_or_else(PoisonError::into_inner);
        if damaged.len() < DAMAGED_MAX {
            damaged.insert(position);
        }
    }

    /// Positions that a follower could not read since the last call: the receiver takes them out of the log.
    #[must_use]
    pub fn take_damaged(&self) -> BTreeSet<u64> {
        std::mem::take(&mut self.damaged.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Why the log cannot be followed just now.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// The file cannot be read.
    #[error("the log cannot be read")]
    Log(#[source] spool::Error),
    /// A page of the file is damaged.
    #[error("the log's page with record {position} cannot be read: {why}")]
    Damage {
        /// The record.
        position: u64,
        /// What the log said.
        why: String,
    },
    /// A record is of a newer program.
    #[error("a record of the log cannot be understood")]
    Record(#[source] RecordError),
    /// A block cannot be decoded.
    #[error("a block of the log cannot be decoded")]
    Block(#[source] DecodeBlockError),
}

impl FollowError {
    /// Whether the file is damaged: only opening it again helps, which sets it aside and salvages what can be read.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Log(error) | Self::Block(DecodeBlockError::Log { source: error, .. }) => {
                error.class() == spool::Class::Reopen
            }
            Self::Damage { .. } => true,
            Self::Record(_) | Self::Block(_) => false,
        }
    }
}

/// Records after a position, in order.
#[derive(Debug, Default)]
pub struct Batch {
    /// The records; evicted positions are absent.
    pub records: Vec<Arc<LogRecord>>,
    /// Everything up to here has been looked at: where to go on from.
    pub up_to: u64,
}

/// A block that was looked for at its position.
#[derive(Debug, Clone)]
pub enum Found {
    /// It is there.
    Block {
        /// The block.
        block: Arc<DecodedBlock>,
        /// What was decided about it at receive.
        decided: Decided,
    },
    /// It cannot be read; the receiver takes it out of the log, and a gateway that still holds it sends again.
    Damaged,
    /// It is not in the log.
    Gone,
}

/// One cursor's view of the log.
#[derive(Debug)]
pub struct Follower {
    reader: LogReader,
    decoder: Decoder,
    shared: Arc<Shared>,
    damage: Option<FollowError>,
}

impl Follower {
    /// A follower with its own connection to the log.
    #[must_use]
    pub fn new(reader: LogReader, shared: Arc<Shared>) -> Self {
        Self { reader, decoder: Decoder::default(), shared, damage: None }
    }

    /// What the receiver shares with its followers.
    #[must_use]
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The log itself, for what a cursor must know of it at a start.
    #[must_use]
    pub fn reader(&self) -> &LogReader {
        &self.reader
    }

    /// The records after `after`; waits up to `wait` for the first. An empty batch with `up_to == after` means none came.
    ///
    /// # Errors
    /// [`FollowError`]; asking again later may help.
    pub fn next(&mut self, after: u64, wait: Duration) -> Result<Batch, FollowError> {
        let head = self.shared.tail.wait_beyond(after, wait);
        if head <= after {
            return Ok(Batch { records: Vec::new(), up_to: after });
        }
        let most = (BATCH_RECORDS_MAX, BATCH_SAMPLES_MAX);
        if let Some(records) = self.shared.tail.after(after, most) {
            let up_to = records.last().map_or(after, |r| r.position);
            return Ok(Batch { records, up_to });
        }
        let entries = self.reader.read_from(after, READ_BYTES, &[]).map_err(FollowError::Log)?;
        spool::fail_point!("follow.read");
        // Nothing there although the head is beyond: all of it was evicted.
        let mut up_to = entries.last().map_or(head, Entry::position);
        let (mut records, mut samples) = (Vec::new(), 0);
        for entry in entries {
            if samples >= BATCH_SAMPLES_MAX {
                up_to = records.last().map_or(after, |r: &Arc<LogRecord>| r.position);
                break;
            }
            let record = self.decode(entry)?;
            samples += record.sample_count();
            records.push(record);
        }
        Ok(Batch { records, up_to })
    }

    /// The blocks at `positions`, in order; evicted ones are absent.
    ///
    /// # Errors
    /// [`FollowError`]; asking again later may help.
    pub fn blocks_at(&mut self, positions: &[u64]) -> Result<Vec<Arc<DecodedBlock>>, FollowError> {
        let entries = self.reader.at(positions).map_err(FollowError::Log)?;
        let records = entries.into_iter().map(|e| self.decode(e));
        records.filter_map(|r| r.map(|r| r.block().cloned()).transpose()).collect()
    }

    /// The damage that [`Follower::block_at`] met since the last call.
    pub fn take_damage(&mut self) -> Option<FollowError> {
        self.damage.take()
    }

    /// What lies at one position now.
    ///
    /// # Errors
    /// [`FollowError`]; asking again later may help.
    pub fn block_at(&mut self, position: u64) -> Result<Found, FollowError> {
        let mut entries = match self.reader.at(&[position]) {
            Ok(entries) => entries,
            Err(error) if error.class() == spool::Class::Reopen => {
                let why = error.to_string();
                self.damage = Some(FollowError::Log(error));
                return Err(FollowError::Damage { position, why });
            }
            Err(error) => return Err(FollowError::Log(error)),
        };
        let Some(entry) = entries.pop() else { return Ok(Found::Gone) };
        let record = self.decode(entry)?;
        Ok(match &record.body {
            RecordBody::Block { block, decided } => {
                Found::Block { block: Arc::clone(block), decided: decided.clone() }
            }
            RecordBody::Damaged => Found::Damaged,
            RecordBody::Centre(_) | RecordBody::Replay(_) => Found::Gone,
        })
    }

    fn decode(&mut self, entry: Entry) -> Result<Arc<LogRecord>, FollowError> {
        let record = match entry {
            Entry::Record(record) => record,
            Entry::Damaged { position } => {
                self.shared.report_damaged(position);
                return Ok(Arc::new(damaged(position)));
            }
        };
        let body = match record.kind {
            kind::BLOCK => self.block(&record)?,
            kind::REPLAY => self.replayed(&record)?,
            _ => RecordBody::Centre(CentreRecord::decode(&record).map_err(FollowError::Record)?),
        };
        let Record { position, received_at, gateway, .. } = record;
        Ok(Arc::new(LogRecord { position, received_at, gateway, body }))
    }

    fn block(&mut self, record: &Record) -> Result<RecordBody, FollowError> {
        match self.decoder.decode(record, &self.reader) {
            Ok(block) => {
                let meta = BlockMeta::decode(&record.meta).map_err(FollowError::Record)?;
                Ok(RecordBody::Block { block: Arc::new(block), decided: meta.decided })
            }
            Err(error) => passed_over(record.position, error),
        }
    }

    fn replayed(&mut self, record: &Record) -> Result<RecordBody, FollowError> {
        match self.decoder.replayed(record, &self.reader) {
            Ok(block) => Ok(RecordBody::Replay(Arc::new(block))),
            Err(error) => passed_over(record.position, error),
        }
    }
}

/// What is handed on for a block record that does not decode.
fn passed_over(position: u64, error: DecodeBlockError) -> Result<RecordBody, FollowError> {
    if error.is_transient() {
        return Err(FollowError::Block(error));
    }
    // It decoded when it was logged and its checksum fits: only a fault of a program gets here, and standing still for
    // ever would lose all that follows.
    tracing::error!(position, error = %crate::chain_of(&error), "a logged block does not decode, passing it over");
    Ok(RecordBody::Damaged)
}

fn damaged(position: u64) -> LogRecord {
    LogRecord { position, received_at: 0, gateway: String::new(), body: RecordBody::Damaged }
}

#[cfg(test)]
mod tests;
