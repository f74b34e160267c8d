//! The edge program of Davy: reads the meters and sensors of one site and carries every reading to the centre.
//!
//! ```text
//! bus tasks ──readings──► sealer ──blocks──► spool ──► uplink ══MQTT══► centre
//!    │ plan, schedule, decode (profiles)
//! ```
//!
//! The southbound half (`config`, `profile`, `plan`, `schedule`, `decode`, `bus`, `commission`) ends at the bounded
//! channel of `reading`; the northbound half begins there. No code here can write to a field device.

pub mod bus;
pub mod clock;
pub mod commission;
pub mod config;
pub mod decode;
pub mod epoch;
pub mod metrics;
pub mod north;
pub mod plan;
pub mod profile;
pub mod reading;
pub mod schedule;
pub mod seal;
pub mod shutdown;
pub mod state;
pub mod status;
pub mod uplink;
