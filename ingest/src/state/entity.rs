//! sea-orm entities, one module a table; the frozen table definitions are in [`super::migrate`].
//!
//! Structured parts that are only ever read whole live in a JSON `body`, so that a new field is not a migration.

/// Users, sessions, API keys.
pub mod account;
/// Alarms and their occurrences.
pub mod alarming;
/// The three journals.
pub mod journal;
/// Where the evaluators are, what is still to be sent, small counters.
pub mod progress;
/// What the registry keeps: sites, gateways, devices, facts.
pub mod registry;
