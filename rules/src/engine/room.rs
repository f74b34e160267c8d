//! Which fact makes room where there are too many: what a plant files can never push out what the bureau decided.

use super::state::{FACTS_MAX, Held};
use super::{Engine, is_site};
use crate::fact::{FactBody, Worth};
use crate::series::Ms;

impl Engine {
    /// Makes room for a fact; `false` where it is itself what must go.
    ///
    /// Work goes first: what was filed before what was approved, the one that ends first. Then an order or approval that a
    /// newer one of its site covers. Nothing else that is in force ever goes.
    pub(super) fn make_room(&mut self, new: &Held, now: Ms) -> bool {
        if self.state.facts.len() < FACTS_MAX || self.takes_no_room(new, now) {
            return true;
        }
        let rank = |held: &Held| (held.fact.worth(), held.to);
        let held = self.state.facts.iter().enumerate();
        let least = held.map(|(i, held)| (rank(held), i)).min();
        let place = match least {
            Some((least, i)) if least.0 < Worth::Binding => (rank(new) > least).then_some(i),
            _ if new.fact.worth() < Worth::Binding => None,
            _ => self.state.facts.iter().position(|held| self.is_covered(held)),
        };
        match place {
            Some(i) => {
                self.state.facts.remove(i);
                true
            }
            None => false,
        }
    }

    /// A fact that takes effect at once and then leaves, or replaces its own earlier revision.
    fn takes_no_room(&self, new: &Held, now: Ms) -> bool {
        let replaces = || self.state.facts.iter().any(|held| held.fact.id == new.fact.id);
        new.from <= now && (new.fact.withdrawn || is_site(&new.fact) || replaces())
    }

    /// Whether a newer order or approval of the same site stands at least as long.
    fn is_covered(&self, old: &Held) -> bool {
        let key = |held: &Held| (held.fact.valid_from, held.fact.revision);
        is_state(old)
            && self.state.facts.iter().any(|new| {
                new.on
                    && is_state(new)
                    && new.fact.site == old.fact.site
                    && key(new) > key(old)
                    && new.to >= old.to
            })
    }
}

fn is_state(held: &Held) -> bool {
    matches!(held.fact.body, FactBody::RegState { .. } | FactBody::Approval { .. })
}
