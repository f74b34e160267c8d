//! How far ahead, how long and how many: a plant's planned work must never fill what the rule engine keeps for orders.

use rules::FactBody;

use super::{FactForm, Kind};
use crate::api::ApiError;
use crate::registry::Registry;

/// Milliseconds of a day.
const DAY_MS: i64 = 86_400_000;
/// A fact begins at most so far ahead, ms (90 days).
const AHEAD_MS_MAX: i64 = 90 * DAY_MS;
/// Planned work lasts at most so long, ms (30 days); longer work is filed again.
const WORK_MS_MAX: i64 = 30 * DAY_MS;
/// Work windows of one site that are neither over nor withdrawn.
pub(super) const OPEN_WORK_MAX: usize = 200;
/// Devices one fact names.
const DEVICES_MAX: usize = 500;

/// Refuses what lies too far ahead, lasts too long or names too much.
pub(super) fn check(form: &FactForm, now: i64) -> Result<(), ApiError> {
    if form.devices.len() > DEVICES_MAX {
        let text =
            format!("devices names at most {DEVICES_MAX}; leave it empty for the whole site");
        return Err(ApiError::invalid(text));
    }
    if !(0..=now.saturating_add(AHEAD_MS_MAX)).contains(&form.valid_from) {
        let text = "valid_from is ms UTC and lies at most 90 days ahead; record it again later";
        return Err(ApiError::invalid(text));
    }
    // Taking back is always possible, also what an older file recorded without an end.
    if !matches!(form.kind, Kind::Work) || form.withdrawn {
        return Ok(());
    }
    let Some(to) = form.valid_to else {
        return Err(ApiError::invalid("planned work ends: valid_to is missing"));
    };
    if to.saturating_sub(form.valid_from) > WORK_MS_MAX {
        let text = "planned work lasts at most 30 days; file what follows as another";
        return Err(ApiError::invalid(text));
    }
    if to <= now && form.id.is_none() {
        return Err(ApiError::invalid("this planned work is over: valid_to lies in the past"));
    }
    Ok(())
}

/// Refuses one more work window where a site has too many; a revision of one is no more.
pub(super) fn check_room(form: &FactForm, registry: &Registry, now: i64) -> Result<(), ApiError> {
    if !matches!(form.kind, Kind::Work) || form.id.is_some() {
        return Ok(());
    }
    let open = registry.facts().iter().filter(|fact| {
        fact.site == form.site
            && !fact.withdrawn
            && fact.valid_to.is_none_or(|to| to > now)
            && matches!(fact.body, FactBody::Work { .. })
    });
    if open.count() < OPEN_WORK_MAX {
        return Ok(());
    }
    let text = format!(
        "this site has {OPEN_WORK_MAX} work windows that are not over; withdraw what is not needed and file it again"
    );
    Err(ApiError::conflict(text))
}
