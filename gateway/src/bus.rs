//! The southbound half: one task per bus reads its devices and hands readings on.

pub mod frame;
pub mod link;
