//! Generates the protobuf structs of `proto/davy.proto` with a compiler written in Rust, so that no `protoc` is needed.
//! Called by cargo only. The structs stay private to the crate: callers see the types of `wire::block` and `wire::message`.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto/davy.proto");
    let descriptors = protox::compile(["proto/davy.proto"], ["proto"])?;
    prost_build::Config::new().compile_fds(descriptors)?;
    Ok(())
}
