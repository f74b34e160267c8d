//! rumqttd inside this process, for the demo only: what it has acknowledged is gone when the process ends, which the
//! delivery protocol between gateway and centre heals.

use std::collections::HashMap;
use std::net::SocketAddr;

use anyhow::{Context, Result};
use rumqttd::{Broker, Config, ConnectionSettings, RouterConfig, ServerSettings};

/// Bytes of one segment of a topic's ring. The default of 1 MiB drops messages of a slow subscriber in silence.
const SEGMENT_BYTES: usize = 100 << 20;
/// Largest message, above the largest frame of the wire protocol.
const MESSAGE_BYTES_MAX: usize = 512 << 10;

/// Starts the broker on a thread of its own; it ends with the process.
///
/// # Errors
/// When the thread cannot be started.
pub fn start(listen: SocketAddr) -> Result<()> {
    let connections = ConnectionSettings {
        connection_timeout_ms: 5_000,
        max_payload_size: MESSAGE_BYTES_MAX,
        max_inflight_count: 1000,
        auth: None,
        external_auth: None,
        dynamic_filters: true,
    };
    let server = ServerSettings {
        name: "demo".to_owned(),
        listen,
        tls: None,
        next_connection_delay_ms: 1,
        connections,
    };
    let router = RouterConfig {
        max_connections: 200,
        max_outgoing_packet_count: 1000,
        max_segment_size: SEGMENT_BYTES,
        max_segment_count: 10,
        ..RouterConfig::default()
    };
    let config = Config {
        id: 0,
        router,
        v4: Some(HashMap::from([("demo".to_owned(), server)])),
        ..Config::default()
    };
    std::thread::Builder::new()
        .name("demo-broker".to_owned())
        .spawn(move || {
            if let Err(e) = Broker::new(config).start() {
                tracing::error!(error = %e, "the demo's broker ended");
            }
        })
        .context("start the broker's thread")?;
    Ok(())
}
