//! The machine against the table of domain §3.1, written down a second time as the table it is.

use proptest::prelude::*;

use crate::alarms::machine::{Axes, Event, IsaState, Step};
use IsaState::{A, B, C, D, E, F};

/// The table, letter by letter: what a state becomes; `None` where the event is no event there. A raise over a finished
/// occurrence gives the letter of the new one; `left_behind` gives that of the old one.
fn table(state: IsaState, event: Event, latching: bool) -> Option<IsaState> {
    match (state, event) {
        (A | D | E | F, Event::Raise) => Some(B),
        (B, Event::Clear) => Some(if latching { E } else { D }),
        (C, Event::Clear) => Some(if latching { F } else { A }),
        (B | C, Event::Worse) => Some(B),
        (B, Event::Better) => Some(B),
        (C, Event::Better) => Some(C),
        (B, Event::Ack) => Some(C),
        (D, Event::Ack) => Some(A),
        (E, Event::Ack) => Some(F),
        (E, Event::Reset) => Some(D),
        (F, Event::Reset) => Some(A),
        _ => None,
    }
}

/// The old occurrence under a new one: what was not signed stays unsigned, a latch passes on.
fn left_behind(state: IsaState) -> IsaState {
    match state {
        D | E => D,
        _ => A,
    }
}

fn axes(active: bool, acked: bool, latched: bool) -> Axes {
    Axes { active, acked, latched }
}

const EVENTS: [Event; 6] =
    [Event::Raise, Event::Clear, Event::Worse, Event::Better, Event::Ack, Event::Reset];

// Every state with every event, latching and not, is what the table says.
#[test]
fn every_step_is_in_the_table() {
    let states = [
        axes(false, true, false),
        axes(true, false, false),
        axes(true, true, false),
        axes(false, false, false),
        axes(false, false, true),
        axes(false, true, true),
    ];
    assert_eq!(states.map(Axes::state), [A, B, C, D, E, F]);
    for from in states {
        for event in EVENTS {
            for latching in [false, true] {
                let expected = table(from.state(), event, latching);
                let what = format!("{:?} {event:?} latching={latching}", from.state());
                match from.step(event, latching) {
                    Step::To(to) => assert_eq!(Some(to.state()), expected, "{what}"),
                    Step::NewOccurrence { old, new } => {
                        assert_eq!(Some(new.state()), expected, "{what}");
                        assert_eq!(old.state(), left_behind(from.state()), "{what}");
                    }
                    Step::Nothing | Step::Refused => assert_eq!(expected, None, "{what}"),
                }
            }
        }
    }
}

proptest! {
    // Any sequence: the axes always have the table's letter, and only a person's act ever signs.
    #[test]
    fn any_sequence_follows_the_table_and_never_signs_by_itself(
        latching: bool,
        events in prop::collection::vec(prop::sample::select(EVENTS.to_vec()), 0..60),
    ) {
        let (mut now, mut letter) = (Axes::NORMAL, A);
        let mut unsigned_behind = 0;
        let mut raised = 0;
        let mut signed = 0;
        for event in events {
            let expected = table(letter, event, latching).unwrap_or(letter);
            let was = now;
            match now.step(event, latching) {
                Step::To(to) => {
                    prop_assert!(!to.acked || was.acked || event == Event::Ack);
                    signed += usize::from(event == Event::Ack);
                    now = to;
                }
                Step::NewOccurrence { old, new } => {
                    prop_assert_eq!(old.acked, was.acked);
                    prop_assert!(!new.acked && new.active);
                    unsigned_behind += usize::from(!old.acked);
                    raised += 1;
                    now = new;
                }
                Step::Nothing | Step::Refused => {}
            }
            letter = expected;
            prop_assert_eq!(now.state(), letter);
        }
        prop_assert!(unsigned_behind <= raised);
        prop_assert!(signed == 0 || raised > 0, "what was never raised cannot be signed");
    }
}
