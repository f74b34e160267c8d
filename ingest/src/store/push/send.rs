//! Sends lines until every one is taken or set aside: the loop of every line-protocol store.
//!
//! What the database takes is never sent again for the same batch. A bad line is found by halves, in at most
//! [`BISECT_REQUESTS_MAX`] requests a call; what is left then stays pending and the next call goes on.

use std::io::Write;
use std::ops::Range;

use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::StreamExt;
use futures_util::future::poll_immediate;
use futures_util::stream::FuturesUnordered;

use super::answer::Answer;
use super::{IN_FLIGHT, Pusher};
use crate::store::{Refusal, StoreError};

/// Most requests spent on finding bad lines in one call.
pub(super) const BISECT_REQUESTS_MAX: u32 = 256;
/// After so many failures with 500 on one batch, small probes tell whether the batch is to blame.
pub(super) const BROKEN_TRIES: u32 = 3;
/// Longest piece of a refused line that is kept, bytes.
const LINE_SHOWN_MAX: usize = 1_000;

impl Pusher {
    /// Sends all pending ranges of the batch under way.
    pub(super) fn send_pending(&mut self) -> Result<(), StoreError> {
        let mut budget = BISECT_REQUESTS_MAX;
        while !self.work.pending.is_empty() {
            let failed = self.send_all();
            self.work.pending.extend(failed.iter().map(|(range, _)| range.clone()));
            for (range, answer) in failed {
                self.work.pending.retain(|r| *r != range);
                self.mend(range, answer, &mut budget)?;
            }
        }
        Ok(())
    }

    /// Sends what is pending, `in_flight` requests at once; gives back what was not taken. Stops handing out requests at
    /// the first failure that waiting alone can mend.
    fn send_all(&mut self) -> Vec<(Range<usize>, Answer)> {
        let mut queue = std::mem::take(&mut self.work.pending);
        queue.reverse();
        let (lines, endpoint) = (&self.work.lines, &self.endpoint);
        let (in_flight, counts) = (self.in_flight, &mut self.counts);
        let post = |range: Range<usize>| {
            let body = gzip(lines.slice(range.start, range.end));
            async move { (range, endpoint.post(body).await) }
        };
        let mut failed = Vec::new();
        let mut keep = |done: Option<(Range<usize>, Answer)>| -> bool {
            match done {
                None => true,
                Some((_, Answer::Stored)) => {
                    counts.requests += 1;
                    true
                }
                Some((_, Answer::Dropped(points))) => {
                    counts.requests += 1;
                    counts.dropped_by_retention += points;
                    true
                }
                Some((range, answer)) => {
                    failed.push((range, answer));
                    false
                }
            }
        };
        let left = self.runtime.block_on(async {
            let mut flying = FuturesUnordered::new();
            let mut is_well = true;
            loop {
                while is_well && flying.len() < in_flight {
                    let Some(range) = queue.pop() else { break };
                    flying.push(post(range));
                    // Starts the request before the next body is compressed.
                    is_well &= keep(poll_immediate(flying.next()).await.flatten());
                }
                match flying.next().await {
                    Some(done) => is_well &= keep(Some(done)),
                    None => break,
                }
            }
            queue
        });
        if failed.is_empty() {
            self.in_flight = IN_FLIGHT;
        }
        self.work.pending.extend(left.into_iter().rev());
        failed
    }

    /// Does what an answer asks for. Whatever is not settled is pending again when an error is returned.
    fn mend(
        &mut self,
        range: Range<usize>,
        answer: Answer,
        budget: &mut u32,
    ) -> Result<(), StoreError> {
        let again = range.clone();
        let result = match answer {
            Answer::Stored | Answer::Dropped(_) => Ok(()),
            Answer::Malformed(_) | Answer::Conflict(_) | Answer::TooMany(_) => {
                self.bisect(range, budget)
            }
            Answer::TooLarge(words) => {
                self.batch_lines = (range.len() / 2).max(1);
                if range.len() == 1 {
                    self.refuse_line(range.start, "too_large", &words);
                } else {
                    self.work.pending.extend(halves(&range));
                }
                return Ok(());
            }
            Answer::Busy { words, pause_ms } => {
                self.in_flight = 1;
                Err(self.unavailable(words, pause_ms))
            }
            Answer::Denied(status, words) => Err(self.endpoint.denied(status, &words)),
            Answer::Broken(words) => {
                self.work.failures += 1;
                if self.work.failures < BROKEN_TRIES || !self.probe(&range) {
                    Err(self.unavailable(format!("status 500: {words}"), 0))
                } else {
                    self.bisect(range, budget)
                }
            }
        };
        // A bisection has put back what it did not settle.
        if let Err(StoreError::Unavailable { .. } | StoreError::Refused { .. }) = &result
            && !self.work.pending.iter().any(|r| r.start >= again.start && r.end <= again.end)
        {
            self.work.pending.push(again);
        }
        result
    }

