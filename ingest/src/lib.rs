//! The central program: receive, log, store, evaluate, alarm, answer.
//!
//! `main.rs` parses arguments and calls in here; the data's way through the modules is drawn in `docs/ARCHITECTURE.md`.

pub mod account;
pub mod ack;
pub mod alarms;
pub mod api;
pub mod backup;
pub mod chain;
pub mod cli;
pub mod clock;
pub mod completeness;
pub mod config;
pub mod evaluate;
pub mod journal;
pub mod live;
pub mod log;
pub mod metrics;
pub mod quarantine;
pub mod receive;
pub mod registry;
pub mod run;
pub mod secret;
pub mod selfwatch;
pub mod shutdown;
pub mod state;
pub mod store;

/// An error with all its sources, for logs: `what: why: why`.
pub(crate) fn chain_of(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
