//! The edge program of Davy: reads the meters and sensors of one site and carries every reading to the centre.
//!
//! ```text
//! bus tasks ──readings──► sealer ──blocks──► spool ──► uplink ══MQTT══► centre
//!    │ plan, schedule, decode (profiles)
//! ```
//!
//! The southbound half (`config`, `profile`, `plan`, `schedule`, `decode`, `bus`, `commission`) ends at the bounded
//! channel of `reading`; the northbound half begins there. No code here can write to a field device.

use std::sync::Arc;

use tokio_util::task::TaskTracker;

use bus::link::Tcp;
use config::Config;

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

/// Why the program ended without being asked to.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Signals cannot be listened to.
    #[error("cannot listen to signals")]
    Signals(#[source] std::io::Error),
    /// The northbound half did not start.
    #[error("cannot start")]
    North(#[source] north::NorthError),
    /// A part of the running gateway broke.
    #[error("a part of the gateway broke (see the log above); it must be started anew")]
    Broke,
}

/// Runs until SIGTERM or SIGINT, then stops in order: buses, sealer, uplink, spool.
///
/// It always starts: a broker, a device or a clock that is missing is a state, not a failure.
///
/// # Errors
/// [`RunError`]: before anything was read, or [`RunError::Broke`] where a task or the spool's thread panicked or blocks
/// can be kept nowhere. What is on the disk is sent after the next start.
pub async fn run(config: Config) -> Result<(), RunError> {
    let signals = TaskTracker::new();
    let stop = shutdown::on_signal(&signals).map_err(RunError::Signals)?;
    let buses = TaskTracker::new();
    let south = bus::start(&config, Arc::new(Tcp), &buses, &stop);
    let north = north::start(&config, south).map_err(RunError::North)?;
    let (name, devices) = (&config.gateway.name, config.devices().count());
    tracing::info!(gateway = %name, buses = config.buses.len(), devices, "started");
    let failed = north.failed().clone();
    tokio::select! {
        () = stop.cancelled() => {}
        () = failed.cancelled() => tracing::error!("a part of the gateway broke, stopping"),
    }
    let broke = failed.is_cancelled();
    stop.cancel();
    buses.close();
    buses.wait().await;
    north.finish(config.gateway.shutdown_grace).await;
    if broke { Err(RunError::Broke) } else { Ok(()) }
}
