//! The one place where ingest reads the wall clock, so that tests and the simulator own time.
//!
//! Everything that needs "now" takes a [`Clock`] or a number; nothing else calls the system.

use std::fmt::Debug;
use std::sync::OnceLock;
use std::time::Instant;

/// Gives the centre's wall time.
pub trait Clock: Send + Sync + Debug {
    /// Milliseconds since the Unix epoch, UTC.
    fn now_ms(&self) -> i64;

    /// Milliseconds that never go back and know no steps; from any moment on. A clock that is never set may give its
    /// wall time.
    fn mono_ms(&self) -> i64 {
        self.now_ms()
    }
}

/// The machine's own clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the seam itself")]
    fn now_ms(&self) -> i64 {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since.map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX))
    }

    #[expect(clippy::disallowed_methods, reason = "this is the seam itself")]
    fn mono_ms(&self) -> i64 {
        static BEGIN: OnceLock<Instant> = OnceLock::new();
        let since = BEGIN.get_or_init(Instant::now).elapsed();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    }
}
