//! Counting by key: so many at once, then so many a minute. What was taken can be given back, which is how failures only
//! are counted while attempts that run at the same time cannot slip past.

use std::collections::HashMap;
use std::hash::Hash;
use std::num::NonZeroU32;
use std::sync::{Mutex, MutexGuard};

/// Keys remembered at once; beyond it whoever is new waits, which an attack has to pay for too.
const KEYS_MAX: usize = 10_000;
/// How long they wait, seconds.
const WAIT_S: u64 = 60;

/// See the module.
#[derive(Debug)]
pub(super) struct Buckets<K> {
    /// When everything that a key has used is free again, ms.
    free_at: Mutex<HashMap<K, i64>>,
    /// Time after which one more may be taken, ms.
    each: i64,
    /// Time after which everything is free again, ms.
    whole: i64,
}

impl<K: Hash + Eq> Buckets<K> {
    /// `burst` at once, then `per_minute`, at most 60,000.
    pub(super) fn new(burst: NonZeroU32, per_minute: NonZeroU32) -> Self {
        let each = (60_000 / i64::from(per_minute.get())).max(1);
        Self { free_at: Mutex::default(), each, whole: each.saturating_mul(burst.get().into()) }
    }

    /// Takes one. A clock that steps back makes nobody wait longer than for what they have used.
    ///
    /// # Errors
    /// Seconds to wait, at least 1.
    pub(super) fn take(&self, key: K, now_ms: i64) -> Result<(), u64> {
        let mut keys = self.keys();
        if keys.len() >= KEYS_MAX && !keys.contains_key(&key) {
            keys.retain(|_, free_at| *free_at > now_ms);
            if keys.len() >= KEYS_MAX {
                return Err(WAIT_S);
            }
        }
        let free_at = keys.entry(key).or_insert(now_ms);
        let used = (*free_at - now_ms).clamp(0, self.whole);
        let over = used + self.each - self.whole;
        *free_at = now_ms + if over > 0 { used } else { used + self.each };
        if over > 0 { Err(u64::try_from(over / 1_000).unwrap_or(0) + 1) } else { Ok(()) }
    }

    /// Gives one back.
    pub(super) fn give_back(&self, key: &K) {
        if let Some(free_at) = self.keys().get_mut(key) {
            *free_at -= self.each;
        }
    }

    fn keys(&self) -> MutexGuard<'_, HashMap<K, i64>> {
        self.free_at.lock().expect("nobody panics while holding this lock")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THREE: NonZeroU32 = NonZeroU32::new(3).expect("3 is not 0");
    const NOW: i64 = 1_772_000_000_000;

    #[test]
    fn so_many_at_once_then_one_by_one() {
        let buckets = Buckets::new(THREE, THREE);
        for _ in 0..3 {
            assert_eq!(buckets.take("a", NOW), Ok(()));
        }
        assert_eq!(buckets.take("a", NOW), Err(21));
        assert_eq!(buckets.take("b", NOW), Ok(()), "another's");
        buckets.give_back(&"a");
        assert_eq!(buckets.take("a", NOW), Ok(()));
        assert_eq!(buckets.take("a", NOW + 19_999), Err(1));
        assert_eq!(buckets.take("a", NOW + 20_000), Ok(()));
        assert_eq!(buckets.take("a", NOW + 20_000), Err(21));
        assert_eq!(buckets.take("a", NOW - 3_600_000), Err(21), "the clock stepped back");
    }

    // Invariant 5: the number of keys reaches its maximum; who is known goes on, who is new waits until others are free.
    #[test]
    fn keys_are_bounded() {
        let buckets = Buckets::new(THREE, THREE);
        for key in 0..KEYS_MAX {
            assert_eq!(buckets.take(key, NOW), Ok(()));
        }
        assert_eq!(buckets.take(KEYS_MAX, NOW), Err(WAIT_S));
        assert_eq!(buckets.take(0, NOW), Ok(()));
        assert_eq!(buckets.take(KEYS_MAX, NOW + 60_000), Ok(()));
        assert_eq!(buckets.keys().len(), 1);
    }
}
