//! Any bytes, read as each message and as columns, give a value or an error.
//! `cargo +nightly fuzz run decode` from `wire/`; what it finds goes into `corpus/decode`, which a plain test replays.

#![no_main]

use wire::manifest::Manifest;
use wire::message::{Ack, Command, State, Uplink};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    drop((Uplink::decode(bytes), Ack::decode(bytes), State::decode(bytes), Command::decode(bytes)));
    drop(Manifest::decode(bytes));
    if let Ok(block) = wire::Block::decode(bytes) {
        assert_eq!(wire::Block::decode(&block.encode()), Ok(block));
    }
});
