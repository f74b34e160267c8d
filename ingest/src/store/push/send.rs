//! Sends lines until every one is taken or set aside: the loop of every line-protocol store.
//!
//! What the database takes is never sent again for the same batch. A bad line is found by halves, in at most
//! [`BISECT_REQUESTS_MAX`] requests a call; what is left then stays pending and the next call goes on.

use std::io::Write;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::StreamExt;
use futures_util::future::poll_immediate;
use futures_util::stream::FuturesUnordered;

use super::answer::Answer;
use super::endpoint::Endpoint;
use super::work::{Encoder, Piece, Work};
use super::{IN_FLIGHT, Pusher};
use crate::log::DecodedBlock;
use crate::store::{Refusal, StoreError};

/// Most requests spent on finding bad lines in one call.
pub(super) const BISECT_REQUESTS_MAX: u32 = 256;
/// After so many failures with 500 on one batch, small probes tell whether the batch is to blame.
pub(super) const BROKEN_TRIES: u32 = 3;
/// Longest piece of a refused line that is kept, bytes.
const LINE_SHOWN_MAX: usize = 1_000;

impl Pusher {
    /// Sends the batch under way until all of it is taken or set aside.
    pub(super) fn send(&mut self, blocks: &[Arc<DecodedBlock>]) -> Result<(), StoreError> {
        let mut budget = BISECT_REQUESTS_MAX;
        loop {
            let mut failed = self.send_round(blocks).into_iter();
            if failed.len() == 0 {
                self.in_flight = IN_FLIGHT;
                return Ok(());
            }
            while let Some((piece, answer)) = failed.next() {
                if let Err(error) = self.mend(piece, answer, &mut budget) {
                    self.work.pending.extend(failed.map(|(piece, _)| piece));
                    return Err(error);
                }
            }
        }
    }

    /// Sends what is left of the batch, `in_flight` requests at once; gives back what was not taken. Stops handing out
    /// requests at the first failure that waiting alone can mend.
    fn send_round(&mut self, blocks: &[Arc<DecodedBlock>]) -> Vec<(Piece, Answer)> {
        let Self { runtime, work, endpoint, counts, in_flight, .. } = self;
        let mut encoder = Encoder {
            writer: &mut self.lines,
            bounds: self.bounds,
            sink: &*self.sink,
            batch_lines: self.batch_lines,
        };
        let endpoint = &*endpoint;
        let post = |piece: Piece| {
            let body = body(endpoint, piece.body());
            async move { (piece, endpoint.post(body).await) }
        };
        let mut failed = Vec::new();
        let mut settle = |(piece, answer): (Piece, Answer), work: &mut Work| {
            if let Answer::Stored | Answer::Dropped(_) = answer {
                counts.requests += 1;
                counts.dropped_by_retention += answer.dropped();
                work.recycle(piece);
                return true;
            }
            failed.push((piece, answer));
            false
        };
        runtime.block_on(async {
            let mut flying = FuturesUnordered::new();
            let mut is_well = true;
            loop {
                while is_well && flying.len() < *in_flight {
                    let Some(piece) = work.next(blocks, &mut encoder) else { break };
                    flying.push(post(piece));
                    // Starts the request before the next lines are written.
                    if let Some(Some(done)) = poll_immediate(flying.next()).await {
                        is_well &= settle(done, work);
                    }
                    tokio::task::yield_now().await;
                }
                match flying.next().await {
                    Some(done) => is_well &= settle(done, work),
                    None => break,
                }
            }
        });
        failed
    }

    /// Does what an answer asks for. Whatever is not settled is pending again when an error is returned.
    fn mend(&mut self, piece: Piece, answer: Answer, budget: &mut u32) -> Result<(), StoreError> {
        match answer {
            Answer::Stored | Answer::Dropped(_) => Ok(()),
            Answer::Malformed(_) | Answer::Conflict(_) | Answer::TooMany(_) => {
                self.bisect(&piece, budget)
            }
            Answer::TooLarge(words) => {
                self.batch_lines = (piece.range.len() / 2).max(1);
                if piece.range.len() == 1 {
                    self.refuse_line(&piece, "too_large", &words);
                } else {
                    self.work.pending.extend(piece.halves());
                }
                Ok(())
            }
            Answer::Busy { words, pause_ms } => {
                self.in_flight = 1;
                self.work.pending.push(piece);
                Err(self.unavailable(words, pause_ms))
            }
            Answer::Denied(status, words) => {
                self.work.pending.push(piece);
                Err(self.endpoint.denied(status, &words))
            }
            Answer::Broken(words) => {
                self.work.failures += 1;
                if self.work.failures < BROKEN_TRIES || !self.probe(&piece) {
                    self.work.pending.push(piece);
                    return Err(self.unavailable(format!("status 500: {words}"), 0));
                }
                self.bisect(&piece, budget)
            }
        }
    }

    /// Whether the database takes a single line of a piece that it fails on: then the piece is to blame.
    fn probe(&mut self, piece: &Piece) -> bool {
        let ends = [piece.range.start, piece.range.end - 1];
        ends.iter().any(|line| {
            let answer = self.post(&piece.part(*line..line + 1));
            matches!(
                answer,
                Answer::Stored
                    | Answer::Dropped(_)
                    | Answer::Malformed(_)
                    | Answer::Conflict(_)
                    | Answer::TooMany(_)
            )
        })
    }

