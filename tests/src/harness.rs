//! What system and fault tests, the demo and the benchmarks share: real servers as children, in temporary folders, on
//! free ports of the loopback address, ended with the value that holds them.

pub mod control;
pub mod davy;
pub mod hand;
pub mod held;
pub mod influx;
pub mod modbus;
pub mod mosquitto;
pub mod nats;
pub mod peer;
pub mod process;
pub mod proxy;
pub mod site;
pub mod wait;
pub mod works;
