//! The centre's watch over itself: every 10 s a sample of its own goes through the broker, the log, the evaluator and the
//! alarms like a gateway's, and must raise and clear a test alarm.
//!
//! ```text
//! Probe ─► Sender ─► publisher ─► broker ─► subscriber ─► receiver, log ─► evaluator ─► state database ─► announcer
//!   ▲                                          │ returned      │ logged       │ judged                       │ alarmed
//!   └───────────────────────────────── Marks ◄─┴───────────────┴──────────────┴──────────────────────────────┘
//! ```
//!
//! The gateway behind it exists nowhere but here: its key is drawn at each start, it is in no registry, and receiver,
//! store writer, newest values and boards leave it out by its name ([`is_synthetic`]). Its rule lives in a catalogue of
//! its own, so that nobody can tune it. Its alarm is written and taken back inside the transaction in which the evaluator
//! writes everybody's, so that the tables are proven and stay as they were.

use std::sync::{Arc, OnceLock};

use rules::site::{Device, Point};
use rules::{Catalogue, SiteModel, Text};
use wire::{Epoch, GatewayName, Key};

pub mod heartbeat;
pub mod marks;
pub mod probe;
pub mod send;

pub use marks::{Marks, Seen};
pub use probe::{Probe, Round, Stage};
pub use send::Sender;

use crate::receive::Known;

/// What every synthetic gateway's name begins with; no other gateway may have such a name.
pub const PREFIX: &str = "davy-self-";
/// The site that it says it is on; no site can have this id (it has a dot).
pub const SITE: &str = ".davy-self";
/// Its one device.
pub const DEVICE: &str = "self";
/// What it measures.
pub const QUANTITY: &str = "gas_lel";
/// Period of its point, ms.
pub const PERIOD_MS: u32 = 10_000;
/// The value that must raise the test alarm.
pub const RAISES: f64 = 1.0;
/// The value that must clear it.
pub const CLEARS: f64 = 0.0;

/// Whether a gateway is a centre's own.
#[must_use]
pub fn is_synthetic(gateway: &str) -> bool {
    gateway.starts_with(PREFIX)
}

/// The name that a centre's own gateway has at the broker: centres that share one have different client ids.
#[must_use]
pub fn name_of(client_id: &str) -> GatewayName {
    let name = format!("{PREFIX}{:08x}", crc32(client_id));
    GatewayName::new(name).expect("a prefix and eight digits are a name")
}

fn crc32(text: &str) -> u32 {
    crc32fast::hash(text.as_bytes())
}

/// A centre's own gateway during one start.
#[derive(Debug)]
pub struct Watched {
    /// Its name.
    pub name: GatewayName,
    /// Drawn at this start, so that nothing an earlier start left at the broker counts.
    pub key: Key,
    /// Drawn at this start.
    pub epoch: Epoch,
    /// How far its newest sample has come.
    pub marks: Arc<Marks>,
}

impl Watched {
    /// Draws key and epoch.
    ///
    /// # Errors
    /// When the system gives no random bytes.
    pub fn draw(client_id: &str) -> Result<Self, getrandom::Error> {
        let (mut key, mut epoch) = ([0; 32], [0; 8]);
        getrandom::fill(&mut key)?;
        getrandom::fill(&mut epoch)?;
        Ok(Self {
            name: name_of(client_id),
            key: Key::new(key),
            epoch: Epoch(u64::from_le_bytes(epoch)),
            marks: Arc::default(),
        })
    }

    /// As the receiver must know it.
    #[must_use]
    pub fn known(&self) -> Known {
        Known { key: self.key.clone(), site: SITE.to_owned(), replaced_by: None }
    }
}

/// The one rule that judges it.
#[must_use]
pub fn catalogue() -> Arc<Catalogue> {
    static CATALOGUE: OnceLock<Arc<Catalogue>> = OnceLock::new();
    let load = || {
        let files = [("selfwatch/rule.toml", include_str!("selfwatch/rule.toml"))];
        Arc::new(Catalogue::load(&files).expect("a test loads the built-in file"))
    };
    Arc::clone(CATALOGUE.get_or_init(load))
}

/// What the rule knows of its site.
#[must_use]
pub fn model(gateway: &str) -> SiteModel {
    let point = Point { quantity: QUANTITY.to_owned(), period_ms: i64::from(PERIOD_MS) };
    let device = Device {
        id: DEVICE.to_owned(),
        role: "self_watch".to_owned(),
        gateway: gateway.to_owned(),
        points: vec![point],
        ..Device::default()
    };
    SiteModel {
        site: SITE.to_owned(),
        name: Text::new("自检", "self-watch"),
        devices: vec![device],
        ..SiteModel::default()
    }
}

#[cfg(test)]
mod tests;