    /// Whether the database takes a single line of a range that it fails on: then the range is to blame.
    fn probe(&mut self, range: &Range<usize>) -> bool {
        let ends = [range.start, range.end - 1];
        ends.iter().any(|line| {
            let answer = self.post(*line..line + 1);
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

    /// Finds the lines of a range that the database does not take and sets them aside.
    fn bisect(&mut self, range: Range<usize>, budget: &mut u32) -> Result<(), StoreError> {
        let mut stack = if range.len() == 1 { vec![range] } else { reversed(&range) };
        while let Some(range) = stack.pop() {
            if *budget == 0 {
                stack.push(range);
                self.work.pending.extend(stack);
                let words = format!(
                    "more bad lines than {BISECT_REQUESTS_MAX} requests can find; going on"
                );
                return Err(self.unavailable(words, 0));
            }
            *budget -= 1;
            let answer = self.post(range.clone());
            match answer {
                Answer::Stored | Answer::Dropped(_) => {}
                Answer::Malformed(words) if range.len() == 1 => {
                    self.refuse_line(range.start, "unparsable", &words);
                }
                Answer::Conflict(_) if range.len() == 1 => self.split_fields(range.start)?,
                Answer::Broken(words) if range.len() == 1 => {
                    self.refuse_line(range.start, "poison", &words);
                }
                Answer::TooMany(words) if range.len() == 1 => {
                    self.refuse_line(range.start, "too_many_series", &words);
                }
                Answer::Malformed(_)
                | Answer::Conflict(_)
                | Answer::TooMany(_)
                | Answer::Broken(_) => {
                    stack.extend(reversed(&range));
                }
                other => {
                    stack.push(range.clone());
                    self.work.pending.append(&mut stack);
                    self.work.pending.retain(|r| *r != range);
                    return self.mend(range, other, budget);
                }
            }
        }
        Ok(())
    }

    /// Sends the fields of a line one by one: a conflict of one field must not lose the others.
    fn split_fields(&mut self, line: usize) -> Result<(), StoreError> {
        let whole = self.line(line);
        let Some((series, fields, time)) = parts_of(&whole) else {
            self.refuse_line(line, "type_conflict", "the line cannot be taken apart");
            return Ok(());
        };
        for field in fields.split(',') {
            let single = format!("{series} {field} {time}\n");
            match self.post_bytes(single.as_bytes()) {
                Answer::Stored | Answer::Dropped(_) => {}
                Answer::Conflict(words) | Answer::Malformed(words) | Answer::TooMany(words) => {
                    self.refuse(line, "type_conflict", single.trim_end(), &words, 1);
                }
                Answer::Busy { words, pause_ms } => {
                    self.work.pending.push(line..line + 1);
                    return Err(self.unavailable(words, pause_ms));
                }
                Answer::Broken(words) => {
                    self.work.pending.push(line..line + 1);
                    return Err(self.unavailable(words, 0));
                }
                Answer::TooLarge(words) => self.refuse(line, "too_large", &single, &words, 1),
                Answer::Denied(status, words) => {
                    self.work.pending.push(line..line + 1);
                    return Err(self.endpoint.denied(status, &words));
                }
            }
        }
        Ok(())
    }

    fn unavailable(&self, reason: String, pause_ms: u64) -> StoreError {
        StoreError::Unavailable { store: self.endpoint.name(), reason, pause_ms }
    }

    fn line(&self, line: usize) -> String {
        String::from_utf8_lossy(self.work.lines.slice(line, line + 1)).trim_end().to_owned()
    }

    /// Sends one range and waits.
    fn post(&mut self, range: Range<usize>) -> Answer {
        let body = self.work.lines.slice(range.start, range.end).to_vec();
        self.post_bytes(&body)
    }

    fn post_bytes(&mut self, bytes: &[u8]) -> Answer {
        let answer = self.runtime.block_on(self.endpoint.post(gzip(bytes)));
        self.counts.requests += u64::from(answer == Answer::Stored);
        if let Answer::Dropped(points) = answer {
            self.counts.dropped_by_retention += points;
        }
        answer
    }

    fn refuse_line(&self, line: usize, code: &'static str, reason: &str) {
        let text = self.line(line);
        let fields = parts_of(&text).map_or(1, |(_, fields, _)| fields.split(',').count());
        self.refuse(line, code, &text, reason, fields as u64);
    }

    fn refuse(&self, line: usize, code: &'static str, text: &str, reason: &str, samples: u64) {
        let origin = self.work.lines.origin(line);
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

/// Measurement and tags, fields, time of one of our own lines. Fields and time hold no space; tags may, escaped.
fn parts_of(line: &str) -> Option<(&str, &str, &str)> {
    let (rest, time) = line.rsplit_once(' ')?;
    let (series, fields) = rest.rsplit_once(' ')?;
    Some((series, fields, time))
}

fn halves(range: &Range<usize>) -> [Range<usize>; 2] {
    let middle = range.start + range.len() / 2;
    [range.start..middle, middle..range.end]
}

/// Halves of a range so that the first is popped first.
fn reversed(range: &Range<usize>) -> Vec<Range<usize>> {
    let [first, second] = halves(range);
    vec![second, first]
}

/// Compresses a body: level 1, because CPU is dearer here than bytes.
fn gzip(bytes: &[u8]) -> Vec<u8> {
    let out = Vec::with_capacity(bytes.len() / 6 + 64);
    let mut encoder = GzEncoder::new(out, Compression::new(1));
    // Writing into memory does not fail.
    encoder.write_all(bytes).and_then(|()| encoder.finish()).unwrap_or_default()
}
