//! Waiting for a condition, with the reason of the last "not yet". The one place of the tests that lets time pass,
//! beside the faults that last a while.

use std::future::Future;
use std::time::Duration;

/// Pause between two looks at a condition.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Polls `look` until it answers `Ok`, and returns that value.
///
/// # Panics
/// When `limit` has passed: with `what` and the reason that the last look gave.
pub async fn wait_for<T, F, L>(what: &str, limit: Duration, mut look: L) -> T
where
    L: FnMut() -> F,
    F: Future<Output = Result<T, String>>,
{
    let started = tokio::time::Instant::now();
    loop {
        let reason = match look().await {
            Ok(value) => return value,
            Err(reason) => reason,
        };
        assert!(started.elapsed() < limit, "waited {} s for {what}: {reason}", limit.as_secs());
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
