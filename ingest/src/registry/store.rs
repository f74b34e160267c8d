//! The registry in the state database: loading the snapshot, applying a seed, provisioning a gateway.
//!
//! Whatever the rules depend on becomes a numbered [`Fact`] in the same transaction (see [`super::fact`]).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rules::Fact;
use sea_orm::{ActiveModelTrait, ActiveValue::Set, ColumnTrait};
use sea_orm::{DatabaseTransaction, EntityTrait, IntoActiveModel, PaginatorTrait, QueryFilter};
use serde_json::json;
use wire::key::Key;
use wire::topic::part_of;

use super::fact::{FACT_REVISION, apply_fact, insert_fact, newest_facts};
use super::seed::{Seed, SeedFact, SeedSite, model_body, model_fact_id};
use super::{Device, Gateway, Registry, Site, SiteEntry, is_id, model};
use crate::evaluate::GATEWAYS_MAX;
use crate::journal::{Act, append};
use crate::secret::Secret;
use crate::selfwatch::{PREFIX, is_synthetic};
use crate::state::entity::registry::{device, gateway, site};
use crate::state::{During, State, StateError, count, from_body, next_count, to_body};

/// Counter of changes of sites and devices.
const REGISTRY_REVISION: &str = "registry_revision";
/// Bytes of a gateway's key: 256 bits.
const KEY_BYTES: usize = 32;

/// Why a change of the registry was refused.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// No such site.
    #[error("there is no site {0:?}; add it to the registry first")]
    NoSuchSite(String),
    /// The gateway has a key already.
    #[error(
        "the gateway {0:?} already has a key; give --rekey to replace it, which locks out the old one"
    )]
    HasKey(String),
    /// The gateway stands on another site.
    #[error("the gateway {0:?} stands on site {1:?}; give a replacement another name")]
    OtherSite(String, String),
    /// There are as many gateways as one centre judges.
    #[error(
        "{0:?} is not added: this centre has {GATEWAYS_MAX} gateways, as many as it judges alarms for; a replacement may take the old gateway's name (--rekey), further sites need another centre"
    )]
    TooManyGateways(String),
    /// A value does not fit; says what would.
    #[error("{0}")]
    Invalid(String),
    /// The database failed; nothing was changed.
    #[error("the registry could not be read or changed")]
    State(#[source] StateError),
}

impl From<StateError> for RegistryError {
    fn from(source: StateError) -> Self {
        Self::State(source)
    }
}

/// A gateway just provisioned; the key is shown once.
#[derive(Debug, Clone)]
pub struct Added {
    /// The gateway; its key is in `key` only.
    pub gateway: Gateway,
    /// For the gateway's configuration.
    pub key: Secret,
}

impl Added {
    /// What goes into the gateway's configuration file.
    #[must_use]
    pub fn snippet(&self) -> String {
        let Gateway { name, site, .. } = &self.gateway;
        format!(
            "[gateway]\nname = \"{name}\"\nsite = \"{site}\"\nkey = \"{}\"\n",
            self.key.reveal()
        )
    }
}

/// What a seed changed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SeedReport {
    /// Sites that were new.
    pub sites_added: Vec<String>,
    /// Sites that had changed.
    pub sites_changed: Vec<String>,
    /// `site/device` that the file names no more.
    pub devices_removed: Vec<String>,
    /// Gateways that were new.
    pub gateways_added: Vec<String>,
    /// Gateways whose key the file changed.
    pub gateways_rekeyed: Vec<String>,
    /// Facts that follow from it, for the durable log.
    pub facts: Vec<Fact>,
}

impl SeedReport {
    /// Whether the file said nothing new.
    #[must_use]
    pub fn is_unchanged(&self) -> bool {
        *self == Self::default()
    }
}

