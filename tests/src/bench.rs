//! What `davy-bench` measures, a module a question. Every contender of one figure runs in the same run on the same data;
//! a figure that was not measured is absent from the report, never estimated.

pub mod backlog;
pub mod bytes;
mod contender;
pub mod cpu;
pub mod edge;
pub mod history;
pub mod history_influx;
pub mod latency;
pub mod load;
pub mod outage;
pub mod queryable;
pub mod raw;
pub mod report;
pub mod restart;
pub mod sink;
mod source;
pub mod store;
pub mod throughput;
