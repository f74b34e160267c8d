//! How often somebody may try to sign in: per name and per address, so that neither a guessed password nor a guessed
//! set-up token is a matter of patience. And how often somebody may record a fact.

use std::net::IpAddr;
use std::num::NonZeroU32;

use governor::clock::{Clock, DefaultClock};
use governor::{Quota, RateLimiter, state::keyed::HashMapStateStore};
use std::hash::Hash;

use super::ApiError;
use super::auth::Caller;
use crate::account::Role;

/// Names or addresses remembered at once; beyond it everybody waits, which an attack has to pay for too.
const KEYS_MAX: usize = 10_000;

/// People behind one address who may sign in at the change of shift.
const ADDRESS_SHARE: NonZeroU32 = NonZeroU32::new(5).expect("5 is not 0");

/// Facts a plant may record at once; then one a minute.
const PLANT_CHANGES: NonZeroU32 = NonZeroU32::new(20).expect("20 is not 0");
/// Facts anybody of the bureau may record in a minute.
const BUREAU_CHANGES: NonZeroU32 = NonZeroU32::new(60).expect("60 is not 0");

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

/// How many facts a caller may record: each is kept for ever and takes the log's reserve.
#[derive(Debug)]
pub(crate) struct Changes {
    plant: Keyed<String>,
    bureau: Keyed<String>,
}

impl Default for Changes {
    fn default() -> Self {
        let one_a_minute = Quota::per_minute(NonZeroU32::MIN);
        Self {
            plant: RateLimiter::hashmap(one_a_minute.allow_burst(PLANT_CHANGES)),
            bureau: RateLimiter::hashmap(Quota::per_minute(BUREAU_CHANGES)),
        }
    }
}

impl Changes {
    /// Counts a change.
    pub(super) fn check(&self, caller: &Caller) -> Result<(), ApiError> {
        let limiter = if caller.role == Role::Plant { &self.plant } else { &self.bureau };
        match check(limiter, &caller.name) {
            None => Ok(()),
            Some(wait_s) => Err(ApiError::too_many("too many facts recorded; wait", wait_s)),
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
