//! The deterministic simulation: the real cores of gateway and centre in one process under a virtual clock, with a
//! simulated link, broker, disk and store, driven by a seed.
//!
//! ```text
//! Plant ─► Edge: seal::work, spool, uplink::carry ─► Broker ─► Centre: receive::worker, log, quarantine
//!             ▲      (real)                            │                 ├► log::writer ─► SimStore
//!             └──────────────── acks ◄─────────────────┘                 └► evaluate::cursor ─► state database
//! ```
//!
//! Everything in the boxes Edge and Centre is the code of the programs; threads, sockets and clocks are replaced. Files
//! are real SQLite files, in memory where the system offers it. A kill leaves what lay in the files, also in the middle
//! of a commit. [`run`] plays one seed: faults, then quiet, then the promises of design §10. The same seed with the same
//! kinds of faults gives the same run, record for record.

mod broker;
mod centre;
mod check;
mod clock;
mod dice;
mod disk;
mod edge;
mod episodes;
mod fault;
mod plant;
mod report;
mod store;
mod world;

pub use fault::Fault;
pub use report::Outcome;
pub use world::{run, tell};
