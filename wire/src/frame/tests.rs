//! Only bytes sealed under the same key, for the same kind, are opened.

use proptest::prelude::*;

use super::{FrameError, Kind, OVERHEAD_BYTES, open, seal};
use crate::key::Key;
use crate::limits::FRAME_BYTES_MAX;

fn key(fill: u8) -> Key {
    Key::new([fill; 32])
}

#[test]
fn sealed_body_is_opened_under_the_same_key_and_kind_only() {
    let frame = seal(&key(1), Kind::Ack, b"body");
    assert_eq!(open(&key(1), Kind::Ack, &frame), Ok(&b"body"[..]));
    assert_eq!(open(&key(2), Kind::Ack, &frame), Err(FrameError::BadMac));
    let other = open(&key(1), Kind::Uplink, &frame);
    assert_eq!(other, Err(FrameError::WrongKind { found: 3, expected: Kind::Uplink }));
}

#[test]
fn mac_is_the_published_hmac_sha256() {
    // Computed with Python's hmac module: a program in another language must agree.
    let frame = seal(&Key::new(*b"0123456789abcdef0123456789abcdef"), Kind::Uplink, b"davy");
    let expected = "0101646176791c66692834b0f9be712e46ad0e7e10b27c33f487730c3dae80e280d56ac8bf65";
    assert_eq!(hex::encode(frame), expected);
}

#[test]
fn key_is_not_shown() {
    let key = Key::from_hex(&format!(" {}\n", "ab".repeat(32))).unwrap();
    assert_eq!(format!("{key:?}"), "Key(redacted)");
    assert_eq!(key.to_hex(), "ab".repeat(32));
    assert!(Key::from_hex("abc").is_err());
}

#[test]
fn frame_of_impossible_length_is_refused() {
    for bytes in [0, OVERHEAD_BYTES - 1, FRAME_BYTES_MAX + 1] {
        assert_eq!(open(&key(1), Kind::Uplink, &vec![1; bytes]), Err(FrameError::Length { bytes }));
    }
}

proptest! {
    #[test]
    fn changed_frame_is_never_opened(
        body in prop::collection::vec(any::<u8>(), 0..100),
        at in any::<prop::sample::Index>(), with in 1_u8..,
    ) {
        let mut frame = seal(&key(7), Kind::State, &body);
        let at = at.index(frame.len());
        frame[at] ^= with;
        prop_assert_eq!(open(&key(7), Kind::State, &frame), Err(FrameError::BadMac));
        prop_assert!(open(&key(7), Kind::State, &frame[..at]).is_err());
    }
}
