//! Every store answers alike: the same checks against the embedded store, a real InfluxDB 2, and, as sinks, a real
//! InfluxDB 1 and VictoriaMetrics.
//!
//! A missing server is a failure that says how to get one, never a silent skip.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail by panicking")]
#![expect(clippy::print_stdout, reason = "a failure shows which check ran")]

#[path = "store_conformance/blocks.rs"]
mod blocks;
#[path = "store_conformance/check.rs"]
mod check;
#[path = "store_conformance/damage.rs"]
mod damage;
#[path = "store_conformance/embedded.rs"]
mod embedded;
#[path = "store_conformance/fake.rs"]
mod fake;
#[path = "store_conformance/influx.rs"]
mod influx;
#[path = "store_conformance/influxd.rs"]
mod influxd;
#[path = "store_conformance/property.rs"]
mod property;
#[path = "store_conformance/rollup.rs"]
mod rollup;
#[path = "store_conformance/server.rs"]
mod server;
#[path = "store_conformance/sink.rs"]
mod sink;
#[path = "store_conformance/suite.rs"]
mod suite;
#[path = "store_conformance/whole.rs"]
mod whole;
