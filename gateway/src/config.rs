//! The gateway's configuration: what was checked and may be relied upon.
//!
//! `Config::load` reads one TOML file and the profiles it names, and reports *every* problem with file, line, what is
//! wrong and how to mend it; nothing starts from a file that has one. Parsing binds no port and opens no bus. The
//! types here are the checked ones; what the user wrote lives only inside `config/`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::bus::link::Framing;
use crate::profile::Point;

mod device;
mod file;
mod keys;
pub mod problem;
pub mod section;

/// A checked configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file it came from.
    pub file: PathBuf,
    /// Who this gateway is and where it keeps its queue.
    pub gateway: Gateway,
    /// Folder with profiles of the site's own.
    pub profiles_dir: Option<PathBuf>,
    /// Where the readings go.
    pub broker: Broker,
    /// Loopback page and metrics; absent = none.
    pub status: Option<Status>,
    /// The field buses, each with its devices.
    pub buses: Vec<Bus>,
}

/// `[gateway]`.
#[derive(Debug, Clone)]
pub struct Gateway {
    /// As provisioned at the centre.
    pub name: wire::GatewayName,
    /// The site it stands on, as registered.
    pub site: String,
    /// The key that `davy-ingest gateway add` printed.
    pub key: wire::Key,
    /// Folder of the durable queue.
    pub spool_dir: PathBuf,
    /// A block closes after this time at the latest. Default 100 ms.
    pub flush: Duration,
    /// Bytes the queue may take. Default 2 GiB.
    pub spool_bytes_max: u64,
    /// Bytes of the disk that the queue leaves free. Default 256 MiB.
    pub free_reserve_bytes: u64,
    /// The gateway that this one replaces.
    pub replaces: Option<wire::GatewayName>,
    /// Time to drain the uplink at shutdown. Default 5 s.
    pub shutdown_grace: Duration,
}

/// `[broker]`.
#[derive(Debug, Clone)]
pub struct Broker {
    /// Host name or address.
    pub host: String,
    /// Port; 1883 for `mqtt://`, 8883 for `mqtts://` unless given.
    pub port: u16,
    /// Whether the link is TLS.
    pub tls: bool,
    /// User name, if the broker asks for one.
    pub user: Option<String>,
    /// Its password.
    pub password: Option<Secret>,
    /// PEM file with the authority to trust; absent = the system's.
    pub ca_file: Option<PathBuf>,
}

/// `[status]`.
#[derive(Debug, Clone)]
pub struct Status {
    /// Loopback address of the status page and the metrics.
    pub listen: SocketAddr,
}

/// `[[bus]]`: one endpoint, owned by one task.
#[derive(Debug, Clone)]
pub struct Bus {
    /// Unique name.
    pub name: Arc<str>,
    /// `host:port` of the endpoint.
    pub address: Arc<str>,
    /// Modbus TCP, or serial frames through a transparent serial server.
    pub framing: Framing,
    /// Time a device has to answer. Default 1 s.
    pub timeout: Duration,
    /// Silence between an answer and the next request. Default 0.
    pub min_gap: Duration,
    /// Speed of the serial line behind a TCP-to-RS-485 converter, in baud: makes the utilisation true.
    pub line_baud: Option<u32>,
    /// The devices on it.
    pub devices: Vec<Device>,
}

/// `[[bus.device]]`, with the profile's points resolved against the site's wiring.
#[derive(Debug, Clone)]
pub struct Device {
    /// Position over all buses, in file order.
    pub index: u32,
    /// Unique in the site.
    pub id: Arc<str>,
    /// Modbus unit, 0..=255.
    pub unit: u8,
    /// What it is there for, e.g. `incomer`; free text, shown to people.
    pub role: Option<String>,
    /// Profile id.
    pub profile: Arc<str>,
    /// Profile version.
    pub profile_version: Arc<str>,
    /// Registers one request may ask for.
    pub max_regs: u16,
    /// Typical time it takes to begin its answer.
    pub turnaround: Duration,
    /// Ranges (first, last) of registers that are never read.
    pub forbid: Vec<(u16, u16)>,
    /// What is read, ready to decode.
    pub points: Vec<Point>,
}

impl Config {
    /// All devices in the order of their indexes.
    pub fn devices(&self) -> impl Iterator<Item = (&Bus, &Device)> {
        self.buses.iter().flat_map(|bus| bus.devices.iter().map(move |device| (bus, device)))
    }
}

/// A secret that no log or dump shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps it.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The secret itself: only for the one place that uses it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests;
