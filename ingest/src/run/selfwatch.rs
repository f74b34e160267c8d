//! Runs the watch over itself (see [`crate::selfwatch`]): looks four times a second, publishes, puts notices up, sends
//! the heartbeat.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::mpsc::Sender as Outbox;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;
use wire::block::Link;
use wire::topic::{Topic, TopicKind};

use super::open::Parts;
use crate::config::HeartbeatConfig;
use crate::metrics::{Word, gauge};
use crate::receive::worker::Outgoing;
use crate::selfwatch::heartbeat::Target;
use crate::selfwatch::probe::{Do, LOOKS_PER_S, Sent};
use crate::selfwatch::{CLEARS, Probe, RAISES, Sender, Stage, Watched};

/// Time between two looks.
const LOOK: Duration = Duration::from_millis(1_000 / LOOKS_PER_S as u64);

/// What the watch knows, for `/readyz` and the heartbeat.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Status {
    /// Whether there is a synthetic sample at all.
    pub(super) is_on: bool,
    /// A round has come through and nothing stands still since.
    pub(super) is_well: bool,
    /// Where it stands still.
    pub(super) stuck: Option<Stage>,
    /// Why the newest heartbeat did not arrive.
    pub(super) heartbeat: Heartbeat,
}

/// How the heartbeat does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Heartbeat {
    /// None is configured.
    #[default]
    Off,
    /// None was due yet.
    Waiting,
    /// The newest one arrived.
    Arrived,
    /// Held back: the test alarm does not come through.
    Held,
    /// It did not arrive.
    Failed(String),
}

/// Shared with `/readyz`.
pub(super) type Shown = Arc<ArcSwap<Status>>;

/// Changes what is shown.
fn show(shown: &Shown, change: impl Fn(&mut Status)) {
    shown.rcu(|before| {
        let mut status = Status::clone(before);
        change(&mut status);
        status
    });
}

/// Sends samples and looks after them until `stop`.
pub(super) async fn probe(
    parts: Parts,
    watched: Arc<Watched>,
    link: Option<Link>,
    outbox: Outbox<Outgoing>,
    stop: CancellationToken,
) {
    let (mut probe, mut sender) = (Probe::default(), Sender::new(&watched, link));
    let mut beat = interval(LOOK);
    // Never two looks at once after a pause: they count as time.
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut sent_at = 0;
    show(&parts.watching, |status| status.is_on = true);
    loop {
        tokio::select! {
            _ = beat.tick() => {}
            () = stop.cancelled() => return,
        }
        let (now, mono) = (parts.clock.now_ms(), parts.clock.mono_ms());
        let seen = watched.marks.seen();
        let passed = probe.rounds().passed;
        let what = probe.look(&seen);
        if what == Do::Clear || probe.rounds().passed > passed {
            parts.metrics.synthetic_seconds.observe(seconds(seen.alarmed_at - sent_at));
        }
        if let Some(value) = match what {
            Do::Raise => Some(RAISES),
            Do::Clear => Some(CLEARS),
            Do::Wait | Do::Again => None,
        } {
            let (seq, t) = sender.next(value, now, mono);
            probe.sent(Sent { seq, t, returned: seen.returned });
            sent_at = mono;
        }
        // Without a broker samples would only fill the outbox; what is on its way goes out again once it is back.
        if what != Do::Wait && parts.metrics.broker_connected.get() == 1 {
            for frame in sender.frames(mono) {
                let topic = Topic::new(watched.name.clone(), TopicKind::Up);
                // A full outbox means that the broker is away: it is sent again.
                if outbox.try_send(Outgoing { topic, frame }).is_err() {
                    break;
                }
            }
        }
        tell(&parts, &probe, now);
    }
}

fn seconds(ms: i64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "metrics are floats")]
    let ms = ms as f64;
    ms.max(0.0) / 1e3
}

/// Notices, metrics, and what `/readyz` says.
fn tell(parts: &Parts, probe: &Probe, now: i64) {
    let stuck = probe.stuck();
    for stage in Stage::ALL {
        let stands = stuck == Some(stage);
        parts.live.standing(stage.notice(), stands, now, || stage.sentence().to_owned());
        let stuck = parts.metrics.synthetic_stuck.get_or_create(&Word { code: stage.word() });
        stuck.set(i64::from(stands));
    }
    let rounds = probe.rounds();
    parts.metrics.synthetic_well.set(i64::from(probe.is_well()));
    parts.metrics.synthetic_rounds.inc_by(rounds.passed - parts.metrics.synthetic_rounds.get());
    parts.metrics.synthetic_failures.inc_by(rounds.failed - parts.metrics.synthetic_failures.get());
    let before = parts.watching.load();
    if (before.is_well, before.stuck) != (probe.is_well(), stuck) {
        match stuck {
            Some(stage) => {
                tracing::error!(stage = stage.word(), "{}", stage.sentence());
            }
            None => tracing::info!("the test alarm comes through"),
        }
        show(&parts.watching, |status| {
            (status.is_well, status.stuck) = (probe.is_well(), stuck);
        });
    }
}

/// Tells the outside watcher that alarms come, until `stop`.
pub(super) async fn heartbeat(parts: Parts, config: HeartbeatConfig, stop: CancellationToken) {
    // `config` has checked it.
    let Some(target) = Target::parse(config.url.reveal()) else { return };
    show(&parts.watching, |status| status.heartbeat = Heartbeat::Waiting);
    while !stop.is_cancelled() {
        let is_due = parts.watching.load().is_well;
        let was = parts.watching.load().heartbeat.clone();
        let result = if is_due { beat(&target).await } else { held(&was) };
        let words = |how: &Heartbeat| match how {
            Heartbeat::Off | Heartbeat::Waiting => "waiting",
            Heartbeat::Arrived => "arrived",
            Heartbeat::Held => "held",
            Heartbeat::Failed(_) => "failed",
        };
        if is_due {
            parts.metrics.heartbeats.get_or_create(&Word { code: words(&result) }).inc();
        }
        parts.metrics.heartbeat_well.set(gauge(u64::from(result == Heartbeat::Arrived)));
        if words(&result) != words(&was) {
            match &result {
                Heartbeat::Failed(why) => {
                    tracing::warn!(why, "the outside watcher was not reached")
                }
                Heartbeat::Held => {
                    tracing::warn!(
                        "the heartbeat is held back: the test alarm does not come through"
                    )
                }
                _ => tracing::info!(state = words(&result), "heartbeat"),
            }
        }
        let failed = match &result {
            Heartbeat::Failed(why) => Some(why.clone()),
            _ => None,
        };
        let now = parts.clock.now_ms();
        parts.live.standing("heartbeat_failed", failed.is_some(), now, || {
            let why = failed.as_deref().unwrap_or_default();
            format!("the outside watcher is not reached, it may call somebody: {why}")
        });
        show(&parts.watching, |status| status.heartbeat = result.clone());
        // Before the first round has come through, and while it does not, the next look is soon.
        let pause = if is_due { config.every } else { LOOK * LOOKS_PER_S };
        tokio::select! {
            () = sleep(pause) => {}
            () = stop.cancelled() => return,
        }
    }
}

async fn beat(target: &Target) -> Heartbeat {
    match target.beat().await {
        Ok(()) => Heartbeat::Arrived,
        Err(error) => Heartbeat::Failed(crate::chain_of(&error)),
    }
}

/// What is shown while none may go out: nothing has come through yet, or no longer.
fn held(was: &Heartbeat) -> Heartbeat {
    match was {
        Heartbeat::Off | Heartbeat::Waiting => Heartbeat::Waiting,
        _ => Heartbeat::Held,
    }
}
