//! Which gateways may send: their key, their site, who replaced them. A snapshot of the registry, made when that changes.

use std::collections::HashMap;

use wire::{GatewayName, Key};

use crate::registry::Registry;

/// What the registry says of a gateway.
#[derive(Debug, Clone)]
pub struct Known {
    /// Its key.
    pub key: Key,
    /// Its site.
    pub site: String,
    /// The gateway that replaces it, once that one has been heard.
    pub replaced_by: Option<GatewayName>,
}

/// Looks up a gateway.
pub trait Directory {
    /// `None` where it is not registered or has no key: nothing of it is accepted.
    fn gateway(&self, name: &GatewayName) -> Option<&Known>;
}

/// The gateways of a registry, by name.
#[derive(Debug, Clone, Default)]
pub struct KeyRing {
    /// The registry's revision that it was made of.
    pub revision: u64,
    gateways: HashMap<GatewayName, Known>,
}

impl KeyRing {
    /// Of a registry; gateways without a usable key are left out.
    #[must_use]
    pub fn of(registry: &Registry) -> Self {
        let known = registry.gateways().filter_map(|gateway| {
            let name = GatewayName::new(gateway.name.clone()).ok()?;
            let key = gateway.key.clone()?;
            Some((name, Known { key, site: gateway.site.clone(), replaced_by: None }))
        });
        let mut ring = Self { revision: registry.revision, gateways: known.collect() };
        for gateway in registry.gateways() {
            let new = GatewayName::new(gateway.name.clone()).ok();
            let old = gateway.replaces.as_ref().and_then(|o| GatewayName::new(o.clone()).ok());
            if let Some(known) = old.and_then(|o| ring.gateways.get_mut(&o)) {
                known.replaced_by = new;
            }
        }
        ring
    }

    /// Adds or changes a gateway: for simulators and tests.
    pub fn insert(&mut self, name: GatewayName, known: Known) {
        self.gateways.insert(name, known);
    }

    /// Names of all gateways.
    pub fn names(&self) -> impl Iterator<Item = &GatewayName> {
        self.gateways.keys()
    }
}

impl Directory for KeyRing {
    fn gateway(&self, name: &GatewayName) -> Option<&Known> {
        self.gateways.get(name)
    }
}
