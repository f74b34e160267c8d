//! The fault matrix with real processes: a small works under load, faults put in from a seed, and after each round the
//! promises of the delivery path held against what the devices themselves remember.
//!
//! ```text
//! field (counting meters, tanks that dip) ─► davy-gateway ─► link ─► mosquitto ─► davy-ingest ─► embedded store
//!                                                                 mirror ┘                  └─► door ─► influxd
//! ```
//!
//! [`world`] starts and stops it, [`fault`] draws and carries out what goes wrong, [`account`] judges, [`round`] puts
//! them together. Both programs are the builds with fail points (`docs/FAILPOINTS.md`).

pub mod account;
pub mod clock;
pub mod disk;
pub mod door;
pub mod fault;
pub mod field;
pub mod journals;
pub mod mirror;
pub mod points;
pub mod report;
pub mod round;
pub mod stranger;
pub mod world;
