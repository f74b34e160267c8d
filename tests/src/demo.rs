//! The demo: a broker in this process, the simulated prefecture, the real gateways and the real centre as children, and
//! a story that plays within three minutes. Started by `make demo`; the browser tests start a smaller one.

pub mod broker;
pub mod control;
pub mod recording;
pub mod story;

/// Writes a line for the person at the terminal.
#[expect(clippy::print_stdout, reason = "the demo talks to the person who started it")]
pub fn say(line: &str) {
    println!("{line}");
}
