//! Whole-system tests, fault tests, benchmarks and simulated plants of Davy. Nothing here is part of the product.

pub mod bench;
#[cfg(feature = "demo")]
pub mod demo;
pub mod faults;
pub mod harness;
pub mod meters;
pub mod plant;
pub mod prefecture;
pub mod recordings;
pub mod replay;