impl State {
    /// Loads everything registered.
    ///
    /// # Errors
    /// When the database cannot be read, or a row is not readable.
    pub async fn load_registry(&self) -> Result<Registry, StateError> {
        let db = self.reader();
        let mut sites = BTreeMap::new();
        for row in site::Entity::find().all(db).await.during("loading sites")? {
            let site: Site = from_body("site", &row.id, &row.body)?;
            sites.insert(
                row.id,
                SiteEntry {
                    site,
                    devices: BTreeMap::new(),
                    revision: row.revision.cast_unsigned(),
                },
            );
        }
        for row in device::Entity::find().all(db).await.during("loading devices")? {
            let device: Device = from_body("device", &row.id, &row.body)?;
            if let Some(entry) = sites.get_mut(&row.site) {
                entry.devices.insert(row.id, device);
            }
        }
        let rows = gateway::Entity::find().all(db).await.during("loading gateways")?;
        let gateways = rows.into_iter().map(|row| (row.name.clone(), Arc::new(Gateway::from(row))));
        let newest = newest_facts(self.facts_after(0).await?);
        Ok(Registry {
            revision: count(db, REGISTRY_REVISION).await?.cast_unsigned(),
            fact_revision: count(db, FACT_REVISION).await?.cast_unsigned(),
            sites: sites.into_iter().map(|(id, entry)| (id, Arc::new(entry))).collect(),
            gateways: gateways.collect(),
            facts: newest,
        })
    }

    /// Revisions of the registry and of the facts, to see whether a snapshot is still the newest.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn registry_revisions(&self) -> Result<(u64, u64), StateError> {
        let registry = count(self.reader(), REGISTRY_REVISION).await?;
        let facts = count(self.reader(), FACT_REVISION).await?;
        Ok((registry.cast_unsigned(), facts.cast_unsigned()))
    }

    /// Applies a checked seed; applying it again changes nothing. A device that the file names no more is removed (its
    /// history stays); gateways and facts are never removed by a file.
    ///
    /// # Errors
    /// When the database cannot be written; then nothing was changed.
    pub async fn apply_seed(&self, seed: &Seed, now_ms: i64) -> Result<SeedReport, RegistryError> {
        let tx = self.begin().await?;
        let mut report = SeedReport::default();
        for entry in &seed.sites {
            apply_site(&tx, entry, now_ms, &mut report).await?;
            apply_gateways(&tx, entry, now_ms, &mut report).await?;
            for fact in &entry.facts {
                apply_fact(&tx, &entry.site.id, fact, now_ms, &mut report).await?;
            }
        }
        if let Some(last) = report.gateways_added.last() {
            need_room(&tx, last, 0).await?;
        }
        if !report.is_unchanged() {
            let act =
                Act { at: now_ms, actor: "seed", action: "registry.seed", subject: "registry" };
            let revisions = report.facts.iter().map(|fact| fact.revision).collect::<Vec<_>>();
            let detail = json!({
                "sites_added": report.sites_added, "sites_changed": report.sites_changed,
                "devices_removed": report.devices_removed, "gateways_added": report.gateways_added,
                "gateways_rekeyed": report.gateways_rekeyed, "fact_revisions": revisions,
            });
            append(&tx, act, &detail).await?;
        }
        tx.commit().await.during("applying the seed")?;
        Ok(report)
    }

    /// Provisions a gateway: draws its key and gives it out once.
    ///
    /// # Errors
    /// [`RegistryError`]; nothing was changed.
    pub async fn add_gateway(
        &self,
        name: &str,
        site: &str,
        rekey: bool,
        actor: &str,
        now_ms: i64,
    ) -> Result<Added, RegistryError> {
        if !is_id(name) {
            let text = "a gateway's name has 1 to 64 letters, digits, '_' or '-'";
            return Err(RegistryError::Invalid(text.to_owned()));
        }
        if is_synthetic(name) {
            let text = format!("names that begin with {PREFIX} are the centre's own");
            return Err(RegistryError::Invalid(text));
        }
        let key = Secret::random(KEY_BYTES).map_err(StateError::Random)?;
        let tx = self.begin().await?;
        need_site(&tx, site).await?;
        let found = gateway::Entity::find_by_id(name).one(&tx).await.during("reading a gateway")?;
        if let Some(known) = &found {
            if known.site != site {
                return Err(RegistryError::OtherSite(name.to_owned(), known.site.clone()));
            }
            if known.key_hex.is_some() && !rekey {
                return Err(RegistryError::HasKey(name.to_owned()));
            }
        }
        if found.is_none() {
            need_room(&tx, name, 1).await?;
        }
        let new = SeedKey { name, site, key: Some(&key), replaces: None, now_ms };
        let row = write_gateway(&tx, found, new).await?;
        next_count(&tx, REGISTRY_REVISION).await?;
        let act = Act { at: now_ms, actor, action: "gateway.add", subject: name };
        append(&tx, act, &json!({ "site": site, "rekey": rekey })).await?;
        tx.commit().await.during("adding a gateway")?;
        Ok(Added { gateway: Gateway::from(row), key })
    }
}

