//! Joining epochs to the chain: normally each after the predecessor it names, otherwise after what is held.

use super::{Chain, Follows, Joined, top};
use crate::log::record::CentreRecord;
use crate::receive::port::LogPort;

/// Where an epoch goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// After the tail, which ends at this seq.
    After(u64),
    /// The same, against what the epoch says: a restored disk image, a new disk.
    Conflict(u64),
    /// Not yet.
    Wait,
}

impl Chain {
    /// Joins every epoch whose place is known; gives the chain records in order. `is_quiet`: the epoch at the tail has not
    /// been heard for a while. One that goes on is never ended by another that contradicts what it says: that may be a
    /// message from years ago, sent again.
    pub fn place(
        &mut self,
        port: &impl LogPort,
        gateway: &str,
        is_quiet: bool,
    ) -> Vec<CentreRecord> {
        let mut records = Vec::new();
        while let Some((epoch, last, conflict)) = self.choose(port, gateway, is_quiet) {
            let after = self.tail();
            self.conflicts += u64::from(conflict && after.is_some());
            if let Some(tail) = self.joined.last_mut() {
                tail.last = Some(last);
            }
            self.joined.push(Joined { epoch, last: None, complete: false });
            self.follows.remove(&epoch);
            records.push(CentreRecord::Chain { epoch, after, last });
        }
        records
    }

    /// The next epoch to join, where the tail ends then, and whether it says otherwise.
    fn choose(
        &self,
        port: &impl LogPort,
        gateway: &str,
        is_quiet: bool,
    ) -> Option<(u64, u64, bool)> {
        let unplaced = || self.follows.iter().filter(|(e, _)| self.find(**e).is_none());
        let others = || unplaced().filter(|(e, _)| Some(**e) != self.current);
        let look = |(e, f): (&u64, &Follows)| (*e, self.look(port, gateway, *f));
        // Those that follow as they say go first: a conflict is only what is left. The current one goes last of all,
        // and where others wait not before its list has said what the disk still holds.
        let may_end = self.joined.is_empty() || is_quiet && self.current != self.tail();
        let followed = |(e, place)| match place {
            Place::After(last) => Some((e, last, false)),
            _ => None,
        };
        let conflicting = |(e, place)| match place {
            Place::Conflict(last) if may_end => Some((e, last, true)),
            _ => None,
        };
        if let Some(found) = others().map(look).find_map(followed) {
            return Some(found);
        }
        if let Some(found) = others().map(look).find_map(conflicting) {
            return Some(found);
        }
        if others().next().is_some() && self.current_list().is_none() {
            return None;
        }
        let current = unplaced().find(|(e, _)| Some(**e) == self.current).map(look)?;
        followed(current).or_else(|| conflicting(current))
    }

    /// Epochs that are not joined, contradict what they say they follow, and are in no list of what the disk holds.
    pub(super) fn rivals(&self, port: &impl LogPort, gateway: &str) -> Vec<u64> {
        let unplaced = self.follows.iter().filter(|(e, _)| self.find(**e).is_none());
        let is_rival = |(e, f): &(&u64, &Follows)| {
            matches!(self.look(port, gateway, **f), Place::Conflict(_))
                && self.current_list().is_none_or(|l| l.entry(**e).is_none())
        };
        unplaced.filter(is_rival).map(|(e, _)| *e).collect()
    }

    fn look(&self, port: &impl LogPort, gateway: &str, follows: Follows) -> Place {
        let tail = self.tail();
        let held = tail.map_or(0, |t| top(port.epoch(gateway, t)));
        let Some(predecessor) = follows.epoch else {
            return if tail.is_none() { Place::After(0) } else { Place::Conflict(held) };
        };
        if Some(predecessor) == tail && held <= follows.last {
            return Place::After(follows.last);
        }
        let known = self.follows.contains_key(&predecessor);
        let gone = || self.current_list().is_some_and(|l| l.entry(predecessor).is_none());
        if self.find(predecessor).is_some() || (!known && gone()) {
            return Place::Conflict(held);
        }
        Place::Wait
    }
}
