//! The registry: which sites, gateways and devices there are, what is expected of them, and the facts in force.
//!
//! [`Registry`] is a snapshot in memory, read by the receiver (keys), the evaluator (models), the API; it is replaced as
//! a whole behind [`Registrar`] after a change. Changes are made by [`State`]'s methods in
//! [`store`] and [`fact`], each in one transaction with its audit row and, where rules depend on it, with a numbered
//! [`rules::Fact`] that the pipeline then writes to the durable log.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rules::{Fact, SiteModel, Text};
use serde::{Deserialize, Serialize};
use wire::key::Key;

use crate::account::Scope;
use crate::state::{State, StateError};

pub mod county;
pub mod fact;
mod model;
pub mod seed;
pub mod store;
pub mod uscc;

#[cfg(test)]
mod tests;

pub use fact::NewFact;
pub use store::{Added, RegistryError, SeedReport};

/// Sector tags; not the same as GB/T 4754 (a dust firm may be of any industry).
pub const SECTORS: [&str; 8] =
    ["危化", "非煤矿山", "煤矿", "冶金", "有色", "粉尘涉爆", "烟花爆竹", "其他工贸"];

/// A site 企业/厂区.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Site {
    /// Short id: 1 to 64 of `[A-Za-z0-9_-]`.
    pub id: String,
    /// Name.
    pub name: Text,
    /// Unified social credit code 统一社会信用代码, checked.
    pub uscc: String,
    /// County, GB/T 2260, six digits; where the plant stands, never derived from `uscc`.
    pub county: String,
    /// Of [`SECTORS`].
    pub sectors: Vec<String>,
    /// IANA time zone, e.g. `Asia/Shanghai`.
    pub zone: String,
    /// WGS 84 degrees.
    pub position: Option<Place>,
    /// Contract demand 合同容量, kW.
    pub contract_kw: Option<f64>,
    /// Grid feeder 馈线 that supplies the site, as the grid company names it: sites with the same one are neighbours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub feeder: Option<String>,
    /// Licensed capacities 许可产能.
    pub capacities: Vec<Capacity>,
    /// Whom to call.
    pub contacts: Vec<Contact>,
    /// 户号 with dates: many to many over time.
    pub accounts: Vec<GridAccount>,
    /// Ratings of the site itself (`P_ref`, `P_base`).
    pub ratings: BTreeMap<String, Rating>,
    /// Which protective device belongs to which production device.
    pub pairs: Vec<rules::site::Pair>,
    /// Devices that stand in for each other.
    pub groups: Vec<rules::site::Group>,
    /// Parameters set otherwise than the catalogue's default.
    pub overrides: Vec<rules::site::Override>,
}

/// Where a site is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Place {
    /// Degrees north.
    pub lat: f64,
    /// Degrees east.
    pub lon: f64,
}

/// A licensed capacity.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Capacity {
    /// Product.
    pub what: String,
    /// Amount in `unit`.
    pub value: f64,
    /// e.g. `t/a`.
    pub unit: String,
}

/// A person at the site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contact {
    /// Name.
    pub name: String,
    /// 安全员, 主要负责人, …
    pub role: String,
    /// As dialled.
    pub phone: String,
}

/// A grid account 户号 that feeds the site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GridAccount {
    /// 户号.
    pub number: String,
    /// First local day, `YYYY-MM-DD`.
    pub from: String,
    /// Last local day; none = still.
    pub to: Option<String>,
}

/// A rating with its unit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rating {
    /// Amount in `unit`.
    pub value: f64,
    /// e.g. `A`, `kW`.
    pub unit: String,
}

/// A device; its id is unique in its site.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Device {
    /// Id.
    pub id: String,
    /// Name.
    pub name: Text,
    /// What it does in the plant, see [`rules::site::role`].
    pub role: String,
    /// Gateway that reads it.
    pub gateway: Option<String>,
    /// Tags (铝镁, …).
    pub tags: Vec<String>,
    /// Ratings with units.
    pub ratings: BTreeMap<String, Rating>,
    /// Quantities expected of it, with their periods.
    pub points: Vec<rules::site::Point>,
    /// The object this device protects.
    pub protects: Option<String>,
    /// Since when it is expected to report, ms UTC; set when it is first registered.
    pub expected_since: i64,
}

