//! From a log of hand-made blocks to rows in the state database, through kills and out of order.

mod backup;
mod bench;
mod rebuild;
mod run;
