//! Places for streams: so many in all, so many for one caller, and some that only who is on duty may take, so that no
//! number of other viewers keeps an alarm from the desk.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use super::ApiError;

/// Streams one user or key may have open: two screens with some tabs each.
const OF_ONE_MAX: usize = 8;
/// Places that only duty staff and officers may take.
const RESERVED: usize = 64;

/// The places.
#[derive(Debug)]
pub(crate) struct Places {
    taken: Arc<Mutex<Taken>>,
    max: usize,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by: HashMap<String, usize>,
}

/// A place, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    taken: Arc<Mutex<Taken>>,
    who: String,
}

impl Places {
    /// `max` places in all, [`RESERVED`] of them for who is on duty.
    pub(super) fn new(max: usize) -> Self {
        Self { taken: Arc::default(), max }
    }

    /// Takes a place.
    ///
    /// # Errors
    /// 429 where the caller or everybody has all there are.
    pub(super) fn take(&self, who: &str, on_duty: bool) -> Result<Place, ApiError> {
        let mut taken = lock(&self.taken);
        let own = taken.by.get(who).copied().unwrap_or(0);
        if own >= OF_ONE_MAX {
            let text = "this account has too many live views open; close a tab";
            return Err(ApiError::too_many(text, 10));
        }
        let max = if on_duty { self.max } else { self.max.saturating_sub(RESERVED) };
        if taken.all >= max {
            let text = "too many live views are open; try again later";
            return Err(ApiError::too_many(text, 10));
        }
        taken.all += 1;
        taken.by.insert(who.to_owned(), own + 1);
        Ok(Place { taken: Arc::clone(&self.taken), who: who.to_owned() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = lock(&self.taken);
        taken.all -= 1;
        if let Some(own) = taken.by.get_mut(&self.who) {
            *own -= 1;
            if *own == 0 {
                taken.by.remove(&self.who);
            }
        }
    }
}

fn lock(taken: &Mutex<Taken>) -> MutexGuard<'_, Taken> {
    taken.lock().expect("nobody panics while holding this lock")
}

#[cfg(test)]
mod tests {
    use super::*;

    // The last places are for who is on duty, and a place that was left is free again.
    #[test]
    fn places_are_bounded_and_some_are_reserved() {
        let places = Places::new(RESERVED + 3);
        let take = |who: &str, on_duty| places.take(who, on_duty).ok();
        let mut held: Vec<_> = (0..3).filter_map(|n| take(&format!("plant-{n}"), false)).collect();
        assert_eq!(held.len(), 3);
        assert!(take("grid", false).is_none());
        held.extend((0..RESERVED).filter_map(|n| take(&format!("duty-{n}"), true)));
        assert_eq!(held.len(), RESERVED + 3);
        assert!(take("duty", true).is_none());
        held.clear();
        let own: Vec<_> = (0..OF_ONE_MAX + 1).filter_map(|_| take("duty", true)).collect();
        assert_eq!(own.len(), OF_ONE_MAX);
        drop(own);
        assert!(take("duty", true).is_some() && lock(&places.taken).by.is_empty());
    }
}
