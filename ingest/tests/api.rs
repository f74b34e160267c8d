//! The HTTP API over a real listening socket: who may see and do what, what happens to forged and repeated requests, and
//! that nothing secret ever leaves.

#![expect(
    clippy::unwrap_used,
    reason = "a test stops at the first thing that is not as it must be"
)]

#[path = "api/access.rs"]
mod access;
#[path = "api/alarms.rs"]
mod alarms;
#[path = "api/connections.rs"]
mod connections;
#[path = "api/document.rs"]
mod document;
#[path = "api/facts.rs"]
mod facts;
#[path = "api/health.rs"]
mod health;
#[path = "api/history.rs"]
mod history;
#[path = "api/live.rs"]
mod live;
#[path = "api/quarantine.rs"]
mod quarantine;
#[path = "api/rig.rs"]
mod rig;
#[path = "api/secrets.rs"]
mod secrets;
#[path = "api/session.rs"]
mod session;
#[path = "api/shape.rs"]
mod shape;
