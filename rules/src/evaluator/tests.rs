//! The evaluator against the invariants of the design: journals that do not depend on restarts or on arrival, no page
//! from history, a raise at the head. The engine is the small one of `tests/engine.rs`.

mod duty;
mod engine;
mod journals;
mod plant;
mod scenes;
