//! The program `davy-gateway`: arguments, tracing, configuration, exit code. No logic.

fn main() {}
