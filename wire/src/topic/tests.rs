//! Topics read back as written; nothing else is one.

use proptest::prelude::*;

use super::{PARTS, Topic, TopicError, TopicKind, filter_state, filter_up, part_of};
use crate::ids::GatewayName;

#[test]
fn topic_reads_back_as_written() {
    for kind in [TopicKind::Up, TopicKind::Ack, TopicKind::State, TopicKind::Cmd] {
        let topic = Topic::new(GatewayName::new("mine-3_north").unwrap(), kind);
        let text = topic.to_string();
        assert!(!text.contains('.') && text.starts_with("davy/v1/"), "{text}");
        assert_eq!(text.parse(), Ok(topic));
    }
}

#[test]
fn partition_never_changes() {
    // Fixed at provisioning: another result would send a gateway's messages past its owner.
    assert_eq!(part_of("gw-1"), 38);
    assert_eq!(part_of("123456789"), u8::try_from(0xcbf4_3926_u32 % u32::from(PARTS)).unwrap());
}

#[test]
fn topic_of_another_partition_or_form_is_refused() {
    let topic = Topic::new(GatewayName::new("gw-1").unwrap(), TopicKind::Up);
    let right = topic.to_string();
    let part = format!("/{:02}/", topic.part);
    assert!(matches!(right.replace(&part, "/63/").parse::<Topic>(), Err(TopicError::Part { .. })));
    assert!(matches!(right.replace(&part, "/+1/").parse::<Topic>(), Err(TopicError::Part { .. })));
    for wrong in [
        right.replace("up", "down"),
        right.replace("davy/v1", "davy/v2"),
        format!("{right}/x"),
        right.trim_end_matches("/up").to_owned(),
        filter_up().to_owned(),
        filter_state().to_owned(),
        String::new(),
    ] {
        assert!(wrong.parse::<Topic>().is_err(), "{wrong}");
    }
}

proptest! {
    #[test]
    fn any_text_is_a_topic_or_an_error(text in ".{0,80}", name in "[A-Za-z0-9_-]{1,64}") {
        prop_assert!(text.parse::<Topic>().is_err());
        let taken = GatewayName::new(name.clone()).unwrap();
        prop_assert_eq!(taken.as_str(), name.as_str());
        prop_assert!(GatewayName::new(name + ".").is_err());
    }
}
