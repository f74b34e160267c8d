//! `/readyz`: whether the centre can do its job now, part by part, each with its reason.
//!
//! Every part is read from memory but the state database, which is asked for one row and given a second. The store alone
//! never makes the centre unready: alarms come without it and the log keeps what it does not take.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use serde::Serialize;
use tokio::time::timeout;

use super::open::Parts;
use super::selfwatch::{Heartbeat, Status};

/// Longest wait for the state database.
const PATIENCE: Duration = Duration::from_secs(1);
/// Records that the evaluator may be behind: the log gets a tick each second, so these are 10 s at least.
const BEHIND_RECORDS: u64 = 10;

/// How a part stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
    /// It works.
    Well,
    /// It has not worked yet, or is not used.
    Idle,
    /// It does not work fully; the centre does its job.
    Impaired,
    /// It does not work, and so the centre does not do its job.
    Failing,
}

/// One part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Part {
    state: State,
    /// Why, where it is not well.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl Part {
    fn well() -> Self {
        Self { state: State::Well, reason: None }
    }

    fn not(state: State, reason: impl Into<String>) -> Self {
        Self { state, reason: Some(reason.into()) }
    }
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Ready {
    /// Whether the centre does its job.
    pub(super) ready: bool,
    parts: Parted,
}

/// All parts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Parted {
    broker: Part,
    log: Part,
    evaluator: Part,
    state_db: Part,
    synthetic: Part,
    store: Part,
    heartbeat: Part,
}

/// What the running parts say.
#[derive(Debug, Clone, Default)]
struct Facts {
    broker_connected: bool,
    log_failing: bool,
    evaluator_failing: bool,
    evaluator_lag: u64,
    store_trouble: u64,
    state_db: Option<String>,
    watch: Status,
}

/// Asks everything.
pub(super) async fn ready(parts: &Parts) -> Ready {
    let state_db = match timeout(PATIENCE, parts.state.answers()).await {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(crate::chain_of(&error)),
        Err(_) => Some(format!("does not answer within {} s", PATIENCE.as_secs())),
    };
    judge(&Facts {
        broker_connected: parts.metrics.broker_connected.get() == 1,
        log_failing: parts.failing.load(Relaxed),
        evaluator_failing: parts.progress.is_evaluator_failing(),
        evaluator_lag: parts.shared.tail.head().saturating_sub(parts.progress.judged_position()),
        store_trouble: parts.stats.trouble.load(Relaxed),
        state_db,
        watch: Status::clone(&parts.watching.load()),
    })
}

fn judge(facts: &Facts) -> Ready {
    let part = |fails: bool, reason: &str| match fails {
        true => Part::not(State::Failing, reason),
        false => Part::well(),
    };
    let parts = Parted {
        broker: part(!facts.broker_connected, "no connection: nothing of the plants arrives"),
        log: part(facts.log_failing, "it takes no records, nothing is acked: check the disk"),
        evaluator: evaluator(facts),
        state_db: match &facts.state_db {
            Some(why) => Part::not(State::Failing, why.clone()),
            None => Part::well(),
        },
        synthetic: synthetic(&facts.watch),
        store: match facts.store_trouble {
            0 => Part::well(),
            1 => Part::not(State::Impaired, "it does not take data now; the log keeps it"),
            _ => Part::not(State::Impaired, "it refuses data until somebody mends it"),
        },
        heartbeat: heartbeat(&facts.watch.heartbeat),
    };
    let must = [&parts.broker, &parts.log, &parts.evaluator, &parts.state_db, &parts.synthetic];
    let works = |part: &&Part| part.state == State::Failing;
    // Before the first round has come through nothing is proven.
    let is_proven = !facts.watch.is_on || facts.watch.is_well;
    Ready { ready: !must.iter().any(works) && is_proven, parts }
}

fn evaluator(facts: &Facts) -> Part {
    if facts.evaluator_failing {
        return Part::not(State::Failing, "its steps fail: see the state database and the log");
    }
    // Many records wait for a moment when much arrives at once; whether alarms come in time the test alarm says.
    match facts.evaluator_lag {
        0..=BEHIND_RECORDS => Part::well(),
        lag => Part::not(State::Impaired, format!("{lag} records wait for it")),
    }
}

fn synthetic(watch: &Status) -> Part {
    match (watch.is_on, watch.stuck, watch.is_well) {
        (false, ..) => Part::not(State::Idle, "[watch] synthetic = false"),
        (_, Some(stage), _) => Part::not(State::Failing, stage.sentence()),
        (_, None, true) => Part::well(),
        (_, None, false) => Part::not(State::Idle, "no round has come through yet"),
    }
}

fn heartbeat(heartbeat: &Heartbeat) -> Part {
    match heartbeat {
        Heartbeat::Off => Part::not(State::Idle, "[watch] heartbeat_url is not set"),
        Heartbeat::Waiting => Part::not(State::Idle, "none was due yet"),
        Heartbeat::Arrived => Part::well(),
        Heartbeat::Held => Part::not(State::Impaired, "held back while the test alarm fails"),
        Heartbeat::Failed(why) => Part::not(State::Impaired, why.clone()),
    }
}

#[cfg(test)]
mod tests;
