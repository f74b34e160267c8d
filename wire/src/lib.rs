//! What crosses the broker between a Davy gateway and the centre: topics, frames, blocks, manifests, acks.
//!
//! ```text
//! topic   davy/v1/{part}/{gateway}/{up|ack|state|cmd}
//! frame   version | kind | body | HMAC-SHA-256               frame.rs, checked before anything is decoded
//! body    protobuf (proto/davy.proto)                         message.rs
//! block   protobuf inside an uplink message                   block.rs
//! columns the rows of a block, columnar, compressed           columns.rs
//! ```
//!
//! The gateway and the centre both use it; a third program in another language could be written from the proto file, the
//! layout drawn in `columns.rs` and the payloads in `testdata/`.
//! It does no I/O, reads no clock and knows no other crate of ours.
//! Decoding turns any bytes into a value or a typed error, in bounded memory, without a panic.

pub mod block;
pub mod columns;
pub mod decimal;
mod error;
pub mod frame;
mod ids;
pub mod key;
pub mod limits;
pub mod manifest;
pub mod message;
mod quality;
pub mod quantity;
pub mod topic;

/// The generated protobuf structs; private, so that their shape can follow the compiler and not our callers.
#[expect(unreachable_pub, reason = "generated code")]
mod proto {
    include!(concat!(env!("OUT_DIR"), "/davy.v1.rs"));
}

pub use block::Block;
pub use columns::Readings;
pub use decimal::{scale_pow10, shortest_f32};
pub use error::DecodeError;
pub use ids::{Boot, Epoch, GatewayName, LogId, ManifestKey, NameError, Seq};
pub use key::Key;
pub use manifest::Manifest;
pub use quality::{Mark, Quality, Reason};
