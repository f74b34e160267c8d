//! The batch under way: which of its blocks are lines already, which lines are not taken yet. Kept over failed attempts,
//! so that what the database took is not sent again.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::{BATCH_BYTES, IN_FLIGHT};
use crate::log::DecodedBlock;
use crate::store::bounds::Bounds;
use crate::store::line::{LineWriter, Lines};
use crate::store::{Position, RefusalSink, StoreBatch};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Work {
    /// Which batch: its end, its first block, the number of its blocks.
    of: Option<(Position, u64, usize)>,
    /// The first of its blocks that is not lines yet.
    next: usize,
    /// Samples in the lines so far.
    pub(super) samples: u64,
    /// What is not taken yet; the last comes first.
    pub(super) pending: Vec<Piece>,
    /// How often the database failed on it with 500.
    pub(super) failures: u32,
    /// Memory of pieces that were taken, for those that follow.
    spare: Vec<Lines>,
}

/// Consecutive lines for one request.
#[derive(Debug, Clone)]
pub(super) struct Piece {
    pub(super) lines: Arc<Lines>,
    pub(super) range: Range<usize>,
}

/// How blocks become lines.
pub(super) struct Encoder<'a> {
    pub(super) writer: &'a mut LineWriter,
    pub(super) bounds: Bounds,
    pub(super) sink: &'a dyn RefusalSink,
    pub(super) batch_lines: usize,
}

impl Work {
    /// Begins a batch, unless it is the one under way already.
    pub(super) fn begin(&mut self, batch: &StoreBatch) {
        let first = batch.blocks.first().map_or(0, |b| b.position);
        let of = Some((batch.up_to, first, batch.blocks.len()));
        if self.of != of {
            (self.of, self.next, self.samples, self.failures) = (of, 0, 0, 0);
            self.pending.clear();
        }
    }

    /// All of the batch was taken or set aside.
    pub(super) fn end(&mut self) {
        self.of = None;
    }

    /// The next piece to send; makes lines of as many blocks as one request takes. `None` when nothing is left.
    pub(super) fn next(
        &mut self,
        blocks: &[Arc<DecodedBlock>],
        encoder: &mut Encoder<'_>,
    ) -> Option<Piece> {
        loop {
            if let Some(piece) = self.pending.pop() {
                return Some(piece);
            }
            if self.next >= blocks.len() {
                return None;
            }
            let lines = Arc::new(self.encode(blocks, encoder));
            let (len, step) = (lines.len(), encoder.batch_lines);
            // A single block may be more than a request takes.
            let cut = (0..len).step_by(step).map(|from| from..(from + step).min(len));
            let pieces = cut.map(|range| Piece { lines: Arc::clone(&lines), range });
            self.pending.extend(pieces.rev());
        }
    }

    fn encode(&mut self, blocks: &[Arc<DecodedBlock>], encoder: &mut Encoder<'_>) -> Lines {
        let mut lines = self.spare.pop().unwrap_or_default();
        while let Some(block) = blocks.get(self.next) {
            let is_full = lines.len() + block.readings.row_count() > encoder.batch_lines
                || lines.bytes.len() >= BATCH_BYTES;
            if is_full && !lines.is_empty() {
                break;
            }
            self.samples += encoder.writer.append(block, encoder.bounds, encoder.sink, &mut lines);
            self.next += 1;
        }
        lines
    }

    /// The lines of a piece were taken: keeps their memory if nothing else needs them.
    pub(super) fn recycle(&mut self, piece: Piece) {
        if let Ok(mut lines) = Arc::try_unwrap(piece.lines)
            && self.spare.len() <= IN_FLIGHT
        {
            lines.clear();
            self.spare.push(lines);
        }
    }
}

impl Piece {
    /// The bytes themselves, not a copy.
    pub(super) fn body(&self) -> Bytes {
        let span = self.lines.span(self.range.start, self.range.end);
        Bytes::from_owner(Whole(Arc::clone(&self.lines))).slice(span)
    }

    /// A part of it.
    pub(super) fn part(&self, range: Range<usize>) -> Self {
        Self { lines: Arc::clone(&self.lines), range }
    }

    /// Its halves so that the first is popped first.
    pub(super) fn halves(&self) -> [Self; 2] {
        let Range { start, end } = self.range;
        let middle = start + self.range.len() / 2;
        [self.part(middle..end), self.part(start..middle)]
    }
}

struct Whole(Arc<Lines>);

impl AsRef<[u8]> for Whole {
    fn as_ref(&self) -> &[u8] {
        &self.0.bytes
    }
}