/// A gateway and the site it stands on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gateway {
    /// Topic-safe name.
    pub name: String,
    /// Site id.
    pub site: String,
    /// Topic partition.
    pub part: u8,
    /// Its key; none = registered, not provisioned: nothing from it is accepted.
    pub key: Option<Key>,
    /// The gateway this one replaces.
    pub replaces: Option<String>,
    /// Ms UTC.
    pub created_at: i64,
}

/// A site with its devices.
#[derive(Debug, Clone, PartialEq)]
pub struct SiteEntry {
    /// The site.
    pub site: Site,
    /// Its devices by id.
    pub devices: BTreeMap<String, Device>,
    /// Registry revision of its last change.
    pub revision: u64,
}

/// Everything registered, as one immutable snapshot.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    /// Goes up with each change.
    pub revision: u64,
    /// Newest fact revision.
    pub fact_revision: u64,
    sites: BTreeMap<String, Arc<SiteEntry>>,
    gateways: HashMap<String, Arc<Gateway>>,
    facts: Vec<Arc<Fact>>,
}

impl Registry {
    /// One site.
    #[must_use]
    pub fn site(&self, id: &str) -> Option<&Arc<SiteEntry>> {
        self.sites.get(id)
    }

    /// All sites by id.
    pub fn sites(&self) -> impl Iterator<Item = &Arc<SiteEntry>> {
        self.sites.values()
    }

    /// Sites that somebody may see.
    pub fn sites_in<'a>(&'a self, scope: &'a Scope) -> impl Iterator<Item = &'a Arc<SiteEntry>> {
        self.sites.values().filter(|entry| scope.allows(&entry.site.id))
    }

    /// One device of a site.
    #[must_use]
    pub fn device(&self, site: &str, id: &str) -> Option<&Device> {
        self.sites.get(site)?.devices.get(id)
    }

    /// One gateway.
    #[must_use]
    pub fn gateway(&self, name: &str) -> Option<&Arc<Gateway>> {
        self.gateways.get(name)
    }

    /// All gateways, in no order.
    pub fn gateways(&self) -> impl Iterator<Item = &Arc<Gateway>> {
        self.gateways.values()
    }

    /// Newest revision of every fact that is not about the registry itself, oldest first; withdrawn ones too.
    #[must_use]
    pub fn facts(&self) -> &[Arc<Fact>] {
        &self.facts
    }

    /// What the rule engine is told of a site.
    #[must_use]
    pub fn model(&self, site: &str) -> Option<SiteModel> {
        self.sites.get(site).map(|entry| model::site_model(entry))
    }

    /// What the rule engine is told, for all sites by id.
    #[must_use]
    pub fn models(&self) -> Vec<SiteModel> {
        self.sites.values().map(|entry| model::site_model(entry)).collect()
    }
}

/// Holds the current snapshot; reading it never waits.
#[derive(Debug, Default)]
pub struct Registrar {
    current: ArcSwap<Registry>,
}

impl Registrar {
    /// Begins with a snapshot, usually from [`State::load_registry`](crate::state::State::load_registry).
    #[must_use]
    pub fn new(registry: Registry) -> Self {
        Self { current: ArcSwap::from_pointee(registry) }
    }

    /// The snapshot now.
    #[must_use]
    pub fn current(&self) -> Arc<Registry> {
        self.current.load_full()
    }

    /// Loads the registry again if the database has a newer one: another process may have changed it. Cheap when not.
    ///
    /// # Errors
    /// When the database cannot be read; the snapshot stays as it was.
    pub async fn refresh(&self, state: &State) -> Result<bool, StateError> {
        let now = self.current();
        if state.registry_revisions().await? == (now.revision, now.fact_revision) {
            return Ok(false);
        }
        self.replace(state.load_registry().await?);
        Ok(true)
    }

    /// Puts a newer snapshot in place; an older one is dropped, so that two reloads may overtake each other.
    pub fn replace(&self, registry: Registry) {
        let newer = Arc::new(registry);
        self.current.rcu(|now| {
            let is_newer =
                (newer.revision, newer.fact_revision) >= (now.revision, now.fact_revision);
            Arc::clone(if is_newer { &newer } else { now })
        });
    }
}

/// Whether a text may be the id of a site, a device or a gateway: it appears in topics, tags and addresses.
#[must_use]
pub fn is_id(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    (1..=64).contains(&text.len()) && text.chars().all(fits)
}