    /// Finds the lines of a piece that the database does not take and sets them aside.
    fn bisect(&mut self, piece: &Piece, budget: &mut u32) -> Result<(), StoreError> {
        let mut stack = match piece.range.len() {
            1 => vec![piece.clone()],
            _ => piece.halves().to_vec(),
        };
        while let Some(piece) = stack.pop() {
            if *budget == 0 {
                stack.push(piece);
                self.work.pending.extend(stack);
                let words = format!(
                    "more bad lines than {BISECT_REQUESTS_MAX} requests can find; going on"
                );
                return Err(self.unavailable(words, 0));
            }
            *budget -= 1;
            match self.post(&piece) {
                Answer::Stored | Answer::Dropped(_) => {}
                Answer::Malformed(words) if piece.range.len() == 1 => {
                    self.refuse_line(&piece, "unparsable", &words);
                }
                Answer::Conflict(_) if piece.range.len() == 1 => {
                    if let Err(error) = self.split_fields(&piece) {
                        self.work.pending.append(&mut stack);
                        return Err(error);
                    }
                }
                Answer::Broken(words) if piece.range.len() == 1 => {
                    self.refuse_line(&piece, "poison", &words);
                }
                Answer::TooMany(words) if piece.range.len() == 1 => {
                    self.refuse_line(&piece, "too_many_series", &words);
                }
                Answer::Malformed(_)
                | Answer::Conflict(_)
                | Answer::TooMany(_)
                | Answer::Broken(_) => {
                    stack.extend(piece.halves());
                }
                other => {
                    self.work.pending.append(&mut stack);
                    return self.mend(piece, other, budget);
                }
            }
        }
        Ok(())
    }

    /// Sends the fields of a line one by one: a conflict of one field must not lose the others.
    fn split_fields(&mut self, piece: &Piece) -> Result<(), StoreError> {
        let whole = line(piece);
        let Some((series, fields, time)) = parts_of(&whole) else {
            self.refuse_line(piece, "type_conflict", "the line cannot be taken apart");
            return Ok(());
        };
        for field in fields.split(',') {
            let single = format!("{series} {field} {time}\n");
            match self.post_bytes(single.clone().into()) {
                Answer::Stored | Answer::Dropped(_) => {}
                Answer::Conflict(words) | Answer::Malformed(words) | Answer::TooMany(words) => {
                    self.refuse(piece, "type_conflict", single.trim_end(), &words, 1);
                }
                Answer::Busy { words, pause_ms } => {
                    self.work.pending.push(piece.clone());
                    return Err(self.unavailable(words, pause_ms));
                }
                Answer::Broken(words) => {
                    self.work.pending.push(piece.clone());
                    return Err(self.unavailable(words, 0));
                }
                Answer::TooLarge(words) => self.refuse(piece, "too_large", &single, &words, 1),
                Answer::Denied(status, words) => {
                    self.work.pending.push(piece.clone());
                    return Err(self.endpoint.denied(status, &words));
                }
            }
        }
        Ok(())
    }

    fn unavailable(&self, reason: String, pause_ms: u64) -> StoreError {
        StoreError::Unavailable { store: self.endpoint.name(), reason, pause_ms }
    }

    /// Sends one piece and waits.
    fn post(&mut self, piece: &Piece) -> Answer {
        self.post_bytes(piece.body())
    }

    /// Sends lines and waits.
    fn post_bytes(&mut self, lines: Bytes) -> Answer {
        let body = body(&self.endpoint, lines);
        let answer = self.runtime.block_on(self.endpoint.post(body));
        self.counts.requests += u64::from(answer == Answer::Stored);
        self.counts.dropped_by_retention += answer.dropped();
        answer
    }

    /// Sets the one line of a piece aside.
    fn refuse_line(&self, piece: &Piece, code: &'static str, reason: &str) {
        let text = line(piece);
        let fields = parts_of(&text).map_or(1, |(_, fields, _)| fields.split(',').count());
        self.refuse(piece, code, &text, reason, fields as u64);
    }

    fn refuse(&self, piece: &Piece, code: &'static str, text: &str, reason: &str, samples: u64) {
        let origin = piece.lines.origin(piece.range.start);
        let shown = text.char_indices().take_while(|(i, _)| *i < LINE_SHOWN_MAX).map(|(_, c)| c);
        self.sink.refused(Refusal {
            code,
            gateway: origin.map(|(gateway, _)| gateway.to_owned()),
            position: origin.map(|(_, position)| position),
            what: shown.collect(),
            reason: format!("{}: {reason}", self.endpoint.name()),
            samples,
        });
    }
}

/// The one line of a piece.
fn line(piece: &Piece) -> String {
    let Range { start, end } = piece.range;
    String::from_utf8_lossy(piece.lines.slice(start, end)).trim_end().to_owned()
}

/// The bytes of a request.
fn body(endpoint: &Endpoint, lines: Bytes) -> Bytes {
    if endpoint.is_gzip() { gzip(&lines).into() } else { lines }
}

/// Measurement and tags, fields, time of one of our own lines. Fields and time hold no space; tags may, escaped.
fn parts_of(line: &str) -> Option<(&str, &str, &str)> {
    let (rest, time) = line.rsplit_once(' ')?;
    let (series, fields) = rest.rsplit_once(' ')?;
    Some((series, fields, time))
}

/// Compresses a body: level 1, because CPU is dearer here than bytes.
fn gzip(bytes: &[u8]) -> Vec<u8> {
    let out = Vec::with_capacity(bytes.len() / 6 + 64);
    let mut encoder = GzEncoder::new(out, Compression::new(1));
    // Writing into memory does not fail.
    encoder.write_all(bytes).and_then(|()| encoder.finish()).unwrap_or_default()
}
