//! rules

pub mod evaluator;
