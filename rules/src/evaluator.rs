//! The settled and the live evaluator of one gateway, as a pure function of the centre's log records (design §7).

pub mod step;