pub(super) async fn need_site(tx: &DatabaseTransaction, id: &str) -> Result<(), RegistryError> {
    let found = site::Entity::find_by_id(id).one(tx).await.during("reading a site")?;
    found.map(drop).ok_or_else(|| RegistryError::NoSuchSite(id.to_owned()))
}

/// Refuses a gateway that would be one too many, `new` of which are to be added: its blocks would be stored and judged by
/// no rule.
async fn need_room(tx: &DatabaseTransaction, name: &str, new: u64) -> Result<(), RegistryError> {
    let known = gateway::Entity::find().count(tx).await.during("counting gateways")?;
    match known.saturating_add(new) <= GATEWAYS_MAX as u64 {
        true => Ok(()),
        false => Err(RegistryError::TooManyGateways(name.to_owned())),
    }
}

/// Writes a site and its devices if they differ from what is there, and records the new model as a fact.
async fn apply_site(
    tx: &DatabaseTransaction,
    entry: &SeedSite,
    now_ms: i64,
    report: &mut SeedReport,
) -> Result<(), StateError> {
    let id = &entry.site.id;
    let known = site::Entity::find_by_id(id).one(tx).await.during("reading a site")?;
    let rows = device::Entity::find().filter(device::Column::Site.eq(id)).all(tx).await;
    let mut known_devices = BTreeMap::new();
    for row in rows.during("reading devices")? {
        let device: Device = from_body("device", &row.id, &row.body)?;
        known_devices.insert(row.id, device);
    }
    let mut devices = entry.devices.clone();
    for (id, device) in &mut devices {
        device.expected_since = known_devices.get(id).map_or(now_ms, |known| known.expected_since);
    }
    let body = to_body(&entry.site);
    if known.as_ref().is_some_and(|row| row.body == body) && known_devices == devices {
        return Ok(());
    }
    let revision = next_count(tx, REGISTRY_REVISION).await?;
    let is_new = known.is_none();
    write_site(tx, &entry.site, body, is_new, revision, now_ms).await?;
    let gone: BTreeSet<&String> =
        known_devices.keys().filter(|id| !devices.contains_key(*id)).collect();
    for device in &gone {
        let key = (id.clone(), (*device).clone());
        device::Entity::delete_by_id(key).exec(tx).await.during("removing a device")?;
        report.devices_removed.push(format!("{id}/{device}"));
    }
    for (name, device) in &devices {
        if known_devices.get(name) != Some(device) {
            write_device(tx, id, device, known_devices.contains_key(name), revision).await?;
        }
    }
    let changed =
        SiteEntry { site: entry.site.clone(), devices, revision: revision.cast_unsigned() };
    let fact = SeedFact {
        id: model_fact_id(id),
        valid_from: now_ms,
        valid_to: None,
        withdrawn: false,
        body: model_body(model::site_model(&changed)),
    };
    report.facts.push(insert_fact(tx, id, &fact, "seed", now_ms).await?);
    let list = if is_new { &mut report.sites_added } else { &mut report.sites_changed };
    list.push(id.clone());
    Ok(())
}

