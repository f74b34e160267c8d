//! A real nats-server whose MQTT listener, on JetStream, takes the gateways and the centre: users and permissions as
//! `docs/OPERATIONS.md` asks for.

use std::path::PathBuf;

use anyhow::Result;
use tempfile::TempDir;

use super::mosquitto::wait_for_port;
use super::process::{Process, free_port, server_binary};

/// User and password of the centre.
pub const CENTRE: (&str, &str) = ("centre", "centre-password");
/// Password of every gateway's user, which is named as the gateway.
pub const GATEWAY_PASSWORD: &str = "gateway-password";

/// A broker of the test's own.
#[derive(Debug)]
pub struct Nats {
    process: Option<Process>,
    folder: TempDir,
    program: PathBuf,
    /// Port of the MQTT listener on 127.0.0.1.
    pub port: u16,
}

impl Nats {
    /// Starts one with users for the centre and these gateways, and waits until it takes MQTT connections.
    ///
    /// # Errors
    /// When nats-server is not installed: with the ways to get it.
    pub async fn start(gateways: &[&str]) -> Result<Nats> {
        let folder = TempDir::new()?;
        let (port, own) = (free_port()?, free_port()?);
        let config =
            config(&folder.path().join("jetstream").display().to_string(), (port, own), gateways);
        std::fs::write(folder.path().join("nats.conf"), config)?;
        let program = server_binary("NATS_SERVER", "nats-server")?;
        let mut broker = Nats { process: None, folder, program, port };
        broker.resume().await?;
        Ok(broker)
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Starts it again on the same ports with what its folder holds.
    ///
    /// # Errors
    /// When it cannot be started.
    pub async fn resume(&mut self) -> Result<()> {
        let config = self.folder.path().join("nats.conf");
        let process = Process::start(
            "nats-server",
            &self.program,
            ["-c".as_ref(), config.as_os_str()],
            self.folder.path(),
        )?;
        self.process = Some(process);
        wait_for_port(self.port, "nats-server").await;
        Ok(())
    }

    /// What it has written.
    #[must_use]
    pub fn output(&self) -> String {
        self.process.as_ref().map(Process::output).unwrap_or_default()
    }
}

/// An MQTT topic `davy/v1/12/gw/up` is the subject `davy.v1.12.gw.up` here.
fn config(store: &str, (port, own): (u16, u16), gateways: &[&str]) -> String {
    let (name, password) = CENTRE;
    let mut users = format!(
        "    {{ user: {name}, password: {password}, permissions: {{\n\
         \x20       publish: [\"davy.v1.*.*.up\", \"davy.v1.*.*.ack\", \"davy.v1.*.*.cmd\", \"davy.check.>\"],\n\
         \x20       subscribe: [\"davy.v1.*.*.up\", \"davy.v1.*.*.state\", \"davy.check.>\", \"$MQTT.sub.>\"] }} }}\n"
    );
    for gateway in gateways {
        users.push_str(&format!(
            "    {{ user: {gateway:?}, password: {GATEWAY_PASSWORD}, permissions: {{\n\
             \x20       publish: [\"davy.v1.*.{gateway}.up\", \"davy.v1.*.{gateway}.state\"],\n\
             \x20       subscribe: [\"davy.v1.*.{gateway}.ack\", \"davy.v1.*.{gateway}.cmd\", \"$MQTT.sub.>\"] }} }}\n"
        ));
    }
    format!(
        "server_name: davy\nlisten: \"127.0.0.1:{own}\"\n\
         jetstream {{ store_dir: {store:?}, sync_interval: always }}\n\
         mqtt {{ listen: \"127.0.0.1:{port}\" }}\n\
         authorization {{ users = [\n{users}  ] }}\n"
    )
}
