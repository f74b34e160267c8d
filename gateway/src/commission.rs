//! Commands for the person who commissions a bus: what they print is read by an electrician.
//!
//! `main.rs` calls them. They open no queue and send nothing to the centre.

pub mod check;
pub mod read;
mod table;