async fn write_site(
    tx: &DatabaseTransaction,
    written: &Site,
    body: String,
    is_new: bool,
    revision: i64,
    now_ms: i64,
) -> Result<(), StateError> {
    let row = site::ActiveModel {
        id: Set(written.id.clone()),
        name: Set(written.name.zh.clone()),
        uscc: Set(written.uscc.clone()),
        county: Set(written.county.clone()),
        body: Set(body),
        revision: Set(revision),
        updated_at: Set(now_ms),
    };
    let done = if is_new {
        site::Entity::insert(row).exec_without_returning(tx).await.map(drop)
    } else {
        row.update(tx).await.map(drop)
    };
    done.during("writing a site")
}

async fn write_device(
    tx: &DatabaseTransaction,
    site: &str,
    written: &Device,
    is_known: bool,
    revision: i64,
) -> Result<(), StateError> {
    let row = device::ActiveModel {
        site: Set(site.to_owned()),
        id: Set(written.id.clone()),
        name: Set(written.name.zh.clone()),
        role: Set(written.role.clone()),
        gateway: Set(written.gateway.clone()),
        body: Set(to_body(written)),
        revision: Set(revision),
    };
    let done = if is_known {
        row.update(tx).await.map(drop)
    } else {
        device::Entity::insert(row).exec_without_returning(tx).await.map(drop)
    };
    done.during("writing a device")
}

async fn apply_gateways(
    tx: &DatabaseTransaction,
    entry: &SeedSite,
    now_ms: i64,
    report: &mut SeedReport,
) -> Result<(), RegistryError> {
    for seed in &entry.gateways {
        let found = gateway::Entity::find_by_id(&seed.name).one(tx).await;
        let found = found.during("reading a gateway")?;
        if let Some(known) = &found {
            if known.site != entry.site.id {
                return Err(RegistryError::OtherSite(seed.name.clone(), known.site.clone()));
            }
            let same_key = seed.key.is_none() || known.key_hex == seed.key;
            if same_key && known.replaces == seed.replaces {
                continue;
            }
            if !same_key {
                report.gateways_rekeyed.push(seed.name.clone());
            }
        } else {
            report.gateways_added.push(seed.name.clone());
        }
        let (key, replaces) = (seed.key.as_ref(), seed.replaces.as_deref());
        let new = SeedKey { name: &seed.name, site: &entry.site.id, key, replaces, now_ms };
        write_gateway(tx, found, new).await?;
        next_count(tx, REGISTRY_REVISION).await?;
    }
    Ok(())
}

/// What is written of a gateway.
struct SeedKey<'a> {
    name: &'a str,
    site: &'a str,
    key: Option<&'a Secret>,
    replaces: Option<&'a str>,
    now_ms: i64,
}

/// Writes a gateway; what `new` leaves out stays as it was.
async fn write_gateway(
    tx: &DatabaseTransaction,
    found: Option<gateway::Model>,
    new: SeedKey<'_>,
) -> Result<gateway::Model, StateError> {
    let is_new = found.is_none();
    let mut row = found.unwrap_or_else(|| gateway::Model {
        name: new.name.to_owned(),
        site: new.site.to_owned(),
        part: i32::from(part_of(new.name)),
        key_hex: None,
        replaces: None,
        created_at: new.now_ms,
    });
    row.key_hex = new.key.cloned().or(row.key_hex);
    row.replaces = new.replaces.map(str::to_owned).or(row.replaces);
    let active = row.clone().into_active_model().reset_all();
    let done = if is_new {
        gateway::Entity::insert(active).exec_without_returning(tx).await.map(drop)
    } else {
        active.update(tx).await.map(drop)
    };
    done.during("writing a gateway")?;
    Ok(row)
}

impl From<gateway::Model> for Gateway {
    fn from(row: gateway::Model) -> Self {
        Self {
            part: part_of(&row.name),
            name: row.name,
            site: row.site,
            key: row.key_hex.and_then(|hex| Key::from_hex(hex.reveal()).ok()),
            replaces: row.replaces,
            created_at: row.created_at,
        }
    }
}
