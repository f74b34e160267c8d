//! The central program: receive, log, store, evaluate, alarm, answer.
//!
//! `main.rs` parses arguments and calls in here; the data's way through the modules is drawn in `docs/ARCHITECTURE.md`.

pub mod account;
pub mod alarms;
pub mod api;
pub mod clock;
pub mod journal;
pub mod log;
pub mod registry;
pub mod secret;
pub mod state;
pub mod store;
