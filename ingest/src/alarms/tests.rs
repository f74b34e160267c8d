//! The alarm machine against the table of ISA-18.2, and evaluations applied once however often they come.

mod applied;
mod table;
