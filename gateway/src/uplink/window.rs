//! The MQTT window of one connection: which publish is which packet id, and how many may be under way.
//!
//! Pure: no async, no clock, so that a simulator can drive it. A PUBACK says only that the broker has the
//! message; it moves this window and nothing else (the app-ack in `lanes.rs` is what frees a block). The
//! window slides: never more than `most` past the oldest unconfirmed, so that with 4 × `most` packet ids
//! the client library can never collide with an id that is still open. It dies with its connection.

use std::collections::{HashMap, VecDeque};

/// Publishes under way on one connection.
#[derive(Debug)]
pub struct Window<T> {
    most: usize,
    bytes_most: usize,
    /// Submitted, packet id not yet known, in order of submission.
    waiting: VecDeque<u64>,
    by_id: HashMap<u16, u64>,
    /// From the oldest unconfirmed on: what was sent, or `None` where it is confirmed.
    open: VecDeque<Option<(T, usize)>>,
    /// Number of the front of `open`.
    low: u64,
    bytes: usize,
}

/// The client library reported something that it cannot have done: throw the connection away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WindowError {
    /// A packet id for a publish that nobody submitted.
    #[error("packet id {0} was sent and nothing was submitted")]
    NotSubmitted(u16),
    /// A packet id that is open already.
    #[error("packet id {0} was used again while it was open")]
    Reused(u16),
}

impl<T> Window<T> {
    /// At most `most` publishes from the oldest unconfirmed on, at most `bytes_most` bytes in them.
    #[must_use]
    pub fn new(most: usize, bytes_most: usize) -> Self {
        Self {
            most,
            bytes_most,
            waiting: VecDeque::new(),
            by_id: HashMap::new(),
            open: VecDeque::new(),
            low: 0,
            bytes: 0,
        }
    }

    /// How many more publishes may be submitted now.
    #[must_use]
    pub fn free(&self) -> usize {
        if self.bytes >= self.bytes_most { 0 } else { self.most - self.open.len() }
    }

    /// True where nothing is under way.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.open.is_empty()
    }

    /// Books a publish that is handed to the client now.
    ///
    /// # Panics
    /// Where [`Window::free`] is 0: the caller must look first.
    pub fn submit(&mut self, what: T, bytes: usize) {
        assert!(self.open.len() < self.most, "the window has room");
        self.waiting.push_back(self.low + self.open.len() as u64);
        self.open.push_back(Some((what, bytes)));
        self.bytes += bytes;
    }

    /// The client wrote the oldest waiting publish under this packet id.
    ///
    /// # Errors
    /// [`WindowError`] where that cannot be.
    pub fn sent(&mut self, id: u16) -> Result<(), WindowError> {
        let number = self.waiting.pop_front().ok_or(WindowError::NotSubmitted(id))?;
        match self.by_id.insert(id, number) {
            None => Ok(()),
            Some(_) => Err(WindowError::Reused(id)),
        }
    }

    /// The broker confirmed a packet id; returns what it was. An id that is not open is ignored.
    pub fn confirmed(&mut self, id: u16) -> Option<T> {
        let number = self.by_id.remove(&id)?;
        let at = usize::try_from(number.checked_sub(self.low)?).ok()?;
        let (what, bytes) = self.open.get_mut(at)?.take()?;
        self.bytes -= bytes;
        while matches!(self.open.front(), Some(None)) {
            self.open.pop_front();
            self.low += 1;
        }
        Some(what)
    }
}

#[cfg(test)]
mod tests;
