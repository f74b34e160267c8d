//! Serial frames on a byte stream: whole answers out of pieces, and no late answer for the next one.
//!
//! A serial frame names its unit and its function and nothing else, so an answer that comes late fits the next request
//! of the same length; the true answer then lies unread and fits the one after that, for ever. Four things prevent
//! it: a new connection is listened to until it is quiet; nothing may lie there before a request is sent; nothing may
//! lie behind an answer; and a unit that owes an answer is left alone for a while, and its first answer then is no
//! value (`bus/owed.rs`). Late answers of *other* units are known by the unit and thrown away.

use std::io;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::io::AsyncReadExt;
use tokio::time::{Instant, timeout_at};

use super::super::frame::{FrameError, Reply, Request, any_serial_bytes, is_undamaged};
use super::{LATE_ANSWERS_MAX, Link, LinkError};

/// Silence after which a line has said what it had to say to the connection before.
pub(super) const QUIET: Duration = Duration::from_millis(100);

/// Longest wait for that silence; a line that talks on is not ours.
const QUIET_MAX: Duration = Duration::from_secs(2);

/// Bytes of the longest serial frame.
const BYTES_MAX: usize = 256;

impl Link {
    /// Names the units whose answers to earlier requests may still come; asked about another unit, the link throws
    /// whole answers of these away.
    pub fn owed_by(&mut self, units: impl IntoIterator<Item = u8>) {
        self.owing.clear();
        self.owing.extend(units);
    }

    /// Throws away what comes until nothing came for `quiet`.
    pub(super) async fn listen_until_quiet(&mut self, quiet: Duration) -> Result<(), LinkError> {
        let end = Instant::now() + QUIET_MAX;
        while Instant::now() < end {
            if timeout_at(Instant::now() + quiet, self.piece(&mut Vec::new())).await.is_err() {
                return Ok(());
            }
        }
        Err(LinkError::Lost(io::Error::other("the line is never quiet: another master on it?")))
    }

    /// Waits so long for bytes behind an answer that was taken.
    ///
    /// # Errors
    /// [`FrameError::Surplus`] where some came, [`LinkError::Lost`]; the answer is then none.
    pub async fn linger(&mut self, quiet: Duration) -> Result<(), LinkError> {
        let mut surplus = Vec::new();
        match timeout_at(Instant::now() + quiet, self.piece(&mut surplus)).await {
            Err(_) => Ok(()),
            Ok(Err(error)) => Err(error),
            Ok(Ok(())) => Err(LinkError::Frame(FrameError::Surplus(surplus.len()))),
        }
    }

    /// Looks, without waiting, that nothing lies there that the next answer could be mistaken for. Returns how many
    /// answers that other requests are owed were thrown away.
    pub(super) async fn nothing_unasked(&mut self) -> Result<u32, LinkError> {
        let mut found = self.lying_there().await?;
        let mut late = 0;
        while let Some(bytes) = self.owed_bytes(&found, None) {
            found.drain(..bytes);
            late += 1;
        }
        if found.is_empty() { Ok(late) } else { Err(LinkError::Unasked(found.len())) }
    }

    /// Serial servers cut answers into pieces as they like: the length in the frame says when it is whole.
    pub(super) async fn receive_serial(
        &mut self,
        unit: u8,
        request: Request,
        late: &mut u32,
    ) -> Result<Reply, LinkError> {
        let mut frame = Vec::with_capacity(64);
        loop {
            while let Some(bytes) = self.owed_bytes(&frame, Some(unit)) {
                frame.drain(..bytes);
                *late += 1;
            }
            if !self.may_become_owed(&frame, unit) || *late as usize > LATE_ANSWERS_MAX {
                let whole = request.rtu_bytes(unit, &frame).map_err(LinkError::Frame)?;
                if let Some(whole) = whole.filter(|whole| *whole <= frame.len()) {
                    frame.extend(self.lying_there().await?);
                    // Bytes behind an answer: it, or they, answer another request.
                    return match frame.len() - whole {
                        0 => request.answer_rtu(&frame).map_err(LinkError::Frame),
                        more => Err(LinkError::Frame(FrameError::Surplus(more))),
                    };
                }
            }
            if frame.len() > BYTES_MAX {
                let bytes = FrameError::Bytes { wanted: BYTES_MAX, found: frame.len() };
                return Err(LinkError::Frame(bytes));
            }
            self.piece(&mut frame).await?;
        }
    }

    /// Waits for bytes and appends them.
    async fn piece(&mut self, frame: &mut Vec<u8>) -> Result<(), LinkError> {
        let mut piece = [0; BYTES_MAX];
        match self.stream.read(&mut piece).await.map_err(LinkError::Lost)? {
            0 => Err(LinkError::Lost(io::ErrorKind::UnexpectedEof.into())),
            count => {
                frame.extend(&piece[..count]);
                Ok(())
            }
        }
    }

    /// What has arrived and was not read, at most some frames.
    async fn lying_there(&mut self) -> Result<Vec<u8>, LinkError> {
        // What the socket has is known only after the runtime has looked at it.
        tokio::task::yield_now().await;
        let mut found = Vec::new();
        while found.len() <= BYTES_MAX * LATE_ANSWERS_MAX {
            match self.piece(&mut found).now_or_never() {
                None => break,
                Some(read) => read?,
            }
        }
        Ok(found)
    }

    /// Length of the whole, undamaged answer of an owing unit other than `asked` that begins here.
    fn owed_bytes(&self, begin: &[u8], asked: Option<u8>) -> Option<usize> {
        let unit = begin.first().copied().filter(|unit| Some(*unit) != asked)?;
        if !self.owing.contains(&unit) {
            return None;
        }
        let bytes = any_serial_bytes(begin).ok()??;
        begin.get(..bytes).is_some_and(is_undamaged).then_some(bytes)
    }

    /// Whether these bytes are the beginning of such an answer.
    fn may_become_owed(&self, begin: &[u8], asked: u8) -> bool {
        let owing = begin.first().is_some_and(|unit| *unit != asked && self.owing.contains(unit));
        owing && any_serial_bytes(begin).is_ok_and(|bytes| bytes.is_none_or(|b| b > begin.len()))
    }
}
