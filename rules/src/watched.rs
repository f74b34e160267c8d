//! Where the watches of a gateway stand in a monitor's list: each block of thousands of gateways asks.

use std::collections::BTreeMap;

/// See the module. Follows from the list; never stored.
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
