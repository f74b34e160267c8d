//! One token for the whole program, cancelled by SIGTERM or SIGINT.
//!
//! And one for a part that broke: the program then ends with an error, so that it is started anew, because a gateway
//! that runs and carries nothing is worse than one that is down. `kill -9` at any instant is the real test: an ordered stop only saves time, never data.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Runs a part without which the gateway would only look alive: where it panics, `failed` is cancelled.
pub async fn vital<T>(failed: CancellationToken, part: impl Future<Output = T>) -> T {
    let guard = failed.drop_guard();
    let done = part.await;
    guard.disarm();
    done
}

/// Cancels the token at the first SIGTERM or SIGINT.
///
/// # Errors
/// When the signals cannot be listened to.
pub fn on_signal(tracker: &TaskTracker) -> std::io::Result<CancellationToken> {
    let token = CancellationToken::new();
    let stop = token.clone();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tracker.spawn(async move {
        tokio::select! {
            _ = terminate.recv() => tracing::info!(signal = "SIGTERM", "stopping"),
            _ = interrupt.recv() => tracing::info!(signal = "SIGINT", "stopping"),
            () = stop.cancelled() => {}
        }
        stop.cancel();
    });
    Ok(token)
}
