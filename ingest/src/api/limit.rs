//! How often somebody may try to sign in: per name and per address, so that neither a guessed password nor a guessed
//! set-up token is a matter of patience.

use std::net::IpAddr;
use std::num::NonZeroU32;

use governor::clock::{Clock, DefaultClock};
use governor::{Quota, RateLimiter, state::keyed::HashMapStateStore};
use std::hash::Hash;

use super::ApiError;

/// Names or addresses remembered at once; beyond it everybody waits, which an attack has to pay for too.
const KEYS_MAX: usize = 10_000;

/// People behind one address who may sign in at the change of shift.
const ADDRESS_SHARE: NonZeroU32 = NonZeroU32::new(5).expect("5 is not 0");

type Keyed<K> = RateLimiter<K, HashMapStateStore<K>, DefaultClock>;

/// The two limits.
#[derive(Debug)]
pub(crate) struct SignIns {
    names: Keyed<String>,
    addresses: Keyed<IpAddr>,
}

impl SignIns {
    pub(crate) fn new(per_minute: u32) -> Self {
        let per_name = NonZeroU32::new(per_minute).unwrap_or(NonZeroU32::MIN);
        let per_address = per_name.saturating_mul(ADDRESS_SHARE);
        Self {
            names: RateLimiter::hashmap(Quota::per_minute(per_name)),
            addresses: RateLimiter::hashmap(Quota::per_minute(per_address)),
        }
    }

    /// Counts an attempt.
    pub(crate) fn check(&self, name: &str, address: IpAddr) -> Result<(), ApiError> {
        let name = name.trim().to_lowercase();
        let waits = [check(&self.addresses, &address), check(&self.names, &name)];
        match waits.into_iter().flatten().max() {
            None => Ok(()),
            Some(wait_s) => Err(ApiError::too_many("too many attempts to sign in; wait", wait_s)),
        }
    }
}

/// Seconds to wait, if any.
fn check<K: Hash + Eq + Clone>(limiter: &Keyed<K>, key: &K) -> Option<u64> {
    if limiter.len() >= KEYS_MAX {
        limiter.retain_recent();
        if limiter.len() >= KEYS_MAX {
            return Some(60);
        }
    }
    let refused = limiter.check_key(key).err()?;
    Some(refused.wait_time_from(DefaultClock::default().now()).as_secs() + 1)
}
