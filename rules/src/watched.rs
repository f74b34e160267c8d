//! Lists of watches, as the monitors of silent gateways and lost feeders keep them: where a gateway's stand, for each block of
//! thousands of gateways asks, and which go on after a change of the registry.

use crate::transition::Scope;
use std::collections::BTreeMap;

/// Where the watches of a gateway stand in a list. Follows from the list; never stored.
#[derive(Debug, Clone, Default)]
pub(crate) struct Watched(BTreeMap<String, Vec<usize>>);

impl Watched {
    /// Indexes a list by the gateways that each of its watches names.
    pub(crate) fn of<'a, N>(watches: impl IntoIterator<Item = N>) -> Self
    where
        N: IntoIterator<Item = &'a String>,
    {
        let mut places: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (place, names) in watches.into_iter().enumerate() {
            for name in names {
                places.entry(name.clone()).or_default().push(place);
            }
        }
        Self(places)
    }

    /// The places of a gateway's watches, in order.
    pub(crate) fn places(&self, gateway: &str) -> &[usize] {
        self.0.get(gateway).map_or(&[], Vec::as_slice)
    }
}

/// For each watch of a new list the one of the same rule and scope in an earlier list.
pub(crate) fn matched<'a, W>(
    now: &[W],
    earlier: &'a [W],
    name: impl Fn(&W) -> (&str, &Scope),
) -> Vec<Option<&'a W>> {
    let earlier: BTreeMap<_, _> = earlier.iter().map(|watch| (name(watch), watch)).collect();
    now.iter().map(|watch| earlier.get(&name(watch)).copied()).collect()
}
