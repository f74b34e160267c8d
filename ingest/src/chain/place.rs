//! Joining epochs to the chain: normally each after the predecessor it names, otherwise after what is held.

use super::{Chain, Follows, Joined, LISTED_GRACE_MS, top};
use crate::log::record::CentreRecord;
use crate::receive::port::LogPort;

/// Where an epoch goes.
enum Place {
    /// After the tail, which ends at this seq.
    After(u64),
    /// The same, against what the epoch says: a restored disk image, a new disk.
    Conflict(u64),
    /// Not yet.
    Wait,
}

impl Chain {
    /// Joins every epoch whose place is known; gives the chain records in order.
    pub fn place(&mut self, port: &impl LogPort, gateway: &str, now: i64) -> Vec<CentreRecord> {
        let mut records = Vec::new();
        loop {
            let unplaced: Vec<(u64, Follows)> = self
                .follows
                .iter()
                .filter(|(epoch, _)| self.find(**epoch).is_none())
                .map(|(epoch, follows)| (*epoch, *follows))
                .collect();
            // Those that follow as they say go first: a conflict is only what is left.
            let found =
                unplaced.iter().find_map(|(e, f)| match self.look(port, gateway, *e, *f, now) {
                    Place::After(last) => Some((*e, last)),
                    _ => None,
                });
            let found = found.or_else(|| {
                let conflict = |(e, f): &(u64, Follows)| match self.look(port, gateway, *e, *f, now)
                {
                    Place::Conflict(last) => Some((*e, last)),
                    _ => None,
                };
                let found = unplaced.iter().find_map(conflict);
                self.conflicts += u64::from(found.is_some() && !self.joined.is_empty());
                found
            });
            let Some((epoch, last)) = found else { return records };
            let after = self.tail();
            if let Some(tail) = self.joined.last_mut() {
                tail.last = Some(last);
            }
            self.joined.push(Joined { epoch, last: None, complete: false });
            records.push(CentreRecord::Chain { epoch, after, last });
        }
    }

    fn look(
        &self,
        port: &impl LogPort,
        gateway: &str,
        epoch: u64,
        follows: Follows,
        now: i64,
    ) -> Place {
        let tail = self.tail();
        let held = tail.map_or(0, |t| top(port.epoch(gateway, t)));
        let known = |e: u64| self.find(e).is_some() || self.follows.contains_key(&e);
        match (follows.epoch, tail) {
            (None, None) => Place::After(0),
            (Some(p), Some(t)) if p == t && held <= follows.last => Place::After(follows.last),
            (None, Some(_)) => Place::Conflict(held),
            (Some(p), Some(_)) if self.find(p).is_some() => Place::Conflict(held),
            (Some(p), _) if !known(p) && self.is_unlisted(epoch, p, now) => Place::Conflict(held),
            _ => Place::Wait,
        }
    }

    /// Whether a list at least as new as `epoch` shows that the gateway no longer holds `predecessor`.
    fn is_unlisted(&self, epoch: u64, predecessor: u64, now: i64) -> bool {
        let grace = |at: &i64| now - *at <= LISTED_GRACE_MS;
        let Some(list) = &self.heard else { return false };
        self.descends(list.epoch, epoch)
            && list.entry(predecessor).is_none()
            && !self.listed_at.get(&predecessor).is_some_and(grace)
    }
}
