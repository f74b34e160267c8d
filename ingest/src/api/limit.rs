//! How often somebody may try to sign in: per address and per name, so that neither a guessed password nor a guessed
//! set-up token is a matter of patience. And how often somebody may record a fact.

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Mutex, MutexGuard};

use super::ApiError;
use super::auth::Caller;
use crate::account::Role;

mod buckets;

use buckets::Buckets;

/// People behind one address who may mistype at the change of shift.
const ADDRESS_SHARE: NonZeroU32 = NonZeroU32::new(5).expect("5 is not 0");
/// How long a success lets a name pass from the same address while others guess at it, ms (30 days).
const TRUST_MS: i64 = 30 * 86_400_000;
/// Successes remembered.
const TRUSTED_MAX: usize = 10_000;
/// Facts a plant may record at once; then one a minute.
const PLANT_CHANGES: NonZeroU32 = NonZeroU32::new(20).expect("20 is not 0");
/// Facts anybody of the bureau may record in a minute.
const BUREAU_CHANGES: NonZeroU32 = NonZeroU32::new(60).expect("60 is not 0");

/// The limits of signing in. Failures count, successes do not.
#[derive(Debug)]
pub(crate) struct SignIns {
    addresses: Buckets<IpAddr>,
    names: Buckets<String>,
    /// For a name from where it succeeded lately: guessing elsewhere must not lock its owner out.
    pairs: Buckets<(String, IpAddr)>,
    /// When a name last succeeded from an address, ms.
    trusted: Mutex<HashMap<(String, IpAddr), i64>>,
}

/// An attempt that was counted; [`SignIns::succeeded`] takes it back.
#[derive(Debug)]
pub(super) struct Attempt {
    pair: (String, IpAddr),
    is_trusted: bool,
}

impl SignIns {
    /// So many failures a minute for one name, and five times as many for one address.
    pub(crate) fn new(per_minute: u32) -> Self {
        let per_name = NonZeroU32::new(per_minute).unwrap_or(NonZeroU32::MIN);
        let per_address = per_name.saturating_mul(ADDRESS_SHARE);
        Self {
            addresses: Buckets::new(per_address, per_address),
            names: Buckets::new(per_name, per_name),
            pairs: Buckets::new(per_name, per_name),
            trusted: Mutex::default(),
        }
    }

    /// Counts an attempt, before its password is looked at. The address comes first: who has used it up charges no name.
    ///
    /// # Errors
    /// 429 with the time to wait.
    pub(super) fn begin(
        &self,
        name: &str,
        address: IpAddr,
        now_ms: i64,
    ) -> Result<Attempt, ApiError> {
        let pair = (name.trim().to_lowercase(), network(address));
        let since = self.trusted().get(&pair).copied();
        let is_trusted = since.is_some_and(|since| now_ms - since < TRUST_MS);
        let named = || match is_trusted {
            true => self.pairs.take(pair.clone(), now_ms),
            false => self.names.take(pair.0.clone(), now_ms),
        };
        match self.addresses.take(pair.1, now_ms).and_then(|()| named()) {
            Ok(()) => Ok(Attempt { pair, is_trusted }),
            Err(wait_s) => Err(ApiError::too_many("too many attempts to sign in; wait", wait_s)),
        }
    }

    /// Takes an attempt back that was right, and remembers from where.
    pub(super) fn succeeded(&self, attempt: Attempt, now_ms: i64) {
        self.addresses.give_back(&attempt.pair.1);
        if attempt.is_trusted {
            self.pairs.give_back(&attempt.pair);
        } else {
            self.names.give_back(&attempt.pair.0);
        }
        let mut trusted = self.trusted();
        if trusted.len() >= TRUSTED_MAX {
            trusted.retain(|_, since| now_ms - *since < TRUST_MS);
        }
        if trusted.len() < TRUSTED_MAX || trusted.contains_key(&attempt.pair) {
            trusted.insert(attempt.pair, now_ms);
        }
    }

    fn trusted(&self) -> MutexGuard<'_, HashMap<(String, IpAddr), i64>> {
        self.trusted.lock().expect("nobody panics while holding this lock")
    }
}

/// What one household, office or attacker has: an IPv4 address, the upper 64 bits of an IPv6 one.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & !u128::from(u64::MAX)).into()),
        v4 => v4,
    }
}

/// How many facts a caller may record: each is kept for ever and takes the log's reserve.
#[derive(Debug)]
pub(crate) struct Changes {
    plant: Buckets<String>,
    bureau: Buckets<String>,
}

impl Default for Changes {
    fn default() -> Self {
        Self {
            plant: Buckets::new(PLANT_CHANGES, NonZeroU32::MIN),
            bureau: Buckets::new(BUREAU_CHANGES, BUREAU_CHANGES),
        }
    }
}

impl Changes {
    /// Counts a change.
    ///
    /// # Errors
    /// 429 with the time to wait.
    pub(super) fn check(&self, caller: &Caller, now_ms: i64) -> Result<(), ApiError> {
        let buckets = if caller.role == Role::Plant { &self.plant } else { &self.bureau };
        let taken = buckets.take(caller.name.clone(), now_ms);
        taken.map_err(|wait_s| ApiError::too_many("too many facts recorded; wait", wait_s))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_772_000_000_000;

    fn at(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    // An IPv6 attacker has 2^64 addresses and counts as one; a mapped IPv4 address counts as itself.
    #[test]
    fn addresses_of_one_network_count_together() {
        assert_eq!(network(at("2001:db8:1:2::1")), network(at("2001:db8:1:2:ffff::9")));
        assert_ne!(network(at("2001:db8:1:2::1")), network(at("2001:db8:1:3::1")));
        assert_eq!(network(at("::ffff:10.0.0.1")), at("10.0.0.1"));
        assert_ne!(network(at("10.0.0.1")), network(at("10.0.0.2")));
    }

    // Who has used up an address charges no more names with it; successes charge nothing.
    #[test]
    fn an_exhausted_address_charges_no_name() {
        let limits = SignIns::new(2);
        for n in 0..10 {
            assert!(limits.begin(&format!("name-{n}"), at("10.0.0.1"), NOW).is_ok());
        }
        for _ in 0..10 {
            assert!(limits.begin("duty", at("10.0.0.1"), NOW).is_err());
        }
        for _ in 0..10 {
            let attempt = limits.begin("duty", at("10.0.0.2"), NOW).expect("nothing was charged");
            limits.succeeded(attempt, NOW);
        }
    }

    // The owner of a name gets in from where they last did, however much others guess; guesses from there count too.
    #[test]
    fn guessing_elsewhere_does_not_lock_the_owner_out() {
        let limits = SignIns::new(2);
        limits.succeeded(limits.begin("duty", at("10.0.0.1"), NOW).expect("first"), NOW);
        let guesses =
            |from: &str| (0..8).filter(|_| limits.begin("DUTY", at(from), NOW).is_ok()).count();
        assert_eq!(guesses("10.0.0.2"), 2);
        assert!(limits.begin("duty", at("10.0.0.3"), NOW).is_err());
        assert_eq!(guesses("10.0.0.1"), 2);
    }
}
