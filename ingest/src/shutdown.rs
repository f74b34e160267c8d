//! Ordered stop: one token, one tracker. SIGTERM and SIGINT alike; a kill at any instant is as safe, only slower to
//! come back from.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How often a waiting thread looks whether it should stop.
const STEP: Duration = Duration::from_millis(50);

/// What every task and thread gets: when to stop, and who waits for it.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    /// Cancelled when the program is to stop.
    pub token: CancellationToken,
    /// Counts the tasks that must end first.
    pub tasks: TaskTracker,
}

impl Shutdown {
    /// Starts a task that the stop waits for.
    pub fn spawn<F>(&self, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        drop(self.tasks.spawn(task));
    }

    /// Waits for the tasks, at most `grace`; `false` when some did not end.
    pub async fn finish(&self, grace: Duration) -> bool {
        self.token.cancel();
        self.tasks.close();
        tokio::time::timeout(grace, self.tasks.wait()).await.is_ok()
    }
}

/// Blocks the calling thread for `pause`, or until the stop; never call it from an async task.
pub fn wait(stop: &CancellationToken, pause: Duration) {
    // A thread outside the runtime has no timer: it parks, and looks at the token some times a second.
    let step = STEP.min(pause);
    let mut left = pause;
    while !left.is_zero() && !stop.is_cancelled() {
        std::thread::park_timeout(step);
        left = left.saturating_sub(step);
    }
}

/// Completes on SIGTERM or SIGINT.
///
/// # Errors
/// When the system refuses the handlers.
pub async fn signal() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut term = signal(SignalKind::terminate())?;
    let mut int = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
    Ok(())
}
